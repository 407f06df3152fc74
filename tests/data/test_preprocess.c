#include "../formats/files.h"

#include <math.h>

#include "data/preprocess.h"

static crn_preprocessing plain(int32_t image_size, int32_t resize_side, int32_t channels)
{
    return (crn_preprocessing){.size = sizeof(crn_preprocessing),
                               .image_size = image_size,
                               .resize_side = resize_side,
                               .channels = channels,
                               .scale = {1, 1, 1}};
}

/* ---- resizing ---- */

/* The sample of an image resized to height x width, all in double, as the definition has it. */
static double resized(const crn__image *image, int height, int width, int y, int x, int c)
{
    double from[2] = {(double)y * image->height / height, (double)x * image->width / width};
    int size[2] = {image->height, image->width}, first[2], second[2];
    double weight[2];
    for (int i = 0; i < 2; i++) {
        first[i] = (int)floor(from[i]);
        second[i] = first[i] + 1 < size[i] ? first[i] + 1 : size[i] - 1;
        weight[i] = from[i] - first[i];
    }
    double sum = 0;
    for (int corner = 0; corner < 4; corner++) {
        int row = corner & 1 ? second[0] : first[0], column = corner & 2 ? second[1] : first[1];
        double share =
            (corner & 1 ? weight[0] : 1 - weight[0]) * (corner & 2 ? weight[1] : 1 - weight[1]);
        sum += share * image->bytes[(row * image->width + column) * image->channels + c];
    }
    return sum;
}

static void fill_noise(uint8_t *pixels, size_t count)
{
    uint32_t noise = 7;
    for (size_t i = 0; i < count; i++) {
        noise = noise * 1664525u + 1013904223u;
        pixels[i] = (uint8_t)(noise >> 24);
    }
}

static void resizes_the_short_side_and_cuts_the_middle(void **state)
{
    (void)state;
    static const struct {
        int height, width, image_size, resize_side;
        int resized_height, resized_width;
    } cases[] = {
        {8, 8, 8, 0, 8, 8},      {8, 8, 5, 0, 5, 5},       {8, 8, 13, 0, 13, 13},
        {9, 17, 8, 0, 8, 15},    {17, 9, 8, 0, 15, 8},     {9, 17, 8, 10, 10, 19},
        {30, 20, 7, 16, 24, 16}, {1, 1, 4, 0, 4, 4},       {1, 50, 3, 0, 3, 150},
        {50, 3, 5, 6, 100, 6},   {20, 30, 16, 20, 20, 30}, {3, 7, 2, 2, 2, 5},
    };
    static uint8_t pixels[64 * 64 * 3];
    fill_noise(pixels, sizeof pixels);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int s = cases[i].image_size;
        crn__image image = {cases[i].height, cases[i].width, 3, pixels, NULL, NULL, 0, 0, 0};
        crn_preprocessing how = plain(s, cases[i].resize_side, 3);
        float out[16 * 16 * 3];
        crn__preprocess(&image, &how, 0, 0, out);
        int top = (cases[i].resized_height - s) / 2, left = (cases[i].resized_width - s) / 2;
        for (int y = 0; y < s; y++)
            for (int x = 0; x < s; x++)
                for (int c = 0; c < 3; c++) {
                    double expected = resized(&image, cases[i].resized_height,
                                              cases[i].resized_width, top + y, left + x, c);
                    float got = out[(y * s + x) * 3 + c];
                    if (fabs((double)got - expected) > 1e-3)
                        fail_msg("case %zu: row %d, column %d, channel %d is %g, not %g", i, y, x,
                                 c, (double)got, expected);
                }
    }
}

/* By hand: tf.compat.v1.image.resize_bilinear([[0, 1], [2, 3]], [4, 4]). */
static void corners_are_not_aligned(void **state)
{
    (void)state;
    static const uint8_t pixels[] = {0, 1, 2, 3};
    static const float expected[] = {0, 0.5f, 1, 1, 1, 1.5f, 2, 2, 2, 2.5f, 3, 3, 2, 2.5f, 3, 3};
    crn__image image = {2, 2, 1, pixels, NULL, NULL, 0, 0, 0};
    crn_preprocessing how = plain(4, 0, 1);
    float out[16];
    crn__preprocess(&image, &how, 0, 0, out);
    assert_memory_equal(out, expected, sizeof expected);
}

