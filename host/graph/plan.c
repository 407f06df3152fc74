/*
 * Plans: a request (what to fetch, what to train, at which batch size) written out as a schedule of
 * launches.
 */
#include "graph/step.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"

struct crn__plan {
    crn_train_op *train;
    crn_node **wanted; /* the request's fetches */
    size_t n_fetches;
    int64_t batch;
    bool accumulates, diagnoses;

    crn__schedule *schedule;
    crn__tensor **fetches;
    crn__list inputs;  /* placeholders it needs… */
    crn__list feeds;   /* …and their tensors */
    crn__list written; /* persistent tensors that a run changes */
    crn__list looked;  /* looked_at, of a plan that diagnoses */
};

/* A value or gradient that is looked at. */
typedef struct looked_at {
    const crn_node *node;
    bool is_gradient;
    crn__tensor *finding; /* [1][2]: crn__emit_finite */
} looked_at;

/* What is known of each node while the schedule is written. */
typedef struct writer {
    crn_graph *graph;
    crn__plan *plan;
    crn__analysis analysis;
    crn__schedule *schedule;
    crn__tensor **values; /* by node index */
    crn__gradient *gradients;
    crn__call **calls;
    crn__update *waiting; /* by trained variable: updates that come once all gradients are known */
    size_t n;
} writer;

static crn_status no_memory(writer *w)
{
    return crn__schedule_fail(w->schedule, CRN_NO_MEMORY, crn_status_text(CRN_NO_MEMORY));
}

static void add(writer *w, crn__list *list, void *item)
{
    if (!crn__list_add(list, item))
        no_memory(w);
}

static crn_node *node_at(const writer *w, size_t i)
{
    return w->graph->nodes.items[i];
}

static crn__tensor *new_tensor(writer *w, const crn_node *node)
{
    crn_shape shape = crn__shape_at(&node->shape, w->plan->batch);
    return crn__schedule_tensor(w->schedule, node->dtype, &shape);
}

/* In a plan that diagnoses: looks at a node's value or gradient. */
static void look_at(writer *w, const crn_node *node, crn__tensor *tensor, bool is_gradient)
{
    if (!w->plan->diagnoses || node->dtype != CRN_F32)
        return;
    looked_at *look = crn__alloc(1, sizeof *look);
    if (look == NULL || !crn__list_add(&w->plan->looked, look)) {
        free(look);
        no_memory(w);
        return;
    }
    *look = (looked_at){node, is_gradient, crn__schedule_workspace(w->schedule, 2)};
    crn__emit_finite(w->schedule, &tensor, 1, look->finding);
    crn__schedule_keep(w->schedule, look->finding);
}

/* ---- forward ---- */

static crn__call *create_call(writer *w, const crn_node *node)
{
    crn__call *call = crn__alloc(1, sizeof *call);
    if (call != NULL) {
        call->inputs = crn__alloc(node->n_inputs, sizeof *call->inputs);
        call->d_inputs = crn__alloc(node->n_inputs, sizeof *call->d_inputs);
    }
    if (call == NULL || call->inputs == NULL || call->d_inputs == NULL) {
        if (call != NULL) {
            free(call->inputs);
            free(call->d_inputs);
        }
        free(call);
        no_memory(w);
        return NULL;
    }
    w->calls[node->index] = call;
    call->op = node->op;
    call->attrs = node->attrs;
    call->attrs.is_training = crn__takes_batch_statistics(node);
    call->n_inputs = node->n_inputs;
    call->wants_moments = w->analysis.normalised[node->index] && w->analysis.fused[node->index] < 0;
    call->is_folded = w->analysis.folded[node->index];
    for (size_t i = 0; i < node->n_inputs; i++) {
        const crn_node *input = node->inputs[i];
        call->inputs[i] = input != NULL ? w->values[input->index] : NULL;
        if (i < 2 && input != NULL && w->analysis.folded[input->index])
            call->folded[i] = w->calls[input->index];
    }
    return call;
}

static void write_op(writer *w, const crn_node *node)
{
    crn__call *call = create_call(w, node);
    if (call == NULL)
        return;
    int32_t fused = w->analysis.fused[node->index];
    if (fused >= 0)
        call->attrs.activation = node_at(w, (size_t)fused)->attrs.activation;
    call->has_backward = w->analysis.active[node->index];
    call->output = w->values[node->index] = new_tensor(w, node);
    crn__schedule_label(w->schedule, node->name);
    node->op->forward(w->schedule, call);
}

