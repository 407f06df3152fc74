#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/image.h"

enum { MARKER_APP1 = 0xe1, MARKER_APP14 = 0xee, MARKER_SOS = 0xda };

/* The content of the first segment of a kind that begins so; *length becomes 0: there is none. */
static const unsigned char *find_segment(const unsigned char *data, size_t size, int marker,
                                         const char *prefix, size_t *length)
{
    size_t at = 2, least = strlen(prefix);
    while (at + 4 <= size && data[at] == 0xff && data[at + 1] != MARKER_SOS) {
        size_t segment = (size_t)(data[at + 2] << 8 | data[at + 3]);
        if (data[at + 1] == marker && segment >= 2 + least && at + 2 + segment <= size &&
            memcmp(data + at + 4, prefix, least) == 0) {
            *length = segment - 2;
            return data + at + 4;
        }
        at += 2 + segment;
    }
    *length = 0;
    return NULL;
}

/* Adobe's marker says that CMYK is stored inverted, 255 being no ink. turbojpeg doesn't tell. */
static bool has_adobe_marker(const unsigned char *data, size_t size)
{
    size_t length;
    return find_segment(data, size, MARKER_APP14, "Adobe", &length) != NULL;
}

static int orientation_of(const unsigned char *data, size_t size)
{
    size_t length;
    const unsigned char *exif = find_segment(data, size, MARKER_APP1, "Exif", &length);
    return exif != NULL ? crn__exif_orientation(exif, length) : 1;
}

/* The largest of 1, 2, 4, 8 (for which turbojpeg has fast transforms) that leaves what is of use.
 */
static int choose_shrink(const crn__decoding *decoding, int orientation, int height, int width)
{
    if (decoding->useful_share == NULL)
        return 1;
    bool swap = decoding->orient && crn__orientation_swaps(orientation);
    double share =
        decoding->useful_share(decoding->data, swap ? width : height, swap ? height : width);
    int shrink = 1;
    while (shrink < 8 && share * 2 * shrink <= 1)
        shrink *= 2;
    return shrink;
}

/* In place: four bytes of each pixel become three. */
static void cmyk_to_rgb(unsigned char *pixels, size_t count, bool inverted)
{
    int mask = inverted ? 0 : 255;
    for (size_t i = 0; i < count; i++)
        for (int c = 0; c < 3; c++) {
            int product = (pixels[4 * i + (size_t)c] ^ mask) * (pixels[4 * i + 3] ^ mask);
            pixels[3 * i + (size_t)c] = (unsigned char)((product + 127) / 255);
        }
}

/*
 * Warnings mean missing or garbled pixels, all but one: stray bytes between segments, which are
 * harmless and common in pictures from the web.
 */
static bool is_harmless(tjhandle handle)
{
    return tjGetErrorCode(handle) == TJERR_WARNING &&
           strstr(tjGetErrorStr2(handle), "extraneous bytes") != NULL;
}

static crn_status fail(tjhandle handle, const char *path, crn_error *error)
{
    const char *text = tjGetErrorStr2(handle);
    if (strstr(text, "nsufficient memory") != NULL || strstr(text, "Memory allocation") != NULL)
        return crn__fail_memory(error);
    return crn__fail(error, CRN_FORMAT, "%s: broken JPEG: %s", path, text);
}

/* Into `out`, of which all but the pixels is known. */
static crn_status read_pixels(tjhandle handle, const char *path, const unsigned char *data,
                              size_t size, int colours, crn__image *out, crn_error *error)
{
    bool cmyk = colours == TJCS_CMYK || colours == TJCS_YCCK;
    enum TJPF format = cmyk ? TJPF_CMYK : colours == TJCS_GRAY ? TJPF_GRAY : TJPF_RGB;
    size_t count = (size_t)out->width * (size_t)out->height;
    unsigned char *pixels = crn__alloc(count, (size_t)tjPixelSize[format]);
    if (pixels == NULL)
        return crn__fail_memory(error);
    if (tjDecompress2(handle, data, size, pixels, out->width, 0, out->height, (int)format,
                      TJFLAG_LIMITSCANS) != 0 &&
        !is_harmless(handle)) {
        free(pixels);
        return fail(handle, path, error);
    }
    if (cmyk)
        cmyk_to_rgb(pixels, count, has_adobe_marker(data, size));
    out->bytes = pixels;
    out->owned = pixels;
    return CRN_OK;
}

static crn_status decode(tjhandle handle, const char *path, const unsigned char *data, size_t size,
                         const crn__decoding *decoding, int *orientation, crn__image *out,
                         crn_error *error)
{
    int width = 0, height = 0, subsampling = -1, colours = -1;
    int result = tjDecompressHeader3(handle, data, size, &width, &height, &subsampling, &colours);
    /* A subsampling that turbojpeg has no name for fails here, and decodes well. */
    if (result != 0 && (width < 1 || height < 1 || colours < 0))
        return fail(handle, path, error);
    CRN__TRY(crn__image_check_size(path, height, width, error));

    *orientation = orientation_of(data, size);
    int shrink = choose_shrink(decoding, *orientation, height, width);
    *out = (crn__image){.height = (height + shrink - 1) / shrink,
                        .width = (width + shrink - 1) / shrink,
                        .channels = colours == TJCS_GRAY ? 1 : 3};
    if (shrink > 1) {
        out->shrink = shrink;
        out->full_height = height;
        out->full_width = width;
    }
    return read_pixels(handle, path, data, size, colours, out, error);
}

crn_status crn__jpeg_decode(const char *path, const unsigned char *data, size_t size,
                            const crn__decoding *decoding, int *orientation, crn__image *out,
                            crn_error *error)
{
    tjhandle handle = tjInitDecompress();
    if (handle == NULL)
        return crn__fail_memory(error);
    crn_status status = decode(handle, path, data, size, decoding, orientation, out, error);
    tjDestroy(handle);
    return status;
}
