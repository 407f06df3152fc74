#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/image.h"

enum { MARKER_APP14 = 0xee, MARKER_SOS = 0xda };

/* Adobe's marker says that CMYK is stored inverted, 255 being no ink. turbojpeg doesn't tell. */
static bool has_adobe_marker(const unsigned char *data, size_t size)
{
    static const char adobe[] = "Adobe";
    size_t at = 2;
    while (at + 4 + sizeof adobe - 1 <= size && data[at] == 0xff && data[at + 1] != MARKER_SOS) {
        if (data[at + 1] == MARKER_APP14 && memcmp(data + at + 4, adobe, sizeof adobe - 1) == 0)
            return true;
        at += 2 + (size_t)(data[at + 2] << 8 | data[at + 3]);
    }
    return false;
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

static crn_status decode(tjhandle handle, const char *path, const unsigned char *data, size_t size,
                         crn__image *out, crn_error *error)
{
    int width = 0, height = 0, subsampling = -1, colours = -1;
    int result = tjDecompressHeader3(handle, data, size, &width, &height, &subsampling, &colours);
    /* A subsampling that turbojpeg has no name for fails here, and decodes well. */
    if (result != 0 && (width < 1 || height < 1 || colours < 0))
        return fail(handle, path, error);
    CRN__TRY(crn__image_check_size(path, height, width, error));

    bool cmyk = colours == TJCS_CMYK || colours == TJCS_YCCK;
    bool grey = colours == TJCS_GRAY;
    enum TJPF format = cmyk ? TJPF_CMYK : grey ? TJPF_GRAY : TJPF_RGB;
    size_t count = (size_t)width * (size_t)height;
    unsigned char *pixels = crn__alloc(count, (size_t)tjPixelSize[format]);
    if (pixels == NULL)
        return crn__fail_memory(error);
    if (tjDecompress2(handle, data, size, pixels, width, 0, height, (int)format,
                      TJFLAG_LIMITSCANS) != 0 &&
        !is_harmless(handle)) {
        free(pixels);
        return fail(handle, path, error);
    }
    if (cmyk)
        cmyk_to_rgb(pixels, count, has_adobe_marker(data, size));
    *out = (crn__image){.height = height,
                        .width = width,
                        .channels = grey ? 1 : 3,
                        .bytes = pixels,
                        .owned = pixels};
    return CRN_OK;
}

crn_status crn__jpeg_decode(const char *path, const unsigned char *data, size_t size,
                            crn__image *out, crn_error *error)
{
    tjhandle handle = tjInitDecompress();
    if (handle == NULL)
        return crn__fail_memory(error);
    crn_status status = decode(handle, path, data, size, out, error);
    tjDestroy(handle);
    return status;
}
