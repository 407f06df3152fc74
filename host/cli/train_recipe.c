#include "cli/train_recipe.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Numbers between commas. */
static int parse_numbers(const char *option, const char *text, double *numbers, size_t most,
                         size_t *count)
{
    *count = 0;
    for (const char *at = text; *count < most; at++) {
        char *end;
        errno = 0;
        double number = strtod(at, &end);
        if (end == at || errno != 0 || !isfinite(number) || (*end != ',' && *end != '\0'))
            return cli_usage_error("train", "--%s '%s': numbers with commas are wanted", option,
                                   text);
        numbers[(*count)++] = number;
        if (*end == '\0')
            return CLI_GO_ON;
        at = end;
    }
    return cli_usage_error("train", "--%s '%s': more than %zu numbers", option, text, most);
}

/* ---- images ---- */

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

/* TF-slim's for the network where nothing is said. */
static crn_preprocessing choose_preprocessing(const train_arguments *a, const crn_dataset *dataset)
{
    const crn_model *model = crn_model_find(a->model);
    int32_t channels = crn_dataset_channels(dataset), height, width;
    crn_dataset_image_size(dataset, &height, &width);
    int32_t side = height > 0 && height == width ? height : model->image_size;
    if (a->image_size > 0)
        side = (int32_t)a->image_size;
    const char *name = a->preprocessing;
    if (name == NULL)
        name = channels == 3 && model->image_size == 224 ? "vgg" : "inception";
    return strcmp(name, "vgg") == 0           ? crn_preprocessing_vgg(side)
           : strcmp(name, "torchvision") == 0 ? crn_preprocessing_torchvision(side)
                                              : crn_preprocessing_inception(side, channels);
}

/* --mean and --std as PyTorch's users write them, of colours from 0 to 1. */
static int set_colours(const train_arguments *a, crn_preprocessing *p)
{
    double numbers[3];
    size_t count;
    const size_t channels = (size_t)p->channels;
    const struct {
        const char *option, *text;
    } given[] = {{"mean", a->mean}, {"std", a->std}};
    for (size_t i = 0; i < 2; i++) {
        if (given[i].text == NULL)
            continue;
        int code = parse_numbers(given[i].option, given[i].text, numbers, 3, &count);
        if (code != CLI_GO_ON)
            return code;
        if (count != channels)
            return cli_usage_error("train", "--%s '%s': images here have %zu channels",
                                   given[i].option, given[i].text, channels);
        for (size_t c = 0; c < channels; c++) {
            if (i == 1 && !(numbers[c] > 0))
                return cli_usage_error("train", "--std '%s': is not above 0", a->std);
            if (i == 0)
                p->mean[c] = (float)(255 * numbers[c]);
            else
                p->scale[c] = (float)(1 / (255 * numbers[c]));
        }
    }
    return CLI_GO_ON;
}

static int set_augmentation(const train_arguments *a, crn_preprocessing *p)
{
    crn_error error;
    if (a->augment != NULL && crn_preprocessing_augment(p, a->augment, &error) != CRN_OK)
        return cli_fail("train", &error);
    if (a->jitter != NULL) {
        double numbers[4];
        size_t count;
        int code = parse_numbers("jitter", a->jitter, numbers, 4, &count);
        if (code != CLI_GO_ON)
            return code;
        if (count != 4)
            return cli_usage_error("train", "--jitter '%s': four numbers are wanted", a->jitter);
        p->colour = CRN_COLOUR_JITTER;
        for (size_t i = 0; i < 4; i++)
            p->jitter[i] = (float)numbers[i];
    }
    p->random_flip |= a->flip;
    p->random_crop |= a->crop;
    return CLI_GO_ON;
}

/* What there is to begin with: a run's last checkpoint, or --init-from, or nothing. */
static int settle_start(train_arguments *a, train_recipe *r, bool *found)
{
    char last[4400] = "";
    const char *from = a->init_from;
    int64_t seed = 0;
    int code = CLI_GO_ON;
    if (a->resume != NULL)
        snprintf(last, sizeof last, "%s/model.safetensors", a->resume);
    bool goes_on = *last != '\0' && access(last, F_OK) == 0;
    if (goes_on)
        from = last;
    if (from != NULL)
        code = from_checkpoint(from, &r->preprocessing, &seed, found);
    /* A run's config.json says all of its options, a checkpoint alone only what it was made with.
     */
    if (goes_on)
        r->preprocessing.random_flip = r->preprocessing.random_crop = false;
    a->seed = a->seed >= 0 ? a->seed : seed;
    return code;
}

