/*
 * TF-slim's residual networks as tables of blocks. Names of scopes, variables and end points are
 * slim's: they are what checkpoints are matched by.
 */
#include "clarinet/resnet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"

/* What differs between the two versions, and how far a network has come. */
typedef struct network {
    crn_graph *graph;
    int version;
    const char *scope;
    crn_resnet_options options;
    int32_t root_stride;
} network;

static bool ok(const crn_graph *graph)
{
    return crn_graph_status(graph) == CRN_OK;
}

/* An end point called after the current scope and `name`. */
static void add_end_point(crn_graph *graph, const char *name, crn_node *node)
{
    char *full = ok(graph) ? crn__scoped_name(graph, name) : NULL;
    if (full != NULL)
        crn_end_point_add(graph, full, node);
    free(full);
}

/* ---- units ---- */

/* One convolution of a unit, with its end point. Stride 1 or conv2d_same. */
static crn_node *unit_conv(crn_graph *graph, crn_node *x, int64_t depth, int32_t kernel,
                           int32_t stride, int32_t rate, crn_normalizer normalizer,
                           crn_activation activation, const char *scope)
{
    crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
    o.rate_h = o.rate_w = rate;
    o.normalizer = normalizer;
    o.activation = activation;
    o.scope = scope;
    crn_node *y;
    if (kernel == 1) {
        o.stride_h = o.stride_w = stride;
        y = crn_conv2d(graph, x, depth, 1, 1, &o);
    } else {
        y = crn_conv2d_same(graph, x, depth, kernel, stride, &o);
    }
    add_end_point(graph, scope, y);
    return y;
}

static int64_t channels_of(const crn_node *x)
{
    crn_shape shape = x != NULL ? crn_node_shape(x) : (crn_shape){.rank = 0};
    return shape.rank == 4 ? shape.dims[3] : 0;
}

/* conv BN ReLU, conv BN ReLU, conv BN; ReLU after the sum. */
crn_node *crn_resnet_v1_bottleneck(crn_graph *graph, crn_node *inputs, int64_t depth,
                                   int64_t base_depth, int32_t stride, int32_t rate,
                                   const char *scope)
{
    const crn_normalizer norm = CRN_NORMALIZER_BATCH_NORM;
    crn_scope_push(graph, scope != NULL ? scope : "bottleneck_v1");
    crn_node *shortcut;
    if (depth == channels_of(inputs))
        shortcut = crn_subsample(graph, inputs, stride);
    else
        shortcut =
            unit_conv(graph, inputs, depth, 1, stride, 1, norm, CRN_ACTIVATION_NONE, "shortcut");
    crn_node *residual =
        unit_conv(graph, inputs, base_depth, 1, 1, 1, norm, CRN_ACTIVATION_RELU, "conv1");
    residual =
        unit_conv(graph, residual, base_depth, 3, stride, rate, norm, CRN_ACTIVATION_RELU, "conv2");
    residual = unit_conv(graph, residual, depth, 1, 1, 1, norm, CRN_ACTIVATION_NONE, "conv3");
    crn_node *output = crn_relu(graph, crn_add(graph, shortcut, residual));
    add_end_point(graph, "", output);
    crn_scope_pop(graph);
    return output;
}

/* BN ReLU `preact` before; conv3 and the projection have biases and nothing after; no ReLU after
 * the sum. */
