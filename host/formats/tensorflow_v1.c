/*
 * TensorFlow's V1 checkpoints (tensorflow/core/util/saved_tensor_slice.proto): a table in one file.
 *
 *     key ""          SavedTensorSlices { SavedTensorSliceMeta meta = 1; }, which lists
 *                       SavedTensorSliceMeta { repeated SavedSliceMeta tensor = 1; VersionDef = 2;
 * } SavedSliceMeta { name = 1; TensorShapeProto shape = 2; DataType type = 3; repeated
 * TensorSliceProto slice = 4; } key of a part   SavedTensorSlices { SavedSlice data = 2; }
 *     (tensor_slice.c)  SavedSlice { name = 1; TensorSliceProto slice = 2; TensorProto data = 3; }
 *
 * A tensor that is not partitioned is one part. TensorProto (framework/tensor.proto) has its
 * numbers in a field by type, or as bytes in tensor_content = 4.
 */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/element.h"
#include "formats/tensor_slice.h"
#include "formats/tensorflow.h"

/* No file has this many times its size of numbers: Snappy makes 22 bytes of one at most, a varint
 * 8 of one. */
#define MAX_EXPANSION (22 * 8)

typedef struct tensor {
    crn_checkpoint_entry entry; /* owns its name */
    crn__pb_reader message;     /* its SavedSliceMeta, in `meta` */
} tensor;

typedef struct state {
    crn__table table;
    unsigned char *meta; /* a copy of the value of key "" */
    tensor *tensors;     /* sorted by name, as the checkpoint's entries */
    size_t count, capacity;
} state;

static crn_status fail_tensor(const state *s, const char *name, const char *what, crn_error *error)
{
    return crn__fail(error, CRN_FORMAT, "%s: tensor \"%s\": %s", s->table.file.path, name, what);
}

/* ---- the list of tensors ---- */

/* *slices, ended by free(): the parts of a SavedSliceMeta. */
static crn_status parse_slices(const state *s, crn__pb_reader message,
                               const crn_checkpoint_entry *entry, crn__tensor_slice **slices,
                               size_t *count, crn_error *error)
{
    crn__pb_reader again = message;
    crn__pb_field field;
    *count = 0;
    while (crn__pb_next(&message, &field))
        *count += field.number == 4 && field.wire == CRN__PB_BYTES;
    if (*count == 0 || *count > CRN__MAX_SLICES)
        return fail_tensor(s, entry->name, "has no parts, or too many", error);
    *slices = crn__alloc(*count, sizeof **slices);
    if (*slices == NULL)
        return crn__fail_memory(error);
    crn__tensor_slice *slice = *slices;
    bool good = true;
    while (good && crn__pb_next(&again, &field))
        if (field.number == 4 && field.wire == CRN__PB_BYTES)
            good = crn__tensor_slice_parse(field.content, entry, slice++);
    if (good && crn__tensor_slices_cover(*slices, *count, entry))
        return CRN_OK;
    free(*slices);
    *slices = NULL;
    return fail_tensor(s, entry->name, "its parts do not make up its shape", error);
}

static crn_status parse_name(const state *s, crn__pb_reader name, crn_checkpoint_entry *entry,
                             crn_error *error)
{
    size_t length = crn__pb_left(&name);
    if (entry->name != NULL || memchr(name.at, '\0', length) != NULL)
        return crn__fail(error, CRN_FORMAT, "%s: a tensor's name is none", s->table.file.path);
    char *text = crn__alloc(length + 1, 1);
    if (text == NULL)
        return crn__fail_memory(error);
    memcpy(text, name.at, length);
    entry->name = text;
    return CRN_OK;
}

/* Reads a SavedSliceMeta. */
static crn_status parse_tensor(const state *s, crn__pb_reader message, tensor *t, crn_error *error)
{
    crn_checkpoint_entry *entry = &t->entry;
    crn__pb_reader shape = {NULL, NULL, false};
    crn__pb_field field;
    uint64_t type = 0;
    t->message = message;
    while (crn__pb_next(&message, &field)) {
        if (field.number == 1 && field.wire == CRN__PB_BYTES)
            CRN__TRY(parse_name(s, field.content, entry, error));
        else if (field.number == 2 && field.wire == CRN__PB_BYTES)
            shape = field.content;
        else if (field.number == 3 && field.wire == CRN__PB_VARINT)
            type = field.value;
    }
    if (message.broken || entry->name == NULL)
        return crn__fail(error, CRN_FORMAT, "%s: a tensor's description is none",
                         s->table.file.path);
    char *what = crn__format("%s: tensor \"%s\"", s->table.file.path, entry->name);
    if (what == NULL)
        return crn__fail_memory(error);
    crn_status status = crn__tensor_shape_parse(shape, what, entry, error);
    free(what);
    CRN__TRY(status);
    const crn__element *element = crn__element_of_tensorflow(type);
    entry->dtype = element->name;
    if (!crn__checkpoint_bytes(entry, element->size, &entry->bytes) ||
        entry->bytes / MAX_EXPANSION > s->table.file.size)
        return fail_tensor(s, entry->name, "its shape is too large for the file", error);
    crn__tensor_slice *slices;
    size_t count;
    CRN__TRY(parse_slices(s, t->message, entry, &slices, &count, error));
    free(slices);
    return CRN_OK;
}