static void reads_floats_too(void **state)
{
    (void)state;
    static const float pixels[] = {0, 0.5f, 254.5f, 255};
    crn__image image = {2, 2, 1, NULL, pixels, NULL, 0, 0, 0};
    crn_preprocessing how = plain(2, 0, 1);
    float out[4];
    crn__preprocess(&image, &how, 0, 0, out);
    assert_memory_equal(out, pixels, sizeof pixels);
}

static void converts_channels_then_takes_mean_and_scale(void **state)
{
    (void)state;
    static const uint8_t colour[] = {200, 100, 50}, grey[] = {80};
    crn__image one = {1, 1, 1, grey, NULL, NULL, 0, 0, 0},
               three = {1, 1, 3, colour, NULL, NULL, 0, 0, 0};
    crn_preprocessing how = plain(1, 0, 1);
    float out[3];
    crn__preprocess(&three, &how, 0, 0, out);
    assert_float_equal(out[0], 0.299f * 200 + 0.587f * 100 + 0.114f * 50, 1e-3);
    how = crn_preprocessing_vgg(1);
    crn__preprocess(&one, &how, 0, 0, out);
    assert_float_equal(out[0], 80 - 123.68f, 1e-4);
    assert_float_equal(out[1], 80 - 116.78f, 1e-4);
    assert_float_equal(out[2], 80 - 103.94f, 1e-4);
    how = crn_preprocessing_inception(1, 3);
    crn__preprocess(&three, &how, 0, 0, out);
    assert_float_equal(out[0], (200 / 255.0f - 0.5f) * 2, 1e-5);
    assert_float_equal(out[2], (50 / 255.0f - 0.5f) * 2, 1e-5);
}

/* ---- augmentation ---- */

enum { SIDE = 16, BORDER = SIDE / 8 };

/* Is `out` the window at (top, left) of a height x width image without a value twice? */
static bool is_window(const float *out, const crn__image *image, int top, int left, bool flip)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            int row = top + y, column = left + (flip ? SIDE - 1 - x : x);
            bool inside = row >= 0 && row < image->height && column >= 0 && column < image->width;
            float expected = inside ? image->floats[row * image->width + column] : 0;
            if (out[y * SIDE + x] != expected)
                return false;
        }
    return true;
}

/* Counts how often each position and flip occurs in `draws` reads; all must lie in the ranges. */
static void assert_windows(int height, int width, int first_top, int last_top, int first_left,
                           int last_left)
{
    enum { DRAWS = 2000 };
    float pixels[24 * 24], out[SIDE * SIDE];
    for (int i = 0; i < height * width; i++)
        pixels[i] = (float)i / 4 + 1;
    crn__image image = {height, width, 1, NULL, pixels, NULL, 0, 0, 0};
    crn_preprocessing how = plain(SIDE, height < width ? height : width, 1);
    how.random_crop = how.random_flip = true;
    int seen[24][24] = {{0}}, flips = 0;
    for (uint64_t index = 0; index < DRAWS; index++) {
        crn__preprocess(&image, &how, 5, index, out);
        int matches = 0;
        for (int top = first_top; top <= last_top; top++)
            for (int left = first_left; left <= last_left; left++)
                for (int flip = 0; flip < 2; flip++)
                    if (is_window(out, &image, top, left, flip != 0)) {
                        matches++;
                        flips += flip;
                        seen[top - first_top][left - first_left]++;
                    }
        assert_int_equal(matches, 1);
    }
    assert_true(flips > DRAWS * 45 / 100 && flips < DRAWS * 55 / 100);
    int positions = (last_top - first_top + 1) * (last_left - first_left + 1);
    for (int y = 0; y <= last_top - first_top; y++)
        for (int x = 0; x <= last_left - first_left; x++) /* 5 standard deviations of a count */
            assert_true(abs(seen[y][x] * positions - DRAWS) < 5 * sqrt((double)DRAWS * positions));
}

