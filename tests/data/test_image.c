#include "../formats/files.h"

#include <math.h>
#include <turbojpeg.h>

#include "data/image.h"
#include "formats/npy.h"

#define DATA CRN_TEST_DATA "/data/data/"

enum { WIDTH = 7, HEIGHT = 5 };

/* ---- PNG: every sample is known from make_fixtures.py's formula ---- */

static double stored(int y, int x, int c, int depth)
{
    return (37 * y + 11 * x + 71 * c) * (depth == 16 ? 251 : 1) % (1 << depth);
}

typedef struct png_case {
    const char *path;
    int depth;
    int channels; /* of the decoded image */
    bool alpha;   /* the last stored channel */
} png_case;

/* What 0…255 it stands for, before rounding. */
static double expected_sample(const png_case *png, int y, int x, int c)
{
    double top = (1 << png->depth) - 1;
    double value = stored(y, x, c, png->depth) * 255 / top;
    return png->alpha ? value * stored(y, x, png->channels, png->depth) / top : value;
}

static void assert_size(const crn__image *image, int width, int height, int channels)
{
    assert_int_equal(image->width, width);
    assert_int_equal(image->height, height);
    assert_int_equal(image->channels, channels);
    assert_null(image->floats);
}

static void decodes_every_kind_of_png(void **state)
{
    (void)state;
    static const png_case cases[] = {
        {DATA "grey1.png", 1, 1, false},
        {DATA "grey2.png", 2, 1, false},
        {DATA "grey4.png", 4, 1, false},
        {DATA "grey8.png", 8, 1, false},
        {DATA "grey16.png", 16, 1, false},
        {DATA "rgb8.png", 8, 3, false},
        {DATA "rgb16.png", 16, 3, false},
        {DATA "grey_alpha8.png", 8, 1, true},
        {DATA "grey_alpha16.png", 16, 1, true},
        {DATA "rgb_alpha8.png", 8, 3, true},
        {DATA "rgb_alpha16.png", 16, 3, true},
        {DATA "rgb8_interlaced.png", 8, 3, false},
        {DATA "grey1_interlaced.png", 1, 1, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        crn__image image;
        assert_ok(crn__image_load(cases[i].path, NULL, &image, &error));
        assert_size(&image, WIDTH, HEIGHT, cases[i].channels);
        /* 16 bits of sample and of alpha are each rounded to 8 before they are multiplied. */
        double tolerance = cases[i].alpha && cases[i].depth == 16 ? 1.5 : 0.501;
        const uint8_t *at = image.bytes;
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++)
                for (int c = 0; c < cases[i].channels; c++, at++)
                    if (fabs(*at - expected_sample(&cases[i], y, x, c)) > tolerance)
                        fail_msg("%s: row %d, column %d, channel %d is %d, not %g", cases[i].path,
                                 y, x, c, *at, expected_sample(&cases[i], y, x, c));
        crn__image_end(&image);
        assert_null(image.bytes);
    }
}

static void decodes_palettes(void **state)
{
    (void)state;
    for (int depth = 4; depth <= 8; depth += 4) {
        crn__image image;
        assert_ok(crn__image_load(depth == 4 ? DATA "palette4.png" : DATA "palette8.png", NULL,
                                  &image, &error));
        assert_size(&image, WIDTH, HEIGHT, 3);
        const uint8_t *at = image.bytes;
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                int i = (int)stored(y, x, 0, depth);
                int colour[3] = {i, 255 - i, 7 * i % 256};
                for (int c = 0; c < 3; c++, at++) {
                    double value = depth == 4 ? colour[c] * 16 * i / 255.0 : colour[c];
                    assert_true(fabs(*at - value) <= 0.501);
                }
            }
        crn__image_end(&image);
    }
}

static void decodes_a_transparent_colour_without_gamma(void **state)
{
    (void)state;
    crn__image image;
    assert_ok(crn__image_load(DATA "grey8_key.png", NULL, &image, &error));
    assert_size(&image, WIDTH, HEIGHT, 1);
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        assert_int_equal(image.bytes[i], i == 1 ? 0 : (int)stored(i / WIDTH, i % WIDTH, 0, 8));
    crn__image_end(&image);
}

/* ---- JPEG ---- */

/* A 32x16 picture of two colours, which JPEG keeps but for rounding. */
static void assert_halves(const char *path, int channels, const double *left, const double *right)
{
    crn__image image;
    assert_ok(crn__image_load(path, NULL, &image, &error));
    assert_size(&image, 32, 16, channels);
    const uint8_t *at = image.bytes;
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 32; x++)
            for (int c = 0; c < channels; c++, at++)
                if (fabs(*at - (x < 16 ? left : right)[c]) > 3)
                    fail_msg("%s: row %d, column %d, channel %d is %d, not %g", path, y, x, c, *at,
                             (x < 16 ? left : right)[c]);
    crn__image_end(&image);
}

