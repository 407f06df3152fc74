/* Names of TFRecord files: NAME_train_00000-of-00005.tfrecord and what is near it. */
#ifndef CRN_DATA_SHARDS_H
#define CRN_DATA_SHARDS_H

#include "clarinet/common.h"

typedef struct crn__shards {
    char **paths; /* [count] */
    size_t count;
} crn__shards;

void crn__shards_end(crn__shards *shards);

/* Ends with -00000-of-00005, or .tfrecord, .tfrecords, or both. */
bool crn__is_shard_name(const char *path);

/*
 * The shards in a folder. Before its number a name ends with train, test, validation or val; where
 * none says train, there is one set only, `train`. CRN_FORMAT when a set is not complete or two
 * sets are the same split.
 */
crn_status crn__shards_list(const char *folder, crn__shards *train, crn__shards *test,
                            crn_error *error);

/* labels.txt: a line "0:daisy" for each class, in any order. *names [*count], where a number is
 * left out the number; none where there is no file. */
crn_status crn__read_label_names(const char *folder, char ***names, size_t *count,
                                 crn_error *error);

#endif
