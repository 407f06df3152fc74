/* The options of clarinet train: the one table of the command line, --help and config.json. */
#ifndef CRN_CLI_TRAIN_OPTIONS_H
#define CRN_CLI_TRAIN_OPTIONS_H

#include "cli/cli.h"

typedef struct train_arguments {
    const char *model, *data, *validation, *out, *resume, *config;
    const char *optimizer, *device, *init_from, *exclude_scopes, *trainable_scopes, *on_non_finite;
    int64_t epochs, steps, batch_size, image_size,
        seed; /* epochs, steps, image_size 0: not given */
    int64_t save_every, keep, validate_every, early_stop, log_every, histograms, labels_offset;
    double learning_rate, momentum, weight_decay, time_limit;
    bool cosine, flip, crop, ignore_missing_vars;

    json_t *file; /* that texts point into */
} train_arguments;

/* Fills `a` from the line and the file that it names. CLI_GO_ON, or an exit code. */
int train_parse(int argc, char **argv, train_arguments *a);
void train_free(train_arguments *a);

/* What `a` is now, for config.json: ended by free(); NULL without memory. */
char *train_config(train_arguments *a);

#endif
