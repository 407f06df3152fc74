/*
 * The Winograd solver: F(4x4, 3x3) for 3x3 convolutions with stride and rate 1 on a CPU
 * (cl/conv_winograd.cl). A quarter of the multiplications, at an error of a few 1e-6; the weight
 * gradient stays direct.
 */
#include "ops/conv/conv.h"

#include <stdio.h>

#define POINTS 36
/* Transformed inputs that wait for their multiplication: what the last-level cache surely holds. */
#define SCRATCH_BYTES (8 * 1024 * 1024)

/* A register tile of `tile` tiles by `block` vectors; a work-item multiplies `groups` of them a
 * point. */
typedef struct shape {
    uint32_t width;
    int32_t tile, block, groups;
} shape;

static bool applies(crn__schedule *schedule, const crn__conv *conv)
{
    const crn__profile *profile = crn__schedule_profile(schedule);
    const crn__window *w = &conv->window;
    int32_t width = (int32_t)profile->vector_width;
    for (int axis = 0; axis < 2; axis++)
        if (w->kernel[axis] != 3 || w->stride[axis] != 1 || w->rate[axis] != 1 ||
            w->pad_before[axis] > 2)
            return false;
    return profile->family == CRN__FAMILY_CPU && conv->ic % width == 0 && conv->oc % width == 0;
}

/* Of the register tiles that there are, the one that wastes least on the last group. */
static shape choose_shape(crn__schedule *schedule, int32_t channels, int64_t tiles)
{
    uint32_t width = crn__schedule_profile(schedule)->vector_width;
    int32_t block = channels > (int32_t)width ? 2 : 1;
    if (width < 16)
        return (shape){width, 12 / block, block, 2};
    shape large = {width, 28 / block, block, 2}, small = {width, 16 / block, block, 2};
    int64_t of_large = crn__ceil_div(tiles, large.tile * large.groups) * large.tile * large.groups;
    int64_t of_small = crn__ceil_div(tiles, small.tile * small.groups) * small.tile * small.groups;
    return of_small * 108 < of_large * 100 ? small : large;
}

static void compile_options(crn__task *task, shape s, bool gather)
{
    snprintf(task->options, sizeof task->options,
             "-DVW=%u -DGROUP=1 -DTILE=%d -DBLOCK=%d -DGROUPS=%d%s", s.width, s.tile, s.block,
             s.groups, gather ? " -DGATHER" : "");
}

static crn__tensor *transformed_weights(crn__schedule *schedule, const crn__conv *conv,
                                        crn__tensor *w, shape s, bool gather)
{
    int64_t source = gather ? conv->oc : conv->ic, destination = gather ? conv->ic : conv->oc;
    int64_t vectors = crn__ceil_div(destination, s.block * (int64_t)s.width) * source * s.block;
    crn_shape dims = {3, {POINTS, vectors, s.width}};
    char key[32];
    snprintf(key, sizeof key, "winograd %s %d", gather ? "gather" : "forward", s.block);
    crn__tensor *u = crn__schedule_derive(schedule, w, key, &dims);
    crn__task task = crn__task_flat(schedule, "conv_winograd.cl", "transform_weights",
                                    (size_t)(vectors * s.width * POINTS));
    compile_options(&task, s, gather);
    crn__task_refreshes(&task, u, w);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(w), CRN__TENSOR(u), CRN__LONG(vectors),
                                    CRN__INT(conv->ic), CRN__INT(conv->oc)));
    return u;
}

