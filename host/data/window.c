#include "data/window.h"

#include <math.h>

#include "core/random.h"

/* As many as the libraries make before they fall back. */
#define INCEPTION_ATTEMPTS 100
#define TORCHVISION_ATTEMPTS 10
/* min_object_covered of inception_preprocessing, whose object is the whole image. */
#define INCEPTION_COVERED 0.1

/* A number from first to last. */
static int64_t random_between(uint64_t key, uint64_t n, int64_t first, int64_t last)
{
    return first + (int64_t)(crn__random_uniform(key, n) * (double)(last - first + 1));
}

static double random_real(uint64_t key, uint64_t n, double low, double high)
{
    return low + crn__random_uniform(key, n) * (high - low);
}

/* ---- random boxes ---- */

typedef struct box_size {
    int64_t height, width;
} box_size;

/*
 * Height is uniform among those for which height * aspect fits and the area, up to rounding, is
 * allowed: as sample_distorted_bounding_box.
 */
static bool draw_inception(double height, double width, const crn_preprocessing *how, uint64_t key,
                           uint64_t n, box_size *out)
{
    double area = height * width, least = how->box_area[0] * area, most = how->box_area[1] * area;
    double aspect = random_real(key, n, (double)how->box_aspect[0], (double)how->box_aspect[1]);
    int64_t low = llrint(sqrt(least / aspect)), high = llrint(sqrt(most / aspect));
    int64_t fits = (int64_t)((width + 0.5) / aspect);
    while (fits > 0 && llrint((double)fits * aspect) > (int64_t)width)
        fits--;
    high = high < fits ? high : fits;
    high = high < (int64_t)height ? high : (int64_t)height;
    int64_t h = low < high ? random_between(key, n + 1, low, high) : high;
    int64_t w = llrint((double)h * aspect);
    if ((double)(h * w) < least) /* perhaps rounding's fault */
        w = llrint((double)++h * aspect);
    if ((double)(h * w) > most)
        w = llrint((double)--h * aspect);
    *out = (box_size){h, w};
    double got = (double)(h * w);
    return h > 0 && w > 0 && h <= (int64_t)height && w <= (int64_t)width && got >= least &&
           got <= most && got >= INCEPTION_COVERED * area;
}

/* As RandomResizedCrop.get_params. */
static bool draw_torchvision(double height, double width, const crn_preprocessing *how,
                             uint64_t key, uint64_t n, box_size *out)
{
    double area =
        height * width * random_real(key, n, (double)how->box_area[0], (double)how->box_area[1]);
    double aspect = exp(
        random_real(key, n + 1, log((double)how->box_aspect[0]), log((double)how->box_aspect[1])));
    *out = (box_size){llrint(sqrt(area / aspect)), llrint(sqrt(area * aspect))};
    return out->height > 0 && out->width > 0 && out->height <= (int64_t)height &&
           out->width <= (int64_t)width;
}

/* Where no box fits: TensorFlow takes the whole image, torchvision the largest allowed shape. */
static box_size fall_back(double height, double width, const crn_preprocessing *how)
{
    box_size all = {(int64_t)height, (int64_t)width};
    if (how->box == CRN_BOX_INCEPTION)
        return all;
    double aspect = width / height;
    if (aspect < (double)how->box_aspect[0])
        all.height = llrint(width / (double)how->box_aspect[0]);
    else if (aspect > (double)how->box_aspect[1])
        all.width = llrint(height * (double)how->box_aspect[1]);
    all.height = all.height < 1 ? 1 : all.height;
    all.width = all.width < 1 ? 1 : all.width;
    return all;
}

