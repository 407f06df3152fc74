/* The format is specified in tensorflow_v2.c. */
#include "formats/tensorflow_writer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/crc32c.h"
#include "formats/element.h"
#include "formats/tensorflow.h"

/* A tensor of the index. Strings of metadata and the step are some, too. */
typedef struct record {
    char *name;
    const crn__element *element;
    int32_t rank;
    int64_t dims[CRN__MAX_DIMS];
    uint64_t offset, bytes;
    uint32_t crc;
} record;

struct crn__tensorflow_writer {
    char *prefix;
    char *state; /* the state file to write; or NULL */
    crn__atomic_file *data, *index;
    /* The caller's tensors, then what was added. */
    record *records;
    size_t n_records, n_tensors;
    uint64_t offset;      /* bytes of data written */
    size_t present;       /* the tensor that is being written */
    uint64_t written;     /* of its bytes */
    crn__pb_writer added; /* bytes of what was added, behind the caller's */
};

/* ---- names ---- */

/* "DIR/model.ckpt-STEP" and the state file of a folder; else the path itself. */
static crn_status choose_prefix(crn__tensorflow_writer *writer, const char *path, int64_t step,
                                crn_error *error)
{
    struct stat status;
    size_t length = strlen(path);
    bool folder = length > 0 && (path[length - 1] == '/' ||
                                 (stat(path, &status) == 0 && S_ISDIR(status.st_mode)));
    if (!folder) {
        writer->prefix = crn__strdup(path);
        return writer->prefix != NULL ? CRN_OK : crn__fail_memory(error);
    }
    writer->prefix = step >= 0 ? crn__format("%s/model.ckpt-%" PRId64, path, step)
                               : crn__format("%s/model.ckpt", path);
    writer->state = crn__format("%s/checkpoint", path);
    return writer->prefix != NULL && writer->state != NULL ? CRN_OK : crn__fail_memory(error);
}

static crn_status create_file(const crn__tensorflow_writer *writer, const char *ending,
                              crn__atomic_file **file, crn_error *error)
{
    char *path = crn__format("%s%s", writer->prefix, ending);
    if (path == NULL)
        return crn__fail_memory(error);
    crn_status status = crn__atomic_file_create(path, file, error);
    free(path);
    return status;
}

/* ---- what is written ---- */

static crn_status add_tensor(crn__tensorflow_writer *writer, const crn_checkpoint_entry *entry,
                             crn_error *error)
{
    static const char reserved[] = CRN__TENSORFLOW_METADATA;
    record *r = &writer->records[writer->n_records];
    r->element =
        entry->dtype == NULL ? NULL : crn__element_find(entry->dtype, strlen(entry->dtype));
    if (entry->name == NULL || *entry->name == '\0' ||
        strncmp(entry->name, reserved, sizeof reserved - 1) == 0 || r->element == NULL ||
        r->element->tensorflow == 0 || r->element->size == 0 ||
        !crn__checkpoint_bytes(entry, r->element->size, &r->bytes) || r->bytes > INT64_MAX)
        return crn__fail(error, CRN_INVALID, "%s: \"%s\" is no tensor that can be saved",
                         writer->prefix, entry->name != NULL ? entry->name : "");
    r->rank = entry->rank;
    memcpy(r->dims, entry->dims, sizeof r->dims);
    r->name = crn__strdup(entry->name);
    writer->n_records++;
    return r->name != NULL ? CRN_OK : crn__fail_memory(error);
}

/* A scalar behind the caller's tensors; its bytes begin at writer->added.data[begin]. */
static crn_status add_scalar(crn__tensorflow_writer *writer, char *name, const char *dtype,
                             size_t begin, uint32_t crc, crn_error *error)
{
    record *r = &writer->records[writer->n_records++];
    r->name = name;
    r->element = crn__element_find(dtype, strlen(dtype));
    r->bytes = writer->added.size - begin;
    r->crc = crc;
    return name != NULL && !writer->added.failed ? CRN_OK : crn__fail_memory(error);
}

static crn_status add_metadata(crn__tensorflow_writer *writer, const crn_metadata *pair,
                               crn_error *error)
{
    if (pair->key == NULL || pair->value == NULL || strlen(pair->value) > UINT32_MAX)
        return crn__fail(error, CRN_INVALID, "%s: metadata without key or value", writer->prefix);
    size_t begin = writer->added.size;
    uint32_t crc;
    crn__tensorflow_string_write(&writer->added, pair->value, &crc);
    return add_scalar(writer, crn__format(CRN__TENSORFLOW_METADATA "%s", pair->key), "STRING",
                      begin, crc, error);
}

