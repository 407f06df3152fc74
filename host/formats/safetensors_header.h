/* The JSON header of a safetensors file, shared by its reader and its writer. */
#ifndef CRN_FORMATS_SAFETENSORS_HEADER_H
#define CRN_FORMATS_SAFETENSORS_HEADER_H

#include "formats/checkpoint_file.h"

#define CRN__SAFETENSORS_MAX_HEADER 100000000u

/* What our own files begin with, after the header's length; the checksums' digits follow. */
#define CRN__SAFETENSORS_CHECKSUM_KEY "clarinet.xxh3"
#define CRN__SAFETENSORS_FORMAT_KEY "clarinet.format"
#define CRN__SAFETENSORS_PREFIX "{\"__metadata__\":{\"" CRN__SAFETENSORS_CHECKSUM_KEY "\":\""
#define CRN__SAFETENSORS_DIGITS 16

typedef struct crn__safetensors_entry {
    crn_checkpoint_entry tensor; /* owns its name; dtype is a constant */
    uint64_t begin, end;         /* in the data behind the header */
    size_t order;                /* of its data in the file */
} crn__safetensors_entry;

typedef struct crn__safetensors_header {
    crn__safetensors_entry *entries; /* sorted by name */
    size_t n_entries, entries_capacity;
    crn__checkpoint_pair *pairs; /* sorted by key */
    size_t n_pairs, pairs_capacity;
} crn__safetensors_header;

/*
 * Parses and checks `length` bytes of header before `data_bytes` bytes of data. `path` is for
 * messages. End *header after a failure too.
 */
crn_status crn__safetensors_header_parse(const char *path, const char *text, size_t length,
                                         uint64_t data_bytes, crn__safetensors_header *header,
                                         crn_error *error);
void crn__safetensors_header_end(crn__safetensors_header *header);

/* XXH3 of a header with the digits of its own checksum read as zeros; text begins with the prefix
 * and at least 16 digits. */
uint64_t crn__safetensors_header_checksum(char *text, size_t length);

#endif
