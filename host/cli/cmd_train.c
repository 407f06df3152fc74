#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/progress.h"

typedef struct arguments {
    const char *model, *data, *out, *optimizer, *device, *init_from, *exclude_scopes;
    int64_t epochs, steps, batch_size, image_size, seed, save_every;
    double learning_rate, momentum, weight_decay;
    bool cosine, flip, crop, ignore_missing_vars;
} arguments;

/* ---- what to do with the images ---- */

static int from_checkpoint(const arguments *a, crn_preprocessing *preprocessing, uint64_t *seed,
                           bool *found)
{
    crn_error error;
    crn_checkpoint *file;
    if (crn_checkpoint_open(a->init_from, &file, &error) != CRN_OK)
        return cli_fail("train", &error);
    const char *text = crn_checkpoint_metadata(file, CRN_METADATA_PREPROCESSING);
    const char *number = crn_checkpoint_metadata(file, CRN_METADATA_SEED);
    int code = CLI_GO_ON;
    *found = text != NULL;
    if (text != NULL && crn_preprocessing_from_json(text, preprocessing, &error) != CRN_OK)
        code = cli_fail("train", &error);
    if (number != NULL)
        *seed = strtoull(number, NULL, 10);
    crn_checkpoint_free(file);
    return code;
}

static crn_preprocessing choose_preprocessing(const arguments *a, const crn_dataset *dataset)
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
 * with its own seed: both are the checkpoint's unless the command line says otherwise.
 */
static int settle(const arguments *a, const crn_dataset *dataset, crn_preprocessing *preprocessing,
                  uint64_t *seed)
{
    bool found = false;
    *seed = 0;
    if (a->init_from != NULL) {
        int code = from_checkpoint(a, preprocessing, seed, &found);
        if (code != CLI_GO_ON)
            return code;
    }
    if (!found)
        *preprocessing = choose_preprocessing(a, dataset);
    else if (a->image_size > 0 && a->image_size != preprocessing->image_size) {
        preprocessing->resize_side = 0;
        preprocessing->image_size = (int32_t)a->image_size;
    }
    if (a->seed >= 0)
        *seed = (uint64_t)a->seed;
    preprocessing->random_flip |= a->flip;
    preprocessing->random_crop |= a->crop;
    return CLI_GO_ON;
}

/* ---- what is told meanwhile ---- */

typedef struct restored {
    size_t count[CRN_RESTORE_UNUSED + 1];
} restored;

static void on_restore(void *data, crn_restore_event event, const char *name)
{
    restored *r = data;
    r->count[event]++;
    char text[1024];
    snprintf(text, sizeof text, "%s %s", name,
             event == CRN_RESTORE_EXCLUDED ? "is excluded: it keeps its first value"
                                           : "is not in the checkpoint: it keeps its first value");
    if (event == CRN_RESTORE_EXCLUDED || event == CRN_RESTORE_MISSING)
        cli_complain("train", text);
}

typedef struct meter {
    int64_t batch_size, per_epoch;
    float loss; /* the last step's */
    double seconds;
    int64_t step;
} meter;

static bool on_progress(void *data, const crn_progress *p)
{
    meter *m = data;
    bool stop = cli_stopped() != 0;
    int64_t earlier = (p->epoch - 1) * m->per_epoch; /* steps before this epoch */
    int64_t in_epoch = p->step - earlier, epoch_steps = p->steps - earlier;
    if (epoch_steps > m->per_epoch) /* else --steps ends amid this epoch */
        epoch_steps = m->per_epoch;
    char before[64], after[160], eta[32];
    double left = (double)((p->steps - p->step) * m->batch_size);
    snprintf(before, sizeof before, "epoch %" PRId64 "/%" PRId64, p->epoch, p->epochs);
    snprintf(after, sizeof after,
             "step %" PRId64 "/%" PRId64 " loss %.3f acc %.1f%% %.*f img/s ETA %s", in_epoch,
             epoch_steps, (double)p->loss, 100 * (double)p->accuracy,
             p->images_per_second < 10 ? 2 : 0, p->images_per_second,
             cli_time_text(p->images_per_second > 0 ? left / p->images_per_second : 0, eta));
    cli_progress_show(before, (double)in_epoch / (double)epoch_steps, after,
                      stop || p->step == p->steps);
    m->loss = p->loss;
    m->seconds = p->seconds;
    m->step = p->step;
    return !stop;
}

