/*
 * What a request needs of a graph: which values, through which nodes gradients pass, and which
 * ReLUs are taken in by the op before them.
 */
#include "graph/graph.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"

static crn_node *node_at(const crn_graph *graph, size_t i)
{
    return graph->nodes.items[i];
}

void crn__analysis_free(crn__analysis *analysis)
{
    free(analysis->needed);
    free(analysis->active);
    free(analysis->in_loss);
    free(analysis->kept);
    free(analysis->consumers);
    free(analysis->fused);
    free(analysis->folded);
    free(analysis->normalised);
    *analysis = (crn__analysis){.loss = NULL};
}

static crn_status allocate(crn__analysis *analysis, size_t n, crn_error *error)
{
    analysis->needed = crn__alloc(n, sizeof *analysis->needed);
    analysis->active = crn__alloc(n, sizeof *analysis->active);
    analysis->kept = crn__alloc(n, sizeof *analysis->kept);
    analysis->consumers = crn__alloc(n, sizeof *analysis->consumers);
    analysis->fused = crn__alloc(n, sizeof *analysis->fused);
    analysis->folded = crn__alloc(n, sizeof *analysis->folded);
    analysis->normalised = crn__alloc(n, sizeof *analysis->normalised);
    analysis->in_loss = crn__alloc(n, sizeof *analysis->in_loss);
    if (analysis->normalised == NULL || analysis->in_loss == NULL || analysis->folded == NULL ||
        analysis->needed == NULL || analysis->active == NULL || analysis->kept == NULL ||
        analysis->consumers == NULL || analysis->fused == NULL)
        return crn__fail_memory(error);
    return CRN_OK;
}

/* One run has one loss: its gradients are computed together. */
static crn_status take_loss(crn__analysis *analysis, const crn_node *loss, crn_error *error)
{
    if (analysis->loss != NULL && analysis->loss != loss)
        return crn__fail(error, CRN_UNSUPPORTED,
                         "gradients of two losses, \"%s\" and \"%s\", in one run",
                         analysis->loss->name, loss->name);
    analysis->loss = loss;
    return CRN_OK;
}

/* Marks everything that a marked node uses. */
static void mark_inputs(const crn_graph *graph, bool *marked)
{
    for (size_t i = graph->nodes.count; i-- > 0;) {
        const crn_node *node = node_at(graph, i);
        for (size_t k = 0; marked[i] && node->kind == CRN__NODE_OP && k < node->n_inputs; k++)
            if (node->inputs[k] != NULL)
                marked[node->inputs[k]->index] = true;
    }
}

/* A gradient passes through nodes between the loss and what it is taken with respect to (kept). */
static void mark_active(const crn_graph *graph, crn__analysis *analysis)
{
    size_t n = graph->nodes.count;
    analysis->in_loss[analysis->loss->index] = true;
    mark_inputs(graph, analysis->in_loss);
    for (size_t i = 0; i < n; i++) {
        const crn_node *node = node_at(graph, i);
        bool depends = analysis->kept[i];
        if (node->kind == CRN__NODE_OP && node->op->backward != NULL)
            for (size_t k = 0; k < node->n_inputs; k++) {
                bool stopped = k < 32 && (node->op->stops_gradient & 1u << k) != 0;
                if (node->inputs[k] != NULL && !stopped && analysis->active[node->inputs[k]->index])
                    depends = true;
            }
        analysis->active[i] = depends && analysis->in_loss[i];
    }
}

static void count_consumers(const crn_graph *graph, crn__analysis *analysis)
{
    for (size_t i = 0; i < graph->nodes.count; i++) {
        const crn_node *node = node_at(graph, i);
        for (size_t k = 0; analysis->needed[i] && node->kind == CRN__NODE_OP && k < node->n_inputs;
             k++)
            if (node->inputs[k] != NULL)
                analysis->consumers[node->inputs[k]->index]++;
    }
}

static bool is_fetched(const crn__request *request, const crn_node *node)
{
    for (size_t i = 0; i < request->n_fetches; i++)
        if (request->fetches[i] == node)
            return true;
    return request->diagnoses; /* every value is looked at */
}

