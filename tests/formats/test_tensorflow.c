/* Against files that TensorFlow made (golden/make_checkpoints.py), and hostile ones. */
#include "files.h"

#include <inttypes.h>

#include "formats/checkpoint_file.h"
#include "formats/checkpoint_writer.h"
#include "formats/element.h"
#include "formats/protobuf.h"
#include "formats/table.h"
#include "formats/tensor_slice.h"

#define DATA CRN_TEST_DATA "/golden/checkpoints/"

/* ---- TensorFlow's files ---- */

static size_t size_of(const char *dtype)
{
    return crn__element_find(dtype, strlen(dtype))->size;
}

/* All bytes of a tensor, in new memory. */
static crn_status read_bytes(const crn_checkpoint *file, const char *name, unsigned char **out,
                             crn_error *why)
{
    size_t index = 0;
    assert_ok(crn__checkpoint_index(file, name, &index, &error));
    *out = calloc(1, (size_t)file->entries[index].bytes + 1);
    crn_status status = file->kind->read(file, index, *out, why);
    if (status != CRN_OK)
        free(*out);
    return status;
}

/* The floats of a tensor are the bytes of `name` among the expected ones. */
static crn_status check_floats(const crn_checkpoint *file, const crn_checkpoint_entry *e,
                               const crn_checkpoint *expected, const char *name, crn_error *why)
{
    size_t count = (size_t)e->bytes / size_of(e->dtype);
    float *floats = calloc(count + 1, sizeof *floats);
    crn_status status = crn_checkpoint_read(file, e->name, floats, count, why);
    if (status == CRN_OK) {
        unsigned char *data;
        assert_ok(read_bytes(expected, name, &data, &error));
        assert_memory_equal(floats, data, count * sizeof *floats);
        free(data);
    }
    free(floats);
    return status;
}

static crn_status check_bytes(const crn_checkpoint *file, const crn_checkpoint_entry *e,
                              const crn_checkpoint *expected, bool zeros, crn_error *why)
{
    unsigned char *data, *wanted = calloc(1, (size_t)e->bytes + 1);
    if (!zeros) {
        free(wanted);
        assert_ok(read_bytes(expected, e->name, &wanted, &error));
    }
    crn_status status = read_bytes(file, e->name, &data, why);
    if (status == CRN_OK) {
        assert_memory_equal(data, wanted, (size_t)e->bytes);
        free(data);
    }
    free(wanted);
    return status;
}

/* One tensor of a file against what was expected of it. */
static crn_status check_tensor(const crn_checkpoint *file, const crn_checkpoint_entry *e,
                               const crn_checkpoint *expected, crn_error *why)
{
    char floats[128];
    crn_checkpoint_entry other;
    snprintf(floats, sizeof floats, "%s@F32", e->name);
    bool has_bytes = crn_checkpoint_find(expected, e->name, &other) == CRN_OK;
    bool has_floats = crn_checkpoint_find(expected, floats, &other) == CRN_OK;
    bool numbers = crn__element_find(e->dtype, strlen(e->dtype))->to_floats != NULL;
    if (!numbers) {
        float none;
        assert_false(has_bytes || has_floats);
        assert_fails(crn_checkpoint_read(file, e->name, &none, 1, &error), CRN_UNSUPPORTED,
                     e->dtype);
        return CRN_OK;
    }
    crn_status status = CRN_OK;
    if (has_floats)
        status = check_floats(file, e, expected, floats, why);
    else if (has_bytes)
        status = check_floats(file, e, expected, e->name, why);
    if (status == CRN_OK && (has_bytes || !has_floats))
        status = check_bytes(file, e, expected, !has_bytes, why);
    return status;
}

/* Line `i` of NAME.txt, which is this entry's; entries beyond its lines are of later ones. */
static void check_line(FILE *list, const crn_checkpoint_entry *e)
{
    char line[256], ours[256];
    assert_non_null(fgets(line, sizeof line, list));
    int used = snprintf(ours, sizeof ours, "%s %s [", e->name, e->dtype);
    for (int i = 0; i < e->rank; i++)
        used += snprintf(ours + used, sizeof ours - (size_t)used, "%s%" PRId64, i > 0 ? "," : "",
                         e->dims[i]);
    snprintf(ours + used, sizeof ours - (size_t)used, "]\n");
    assert_string_equal(ours, line);
}