int train_settle(train_arguments *a, const crn_dataset *dataset, train_recipe *recipe)
{
    crn_preprocessing *p = &recipe->preprocessing;
    bool found = false;
    int code = settle_start(a, recipe, &found);
    if (code != CLI_GO_ON)
        return code;
    if (!found || (a->preprocessing != NULL && a->resume == NULL))
        *p = choose_preprocessing(a, dataset);
    else if (a->image_size > 0 && a->image_size != p->image_size) {
        p->resize_side = 0;
        p->image_size = (int32_t)a->image_size;
    }
    code = set_colours(a, p);
    if (code == CLI_GO_ON)
        code = set_augmentation(a, p);
    a->flip = p->random_flip;
    a->crop = p->random_crop;
    a->image_size = p->image_size;
    if (a->steps == 0 && a->epochs == 0)
        a->epochs = 1;
    return code;
}

/* ---- steps ---- */

/* With the rate that suits each where none is given. */
static const struct {
    const char *name;
    double rate;
} optimizers[] = {{"sgd", 0.1},    {"momentum", 0.1}, {"nesterov", 0.1}, {"rmsprop", 0.01},
                  {"adam", 0.001}, {"adamw", 0.001},  {"adagrad", 0.01}, {"adadelta", 1.0},
                  {"ftrl", 0.1},   {"lars", 1.0}};

double train_default_rate(const char *optimizer)
{
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++)
        if (strcmp(optimizers[i].name, optimizer) == 0)
            return optimizers[i].rate;
    return 0;
}

static void override(float *member, double given)
{
    if (given >= 0)
        *member = (float)given;
}

static crn_optimizer make_optimizer(const train_arguments *a)
{
    const char *name = a->optimizer;
    float rate = (float)a->learning_rate, decay = (float)a->weight_decay;
    float momentum = (float)a->momentum;
    crn_optimizer o = strcmp(name, "sgd") == 0        ? crn_gradient_descent(rate)
                      : strcmp(name, "momentum") == 0 ? crn_momentum(rate, momentum)
                      : strcmp(name, "nesterov") == 0 ? crn_nesterov(rate, momentum)
                      : strcmp(name, "rmsprop") == 0  ? crn_rmsprop(rate)
                      : strcmp(name, "adam") == 0     ? crn_adam(rate)
                      : strcmp(name, "adamw") == 0    ? crn_adamw(rate, decay)
                      : strcmp(name, "adagrad") == 0  ? crn_adagrad(rate)
                      : strcmp(name, "adadelta") == 0 ? crn_adadelta(rate)
                      : strcmp(name, "ftrl") == 0     ? crn_ftrl(rate)
                                                      : crn_lars(rate, momentum, decay);
    if (o.kind == CRN_OPTIMIZER_RMSPROP) {
        o.momentum = momentum;
        o.centered = a->centered;
    }
    override(&o.decay, a->rho);
    override(&o.beta1, a->beta1);
    override(&o.beta2, a->beta2);
    override(&o.epsilon, a->epsilon);
    override(&o.initial, a->initial_accumulator);
    override(&o.l1, a->l1);
    override(&o.l2, a->l2);
    override(&o.trust, a->trust);
    return o;
}

