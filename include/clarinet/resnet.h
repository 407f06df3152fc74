/*
 * TF-slim's residual networks (tf_slim 1.1.0, nets/resnet_v1.py and resnet_v2.py).
 *
 * v1: He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385.
 * v2: He et al., Identity Mappings in Deep Residual Networks, arXiv 1603.05027.
 * Variable names, end points, strides and padding are slim's: stride 2 sits in the last unit of a
 * block.
 */
#ifndef CLARINET_RESNET_H
#define CLARINET_RESNET_H

#include "layers.h"

#ifdef __cplusplus
extern "C" {
#endif

/* resnet_arg_scope(): what its keyword arguments are. */
typedef struct crn_resnet_options {
    size_t size;
    /* resnet_arg_scope */
    float weight_decay;
    float batch_norm_decay;
    float batch_norm_epsilon;
    bool batch_norm_scale;
    /* resnet_vN */
    bool is_training;      /* batch statistics rather than moving ones */
    bool global_pool;      /* mean over height and width before the logits */
    int32_t output_stride; /* 0: the nominal one. Else input size / output size, reached by atrous
                              rates */
    bool spatial_squeeze;  /* logits [N,C] rather than [N,1,1,C]; the research/slim variant, which
                              also has the end points "global_pool" and "scope/spatial_squeeze" */
    bool reuse;            /* share the variables of an earlier call with the same scope */
    bool include_root_block;
    const char *scope; /* NULL: "resnet_v1_50" and so on */
    bool freeze_bn;    /* resnet_arg_scope: see crn_batch_norm_options */
} crn_resnet_options;

#define CRN_RESNET_OPTIONS_INIT                                                                   \
    {                                                                                             \
        sizeof(crn_resnet_options), 1e-4f, 0.997f, 1e-5f, true, true, true, 0, true, false, true, \
            NULL, false                                                                           \
    }

/* resnet_arg_scope(…) to be pushed for a user's own layers. */
CRN_API crn_arg_scope crn_resnet_arg_scope(const crn_resnet_options *options);

/* resnet_vN_block(scope, base_depth, num_units, stride): the last unit has the stride. */
typedef struct crn_resnet_block {
    const char *scope;
    int64_t
        base_depth; /* of the 3x3 convolution; the block's output has four times as many channels */
    int32_t num_units;
    int32_t stride;
} crn_resnet_block;

/*
 * inputs [N,H,W,C]. num_classes 0: no logits, the result is the last feature map (or its mean).
 * Otherwise the logits; "scope/logits" and "predictions" are among the end points. options NULL:
 * the defaults.
 */
CRN_API crn_node *crn_resnet_v1(crn_graph *graph, crn_node *inputs, const crn_resnet_block *blocks,
                                size_t n_blocks, int64_t num_classes,
                                const crn_resnet_options *options);
CRN_API crn_node *crn_resnet_v2(crn_graph *graph, crn_node *inputs, const crn_resnet_block *blocks,
                                size_t n_blocks, int64_t num_classes,
                                const crn_resnet_options *options);

/* bottleneck(…) of either version: depth is the output's, base_depth the 3x3 convolution's. */
CRN_API crn_node *crn_resnet_v1_bottleneck(crn_graph *graph, crn_node *inputs, int64_t depth,
                                           int64_t base_depth, int32_t stride, int32_t rate,
                                           const char *scope);
CRN_API crn_node *crn_resnet_v2_bottleneck(crn_graph *graph, crn_node *inputs, int64_t depth,
                                           int64_t base_depth, int32_t stride, int32_t rate,
                                           const char *scope);

#define CRN_RESNET_DECLARE(name)                                                          \
    CRN_API crn_node *crn_##name(crn_graph *graph, crn_node *inputs, int64_t num_classes, \
                                 const crn_resnet_options *options)
CRN_RESNET_DECLARE(resnet_v1_50);
CRN_RESNET_DECLARE(resnet_v1_101);
CRN_RESNET_DECLARE(resnet_v1_152);
CRN_RESNET_DECLARE(resnet_v1_200);
CRN_RESNET_DECLARE(resnet_v2_50);
CRN_RESNET_DECLARE(resnet_v2_101);
CRN_RESNET_DECLARE(resnet_v2_152);
CRN_RESNET_DECLARE(resnet_v2_200);
/* For 28 to 32 pixel images: a 3x3 root without pooling, then bottlenecks of base depth 16, 32, 64.
 */
CRN_RESNET_DECLARE(resnet_v2_20);
#undef CRN_RESNET_DECLARE

/* The networks by name, for programs that take a --model. */
typedef struct crn_model {
    const char *name;
    int32_t image_size; /* what it was made for */
    crn_node *(*build)(crn_graph *, crn_node *, int64_t, const crn_resnet_options *);
} crn_model;

CRN_API size_t crn_model_count(void);
CRN_API const crn_model *crn_model_at(size_t index);
CRN_API const crn_model *crn_model_find(const char *name); /* NULL when there is none */

#ifdef __cplusplus
}
#endif

#endif