static void tell_start(const arguments *a, crn_context *context, const crn_dataset *dataset,
                       const crn_preprocessing *how)
{
    char text[512];
    snprintf(text, sizeof text, "%s on %s: %zu images of %zu classes as %dx%dx%d", a->model,
             crn_context_device(context)->name, crn_dataset_size(dataset),
             crn_dataset_class_count(dataset), how->image_size, how->image_size, how->channels);
    cli_complain("train", text);
}

static int tell_end(const arguments *a, crn_context *context, crn_status status, const meter *m,
                    const restored *r)
{
    char text[1024], time[32];
    if (status != CRN_OK && status != CRN_INTERRUPTED)
        return cli_fail("train", crn_context_error(context));
    if (a->init_from != NULL && r->count[CRN_RESTORE_UNUSED] > 0) {
        snprintf(text, sizeof text, "%s: %zu of its tensors were not used", a->init_from,
                 r->count[CRN_RESTORE_UNUSED]);
        cli_complain("train", text);
    }
    if (status == CRN_INTERRUPTED) {
        snprintf(text, sizeof text,
                 "stopped after step %" PRId64 "; to go on, give the same command with --init-from "
                 "%s/model.safetensors%s",
                 m->step, a->out, a->exclude_scopes != NULL ? " and no --exclude-scopes" : "");
        cli_complain("train", text);
        return 128 + cli_stopped();
    }
    snprintf(text, sizeof text, "step %" PRId64 ", loss %.3f, after %s: %s/model.safetensors",
             m->step, (double)m->loss, cli_time_text(m->seconds, time), a->out);
    if (m->step > 0)
        cli_complain("train", text);
    return CLI_OK;
}

/* ---- the command ---- */

static int train(const arguments *a, crn_context *context, const crn_dataset *dataset)
{
    crn_preprocessing preprocessing;
    crn_train_options o = CRN_TRAIN_OPTIONS_INIT;
    int code = settle(a, dataset, &preprocessing, &o.seed);
    if (code != CLI_GO_ON)
        return code;
    bool momentum = strcmp(a->optimizer, "momentum") == 0;
    float rate = (float)a->learning_rate;
    restored counts = {0};
    meter m = {.batch_size = a->batch_size,
               .per_epoch = (int64_t)crn_dataset_size(dataset) / a->batch_size};

    o.model = a->model;
    o.epochs = a->epochs > 0 ? a->epochs : o.epochs;
    o.steps = a->steps;
    o.batch_size = a->batch_size;
    o.optimizer = momentum ? crn_momentum(rate, (float)a->momentum) : crn_gradient_descent(rate);
    o.cosine = a->cosine;
    o.weight_decay = (float)a->weight_decay;
    o.preprocessing = &preprocessing;
    o.out = a->out;
    o.save_every = a->save_every;
    o.init_from = a->init_from;
    o.exclude_scopes = a->exclude_scopes;
    o.ignore_missing_vars = a->ignore_missing_vars;
    o.report = on_restore;
    o.report_data = &counts;
    o.progress = on_progress;
    o.progress_data = &m;
    tell_start(a, context, dataset, &preprocessing);
    cli_catch_signals();
    return tell_end(a, context, crn_train(context, dataset, &o), &m, &counts);
}

static int open_and_train(const arguments *a)
{
    crn_context *context = NULL;
    crn_dataset *dataset = NULL;
    int code = cli_open_dataset("train", a->data, CRN_SPLIT_TRAIN, &dataset);
    if (code == CLI_GO_ON)
        code = cli_open_context("train", a->device, &context);
    if (code == CLI_GO_ON)
        code = train(a, context, dataset);
    crn_context_free(context);
    crn_dataset_free(dataset);
    return code;
}

