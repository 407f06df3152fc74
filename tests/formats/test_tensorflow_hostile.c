/* Tables that no TensorFlow writes, made by our own writer. */
#include "files.h"

#include <snappy-c.h>

#include "clarinet/checkpoint.h"
#include "formats/crc32c.h"
#include "formats/protobuf.h"
#include "formats/table.h"
#include "formats/tensor_slice.h"

typedef struct table {
    crn__table_entry entries[4];
    char storage[4][256];
    size_t count;
} table;

static void add(table *t, const char *key, size_t key_size, const crn__pb_writer *value)
{
    assert_true(value->size <= sizeof t->storage[0]);
    char *storage = t->storage[t->count];
    memcpy(storage, value->data, value->size);
    t->entries[t->count++] = (crn__table_entry){key, storage, key_size, value->size};
}

/* Writes the table as an index with 16 bytes of data, and opens that. */
static crn_status open_table(const char *folder, const table *t, crn_error *why)
{
    crn__atomic_file *file;
    crn_checkpoint *checkpoint = NULL;
    const char *path = in_folder(folder, "hostile.index");
    put_file(in_folder(folder, "hostile.data-00000-of-00001"), "0123456789abcdef", 16);
    assert_ok(crn__atomic_file_create(path, &file, &error));
    assert_ok(crn__table_write(file, t->entries, t->count, &error));
    assert_ok(crn__atomic_file_commit(file, &error));
    crn_status status = crn_checkpoint_open(path, &checkpoint, why);
    crn_checkpoint_free(checkpoint);
    return status;
}

/* A BundleEntryProto; dims end at -2. */
static void put_entry(crn__pb_writer *out, const int64_t *dims, uint64_t shard, uint64_t offset,
                      uint64_t size)
{
    crn__pb_writer shape = {.data = NULL};
    for (; *dims != -2; dims++) {
        crn__pb_writer dim = {.data = NULL};
        crn__pb_write_uint(&dim, 1, (uint64_t)*dims);
        crn__pb_write_bytes(&shape, 2, dim.data, dim.size);
        free(dim.data);
    }
    crn__pb_write_uint(out, 1, 1);
    crn__pb_write_bytes(out, 2, shape.data, shape.size);
    crn__pb_write_uint(out, 3, shard);
    crn__pb_write_uint(out, 4, offset);
    crn__pb_write_uint(out, 5, size);
    free(shape.data);
}

static void put_header(table *t, uint64_t shards, uint64_t endianness, uint64_t consumer)
{
    crn__pb_writer header = {.data = NULL}, version = {.data = NULL};
    crn__pb_write_uint(&header, 1, shards);
    crn__pb_write_uint(&header, 2, endianness);
    crn__pb_write_uint(&version, 2, consumer);
    crn__pb_write_bytes(&header, 3, version.data, version.size);
    *t = (table){.count = 0};
    add(t, "", 0, &header);
    free(header.data);
    free(version.data);
}

static void hostile_headers_are_reported(void **state)
{
    static const struct {
        uint64_t shards, endianness, consumer;
        crn_status status;
        const char *says;
    } headers[] = {
        {1, 0, 1, CRN_OK, ""},
        {0, 0, 0, CRN_FORMAT, "its header is none"},
        {65537, 0, 0, CRN_FORMAT, "its header is none"},
        {UINT64_MAX, 0, 0, CRN_FORMAT, "its header is none"},
        {1, 1, 0, CRN_UNSUPPORTED, "big-endian"},
        {1, 0, 2, CRN_UNSUPPORTED, "checkpoint version 2"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        table t;
        put_header(&t, headers[i].shards, headers[i].endianness, headers[i].consumer);
        if (headers[i].status == CRN_OK)
            assert_ok(open_table(*state, &t, &error));
        else
            assert_fails(open_table(*state, &t, &error), headers[i].status, headers[i].says);
    }
    table empty = {.count = 0};
    assert_fails(open_table(*state, &empty, &error), CRN_FORMAT, "has no entry");
}

static void hostile_entries_are_reported(void **state)
{
    static const struct {
        int64_t dims[12];
        uint64_t shard, offset, size;
        crn_status status;
        const char *says;
    } entries[] = {
        {{4, -2}, 0, 0, 16, CRN_OK, ""},
        {{0, 3, -2}, 0, 16, 0, CRN_OK, ""},
        {{3, -2}, 0, 0, 16, CRN_FORMAT, "size is not that of its shape"},
        {{4, -2}, 1, 0, 16, CRN_FORMAT, "a data file that the index does not have"},
        {{4, -2}, UINT64_MAX, 0, 16, CRN_FORMAT, "a data file that the index does not have"},
        {{4, -2}, 0, 1, 16, CRN_FORMAT, "bytes 1 to 17 of its data file, which has 16"},
        {{1, -2}, 0, UINT64_MAX - 1, 4, CRN_FORMAT, "which has 16"},
        {{0, -2}, 0, 17, 0, CRN_FORMAT, "which has 16"},
        {{-1, -2}, 0, 0, 4, CRN_FORMAT, "its shape is none"},
        {{(int64_t)1 << 61, 2, 2, -2}, 0, 0, 16, CRN_FORMAT, "its shape is too large"},
        {{(int64_t)1 << 32, (int64_t)1 << 32, -2}, 0, 0, 0, CRN_FORMAT, "its shape is too large"},
        {{1, 1, 1, 1, 1, 1, 1, 1, 1, -2}, 0, 0, 4, CRN_UNSUPPORTED, "more than 8 dimensions"},
    };
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        table t;
        crn__pb_writer entry = {.data = NULL};
        put_header(&t, 1, 0, 0);
        put_entry(&entry, entries[i].dims, entries[i].shard, entries[i].offset, entries[i].size);
        add(&t, "w", 1, &entry);
        free(entry.data);
        if (entries[i].status == CRN_OK)
            assert_ok(open_table(*state, &t, &error));
        else
            assert_fails(open_table(*state, &t, &error), entries[i].status, entries[i].says);
    }
}

