#include "data/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

/* Along one side: output i is the sum of weights[i][k] times stored row (or column) first[i]+k. */
typedef struct axis {
    int32_t most;   /* room for weights of each output */
    int32_t *first; /* [s] */
    int32_t *count; /* [s]; 0 in the border */
    float *weights; /* [s, most] */
} axis;

/* One side of a window and of the stored image. */
typedef struct side {
    int32_t box, box_size; /* in pixels of the image before shrinking */
    int64_t size, offset;  /* of the resized box; of the output in it */
    int32_t stored, shrink;
    bool flip;
} side;

static void end_axis(axis *a)
{
    free(a->first);
    free(a->count);
    free(a->weights);
}

/* TensorFlow's: source = position * box / resized, and the pixel after it. */
static int32_t weigh_two(const side *d, int64_t position, int32_t low, int32_t high, int32_t *first,
                         float *weights)
{
    double at = d->box + (double)position * ((double)d->box_size / (double)d->size);
    if (d->shrink > 1) /* the pixel that holds the centre */
        at = (at + 0.5) / d->shrink - 0.5;
    at = at < low ? low : at > high ? high : at;
    *first = (int32_t)at;
    weights[1] = (float)(at - *first);
    weights[0] = 1 - weights[1];
    return *first < high ? 2 : 1;
}

/* Pillow's: a triangle around the output's centre, as wide as the scale and at least one pixel. */
static int32_t weigh_triangle(const side *d, int64_t position, int32_t low, int32_t high,
                              int32_t *first, float *weights)
{
    double scale = (double)d->box_size / (double)d->size / d->shrink;
    double width = scale > 1 ? scale : 1;
    double centre = (double)d->box / d->shrink + ((double)position + 0.5) * scale, sum = 0;
    int32_t begin = (int32_t)floor(centre - width + 0.5), end = (int32_t)(centre + width + 0.5);
    begin = begin < low ? low : begin > high ? high : begin;
    end = end > high + 1 ? high + 1 : end <= begin ? begin + 1 : end;
    for (int32_t i = begin; i < end; i++)
        sum += fmax(0, 1 - fabs(i - centre + 0.5) / width);
    for (int32_t i = begin; i < end; i++)
        weights[i - begin] =
            sum > 0 ? (float)(fmax(0, 1 - fabs(i - centre + 0.5) / width) / sum) : 1.0f;
    *first = begin;
    return sum > 0 ? end - begin : 1;
}

static bool make_axis(const side *d, crn_resize resize, int32_t s, axis *a)
{
    bool triangle = resize == CRN_RESIZE_TORCHVISION;
    double scale = (double)d->box_size / (double)d->size / d->shrink;
    *a = (axis){.most = triangle ? (int32_t)(2 * fmax(1, scale)) + 3 : 2};
    a->first = crn__alloc((size_t)s, sizeof *a->first);
    a->count = crn__alloc((size_t)s, sizeof *a->count);
    a->weights = crn__alloc((size_t)s, (size_t)a->most * sizeof *a->weights);
    if (a->first == NULL || a->count == NULL || a->weights == NULL)
        return false;
    int32_t low = d->box / d->shrink, high = (d->box + d->box_size - 1) / d->shrink;
    high = high < d->stored ? high : d->stored - 1;
    low = low < high ? low : high;
    for (int32_t i = 0; i < s; i++) {
        int64_t at = d->flip ? s - 1 - i : i;
        if (crn__outside(d->offset, at, d->size))
            continue;
        float *weights = a->weights + (size_t)i * (size_t)a->most;
        a->count[i] = (triangle ? weigh_triangle : weigh_two)(d, d->offset + at, low, high,
                                                              &a->first[i], weights);
    }
    return true;
}

/* A stored row along the axis: out [s, channels]. The number of channels is constant in each, so
 * that their loop is unrolled. */
#define RESAMPLE_ROW(name, type, channels)                                   \
    static void name(const type *row, const axis *x, int32_t s, float *out)  \
    {                                                                        \
        for (int32_t i = 0; i < s; i++, out += channels) {                   \
            const type *from = row + (size_t)x->first[i] * channels;         \
            const float *weights = x->weights + (size_t)i * (size_t)x->most; \
            float sum[channels] = {0};                                       \
            for (int32_t k = 0; k < x->count[i]; k++, from += channels)      \
                for (int c = 0; c < channels; c++)                           \
                    sum[c] += weights[k] * (float)from[c];                   \
            for (int c = 0; c < channels; c++)                               \
                out[c] = sum[c];                                             \
        }                                                                    \
    }
RESAMPLE_ROW(grey_bytes, uint8_t, 1)
RESAMPLE_ROW(grey_floats, float, 1)
RESAMPLE_ROW(colour_bytes, uint8_t, 3)
RESAMPLE_ROW(colour_floats, float, 3)
#undef RESAMPLE_ROW

static void resample_row(const crn__image *image, int32_t row, const axis *x, int32_t s, float *out)
{
    size_t at = (size_t)row * (size_t)image->width * (size_t)image->channels;
    if (image->bytes != NULL)
        (image->channels == 3 ? colour_bytes : grey_bytes)(image->bytes + at, x, s, out);
    else
        (image->channels == 3 ? colour_floats : grey_floats)(image->floats + at, x, s, out);
}

/* rows: room for y->most stored rows, each resampled along x once; row r lies in r % most. */
static void resample_columns(const crn__image *image, const axis *y, const axis *x, int32_t s,
                             float *restrict rows, int32_t *held, float *restrict out)
{
    size_t length = (size_t)s * (size_t)image->channels;
    for (int32_t i = 0; i < y->most; i++)
        held[i] = -1;
    for (int32_t i = 0; i < s; i++, out += length) {
        const float *weights = y->weights + (size_t)i * (size_t)y->most;
        if (y->count[i] == 0)
            memset(out, 0, length * sizeof *out);
        for (int32_t k = 0; k < y->count[i]; k++) {
            int32_t row = y->first[i] + k, slot = row % y->most;
            float *from = rows + (size_t)slot * length, weight = weights[k];
            if (held[slot] != row)
                resample_row(image, row, x, s, from);
            held[slot] = row;
            if (k == 0)
                for (size_t j = 0; j < length; j++)
                    out[j] = weight * from[j];
            else
                for (size_t j = 0; j < length; j++)
                    out[j] += weight * from[j];
        }
    }
}

crn_status crn__resample(const crn__image *image, const crn__window *w, crn_resize resize,
                         int32_t s, float *out)
{
    int32_t shrink = image->shrink > 1 ? image->shrink : 1;
    const side vertical = {w->box_top,    w->box_height, w->height, w->top,
                           image->height, shrink,        false};
    const side horizontal = {w->box_left,  w->box_width, w->width, w->left,
                             image->width, shrink,       w->flip};
    axis y = {0}, x = {0};
    float *rows = NULL;
    int32_t *held = NULL;
    bool ready = make_axis(&vertical, resize, s, &y) && make_axis(&horizontal, resize, s, &x);
    if (ready) {
        size_t length = (size_t)s * (size_t)image->channels;
        rows = crn__alloc((size_t)y.most, length * sizeof *rows);
        held = crn__alloc((size_t)y.most, sizeof *held);
        ready = rows != NULL && held != NULL;
    }
    if (ready)
        resample_columns(image, &y, &x, s, rows, held, out);
    free(held);
    free(rows);
    end_axis(&x);
    end_axis(&y);
    return ready ? CRN_OK : CRN_NO_MEMORY;
}