int cmd_train(int argc, char **argv)
{
    const crn_train_options preset = CRN_TRAIN_OPTIONS_INIT;
    arguments a = {.optimizer = "momentum",
                   .batch_size = preset.batch_size,
                   .seed = -1,
                   .learning_rate = (double)preset.optimizer.learning_rate,
                   .momentum = (double)preset.optimizer.momentum,
                   .weight_decay = (double)preset.weight_decay};
    const cli_option options[] = {
        {"model", CLI_CHOICE, &a.model, "M", .help = "the network", .choices = cli_model_names(),
         .required = true},
        {"data", CLI_FILE, &a.data, "D",
         .help = "folder with IDX files (MNIST family), images.npy and labels.npy, or a folder of "
                 "PNG and JPEG files a class",
         .required = true},
        {"out", CLI_TEXT, &a.out, "RUN", .help = "folder for the checkpoint, model.safetensors",
         .required = true},
        {"epochs", CLI_INTEGER, &a.epochs, "N", .help = "passes over the data; else 1", .min = 1,
         .max = 1e6},
        {"steps", CLI_INTEGER, &a.steps, "N", .help = "steps in all, instead of --epochs", .min = 1,
         .max = 1e12},
        {"batch-size", CLI_INTEGER, &a.batch_size, "N", .help = "images a step", .min = 2,
         .max = 65536},
        {"image-size", CLI_INTEGER, &a.image_size, "N",
         .help = "height and width of the network's input; else that of --init-from, of the images "
                 "if all are square and the same, or what the network was made for",
         .min = 8, .max = 4096},
        {"learning-rate", CLI_NUMBER, &a.learning_rate, "F", .help = "the first learning rate",
         .min = 0, .max = 1e6},
        {"cosine", CLI_FLAG, &a.cosine, .help = "lower the learning rate to 0 along half a cosine"},
        {"optimizer", CLI_CHOICE, &a.optimizer, "O", .help = "the optimizer",
         .choices = "sgd, momentum"},
        {"momentum", CLI_NUMBER, &a.momentum, "F", .help = "with --optimizer momentum", .min = 0,
         .max = 1},
        {"weight-decay", CLI_NUMBER, &a.weight_decay, "F", .help = "L2 regularisation", .min = 0,
         .max = 1e3},
        {"flip", CLI_FLAG, &a.flip, .help = "mirror half of the images, by chance"},
        {"crop", CLI_FLAG, &a.crop, .help = "cut images at random places"},
        {"seed", CLI_INTEGER, &a.seed, "N",
         .help =
             "of the first weights, the order and the augmentation; else that of --init-from, or 0",
         .min = 0, .max = 9007199254740992},
        {"save-every", CLI_INTEGER, &a.save_every, "N",
         .help = "steps between checkpoints; else one an epoch", .min = 1, .max = 1e12},
        {"init-from", CLI_CHECKPOINT, &a.init_from, "CKPT",
         .help =
             "start from this checkpoint; with the same model and classes, continue its training"},
        {"exclude-scopes", CLI_TEXT, &a.exclude_scopes, "S",
         .help = "with --init-from: leave out variables whose names start so, for example "
                 "resnet_v2_50/logits; several with commas"},
        {"ignore-missing-vars", CLI_FLAG, &a.ignore_missing_vars,
         .help = "with --init-from: variables that it lacks keep their first values"},
        {"device", CLI_TEXT, &a.device, "X", .help = CLI_DEVICE_HELP},
    };
    const cli_spec spec = {.command = "train",
                           .about = "Trains a network on labelled images. Ctrl-C stops after the "
                                    "step with the checkpoint kept; --init-from goes on.",
                           .options = options,
                           .n_options = sizeof options / sizeof *options};
    int code = cli_parse(&spec, argc, argv, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (a.epochs > 0 && a.steps > 0)
        return cli_usage_error("train", "--epochs and --steps both say how long");
    if (a.init_from == NULL && (a.exclude_scopes != NULL || a.ignore_missing_vars))
        return cli_usage_error("train", "--%s needs --init-from",
                               a.exclude_scopes != NULL ? "exclude-scopes" : "ignore-missing-vars");
    return open_and_train(&a);
}
