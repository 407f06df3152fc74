/*
 * TensorFlow's V2 checkpoints (tensorflow/core/util/tensor_bundle, protobuf/tensor_bundle.proto).
 *
 * PREFIX.index is a table:
 *     key ""          BundleHeaderProto { num_shards = 1; endianness = 2 (0: little);
 *                                         VersionDef version = 3; }
 *     a name, or the  BundleEntryProto { DataType dtype = 1; TensorShapeProto shape = 2;
 *     key of a part     shard_id = 3; offset = 4; size = 5; fixed32 crc32c = 6;
 *     (tensor_slice.c)  repeated TensorSliceProto slices = 7; }
 *
 * PREFIX.data-SSSSS-of-NNNNN (shard_id, num_shards) has the tensors' bytes at these places, with
 * masked CRC-32Cs in the index. An entry with `slices` has no bytes: it is made of these parts,
 * each an entry of its own. Strings: tensorflow_string.c.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/crc32c.h"
#include "formats/element.h"
#include "formats/tensor_slice.h"
#include "formats/tensorflow.h"

#define INDEX_ENDING ".index"
#define MAX_SHARDS 65536
/* Keys may share what they begin with, so that a small file has much of them. */
#define MAX_KEYS ((size_t)8 << 20)

typedef struct record {
    char *key; /* owned; ends in a zero that does not count */
    size_t key_size;
    crn_checkpoint_entry entry; /* its name is the key */
    const crn__element *element;
    uint64_t shard, offset, size;
    uint32_t checksum;      /* masked CRC-32C */
    unsigned char *message; /* of a tensor of parts: a copy of its BundleEntryProto; or NULL */
    size_t message_size;
} record;

typedef struct state {
    crn__table table;
    char *prefix;
    uint64_t n_shards;
    uint64_t *shard_sizes; /* UINT64_MAX: not looked at */
    /* In the table's order: parts, whose keys begin with a zero byte, then tensors by name. */
    record *records;
    size_t count, capacity;
    size_t n_parts;
    size_t key_bytes;
    crn__checkpoint_pair *pairs;
    size_t n_pairs, pairs_capacity;
} state;

static crn_status fail_record(const state *s, const record *r, const char *what, crn_error *error)
{
    const char *name = r->key_size > 0 && r->key[0] == '\0' ? r->key + 1 : r->key;
    return crn__fail(error, CRN_FORMAT, "%s: tensor \"%s\": %s", s->table.file.path, name, what);
}

/* ---- data files ---- */

static crn_status open_shard(const state *s, uint64_t shard, crn__input_file *file,
                             crn_error *error)
{
    char *path = crn__format("%s.data-%05" PRIu64 "-of-%05" PRIu64, s->prefix, shard, s->n_shards);
    if (path == NULL)
        return crn__fail_memory(error);
    crn_status status = crn__input_file_open(path, file, error);
    free(path);
    return status;
}

/* Whether the bytes lie within their data file. */
static crn_status check_place(state *s, const record *r, crn_error *error)
{
    if (r->shard >= s->n_shards)
        return fail_record(s, r, "is in a data file that the index does not have", error);
    uint64_t *size = &s->shard_sizes[r->shard];
    if (*size == UINT64_MAX) {
        crn__input_file file;
        CRN__TRY(open_shard(s, r->shard, &file, error));
        *size = file.size;
        crn__input_file_close(&file);
    }
    if (r->size > *size || r->offset > *size - r->size)
        return crn__fail(error, CRN_FORMAT,
                         "%s: tensor \"%s\": bytes %" PRIu64 " to %" PRIu64
                         " of its data file, which has %" PRIu64,
                         s->table.file.path, r->key[0] == '\0' ? r->key + 1 : r->key, r->offset,
                         r->offset + r->size, *size);
    return CRN_OK;
}

/* Reads r->size bytes; their checksum is the caller's to check. */
static crn_status read_place(const state *s, const record *r, void *data, crn_error *error)
{
    crn__input_file file;
    CRN__TRY(open_shard(s, r->shard, &file, error));
    crn_status status = crn__input_file_read(&file, r->offset, data, (size_t)r->size, error);
    crn__input_file_close(&file);
    return status;
}

static crn_status read_checked(const state *s, const record *r, void *data, crn_error *error)
{
    CRN__TRY(read_place(s, r, data, error));
    if (crn__crc32c_mask(crn__crc32c(data, (size_t)r->size)) != r->checksum)
        return fail_record(s, r, "is damaged: its checksum differs", error);
    return CRN_OK;
}

/* ---- the index ---- */

