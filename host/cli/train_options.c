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

static int check(train_arguments *a)
{
    if (a->learning_rate < 0)
        a->learning_rate = train_default_rate(a->optimizer);
    if (a->freeze_bn && a->trainable_scopes == NULL)
        return cli_usage_error("train", "--freeze-bn is for what --trainable-scopes freezes");
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
         .help = "a folder of PNG, JPEG and WebP files a class, IDX files (MNIST family), CSV of "
                 "path,label, TF-slim's TFRecord shards, or images.npy and labels.npy",
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
        {"learning-rate", CLI_NUMBER, &a->learning_rate, "F",
         .help = "the first learning rate; else what suits the optimizer: 0.1, rmsprop and adagrad "
                 "0.01, adam and adamw 0.001, adadelta and lars 1",
         .min = 0, .max = 1e6},
        {"schedule", CLI_CHOICE, &a->schedule, "S", .help = "of the learning rate",
         .choices = "fixed, exponential, step, polynomial, cosine, piecewise"},
        {"decay-steps", CLI_INTEGER, &a->decay_steps, "N",
         .help = "steps after which exponential and step have multiplied once by --decay-rate, "
                 "polynomial and cosine are at their end; else all steps",
         .min = 1, .max = MAX_STEPS},
        {"decay-rate", CLI_NUMBER, &a->decay_rate, "F", .help = "of exponential and step", .min = 0,
         .max = 1e3},
        {"end-learning-rate", CLI_NUMBER, &a->end_learning_rate, "F",
         .help = "of polynomial and cosine", .min = 0, .max = 1e6},
        {"power", CLI_NUMBER, &a->power, "F", .help = "of polynomial", .min = 0, .max = 1e3},
        {"boundaries", CLI_TEXT, &a->boundaries, "N,N",
         .help = "of piecewise: the last step of each rate but the last one"},
        {"rates", CLI_TEXT, &a->rates, "F,F,F", .help = "of piecewise: its learning rates"},
        {"warmup-steps", CLI_INTEGER, &a->warmup_steps, "N",
         .help = "steps in which the learning rate first rises to the schedule's", .min = 0,
         .max = MAX_STEPS},
        {"warmup-learning-rate", CLI_NUMBER, &a->warmup_learning_rate, "F",
         .help = "where that begins", .min = 0, .max = 1e6},
        {"optimizer", CLI_CHOICE, &a->optimizer, "O",
         .help = "the optimizer, by TensorFlow's "
                 "formula",
         .choices = "sgd, momentum, nesterov, rmsprop, adam, adamw, adagrad, adadelta, ftrl, lars"},
        {"momentum", CLI_NUMBER, &a->momentum, "F",
         .help = "of momentum, nesterov, rmsprop and lars", .min = 0, .max = 1},
        {"beta1", CLI_NUMBER, &a->beta1, "F", .help = "of adam and adamw; else 0.9", .min = 0,
         .max = 1},
        {"beta2", CLI_NUMBER, &a->beta2, "F", .help = "of adam and adamw; else 0.999", .min = 0,
         .max = 1},
        {"rho", CLI_NUMBER, &a->rho, "F", .help = "decay of rmsprop (else 0.9), adadelta (0.95)",
         .min = 0, .max = 1},
        {"centered", CLI_FLAG, &a->centered, .help = "rmsprop by the variance"},
        {"epsilon", CLI_NUMBER, &a->epsilon, "F",
         .help = "of rmsprop (else 1e-10), adam, adamw and adadelta (1e-8)", .min = 0, .max = 1e3},
        {"initial-accumulator", CLI_NUMBER, &a->initial_accumulator, "F",
         .help = "of adagrad and ftrl; else 0.1", .min = 1e-30, .max = 1e6},
        {"l1", CLI_NUMBER, &a->l1, "F", .help = "of ftrl; else 0", .min = 0, .max = 1e6},
        {"l2", CLI_NUMBER, &a->l2, "F", .help = "of ftrl; else 0", .min = 0, .max = 1e6},
        {"trust", CLI_NUMBER, &a->trust, "F", .help = "of lars; else 0.001", .min = 0, .max = 1e3},
        {"weight-decay", CLI_NUMBER, &a->weight_decay, "F",
         .help = "L2 regularisation; decoupled with adamw and lars", .min = 0, .max = 1e3},
        {"batch-norm-decay", CLI_NUMBER, &a->batch_norm_decay, "F",
         .help = "of the moving statistics that validation and use normalise by", .min = 0,
         .max = 1},
        {"label-smoothing", CLI_NUMBER, &a->label_smoothing, "F",
         .help = "share of each label that goes to all classes alike", .min = 0, .max = 1},
        {"clip-norm", CLI_NUMBER, &a->clip_norm, "F",
         .help = "gradients are scaled down to this norm of all; 0: not", .min = 0, .max = 1e6},
        {"clip-each-norm", CLI_NUMBER, &a->clip_each_norm, "F",
         .help = "each variable's gradient is scaled down to this norm; 0: not", .min = 0,
         .max = 1e6},
        {"accumulate", CLI_INTEGER, &a->accumulate, "N",
         .help = "batches whose gradients make a step", .min = 1, .max = 65536},
        {"moving-average", CLI_NUMBER, &a->moving_average, "F",
         .help = "decay of moving averages of the weights, which are then validated and used; 0: "
                 "none",
         .min = 0, .max = 1},
        {"num-updates", CLI_FLAG, &a->moving_average_num_updates,
         .help = "averages decay faster in the first steps, as TensorFlow's with num_updates"},
        {"preprocessing", CLI_CHOICE, &a->preprocessing, "P",
         .help = "of images, for evaluation too; else that of --init-from, or TF-slim's for the "
                 "network",
         .choices = "vgg, inception, torchvision"},
        {"mean", CLI_TEXT, &a->mean, "F,F,F",
         .help = "taken from colours, which are 0 to 1; else the preprocessing's"},
        {"std", CLI_TEXT, &a->std, "F,F,F",
         .help = "that colours are divided by; else the preprocessing's"},
        {"augment", CLI_CHOICE, &a->augment, "A",
         .help = "what training does to images by chance; inception-full turns colours more",
         .choices = "none, vgg, inception, inception-full, torchvision"},
        {"jitter", CLI_TEXT, &a->jitter, "B,C,S,H",
         .help = "torchvision's ColorJitter: brightness, contrast, saturation, hue"},
        {"mixup", CLI_NUMBER, &a->mixup, "F", .help = "mixup's alpha; 0: none", .min = 0,
         .max = 1e3},
        {"cutmix", CLI_NUMBER, &a->cutmix, "F", .help = "CutMix's alpha; 0: none", .min = 0,
         .max = 1e3},
        {"on-broken", CLI_CHOICE, &a->on_broken, "A",
         .help = "when an image cannot be read: end, or name it and take another",
         .choices = "stop, skip"},
        {"threads", CLI_INTEGER, &a->threads, "N",
         .help = "that decode images; else one a processor", .min = 1, .max = 256},
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
         .help = "data to validate with; else --data's test images, else --validation-fraction"},
        {"validation-fraction", CLI_NUMBER, &a->validation_fraction, "F",
         .help = "share of each class's images that validates rather than trains, where there are "
                 "no test images; else 0.1 of 100 images and more, ten a class; 0: none",
         .min = 0, .max = 0.9},
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
        {"init-from", CLI_CHECKPOINT, &a->init_from, "CKPT",
         .help =
             "begin with this checkpoint's weights, of clarinet or TensorFlow; for other classes "
             "with a new last layer"},
        {"exclude-scopes", CLI_TEXT, &a->exclude_scopes, "S",
         .help = "with --init-from: leave out variables whose names start so, for example "
                 "resnet_v2_50/logits; several with commas"},
        {"ignore-missing-vars", CLI_FLAG, &a->ignore_missing_vars,
         .help = "with --init-from: variables that it lacks keep their first values"},
        {"trainable-scopes", CLI_TEXT, &a->trainable_scopes, "S",
         .help = "train only variables whose names start so; several with commas"},
        {"freeze-bn", CLI_FLAG, &a->freeze_bn,
         .help = "batch norms that --trainable-scopes freezes keep their statistics, too"},
        {"on-non-finite", CLI_CHOICE, &a->on_non_finite, "A",
         .help = "when a loss or gradient is no number, whose step then changes nothing: end and "
                 "name the layer, go on, or go back to the last checkpoint, 3 times at most",
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
                           .on_broken = "stop",
                           .schedule = "fixed",
                           .decay_rate = 0.94,
                           .power = 1,
                           .accumulate = 1,
                           .learning_rate = -1,
                           .validation_fraction = -1,
                           .beta1 = -1,
                           .beta2 = -1,
                           .epsilon = -1,
                           .rho = -1,
                           .initial_accumulator = -1,
                           .l1 = -1,
                           .l2 = -1,
                           .trust = -1,
                           .momentum = written(preset_values.optimizer.momentum),
                           .batch_norm_decay = written(preset_values.batch_norm_decay),
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
