/* A training's steps, and what happens between them. */
#include <inttypes.h>
#include <math.h>
#include <time.h>

#include "core/error.h"
#include "core/random.h"
#include "device/device.h"
#include "graph/graph.h"
#include "train/score.h"
#include "train/training.h"

#define MAX_SKIPPED 20
#define MAX_ROLLBACKS 3

double crn__training_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- one step ---- */

static void measure(crn__training *t, size_t right)
{
    crn_progress *p = &t->progress;
    double images = (double)(t->options.batch_size * t->options.accumulate);
    double time = crn__training_now();
    p->accuracy = (float)((double)right / images);
    p->seconds = time - t->begin;
    t->window_steps++;
    bool full = time - t->window >= 1;
    if (full || t->window == t->begin)
        p->images_per_second = (double)t->window_steps * images / fmax(time - t->window, 1e-9);
    if (full) {
        t->window = time;
        t->window_steps = 0;
    }
}

/* The batch's labels as the network's classes. Soft ones of a class that it lacks are 0. */
static crn_status map_labels(crn__training *t, const crn__batch *batch)
{
    int64_t offset = t->options.labels_offset;
    int64_t known = (int64_t)crn_dataset_class_count(t->batches.dataset);
    for (size_t i = 0; i < batch->count; i++) {
        int64_t label = batch->labels[i] - offset;
        if (label < 0 || label >= (int64_t)t->classes)
            return crn__fail(t->error, CRN_INVALID,
                             "an image of class '%s': with a labels offset of %" PRId64
                             " the network has no such class",
                             crn_dataset_class_name(t->batches.dataset, (size_t)batch->labels[i]),
                             offset);
        t->label_values[i] = (int32_t)label;
        for (int64_t k = 0; t->soft_values != NULL && k < (int64_t)t->classes; k++)
            t->soft_values[(int64_t)i * (int64_t)t->classes + k] =
                k + offset >= 0 ? batch->soft_labels[(int64_t)i * known + k + offset] : 0;
    }
    return CRN_OK;
}

/* One of the step's batches; its losses are added to the progress. */
static crn_status run_batch(crn__training *t, const crn__batch *batch, size_t *right)
{
    int64_t side = t->options.preprocessing->image_size;
    int64_t count = (int64_t)batch->count, classes = (int64_t)t->classes;
    CRN__TRY(map_labels(t, batch));
    bool soft = t->soft_values != NULL;
    const crn_feed feeds[] = {
        {t->inputs, batch->images,
         CRN_SHAPE(count, side, side, t->options.preprocessing->channels)},
        {t->labels, soft ? (const void *)t->soft_values : t->label_values,
         soft ? CRN_SHAPE(count, classes) : CRN_SHAPE(count)},
    };
    float loss = 0, total = 0;
    crn_fetch fetches[] = {
        {.node = t->loss, .data = &loss, .size = sizeof loss},
        {.node = t->total, .data = &total, .size = sizeof total},
        {.node = t->logits,
         .data = t->logit_values,
         .size = batch->count * t->classes * sizeof *t->logit_values},
    };
    crn_status status = crn_run(t->graph, t->op, feeds, 2, fetches, 3);
    t->progress.loss += loss / (float)t->options.accumulate;
    t->progress.total_loss += total / (float)t->options.accumulate;
    for (size_t i = 0; i < batch->count && status == CRN_OK; i++)
        *right += crn__rank(t->logit_values + i * t->classes, t->classes,
                            (size_t)t->label_values[i]) == 0;
    return status;
}

/* Whether the step that was run is one that CRN_GUARD_SKIP left out. It counts all the same: it is
 * a place in the data. */
static crn_status was_skipped(crn__training *t, bool *skipped)
{
    int64_t all;
    CRN__TRY(crn_train_op_skipped(t->op, &all));
    *skipped = all > t->skipped;
    t->skipped = all;
    t->skipped_in_row = *skipped ? t->skipped_in_row + 1 : 0;
    if (t->skipped_in_row >= MAX_SKIPPED)
        return crn__fail(t->error, CRN_NON_FINITE,
                         "%" PRId64 " steps in a row up to step %" PRId64 " were not finite",
                         t->skipped_in_row, t->progress.step);
    if (*skipped)
        crn__log(t->context, CRN_LOG_WARNING,
                 "step %" PRId64 " is skipped: its loss or a gradient is not finite",
                 t->progress.step);
    return CRN_OK;
}

