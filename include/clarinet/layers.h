/*
 * Layers: the calls that networks are written with.
 *
 * x is NHWC, [batch, height, width, channels]. Every layer takes a node and returns the node of its
 * output; see graph.h for the sticky error. Values of an options struct that are left at their
 * _INIT default come from the innermost arg scope (slim.arg_scope).
 */
#ifndef CLARINET_LAYERS_H
#define CLARINET_LAYERS_H

#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum crn_activation {
    CRN_ACTIVATION_DEFAULT, /* as the arg scope says */
    CRN_ACTIVATION_NONE,
    CRN_ACTIVATION_RELU,
    CRN_ACTIVATION_RELU6 /* min(max(x, 0), 6) */
} crn_activation;

typedef enum crn_normalizer {
    CRN_NORMALIZER_DEFAULT, /* as the arg scope says */
    CRN_NORMALIZER_NONE,
    CRN_NORMALIZER_BATCH_NORM
} crn_normalizer;

typedef enum crn_padding {
    CRN_PADDING_DEFAULT, /* SAME */
    CRN_PADDING_SAME, /* output = ceil(input / stride); the odd pixel goes to the bottom and right
                       */
    CRN_PADDING_VALID,
    CRN_PADDING_EXPLICIT /* the pad_ members */
} crn_padding;

/* slim.batch_norm's arguments. */
typedef struct crn_batch_norm_options {
    size_t size;
    float decay;   /* of the moving statistics, in [0,1] */
    float epsilon; /* added to the variance, > 0 */
    bool center;   /* a beta */
    bool scale;    /* a gamma */
    bool is_training;
    crn_activation activation;
    const char *scope; /* NULL: "BatchNorm" */
    /* As is_training false, for as long as crn_graph_set_trainable_scopes freezes its variables. */
    bool freeze_bn;
} crn_batch_norm_options;

/* slim's own defaults, before an arg scope. */
#define CRN_BATCH_NORM_OPTIONS_INIT                                                                \
    {                                                                                              \
        sizeof(crn_batch_norm_options), 0.999f, 0.001f, true, false, true, CRN_ACTIVATION_DEFAULT, \
            NULL, false                                                                            \
    }

/* What layers take when they are not told: slim.arg_scope([slim.conv2d, slim.batch_norm], …). */
typedef struct crn_arg_scope {
    size_t size;
    float weight_decay; /* L2: crn_regularization_loss gets weight_decay * sum(w^2) / 2 of each w */
    crn_initializer weights_initializer;
    crn_activation activation;         /* of convolutions and dense layers */
    crn_normalizer normalizer;         /* of convolutions and dense layers */
    crn_batch_norm_options batch_norm; /* of the normalizer and of crn_batch_norm(…, NULL) */
} crn_arg_scope;

/* slim.conv2d's defaults: ReLU, no normalizer, no weight decay. */
#define CRN_ARG_SCOPE_INIT                                                                   \
    {                                                                                        \
        sizeof(crn_arg_scope), 0.0f, {CRN_INIT_VARIANCE_SCALING, 2.0f}, CRN_ACTIVATION_RELU, \
            CRN_NORMALIZER_NONE, CRN_BATCH_NORM_OPTIONS_INIT                                 \
    }

CRN_API void crn_arg_scope_push(crn_graph *graph, const crn_arg_scope *scope);
CRN_API void crn_arg_scope_pop(crn_graph *graph);
/* The innermost arg scope, to be copied, changed and pushed. */
CRN_API const crn_arg_scope *crn_arg_scope_current(const crn_graph *graph);

typedef struct crn_conv2d_options {
    size_t size;
    int32_t stride_h, stride_w; /* >= 1 */
    int32_t rate_h, rate_w;     /* >= 1: atrous */
    crn_padding padding;
    int32_t pad_top, pad_bottom, pad_left, pad_right; /* with CRN_PADDING_EXPLICIT, >= 0 */
    crn_activation activation;
    crn_normalizer normalizer; /* with one there are no biases */
    bool no_biases;            /* without a normalizer there are biases unless this is set */
    const char *scope;         /* NULL: "Conv" */
} crn_conv2d_options;

#define CRN_CONV2D_OPTIONS_INIT                                                  \
    {                                                                            \
        sizeof(crn_conv2d_options), 1, 1, 1, 1, CRN_PADDING_DEFAULT, 0, 0, 0, 0, \
            CRN_ACTIVATION_DEFAULT, CRN_NORMALIZER_DEFAULT, false, NULL          \
    }

/*
 * slim.conv2d: variables scope/weights [kernel_h, kernel_w, in, num_outputs] and scope/biases or
 * scope/BatchNorm/…. `options` may be NULL.
 */
CRN_API crn_node *crn_conv2d(crn_graph *graph, crn_node *x, int64_t num_outputs, int32_t kernel_h,
                             int32_t kernel_w, const crn_conv2d_options *options);

