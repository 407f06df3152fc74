#include "files.h"

#include <jansson.h>

#include "formats/safetensors.h"

#define DATA CRN_TEST_DATA "/formats/data/"

/* ---- files of others ---- */

static void reads_a_file_of_the_reference_library(void **state)
{
    (void)state;
    crn_checkpoint *file = NULL;
    assert_ok(crn_checkpoint_open(DATA "foreign.safetensors", &file, &error));
    static const char *const names[] = {"empty",      "half",        "mask",
                                        "net/biases", "net/weights", "quote\" \\ \n \u00e9",
                                        "scalar",     "step"};
    static const char *const dtypes[] = {"F32", "F16", "BOOL", "F32", "F32", "F32", "F32", "I64"};
    static const uint64_t sizes[] = {0, 12, 1, 8, 24, 4, 4, 8};
    static const int32_t ranks[] = {2, 6, 1, 1, 2, 1, 0, 1};
    assert_int_equal(crn_checkpoint_count(file), 8);
    crn_checkpoint_entry entry;
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(crn_checkpoint_entry_at(file, i, &entry), CRN_OK);
        assert_string_equal(entry.name, names[i]);
        assert_string_equal(entry.dtype, dtypes[i]);
        assert_int_equal(entry.bytes, sizes[i]);
        assert_int_equal(entry.rank, ranks[i]);
    }
    assert_int_equal(crn_checkpoint_entry_at(file, 8, &entry), CRN_NOT_FOUND);
    crn_checkpoint_entry_at(file, 1, &entry);
    static const int64_t dims[] = {1, 1, 1, 1, 2, 3};
    assert_memory_equal(entry.dims, dims, sizeof dims);

    float weights[6], biases[2], one;
    assert_ok(crn_checkpoint_read(file, "net/weights", weights, 6, &error));
    for (int i = 0; i < 6; i++)
        assert_true(weights[i] == (float)i / 4);
    assert_ok(crn_checkpoint_read(file, "net/biases", biases, 2, &error));
    assert_true(biases[0] == -1 && biases[1] == 1e-30f);
    assert_ok(crn_checkpoint_read(file, "scalar", &one, 1, &error));
    assert_true(one == 2.5f);
    assert_ok(crn_checkpoint_read(file, names[5], &one, 1, &error));
    assert_true(one == 8);
    assert_ok(crn_checkpoint_read(file, "empty", NULL, 0, &error));

    assert_fails(crn_checkpoint_read(file, "net/weight", weights, 6, &error), CRN_NOT_FOUND,
                 "foreign.safetensors: no tensor \"net/weight\"");
    assert_fails(crn_checkpoint_read(file, "net/weights", weights, 5, &error), CRN_INVALID,
                 "tensor \"net/weights\" has 6 elements, not the 5");
    /* Other dtypes as float32: F16, BOOL and I64. */
    float halves[6], mask, number;
    assert_ok(crn_checkpoint_read(file, "half", halves, 6, &error));
    for (int i = 0; i < 6; i++)
        assert_true(halves[i] == 1);
    assert_ok(crn_checkpoint_read(file, "mask", &mask, 1, &error));
    assert_ok(crn_checkpoint_read(file, "step", &number, 1, &error));
    assert_true(mask == 1 && number == 1000);

    assert_string_equal(crn_checkpoint_metadata(file, "origin"), "safetensors");
    assert_string_equal(crn_checkpoint_metadata(file, "text"), "quote\" \\ \n \u00e9 \U0001F600");
    assert_null(crn_checkpoint_metadata(file, "other"));
    crn_checkpoint_free(file);
    crn_checkpoint_free(NULL);
}

/* ---- our own ---- */

static const float weights[] = {1, -2, 3.5f, 1e-40f, 1e38f, 0};
static const int32_t step = 12345;
static const float mean[] = {7, 8};

