#include "files.h"

#include "clarinet/data.h"
#include "formats/npy.h"

#define DATA CRN_TEST_DATA "/formats/data/"

static void assert_array(const char *path, const float *expected, size_t count, int32_t rank)
{
    float *data = NULL;
    crn_shape shape;
    assert_ok(crn_npy_read(path, &data, &shape, &error));
    assert_int_equal(shape.rank, rank);
    assert_int_equal(crn_shape_count(&shape), count);
    for (size_t i = 0; i < count; i++)
        if (data[i] != expected[i])
            fail_msg("%s: [%zu] is %g, not %g", path, i, (double)data[i], (double)expected[i]);
    crn_free(data);
}

/* make_fixtures.py writes these six numbers in every type. */
static void reads_what_numpy_wrote(void **state)
{
    (void)state;
    static const float floats[] = {-1.5f, 0, 0.25f, 1, 1e30f, 16777216};
    static const float bools[] = {0, 1, 1, 0, 0, 1};
    assert_array(DATA "f4.npy", floats, 6, 2);
    assert_array(DATA "f8.npy", floats, 6, 2);
    assert_array(DATA "version2.npy", floats, 6, 2);
    assert_array(DATA "version3.npy", floats, 6, 2);
    assert_array(DATA "b1.npy", bools, 6, 2);
    static const struct {
        const char *path;
        float min, max;
    } integers[] = {
        {DATA "i1.npy", -128, 127},
        {DATA "i2.npy", -32768, 32767},
        {DATA "i4.npy", -0x1p31f, 0x1p31f},
        {DATA "i8.npy", -0x1p63f, 0x1p63f},
        {DATA "u1.npy", 0, 255},
        {DATA "u2.npy", 0, 65535},
        {DATA "u4.npy", 0, 0x1p32f},
        {DATA "u8.npy", 0, 0x1p64f},
    };
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        const float expected[] = {integers[i].min, 0, 1, 2, 100, integers[i].max};
        assert_array(integers[i].path, expected, 6, 2);
    }
    static const float count[24] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                    12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};
    static const float scalar = 7.5f;
    assert_array(DATA "scalar.npy", &scalar, 1, 0);
    assert_array(DATA "vector.npy", count, 5, 1);
    assert_array(DATA "rank4.npy", count, 24, 4);
    assert_array(DATA "empty.npy", NULL, 0, 2);
}

static void refuses_what_it_does_not_understand(void **state)
{
    (void)state;
    float *data = NULL;
    crn_shape shape;
    assert_fails(crn_npy_read(DATA "fortran.npy", &data, &shape, &error), CRN_UNSUPPORTED,
                 "fortran.npy: the array is in Fortran order");
    assert_fails(crn_npy_read(DATA "big_endian.npy", &data, &shape, &error), CRN_UNSUPPORTED,
                 "element type \">f4\"");
    assert_fails(crn_npy_read(DATA "half.npy", &data, &shape, &error), CRN_UNSUPPORTED, "\"<f2\"");
    assert_fails(crn_npy_read(DATA "complex.npy", &data, &shape, &error), CRN_UNSUPPORTED,
                 "\"<c8\"");
    assert_fails(crn_npy_read(DATA "records.npy", &data, &shape, &error), CRN_UNSUPPORTED,
                 "records");
    assert_fails(crn_npy_read(DATA "rank5.npy", &data, &shape, &error), CRN_UNSUPPORTED,
                 "more than 4 dimensions");
    assert_fails(crn_npy_read(DATA "none.npy", &data, &shape, &error), CRN_NOT_FOUND,
                 "none.npy: No such file");
    assert_fails(crn_npy_read(DATA "foreign.safetensors", &data, &shape, &error), CRN_FORMAT,
                 "not a .npy file");
    assert_null(data);
}

static void reads_in_pieces(void **state)
{
    (void)state;
    crn__npy npy;
    assert_ok(crn__npy_open(DATA "i2.npy", &npy, &error));
    assert_int_equal(npy.type, CRN__NPY_I16);
    assert_int_equal(npy.count, 6);
    int16_t raw[3];
    int64_t wide[2];
    float floats[1];
    assert_ok(crn__npy_read_raw(&npy, 3, 3, raw, &error));
    assert_true(raw[0] == 2 && raw[1] == 100 && raw[2] == 32767);
    assert_ok(crn__npy_read_integers(&npy, 0, 2, wide, &error));
    assert_true(wide[0] == -32768 && wide[1] == 0);
    assert_ok(crn__npy_read_floats(&npy, 5, 1, floats, &error));
    assert_true(floats[0] == 32767);
    crn__npy_close(&npy);

    assert_ok(crn__npy_open(DATA "u8.npy", &npy, &error));
    assert_ok(crn__npy_read_integers(&npy, 4, 2, wide, &error));
    assert_true(wide[0] == 100 && wide[1] == INT64_MAX);
    crn__npy_close(&npy);
    assert_ok(crn__npy_open(DATA "f8.npy", &npy, &error));
    assert_fails(crn__npy_read_integers(&npy, 0, 2, wide, &error), CRN_UNSUPPORTED,
                 "holds floats where integers are needed");
    crn__npy_close(&npy);
}

