#include "data/preprocess.h"

#include <stdlib.h>

#include "core/memory.h"
#include "core/random.h"
#include "data/colour.h"
#include "data/resample.h"

static double useful_share(const void *data, int32_t height, int32_t width)
{
    const crn__reading *r = data;
    crn__window w = crn__window_choose(height, width, r->how, r->augment, r->index);
    double down = (double)w.height / w.box_height, across = (double)w.width / w.box_width;
    return down > across ? down : across;
}

crn__decoding crn__reading_decoding(const crn__reading *reading)
{
    crn_shrink shrink = reading->how->shrink;
    bool may_shrink =
        shrink == CRN_SHRINK_ALWAYS || (shrink == CRN_SHRINK_TRAINING && reading->augment != 0);
    return (crn__decoding){.orient = reading->how->exif_orientation,
                           .useful_share = may_shrink ? useful_share : NULL,
                           .data = reading};
}

/* [count, from] to [count, to] channels; 1 or 3 each. */
static void convert_channels(const float *in, size_t count, int from, int to, float *out)
{
    for (size_t i = 0; i < count; i++, in += from)
        if (to == 1) /* ITU-R BT.601, as JPEG's and TensorFlow's rgb_to_grayscale */
            *out++ = 0.299f * in[0] + 0.587f * in[1] + 0.114f * in[2];
        else
            for (int c = 0; c < 3; c++)
                *out++ = in[0];
}

/* The border becomes the mean colour, which is 0 at last. */
static void fill_border(const crn__window *w, const crn_preprocessing *how, float *out)
{
    int32_t s = how->image_size;
    if (w->top >= 0 && w->left >= 0 && w->top + s <= w->height && w->left + s <= w->width)
        return;
    for (int32_t y = 0; y < s; y++)
        for (int32_t x = 0; x < s; x++, out += how->channels)
            if (crn__outside(w->top, y, w->height) ||
                crn__outside(w->left, w->flip ? s - 1 - x : x, w->width))
                for (int c = 0; c < how->channels; c++)
                    out[c] = how->mean[c];
}

crn_status crn__preprocess(const crn__image *image, const crn_preprocessing *how, uint64_t augment,
                           uint64_t index, float *out)
{
    bool shrunken = image->shrink > 1;
    int32_t s = how->image_size;
    crn__window w =
        crn__window_choose(shrunken ? image->full_height : image->height,
                           shrunken ? image->full_width : image->width, how, augment, index);
    size_t count = (size_t)s * (size_t)s;
    bool convert = image->channels != how->channels;
    float *resized = convert ? crn__alloc(count, (size_t)image->channels * sizeof *out) : out;
    if (resized == NULL)
        return CRN_NO_MEMORY;
    crn_status status = crn__resample(image, &w, how->resize, s, resized);
    if (convert) {
        convert_channels(resized, count, image->channels, how->channels, out);
        free(resized);
    }
    if (status != CRN_OK)
        return status;
    fill_border(&w, how, out);
    if (augment != 0 && how->colour != CRN_COLOUR_NONE)
        crn__distort_colours((crn__pixels){out, count, how->channels}, how,
                             crn__random_bits(augment, index));
    for (size_t i = 0; i < count; i++, out += how->channels)
        for (int c = 0; c < how->channels; c++)
            out[c] = (out[c] - how->mean[c]) * how->scale[c];
    return CRN_OK;
}
