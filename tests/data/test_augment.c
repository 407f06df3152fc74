/* Preprocessing and augmentation against TensorFlow's and torchvision's: make_preprocessing.py. */
#include "../formats/files.h"

#include <math.h>

#include "clarinet/data.h"
#include "data/colour.h"
#include "data/preprocess.h"
#include "data/resample.h"

#define GOLDEN CRN_TEST_DATA "/data/data/golden_"
#define DRAWS 20000

static float *read_golden(const char *name, int64_t height, int64_t width)
{
    char path[512];
    float *data;
    crn_shape shape;
    snprintf(path, sizeof path, GOLDEN "%s.npy", name);
    assert_ok(crn_npy_read(path, &data, &shape, &error));
    assert_int_equal(shape.dims[0], height);
    assert_int_equal(shape.dims[1], width);
    return data;
}

static void assert_golden(const char *name, const float *got, double tolerance)
{
    float *expected = read_golden(name, 20, 20);
    for (int i = 0; i < 20 * 20 * 3; i++)
        if (!(fabs((double)got[i] - (double)expected[i]) <= tolerance))
            fail_msg("%s: sample %d is %g, not %g", name, i, (double)got[i], (double)expected[i]);
    crn_free(expected);
}

static crn__image picture(float **pixels)
{
    *pixels = read_golden("picture", 40, 56);
    return (crn__image){.height = 40, .width = 56, .channels = 3, .floats = *pixels};
}

/* ---- evaluation, and boxes that are known ---- */

static void evaluation_is_the_libraries(void **state)
{
    (void)state;
    float *pixels, out[20 * 20 * 3];
    crn__image image = picture(&pixels);
    crn_preprocessing how = crn_preprocessing_vgg(20);
    how.resize_side = 24;
    assert_int_equal(crn__preprocess(&image, &how, 0, 0, out), CRN_OK);
    assert_golden("vgg", out, 1e-3);

    how = crn_preprocessing_inception(20, 3);
    assert_true(how.central_fraction == 0); /* too small for it */
    how.central_fraction = crn_preprocessing_inception(64, 3).central_fraction;
    assert_int_equal(crn__preprocess(&image, &how, 0, 0, out), CRN_OK);
    assert_golden("inception", out, 1e-5);

    how = crn_preprocessing_torchvision(20);
    for (int c = 0; c < 3; c++) {
        how.mean[c] = 0;
        how.scale[c] = 1;
    }
    how.resize_side = 25;
    assert_int_equal(crn__preprocess(&image, &how, 0, 0, out), CRN_OK);
    assert_golden("tv_evaluation", out, 1e-3);
    crn_free(pixels);
}

static void boxes_are_resized_as_the_libraries_do(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int32_t top, left, height, width;
    } boxes[] = {{"shrunk", 3, 5, 33, 41}, {"grown", 7, 20, 9, 13}, {"flat", 30, 1, 4, 55}};
    float *pixels, out[20 * 20 * 3], mirrored[20 * 20 * 3];
    crn__image image = picture(&pixels);
    for (size_t i = 0; i < 3; i++) {
        char name[32];
        crn__window w = {.box_top = boxes[i].top,
                         .box_left = boxes[i].left,
                         .box_height = boxes[i].height,
                         .box_width = boxes[i].width,
                         .height = 20,
                         .width = 20};
        snprintf(name, sizeof name, "box_%s", boxes[i].name);
        assert_int_equal(crn__resample(&image, &w, CRN_RESIZE_TENSORFLOW, 20, out), CRN_OK);
        assert_golden(name, out, 1e-3);
        snprintf(name, sizeof name, "tv_box_%s", boxes[i].name);
        assert_int_equal(crn__resample(&image, &w, CRN_RESIZE_TORCHVISION, 20, out), CRN_OK);
        assert_golden(name, out, 1e-3);
        w.flip = true;
        assert_int_equal(crn__resample(&image, &w, CRN_RESIZE_TORCHVISION, 20, mirrored), CRN_OK);
        for (int p = 0; p < 20 * 20 * 3; p++)
            assert_true(mirrored[p] == out[p / 60 * 60 + (19 - p % 60 / 3) * 3 + p % 3]);
    }
    crn_free(pixels);
}

/* A ramp of 64 x 64 and its means over 4 x 4: the same ramp, so that resizing makes the same of it,
 * but at the edges, where there is nothing beside the outermost mean. */
