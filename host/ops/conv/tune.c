/*
 * Choosing a convolution's solvers by measurement: each one that applies is run on random tensors,
 * compared with the direct one, and timed.
 */
#include "ops/conv/conv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"

/* The fastest of so many runs counts, after one that compiles; a solver that takes so many times as
 * long as the best is not run again. */
enum { RUNS = 5, GIVE_UP = 3 };

/* A result is right when no element is further from the direct solver's than this share of the
 * largest. Winograd's rounding is a few 1e-6, a product left out at least 1e-3. */
#define TOLERANCE 1e-4

static const crn__conv_solver_ops *const solvers[CRN__CONV_SOLVERS] = {
    &crn__conv_direct, &crn__conv_winograd, &crn__conv_clblast};

void crn__conv_write(crn__schedule *schedule, const crn__conv_solver_ops *solver,
                     const crn__conv *conv, crn__direction direction, crn__tensor *x,
                     crn__tensor *w, crn__tensor *y)
{
    switch (direction) {
    case CRN__FORWARD:
        solver->forward(schedule, conv, x, w, &(crn__epilogue){.scale = NULL}, y);
        break;
    case CRN__INPUT_GRADIENT:
        solver->input_gradient(schedule, conv, y, w, x, false);
        break;
    case CRN__WEIGHT_GRADIENT:
        solver->weight_gradient(schedule, conv, x, y, w, false);
        break;
    case CRN__DIRECTIONS:
        break;
    }
}

/* ---- what was chosen ---- */

static void make_key(const crn__profile *profile, const crn__conv *conv, crn__direction direction,
                     char *key, size_t size)
{
    const crn__window *w = &conv->window;
    snprintf(key, size,
             "convolution %d family %d width %u images %d input %d %d %d output %d %d %d kernel %d "
             "%d stride %d %d rate %d %d pad %d %d %d %d",
             (int)direction, (int)profile->family, profile->vector_width, conv->images, conv->ih,
             conv->iw, conv->ic, conv->oh, conv->ow, conv->oc, w->kernel[0], w->kernel[1],
             w->stride[0], w->stride[1], w->rate[0], w->rate[1], w->pad_before[0], w->pad_before[1],
             w->pad_after[0], w->pad_after[1]);
}

const crn__conv_solver_ops *crn__conv_tuned(crn__schedule *schedule, const crn__conv *conv,
                                            crn__direction direction)
{
    char key[384];
    make_key(crn__schedule_profile(schedule), conv, direction, key, sizeof key);
    const char *name = crn__context_choice(crn__schedule_context(schedule), key);
    for (size_t i = 0; i < CRN__CONV_SOLVERS; i++)
        if (strcmp(solvers[i]->name, name) == 0 && solvers[i]->applies(schedule, conv))
            return solvers[i];
    return NULL;
}

/* ---- measuring ---- */

typedef struct tuner {
    crn_context *context;
    crn__arena *arena;
    const crn__conv *conv;
    crn__direction direction;
    bool moving;
    crn__tensor *x, *w, *y, *result; /* result: one of them */
    float *reference, *values;       /* the direct solver's result; another's, and what is fed */
} tuner;

static crn_status create_tensor(tuner *t, crn_shape shape, crn__tensor **out)
{
    crn_error *error = crn__context_fail(t->context);
    int64_t count = crn_shape_count(&shape);
    size_t bytes;
    if (count < 0 || !crn__size_mul((size_t)count, sizeof(float), &bytes))
        return crn__fail(error, CRN_INVALID, "a tensor has more elements than memory has bytes");
    *out = crn__tensor_create(CRN_F32, &shape);
    if (*out == NULL)
        return crn__fail_memory(error);
    return crn__tensor_allocate(t->context, *out);
}

static crn_status open_tuner(tuner *t)
{
    const crn__conv *c = t->conv;
    CRN__TRY(create_tensor(t, CRN_SHAPE(c->images, c->ih, c->iw, c->ic), &t->x));
    CRN__TRY(create_tensor(t, CRN_SHAPE(c->images, c->oh, c->ow, c->oc), &t->y));
    CRN__TRY(
        create_tensor(t, CRN_SHAPE(c->window.kernel[0], c->window.kernel[1], c->ic, c->oc), &t->w));
    crn__tensor *const tensors[] = {t->x, t->w, t->y};
    crn__tensor *const results[CRN__DIRECTIONS] = {t->y, t->x, t->w};
    t->result = results[t->direction];
    size_t most = 0;
    for (size_t i = 0; i < 3; i++)
        most = tensors[i]->bytes > most ? tensors[i]->bytes : most;
    t->values = crn__alloc(most, 1);
    t->reference = crn__alloc(t->result->bytes, 1);
    if (t->values == NULL || t->reference == NULL)
        return crn__fail_memory(crn__context_fail(t->context));
    for (size_t i = 0; i < 3; i++) {
        if (tensors[i] == t->result)
            continue;
        for (size_t k = 0; k < crn__tensor_count(tensors[i]); k++)
            t->values[k] = (float)(2 * crn__random_uniform(i, k) - 1);
        CRN__TRY(crn__buffer_write(tensors[i]->buffer, 0, t->values, tensors[i]->bytes));
    }
    return CRN_OK;
}