static void small_images_are_cut_with_a_border(void **state)
{
    (void)state;
    assert_windows(SIDE, SIDE, -BORDER, BORDER, -BORDER, BORDER);
}

static void larger_images_are_cut_anywhere(void **state)
{
    (void)state;
    assert_windows(20, 23, 0, 4, 0, 7);
    assert_windows(SIDE, 20, 0, 0, 0, 4);
}

static void augmentation_depends_on_seed_and_index_alone(void **state)
{
    (void)state;
    float pixels[SIDE * SIDE], first[SIDE * SIDE], again[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++)
        pixels[i] = (float)i;
    crn__image image = {SIDE, SIDE, 1, NULL, pixels, NULL, 0, 0, 0};
    crn_preprocessing how = plain(SIDE, 0, 1);
    crn__preprocess(&image, &how, 1, 0, first);
    assert_memory_equal(first, pixels, sizeof pixels); /* not asked for */
    how.random_crop = how.random_flip = true;
    crn__preprocess(&image, &how, 0, 3, first);
    assert_memory_equal(first, pixels, sizeof pixels); /* evaluation */
    crn__preprocess(&image, &how, 9, 3, first);
    crn__preprocess(&image, &how, 9, 4, again);
    assert_memory_not_equal(first, again, sizeof first);
    crn__preprocess(&image, &how, 10, 3, again);
    assert_memory_not_equal(first, again, sizeof first);
    crn__preprocess(&image, &how, 9, 3, again);
    assert_memory_equal(first, again, sizeof first);
}

/* ---- descriptions ---- */

static void presets_are_slims(void **state)
{
    (void)state;
    crn_preprocessing vgg = crn_preprocessing_vgg(224);
    assert_int_equal(vgg.resize_side, 256);
    assert_int_equal(vgg.channels, 3);
    crn_preprocessing inception = crn_preprocessing_inception(299, 3);
    assert_true(inception.resize_side == 0 && inception.central_fraction == 0.875f);
    assert_true(crn_preprocessing_inception(28, 1).central_fraction == 0);
    assert_ok(crn__preprocessing_check(&vgg, CRN_INVALID, &error));
    assert_ok(crn__preprocessing_check(&inception, CRN_INVALID, &error));
}

static void json_goes_there_and_back(void **state)
{
    (void)state;
    crn_preprocessing how = crn_preprocessing_vgg(224), back;
    how.scale[1] = 1 / 3.0f;
    how.random_flip = true;
    char text[512];
    assert_int_equal(crn_preprocessing_to_json(&how, text, sizeof text), CRN_OK);
    assert_string_equal(text,
                        "{\"image_size\":224,\"resize_side\":256,\"channels\":3,"
                        "\"mean\":[123.68,116.779999,103.940002],\"scale\":[1.0,0.333333343,1.0],"
                        "\"random_crop\":false,\"random_flip\":true,"
                        "\"exif_orientation\":true,\"shrink\":\"training\"}");
    assert_ok(crn_preprocessing_from_json(text, &back, &error));
    assert_int_equal(back.size, sizeof back);
    assert_memory_equal(back.mean, how.mean, sizeof how.mean);
    assert_memory_equal(back.scale, how.scale, sizeof how.scale);
    assert_true(back.image_size == 224 && back.resize_side == 256 && back.channels == 3);
    assert_true(back.random_flip && !back.random_crop);
    assert_int_equal(crn_preprocessing_to_json(&how, text, strlen(text)), CRN_INVALID);
    how.channels = 2;
    assert_int_equal(crn_preprocessing_to_json(&how, text, sizeof text), CRN_INVALID);
}

#define JSON(image_size, resize_side, channels, mean, scale, more)                          \
    "{\"image_size\":" image_size ",\"resize_side\":" resize_side ",\"channels\":" channels \
    ",\"mean\":" mean ",\"scale\":" scale ",\"random_crop\":false,\"random_flip\":true" more "}"