crn_node *crn_resnet_v2_bottleneck(crn_graph *graph, crn_node *inputs, int64_t depth,
                                   int64_t base_depth, int32_t stride, int32_t rate,
                                   const char *scope)
{
    const crn_normalizer norm = CRN_NORMALIZER_BATCH_NORM;
    crn_scope_push(graph, scope != NULL ? scope : "bottleneck_v2");
    crn_batch_norm_options preact_options = crn_arg_scope_current(graph)->batch_norm;
    preact_options.activation = CRN_ACTIVATION_RELU;
    preact_options.scope = "preact";
    crn_node *preact = crn_batch_norm(graph, inputs, &preact_options);
    crn_node *shortcut;
    if (depth == channels_of(inputs))
        shortcut = crn_subsample(graph, inputs, stride);
    else
        shortcut = unit_conv(graph, preact, depth, 1, stride, 1, CRN_NORMALIZER_NONE,
                             CRN_ACTIVATION_NONE, "shortcut");
    crn_node *residual =
        unit_conv(graph, preact, base_depth, 1, 1, 1, norm, CRN_ACTIVATION_RELU, "conv1");
    residual =
        unit_conv(graph, residual, base_depth, 3, stride, rate, norm, CRN_ACTIVATION_RELU, "conv2");
    residual = unit_conv(graph, residual, depth, 1, 1, 1, CRN_NORMALIZER_NONE, CRN_ACTIVATION_NONE,
                         "conv3");
    crn_node *output = crn_add(graph, shortcut, residual);
    add_end_point(graph, "", output);
    crn_scope_pop(graph);
    return output;
}

/* ---- blocks ---- */

/*
 * stack_blocks_dense: units one after the other; once the wanted output stride is reached, strides
 * become rates.
 */
static crn_node *stack_blocks(const network *net, crn_node *x, const crn_resnet_block *blocks,
                              size_t n_blocks)
{
    int32_t target = net->options.output_stride / net->root_stride;
    int32_t current = 1, rate = 1;
    for (size_t b = 0; b < n_blocks && ok(net->graph); b++) {
        const crn_resnet_block *block = &blocks[b];
        if (block->scope == NULL || block->base_depth < 1 || block->base_depth > INT32_MAX / 4 ||
            block->num_units < 1 || block->stride < 1) {
            crn__graph_fail(net->graph, CRN_INVALID,
                            "block %zu needs a scope, a base depth, units and a stride", b);
            break;
        }
        crn_scope_push(net->graph, block->scope);
        for (int32_t u = 0; u < block->num_units && ok(net->graph); u++) {
            int32_t stride = u == block->num_units - 1 ? block->stride : 1;
            if (target > 0 && current > target)
                crn__graph_fail(net->graph, CRN_INVALID, "output_stride %d cannot be reached",
                                net->options.output_stride);
            bool reached = target > 0 && current == target;
            char scope[32];
            snprintf(scope, sizeof scope, "unit_%d", u + 1);
            crn_scope_push(net->graph, scope);
            x = (net->version == 1 ? crn_resnet_v1_bottleneck : crn_resnet_v2_bottleneck)(
                net->graph, x, 4 * block->base_depth, block->base_depth, reached ? 1 : stride,
                reached ? rate : 1, NULL);
            crn_scope_pop(net->graph);
            if (reached)
                rate *= stride;
            else
                current *= stride;
        }
        add_end_point(net->graph, "", x);
        crn_scope_pop(net->graph);
    }
    if (target > 0 && current != target)
        crn__graph_fail(net->graph, CRN_INVALID, "output_stride %d cannot be reached",
                        net->options.output_stride);
    return x;
}

/* ---- networks ---- */

/* 7x7/2 and a 3x3/2 pool, for photographs. */
static crn_node *root_block(const network *net, crn_node *x)
{
    bool plain = net->version == 2; /* v2 normalises later */
    crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
    o.normalizer = plain ? CRN_NORMALIZER_NONE : CRN_NORMALIZER_DEFAULT;
    o.activation = plain ? CRN_ACTIVATION_NONE : CRN_ACTIVATION_DEFAULT;
    o.scope = "conv1";
    x = crn_conv2d_same(net->graph, x, 64, 7, 2, &o);
    add_end_point(net->graph, "conv1", x);
    crn_pool_options pool = CRN_POOL_OPTIONS_INIT;
    pool.padding = CRN_PADDING_SAME;
    return crn_max_pool2d(net->graph, x, 3, 3, &pool);
}