static crn_status parse_header(state *s, crn__pb_reader reader, crn_error *error)
{
    const char *path = s->table.file.path;
    crn__pb_field field;
    while (crn__pb_next(&reader, &field)) {
        if (field.number == 1 && field.wire == CRN__PB_VARINT)
            s->n_shards = field.value;
        if (field.number == 2 && field.value != 0)
            return crn__fail(error, CRN_UNSUPPORTED, "%s: its numbers are big-endian", path);
        if (field.number == 3 && field.wire == CRN__PB_BYTES)
            CRN__TRY(crn__tensorflow_check_version(field.content, path, error));
    }
    if (reader.broken || s->n_shards == 0 || s->n_shards > MAX_SHARDS)
        return crn__fail(error, CRN_FORMAT, "%s: its header is none", path);
    s->shard_sizes = crn__alloc((size_t)s->n_shards, sizeof *s->shard_sizes);
    if (s->shard_sizes == NULL)
        return crn__fail_memory(error);
    for (uint64_t i = 0; i < s->n_shards; i++)
        s->shard_sizes[i] = UINT64_MAX;
    return CRN_OK;
}

static crn_status parse_shape(const state *s, record *r, crn__pb_reader shape, crn_error *error)
{
    char *what = crn__format("%s: tensor \"%s\"", s->table.file.path, r->key);
    if (what == NULL)
        return crn__fail_memory(error);
    crn_status status = crn__tensor_shape_parse(shape, what, &r->entry, error);
    free(what);
    return status;
}

/* Reads a BundleEntryProto. */
static crn_status parse_record(state *s, record *r, const unsigned char *value, size_t size,
                               crn_error *error)
{
    crn__pb_reader reader = crn__pb_read(value, size), shape = {NULL, NULL, false};
    crn__pb_field field;
    uint64_t type = 0;
    bool parts = false;
    while (crn__pb_next(&reader, &field)) {
        switch (field.number << 3 | field.wire) {
        case 1 << 3 | CRN__PB_VARINT:
            type = field.value;
            break;
        case 2 << 3 | CRN__PB_BYTES:
            shape = field.content;
            break;
        case 3 << 3 | CRN__PB_VARINT:
            r->shard = field.value;
            break;
        case 4 << 3 | CRN__PB_VARINT:
            r->offset = field.value;
            break;
        case 5 << 3 | CRN__PB_VARINT:
            r->size = field.value;
            break;
        case 6 << 3 | CRN__PB_FIXED32:
            r->checksum = (uint32_t)field.value;
            break;
        case 7 << 3 | CRN__PB_BYTES:
            parts = true;
            break;
        }
    }
    if (reader.broken)
        return fail_record(s, r, "its description is none", error);
    CRN__TRY(parse_shape(s, r, shape, error));
    r->element = crn__element_of_tensorflow(type);
    r->entry.name = r->key;
    r->entry.dtype = r->element->name;
    r->entry.bytes = r->size;
    if (r->element->size > 0 &&
        !crn__checkpoint_bytes(&r->entry, r->element->size, &r->entry.bytes))
        return fail_record(s, r, "its shape is too large", error);
    if (!parts) {
        if (r->entry.bytes != r->size)
            return fail_record(s, r, "its size is not that of its shape", error);
        return check_place(s, r, error);
    }
    r->message = crn__alloc(size, 1);
    if (r->message == NULL)
        return crn__fail_memory(error);
    memcpy(r->message, value, size);
    r->message_size = size;
    return CRN_OK;
}

static crn_status add_record(state *s, const crn__table_cursor *cursor, crn_error *error)
{
    const char *path = s->table.file.path;
    bool part = cursor->key_size > 0 && cursor->key[0] == '\0';
    s->key_bytes += cursor->key_size;
    if (s->count == CRN__TENSORFLOW_MAX_TENSORS || s->key_bytes > MAX_KEYS)
        return crn__fail(error, CRN_FORMAT, "%s: too many tensors, or names too long", path);
    if (!part && memchr(cursor->key, '\0', cursor->key_size) != NULL)
        return crn__fail(error, CRN_FORMAT, "%s: a tensor's name is none", path);
    if (!crn__grow((void **)&s->records, s->count, &s->capacity, sizeof *s->records))
        return crn__fail_memory(error);
    record *r = &s->records[s->count];
    r->key = crn__alloc(cursor->key_size + 1, 1);
    if (r->key == NULL)
        return crn__fail_memory(error);
    memcpy(r->key, cursor->key, cursor->key_size);
    r->key_size = cursor->key_size;
    s->count++;
    s->n_parts += part;
    return parse_record(s, r, cursor->value, cursor->value_size, error);
}

/* ---- tensors of parts ---- */

