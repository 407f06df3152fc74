#include "tensor/tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/error.h"
#include "core/memory.h"

#define MAX_OPERANDS 32

typedef struct step {
    crn__task task;
    crn__operand *operands;
    size_t n_operands;
    crn__kernel *kernel; /* found when the schedule is prepared */
    const char *label;
} step;

struct crn__schedule {
    crn_context *context;
    crn_error *error;
    crn_status status;
    const char *label;

    step *steps;
    size_t n_steps, capacity_steps;

    crn__tensor **tensors; /* owned, placed in the arena */
    size_t n_tensors, capacity_tensors;
    crn__tensor **persistent; /* borrowed, each once */
    size_t n_persistent, capacity_persistent;

    size_t arena_bytes;
    uint64_t generation; /* of the arena that the tensors' buffers are parts of; 0 none */
    bool compiled;
    crn__tensor dummy;
};

/* ---- writing ---- */

crn__schedule *crn__schedule_create(crn_context *context, crn_error *error)
{
    crn__schedule *schedule = crn__alloc(1, sizeof *schedule);
    if (schedule == NULL) {
        crn__fail_memory(error);
        return NULL;
    }
    schedule->context = context;
    schedule->error = error;
    schedule->label = "";
    schedule->dummy = (crn__tensor){.dtype = CRN_F32, .first = -1, .last = -1};
    return schedule;
}

static void drop_parts(crn__schedule *schedule)
{
    for (size_t i = 0; i < schedule->n_tensors; i++) {
        crn__buffer_free(schedule->tensors[i]->buffer);
        schedule->tensors[i]->buffer = NULL;
    }
    schedule->generation = 0;
}

void crn__schedule_free(crn__schedule *schedule)
{
    if (schedule == NULL)
        return;
    drop_parts(schedule);
    for (size_t i = 0; i < schedule->n_tensors; i++)
        free(schedule->tensors[i]);
    for (size_t i = 0; i < schedule->n_steps; i++)
        free(schedule->steps[i].operands);
    free(schedule->tensors);
    free(schedule->persistent);
    free(schedule->steps);
    free(schedule);
}

crn_context *crn__schedule_context(const crn__schedule *schedule)
{
    return schedule->context;
}

crn_status crn__schedule_status(const crn__schedule *schedule)
{
    return schedule->status;
}

crn_status crn__schedule_fail(crn__schedule *schedule, crn_status status, const char *text)
{
    if (schedule->status == CRN_OK)
        schedule->status = crn__fail(schedule->error, status, "%s%s%s", schedule->label,
                                     schedule->label[0] != '\0' ? ": " : "", text);
    return schedule->status;
}

void crn__schedule_label(crn__schedule *schedule, const char *label)
{
    schedule->label = label;
}

crn__tensor *crn__schedule_tensor(crn__schedule *schedule, crn_dtype dtype, const crn_shape *shape)
{
    int64_t count = crn_shape_count(shape);
    size_t bytes;
    if (count < 0 || !crn__size_mul((size_t)count, crn_dtype_size(dtype), &bytes)) {
        crn__schedule_fail(schedule, CRN_INVALID,
                           "a tensor has more elements than memory has bytes");
        return &schedule->dummy;
    }
    crn__tensor *tensor = NULL;
    if (crn__grow((void **)&schedule->tensors, schedule->n_tensors, &schedule->capacity_tensors,
                  sizeof *schedule->tensors))
        tensor = crn__tensor_create(dtype, shape);
    if (tensor == NULL) {
        crn__schedule_fail(schedule, CRN_NO_MEMORY, crn_status_text(CRN_NO_MEMORY));
        return &schedule->dummy;
    }
    tensor->persistent = false;
    tensor->first = INT32_MAX;
    tensor->last = -1;
    schedule->tensors[schedule->n_tensors++] = tensor;
    return tensor;
}

crn__tensor *crn__schedule_workspace(crn__schedule *schedule, size_t count)
{
    crn_shape shape = {1, {(int64_t)count}};
    return crn__schedule_tensor(schedule, CRN_F32, &shape);
}

