#include "ops/op.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"

/* A work-item of a flat kernel has at least this many vectors, so that small tensors take few of
 * them. */
#define VECTORS_PER_ITEM 256u
/* A tensor of a quarter of the cache or more is written past it: others want to be in there, too.
 */
#define STREAMED_CACHES 4

crn__tensor *crn__gradient_of(crn__schedule *schedule, crn__call *call, size_t i, bool *accumulate)
{
    crn__gradient *gradient = call->d_inputs[i];
    crn__tensor *before = gradient != NULL ? gradient->tensor : NULL;
    *accumulate = before != NULL;
    if (gradient == NULL)
        return NULL;
    if (before == NULL || before->holders > 1) {
        gradient->tensor = crn__schedule_tensor(schedule, CRN_F32, &call->inputs[i]->shape);
        gradient->tensor->holders = 1;
        if (before != NULL) {
            before->holders--;
            crn__emit_copy(schedule, before, gradient->tensor, false);
        }
    }
    return gradient->tensor;
}

bool crn__gradient_share(crn__call *call, size_t i, crn__tensor *tensor)
{
    crn__gradient *gradient = call->d_inputs[i];
    if (gradient == NULL || gradient->tensor != NULL)
        return false;
    gradient->tensor = tensor;
    tensor->holders++;
    return true;
}

crn__tensor *crn__masked_gradient(crn__schedule *schedule, crn__call *call)
{
    int activation = crn__activation_code(call->attrs.activation);
    if (activation == 0)
        return call->d_output;
    crn__tensor *dy = call->d_output;
    crn__tensor *masked =
        call->may_overwrite ? dy : crn__schedule_tensor(schedule, CRN_F32, &dy->shape);
    size_t count = crn__tensor_count(dy);
    crn__task task = crn__task_flat(schedule, "activation.cl", "backward", count);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(call->output), CRN__TENSOR(dy), CRN__TENSOR(masked),
                                    CRN__LONG(crn__flat_vectors(schedule, count)),
                                    CRN__INT(activation), CRN__INT(0)));
    return masked;
}

int crn__activation_code(crn_activation activation)
{
    switch (activation) {
    case CRN_ACTIVATION_RELU:
        return 1;
    case CRN_ACTIVATION_RELU6:
        return 2;
    case CRN_ACTIVATION_DEFAULT:
    case CRN_ACTIVATION_NONE:
        break;
    }
    return 0;
}

crn__task crn__task_kernel(const char *file, const char *kernel, const char *options, ...)
{
    crn__task task = {.file = file, .kernel = kernel};
    va_list args;
    va_start(args, options);
    vsnprintf(task.options, sizeof task.options, options, args);
    va_end(args);
    return task;
}

const crn__profile *crn__schedule_profile(const crn__schedule *schedule)
{
    return crn__context_profile(crn__schedule_context(schedule));
}

crn_status crn__infer_scalar(const crn__attrs *attrs, const crn_shape *inputs, size_t n_inputs,
                             crn_shape *output, crn_error *error)
{
    (void)attrs;
    (void)inputs;
    (void)n_inputs;
    (void)error;
    *output = (crn_shape){.rank = 0};
    return CRN_OK;
}

int64_t crn__ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static size_t at_most(size_t value, size_t limit)
{
    return value < limit ? value : limit;
}

int64_t crn__flat_vectors(crn__schedule *schedule, size_t count)
{
    uint32_t width = crn__schedule_profile(schedule)->vector_width;
    return (int64_t)((count + width - 1) / width);
}

crn__task crn__task_flat(crn__schedule *schedule, const char *file, const char *kernel,
                         size_t count)
{
    const crn__profile *profile = crn__schedule_profile(schedule);
    size_t vectors = (size_t)crn__flat_vectors(schedule, count);
    size_t per_item = profile->group_size == 1 ? VECTORS_PER_ITEM : 1;
    size_t items =
        at_most(vectors / per_item + 1, (size_t)profile->parallelism * profile->group_size);
    crn__task task = crn__task_kernel(file, kernel, "-DVW=%u -DGROUP=%u", profile->vector_width,
                                      profile->group_size);
    task.range = (crn__range){1, {items, 1, 1}, {profile->group_size, 1, 1}};
    return task;
}

crn__tensor *crn__make_moments(crn__schedule *schedule, crn__tensor *y, int64_t ranges)
{
    y->n_moments = (int32_t)ranges;
    y->moments = crn__schedule_workspace(schedule, (size_t)ranges * 3 * crn__channels(y));
    return y->moments;
}

crn__writing crn__how_to_write(crn__schedule *schedule, const crn__tensor *written, bool accumulate)
{
    uint64_t cache = crn_context_device(crn__schedule_context(schedule))->cache_memory;
    if (accumulate)
        return CRN__ADDED;
    bool streamed = crn__schedule_profile(schedule)->family == CRN__FAMILY_CPU && cache > 0 &&
                    written->bytes >= cache / STREAMED_CACHES;
    return streamed ? CRN__STREAMED : CRN__OVER;
}

void crn__task_refreshes(crn__task *task, crn__tensor *derived, const crn__tensor *owner)
{
    if (!derived->persistent)
        return; /* of the schedule: filled at every run */
    task->refreshes = derived;
    task->sources[0] = owner;
}

static crn__tensor *keep_with(crn__schedule *schedule, crn__tensor *owner, const char *key,
                              const crn_shape *shape)
{
    crn__tensor *derived = crn__tensor_derive(owner, key, shape);
    if (derived == NULL)
        crn__schedule_fail(schedule, CRN_NO_MEMORY, crn_status_text(CRN_NO_MEMORY));
    return derived != NULL ? derived : owner;
}