static int compare_key(const void *key, const void *other)
{
    const crn__pb_writer *a = key;
    const record *b = other;
    int order = memcmp(a->data, b->key, a->size < b->key_size ? a->size : b->key_size);
    return order != 0 ? order : (a->size > b->key_size) - (a->size < b->key_size);
}

static crn_status find_part(const state *s, const record *r, const crn__tensor_slice *slice,
                            const record **part, crn_error *error)
{
    crn__pb_writer key = {.data = NULL};
    crn__tensor_slice_key(&key, r->key, slice);
    *part = key.failed || s->n_parts == 0
                ? NULL
                : bsearch(&key, s->records, s->n_parts, sizeof *s->records, compare_key);
    bool failed = key.failed;
    free(key.data);
    if (failed)
        return crn__fail_memory(error);
    crn_checkpoint_entry shape;
    crn__tensor_slice_shape(slice, &r->entry, &shape);
    if (*part == NULL || (*part)->message != NULL || (*part)->element != r->element ||
        (*part)->entry.rank != shape.rank ||
        memcmp((*part)->entry.dims, shape.dims, (size_t)shape.rank * sizeof *shape.dims) != 0)
        return fail_record(s, r, "a part of it is missing or of another shape or dtype", error);
    return CRN_OK;
}

/* *slices, ended by free(). */
static crn_status parse_slices(const state *s, const record *r, crn__tensor_slice **slices,
                               size_t *count, crn_error *error)
{
    crn__pb_reader reader = crn__pb_read(r->message, r->message_size);
    crn__pb_field field;
    bool good = true;
    *count = 0;
    *slices = crn__alloc(CRN__MAX_SLICES, sizeof **slices);
    if (*slices == NULL)
        return crn__fail_memory(error);
    while (good && crn__pb_next(&reader, &field))
        if (field.number == 7 && field.wire == CRN__PB_BYTES)
            good = *count < CRN__MAX_SLICES &&
                   crn__tensor_slice_parse(field.content, &r->entry, &(*slices)[(*count)++]);
    if (good && r->element->size > 0 && crn__tensor_slices_cover(*slices, *count, &r->entry))
        return CRN_OK;
    free(*slices);
    *slices = NULL;
    return fail_record(s, r, "its parts do not make up its shape, or are too many", error);
}

static crn_status check_parts(const state *s, const record *r, crn_error *error)
{
    crn__tensor_slice *slices;
    const record *part;
    size_t count;
    CRN__TRY(parse_slices(s, r, &slices, &count, error));
    crn_status status = CRN_OK;
    for (size_t i = 0; i < count && status == CRN_OK; i++)
        status = find_part(s, r, &slices[i], &part, error);
    free(slices);
    return status;
}

static crn_status read_part(const state *s, const record *r, const crn__tensor_slice *slice,
                            void *data, crn_error *error)
{
    const record *part;
    CRN__TRY(find_part(s, r, slice, &part, error));
    void *values = crn__alloc((size_t)part->size, 1);
    if (values == NULL)
        return crn__fail_memory(error);
    crn_status status = read_checked(s, part, values, error);
    if (status == CRN_OK)
        crn__tensor_slice_copy(slice, &r->entry, r->element->size, values, data);
    free(values);
    return status;
}

static crn_status read_tensor(const crn_checkpoint *checkpoint, size_t index, void *data,
                              crn_error *error)
{
    const state *s = checkpoint->state;
    const record *r = &s->records[s->n_parts + index];
    if (r->message == NULL)
        return read_checked(s, r, data, error);
    crn__tensor_slice *slices;
    size_t count;
    CRN__TRY(parse_slices(s, r, &slices, &count, error));
    crn_status status = CRN_OK;
    for (size_t i = 0; i < count && status == CRN_OK; i++)
        status = read_part(s, r, &slices[i], data, error);
    free(slices);
    return status;
}

/* ---- metadata ---- */

static bool is_metadata(const record *r)
{
    static const char prefix[] = CRN__TENSORFLOW_METADATA;
    return strncmp(r->key, prefix, sizeof prefix - 1) == 0 && r->entry.rank == 0 &&
           r->message == NULL && strcmp(r->element->name, "STRING") == 0;
}

static crn_status read_metadata(state *s, const record *r, crn_error *error)
{
    if (!crn__grow((void **)&s->pairs, s->n_pairs, &s->pairs_capacity, sizeof *s->pairs))
        return crn__fail_memory(error);
    unsigned char *data = crn__alloc((size_t)r->size, 1);
    crn_status status = data != NULL ? read_place(s, r, data, error) : crn__fail_memory(error);
    if (status == CRN_OK) {
        crn__checkpoint_pair *pair = &s->pairs[s->n_pairs++];
        pair->key = crn__strdup(r->key + strlen(CRN__TENSORFLOW_METADATA));
        status = crn__tensorflow_string_read(data, (size_t)r->size, r->checksum, &pair->value);
        if (status == CRN_FORMAT)
            status = fail_record(s, r, "is damaged: its checksum differs, or it is no text", error);
        else if (status != CRN_OK || pair->key == NULL)
            status = crn__fail_memory(error);
    }
    free(data);
    return status;
}

