#include "formats/safetensors_header.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/element.h"
#include "formats/json_text.h"

/*
 * The header is read with a cursor, not into a tree of values: a tree takes up to 80 bytes of
 * memory for each byte of a hostile text.
 */
typedef struct cursor {
    const char *path;
    const char *start, *at, *end;
    crn_error *error;
} cursor;

typedef struct slice {
    const char *text;
    size_t length;
} slice;

/* Far past any file in use: a hostile header of 100 MB must not cost many times its size. */
#define MAX_PAIRS ((size_t)1 << 16)

static crn_status fail_at(const cursor *c, const char *what)
{
    return crn__fail(c->error, CRN_FORMAT, "%s: header, byte %zu: %s", c->path,
                     (size_t)(c->at - c->start) + sizeof(uint64_t), what);
}

/* ---- JSON ---- */

static void skip_space(cursor *c)
{
    while (c->at < c->end && memchr(" \t\r\n", *c->at, 4) != NULL)
        c->at++;
}

static bool accept(cursor *c, char wanted)
{
    skip_space(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static crn_status expect(cursor *c, char wanted)
{
    char what[] = "expected 'x'";
    what[sizeof what - 3] = wanted;
    return accept(c, wanted) ? CRN_OK : fail_at(c, what);
}

/* *more: whether an item follows; else `close` was read. */
static crn_status next_item(cursor *c, size_t index, char close, bool *more)
{
    *more = !accept(c, close);
    return *more && index > 0 ? expect(c, ',') : CRN_OK;
}

/* A string as it is written, with its quotes. */
static crn_status read_quoted(cursor *c, slice *out)
{
    CRN__TRY(expect(c, '"'));
    out->text = c->at - 1;
    while (c->at < c->end && *c->at != '"')
        c->at += *c->at == '\\' && c->end - c->at > 1 ? 2 : 1;
    CRN__TRY(expect(c, '"'));
    out->length = (size_t)(c->at - out->text);
    return CRN_OK;
}

static bool slice_is(slice quoted, const char *word)
{
    return quoted.length == strlen(word) + 2 &&
           memcmp(quoted.text + 1, word, quoted.length - 2) == 0;
}

static crn_status decode(const cursor *c, slice quoted, char **out)
{
    const char *what;
    crn_status status = crn__json_decode(quoted.text + 1, quoted.length - 2, out, &what);
    return status == CRN_OK          ? CRN_OK
           : status == CRN_NO_MEMORY ? crn__fail_memory(c->error)
                                     : fail_at(c, what);
}

static crn_status read_string(cursor *c, char **out)
{
    slice quoted;
    CRN__TRY(read_quoted(c, &quoted));
    return decode(c, quoted, out);
}

static crn_status read_number(cursor *c, uint64_t *out)
{
    skip_space(c);
    const char *first = c->at;
    *out = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (__builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(*c->at - '0'), out) || *out > INT64_MAX)
            return fail_at(c, "number is too large");
    if (c->at == first || (*first == '0' && c->at - first > 1))
        return fail_at(c, "expected a whole number, not negative");
    return CRN_OK;
}

static crn_status read_numbers(cursor *c, uint64_t *values, size_t capacity, size_t *count)
{
    CRN__TRY(expect(c, '['));
    for (*count = 0;; ++*count) {
        bool more;
        CRN__TRY(next_item(c, *count, ']', &more));
        if (!more)
            return CRN_OK;
        if (*count == capacity)
            return fail_at(c, "too many numbers");
        CRN__TRY(read_number(c, &values[*count]));
    }
}

/* ---- members ---- */

static crn_status read_dtype(cursor *c, crn_checkpoint_entry *tensor, uint64_t *size)
{
    slice quoted;
    CRN__TRY(read_quoted(c, &quoted));
    const crn__element *element = crn__element_find(quoted.text + 1, quoted.length - 2);
    if (element == NULL || !element->safetensors)
        return fail_at(c, "unknown dtype");
    tensor->dtype = element->name;
    *size = element->size;
    return CRN_OK;
}

static crn_status read_shape(cursor *c, crn_checkpoint_entry *tensor)
{
    uint64_t dims[CRN__MAX_DIMS];
    size_t rank;
    CRN__TRY(read_numbers(c, dims, CRN__MAX_DIMS, &rank));
    tensor->rank = (int32_t)rank;
    for (size_t i = 0; i < rank; i++)
        tensor->dims[i] = (int64_t)dims[i];
    return CRN_OK;
}

static crn_status read_offsets(cursor *c, crn__safetensors_entry *entry)
{
    uint64_t offsets[2];
    size_t count;
    CRN__TRY(read_numbers(c, offsets, 2, &count));
    if (count != 2)
        return fail_at(c, "data_offsets are two numbers");
    entry->begin = offsets[0];
    entry->end = offsets[1];
    return CRN_OK;
}

static crn_status check_entry(const cursor *c, crn__safetensors_entry *entry, uint64_t size)
{
    crn_checkpoint_entry *tensor = &entry->tensor;
    if (!crn__checkpoint_bytes(tensor, size, &tensor->bytes))
        return crn__fail(c->error, CRN_FORMAT, "%s: tensor \"%s\": its shape is too large", c->path,
                         tensor->name);
    if (entry->end < entry->begin || entry->end - entry->begin != tensor->bytes)
        return crn__fail(c->error, CRN_FORMAT,
                         "%s: tensor \"%s\": data_offsets [%" PRIu64 ",%" PRIu64
                         "] do not hold the %" PRIu64 " bytes of its shape",
                         c->path, tensor->name, entry->begin, entry->end, tensor->bytes);
    return CRN_OK;
}

static crn_status read_entry(cursor *c, crn__safetensors_entry *entry)
{
    enum { DTYPE, SHAPE, OFFSETS, N_MEMBERS };
    static const char *const members[N_MEMBERS] = {"dtype", "shape", "data_offsets"};
    bool seen[N_MEMBERS] = {false};
    uint64_t size = 0;
    CRN__TRY(expect(c, '{'));
    for (size_t i = 0;; i++) {
        bool more;
        CRN__TRY(next_item(c, i, '}', &more));
        if (!more)
            break;
        slice key;
        CRN__TRY(read_quoted(c, &key));
        int member = 0;
        while (member < N_MEMBERS && !slice_is(key, members[member]))
            member++;
        if (member == N_MEMBERS || seen[member])
            return fail_at(c, "a tensor has dtype, shape and data_offsets once each");
        seen[member] = true;
        CRN__TRY(expect(c, ':'));
        CRN__TRY(member == DTYPE   ? read_dtype(c, &entry->tensor, &size)
                 : member == SHAPE ? read_shape(c, &entry->tensor)
                                   : read_offsets(c, entry));
    }
    if (!seen[DTYPE] || !seen[SHAPE] || !seen[OFFSETS])
        return fail_at(c, "a tensor has dtype, shape and data_offsets once each");
    return check_entry(c, entry, size);
}

static crn_status read_metadata(cursor *c, crn__safetensors_header *header)
{
    CRN__TRY(expect(c, '{'));
    for (size_t i = 0;; i++) {
        bool more;
        CRN__TRY(next_item(c, i, '}', &more));
        if (!more)
            return CRN_OK;
        if (header->n_pairs == MAX_PAIRS)
            return fail_at(c, "too many metadata");
        if (!crn__grow((void **)&header->pairs, header->n_pairs, &header->pairs_capacity,
                       sizeof *header->pairs))
            return crn__fail_memory(c->error);
        crn__checkpoint_pair *pair = &header->pairs[header->n_pairs++];
        CRN__TRY(read_string(c, &pair->key));
        CRN__TRY(expect(c, ':'));
        CRN__TRY(read_string(c, &pair->value));
    }
}

static crn_status read_members(cursor *c, crn__safetensors_header *header)
{
    bool more, has_metadata = false;
    if (c->at == c->end || *c->at != '{')
        return fail_at(c, "expected '{'");
    c->at++;
    for (size_t i = 0;; i++) {
        CRN__TRY(next_item(c, i, '}', &more));
        if (!more)
            break;
        slice quoted;
        CRN__TRY(read_quoted(c, &quoted));
        if (slice_is(quoted, "__metadata__")) {
            if (has_metadata)
                return fail_at(c, "a second __metadata__");
            has_metadata = true;
            CRN__TRY(expect(c, ':'));
            CRN__TRY(read_metadata(c, header));
            continue;
        }
        if (header->n_entries == CRN__MAX_TENSORS)
            return fail_at(c, "too many tensors");
        if (!crn__grow((void **)&header->entries, header->n_entries, &header->entries_capacity,
                       sizeof *header->entries))
            return crn__fail_memory(c->error);
        crn__safetensors_entry *entry = &header->entries[header->n_entries++];
        char *name;
        CRN__TRY(decode(c, quoted, &name));
        entry->tensor.name = name;
        CRN__TRY(expect(c, ':'));
        CRN__TRY(read_entry(c, entry));
    }
    skip_space(c);
    return c->at == c->end ? CRN_OK : fail_at(c, "text behind the end");
}

/* ---- the whole ---- */

static int compare_pairs(const void *a, const void *b)
{
    return strcmp(((const crn__checkpoint_pair *)a)->key, ((const crn__checkpoint_pair *)b)->key);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const crn__safetensors_entry *)a)->tensor.name,
                  ((const crn__safetensors_entry *)b)->tensor.name);
}