static void hostile_names_and_places_are_reported(void **state)
{
    static const int64_t two[] = {2, -2};
    static const struct {
        const char *first, *second;
        size_t first_size, second_size;
        uint64_t offset;
        const char *says;
    } pairs[] = {
        {"a", "b", 1, 1, 8, NULL},
        {"a", "b", 1, 1, 7, "tensor \"b\": its bytes are another tensor's"},
        {"a", "b", 1, 1, 0, "its bytes are another tensor's"},
        {"b", "a", 1, 1, 8, "keys do not rise"},
        {"a", "a", 1, 1, 8, "keys do not rise"},
        {"a", "a\0b", 1, 3, 8, "name is none"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        table t;
        crn__pb_writer a = {.data = NULL}, b = {.data = NULL};
        put_header(&t, 1, 0, 0);
        put_entry(&a, two, 0, 0, 8);
        put_entry(&b, two, 0, pairs[i].offset, 8);
        add(&t, pairs[i].first, pairs[i].first_size, &a);
        add(&t, pairs[i].second, pairs[i].second_size, &b);
        free(a.data);
        free(b.data);
        if (pairs[i].says == NULL)
            assert_ok(open_table(*state, &t, &error));
        else
            assert_fails(open_table(*state, &t, &error), CRN_FORMAT, pairs[i].says);
    }
}

/* The tensor "w" of 4 numbers from two parts of 2, [0,2) and [start,start+length). */
static crn_status open_parts(const char *folder, int64_t start, int64_t length, bool missing,
                             crn_error *why)
{
    static const int64_t four[] = {4, -2}, two[] = {2, -2};
    const int64_t starts[] = {0, start}, lengths[] = {2, length};
    crn__pb_writer whole = {.data = NULL}, keys[2] = {{.data = NULL}, {.data = NULL}};
    table t;
    put_header(&t, 1, 0, 0);
    put_entry(&whole, four, 0, 0, 0);
    for (int i = 0; i < 2; i++) {
        crn__pb_writer extent = {.data = NULL}, slice = {.data = NULL}, part = {.data = NULL};
        crn__tensor_slice key = {1, {starts[i]}, {lengths[i]}};
        crn__pb_write_uint(&extent, 1, (uint64_t)starts[i]);
        crn__pb_write_uint(&extent, 2, (uint64_t)lengths[i]);
        crn__pb_write_bytes(&slice, 1, extent.data, extent.size);
        crn__pb_write_bytes(&whole, 7, slice.data, slice.size);
        crn__tensor_slice_key(&keys[i], "w", &key);
        put_entry(&part, two, 0, (uint64_t)i * 8, 8);
        if (!(missing && i == 1))
            add(&t, (char *)keys[i].data, keys[i].size, &part);
        free(extent.data);
        free(slice.data);
        free(part.data);
    }
    add(&t, "w", 1, &whole);
    crn_status status = open_table(folder, &t, why);
    free(whole.data);
    free(keys[0].data);
    free(keys[1].data);
    return status;
}

static void hostile_parts_are_reported(void **state)
{
    static const char cover[] = "tensor \"w\": its parts do not make up its shape";
    assert_ok(open_parts(*state, 2, 2, false, &error));
    assert_fails(open_parts(*state, 2, 2, true, &error), CRN_FORMAT, "a part of it is missing");
    assert_fails(open_parts(*state, 1, 2, false, &error), CRN_FORMAT, cover);
    assert_fails(open_parts(*state, 2, 1, false, &error), CRN_FORMAT, cover);
    assert_fails(open_parts(*state, 2, 3, false, &error), CRN_FORMAT, cover);
    assert_fails(open_parts(*state, INT64_MAX, 2, false, &error), CRN_FORMAT, cover);
    assert_fails(open_parts(*state, 2, INT64_MAX, false, &error), CRN_FORMAT, cover);
    assert_fails(open_parts(*state, 3, -1, false, &error), CRN_FORMAT, cover);
    assert_fails(open_parts(*state, -1, 2, false, &error), CRN_FORMAT, "");
}

/* ---- V1 ---- */

/* A message of one field that is a message. */
static void wrap(crn__pb_writer *out, uint32_t number, crn__pb_writer *inner)
{
    crn__pb_write_bytes(out, number, inner->data, inner->size);
    free(inner->data);
    *inner = (crn__pb_writer){.data = NULL};
}

/* TensorShapeProto, or with `slice` a TensorSliceProto of everything; dims end at -2. */
static void put_dims(crn__pb_writer *out, const int64_t *dims, bool slice)
{
    for (; *dims != -2; dims++) {
        crn__pb_writer dim = {.data = NULL};
        if (!slice)
            crn__pb_write_uint(&dim, 1, (uint64_t)*dims);
        wrap(out, slice ? 1 : 2, &dim);
    }
}

/* SavedSliceMeta of type `type` with `parts` parts, each of which is all of it. */
static void put_tensor(crn__pb_writer *meta, const char *name, uint64_t type, const int64_t *dims,
                       int parts)
{
    crn__pb_writer tensor = {.data = NULL}, inner = {.data = NULL};
    crn__pb_write_string(&tensor, 1, name);
    put_dims(&inner, dims, false);
    wrap(&tensor, 2, &inner);
    crn__pb_write_uint(&tensor, 3, type);
    for (int i = 0; i < parts; i++) {
        put_dims(&inner, dims, true);
        wrap(&tensor, 4, &inner);
    }
    wrap(meta, 1, &tensor);
}

static void put_list(table *t, crn__pb_writer *meta)
{
    crn__pb_writer slices = {.data = NULL};
    wrap(&slices, 1, meta);
    *t = (table){.count = 0};
    add(t, "", 0, &slices);
    free(slices.data);
}

static void hostile_v1_lists_are_reported(void **state)
{
    static const struct {
        const char *names[2];
        int64_t dims[12];
        int parts;
        crn_status status;
        const char *says;
    } lists[] = {
        {{"a", "b"}, {2, 3, -2}, 1, CRN_OK, ""},
        {{"a", "b"}, {-2}, 1, CRN_OK, ""},
        {{"a", "a"}, {2, 3, -2}, 1, CRN_FORMAT, "tensor \"a\": is there twice"},
        {{"a", "b"}, {2, 3, -2}, 0, CRN_FORMAT, "has no parts, or too many"},
        {{"a", "b"}, {2, 3, -2}, 2, CRN_FORMAT, "its parts do not make up its shape"},
        {{"a", "b"}, {-1, -2}, 1, CRN_FORMAT, "its shape is none"},
        {{"a", "b"}, {1 << 20, 1 << 20, -2}, 1, CRN_FORMAT, "too large for the file"},
        {{"a", "b"}, {INT64_MAX, INT64_MAX, -2}, 1, CRN_FORMAT, "too large for the file"},
        {{"a", "b"}, {1, 1, 1, 1, 1, 1, 1, 1, 1, -2}, 1, CRN_UNSUPPORTED, "more than 8"},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        table t;
        crn__pb_writer meta = {.data = NULL};
        for (int k = 0; k < 2; k++)
            put_tensor(&meta, lists[i].names[k], 1, lists[i].dims, lists[i].parts);
        put_list(&t, &meta);
        if (lists[i].status == CRN_OK)
            assert_ok(open_table(*state, &t, &error));
        else
            assert_fails(open_table(*state, &t, &error), lists[i].status, lists[i].says);
    }
}

/* "w" of two int32 numbers, whose TensorProto has `field` with these bytes; name it `name`. */
static crn_status read_numbers(const char *folder, const char *name, uint32_t field,
                               const char *data, float *out, crn_error *why)
{
    static const int64_t two[] = {2, -2};
    static const crn__tensor_slice all = {1, {0}, {-1}};
    crn__pb_writer meta = {.data = NULL}, proto = {.data = NULL}, slice = {.data = NULL};
    crn__pb_writer slices = {.data = NULL}, key = {.data = NULL};
    crn_checkpoint *file;
    table t;
    put_tensor(&meta, "w", 3, two, 1);
    put_list(&t, &meta);
    crn__pb_write_string(&proto, field, data);
    crn__pb_write_string(&slice, 1, name);
    wrap(&slice, 3, &proto);
    wrap(&slices, 2, &slice);
    crn__tensor_slice_key(&key, "w", &all);
    if (*name != '\0')
        add(&t, (char *)key.data, key.size, &slices);
    free(slices.data);
    assert_ok(open_table(folder, &t, &error));
    assert_ok(crn_checkpoint_open(in_folder(folder, "hostile.index"), &file, &error));
    crn_status status = crn_checkpoint_read(file, "w", out, 2, why);
    crn_checkpoint_free(file);
    free(key.data);
    return status;
}

static void hostile_v1_numbers_are_reported(void **state)
{
    static const char says[] = "tensor \"w\": its numbers are not those of its shape";
    float out[2];
    assert_ok(read_numbers(*state, "w", 7, "\x05\x81\x01", out, &error)); /* varints 5, 129 */
    assert_true(out[0] == 5 && out[1] == 129);
    assert_ok(read_numbers(*state, "w", 4, "\1\1\1\1\2\1\1\1", out, &error)); /* as bytes */
    assert_true(out[0] == 0x01010101 && out[1] == 0x01010102);
    assert_fails(read_numbers(*state, "w", 7, "\x05", out, &error), CRN_FORMAT, says);
    assert_fails(read_numbers(*state, "w", 7, "\x05\x05\x05", out, &error), CRN_FORMAT, says);
    assert_fails(read_numbers(*state, "w", 7, "\x05\x81", out, &error), CRN_FORMAT, says);
    assert_fails(read_numbers(*state, "w", 5, "12345678", out, &error), CRN_FORMAT, says);
    assert_fails(read_numbers(*state, "w", 4, "1234567", out, &error), CRN_FORMAT, says);
    assert_fails(read_numbers(*state, "w", 4, "123456789", out, &error), CRN_FORMAT, says);
    assert_fails(read_numbers(*state, "v", 7, "\x05\x05", out, &error), CRN_FORMAT, says);
    assert_fails(read_numbers(*state, "", 7, "\x05\x05", out, &error), CRN_FORMAT,
                 "a part of it is missing");
}

/* ---- Snappy ---- */

/* A table of one packed block, which is also its index. */
static crn_status open_packed(const char *folder, const void *packed, size_t size, crn_error *why)
{
    crn__pb_writer out = {.data = NULL}, handle = {.data = NULL};
    static const char zeros[40];
    const uint64_t magic = CRN__TABLE_MAGIC;
    crn__pb_write_raw(&out, packed, size);
    crn__pb_write_raw(&out, "\1", 1);
    uint32_t checksum = crn__crc32c_mask(crn__crc32c(out.data, out.size));
    crn__pb_write_raw(&out, &checksum, sizeof checksum);
    crn__pb_write_varint(&handle, 0);
    crn__pb_write_varint(&handle, size);
    crn__pb_write_raw(&out, handle.data, handle.size);
    crn__pb_write_raw(&out, handle.data, handle.size);
    crn__pb_write_raw(&out, zeros, sizeof zeros - 2 * handle.size);
    crn__pb_write_raw(&out, &magic, sizeof magic);
    const char *path = in_folder(folder, "packed");
    put_file(path, out.data, out.size);
    free(out.data);
    free(handle.data);
    crn_checkpoint *file;
    return crn_checkpoint_open(path, &file, why);
}

static void packed_blocks_take_no_memory_on_their_word(void **state)
{
    /* A varint32 of the unpacked length, 4 GiB less a byte, and nothing that makes it. */
    static const char vast[] = "\xff\xff\xff\xff\x0f\0a";
    assert_fails(open_packed(*state, vast, sizeof vast - 1, &error), CRN_FORMAT,
                 "packed: block at byte 0: not packed by Snappy");
    static const char wrong[] = "\x08\x1c"
                                "1234";
    assert_fails(open_packed(*state, wrong, sizeof wrong - 1, &error), CRN_FORMAT,
                 "not packed by Snappy");
    /* Zeros that are well packed, but 40 MiB of them. */
    size_t size = (size_t)40 << 20, length = snappy_max_compressed_length(size);
    char *zeros = calloc(size, 1), *packed = malloc(length);
    assert_int_equal(snappy_compress(zeros, size, packed, &length), SNAPPY_OK);
    assert_fails(open_packed(*state, packed, length, &error), CRN_UNSUPPORTED,
                 "41943040 bytes packed into");
    free(zeros);
    free(packed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hostile_headers_are_reported),
        TEST(hostile_entries_are_reported),
        TEST(hostile_names_and_places_are_reported),
        TEST(hostile_parts_are_reported),
        TEST(hostile_v1_lists_are_reported),
        TEST(hostile_v1_numbers_are_reported),
        TEST(packed_blocks_take_no_memory_on_their_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