/* Reads a SavedTensorSliceMeta. */
static crn_status parse_tensors(state *s, crn__pb_reader meta, crn_error *error)
{
    crn__pb_field field;
    while (crn__pb_next(&meta, &field)) {
        if (field.number == 2 && field.wire == CRN__PB_BYTES)
            CRN__TRY(crn__tensorflow_check_version(field.content, s->table.file.path, error));
        if (field.number != 1 || field.wire != CRN__PB_BYTES)
            continue;
        if (s->count == CRN__TENSORFLOW_MAX_TENSORS)
            return crn__fail(error, CRN_FORMAT, "%s: too many tensors", s->table.file.path);
        if (!crn__grow((void **)&s->tensors, s->count, &s->capacity, sizeof *s->tensors))
            return crn__fail_memory(error);
        CRN__TRY(parse_tensor(s, field.content, &s->tensors[s->count++], error));
    }
    return meta.broken
               ? crn__fail(error, CRN_FORMAT, "%s: its list of tensors is none", s->table.file.path)
               : CRN_OK;
}

static int compare_tensors(const void *a, const void *b)
{
    return strcmp(((const tensor *)a)->entry.name, ((const tensor *)b)->entry.name);
}

/* Sorts the tensors and gives them to the checkpoint. */
static crn_status list_entries(const state *s, crn_checkpoint *checkpoint, crn_error *error)
{
    checkpoint->entries = crn__alloc(s->count, sizeof *checkpoint->entries);
    if (checkpoint->entries == NULL)
        return crn__fail_memory(error);
    if (s->count > 0)
        qsort(s->tensors, s->count, sizeof *s->tensors, compare_tensors);
    for (size_t i = 0; i < s->count; i++) {
        if (i > 0 && compare_tensors(&s->tensors[i - 1], &s->tensors[i]) == 0)
            return fail_tensor(s, s->tensors[i].entry.name, "is there twice", error);
        checkpoint->entries[i] = s->tensors[i].entry;
    }
    checkpoint->n_entries = s->count;
    return CRN_OK;
}

/* ---- numbers ---- */

/* The field of TensorProto that has a type's numbers. Narrow ones are varints of 32 bits there. */
static uint32_t field_of(const crn__element *element)
{
    static const struct {
        const char *name;
        uint32_t field;
    } fields[] = {{"F32", 5},   {"F64", 6},  {"C64", 9},   {"I64", 10}, {"BOOL", 11},
                  {"C128", 12}, {"F16", 13}, {"BF16", 13}, {"U32", 16}, {"U64", 17}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(fields[i].name, element->name) == 0)
            return fields[i].field;
    return 7;
}

/* Where numbers go. */
typedef struct numbers {
    char *data;
    size_t size, filled; /* bytes */
    size_t element;      /* of one number */
} numbers;

static bool add_bytes(numbers *out, const void *data, size_t size)
{
    if (size > out->size - out->filled)
        return false;
    if (size > 0)
        memcpy(out->data + out->filled, data, size);
    out->filled += size;
    return true;
}

/* Packed or alone. */
static bool add_varints(numbers *out, const crn__pb_field *field)
{
    crn__pb_reader reader = field->content;
    uint64_t value = field->value;
    if (field->wire == CRN__PB_VARINT)
        return add_bytes(out, &value, out->element); /* little-endian: the low bytes */
    while (crn__pb_varint(&reader, &value))
        if (!add_bytes(out, &value, out->element))
            return false;
    return field->wire == CRN__PB_BYTES && !reader.broken;
}

static bool add_fixed(numbers *out, const crn__pb_field *field)
{
    switch (field->wire) {
    case CRN__PB_FIXED32:
        return add_bytes(out, &field->value, 4);
    case CRN__PB_FIXED64:
        return add_bytes(out, &field->value, 8);
    case CRN__PB_BYTES:
        return add_bytes(out, field->content.at, crn__pb_left(&field->content));
    default:
        return false;
    }
}

/* Reads all numbers of a TensorProto; false when they are not exactly out->size bytes. */
static bool unpack(crn__pb_reader reader, const crn__element *element, numbers *out)
{
    uint32_t wanted = field_of(element);
    bool fixed = wanted == 5 || wanted == 6 || wanted == 9 || wanted == 12;
    crn__pb_field field;
    bool good = true;
    while (good && crn__pb_next(&reader, &field)) {
        if (field.number == 1) /* dtype, which TensorFlow leaves out here */
            good = field.value == 0 || field.value == element->tensorflow;
        else if (field.number == wanted)
            good = fixed ? add_fixed(out, &field) : add_varints(out, &field);
        else if (field.number == 4 && field.wire == CRN__PB_BYTES)
            good = add_bytes(out, field.content.at, crn__pb_left(&field.content));
    }
    return good && !reader.broken && out->filled == out->size;
}

/* ---- parts ---- */

