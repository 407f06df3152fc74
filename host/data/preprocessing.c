/* The description of a preprocessing: presets and checks. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "clarinet/data.h"
#include "core/error.h"
#include "data/preprocess.h"

#define MAX_SIZE 8192
#define MAX_RESIZE 16384
/* Far from where (x - mean) * scale could leave float's range. */
#define MAX_NUMBER 1e6f
#define MAX_ASPECT 100.0f
#define MAX_JITTER 10.0f

/*
 * Photographs are resized to 8/7 of what is cut out of them: VGG's 256 for 224, and the 87.5 % that
 * Inception keeps. Tiny images have no margin to lose.
 */
static int32_t margin(int32_t image_size)
{
    return image_size >= 64 && image_size <= MAX_SIZE ? (image_size * 8 + 6) / 7 : 0;
}

static crn_preprocessing preset(int32_t image_size, int32_t channels)
{
    return (crn_preprocessing){.size = sizeof(crn_preprocessing),
                               .image_size = image_size,
                               .resize_side = margin(image_size),
                               .channels = channels,
                               .exif_orientation = true,
                               .shrink = CRN_SHRINK_TRAINING};
}

crn_preprocessing crn_preprocessing_vgg(int32_t image_size)
{
    static const float mean[3] = {123.68f, 116.78f, 103.94f};
    crn_preprocessing p = preset(image_size, 3);
    for (int c = 0; c < 3; c++) {
        p.mean[c] = mean[c];
        p.scale[c] = 1;
    }
    return p;
}

crn_preprocessing crn_preprocessing_inception(int32_t image_size, int32_t channels)
{
    crn_preprocessing p = preset(image_size, channels);
    p.central_fraction = p.resize_side > 0 ? 0.875f : 0;
    p.resize_side = 0;
    for (int c = 0; c < 3; c++) {
        p.mean[c] = 127.5f;
        p.scale[c] = 1 / 127.5f;
    }
    return p;
}

crn_preprocessing crn_preprocessing_torchvision(int32_t image_size)
{
    static const double mean[3] = {0.485, 0.456, 0.406}, deviation[3] = {0.229, 0.224, 0.225};
    crn_preprocessing p = preset(image_size, 3);
    p.resize = CRN_RESIZE_TORCHVISION;
    for (int c = 0; c < 3; c++) {
        p.mean[c] = (float)(255 * mean[c]);
        p.scale[c] = (float)(1 / (255 * deviation[c]));
    }
    return p;
}

static void set_box(crn_preprocessing *p, crn_box box, float least_area, float least_aspect,
                    float most_aspect)
{
    p->box = box;
    p->box_area[0] = least_area;
    p->box_area[1] = 1;
    p->box_aspect[0] = least_aspect;
    p->box_aspect[1] = most_aspect;
}

crn_status crn_preprocessing_augment(crn_preprocessing *p, const char *name, crn_error *error)
{
    CRN__TRY(crn__preprocessing_check(p, CRN_INVALID, error));
    if (name == NULL)
        name = "";
    crn_preprocessing made = *p;
    made.box = CRN_BOX_NONE;
    made.colour = CRN_COLOUR_NONE;
    made.random_crop = made.random_flip = false;
    memset(made.train_side, 0, sizeof made.train_side);
    memset(made.box_area, 0, sizeof made.box_area);
    memset(made.box_aspect, 0, sizeof made.box_aspect);
    memset(made.jitter, 0, sizeof made.jitter);
    made.random_flip = strcmp(name, "none") != 0;
    if (strcmp(name, "vgg") == 0) {
        made.train_side[0] = (p->image_size * 8 + 6) / 7;
        made.train_side[1] = (p->image_size * 16 + 6) / 7;
        made.random_crop = true;
    } else if (strcmp(name, "inception") == 0 || strcmp(name, "inception-full") == 0) {
        set_box(&made, CRN_BOX_INCEPTION, 0.05f, 0.75f, 1.33f);
        made.colour = name[9] == '\0' ? CRN_COLOUR_INCEPTION_FAST : CRN_COLOUR_INCEPTION;
    } else if (strcmp(name, "torchvision") == 0) {
        set_box(&made, CRN_BOX_TORCHVISION, 0.08f, 3 / 4.0f, 4 / 3.0f);
    } else if (made.random_flip) {
        return crn__fail(error, CRN_INVALID,
                         "augmentation \"%s\" is not none, vgg, inception, inception-full or "
                         "torchvision",
                         name);
    }
    CRN__TRY(crn__preprocessing_check(&made, CRN_INVALID, error));
    *p = made;
    return CRN_OK;
}

static bool is_usable(float number)
{
    return isfinite(number) && fabsf(number) <= MAX_NUMBER;
}

/* 0 < low <= high <= most. */
static bool is_range(const float range[2], float most)
{
    return range[0] > 0 && range[0] <= range[1] && range[1] <= most;
}

/* The members that only training reads use. */
static crn_status check_training(const crn_preprocessing *p, crn_status failure, crn_error *error)
{
    const int32_t *side = p->train_side;
    if ((side[0] != 0 || side[1] != 0) &&
        (side[0] < p->image_size || side[1] < side[0] || side[1] > MAX_RESIZE))
        return crn__fail(error, failure,
                         "preprocessing: train_side is %" PRId32 "…%" PRId32 ", not in %" PRId32
                         "…%d",
                         side[0], side[1], p->image_size, MAX_RESIZE);
    if ((unsigned)p->box > CRN_BOX_TORCHVISION || (unsigned)p->colour > CRN_COLOUR_JITTER)
        return crn__fail(error, failure, "preprocessing: no such box or colour");
    if (p->box != CRN_BOX_NONE &&
        (!is_range(p->box_area, 1) || !is_range(p->box_aspect, MAX_ASPECT)))
        return crn__fail(error, failure,
                         "preprocessing: box_area is not from 0 to 1, or box_aspect not to %g",
                         (double)MAX_ASPECT);
    for (int i = 0; i < 4; i++)
        if (!(p->jitter[i] >= 0 && p->jitter[i] <= (i < 3 ? MAX_JITTER : 0.5f)))
            return crn__fail(error, failure, "preprocessing: jitter[%d] is not 0…%g", i,
                             i < 3 ? (double)MAX_JITTER : 0.5);
    return CRN_OK;
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
    if (!(p->central_fraction >= 0 && p->central_fraction <= 1) ||
        (p->central_fraction > 0 && p->resize_side != 0))
        return crn__fail(error, failure,
                         "preprocessing: central_fraction is not 0…1, or beside a resize_side");
    if ((unsigned)p->resize > CRN_RESIZE_TORCHVISION || (unsigned)p->shrink > CRN_SHRINK_ALWAYS)
        return crn__fail(error, failure, "preprocessing: no such resize or shrink");
    if (p->channels != 1 && p->channels != 3)
        return crn__fail(error, failure, "preprocessing: channels is %" PRId32 ", not 1 or 3",
                         p->channels);
    for (int c = 0; c < 3; c++)
        if (!is_usable(p->mean[c]) || !is_usable(p->scale[c]))
            return crn__fail(error, failure,
                             "preprocessing: mean or scale of channel %d is not a usable number",
                             c);
    return check_training(p, failure, error);
}
