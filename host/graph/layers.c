/* Layers that are made of ops and variables, and the arg scopes that they take their defaults from.
 */
#include "graph/graph.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

/* ---- arg scopes ---- */

void crn_arg_scope_push(crn_graph *graph, const crn_arg_scope *scope)
{
    crn_arg_scope *copy = crn__alloc(1, sizeof *copy);
    if (copy == NULL || !crn__list_add(&graph->arg_scopes, copy)) {
        free(copy);
        crn__graph_fail(graph, CRN_NO_MEMORY, "%s", crn_status_text(CRN_NO_MEMORY));
        return;
    }
    *copy = (crn_arg_scope)CRN_ARG_SCOPE_INIT;
    CRN__COPY_OPTIONS(copy, scope);
}

void crn_arg_scope_pop(crn_graph *graph)
{
    if (graph->arg_scopes.count <= 1)
        crn__graph_fail(graph, CRN_INVALID, "crn_arg_scope_pop without crn_arg_scope_push");
    else
        free(graph->arg_scopes.items[--graph->arg_scopes.count]);
}

const crn_arg_scope *crn_arg_scope_current(const crn_graph *graph)
{
    return graph->arg_scopes.items[graph->arg_scopes.count - 1];
}

/* ---- pieces ---- */

static crn_node *activate(crn_graph *graph, crn_node *x, crn_activation activation)
{
    switch (activation) {
    case CRN_ACTIVATION_RELU:
        return crn_relu(graph, x);
    case CRN_ACTIVATION_RELU6:
        return crn_relu6(graph, x);
    case CRN_ACTIVATION_DEFAULT:
    case CRN_ACTIVATION_NONE:
        return x;
    }
    crn__graph_fail(graph, CRN_INVALID, "unknown activation %d", (int)activation);
    return NULL;
}

/* A layer's weights: initialised and regularised as the arg scope says. */
static crn_node *weights(crn_graph *graph, crn_shape shape)
{
    const crn_arg_scope *scope = crn_arg_scope_current(graph);
    crn_node *w = crn_variable(graph, "weights", shape, scope->weights_initializer, true);
    if (w != NULL)
        w->weight_decay = scope->weight_decay;
    return w;
}

static crn_node *constant_variable(crn_graph *graph, const char *name, int64_t channels,
                                   float value, bool trainable)
{
    return crn_variable(graph, name, CRN_SHAPE(channels),
                        (crn_initializer){CRN_INIT_CONSTANT, value}, trainable);
}

static bool is_layer_input(crn_graph *graph, const crn_node *x, int rank, int64_t outputs,
                           const char *layer)
{
    char text[96];
    if (graph->error.status != CRN_OK)
        return false;
    if (x == NULL)
        crn__graph_fail(graph, CRN_INVALID, "%s: the input is NULL", layer);
    else if (x->shape.rank != rank && rank != 0)
        crn__graph_fail(graph, CRN_INVALID, "%s: the input is %s, not of rank %d", layer,
                        crn_shape_text(&x->shape, text, sizeof text), rank);
    else if (x->shape.rank < 1 || x->shape.dims[x->shape.rank - 1] == CRN_ANY || outputs < 1 ||
             outputs > INT32_MAX)
        crn__graph_fail(graph, CRN_INVALID,
                        "%s: needs input channels and a positive number of outputs", layer);
    else
        return true;
    return false;
}

/* ---- batch norm ---- */

crn_node *crn_batch_norm(crn_graph *graph, crn_node *x, const crn_batch_norm_options *options)
{
    if (!is_layer_input(graph, x, 0, 1, "batch_norm"))
        return NULL;
    crn_batch_norm_options o = crn_arg_scope_current(graph)->batch_norm;
    const crn_activation scope_activation = o.activation;
    CRN__COPY_OPTIONS(&o, options);
    if (o.activation == CRN_ACTIVATION_DEFAULT)
        o.activation = scope_activation;
    if (!(o.epsilon > 0.0f) || !(o.decay >= 0.0f && o.decay <= 1.0f)) {
        crn__graph_fail(graph, CRN_INVALID,
                        "batch_norm: epsilon %g must be positive and decay %g in [0,1]",
                        (double)o.epsilon, (double)o.decay);
        return NULL;
    }
    int64_t channels = x->shape.dims[x->shape.rank - 1];
    crn_scope_push(graph, o.scope != NULL ? o.scope : "BatchNorm");
    crn_node *beta = o.center ? constant_variable(graph, "beta", channels, 0.0f, true) : NULL;
    crn_node *gamma = o.scale ? constant_variable(graph, "gamma", channels, 1.0f, true) : NULL;
    crn_node *mean = constant_variable(graph, "moving_mean", channels, 0.0f, false);
    crn_node *variance = constant_variable(graph, "moving_variance", channels, 1.0f, false);
    crn__attrs attrs = {.epsilon = o.epsilon,
                        .decay = o.decay,
                        .is_training = o.is_training,
                        .freezes = o.freeze_bn};
    crn_node *y = crn__apply(graph, &crn__op_batch_norm, "FusedBatchNormV3", &attrs,
                             (crn_node *[]){x, mean, variance, gamma, beta}, 5);
    y = activate(graph, y, o.activation);
    crn_scope_pop(graph);
    return y;
}

/* ---- convolution and dense ---- */

