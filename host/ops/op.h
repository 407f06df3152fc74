/*
 * What an op is: a shape rule, a forward and a backward, written onto a schedule.
 *
 * One file per op holds all three and the public builder. ops.def lists the ops once. An op knows
 * tensors and schedules, not the graph; crn__apply, which the graph room implements, is the only
 * way back.
 */
#ifndef CRN_OPS_OP_H
#define CRN_OPS_OP_H

#include "clarinet/graph.h"
#include "clarinet/layers.h"
#include "core/options.h"
#include "tensor/tensor.h"

/* A window that slides over an image: convolutions and pools. Sizes are of one axis: [0] height,
 * [1] width. */
typedef struct crn__window {
    int32_t kernel[2], stride[2], rate[2];
    int32_t pad_before[2], pad_after[2]; /* resolved: SAME and VALID have become numbers */
} crn__window;

/* What an op is told besides its inputs. Each op reads its own part. */
typedef struct crn__attrs {
    crn__window window;        /* convolution, pools */
    crn_activation activation; /* activation op: which one. NONE elsewhere until one is fused in */
    float epsilon, decay;      /* batch norm */
    bool is_training;          /* batch norm */
    bool freezes;              /* batch norm: does not train where its variables are frozen */
    bool average;              /* pool: mean rather than maximum */
    bool sparse;               /* cross-entropy: labels are indices */
    float smoothing;           /* cross-entropy: the share of the labels that is spread evenly */
    crn_shape shape;           /* reshape */
    const float *scales;       /* regularization: weight decay of each input; owned by the graph */
} crn__attrs;

/* scale * dy[0] * w: what weight decay adds to the gradient of a variable w. */
typedef struct crn__decay {
    crn__tensor *dy; /* a scalar; NULL: none */
    float scale;
} crn__decay;

/* The gradient of a node, while a backward pass is written. */
typedef struct crn__gradient {
    crn__tensor *tensor; /* what consumers have added up so far; NULL: nothing yet */
    bool is_for_update;  /* a variable's that nothing but its update uses, which adds… */
    crn__decay decay;    /* …this to the tensor, so that no pass over memory is spent on it */
} crn__gradient;

#define CRN__MAX_SAVED 3

/* One op at one place of a graph, at one batch size. */
typedef struct crn__call {
    const struct crn__op *op;
    crn__attrs attrs;
    size_t n_inputs;
    crn__tensor **inputs;
    crn__tensor *output;
    crn__tensor *saved[CRN__MAX_SAVED]; /* what forward keeps for backward */
    bool is_folded; /* the op that follows computes the output, and alone needs it */
    const struct crn__call
        *folded[2];       /* the op that computes input i, where it is folded in here */
    bool wants_moments;   /* batch norm asks for the moments of the output, if they cost little */
    bool has_backward;    /* backward will be called: save what it needs */
    crn__tensor *verdict; /* for update: changes nothing where its first number is 0; or NULL */

    /* Backward only. */
    crn__tensor *d_output;
    bool may_overwrite;       /* d_output is nobody else's: backward may change it in place */
    crn__gradient **d_inputs; /* of each input's node; NULL when it is not wanted */
} crn__call;

typedef struct crn__op {
    const char *name;
    /* Output's shape from the inputs'; open batches stay open. NULL: that of input 0. */
    crn_status (*infer)(const crn__attrs *attrs, const crn_shape *inputs, size_t n_inputs,
                        crn_shape *output, crn_error *error);
    /* Appends the launches. NULL backward: no gradient passes. */
    void (*forward)(crn__schedule *schedule, crn__call *call);
    void (*backward)(crn__schedule *schedule, crn__call *call);
    /* For an op that is folded into a sum: y = activation(its output + other), and perhaps y's
     * moments; other may be NULL. Or NULL. */
    void (*apply)(crn__schedule *schedule, const crn__call *call, crn__tensor *other,
                  crn_activation activation, bool wants_moments, crn__tensor *y);
    /* What a training step does besides, after all values are computed; or NULL. */
    void (*update)(crn__schedule *schedule, crn__call *call);
    uint32_t updates; /* bit i: update changes input i, a variable */
    /* A following ReLU can be fused in: the op then reads attrs.activation in both directions. */
    bool fuses_activation;
    uint32_t optional_inputs; /* bit i: input i may be missing */
    uint32_t stops_gradient;  /* bit i: no gradient passes to input i */
    uint32_t takes_integers;  /* bit i: input i may be CRN_I32 */
    uint32_t needs_integers;  /* bit i: input i must be */
} crn__op;

#define CRN__OP(name) extern const crn__op crn__op_##name;
#include "ops/ops.def"
#undef CRN__OP

/* Adds a node for op to the graph (host/graph/graph.c). NULL, with the sticky error set, on a
 * mistake. */
crn_node *crn__apply(crn_graph *graph, const crn__op *op, const char *name, const crn__attrs *attrs,
                     crn_node *const *inputs, size_t n_inputs);

/* crn__window_resolve for a builder: false, with the sticky error set, on a mistake; x may be NULL.
 */
bool crn__resolve_window(crn_graph *graph, const char *name, crn__window *window,
                         crn_padding padding, const int32_t pads[4], const crn_node *x);

/* ---- what ops share ---- */

/*
 * Where to write input i's gradient, or with *accumulate to add to it. NULL when it is not wanted.
 * A tensor that several gradients still share is copied first.
 */
