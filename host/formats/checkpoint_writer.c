#include "formats/checkpoint_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/safetensors.h"
#include "formats/tensorflow_writer.h"

/* One of the two. */
struct crn__checkpoint_writer {
    crn__safetensors_writer *safetensors;
    crn__tensorflow_writer *tensorflow;
};

static bool has_metadata(const crn__checkpoint_content *content, const char *key)
{
    for (size_t i = 0; i < content->n_metadata; i++)
        if (content->metadata[i].key != NULL && strcmp(content->metadata[i].key, key) == 0)
            return true;
    return false;
}

static crn_status create_safetensors(const char *path, const crn__checkpoint_content *content,
                                     crn__safetensors_writer **out, crn_error *error)
{
    char step[24];
    size_t n = content->n_metadata;
    crn_metadata *metadata = crn__alloc(n + 1, sizeof *metadata);
    if (metadata == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < n; i++)
        metadata[i] = content->metadata[i];
    if (content->step >= 0 && !has_metadata(content, CRN__STEP_KEY)) {
        snprintf(step, sizeof step, "%" PRId64, content->step);
        metadata[n++] = (crn_metadata){CRN__STEP_KEY, step};
    }
    crn_status status = crn__safetensors_writer_create(path, content->entries, content->n_entries,
                                                       metadata, n, out, error);
    free(metadata);
    return status;
}

crn_status crn__checkpoint_writer_create(const char *path, crn_checkpoint_format format,
                                         const crn__checkpoint_content *content,
                                         crn__checkpoint_writer **out, crn_error *error)
{
    if (path == NULL)
        return crn__fail(error, CRN_INVALID, "a file's path is NULL");
    if (format != CRN_CHECKPOINT_SAFETENSORS && format != CRN_CHECKPOINT_TENSORFLOW)
        return crn__fail(error, CRN_INVALID, "%s: %d is no format of checkpoints", path,
                         (int)format);
    crn__checkpoint_writer *writer = crn__alloc(1, sizeof *writer);
    if (writer == NULL)
        return crn__fail_memory(error);
    crn_status status =
        format == CRN_CHECKPOINT_TENSORFLOW
            ? crn__tensorflow_writer_create(path, content, &writer->tensorflow, error)
            : create_safetensors(path, content, &writer->safetensors, error);
    if (status == CRN_OK)
        *out = writer;
    else
        free(writer);
    return status;
}

crn_status crn__checkpoint_writer_append(crn__checkpoint_writer *writer, const void *data,
                                         size_t bytes, crn_error *error)
{
    return writer->tensorflow != NULL
               ? crn__tensorflow_writer_append(writer->tensorflow, data, bytes, error)
               : crn__safetensors_writer_append(writer->safetensors, data, bytes, error);
}

crn_status crn__checkpoint_writer_commit(crn__checkpoint_writer *writer, crn_error *error)
{
    crn_status status = writer->tensorflow != NULL
                            ? crn__tensorflow_writer_commit(writer->tensorflow, error)
                            : crn__safetensors_writer_commit(writer->safetensors, error);
    free(writer);
    return status;
}

void crn__checkpoint_writer_abort(crn__checkpoint_writer *writer)
{
    if (writer == NULL)
        return;
    crn__tensorflow_writer_abort(writer->tensorflow);
    crn__safetensors_writer_abort(writer->safetensors);
    free(writer);
}

crn_checkpoint_entry crn__checkpoint_entry_of(const char *name, crn_dtype dtype,
                                              const crn_shape *shape)
{
    crn_checkpoint_entry entry = {
        .name = name, .dtype = dtype == CRN_F32 ? "F32" : "I32", .rank = shape->rank};
    memcpy(entry.dims, shape->dims, sizeof shape->dims);
    return entry;
}
