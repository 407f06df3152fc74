/* A step on the device: gradients are measured, judged, added up, and their variables updated. */
#include "graph/step.h"

#include <stddef.h>

#include "core/error.h"

/* Of a kernel that measures tensors: how many, and the most work-items. */
#define AT_ONCE 4
#define MOST_PARTS 4096

/* The first numbers of a verdict, as cl/optimizer.cl has them. */
enum { RUN_OK, STEP_OK, SKIPPED, HEAD };

static bool guards(const crn_train_op *train)
{
    return train->options.guard != CRN_GUARD_OFF;
}

/* Whether the norms of gradients are asked for. */
static bool needs_norms(const crn_train_op *train)
{
    return train->row->has_trust || train->options.clip_norm > 0.0f ||
           train->options.clip_global_norm > 0.0f;
}

bool crn__updates_wait(const crn_train_op *train)
{
    return guards(train) || train->options.clip_global_norm > 0.0f;
}

/* ---- measuring ---- */

/* A tensor to be measured: cl/optimizer.cl's TENSOR. */
typedef struct measured {
    crn__tensor *tensor, *weights;
    crn__decay decay;
} measured;

static crn__task one_item(const char *kernel)
{
    crn__task task = crn__task_kernel("optimizer.cl", kernel, "-DVW=1 -DGROUP=1");
    task.range = (crn__range){1, {1, 1, 1}, {1, 1, 1}};
    return task;
}

/* Fills sums [n][2] for get(data, i) of i in [0, n). */
static void emit_sums(crn__schedule *schedule, measured (*get)(const void *data, size_t i),
                      const void *data, size_t n, bool squares, crn__tensor *sums)
{
    size_t largest = 1;
    for (size_t i = 0; i < n; i++) {
        size_t count = crn__tensor_count(get(data, i).tensor);
        largest = count > largest ? count : largest;
    }
    crn__task task = crn__task_flat(schedule, "optimizer.cl", "measure", largest);
    size_t group = task.range.local[0], parts = (task.range.global[0] + group - 1) / group * group;
    parts = parts < MOST_PARTS ? parts : MOST_PARTS / group * group;
    task.range.global[0] = parts;
    crn__tensor *partial = crn__schedule_workspace(schedule, n * 2 * parts);
    for (size_t i = 0; i < n; i += AT_ONCE) {
        crn__operand operands[AT_ONCE * 5 + 3];
        size_t used = 0;
        for (size_t k = 0; k < AT_ONCE; k++) {
            const measured m = i + k < n ? get(data, i + k) : (measured){.tensor = NULL};
            operands[used++] = CRN__TENSOR(m.tensor);
            operands[used++] = CRN__TENSOR(m.weights);
            operands[used++] = CRN__TENSOR(m.decay.dy);
            operands[used++] = CRN__LONG(m.tensor != NULL ? crn__tensor_count(m.tensor) : 0);
            operands[used++] = CRN__FLOAT(m.decay.scale);
        }
        operands[used++] = CRN__TENSOR(partial);
        operands[used++] = CRN__INT(i);
        operands[used++] = CRN__INT(squares);
        crn__schedule_add(schedule, &task, operands, used);
    }
    task = crn__task_flat(schedule, "optimizer.cl", "total", 2 * n);
    crn__schedule_add(
        schedule, &task,
        CRN__OPERANDS(CRN__TENSOR(partial), CRN__TENSOR(sums), CRN__LONG(2 * n), CRN__INT(parts)));
}

static measured plain_tensor(const void *data, size_t i)
{
    crn__tensor *const *tensors = data;
    return (measured){.tensor = tensors[i]};
}

void crn__emit_finite(crn__schedule *schedule, crn__tensor *const *tensors, size_t n,
                      crn__tensor *sums)
{
    emit_sums(schedule, plain_tensor, tensors, n, false, sums);
}

/* ---- judging ---- */

typedef struct group {
    const crn_train_op *train;
    const crn__update *updates;
    size_t n;
    crn__tensor *loss; /* comes after the gradients; or NULL */
    bool squares;
} group;

static const crn_node *variable_of(const crn_train_op *train, const crn__update *update)
{
    return train->variables.items[update->at];
}

