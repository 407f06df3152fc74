/* What a training is asked to do, checked before anything is done. */
#include <inttypes.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "device/device.h"
#include "train/training.h"

static crn_status check_run(crn__training *t)
{
    const crn_train_options *o = &t->options;
    if (o->log_every < 1 || o->histograms_every < 0 || o->validate_every < 0 || o->keep < 0 ||
        o->early_stop < 0 || !(o->time_limit >= 0))
        return crn__fail(t->error, CRN_INVALID,
                         "logged every %" PRId64 " steps, histograms every %" PRId64
                         ", validated every %" PRId64 ", %" PRId64 " checkpoints kept, early stop "
                         "after %" PRId64 ", within %g seconds",
                         o->log_every, o->histograms_every, o->validate_every, o->keep,
                         o->early_stop, o->time_limit);
    if (o->accumulate < 1 || o->accumulate > CRN__MAX_ACCUMULATE || o->threads < 0)
        return crn__fail(t->error, CRN_INVALID, "%d batches a step, read by %d threads",
                         o->accumulate, o->threads);
    if (o->freeze_bn && o->trainable_scopes == NULL)
        return crn__fail(t->error, CRN_INVALID,
                         "freeze_bn is for the batch norms that trainable_scopes freezes");
    if (o->early_stop > 0 && o->validation == NULL)
        return crn__fail(t->error, CRN_INVALID, "an early stop needs validation");
    if (o->out == NULL && (o->resume || o->on_non_finite == CRN_NON_FINITE_ROLLBACK))
        return crn__fail(t->error, CRN_INVALID, "%s needs a run's folder",
                         o->resume ? "resuming" : "going back to a checkpoint");
    return CRN_OK;
}

static crn_status check_length(crn__training *t)
{
    const crn_train_options *o = &t->options;
    if (o->steps < 0 || o->epochs < 0 || o->save_every < 0 || o->steps + o->epochs == 0)
        return crn__fail(t->error, CRN_INVALID,
                         "%" PRId64 " steps, %" PRId64 " epochs, saved every %" PRId64 " steps",
                         o->steps, o->epochs, o->save_every);
    t->per_epoch = crn__batches_per_epoch(&t->batches) / o->accumulate;
    if (t->per_epoch == 0)
        return crn__fail(t->error, CRN_INVALID,
                         "batch size %" PRId64
                         ", %d of them a step: the data set has only %zu images",
                         o->batch_size, o->accumulate, crn_dataset_size(t->batches.dataset));
    t->steps = o->steps;
    if (t->steps == 0 && __builtin_mul_overflow(o->epochs, t->per_epoch, &t->steps))
        return crn__fail(t->error, CRN_INVALID, "%" PRId64 " epochs are too many", o->epochs);
    int64_t batches;
    if (__builtin_mul_overflow(t->steps, (int64_t)o->accumulate, &batches))
        return crn__fail(t->error, CRN_INVALID, "%" PRId64 " steps are too many", t->steps);

    t->schedule = (crn_schedule)CRN_SCHEDULE_INIT(o->optimizer.learning_rate);
    if (o->schedule != NULL)
        t->schedule = *o->schedule;
    if (t->schedule.decay_steps == 0)
        t->schedule.decay_steps = t->steps;
    return crn_schedule_check(&t->schedule, t->error);
}

/* Called by crn__prefetch_next, in the thread that trains. */
static void tell_broken(void *data, size_t index, const crn_error *error)
{
    const crn__training *t = data;
    (void)index;
    crn__log(t->context, CRN_LOG_WARNING, "%s; another image takes its place", error->text);
}

crn_status crn__training_check(crn__training *t)
{
    const crn_train_options *o = &t->options;
    if (o->model == NULL || (t->model = crn_model_find(o->model)) == NULL)
        return crn__fail(t->error, CRN_INVALID, "no model is called '%s'",
                         o->model != NULL ? o->model : "");
    const crn_preprocessing *how = o->preprocessing;
    if (how == NULL || how->image_size < 1 || (how->channels != 1 && how->channels != 3))
        return crn__fail(t->error, CRN_INVALID,
                         "training needs a preprocessing to some size and 1 or 3 channels");
    if (o->batch_size < 2)
        return crn__fail(t->error, CRN_INVALID,
                         "batch size %" PRId64 ": batch norm needs at least 2 images a step",
                         o->batch_size);
    t->batches = (crn__batches){.dataset = t->batches.dataset,
                                .preprocessing = how,
                                .batch_size = (size_t)o->batch_size,
                                .training = true,
                                .seed = o->seed,
                                .mix = o->mix,
                                .broken = o->skip_broken ? CRN__BROKEN_SKIP : CRN__BROKEN_FATAL,
                                .threads = (size_t)o->threads,
                                .report = tell_broken,
                                .report_data = t};
    CRN__TRY(check_run(t));
    return check_length(t);
}

/* ---- classes ---- */

/* Of the network's class i; "background" for those before the data's. */
static json_t *name_of(const crn__training *t, int64_t i)
{
    int64_t k = i + t->options.labels_offset;
    return json_string(k < 0 ? "background"
                             : crn_dataset_class_name(t->batches.dataset, (size_t)k));
}

crn_status crn__training_name_classes(crn__training *t)
{
    int64_t known = (int64_t)crn_dataset_class_count(t->batches.dataset);
    int64_t offset = t->options.labels_offset;
    if (offset >= known || offset < -1)
        return crn__fail(t->error, CRN_INVALID,
                         "labels offset %" PRId64 ": it is from -1 to %" PRId64 " for this data",
                         offset, known - 1);
    t->classes = (size_t)(known - offset);
    t->class_names = json_array();
    for (size_t i = 0; i < t->classes; i++)
        /* The only way to fail but for memory: file names are bytes, JSON is UTF-8. */
        if (json_array_append_new(t->class_names, name_of(t, (int64_t)i)) != 0)
            return crn__fail(t->error, CRN_INVALID, "the name of class %zu is not UTF-8", i);
    t->class_names_text = json_dumps(t->class_names, JSON_COMPACT);
    return t->class_names_text != NULL ? CRN_OK : crn__fail_memory(t->error);
}
