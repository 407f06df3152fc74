/* A preprocessing as JSON. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "clarinet/data.h"
#include "core/error.h"
#include "data/preprocess.h"

#define MAX_JSON 4096
/* Digits that bring a float back exactly. */
#define FLOAT_DIGITS 9

static const char *const resizes[] = {"tensorflow", "torchvision", NULL};
static const char *const shrinks[] = {"never", "training", "always", NULL};
static const char *const boxes[] = {"none", "inception", "torchvision", NULL};
static const char *const colours[] = {"none", "inception-fast", "inception", "jitter", NULL};

/* ---- writing ---- */

/* Members that ask for something, beside those that were always there. Failing to add one is seen
 * by the caller, who counts. */
static void add_optional(json_t *root, const crn_preprocessing *p)
{
    /* clang-format off */
    if (p->central_fraction > 0)
        json_object_set_new(root, "central_fraction", json_real((double)p->central_fraction));
    if (p->resize != CRN_RESIZE_TENSORFLOW)
        json_object_set_new(root, "resize", json_string(resizes[p->resize]));
    if (p->exif_orientation)
        json_object_set_new(root, "exif_orientation", json_true());
    if (p->shrink != CRN_SHRINK_NEVER)
        json_object_set_new(root, "shrink", json_string(shrinks[p->shrink]));
    if (p->train_side[0] > 0)
        json_object_set_new(root, "train_side",
            json_pack("[i,i]", (int)p->train_side[0], (int)p->train_side[1]));
    if (p->box != CRN_BOX_NONE) {
        json_object_set_new(root, "box", json_string(boxes[p->box]));
        json_object_set_new(root, "box_area",
            json_pack("[f,f]", (double)p->box_area[0], (double)p->box_area[1]));
        json_object_set_new(root, "box_aspect",
            json_pack("[f,f]", (double)p->box_aspect[0], (double)p->box_aspect[1]));
    }
    if (p->colour != CRN_COLOUR_NONE)
        json_object_set_new(root, "colour", json_string(colours[p->colour]));
    if (p->colour == CRN_COLOUR_JITTER)
        json_object_set_new(root, "jitter",
            json_pack("[f,f,f,f]", (double)p->jitter[0], (double)p->jitter[1],
                      (double)p->jitter[2], (double)p->jitter[3]));
    /* clang-format on */
}

static size_t count_optional(const crn_preprocessing *p)
{
    return (size_t)(p->central_fraction > 0) + (p->resize != CRN_RESIZE_TENSORFLOW) +
           p->exif_orientation + (p->shrink != CRN_SHRINK_NEVER) + (p->train_side[0] > 0) +
           (p->box != CRN_BOX_NONE ? 3u : 0u) + (p->colour != CRN_COLOUR_NONE) +
           (p->colour == CRN_COLOUR_JITTER);
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
    size_t always = json_object_size(root);
    add_optional(root, p);
    bool complete = root != NULL && json_object_size(root) == always + count_optional(p);
    char *made =
        complete ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(FLOAT_DIGITS)) : NULL;
    json_decref(root);
    if (made == NULL)
        return CRN_NO_MEMORY;
    bool fits = strlen(made) < size;
    if (fits)
        memcpy(text, made, strlen(made) + 1);
    free(made);
    return fits ? CRN_OK : CRN_INVALID;
}

/* ---- reading ---- */

static bool find_name(const char *const *names, const char *name, int *found)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], name) == 0) {
            *found = i;
            return true;
        }
    return false;
}

/* The members as JSON has them. */
typedef struct members {
    json_int_t image_size, resize_side, channels, train_side[2];
    double mean[3], scale[3], central_fraction, area[2], aspect[2], jitter[4];
    int random_crop, random_flip, exif_orientation;
    const char *resize, *shrink, *box, *colour;
} members;

static bool in_range(json_int_t number)
{
    return number == (int32_t)number;
}

static crn_status convert(const members *m, crn_preprocessing *out, crn_error *error)
{
    int resize, shrink, box, colour;
    if (!in_range(m->image_size) || !in_range(m->resize_side) || !in_range(m->channels) ||
        !in_range(m->train_side[0]) || !in_range(m->train_side[1]))
        return crn__fail(error, CRN_FORMAT, "preprocessing: a size is out of range");
    if (!find_name(resizes, m->resize, &resize) || !find_name(shrinks, m->shrink, &shrink) ||
        !find_name(boxes, m->box, &box) || !find_name(colours, m->colour, &colour))
        return crn__fail(error, CRN_FORMAT,
                         "preprocessing: unknown resize, shrink, box or colour: \"%s\", \"%s\", "
                         "\"%s\", \"%s\"",
                         m->resize, m->shrink, m->box, m->colour);
    crn_preprocessing p = {.size = sizeof p,
                           .image_size = (int32_t)m->image_size,
                           .resize_side = (int32_t)m->resize_side,
                           .channels = (int32_t)m->channels,
                           .random_crop = m->random_crop != 0,
                           .random_flip = m->random_flip != 0,
                           .central_fraction = (float)m->central_fraction,
                           .resize = (crn_resize)resize,
                           .exif_orientation = m->exif_orientation != 0,
                           .shrink = (crn_shrink)shrink,
                           .box = (crn_box)box,
                           .colour = (crn_colour)colour};
    for (int i = 0; i < 3; i++) {
        p.mean[i] = (float)m->mean[i];
        p.scale[i] = (float)m->scale[i];
    }
    for (int i = 0; i < 2; i++) {
        p.train_side[i] = (int32_t)m->train_side[i];
        p.box_area[i] = (float)m->area[i];
        p.box_aspect[i] = (float)m->aspect[i];
    }
    for (int i = 0; i < 4; i++)
        p.jitter[i] = (float)m->jitter[i];
    CRN__TRY(crn__preprocessing_check(&p, CRN_FORMAT, error));
    *out = p;
    return CRN_OK;
}

static crn_status unpack(json_t *root, crn_preprocessing *out, crn_error *error)
{
    members m = {.resize = resizes[0], .shrink = shrinks[0], .box = boxes[0], .colour = colours[0]};
    json_error_t detail;
    /* clang-format off */
    if (json_unpack_ex(root, &detail, JSON_STRICT,
            "{s:I, s:I, s:I, s:[F,F,F], s:[F,F,F], s:b, s:b,"
            " s?F, s?s, s?b, s?s, s?[I,I], s?s, s?[F,F], s?[F,F], s?s, s?[F,F,F,F]}",
            "image_size", &m.image_size,
            "resize_side", &m.resize_side,
            "channels", &m.channels,
            "mean", &m.mean[0], &m.mean[1], &m.mean[2],
            "scale", &m.scale[0], &m.scale[1], &m.scale[2],
            "random_crop", &m.random_crop,
            "random_flip", &m.random_flip,
            "central_fraction", &m.central_fraction,
            "resize", &m.resize,
            "exif_orientation", &m.exif_orientation,
            "shrink", &m.shrink,
            "train_side", &m.train_side[0], &m.train_side[1],
            "box", &m.box,
            "box_area", &m.area[0], &m.area[1],
            "box_aspect", &m.aspect[0], &m.aspect[1],
            "colour", &m.colour,
            "jitter", &m.jitter[0], &m.jitter[1], &m.jitter[2], &m.jitter[3]) != 0)
        return crn__fail(error, CRN_FORMAT, "preprocessing: %s", detail.text);
    /* clang-format on */
    return convert(&m, out, error);
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
