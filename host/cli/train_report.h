/* What clarinet train says: while it goes on, and at its end. */
#ifndef CRN_CLI_TRAIN_REPORT_H
#define CRN_CLI_TRAIN_REPORT_H

#include "cli/train_options.h"

typedef struct train_meter {
    int64_t images, per_epoch;
    crn_progress last; /* the last step; step 0: there was none */
} train_meter;

/* Callbacks with a train_meter as their data. */
bool train_on_progress(void *meter, const crn_progress *progress);
bool train_on_validating(void *meter, size_t done, size_t total);

void train_tell_start(const train_arguments *a, crn_context *context, const crn_dataset *dataset,
                      const crn_preprocessing *how);
/* Tells how it ended and returns the exit code. */
int train_tell_end(const train_arguments *a, crn_context *context, crn_status status,
                   const train_meter *meter);
/*
 * After a training that came to its end: RUN/curves.png, RUN/confusion.csv and the table of
 * classes, of the best checkpoint on the validation data (NULL: without these). What cannot be had
 * is said; the training is done all the same.
 */
void train_conclude(const train_arguments *a, crn_context *context, const crn_dataset *validation);

#endif
