/* crn_minimize: a training operation for a loss. */
#include "clarinet/optim.h"

#include <stdlib.h>

#include "core/error.h"
#include "core/memory.h"
#include "optim/table.h"

static void mark_reached(const crn_train_op *train, bool *reached)
{
    const crn_graph *graph = train->graph;
    reached[train->loss->index] = true;
    for (size_t i = graph->nodes.count; i-- > 0;) {
        const crn_node *node = graph->nodes.items[i];
        for (size_t k = 0; reached[i] && node->kind == CRN__NODE_OP && k < node->n_inputs; k++)
            if (node->inputs[k] != NULL)
                reached[node->inputs[k]->index] = true;
    }
}

/* Trainable variables that the loss depends on, in order of creation, and their slots. */
static bool fill(crn_train_op *train)
{
    crn_graph *graph = train->graph;
    bool *reached = crn__alloc(graph->nodes.count, sizeof *reached);
    bool ok = reached != NULL;
    if (ok)
        mark_reached(train, reached);
    for (size_t i = 0; ok && i < graph->variables.count; i++) {
        crn_node *variable = graph->variables.items[i];
        if (reached[variable->index] && crn_variable_is_trainable(variable))
            ok = crn__list_add(&train->variables, variable);
    }
    ok = ok && crn__train_op_make_slots(train, reached);
    free(reached);
    return ok;
}

static crn_status check_options(const crn_minimize_options *o, crn_error *error)
{
    if (o->accumulate < 1)
        return crn__fail(error, CRN_INVALID, "%d runs make no step", o->accumulate);
    if (!(o->clip_norm >= 0.0f) || !(o->clip_global_norm >= 0.0f) ||
        (o->clip_norm > 0.0f && o->clip_global_norm > 0.0f))
        return crn__fail(error, CRN_INVALID,
                         "gradients are clipped by norms of %g each or %g together: one must be 0, "
                         "the other not negative",
                         (double)o->clip_norm, (double)o->clip_global_norm);
    if (!(o->moving_average_decay >= 0.0f && o->moving_average_decay < 1.0f))
        return crn__fail(error, CRN_INVALID, "a moving average's decay of %g is not in [0,1)",
                         (double)o->moving_average_decay);
    if (o->guard != CRN_GUARD_OFF && o->guard != CRN_GUARD_STOP && o->guard != CRN_GUARD_SKIP)
        return crn__fail(error, CRN_INVALID, "unknown guard %d", (int)o->guard);
    return CRN_OK;
}

crn_train_op *crn_minimize_with(crn_graph *graph, crn_optimizer optimizer, crn_node *loss,
                                const crn_minimize_options *options)
{
    if (graph->error.status != CRN_OK)
        return NULL;
    if (loss == NULL || loss->graph != graph || loss->shape.rank != 0) {
        crn__graph_fail(graph, CRN_INVALID, "minimize: the loss must be a scalar of this graph");
        return NULL;
    }
    crn_minimize_options o = CRN_MINIMIZE_OPTIONS_INIT;
    CRN__COPY_OPTIONS(&o, options);
    crn_error error = {.status = CRN_OK};
    const crn__optimizer_row *row = crn__optimizer_find(&optimizer, &error);
    if (row == NULL || check_options(&o, &error) != CRN_OK) {
        crn__graph_fail(graph, CRN_INVALID, "minimize: %s", error.text);
        return NULL;
    }
    crn_train_op *train = crn__alloc(1, sizeof *train);
    if (train == NULL || !crn__list_add(&graph->train_ops, train)) {
        free(train);
        crn__graph_fail(graph, CRN_NO_MEMORY, "%s", crn_status_text(CRN_NO_MEMORY));
        return NULL;
    }
    *train = (crn_train_op){
        .graph = graph, .loss = loss, .optimizer = optimizer, .row = row, .options = o};
    if (!fill(train)) {
        crn__graph_fail(graph, CRN_NO_MEMORY, "%s", crn_status_text(CRN_NO_MEMORY));
        return NULL;
    }
    return train;
}

crn_train_op *crn_minimize(crn_graph *graph, crn_optimizer optimizer, crn_node *loss)
{
    return crn_minimize_with(graph, optimizer, loss, NULL);
}

void crn_train_op_set_learning_rate(crn_train_op *train, float learning_rate)
{
    if (train != NULL)
        train->optimizer.learning_rate = learning_rate;
}

int64_t crn_train_op_step(const crn_train_op *train)
{
    return train != NULL ? train->step : 0;
}