/*
 * resnet_utils.conv2d_same: a square kernel whose strided output does not depend on the input's
 * parity. Stride 1 is SAME; else k_eff = k + (k-1)(rate-1), (k_eff-1)/2 zeros before and the rest
 * of k_eff-1 after, then VALID. `options` gives rate, activation, normalizer and scope.
 */
CRN_API crn_node *crn_conv2d_same(crn_graph *graph, crn_node *x, int64_t num_outputs,
                                  int32_t kernel, int32_t stride,
                                  const crn_conv2d_options *options);

/*
 * slim.fully_connected on x [batch, inputs]: scope/weights [inputs, num_outputs], scope/biases.
 * scope NULL: "fully_connected". The arg scope's activation and normalizer apply unless given here.
 */
CRN_API crn_node *crn_dense(crn_graph *graph, crn_node *x, int64_t num_outputs,
                            crn_activation activation, crn_normalizer normalizer,
                            const char *scope);

/*
 * slim.batch_norm over all but the last dimension. Training: normalises by the batch's mean and
 * population variance, and training steps move moving = decay*moving + (1-decay)*batch, the
 * variance Bessel-corrected, as TensorFlow's fused kernel. Else: by the moving statistics. options
 * NULL: the arg scope's.
 */
CRN_API crn_node *crn_batch_norm(crn_graph *graph, crn_node *x,
                                 const crn_batch_norm_options *options);

CRN_API crn_node *crn_relu(crn_graph *graph, crn_node *x);
CRN_API crn_node *crn_relu6(crn_graph *graph, crn_node *x);
CRN_API crn_node *crn_add(crn_graph *graph, crn_node *a, crn_node *b); /* same shapes */

typedef struct crn_pool_options {
    size_t size;
    int32_t stride_h, stride_w;
    crn_padding padding;
    int32_t pad_top, pad_bottom, pad_left, pad_right; /* with CRN_PADDING_EXPLICIT */
} crn_pool_options;

/* slim's pools: stride 2, VALID. */
#define CRN_POOL_OPTIONS_INIT                                         \
    {                                                                 \
        sizeof(crn_pool_options), 2, 2, CRN_PADDING_VALID, 0, 0, 0, 0 \
    }

/* Padding never wins a maximum. Equal maxima: the gradient goes to the first in row-major order. */
CRN_API crn_node *crn_max_pool2d(crn_graph *graph, crn_node *x, int32_t kernel_h, int32_t kernel_w,
                                 const crn_pool_options *options);
/* Averages what lies inside the image, as TensorFlow. */
CRN_API crn_node *crn_avg_pool2d(crn_graph *graph, crn_node *x, int32_t kernel_h, int32_t kernel_w,
                                 const crn_pool_options *options);
/* Mean over height and width, kept as 1: [N,1,1,C]. */
CRN_API crn_node *crn_global_avg_pool(crn_graph *graph, crn_node *x);
/* resnet_utils.subsample: x itself for factor 1, else a 1x1 max pool with that stride. */
CRN_API crn_node *crn_subsample(crn_graph *graph, crn_node *x, int32_t factor);

/* Same elements under another shape; one dimension may be CRN_ANY when the input has an open batch.
 */
CRN_API crn_node *crn_reshape(crn_graph *graph, crn_node *x, crn_shape shape);
/* [N,1,1,C] to [N,C]. */
CRN_API crn_node *crn_squeeze(crn_graph *graph, crn_node *x);

CRN_API crn_node *crn_softmax(crn_graph *graph, crn_node *logits); /* over the last dimension */

/*
 * tf.nn.softmax_cross_entropy_with_logits: labels [N, classes] int32 (one-hot) or float32, logits
 * [N, classes]; the result is [N]. No gradient flows to the labels.
 */
CRN_API crn_node *crn_softmax_cross_entropy(crn_graph *graph, crn_node *labels, crn_node *logits);
/* The same with labels [N] int32, each in [0, classes); a label outside gives NaN, as TensorFlow.
 */
CRN_API crn_node *crn_sparse_softmax_cross_entropy(crn_graph *graph, crn_node *labels,
                                                   crn_node *logits);
/*
 * Either of the two, by the labels' rank, with tf.losses.softmax_cross_entropy's label_smoothing s
 * in [0,1]: labels become labels * (1 - s) + s / classes.
 */
CRN_API crn_node *crn_softmax_cross_entropy_smoothed(crn_graph *graph, crn_node *labels,
                                                     crn_node *logits, float label_smoothing);

CRN_API crn_node *crn_reduce_mean(crn_graph *graph, crn_node *x); /* of all elements: a scalar */

/*
 * Sum over weights of weight_decay * sum(w^2) / 2 as their arg scopes said when they were made: a
 * scalar to be added to the loss. Zero when there are none.
 */
CRN_API crn_node *crn_regularization_loss(crn_graph *graph);

#ifdef __cplusplus
}
#endif

#endif