void crn__schedule_feed(crn__schedule *schedule, crn__tensor *tensor)
{
    (void)schedule;
    tensor->first = 0;
    tensor->last = tensor->last < 0 ? 0 : tensor->last;
}

void crn__schedule_keep(crn__schedule *schedule, crn__tensor *tensor)
{
    (void)schedule;
    tensor->last = INT32_MAX;
}

static void note_persistent(crn__schedule *schedule, crn__tensor *tensor)
{
    for (size_t i = 0; i < schedule->n_persistent; i++)
        if (schedule->persistent[i] == tensor)
            return;
    if (!crn__grow((void **)&schedule->persistent, schedule->n_persistent,
                   &schedule->capacity_persistent, sizeof *schedule->persistent))
        crn__schedule_fail(schedule, CRN_NO_MEMORY, crn_status_text(CRN_NO_MEMORY));
    else
        schedule->persistent[schedule->n_persistent++] = tensor;
}

static void note_use(crn__schedule *schedule, crn__tensor *tensor, int32_t at)
{
    if (tensor->persistent) {
        note_persistent(schedule, tensor);
        return;
    }
    if (at < tensor->first)
        tensor->first = at;
    if (at > tensor->last)
        tensor->last = at;
}

void crn__schedule_add(crn__schedule *schedule, const crn__task *task, const crn__operand *operands,
                       size_t n_operands)
{
    if (schedule->status != CRN_OK)
        return;
    crn__operand *copy = crn__alloc(n_operands, sizeof *copy);
    if (copy == NULL || n_operands > MAX_OPERANDS ||
        !crn__grow((void **)&schedule->steps, schedule->n_steps, &schedule->capacity_steps,
                   sizeof *schedule->steps)) {
        free(copy);
        crn__schedule_fail(schedule, CRN_NO_MEMORY, crn_status_text(CRN_NO_MEMORY));
        return;
    }
    memcpy(copy, operands, n_operands * sizeof *copy);
    int32_t at = (int32_t)schedule->n_steps;
    for (size_t i = 0; i < n_operands; i++)
        if (copy[i].kind == CRN__ARG_BUFFER && copy[i].as.tensor != NULL)
            note_use(schedule, copy[i].as.tensor, at);
    schedule->steps[schedule->n_steps++] =
        (step){.task = *task, .operands = copy, .n_operands = n_operands, .label = schedule->label};
}

/* ---- placing ---- */