/* A ReLU that the op before it has taken in: the value is there already. */
static bool is_fused(const writer *w, const crn_node *node)
{
    return node->op == &crn__op_activation &&
           w->analysis.fused[node->inputs[0]->index] == node->index;
}

static void write_forward(writer *w)
{
    for (size_t i = 0; i < w->n; i++) {
        crn_node *node = node_at(w, i);
        if (!w->analysis.needed[i])
            continue;
        switch (node->kind) {
        case CRN__NODE_PLACEHOLDER:
            w->values[i] = new_tensor(w, node);
            crn__schedule_feed(w->schedule, w->values[i]);
            add(w, &w->plan->inputs, node);
            add(w, &w->plan->feeds, w->values[i]);
            break;
        case CRN__NODE_VARIABLE:
            w->values[i] = node->tensor;
            break;
        case CRN__NODE_OP:
            if (is_fused(w, node))
                w->values[i] = w->values[node->inputs[0]->index];
            else
                write_op(w, node);
            break;
        case CRN__NODE_GRADIENT:
            break;
        }
        if (w->values[i] != NULL)
            look_at(w, node, w->values[i], false);
    }
}

/* ---- backward ---- */

/* A node's gradient has been used: others that share the tensor may now have it to themselves. */
static void release(writer *w, int32_t index)
{
    if (!w->analysis.kept[index])
        w->gradients[index].tensor->holders--;
}

static void write_backward_op(writer *w, const crn_node *node)
{
    int32_t fused = w->analysis.fused[node->index];
    int32_t owner = fused >= 0 ? fused : node->index; /* whose gradient is the output's */
    crn__tensor *dy = w->gradients[owner].tensor;
    if (dy == NULL || w->calls[node->index] == NULL)
        return; /* nothing that reaches the loss */
    crn__call *call = w->calls[node->index];
    call->d_output = dy;
    call->may_overwrite = dy->holders == 1 && !w->analysis.kept[owner];
    bool wanted = false;
    for (size_t i = 0; i < node->n_inputs; i++) {
        const crn_node *input = node->inputs[i];
        bool stopped = i < 32 && (node->op->stops_gradient & 1u << i) != 0;
        if (input != NULL && !stopped && w->analysis.active[input->index]) {
            call->d_inputs[i] = &w->gradients[input->index];
            wanted = true;
        }
    }
    if (!wanted)
        return; /* the gradient ends here: it is fetched */
    crn__schedule_label(w->schedule, node->name);
    node->op->backward(w->schedule, call);
    release(w, owner);
}

/* Marks the gradients that only an update uses: of trained variables, unless fetched as well, or
 * added to those of other runs. */
static void mark_for_update(writer *w)
{
    const crn_train_op *train = w->plan->train;
    if (train == NULL || train->options.accumulate > 1 || w->plan->diagnoses)
        return;
    for (size_t i = 0; i < train->variables.count; i++)
        w->gradients[((crn_node *)train->variables.items[i])->index].is_for_update = true;
    for (size_t i = 0; i < w->plan->n_fetches; i++)
        if (w->plan->wanted[i]->kind == CRN__NODE_GRADIENT)
            w->gradients[w->plan->wanted[i]->inputs[1]->index].is_for_update = false;
}

/* The gradient with respect to a node, but for a decay left to its update: zeros where the loss
 * does not depend on it. */
static crn__tensor *gradient_of(writer *w, const crn_node *node)
{
    crn__gradient *gradient = &w->gradients[node->index];
    if (gradient->tensor == NULL) {
        gradient->tensor = new_tensor(w, node);
        crn__emit_fill(w->schedule, gradient->tensor, 0.0f);
    }
    return gradient->tensor;
}

static void write_variable_update(writer *w, crn_node *variable)
{
    crn_train_op *train = w->plan->train;
    size_t i = 0, n = train != NULL ? train->variables.count : 0;
    while (i < n && train->variables.items[i] != variable)
        i++;
    if (i == n)
        return;
    crn__schedule_label(w->schedule, variable->name);
    crn__tensor *gradient = gradient_of(w, variable);
    if (w->plan->diagnoses) {
        look_at(w, variable, gradient, true);
        return;
    }
    crn__update update = {i, w->gradients[variable->index]};
    if (crn__updates_wait(train))
        w->waiting[i] = update;
    else
        crn__emit_updates(w->schedule, train, w->values[w->analysis.loss->index], &update, 1,
                          w->plan->accumulates);
    if (!w->plan->accumulates)
        add(w, &w->plan->written, variable->tensor);
}