static void draw_box(crn__window *w, int32_t height, int32_t width, const crn_preprocessing *how,
                     uint64_t key)
{
    bool inception = how->box == CRN_BOX_INCEPTION;
    uint64_t attempts = inception ? INCEPTION_ATTEMPTS : TORCHVISION_ATTEMPTS;
    bool found = false;
    box_size size = {0};
    uint64_t n = CRN__DRAW_BOX;
    for (uint64_t i = 0; i < attempts && !found; i++, n += 4)
        found = inception ? draw_inception(height, width, how, key, n, &size)
                          : draw_torchvision(height, width, how, key, n, &size);
    if (!found)
        size = fall_back(height, width, how);
    w->box_height = (int32_t)size.height;
    w->box_width = (int32_t)size.width;
    int64_t spare_height = height - size.height, spare_width = width - size.width;
    w->box_top = (int32_t)(found ? random_between(key, n - 2, 0, spare_height) : spare_height / 2);
    w->box_left = (int32_t)(found ? random_between(key, n - 1, 0, spare_width) : spare_width / 2);
}

/* ---- the rest ---- */

/* tf.image.central_crop. */
static void take_middle(crn__window *w, const crn_preprocessing *how, bool anywhere, uint64_t key)
{
    double cut = 1 - (double)how->central_fraction;
    int32_t top = (int32_t)(w->box_height * cut / 2), left = (int32_t)(w->box_width * cut / 2);
    w->box_height -= 2 * top;
    w->box_width -= 2 * left;
    w->box_top = anywhere ? (int32_t)random_between(key, CRN__DRAW_TOP, 0, 2 * top) : top;
    w->box_left = anywhere ? (int32_t)random_between(key, CRN__DRAW_LEFT, 0, 2 * left) : left;
}

/* The longer side for a shorter side of `to`. */
static int64_t resized(int32_t side, int32_t shorter, int64_t to, crn_resize resize)
{
    if (side == shorter)
        return to;
    return resize == CRN_RESIZE_TORCHVISION ? to * side / shorter
                                            : (2 * to * side + shorter) / (2 * (int64_t)shorter);
}

/* Half of what is left over; torchvision's CenterCrop rounds a half to the even number. */
static int64_t middle(int64_t size, int64_t cut, crn_resize resize)
{
    int64_t half = (size - cut) / 2;
    bool odd = (size - cut) % 2 != 0;
    return resize == CRN_RESIZE_TORCHVISION && odd && half % 2 != 0 ? half + 1 : half;
}

static void resize_and_cut(crn__window *w, const crn_preprocessing *how, bool training,
                           uint64_t key)
{
    int64_t s = how->image_size, to = how->resize_side > 0 ? how->resize_side : s;
    if (training && how->train_side[0] > 0)
        to = random_between(key, CRN__DRAW_SIDE, how->train_side[0], how->train_side[1]);
    int32_t shorter = w->box_height < w->box_width ? w->box_height : w->box_width;
    w->height = resized(w->box_height, shorter, to, how->resize);
    w->width = resized(w->box_width, shorter, to, how->resize);
    w->top = middle(w->height, s, how->resize);
    w->left = middle(w->width, s, how->resize);
    if (training && how->random_crop) {
        int64_t border = w->height == s && w->width == s ? s / 8 : 0;
        w->top = random_between(key, CRN__DRAW_TOP, -border, w->height - s + border);
        w->left = random_between(key, CRN__DRAW_LEFT, -border, w->width - s + border);
    }
}

crn__window crn__window_choose(int32_t height, int32_t width, const crn_preprocessing *how,
                               uint64_t augment, uint64_t index)
{
    bool training = augment != 0;
    uint64_t key = training ? crn__random_bits(augment, index) : 0;
    crn__window w = {.box_height = height,
                     .box_width = width,
                     .height = how->image_size,
                     .width = how->image_size};
    if (training && how->box != CRN_BOX_NONE)
        draw_box(&w, height, width, how, key);
    else if (how->central_fraction > 0 && !(training && how->train_side[0] > 0))
        take_middle(&w, how, training && how->random_crop, key);
    else
        resize_and_cut(&w, how, training, key);
    w.flip = training && how->random_flip && crn__random_bits(key, CRN__DRAW_FLIP) >> 63 != 0;
    return w;
}
