/* From the options of clarinet train to what the library is asked for. */
#ifndef CRN_CLI_TRAIN_RECIPE_H
#define CRN_CLI_TRAIN_RECIPE_H

#include "cli/train_options.h"

#define TRAIN_MAX_RATES 64

/* What crn_train_options points to. */
typedef struct train_recipe {
    crn_preprocessing preprocessing;
    crn_schedule schedule;
    int64_t boundaries[TRAIN_MAX_RATES - 1];
    float rates[TRAIN_MAX_RATES];
    crn_mix mix;
} train_recipe;

/*
 * Weights are of use with the preprocessing that they were trained with, and a training goes on
 * with its own seed: both are the checkpoint's unless the command line says otherwise. What was
 * settled becomes the arguments', for config.json. CLI_GO_ON, or an exit code with the complaint
 * told.
 */
int train_settle(train_arguments *a, const crn_dataset *dataset, train_recipe *recipe);

/* Fills all of the options that come from the line; they point into `a` and `recipe`. */
int train_make_options(const train_arguments *a, train_recipe *recipe, crn_train_options *options);

#endif
