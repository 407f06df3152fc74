#include "graph/step.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"

/* ---- life ---- */

bool crn__list_add(crn__list *list, void *item)
{
    if (!crn__grow((void **)&list->items, list->count, &list->capacity, sizeof *list->items))
        return false;
    list->items[list->count++] = item;
    return true;
}

static void list_free(crn__list *list, void (*free_item)(void *))
{
    for (size_t i = 0; free_item != NULL && i < list->count; i++)
        free_item(list->items[i]);
    free(list->items);
    *list = (crn__list){.items = NULL};
}

static void free_node(void *item)
{
    crn_node *node = item;
    crn__tensor_free(node->tensor);
    free(node->name);
    free(node->inputs);
    free(node);
}

static void free_plan(void *item)
{
    crn__plan_free(item);
}

crn_status crn__drop_plans(crn_graph *graph)
{
    CRN__TRY(crn__finish(graph->context));
    list_free(&graph->plans, free_plan);
    return CRN_OK;
}

crn_status crn_graph_create(crn_context *context, crn_graph **out)
{
    *out = NULL;
    crn_graph *graph = crn__alloc(1, sizeof *graph);
    if (graph == NULL)
        return crn__fail_memory(crn__context_fail(context));
    graph->context = context;
    const crn_arg_scope defaults = CRN_ARG_SCOPE_INIT;
    crn_arg_scope_push(graph, &defaults);
    if (graph->error.status != CRN_OK) {
        crn_graph_free(graph);
        return crn__fail_memory(crn__context_fail(context));
    }
    *out = graph;
    return CRN_OK;
}

void crn_graph_free(crn_graph *graph)
{
    if (graph == NULL)
        return;
    crn__finish(graph->context);
    list_free(&graph->plans, free_plan);
    crn__arena_free(&graph->arena);
    list_free(&graph->train_ops, crn__train_op_free);
    list_free(&graph->end_points, crn__named_free);
    list_free(&graph->scopes, crn__named_free);
    list_free(&graph->arg_scopes, free);
    list_free(&graph->scales, free);
    list_free(&graph->variables, NULL);
    list_free(&graph->nodes, free_node);
    free(graph);
}

/* ---- errors ---- */

crn_status crn_graph_status(const crn_graph *graph)
{
    return graph->error.status;
}

const crn_error *crn_graph_error(const crn_graph *graph)
{
    return graph->error.status != CRN_OK ? &graph->error : crn_context_error(graph->context);
}

crn_context *crn_graph_context(const crn_graph *graph)
{
    return graph->context;
}

void crn_graph_set_seed(crn_graph *graph, uint64_t seed)
{
    graph->seed = seed;
}

