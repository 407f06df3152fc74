/* Slots: what optimizers and moving averages keep from step to step. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "graph/step.h"

#define AVERAGE "ExponentialMovingAverage"

/* ---- making ---- */

static void free_slot(void *item)
{
    crn__slot *slot = item;
    crn__tensor_free(slot->tensor);
    free(slot->name);
    free(slot);
}

/* Takes `name`, which may be NULL for want of memory. */
static bool add_slot(crn_train_op *train, char *name, const crn_shape *shape, float initial,
                     crn_node *averages)
{
    crn__slot *slot = crn__alloc(1, sizeof *slot);
    if (slot == NULL || name == NULL) {
        free(slot);
        free(name);
        return false;
    }
    *slot = (crn__slot){name, crn__tensor_create(CRN_F32, shape), initial, averages};
    if (slot->tensor == NULL || !crn__list_add(&train->slots, slot)) {
        free_slot(slot);
        return false;
    }
    return true;
}

const float *crn__optimizer_member(const crn_optimizer *optimizer, size_t member)
{
    return (const float *)(const void *)((const char *)optimizer + member);
}

/* What an optimizer's slot starts from. */
static float initial_of(const crn_train_op *train, size_t slot)
{
    const crn__optimizer_row *row = train->row;
    size_t from = row->initial[slot].member;
    return from != SIZE_MAX ? *crn__optimizer_member(&train->optimizer, from)
                            : row->initial[slot].value;
}

static bool add_optimizer_slots(crn_train_op *train)
{
    const crn__optimizer_row *row = train->row;
    for (size_t i = 0; i < train->variables.count; i++) {
        const crn_node *variable = train->variables.items[i];
        for (size_t k = 0; k < row->n_slots; k++) {
            char *name = k == 0 ? crn__format("%s/%s", variable->name, row->slot)
                                : crn__format("%s/%s_%zu", variable->name, row->slot, k);
            if (!add_slot(train, name, &variable->shape, initial_of(train, k), NULL))
                return false;
        }
    }
    const crn_shape scalar = {.rank = 0};
    return !row->has_powers ||
           (add_slot(train, crn__strdup("beta1_power"), &scalar, train->optimizer.beta1, NULL) &&
            add_slot(train, crn__strdup("beta2_power"), &scalar, train->optimizer.beta2, NULL));
}

static bool add_average(crn_train_op *train, crn_node *variable)
{
    for (size_t i = train->first_average; i < train->slots.count; i++)
        if (((crn__slot *)train->slots.items[i])->averages == variable)
            return true; /* a layer used twice */
    return add_slot(train, crn__format("%s/" AVERAGE, variable->name), &variable->shape, 0.0f,
                    variable);
}

/* Of the trained variables, and of those that the ops of the loss move. */
static bool add_averages(crn_train_op *train, const bool *reached)
{
    train->first_average = train->slots.count;
    if (train->options.moving_average_decay == 0.0f)
        return true;
    for (size_t i = 0; i < train->variables.count; i++)
        if (!add_average(train, train->variables.items[i]))
            return false;
    const crn__list *nodes = &train->graph->nodes;
    for (size_t i = 0; i < nodes->count; i++) {
        const crn_node *node = nodes->items[i];
        if (!reached[i] || node->kind != CRN__NODE_OP)
            continue;
        for (size_t k = 0; k < node->n_inputs && k < 32; k++)
            if ((node->op->updates & 1u << k) != 0 && !add_average(train, node->inputs[k]))
                return false;
    }
    return true;
}

/* Sums of the gradients of several runs, and the verdict. */
static bool add_workings(crn_train_op *train)
{
    const crn_minimize_options *o = &train->options;
    for (size_t i = 0; o->accumulate > 1 && i < train->variables.count; i++) {
        const crn_node *variable = train->variables.items[i];
        crn__tensor *sum = crn__tensor_create(CRN_F32, &variable->shape);
        if (sum == NULL || !crn__list_add(&train->sums, sum)) {
            crn__tensor_free(sum);
            return false;
        }
    }
    if (o->guard == CRN_GUARD_OFF && o->clip_norm == 0.0f && o->clip_global_norm == 0.0f &&
        !train->row->has_trust)
        return true;
    crn_shape shape = {1, {4 + 2 * (int64_t)train->variables.count}};
    train->verdict = crn__tensor_create(CRN_F32, &shape);
    return train->verdict != NULL;
}

