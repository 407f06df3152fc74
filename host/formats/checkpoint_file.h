/*
 * What the formats of checkpoints share. Each is a kind: a function that opens it, one that reads a
 * tensor's bytes, one that ends it. Everything else (names, conversions, the step) is common.
 */
#ifndef CRN_FORMATS_CHECKPOINT_FILE_H
#define CRN_FORMATS_CHECKPOINT_FILE_H

#include "clarinet/checkpoint.h"
#include "formats/input_file.h"

/* Far past any file in use: a hostile file must not cost many times its size. */
#define CRN__MAX_TENSORS ((size_t)1 << 18)

#define CRN__STEP_KEY "global_step"
#define CRN__MAX_DIMS ((int)(sizeof((crn_checkpoint_entry *)NULL)->dims / sizeof(int64_t)))

typedef struct crn__checkpoint_pair {
    char *key, *value;
} crn__checkpoint_pair;

typedef struct crn__checkpoint_kind {
    const char *name;
    /* All entries[index].bytes bytes of a tensor of fixed-size elements, checked. */
    crn_status (*read)(const crn_checkpoint *checkpoint, size_t index, void *data,
                       crn_error *error);
    void (*end)(void *state); /* NULL is legal */
} crn__checkpoint_kind;

struct crn_checkpoint {
    const crn__checkpoint_kind *kind;
    void *state;                   /* the kind's; ended by it */
    char *path;                    /* of the file that names the tensors, for messages */
    crn_checkpoint_entry *entries; /* sorted by name; the array is ended here, the names by kind */
    size_t n_entries;
    const crn__checkpoint_pair *pairs; /* the kind's, sorted by key */
    size_t n_pairs;
    char step[24]; /* the number that the tensor "global_step" is, or "" */
};

/*
 * Fill a checkpoint of zeros from an opened file, which they take over: *file is closed then, or
 * later by the kind. After a failure too the caller frees the checkpoint.
 */
crn_status crn__safetensors_open(crn__input_file *file, crn_checkpoint *checkpoint,
                                 crn_error *error);
/* Of a file that ends as TensorFlow's tables do: a V1 checkpoint or the index of a V2 one. */
crn_status crn__tensorflow_open(crn__input_file *file, crn_checkpoint *checkpoint,
                                crn_error *error);

/* entries[index] of the name; CRN_NOT_FOUND with words. */
crn_status crn__checkpoint_index(const crn_checkpoint *checkpoint, const char *name, size_t *index,
                                 crn_error *error);

/* bytes = elements of the shape times size; false when a dimension is negative or that overflows,
 * zeros elsewhere or not. */
bool crn__checkpoint_bytes(const crn_checkpoint_entry *entry, uint64_t size, uint64_t *bytes);

#endif