static void shrunken_pictures_keep_their_places(void **state)
{
    (void)state;
    static float whole[64 * 64], shrunken[16 * 16];
    for (int y = 0; y < 64; y++)
        for (int x = 0; x < 64; x++)
            whole[y * 64 + x] = (float)(y + 2 * x);
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 16; x++)
            shrunken[y * 16 + x] = (4 * (float)y + 1.5f) + 2 * (4 * (float)x + 1.5f);
    const crn__image a = {.height = 64, .width = 64, .channels = 1, .floats = whole};
    const crn__image b = {.height = 16,
                          .width = 16,
                          .channels = 1,
                          .floats = shrunken,
                          .shrink = 4,
                          .full_height = 64,
                          .full_width = 64};
    const crn__window w = {.box_top = 9,
                           .box_left = 14,
                           .box_height = 44,
                           .box_width = 39,
                           .height = 10,
                           .width = 9,
                           .flip = true};
    /* A triangle over few pixels bends a ramp a little; a pixel off, a mean is off by 4 or 8. */
    static const float tolerance[] = {1e-3f, 1};
    for (int resize = CRN_RESIZE_TENSORFLOW; resize <= CRN_RESIZE_TORCHVISION; resize++) {
        float from_a[8 * 8], from_b[8 * 8];
        assert_int_equal(crn__resample(&a, &w, (crn_resize)resize, 8, from_a), CRN_OK);
        assert_int_equal(crn__resample(&b, &w, (crn_resize)resize, 8, from_b), CRN_OK);
        for (int y = 1; y < 8; y++) /* column 7 is stored column 0: mirrored */
            for (int x = 0; x < 7; x++)
                assert_float_equal(from_a[y * 8 + x], from_b[y * 8 + x], tolerance[resize]);
    }
}

static void pictures_shrink_in_training_or_always(void **state)
{
    (void)state;
    static const char *const large = CRN_TEST_DATA "/data/data/large.jpg"; /* 168 x 120 */
    enum { S = 16, N = S * S * 3 };
    float whole[N], shrunken[N], evaluated[N];
    crn_preprocessing how = crn_preprocessing_torchvision(S);
    how.resize_side = 30;
    for (int c = 0; c < 3; c++)
        how.scale[c] = 1;
    how.shrink = CRN_SHRINK_NEVER;
    assert_ok(crn_image_read(large, &how, whole, &error));
    how.shrink = CRN_SHRINK_ALWAYS;
    assert_ok(crn_image_read(large, &how, shrunken, &error));
    how.shrink = CRN_SHRINK_TRAINING; /* this is evaluation */
    assert_ok(crn_image_read(large, &how, evaluated, &error));
    assert_memory_equal(whole, evaluated, sizeof whole);
    assert_memory_not_equal(whole, shrunken, sizeof whole);
    double here = 0, moved = 0; /* means of what they differ by, as they are and moved by a pixel */
    for (int i = 3; i < N; i++) {
        here += fabs((double)(whole[i] - shrunken[i])) / N;
        moved += fabs((double)(whole[i - 3] - shrunken[i])) / N;
    }
    assert_true(here < 5 && moved > 15);
}

/* ---- colours ---- */

static crn__pixels corner(float *out)
{
    float *pixels = read_golden("picture", 40, 56);
    for (int y = 0; y < 20; y++)
        memcpy(out + 60 * y, pixels + (y * 56 + 10) * 3, 60 * sizeof *out);
    crn_free(pixels);
    return (crn__pixels){out, 400, 3};
}

static void colours_change_as_in_the_libraries(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double brighten; /* before */
        void (*change)(crn__pixels, double);
        double by;
    } cases[] = {{"tf_brightness", 0, crn__brighten, 0.1},
                 {"tf_contrast", 0, crn__stretch, 1.4},
                 {"tf_saturation", 0, crn__saturate, 0.6},
                 {"tf_more_saturation", 0.1, crn__saturate, 1.5},
                 {"tf_hue", 0, crn__turn_hue, 0.17},
                 {"tf_hue_back", 0.1, crn__turn_hue, -0.2},
                 {"tv_brightness", 0, crn__blend_brightness, 1.4},
                 {"tv_contrast", 0, crn__blend_contrast, 1.3},
                 {"tv_saturation", 0, crn__blend_saturation, 1.6},
                 {"tv_hue", 0, crn__turn_hue, -0.3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float out[20 * 20 * 3];
        crn__pixels pixels = corner(out);
        if (cases[i].brighten > 0)
            crn__brighten(pixels, cases[i].brighten);
        cases[i].change(pixels, cases[i].by);
        assert_golden(cases[i].name, out, 2e-2);
    }
}

