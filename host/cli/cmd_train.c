#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/train_recipe.h"
#include "cli/train_report.h"

/* Of fewer none is kept from training unasked. */
#define MIN_IMAGES 100

/* ---- images ---- */

typedef struct data_sets {
    crn_dataset *all;      /* training's as opened */
    crn_dataset *training; /* a part of it; NULL: all is trained with */
    crn_dataset *validation;
} data_sets;

static void close_data(data_sets *d)
{
    crn_dataset_free(d->validation);
    crn_dataset_free(d->training);
    crn_dataset_free(d->all);
}

/* Keeps a share of the images from training. Always the same ones: they must stay so when a run
 * goes on, whatever its seed. */
static int hold_out(const train_arguments *a, data_sets *d)
{
    const size_t images = crn_dataset_size(d->all), classes = crn_dataset_class_count(d->all);
    bool asked = a->validation_fraction > 0 || a->validate_every > 0 || a->early_stop > 0;
    double fraction = a->validation_fraction < 0 ? 0.1 : a->validation_fraction;
    crn_error error;
    if (a->validation_fraction == 0 && (a->validate_every > 0 || a->early_stop > 0))
        return cli_usage_error("train", "%s has no test images to validate with: give --validation",
                               a->data);
    if (a->validation_fraction == 0 || (!asked && (images < MIN_IMAGES || images < 10 * classes)))
        return CLI_GO_ON;
    if (crn_dataset_split(d->all, fraction, 0, CRN_SPLIT_TRAIN, &d->training, &error) != CRN_OK ||
        crn_dataset_split(d->all, fraction, 0, CRN_SPLIT_TEST, &d->validation, &error) != CRN_OK)
        return cli_fail("train", &error);
    char text[160];
    snprintf(text, sizeof text, "no test images: %zu of %zu are kept from training, for validation",
             crn_dataset_size(d->validation), images);
    cli_complain("train", text);
    return CLI_GO_ON;
}

/* To validate with: --validation, the test images of --data, or a share of its images. */
static int open_data(const train_arguments *a, data_sets *d)
{
    int code = cli_open_dataset("train", a->data, CRN_SPLIT_TRAIN, &d->all);
    if (code != CLI_GO_ON || a->validate_every == 0)
        return code;
    if (a->validation != NULL)
        return cli_open_dataset("train", a->validation, CRN_SPLIT_TEST, &d->validation);
    if (crn_dataset_has_split(d->all, CRN_SPLIT_TEST))
        return cli_open_dataset("train", a->data, CRN_SPLIT_TEST, &d->validation);
    return hold_out(a, d);
}

/* ---- the command ---- */

static int train(train_arguments *a, crn_context *context, const data_sets *data)
{
    const crn_dataset *dataset = data->training != NULL ? data->training : data->all;
    train_recipe recipe;
    crn_train_options o;
    int code = train_settle(a, dataset, &recipe);
    if (code == CLI_GO_ON)
        code = train_make_options(a, &recipe, &o);
    if (code != CLI_GO_ON)
        return code;
    const int64_t images = a->batch_size * a->accumulate;
    train_meter meter = {.images = images,
                         .per_epoch =
                             (int64_t)crn_dataset_size(dataset) / a->batch_size / a->accumulate};
    char *config = train_config(a);
    if (config == NULL)
        return cli_no_memory("train");
    o.config = config;
    o.validation = data->validation;
    o.progress = train_on_progress;
    o.validating = train_on_validating;
    o.progress_data = &meter;
    train_tell_start(a, context, dataset, &recipe.preprocessing);
    cli_catch_signals();
    code = train_tell_end(a, context, crn_train(context, dataset, &o), &meter);
    if (code == CLI_OK && meter.last.step > 0)
        train_conclude(a, context, data->validation);
    free(config);
    return code;
}

static int open_and_train(train_arguments *a)
{
    crn_context *context = NULL;
    data_sets data = {.all = NULL};
    int code = open_data(a, &data);
    if (code == CLI_GO_ON)
        code = cli_open_context("train", a->device, &context);
    if (code == CLI_GO_ON)
        code = train(a, context, &data);
    crn_context_free(context);
    close_data(&data);
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