/* The updates that waited for the last gradient. */
static void write_waiting_updates(writer *w)
{
    crn_train_op *train = w->plan->train;
    if (train == NULL || w->plan->diagnoses || !crn__updates_wait(train))
        return;
    crn__schedule_label(w->schedule, train->loss->name);
    crn__emit_updates(w->schedule, train, w->values[train->loss->index], w->waiting,
                      train->variables.count, w->plan->accumulates);
}

/*
 * A node comes before those that use it. When a variable's turn has come, its gradient is complete
 * and nothing that follows reads the variable: it is updated, and the gradient's memory is free,
 * unless the update has to wait for the other gradients.
 */
static void write_backward(writer *w)
{
    mark_for_update(w);
    const crn_node *loss = w->analysis.loss;
    crn__tensor *seed = w->gradients[loss->index].tensor = new_tensor(w, loss);
    seed->holders = 1;
    crn__schedule_label(w->schedule, loss->name);
    crn__emit_fill(w->schedule, seed, 1.0f);
    for (size_t i = w->n; i-- > 0;) {
        crn_node *node = node_at(w, i);
        if (node->kind == CRN__NODE_VARIABLE)
            write_variable_update(w, node);
        else if (node->kind == CRN__NODE_OP && w->analysis.active[i] && !is_fused(w, node))
            write_backward_op(w, node);
    }
    if (crn__schedule_status(w->schedule) == CRN_OK)
        write_waiting_updates(w);
}

/* ---- fetches and updates ---- */

/* Fetched variables are copied before anything runs: their values are those before the update. */
static void write_variable_fetches(writer *w)
{
    for (size_t i = 0; i < w->plan->n_fetches; i++) {
        const crn_node *node = w->plan->wanted[i];
        if (node->kind == CRN__NODE_VARIABLE) {
            w->plan->fetches[i] = new_tensor(w, node);
            crn__emit_copy(w->schedule, node->tensor, w->plan->fetches[i], false);
        }
    }
}

static void write_fetches(writer *w)
{
    for (size_t i = 0; i < w->plan->n_fetches; i++) {
        const crn_node *node = w->plan->wanted[i];
        if (node->kind == CRN__NODE_GRADIENT)
            w->plan->fetches[i] = gradient_of(w, node->inputs[1]);
        else if (node->kind != CRN__NODE_VARIABLE)
            w->plan->fetches[i] = w->values[node->index];
        crn__schedule_keep(w->schedule, w->plan->fetches[i]);
    }
}

/* What ops of the loss do in a training step: batch norms move their statistics. */
static void write_op_updates(writer *w)
{
    const crn_train_op *train = w->plan->train;
    for (size_t i = 0; i < w->n; i++) {
        const crn_node *node = node_at(w, i);
        crn__call *call = w->calls[i];
        if (call == NULL || !w->analysis.in_loss[i] || node->op->update == NULL)
            continue;
        crn__schedule_label(w->schedule, node->name);
        call->verdict = train->options.guard != CRN_GUARD_OFF ? train->verdict : NULL;
        node->op->update(w->schedule, call);
        for (size_t k = 0; k < call->n_inputs; k++)
            if (k < 32 && (node->op->updates & 1u << k) != 0)
                add(w, &w->plan->written, call->inputs[k]);
    }
}

/* ---- the plan ---- */

/* What is made of a variable that every step changes need not be kept for the next step. */
static void mark_changes(const crn_train_op *train, bool changes)
{
    for (size_t i = 0; train != NULL && i < train->variables.count; i++)
        ((crn_node *)train->variables.items[i])->tensor->changes = changes;
}

static crn_status write(writer *w)
{
    write_variable_fetches(w);
    write_forward(w);
    if (w->analysis.loss != NULL && crn__schedule_status(w->schedule) == CRN_OK)
        write_backward(w);
    if (crn__schedule_status(w->schedule) == CRN_OK)
        write_fetches(w);
    bool trains = w->plan->train != NULL && !w->plan->diagnoses;
    if (trains && crn__schedule_status(w->schedule) == CRN_OK)
        write_op_updates(w);
    if (trains && !w->plan->accumulates && crn__schedule_status(w->schedule) == CRN_OK)
        crn__emit_step_end(w->schedule, w->plan->train);
    return crn__schedule_place(w->schedule);
}

