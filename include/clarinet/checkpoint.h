/*
 * Checkpoints: weights, optimizer slots, step, seed and what the program adds (class names,
 * preprocessing) as metadata. They are written as one safetensors file, or as TensorFlow's V2
 * checkpoints, which tf.train.Saver and TF-slim restore; both and TensorFlow's older V1 files are
 * read. No TensorFlow is needed.
 */
#ifndef CLARINET_CHECKPOINT_H
#define CLARINET_CHECKPOINT_H

#include "optim.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- looking into a file, without a device ---- */

typedef struct crn_checkpoint crn_checkpoint;

/* A tensor of a file. Strings live as long as the checkpoint. */
typedef struct crn_checkpoint_entry {
    const char *name;
    const char *dtype; /* "F32", "F16", "BF16", "I64", "BOOL", …, as safetensors calls them; of what
                          it has not: "STRING", "C128", "QINT8", "VARIANT", … */
    int32_t rank;      /* files may hold up to 8 dimensions */
    int64_t dims[8];
    uint64_t bytes; /* of all elements; of a STRING, as the file stores it */
} crn_checkpoint_entry;

/*
 * Opens a checkpoint and checks all that describes its tensors. What it is, its content tells:
 *   a file of safetensors, or of TensorFlow's V1 format;
 *   of TensorFlow's V2 format the prefix "DIR/NAME", "DIR/NAME.index", or one of the data files
 *     "DIR/NAME.data-00000-of-00001", which are looked for beside the index and nowhere else;
 *   a folder with TensorFlow's state file, "checkpoint": the one that it calls the latest,
 *     model_checkpoint_path, a name in that folder. Of an absolute path, as Saver writes, the last
 *     part is taken: nothing outside the folder is opened.
 * CRN_FORMAT names the file, what is wrong and where; CRN_NOT_FOUND; CRN_UNSUPPORTED for more than
 * 8 dimensions, big-endian files and the like. Memory: at most twice the files' size and 64 MiB.
 */
CRN_API crn_status crn_checkpoint_open(const char *path, crn_checkpoint **out, crn_error *error);
CRN_API void crn_checkpoint_free(crn_checkpoint *checkpoint);
/* "safetensors", "TensorFlow V1" or "TensorFlow V2". */
CRN_API const char *crn_checkpoint_kind(const crn_checkpoint *checkpoint);
/* Entries are sorted by name. */
CRN_API size_t crn_checkpoint_count(const crn_checkpoint *checkpoint);
CRN_API crn_status crn_checkpoint_entry_at(const crn_checkpoint *checkpoint, size_t index,
                                           crn_checkpoint_entry *entry);
/* CRN_NOT_FOUND when there is no tensor of this name. */
CRN_API crn_status crn_checkpoint_find(const crn_checkpoint *checkpoint, const char *name,
                                       crn_checkpoint_entry *entry);
/*
 * Reads a tensor as float32; `count` is its number of elements. Checksums are checked where the
 * file has them.
 *
 * F16, BF16, I8, U8, I16, U16 and BOOL (0 or 1) are exact. F64, I32, U32, I64 and U64 are rounded
 * to the nearest float32, ties to even: integers beyond 2^24 are not exact, and F64 numbers beyond
 * float32's range become infinite.
 *
 * CRN_NOT_FOUND; CRN_INVALID for another count; CRN_UNSUPPORTED for a dtype that is none of these.
 */
CRN_API crn_status crn_checkpoint_read(const crn_checkpoint *checkpoint, const char *name,
                                       float *data, size_t count, crn_error *error);
/*
 * A value of the metadata, or NULL. TensorFlow's files have no place for metadata: what
 * crn_checkpoint_save writes there are DT_STRING scalars called "clarinet.metadata/KEY", which are
 * found here and not among the entries. "global_step" is also the value of an integer scalar of
 * that name, which is where TensorFlow has it.
 */
CRN_API const char *crn_checkpoint_metadata(const crn_checkpoint *checkpoint, const char *key);
/* Whether a name is a slot of another tensor, as optimizers and moving averages name them:
 * "w/Momentum" beside "w". */
CRN_API bool crn_checkpoint_is_slot(const crn_checkpoint *checkpoint, const char *name);

/* ---- from one format to another, without a device ---- */

