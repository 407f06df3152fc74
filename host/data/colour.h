/* Changes of colour, in place, on pixels [count, channels] of 0…255; channels is 1 or 3. */
#ifndef CRN_DATA_COLOUR_H
#define CRN_DATA_COLOUR_H

#include "clarinet/data.h"

typedef struct crn__pixels {
    float *data;
    size_t count;
    int channels;
} crn__pixels;

/*
 * tf.image.adjust_{brightness,contrast,saturation,hue} of 255 times smaller values: x + 255 delta;
 * (x - mean) * factor + mean of each channel; S of HSV times factor, clipped; H of HSV plus delta,
 * a turn being 1. The last two leave grey pictures alone.
 */
void crn__brighten(crn__pixels pixels, double delta);
void crn__stretch(crn__pixels pixels, double factor);
void crn__saturate(crn__pixels pixels, double factor);
void crn__turn_hue(crn__pixels pixels, double delta);

/* torchvision.transforms.functional.adjust_{brightness,contrast,saturation}: mixed with black, with
 * the mean of grey, with grey, then clipped to 0…255. Its adjust_hue is crn__turn_hue. */
void crn__blend_brightness(crn__pixels pixels, double factor);
void crn__blend_contrast(crn__pixels pixels, double factor);
void crn__blend_saturation(crn__pixels pixels, double factor);

/* What `how` wants, drawn from the key of an image; ends clipped to 0…255. */
void crn__distort_colours(crn__pixels pixels, const crn_preprocessing *how, uint64_t key);

#endif
