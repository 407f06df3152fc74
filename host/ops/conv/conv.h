/*
 * Convolution's solvers: several ways to compute the same three things.
 */
#ifndef CRN_OPS_CONV_CONV_H
#define CRN_OPS_CONV_CONV_H

#include "ops/op.h"

/* One convolution at one batch size. Images are NHWC, weights HWIO. */
typedef struct crn__conv {
    int32_t images;
    int32_t ih, iw, ic;
    int32_t oh, ow, oc;
    crn__window window;
} crn__conv;

/* y is the convolution of x, by their shapes: [N,H,W,C], or [N,C] for a dense layer. */
crn__conv crn__conv_describe(const crn_shape *x, const crn_shape *y, const crn__window *window);

/* The things that a solver computes. */
typedef enum crn__direction {
    CRN__FORWARD,
    CRN__INPUT_GRADIENT,
    CRN__WEIGHT_GRADIENT,
    CRN__DIRECTIONS
} crn__direction;

typedef struct crn__conv_solver_ops {
    const char *name;
    bool (*applies)(crn__schedule *schedule, const crn__conv *conv);
    /* y = activation(conv(x, w) * scale + shift + other) */
    void (*forward)(crn__schedule *schedule, const crn__conv *conv, crn__tensor *x, crn__tensor *w,
                    const crn__epilogue *epilogue, crn__tensor *y);
    /* dx (+)= the sum over outputs that x went into */
    void (*input_gradient)(crn__schedule *schedule, const crn__conv *conv, crn__tensor *dy,
                           crn__tensor *w, crn__tensor *dx, bool accumulate);
    /* dw (+)= the sum over pixels of x under each tap times dy */
    void (*weight_gradient)(crn__schedule *schedule, const crn__conv *conv, crn__tensor *x,
                            crn__tensor *dy, crn__tensor *dw, bool accumulate);
} crn__conv_solver_ops;

extern const crn__conv_solver_ops crn__conv_direct;
extern const crn__conv_solver_ops crn__conv_winograd;
extern const crn__conv_solver_ops crn__conv_clblast;

/*
 * The solver for a direction of a convolution: the one that the context asks for; else the one that
 * was measured to be fastest; else what is best by rule on the device's kind. Where that does not
 * apply, the direct one.
 */
const crn__conv_solver_ops *crn__conv_choose(crn__schedule *schedule, const crn__conv *conv,
                                             crn__direction direction);

/* ---- measuring (host/ops/conv/tune.c) ---- */

#define CRN__CONV_SOLVERS 3

/* Writes one direction with a solver: from two of the tensors to the third. */
void crn__conv_write(crn__schedule *schedule, const crn__conv_solver_ops *solver,
                     const crn__conv *conv, crn__direction direction, crn__tensor *x,
                     crn__tensor *w, crn__tensor *y);

/* The solver that measuring has chosen, if it applies; NULL: none. */
const crn__conv_solver_ops *crn__conv_tuned(crn__schedule *schedule, const crn__conv *conv,
                                            crn__direction direction);

/* Every solver that applies to a direction, the direct one first, and the fastest of them. */
typedef struct crn__conv_times {
    const crn__conv_solver_ops *chosen;
    const crn__conv_solver_ops *solvers[CRN__CONV_SOLVERS];
    double seconds[CRN__CONV_SOLVERS]; /* 0: not measured now; negative: failed or wrong */
    size_t n;
} crn__conv_times;

/*
 * Measures the solvers of a direction on random tensors, and remembers the fastest that is right;
 * what was chosen before stays unless `again`. With `moving` weights the time to rearrange them
 * counts. Workspaces are in the arena.
 */
crn_status crn__conv_tune(crn_context *context, crn__arena *arena, const crn__conv *conv,
                          crn__direction direction, bool moving, bool again,
                          crn__conv_times *times);

#endif