/* More elements than are converted at once. */
static void converts_long_arrays(void **state)
{
    enum { COUNT = 5000 };
    const char *path = in_folder(*state, "long.npy");
    static unsigned char file[128 + 8 * COUNT];
    bytes scalar = get_file(DATA "f8.npy");
    memcpy(file, scalar.data, 128);
    free(scalar.data);
    char *shape = strstr((char *)file + 10, "(2, 3)");
    assert_non_null(shape);
    memcpy(shape, "(5000,)", 7);
    memcpy(shape + 7, ", }", 3);
    for (int i = 0; i < COUNT; i++) {
        double value = i * 0.5;
        memcpy(file + 128 + 8 * i, &value, 8);
    }
    put_file(path, file, sizeof file);
    float *data = NULL;
    crn_shape read;
    assert_ok(crn_npy_read(path, &data, &read, &error));
    assert_int_equal(read.dims[0], COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_true(data[i] == (float)i * 0.5f);
    crn_free(data);
}

/* ---- writing ---- */

static void writes_the_format(void **state)
{
    const char *path = in_folder(*state, "out.npy");
    static const float values[] = {1, 2, 3, -4, 5e-40f, 6};
    const struct {
        crn_shape shape;
        const char *dictionary;
    } cases[] = {
        {CRN_SHAPE(2, 3), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"},
        {CRN_SHAPE(6), "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }"},
        {CRN_SHAPE(1, 1, 3, 2),
         "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 3, 2), }"},
        /* The longest dictionary for whose newline alone there is room in 128 bytes. */
        {CRN_SHAPE(0, 1000000000000000000, 100000000000000000, 100000000000000000),
         "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1000000000000000000, "
         "100000000000000000, 100000000000000000), }"},
        {{.rank = 0}, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t count = (size_t)crn_shape_count(&cases[i].shape), n = strlen(cases[i].dictionary);
        assert_ok(crn_npy_write(path, values, &cases[i].shape, &error));
        bytes b = get_file(path);
        assert_memory_equal(b.data, "\x93NUMPY\x01\x00", 8);
        size_t length = b.data[8] + 256u * b.data[9];
        assert_int_equal((10 + length) % 64, 0);
        assert_int_equal(b.size, 10 + length + 4 * count);
        assert_memory_equal(b.data + 10, cases[i].dictionary, n);
        for (size_t at = 10 + n; at < 10 + length; at++)
            assert_int_equal(b.data[at], at == 9 + length ? '\n' : ' ');
        assert_memory_equal(b.data + 10 + length, values, 4 * count);
        free(b.data);
        assert_array(path, values, count, cases[i].shape.rank);
    }
    assert_int_equal(count_files(*state), 1);
}

static void writing_reports_what_is_wrong(void **state)
{
    static const float values[] = {1};
    assert_fails(crn_npy_write(in_folder(*state, "a/b.npy"), values, &CRN_SHAPE(1), &error), CRN_IO,
                 "a/b.npy: cannot open its folder");
    assert_fails(crn_npy_write(in_folder(*state, "b.npy"), values, &CRN_SHAPE(CRN_ANY, 1), &error),
                 CRN_INVALID, "b.npy: an array of no valid shape");
    assert_int_equal(count_files(*state), 0);
}

/* ---- hostile files ---- */

/* Opens a version 1.0 file with this dictionary and `data` bytes behind it. */
static crn_status open_header(const char *folder, const char *dictionary, size_t data,
                              crn_error *error)
{
    char file[1024] = "\x93NUMPY\x01";
    file[8] = (char)(strlen(dictionary) % 256);
    file[9] = (char)(strlen(dictionary) / 256);
    memcpy(file + 10, dictionary, strlen(dictionary));
    const char *path = in_folder(folder, "hostile.npy");
    put_file(path, file, 10 + strlen(dictionary) + data);
    crn__npy npy;
    crn_status status = crn__npy_open(path, &npy, error);
    if (status == CRN_OK)
        crn__npy_close(&npy);
    return status;
}

#define HEADER(shape) "{'descr': '<f4', 'fortran_order': False, 'shape': " shape ", }"

static void broken_headers_are_reported(void **state)
{
    static const struct {
        const char *dictionary;
        size_t data;
        const char *says;
    } cases[] = {
        {"", 8, "expected '{'"},
        {"{", 8, "expected a string"},
        {"{}", 8, "expected a string"},
        {"[]", 8, "expected '{'"},
        {"{'descr': '<f4', 'fortran_order': False}", 8, "expected ','"},
        {"{'descr': '<f4', 'fortran_order': False, }", 8, "expected a string"},
        {"{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}", 4, "once each"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}", 4, "expected '}'"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", 4, "True or False"},
        {"{'descr': <f4, 'fortran_order': False, 'shape': (1,)}", 4, "expected a string"},
        {"{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}", 4, "element type"},
        {"{'descr': '<f4", 4, "a string is not"},
        {"{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (1,)}", 4, "a string is not"},
        {"{'descr'; '<f4', 'fortran_order': False, 'shape': (1,)}", 4, "once each"},
        {"{'a string that is far too long to be any key that we know': 1}", 4, "a string is not"},
        {HEADER("1"), 4, "expected '('"},
        {HEADER("(1)"), 4, "expected ','"},
        {HEADER("(1"), 4, "expected a dimension"},
        {HEADER("(,)"), 4, "expected a dimension"},
        {HEADER("(1,,)"), 4, "expected a dimension"},
        {HEADER("(-1,)"), 4, "expected a dimension"},
        {HEADER("(1.0,)"), 4, "expected ','"},
        {HEADER("(01,)"), 4, "expected a dimension"},
        {HEADER("(0x1,)"), 4, "expected ','"},
        {HEADER("(99999999999999999999,)"), 4, "too large"},
        {HEADER("(4611686018427387905,)"), 4, "too large"}, /* wraps to 4 bytes */
        {HEADER("(4294967296, 4294967296)"), 0, "too large"},
        {HEADER("(1,)") "x", 4, "expected the end"},
        {HEADER("(1,)") "\n\n", 4, "expected the end"},
        {HEADER("(1,)"), 3, "3 bytes of data where its shape and type ask for 4"},
        {HEADER("(1,)"), 5, "5 bytes of data"},
        {HEADER("(2305843009213693951,)"), 8, "8 bytes of data"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        crn_error error = {0};
        crn_status status = open_header(*state, cases[i].dictionary, cases[i].data, &error);
        if ((status != CRN_FORMAT && status != CRN_UNSUPPORTED) ||
            strstr(error.text, cases[i].says) == NULL ||
            strstr(error.text, "hostile.npy: ") == NULL)
            fail_msg("%s: status %d, \"%s\"; not \"%s\"", cases[i].dictionary, (int)status,
                     error.text, cases[i].says);
    }
}

static void headers_at_the_edge_are_read(void **state)
{
    static const char *const headers[] = {
        HEADER("(1,)") "\n",
        HEADER("(1,)") "   \n",
        HEADER("(1, 1)"),
        HEADER("(1, 1,)"),
        HEADER("()"),
        "{\"shape\": (1,), \"descr\": \"<f4\", \"fortran_order\": False}",
        " { 'shape' : ( 1 , ) , 'descr' : '<f4' , 'fortran_order' : False } ",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_ok(open_header(*state, headers[i], 4, &error));
}

/* Cut or with a bit wrong anywhere, a file is refused or read: never a crash or a bad size. */
static void damaged_files_are_survived(void **state)
{
    const char *path = in_folder(*state, "damaged.npy");
    bytes b = get_file(DATA "version2.npy");
    put_file(path, b.data, b.size);
    crn__npy npy;
    for (size_t bit = 0; bit < 8 * 128; bit++) {
        flip_bit(path, &b, bit);
        if (crn__npy_open(path, &npy, NULL) == CRN_OK) {
            float all[24];
            assert_true(npy.count <= 24);
            assert_ok(crn__npy_read_floats(&npy, 0, (size_t)npy.count, all, &error));
            crn__npy_close(&npy);
        }
        flip_bit(path, &b, bit);
    }
    assert_ok(crn__npy_open(path, &npy, &error));
    crn__npy_close(&npy);
    for (size_t size = b.size; size-- > 0;) {
        assert_int_equal(truncate(path, (off_t)size), 0);
        assert_fails(crn__npy_open(path, &npy, &error), CRN_FORMAT, "damaged.npy: ");
    }
    free(b.data);
}

static void versions_and_lengths_are_checked(void **state)
{
    const char *path = in_folder(*state, "hostile.npy");
    crn__npy npy;
    static const struct {
        char start[13];
        crn_status status;
        const char *says;
    } cases[] = {
        {"\x93NUMPY\x00\x00\x00\x00\x00\x00", CRN_UNSUPPORTED, "version 0.0"},
        {"\x93NUMPY\x04\x00\x00\x00\x00\x00", CRN_UNSUPPORTED, "version 4.0"},
        {"\x93NUMPY\x01\x01\x00\x00\x00\x00", CRN_UNSUPPORTED, "version 1.1"},
        {"\x93NUMPY\x01\x00\xff\xff{}", CRN_FORMAT, "header of 65535 bytes"},
        {"\x93NUMPY\x02\x00\xff\xff\xff\xff", CRN_FORMAT, "header of 4294967295 bytes"},
        {"\x93NUMPY\x01\x00\x02\x00\x00}", CRN_FORMAT, "a NUL in the .npy header"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_file(path, cases[i].start, 12);
        assert_fails(crn__npy_open(path, &npy, &error), cases[i].status, cases[i].says);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_numpy_wrote),
        cmocka_unit_test(refuses_what_it_does_not_understand),
        cmocka_unit_test(reads_in_pieces),
        TEST(converts_long_arrays),
        TEST(writes_the_format),
        TEST(writing_reports_what_is_wrong),
        TEST(broken_headers_are_reported),
        TEST(headers_at_the_edge_are_read),
        TEST(damaged_files_are_survived),
        TEST(versions_and_lengths_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