/* Both directions: source images of `sc` channels, destination images of `dc`, of equal kind. */
static void convolve(crn__schedule *schedule, const crn__conv *conv, bool gather, crn__tensor *x,
                     crn__tensor *w, const crn__epilogue *epilogue, crn__tensor *y, bool accumulate)
{
    int32_t sh = gather ? conv->oh : conv->ih, sw = gather ? conv->ow : conv->iw;
    int32_t dh = gather ? conv->ih : conv->oh, dw = gather ? conv->iw : conv->ow;
    int32_t sc = gather ? conv->oc : conv->ic, dc = gather ? conv->ic : conv->oc;
    int32_t pad[2] = {conv->window.pad_before[0], conv->window.pad_before[1]};
    if (gather)
        for (int axis = 0; axis < 2; axis++)
            pad[axis] = 2 - pad[axis];

    int64_t tiles_h = crn__ceil_div(dh, 4), tiles_w = crn__ceil_div(dw, 4);
    int64_t tiles = conv->images * tiles_h * tiles_w;
    shape s = choose_shape(schedule, dc, tiles);
    int32_t vectors = sc / (int32_t)s.width;
    crn__tensor *u = transformed_weights(schedule, conv, w, s, gather);

    int64_t group_tiles = s.tile * s.groups, all_groups = crn__ceil_div(tiles, group_tiles);
    int64_t group_floats = POINTS * (int64_t)sc * group_tiles;
    int64_t at_once = SCRATCH_BYTES / (int64_t)sizeof(float) / group_floats;
    at_once = at_once < 1 ? 1 : at_once > all_groups ? all_groups : at_once;
    crn__tensor *v = crn__schedule_workspace(schedule, (size_t)(at_once * group_floats));

    for (int64_t group = 0; group < all_groups; group += at_once) {
        int64_t n = all_groups - group < at_once ? all_groups - group : at_once;
        crn__task task = crn__task_kernel("conv_winograd.cl", "transform_input", "%s", "");
        compile_options(&task, s, false);
        task.range = (crn__range){1, {(size_t)(n * s.groups), 1, 1}, {1, 1, 1}};
        crn__schedule_add(schedule, &task,
                          CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(v),
                                        CRN__LONG(group * group_tiles), CRN__LONG(tiles),
                                        CRN__INT(sh), CRN__INT(sw), CRN__INT(vectors),
                                        CRN__INT(tiles_h), CRN__INT(tiles_w), CRN__INT(pad[0]),
                                        CRN__INT(pad[1])));
        task.kernel = "multiply";
        crn__task_streams(schedule, &task, y, accumulate);
        int64_t blocks = crn__ceil_div(dc, s.block * (int64_t)s.width);
        task.range = (crn__range){2, {(size_t)blocks, (size_t)n, 1}, {1, 1, 1}};
        crn__schedule_add(
            schedule, &task,
            CRN__OPERANDS(
                CRN__TENSOR(v), CRN__TENSOR(u), CRN__TENSOR(epilogue->scale),
                CRN__TENSOR(epilogue->shift), CRN__TENSOR(epilogue->other), CRN__TENSOR(y),
                CRN__LONG(group * group_tiles), CRN__LONG(tiles), CRN__INT(vectors), CRN__INT(dh),
                CRN__INT(dw), CRN__INT(dc), CRN__INT(tiles_h), CRN__INT(tiles_w),
                CRN__INT(crn__activation_code(epilogue->activation)), CRN__INT(accumulate)));
    }
}

static void forward(crn__schedule *schedule, const crn__conv *conv, crn__tensor *x, crn__tensor *w,
                    const crn__epilogue *epilogue, crn__tensor *y)
{
    convolve(schedule, conv, false, x, w, epilogue, y, false);
}

static void input_gradient(crn__schedule *schedule, const crn__conv *conv, crn__tensor *dy,
                           crn__tensor *w, crn__tensor *dx, bool accumulate)
{
    convolve(schedule, conv, true, dy, w, &(crn__epilogue){.scale = NULL}, dx, accumulate);
}

static void weight_gradient(crn__schedule *schedule, const crn__conv *conv, crn__tensor *x,
                            crn__tensor *dy, crn__tensor *dw, bool accumulate)
{
    crn__conv_direct.weight_gradient(schedule, conv, x, dy, dw, accumulate);
}

const crn__conv_solver_ops crn__conv_winograd = {
    .name = "winograd",
    .applies = applies,
    .forward = forward,
    .input_gradient = input_gradient,
    .weight_gradient = weight_gradient,
};