/* The TensorProto within a SavedTensorSlices, which has to be of this tensor; false when it is
 * not. */
static bool find_data(crn__pb_reader slices, const char *name, crn__pb_reader *data)
{
    crn__pb_reader slice = {NULL, NULL, false};
    crn__pb_field field;
    bool same = false, found = false;
    while (crn__pb_next(&slices, &field))
        if (field.number == 2 && field.wire == CRN__PB_BYTES)
            slice = field.content;
    while (crn__pb_next(&slice, &field)) {
        if (field.wire != CRN__PB_BYTES)
            continue;
        if (field.number == 1)
            same = crn__pb_left(&field.content) == strlen(name) &&
                   memcmp(field.content.at, name, strlen(name)) == 0;
        if (field.number == 3) {
            *data = field.content;
            found = true;
        }
    }
    return same && found && !slices.broken && !slice.broken;
}

/* Reads `bytes` bytes of one part into data. */
static crn_status read_part(const state *s, const crn_checkpoint_entry *entry,
                            const crn__element *element, const crn__tensor_slice *slice, void *data,
                            size_t bytes, crn_error *error)
{
    crn__table_cursor cursor = {.table = &s->table};
    crn__pb_writer key = {.data = NULL};
    numbers out = {.data = data, .size = bytes, .element = element->size};
    crn__pb_reader proto;
    bool found = false;
    crn__tensor_slice_key(&key, entry->name, slice);
    crn_status status = key.failed ? crn__fail_memory(error)
                                   : crn__table_find(&cursor, key.data, key.size, &found, error);
    if (status == CRN_OK && !found)
        status = fail_tensor(s, entry->name, "a part of it is missing", error);
    if (status == CRN_OK &&
        (!find_data(crn__pb_read(cursor.value, cursor.value_size), entry->name, &proto) ||
         !unpack(proto, element, &out)))
        status = fail_tensor(s, entry->name, "its numbers are not those of its shape", error);
    free(key.data);
    crn__table_cursor_end(&cursor);
    return status;
}

static crn_status read_parts(const state *s, const crn_checkpoint_entry *entry,
                             const crn__tensor_slice *slices, size_t count, void *data,
                             crn_error *error)
{
    const crn__element *element = crn__element_find(entry->dtype, strlen(entry->dtype));
    if (count == 1)
        return read_part(s, entry, element, slices, data, (size_t)entry->bytes, error);
    for (size_t i = 0; i < count; i++) {
        crn_checkpoint_entry part;
        uint64_t bytes;
        crn__tensor_slice_shape(&slices[i], entry, &part);
        if (!crn__checkpoint_bytes(&part, element->size, &bytes))
            return fail_tensor(s, entry->name, "a part is too large", error);
        void *values = crn__alloc((size_t)bytes, 1);
        if (values == NULL)
            return crn__fail_memory(error);
        crn_status status = read_part(s, entry, element, &slices[i], values, (size_t)bytes, error);
        if (status == CRN_OK)
            crn__tensor_slice_copy(&slices[i], entry, element->size, values, data);
        free(values);
        CRN__TRY(status);
    }
    return CRN_OK;
}

static crn_status read_tensor(const crn_checkpoint *checkpoint, size_t index, void *data,
                              crn_error *error)
{
    const state *s = checkpoint->state;
    const tensor *t = &s->tensors[index];
    crn__tensor_slice *slices;
    size_t count;
    CRN__TRY(parse_slices(s, t->message, &t->entry, &slices, &count, error));
    crn_status status = read_parts(s, &t->entry, slices, count, data, error);
    free(slices);
    return status;
}

/* ---- the whole ---- */

static void end(void *pointer)
{
    state *s = pointer;
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++)
        free((char *)s->tensors[i].entry.name);
    free(s->tensors);
    free(s->meta);
    crn__table_end(&s->table);
    free(s);
}

static const crn__checkpoint_kind kind = {"TensorFlow V1", read_tensor, end};

crn_status crn__tensorflow_v1_open(crn__table *table, crn__table_cursor *cursor,
                                   crn_checkpoint *checkpoint, crn_error *error)
{
    state *s = crn__alloc(1, sizeof *s);
    if (s == NULL)
        return crn__fail_memory(error);
    checkpoint->kind = &kind;
    checkpoint->state = s;
    s->table = *table;
    *table = (crn__table){.file.fd = -1};

    size_t size = cursor->value_size;
    s->meta = crn__alloc(size, 1);
    if (s->meta == NULL)
        return crn__fail_memory(error);
    memcpy(s->meta, cursor->value, size);
    crn__table_cursor_end(cursor); /* its block may be much larger */
    crn__pb_reader reader = crn__pb_read(s->meta, size);
    crn__pb_field field;
    while (crn__pb_next(&reader, &field))
        if (field.number == 1 && field.wire == CRN__PB_BYTES)
            CRN__TRY(parse_tensors(s, field.content, error));
    if (reader.broken)
        return crn__fail(error, CRN_FORMAT, "%s: its list of tensors is none", s->table.file.path);
    return list_entries(s, checkpoint, error);
}
