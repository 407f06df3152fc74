#include "data/preprocess.h"

#include <math.h>

#include "core/random.h"

/* Where the output lies in the resized image, which is never made as a whole. */
typedef struct window {
    int64_t height, width; /* of the resized image */
    int64_t top, left;     /* negative: in the border */
    bool flip;
} window;

/* The neighbours of an output row or column in the stored image, and the second one's weight. */
typedef struct tap {
    int32_t first, second;
    float weight;
    bool inside;
} tap;

/* The longer side for a shorter side of `to`, rounded to nearest. */
static int64_t resized(int32_t side, int32_t shorter, int64_t to)
{
    return side == shorter ? to : (2 * to * side + shorter) / (2 * (int64_t)shorter);
}

/* A number from first to last. */
static int64_t random_between(uint64_t key, uint64_t n, int64_t first, int64_t last)
{
    return first + (int64_t)(crn__random_uniform(key, n) * (double)(last - first + 1));
}

static window choose_window(const crn__image *image, const crn_preprocessing *how, uint64_t augment,
                            uint64_t index)
{
    int64_t to = how->resize_side > 0 ? how->resize_side : how->image_size, s = how->image_size;
    int32_t shorter = image->height < image->width ? image->height : image->width;
    window w = {.height = resized(image->height, shorter, to),
                .width = resized(image->width, shorter, to)};
    w.top = (w.height - s) / 2;
    w.left = (w.width - s) / 2;
    if (augment == 0)
        return w;
    uint64_t key = crn__random_bits(augment, index);
    if (how->random_crop) {
        int64_t border = w.height == s && w.width == s ? s / 8 : 0;
        w.top = random_between(key, 0, -border, w.height - s + border);
        w.left = random_between(key, 1, -border, w.width - s + border);
    }
    w.flip = how->random_flip && crn__random_bits(key, 2) >> 63 != 0;
    return w;
}

/* TensorFlow's resize_bilinear with align_corners=False: source = position * stored / resized. */
static tap find_tap(int64_t position, int64_t size, int32_t stored)
{
    if (position < 0 || position >= size)
        return (tap){.inside = false};
    double source = (double)position * ((double)stored / (double)size);
    int32_t first = (int32_t)source;
    if (first > stored - 1)
        first = stored - 1;
    return (tap){.first = first,
                 .second = first + 1 < stored ? first + 1 : first,
                 .weight = (float)(source - first),
                 .inside = true};
}

static float sample(const crn__image *image, int32_t y, int32_t x, int c)
{
    size_t at =
        ((size_t)y * (size_t)image->width + (size_t)x) * (size_t)image->channels + (size_t)c;
    return image->bytes != NULL ? image->bytes[at] : image->floats[at];
}

static float interpolate(const crn__image *image, tap y, tap x, int c)
{
    float top = sample(image, y.first, x.first, c), bottom = sample(image, y.second, x.first, c);
    top += (sample(image, y.first, x.second, c) - top) * x.weight;
    bottom += (sample(image, y.second, x.second, c) - bottom) * x.weight;
    return top + (bottom - top) * y.weight;
}

/* One output pixel before mean and scale: the channels that are wanted. */
static void make_pixel(const crn__image *image, tap y, tap x, int32_t channels, float pixel[3])
{
    for (int c = 0; c < image->channels; c++)
        pixel[c] = interpolate(image, y, x, c);
    if (image->channels == 1)
        pixel[1] = pixel[2] = pixel[0];
    else if (channels == 1) /* ITU-R BT.601, as JPEG's and TensorFlow's rgb_to_grayscale */
        pixel[0] = 0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2];
}

void crn__preprocess(const crn__image *image, const crn_preprocessing *how, uint64_t augment,
                     uint64_t index, float *out)
{
    window w = choose_window(image, how, augment, index);
    int32_t s = how->image_size;
    for (int32_t row = 0; row < s; row++) {
        tap y = find_tap(w.top + row, w.height, image->height);
        for (int32_t column = 0; column < s; column++, out += how->channels) {
            int64_t position = w.left + (w.flip ? s - 1 - column : column);
            tap x = find_tap(position, w.width, image->width);
            float pixel[3] = {0};
            if (y.inside && x.inside)
                make_pixel(image, y, x, how->channels, pixel);
            for (int c = 0; c < how->channels; c++)
                out[c] = y.inside && x.inside ? (pixel[c] - how->mean[c]) * how->scale[c] : 0.0f;
        }
    }
}
