/* Pictures in memory, and PNG, JPEG and WebP files. */
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
    /* 2, 4 or 8: a pixel here is the mean of shrink x shrink of those stored (fewer at the right
     * and lower edges), of which there are full_height x full_width. 0: the image is as stored. */
    int32_t shrink, full_height, full_width;
} crn__image;

/* What a decoder does besides decoding. NULL in its place: nothing. */
typedef struct crn__decoding {
    bool orient; /* turn and mirror the picture as its EXIF orientation says */
    /*
     * NULL: all pixels. Else asked with the stored size, after turning: how many pixels are of use
     * along each side, as a share, 1 being all. The image may then come with fewer, but not less
     * than this share.
     */
    double (*useful_share)(const void *data, int32_t height, int32_t width);
    const void *data;
} crn__decoding;

void crn__image_end(crn__image *image);

/* Whether an image of this size is accepted at all; `name` is for the message. */
crn_status crn__image_check_size(const char *name, int64_t height, int64_t width, crn_error *error);

/*
 * Decodes a file, or one that is in memory and that messages call `name`, of a kind that its
 * content tells. CRN_FORMAT, naming it, when it is broken or cut short. Stored sample values are
 * kept: embedded colour profiles and gamma are not applied, as in TensorFlow's decoders.
 */
crn_status crn__image_load(const char *path, const crn__decoding *decoding, crn__image *out,
                           crn_error *error);
crn_status crn__image_decode(const char *name, const unsigned char *data, size_t size,
                             const crn__decoding *decoding, crn__image *out, crn_error *error);

/*
 * One kind each. PNG: 16 bits rounded to 8. PNG and WebP: alpha over black. JPEG: CMYK and YCCK
 * become RGB; the one kind that comes shrunken. *orientation: what EXIF says, 1 where it says
 * nothing; the image itself is not turned yet.
 */
crn_status crn__png_decode(const char *name, const unsigned char *data, size_t size,
                           int *orientation, crn__image *out, crn_error *error);
crn_status crn__webp_decode(const char *name, const unsigned char *data, size_t size,
                            int *orientation, crn__image *out, crn_error *error);
crn_status crn__jpeg_decode(const char *name, const unsigned char *data, size_t size,
                            const crn__decoding *decoding, int *orientation, crn__image *out,
                            crn_error *error);

/* Leaves out alpha, the last channel, in place: the picture lies over black. */
void crn__composite(unsigned char *pixels, size_t count, int channels);

/* ---- EXIF ---- */

/* The orientation, 1 to 8, in an EXIF block, with "Exif\0\0" or not before it; 1 if there is none.
 */
int crn__exif_orientation(const unsigned char *data, size_t size);
/* Whether such a turn swaps height and width. */
static inline bool crn__orientation_swaps(int orientation)
{
    return orientation >= 5;
}
/* Turns and mirrors a picture of bytes that owns them. On failure it is as before. */
crn_status crn__image_orient(crn__image *image, int orientation, crn_error *error);

#endif
