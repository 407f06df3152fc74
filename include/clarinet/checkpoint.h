/*
 * Checkpoints: one safetensors file with weights, optimizer slots, step, seed and what the program
 * adds (class names, preprocessing) in its metadata.
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
    const char *dtype; /* as the file says: "F32", "I64", … */
    int32_t rank;      /* files may hold up to 8 dimensions */
    int64_t dims[8];
    uint64_t bytes;
} crn_checkpoint_entry;

/* Opens a file and checks all of its header. CRN_FORMAT names what is wrong and where. */
CRN_API crn_status crn_checkpoint_open(const char *path, crn_checkpoint **out, crn_error *error);
CRN_API void crn_checkpoint_free(crn_checkpoint *checkpoint);
/* Entries are sorted by name. */
CRN_API size_t crn_checkpoint_count(const crn_checkpoint *checkpoint);
CRN_API crn_status crn_checkpoint_entry_at(const crn_checkpoint *checkpoint, size_t index,
                                           crn_checkpoint_entry *entry);
/* Copies an F32 tensor; `count` is its number of elements. CRN_NOT_FOUND, CRN_INVALID for another
 * count, CRN_UNSUPPORTED for another dtype. */
CRN_API crn_status crn_checkpoint_read(const crn_checkpoint *checkpoint, const char *name,
                                       float *data, size_t count, crn_error *error);
/* A value of the metadata, or NULL. */
CRN_API const char *crn_checkpoint_metadata(const crn_checkpoint *checkpoint, const char *key);

/* ---- graphs ---- */

typedef struct crn_metadata {
    const char *key;
    const char *value;
} crn_metadata;

typedef struct crn_save_options {
    size_t size;
    const crn_train_op
        *train; /* its slots ("w/Momentum") and step ("global_step" metadata); or NULL */
    const crn_metadata *metadata;
    size_t n_metadata;
} crn_save_options;

#define CRN_SAVE_OPTIONS_INIT                   \
    {                                           \
        sizeof(crn_save_options), NULL, NULL, 0 \
    }

/*
 * Writes every variable to a temporary file beside `path`, syncs it and renames it over `path`: at
 * any moment there is the old file or the new one. options NULL: variables alone.
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
} crn_restore_options;

#define CRN_RESTORE_OPTIONS_INIT                                   \
    {                                                              \
        sizeof(crn_restore_options), NULL, false, NULL, NULL, NULL \
    }

/*
 * Gives the graph's variables the file's values. A shape that differs is CRN_INVALID, naming the
 * variable and both shapes. Nothing changes unless all of it can be restored.
 */
CRN_API crn_status crn_checkpoint_restore(crn_graph *graph, const char *path,
                                          const crn_restore_options *options);

#ifdef __cplusplus
}
#endif

#endif