static int larger_first(const void *a, const void *b)
{
    const crn__tensor *x = *(crn__tensor *const *)a, *y = *(crn__tensor *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->first != y->first ? (x->first < y->first ? -1 : 1)
                                : (x->last > y->last) - (x->last < y->last);
}

static int lower_first(const void *a, const void *b)
{
    const crn__tensor *x = *(crn__tensor *const *)a, *y = *(crn__tensor *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static size_t round_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* The longest slab that the device allocates in one piece. */
static size_t slab_bytes(const crn__schedule *schedule)
{
    size_t unit = crn__buffer_alignment(schedule->context);
    uint64_t most = crn_context_device(schedule->context)->max_allocation;
    return most >= SIZE_MAX / 4 ? SIZE_MAX / 4 / unit * unit : (size_t)most / unit * unit;
}

/*
 * Greedy by size: the largest tensor first, each at the lowest offset where nothing that lives at
 * the same time is, and where it does not cross the end of a slab.
 */
static void place_one(const crn__schedule *schedule, crn__tensor **placed, size_t n,
                      crn__tensor *tensor)
{
    size_t unit = crn__buffer_alignment(schedule->context), slab = slab_bytes(schedule);
    size_t bytes = crn__storage_bytes(tensor->bytes), at = 0;
    for (size_t i = 0; i <= n; i++) {
        if (at / slab != (at + bytes - 1) / slab)
            at = round_up(at, slab);
        if (i == n)
            break;
        const crn__tensor *other = placed[i];
        if (other->first > tensor->last || other->last < tensor->first)
            continue;
        size_t end = other->offset + crn__storage_bytes(other->bytes);
        if (other->offset >= at + bytes)
            continue;
        if (end > at)
            at = round_up(end, unit);
    }
    tensor->offset = at;
}

crn_status crn__schedule_place(crn__schedule *schedule)
{
    if (schedule->status != CRN_OK)
        return schedule->status;
    size_t n = schedule->n_tensors;
    if (n == 0)
        return CRN_OK;
    crn__tensor **order = crn__alloc(n, 2 * sizeof *order);
    if (order == NULL)
        return crn__schedule_fail(schedule, CRN_NO_MEMORY, crn_status_text(CRN_NO_MEMORY));
    crn__tensor **placed = order + n;
    memcpy(order, schedule->tensors, n * sizeof *order);
    qsort(order, n, sizeof *order, larger_first);
    size_t n_placed = 0;
    for (size_t i = 0; i < n; i++) {
        crn__tensor *tensor = order[i];
        if (tensor->last < 0)
            continue; /* never used */
        if (tensor->first == INT32_MAX)
            tensor->first = 0; /* kept, but written by nothing */
        place_one(schedule, placed, n_placed, tensor);
        placed[n_placed++] = tensor;
        for (size_t k = n_placed - 1; k > 0 && lower_first(&placed[k - 1], &placed[k]) > 0; k--) {
            crn__tensor *swap = placed[k];
            placed[k] = placed[k - 1];
            placed[k - 1] = swap;
        }
        size_t end = tensor->offset + crn__storage_bytes(tensor->bytes);
        if (end > schedule->arena_bytes)
            schedule->arena_bytes = end;
    }
    free(order);
    return CRN_OK;
}

void crn__schedule_footprint(const crn__schedule *schedule, crn__footprint *footprint)
{
    *footprint = (crn__footprint){.arena = schedule->arena_bytes, .launches = schedule->n_steps};
    for (size_t i = 0; i < schedule->n_tensors; i++)
        if (schedule->tensors[i]->last >= 0 &&
            schedule->tensors[i]->bytes > footprint->largest_tensor)
            footprint->largest_tensor = schedule->tensors[i]->bytes;
    for (size_t i = 0; i < schedule->n_persistent; i++) {
        size_t bytes = crn__storage_bytes(schedule->persistent[i]->bytes);
        footprint->persistent += bytes;
        if (schedule->persistent[i]->buffer == NULL)
            footprint->unallocated += bytes;
        if (bytes > footprint->largest_tensor)
            footprint->largest_tensor = bytes;
    }
}

/* ---- running ---- */

void crn__arena_free(crn__arena *arena)
{
    for (size_t i = 0; i < arena->n_slabs; i++)
        crn__buffer_free(arena->slabs[i]);
    free(arena->slabs);
    arena->slabs = NULL;
    arena->n_slabs = 0;
    arena->bytes = 0;
}

/*
 * The slabs are filled at once, though no kernel needs that: a CPU's memory is made, page by page,
 * as it is first touched, which takes as long as the caller takes to build kernels meanwhile.
 */
static crn_status grow_arena(crn__schedule *schedule, crn__arena *arena)
{
    if (schedule->arena_bytes <= arena->bytes)
        return CRN_OK;
    crn__arena_free(arena);
    arena->generation++;
    arena->slab_bytes = slab_bytes(schedule);
    size_t slabs = (schedule->arena_bytes - 1) / arena->slab_bytes + 1;
    arena->slabs = crn__alloc(slabs, sizeof *arena->slabs);
    if (arena->slabs == NULL)
        return crn__fail_memory(schedule->error);
    for (size_t left = schedule->arena_bytes; left > 0;) {
        size_t bytes = left < arena->slab_bytes ? left : arena->slab_bytes;
        CRN__TRY(crn__buffer_create(schedule->context, bytes, &arena->slabs[arena->n_slabs]));
        CRN__TRY(crn__buffer_zero(arena->slabs[arena->n_slabs++]));
        left -= bytes;
    }
    arena->bytes = schedule->arena_bytes;
    return crn__flush(schedule->context);
}

static crn_status make_parts(crn__schedule *schedule, const crn__arena *arena)
{
    for (size_t i = 0; i < schedule->n_tensors; i++) {
        crn__tensor *tensor = schedule->tensors[i];
        if (tensor->last < 0)
            continue;
        CRN__TRY(crn__buffer_part(arena->slabs[tensor->offset / arena->slab_bytes],
                                  tensor->offset % arena->slab_bytes,
                                  crn__storage_bytes(tensor->bytes), &tensor->buffer));
    }
    schedule->generation = arena->generation;
    return CRN_OK;
}

crn_status crn__schedule_prepare(crn__schedule *schedule, crn__arena *arena)
{
    CRN__TRY(schedule->status);
    for (size_t i = 0; i < schedule->n_persistent; i++)
        CRN__TRY(crn__tensor_allocate(schedule->context, schedule->persistent[i]));
    if (schedule->generation == 0 || schedule->generation != arena->generation ||
        schedule->arena_bytes > arena->bytes) {
        drop_parts(schedule);
        CRN__TRY(grow_arena(schedule, arena));
        CRN__TRY(make_parts(schedule, arena));
    }
    for (size_t i = 0; !schedule->compiled && i < schedule->n_steps; i++) {
        step *s = &schedule->steps[i];
        if (s->task.call == NULL)
            CRN__TRY(crn__kernel_get(schedule->context, s->task.file, s->task.kernel,
                                     s->task.options, &s->kernel));
    }
    schedule->compiled = true;
    return CRN_OK;
}

static crn_status run_step(crn__schedule *schedule, const step *s)
{
    crn__arg args[MAX_OPERANDS];
    for (size_t i = 0; i < s->n_operands; i++) {
        const crn__operand *operand = &s->operands[i];
        args[i].kind = operand->kind;
        switch (operand->kind) {
        case CRN__ARG_BUFFER:
            args[i].as.buffer = operand->as.tensor != NULL ? operand->as.tensor->buffer : NULL;
            break;
        case CRN__ARG_INT:
            args[i].as.i = operand->as.i;
            break;
        case CRN__ARG_LONG:
            args[i].as.l = operand->as.l;
            break;
        case CRN__ARG_FLOAT:
            args[i].as.f = operand->as.f;
            break;
        case CRN__ARG_FLOAT_AT:
            args[i].as.at = operand->as.at;
            break;
        case CRN__ARG_LOCAL:
            args[i].as.local = operand->as.local;
            break;
        }
    }
    if (s->task.call != NULL)
        return s->task.call(schedule->context, args, s->n_operands);
    return crn__launch(schedule->context, s->kernel, &s->task.range, args, s->n_operands);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static crn_status observe_step(crn__schedule *schedule, const step *s,
                               const crn__observer *observer)
{
    char name[160];
    CRN__TRY(crn__finish(schedule->context));
    double begin = now();
    CRN__TRY(run_step(schedule, s));
    CRN__TRY(crn__finish(schedule->context));
    double seconds = now() - begin;
    snprintf(name, sizeof name, "%s:%s %s", s->task.call != NULL ? "library" : s->task.file,
             s->task.call != NULL ? "gemm" : s->task.kernel, s->task.options);
    observer->report(observer->data, s->label, name, seconds);
    return CRN_OK;
}

/* Versions only go up, so that a change of any source changes their sum. */
static uint64_t version_of(const crn__task *task)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < CRN__MAX_SOURCES; i++)
        sum += task->sources[i] != NULL ? task->sources[i]->version : 0;
    return sum;
}

crn_status crn__schedule_run(crn__schedule *schedule, const crn__observer *observer)
{
    for (size_t i = 0; i < schedule->n_steps; i++) {
        step *s = &schedule->steps[i];
        crn__tensor *fresh = s->task.refreshes;
        uint64_t version = version_of(&s->task);
        if (fresh != NULL && fresh->derived_version == version)
            continue;
        if (observer->report != NULL)
            CRN__TRY(observe_step(schedule, s, observer));
        else
            CRN__TRY(run_step(schedule, s));
        if (fresh != NULL)
            fresh->derived_version = version;
    }
    return CRN_OK;
}