/* Opens `path` and compares everything with NAME.txt and NAME.safetensors. */
static crn_status check_file(const char *path, const char *name, crn_error *why)
{
    char about[256];
    crn_checkpoint *file, *expected;
    crn_status status = crn_checkpoint_open(path, &file, why);
    if (status != CRN_OK)
        return status;
    snprintf(about, sizeof about, DATA "%s.safetensors", name);
    assert_ok(crn_checkpoint_open(about, &expected, &error));
    snprintf(about, sizeof about, DATA "%s.txt", name);
    FILE *list = fopen(about, "r");
    assert_non_null(list);
    for (size_t i = 0; i < crn_checkpoint_count(file) && status == CRN_OK; i++) {
        crn_checkpoint_entry e;
        assert_int_equal(crn_checkpoint_entry_at(file, i, &e), CRN_OK);
        check_line(list, &e);
        status = check_tensor(file, &e, expected, why);
    }
    if (status == CRN_OK)
        assert_int_equal(fgetc(list), EOF);
    fclose(list);
    crn_checkpoint_free(file);
    crn_checkpoint_free(expected);
    return status;
}

static void reads_what_tensorflow_wrote(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        {"v1", "v1"},
        {"v1_snappy", "v1_snappy"},
        {"v1_parts", "v1_parts"},
        {"v2", "v2"},
        {"v2.index", "v2"},
        {"v2.data-00000-of-00001", "v2"},
        {"v2_parts", "v2_parts"},
        {"v2_shards", "v2_shards"},
        {"v2_shards.data-00001-of-00002", "v2_shards"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[256];
        snprintf(path, sizeof path, DATA "%s", files[i][0]);
        assert_ok(check_file(path, files[i][1], &error));
    }
}

static void says_what_a_checkpoint_is(void **state)
{
    (void)state;
    static const char *const kinds[][2] = {
        {"v1", "TensorFlow V1"}, {"v2", "TensorFlow V2"}, {"v2.safetensors", "safetensors"}};
    for (int i = 0; i < 3; i++) {
        char path[256];
        crn_checkpoint *file;
        snprintf(path, sizeof path, DATA "%s", kinds[i][0]);
        assert_ok(crn_checkpoint_open(path, &file, &error));
        assert_string_equal(crn_checkpoint_kind(file), kinds[i][1]);
        if (i < 2)
            assert_string_equal(crn_checkpoint_metadata(file, "global_step"), "123456789012");
        assert_true(crn_checkpoint_is_slot(file, "conv/weights/ExponentialMovingAverage"));
        assert_false(crn_checkpoint_is_slot(file, "conv/weights"));
        assert_false(crn_checkpoint_is_slot(file, "scalar"));
        crn_checkpoint_free(file);
    }
}

/* ---- folders ---- */

static void follows_the_state_file(void **state)
{
    (void)state;
    crn_checkpoint *file;
    float w[4];
    assert_ok(crn_checkpoint_open(DATA "folder", &file, &error));
    assert_string_equal(crn_checkpoint_metadata(file, "global_step"), "42");
    assert_ok(crn_checkpoint_read(file, "w", w, 4, &error));
    for (int i = 0; i < 4; i++)
        assert_true(w[i] == (float)i);
    crn_checkpoint_free(file);
}

static void state_files_stay_in_their_folder(void **state)
{
    static const struct {
        const char *text, *says;
        crn_status status;
    } states[] = {
        {"", "no model_checkpoint_path", CRN_FORMAT},
        {"all_model_checkpoint_paths: \"m\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: m\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"m", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"../m\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"a/m\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"..\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"/\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"/etc/..\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"\\x2e\\x2e\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"sub\"\n", "names the folder", CRN_FORMAT},
        {"model_checkpoint_path: \"/etc/passwd\"\n", "/passwd: No such file", CRN_NOT_FOUND},
        {"model_checkpoint_path: \"gone\"\n", "/gone: No such file", CRN_NOT_FOUND},
    };
    crn_checkpoint *file = NULL;
    assert_int_equal(mkdir(in_folder(*state, "sub"), 0777), 0);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        put_file(in_folder(*state, "checkpoint"), states[i].text, strlen(states[i].text));
        assert_fails(crn_checkpoint_open(*state, &file, &error), states[i].status, states[i].says);
    }
    bytes b = get_file(DATA "v1");
    static const char there[] = "# note\n model_checkpoint_path: \"/elsewhere/there-1\"\n";
    put_file(in_folder(*state, "checkpoint"), there, sizeof there - 1);
    put_file(in_folder(*state, "there-1"), b.data, b.size);
    free(b.data);
    assert_ok(check_file(*state, "v1", &error));
}

/* ---- damage ---- */