/* Brightness alone shows which numbers are drawn: +-32 for Inception, x (1 +- 0.4) for jitter. */
static void colours_stay_in_their_ranges(void **state)
{
    (void)state;
    crn_preprocessing how = crn_preprocessing_inception(1, 1);
    static const crn_colour kinds[] = {CRN_COLOUR_INCEPTION_FAST, CRN_COLOUR_INCEPTION,
                                       CRN_COLOUR_JITTER};
    static const float lowest[] = {96, 96, 60}, highest[] = {160, 160, 140};
    how.jitter[0] = 0.4f;
    for (int k = 0; k < 3; k++) {
        float least = 1000, most = -1000;
        double sum = 0;
        for (uint64_t key = 0; key < 2000; key++) {
            float pixel = k < 2 ? 128 : 100;
            how.colour = kinds[k];
            crn__distort_colours((crn__pixels){&pixel, 1, 1}, &how, key * 977);
            least = fminf(least, pixel);
            most = fmaxf(most, pixel);
            sum += (double)pixel;
        }
        assert_true(least >= lowest[k] - 1e-3f && most <= highest[k] + 1e-3f);
        assert_true(most - least > 0.98f * (highest[k] - lowest[k]));
        /* 5 standard deviations of a mean of 2000 uniform numbers */
        assert_true(fabs(sum / 2000 - (double)(lowest[k] + highest[k]) / 2) <
                    5 * (double)(highest[k] - lowest[k]) / sqrt(12 * 2000.0));
    }
}

/* All of a picture's changes together: within 0…255, and grey stays grey. */
static void distorted_colours_are_clipped(void **state)
{
    (void)state;
    crn_preprocessing how = crn_preprocessing_inception(20, 3);
    for (int i = 0; i < 4; i++)
        how.jitter[i] = 0.5f;
    for (int colour = CRN_COLOUR_INCEPTION_FAST; colour <= CRN_COLOUR_JITTER; colour++)
        for (uint64_t key = 0; key < 100; key++) {
            float out[20 * 20 * 3], grey[3] = {90, 90, 90}, before[20 * 20 * 3];
            crn__pixels pixels = corner(out);
            corner(before);
            how.colour = (crn_colour)colour;
            crn__distort_colours(pixels, &how, key);
            for (int i = 0; i < 20 * 20 * 3; i++)
                assert_true(out[i] >= 0 && out[i] <= 255);
            assert_memory_not_equal(out, before, sizeof out);
            crn__distort_colours((crn__pixels){grey, 1, 3}, &how, key);
            assert_float_equal(grey[0], grey[1], 1e-3);
            assert_float_equal(grey[0], grey[2], 1e-3);
        }
}

/* ---- random boxes and sides ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* As make_preprocessing.py's save_draws. */
static void assert_draws(const char *name, const crn_preprocessing *how)
{
    static const double quantiles[5] = {0.1, 0.25, 0.5, 0.75, 0.9};
    static double rows[4][DRAWS];
    size_t counts[4] = {0};
    float *expected = read_golden(name, 4, 5);
    for (uint64_t i = 0; i < DRAWS; i++) {
        crn__window w = crn__window_choose(375, 500, how, 77, i);
        assert_true(w.height == how->image_size && w.width == how->image_size && w.top == 0);
        assert_true(w.box_top >= 0 && w.box_top + w.box_height <= 375);
        assert_true(w.box_left >= 0 && w.box_left + w.box_width <= 500);
        double area = w.box_height * w.box_width / (375.0 * 500);
        double aspect = (double)w.box_width / w.box_height;
        /* but for rounding to pixels, of sides that are at least 90 */
        assert_true(area > (double)how->box_area[0] * 0.97 && area <= 1);
        assert_true(aspect > (double)how->box_aspect[0] * 0.98 &&
                    aspect < (double)how->box_aspect[1] * 1.02);
        rows[0][counts[0]++] = area;
        rows[1][counts[1]++] = aspect;
        if (w.box_height < 300)
            rows[2][counts[2]++] = w.box_top / (375.0 - w.box_height);
        if (w.box_width < 400)
            rows[3][counts[3]++] = w.box_left / (500.0 - w.box_width);
    }
    for (int row = 0; row < 4; row++) {
        qsort(rows[row], counts[row], sizeof(double), compare);
        for (int q = 0; q < 5; q++) {
            double got = rows[row][(size_t)(quantiles[q] * (double)(counts[row] - 1))];
            /* 4 standard deviations of such a quantile in both samples */
            if (fabs(got - (double)expected[row * 5 + q]) > 0.025)
                fail_msg("%s: quantile %g of row %d is %g, not %g", name, quantiles[q], row, got,
                         (double)expected[row * 5 + q]);
        }
    }
    crn_free(expected);
}