/* What follows the product: batch norm or biases, then the activation. */
static crn_node *finish_layer(crn_graph *graph, crn_node *x, crn_node *w, const crn__attrs *attrs,
                              const char *name, bool has_biases, crn_normalizer normalizer,
                              crn_activation activation)
{
    const crn_arg_scope *scope = crn_arg_scope_current(graph);
    if (normalizer == CRN_NORMALIZER_DEFAULT)
        normalizer = scope->normalizer;
    if (activation == CRN_ACTIVATION_DEFAULT)
        activation = scope->activation;
    if (normalizer != CRN_NORMALIZER_NONE && normalizer != CRN_NORMALIZER_BATCH_NORM)
        crn__graph_fail(graph, CRN_INVALID, "unknown normalizer %d", (int)normalizer);
    crn_node *biases = NULL;
    if (normalizer != CRN_NORMALIZER_BATCH_NORM && has_biases && w != NULL)
        biases = constant_variable(graph, "biases", w->shape.dims[w->shape.rank - 1], 0.0f, true);
    crn_node *y = crn__apply(graph, &crn__op_conv2d, name, attrs, (crn_node *[]){x, w, biases}, 3);
    if (normalizer == CRN_NORMALIZER_BATCH_NORM) {
        crn_batch_norm_options norm = scope->batch_norm;
        norm.activation = CRN_ACTIVATION_NONE;
        y = crn_batch_norm(graph, y, &norm);
    }
    return activate(graph, y, activation);
}

crn_node *crn_conv2d(crn_graph *graph, crn_node *x, int64_t num_outputs, int32_t kernel_h,
                     int32_t kernel_w, const crn_conv2d_options *options)
{
    crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
    CRN__COPY_OPTIONS(&o, options);
    const char *name = o.scope != NULL ? o.scope : "Conv";
    crn__attrs attrs = {.window = {.kernel = {kernel_h, kernel_w},
                                   .stride = {o.stride_h, o.stride_w},
                                   .rate = {o.rate_h, o.rate_w}}};
    const int32_t pads[4] = {o.pad_top, o.pad_bottom, o.pad_left, o.pad_right};
    if (!is_layer_input(graph, x, 4, num_outputs, name) ||
        !crn__resolve_window(graph, name, &attrs.window, o.padding, pads, x))
        return NULL;
    crn_scope_push(graph, name);
    crn_node *w = weights(graph, CRN_SHAPE(kernel_h, kernel_w, x->shape.dims[3], num_outputs));
    crn_node *y =
        finish_layer(graph, x, w, &attrs, "Conv2D", !o.no_biases, o.normalizer, o.activation);
    crn_scope_pop(graph);
    return y;
}

crn_node *crn_conv2d_same(crn_graph *graph, crn_node *x, int64_t num_outputs, int32_t kernel,
                          int32_t stride, const crn_conv2d_options *options)
{
    crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
    CRN__COPY_OPTIONS(&o, options);
    o.stride_h = o.stride_w = stride;
    o.padding = CRN_PADDING_SAME;
    if (stride > 1) {
        int64_t total = (int64_t)(kernel - 1) * o.rate_h;
        if (kernel < 1 || o.rate_h != o.rate_w || total < 0 || total > 65535) {
            crn__graph_fail(graph, CRN_INVALID, "conv2d_same: kernel %d with rates %d and %d",
                            kernel, o.rate_h, o.rate_w);
            return NULL;
        }
        o.padding = CRN_PADDING_EXPLICIT;
        o.pad_top = o.pad_left = (int32_t)(total / 2);
        o.pad_bottom = o.pad_right = (int32_t)(total - total / 2);
    }
    return crn_conv2d(graph, x, num_outputs, kernel, kernel, &o);
}

crn_node *crn_dense(crn_graph *graph, crn_node *x, int64_t num_outputs, crn_activation activation,
                    crn_normalizer normalizer, const char *scope)
{
    const char *name = scope != NULL ? scope : "fully_connected";
    if (!is_layer_input(graph, x, 2, num_outputs, name))
        return NULL;
    crn__attrs attrs = {.window = {.kernel = {1, 1}, .stride = {1, 1}, .rate = {1, 1}}};
    crn_scope_push(graph, name);
    crn_node *w = weights(graph, CRN_SHAPE(x->shape.dims[1], num_outputs));
    crn_node *y = finish_layer(graph, x, w, &attrs, "MatMul", true, normalizer, activation);
    crn_scope_pop(graph);
    return y;
}

/* ---- the rest ---- */

crn_node *crn_subsample(crn_graph *graph, crn_node *x, int32_t factor)
{
    if (factor == 1)
        return x;
    crn_pool_options o = CRN_POOL_OPTIONS_INIT;
    o.stride_h = o.stride_w = factor;
    return crn_max_pool2d(graph, x, 1, 1, &o);
}

crn_node *crn_regularization_loss(crn_graph *graph)
{
    if (graph->error.status != CRN_OK)
        return NULL;
    size_t n = 0;
    crn_node **decayed = crn__alloc(graph->variables.count, sizeof *decayed);
    float *scales = crn__alloc(graph->variables.count, sizeof *scales);
    if (decayed == NULL || scales == NULL || !crn__list_add(&graph->scales, scales)) {
        free(scales);
        free(decayed);
        crn__graph_fail(graph, CRN_NO_MEMORY, "%s", crn_status_text(CRN_NO_MEMORY));
        return NULL;
    }
    for (size_t i = 0; i < graph->variables.count; i++) {
        crn_node *variable = graph->variables.items[i];
        if (variable->weight_decay == 0.0f)
            continue;
        decayed[n] = variable;
        scales[n++] = variable->weight_decay;
    }
    crn_node *loss = crn__apply(graph, &crn__op_regularization, "total_regularization_loss",
                                &(crn__attrs){.scales = scales}, decayed, n);
    free(decayed);
    return loss;
}