static crn_status begin(const char *path, crn__safetensors_writer **writer, crn_error *error)
{
    const crn_checkpoint_entry tensors[] = {{"w/x", "F32", 2, {2, 3}, 0},
                                            {"nothing", "F32", 1, {0}, 0},
                                            {"step", "I32", 0, {0}, 0},
                                            {"a \"mean\" \u00e9", "F32", 1, {2}, 0}};
    const crn_metadata metadata[] = {{"classes", "[\"cat\",\"dog\"]"}, {"seed", "42"}};
    return crn__safetensors_writer_create(path, tensors, 4, metadata, 2, writer, error);
}

static void write_ours(const char *path)
{
    crn__safetensors_writer *writer = NULL;
    assert_ok(begin(path, &writer, &error));
    assert_ok(crn__safetensors_writer_append(writer, weights, 5, &error)); /* any parts will do */
    assert_ok(crn__safetensors_writer_append(writer, (const char *)weights + 5, 19, &error));
    assert_ok(crn__safetensors_writer_append(writer, &step, 4, &error));
    assert_ok(crn__safetensors_writer_append(writer, mean, 8, &error));
    assert_ok(crn__safetensors_writer_commit(writer, &error));
}

/* Every tensor and metadata of write_ours is there and right; else the reader's status. */
static crn_status read_ours(const char *path, crn_error *error)
{
    crn_checkpoint *file = NULL;
    crn_status status = crn_checkpoint_open(path, &file, error);
    if (status != CRN_OK)
        return status;
    float read[6];
    status = crn_checkpoint_read(file, "w/x", read, 6, error);
    if (status == CRN_OK) {
        assert_memory_equal(read, weights, sizeof weights);
        status = crn_checkpoint_read(file, "a \"mean\" \u00e9", read, 2, error);
    }
    if (status == CRN_OK) {
        assert_memory_equal(read, mean, sizeof mean);
        assert_int_equal(crn_checkpoint_count(file), 4);
        assert_string_equal(crn_checkpoint_metadata(file, "seed"), "42");
        assert_string_equal(crn_checkpoint_metadata(file, "classes"), "[\"cat\",\"dog\"]");
    }
    crn_checkpoint_free(file);
    return status;
}

/* Taken apart by jansson rather than by our reader. */
static void writes_the_format(void **state)
{
    const char *path = in_folder(*state, "ours");
    write_ours(path);
    bytes b = get_file(path);
    uint64_t length;
    memcpy(&length, b.data, 8);
    assert_int_equal(length % 8, 0);
    json_t *root = json_loadb((char *)b.data + 8, (size_t)length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    assert_int_equal(json_object_size(root), 5);

    const char *dtype;
    int dims[2], from, to;
    assert_int_equal(json_unpack(json_object_get(root, "w/x"), "{s:s,s:[ii!],s:[ii!]!}", "dtype",
                                 &dtype, "shape", &dims[0], &dims[1], "data_offsets", &from, &to),
                     0);
    assert_string_equal(dtype, "F32");
    assert_true(dims[0] == 2 && dims[1] == 3 && to - from == 24);
    assert_memory_equal(b.data + 8 + length + from, weights, sizeof weights);
    assert_int_equal(json_unpack(json_object_get(root, "step"), "{s:s,s:[!],s:[ii!]!}", "dtype",
                                 &dtype, "shape", "data_offsets", &from, &to),
                     0);
    assert_string_equal(dtype, "I32");
    assert_int_equal(to - from, 4);
    assert_memory_equal(b.data + 8 + length + from, &step, 4);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(root, "__metadata__"), "seed")), "42");
    assert_int_equal(b.size, 8 + length + 24 + 4 + 8);
    json_decref(root);
    free(b.data);
}

static void reads_what_it_wrote(void **state)
{
    const char *path = in_folder(*state, "ours");
    write_ours(path);
    assert_ok(read_ours(path, &error));
    write_ours(path); /* over the old one */
    assert_ok(read_ours(path, &error));
    assert_int_equal(count_files(*state), 1);
}