typedef enum crn_checkpoint_format {
    CRN_CHECKPOINT_SAFETENSORS, /* one file */
    /* TensorFlow's V2 format: NAME.data-00000-of-00001 and NAME.index of the path DIR/NAME. If the
     * path is a folder or ends in '/', NAME is "model.ckpt-STEP" ("model.ckpt" without a step) and
     * the folder's state file, "checkpoint", is made to name it. */
    CRN_CHECKPOINT_TENSORFLOW
} crn_checkpoint_format;

/* Told of each tensor that a conversion leaves out though it was asked for, and why. */
typedef void (*crn_convert_fn)(void *data, const char *name, const char *why);

typedef struct crn_convert_options {
    size_t size;
    crn_checkpoint_format format; /* to write */
    const char *include_scopes;   /* "a,b": only names that start with one of them; or NULL */
    const char *exclude_scopes;   /* and none that start with one of these; or NULL */
    bool no_slots;                /* leave out what crn_checkpoint_is_slot finds */
    crn_convert_fn report;        /* or NULL */
    void *report_data;
} crn_convert_options;

#define CRN_CONVERT_OPTIONS_INIT                                                               \
    {                                                                                          \
        sizeof(crn_convert_options), CRN_CHECKPOINT_SAFETENSORS, NULL, NULL, false, NULL, NULL \
    }

/*
 * Writes the checkpoint at `from` (any that crn_checkpoint_open takes) to `to`, every tensor with
 * its dtype, shape and bits; the metadata too, and the step where the other format has it. Tensors
 * of a dtype that the format has not (STRING, quantized, …) are left out and reported. Partitioned
 * variables become whole. `to` may be `from`. options NULL: to safetensors. Memory: as for opening,
 * and the largest tensor.
 */
CRN_API crn_status crn_checkpoint_convert(const char *from, const char *to,
                                          const crn_convert_options *options, crn_error *error);

/* ---- graphs ---- */

typedef struct crn_metadata {
    const char *key;
    const char *value;
} crn_metadata;

typedef struct crn_save_options {
    size_t size;
    const crn_train_op *train; /* its slots ("w/Momentum") and step; or NULL. The step is
                                  "global_step" of safetensors' metadata, an int64 scalar of that
                                  name for TensorFlow */
    const crn_metadata *metadata;
    size_t n_metadata;
    crn_checkpoint_format format;
} crn_save_options;

#define CRN_SAVE_OPTIONS_INIT                                               \
    {                                                                       \
        sizeof(crn_save_options), NULL, NULL, 0, CRN_CHECKPOINT_SAFETENSORS \
    }

/*
 * Writes every variable to temporary files beside `path`, syncs them and renames them into place,
 * for TensorFlow the data, then the index, then the state file: at any moment there is the old
 * checkpoint or the new one. A TensorFlow checkpoint that is written over one of the same name has
 * a moment, between two renames, in which its checksums tell readers that it is neither: there,
 * names with steps are better. options NULL: variables alone, as safetensors.
 */
CRN_API crn_status crn_checkpoint_save(crn_graph *graph, const char *path,
                                       const crn_save_options *options);

typedef enum crn_restore_event {
    CRN_RESTORE_LOADED,
    CRN_RESTORE_EXCLUDED, /* by exclude_scopes: keeps its present value */
    CRN_RESTORE_MISSING,  /* not in the file: keeps its present value */
    CRN_RESTORE_UNUSED    /* in the file, not in the graph */
} crn_restore_event;

typedef void (*crn_restore_fn)(void *data, crn_restore_event event, const char *name);

typedef struct crn_restore_options {
    size_t size;
    const char *exclude_scopes; /* "a,b": variables whose names start with one of them; or NULL */
    bool ignore_missing_vars;   /* else a variable that the file lacks is an error naming it */
    crn_train_op *train;        /* to restore slots and step too; or NULL */
    crn_restore_fn report;      /* once for each name; or NULL */
    void *report_data;
    /* Read "w/ExponentialMovingAverage" in place of the variable "w" where the file has it:
     * tf.train.ExponentialMovingAverage.variables_to_restore(). */
    bool moving_average;
} crn_restore_options;

#define CRN_RESTORE_OPTIONS_INIT                                          \
    {                                                                     \
        sizeof(crn_restore_options), NULL, false, NULL, NULL, NULL, false \
    }

/*
 * Gives the graph's variables the values of a checkpoint of any format, as float32. A shape that
 * differs is CRN_INVALID, naming the variable and both shapes. Nothing changes unless all of it can
 * be restored.
 */
CRN_API crn_status crn_checkpoint_restore(crn_graph *graph, const char *path,
                                          const crn_restore_options *options);

#ifdef __cplusplus
}
#endif

#endif