static crn_status add_step(crn__tensorflow_writer *writer, int64_t step, crn_error *error)
{
    size_t begin = writer->added.size;
    for (size_t i = 0; i < writer->n_tensors; i++)
        if (strcmp(writer->records[i].name, CRN__STEP_KEY) == 0)
            return CRN_OK;
    crn__pb_write_raw(&writer->added, &step, sizeof step);
    return add_scalar(writer, crn__strdup(CRN__STEP_KEY), "I64", begin,
                      crn__crc32c(&step, sizeof step), error);
}

static int compare_records(const void *a, const void *b)
{
    return strcmp((*(const record *const *)a)->name, (*(const record *const *)b)->name);
}

/* *sorted, ended by free(): the records by name, no name twice. */
static crn_status sort_records(const crn__tensorflow_writer *writer, const record ***sorted,
                               crn_error *error)
{
    *sorted = crn__alloc(writer->n_records, sizeof **sorted);
    if (*sorted == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < writer->n_records; i++)
        (*sorted)[i] = &writer->records[i];
    if (writer->n_records > 0)
        qsort(*sorted, writer->n_records, sizeof **sorted, compare_records);
    for (size_t i = 1; i < writer->n_records; i++)
        if (compare_records(&(*sorted)[i - 1], &(*sorted)[i]) == 0) {
            crn__fail(error, CRN_INVALID, "%s: tensor \"%s\" is there twice", writer->prefix,
                      (*sorted)[i]->name);
            free(*sorted);
            return CRN_INVALID;
        }
    return CRN_OK;
}

static crn_status add_content(crn__tensorflow_writer *writer,
                              const crn__checkpoint_content *content, crn_error *error)
{
    const record **sorted;
    size_t n = content->n_entries + content->n_metadata + 1;
    writer->records = crn__alloc(n, sizeof *writer->records);
    if (writer->records == NULL)
        return crn__fail_memory(error);
    if (n > CRN__TENSORFLOW_MAX_TENSORS)
        return crn__fail(error, CRN_INVALID, "%s: too many tensors", writer->prefix);
    for (size_t i = 0; i < content->n_entries; i++)
        CRN__TRY(add_tensor(writer, &content->entries[i], error));
    writer->n_tensors = writer->n_records;
    for (size_t i = 0; i < content->n_metadata; i++)
        CRN__TRY(add_metadata(writer, &content->metadata[i], error));
    if (content->step >= 0)
        CRN__TRY(add_step(writer, content->step, error));
    CRN__TRY(sort_records(writer, &sorted, error));
    free(sorted);
    return CRN_OK;
}

/* Begins the next tensor that has bytes. */
static void skip_finished(crn__tensorflow_writer *writer)
{
    while (writer->present < writer->n_tensors &&
           writer->written == writer->records[writer->present].bytes) {
        writer->written = 0;
        if (++writer->present < writer->n_tensors)
            writer->records[writer->present].offset = writer->offset;
    }
}

crn_status crn__tensorflow_writer_create(const char *path, const crn__checkpoint_content *content,
                                         crn__tensorflow_writer **out, crn_error *error)
{
    crn__tensorflow_writer *writer = crn__alloc(1, sizeof *writer);
    if (writer == NULL)
        return crn__fail_memory(error);
    crn_status status = choose_prefix(writer, path, content->step, error);
    if (status == CRN_OK)
        status = add_content(writer, content, error);
    if (status == CRN_OK)
        status = create_file(writer, ".data-00000-of-00001", &writer->data, error);
    if (status == CRN_OK)
        status = create_file(writer, ".index", &writer->index, error);
    if (status != CRN_OK) {
        crn__tensorflow_writer_abort(writer);
        return status;
    }
    skip_finished(writer);
    *out = writer;
    return CRN_OK;
}

crn_status crn__tensorflow_writer_append(crn__tensorflow_writer *writer, const void *data,
                                         size_t bytes, crn_error *error)
{
    for (const char *at = data; bytes > 0;) {
        if (writer->present == writer->n_tensors)
            return crn__fail(error, CRN_INVALID, "%s: more data than was declared", writer->prefix);
        record *r = &writer->records[writer->present];
        size_t part =
            bytes < r->bytes - writer->written ? bytes : (size_t)(r->bytes - writer->written);
        CRN__TRY(crn__atomic_file_write(writer->data, at, part, error));
        r->crc = crn__crc32c_extend(r->crc, at, part);
        writer->written += part;
        writer->offset += part;
        at += part;
        bytes -= part;
        skip_finished(writer);
    }
    return CRN_OK;
}

/* ---- the index ---- */

static void write_shape(crn__pb_writer *out, const record *r)
{
    crn__pb_writer shape = {.data = NULL};
    for (int i = 0; i < r->rank; i++) {
        crn__pb_writer dim = {.data = NULL};
        crn__pb_write_uint(&dim, 1, (uint64_t)r->dims[i]);
        crn__pb_write_bytes(&shape, 2, dim.data, dim.size);
        shape.failed |= dim.failed;
        free(dim.data);
    }
    crn__pb_write_bytes(out, 2, shape.data, shape.size);
    out->failed |= shape.failed;
    free(shape.data);
}

