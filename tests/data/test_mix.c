/* mixup and CutMix against the formulas of their papers. */
#include "../formats/files.h"

#include <math.h>

#include "data/mix.h"

enum { N = 5, H = 12, W = 20, C = 3, IMAGE = H * W * C, CLASSES = 4 };

static const int32_t labels[N] = {2, 0, 3, 3, 1};

static float pixel(int image, int at)
{
    return (float)(image * 1000 + at);
}

static void mix(const crn_mix *how, uint64_t seed, float *images, float *soft)
{
    const crn_shape shape = CRN_SHAPE(N, H, W, C);
    for (int i = 0; i < N * IMAGE; i++)
        images[i] = pixel(i / IMAGE, i % IMAGE);
    for (int i = 0; i < N * CLASSES; i++)
        soft[i] = NAN;
    assert_ok(crn_mix_batch(how, seed, images, &shape, labels, CLASSES, soft, &error));
}

/* y = lambda y_i + (1-lambda) y_j of one-hot labels. */
static void assert_labels(const float *soft, double lambda)
{
    for (int i = 0; i < N; i++)
        for (int c = 0; c < CLASSES; c++) {
            double expected =
                lambda * (labels[i] == c) + (1 - lambda) * (labels[(i + N - 1) % N] == c);
            assert_true(fabs((double)soft[i * CLASSES + c] - expected) < 1e-6);
        }
}

static void mixup_blends_images_and_labels(void **state)
{
    (void)state;
    static float images[N * IMAGE], soft[N * CLASSES];
    crn_mix how = CRN_MIX_INIT;
    how.mixup_alpha = 1;
    for (uint64_t seed = 0; seed < 20; seed++) {
        mix(&how, seed, images, soft);
        /* x = lambda x_i + (1-lambda) x_j, and image 1 less image 0 is 1000. */
        double lambda = ((double)images[IMAGE] - (double)pixel(0, 0)) / 1000;
        assert_true(lambda >= 0 && lambda <= 1);
        for (int i = 0; i < N * IMAGE; i++) {
            int own = i / IMAGE, other = (own + N - 1) % N, at = i % IMAGE;
            double expected =
                lambda * (double)pixel(own, at) + (1 - lambda) * (double)pixel(other, at);
            assert_true(fabs((double)images[i] - expected) < 2e-2);
        }
        assert_labels(soft, (double)soft[2]); /* image 0, class 2: its own alone */
        assert_true(fabs((double)soft[2] - lambda) < 1e-5);
    }
}

static void cutmix_pastes_a_box_and_counts_its_pixels(void **state)
{
    (void)state;
    static float images[N * IMAGE], soft[N * CLASSES];
    crn_mix how = CRN_MIX_INIT;
    how.cutmix_alpha = 1;
    int clipped = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        mix(&how, seed, images, soft);
        int top = H, bottom = -1, left = W, right = -1, pasted = 0;
        for (int p = 0; p < H * W; p++)
            if (images[p * C] != pixel(0, p * C)) {
                int y = p / W, x = p % W;
                top = y < top ? y : top;
                bottom = y > bottom ? y : bottom;
                left = x < left ? x : left;
                right = x > right ? x : right;
                pasted++;
            }
        if (pasted > 0) /* a full box */
            assert_int_equal(pasted, (bottom - top + 1) * (right - left + 1));
        clipped += pasted > 0 && (top == 0 || left == 0 || bottom == H - 1 || right == W - 1);
        for (int i = 0; i < N * IMAGE; i++) {
            int y = i % IMAGE / C / W, x = i % IMAGE / C % W, own = i / IMAGE;
            bool inside = y >= top && y <= bottom && x >= left && x <= right;
            assert_true(images[i] == pixel(inside ? (own + N - 1) % N : own, i % IMAGE));
        }
        assert_labels(soft, 1 - (double)pasted / (H * W));
        /* Where nothing is clipped the box has the image's shape: rw = W sqrt(1-lambda). */
        crn__mixing m = crn__mix_draw(&how, seed, 1000, 2000);
        if (m.top > 0 && m.left > 0 && m.bottom < 1000 && m.right < 2000)
            assert_true(llabs((m.right - m.left) - 2 * (m.bottom - m.top)) <= 6);
    }
    assert_true(clipped > 20 && clipped < 190);
}

