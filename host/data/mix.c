#include "data/mix.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"

#define MAX_ALPHA 1000.0f

/* ---- drawing ---- */

/* The n-th and the next number of the stream, by Box and Muller. */
static double random_normal(uint64_t key, uint64_t n)
{
    double radius = sqrt(-2 * log(1 - crn__random_uniform(key, n)));
    return radius * cos(2 * 3.14159265358979323846 * crn__random_uniform(key, n + 1));
}

/*
 * Logarithm of a number from Gamma(alpha, 1), by Marsaglia and Tsang (2000): their method is for
 * alpha + 1, and U^(1/alpha) times such a number is one for alpha. In logarithms, because that
 * power is below what a double holds for small alphas.
 */
static double random_log_gamma(double alpha, uint64_t key)
{
    double d = alpha + 1 - 1 / 3.0, c = 1 / sqrt(9 * d);
    for (uint64_t n = 1;; n += 3) {
        double x = random_normal(key, n), v = pow(1 + c * x, 3);
        double u = 1 - crn__random_uniform(key, n + 2);
        if (v > 0 && log(u) < 0.5 * x * x + d - d * v + d * log(v))
            return log(d * v) + log(1 - crn__random_uniform(key, 0)) / alpha;
    }
}

/* X / (X + Y) for X, Y from Gamma(alpha, 1). */
double crn__random_beta(double alpha, uint64_t key)
{
    double x = random_log_gamma(alpha, crn__random_bits(key, 0));
    double y = random_log_gamma(alpha, crn__random_bits(key, 1));
    return 1 / (1 + exp(y - x));
}

static int64_t limit(int64_t x, int64_t most)
{
    return x < 0 ? 0 : x > most ? most : x;
}

/* The paper's rand_bbox. */
static void draw_box(crn__mixing *m, uint64_t key, int64_t height, int64_t width)
{
    double side = sqrt(1 - m->lambda);
    int64_t h = (int64_t)((double)height * side), w = (int64_t)((double)width * side);
    int64_t y = (int64_t)(crn__random_uniform(key, 3) * (double)height);
    int64_t x = (int64_t)(crn__random_uniform(key, 4) * (double)width);
    m->top = limit(y - h / 2, height);
    m->bottom = limit(y + h / 2, height);
    m->left = limit(x - w / 2, width);
    m->right = limit(x + w / 2, width);
    double box = (double)(m->bottom - m->top) * (double)(m->right - m->left);
    m->lambda = 1 - box / ((double)height * (double)width);
}

crn__mixing crn__mix_draw(const crn_mix *mix, uint64_t seed, int64_t height, int64_t width)
{
    crn__mixing m = {.lambda = 1};
    bool mixup = mix->mixup_alpha > 0, cutmix = mix->cutmix_alpha > 0;
    m.cut = cutmix && (!mixup || crn__random_bits(seed, 0) >> 63 != 0);
    if (m.cut || mixup)
        m.lambda = crn__random_beta((double)(m.cut ? mix->cutmix_alpha : mix->mixup_alpha),
                                    crn__random_bits(seed, 1));
    if (m.cut)
        draw_box(&m, seed, height, width);
    return m;
}

/* ---- mixing ---- */

crn_status crn__mix_check(const crn_mix *mix, crn_error *error)
{
    if (mix == NULL || mix->size != sizeof *mix)
        return crn__fail(error, CRN_INVALID, "a mix of another library version, or none");
    if (!(mix->mixup_alpha >= 0 && mix->mixup_alpha <= MAX_ALPHA) ||
        !(mix->cutmix_alpha >= 0 && mix->cutmix_alpha <= MAX_ALPHA))
        return crn__fail(error, CRN_INVALID, "mixup_alpha or cutmix_alpha is not 0…%g",
                         (double)MAX_ALPHA);
    return CRN_OK;
}

/* image, [height,width,channels], with another. */
static void mix_image(const crn__mixing *m, float *image, const float *other, int64_t height,
                      int64_t width, int64_t channels)
{
    float own = (float)m->lambda, others = (float)(1 - m->lambda);
    if (!m->cut)
        for (int64_t i = 0; i < height * width * channels; i++)
            image[i] = own * image[i] + others * other[i];
    else
        for (int64_t y = m->top; y < m->bottom; y++) {
            int64_t at = (y * width + m->left) * channels;
            memcpy(image + at, other + at,
                   (size_t)((m->right - m->left) * channels) * sizeof *image);
        }
}

/* From the last to the first, so that each is mixed with what the one before it was. */
static bool mix_images(const crn__mixing *m, float *images, const crn_shape *shape)
{
    int64_t count = shape->dims[0];
    size_t numbers = (size_t)(shape->dims[1] * shape->dims[2] * shape->dims[3]);
    float *last = crn__alloc(numbers, sizeof *last);
    if (last == NULL)
        return false;
    memcpy(last, images + (size_t)(count - 1) * numbers, numbers * sizeof *last);
    for (int64_t i = count; i-- > 0;)
        mix_image(m, images + (size_t)i * numbers,
                  i > 0 ? images + (size_t)(i - 1) * numbers : last, shape->dims[1], shape->dims[2],
                  shape->dims[3]);
    free(last);
    return true;
}

crn_status crn_mix_batch(const crn_mix *mix, uint64_t seed, float *images, const crn_shape *shape,
                         const int32_t *labels, size_t classes, float *soft_labels,
                         crn_error *error)
{
    CRN__TRY(crn__mix_check(mix, error));
    if (shape == NULL || shape->rank != 4)
        return crn__fail(error, CRN_INVALID, "a batch to mix is [count,height,width,channels]");
    size_t count = (size_t)shape->dims[0];
    for (size_t i = 0; i < count; i++)
        if (labels[i] < 0 || (size_t)labels[i] >= classes)
            return crn__fail(error, CRN_INVALID, "label %" PRId32 " of %zu classes", labels[i],
                             classes);
    crn__mixing m = crn__mix_draw(mix, seed, shape->dims[1], shape->dims[2]);
    bool mixes = m.lambda < 1 && count > 0;
    if (mixes && !mix_images(&m, images, shape))
        return crn__fail_memory(error);
    memset(soft_labels, 0, count * classes * sizeof *soft_labels);
    for (size_t i = 0; i < count; i++) {
        size_t other = (size_t)labels[i > 0 ? i - 1 : count - 1];
        soft_labels[i * classes + (size_t)labels[i]] += (float)m.lambda;
        soft_labels[i * classes + other] += (float)(1 - m.lambda);
    }
    return CRN_OK;
}
