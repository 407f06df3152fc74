/* The description of a preprocessing: presets, checks, JSON. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clarinet/data.h"
#include "core/error.h"
#include "data/preprocess.h"

#define MAX_SIZE 8192
#define MAX_RESIZE 16384
/* Far from where (x - mean) * scale could leave float's range. */
#define MAX_NUMBER 1e6f
#define MAX_JSON 4096
/* Digits that bring a float back exactly. */
#define FLOAT_DIGITS 9

/*
 * Photographs are resized to 8/7 of what is cut out of them: VGG's 256 for 224, and the 87.5 % that
 * Inception keeps. Tiny images have no margin to lose.
 */
static int32_t margin(int32_t image_size)
{
    return image_size >= 64 && image_size <= MAX_SIZE ? (image_size * 8 + 6) / 7 : 0;
}

crn_preprocessing crn_preprocessing_vgg(int32_t image_size)
{
    return (crn_preprocessing){.size = sizeof(crn_preprocessing),
                               .image_size = image_size,
                               .resize_side = margin(image_size),
                               .channels = 3,
                               .mean = {123.68f, 116.78f, 103.94f},
                               .scale = {1, 1, 1}};
}

crn_preprocessing crn_preprocessing_inception(int32_t image_size, int32_t channels)
{
    return (crn_preprocessing){.size = sizeof(crn_preprocessing),
                               .image_size = image_size,
                               .resize_side = margin(image_size),
                               .channels = channels,
                               .mean = {127.5f, 127.5f, 127.5f},
                               .scale = {1 / 127.5f, 1 / 127.5f, 1 / 127.5f}};
}

static bool is_usable(float number)
{
    return isfinite(number) && fabsf(number) <= MAX_NUMBER;
}

crn_status crn__preprocessing_check(const crn_preprocessing *p, crn_status failure,
                                    crn_error *error)
{
    if (p == NULL || p->size != sizeof *p)
        return crn__fail(error, CRN_INVALID, "preprocessing of another library version, or none");
    if (p->image_size < 1 || p->image_size > MAX_SIZE)
        return crn__fail(error, failure, "preprocessing: image_size is %" PRId32 ", not 1…%d",
                         p->image_size, MAX_SIZE);
    if (p->resize_side != 0 && (p->resize_side < p->image_size || p->resize_side > MAX_RESIZE))
        return crn__fail(error, failure,
                         "preprocessing: resize_side is %" PRId32 ", not 0 or %" PRId32 "…%d",
                         p->resize_side, p->image_size, MAX_RESIZE);
    if (p->channels != 1 && p->channels != 3)
        return crn__fail(error, failure, "preprocessing: channels is %" PRId32 ", not 1 or 3",
                         p->channels);
    for (int c = 0; c < 3; c++)
        if (!is_usable(p->mean[c]) || !is_usable(p->scale[c]))
            return crn__fail(error, failure,
                             "preprocessing: mean or scale of channel %d is not a usable number",
                             c);
    return CRN_OK;
}

crn_status crn_preprocessing_to_json(const crn_preprocessing *p, char *text, size_t size)
{
    CRN__TRY(crn__preprocessing_check(p, CRN_INVALID, NULL));
    /* clang-format off */
    json_t *root = json_pack("{s:i, s:i, s:i, s:[f,f,f], s:[f,f,f], s:b, s:b}",
        "image_size", (int)p->image_size,
        "resize_side", (int)p->resize_side,
        "channels", (int)p->channels,
        "mean", (double)p->mean[0], (double)p->mean[1], (double)p->mean[2],
        "scale", (double)p->scale[0], (double)p->scale[1], (double)p->scale[2],
        "random_crop", (int)p->random_crop,
        "random_flip", (int)p->random_flip);
    /* clang-format on */
    char *made = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(FLOAT_DIGITS));
    json_decref(root);
    if (made == NULL)
        return CRN_NO_MEMORY;
    bool fits = strlen(made) < size;
    if (fits)
        memcpy(text, made, strlen(made) + 1);
    free(made);
    return fits ? CRN_OK : CRN_INVALID;
}

static crn_status unpack(json_t *root, crn_preprocessing *out, crn_error *error)
{
    json_int_t image_size, resize_side, channels;
    double mean[3], scale[3];
    int random_crop, random_flip;
    json_error_t detail;
    /* clang-format off */
    if (json_unpack_ex(root, &detail, JSON_STRICT, "{s:I, s:I, s:I, s:[F,F,F], s:[F,F,F], s:b, s:b}",
            "image_size", &image_size,
            "resize_side", &resize_side,
            "channels", &channels,
            "mean", &mean[0], &mean[1], &mean[2],
            "scale", &scale[0], &scale[1], &scale[2],
            "random_crop", &random_crop,
            "random_flip", &random_flip) != 0)
        return crn__fail(error, CRN_FORMAT, "preprocessing: %s", detail.text);
    /* clang-format on */
    if (image_size != (int32_t)image_size || resize_side != (int32_t)resize_side ||
        channels != (int32_t)channels)
        return crn__fail(error, CRN_FORMAT, "preprocessing: a size is out of range");
    crn_preprocessing p = {.size = sizeof p,
                           .image_size = (int32_t)image_size,
                           .resize_side = (int32_t)resize_side,
                           .channels = (int32_t)channels,
                           .random_crop = random_crop != 0,
                           .random_flip = random_flip != 0};
    for (int c = 0; c < 3; c++) {
        p.mean[c] = (float)mean[c];
        p.scale[c] = (float)scale[c];
    }
    CRN__TRY(crn__preprocessing_check(&p, CRN_FORMAT, error));
    *out = p;
    return CRN_OK;
}

crn_status crn_preprocessing_from_json(const char *text, crn_preprocessing *preprocessing,
                                       crn_error *error)
{
    if (text == NULL || strlen(text) > MAX_JSON)
        return crn__fail(error, CRN_FORMAT, "preprocessing: none, or more than %d bytes", MAX_JSON);
    json_error_t detail;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &detail);
    if (root == NULL)
        return crn__fail(error, CRN_FORMAT, "preprocessing, column %d: %s", detail.column,
                         detail.text);
    crn_status status = unpack(root, preprocessing, error);
    json_decref(root);
    return status;
}
