#include "formats/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/atomic_file.h"
#include "formats/element.h"
#include "formats/json_text.h"
#include "formats/safetensors_header.h"

#define PREFIX_LENGTH (sizeof CRN__SAFETENSORS_PREFIX - 1)

struct crn__safetensors_writer {
    crn__atomic_file *file;
    char *path;
    char *header; /* padded text, the digits of its checksums still zeros */
    size_t header_length;
    uint64_t *bytes; /* of each tensor */
    size_t n_tensors;
    size_t present;   /* the tensor that is being written */
    uint64_t written; /* of its bytes */
    XXH3_state_t *hash;
};

/* ---- header ---- */

static crn_status write_metadata(FILE *stream, const char *path, const crn_metadata *metadata,
                                 size_t n_metadata, size_t n_tensors, crn_error *error)
{
    fputs(CRN__SAFETENSORS_PREFIX, stream);
    for (size_t i = 0; i < (n_tensors + 1) * CRN__SAFETENSORS_DIGITS; i++)
        fputc('0', stream);
    fputs("\",\"" CRN__SAFETENSORS_FORMAT_KEY "\":\"1\"", stream);
    for (size_t i = 0; i < n_metadata; i++) {
        const crn_metadata *pair = &metadata[i];
        if (pair->key == NULL || pair->value == NULL || !crn__is_utf8(pair->key) ||
            !crn__is_utf8(pair->value))
            return crn__fail(error, CRN_INVALID, "%s: metadata %zu is not UTF-8", path, i);
        fputc(',', stream);
        crn__json_write(stream, pair->key);
        fputc(':', stream);
        crn__json_write(stream, pair->value);
    }
    fputc('}', stream);
    return CRN_OK;
}