static void close_tuner(tuner *t)
{
    crn__tensor_free(t->x);
    crn__tensor_free(t->w);
    crn__tensor_free(t->y);
    free(t->values);
    free(t->reference);
}

static crn_status run(tuner *t, crn__schedule *schedule, double *seconds)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    CRN__TRY(crn__schedule_run(schedule, &(crn__observer){.report = NULL}));
    CRN__TRY(crn__finish(t->context));
    clock_gettime(CLOCK_MONOTONIC, &end);
    *seconds = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
    return CRN_OK;
}

/* Sets *seconds to the shortest run. The first one has written the result. */
static crn_status run_often(tuner *t, crn__schedule *schedule, double best, double *seconds)
{
    CRN__TRY(crn__schedule_place(schedule));
    CRN__TRY(crn__schedule_prepare(schedule, t->arena));
    CRN__TRY(crn__buffer_zero(t->result->buffer));
    CRN__TRY(run(t, schedule, seconds));
    *seconds = HUGE_VAL;
    for (int i = 0; i < RUNS && (i == 0 || *seconds <= GIVE_UP * best); i++) {
        double one;
        if (t->moving && t->direction != CRN__WEIGHT_GRADIENT)
            t->w->version++;
        CRN__TRY(run(t, schedule, &one));
        *seconds = one < *seconds ? one : *seconds;
    }
    return CRN_OK;
}

static bool is_right(const tuner *t)
{
    double largest = 0, off = 0;
    for (size_t i = 0; i < crn__tensor_count(t->result); i++) {
        double wanted = t->reference[i], difference = fabs(t->values[i] - wanted);
        largest = fmax(largest, fabs(wanted));
        off = difference <= off ? off : difference; /* NaN, too */
    }
    return off <= TOLERANCE * largest;
}

static crn_status measure(tuner *t, const crn__conv_solver_ops *solver, double best,
                          double *seconds)
{
    crn__schedule *schedule = crn__schedule_create(t->context, crn__context_fail(t->context));
    if (schedule == NULL)
        return CRN_NO_MEMORY;
    crn__conv_write(schedule, solver, t->conv, t->direction, t->x, t->w, t->y);
    crn_status status = run_often(t, schedule, best, seconds);
    crn__schedule_free(schedule);
    CRN__TRY(status);
    return crn__buffer_read(t->result->buffer, 0,
                            solver == &crn__conv_direct ? t->reference : t->values,
                            t->result->bytes);
}

/* Only the direct solver must work. */
static crn_status measure_all(tuner *t, crn__conv_times *times)
{
    double best;
    CRN__TRY(open_tuner(t));
    CRN__TRY(measure(t, times->solvers[0], HUGE_VAL, &best));
    times->seconds[0] = best;
    times->chosen = times->solvers[0];
    for (size_t i = 1; i < times->n; i++) {
        const char *name = times->solvers[i]->name;
        double seconds;
        crn_status status = measure(t, times->solvers[i], best, &seconds);
        times->seconds[i] = status == CRN_OK && is_right(t) ? seconds : -1;
        if (status != CRN_OK)
            crn__log(t->context, CRN_LOG_WARNING, "%s fails and is not chosen: %s", name,
                     crn_context_error(t->context)->text);
        else if (times->seconds[i] < 0)
            crn__log(t->context, CRN_LOG_WARNING, "%s is wrong here and is not chosen", name);
        else if (seconds < best) {
            best = seconds;
            times->chosen = times->solvers[i];
        }
    }
    return CRN_OK;
}

/* What applies, and what is chosen as things are. Needs a schedule to ask with. */
static crn_status list_solvers(tuner *t, crn__conv_times *times)
{
    crn__schedule *schedule = crn__schedule_create(t->context, crn__context_fail(t->context));
    if (schedule == NULL)
        return CRN_NO_MEMORY;
    *times = (crn__conv_times){.chosen = crn__conv_tuned(schedule, t->conv, t->direction)};
    for (size_t i = 0; i < CRN__CONV_SOLVERS; i++)
        if (solvers[i]->applies(schedule, t->conv))
            times->solvers[times->n++] = solvers[i];
    if (times->n == 1)
        times->chosen = times->solvers[0];
    crn__schedule_free(schedule);
    return CRN_OK;
}

crn_status crn__conv_tune(crn_context *context, crn__arena *arena, const crn__conv *conv,
                          crn__direction direction, bool moving, bool again, crn__conv_times *times)
{
    tuner t = {
        .context = context, .arena = arena, .conv = conv, .direction = direction, .moving = moving};
    CRN__TRY(list_solvers(&t, times));
    if (times->n == 1 || (times->chosen != NULL && !again))
        return CRN_OK;
    crn_status status = measure_all(&t, times);
    close_tuner(&t);
    if (status == CRN_OK) {
        char key[384];
        make_key(crn__context_profile(context), conv, direction, key, sizeof key);
        crn__context_choose(context, key, times->chosen->name);
    }
    return status;
}
