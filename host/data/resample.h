/* Bilinear resizing of a window of an image. */
#ifndef CRN_DATA_RESAMPLE_H
#define CRN_DATA_RESAMPLE_H

#include "data/image.h"
#include "data/window.h"

/*
 * out [S,S,image->channels], 0…255, as `resize` has it; the border is 0. Equals, where the image is
 * not shrunken:
 *     box = image[box_top : box_top + box_height, box_left : box_left + box_width]
 *     resize(box, [height, width])[top : top + S, left : left + S]
 * mirrored if the window says so. CRN_NO_MEMORY.
 */
crn_status crn__resample(const crn__image *image, const crn__window *window, crn_resize resize,
                         int32_t s, float *out);
/* Whether row `at` of the output, or column, lies in the border. */
static inline bool crn__outside(int64_t first, int64_t at, int64_t size)
{
    return first + at < 0 || first + at >= size;
}

#endif
