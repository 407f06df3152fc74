/*
 * tf.Example, the message in a TFRecord of pictures: a map from names to lists of bytes, floats or
 * integers. TF-slim's names: image/encoded, a file of a picture; image/class/label, a number.
 */
#ifndef CRN_DATA_EXAMPLE_H
#define CRN_DATA_EXAMPLE_H

#include "formats/input_file.h"

/* A piece of a file that is looked at here and there; one thread's. */
typedef struct crn__peek {
    const crn__input_file *file;
    uint64_t begin;
    size_t held;
    unsigned char bytes[4096];
} crn__peek;

/* *out: `bytes` (at most a few dozen) of the file from `offset`, until the next call. */
crn_status crn__peek_at(crn__peek *peek, uint64_t offset, size_t bytes, const unsigned char **out,
                        crn_error *error);

typedef struct crn__example {
    uint64_t encoded_at; /* in the file */
    uint64_t encoded_size;
    int64_t label;
} crn__example;

/*
 * Finds these in the message at offset begin…end of the file, without reading the picture itself.
 * CRN_FORMAT when it is no tf.Example, or has no picture or not just one label.
 */
crn_status crn__example_find(crn__peek *peek, uint64_t begin, uint64_t end, crn__example *out,
                             crn_error *error);

#endif