static measured member(const void *data, size_t i)
{
    const group *g = data;
    if (i == g->n)
        return (measured){.tensor = g->loss};
    const crn__update *update = &g->updates[i];
    measured m = {.tensor = update->gradient.tensor};
    const crn_node *variable = variable_of(g->train, update);
    if (!g->squares)
        return m;
    m.decay = update->gradient.decay;
    if (m.decay.dy != NULL || (g->train->row->has_trust && variable->shape.rank > 1))
        m.weights = variable->tensor;
    return m;
}

static crn__tensor *measure(crn__schedule *schedule, const group *g)
{
    size_t n = g->n + (g->loss != NULL ? 1 : 0);
    crn__tensor *sums = crn__schedule_workspace(schedule, 2 * n);
    emit_sums(schedule, member, g, n, g->squares, sums);
    return sums;
}

static void emit_judge_run(crn__schedule *schedule, const crn_train_op *train, crn__tensor *sums,
                           size_t n, bool is_last)
{
    crn__task task = one_item("judge_run");
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(sums), CRN__TENSOR(train->verdict), CRN__INT(n),
                                    CRN__FLOAT_AT(&train->keep),
                                    CRN__INT(train->options.guard == CRN_GUARD_SKIP),
                                    CRN__INT(is_last),
                                    CRN__INT(needs_norms(train) ? 0 : train->variables.count)));
}

static float share_of(const crn_train_op *train)
{
    return 1.0f / (float)train->options.accumulate;
}

static void emit_judge_norms(crn__schedule *schedule, const crn_train_op *train, crn__tensor *sums,
                             const group *g)
{
    const crn_minimize_options *o = &train->options;
    bool global = o->clip_global_norm > 0.0f;
    crn__task task = one_item("judge_norms");
    crn__schedule_add(
        schedule, &task,
        CRN__OPERANDS(CRN__TENSOR(sums), CRN__TENSOR(train->verdict), CRN__INT(g->updates[0].at),
                      CRN__INT(g->n), CRN__FLOAT(share_of(train)),
                      CRN__FLOAT(global ? o->clip_global_norm : o->clip_norm), CRN__INT(global),
                      CRN__FLOAT(train->optimizer.trust), CRN__FLOAT(train->optimizer.weight_decay),
                      CRN__INT(guards(train))));
}

/* ---- updating ---- */

static void emit_accumulate(crn__schedule *schedule, const crn_train_op *train, crn__update *update)
{
    crn__tensor *sum = train->sums.items[update->at];
    size_t count = crn__tensor_count(sum);
    crn__task task = crn__task_flat(schedule, "optimizer.cl", "accumulate", count);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(update->gradient.tensor), CRN__TENSOR(sum),
                                    CRN__TENSOR(guards(train) ? train->verdict : NULL),
                                    CRN__LONG(crn__flat_vectors(schedule, count)),
                                    CRN__FLOAT_AT(&train->keep)));
    update->gradient.tensor = sum;
}

static crn__tensor *slot_tensor(const crn_train_op *train, size_t i)
{
    return ((crn__slot *)train->slots.items[i])->tensor;
}

static void emit_optimizer(crn__schedule *schedule, const crn_train_op *train,
                           const crn__update *update)
{
    const crn__optimizer_row *row = train->row;
    const crn_node *variable = variable_of(train, update);
    size_t count = crn__tensor_count(variable->tensor), used = 0;
    crn__operand operands[8 + CRN__MAX_SLOTS + 2 + CRN__MAX_SETTINGS];
    operands[used++] = CRN__TENSOR(variable->tensor);
    operands[used++] = CRN__TENSOR(update->gradient.tensor);
    operands[used++] = CRN__TENSOR(update->gradient.decay.dy);
    operands[used++] = CRN__TENSOR(train->verdict);
    operands[used++] = CRN__LONG(crn__flat_vectors(schedule, count));
    operands[used++] = CRN__FLOAT(update->gradient.decay.scale);
    operands[used++] = CRN__INT(update->at);
    operands[used++] = CRN__FLOAT(share_of(train));
    for (size_t i = 0; i < row->n_slots; i++)
        operands[used++] = CRN__TENSOR(slot_tensor(train, update->at * row->n_slots + i));
    for (size_t i = 0; row->has_powers && i < 2; i++)
        operands[used++] =
            CRN__TENSOR(slot_tensor(train, train->variables.count * row->n_slots + i));
    for (size_t i = 0; i < row->n_settings; i++) {
        /* biases, gamma and beta do not decay */
        bool none =
            row->settings[i] == offsetof(crn_optimizer, weight_decay) && variable->shape.rank <= 1;
        operands[used++] =
            none ? CRN__FLOAT(0.0f)
                 : CRN__FLOAT_AT(crn__optimizer_member(&train->optimizer, row->settings[i]));
    }
    crn__task task = crn__task_flat(schedule, "optimizer.cl", row->kernel, count);
    crn__schedule_add(schedule, &task, operands, used);
}