static void bad_json_is_refused(void **state)
{
    (void)state;
    static const char *const good = JSON("8", "0", "1", "[0,0,0]", "[1,1,1]", "");
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "column"},
        {"[]", "Expected object"},
        {"{}", "not found"},
        {JSON("8", "0", "1", "[0,0,0]", "[1,1,1]", ",\"more\":1"), "more"},
        {JSON("8", "0", "1", "[0,0,0]", "[1,1,1]", ",\"channels\":1"), "duplicate"},
        {JSON("8", "0", "1", "[0,0,0]", "[1,1,1]", "") "x", "end of file expected"},
        {JSON("0", "0", "1", "[0,0,0]", "[1,1,1]", ""), "image_size is 0"},
        {JSON("8193", "0", "1", "[0,0,0]", "[1,1,1]", ""), "image_size is 8193"},
        {JSON("4294967304", "0", "1", "[0,0,0]", "[1,1,1]", ""), "out of range"},
        {JSON("8.0", "0", "1", "[0,0,0]", "[1,1,1]", ""), "Expected integer"},
        {JSON("\"8\"", "0", "1", "[0,0,0]", "[1,1,1]", ""), "Expected integer"},
        {JSON("8", "7", "1", "[0,0,0]", "[1,1,1]", ""), "resize_side is 7"},
        {JSON("8", "-1", "1", "[0,0,0]", "[1,1,1]", ""), "resize_side is -1"},
        {JSON("8", "99999", "1", "[0,0,0]", "[1,1,1]", ""), "resize_side is 99999"},
        {JSON("8", "0", "2", "[0,0,0]", "[1,1,1]", ""), "channels is 2"},
        {JSON("8", "0", "1", "[0,0]", "[1,1,1]", ""), "out of range"},
        {JSON("8", "0", "1", "[0,0,0,0]", "[1,1,1]", ""), "unpacked"},
        {JSON("8", "0", "1", "[0,0,1e300]", "[1,1,1]", ""), "channel 2"},
        {JSON("8", "0", "1", "[0,0,0]", "[1,1e7,1]", ""), "channel 1"},
        {JSON("8", "0", "1", "[0,0,null]", "[1,1,1]", ""), "Expected real or integer"},
    };
    crn_preprocessing how;
    assert_ok(crn_preprocessing_from_json(good, &how, &error));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        crn_error error = {0};
        if (crn_preprocessing_from_json(cases[i].text, &how, &error) != CRN_FORMAT ||
            strstr(error.text, cases[i].says) == NULL)
            fail_msg("%s: \"%s\", not \"%s\"", cases[i].text, error.text, cases[i].says);
    }
    char *longer = malloc(5001);
    assert_non_null(longer);
    memset(longer, ' ', 5000);
    longer[5000] = '\0';
    assert_fails(crn_preprocessing_from_json(longer, &how, &error), CRN_FORMAT, "bytes");
    free(longer);
    assert_fails(crn_preprocessing_from_json(NULL, &how, &error), CRN_FORMAT, "none");
}

static void images_are_read_from_files(void **state)
{
    (void)state;
    crn_preprocessing how = plain(5, 0, 1);
    float out[25];
    assert_ok(crn_image_read(CRN_TEST_DATA "/data/data/grey8.png", &how, out, &error));
    for (int y = 0; y < 5; y++)
        for (int x = 0; x < 5; x++) /* columns 1 to 5 of 7 */
            assert_true(out[y * 5 + x] == (float)((37 * y + 11 * (x + 1)) % 256));
    how.size = 0;
    assert_fails(crn_image_read(CRN_TEST_DATA "/data/data/grey8.png", &how, out, &error),
                 CRN_INVALID, "of another library version");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resizes_the_short_side_and_cuts_the_middle),
        cmocka_unit_test(corners_are_not_aligned),
        cmocka_unit_test(reads_floats_too),
        cmocka_unit_test(converts_channels_then_takes_mean_and_scale),
        cmocka_unit_test(small_images_are_cut_with_a_border),
        cmocka_unit_test(larger_images_are_cut_anywhere),
        cmocka_unit_test(augmentation_depends_on_seed_and_index_alone),
        cmocka_unit_test(presets_are_slims),
        cmocka_unit_test(json_goes_there_and_back),
        cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(images_are_read_from_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