/* BundleEntryProto; fields that are zero are left out, as Protocol Buffers 3 does. */
static void write_entry(crn__pb_writer *out, const record *r)
{
    crn__pb_write_uint(out, 1, r->element->tensorflow);
    write_shape(out, r);
    if (r->offset > 0)
        crn__pb_write_uint(out, 4, r->offset);
    if (r->bytes > 0)
        crn__pb_write_uint(out, 5, r->bytes);
    crn__pb_write_fixed32(out, 6, crn__crc32c_mask(r->crc));
}

/* BundleHeaderProto: one data file, little-endian, version 1 of the format. */
static void write_header(crn__pb_writer *out)
{
    static const char version[] = {1 << 3 | CRN__PB_VARINT, 1};
    crn__pb_write_uint(out, 1, 1);
    crn__pb_write_bytes(out, 3, version, sizeof version);
}

static crn_status write_index(crn__tensorflow_writer *writer, crn_error *error)
{
    const record **sorted;
    size_t n = writer->n_records + 1;
    CRN__TRY(sort_records(writer, &sorted, error));
    crn__table_entry *entries = crn__alloc(n, sizeof *entries);
    crn__pb_writer *values = crn__alloc(n, sizeof *values);
    bool failed = entries == NULL || values == NULL;
    for (size_t i = 0; i < n && !failed; i++) {
        if (i == 0)
            write_header(&values[i]);
        else
            write_entry(&values[i], sorted[i - 1]);
        const char *name = i == 0 ? "" : sorted[i - 1]->name;
        entries[i] = (crn__table_entry){name, values[i].data, strlen(name), values[i].size};
        failed = values[i].failed;
    }
    crn_status status =
        failed ? crn__fail_memory(error) : crn__table_write(writer->index, entries, n, error);
    for (size_t i = 0; i < n && values != NULL; i++)
        free(values[i].data);
    free(values);
    free(entries);
    free(sorted);
    return status;
}

/* ---- the end ---- */

static crn_status write_state(const crn__tensorflow_writer *writer, crn_error *error)
{
    if (writer->state == NULL)
        return CRN_OK;
    const char *name = strrchr(writer->prefix, '/') + 1;
    char *text = crn__format("model_checkpoint_path: \"%s\"\nall_model_checkpoint_paths: \"%s\"\n",
                             name, name);
    crn__atomic_file *file;
    crn_status status = text != NULL ? crn__atomic_file_create(writer->state, &file, error)
                                     : crn__fail_memory(error);
    if (status == CRN_OK) {
        status = crn__atomic_file_write(file, text, strlen(text), error);
        if (status == CRN_OK)
            status = crn__atomic_file_commit(file, error);
        else
            crn__atomic_file_abort(file);
    }
    free(text);
    return status;
}

/* Writes what was added behind the tensors. */
static crn_status write_added(crn__tensorflow_writer *writer, crn_error *error)
{
    for (size_t i = writer->n_tensors; i < writer->n_records; i++) {
        writer->records[i].offset = writer->offset;
        writer->offset += writer->records[i].bytes;
    }
    return crn__atomic_file_write(writer->data, writer->added.data, writer->added.size, error);
}

/* Data first: an index never names bytes that are not there. */
static crn_status put_in_place(crn__tensorflow_writer *writer, crn_error *error)
{
    crn__atomic_file *data = writer->data, *index = writer->index;
    writer->data = NULL;
    crn_status status = crn__atomic_file_commit(data, error);
    if (status != CRN_OK)
        return status;
    writer->index = NULL;
    CRN__TRY(crn__atomic_file_commit(index, error));
    return write_state(writer, error);
}

crn_status crn__tensorflow_writer_commit(crn__tensorflow_writer *writer, crn_error *error)
{
    crn_status status = CRN_OK;
    if (writer->present < writer->n_tensors)
        status = crn__fail(error, CRN_INVALID, "%s: the data of %zu tensors is missing",
                           writer->prefix, writer->n_tensors - writer->present);
    if (status == CRN_OK)
        status = write_added(writer, error);
    if (status == CRN_OK)
        status = write_index(writer, error);
    if (status == CRN_OK)
        status = put_in_place(writer, error);
    crn__tensorflow_writer_abort(writer);
    return status;
}

void crn__tensorflow_writer_abort(crn__tensorflow_writer *writer)
{
    if (writer == NULL)
        return;
    crn__atomic_file_abort(writer->data);
    crn__atomic_file_abort(writer->index);
    for (size_t i = 0; i < writer->n_records; i++)
        free(writer->records[i].name);
    free(writer->records);
    free(writer->added.data);
    free(writer->prefix);
    free(writer->state);
    free(writer);
}
