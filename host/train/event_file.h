/*
 * TensorBoard's event files (tensorflow/core/util/event.proto, framework/summary.proto).
 *
 * A file is a sequence of records, each: u64 length, u32 masked CRC-32C of these 8 bytes, the
 * bytes of an Event message, u32 masked CRC-32C of them; all little-endian. The first event says
 * the version of the format. A record is written by one call, so that a killed process leaves whole
 * ones.
 */
#ifndef CRN_TRAIN_EVENT_FILE_H
#define CRN_TRAIN_EVENT_FILE_H

#include "clarinet/common.h"

typedef struct crn__event_file crn__event_file;

/* One named number of a step: a tag such as "train/loss". */
typedef struct crn__scalar {
    const char *tag;
    double value;
} crn__scalar;

/*
 * Makes "events.out.tfevents.TIME.HOST" in the folder, named so that it sorts behind those that are
 * there. The session begins at step `first`: readers forget what earlier files say of it and of
 * later steps.
 */
crn_status crn__event_file_create(const char *folder, int64_t first, crn__event_file **out,
                                  crn_error *error);
void crn__event_file_free(crn__event_file *file);

crn_status crn__event_file_scalars(crn__event_file *file, int64_t step, const crn__scalar *scalars,
                                   size_t count, crn_error *error);

/* The distribution of the finite ones of `count` values in buckets of equal width. */
crn_status crn__event_file_histogram(crn__event_file *file, int64_t step, const char *tag,
                                     const float *values, size_t count, crn_error *error);

/* Whether a file's name is one that crn__event_file_create gives. */
bool crn__event_file_is_name(const char *name);

#endif