static void decodes_every_kind_of_jpeg(void **state)
{
    (void)state;
    static const double rgb[2][3] = {{200, 30, 60}, {10, 120, 240}}, grey[2] = {100, 220};
    assert_halves(DATA "grey.jpg", 1, &grey[0], &grey[1]);
    assert_halves(DATA "rgb.jpg", 3, rgb[0], rgb[1]);
    assert_halves(DATA "rgb_progressive.jpg", 3, rgb[0], rgb[1]);
    /* (1 - ink)(1 - black) of the inks (255, 0, 51, 51) and (0, 102, 204, 0). */
    static const double cmyk[2][3] = {{0, 204, 163}, {255, 153, 51}};
    assert_halves(DATA "cmyk_adobe.jpg", 3, cmyk[0], cmyk[1]);
    assert_halves(DATA "cmyk.jpg", 3, cmyk[0], cmyk[1]);
}

static void decodes_ycck(void **state)
{
    unsigned char inks[32 * 16][4]; /* as Adobe stores them: 255 is no ink */
    static const unsigned char stored_inks[2][4] = {{0, 255, 204, 204}, {255, 153, 51, 255}};
    for (int i = 0; i < 32 * 16; i++)
        memcpy(inks[i], stored_inks[i % 32 / 16], 4);
    tjhandle handle = tjInitCompress();
    unsigned char *jpeg = NULL;
    unsigned long size = 0;
    assert_int_equal(
        tjCompress2(handle, inks[0], 32, 0, 16, TJPF_CMYK, &jpeg, &size, TJSAMP_444, 95, 0), 0);
    int width, height, subsampling, colours = -1;
    tjDecompressHeader3(handle, jpeg, size, &width, &height, &subsampling, &colours);
    const char *path = in_folder(*state, "ycck.jpg");
    put_file(path, jpeg, size);
    static const double rgb[2][3] = {{0, 204, 163}, {255, 153, 51}};
    assert_halves(path, 3, rgb[0], rgb[1]);
    tjFree(jpeg);
    tjDestroy(handle);
}

/* Smooth and subsampled: what Pillow makes of the same file. */
static void decodes_a_picture_as_pillow_does(void **state)
{
    (void)state;
    crn__image image;
    crn__npy npy;
    uint8_t expected[24 * 40 * 3];
    assert_ok(crn__npy_open(DATA "smooth.npy", &npy, &error));
    assert_int_equal(npy.count, sizeof expected);
    assert_ok(crn__npy_read_raw(&npy, 0, sizeof expected, expected, &error));
    crn__npy_close(&npy);
    assert_ok(crn__image_load(DATA "smooth.jpg", NULL, &image, &error));
    assert_size(&image, 40, 24, 3);
    for (size_t i = 0; i < sizeof expected; i++)
        assert_true(abs(image.bytes[i] - expected[i]) <= 2);
    crn__image_end(&image);
}

static const crn__decoding upright = {.orient = true};

/* ---- what Pillow makes of the same files ---- */

/* Against FILE.npy, a [H,W,3] array of bytes: no sample is off by more than `tolerance`. */
static void assert_as_pillow(const char *path, const char *npy_path, const crn__decoding *decoding,
                             int tolerance)
{
    crn__image image;
    crn__npy npy;
    assert_ok(crn__npy_open(npy_path, &npy, &error));
    uint8_t *expected = malloc((size_t)npy.count);
    assert_ok(crn__npy_read_raw(&npy, 0, (size_t)npy.count, expected, &error));
    assert_ok(crn__image_load(path, decoding, &image, &error));
    assert_size(&image, (int)npy.shape.dims[1], (int)npy.shape.dims[0], 3);
    for (size_t i = 0; i < (size_t)npy.count; i++)
        if (abs(image.bytes[i] - expected[i]) > tolerance)
            fail_msg("%s: sample %zu is %d, not %d", path, i, image.bytes[i], expected[i]);
    crn__image_end(&image);
    crn__npy_close(&npy);
    free(expected);
}

static void decodes_webp_as_pillow_does(void **state)
{
    (void)state;
    assert_as_pillow(DATA "lossless.webp", DATA "lossless.webp.npy", NULL, 0);
    assert_as_pillow(DATA "alpha.webp", DATA "alpha.webp.npy", NULL, 0);
    assert_as_pillow(DATA "lossy.webp", DATA "lossy.webp.npy", NULL, 1);
    assert_as_pillow(DATA "lossy_alpha.webp", DATA "lossy_alpha.webp.npy", NULL, 1);
    crn__image image;
    assert_fails(crn__image_load(DATA "animated.webp", NULL, &image, &error), CRN_UNSUPPORTED,
                 "animated.webp: an animated WebP");
}