crn_status crn__graph_fail(crn_graph *graph, crn_status status, const char *format, ...)
{
    if (graph->error.status != CRN_OK)
        return graph->error.status;
    char text[CRN_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    char *scope = crn__scoped_name(graph, "");
    crn__fail(&graph->error, status, "%s%s%s", scope != NULL ? scope : "",
              scope != NULL && scope[0] != '\0' ? ": " : "", text);
    free(scope);
    return status;
}

/* ---- nodes ---- */

bool crn__shape_valid(const crn_shape *shape, bool open)
{
    if (shape->rank < 0 || shape->rank > CRN_MAX_RANK)
        return false;
    int64_t count = 4;
    for (int i = 0; i < shape->rank; i++) {
        int64_t size = shape->dims[i];
        if (size == CRN_ANY && open && i == 0)
            continue;
        if (size < 1 || size > INT32_MAX || __builtin_mul_overflow(count, size, &count))
            return false;
    }
    return true;
}

crn_shape crn__shape_at(const crn_shape *shape, int64_t batch)
{
    crn_shape closed = *shape;
    if (closed.rank > 0 && closed.dims[0] == CRN_ANY)
        closed.dims[0] = batch;
    return closed;
}

crn_node *crn__node_create(crn_graph *graph, crn__node_kind kind, const char *name, crn_dtype dtype,
                           const crn_shape *shape, crn_node *const *inputs, size_t n_inputs)
{
    if (graph->error.status != CRN_OK)
        return NULL;
    crn_node *node = crn__alloc(1, sizeof *node);
    char *full = crn__scoped_name(graph, name);
    crn_node **copy = crn__alloc(n_inputs, sizeof *copy);
    if (node == NULL || full == NULL || copy == NULL || !crn__list_add(&graph->nodes, node)) {
        free(node);
        free(full);
        free(copy);
        crn__graph_fail(graph, CRN_NO_MEMORY, "%s", crn_status_text(CRN_NO_MEMORY));
        return NULL;
    }
    for (size_t i = 0; i < n_inputs; i++)
        copy[i] = inputs[i];
    *node = (crn_node){.graph = graph,
                       .kind = kind,
                       .index = (int32_t)graph->nodes.count - 1,
                       .name = full,
                       .dtype = dtype,
                       .shape = *shape,
                       .inputs = copy,
                       .n_inputs = n_inputs};
    return node;
}

/* Whether every input can be an op's: there, of this graph, and of a type that it takes. */
static bool inputs_valid(crn_graph *graph, const crn__op *op, crn_node *const *inputs,
                         size_t n_inputs)
{
    for (size_t i = 0; i < n_inputs; i++) {
        uint32_t bit = i < 32 ? 1u << i : 0;
        if (inputs[i] == NULL && (op->optional_inputs & bit) != 0)
            continue;
        if (inputs[i] == NULL)
            crn__graph_fail(graph, CRN_INVALID, "%s: input %zu is NULL", op->name, i);
        else if (inputs[i]->graph != graph)
            crn__graph_fail(graph, CRN_INVALID, "%s: \"%s\" is of another graph", op->name,
                            inputs[i]->name);
        else if (inputs[i]->dtype != CRN_F32 && (op->takes_integers & bit) == 0)
            crn__graph_fail(graph, CRN_INVALID, "%s: \"%s\" is not float32", op->name,
                            inputs[i]->name);
        else if (inputs[i]->dtype != CRN_I32 && (op->needs_integers & bit) != 0)
            crn__graph_fail(graph, CRN_INVALID, "%s: \"%s\" is not int32", op->name,
                            inputs[i]->name);
        else
            continue;
        return false;
    }
    return true;
}

crn_node *crn__apply(crn_graph *graph, const crn__op *op, const char *name, const crn__attrs *attrs,
                     crn_node *const *inputs, size_t n_inputs)
{
    if (graph->error.status != CRN_OK || !inputs_valid(graph, op, inputs, n_inputs))
        return NULL;
    crn_shape output = n_inputs > 0 ? inputs[0]->shape : (crn_shape){.rank = 0};
    crn_shape *shapes = crn__alloc(n_inputs, sizeof *shapes);
    crn_error error = {.status = CRN_OK};
    if (shapes == NULL)
        crn__fail_memory(&error);
    for (size_t i = 0; shapes != NULL && i < n_inputs; i++)
        if (inputs[i] != NULL)
            shapes[i] = inputs[i]->shape;
    if (error.status == CRN_OK && op->infer != NULL)
        op->infer(attrs, shapes, n_inputs, &output, &error);
    free(shapes);
    if (error.status != CRN_OK) {
        crn__graph_fail(graph, error.status, "%s: %s", name, error.text);
        return NULL;
    }
    if (!crn__shape_valid(&output, true)) {
        crn__graph_fail(graph, CRN_INVALID, "%s: the output is too large", name);
        return NULL;
    }
    crn_node *node =
        crn__node_create(graph, CRN__NODE_OP, name, CRN_F32, &output, inputs, n_inputs);
    if (node != NULL) {
        node->op = op;
        node->attrs = *attrs;
    }
    return node;
}

bool crn__resolve_window(crn_graph *graph, const char *name, crn__window *window,
                         crn_padding padding, const int32_t pads[4], const crn_node *x)
{
    if (x == NULL || graph->error.status != CRN_OK) {
        crn__graph_fail(graph, CRN_INVALID, "%s: the input is NULL", name);
        return false;
    }
    crn_error error = {.status = CRN_OK};
    char text[96];
    if (x->shape.rank != 4)
        crn__fail(&error, CRN_INVALID, "%s is not [N,H,W,C]",
                  crn_shape_text(&x->shape, text, sizeof text));
    else
        crn__window_resolve(window, padding, pads, &x->shape, &error);
    if (error.status != CRN_OK)
        crn__graph_fail(graph, error.status, "%s: %s", name, error.text);
    return error.status == CRN_OK;
}

crn_node *crn_placeholder(crn_graph *graph, const char *name, crn_dtype dtype, crn_shape shape)
{
    if (name == NULL || crn_dtype_size(dtype) == 0 || !crn__shape_valid(&shape, true)) {
        crn__graph_fail(
            graph, CRN_INVALID,
            "placeholder \"%s\": needs a name, a dtype and positive dimensions, of which "
            "only the first may be CRN_ANY",
            name != NULL ? name : "");
        return NULL;
    }
    return crn__node_create(graph, CRN__NODE_PLACEHOLDER, name, dtype, &shape, NULL, 0);
}

const char *crn_node_name(const crn_node *node)
{
    return node != NULL ? node->name : "";
}

crn_dtype crn_node_dtype(const crn_node *node)
{
    return node != NULL ? node->dtype : (crn_dtype)0;
}

crn_shape crn_node_shape(const crn_node *node)
{
    return node != NULL ? node->shape : (crn_shape){.rank = 0};
}

crn_node *crn_gradient(crn_graph *graph, crn_node *loss, crn_node *wrt)
{
    if (loss == NULL || wrt == NULL || loss->graph != graph || wrt->graph != graph ||
        loss->shape.rank != 0 || wrt->dtype != CRN_F32 || wrt->kind == CRN__NODE_GRADIENT) {
        crn__graph_fail(graph, CRN_INVALID,
                        "gradient: needs a scalar loss and a float32 node of the same graph");
        return NULL;
    }
    return crn__node_create(graph, CRN__NODE_GRADIENT, "gradient", CRN_F32, &wrt->shape,
                            (crn_node *[]){loss, wrt}, 2);
}
