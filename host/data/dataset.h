/* What a data set is made of: labelled images that one of several kinds of source reads. */
#ifndef CRN_DATA_DATASET_H
#define CRN_DATA_DATASET_H

#include "clarinet/data.h"
#include "data/image.h"

/* A kind of source. `source` is what its open function stored in the data set. */
typedef struct crn__source_kind {
    /* Image `index`, which exists; end with crn__image_end. Many threads may read at once.
     * `decoding` is for files of pictures; the others' pixels are as they are. */
    crn_status (*read)(const void *source, size_t index, const crn__decoding *decoding,
                       crn__image *image, crn_error *error);
    /* Writes where the image came from, as snprintf does. */
    void (*name)(const void *source, size_t index, char *text, size_t size);
    void (*free)(void *source);
} crn__source_kind;

struct crn_dataset {
    const crn__source_kind *kind;
    void *source;
    size_t size;
    int32_t *labels; /* [size] */
    char **class_names;
    size_t class_count;
    int32_t channels;
    int32_t height, width; /* 0: they differ */
    bool has_test;
};

/*
 * Each kind: does the folder look like it; fill in `dataset`, which is zeroed and freed by the
 * caller also after a failure.
 */
crn_status crn__idx_dataset_matches(const char *folder, bool *matches, crn_error *error);
crn_status crn__idx_dataset_open(const char *folder, crn_split split, crn_dataset *dataset,
                                 crn_error *error);
crn_status crn__npy_dataset_matches(const char *folder, bool *matches, crn_error *error);
crn_status crn__npy_dataset_open(const char *folder, crn_split split, crn_dataset *dataset,
                                 crn_error *error);
crn_status crn__folder_dataset_matches(const char *folder, bool *matches, crn_error *error);
crn_status crn__folder_dataset_open(const char *folder, crn_split split, crn_dataset *dataset,
                                    crn_error *error);

crn_status crn__csv_dataset_matches(const char *folder, bool *matches, crn_error *error);
crn_status crn__csv_dataset_open(const char *folder, crn_split split, crn_dataset *dataset,
                                 crn_error *error);
crn_status crn__tfrecord_dataset_matches(const char *folder, bool *matches, crn_error *error);
crn_status crn__tfrecord_dataset_open(const char *folder, crn_split split, crn_dataset *dataset,
                                      crn_error *error);

/* A file that is a data set by itself. */
crn_status crn__tfrecord_file_matches(const char *path, bool *matches, crn_error *error);
crn_status crn__tfrecord_file_open(const char *path, crn_dataset *dataset, crn_error *error);
crn_status crn__csv_file_open(const char *path, crn_dataset *dataset, crn_error *error);

/* ---- shared by the kinds ---- */

/* *has: whether the folder holds a regular file, or a link to one, of that name. */
crn_status crn__has_file(const char *folder, const char *name, bool *has, crn_error *error);
/* folder/name, ended by free(); NULL when there is no memory. */
char *crn__path_join(const char *folder, const char *name);

/*
 * Stores labels [size], read from the file `path`, after checking that each is from 0 to 65535.
 * class_count grows to the largest of them plus one.
 */
crn_status crn__dataset_set_labels(crn_dataset *dataset, const char *path, const int64_t *labels,
                                   size_t size, crn_error *error);
/* Names "0", "1", … for class_count classes. */
crn_status crn__dataset_number_classes(crn_dataset *dataset, crn_error *error);

#endif
