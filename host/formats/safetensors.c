/*
 * safetensors (huggingface/safetensors, format 0.x):
 *
 *     u64 little-endian   n, the header's length, at most 100,000,000
 *     n bytes             UTF-8 JSON that begins with '{' and may end in spaces:
 *                           {"__metadata__": {KEY: VALUE, …},      strings; may be missing
 *                            NAME: {"dtype": "F32", "shape": [3,4], "data_offsets": [0,48]}, …}
 *     the rest            the tensors' bytes, row-major, little-endian. data_offsets are the first
 *                         byte and the one behind the last, counted from here. No gaps, no
 *                         overlaps, nothing behind the last tensor.
 *
 * Files that clarinet writes begin with the metadata
 *     "clarinet.xxh3"    16 hexadecimal digits for the header (its bytes with these digits as
 *                        zeros), then 16 for each tensor's bytes, in the order of the data
 *     "clarinet.format"  "1"; its presence alone asks for the checksums, so that damage to the key
 *                        above is noticed too
 * The header ends in spaces so that the data begins at a multiple of 8. XXH3 is its 64-bit variant.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/safetensors_header.h"

typedef struct state {
    crn__input_file file;
    uint64_t data_start;
    crn__safetensors_header header;
    uint64_t *checksums; /* by entry's order; NULL in a file that has none */
} state;

static bool read_digits(const char *digits, uint64_t *value)
{
    static const char hex[] = "0123456789abcdef";
    *value = 0;
    for (int i = 0; i < CRN__SAFETENSORS_DIGITS; i++) {
        const char *digit = memchr(hex, digits[i], sizeof hex - 1);
        if (digit == NULL)
            return false;
        *value = *value << 4 | (uint64_t)(digit - hex);
    }
    return true;
}

static crn_status fail_checksum(const state *s, const char *what, const char *name,
                                crn_error *error)
{
    return crn__fail(error, CRN_FORMAT,
                     "%s: %s%s is damaged: its checksum differs (or a program changed the file and "
                     "kept its metadata " CRN__SAFETENSORS_CHECKSUM_KEY ")",
                     s->file.path, what, name);
}

/* Takes the checksums out of the metadata and checks the header's own. */
static crn_status read_checksums(const crn_checkpoint *checkpoint, char *text, size_t length,
                                 crn_error *error)
{
    static const size_t prefix = sizeof CRN__SAFETENSORS_PREFIX - 1;
    state *s = checkpoint->state;
    const char *digits = crn_checkpoint_metadata(checkpoint, CRN__SAFETENSORS_CHECKSUM_KEY);
    if (digits == NULL && crn_checkpoint_metadata(checkpoint, CRN__SAFETENSORS_FORMAT_KEY) == NULL)
        return CRN_OK;

    size_t n = s->header.n_entries;
    uint64_t expected;
    if (digits == NULL || strlen(digits) != (n + 1) * CRN__SAFETENSORS_DIGITS ||
        !read_digits(digits, &expected) || memcmp(text, CRN__SAFETENSORS_PREFIX, prefix) != 0 ||
        memcmp(text + prefix, digits, CRN__SAFETENSORS_DIGITS) != 0 ||
        crn__safetensors_header_checksum(text, length) != expected)
        return fail_checksum(s, "the header", "", error);

    s->checksums = crn__alloc(n, sizeof *s->checksums);
    if (s->checksums == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < n; i++)
        if (!read_digits(digits + (i + 1) * CRN__SAFETENSORS_DIGITS, &s->checksums[i]))
            return fail_checksum(s, "the header", "", error);
    return CRN_OK;
}

/* Gives the checkpoint what the header describes. */
static crn_status list_entries(crn_checkpoint *checkpoint, crn_error *error)
{
    const crn__safetensors_header *header = &((state *)checkpoint->state)->header;
    checkpoint->entries = crn__alloc(header->n_entries, sizeof *checkpoint->entries);
    if (checkpoint->entries == NULL)
        return crn__fail_memory(error);
    checkpoint->n_entries = header->n_entries;
    for (size_t i = 0; i < header->n_entries; i++)
        checkpoint->entries[i] = header->entries[i].tensor;
    checkpoint->pairs = header->pairs;
    checkpoint->n_pairs = header->n_pairs;
    return CRN_OK;
}

static crn_status read_tensor(const crn_checkpoint *checkpoint, size_t index, void *data,
                              crn_error *error)
{
    const state *s = checkpoint->state;
    const crn__safetensors_entry *entry = &s->header.entries[index];
    size_t bytes = (size_t)entry->tensor.bytes;
    CRN__TRY(crn__input_file_read(&s->file, s->data_start + entry->begin, data, bytes, error));
    if (s->checksums != NULL && XXH3_64bits(data, bytes) != s->checksums[entry->order])
        return fail_checksum(s, "tensor ", entry->tensor.name, error);
    return CRN_OK;
}

static void end(void *pointer)
{
    state *s = pointer;
    if (s == NULL)
        return;
    crn__input_file_close(&s->file);
    crn__safetensors_header_end(&s->header);
    free(s->checksums);
    free(s);
}

static const crn__checkpoint_kind kind = {"safetensors", read_tensor, end};

crn_status crn__safetensors_open(crn__input_file *file, crn_checkpoint *checkpoint,
                                 crn_error *error)
{
    state *s = crn__alloc(1, sizeof *s);
    if (s == NULL)
        return crn__fail_memory(error);
    checkpoint->kind = &kind;
    checkpoint->state = s;
    s->file = *file;
    *file = (crn__input_file){.fd = -1};

    uint64_t length;
    CRN__TRY(crn__input_file_read(&s->file, 0, &length, sizeof length, error));
    if (length > CRN__SAFETENSORS_MAX_HEADER || length > s->file.size - sizeof length)
        return crn__fail(error, CRN_FORMAT, "%s: changed while it was read", s->file.path);
    s->data_start = sizeof length + length;
    char *text = crn__alloc((size_t)length, 1);
    if (text == NULL)
        return crn__fail_memory(error);
    crn_status status = crn__input_file_read(&s->file, sizeof length, text, (size_t)length, error);
    if (status == CRN_OK)
        status = crn__safetensors_header_parse(s->file.path, text, (size_t)length,
                                               s->file.size - s->data_start, &s->header, error);
    if (status == CRN_OK)
        status = list_entries(checkpoint, error);
    if (status == CRN_OK)
        status = read_checksums(checkpoint, text, (size_t)length, error);
    free(text);
    return status;
}