/* An op takes in the ReLU that is its only consumer, unless its own value or gradient is wanted. */
static void fuse_activations(const crn_graph *graph, const crn__request *request,
                             crn__analysis *analysis)
{
    for (size_t i = 0; i < graph->nodes.count; i++)
        analysis->fused[i] = -1;
    for (size_t i = 0; i < graph->nodes.count; i++) {
        const crn_node *relu = node_at(graph, i);
        if (!analysis->needed[i] || relu->op != &crn__op_activation)
            continue;
        const crn_node *before = relu->inputs[0];
        if (before->kind == CRN__NODE_OP && before->op->fuses_activation &&
            analysis->consumers[before->index] == 1 && !analysis->kept[before->index] &&
            before != analysis->loss && !is_fetched(request, before))
            analysis->fused[before->index] = relu->index;
    }
}

/* Whether an op that follows may compute `node` itself: nothing else wants its value. */
static bool can_fold(const crn__request *request, const crn__analysis *analysis,
                     const crn_node *node, const crn__op *op)
{
    return node->op == op && analysis->consumers[node->index] == 1 && !is_fetched(request, node);
}

/* The input that a sum computes itself: a batch norm, else a convolution; or NULL. */
static const crn_node *summand_to_fold(const crn__request *request, const crn__analysis *analysis,
                                       const crn_node *sum)
{
    static const crn__op *const ops[] = {&crn__op_batch_norm, &crn__op_conv2d};
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 2; k-- > 0;)
            if (can_fold(request, analysis, sum->inputs[k], ops[i]))
                return sum->inputs[k];
    return NULL;
}

/*
 * A sum computes one of its inputs; a batch norm with fixed statistics has the convolution before
 * it multiply and add, unless a gradient passes, which wants the convolution's own result.
 */
static void fold(const crn_graph *graph, const crn__request *request, crn__analysis *analysis)
{
    for (size_t i = 0; i < graph->nodes.count; i++) {
        const crn_node *node = node_at(graph, i);
        if (!analysis->needed[i])
            continue;
        bool by_batch = node->op == &crn__op_batch_norm && crn__takes_batch_statistics(node);
        if (by_batch)
            analysis->normalised[node->inputs[0]->index] = true;
        if (node->op == &crn__op_add) {
            const crn_node *summand = summand_to_fold(request, analysis, node);
            if (summand != NULL)
                analysis->folded[summand->index] = true;
        } else if (node->op == &crn__op_batch_norm && !by_batch && !analysis->active[i]) {
            const crn_node *conv = node->inputs[0];
            if (can_fold(request, analysis, conv, &crn__op_conv2d) && conv->inputs[2] == NULL)
                analysis->folded[conv->index] = true;
        }
    }
}

crn_status crn__analyse(crn_graph *graph, const crn__request *request, crn__analysis *analysis)
{
    crn_error *error = crn__context_fail(graph->context);
    CRN__TRY(allocate(analysis, graph->nodes.count, error));
    for (size_t i = 0; i < request->n_fetches; i++) {
        const crn_node *node = request->fetches[i];
        if (node->kind == CRN__NODE_GRADIENT) {
            CRN__TRY(take_loss(analysis, node->inputs[0], error));
            analysis->kept[node->inputs[1]->index] = true;
        } else {
            analysis->needed[node->index] = true;
        }
    }
    if (request->train != NULL) {
        CRN__TRY(take_loss(analysis, request->train->loss, error));
        for (size_t i = 0; i < request->train->variables.count; i++)
            analysis->kept[((crn_node *)request->train->variables.items[i])->index] = true;
    }
    if (analysis->loss != NULL)
        analysis->needed[analysis->loss->index] = true;
    mark_inputs(graph, analysis->needed);
    if (analysis->loss != NULL)
        mark_active(graph, analysis);
    count_consumers(graph, analysis);
    fuse_activations(graph, request, analysis);
    fold(graph, request, analysis);
    return CRN_OK;
}