static int compare_offsets(const void *a, const void *b)
{
    const crn__safetensors_entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* The format wants every byte of data to belong to exactly one tensor. */
static crn_status check_layout(const cursor *c, crn__safetensors_header *header,
                               uint64_t data_bytes)
{
    uint64_t at = 0;
    if (header->n_entries > 0)
        qsort(header->entries, header->n_entries, sizeof *header->entries, compare_offsets);
    for (size_t i = 0; i < header->n_entries; i++) {
        crn__safetensors_entry *entry = &header->entries[i];
        entry->order = i;
        if (entry->begin != at)
            return crn__fail(
                c->error, CRN_FORMAT, "%s: tensor \"%s\": its data %s", c->path, entry->tensor.name,
                entry->begin < at ? "overlaps another tensor's" : "begins behind a gap");
        at = entry->end;
    }
    if (at != data_bytes)
        return crn__fail(c->error, CRN_FORMAT,
                         "%s: %" PRIu64 " bytes of data where the header describes %" PRIu64,
                         c->path, data_bytes, at);
    return CRN_OK;
}

static crn_status check_names(const cursor *c, crn__safetensors_header *header)
{
    if (header->n_entries > 0)
        qsort(header->entries, header->n_entries, sizeof *header->entries, compare_names);
    if (header->n_pairs > 0)
        qsort(header->pairs, header->n_pairs, sizeof *header->pairs, compare_pairs);
    for (size_t i = 1; i < header->n_entries; i++)
        if (compare_names(&header->entries[i - 1], &header->entries[i]) == 0)
            return crn__fail(c->error, CRN_FORMAT, "%s: tensor \"%s\" is there twice", c->path,
                             header->entries[i].tensor.name);
    for (size_t i = 1; i < header->n_pairs; i++)
        if (compare_pairs(&header->pairs[i - 1], &header->pairs[i]) == 0)
            return crn__fail(c->error, CRN_FORMAT, "%s: metadata \"%s\" is there twice", c->path,
                             header->pairs[i].key);
    return CRN_OK;
}

crn_status crn__safetensors_header_parse(const char *path, const char *text, size_t length,
                                         uint64_t data_bytes, crn__safetensors_header *header,
                                         crn_error *error)
{
    *header = (crn__safetensors_header){0};
    cursor c = {path, text, text, text + length, error};
    CRN__TRY(read_members(&c, header));
    CRN__TRY(check_layout(&c, header, data_bytes));
    return check_names(&c, header);
}

void crn__safetensors_header_end(crn__safetensors_header *header)
{
    for (size_t i = 0; i < header->n_entries; i++)
        free((char *)header->entries[i].tensor.name);
    for (size_t i = 0; i < header->n_pairs; i++) {
        free(header->pairs[i].key);
        free(header->pairs[i].value);
    }
    free(header->entries);
    free(header->pairs);
    *header = (crn__safetensors_header){0};
}

uint64_t crn__safetensors_header_checksum(char *text, size_t length)
{
    char *digits = text + strlen(CRN__SAFETENSORS_PREFIX);
    char kept[CRN__SAFETENSORS_DIGITS];
    memcpy(kept, digits, sizeof kept);
    memset(digits, '0', sizeof kept);
    uint64_t checksum = XXH3_64bits(text, length);
    memcpy(digits, kept, sizeof kept);
    return checksum;
}
