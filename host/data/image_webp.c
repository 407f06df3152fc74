#include <stdlib.h>
#include <string.h>
#include <webp/decode.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/image.h"

/*
 * The EXIF chunk of an extended file: "RIFF", size, "WEBP", then chunks of a name of four letters,
 * a little-endian size, that many bytes, and one more where that is odd.
 */
static int orientation_of(const unsigned char *data, size_t size)
{
    for (size_t at = 12; size - at >= 8;) {
        const unsigned char *chunk = data + at;
        size_t length = (size_t)chunk[4] | (size_t)chunk[5] << 8 | (size_t)chunk[6] << 16 |
                        (size_t)chunk[7] << 24;
        size_t left = size - at - 8;
        if (length > left)
            break;
        if (memcmp(chunk, "EXIF", 4) == 0)
            return crn__exif_orientation(chunk + 8, length);
        if (length + (length & 1) > left)
            break;
        at += 8 + length + (length & 1);
    }
    return 1;
}

static crn_status fail(VP8StatusCode code, const char *name, crn_error *error)
{
    static const char *const texts[] = {
        [VP8_STATUS_INVALID_PARAM] = "no picture",
        [VP8_STATUS_BITSTREAM_ERROR] = "its data make no sense",
        [VP8_STATUS_UNSUPPORTED_FEATURE] = "a feature that libwebp does not know",
        [VP8_STATUS_SUSPENDED] = "it is cut short",
        [VP8_STATUS_USER_ABORT] = "aborted",
        [VP8_STATUS_NOT_ENOUGH_DATA] = "it is cut short",
    };
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return crn__fail_memory(error);
    return crn__fail(error, CRN_FORMAT, "%s: broken WebP: %s", name, texts[code]);
}

crn_status crn__webp_decode(const char *name, const unsigned char *data, size_t size,
                            int *orientation, crn__image *out, crn_error *error)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return crn__fail(error, CRN_UNSUPPORTED, "%s: a libwebp of another version", name);
    VP8StatusCode code = WebPGetFeatures(data, size, &config.input);
    if (code != VP8_STATUS_OK)
        return fail(code, name, error);
    if (config.input.has_animation)
        return crn__fail(error, CRN_UNSUPPORTED, "%s: an animated WebP", name);
    int height = config.input.height, width = config.input.width;
    CRN__TRY(crn__image_check_size(name, height, width, error));

    int channels = config.input.has_alpha ? 4 : 3;
    size_t count = (size_t)height * (size_t)width;
    unsigned char *pixels = crn__alloc(count, (size_t)channels);
    if (pixels == NULL)
        return crn__fail_memory(error);
    config.output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA = (WebPRGBABuffer){
        .rgba = pixels, .stride = width * channels, .size = count * (size_t)channels};
    code = WebPDecode(data, size, &config);
    WebPFreeDecBuffer(&config.output);
    if (code != VP8_STATUS_OK) {
        free(pixels);
        return fail(code, name, error);
    }
    if (channels == 4)
        crn__composite(pixels, count, channels);
    *out = (crn__image){
        .height = height, .width = width, .channels = 3, .bytes = pixels, .owned = pixels};
    *orientation = orientation_of(data, size);
    return CRN_OK;
}
