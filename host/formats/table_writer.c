/* The format is specified in table.c. */
#include <stdlib.h>

#include "core/error.h"
#include "formats/crc32c.h"
#include "formats/protobuf.h"
#include "formats/table.h"

typedef struct handle {
    uint64_t offset, size;
} handle;

/* Appends a block of entries that share nothing: each is a place to search from. */
static handle write_block(crn__pb_writer *out, const crn__table_entry *entries, size_t count)
{
    size_t begin = out->size;
    crn__pb_writer places = {.data = NULL};
    for (size_t i = 0; i < count; i++) {
        uint32_t place = (uint32_t)(out->size - begin);
        crn__pb_write_raw(&places, &place, sizeof place);
        crn__pb_write_varint(out, 0);
        crn__pb_write_varint(out, entries[i].key_size);
        crn__pb_write_varint(out, entries[i].value_size);
        crn__pb_write_raw(out, entries[i].key, entries[i].key_size);
        crn__pb_write_raw(out, entries[i].value, entries[i].value_size);
    }
    uint32_t n = count > 0 ? (uint32_t)count : 1, zero = 0;
    if (count == 0) /* readers want a place: the end */
        crn__pb_write_raw(&places, &zero, sizeof zero);
    crn__pb_write_raw(out, places.data, places.size);
    crn__pb_write_raw(out, &n, sizeof n);
    handle h = {begin, out->size - begin};

    crn__pb_write_raw(out, &zero, 1); /* not packed */
    out->failed |= places.failed;
    free(places.data);
    if (!out->failed) {
        uint32_t checksum = crn__crc32c_mask(crn__crc32c(out->data + begin, out->size - begin));
        crn__pb_write_raw(out, &checksum, sizeof checksum);
    }
    return h;
}

static void write_handle(crn__pb_writer *out, handle h)
{
    crn__pb_write_varint(out, h.offset);
    crn__pb_write_varint(out, h.size);
}

static void write_footer(crn__pb_writer *out, handle metaindex, handle index)
{
    static const char zeros[40];
    const uint64_t magic = CRN__TABLE_MAGIC;
    size_t begin = out->size;
    write_handle(out, metaindex);
    write_handle(out, index);
    if (!out->failed)
        crn__pb_write_raw(out, zeros, sizeof zeros - (out->size - begin));
    crn__pb_write_raw(out, &magic, sizeof magic);
}

crn_status crn__table_write(crn__atomic_file *file, const crn__table_entry *entries, size_t count,
                            crn_error *error)
{
    crn__pb_writer out = {.data = NULL}, value = {.data = NULL};
    handle block = write_block(&out, entries, count);
    handle metaindex = write_block(&out, NULL, 0);
    write_handle(&value, block);
    crn__table_entry last = {.value = value.data, .value_size = value.size};
    if (count > 0) {
        last.key = entries[count - 1].key;
        last.key_size = entries[count - 1].key_size;
    }
    handle index = write_block(&out, &last, 1);
    write_footer(&out, metaindex, index);
    crn_status status = out.failed || value.failed
                            ? crn__fail_memory(error)
                            : crn__atomic_file_write(file, out.data, out.size, error);
    if (status == CRN_OK && block.size > UINT32_MAX) /* places have 32 bits */
        status = crn__fail(error, CRN_INVALID, "names and metadata are too long for a table");
    free(out.data);
    free(value.data);
    return status;
}