/* Writes one tensor's member and moves *offset past its data. */
static crn_status write_tensor(FILE *stream, const char *path, const crn_checkpoint_entry *tensor,
                               uint64_t *offset, crn_error *error)
{
    const crn__element *element =
        tensor->dtype != NULL ? crn__element_find(tensor->dtype, strlen(tensor->dtype)) : NULL;
    uint64_t bytes, end;
    if (tensor->name == NULL || strcmp(tensor->name, "__metadata__") == 0 || element == NULL ||
        !element->safetensors || !crn__checkpoint_bytes(tensor, element->size, &bytes) ||
        __builtin_add_overflow(*offset, bytes, &end))
        return crn__fail(error, CRN_INVALID, "%s: \"%s\" is no tensor that can be saved", path,
                         tensor->name != NULL ? tensor->name : "");
    if (!crn__is_utf8(tensor->name))
        return crn__fail(error, CRN_INVALID, "%s: tensor name \"%s\" is not UTF-8", path,
                         tensor->name);
    fputc(',', stream);
    crn__json_write(stream, tensor->name);
    fprintf(stream, ":{\"dtype\":\"%s\",\"shape\":[", element->name);
    for (int i = 0; i < tensor->rank; i++)
        fprintf(stream, "%s%" PRId64, i > 0 ? "," : "", tensor->dims[i]);
    fprintf(stream, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", *offset, end);
    *offset = end;
    return CRN_OK;
}

/* The reader is the judge of what was made: names that occur twice and the like. */
static crn_status check_header(const crn__safetensors_writer *writer, uint64_t data_bytes,
                               crn_error *error)
{
    crn__safetensors_header header = {0};
    crn_status status =
        writer->header_length > CRN__SAFETENSORS_MAX_HEADER
            ? crn__fail(error, CRN_INVALID, "%s: names and metadata are too long", writer->path)
            : crn__safetensors_header_parse(writer->path, writer->header, writer->header_length,
                                            data_bytes, &header, error);
    crn__safetensors_header_end(&header);
    if (status == CRN_FORMAT && error != NULL)
        error->status = CRN_INVALID;
    return status == CRN_FORMAT ? CRN_INVALID : status;
}

static crn_status make_header(crn__safetensors_writer *writer, const crn_checkpoint_entry *tensors,
                              const crn_metadata *metadata, size_t n_metadata, crn_error *error)
{
    FILE *stream = open_memstream(&writer->header, &writer->header_length);
    if (stream == NULL)
        return crn__fail_memory(error);
    uint64_t offset = 0;
    crn_status status =
        write_metadata(stream, writer->path, metadata, n_metadata, writer->n_tensors, error);
    for (size_t i = 0; i < writer->n_tensors && status == CRN_OK; i++) {
        uint64_t begin = offset;
        status = write_tensor(stream, writer->path, &tensors[i], &offset, error);
        writer->bytes[i] = offset - begin;
    }
    fputc('}', stream);
    for (long length = ftell(stream); length % 8 != 0; length++)
        fputc(' ', stream);
    bool failed = ferror(stream) != 0;
    if ((fclose(stream) != 0 || failed) && status == CRN_OK)
        status = crn__fail_memory(error);
    return status == CRN_OK ? check_header(writer, offset, error) : status;
}

/* ---- data ---- */

static void put_digits(char *digits, uint64_t value)
{
    char text[CRN__SAFETENSORS_DIGITS + 1];
    snprintf(text, sizeof text, "%016" PRIx64, value);
    memcpy(digits, text, CRN__SAFETENSORS_DIGITS);
}

/* Notes the checksums of tensors that are complete. */
static void finish_tensors(crn__safetensors_writer *writer)
{
    while (writer->present < writer->n_tensors &&
           writer->written == writer->bytes[writer->present]) {
        put_digits(writer->header + PREFIX_LENGTH + (writer->present + 1) * CRN__SAFETENSORS_DIGITS,
                   XXH3_64bits_digest(writer->hash));
        XXH3_64bits_reset(writer->hash);
        writer->present++;
        writer->written = 0;
    }
}

crn_status crn__safetensors_writer_create(const char *path, const crn_checkpoint_entry *tensors,
                                          size_t n_tensors, const crn_metadata *metadata,
                                          size_t n_metadata, crn__safetensors_writer **out,
                                          crn_error *error)
{
    if (path == NULL)
        return crn__fail(error, CRN_INVALID, "a file's path is NULL");
    crn__safetensors_writer *writer = crn__alloc(1, sizeof *writer);
    if (writer == NULL)
        return crn__fail_memory(error);
    writer->n_tensors = n_tensors;
    writer->path = crn__strdup(path);
    writer->bytes = crn__alloc(n_tensors, sizeof *writer->bytes);
    writer->hash = XXH3_createState();
    crn_status status = writer->path == NULL || writer->bytes == NULL || writer->hash == NULL
                            ? crn__fail_memory(error)
                            : make_header(writer, tensors, metadata, n_metadata, error);
    if (status == CRN_OK)
        status = crn__atomic_file_create(path, &writer->file, error);
    uint64_t length = writer->header_length;
    if (status == CRN_OK)
        status = crn__atomic_file_write(writer->file, &length, sizeof length, error);
    if (status == CRN_OK)
        status = crn__atomic_file_write(writer->file, writer->header, writer->header_length, error);
    if (status != CRN_OK) {
        crn__safetensors_writer_abort(writer);
        return status;
    }
    XXH3_64bits_reset(writer->hash);
    finish_tensors(writer);
    *out = writer;
    return CRN_OK;
}

crn_status crn__safetensors_writer_append(crn__safetensors_writer *writer, const void *data,
                                          size_t bytes, crn_error *error)
{
    for (const char *at = data; bytes > 0;) {
        if (writer->present == writer->n_tensors)
            return crn__fail(error, CRN_INVALID, "%s: more data than was declared", writer->path);
        uint64_t left = writer->bytes[writer->present] - writer->written;
        size_t part = bytes < left ? bytes : (size_t)left;
        CRN__TRY(crn__atomic_file_write(writer->file, at, part, error));
        XXH3_64bits_update(writer->hash, at, part);
        writer->written += part;
        at += part;
        bytes -= part;
        finish_tensors(writer);
    }
    return CRN_OK;
}

crn_status crn__safetensors_writer_commit(crn__safetensors_writer *writer, crn_error *error)
{
    crn_status status;
    if (writer->present < writer->n_tensors) {
        status = crn__fail(error, CRN_INVALID, "%s: the data of %zu tensors is missing",
                           writer->path, writer->n_tensors - writer->present);
    } else {
        size_t digits = (writer->n_tensors + 1) * CRN__SAFETENSORS_DIGITS;
        put_digits(writer->header + PREFIX_LENGTH,
                   crn__safetensors_header_checksum(writer->header, writer->header_length));
        status = crn__atomic_file_patch(writer->file, sizeof(uint64_t) + PREFIX_LENGTH,
                                        writer->header + PREFIX_LENGTH, digits, error);
    }
    if (status == CRN_OK) {
        status = crn__atomic_file_commit(writer->file, error);
        writer->file = NULL;
    }
    crn__safetensors_writer_abort(writer);
    return status;
}

void crn__safetensors_writer_abort(crn__safetensors_writer *writer)
{
    if (writer == NULL)
        return;
    crn__atomic_file_abort(writer->file);
    XXH3_freeState(writer->hash);
    free(writer->path);
    free(writer->header);
    free(writer->bytes);
    free(writer);
}
