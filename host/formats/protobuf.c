#include "formats/protobuf.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

/* ---- reading ---- */

static bool broken(crn__pb_reader *reader)
{
    reader->at = reader->end;
    reader->broken = true;
    return false;
}

bool crn__pb_varint(crn__pb_reader *reader, uint64_t *value)
{
    if (reader->at == reader->end)
        return false;
    *value = 0;
    for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
        unsigned char byte = *reader->at++;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return shift < 63 || byte < 2 ? true : broken(reader);
    }
    return broken(reader);
}

static bool read_fixed(crn__pb_reader *reader, uint64_t *value, size_t size)
{
    if (crn__pb_left(reader) < size)
        return broken(reader);
    *value = 0;
    memcpy(value, reader->at, size); /* little-endian, as input_file.h demands */
    reader->at += size;
    return true;
}

bool crn__pb_next(crn__pb_reader *reader, crn__pb_field *field)
{
    uint64_t key;
    if (!crn__pb_varint(reader, &key))
        return false;
    if (key >> 3 == 0 || key >> 3 > 0x1fffffff)
        return broken(reader);
    *field = (crn__pb_field){.number = (uint32_t)(key >> 3), .wire = (crn__pb_wire)(key & 7)};
    switch (key & 7) {
    case CRN__PB_VARINT:
        return crn__pb_varint(reader, &field->value) || broken(reader);
    case CRN__PB_FIXED64:
        return read_fixed(reader, &field->value, 8);
    case CRN__PB_FIXED32:
        return read_fixed(reader, &field->value, 4);
    case CRN__PB_BYTES:
        if (!crn__pb_varint(reader, &field->value) || field->value > crn__pb_left(reader))
            return broken(reader);
        field->content = crn__pb_read(reader->at, (size_t)field->value);
        reader->at += field->value;
        return true;
    default: /* groups, which nothing that is read here has */
        return broken(reader);
    }
}

/* ---- writing ---- */

void crn__pb_write_raw(crn__pb_writer *writer, const void *data, size_t size)
{
    size_t needed;
    if (writer->failed || size == 0)
        return;
    if (!crn__size_add(writer->size, size, &needed)) {
        writer->failed = true;
        return;
    }
    if (needed > writer->capacity) {
        size_t capacity = writer->capacity < 128 ? 256 : writer->capacity;
        while (capacity < needed && crn__size_mul(capacity, 2, &capacity))
            ;
        unsigned char *grown = capacity >= needed ? realloc(writer->data, capacity) : NULL;
        if (grown == NULL) {
            writer->failed = true;
            return;
        }
        writer->data = grown;
        writer->capacity = capacity;
    }
    memcpy(writer->data + writer->size, data, size);
    writer->size = needed;
}

void crn__pb_write_varint(crn__pb_writer *writer, uint64_t value)
{
    unsigned char bytes[10];
    size_t size = 0;
    for (; value > 127; value >>= 7)
        bytes[size++] = (unsigned char)(value | 128);
    bytes[size++] = (unsigned char)value;
    crn__pb_write_raw(writer, bytes, size);
}

static void write_key(crn__pb_writer *writer, uint32_t number, crn__pb_wire wire)
{
    crn__pb_write_varint(writer, (uint64_t)number << 3 | wire);
}

void crn__pb_write_uint(crn__pb_writer *writer, uint32_t number, uint64_t value)
{
    write_key(writer, number, CRN__PB_VARINT);
    crn__pb_write_varint(writer, value);
}

void crn__pb_write_fixed32(crn__pb_writer *writer, uint32_t number, uint32_t value)
{
    write_key(writer, number, CRN__PB_FIXED32);
    crn__pb_write_raw(writer, &value, sizeof value);
}

void crn__pb_write_fixed64(crn__pb_writer *writer, uint32_t number, uint64_t value)
{
    write_key(writer, number, CRN__PB_FIXED64);
    crn__pb_write_raw(writer, &value, sizeof value);
}

void crn__pb_write_float(crn__pb_writer *writer, uint32_t number, float value)
{
    write_key(writer, number, CRN__PB_FIXED32);
    crn__pb_write_raw(writer, &value, sizeof value);
}

void crn__pb_write_double(crn__pb_writer *writer, uint32_t number, double value)
{
    write_key(writer, number, CRN__PB_FIXED64);
    crn__pb_write_raw(writer, &value, sizeof value);
}

void crn__pb_write_bytes(crn__pb_writer *writer, uint32_t number, const void *data, size_t size)
{
    write_key(writer, number, CRN__PB_BYTES);
    crn__pb_write_varint(writer, size);
    crn__pb_write_raw(writer, data, size);
}

void crn__pb_write_string(crn__pb_writer *writer, uint32_t number, const char *text)
{
    crn__pb_write_bytes(writer, number, text, strlen(text));
}