crn__tensor *crn__schedule_derive(crn__schedule *schedule, crn__tensor *owner, const char *key,
                                  const crn_shape *shape)
{
    if (!owner->persistent || owner->changes)
        return crn__schedule_tensor(schedule, owner->dtype, shape);
    return keep_with(schedule, owner, key, shape);
}

crn__tensor *crn__schedule_zeros(crn__schedule *schedule, crn__tensor *owner, size_t count)
{
    crn_shape shape = {1, {(int64_t)count}};
    if (owner->persistent) /* starts as zeros and stays so */
        return keep_with(schedule, owner, "zeros", &shape);
    crn__tensor *zeros = crn__schedule_workspace(schedule, count);
    crn__emit_fill(schedule, zeros, 0.0f);
    return zeros;
}

uint32_t crn__vector_for(crn__schedule *schedule, size_t channels)
{
    for (uint32_t width = crn__schedule_profile(schedule)->vector_width; width >= 4; width /= 2)
        if (channels % width == 0)
            return width;
    return 1;
}

crn__task crn__task_rows(crn__schedule *schedule, const char *file, const char *kernel, size_t rows,
                         size_t channels, int32_t *vectors, int32_t *row_chunks)
{
    const crn__profile *profile = crn__schedule_profile(schedule);
    uint32_t width = crn__vector_for(schedule, channels);
    size_t row_vectors = channels / width, group = profile->group_size;
    size_t columns = group == 1 ? 1 : (row_vectors + group - 1) / group;
    size_t work = rows * row_vectors / (group == 1 ? VECTORS_PER_ITEM : 16) + 1;
    size_t wanted = (profile->parallelism + columns - 1) / columns;
    size_t chunks = at_most(at_most(rows, work), wanted);
    chunks = chunks > 0 ? chunks : 1;
    crn__task task =
        crn__task_kernel(file, kernel, "-DVW=%u -DGROUP=%u", width, profile->group_size);
    task.range = (crn__range){2, {columns * group, chunks, 1}, {group, 1, 1}};
    *vectors = (int32_t)row_vectors;
    *row_chunks = (int32_t)chunks;
    return task;
}

void crn__emit_copy(crn__schedule *schedule, crn__tensor *x, crn__tensor *y, bool accumulate)
{
    size_t count = crn__tensor_count(y);
    crn__task task = crn__task_flat(schedule, "elementwise.cl", "copy", count);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(y),
                                    CRN__LONG(crn__flat_vectors(schedule, count)),
                                    CRN__INT(accumulate)));
}

void crn__emit_fill(crn__schedule *schedule, crn__tensor *y, float value)
{
    size_t count = crn__tensor_count(y);
    crn__task task = crn__task_flat(schedule, "elementwise.cl", "fill", count);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(y), CRN__LONG(crn__flat_vectors(schedule, count)),
                                    CRN__FLOAT(value)));
}

/* Parts of x lie `count` floats apart, so vectors must divide that. */
void crn__emit_fold(crn__schedule *schedule, crn__tensor *x, size_t parts, crn__tensor *y,
                    size_t count, bool accumulate)
{
    const crn__profile *profile = crn__schedule_profile(schedule);
    uint32_t width = crn__vector_for(schedule, count);
    crn__task task = crn__task_flat(schedule, "elementwise.cl", "fold", count);
    snprintf(task.options, sizeof task.options, "-DVW=%u -DGROUP=%u", width, profile->group_size);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(y), CRN__LONG(count / width),
                                    CRN__LONG(count / width), CRN__INT(parts),
                                    CRN__INT(accumulate)));
}

void crn__emit_sum(crn__schedule *schedule, crn__tensor *x, bool squares, float scale,
                   crn__tensor *y, bool accumulate)
{
    size_t count = crn__tensor_count(x);
    crn__task task = crn__task_flat(schedule, "reduce.cl", "sum_parts", count);
    size_t group = task.range.local[0];
    task.range.global[0] = (task.range.global[0] + group - 1) / group * group;
    size_t parts = task.range.global[0];
    crn__tensor *partial = crn__schedule_workspace(schedule, parts);
    crn__schedule_add(
        schedule, &task,
        CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(partial), CRN__LONG(count), CRN__INT(squares)));
    task.kernel = "sum_total";
    task.range = (crn__range){1, {1, 1, 1}, {1, 1, 1}};
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(partial), CRN__TENSOR(y), CRN__INT(parts),
                                    CRN__FLOAT(scale), CRN__INT(accumulate)));
}

void crn__emit_column_sums(crn__schedule *schedule, crn__tensor *x, size_t rows, size_t channels,
                           crn__tensor *y, bool accumulate)
{
    int32_t vectors, chunks;
    crn__task task =
        crn__task_rows(schedule, "reduce.cl", "column_sums", rows, channels, &vectors, &chunks);
    crn__tensor *partial = crn__schedule_workspace(schedule, (size_t)chunks * channels);
    crn__schedule_add(
        schedule, &task,
        CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(partial), CRN__LONG(rows), CRN__INT(vectors)));
    crn__emit_fold(schedule, partial, (size_t)chunks, y, channels, accumulate);
}

size_t crn__channels(const crn__tensor *tensor)
{
    return (size_t)tensor->shape.dims[tensor->shape.rank - 1];
}

size_t crn__rows(const crn__tensor *tensor)
{
    return crn__tensor_count(tensor) / crn__channels(tensor);
}
