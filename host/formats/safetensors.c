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
#include "formats/input_file.h"
#include "formats/safetensors_header.h"

struct crn_checkpoint {
    crn__input_file file;
    uint64_t data_start;
    crn__safetensors_header header;
    uint64_t *checksums; /* by entry's order; NULL in a file that has none */
};

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

static crn_status fail_checksum(const crn_checkpoint *checkpoint, const char *what,
                                const char *name, crn_error *error)
{
    return crn__fail(error, CRN_FORMAT,
                     "%s: %s%s is damaged: its checksum differs (or a program changed the file and "
                     "kept its metadata " CRN__SAFETENSORS_CHECKSUM_KEY ")",
                     checkpoint->file.path, what, name);
}

/* Takes the checksums out of the metadata and checks the header's own. */
static crn_status read_checksums(crn_checkpoint *checkpoint, char *text, size_t length,
                                 crn_error *error)
{
    static const size_t prefix = sizeof CRN__SAFETENSORS_PREFIX - 1;
    const char *digits = crn_checkpoint_metadata(checkpoint, CRN__SAFETENSORS_CHECKSUM_KEY);
    if (digits == NULL && crn_checkpoint_metadata(checkpoint, CRN__SAFETENSORS_FORMAT_KEY) == NULL)
        return CRN_OK;

    size_t n = checkpoint->header.n_entries;
    uint64_t expected;
    if (digits == NULL || strlen(digits) != (n + 1) * CRN__SAFETENSORS_DIGITS ||
        !read_digits(digits, &expected) || memcmp(text, CRN__SAFETENSORS_PREFIX, prefix) != 0 ||
        memcmp(text + prefix, digits, CRN__SAFETENSORS_DIGITS) != 0 ||
        crn__safetensors_header_checksum(text, length) != expected)
        return fail_checksum(checkpoint, "the header", "", error);

    checkpoint->checksums = crn__alloc(n, sizeof *checkpoint->checksums);
    if (checkpoint->checksums == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < n; i++)
        if (!read_digits(digits + (i + 1) * CRN__SAFETENSORS_DIGITS, &checkpoint->checksums[i]))
            return fail_checksum(checkpoint, "the header", "", error);
    return CRN_OK;
}

static crn_status read_header(crn_checkpoint *checkpoint, crn_error *error)
{
    const crn__input_file *file = &checkpoint->file;
    uint64_t length;
    if (file->size < sizeof length)
        return crn__fail(error, CRN_FORMAT, "%s: not a safetensors file: only %" PRIu64 " bytes",
                         file->path, file->size);
    CRN__TRY(crn__input_file_read(file, 0, &length, sizeof length, error));
    if (length > CRN__SAFETENSORS_MAX_HEADER || length > file->size - sizeof length)
        return crn__fail(error, CRN_FORMAT,
                         "%s: not a safetensors file, or cut short: a header of %" PRIu64
                         " bytes in a file of %" PRIu64,
                         file->path, length, file->size);
    checkpoint->data_start = sizeof length + length;

    char *text = crn__alloc((size_t)length, 1);
    if (text == NULL)
        return crn__fail_memory(error);
    crn_status status = crn__input_file_read(file, sizeof length, text, (size_t)length, error);
    if (status == CRN_OK)
        status = crn__safetensors_header_parse(file->path, text, (size_t)length,
                                               file->size - checkpoint->data_start,
                                               &checkpoint->header, error);
    if (status == CRN_OK)
        status = read_checksums(checkpoint, text, (size_t)length, error);
    free(text);
    return status;
}

crn_status crn_checkpoint_open(const char *path, crn_checkpoint **out, crn_error *error)
{
    crn_checkpoint *checkpoint = crn__alloc(1, sizeof *checkpoint);
    if (checkpoint == NULL)
        return crn__fail_memory(error);
    crn_status status = crn__input_file_open(path, &checkpoint->file, error);
    if (status == CRN_OK)
        status = read_header(checkpoint, error);
    if (status == CRN_OK)
        *out = checkpoint;
    else
        crn_checkpoint_free(checkpoint);
    return status;
}

void crn_checkpoint_free(crn_checkpoint *checkpoint)
{
    if (checkpoint == NULL)
        return;
    crn__input_file_close(&checkpoint->file);
    crn__safetensors_header_end(&checkpoint->header);
    free(checkpoint->checksums);
    free(checkpoint);
}

size_t crn_checkpoint_count(const crn_checkpoint *checkpoint)
{
    return checkpoint->header.n_entries;
}

crn_status crn_checkpoint_entry_at(const crn_checkpoint *checkpoint, size_t index,
                                   crn_checkpoint_entry *entry)
{
    if (index >= checkpoint->header.n_entries)
        return CRN_NOT_FOUND;
    *entry = checkpoint->header.entries[index].tensor;
    return CRN_OK;
}

static int compare_name(const void *name, const void *entry)
{
    return strcmp(name, ((const crn__safetensors_entry *)entry)->tensor.name);
}

crn_status crn_checkpoint_read(const crn_checkpoint *checkpoint, const char *name, float *data,
                               size_t count, crn_error *error)
{
    const crn__safetensors_header *header = &checkpoint->header;
    const char *path = checkpoint->file.path;
    const crn__safetensors_entry *entry = NULL;
    if (name == NULL || (data == NULL && count > 0))
        return crn__fail(error, CRN_INVALID, "%s: no tensor's name, or no room for it", path);
    if (header->n_entries > 0)
        entry = bsearch(name, header->entries, header->n_entries, sizeof *entry, compare_name);
    if (entry == NULL)
        return crn__fail(error, CRN_NOT_FOUND, "%s: no tensor \"%s\"", path, name);
    if (strcmp(entry->tensor.dtype, "F32") != 0)
        return crn__fail(error, CRN_UNSUPPORTED, "%s: tensor \"%s\" is %s, not F32", path, name,
                         entry->tensor.dtype);
    uint64_t bytes = entry->tensor.bytes;
    if (count != bytes / sizeof(float))
        return crn__fail(error, CRN_INVALID,
                         "%s: tensor \"%s\" has %" PRIu64 " elements, not the %zu asked for", path,
                         name, bytes / sizeof(float), count);
    CRN__TRY(crn__input_file_read(&checkpoint->file, checkpoint->data_start + entry->begin, data,
                                  (size_t)bytes, error));
    if (checkpoint->checksums != NULL &&
        XXH3_64bits(data, (size_t)bytes) != checkpoint->checksums[entry->order])
        return fail_checksum(checkpoint, "tensor ", name, error);
    return CRN_OK;
}

static int compare_key(const void *key, const void *pair)
{
    return strcmp(key, ((const crn__safetensors_pair *)pair)->key);
}

const char *crn_checkpoint_metadata(const crn_checkpoint *checkpoint, const char *key)
{
    const crn__safetensors_header *header = &checkpoint->header;
    const crn__safetensors_pair *pair = NULL;
    if (header->n_pairs > 0)
        pair = bsearch(key, header->pairs, header->n_pairs, sizeof *pair, compare_key);
    return pair != NULL ? pair->value : NULL;
}