static void every_flipped_bit_is_reported(void **state)
{
    const char *path = in_folder(*state, "ours");
    write_ours(path);
    bytes b = get_file(path);
    uint64_t length;
    memcpy(&length, b.data, 8);
    for (size_t bit = 0; bit < 8 * b.size; bit++) {
        /* The integer has a checksum too, but crn_checkpoint_read reads floats alone. */
        if (bit / 8 >= 8 + length + 24 && bit / 8 < 8 + length + 28)
            continue;
        flip_bit(path, &b, bit);
        crn_error error = {0};
        if (read_ours(path, &error) == CRN_OK)
            fail_msg("bit %zu of byte %zu was not missed", bit % 8, bit / 8);
        assert_non_null(strstr(error.text, "ours: "));
        flip_bit(path, &b, bit);
    }
    flip_bit(path, &b, 8 * b.size - 1);
    assert_fails(read_ours(path, &error), CRN_FORMAT, "tensor a \"mean\" \u00e9 is damaged");
    free(b.data);
}

static void every_truncation_is_reported(void **state)
{
    const char *path = in_folder(*state, "ours");
    write_ours(path);
    bytes b = get_file(path);
    crn_checkpoint *file = NULL;
    for (size_t size = b.size; size-- > 0;) {
        assert_int_equal(truncate(path, (off_t)size), 0);
        assert_fails(crn_checkpoint_open(path, &file, &error), CRN_FORMAT, "ours: ");
    }
    b.data[b.size] = 0;
    put_file(path, b.data, b.size + 1);
    assert_fails(crn_checkpoint_open(path, &file, &error), CRN_FORMAT, "37 bytes of data");
    free(b.data);
}

static void unfinished_writing_keeps_the_old_file(void **state)
{
    const char *path = in_folder(*state, "ours");
    write_ours(path);
    crn__safetensors_writer *writer = NULL;
    assert_ok(begin(path, &writer, &error));
    assert_ok(crn__safetensors_writer_append(writer, weights, 24, &error));
    crn__safetensors_writer_abort(writer);
    crn__safetensors_writer_abort(NULL);
    assert_ok(begin(path, &writer, &error));
    assert_ok(crn__safetensors_writer_append(writer, weights, 23, &error));
    assert_fails(crn__safetensors_writer_commit(writer, &error), CRN_INVALID,
                 "ours: the data of 4 tensors is missing");
    char much[64] = {0};
    assert_ok(begin(path, &writer, &error));
    assert_fails(crn__safetensors_writer_append(writer, much, 37, &error), CRN_INVALID,
                 "ours: more data than was declared");
    crn__safetensors_writer_abort(writer);
    assert_ok(read_ours(path, &error));
    assert_int_equal(count_files(*state), 1);
}

static void refuses_to_write_what_it_could_not_read(void **state)
{
    const char *path = in_folder(*state, "ours");
    crn__safetensors_writer *writer = NULL;
    crn_checkpoint_entry tensors[] = {{"a", "F32", 1, {1}, 0}, {"a", "F32", 1, {1}, 0}};
    crn_metadata metadata[] = {{"k", "1"}, {"k", "2"}};
    assert_fails(crn__safetensors_writer_create(path, tensors, 2, NULL, 0, &writer, &error),
                 CRN_INVALID, "tensor \"a\" is there twice");
    assert_fails(crn__safetensors_writer_create(path, tensors, 1, metadata, 2, &writer, &error),
                 CRN_INVALID, "metadata \"k\" is there twice");
    metadata[0].key = "clarinet.xxh3";
    assert_fails(crn__safetensors_writer_create(path, tensors, 1, metadata, 1, &writer, &error),
                 CRN_INVALID, "metadata \"clarinet.xxh3\" is there twice");
    metadata[1].value = "\xff";
    assert_fails(crn__safetensors_writer_create(path, tensors, 1, metadata + 1, 1, &writer, &error),
                 CRN_INVALID, "not UTF-8");
    tensors[0].name = "__metadata__";
    assert_fails(crn__safetensors_writer_create(path, tensors, 1, NULL, 0, &writer, &error),
                 CRN_INVALID, "\"__metadata__\"");
    tensors[0] = (crn_checkpoint_entry){"open", "F32", 2, {CRN_ANY, 3}, 0};
    assert_fails(crn__safetensors_writer_create(path, tensors, 1, NULL, 0, &writer, &error),
                 CRN_INVALID, "\"open\"");
    tensors[0] = (crn_checkpoint_entry){"vast", "F32", 1, {INT64_MAX / 4}, 0};
    tensors[1] = (crn_checkpoint_entry){"vast too", "F32", 1, {INT64_MAX / 4}, 0};
    assert_fails(crn__safetensors_writer_create(path, tensors, 2, NULL, 0, &writer, &error),
                 CRN_INVALID, "too large");
    assert_null(writer);
    assert_int_equal(count_files(*state), 0);
}

