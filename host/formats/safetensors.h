/*
 * Writing safetensors files. Reading them is crn_checkpoint_* in clarinet/checkpoint.h; the format
 * is specified in safetensors.c.
 */
#ifndef CRN_FORMATS_SAFETENSORS_H
#define CRN_FORMATS_SAFETENSORS_H

#include "clarinet/checkpoint.h"

typedef struct crn__safetensors_writer crn__safetensors_writer;

/*
 * A file is written as a stream, so that weights are never copied: first all names, shapes and
 * metadata, then the tensors' bytes in the declared order. Nothing that is passed needs to outlive
 * the call; of a tensor its name, dtype and shape count. CRN_INVALID for a name or key that occurs
 * twice, is not UTF-8, or is reserved
 * ("__metadata__"; "clarinet.format" and "clarinet.xxh3" among the metadata).
 *
 *     CRN__TRY(crn__safetensors_writer_create(path, tensors, n, metadata, m, &writer, error));
 *     for (…; status == CRN_OK;)
 *         status = crn__safetensors_writer_append(writer, data, bytes, error);
 *     if (status == CRN_OK)
 *         status = crn__safetensors_writer_commit(writer, error);
 *     else
 *         crn__safetensors_writer_abort(writer);
 */
crn_status crn__safetensors_writer_create(const char *path, const crn_checkpoint_entry *tensors,
                                          size_t n_tensors, const crn_metadata *metadata,
                                          size_t n_metadata, crn__safetensors_writer **out,
                                          crn_error *error);

/* The next bytes: any part of one tensor or of several. */
crn_status crn__safetensors_writer_append(crn__safetensors_writer *writer, const void *data,
                                          size_t bytes, crn_error *error);

/*
 * Syncs the file and puts it in place of `path`; CRN_INVALID when bytes are missing. Frees the
 * writer in any case; on failure the old file stays.
 */
crn_status crn__safetensors_writer_commit(crn__safetensors_writer *writer, crn_error *error);
/* Removes what was written and frees the writer; NULL is legal. */
void crn__safetensors_writer_abort(crn__safetensors_writer *writer);

#endif
