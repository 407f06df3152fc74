#include "files.h"

#include <zlib.h>

#include "formats/idx.h"

/* Two images of 3x2, 0 to 11. */
static const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0,  0,
                                       0, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

static size_t compress_gzip(const void *data, size_t size, unsigned char *out, size_t room)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)data;
    z.avail_in = (uInt)size;
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static void assert_images(const char *path)
{
    crn__idx idx;
    assert_ok(crn__idx_read(path, 3, &idx, &error));
    assert_true(crn_shape_equal(&idx.shape, &CRN_SHAPE(2, 3, 2)));
    for (int i = 0; i < 12; i++)
        assert_int_equal(idx.data[i], i);
    free(idx.data);
}

static void reads_plain_and_gzipped(void **state)
{
    const char *path = in_folder(*state, "images");
    put_file(path, images, sizeof images);
    assert_images(path);
    unsigned char packed[256];
    put_file(path, packed, compress_gzip(images, sizeof images, packed, sizeof packed));
    assert_images(path);
}

/* More than the reader's buffer, before and after compression. */
static void reads_large_gzip(void **state)
{
    enum { COUNT = 300000 };
    static unsigned char file[8 + COUNT] = {0, 0, 8, 1, 0, 4, 147, 224}, packed[2 * COUNT];
    uint32_t noise = 1;
    for (int i = 0; i < COUNT; i++) {
        noise = noise * 1664525u + 1013904223u;
        file[8 + i] = (unsigned char)(noise >> 24);
    }
    const char *path = in_folder(*state, "labels");
    put_file(path, packed, compress_gzip(file, sizeof file, packed, sizeof packed));
    crn__idx idx;
    assert_ok(crn__idx_read(path, 1, &idx, &error));
    assert_int_equal(idx.shape.dims[0], COUNT);
    assert_memory_equal(idx.data, file + 8, COUNT);
    free(idx.data);
}

static crn_status read_bytes(const char *folder, const void *data, size_t size, int32_t rank,
                             crn_error *error)
{
    const char *path = in_folder(folder, "hostile");
    put_file(path, data, size);
    crn__idx idx;
    crn_status status = crn__idx_read(path, rank, &idx, error);
    if (status == CRN_OK)
        free(idx.data);
    else
        assert_null(idx.data);
    return status;
}

static void each_wrong_field_is_reported(void **state)
{
    unsigned char file[64];
#define WITH(at, value) (memcpy(file, images, sizeof images), file[at] = value, file)
    assert_fails(read_bytes(*state, WITH(0, 1), sizeof images, 3, &error), CRN_FORMAT,
                 "hostile: not an IDX file");
    assert_fails(read_bytes(*state, WITH(1, 1), sizeof images, 3, &error), CRN_FORMAT,
                 "not an IDX file");
    assert_fails(read_bytes(*state, WITH(2, 13), sizeof images, 3, &error), CRN_UNSUPPORTED,
                 "element type 13");
    assert_fails(read_bytes(*state, WITH(3, 1), sizeof images, 3, &error), CRN_FORMAT,
                 "1 dimensions, not 3");
    assert_fails(read_bytes(*state, WITH(7, 1), sizeof images, 3, &error), CRN_FORMAT,
                 "bytes behind its array");
    assert_fails(read_bytes(*state, WITH(7, 3), sizeof images, 3, &error), CRN_FORMAT,
                 "is cut short: no byte 28");
    assert_fails(read_bytes(*state, WITH(4, 255), sizeof images, 3, &error), CRN_FORMAT,
                 "more data than a file of 28 bytes holds");
    /* 65536 x 65536 x 65536 x 65536 would wrap to 0. */
    static const unsigned char vast[20] = {0, 0, 8, 4, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1};
    assert_fails(read_bytes(*state, vast, sizeof vast, 4, &error), CRN_FORMAT, "more data than");
    assert_fails(read_bytes(*state, "", 0, 3, &error), CRN_FORMAT,
                 "hostile: is cut short: no byte 0");
}

static void hostile_gzip_is_reported(void **state)
{
    unsigned char packed[256];
    size_t size = compress_gzip(images, sizeof images, packed, sizeof packed - 1);
    for (size_t cut = 0; cut < size; cut++)
        assert_fails(read_bytes(*state, packed, cut, 3, &error), CRN_FORMAT, "hostile: ");
    packed[size] = 0;
    assert_fails(read_bytes(*state, packed, size + 1, 3, &error), CRN_FORMAT,
                 "bytes behind its array");
    packed[size - 8] ^= 1; /* its CRC */
    assert_fails(read_bytes(*state, packed, size, 3, &error), CRN_FORMAT,
                 "broken gzip: incorrect data check");

    /* A bomb: the header asks for 12 bytes, and a megabyte follows. */
    static unsigned char bomb[1 << 20];
    memcpy(bomb, images, sizeof images);
    unsigned char small[4096];
    size = compress_gzip(bomb, sizeof bomb, small, sizeof small);
    assert_fails(read_bytes(*state, small, size, 3, &error), CRN_FORMAT, "bytes behind its array");
    /* The other way round: what the header asks for can't be in so small a file. */
    memcpy(bomb, "\0\0\10\3\0\377\377\377\0\0\1\0\0\0\1\0", 16);
    size = compress_gzip(bomb, 32, small, sizeof small);
    assert_fails(read_bytes(*state, small, size, 3, &error), CRN_FORMAT, "more data than");
}

static void every_truncation_is_reported(void **state)
{
    for (size_t size = 0; size < sizeof images; size++)
        assert_fails(read_bytes(*state, images, size, 3, &error), CRN_FORMAT, "hostile: ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_plain_and_gzipped),      TEST(reads_large_gzip),
        TEST(each_wrong_field_is_reported), TEST(hostile_gzip_is_reported),
        TEST(every_truncation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