static void writes_a_file_without_tensors(void **state)
{
    const char *path = in_folder(*state, "ours");
    crn__safetensors_writer *writer = NULL;
    assert_ok(crn__safetensors_writer_create(path, NULL, 0, NULL, 0, &writer, &error));
    assert_ok(crn__safetensors_writer_commit(writer, &error));
    crn_checkpoint *file = NULL;
    assert_ok(crn_checkpoint_open(path, &file, &error));
    assert_int_equal(crn_checkpoint_count(file), 0);
    float x;
    assert_fails(crn_checkpoint_read(file, "x", &x, 1, &error), CRN_NOT_FOUND, "no tensor \"x\"");
    crn_checkpoint_free(file);
}

/* ---- hostile headers ---- */

/* Writes header and `data` bytes behind it, and opens that. */
static crn_status open_header(const char *folder, const char *header, size_t data, crn_error *error)
{
    char file[2048] = {0};
    uint64_t length = strlen(header);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, (size_t)length);
    const char *path = in_folder(folder, "hostile");
    put_file(path, file, 8 + (size_t)length + data);
    crn_checkpoint *checkpoint = NULL;
    crn_status status = crn_checkpoint_open(path, &checkpoint, error);
    crn_checkpoint_free(checkpoint);
    return status;
}

