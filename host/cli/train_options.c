#include "cli/train_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STEPS 1e12

/* "--resume RUN" is "--config RUN/config.json --out RUN", and what goes on there. */
static int preset(const cli_spec *spec, bool *given, void *data)
{
    train_arguments *a = data;
    int64_t epochs = a->epochs, steps = a->steps; /* the line's */
    if (a->config == NULL && a->resume == NULL)
        return CLI_GO_ON;
    if (a->config != NULL && a->resume != NULL)
        return cli_usage_error("train", "--resume takes the run's own config.json, no --config");
    if (a->resume != NULL && a->out != NULL)
        return cli_usage_error("train", "--resume and --out both name the run's folder");
    char *path = NULL;
    size_t size = a->resume != NULL ? strlen(a->resume) + sizeof "/config.json" : 0;
    if (a->resume != NULL && (path = malloc(size)) == NULL)
        return cli_no_memory("train");
    if (path != NULL)
        snprintf(path, size, "%s/config.json", a->resume);
    int code = cli_read_json(spec, path != NULL ? path : a->config, &a->file, given);
    free(path);
    if (a->resume != NULL) {
        a->out = a->resume;
        given[cli_find_option(spec, "out", 3) - spec->options] = true;
    }
    if (steps > 0)
        a->epochs = 0;
    if (epochs > 0)
        a->steps = 0;
    return code;
}

static int check(const train_arguments *a)
{
    if (a->epochs > 0 && a->steps > 0)
        return cli_usage_error("train", "--epochs and --steps both say how long");
    if (a->init_from == NULL && (a->exclude_scopes != NULL || a->ignore_missing_vars))
        return cli_usage_error("train", "--%s needs --init-from",
                               a->exclude_scopes != NULL ? "exclude-scopes"
                                                         : "ignore-missing-vars");
    return CLI_GO_ON;
}