static void random_boxes_are_distributed_as_the_libraries(void **state)
{
    (void)state;
    crn_preprocessing how = crn_preprocessing_inception(299, 3);
    assert_ok(crn_preprocessing_augment(&how, "inception", &error));
    assert_draws("tf_boxes", &how);
    how = crn_preprocessing_torchvision(224);
    assert_ok(crn_preprocessing_augment(&how, "torchvision", &error));
    assert_draws("tv_boxes", &how);
}

static void boxes_of_odd_pictures_lie_inside(void **state)
{
    (void)state;
    static const int32_t sizes[][2] = {{1, 1}, {1, 500}, {500, 1}, {2, 3}, {7, 32768}, {32768, 16}};
    static const char *const names[] = {"inception", "torchvision", "vgg", "none"};
    for (size_t n = 0; n < 4; n++)
        for (size_t i = 0; i < 6; i++)
            for (uint64_t index = 0; index < 200; index++) {
                crn_preprocessing how = crn_preprocessing_inception(64, 3);
                assert_ok(crn_preprocessing_augment(&how, names[n], &error));
                how.random_crop |= n == 3;
                int32_t height = sizes[i][0], width = sizes[i][1];
                crn__window w = crn__window_choose(height, width, &how, 3, index);
                assert_true(w.box_height >= 1 && w.box_width >= 1);
                assert_true(w.box_top >= 0 && w.box_top + w.box_height <= height);
                assert_true(w.box_left >= 0 && w.box_left + w.box_width <= width);
                assert_true(w.top >= -8 && w.top + 64 <= w.height + 8);
            }
}

static void vgg_takes_every_side_and_place(void **state)
{
    (void)state;
    crn_preprocessing how = crn_preprocessing_vgg(224);
    assert_ok(crn_preprocessing_augment(&how, "vgg", &error));
    assert_true(how.train_side[0] == 256 && how.train_side[1] == 512 && how.random_flip);
    int64_t least = 10000, most = 0, flips = 0;
    double sum = 0, place = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        crn__window w = crn__window_choose(300, 400, &how, 5, i);
        assert_true(w.box_height == 300 && w.box_width == 400);
        assert_true(llabs(w.width * 300 - w.height * 400) <= 200); /* the shape is kept */
        assert_true(w.top >= 0 && w.top + 224 <= w.height);
        assert_true(w.left >= 0 && w.left + 224 <= w.width);
        least = w.height < least ? w.height : least;
        most = w.height > most ? w.height : most;
        sum += (double)w.height;
        place += (double)w.top / (double)(w.height - 224);
        flips += w.flip;
    }
    assert_true(least == 256 && most == 512);
    assert_true(fabs(sum / DRAWS - 384) < 5 * 74.0 / sqrt(DRAWS));
    assert_true(fabs(place / DRAWS - 0.5) < 5 * 0.29 / sqrt(DRAWS));
    assert_true(llabs(flips - DRAWS / 2) < 5 * (int64_t)sqrt(DRAWS) / 2);
    crn__window w = crn__window_choose(300, 400, &how, 0, 5); /* evaluation */
    assert_true(w.height == 256 && w.top == 16 && w.left == (341 - 224) / 2 && !w.flip);
}

/* ---- descriptions ---- */