/* ---- the whole ---- */

static void free_record(record *r)
{
    free(r->key);
    free(r->message);
    *r = (record){.key = NULL};
}

static void end(void *pointer)
{
    state *s = pointer;
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++)
        free_record(&s->records[i]);
    for (size_t i = 0; i < s->n_pairs; i++) {
        free(s->pairs[i].key);
        free(s->pairs[i].value);
    }
    free(s->records);
    free(s->pairs);
    free(s->shard_sizes);
    free(s->prefix);
    crn__table_end(&s->table);
    free(s);
}

static const crn__checkpoint_kind kind = {"TensorFlow V2", read_tensor, end};

static int compare_places(const void *a, const void *b)
{
    const record *x = *(const record *const *)a, *y = *(const record *const *)b;
    if (x->shard != y->shard)
        return x->shard < y->shard ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->size > y->size) - (x->size < y->size);
}

/* No byte is of two tensors: together they are not larger than the data files. */
static crn_status check_places(const state *s, crn_error *error)
{
    const record **sorted = crn__alloc(s->count, sizeof *sorted);
    if (sorted == NULL)
        return crn__fail_memory(error);
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->records[i].message == NULL && s->records[i].size > 0)
            sorted[n++] = &s->records[i];
    if (n > 0)
        qsort(sorted, n, sizeof *sorted, compare_places);
    crn_status status = CRN_OK;
    for (size_t i = 1; i < n && status == CRN_OK; i++)
        if (sorted[i]->shard == sorted[i - 1]->shard &&
            sorted[i]->offset - sorted[i - 1]->offset < sorted[i - 1]->size)
            status = fail_record(s, sorted[i], "its bytes are another tensor's, too", error);
    free(sorted);
    return status;
}

/* Takes the metadata out of the records and gives the others to the checkpoint. */
static crn_status list_entries(state *s, crn_checkpoint *checkpoint, crn_error *error)
{
    size_t kept = s->n_parts;
    CRN__TRY(check_places(s, error));
    for (size_t i = s->n_parts; i < s->count; i++) {
        record *r = &s->records[i];
        if (is_metadata(r)) {
            CRN__TRY(read_metadata(s, r, error));
            free_record(r);
            continue;
        }
        if (r->message != NULL)
            CRN__TRY(check_parts(s, r, error));
        record moved = *r;
        *r = (record){.key = NULL};
        s->records[kept++] = moved;
    }
    s->count = kept;
    checkpoint->n_entries = kept - s->n_parts;
    checkpoint->entries = crn__alloc(checkpoint->n_entries, sizeof *checkpoint->entries);
    if (checkpoint->entries == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < checkpoint->n_entries; i++)
        checkpoint->entries[i] = s->records[s->n_parts + i].entry;
    checkpoint->pairs = s->pairs;
    checkpoint->n_pairs = s->n_pairs;
    return CRN_OK;
}

crn_status crn__tensorflow_v2_open(crn__table *table, crn__table_cursor *cursor,
                                   crn_checkpoint *checkpoint, crn_error *error)
{
    static const size_t ending = sizeof INDEX_ENDING - 1;
    state *s = crn__alloc(1, sizeof *s);
    if (s == NULL)
        return crn__fail_memory(error);
    checkpoint->kind = &kind;
    checkpoint->state = s;
    s->table = *table;
    *table = (crn__table){.file.fd = -1};
    cursor->table = &s->table;

    const char *path = s->table.file.path;
    size_t length = strlen(path);
    if (length <= ending || strcmp(path + length - ending, INDEX_ENDING) != 0)
        return crn__fail(
            error, CRN_FORMAT,
            "%s: the index of a TensorFlow checkpoint, which has to be called PREFIX" INDEX_ENDING
            " for its data files to be found",
            path);
    s->prefix = crn__format("%.*s", (int)(length - ending), path);
    if (s->prefix == NULL)
        return crn__fail_memory(error);
    CRN__TRY(parse_header(s, crn__pb_read(cursor->value, cursor->value_size), error));
    for (bool more = true;;) {
        CRN__TRY(crn__table_next(cursor, &more, error));
        if (!more)
            return list_entries(s, checkpoint, error);
        CRN__TRY(add_record(s, cursor, error));
    }
}
