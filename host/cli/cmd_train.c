#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/train_options.h"
#include "cli/train_report.h"

/* ---- what to do with the images ---- */

static int from_checkpoint(const char *path, crn_preprocessing *preprocessing, int64_t *seed,
                           bool *found)
{
    crn_error error;
    crn_checkpoint *file;
    if (crn_checkpoint_open(path, &file, &error) != CRN_OK)
        return cli_fail("train", &error);
    const char *text = crn_checkpoint_metadata(file, CRN_METADATA_PREPROCESSING);
    const char *number = crn_checkpoint_metadata(file, CRN_METADATA_SEED);
    int code = CLI_GO_ON;
    *found = text != NULL;
    if (text != NULL && crn_preprocessing_from_json(text, preprocessing, &error) != CRN_OK)
        code = cli_fail("train", &error);
    if (number != NULL)
        *seed = (int64_t)strtoull(number, NULL, 10);
    crn_checkpoint_free(file);
    return code;
}

static crn_preprocessing choose_preprocessing(const train_arguments *a, const crn_dataset *dataset)
{
    const crn_model *model = crn_model_find(a->model);
    int32_t channels = crn_dataset_channels(dataset), height, width;
    crn_dataset_image_size(dataset, &height, &width);
    int32_t side = height > 0 && height == width ? height : model->image_size;
    if (a->image_size > 0)
        side = (int32_t)a->image_size;
    return channels == 3 && model->image_size == 224 ? crn_preprocessing_vgg(side)
                                                     : crn_preprocessing_inception(side, channels);
}

/*
 * Weights are of use with the preprocessing that they were trained with, and a training goes on
 * with its own seed: both are the checkpoint's unless the command line says otherwise. What was
 * settled becomes the arguments', for config.json.
 */
static int settle(train_arguments *a, const crn_dataset *dataset, crn_preprocessing *preprocessing)
{
    char last[4400] = "";
    const char *from = a->init_from;
    bool found = false;
    int64_t seed = 0;
    if (a->resume != NULL)
        snprintf(last, sizeof last, "%s/model.safetensors", a->resume);
    bool goes_on = *last != '\0' && access(last, F_OK) == 0;
    if (goes_on)
        from = last;
    if (from != NULL) {
        int code = from_checkpoint(from, preprocessing, &seed, &found);
        if (code != CLI_GO_ON)
            return code;
    }
    if (!found)
        *preprocessing = choose_preprocessing(a, dataset);
    else if (a->image_size > 0 && a->image_size != preprocessing->image_size) {
        preprocessing->resize_side = 0;
        preprocessing->image_size = (int32_t)a->image_size;
    }
    /* A run's config.json says all of its options, a checkpoint alone only what it was made with.
     */
    preprocessing->random_flip = a->flip || (!goes_on && found && preprocessing->random_flip);
    preprocessing->random_crop = a->crop || (!goes_on && found && preprocessing->random_crop);
    a->flip = preprocessing->random_flip;
    a->crop = preprocessing->random_crop;
    a->image_size = preprocessing->image_size;
    a->seed = a->seed >= 0 ? a->seed : seed;
    if (a->steps == 0 && a->epochs == 0)
        a->epochs = 1;
    return CLI_GO_ON;
}

/* ---- validation ---- */

/* --validation, or the test images of --data, or none: here a share of the training images could be
 * held out. */
static int open_validation(const train_arguments *a, const crn_dataset *dataset, crn_dataset **out)
{
    if (a->validate_every == 0)
        return CLI_GO_ON;
    if (a->validation != NULL)
        return cli_open_dataset("train", a->validation, CRN_SPLIT_TEST, out);
    if (crn_dataset_has_split(dataset, CRN_SPLIT_TEST))
        return cli_open_dataset("train", a->data, CRN_SPLIT_TEST, out);
    if (a->validate_every > 0 || a->early_stop > 0)
        return cli_usage_error("train", "%s has no test images to validate with: give --validation",
                               a->data);
    return CLI_GO_ON;
}

/* ---- the command ---- */

static crn_on_non_finite what_on_non_finite(const char *text)
{
    return strcmp(text, "skip") == 0       ? CRN_NON_FINITE_SKIP
           : strcmp(text, "rollback") == 0 ? CRN_NON_FINITE_ROLLBACK
                                           : CRN_NON_FINITE_STOP;
}

static crn_train_options make_options(const train_arguments *a)
{
    crn_train_options o = CRN_TRAIN_OPTIONS_INIT;
    float rate = (float)a->learning_rate;
    bool momentum = strcmp(a->optimizer, "momentum") == 0;
    o.model = a->model;
    o.epochs = a->epochs;
    o.steps = a->steps;
    o.batch_size = a->batch_size;
    o.optimizer = momentum ? crn_momentum(rate, (float)a->momentum) : crn_gradient_descent(rate);
    o.cosine = a->cosine;
    o.weight_decay = (float)a->weight_decay;
    o.seed = (uint64_t)a->seed;
    o.out = a->out;
    o.save_every = a->save_every;
    o.init_from = a->init_from;
    o.exclude_scopes = a->exclude_scopes;
    o.ignore_missing_vars = a->ignore_missing_vars;
    o.resume = a->resume != NULL;
    o.log_every = a->log_every;
    o.histograms_every = a->histograms;
    o.validate_every = a->validate_every > 0 ? a->validate_every : 0;
    o.keep = a->keep;
    o.early_stop = a->early_stop;
    o.time_limit = a->time_limit > 0 ? 60 * a->time_limit : 0;
    o.labels_offset = a->labels_offset;
    o.trainable_scopes = a->trainable_scopes;
    o.on_non_finite = what_on_non_finite(a->on_non_finite);
    return o;
}

static int train(train_arguments *a, crn_context *context, const crn_dataset *dataset,
                 const crn_dataset *validation)
{
    crn_preprocessing preprocessing;
    int code = settle(a, dataset, &preprocessing);
    if (code != CLI_GO_ON)
        return code;
    train_meter meter = {.batch_size = a->batch_size,
                         .per_epoch = (int64_t)crn_dataset_size(dataset) / a->batch_size};
    crn_train_options o = make_options(a);
    char *config = train_config(a);
    if (config == NULL)
        return cli_no_memory("train");
    o.preprocessing = &preprocessing;
    o.config = config;
    o.validation = validation;
    o.progress = train_on_progress;
    o.validating = train_on_validating;
    o.progress_data = &meter;
    train_tell_start(a, context, dataset, &preprocessing);
    cli_catch_signals();
    code = train_tell_end(a, context, crn_train(context, dataset, &o), &meter);
    if (code == CLI_OK && meter.last.step > 0)
        train_conclude(a, context, validation);
    free(config);
    return code;
}

static int open_and_train(train_arguments *a)
{
    crn_context *context = NULL;
    crn_dataset *dataset = NULL, *validation = NULL;
    int code = cli_open_dataset("train", a->data, CRN_SPLIT_TRAIN, &dataset);
    if (code == CLI_GO_ON)
        code = open_validation(a, dataset, &validation);
    if (code == CLI_GO_ON)
        code = cli_open_context("train", a->device, &context);
    if (code == CLI_GO_ON)
        code = train(a, context, dataset, validation);
    crn_context_free(context);
    crn_dataset_free(validation);
    crn_dataset_free(dataset);
    return code;
}

int cmd_train(int argc, char **argv)
{
    train_arguments a;
    int code = train_parse(argc, argv, &a);
    if (code == CLI_GO_ON)
        code = open_and_train(&a);
    train_free(&a);
    return code;
}