static int make_rates(const train_arguments *a, train_recipe *r)
{
    double numbers[TRAIN_MAX_RATES];
    size_t count;
    if (a->boundaries == NULL || a->rates == NULL)
        return cli_usage_error("train", "--schedule piecewise needs --boundaries and --rates");
    int code = parse_numbers("boundaries", a->boundaries, numbers, TRAIN_MAX_RATES - 1, &count);
    for (size_t i = 0; code == CLI_GO_ON && i < count; i++) {
        if (!(numbers[i] >= 0 && numbers[i] <= 1e12))
            return cli_usage_error("train", "--boundaries '%s': are no steps", a->boundaries);
        r->boundaries[i] = (int64_t)numbers[i];
    }
    r->schedule.n_boundaries = count;
    if (code == CLI_GO_ON)
        code = parse_numbers("rates", a->rates, numbers, TRAIN_MAX_RATES, &count);
    if (code != CLI_GO_ON)
        return code;
    if (count != r->schedule.n_boundaries + 1)
        return cli_usage_error("train", "--rates are one more than --boundaries, %zu, not %zu",
                               r->schedule.n_boundaries + 1, count);
    for (size_t i = 0; i < count; i++)
        r->rates[i] = (float)numbers[i];
    r->schedule.boundaries = r->boundaries;
    r->schedule.values = r->rates;
    return CLI_GO_ON;
}

static int make_schedule(const train_arguments *a, train_recipe *r)
{
    static const char *const names[] = {"fixed",      "exponential", "step",
                                        "polynomial", "cosine",      "piecewise"};
    crn_schedule *s = &r->schedule;
    *s = (crn_schedule)CRN_SCHEDULE_INIT((float)a->learning_rate);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], a->schedule) == 0)
            s->kind = (crn_schedule_kind)i;
    s->decay_steps = a->decay_steps; /* 0: all steps */
    s->decay_rate = (float)a->decay_rate;
    s->end_rate = (float)a->end_learning_rate;
    s->power = (float)a->power;
    s->warmup_steps = a->warmup_steps;
    s->warmup_rate = (float)a->warmup_learning_rate;
    crn_error error;
    int code = s->kind == CRN_SCHEDULE_PIECEWISE ? make_rates(a, r) : CLI_GO_ON;
    crn_schedule checked = *s;
    checked.decay_steps = checked.decay_steps > 0 ? checked.decay_steps : 1;
    if (code == CLI_GO_ON && crn_schedule_check(&checked, &error) != CRN_OK)
        code = cli_usage_error("train", "%s", error.text);
    return code;
}

static crn_on_non_finite what_on_non_finite(const char *text)
{
    return strcmp(text, "skip") == 0       ? CRN_NON_FINITE_SKIP
           : strcmp(text, "rollback") == 0 ? CRN_NON_FINITE_ROLLBACK
                                           : CRN_NON_FINITE_STOP;
}

static void set_update(const train_arguments *a, train_recipe *r, crn_train_options *o)
{
    bool decoupled = strcmp(a->optimizer, "adamw") == 0 || strcmp(a->optimizer, "lars") == 0;
    o->optimizer = make_optimizer(a);
    o->schedule = &r->schedule;
    o->weight_decay = decoupled ? 0 : (float)a->weight_decay;
    o->batch_norm_decay = (float)a->batch_norm_decay;
    o->label_smoothing = (float)a->label_smoothing;
    r->mix = (crn_mix){sizeof r->mix, (float)a->mixup, (float)a->cutmix};
    o->mix = a->mixup > 0 || a->cutmix > 0 ? &r->mix : NULL;
    o->accumulate = (int32_t)a->accumulate;
    o->clip_global_norm = (float)a->clip_norm;
    o->clip_norm = (float)a->clip_each_norm;
    o->moving_average_decay = (float)a->moving_average;
    o->moving_average_num_updates = a->moving_average_num_updates;
    o->trainable_scopes = a->trainable_scopes;
    o->freeze_bn = a->freeze_bn;
    o->on_non_finite = what_on_non_finite(a->on_non_finite);
}

int train_make_options(const train_arguments *a, train_recipe *recipe, crn_train_options *options)
{
    crn_train_options o = CRN_TRAIN_OPTIONS_INIT;
    int code = make_schedule(a, recipe);
    if (code != CLI_GO_ON)
        return code;
    o.model = a->model;
    o.epochs = a->epochs;
    o.steps = a->steps;
    o.batch_size = a->batch_size;
    set_update(a, recipe, &o);
    o.seed = (uint64_t)a->seed;
    o.preprocessing = &recipe->preprocessing;
    o.skip_broken = strcmp(a->on_broken, "skip") == 0;
    o.threads = (int32_t)a->threads;
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
    *options = o;
    return CLI_GO_ON;
}
