/*
 * The Winograd solver: F(4x4, 3x3) for 3x3 convolutions with stride 1 on a CPU
 * (cl/conv_winograd.cl). A quarter of the multiplications, at an error of a few 1e-6. The weight
 * gradient of few tiles is left to the direct solver.
 */
#include "ops/conv/conv.h"

#include <stdio.h>

#define POINTS 36
/* Transformed inputs that wait for their multiplication: what the last-level cache surely holds. */
#define SCRATCH_BYTES (8 * 1024 * 1024)
/* With fewer tiles the weight gradient stays direct: of 4 it takes as long either way. */
#define MIN_TILES 8
/* Fewest tiles that a work-item should sum up: it then transforms all its sums back. */
#define MIN_SUMMED 32
/* Tiles that a work-item of the weight gradient transforms. Sums take four at a time. */
#define STRIP 4
/* Most blocks of channels that a work-item of the weight gradient owns: 147 KB of products. */
#define MAX_WEIGHT_GROUPS 4
/* Most register tiles a point that a work-item multiplies: up to 442 KB of products. */
#define MAX_GROUPS 8
/* From so many source channels on, a work-item multiplies more than two. */
#define MANY_CHANNELS 256

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
        if (w->kernel[axis] != 3 || w->stride[axis] != 1 || w->rate[axis] != w->rate[0] ||
            w->pad_before[axis] > 2 * w->rate[axis])
            return false;
    return profile->family == CRN__FAMILY_CPU && conv->ic % width == 0 && conv->oc % width == 0;
}

/* Tiles that are computed for `tiles`, in whole groups. */
static int64_t padded(shape s, int64_t tiles)
{
    return crn__ceil_div(tiles, s.tile * (int64_t)s.groups) * s.tile * s.groups;
}

/*
 * Of the register tiles that there are, the one that wastes least on the last group. Work-items
 * read all weights of their block: where these are many, the tiles that share them are, too.
 */
static shape choose_shape(crn__schedule *schedule, int32_t source, int32_t destination,
                          int64_t tiles)
{
    const crn__profile *profile = crn__schedule_profile(schedule);
    uint32_t width = profile->vector_width;
    int32_t block = destination > (int32_t)width ? 2 : 1;
    if (width < 16)
        return (shape){width, 12 / block, block, 2};
    shape large = {width, 24 / block, block, 2}, small = {width, 16 / block, block, 2};
    shape best = padded(small, tiles) * 108 < padded(large, tiles) * 100 ? small : large;
    int64_t blocks = crn__ceil_div(destination, block * (int64_t)width);
    shape more = best;
    for (more.groups *= 2; source >= MANY_CHANNELS && more.groups <= MAX_GROUPS; more.groups *= 2)
        if (padded(more, tiles) * 100 <= padded(best, tiles) * 105 &&
            blocks * crn__ceil_div(tiles, more.tile * more.groups) >= profile->parallelism / 2)
            best = more;
    return best;
}

/*
 * A task of cl/conv_winograd_transform.cl, which is compiled for both ways once each: weights of
 * one block, too, are few.
 */
static crn__task transform_task(const char *kernel, uint32_t width, int32_t block, bool backward)
{
    return crn__task_kernel("conv_winograd_transform.cl", kernel, "-DVW=%u -DGROUP=1 -DBLOCK=%d%s",
                            width, block, backward ? " -DBACKWARD" : "");
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
    crn__task task = transform_task("transform_weights", s.width, s.block, gather);
    task.range =
        crn__task_flat(schedule, task.file, task.kernel, (size_t)(vectors * s.width * POINTS))
            .range;
    crn__task_refreshes(&task, u, w);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(w), CRN__TENSOR(u), CRN__LONG(vectors),
                                    CRN__INT(conv->ic), CRN__INT(conv->oc)));
    return u;
}

/* Tiles of all images; the launch at hand begins with the first. */
typedef struct tiling {
    int64_t first, tiles;
    int32_t h, w; /* tiles of an image */
    int32_t rate; /* pixels from row to row of a tile, and from column to column */
} tiling;

/* Tiles along an axis of `size` pixels: `rate` that interleave make 4 * rate of them. */
static int32_t count_tiles(int32_t size, int32_t rate)
{
    int32_t rest = size % (4 * rate);
    return size / (4 * rate) * rate + (rest < rate ? rest : rate);
}

static tiling tile_images(const crn__conv *conv, int32_t h, int32_t w)
{
    int32_t rate = conv->window.rate[0];
    tiling t = {.h = count_tiles(h, rate), .w = count_tiles(w, rate), .rate = rate};
    t.tiles = (int64_t)conv->images * t.h * t.w;
    return t;
}

