#include "clarinet/train.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"
#include "core/memory.h"
#include "device/device.h"
#include "train/prefetch.h"
#include "train/score.h"

#define CHECKPOINT_NAME "model.safetensors"

typedef struct training {
    crn_context *context;
    crn_error *error; /* the context's */
    crn_train_options options;
    const crn_model *model;
    crn__batches batches;
    int64_t steps, per_epoch;
    int64_t saved; /* the step that the checkpoint holds; -1: none of this training */
    size_t classes;
    char *class_names; /* JSON */
    char *path;        /* of the checkpoint; or NULL */

    crn_graph *graph;
    crn_node *inputs, *labels, *logits, *loss;
    crn_train_op *op;
    float *logit_values; /* [batch_size,classes] */

    double begin, window; /* when training and the window of the rate began */
    int64_t window_steps;
    crn_progress progress;
} training;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- before the first step ---- */

static crn_status check_options(training *t)
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
    if (o->steps < 0 || o->epochs < 0 || o->save_every < 0 || o->steps + o->epochs == 0)
        return crn__fail(t->error, CRN_INVALID,
                         "%" PRId64 " steps, %" PRId64 " epochs, saved every %" PRId64 " steps",
                         o->steps, o->epochs, o->save_every);

    t->batches = (crn__batches){.dataset = t->batches.dataset,
                                .preprocessing = how,
                                .batch_size = (size_t)o->batch_size,
                                .training = true,
                                .seed = o->seed};
    t->classes = crn_dataset_class_count(t->batches.dataset);
    t->per_epoch = crn__batches_per_epoch(&t->batches);
    if (t->per_epoch == 0)
        return crn__fail(t->error, CRN_INVALID,
                         "batch size %" PRId64 " is more than the data set's %zu images",
                         o->batch_size, crn_dataset_size(t->batches.dataset));
    t->steps = o->steps;
    if (t->steps == 0 && __builtin_mul_overflow(o->epochs, t->per_epoch, &t->steps))
        return crn__fail(t->error, CRN_INVALID, "%" PRId64 " epochs are too many", o->epochs);
    return CRN_OK;
}