bool crn__train_op_make_slots(crn_train_op *train, const bool *reached)
{
    return add_optimizer_slots(train) && add_averages(train, reached) && add_workings(train);
}

void crn__train_op_free(void *item)
{
    crn_train_op *train = item;
    for (size_t i = 0; i < train->slots.count; i++)
        free_slot(train->slots.items[i]);
    for (size_t i = 0; i < train->sums.count; i++)
        crn__tensor_free(train->sums.items[i]);
    crn__tensor_free(train->verdict);
    free(train->slots.items);
    free(train->sums.items);
    free(train->variables.items);
    free(train);
}

/* ---- first values ---- */

static crn_status start(crn_context *context, crn__slot *slot)
{
    size_t count = crn__tensor_count(slot->tensor);
    CRN__TRY(crn__tensor_allocate(context, slot->tensor));
    if (slot->averages == NULL && slot->initial == 0.0f)
        return crn__buffer_zero(slot->tensor->buffer);
    float *data = crn__alloc(count, sizeof *data);
    if (data == NULL)
        return crn__fail_memory(crn__context_fail(context));
    crn_status status = CRN_OK;
    if (slot->averages != NULL)
        status = crn_variable_read(slot->averages, data, count);
    for (size_t i = 0; slot->averages == NULL && i < count; i++)
        data[i] = slot->initial;
    if (status == CRN_OK)
        status = crn__buffer_write(slot->tensor->buffer, 0, data, slot->tensor->bytes);
    free(data);
    return status;
}

crn_status crn__train_op_begin(const crn_train_op *train)
{
    crn_context *context = train->graph->context;
    if (train->averages_in_place)
        return crn__fail(crn__context_fail(context), CRN_INVALID,
                         "the moving averages are in the variables' place: "
                         "crn_train_op_use_averages(train, false) comes first");
    for (size_t i = 0; i < train->slots.count; i++) {
        crn__slot *slot = train->slots.items[i];
        if (slot->tensor->version > 0)
            continue;
        CRN__TRY(start(context, slot));
        slot->tensor->version++;
    }
    return CRN_OK;
}

crn_status crn__train_op_begin_run(crn_train_op *train)
{
    CRN__TRY(crn__train_op_begin(train));
    const crn_minimize_options *o = &train->options;
    train->keep = train->phase == 0 ? 0.0f : 1.0f;
    float decay = o->moving_average_decay;
    if (o->moving_average_num_updates) {
        const double step = (double)train->step + 1.0;
        const float at_first = (float)((1.0 + step) / (10.0 + step));
        decay = at_first < decay ? at_first : decay;
    }
    train->average_rate = 1.0f - decay;
    return CRN_OK;
}

void crn__train_op_ran(crn_train_op *train)
{
    train->phase = (train->phase + 1) % train->options.accumulate;
    if (train->phase == 0)
        train->step++;
}

crn_status crn__train_op_reset(crn_train_op *train)
{
    crn__train_op_set_step(train, 0);
    train->averages_in_place = false;
    for (size_t i = 0; i < train->slots.count; i++)
        ((crn__slot *)train->slots.items[i])->tensor->version = 0;
    if (train->verdict == NULL || train->verdict->buffer == NULL)
        return CRN_OK;
    return crn__buffer_zero(train->verdict->buffer);
}

void crn__train_op_set_step(crn_train_op *train, int64_t step)
{
    train->step = step;
    train->phase = 0;
}

/* ---- averages ---- */

crn_status crn_train_op_use_averages(crn_train_op *train, bool averages)
{
    if (train == NULL)
        return CRN_INVALID;
    if (train->averages_in_place == averages)
        return CRN_OK;
    if (train->options.moving_average_decay == 0.0f)
        return crn__fail(crn__context_fail(train->graph->context), CRN_INVALID,
                         "the training operation keeps no moving averages");
    if (averages)
        CRN__TRY(crn__train_op_begin(train));
    for (size_t i = train->first_average; i < train->slots.count; i++) {
        crn__slot *slot = train->slots.items[i];
        crn__tensor *w = slot->averages->tensor;
        CRN__TRY(crn__tensor_allocate(train->graph->context, w));
        crn__buffer *buffer = w->buffer;
        w->buffer = slot->tensor->buffer;
        slot->tensor->buffer = buffer;
        w->version++;
    }
    train->averages_in_place = averages;
    return CRN_OK;
}