/* Moments and, for alpha 1 and 1/2, the distribution: uniform, and the arcsine law. */
static void lambda_is_from_a_beta_distribution(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    static const double alphas[] = {0.01, 0.2, 0.5, 1, 2, 8};
    for (size_t a = 0; a < sizeof alphas / sizeof alphas[0]; a++) {
        double sum = 0, squares = 0, alpha = alphas[a];
        int below[4] = {0};
        for (uint64_t i = 0; i < DRAWS; i++) {
            double x = crn__random_beta(alpha, i * 7919 + 1);
            assert_true(x >= 0 && x <= 1);
            sum += x;
            squares += (x - 0.5) * (x - 0.5);
            for (int b = 0; b < 4; b++)
                below[b] += x < (b + 1) * 0.2;
        }
        double variance = 1 / (4 * (2 * alpha + 1));
        assert_true(fabs(sum / DRAWS - 0.5) < 5 * sqrt(variance / DRAWS));
        assert_true(fabs(squares / DRAWS - variance) < 5 * 0.25 / sqrt(DRAWS));
        for (int b = 0; b < 4 && (alpha == 1 || alpha == 0.5); b++) {
            double x = (b + 1) * 0.2,
                   expected = alpha == 1 ? x : 2 / 3.14159265358979 * asin(sqrt(x));
            assert_true(fabs(below[b] / (double)DRAWS - expected) < 5 * 0.5 / sqrt(DRAWS));
        }
    }
}

static void both_take_turns_and_none_changes_nothing(void **state)
{
    (void)state;
    static float images[N * IMAGE], soft[N * CLASSES];
    crn_mix how = CRN_MIX_INIT;
    mix(&how, 3, images, soft);
    for (int i = 0; i < N * IMAGE; i++)
        assert_true(images[i] == pixel(i / IMAGE, i % IMAGE));
    assert_labels(soft, 1);
    how.mixup_alpha = how.cutmix_alpha = 1;
    int cuts = 0;
    for (uint64_t seed = 0; seed < 1000; seed++)
        cuts += crn__mix_draw(&how, seed, H, W).cut;
    assert_in_range(cuts, 500 - 80, 500 + 80); /* 5 standard deviations */
}

static void bad_batches_are_refused(void **state)
{
    (void)state;
    float images[2 * 3] = {0}, soft[4];
    const crn_shape shape = CRN_SHAPE(2, 1, 1, 3), flat = CRN_SHAPE(2, 3);
    crn_mix how = CRN_MIX_INIT;
    how.mixup_alpha = 1;
#define ASSERT_INVALID(shape, a, b, says)                                                         \
    assert_fails(crn_mix_batch(&how, 1, images, shape, (const int32_t[]){a, b}, 2, soft, &error), \
                 CRN_INVALID, says)
    ASSERT_INVALID(&shape, 0, 2, "label 2 of 2 classes");
    ASSERT_INVALID(&shape, -1, 0, "label -1 of 2 classes");
    ASSERT_INVALID(&flat, 0, 0, "[count,height,width,channels]");
    how.mixup_alpha = NAN;
    ASSERT_INVALID(&shape, 0, 0, "alpha");
    how.mixup_alpha = 0;
    how.cutmix_alpha = -1;
    ASSERT_INVALID(&shape, 0, 0, "alpha");
    how.size = 0;
    ASSERT_INVALID(&shape, 0, 0, "another library version");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixup_blends_images_and_labels),
        cmocka_unit_test(cutmix_pastes_a_box_and_counts_its_pixels),
        cmocka_unit_test(lambda_is_from_a_beta_distribution),
        cmocka_unit_test(both_take_turns_and_none_changes_nothing),
        cmocka_unit_test(bad_batches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