/* Copies DATA NAME into the folder; returns the path of the copy. */
static const char *copy(const char *folder, const char *name)
{
    char from[256];
    snprintf(from, sizeof from, DATA "%s", name);
    bytes b = get_file(from);
    const char *to = in_folder(folder, name);
    put_file(to, b.data, b.size);
    free(b.data);
    return to;
}

/* The files of a checkpoint, the first of which is damaged, and every how many bytes. */
static const struct {
    const char *files[3], *name;
    size_t every;
} victims[] = {
    {{"v1"}, "v1", 1},
    {{"v1_parts"}, "v1_parts", 1},
    {{"v1_snappy"}, "v1_snappy", 67},
    {{"v2.index", "v2.data-00000-of-00001"}, "v2", 1},
    {{"v2.data-00000-of-00001", "v2.index"}, "v2", 1},
    {{"v2_parts.index", "v2_parts.data-00000-of-00001"}, "v2_parts", 1},
    {{"v2_parts.data-00000-of-00001", "v2_parts.index"}, "v2_parts", 7},
    {{"v2_shards.index", "v2_shards.data-00000-of-00002", "v2_shards.data-00001-of-00002"},
     "v2_shards",
     1},
};

#define N_VICTIMS (sizeof victims / sizeof *victims)

static const char *copy_victim(const char *folder, size_t i)
{
    for (size_t k = 3; k-- > 1;)
        if (victims[i].files[k] != NULL)
            copy(folder, victims[i].files[k]);
    return copy(folder, victims[i].files[0]);
}

/* Right values (where the byte has no meaning) or an error in words; and few of the former. */
static void every_flipped_byte_is_noticed(void **state)
{
    for (size_t i = 0; i < N_VICTIMS; i++) {
        const char *path = copy_victim(*state, i);
        bytes b = get_file(path);
        size_t unnoticed = 0;
        for (size_t at = 0; at < b.size; at += victims[i].every) {
            crn_error error = {0};
            size_t bit = 8 * at + at % 8;
            flip_bit(path, &b, bit);
            crn_status status = check_file(path, victims[i].name, &error);
            unnoticed += status == CRN_OK;
            if (status != CRN_OK && (status != CRN_FORMAT || *error.text == '\0'))
                fail_msg("%s, byte %zu: status %d, \"%s\"", victims[i].files[0], at, (int)status,
                         error.text);
            flip_bit(path, &b, bit);
        }
        free(b.data);
        /* The footer's padding, the empty block behind the others, what strings are. */
        if (unnoticed > 90 / victims[i].every)
            fail_msg("%s: %zu flips were not noticed", victims[i].files[0], unnoticed);
    }
}

static void every_truncation_is_noticed(void **state)
{
    for (size_t i = 0; i < N_VICTIMS; i++) {
        const char *path = copy_victim(*state, i);
        bytes b = get_file(path);
        free(b.data);
        for (size_t size = b.size; size-- > 0;) {
            crn_error error = {0};
            assert_int_equal(truncate(path, (off_t)size), 0);
            crn_status status = check_file(path, victims[i].name, &error);
            if (status != CRN_FORMAT || strstr(error.text, *state) == NULL)
                fail_msg("%s of %zu bytes: status %d, \"%s\"", victims[i].files[0], size,
                         (int)status, error.text);
        }
    }
}

static void data_files_lie_beside_the_index(void **state)
{
    crn_checkpoint *file;
    const char *path = copy(*state, "v2.index");
    assert_fails(crn_checkpoint_open(path, &file, &error), CRN_NOT_FOUND,
                 "/v2.data-00000-of-00001: No such file");
    const char *other = in_folder(*state, "v2.something");
    assert_int_equal(rename(path, other), 0);
    assert_fails(crn_checkpoint_open(other, &file, &error), CRN_FORMAT, "called PREFIX.index");
}

/* ---- hostile tables, written by our own writer ---- */

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

/* ---- writing ---- */

static const float weights[] = {1, -2, 3.5f, 1e-40f, 1e38f, 0};
static const crn_metadata pairs[] = {{"clarinet.classes", "[\"cat\",\"dog\"]"}, {"note", ""}};

static crn_status write_ours(const char *path, int64_t step, crn_error *why)
{
    const crn_checkpoint_entry entries[] = {
        {"w/x", "F32", 2, {2, 3}, 0}, {"nothing", "F32", 1, {0}, 0}, {"b", "BF16", 1, {4}, 0}};
    crn__checkpoint_content content = {entries, 3, pairs, 2, step};
    crn__checkpoint_writer *writer;
    crn_status status =
        crn__checkpoint_writer_create(path, CRN_CHECKPOINT_TENSORFLOW, &content, &writer, why);
    if (status != CRN_OK)
        return status;
    assert_ok(crn__checkpoint_writer_append(writer, weights, 5, &error));
    assert_ok(crn__checkpoint_writer_append(writer, (const char *)weights + 5, 19, &error));
    assert_ok(crn__checkpoint_writer_append(writer, weights, 8, &error));
    return crn__checkpoint_writer_commit(writer, why);
}

