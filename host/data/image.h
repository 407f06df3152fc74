/* Pictures in memory, and PNG and JPEG files. */
#ifndef CRN_DATA_IMAGE_H
#define CRN_DATA_IMAGE_H

#include "clarinet/common.h"

#define CRN__IMAGE_MAX_SIDE 32768
#define CRN__IMAGE_MAX_PIXELS ((int64_t)1 << 27) /* 134 megapixels: more than cameras have */

/* [height, width, channels], 0…255; one of bytes and floats, the other NULL. */
typedef struct crn__image {
    int32_t height, width;
    int32_t channels; /* 1: grey; 3: red, green, blue */
    const uint8_t *bytes;
    const float *floats;
    void *owned; /* what crn__image_end frees: NULL when the pixels are borrowed */
} crn__image;

void crn__image_end(crn__image *image);

/* Whether an image of this size is accepted at all; `name` is for the message. */
crn_status crn__image_check_size(const char *name, int64_t height, int64_t width, crn_error *error);

/*
 * Decodes a file, of a kind that its content tells. CRN_FORMAT, naming it, when it is broken or cut
 * short. Stored sample values are kept: embedded colour profiles, gamma and EXIF orientation are
 * not applied, as in TensorFlow's decoders.
 */
crn_status crn__image_load(const char *path, crn__image *out, crn_error *error);

/* From memory. PNG: 16 bits rounded to 8, alpha over black. JPEG: CMYK and YCCK become RGB. */
crn_status crn__png_decode(const char *path, const unsigned char *data, size_t size,
                           crn__image *out, crn_error *error);
crn_status crn__jpeg_decode(const char *path, const unsigned char *data, size_t size,
                            crn__image *out, crn_error *error);

#endif
