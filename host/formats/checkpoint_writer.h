/* Writing checkpoints of either format as a stream, so that weights are never copied. */
#ifndef CRN_FORMATS_CHECKPOINT_WRITER_H
#define CRN_FORMATS_CHECKPOINT_WRITER_H

#include "formats/checkpoint_file.h"

typedef struct crn__checkpoint_writer crn__checkpoint_writer;

typedef struct crn__checkpoint_content {
    /* Names, dtypes and shapes; bytes are what these make. Dtypes are ones that the format has. */
    const crn_checkpoint_entry *entries;
    size_t n_entries;
    const crn_metadata *metadata;
    size_t n_metadata;
    /* -1: none. Becomes metadata "global_step", or the int64 scalar of this name, unless there is
     * such metadata or entry. */
    int64_t step;
} crn__checkpoint_content;

/*
 * First everything but the numbers, then the tensors' bytes in the declared order. Nothing that is
 * passed needs to outlive the call. `path` is as crn_checkpoint_format says. CRN_INVALID for names
 * and keys that the format cannot have.
 *
 *     CRN__TRY(crn__checkpoint_writer_create(path, format, &content, &writer, error));
 *     for (…; status == CRN_OK;)
 *         status = crn__checkpoint_writer_append(writer, data, bytes, error);
 *     if (status == CRN_OK)
 *         status = crn__checkpoint_writer_commit(writer, error);
 *     else
 *         crn__checkpoint_writer_abort(writer);
 */
crn_status crn__checkpoint_writer_create(const char *path, crn_checkpoint_format format,
                                         const crn__checkpoint_content *content,
                                         crn__checkpoint_writer **out, crn_error *error);
/* The next bytes: any part of one tensor or of several. */
crn_status crn__checkpoint_writer_append(crn__checkpoint_writer *writer, const void *data,
                                         size_t bytes, crn_error *error);
/* Syncs the files and puts them in place; CRN_INVALID when bytes are missing. Frees the writer in
 * any case; on failure the old files stay. */
crn_status crn__checkpoint_writer_commit(crn__checkpoint_writer *writer, crn_error *error);
/* Removes what was written and frees the writer; NULL is legal. */
void crn__checkpoint_writer_abort(crn__checkpoint_writer *writer);

/* An entry of a tensor as networks have them; `name` is borrowed. */
crn_checkpoint_entry crn__checkpoint_entry_of(const char *name, crn_dtype dtype,
                                              const crn_shape *shape);

#endif
