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

/* The solver for a convolution: the one that the context asks for where it applies, else the
 * device's best. */
const crn__conv_solver_ops *crn__conv_choose(crn__schedule *schedule, const crn__conv *conv);

#endif