/* Where transform_images puts tiles, in vectors: steps from block to block of `tile` tiles, point
 * to point and channels to channels. */
typedef struct layout {
    int32_t tile;
    int64_t block, point, channels;
} layout;

/* Images x of h x w pixels and `channels` to v, for `blocks` of tiles; `backward`: x is the
 * output's gradient. */
static void transform_images(crn__schedule *schedule, crn__tensor *x, int32_t h, int32_t w,
                             int32_t channels, const int32_t pad[2], bool backward, const tiling *t,
                             int64_t blocks, layout l, crn__tensor *v)
{
    uint32_t width = crn__schedule_profile(schedule)->vector_width;
    int32_t vectors = channels / (int32_t)width;
    crn__task task = transform_task("transform_images", width, 2, backward);
    task.range = (crn__range){1, {(size_t)blocks, 1, 1}, {1, 1, 1}};
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(v), CRN__LONG(l.block),
                                    CRN__LONG(l.point), CRN__LONG(l.channels), CRN__INT(l.tile),
                                    CRN__LONG(t->first), CRN__LONG(t->tiles), CRN__INT(h),
                                    CRN__INT(w), CRN__INT(vectors), CRN__INT(t->h), CRN__INT(t->w),
                                    CRN__INT(t->rate), CRN__INT(pad[0]), CRN__INT(pad[1])));
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
            pad[axis] = 2 * conv->window.rate[axis] - pad[axis];

    tiling t = tile_images(conv, dh, dw);
    shape s = choose_shape(schedule, sc, dc, t.tiles);
    int32_t vectors = sc / (int32_t)s.width;
    crn__tensor *u = transformed_weights(schedule, conv, w, s, gather);

    int64_t group_tiles = s.tile * s.groups, all_groups = crn__ceil_div(t.tiles, group_tiles);
    int64_t group_floats = POINTS * (int64_t)sc * group_tiles;
    int64_t at_once = SCRATCH_BYTES / (int64_t)sizeof(float) / group_floats;
    at_once = at_once < 1 ? 1 : at_once > all_groups ? all_groups : at_once;
    crn__tensor *v = crn__schedule_workspace(schedule, (size_t)(at_once * group_floats));

    crn__tensor *moments =
        epilogue->wants_moments ? crn__make_moments(schedule, y, all_groups) : NULL;

    for (int64_t group = 0; group < all_groups; group += at_once) {
        int64_t n = all_groups - group < at_once ? all_groups - group : at_once;
        t.first = group * group_tiles;
        const layout l = {s.tile, (int64_t)POINTS * vectors * s.tile, (int64_t)vectors * s.tile,
                          s.tile};
        transform_images(schedule, x, sh, sw, sc, pad, false, &t, n * s.groups, l, v);
        crn__task task = crn__task_kernel("conv_winograd.cl", "multiply",
                                          "-DVW=%u -DGROUP=1 -DTILE=%d -DBLOCK=%d -DGROUPS=%d",
                                          s.width, s.tile, s.block, s.groups);
        int64_t blocks = crn__ceil_div(dc, s.block * (int64_t)s.width);
        task.range = (crn__range){2, {(size_t)blocks, (size_t)n, 1}, {1, 1, 1}};
        crn__schedule_add(
            schedule, &task,
            CRN__OPERANDS(CRN__TENSOR(v), CRN__TENSOR(u), CRN__TENSOR(epilogue->scale),
                          CRN__TENSOR(epilogue->shift), CRN__TENSOR(epilogue->other),
                          CRN__TENSOR(y), CRN__LONG(t.first), CRN__LONG(t.tiles), CRN__INT(vectors),
                          CRN__INT(dh), CRN__INT(dw), CRN__INT(dc), CRN__INT(t.h), CRN__INT(t.w),
                          CRN__INT(t.rate), CRN__INT(crn__activation_code(epilogue->activation)),
                          CRN__INT(crn__how_to_write(schedule, y, accumulate)),
                          CRN__TENSOR(moments)));
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

/*
 * A register tile of `rows` input channels by `block` vectors of output channels. A work-item owns
 * `groups` of them for all points, in one of `splits` ranges of a chunk's tiles.
 */
typedef struct weight_shape {
    uint32_t width;
    int32_t rows, block, groups, splits;
} weight_shape;

/*
 * Groups share what is read of dy, ranges of tiles make work-items where there are few channels.
 * Work-items are equal: half as many as usual suffice.
 */
static weight_shape choose_weight_shape(crn__schedule *schedule, const crn__conv *conv,
                                        int64_t chunk)
{
    const crn__profile *profile = crn__schedule_profile(schedule);
    int32_t width = (int32_t)profile->vector_width;
    int64_t wanted = profile->parallelism / 2;
    weight_shape s = {.width = profile->vector_width,
                      .rows = width < 16 ? 4 : 8,
                      .block = conv->oc % (2 * width) == 0 ? 2 : 1,
                      .groups = 1};
    int32_t sources = conv->ic / s.rows, destinations = conv->oc / (s.block * width);
    int64_t most_splits = chunk < MIN_SUMMED ? 1 : chunk / MIN_SUMMED;
    while (s.groups < MAX_WEIGHT_GROUPS && sources % (2 * s.groups) == 0 &&
           (int64_t)sources / (2 * s.groups) * destinations * most_splits >= wanted)
        s.groups *= 2;
    int64_t splits = wanted / ((int64_t)sources / s.groups * destinations);
    s.splits = (int32_t)(splits < 1 ? 1 : splits < most_splits ? splits : most_splits);
    return s;
}

static void weight_gradient(crn__schedule *schedule, const crn__conv *conv, crn__tensor *x,
                            crn__tensor *dy, crn__tensor *dw, bool accumulate)
{
    tiling t = tile_images(conv, conv->oh, conv->ow);
    if (t.tiles < MIN_TILES) {
        crn__conv_direct.weight_gradient(schedule, conv, x, dy, dw, accumulate);
        return;
    }

    /* Equal chunks of tiles. */
    int64_t tile_bytes = POINTS * ((int64_t)conv->ic + conv->oc) * (int64_t)sizeof(float);
    int64_t most = SCRATCH_BYTES / tile_bytes;
    int64_t chunks = crn__ceil_div(t.tiles, most > MIN_SUMMED ? most : MIN_SUMMED);
    int64_t chunk = crn__ceil_div(crn__ceil_div(t.tiles, chunks), STRIP) * STRIP;
    weight_shape s = choose_weight_shape(schedule, conv, chunk);

    /* Lines between points: an odd number, so that they do not all fall on the same cache sets. */
    int64_t step = chunk + 1;
    const layout l = {STRIP, STRIP, step, POINTS * step};
    const int32_t none[] = {0, 0};
    crn__tensor *v = crn__schedule_workspace(schedule, (size_t)(POINTS * step * conv->ic));
    crn__tensor *u = crn__schedule_workspace(schedule, (size_t)(POINTS * step * conv->oc));
    size_t count = crn__tensor_count(dw);
    bool split = s.splits > 1;
    crn__tensor *out = split ? crn__schedule_workspace(schedule, count * (size_t)s.splits) : dw;

    for (; t.first < t.tiles; t.first += chunk) {
        int64_t left = t.tiles - t.first;
        int64_t strips = crn__ceil_div(left < chunk ? left : chunk, STRIP);
        transform_images(schedule, x, conv->ih, conv->iw, conv->ic, conv->window.pad_before, false,
                         &t, strips, l, v);
        transform_images(schedule, dy, conv->oh, conv->ow, conv->oc, none, true, &t, strips, l, u);
        crn__task task = crn__task_kernel("conv_winograd.cl", "multiply_weights",
                                          "-DVW=%u -DGROUP=1 -DROWS=%d -DBLOCK=%d -DGROUPS=%d",
                                          s.width, s.rows, s.block, s.groups);
        task.range =
            (crn__range){3,
                         {(size_t)(conv->ic / (s.rows * s.groups)),
                          (size_t)(conv->oc / (s.block * (int32_t)s.width)), (size_t)s.splits},
                         {1, 1, 1}};
        crn__schedule_add(schedule, &task,
                          CRN__OPERANDS(CRN__TENSOR(v), CRN__TENSOR(u), CRN__TENSOR(out),
                                        CRN__LONG(strips * STRIP), CRN__LONG(step),
                                        CRN__INT(conv->ic), CRN__INT(conv->oc),
                                        CRN__INT(t.first > 0 || (accumulate && !split))));
    }
    if (split)
        crn__emit_fold(schedule, out, (size_t)s.splits, dw, count, accumulate);
}

const crn__conv_solver_ops crn__conv_winograd = {
    .name = "winograd",
    .applies = applies,
    .forward = forward,
    .input_gradient = input_gradient,
    .weight_gradient = weight_gradient,
};
