#include "data/image.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clarinet/data.h"
#include "core/error.h"
#include "data/preprocess.h"
#include "formats/input_file.h"

#define MAX_FILE ((uint64_t)1 << 30)

void crn__image_end(crn__image *image)
{
    free(image->owned);
    *image = (crn__image){0};
}

crn_status crn__image_check_size(const char *name, int64_t height, int64_t width, crn_error *error)
{
    if (height < 1 || width < 1)
        return crn__fail(error, CRN_FORMAT, "%s: an image of %" PRId64 "x%" PRId64 " pixels", name,
                         width, height);
    if (height > CRN__IMAGE_MAX_SIDE || width > CRN__IMAGE_MAX_SIDE ||
        height * width > CRN__IMAGE_MAX_PIXELS)
        return crn__fail(error, CRN_UNSUPPORTED,
                         "%s: an image of %" PRId64 "x%" PRId64
                         " pixels; at most %d a side and %" PRId64 " in all",
                         name, width, height, CRN__IMAGE_MAX_SIDE, CRN__IMAGE_MAX_PIXELS);
    return CRN_OK;
}

static bool begins_with(const unsigned char *data, size_t size, const char *magic)
{
    return size >= strlen(magic) && memcmp(data, magic, strlen(magic)) == 0;
}

void crn__composite(unsigned char *pixels, size_t count, int channels)
{
    unsigned char *out = pixels;
    for (size_t i = 0; i < count; i++, pixels += channels)
        for (int c = 0; c < channels - 1; c++)
            *out++ = (unsigned char)((pixels[c] * pixels[channels - 1] + 127) / 255);
}

crn_status crn__image_decode(const char *name, const unsigned char *data, size_t size,
                             const crn__decoding *decoding, crn__image *out, crn_error *error)
{
    static const crn__decoding plain = {0};
    if (decoding == NULL)
        decoding = &plain;
    int orientation = 1;
    if (begins_with(data, size, "\x89PNG\r\n\x1a\n"))
        CRN__TRY(crn__png_decode(name, data, size, &orientation, out, error));
    else if (begins_with(data, size, "\xff\xd8\xff"))
        CRN__TRY(crn__jpeg_decode(name, data, size, decoding, &orientation, out, error));
    else if (begins_with(data, size, "RIFF") && size >= 12 && memcmp(data + 8, "WEBP", 4) == 0)
        CRN__TRY(crn__webp_decode(name, data, size, &orientation, out, error));
    else
        return crn__fail(error, CRN_FORMAT, "%s: neither a PNG nor a JPEG nor a WebP image", name);
    crn_status status = CRN_OK;
    if (decoding->orient && orientation != 1)
        status = crn__image_orient(out, orientation, error);
    if (status != CRN_OK)
        crn__image_end(out);
    return status;
}

crn_status crn__image_load(const char *path, const crn__decoding *decoding, crn__image *out,
                           crn_error *error)
{
    unsigned char *data;
    size_t size;
    CRN__TRY(crn__input_file_load(path, MAX_FILE, &data, &size, error));
    crn_status status = crn__image_decode(path, data, size, decoding, out, error);
    free(data);
    return status;
}

crn_status crn_image_read(const char *path, const crn_preprocessing *preprocessing, float *image,
                          crn_error *error)
{
    CRN__TRY(crn__preprocessing_check(preprocessing, CRN_INVALID, error));
    crn__image loaded;
    const crn__reading reading = {.how = preprocessing};
    const crn__decoding decoding = crn__reading_decoding(&reading);
    CRN__TRY(crn__image_load(path, &decoding, &loaded, error));
    crn_status status = crn__preprocess(&loaded, preprocessing, 0, 0, image);
    crn__image_end(&loaded);
    return status == CRN_OK ? CRN_OK : crn__fail_memory(error);
}
