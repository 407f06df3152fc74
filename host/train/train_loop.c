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

static void measure(crn__training *t, size_t count)
{
    size_t right = 0;
    for (size_t i = 0; i < count; i++)
        right += crn__rank(t->logit_values + i * t->classes, t->classes,
                           (size_t)t->label_values[i]) == 0;

    crn_progress *p = &t->progress;
    double time = crn__training_now();
    p->accuracy = (float)right / (float)count;
    p->seconds = time - t->begin;
    t->window_steps++;
    bool full = time - t->window >= 1;
    if (full || t->window == t->begin)
        p->images_per_second =
            (double)(t->window_steps * t->options.batch_size) / fmax(time - t->window, 1e-9);
    if (full) {
        t->window = time;
        t->window_steps = 0;
    }
}

static crn_status map_labels(crn__training *t, const crn__batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        int64_t label = batch->labels[i] - t->options.labels_offset;
        if (label < 0 || label >= (int64_t)t->classes)
            return crn__fail(t->error, CRN_INVALID,
                             "an image of class '%s': with a labels offset of %" PRId64
                             " the network has no such class",
                             crn_dataset_class_name(t->batches.dataset, (size_t)batch->labels[i]),
                             t->options.labels_offset);
        t->label_values[i] = (int32_t)label;
    }
    return CRN_OK;
}

static float learning_rate(const crn__training *t, int64_t step)
{
    float first = t->options.optimizer.learning_rate;
    if (!t->options.cosine)
        return first;
    double angle = acos(-1.0) * (double)step / (double)t->steps;
    return (float)(0.5 * (1 + cos(angle))) * first;
}

/*
 * After a step of CRN_NON_FINITE_SKIP: keeps what it made, or takes it back. The step counts all
 * the same: it is a place in the data.
 */
static crn_status keep_or_skip(crn__training *t, bool *skipped)
{
    crn_progress *p = &t->progress;
    const char *name = NULL;
    if (isfinite(p->total_loss))
        CRN__TRY(crn__snapshot_take(t->snapshot, &name));
    else
        CRN__TRY(crn__snapshot_undo(t->snapshot));
    *skipped = name != NULL || !isfinite(p->total_loss);
    t->skipped = *skipped ? t->skipped + 1 : 0;
    if (t->skipped >= MAX_SKIPPED)
        return crn__fail(t->error, CRN_NON_FINITE,
                         "%" PRId64 " steps in a row up to step %" PRId64 " were not finite: %s",
                         t->skipped, p->step, name != NULL ? name : "the loss");
    if (*skipped)
        crn__log(t->context, CRN_LOG_WARNING, "step %" PRId64 " is skipped: %s would not be finite",
                 p->step, name != NULL ? name : "the loss");
    return CRN_OK;
}

static crn_status run_step(crn__training *t, const crn__batch *batch)
{
    int64_t step = crn_train_op_step(t->op);
    int64_t side = t->options.preprocessing->image_size;
    int64_t count = (int64_t)batch->count;
    crn_progress *p = &t->progress;
    CRN__TRY(map_labels(t, batch));
    const crn_feed feeds[] = {
        {t->inputs, batch->images,
         CRN_SHAPE(count, side, side, t->options.preprocessing->channels)},
        {t->labels, t->label_values, CRN_SHAPE(count)},
    };
    crn_fetch fetches[] = {
        {.node = t->loss, .data = &p->loss, .size = sizeof p->loss},
        {.node = t->total, .data = &p->total_loss, .size = sizeof p->total_loss},
        {.node = t->logits,
         .data = t->logit_values,
         .size = batch->count * t->classes * sizeof *t->logit_values},
    };
    p->step = step + 1;
    p->epoch = step / t->per_epoch + 1;
    p->learning_rate = learning_rate(t, step);
    crn_train_op_set_learning_rate(t->op, p->learning_rate);
    CRN__TRY(crn_run(t->graph, t->op, feeds, 2, fetches, 3));
    measure(t, batch->count);
    bool skipped = false;
    if (t->snapshot != NULL)
        CRN__TRY(keep_or_skip(t, &skipped));
    else if (!isfinite(p->total_loss))
        return crn__fail(t->error, CRN_NON_FINITE,
                         "the loss is not finite at step %" PRId64 " of %" PRId64, step + 1,
                         t->steps);
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
    CRN__TRY(crn__evaluate(&network, t->options.validation, t->batches.batch_size,
                           t->options.validating, t->options.progress_data, &t->validation, NULL));
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
    CRN__TRY(
        crn__prefetch_create(&batches, crn_train_op_step(t->op), t->steps, &prefetch, t->error));
    crn_status status = CRN_OK;
    while (status == CRN_OK && crn_train_op_step(t->op) < t->steps && !ends_early(t)) {
        const crn__batch *batch;
        status = crn__prefetch_next(prefetch, &batch, t->error);
        if (status == CRN_OK)
            status = run_step(t, batch);
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
    if (t->options.on_non_finite == CRN_NON_FINITE_SKIP)
        CRN__TRY(crn__snapshot_create(t->graph, t->op, &t->snapshot));
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