static crn_status run_step(crn__training *t, crn__prefetch *prefetch)
{
    int64_t step = crn_train_op_step(t->op);
    crn_progress *p = &t->progress;
    p->step = step + 1;
    p->epoch = step / t->per_epoch + 1;
    p->learning_rate = crn_schedule_rate(&t->schedule, step);
    p->loss = p->total_loss = 0;
    crn_train_op_set_learning_rate(t->op, p->learning_rate);
    size_t right = 0;
    for (int32_t i = 0; i < t->options.accumulate; i++) {
        const crn__batch *batch;
        CRN__TRY(crn__prefetch_next(prefetch, &batch, t->error));
        crn_status status = run_batch(t, batch, &right);
        if (status == CRN_NON_FINITE) {
            char what[CRN_ERROR_TEXT];
            snprintf(what, sizeof what, "%s", t->error->text);
            return crn__fail(t->error, status, "step %" PRId64 " of %" PRId64 ": %s", step + 1,
                             t->steps, what);
        }
        CRN__TRY(status);
    }
    measure(t, right);
    bool skipped = false;
    if (t->options.on_non_finite == CRN_NON_FINITE_SKIP)
        CRN__TRY(was_skipped(t, &skipped));
    return skipped ? CRN_OK : crn__training_log_step(t);
}

/* ---- validation ---- */

static bool validation_is_due(const crn__training *t, int64_t step)
{
    int64_t every = t->options.validate_every > 0 ? t->options.validate_every : t->per_epoch;
    return t->options.validation != NULL && step > t->state.validated &&
           (step % every == 0 || step == t->steps);
}

static crn_status validate(crn__training *t)
{
    const crn__network network = {.graph = t->graph,
                                  .inputs = t->inputs,
                                  .logits = t->inference,
                                  .preprocessing = t->options.preprocessing,
                                  .class_names = t->class_names,
                                  .error = t->error};
    crn__training_state *s = &t->state;
    double begin = crn__training_now();
    bool averages = t->options.moving_average_decay > 0;
    CRN__TRY(crn_train_op_use_averages(t->op, averages));
    crn_status status =
        crn__evaluate(&network, t->options.validation, t->batches.batch_size, t->options.validating,
                      t->options.progress_data, &t->validation, NULL);
    if (averages)
        CRN__TRY(crn_train_op_use_averages(t->op, false));
    CRN__TRY(status);
    t->window += crn__training_now() - begin; /* it is no part of the training's rate */
    s->validated = crn_train_op_step(t->op);
    bool gain = s->best_step == 0 || t->validation.top1 > s->best_top1;
    if (gain) {
        s->best_step = s->validated;
        s->best_top1 = t->validation.top1;
    }
    s->without_gain = gain ? 0 : s->without_gain + 1;
    t->progress.validation = &t->validation;
    t->progress.best_step = s->best_step;
    t->progress.best_top1 = s->best_top1;
    CRN__TRY(crn__training_log_validation(t));
    return gain ? crn__training_save_best(t) : CRN_OK;
}

/* ---- between steps ---- */

/* Whether training ends before its last step. */
static bool ends_early(const crn__training *t)
{
    const crn_train_options *o = &t->options;
    int64_t step = crn_train_op_step(t->op);
    if (step >= t->steps)
        return false;
    if (o->early_stop > 0 && t->state.without_gain >= o->early_stop) {
        crn__log(t->context, CRN_LOG_INFO,
                 "early stop after step %" PRId64 ": %" PRId64
                 " validations without gain since step %" PRId64 " (top-1 %.2f %%)",
                 step, t->state.without_gain, t->state.best_step, 100 * t->state.best_top1);
        return true;
    }
    if (o->time_limit > 0 && crn__training_now() - t->begin >= o->time_limit) {
        crn__log(t->context, CRN_LOG_INFO,
                 "the time limit ends training after step %" PRId64 " of %" PRId64, step, t->steps);
        return true;
    }
    return false;
}