/* Found out before hours of training, rather than at the first checkpoint. */
static crn_status make_folder(training *t)
{
    if (t->options.out == NULL)
        return CRN_OK;
    t->path = crn__format("%s/" CHECKPOINT_NAME, t->options.out);
    if (t->path == NULL)
        return crn__fail_memory(t->error);
    for (char *slash = strchr(t->path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int failed = mkdir(t->path, 0777) != 0 && errno != EEXIST ? errno : 0;
        *slash = '/';
        if (failed)
            return crn__fail(t->error, CRN_IO, "%s: cannot make the folder: %s", t->options.out,
                             strerror(failed));
    }
    if (access(t->options.out, W_OK | X_OK) != 0)
        return crn__fail(t->error, CRN_IO, "%s: cannot write there: %s", t->options.out,
                         strerror(errno));
    return CRN_OK;
}

static crn_status name_classes(training *t)
{
    crn_status status = CRN_OK;
    json_t *names = json_array();
    for (size_t i = 0; i < t->classes && status == CRN_OK; i++)
        /* The only way to fail but for memory: file names are bytes, JSON is UTF-8. */
        if (json_array_append_new(names,
                                  json_string(crn_dataset_class_name(t->batches.dataset, i))) != 0)
            status = crn__fail(t->error, CRN_INVALID, "the name of class %zu is not UTF-8", i);
    if (status == CRN_OK && (t->class_names = json_dumps(names, JSON_COMPACT)) == NULL)
        status = crn__fail_memory(t->error);
    json_decref(names);
    return status;
}

static crn_status build(training *t)
{
    const crn_preprocessing *how = t->options.preprocessing;
    CRN__TRY(crn_graph_create(t->context, &t->graph));
    crn_graph *g = t->graph;
    crn_graph_set_seed(g, t->options.seed);

    crn_resnet_options options = CRN_RESNET_OPTIONS_INIT;
    options.weight_decay = t->options.weight_decay;
    options.batch_norm_decay = t->options.batch_norm_decay;
    t->inputs = crn_placeholder(
        g, "inputs", CRN_F32, CRN_SHAPE(CRN_ANY, how->image_size, how->image_size, how->channels));
    t->labels = crn_placeholder(g, "labels", CRN_I32, CRN_SHAPE(CRN_ANY));
    t->logits = t->model->build(g, t->inputs, (int64_t)t->classes, &options);
    crn_node *entropy = crn_sparse_softmax_cross_entropy(g, t->labels, t->logits);
    t->loss = crn_add(g, crn_reduce_mean(g, entropy), crn_regularization_loss(g));
    t->op = crn_minimize(g, t->options.optimizer, t->loss);
    if (crn_graph_status(g) != CRN_OK)
        return crn__fail(t->error, crn_graph_status(g), "%s", crn_graph_error(g)->text);
    t->logit_values = crn__alloc(t->batches.batch_size, t->classes * sizeof *t->logit_values);
    return t->logit_values != NULL ? crn_initialize_variables(g) : crn__fail_memory(t->error);
}

static bool metadata_is(const crn_checkpoint *file, const char *key, const char *value)
{
    const char *found = crn_checkpoint_metadata(file, key);
    return found != NULL && strcmp(found, value) == 0;
}

static crn_status restore(training *t)
{
    const char *path = t->options.init_from;
    if (path == NULL)
        return CRN_OK;
    crn_checkpoint *file;
    CRN__TRY(crn_checkpoint_open(path, &file, t->error));
    bool excludes = t->options.exclude_scopes != NULL && *t->options.exclude_scopes != '\0';
    bool goes_on = !excludes && metadata_is(file, CRN_METADATA_MODEL, t->model->name) &&
                   metadata_is(file, CRN_METADATA_CLASSES, t->class_names);
    crn_checkpoint_free(file);

    crn_restore_options options = CRN_RESTORE_OPTIONS_INIT;
    options.exclude_scopes = t->options.exclude_scopes;
    options.ignore_missing_vars = t->options.ignore_missing_vars;
    options.train = goes_on ? t->op : NULL;
    options.report = t->options.report;
    options.report_data = t->options.report_data;
    CRN__TRY(crn_checkpoint_restore(t->graph, path, &options));

    int64_t step = crn_train_op_step(t->op);
    if (step < 0)
        return crn__fail(t->error, CRN_FORMAT, "%s: its step is %" PRId64, path, step);
    if (goes_on && step >= t->steps)
        crn__log(t->context, CRN_LOG_INFO,
                 "%s: training has done %" PRId64 " of %" PRId64 " steps: there is nothing to do",
                 path, step, t->steps);
    else if (goes_on)
        crn__log(t->context, CRN_LOG_INFO,
                 "%s: training goes on after step %" PRId64 " of %" PRId64, path, step, t->steps);
    else
        crn__log(t->context, CRN_LOG_INFO, "%s: training begins at step 1 with its weights", path);
    return CRN_OK;
}

/* ---- checkpoints ---- */

/* The loss of a step is that before its update, so it says nothing about the weights after it. */
static crn_status check_variables(training *t)
{
    crn_status status = CRN_OK;
    float *data = NULL;
    for (size_t i = 0; i < crn_variable_count(t->graph) && status == CRN_OK; i++) {
        crn_node *variable = crn_variable_at(t->graph, i);
        crn_shape shape = crn_node_shape(variable);
        size_t count = (size_t)crn_shape_count(&shape), bad = 0;
        free(data);
        if ((data = crn__alloc(count, sizeof *data)) == NULL)
            return crn__fail_memory(t->error);
        status = crn_variable_read(variable, data, count);
        while (status == CRN_OK && bad < count && isfinite(data[bad]))
            bad++;
        if (status == CRN_OK && bad < count)
            status = crn__fail(t->error, CRN_NON_FINITE, "%s is not finite after step %" PRId64,
                               crn_node_name(variable), crn_train_op_step(t->op));
    }
    free(data);
    return status;
}

static crn_status save(training *t)
{
    int64_t step = crn_train_op_step(t->op);
    if (t->path == NULL || t->saved == step)
        return CRN_OK;
    char preprocessing[CRN_PREPROCESSING_JSON_SIZE], seed[24], classes[24];
    CRN__TRY(check_variables(t));
    crn_status status =
        crn_preprocessing_to_json(t->options.preprocessing, preprocessing, sizeof preprocessing);
    if (status != CRN_OK)
        return crn__fail(t->error, status, "the preprocessing has no place in the checkpoint");
    snprintf(seed, sizeof seed, "%" PRIu64, t->options.seed);
    snprintf(classes, sizeof classes, "%zu", t->classes);

    const crn_metadata metadata[] = {
        {CRN_METADATA_MODEL, t->model->name},        {CRN_METADATA_NUM_CLASSES, classes},
        {CRN_METADATA_CLASSES, t->class_names},      {CRN_METADATA_SEED, seed},
        {CRN_METADATA_PREPROCESSING, preprocessing},
    };
    crn_save_options options = CRN_SAVE_OPTIONS_INIT;
    options.train = t->op;
    options.metadata = metadata;
    options.n_metadata = sizeof metadata / sizeof *metadata;
    CRN__TRY(crn_checkpoint_save(t->graph, t->path, &options));
    t->saved = step;
    return CRN_OK;
}

/* ---- steps ---- */

static void measure(training *t, const crn__batch *batch)
{
    size_t right = 0;
    for (size_t i = 0; i < batch->count; i++)
        right +=
            crn__rank(t->logit_values + i * t->classes, t->classes, (size_t)batch->labels[i]) == 0;

    crn_progress *p = &t->progress;
    double time = now();
    p->accuracy = (float)right / (float)batch->count;
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

static crn_status run_step(training *t, const crn__batch *batch)
{
    int64_t step = crn_train_op_step(t->op);
    int64_t side = t->options.preprocessing->image_size;
    int64_t count = (int64_t)batch->count;
    const crn_feed feeds[] = {
        {t->inputs, batch->images,
         CRN_SHAPE(count, side, side, t->options.preprocessing->channels)},
        {t->labels, batch->labels, CRN_SHAPE(count)},
    };
    crn_fetch fetches[] = {
        {.node = t->loss, .data = &t->progress.loss, .size = sizeof t->progress.loss},
        {.node = t->logits,
         .data = t->logit_values,
         .size = batch->count * t->classes * sizeof *t->logit_values},
    };
    if (t->options.cosine) {
        double angle = acos(-1.0) * (double)step / (double)t->steps;
        crn_train_op_set_learning_rate(t->op, (float)(0.5 * (1 + cos(angle))) *
                                                  t->options.optimizer.learning_rate);
    }
    CRN__TRY(crn_run(t->graph, t->op, feeds, 2, fetches, 2));
    t->progress.step = step + 1;
    t->progress.epoch = step / t->per_epoch + 1;
    measure(t, batch);
    if (!isfinite(t->progress.loss))
        return crn__fail(t->error, CRN_NON_FINITE,
                         "the loss is not finite at step %" PRId64 " of %" PRId64, step + 1,
                         t->steps);
    return CRN_OK;
}

static crn_status run_steps(training *t, crn__prefetch *prefetch)
{
    int64_t every = t->options.save_every > 0 ? t->options.save_every : t->per_epoch;
    t->progress.steps = t->steps;
    t->progress.epochs = (t->steps - 1) / t->per_epoch + 1;
    t->begin = t->window = now();
    for (int64_t step = crn_train_op_step(t->op) + 1; step <= t->steps; step++) {
        const crn__batch *batch;
        CRN__TRY(crn__prefetch_next(prefetch, &batch, t->error));
        CRN__TRY(run_step(t, batch));
        bool go_on = t->options.progress == NULL ||
                     t->options.progress(t->options.progress_data, &t->progress);
        if (step % every == 0 || !go_on)
            CRN__TRY(save(t));
        if (!go_on)
            return crn__fail(t->error, CRN_INTERRUPTED,
                             "training was stopped after step %" PRId64 " of %" PRId64, step,
                             t->steps);
    }
    return save(t);
}

static crn_status train(training *t)
{
    crn__prefetch *prefetch = NULL;
    CRN__TRY(check_options(t));
    CRN__TRY(make_folder(t));
    CRN__TRY(name_classes(t));
    CRN__TRY(build(t));
    CRN__TRY(restore(t));
    CRN__TRY(
        crn__prefetch_create(&t->batches, crn_train_op_step(t->op), t->steps, &prefetch, t->error));
    crn_status status = run_steps(t, prefetch);
    crn__prefetch_free(prefetch);
    return status;
}

crn_status crn_train(crn_context *context, const crn_dataset *dataset,
                     const crn_train_options *options)
{
    crn_error *error = crn__context_fail(context);
    if (options == NULL || options->size == 0 || options->size > sizeof *options)
        return crn__fail(error, CRN_INVALID, "training options of another library version");
    training t = {.context = context,
                  .error = error,
                  .options = CRN_TRAIN_OPTIONS_INIT,
                  .batches.dataset = dataset,
                  .saved = -1};
    memcpy(&t.options, options, options->size);
    crn_status status = train(&t);
    crn_graph_free(t.graph);
    free(t.logit_values);
    free(t.class_names);
    free(t.path);
    return status;
}
