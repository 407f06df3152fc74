#include "clarinet/optim.h"

#include <stdlib.h>

#include "core/error.h"
#include "core/memory.h"
#include "graph/graph.h"

crn_optimizer crn_gradient_descent(float learning_rate)
{
    return (crn_optimizer){CRN_OPTIMIZER_GRADIENT_DESCENT, learning_rate, 0.0f};
}

crn_optimizer crn_momentum(float learning_rate, float momentum)
{
    return (crn_optimizer){CRN_OPTIMIZER_MOMENTUM, learning_rate, momentum};
}

static void emit_gradient_descent(crn__schedule *schedule, const crn_train_op *train,
                                  crn__tensor *variable, const crn__gradient *gradient,
                                  crn__tensor *slot)
{
    (void)slot;
    size_t count = crn__tensor_count(variable);
    crn__task task = crn__task_flat(schedule, "optimizer.cl", "gradient_descent", count);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(variable), CRN__TENSOR(gradient->tensor),
                                    CRN__TENSOR(gradient->decay.dy),
                                    CRN__LONG(crn__flat_vectors(schedule, count)),
                                    CRN__FLOAT(gradient->decay.scale),
                                    CRN__FLOAT_AT(&train->optimizer.learning_rate)));
}

static void emit_momentum(crn__schedule *schedule, const crn_train_op *train, crn__tensor *variable,
                          const crn__gradient *gradient, crn__tensor *slot)
{
    size_t count = crn__tensor_count(variable);
    crn__task task = crn__task_flat(schedule, "optimizer.cl", "momentum", count);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(variable), CRN__TENSOR(gradient->tensor),
                                    CRN__TENSOR(gradient->decay.dy), CRN__TENSOR(slot),
                                    CRN__LONG(crn__flat_vectors(schedule, count)),
                                    CRN__FLOAT(gradient->decay.scale),
                                    CRN__FLOAT_AT(&train->optimizer.learning_rate),
                                    CRN__FLOAT(train->optimizer.momentum)));
}

/* Trainable variables that loss depends on, each with its slot. */
static bool collect_variables(crn_train_op *train, bool *reached)
{
    crn_graph *graph = train->graph;
    reached[train->loss->index] = true;
    for (size_t i = graph->nodes.count; i-- > 0;) {
        const crn_node *node = graph->nodes.items[i];
        for (size_t k = 0; reached[i] && node->kind == CRN__NODE_OP && k < node->n_inputs; k++)
            if (node->inputs[k] != NULL)
                reached[node->inputs[k]->index] = true;
    }
    for (size_t i = 0; i < graph->variables.count; i++) {
        crn_node *variable = graph->variables.items[i];
        if (!reached[variable->index] || !variable->trainable)
            continue;
        if (!crn__list_add(&train->variables, variable))
            return false;
        if (train->slot_name == NULL)
            continue;
        crn__tensor *slot = crn__tensor_create(CRN_F32, &variable->shape);
        if (slot == NULL || !crn__list_add(&train->slots, slot)) {
            crn__tensor_free(slot);
            return false;
        }
    }
    return true;
}

crn_train_op *crn_minimize(crn_graph *graph, crn_optimizer optimizer, crn_node *loss)
{
    if (graph->error.status != CRN_OK)
        return NULL;
    if (loss == NULL || loss->graph != graph || loss->shape.rank != 0) {
        crn__graph_fail(graph, CRN_INVALID, "minimize: the loss must be a scalar of this graph");
        return NULL;
    }
    crn_train_op *train = crn__alloc(1, sizeof *train);
    if (train == NULL || !crn__list_add(&graph->train_ops, train)) {
        free(train);
        crn__graph_fail(graph, CRN_NO_MEMORY, "%s", crn_status_text(CRN_NO_MEMORY));
        return NULL;
    }
    *train = (crn_train_op){.graph = graph, .loss = loss, .optimizer = optimizer};
    switch (optimizer.kind) {
    case CRN_OPTIMIZER_GRADIENT_DESCENT:
        train->emit = emit_gradient_descent;
        break;
    case CRN_OPTIMIZER_MOMENTUM:
        train->emit = emit_momentum;
        train->slot_name = "Momentum";
        break;
    default:
        crn__graph_fail(graph, CRN_INVALID, "minimize: unknown optimizer %d", (int)optimizer.kind);
        return NULL;
    }
    bool *reached = crn__alloc(graph->nodes.count, sizeof *reached);
    if (reached == NULL || !collect_variables(train, reached))
        crn__graph_fail(graph, CRN_NO_MEMORY, "%s", crn_status_text(CRN_NO_MEMORY));
    free(reached);
    return graph->error.status == CRN_OK ? train : NULL;
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