#define TENSOR(name, dtype, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const struct {
    const char *header;
    size_t data;
    const char *says;
} broken_headers[] = {
    {"", 0, "no checkpoint, or cut short"},
    {" {}", 0, "expected '{'"},
    {"[]", 0, "expected '{'"},
    {"{", 0, "expected '\"'"},
    {"{}x", 0, "text behind the end"},
    {"{},", 0, "text behind the end"},
    {"{\"a\"", 0, "expected ':'"},
    {"{\"a\":1}", 0, "expected '{'"},
    {"{\"a\":{}}", 0, "once each"},
    {"{\"a", 0, "expected '\"'"},
    {"{\"a\\", 0, "expected '\"'"},
    {"{\"\\q\":{}}", 0, "byte 13: an escape that does not exist"},
    {"{\"\xff\":{}}", 0, "not UTF-8"},
    {"{\"a\\u0000b\":{}}", 0, "an escape that does not exist"},
    {"{\"a\nb\":{}}", 0, "a control character"},
    {"{" TENSOR("a", "F32", "[1]", "[0,4]") ",}", 4, "expected '\"'"},
    {"{" TENSOR("a", "F32", "[1]", "[0,4]") " " TENSOR("b", "F32", "[0]", "[4,4]") "}", 4,
     "expected ','"},
    {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("a", "F32", "[0]", "[4,4]") "}", 4,
     "tensor \"a\" is there twice"},
    {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("\\u0061", "F32", "[0]", "[4,4]") "}", 4,
     "tensor \"a\" is there twice"},
    {"{" TENSOR("a", "F33", "[1]", "[0,4]") "}", 4, "unknown dtype"},
    {"{" TENSOR("a", "f32", "[1]", "[0,4]") "}", 4, "unknown dtype"},
    {"{" TENSOR("a", "", "[1]", "[0,4]") "}", 4, "unknown dtype"},
    {"{" TENSOR("a", "F32", "[1,]", "[0,4]") "}", 4, "expected a whole number"},
    {"{" TENSOR("a", "F32", "[-1]", "[0,4]") "}", 4, "expected a whole number"},
    {"{" TENSOR("a", "F32", "[1.0]", "[0,4]") "}", 4, "expected ','"},
    {"{" TENSOR("a", "F32", "[01]", "[0,4]") "}", 4, "expected a whole number"},
    {"{" TENSOR("a", "F32", "[\"1\"]", "[0,4]") "}", 4, "expected a whole number"},
    {"{" TENSOR("a", "F32", "1", "[0,4]") "}", 4, "expected '['"},
    {"{" TENSOR("a", "F32", "[1", "[0,4]") "}", 4, "expected"},
    {"{" TENSOR("a", "F32", "[[[[1]]]]", "[0,4]") "}", 4, "expected a whole number"},
    {"{" TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "too many numbers"},
    {"{" TENSOR("a", "F32", "[9223372036854775808]", "[0,4]") "}", 4, "too large"},
    {"{" TENSOR("a", "F32", "[99999999999999999999]", "[0,4]") "}", 4, "too large"},
    /* Products that wrap to 4 bytes, or to none. */
    {"{" TENSOR("a", "F32", "[4294967296,4294967296]", "[0,0]") "}", 0, "too large"},
    {"{" TENSOR("a", "F32", "[4611686018427387905]", "[0,4]") "}", 4, "too large"},
    {"{" TENSOR("a", "F32", "[4294967296,4294967296,0]", "[0,0]") "}", 0, "too large"},
    {"{" TENSOR("a", "F32", "[2]", "[0,4]") "}", 4, "do not hold the 8 bytes"},
    {"{" TENSOR("a", "F32", "[1]", "[0,8]") "}", 8, "do not hold the 4 bytes"},
    {"{" TENSOR("a", "F64", "[1]", "[0,4]") "}", 4, "do not hold the 8 bytes"},
    {"{" TENSOR("a", "F32", "[1]", "[4,0]") "}", 4, "do not hold the 4 bytes"},
    {"{" TENSOR("a", "F32", "[1]", "[0]") "}", 4, "two numbers"},
    {"{" TENSOR("a", "F32", "[1]", "[0,4,8]") "}", 4, "too many numbers"},
    {"{" TENSOR("a", "F32", "[1]", "[1,5]") "}", 5, "begins behind a gap"},
    {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("b", "F32", "[1]", "[5,9]") "}", 9,
     "tensor \"b\": its data begins behind a gap"},
    {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("b", "F32", "[1]", "[3,7]") "}", 7,
     "tensor \"b\": its data overlaps"},
    {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("b", "F32", "[1]", "[0,4]") "}", 4,
     "its data overlaps"},
    {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("b", "F32", "[0]", "[2,2]") "}", 4,
     "tensor \"b\": its data overlaps"},
    {"{" TENSOR("a", "F32", "[1]", "[0,4]") "}", 3, "3 bytes of data where the header describes 4"},
    {"{" TENSOR("a", "F32", "[1]", "[0,4]") "}", 5, "5 bytes of data where the header describes 4"},
    {"{" TENSOR("a", "F32", "[2305843009213693951]", "[0,9223372036854775804]") "}", 4,
     "4 bytes of data where"},
    {"{}", 1, "1 bytes of data where the header describes 0"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "once each"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "once each"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}", 4, "once each"},
    {"{\"__metadata__\":[]}", 0, "expected '{'"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "expected '\"'"},
    {"{\"__metadata__\":{\"a\":{}}}", 0, "expected '\"'"},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "metadata \"a\" is there twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "second __metadata__"},
    /* Checksums that are not what we write. */
    {"{\"__metadata__\":{\"clarinet.format\":\"1\"}}", 0, "header is damaged"},
    {"{\"__metadata__\":{\"clarinet.xxh3\":\"\"}}", 0, "header is damaged"},
    {"{\"__metadata__\":{\"clarinet.xxh3\":\"0123456789abcdef\"}}", 0, "header is damaged"},
    {"{\"__metadata__\":{\"clarinet.xxh3\":\"0123456789ABCDEF\"}}", 0, "header is damaged"},
    {"{\"__metadata__\":{\"a\":\"1\",\"clarinet.xxh3\":\"0123456789abcdef\"}}", 0,
     "header is damaged"},
    {"{\"__metadata__\":{\"clarinet.xxh3\":\"012345678\\u0039abcdef\"}}", 0, "header is damaged"},
};