/* Calls use(spec) with the table of options, whose targets are members of `a`. */
static int with_table(train_arguments *a, int (*use)(const cli_spec *, void *), void *data)
{
    const cli_option options[] = {
        {"model", CLI_CHOICE, &a->model, "M", .help = "the network", .choices = cli_model_names(),
         .required = true},
        {"data", CLI_FILE, &a->data, "D",
         .help = "folder with IDX files (MNIST family), images.npy and labels.npy, or a folder of "
                 "PNG and JPEG files a class",
         .required = true},
        {"out", CLI_TEXT, &a->out, "RUN",
         .help = "folder of the run: checkpoints, logs and this as config.json", .required = true},
        {"resume", CLI_FILE, &a->resume, "RUN",
         .help = "go on with a run that was stopped, with its options but for those given here",
         .not_kept = true},
        {"config", CLI_FILE, &a->config, "F.JSON",
         .help = "options from a file such as a run's config.json; those given here win",
         .not_kept = true},
        {"epochs", CLI_INTEGER, &a->epochs, "N", .help = "passes over the data; else 1", .min = 1,
         .max = 1e6},
        {"steps", CLI_INTEGER, &a->steps, "N", .help = "steps in all, instead of --epochs",
         .min = 1, .max = MAX_STEPS},
        {"time-limit", CLI_NUMBER, &a->time_limit, "MIN",
         .help = "end after so many minutes; --resume goes on", .min = 0.001, .max = 1e9},
        {"batch-size", CLI_INTEGER, &a->batch_size, "N", .help = "images a step", .min = 2,
         .max = 65536},
        {"image-size", CLI_INTEGER, &a->image_size, "N",
         .help = "height and width of the network's input; else that of --init-from, of the images "
                 "if all are square and the same, or what the network was made for",
         .min = 8, .max = 4096},
        {"learning-rate", CLI_NUMBER, &a->learning_rate, "F", .help = "the first learning rate",
         .min = 0, .max = 1e6},
        {"cosine", CLI_FLAG, &a->cosine,
         .help = "lower the learning rate to 0 along half a cosine"},
        {"optimizer", CLI_CHOICE, &a->optimizer, "O", .help = "the optimizer",
         .choices = "sgd, momentum"},
        {"momentum", CLI_NUMBER, &a->momentum, "F", .help = "with --optimizer momentum", .min = 0,
         .max = 1},
        {"weight-decay", CLI_NUMBER, &a->weight_decay, "F", .help = "L2 regularisation", .min = 0,
         .max = 1e3},
        {"flip", CLI_FLAG, &a->flip, .help = "mirror half of the images, by chance"},
        {"crop", CLI_FLAG, &a->crop, .help = "cut images at random places"},
        {"labels-offset", CLI_INTEGER, &a->labels_offset, "N",
         .help = "taken from each label, as slim's: 1 where the data's class 0 is a background "
                 "that the network lacks, -1 to give it one",
         .min = -1, .max = 1e6},
        {"seed", CLI_INTEGER, &a->seed, "N",
         .help =
             "of the first weights, the order and the augmentation; else that of --init-from, or 0",
         .min = 0, .max = 9007199254740992},
        {"validation", CLI_FILE, &a->validation, "D",
         .help = "data to validate with; else --data's test images, if it has any"},
        {"validate-every", CLI_INTEGER, &a->validate_every, "N",
         .help = "steps between validations; else one an epoch; 0: never", .min = 0,
         .max = MAX_STEPS},
        {"early-stop", CLI_INTEGER, &a->early_stop, "N",
         .help = "end after so many validations without a better top-1", .min = 1, .max = 1e6},
        {"save-every", CLI_INTEGER, &a->save_every, "N",
         .help = "steps between checkpoints; else one an epoch", .min = 1, .max = MAX_STEPS},
        {"keep", CLI_INTEGER, &a->keep, "N",
         .help = "numbered checkpoints to keep besides the last and the best", .min = 0,
         .max = 1e6},
        {"log-every", CLI_INTEGER, &a->log_every, "N",
         .help = "steps between lines of metrics.jsonl and the event file", .min = 1,
         .max = MAX_STEPS},
        {"histograms", CLI_INTEGER, &a->histograms, "N",
         .help = "steps between histograms of all variables in the event file; else none", .min = 1,
         .max = MAX_STEPS},
        {"init-from", CLI_FILE, &a->init_from, "CKPT",
         .help = "start from this checkpoint; with the same model and classes, continue its "
                 "training; for other classes, with a new last layer"},
        {"exclude-scopes", CLI_TEXT, &a->exclude_scopes, "S",
         .help = "with --init-from: leave out variables whose names start so, for example "
                 "resnet_v2_50/logits; several with commas"},
        {"ignore-missing-vars", CLI_FLAG, &a->ignore_missing_vars,
         .help = "with --init-from: variables that it lacks keep their first values"},
        {"trainable-scopes", CLI_TEXT, &a->trainable_scopes, "S",
         .help = "train only variables whose names start so; several with commas"},
        {"on-non-finite", CLI_CHOICE, &a->on_non_finite, "A",
         .help =
             "when a loss is no number: end, take back the step (each step then copies all weights "
             "to the host), or go back to the last checkpoint, 3 times at most",
         .choices = "stop, skip, rollback"},
        {"device", CLI_TEXT, &a->device, "X", .help = CLI_DEVICE_HELP},
    };
    const cli_spec spec = {.command = "train",
                           .about = "Trains a network on labelled images. Ctrl-C stops after the "
                                    "step with the checkpoint kept; --resume goes on.",
                           .options = options,
                           .n_options = sizeof options / sizeof *options,
                           .preset = preset,
                           .preset_data = a};
    return use(&spec, data);
}

/* The number that a float constant was written as: 0.1 for 0.1f. */
static double written(float value)
{
    char text[32];
    snprintf(text, sizeof text, "%.7g", (double)value);
    return strtod(text, NULL);
}

typedef struct line {
    int argc;
    char **argv;
} line;

static int parse(const cli_spec *spec, void *data)
{
    const line *l = data;
    return cli_parse(spec, l->argc, l->argv, NULL);
}

int train_parse(int argc, char **argv, train_arguments *a)
{
    const crn_train_options preset_values = CRN_TRAIN_OPTIONS_INIT;
    *a = (train_arguments){.optimizer = "momentum",
                           .on_non_finite = "stop",
                           .batch_size = preset_values.batch_size,
                           .log_every = preset_values.log_every,
                           .seed = -1,
                           .validate_every = -1,
                           .time_limit = -1,
                           .learning_rate = written(preset_values.optimizer.learning_rate),
                           .momentum = written(preset_values.optimizer.momentum),
                           .weight_decay = written(preset_values.weight_decay)};
    line l = {argc, argv};
    int code = with_table(a, parse, &l);
    return code == CLI_GO_ON ? check(a) : code;
}

void train_free(train_arguments *a)
{
    json_decref(a->file);
}

static int write_config(const cli_spec *spec, void *data)
{
    char **text = data;
    *text = cli_options_json(spec);
    return CLI_GO_ON;
}

char *train_config(train_arguments *a)
{
    char *text = NULL;
    with_table(a, write_config, &text);
    return text;
}
