/*
 * Keys of parts, in TensorFlow's "ordered code" (tensorflow/core/lib/strings/ordered_code.cc):
 *
 *     number 0; string name; number rank; for each dimension: signed start, signed length
 *
 * number: a byte that counts the bytes of its value, then these, the highest first. string: 00
 * becomes 00 ff, ff becomes ff 00, and 00 01 ends it. signed: as many bytes as 7 bits each need,
 * the highest first, with as many leading bits inverted as there are bytes.
 */
#include "formats/tensor_slice.h"

#include <string.h>

#include "core/error.h"

/* ---- reading ---- */

/* message Dim { int64 size = 1; string name = 2; } */
static bool parse_dim(crn__pb_reader reader, int64_t *size)
{
    crn__pb_field field;
    *size = 0;
    while (crn__pb_next(&reader, &field))
        if (field.number == 1 && field.wire == CRN__PB_VARINT)
            *size = (int64_t)field.value;
    return !reader.broken && *size >= 0;
}

/* message TensorShapeProto { repeated Dim dim = 2; bool unknown_rank = 3; } */
crn_status crn__tensor_shape_parse(crn__pb_reader reader, const char *what,
                                   crn_checkpoint_entry *entry, crn_error *error)
{
    crn__pb_field field;
    bool good = true;
    entry->rank = 0;
    while (good && crn__pb_next(&reader, &field)) {
        if (field.number == 2 && field.wire == CRN__PB_BYTES) {
            if (entry->rank == CRN__MAX_DIMS)
                return crn__fail(error, CRN_UNSUPPORTED, "%s has more than %d dimensions", what,
                                 CRN__MAX_DIMS);
            good = parse_dim(field.content, &entry->dims[entry->rank++]);
        } else if (field.number == 3) {
            good = field.value == 0;
        }
    }
    if (!good || reader.broken)
        return crn__fail(error, CRN_FORMAT, "%s: its shape is none", what);
    return CRN_OK;
}

/* message Extent { int64 start = 1; int64 length = 2; } */
static bool parse_extent(crn__pb_reader reader, int64_t size, int64_t *start, int64_t *length)
{
    crn__pb_field field;
    *start = 0;
    *length = -1;
    while (crn__pb_next(&reader, &field)) {
        if (field.wire == CRN__PB_VARINT && field.number == 1)
            *start = (int64_t)field.value;
        if (field.wire == CRN__PB_VARINT && field.number == 2)
            *length = (int64_t)field.value;
    }
    if (reader.broken || *start < 0)
        return false;
    return *length == -1 ? *start == 0 : *length >= 0 && *start <= size && *length <= size - *start;
}

/* message TensorSliceProto { repeated Extent extent = 1; } */
bool crn__tensor_slice_parse(crn__pb_reader reader, const crn_checkpoint_entry *entry,
                             crn__tensor_slice *slice)
{
    crn__pb_field field;
    slice->rank = 0;
    while (crn__pb_next(&reader, &field)) {
        if (field.number != 1 || field.wire != CRN__PB_BYTES)
            continue;
        int i = slice->rank++;
        if (i >= entry->rank ||
            !parse_extent(field.content, entry->dims[i], &slice->start[i], &slice->length[i]))
            return false;
    }
    return !reader.broken && slice->rank == entry->rank;
}

/* ---- boxes ---- */

static int64_t length_of(const crn__tensor_slice *slice, const crn_checkpoint_entry *entry, int i)
{
    return slice->length[i] == -1 ? entry->dims[i] : slice->length[i];
}

void crn__tensor_slice_shape(const crn__tensor_slice *slice, const crn_checkpoint_entry *entry,
                             crn_checkpoint_entry *part)
{
    part->rank = slice->rank;
    for (int i = 0; i < slice->rank; i++)
        part->dims[i] = length_of(slice, entry, i);
}

static bool overlap(const crn__tensor_slice *a, const crn__tensor_slice *b,
                    const crn_checkpoint_entry *entry)
{
    for (int i = 0; i < entry->rank; i++)
        if (a->start[i] + length_of(a, entry, i) <= b->start[i] ||
            b->start[i] + length_of(b, entry, i) <= a->start[i])
            return false;
    return true;
}