static void check_ours(const char *path, const char *step)
{
    crn_checkpoint *file;
    float read[6];
    assert_ok(crn_checkpoint_open(path, &file, &error));
    assert_int_equal(crn_checkpoint_count(file), step != NULL ? 4 : 3);
    assert_ok(crn_checkpoint_read(file, "w/x", read, 6, &error));
    assert_memory_equal(read, weights, sizeof weights);
    assert_string_equal(crn_checkpoint_metadata(file, "clarinet.classes"), "[\"cat\",\"dog\"]");
    assert_string_equal(crn_checkpoint_metadata(file, "note"), "");
    if (step != NULL)
        assert_string_equal(crn_checkpoint_metadata(file, "global_step"), step);
    else
        assert_null(crn_checkpoint_metadata(file, "global_step"));
    crn_checkpoint_free(file);
}

static void reads_what_it_wrote(void **state)
{
    const char *prefix = in_folder(*state, "ours");
    assert_ok(write_ours(prefix, -1, &error));
    check_ours(prefix, NULL);
    assert_int_equal(count_files(*state), 2);
    assert_ok(write_ours(prefix, 7, &error)); /* over the old one */
    check_ours(prefix, "7");
    assert_ok(write_ours(*state, 12, &error));
    check_ours(*state, "12");
    check_ours(in_folder(*state, "model.ckpt-12"), "12");
    assert_int_equal(count_files(*state), 5);
}

static void refuses_to_write_what_is_no_tensor(void **state)
{
    const char *path = in_folder(*state, "ours");
    crn_checkpoint_entry entries[] = {{"a", "F32", 0, {0}, 0}, {"b", "F32", 0, {0}, 0}};
    crn__checkpoint_content content = {.entries = entries, .n_entries = 2, .step = -1};
    crn__checkpoint_writer *writer = NULL;
#define CREATE() \
    crn__checkpoint_writer_create(path, CRN_CHECKPOINT_TENSORFLOW, &content, &writer, &error)
    entries[1].name = "a";
    assert_fails(CREATE(), CRN_INVALID, "tensor \"a\" is there twice");
    entries[1].name = "";
    assert_fails(CREATE(), CRN_INVALID, "\"\" is no tensor");
    entries[1].name = "clarinet.metadata/x";
    assert_fails(CREATE(), CRN_INVALID, "no tensor");
    entries[1] = (crn_checkpoint_entry){"b", "STRING", 0, {0}, 0};
    assert_fails(CREATE(), CRN_INVALID, "\"b\" is no tensor");
    entries[1] = (crn_checkpoint_entry){"b", "F32", 2, {INT64_MAX, INT64_MAX}, 0};
    assert_fails(CREATE(), CRN_INVALID, "\"b\" is no tensor");
    entries[1] = (crn_checkpoint_entry){"b", "F32", 1, {-1}, 0};
    assert_fails(CREATE(), CRN_INVALID, "\"b\" is no tensor");
    assert_int_equal(count_files(*state), 0);

    entries[1] = (crn_checkpoint_entry){"b", "F32", 0, {0}, 0};
    assert_ok(CREATE());
    assert_ok(crn__checkpoint_writer_append(writer, weights, 4, &error));
    assert_fails(crn__checkpoint_writer_commit(writer, &error), CRN_INVALID,
                 "the data of 1 tensors is missing");
    assert_ok(CREATE());
    assert_fails(crn__checkpoint_writer_append(writer, weights, 9, &error), CRN_INVALID,
                 "more data than was declared");
    crn__checkpoint_writer_abort(writer);
    crn__checkpoint_writer_abort(NULL);
    assert_int_equal(count_files(*state), 0);
}

/* ---- converting ---- */

static size_t left_out;

static void count_left_out(void *data, const char *name, const char *why)
{
    assert_ptr_equal(data, &left_out);
    assert_string_equal(name, "text");
    assert_string_equal(why, "the format cannot have STRING");
    left_out++;
}