void crn__emit_updates(crn__schedule *schedule, crn_train_op *train, crn__tensor *loss,
                       crn__update *updates, size_t n, bool accumulates)
{
    const bool several = train->options.accumulate > 1;
    const bool norms = needs_norms(train) && !accumulates && n > 0;
    crn__tensor *sums = NULL;
    if (guards(train)) { /* one look at the gradients is enough where they are the step's */
        const group run = {train, updates, n, loss, norms && !several};
        sums = measure(schedule, &run);
        emit_judge_run(schedule, train, sums, n + 1, !accumulates);
    }
    for (size_t i = 0; several && i < n; i++)
        emit_accumulate(schedule, train, &updates[i]);
    if (norms) {
        const group step = {train, updates, n, NULL, true};
        sums = sums != NULL && !several ? sums : measure(schedule, &step);
        emit_judge_norms(schedule, train, sums, &step);
    }
    for (size_t i = 0; !accumulates && i < n; i++) {
        crn__schedule_label(schedule, variable_of(train, &updates[i])->name);
        emit_optimizer(schedule, train, &updates[i]);
    }
}

void crn__emit_step_end(crn__schedule *schedule, const crn_train_op *train)
{
    const crn__optimizer_row *row = train->row;
    crn__schedule_label(schedule, train->loss->name);
    if (row->has_powers) {
        size_t at = train->variables.count * row->n_slots;
        crn__task task = one_item("advance");
        crn__schedule_add(schedule, &task,
                          CRN__OPERANDS(CRN__TENSOR(slot_tensor(train, at)),
                                        CRN__TENSOR(slot_tensor(train, at + 1)),
                                        CRN__TENSOR(train->verdict),
                                        CRN__FLOAT_AT(&train->optimizer.beta1),
                                        CRN__FLOAT_AT(&train->optimizer.beta2)));
    }
    for (size_t i = train->first_average; i < train->slots.count; i++) {
        const crn__slot *slot = train->slots.items[i];
        size_t count = crn__tensor_count(slot->tensor);
        crn__task task = crn__task_flat(schedule, "optimizer.cl", "average", count);
        crn__schedule_label(schedule, slot->name);
        crn__schedule_add(schedule, &task,
                          CRN__OPERANDS(CRN__TENSOR(slot->averages->tensor),
                                        CRN__TENSOR(slot->tensor), CRN__TENSOR(train->verdict),
                                        CRN__LONG(crn__flat_vectors(schedule, count)),
                                        CRN__FLOAT_AT(&train->average_rate)));
    }
}

/* ---- reading a verdict ---- */

crn_status crn__verdict_read(crn_train_op *train, bool *good)
{
    float head[HEAD];
    *good = true;
    if (train->options.guard != CRN_GUARD_STOP)
        return CRN_OK;
    CRN__TRY(crn__buffer_read(train->verdict->buffer, 0, head, sizeof head));
    *good = head[RUN_OK] != 0.0f && head[STEP_OK] != 0.0f;
    if (head[RUN_OK] != 0.0f && !*good)
        train->phase = 0;
    return CRN_OK;
}

crn_status crn_train_op_skipped(const crn_train_op *train, int64_t *count)
{
    float head[HEAD];
    *count = 0;
    if (train == NULL)
        return CRN_INVALID;
    if (train->options.guard != CRN_GUARD_SKIP || train->verdict->buffer == NULL)
        return CRN_OK;
    CRN__TRY(crn__buffer_read(train->verdict->buffer, 0, head, sizeof head));
    *count = (int64_t)head[SKIPPED];
    return CRN_OK;
}