bool crn__tensor_slices_cover(const crn__tensor_slice *slices, size_t count,
                              const crn_checkpoint_entry *entry)
{
    uint64_t all, sum = 0;
    if (!crn__checkpoint_bytes(entry, 1, &all))
        return false;
    for (size_t i = 0; i < count; i++) {
        crn_checkpoint_entry part;
        uint64_t elements;
        crn__tensor_slice_shape(&slices[i], entry, &part);
        if (!crn__checkpoint_bytes(&part, 1, &elements) || elements > all - sum)
            return false;
        sum += elements;
        for (size_t k = 0; k < i && elements > 0; k++)
            if (overlap(&slices[i], &slices[k], entry))
                return false;
    }
    return sum == all;
}

void crn__tensor_slice_copy(const crn__tensor_slice *slice, const crn_checkpoint_entry *entry,
                            size_t size, const void *part, void *whole)
{
    /* Dimensions behind the last one that is cut are copied as one run. */
    int cut = entry->rank;
    size_t run = size, rows = 1;
    while (cut > 0 && length_of(slice, entry, cut - 1) == entry->dims[cut - 1])
        run *= (size_t)entry->dims[--cut];
    size_t step = run; /* bytes from one index of dimension cut - 1 to the next */
    if (cut > 0)
        run *= (size_t)length_of(slice, entry, cut - 1);
    for (int i = 0; i < cut - 1; i++)
        rows *= (size_t)length_of(slice, entry, i);
    for (size_t row = 0; row < rows && run > 0; row++) {
        size_t rest = row, place = 0, stride = step;
        for (int i = cut - 1; i >= 0; i--) {
            size_t index = (size_t)slice->start[i];
            if (i < cut - 1) {
                index += rest % (size_t)length_of(slice, entry, i);
                rest /= (size_t)length_of(slice, entry, i);
            }
            place += index * stride;
            stride *= (size_t)entry->dims[i];
        }
        memcpy((char *)whole + place, (const char *)part + row * run, run);
    }
}

/* ---- keys ---- */

static void write_number(crn__pb_writer *key, uint64_t value)
{
    unsigned char bytes[9];
    size_t size = 0;
    for (; value > 0; value >>= 8)
        bytes[8 - size++] = (unsigned char)value;
    bytes[8 - size] = (unsigned char)size;
    crn__pb_write_raw(key, bytes + 8 - size, size + 1);
}

static void write_string(crn__pb_writer *key, const char *text)
{
    for (; *text != '\0'; text++) {
        crn__pb_write_raw(key, text, 1);
        if (*text == '\xff')
            crn__pb_write_raw(key, "\0", 1);
    }
    crn__pb_write_raw(key, "\0\1", 2);
}

static void write_signed(crn__pb_writer *key, int64_t value)
{
    /* The sign, 80 bits wide, and a value that needs `size` times 7 bits with it. */
    unsigned char bytes[10];
    uint64_t magnitude = (uint64_t)(value < 0 ? ~value : value);
    size_t size = 1;
    memset(bytes, value < 0 ? 0xff : 0, 2);
    for (int i = 0; i < 8; i++)
        bytes[2 + i] = (unsigned char)((uint64_t)value >> (56 - 8 * i));
    for (magnitude >>= 6; magnitude > 0; magnitude >>= 7)
        size++;
    unsigned char *first = bytes + sizeof bytes - size;
    for (size_t bit = 0; bit < size; bit++)
        first[bit / 8] ^= (unsigned char)(0x80 >> bit % 8);
    crn__pb_write_raw(key, first, size);
}

void crn__tensor_slice_key(crn__pb_writer *key, const char *name, const crn__tensor_slice *slice)
{
    write_number(key, 0);
    write_string(key, name);
    write_number(key, (uint64_t)slice->rank);
    for (int i = 0; i < slice->rank; i++) {
        write_signed(key, slice->start[i]);
        write_signed(key, slice->length[i]);
    }
}
