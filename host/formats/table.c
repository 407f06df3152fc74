/*
 * A table:
 *
 *     blocks          of entries, some 256 KiB each
 *     index block     an entry for each block: a key that is not below the block's last, and as
 *                     value the block's handle: varint64 offset, varint64 size
 *     footer          48 bytes at the file's end: handle of the metaindex block (which is empty),
 *                     handle of the index block, zeros up to 40 bytes; u64 0xdb4775248b80fb57
 *
 * A block in the file is `size` bytes, then the byte 0 (as it is) or 1 (packed by Snappy), then a
 * u32, the masked CRC-32C of these size + 1 bytes. Unpacked, it is
 *
 *     entries         varint32 shared, varint32 own, varint32 length; own bytes of key, which
 *                     follow the first `shared` bytes of the key before; length bytes of value
 *     u32 × n, u32 n  the places of entries that share nothing, for search; and how many these are
 *
 * Numbers are little-endian. Keys rise strictly, as bytes.
 */
#include "formats/table.h"

#include <inttypes.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/crc32c.h"
#include "formats/protobuf.h"

#define FOOTER 48
#define TRAILER 5 /* type, checksum */
#define MIB ((uint64_t)1 << 20)

enum { AS_IT_IS = 0, SNAPPY = 1 };

static crn_status fail_at(const crn__table *table, uint64_t place, const char *what,
                          crn_error *error)
{
    return crn__fail(error, CRN_FORMAT, "%s: block at byte %" PRIu64 ": %s", table->file.path,
                     place, what);
}

/* ---- blocks ---- */

static void free_block(crn__table_block *block)
{
    free(block->data);
    free(block->key);
    *block = (crn__table_block){.data = NULL};
}

/* Replaces packed bytes by what they are of. */
static crn_status unpack(const crn__table *table, crn__table_block *block, crn_error *error)
{
    size_t size;
    /* A hostile length must not take memory: a copy of 64 bytes takes 3, more is not to be had. */
    if (snappy_uncompressed_length((char *)block->data, block->size, &size) != SNAPPY_OK ||
        size / 22 > block->size)
        return fail_at(table, block->place, "not packed by Snappy", error);
    if (size > table->file.size + 16 * MIB)
        return crn__fail(error, CRN_UNSUPPORTED,
                         "%s: block at byte %" PRIu64 ": %zu bytes packed into %zu",
                         table->file.path, block->place, size, block->size);
    unsigned char *data = crn__alloc(size, 1);
    if (data == NULL)
        return crn__fail_memory(error);
    snappy_status status = snappy_uncompress((char *)block->data, block->size, (char *)data, &size);
    free(block->data);
    block->data = data;
    block->size = size;
    return status == SNAPPY_OK ? CRN_OK
                               : fail_at(table, block->place, "not packed by Snappy", error);
}

/* Reads and checks the block of a handle into `block`, whose key it begins anew. */
static crn_status read_block(const crn__table *table, uint64_t offset, uint64_t size,
                             crn__table_block *block, crn_error *error)
{
    const crn__input_file *file = &table->file;
    block->place = offset;
    if (size > file->size - FOOTER || offset > file->size - FOOTER - size ||
        file->size - FOOTER - size - offset < TRAILER)
        return crn__fail(error, CRN_FORMAT,
                         "%s: block at byte %" PRIu64 ": its %" PRIu64
                         " bytes do not lie within the file",
                         file->path, offset, size);
    free(block->data);
    block->data = crn__alloc((size_t)size + TRAILER, 1);
    if (block->data == NULL)
        return crn__fail_memory(error);
    CRN__TRY(crn__input_file_read(file, offset, block->data, (size_t)size + TRAILER, error));
    uint32_t checksum, n;
    unsigned char type = block->data[size];
    memcpy(&checksum, block->data + size + 1, sizeof checksum);
    if (crn__crc32c_mask(crn__crc32c(block->data, (size_t)size + 1)) != checksum)
        return fail_at(table, offset, "is damaged: its checksum differs", error);
    if (type != AS_IT_IS && type != SNAPPY)
        return fail_at(table, offset, "is packed in an unknown way", error);
    block->size = (size_t)size;
    if (type == SNAPPY)
        CRN__TRY(unpack(table, block, error));

    if (block->size < sizeof n)
        return fail_at(table, offset, "is too short", error);
    block->size -= sizeof n;
    memcpy(&n, block->data + block->size, sizeof n);
    if (n > block->size / sizeof n)
        return fail_at(table, offset, "has more places than bytes", error);
    block->size -= n * sizeof n;
    block->at = block->key_size = 0;
    return CRN_OK;
}

