/* The options of clarinet train: the one table of the command line, --help and config.json. */
#ifndef CRN_CLI_TRAIN_OPTIONS_H
#define CRN_CLI_TRAIN_OPTIONS_H

#include "cli/cli.h"

typedef struct train_arguments {
    const char *model, *data, *validation, *out, *resume, *config;
    const char *optimizer, *device, *init_from, *exclude_scopes, *trainable_scopes, *on_non_finite;
    const char *preprocessing, *mean, *std, *augment, *jitter, *on_broken;
    const char *schedule, *boundaries, *rates;
    int64_t epochs, steps, batch_size, image_size,
        seed; /* epochs, steps, image_size 0: not given */
    int64_t save_every, keep, validate_every, early_stop, log_every, histograms, labels_offset;
    int64_t decay_steps, warmup_steps, accumulate, threads;
    double learning_rate, momentum, weight_decay, batch_norm_decay, time_limit, validation_fraction;
    double decay_rate, end_learning_rate, power, warmup_learning_rate;
    double beta1, beta2, epsilon, rho, initial_accumulator, l1, l2, trust; /* below 0: the usual */
    double label_smoothing, mixup, cutmix, clip_norm, clip_each_norm, moving_average;
    bool flip, crop, ignore_missing_vars, centered, moving_average_num_updates, freeze_bn;

    json_t *file; /* that texts point into */
} train_arguments;

/* The learning rate that suits an optimizer. */
double train_default_rate(const char *optimizer);

/* Fills `a` from the line and the file that it names. CLI_GO_ON, or an exit code. */
int train_parse(int argc, char **argv, train_arguments *a);
void train_free(train_arguments *a);

/* What `a` is now, for config.json: ended by free(); NULL without memory. */
char *train_config(train_arguments *a);

#endif
