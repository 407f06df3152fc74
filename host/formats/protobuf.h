/*
 * The wire format of Protocol Buffers, for the few messages in TensorFlow's files: a message is a
 * sequence of fields, each a varint `number << 3 | wire type` and a value of that type. Unknown
 * fields are skipped by whoever reads.
 */
#ifndef CRN_FORMATS_PROTOBUF_H
#define CRN_FORMATS_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum crn__pb_wire {
    CRN__PB_VARINT = 0,
    CRN__PB_FIXED64 = 1,
    CRN__PB_BYTES = 2, /* strings, messages, packed numbers */
    CRN__PB_FIXED32 = 5
} crn__pb_wire;

/* ---- reading ---- */

/* What is left of a message, or of any run of varints. */
typedef struct crn__pb_reader {
    const unsigned char *at, *end;
    bool broken; /* what was read is no message: set once, with nothing left to read */
} crn__pb_reader;

typedef struct crn__pb_field {
    uint32_t number;
    crn__pb_wire wire;
    uint64_t value;         /* varints and fixed numbers */
    crn__pb_reader content; /* of CRN__PB_BYTES */
} crn__pb_field;

static inline crn__pb_reader crn__pb_read(const void *data, size_t size)
{
    const unsigned char *at = data;
    return (crn__pb_reader){at, at + size, false};
}

static inline size_t crn__pb_left(const crn__pb_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

/* false at the end, with `broken` set when that is not where a message ends. */
bool crn__pb_varint(crn__pb_reader *reader, uint64_t *value);
bool crn__pb_next(crn__pb_reader *reader, crn__pb_field *field);

/* ---- writing ---- */

/* Grows as it is written; `failed` once memory is out, after which writes do nothing. */
typedef struct crn__pb_writer {
    unsigned char *data; /* ended by free() */
    size_t size, capacity;
    bool failed;
} crn__pb_writer;

void crn__pb_write_raw(crn__pb_writer *writer, const void *data, size_t size);
void crn__pb_write_varint(crn__pb_writer *writer, uint64_t value); /* alone, without a number */
/* Fields. */
void crn__pb_write_uint(crn__pb_writer *writer, uint32_t number, uint64_t value);
void crn__pb_write_fixed32(crn__pb_writer *writer, uint32_t number, uint32_t value);
void crn__pb_write_fixed64(crn__pb_writer *writer, uint32_t number, uint64_t value);
void crn__pb_write_float(crn__pb_writer *writer, uint32_t number, float value);
void crn__pb_write_double(crn__pb_writer *writer, uint32_t number, double value);
void crn__pb_write_bytes(crn__pb_writer *writer, uint32_t number, const void *data, size_t size);
void crn__pb_write_string(crn__pb_writer *writer, uint32_t number, const char *text);

#endif