static void free_writer(writer *w)
{
    for (size_t i = 0; w->calls != NULL && i < w->n; i++) {
        if (w->calls[i] == NULL)
            continue;
        free(w->calls[i]->inputs);
        free(w->calls[i]->d_inputs);
        free(w->calls[i]);
    }
    free(w->values);
    free(w->gradients);
    free(w->calls);
    free(w->waiting);
    crn__analysis_free(&w->analysis);
}

void crn__plan_free(crn__plan *plan)
{
    if (plan == NULL)
        return;
    crn__schedule_free(plan->schedule);
    free(plan->wanted);
    free(plan->fetches);
    free(plan->inputs.items);
    free(plan->feeds.items);
    free(plan->written.items);
    for (size_t i = 0; i < plan->looked.count; i++)
        free(plan->looked.items[i]);
    free(plan->looked.items);
    free(plan);
}

crn_status crn__plan_create(crn_graph *graph, const crn__request *request, crn__plan **out)
{
    *out = NULL;
    crn_error *error = crn__context_fail(graph->context);
    crn__plan *plan = crn__alloc(1, sizeof *plan);
    if (plan == NULL)
        return crn__fail_memory(error);
    *plan = (crn__plan){.train = request->train,
                        .n_fetches = request->n_fetches,
                        .batch = request->batch,
                        .accumulates = request->accumulates,
                        .diagnoses = request->diagnoses};
    writer w = {.graph = graph, .plan = plan, .n = graph->nodes.count};
    w.schedule = plan->schedule = crn__schedule_create(graph->context, error);
    plan->wanted = crn__alloc(request->n_fetches, sizeof *plan->wanted);
    plan->fetches = crn__alloc(request->n_fetches, sizeof *plan->fetches);
    w.values = crn__alloc(w.n, sizeof *w.values);
    w.gradients = crn__alloc(w.n, sizeof *w.gradients);
    w.calls = crn__alloc(w.n, sizeof *w.calls);
    w.waiting = crn__alloc(w.n, sizeof *w.waiting);
    crn_status status = CRN_OK;
    if (w.schedule == NULL || plan->wanted == NULL || plan->fetches == NULL || w.values == NULL ||
        w.gradients == NULL || w.calls == NULL || w.waiting == NULL)
        status = crn__fail_memory(error);
    if (status == CRN_OK) {
        for (size_t i = 0; i < request->n_fetches; i++)
            plan->wanted[i] = request->fetches[i];
        status = crn__analyse(graph, request, &w.analysis);
    }
    mark_changes(request->train, true);
    if (status == CRN_OK)
        status = write(&w);
    mark_changes(request->train, false);
    free_writer(&w);
    if (status == CRN_OK)
        *out = plan;
    else
        crn__plan_free(plan);
    return status;
}

bool crn__plan_serves(const crn__plan *plan, const crn__request *request)
{
    if (plan->train != request->train || plan->batch != request->batch ||
        plan->n_fetches != request->n_fetches || plan->accumulates != request->accumulates)
        return false;
    for (size_t i = 0; i < plan->n_fetches; i++)
        if (plan->wanted[i] != request->fetches[i])
            return false;
    return true;
}

crn__schedule *crn__plan_schedule(crn__plan *plan)
{
    return plan->schedule;
}

crn__tensor *crn__plan_input(const crn__plan *plan, const crn_node *placeholder)
{
    for (size_t i = 0; i < plan->inputs.count; i++)
        if (plan->inputs.items[i] == placeholder)
            return plan->feeds.items[i];
    return NULL;
}

crn__tensor *crn__plan_fetch(const crn__plan *plan, size_t i)
{
    return plan->fetches[i];
}

const crn__list *crn__plan_inputs(const crn__plan *plan)
{
    return &plan->inputs;
}

void crn__plan_ran(crn__plan *plan)
{
    for (size_t i = 0; i < plan->written.count; i++)
        ((crn__tensor *)plan->written.items[i])->version++;
}

crn_status crn__plan_find_non_finite(const crn__plan *plan, const crn_node **node,
                                     bool *is_gradient)
{
    *node = NULL;
    for (size_t i = 0; i < plan->looked.count && *node == NULL; i++) {
        const looked_at *look = plan->looked.items[i];
        float finding;
        CRN__TRY(crn__buffer_read(look->finding->buffer, 0, &finding, sizeof finding));
        if (finding == 0.0f)
            continue;
        *node = look->node;
        *is_gradient = look->is_gradient;
    }
    return CRN_OK;
}
