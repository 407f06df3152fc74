/* Cameras store what their sensor saw, and in EXIF how it was held. */
#include <libexif/exif-data.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/image.h"

/* That of JPEG's segments, and far more than a camera writes into other files. */
#define MAX_EXIF 65533

int crn__exif_orientation(const unsigned char *data, size_t size)
{
    static const unsigned char header[6] = "Exif\0";
    unsigned char *block = NULL;
    int orientation = 1;
    if (size < sizeof header || size > MAX_EXIF)
        return 1;
    if (memcmp(data, header, sizeof header) != 0) { /* libexif wants it */
        block = malloc(size + sizeof header);
        if (block == NULL)
            return 1;
        memcpy(block, header, sizeof header);
        memcpy(block + sizeof header, data, size);
        data = block;
        size += sizeof header;
    }
    ExifData *exif = exif_data_new_from_data(data, (unsigned)size);
    ExifEntry *entry =
        exif != NULL ? exif_content_get_entry(exif->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION) : NULL;
    if (entry != NULL && entry->format == EXIF_FORMAT_SHORT && entry->size >= 2)
        orientation = exif_get_short(entry->data, exif_data_get_byte_order(exif));
    if (exif != NULL)
        exif_data_unref(exif);
    free(block);
    return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

/* Output pixel (y, x) is the stored (y, x), or (x, y) in the turns that swap, each counted from the
 * other end where the orientation says so. */
crn_status crn__image_orient(crn__image *image, int orientation, crn_error *error)
{
    bool swap = crn__orientation_swaps(orientation);
    bool upside_down = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    bool mirrored = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    size_t h = (size_t)image->height, w = (size_t)image->width, n = (size_t)image->channels;
    unsigned char *turned = crn__alloc(h * w, n), *out = turned;
    if (turned == NULL)
        return crn__fail_memory(error);
    for (size_t y = 0; y < (swap ? w : h); y++)
        for (size_t x = 0; x < (swap ? h : w); x++, out += n) {
            size_t row = swap ? x : y, column = swap ? y : x;
            row = upside_down ? h - 1 - row : row;
            column = mirrored ? w - 1 - column : column;
            memcpy(out, image->bytes + (row * w + column) * n, n);
        }
    crn__image result = *image;
    result.bytes = result.owned = turned;
    if (swap) {
        result.height = image->width;
        result.width = image->height;
        result.full_height = image->full_width;
        result.full_width = image->full_height;
    }
    crn__image_end(image);
    *image = result;
    return CRN_OK;
}