/* Everything in a is in b with the same bytes. */
static void check_same(const char *a_path, const char *b_path, const char *but)
{
    crn_checkpoint *a, *b;
    assert_ok(crn_checkpoint_open(a_path, &a, &error));
    assert_ok(crn_checkpoint_open(b_path, &b, &error));
    for (size_t i = 0; i < crn_checkpoint_count(a); i++) {
        crn_checkpoint_entry x, y;
        unsigned char *p, *q;
        crn_checkpoint_entry_at(a, i, &x);
        if (but != NULL && strcmp(x.name, but) == 0)
            continue;
        assert_int_equal(crn_checkpoint_find(b, x.name, &y), CRN_OK);
        assert_string_equal(x.dtype, y.dtype);
        assert_int_equal(x.rank, y.rank);
        assert_memory_equal(x.dims, y.dims, sizeof x.dims);
        assert_ok(read_bytes(a, x.name, &p, &error));
        assert_ok(read_bytes(b, x.name, &q, &error));
        assert_memory_equal(p, q, (size_t)x.bytes);
        free(p);
        free(q);
    }
    crn_checkpoint_free(a);
    crn_checkpoint_free(b);
}

static void converts_there_and_back(void **state)
{
    static const char *const names[] = {"v1", "v1_parts", "v1_snappy",
                                        "v2", "v2_parts", "v2_shards"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char from[256];
        snprintf(from, sizeof from, DATA "%s", names[i]);
        const char *there = in_folder(*state, "there"), *back = in_folder(*state, "back");
        crn_convert_options o = CRN_CONVERT_OPTIONS_INIT;
        left_out = 0;
        o.report = count_left_out;
        o.report_data = &left_out;
        assert_ok(crn_checkpoint_convert(from, there, &o, &error));
        assert_int_equal(left_out, strcmp(names[i], "v2") == 0);
        check_same(from, there, "text");
        o.format = CRN_CHECKPOINT_TENSORFLOW;
        assert_ok(crn_checkpoint_convert(there, back, &o, &error));
        check_same(there, back, NULL);
        check_same(back, there, NULL);
        assert_ok(crn_checkpoint_convert(back, back, &o, &error)); /* onto itself */
        check_same(there, back, NULL);
    }
}

static void converts_parts_and_metadata(void **state)
{
    const char *prefix = in_folder(*state, "ours");
    const char *to = in_folder(*state, "to");
    crn_convert_options o = CRN_CONVERT_OPTIONS_INIT;
    crn_checkpoint *file;
    crn_checkpoint_entry e;
    assert_ok(write_ours(prefix, 7, &error));
    assert_ok(crn_checkpoint_convert(prefix, to, &o, &error));
    check_ours(to, "7");

    o.no_slots = true;
    o.exclude_scopes = "conv/b,global_step";
    assert_ok(crn_checkpoint_convert(DATA "v1", to, &o, &error));
    assert_ok(crn_checkpoint_open(to, &file, &error));
    assert_int_equal(crn_checkpoint_count(file), 18 - 2 - 2);
    assert_int_equal(crn_checkpoint_find(file, "conv/weights", &e), CRN_OK);
    assert_int_equal(crn_checkpoint_find(file, "conv/biases", &e), CRN_NOT_FOUND);
    assert_int_equal(crn_checkpoint_find(file, "conv/weights/Momentum", &e), CRN_NOT_FOUND);
    assert_null(crn_checkpoint_metadata(file, "global_step"));
    crn_checkpoint_free(file);

    o = (crn_convert_options)CRN_CONVERT_OPTIONS_INIT;
    o.include_scopes = "conv, scalar";
    assert_ok(crn_checkpoint_convert(DATA "v1", to, &o, &error));
    assert_ok(crn_checkpoint_open(to, &file, &error));
    assert_int_equal(crn_checkpoint_count(file), 5);
    crn_checkpoint_free(file);
    assert_fails(crn_checkpoint_convert(in_folder(*state, "none"), to, NULL, &error), CRN_NOT_FOUND,
                 "none: No such file");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_tensorflow_wrote),
        cmocka_unit_test(says_what_a_checkpoint_is),
        cmocka_unit_test(follows_the_state_file),
        TEST(state_files_stay_in_their_folder),
        TEST(every_flipped_byte_is_noticed),
        TEST(every_truncation_is_noticed),
        TEST(data_files_lie_beside_the_index),
        TEST(hostile_headers_are_reported),
        TEST(hostile_entries_are_reported),
        TEST(hostile_names_and_places_are_reported),
        TEST(hostile_parts_are_reported),
        TEST(reads_what_it_wrote),
        TEST(refuses_to_write_what_is_no_tensor),
        TEST(converts_there_and_back),
        TEST(converts_parts_and_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