static crn_node *postnorm(const network *net, crn_node *x)
{
    crn_batch_norm_options o = crn_arg_scope_current(net->graph)->batch_norm;
    o.activation = CRN_ACTIVATION_RELU;
    o.scope = "postnorm";
    return crn_batch_norm(net->graph, x, &o);
}

static crn_node *head(const network *net, crn_node *x, int64_t num_classes)
{
    crn_graph *graph = net->graph;
    if (net->options.global_pool) {
        x = crn_global_avg_pool(graph, x);
        if (net->options.spatial_squeeze)
            crn_end_point_add(graph, "global_pool", x);
    }
    if (num_classes == 0)
        return x;
    crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
    o.normalizer = CRN_NORMALIZER_NONE;
    o.activation = CRN_ACTIVATION_NONE;
    o.scope = "logits";
    crn_node *logits = crn_conv2d(graph, x, num_classes, 1, 1, &o);
    add_end_point(graph, "logits", logits);
    if (net->options.spatial_squeeze) {
        logits = crn_squeeze(graph, logits);
        add_end_point(graph, "spatial_squeeze", logits);
    }
    crn_end_point_add(graph, "predictions", crn_softmax(graph, logits));
    return logits;
}

crn_arg_scope crn_resnet_arg_scope(const crn_resnet_options *options)
{
    crn_resnet_options o = CRN_RESNET_OPTIONS_INIT;
    CRN__COPY_OPTIONS(&o, options);
    crn_arg_scope scope = CRN_ARG_SCOPE_INIT;
    scope.weight_decay = o.weight_decay;
    scope.weights_initializer = (crn_initializer){CRN_INIT_VARIANCE_SCALING, 2.0f};
    scope.activation = CRN_ACTIVATION_RELU;
    scope.normalizer = CRN_NORMALIZER_BATCH_NORM;
    scope.batch_norm.decay = o.batch_norm_decay;
    scope.batch_norm.epsilon = o.batch_norm_epsilon;
    scope.batch_norm.scale = o.batch_norm_scale;
    scope.batch_norm.is_training = o.is_training;
    scope.batch_norm.freeze_bn = o.freeze_bn;
    return scope;
}

/* `root` NULL: the 7x7 root block, where options ask for one. */
static crn_node *build(network *net, crn_node *x, const crn_resnet_block *blocks, size_t n_blocks,
                       int64_t num_classes, crn_node *(*root)(const network *, crn_node *))
{
    crn_graph *graph = net->graph;
    const crn_resnet_options *o = &net->options;
    if (!ok(graph))
        return NULL;
    bool has_root = root != NULL || o->include_root_block;
    net->root_stride = root == NULL && has_root ? 4 : 1;
    if (num_classes < 0 || o->output_stride < 0 || o->output_stride % net->root_stride != 0) {
        crn__graph_fail(graph, CRN_INVALID,
                        "%s: num_classes must not be negative, output_stride be a multiple of %d",
                        net->scope, net->root_stride);
        return NULL;
    }
    crn_arg_scope scope = crn_resnet_arg_scope(o);
    crn_arg_scope_push(graph, &scope);
    crn_scope_push(graph, net->scope);
    if (o->reuse)
        crn_scope_reuse(graph);
    if (has_root)
        x = root != NULL ? root(net, x) : root_block(net, x);
    x = stack_blocks(net, x, blocks, n_blocks);
    if (net->version == 2)
        x = postnorm(net, x);
    x = head(net, x, num_classes);
    crn_scope_pop(graph);
    crn_arg_scope_pop(graph);
    return ok(graph) ? x : NULL;
}

static network describe(crn_graph *graph, int version, const char *scope,
                        const crn_resnet_options *options)
{
    network net = {.graph = graph, .version = version, .options = CRN_RESNET_OPTIONS_INIT};
    CRN__COPY_OPTIONS(&net.options, options);
    net.scope = net.options.scope != NULL ? net.options.scope : scope;
    return net;
}

