#include "data/colour.h"

#include <math.h>

#include "core/random.h"
#include "data/window.h"

enum { BRIGHTNESS, CONTRAST, SATURATION, HUE, N_CHANGES };

static float clip(float x)
{
    return x < 0 ? 0 : x > 255 ? 255 : x;
}

static void clip_all(crn__pixels p)
{
    for (size_t i = 0; i < p.count * (size_t)p.channels; i++)
        p.data[i] = clip(p.data[i]);
}

/* ---- TensorFlow's ---- */

void crn__brighten(crn__pixels p, double delta)
{
    float add = (float)(255 * delta);
    for (size_t i = 0; i < p.count * (size_t)p.channels; i++)
        p.data[i] += add;
}

void crn__stretch(crn__pixels p, double factor)
{
    double sum[3] = {0};
    float f = (float)factor, *at = p.data;
    for (size_t i = 0; i < p.count; i++)
        for (int c = 0; c < p.channels; c++)
            sum[c] += (double)*at++;
    at = p.data;
    for (size_t i = 0; i < p.count; i++)
        for (int c = 0; c < p.channels; c++, at++) {
            float mean = (float)(sum[c] / (double)p.count);
            *at = (*at - mean) * f + mean;
        }
}

/* A colour by its hue, 0…6 from red by green and blue, and its largest and smallest channel. */
typedef struct hue_range {
    float hue, high, low;
} hue_range;

static hue_range find_hue(const float rgb[3])
{
    float r = rgb[0], g = rgb[1], b = rgb[2];
    float high = fmaxf(r, fmaxf(g, b)), low = fminf(r, fminf(g, b)), range = high - low, hue = 0;
    if (range > 0)
        hue = r == high ? (g - b) / range : g == high ? (b - r) / range + 2 : (r - g) / range + 4;
    return (hue_range){hue < 0 ? hue + 6 : hue, high, low};
}

static void mix_hue(hue_range c, float rgb[3])
{
    float range = c.high - c.low;
    int sixth = (int)c.hue % 6; /* in each, one channel goes up or down */
    float part = c.hue - floorf(c.hue);
    float up = c.low + range * part, down = c.high - range * part;
    const float table[6][3] = {{c.high, up, c.low},   {down, c.high, c.low}, {c.low, c.high, up},
                               {c.low, down, c.high}, {up, c.low, c.high},   {c.high, c.low, down}};
    for (int i = 0; i < 3; i++)
        rgb[i] = table[sixth][i];
}

void crn__saturate(crn__pixels p, double factor)
{
    for (size_t i = 0; p.channels == 3 && i < p.count; i++) {
        hue_range c = find_hue(p.data + 3 * i);
        float s = c.high > 0 ? (c.high - c.low) / c.high * (float)factor : 0;
        c.low = c.high * (1 - fminf(1, fmaxf(0, s)));
        mix_hue(c, p.data + 3 * i);
    }
}

void crn__turn_hue(crn__pixels p, double delta)
{
    for (size_t i = 0; p.channels == 3 && i < p.count; i++) {
        hue_range c = find_hue(p.data + 3 * i);
        c.hue = fmodf(c.hue + (float)(6 * delta) + 6, 6);
        mix_hue(c, p.data + 3 * i);
    }
}

/* ---- torchvision's ---- */

/* Its own rounding of ITU-R BT.601. */
static float grey_of(const float *pixel, int channels)
{
    return channels == 1 ? pixel[0] : 0.2989f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2];
}

void crn__blend_brightness(crn__pixels p, double factor)
{
    for (size_t i = 0; i < p.count * (size_t)p.channels; i++)
        p.data[i] = clip(p.data[i] * (float)factor);
}

void crn__blend_contrast(crn__pixels p, double factor)
{
    double sum = 0;
    for (size_t i = 0; i < p.count; i++)
        sum += (double)grey_of(p.data + i * (size_t)p.channels, p.channels);
    float f = (float)factor, rest = (float)((1 - factor) * sum / (double)p.count);
    for (size_t i = 0; i < p.count * (size_t)p.channels; i++)
        p.data[i] = clip(p.data[i] * f + rest);
}

void crn__blend_saturation(crn__pixels p, double factor)
{
    for (size_t i = 0; p.channels == 3 && i < p.count; i++) {
        float *pixel = p.data + 3 * i, rest = (float)(1 - factor) * grey_of(pixel, 3);
        for (int c = 0; c < 3; c++)
            pixel[c] = clip(pixel[c] * (float)factor + rest);
    }
}

/* ---- at random ---- */

static double draw(uint64_t key, int n, double low, double high)
{
    return low + crn__random_uniform(key, (uint64_t)(CRN__DRAW_COLOUR + n)) * (high - low);
}

static void distort_inception(crn__pixels p, bool fast, uint64_t key)
{
    static const int orders[4][N_CHANGES] = {{BRIGHTNESS, SATURATION, HUE, CONTRAST},
                                             {SATURATION, BRIGHTNESS, CONTRAST, HUE},
                                             {CONTRAST, HUE, BRIGHTNESS, SATURATION},
                                             {HUE, SATURATION, CONTRAST, BRIGHTNESS}};
    const int *order = orders[fast ? 0 : (int)draw(key, N_CHANGES, 0, 4)];
    for (int i = 0; i < (fast ? 2 : N_CHANGES); i++)
        switch (order[i]) {
        case BRIGHTNESS:
            crn__brighten(p, draw(key, BRIGHTNESS, -32 / 255.0, 32 / 255.0));
            break;
        case CONTRAST:
            crn__stretch(p, draw(key, CONTRAST, 0.5, 1.5));
            break;
        case SATURATION:
            crn__saturate(p, draw(key, SATURATION, 0.5, 1.5));
            break;
        default:
            crn__turn_hue(p, draw(key, HUE, -0.2, 0.2));
        }
    clip_all(p);
}

/* Its brightness, contrast and saturation are each from max(0, 1-x) to 1+x; all in random order. */
static void jitter(crn__pixels p, const float *by, uint64_t key)
{
    int order[N_CHANGES] = {BRIGHTNESS, CONTRAST, SATURATION, HUE};
    int permutation = (int)draw(key, N_CHANGES, 0, 24);
    for (int i = N_CHANGES; i > 1; permutation /= i--) {
        int j = permutation % i, kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
    for (int i = 0; i < N_CHANGES; i++) {
        int change = order[i];
        double x = (double)by[change];
        double factor = draw(key, change, fmax(0, 1 - x), 1 + x);
        if (x <= 0)
            continue;
        if (change == BRIGHTNESS)
            crn__blend_brightness(p, factor);
        else if (change == CONTRAST)
            crn__blend_contrast(p, factor);
        else if (change == SATURATION)
            crn__blend_saturation(p, factor);
        else
            crn__turn_hue(p, draw(key, HUE, -x, x));
    }
    clip_all(p);
}

void crn__distort_colours(crn__pixels pixels, const crn_preprocessing *how, uint64_t key)
{
    if (how->colour == CRN_COLOUR_JITTER)
        jitter(pixels, how->jitter, key);
    else if (how->colour != CRN_COLOUR_NONE)
        distort_inception(pixels, how->colour == CRN_COLOUR_INCEPTION_FAST, key);
}