static void descriptions_go_through_json(void **state)
{
    (void)state;
    crn_preprocessing how = crn_preprocessing_torchvision(224), back;
    char text[CRN_PREPROCESSING_JSON_SIZE];
    assert_ok(crn_preprocessing_augment(&how, "torchvision", &error));
    how.colour = CRN_COLOUR_JITTER;
    static const float by[4] = {0.4f, 0.3f, 1 / 3.0f, 0.1f};
    memcpy(how.jitter, by, sizeof by);
    how.shrink = CRN_SHRINK_ALWAYS;
    how.train_side[0] = 224;
    how.train_side[1] = 480;
    assert_int_equal(crn_preprocessing_to_json(&how, text, sizeof text), CRN_OK);
    assert_ok(crn_preprocessing_from_json(text, &back, &error));
    assert_memory_equal(&back.mean, &how.mean, sizeof how.mean);
    assert_memory_equal(&back.jitter, &how.jitter, sizeof how.jitter);
    assert_memory_equal(&back.box_area, &how.box_area, sizeof how.box_area);
    assert_memory_equal(&back.box_aspect, &how.box_aspect, sizeof how.box_aspect);
    assert_memory_equal(&back.train_side, &how.train_side, sizeof how.train_side);
    assert_true(back.box == CRN_BOX_TORCHVISION && back.colour == CRN_COLOUR_JITTER);
    assert_true(back.resize == CRN_RESIZE_TORCHVISION && back.shrink == CRN_SHRINK_ALWAYS);
    assert_true(back.exif_orientation && back.random_flip && back.central_fraction == 0);
    how = crn_preprocessing_inception(299, 3);
    assert_int_equal(crn_preprocessing_to_json(&how, text, sizeof text), CRN_OK);
    assert_ok(crn_preprocessing_from_json(text, &back, &error));
    assert_true(back.central_fraction == 0.875f && back.resize_side == 0);
    /* What asks for nothing is not written, and older descriptions have none of it. */
    how = crn_preprocessing_vgg(32);
    how.exif_orientation = false;
    how.shrink = CRN_SHRINK_NEVER;
    assert_int_equal(crn_preprocessing_to_json(&how, text, sizeof text), CRN_OK);
    assert_string_equal(text, "{\"image_size\":32,\"resize_side\":0,\"channels\":3,"
                              "\"mean\":[123.68,116.779999,103.940002],\"scale\":[1.0,1.0,1.0],"
                              "\"random_crop\":false,\"random_flip\":false}");
}

#define JSON(more)                                                                           \
    "{\"image_size\":8,\"resize_side\":0,\"channels\":1,\"mean\":[0,0,0],\"scale\":[1,1,1]," \
    "\"random_crop\":false,\"random_flip\":false," more "}"

static void bad_descriptions_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {JSON("\"resize\":\"cubic\""), "unknown resize"},
        {JSON("\"resize\":1"), "Expected string"},
        {JSON("\"shrink\":\"\""), "unknown resize, shrink"},
        {JSON("\"central_fraction\":1.5"), "central_fraction is not 0…1"},
        {JSON("\"central_fraction\":-1"), "central_fraction is not 0…1"},
        {JSON("\"train_side\":[7,20]"), "train_side is 7…20"},
        {JSON("\"train_side\":[20,10]"), "train_side is 20…10"},
        {JSON("\"train_side\":[20,4294967304]"), "out of range"},
        {JSON("\"train_side\":[20]"), "out of range"},
        {JSON("\"box\":\"inception\""), "box_area"},
        {JSON("\"box\":\"inception\",\"box_area\":[0,1],\"box_aspect\":[1,1]"), "box_area"},
        {JSON("\"box\":\"inception\",\"box_area\":[0.5,1.1],\"box_aspect\":[1,1]"), "box_area"},
        {JSON("\"box\":\"inception\",\"box_area\":[0.5,1],\"box_aspect\":[1,101]"), "box_aspect"},
        {JSON("\"colour\":\"sepia\""), "unknown resize, shrink, box or colour"},
        {JSON("\"jitter\":[0,0,0,0.6]"), "jitter[3]"},
        {JSON("\"jitter\":[0,-1,0,0]"), "jitter[1]"},
        {JSON("\"sharpness\":1"), "sharpness"},
    };
    crn_preprocessing how;
    assert_ok(crn_preprocessing_from_json(JSON("\"shrink\":\"always\""), &how, &error));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_fails(crn_preprocessing_from_json(cases[i].text, &how, &error), CRN_FORMAT,
                     cases[i].says);
    assert_fails(crn_preprocessing_augment(&how, "cutout", &error), CRN_INVALID, "\"cutout\"");
    assert_fails(crn_preprocessing_augment(&how, NULL, &error), CRN_INVALID, "is not none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluation_is_the_libraries),
        cmocka_unit_test(boxes_are_resized_as_the_libraries_do),
        cmocka_unit_test(shrunken_pictures_keep_their_places),
        cmocka_unit_test(pictures_shrink_in_training_or_always),
        cmocka_unit_test(colours_change_as_in_the_libraries),
        cmocka_unit_test(colours_stay_in_their_ranges),
        cmocka_unit_test(distorted_colours_are_clipped),
        cmocka_unit_test(random_boxes_are_distributed_as_the_libraries),
        cmocka_unit_test(boxes_of_odd_pictures_lie_inside),
        cmocka_unit_test(vgg_takes_every_side_and_place),
        cmocka_unit_test(descriptions_go_through_json),
        cmocka_unit_test(bad_descriptions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