static bool grow_key(crn__table_block *block, size_t size)
{
    if (size <= block->key_capacity)
        return true;
    size_t capacity = size < 128 ? 256 : 2 * size;
    unsigned char *key = realloc(block->key, capacity);
    if (key == NULL)
        return false;
    block->key = key;
    block->key_capacity = capacity;
    return true;
}

static int compare(const unsigned char *a, size_t a_size, const unsigned char *b, size_t b_size)
{
    size_t both = a_size < b_size ? a_size : b_size;
    int order = both > 0 ? memcmp(a, b, both) : 0;
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

/* Moves to the block's next entry, whose key has to be above the one before unless it is the first;
 * *more is false at the end. */
static crn_status next_in_block(const crn__table *table, crn__table_block *block, bool first,
                                bool *more, crn_error *error)
{
    *more = block->at < block->size;
    if (!*more)
        return CRN_OK;
    crn__pb_reader reader = crn__pb_read(block->data + block->at, block->size - block->at);
    uint64_t shared, own, length;
    if (!crn__pb_varint(&reader, &shared) || !crn__pb_varint(&reader, &own) ||
        !crn__pb_varint(&reader, &length) || shared > block->key_size ||
        own > crn__pb_left(&reader) || length > crn__pb_left(&reader) - own)
        return fail_at(table, block->place, "an entry does not lie within it", error);
    size_t size = (size_t)(shared + own);
    const unsigned char *rest = block->key_size > shared ? block->key + shared : NULL;
    if (!first && compare(reader.at, (size_t)own, rest, block->key_size - (size_t)shared) <= 0)
        return fail_at(table, block->place, "its keys do not rise", error);
    if (!grow_key(block, size))
        return crn__fail_memory(error);
    if (own > 0)
        memcpy(block->key + shared, reader.at, (size_t)own);
    block->key_size = size;
    block->value = reader.at + own;
    block->value_size = (size_t)length;
    block->at = (size_t)(block->value + length - block->data);
    return CRN_OK;
}

/* ---- tables ---- */

static bool read_handle(const unsigned char **at, size_t bytes, uint64_t *offset, uint64_t *size)
{
    crn__pb_reader reader = crn__pb_read(*at, bytes);
    bool good = crn__pb_varint(&reader, offset) && crn__pb_varint(&reader, size);
    *at = reader.at;
    return good;
}

crn_status crn__table_open(crn__input_file *file, crn__table *table, crn_error *error)
{
    unsigned char footer[FOOTER];
    uint64_t offset, size, magic;
    *table = (crn__table){.file = *file};
    *file = (crn__input_file){.fd = -1};
    file = &table->file;
    if (file->size < FOOTER)
        return crn__fail(error, CRN_FORMAT, "%s: is cut short: %" PRIu64 " bytes", file->path,
                         file->size);
    CRN__TRY(crn__input_file_read(file, file->size - FOOTER, footer, FOOTER, error));
    const unsigned char *at = footer, *end = footer + FOOTER - sizeof magic;
    memcpy(&magic, end, sizeof magic);
    bool good = magic == CRN__TABLE_MAGIC && read_handle(&at, (size_t)(end - at), &offset, &size) &&
                read_handle(&at, (size_t)(end - at), &table->index_at, &table->index_size);
    while (good && at < end)
        good = *at++ == 0;
    if (!good)
        return crn__fail(error, CRN_FORMAT, "%s: its last %d bytes are not those of a table",
                         file->path, FOOTER);
    /* The metaindex has nothing to say, but is a part of a file that is whole. */
    crn__table_block metaindex = {.data = NULL};
    crn_status status = read_block(table, offset, size, &metaindex, error);
    free_block(&metaindex);
    return status;
}

void crn__table_end(crn__table *table)
{
    crn__input_file_close(&table->file);
}

/* Moves to the next block, whose first key has to be above the last one of the block before. */
static crn_status next_block(crn__table_cursor *cursor, bool *more, crn_error *error)
{
    const crn__table *table = cursor->table;
    bool first = !cursor->started;
    if (first)
        CRN__TRY(read_block(table, table->index_at, table->index_size, &cursor->index, error));
    cursor->started = true;
    CRN__TRY(next_in_block(table, &cursor->index, first, more, error));
    if (!*more)
        return CRN_OK;
    const unsigned char *at = cursor->index.value;
    uint64_t offset, size;
    if (!read_handle(&at, cursor->index.value_size, &offset, &size))
        return fail_at(table, cursor->index.place, "its entries are not those of an index", error);
    return read_block(table, offset, size, &cursor->block, error);
}

/* Shows the block's present entry. */
static void show(crn__table_cursor *cursor)
{
    cursor->key = cursor->block.key;
    cursor->key_size = cursor->block.key_size;
    cursor->value = cursor->block.value;
    cursor->value_size = cursor->block.value_size;
}

crn_status crn__table_next(crn__table_cursor *cursor, bool *more, crn_error *error)
{
    bool first = !cursor->started;
    *more = false;
    if (!first)
        CRN__TRY(next_in_block(cursor->table, &cursor->block, false, more, error));
    while (!*more) {
        unsigned char *last = NULL;
        size_t last_size = cursor->block.key_size;
        if (!first) { /* the next block's keys begin anew */
            last = cursor->block.key;
            cursor->block.key = NULL;
            cursor->block.key_capacity = 0;
        }
        crn_status status = next_block(cursor, more, error);
        bool end = status == CRN_OK && !*more;
        if (status == CRN_OK && *more)
            status = next_in_block(cursor->table, &cursor->block, true, more, error);
        if (status == CRN_OK && *more && !first &&
            compare(cursor->block.key, cursor->block.key_size, last, last_size) <= 0)
            status = fail_at(cursor->table, cursor->block.place, "its keys do not rise", error);
        if (status == CRN_OK && !*more && !end)
            status = fail_at(cursor->table, cursor->block.place, "has no entry", error);
        free(last);
        CRN__TRY(status);
        if (end)
            return CRN_OK;
    }
    show(cursor);
    return CRN_OK;
}

crn_status crn__table_find(crn__table_cursor *cursor, const void *key, size_t key_size, bool *found,
                           crn_error *error)
{
    const crn__table *table = cursor->table;
    bool more = true;
    *found = false;
    cursor->started = true;
    CRN__TRY(read_block(table, table->index_at, table->index_size, &cursor->index, error));
    for (bool first = true;; first = false) {
        CRN__TRY(next_in_block(table, &cursor->index, first, &more, error));
        if (!more)
            return CRN_OK;
        if (compare(cursor->index.key, cursor->index.key_size, key, key_size) >= 0)
            break;
    }
    const unsigned char *at = cursor->index.value;
    uint64_t offset, size;
    if (!read_handle(&at, cursor->index.value_size, &offset, &size))
        return fail_at(table, cursor->index.place, "its entries are not those of an index", error);
    CRN__TRY(read_block(table, offset, size, &cursor->block, error));
    for (bool first = true;; first = false) {
        CRN__TRY(next_in_block(table, &cursor->block, first, &more, error));
        int order = more ? compare(cursor->block.key, cursor->block.key_size, key, key_size) : 1;
        if (order < 0)
            continue;
        *found = order == 0;
        show(cursor);
        return CRN_OK;
    }
}

void crn__table_cursor_end(crn__table_cursor *cursor)
{
    free_block(&cursor->index);
    free_block(&cursor->block);
}