static void turns_pictures_upright_when_asked(void **state)
{
    (void)state;
    for (int orientation = 1; orientation <= 8; orientation++) {
        char path[512], npy[520];
        snprintf(path, sizeof path, DATA "exif%d.jpg", orientation);
        snprintf(npy, sizeof npy, "%s.npy", path);
        assert_as_pillow(path, npy, &upright, 2);
        crn__image stored;
        assert_ok(crn__image_load(path, NULL, &stored, &error));
        assert_size(&stored, 24, 16, 3);
        crn__image_end(&stored);
    }
    assert_as_pillow(DATA "exif6.png", DATA "exif6.png.npy", &upright, 0);
    assert_as_pillow(DATA "exif6.webp", DATA "exif6.webp.npy", &upright, 0);
}

typedef struct share {
    double useful;
    int height, width; /* what it was asked with */
} share;

static double tell_share(const void *data, int32_t height, int32_t width)
{
    share *s = (share *)(uintptr_t)data;
    s->height = height;
    s->width = width;
    return s->useful;
}

static void shrinks_a_jpeg_no_further_than_is_useful(void **state)
{
    (void)state;
    static const struct {
        double share;
        int shrink;
    } cases[] = {{2, 1},    {1, 1},     {0.51, 1},  {0.5, 2}, {0.26, 2},
                 {0.25, 4}, {0.126, 4}, {0.125, 8}, {0.01, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        share s = {.useful = cases[i].share};
        const crn__decoding decoding = {.useful_share = tell_share, .data = &s};
        char npy[512];
        snprintf(npy, sizeof npy, DATA "large.jpg.%d.npy", cases[i].shrink);
        assert_as_pillow(DATA "large.jpg", npy, &decoding, 2);
        assert_true(s.height == 120 && s.width == 168);
        crn__image image;
        assert_ok(crn__image_load(DATA "large.jpg", &decoding, &image, &error));
        assert_int_equal(image.shrink, cases[i].shrink > 1 ? cases[i].shrink : 0);
        assert_int_equal(image.full_height, cases[i].shrink > 1 ? 120 : 0);
        crn__image_end(&image);
    }
    /* The size that is asked with is the upright one. */
    share s = {.useful = 0.5};
    const crn__decoding both = {.orient = true, .useful_share = tell_share, .data = &s};
    crn__image image;
    assert_ok(crn__image_load(DATA "exif6.jpg", &both, &image, &error));
    assert_true(s.height == 24 && s.width == 16);
    assert_size(&image, 8, 12, 3);
    assert_true(image.full_height == 24 && image.full_width == 16);
    crn__image_end(&image);
}

/* ---- broken files ---- */

static void content_rather_than_name_tells_the_kind(void **state)
{
    const char *path = in_folder(*state, "png.jpg");
    bytes b = get_file(DATA "grey8.png");
    put_file(path, b.data, b.size);
    free(b.data);
    crn__image image;
    assert_ok(crn__image_load(path, NULL, &image, &error));
    assert_size(&image, WIDTH, HEIGHT, 1);
    crn__image_end(&image);

    put_file(path, "GIF89a", 6);
    assert_fails(crn__image_load(path, NULL, &image, &error), CRN_FORMAT,
                 "png.jpg: neither a PNG nor a JPEG nor a WebP");
    put_file(path, "", 0);
    assert_fails(crn__image_load(path, NULL, &image, &error), CRN_FORMAT,
                 "neither a PNG nor a JPEG nor a WebP");
    assert_fails(crn__image_load(in_folder(*state, "none"), NULL, &image, &error), CRN_NOT_FOUND,
                 "none: No such file");
}

static const char *const pictures[] = {DATA "grey8.png",       DATA "rgb8_interlaced.png",
                                       DATA "palette4.png",    DATA "rgb_alpha16.png",
                                       DATA "grey.jpg",        DATA "rgb.jpg",
                                       DATA "cmyk_adobe.jpg",  DATA "rgb_progressive.jpg",
                                       DATA "exif6.jpg",       DATA "exif6.png",
                                       DATA "exif6.webp",      DATA "lossy.webp",
                                       DATA "lossy_alpha.webp"};
#define N_PICTURES (sizeof pictures / sizeof pictures[0])

static void every_truncation_is_reported(void **state)
{
    const char *path = in_folder(*state, "cut");
    for (size_t i = 0; i < N_PICTURES; i++) {
        bytes b = get_file(pictures[i]);
        put_file(path, b.data, b.size);
        for (size_t size = b.size; size-- > 0;) {
            crn__image image;
            assert_int_equal(truncate(path, (off_t)size), 0);
            assert_fails(crn__image_load(path, &upright, &image, &error), CRN_FORMAT, "cut: ");
        }
        free(b.data);
    }
}

/* PNG's checksums find every flipped bit. JPEG and WebP have none: refused or decoded, nothing
 * worse. */
static void flipped_bits_are_survived(void **state)
{
    const char *path = in_folder(*state, "flipped");
    for (size_t i = 0; i < N_PICTURES; i++) {
        bool png = strstr(pictures[i], ".png") != NULL;
        bytes b = get_file(pictures[i]);
        put_file(path, b.data, b.size);
        for (size_t bit = 0; bit < 8 * b.size; bit++) {
            crn__image image;
            crn_error error = {0};
            flip_bit(path, &b, bit);
            if (crn__image_load(path, &upright, &image, &error) == CRN_OK) {
                if (png)
                    fail_msg("%s: bit %zu of byte %zu was not missed", pictures[i], bit % 8,
                             bit / 8);
                crn__image_end(&image);
            } else {
                assert_non_null(strstr(error.text, "flipped: "));
            }
            flip_bit(path, &b, bit);
        }
        free(b.data);
    }
}

static uint32_t crc32_of(const unsigned char *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

/* grey8.png with another size in its header, and the checksum to match. */
static crn_status load_with_size(const char *folder, uint32_t width, uint32_t height,
                                 crn_error *error)
{
    bytes b = get_file(DATA "grey8.png");
    uint32_t fields[] = {width, height};
    for (int i = 0; i < 8; i++)
        b.data[16 + i] = (unsigned char)(fields[i / 4] >> (24 - 8 * (i % 4)));
    uint32_t crc = crc32_of(b.data + 12, 17);
    for (int i = 0; i < 4; i++)
        b.data[29 + i] = (unsigned char)(crc >> (24 - 8 * i));
    const char *path = in_folder(folder, "sized");
    put_file(path, b.data, b.size);
    free(b.data);
    crn__image image;
    crn_status status = crn__image_load(path, NULL, &image, error);
    if (status == CRN_OK)
        crn__image_end(&image);
    return status;
}

static void sizes_are_limited(void **state)
{
    assert_ok(load_with_size(*state, WIDTH, HEIGHT, &error));
    assert_fails(load_with_size(*state, WIDTH, HEIGHT + 1, &error), CRN_FORMAT,
                 "sized: broken PNG");
    assert_fails(load_with_size(*state, 0, HEIGHT, &error), CRN_FORMAT, "sized: broken PNG");
    assert_fails(load_with_size(*state, 32769, 1, &error), CRN_FORMAT, "sized: broken PNG");
    assert_fails(load_with_size(*state, UINT32_MAX, UINT32_MAX, &error), CRN_FORMAT,
                 "sized: broken PNG");
    assert_fails(load_with_size(*state, 32768, 32768, &error), CRN_UNSUPPORTED,
                 "sized: an image of 32768x32768 pixels; at most");

    bytes b = get_file(DATA "grey.jpg");
    for (size_t i = 0; i + 8 < b.size; i++) /* the frame's header: length, precision, sizes */
        if (b.data[i] == 0xff && b.data[i + 1] == 0xc0)
            memcpy(b.data + i + 5, "\xff\x00\xff\x00", 4);
    const char *path = in_folder(*state, "sized");
    put_file(path, b.data, b.size);
    free(b.data);
    crn__image image;
    assert_fails(crn__image_load(path, NULL, &image, &error), CRN_UNSUPPORTED,
                 "sized: an image of 65280x65280 pixels; at most");
}

/* Stray bytes before a marker, which pictures from the web have, cost nothing. */
static void stray_bytes_in_a_jpeg_are_harmless(void **state)
{
    bytes b = get_file(DATA "rgb.jpg");
    b.data = realloc(b.data, b.size + 4);
    assert_non_null(b.data);
    memcpy(b.data + b.size - 2, "\x11\x22\x33\x44\xff\xd9", 6); /* before the end marker */
    const char *path = in_folder(*state, "stray.jpg");
    put_file(path, b.data, b.size + 4);
    free(b.data);
    static const double rgb[2][3] = {{200, 30, 60}, {10, 120, 240}};
    assert_halves(path, 3, rgb[0], rgb[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_every_kind_of_png),
        cmocka_unit_test(decodes_palettes),
        cmocka_unit_test(decodes_a_transparent_colour_without_gamma),
        cmocka_unit_test(decodes_every_kind_of_jpeg),
        TEST(decodes_ycck),
        cmocka_unit_test(decodes_a_picture_as_pillow_does),
        cmocka_unit_test(decodes_webp_as_pillow_does),
        cmocka_unit_test(turns_pictures_upright_when_asked),
        cmocka_unit_test(shrinks_a_jpeg_no_further_than_is_useful),
        TEST(content_rather_than_name_tells_the_kind),
        TEST(every_truncation_is_reported),
        TEST(flipped_bits_are_survived),
        TEST(sizes_are_limited),
        TEST(stray_bytes_in_a_jpeg_are_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