static void broken_headers_are_reported(void **state)
{
    for (size_t i = 0; i < sizeof broken_headers / sizeof broken_headers[0]; i++) {
        crn_error error = {0};
        crn_status status =
            open_header(*state, broken_headers[i].header, broken_headers[i].data, &error);
        if (status != CRN_FORMAT || strstr(error.text, broken_headers[i].says) == NULL ||
            strstr(error.text, "hostile: ") == NULL)
            fail_msg("%s: status %d, \"%s\"; not \"%s\"", broken_headers[i].header, (int)status,
                     error.text, broken_headers[i].says);
    }
}

/* A hundred megabytes of nearly empty members would take many times their size of memory. */
static void headers_of_too_many_members_are_refused(void **state)
{
    enum { PAIRS = 65536 };
    const char *path = in_folder(*state, "many");
    for (int more = 0; more < 2; more++) {
        char *file = NULL;
        size_t size = 0;
        FILE *stream = open_memstream(&file, &size);
        fprintf(stream, "12345678{\"__metadata__\":{\"0\":\"\"");
        for (int i = 1; i < PAIRS + more; i++)
            fprintf(stream, ",\"%d\":\"\"", i);
        fprintf(stream, "}}");
        assert_int_equal(fclose(stream), 0);
        uint64_t length = size - 8;
        memcpy(file, &length, 8);
        put_file(path, file, size);
        free(file);
        crn_checkpoint *checkpoint = NULL;
        if (more)
            assert_fails(crn_checkpoint_open(path, &checkpoint, &error), CRN_FORMAT,
                         "too many metadata");
        else
            assert_ok(crn_checkpoint_open(path, &checkpoint, &error));
        crn_checkpoint_free(checkpoint);
    }
}

static void headers_at_the_edge_are_read(void **state)
{
    static const char *const headers[] = {
        "{} ",
        "{ }",
        "{\"__metadata__\" : { } }   ",
        "{" TENSOR("", "F32", "[ 1 , 1 ]", "[ 0 , 0 ]") "}",
        "{" TENSOR("a", "BOOL", "[1,1,1,1,1,1,1,0]", "[0,0]") "}",
        "{" TENSOR("b", "F32", "[0]", "[0,0]") "," TENSOR("a", "F8_E4M3", "[0,5]", "[0,0]") "}",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        if (i != 3)
            assert_ok(open_header(*state, headers[i], 0, &error));
    assert_ok(open_header(*state, "{" TENSOR("", "F32", "[ 1 , 1 ]", "[ 0 , 4 ]") "}", 4, &error));
}

static void files_that_are_no_safetensors_are_reported(void **state)
{
    crn_checkpoint *file = NULL;
    const char *path = in_folder(*state, "file");
    assert_fails(crn_checkpoint_open(path, &file, &error), CRN_NOT_FOUND,
                 "file: No such file or directory");
    assert_fails(crn_checkpoint_open(NULL, &file, &error), CRN_INVALID, "NULL");
    assert_fails(crn_checkpoint_open(*state, &file, &error), CRN_NOT_FOUND,
                 "a folder without a file \"checkpoint\"");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_fails(crn_checkpoint_open(path, &file, &error), CRN_INVALID, "not a regular file");
    unlink(path);

    static const uint64_t lengths[] = {100000001, UINT64_MAX, UINT64_MAX - 7, INT64_MAX, 3};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char data[10] = {0};
        memcpy(data, &lengths[i], 8);
        put_file(path, data, sizeof data);
        assert_fails(crn_checkpoint_open(path, &file, &error), CRN_FORMAT,
                     "file: no checkpoint, or cut short");
    }
    assert_null(file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_file_of_the_reference_library),
        TEST(writes_the_format),
        TEST(reads_what_it_wrote),
        TEST(every_flipped_bit_is_reported),
        TEST(every_truncation_is_reported),
        TEST(unfinished_writing_keeps_the_old_file),
        TEST(refuses_to_write_what_it_could_not_read),
        TEST(writes_a_file_without_tensors),
        TEST(broken_headers_are_reported),
        TEST(headers_of_too_many_members_are_refused),
        TEST(headers_at_the_edge_are_read),
        TEST(files_that_are_no_safetensors_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