crn_node *crn_resnet_v1(crn_graph *graph, crn_node *inputs, const crn_resnet_block *blocks,
                        size_t n_blocks, int64_t num_classes, const crn_resnet_options *options)
{
    network net = describe(graph, 1, "resnet_v1", options);
    return build(&net, inputs, blocks, n_blocks, num_classes, NULL);
}

crn_node *crn_resnet_v2(crn_graph *graph, crn_node *inputs, const crn_resnet_block *blocks,
                        size_t n_blocks, int64_t num_classes, const crn_resnet_options *options)
{
    network net = describe(graph, 2, "resnet_v2", options);
    return build(&net, inputs, blocks, n_blocks, num_classes, NULL);
}

/* The published depths: units of the four blocks, base depths 64 to 512. */
#define RESNET(version, depth, u1, u2, u3, u4)                                           \
    crn_node *crn_resnet_v##version##_##depth(crn_graph *graph, crn_node *inputs,        \
                                              int64_t num_classes,                       \
                                              const crn_resnet_options *options)         \
    {                                                                                    \
        static const crn_resnet_block blocks[] = {{"block1", 64, u1, 2},                 \
                                                  {"block2", 128, u2, 2},                \
                                                  {"block3", 256, u3, 2},                \
                                                  {"block4", 512, u4, 1}};               \
        network net = describe(graph, version, "resnet_v" #version "_" #depth, options); \
        return build(&net, inputs, blocks, 4, num_classes, NULL);                        \
    }
RESNET(1, 50, 3, 4, 6, 3)
RESNET(1, 101, 3, 4, 23, 3)
RESNET(1, 152, 3, 8, 36, 3)
RESNET(1, 200, 3, 24, 36, 3)
RESNET(2, 50, 3, 4, 6, 3)
RESNET(2, 101, 3, 4, 23, 3)
RESNET(2, 152, 3, 8, 36, 3)
RESNET(2, 200, 3, 24, 36, 3)

/* Small images have no pixels to spare for the 7x7/2 root: 3x3, stride 1, as in the papers' CIFAR
 * networks. */
static crn_node *small_root(const network *net, crn_node *x)
{
    crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
    o.normalizer = CRN_NORMALIZER_NONE;
    o.activation = CRN_ACTIVATION_NONE;
    o.scope = "conv1";
    x = crn_conv2d_same(net->graph, x, 16, 3, 1, &o);
    add_end_point(net->graph, "conv1", x);
    return x;
}

crn_node *crn_resnet_v2_20(crn_graph *graph, crn_node *inputs, int64_t num_classes,
                           const crn_resnet_options *options)
{
    static const crn_resnet_block blocks[] = {
        {"block1", 16, 2, 2}, {"block2", 32, 2, 2}, {"block3", 64, 2, 1}};
    network net = describe(graph, 2, "resnet_v2_20", options);
    return build(&net, inputs, blocks, 3, num_classes, small_root);
}

/* ---- by name ---- */

static const crn_model models[] = {
    {"resnet_v1_50", 224, crn_resnet_v1_50},   {"resnet_v1_101", 224, crn_resnet_v1_101},
    {"resnet_v1_152", 224, crn_resnet_v1_152}, {"resnet_v1_200", 224, crn_resnet_v1_200},
    {"resnet_v2_50", 224, crn_resnet_v2_50},   {"resnet_v2_101", 224, crn_resnet_v2_101},
    {"resnet_v2_152", 224, crn_resnet_v2_152}, {"resnet_v2_200", 224, crn_resnet_v2_200},
    {"resnet_v2_20", 32, crn_resnet_v2_20},
};

size_t crn_model_count(void)
{
    return sizeof models / sizeof *models;
}

const crn_model *crn_model_at(size_t index)
{
    return index < crn_model_count() ? &models[index] : NULL;
}

const crn_model *crn_model_find(const char *name)
{
    for (size_t i = 0; name != NULL && i < crn_model_count(); i++)
        if (strcmp(models[i].name, name) == 0)
            return &models[i];
    return NULL;
}
