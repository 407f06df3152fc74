/*
 *     message Example { Features features = 1; }
 *     message Features { map<string, Feature> feature = 1; }    an entry: key = 1, value = 2
 *     message Feature { BytesList | FloatList | Int64List = 1 | 2 | 3; }
 *     message BytesList { repeated bytes value = 1; }
 *     message Int64List { repeated int64 value = 1 [packed = true]; }
 */
#include "data/example.h"

#include <inttypes.h>
#include <string.h>

#include "core/error.h"
#include "formats/protobuf.h"

#define MAX_FIELD_HEAD 20 /* two varints of at most ten bytes */

crn_status crn__peek_at(crn__peek *peek, uint64_t offset, size_t bytes, const unsigned char **out,
                        crn_error *error)
{
    if (offset < peek->begin || offset + bytes > peek->begin + peek->held) {
        uint64_t left = offset < peek->file->size ? peek->file->size - offset : 0;
        peek->begin = offset;
        peek->held = left < sizeof peek->bytes ? (size_t)left : sizeof peek->bytes;
        if (peek->held < bytes)
            peek->held = bytes; /* more than there is: reading says so */
        crn_status status =
            crn__input_file_read(peek->file, offset, peek->bytes, peek->held, error);
        if (status != CRN_OK) {
            peek->held = 0;
            return status;
        }
    }
    *out = peek->bytes + (offset - peek->begin);
    return CRN_OK;
}

/* What is left of a message in the file. */
typedef struct range {
    uint64_t at, end;
} range;

typedef struct field {
    uint64_t number, wire, value; /* `value` of varints */
    range content;                /* of CRN__PB_BYTES */
} field;

static crn_status fail(const crn__peek *peek, uint64_t at, crn_error *error)
{
    return crn__fail(error, CRN_FORMAT, "%s: byte %" PRIu64 " is in no tf.Example",
                     peek->file->path, at);
}

/* As crn__pb_next, without having the field's content in memory. */
static crn_status next_field(crn__peek *peek, range *r, field *f, crn_error *error)
{
    const unsigned char *head;
    size_t left = r->end - r->at < MAX_FIELD_HEAD ? (size_t)(r->end - r->at) : MAX_FIELD_HEAD;
    CRN__TRY(crn__peek_at(peek, r->at, left, &head, error));
    crn__pb_reader reader = crn__pb_read(head, left);
    uint64_t key, skip;
    *f = (field){0};
    if (!crn__pb_varint(&reader, &key))
        return fail(peek, r->at, error);
    f->number = key >> 3;
    f->wire = key & 7;
    if (f->wire == CRN__PB_VARINT || f->wire == CRN__PB_BYTES) {
        if (!crn__pb_varint(&reader, &f->value))
            return fail(peek, r->at, error);
        skip = f->wire == CRN__PB_BYTES ? f->value : 0;
    } else if (f->wire == CRN__PB_FIXED64 || f->wire == CRN__PB_FIXED32) {
        skip = f->wire == CRN__PB_FIXED64 ? 8 : 4;
    } else {
        return fail(peek, r->at, error);
    }
    uint64_t content = r->at + (left - crn__pb_left(&reader));
    if (skip > r->end - content)
        return fail(peek, r->at, error);
    f->content = (range){content, content + skip};
    r->at = content + skip;
    return CRN_OK;
}

static bool is_message(const field *f, uint64_t number)
{
    return f->number == number && f->wire == CRN__PB_BYTES;
}

/* ---- the two features ---- */

typedef struct finding {
    crn__example *out;
    size_t pictures, labels;
} finding;

static crn_status read_bytes_list(crn__peek *peek, range list, finding *found, crn_error *error)
{
    field f;
    while (list.at < list.end) {
        CRN__TRY(next_field(peek, &list, &f, error));
        if (!is_message(&f, 1))
            continue;
        found->out->encoded_at = f.content.at;
        found->out->encoded_size = f.value;
        found->pictures++;
    }
    return CRN_OK;
}

/* Packed numbers are a field's content, others fields of their own. */
static crn_status read_int64_list(crn__peek *peek, range list, finding *found, crn_error *error)
{
    field f;
    while (list.at < list.end) {
        CRN__TRY(next_field(peek, &list, &f, error));
        if (f.number != 1 || (f.wire != CRN__PB_VARINT && f.wire != CRN__PB_BYTES))
            continue;
        const unsigned char *bytes;
        uint64_t value = f.value;
        if (f.wire == CRN__PB_BYTES) {
            if (f.value > MAX_FIELD_HEAD || f.value == 0) { /* more than one label, or none */
                found->labels += f.value == 0 ? 0 : 2;
                continue;
            }
            CRN__TRY(crn__peek_at(peek, f.content.at, (size_t)f.value, &bytes, error));
            crn__pb_reader reader = crn__pb_read(bytes, (size_t)f.value);
            if (!crn__pb_varint(&reader, &value))
                return fail(peek, f.content.at, error);
            found->labels += crn__pb_left(&reader) > 0;
        }
        found->out->label = (int64_t)value;
        found->labels++;
    }
    return CRN_OK;
}

static crn_status read_feature(crn__peek *peek, bool picture, range feature, finding *found,
                               crn_error *error)
{
    field f;
    while (feature.at < feature.end) {
        CRN__TRY(next_field(peek, &feature, &f, error));
        if (picture && is_message(&f, 1))
            CRN__TRY(read_bytes_list(peek, f.content, found, error));
        if (!picture && is_message(&f, 3))
            CRN__TRY(read_int64_list(peek, f.content, found, error));
    }
    return CRN_OK;
}

static crn_status equals(crn__peek *peek, range text, const char *wanted, bool *equal,
                         crn_error *error)
{
    const unsigned char *bytes;
    *equal = text.end - text.at == strlen(wanted);
    if (!*equal)
        return CRN_OK;
    CRN__TRY(crn__peek_at(peek, text.at, strlen(wanted), &bytes, error));
    *equal = memcmp(bytes, wanted, strlen(wanted)) == 0;
    return CRN_OK;
}

static crn_status read_entry(crn__peek *peek, range entry, finding *found, crn_error *error)
{
    field f;
    range key = {0}, value = {0};
    bool picture, label;
    while (entry.at < entry.end) {
        CRN__TRY(next_field(peek, &entry, &f, error));
        if (is_message(&f, 1))
            key = f.content;
        else if (is_message(&f, 2))
            value = f.content;
    }
    CRN__TRY(equals(peek, key, "image/encoded", &picture, error));
    CRN__TRY(equals(peek, key, "image/class/label", &label, error));
    return picture || label ? read_feature(peek, picture, value, found, error) : CRN_OK;
}

crn_status crn__example_find(crn__peek *peek, uint64_t begin, uint64_t end, crn__example *out,
                             crn_error *error)
{
    range example = {begin, end};
    finding found = {.out = out};
    field features, entry;
    *out = (crn__example){0};
    while (example.at < example.end) {
        CRN__TRY(next_field(peek, &example, &features, error));
        while (is_message(&features, 1) && features.content.at < features.content.end) {
            CRN__TRY(next_field(peek, &features.content, &entry, error));
            if (is_message(&entry, 1))
                CRN__TRY(read_entry(peek, entry.content, &found, error));
        }
    }
    if (found.pictures != 1 || found.labels != 1)
        return crn__fail(error, CRN_FORMAT,
                         "%s: the record at byte %" PRIu64
                         " has %zu image/encoded and %zu image/class/label, not one of each",
                         peek->file->path, begin, found.pictures, found.labels);
    return CRN_OK;
}