/* After a step, or before the first of a process: validates where that is due. */
static crn_status validate_if_due(crn__training *t)
{
    t->progress.validation = NULL;
    return validation_is_due(t, crn_train_op_step(t->op)) ? validate(t) : CRN_OK;
}

static crn_status after_step(crn__training *t)
{
    int64_t step = crn_train_op_step(t->op);
    int64_t every = t->options.save_every > 0 ? t->options.save_every : t->per_epoch;
    crn_status status = validate_if_due(t);
    if (status != CRN_OK && status != CRN_INTERRUPTED)
        return status;
    /* A validation that was stopped is done first when training goes on. */
    bool go_on = status == CRN_OK;
    if (t->options.progress != NULL)
        go_on = t->options.progress(t->options.progress_data, &t->progress) && go_on;
    if (step % every == 0 || !go_on)
        CRN__TRY(crn__training_save(t));
    if (!go_on)
        return crn__fail(t->error, CRN_INTERRUPTED,
                         "training was stopped after step %" PRId64 " of %" PRId64, step, t->steps);
    return CRN_OK;
}

/* To the end, early or not, or to the first failure. */
static crn_status run_steps(crn__training *t)
{
    crn__batches batches = t->batches;
    if (t->state.rollbacks > 0)
        batches.seed = crn__random_bits(batches.seed, (uint64_t)t->state.rollbacks);
    crn__prefetch *prefetch = NULL;
    int64_t each = t->options.accumulate;
    CRN__TRY(crn__prefetch_create(&batches, crn_train_op_step(t->op) * each, t->steps * each,
                                  &prefetch, t->error));
    crn_status status = CRN_OK;
    while (status == CRN_OK && crn_train_op_step(t->op) < t->steps && !ends_early(t)) {
        status = run_step(t, prefetch);
        if (status == CRN_OK)
            status = after_step(t);
    }
    crn__prefetch_free(prefetch);
    return status == CRN_OK ? crn__training_save(t) : status;
}

/* ---- all of it ---- */

static crn_status roll_back(crn__training *t)
{
    int64_t failed = crn_train_op_step(t->op), rollbacks = t->state.rollbacks + 1;
    char what[CRN_ERROR_TEXT];
    snprintf(what, sizeof what, "%s", t->error->text);
    CRN__TRY(crn__training_go_back(t));
    t->state.rollbacks = rollbacks;
    int64_t step = crn_train_op_step(t->op);
    crn__log(t->context, CRN_LOG_WARNING,
             "%s: going back from step %" PRId64 " to step %" PRId64
             " and on in another order, time %" PRId64 " of %d",
             what, failed, step, rollbacks, MAX_ROLLBACKS);
    t->saved = -1; /* the file does not have this state */
    t->continues = true;
    CRN__TRY(crn__training_save(t));
    return crn__run_folder_begin_logs(&t->folder, step, t->error);
}

crn_status crn__training_run(crn__training *t)
{
    bool returns = t->options.on_non_finite == CRN_NON_FINITE_ROLLBACK;
    t->progress.steps = t->steps;
    t->progress.epochs = (t->steps - 1) / t->per_epoch + 1;
    t->progress.best_step = t->state.best_step;
    t->progress.best_top1 = t->state.best_top1;
    t->begin = t->window = crn__training_now();
    if (returns && t->saved < 0) /* something to go back to */
        CRN__TRY(crn__training_save(t));
    if (crn_train_op_step(t->op) > 0) {
        CRN__TRY(validate_if_due(t));
        if (t->progress.validation != NULL) /* the checkpoint of this step lacks it */
            t->saved = -1;
    }
    crn_status status;
    while ((status = run_steps(t)) == CRN_NON_FINITE && returns &&
           t->state.rollbacks < MAX_ROLLBACKS)
        CRN__TRY(roll_back(t));
    return status;
}