crn__tensor *crn__gradient_of(crn__schedule *schedule, crn__call *call, size_t i, bool *accumulate);
/* Lets input i's gradient be `tensor` itself if it has nothing yet; false otherwise. */
bool crn__gradient_share(crn__call *call, size_t i, crn__tensor *tensor);

/* What is done to a convolution's result while it is in registers; each may be missing. */
typedef struct crn__epilogue {
    crn__tensor *scale, *shift; /* [channels] */
    crn__tensor *other;         /* of the result's shape */
    crn_activation activation;
    bool wants_moments; /* a solver may then set the result's moments */
} crn__epilogue;

/* y = activation(conv's result * scale + shift + other), for a convolution that is folded in. */
void crn__conv_apply(crn__schedule *schedule, const crn__call *conv, const crn__epilogue *epilogue,
                     crn__tensor *y);

/* d_output where the fused activation let it through (in place if that is allowed), else d_output.
 */
crn__tensor *crn__masked_gradient(crn__schedule *schedule, crn__call *call);

/* The kernel's word for an activation: 0 none, 1 ReLU, 2 ReLU6. */
int crn__activation_code(crn_activation activation);

/* Gives y moments of `ranges` ranges of its rows, for the op that makes y to fill. */
crn__tensor *crn__make_moments(crn__schedule *schedule, crn__tensor *y, int64_t ranges);

/* What the schedule's device is like. */
const crn__profile *crn__schedule_profile(const crn__schedule *schedule);

/* Shape rule of ops whose result is a scalar. */
crn_status crn__infer_scalar(const crn__attrs *attrs, const crn_shape *inputs, size_t n_inputs,
                             crn_shape *output, crn_error *error);

/* a / b, rounded up; b > 0. */
int64_t crn__ceil_div(int64_t a, int64_t b);

/* A task for a kernel: compiler options `options` after those that every kernel gets. */
crn__task crn__task_kernel(const char *file, const char *kernel, const char *options, ...)
    __attribute__((format(printf, 3, 4)));

/* A flat task over `count` floats in whole vectors: its kernel uses FOR_EACH_VECTOR. */
crn__task crn__task_flat(crn__schedule *schedule, const char *file, const char *kernel,
                         size_t count);
/* What such a kernel takes as its count of vectors. */
int64_t crn__flat_vectors(crn__schedule *schedule, size_t count);
/* How a kernel writes a whole tensor, for its argument `how` (cl/common.clh): past the caches where
 * the tensor does not fit them. */
typedef enum crn__writing { CRN__OVER, CRN__ADDED, CRN__STREAMED } crn__writing;
crn__writing crn__how_to_write(crn__schedule *schedule, const crn__tensor *written,
                               bool accumulate);
/* The task writes `derived`, a copy of `owner` in another layout: it runs when that is stale. */
void crn__task_refreshes(crn__task *task, crn__tensor *derived, const crn__tensor *owner);
/*
 * A copy of `owner` in another layout, yet to be filled: kept with a variable under `key` until
 * that changes. Where it changes at every run, or is no variable, a tensor of the schedule. Never
 * NULL.
 */
crn__tensor *crn__schedule_derive(crn__schedule *schedule, crn__tensor *owner, const char *key,
                                  const crn_shape *shape);
/* `count` zeros, kept with a variable, too. Never NULL. */
crn__tensor *crn__schedule_zeros(crn__schedule *schedule, crn__tensor *owner, size_t count);

/*
 * A task over rows of `channels`: work-items own `row_chunks` ranges of rows, and on a GPU single
 * vectors of channels. Vectors are as wide as the device's width and `channels` allow; sets
 * *vectors to how many there are in a row.
 */
crn__task crn__task_rows(crn__schedule *schedule, const char *file, const char *kernel, size_t rows,
                         size_t channels, int32_t *vectors, int32_t *row_chunks);
/* The widest vector that divides channels: the device's width, 8, 4 or 1. */
uint32_t crn__vector_for(crn__schedule *schedule, size_t channels);

/* y = x, y += x, y = value; y = sum over n of x[n][…], plus y if accumulate. */
void crn__emit_copy(crn__schedule *schedule, crn__tensor *x, crn__tensor *y, bool accumulate);
void crn__emit_fill(crn__schedule *schedule, crn__tensor *y, float value);
void crn__emit_fold(crn__schedule *schedule, crn__tensor *x, size_t parts, crn__tensor *y,
                    size_t count, bool accumulate);
/* y[0] = scale * sum of x's elements or of their squares, plus y[0] if accumulate. */
void crn__emit_sum(crn__schedule *schedule, crn__tensor *x, bool squares, float scale,
                   crn__tensor *y, bool accumulate);
/* y[c] = sum over rows of x[row][c], plus y if accumulate. */
void crn__emit_column_sums(crn__schedule *schedule, crn__tensor *x, size_t rows, size_t channels,
                           crn__tensor *y, bool accumulate);

/* Rows and channels of an NHWC or [N,C] tensor: all but the last dimension, and that one. */
size_t crn__rows(const crn__tensor *tensor);
size_t crn__channels(const crn__tensor *tensor);

/* Resolves a window's padding against an input, and its output size. CRN_INVALID when that is
 * empty. */
crn_status crn__window_resolve(crn__window *window, crn_padding padding, const int32_t pads[4],
                               const crn_shape *input, crn_error *error);
int64_t crn__window_output(const crn__window *window, int axis, int64_t input);

#endif
