/*
 * The direct solver: register tiles over NHWC (cl/conv_direct.cl, cl/conv_direct_weight.cl). It
 * applies to every convolution on every device; it is the fast one where a work-item is a thread
 * with vector registers.
 */
#include "ops/conv/conv.h"

#include <stdio.h>
#include <string.h>

/* What a group of tiles reads of the source should stay in a core's second-level cache beside the
 * weights. */
#define CACHE_BYTES (256 * 1024)
/* Pixels that the weight gradient handles between two visits of its sums. */
#define BLOCK_PIXELS 64
/* From so many channels on, neighbouring pixels share their place in the first-level cache, and the
 * weight gradient copies them. */
#define FAR_CHANNELS 1024

/* Most blocks of channels that share a tile's set-up: GROUP_BLOCKS of cl/conv_pointwise.cl. */
#define MAX_GROUP 16

/* A register tile: `tile` points by `block` vectors of `width` channels. */
typedef struct register_tile {
    uint32_t width;
    int32_t tile, block;
} register_tile;

static int32_t ceil_div(int64_t a, int64_t b)
{
    return (int32_t)crn__ceil_div(a, b);
}

static int32_t clamp(int64_t value, int64_t low, int64_t high)
{
    return (int32_t)(value < low ? low : value > high ? high : value);
}

/* How the kernel computes a direction: see cl/conv_direct.cl and cl/conv_pack.cl. */
typedef enum way {
    FORWARD,
    TURNED, /* input gradient, stride 1: forward with weights turned and transposed */
    GATHER  /* input gradient, strides */
} way;

static const char *const pack_options[] = {"", " -DTRANSPOSED -DTURNED", " -DTRANSPOSED"};

/* The weights in the order in which the kernel reads them; packed again when the variable has
 * changed. */
static crn__tensor *packed_weights(crn__schedule *schedule, const crn__conv *conv, crn__tensor *w,
                                   register_tile tile, way how)
{
    int32_t width = tile.block * (int32_t)tile.width;
    int32_t taps = conv->window.kernel[0] * conv->window.kernel[1];
    int32_t source = how == FORWARD ? conv->ic : conv->oc;
    int32_t destination = how == FORWARD ? conv->oc : conv->ic;
    int64_t vectors = (int64_t)ceil_div(destination, width) * taps * source;
    crn_shape shape = {2, {vectors, width}};
    char key[32];
    snprintf(key, sizeof key, "direct %d %d", (int)how, width);
    crn__tensor *packed = crn__schedule_derive(schedule, w, key, &shape);
    crn__task task = crn__task_flat(schedule, "conv_pack.cl", "pack", (size_t)(vectors * width));
    snprintf(task.options, sizeof task.options, "-DGROUP=%u -DWIDTH=%d%s",
             crn__schedule_profile(schedule)->group_size, width, pack_options[how]);
    crn__task_refreshes(&task, packed, w);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(w), CRN__TENSOR(packed), CRN__LONG(vectors),
                                    CRN__INT(taps), CRN__INT(conv->ic), CRN__INT(conv->oc)));
    return packed;
}

/* A line of zeros as long as either side's channels, kept beside the weights. */
static crn__tensor *zero_line(crn__schedule *schedule, const crn__conv *conv, crn__tensor *w)
{
    return crn__schedule_zeros(schedule, w, (size_t)(conv->ic > conv->oc ? conv->ic : conv->oc));
}

static bool applies(crn__schedule *schedule, const crn__conv *conv)
{
    (void)schedule;
    (void)conv;
    return true;
}

/* How many work-items share a convolution: each takes `group` blocks of channels of `tiles` tiles.
 */
typedef struct split {
    int32_t blocks, group, all_tiles, tiles;
} split;

/*
 * A tile's set-up is shared by a group, whose weights should stay in the cache, as should the
 * source of the tiles that follow one another. There must be enough work-items, too. Where weights
 * are more than the source, and there are blocks enough to share out, they are read once.
 */
static split share_out(crn__schedule *schedule, register_tile tile, int64_t points, int32_t taps,
                       int32_t sc, int32_t dc, int32_t phases)
{
    const int64_t block_bytes =
        (int64_t)tile.block * tile.width * taps * sc * (int64_t)sizeof(float);
    const int64_t tile_bytes = (int64_t)tile.tile * sc * (int64_t)sizeof(float);
    int64_t wanted = (int64_t)crn__schedule_profile(schedule)->parallelism / phases;
    wanted = wanted > 0 ? wanted : 1;
    split s = {.blocks = ceil_div(dc, tile.block * (int32_t)tile.width),
               .all_tiles = ceil_div(points, tile.tile)};
    if (s.blocks >= wanted / 4 && block_bytes * s.blocks > tile_bytes * s.all_tiles) {
        s.group = clamp(s.blocks / wanted, 1, MAX_GROUP);
        s.tiles = s.all_tiles;
        return s;
    }
    int64_t groups = (int64_t)s.all_tiles * s.blocks / wanted;
    int64_t cached = CACHE_BYTES / block_bytes;
    s.group =
        clamp(groups < cached ? groups : cached, 1, s.blocks < MAX_GROUP ? s.blocks : MAX_GROUP);
    int64_t balanced = (int64_t)s.all_tiles * ceil_div(s.blocks, s.group) / wanted;
    cached = CACHE_BYTES / tile_bytes;
    s.tiles = clamp(balanced < cached ? balanced : cached, 1, s.all_tiles);
    return s;
}

/* Whether output pixels are input pixels, so that only their number counts. */
static bool is_pointwise(const crn__conv *conv)
{
    const crn__window *w = &conv->window;
    return w->kernel[0] == 1 && w->kernel[1] == 1 && w->stride[0] == 1 && w->stride[1] == 1 &&
           w->pad_before[0] == 0 && w->pad_before[1] == 0 && conv->oh == conv->ih &&
           conv->ow == conv->iw && (int64_t)conv->images * conv->oh * conv->ow <= INT32_MAX;
}

/*
 * 24 accumulators of AVX-512's 32 registers leave room for what they are made of, 12 of the 16 that
 * narrower vectors have at least. Where points are few, other tiles waste less on the last one: 7
 * are a line of the last layers' images, whose first and last lines skip the taps outside.
 */
static register_tile choose_tile(crn__schedule *schedule, int32_t channels, int64_t points,
                                 bool pointwise)
{
    uint32_t width = crn__schedule_profile(schedule)->vector_width;
    int32_t block = channels > (int32_t)width ? 2 : 1;
    register_tile tile = {width, (width == 16 ? 24 : 12) / block, block};
    int32_t other = (pointwise ? 20 : 14) / block;
    if (width == 16 && 105 * other * crn__ceil_div(points, other) <
                           100 * tile.tile * crn__ceil_div(points, tile.tile))
        tile.tile = other;
    return tile;
}

/* Both directions of a pointwise convolution: cl/conv_pointwise.cl. */
static void convolve_points(crn__schedule *schedule, const crn__conv *conv, way how,
                            register_tile tile, crn__tensor *x, crn__tensor *packed,
                            const crn__epilogue *epilogue, crn__tensor *y, bool accumulate)
{
    int32_t sc = how == FORWARD ? conv->ic : conv->oc, dc = how == FORWARD ? conv->oc : conv->ic;
    int64_t points = (int64_t)conv->images * conv->oh * conv->ow;
    split s = share_out(schedule, tile, points, 1, sc, dc, 1);
    crn__task task =
        crn__task_kernel("conv_pointwise.cl", "pointwise", "-DVW=%u -DTILE=%d -DBLOCK=%d",
                         tile.width, tile.tile, tile.block);
    task.range = (crn__range){
        2,
        {(size_t)ceil_div(s.blocks, s.group), (size_t)ceil_div(s.all_tiles, s.tiles), 1},
        {1, 1, 1}};
    crn__tensor *moments = epilogue->wants_moments
                               ? crn__make_moments(schedule, y, ceil_div(s.all_tiles, s.tiles))
                               : NULL;
    crn__schedule_add(
        schedule, &task,
        CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(packed), CRN__TENSOR(epilogue->scale),
                      CRN__TENSOR(epilogue->shift), CRN__TENSOR(epilogue->other), CRN__TENSOR(y),
                      CRN__LONG(points), CRN__INT(sc / (int32_t)tile.width), CRN__INT(dc),
                      CRN__INT(s.blocks), CRN__INT(s.group), CRN__INT(s.tiles),
                      CRN__INT(crn__activation_code(epilogue->activation)),
                      CRN__INT(crn__how_to_write(schedule, y, accumulate)), CRN__TENSOR(moments)));
}

/* Every direction that cl/conv_direct.cl computes: `x` is what it reads, `y` what it writes. */
static void convolve(crn__schedule *schedule, const crn__conv *conv, way how, crn__tensor *x,
                     crn__tensor *w, const crn__epilogue *epilogue, crn__tensor *y, bool accumulate)
{
    const crn__window *window = &conv->window;
    bool back = how != FORWARD;
    int32_t sh = back ? conv->oh : conv->ih, sw = back ? conv->ow : conv->iw;
    int32_t dh = back ? conv->ih : conv->oh, dw = back ? conv->iw : conv->ow;
    int32_t sc = back ? conv->oc : conv->ic, dc = back ? conv->ic : conv->oc;
    int32_t phases[2], pad[2];
    for (int axis = 0; axis < 2; axis++) {
        phases[axis] = how == GATHER ? window->stride[axis] : 1;
        pad[axis] = window->pad_before[axis];
        if (how == TURNED)
            pad[axis] = (window->kernel[axis] - 1) * window->rate[axis] - pad[axis];
    }

    int32_t vector = (int32_t)crn__schedule_profile(schedule)->vector_width;
    bool pointwise = is_pointwise(conv) && sc % vector == 0 && dc % vector == 0 &&
                     crn__schedule_profile(schedule)->family == CRN__FAMILY_CPU;
    int64_t points = (int64_t)conv->images * ceil_div(dh, phases[0]) * ceil_div(dw, phases[1]);
    register_tile tile = choose_tile(schedule, dc, points, pointwise);
    crn__tensor *packed = packed_weights(schedule, conv, w, tile, how);
    if (pointwise) {
        convolve_points(schedule, conv, how, tile, x, packed, epilogue, y, accumulate);
        return;
    }
    crn__tensor *zeros = zero_line(schedule, conv, w);
    split s = share_out(schedule, tile, points, window->kernel[0] * window->kernel[1], sc, dc,
                        phases[0] * phases[1]);

    crn__task task =
        crn__task_kernel("conv_direct.cl", "conv", "-DVW=%u -DTILE=%d -DBLOCK=%d%s", tile.width,
                         tile.tile, tile.block, how == GATHER ? " -DGATHER" : "");
    task.range =
        (crn__range){3,
                     {(size_t)ceil_div(s.blocks, s.group), (size_t)ceil_div(s.all_tiles, s.tiles),
                      (size_t)(phases[0] * phases[1])},
                     {1, 1, 1}};
    crn__schedule_add(
        schedule, &task,
        CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(packed), CRN__TENSOR(epilogue->scale),
                      CRN__TENSOR(epilogue->shift), CRN__TENSOR(epilogue->other), CRN__TENSOR(y),
                      CRN__TENSOR(zeros), CRN__INT(conv->images), CRN__INT(sh), CRN__INT(sw),
                      CRN__INT(sc), CRN__INT(dh), CRN__INT(dw), CRN__INT(dc),
                      CRN__INT(window->kernel[0]), CRN__INT(window->kernel[1]),
                      CRN__INT(how == TURNED ? 1 : window->stride[0]),
                      CRN__INT(how == TURNED ? 1 : window->stride[1]), CRN__INT(window->rate[0]),
                      CRN__INT(window->rate[1]), CRN__INT(pad[0]), CRN__INT(pad[1]),
                      CRN__INT(s.blocks), CRN__INT(s.group), CRN__INT(s.tiles),
                      CRN__INT(crn__activation_code(epilogue->activation)), CRN__INT(accumulate)));
}

static void forward(crn__schedule *schedule, const crn__conv *conv, crn__tensor *x, crn__tensor *w,
                    const crn__epilogue *epilogue, crn__tensor *y)
{
    convolve(schedule, conv, FORWARD, x, w, epilogue, y, false);
}

static void input_gradient(crn__schedule *schedule, const crn__conv *conv, crn__tensor *dy,
                           crn__tensor *w, crn__tensor *dx, bool accumulate)
{
    bool strided = conv->window.stride[0] > 1 || conv->window.stride[1] > 1;
    convolve(schedule, conv, strided ? GATHER : TURNED, dy, w, &(crn__epilogue){.scale = NULL}, dx,
             accumulate);
}

static int32_t largest_divisor(int32_t value, int32_t most)
{
    while (value % most != 0)
        most--;
    return most;
}

/* A pointwise convolution's images as one of lines as long as a block. */
static crn__conv as_lines(const crn__conv *conv)
{
    crn__conv lines = *conv;
    int32_t pixels = conv->images * conv->oh * conv->ow;
    lines.images = 1;
    lines.ow = lines.iw = largest_divisor(pixels, BLOCK_PIXELS);
    lines.oh = lines.ih = pixels / lines.ow;
    return lines;
}

static void weight_gradient(crn__schedule *schedule, const crn__conv *conv, crn__tensor *x,
                            crn__tensor *dy, crn__tensor *dw, bool accumulate)
{
    const crn__window *window = &conv->window;
    const crn__profile *profile = crn__schedule_profile(schedule);
    uint32_t width = crn__vector_for(schedule, (size_t)conv->oc);
    int32_t block = conv->oc % (2 * (int32_t)width) == 0 ? 2 : 1;
    bool pointwise = is_pointwise(conv);
    const crn__conv c = pointwise ? as_lines(conv) : *conv;
    bool packed = pointwise && profile->family == CRN__FAMILY_CPU &&
                  (c.ic >= FAR_CHANNELS || c.oc >= FAR_CHANNELS);
    /* A line of taps at once where a tap alone has too few inputs for a register tile. */
    bool merged = c.ic < 8 && window->kernel[1] > 1 && window->rate[1] == 1;
    int32_t taps = window->kernel[0] * (merged ? 1 : window->kernel[1]);
    int32_t inputs = c.ic * (merged ? window->kernel[1] : 1);
    int32_t rows = largest_divisor(inputs, (int32_t)width * block >= 16 ? 8 : 6);

    /*
     * What a work-item owns: of several taps its sums should stay in the cache. All taps at once,
     * so that x and dy are read once for them, where that leaves it some input channels.
     */
    int64_t sums = 2 * CACHE_BYTES / ((int64_t)c.oc * (int64_t)sizeof(float));
    int32_t tap_groups = sums / taps >= 2 * rows ? 1 : taps;
    int32_t most = packed || taps > 1 ? 64 : 128, channels = rows;
    while (2 * channels <= most && inputs % (2 * channels) == 0 &&
           (taps == 1 || 2 * channels * (taps / tap_groups) <= sums))
        channels *= 2;
    int32_t groups = ceil_div(inputs, channels);
    int64_t image_rows = (int64_t)c.images * c.oh;
    int32_t splits =
        clamp(profile->parallelism / 2 / ((int64_t)groups * tap_groups), 1, image_rows);

    crn__task task = crn__task_kernel("conv_direct_weight.cl", "weight_gradient",
                                      "-DVW=%u -DROWS=%d -DBLOCK=%d", width, rows, block);
    size_t used = strlen(task.options);
    if (packed)
        snprintf(task.options + used, sizeof task.options - used, " -DCHANNELS=%d -DPIXELS=%d",
                 channels, BLOCK_PIXELS);
    else if (merged)
        snprintf(task.options + used, sizeof task.options - used, " -DMERGED");
    task.range = (crn__range){3, {(size_t)groups, (size_t)tap_groups, (size_t)splits}, {1, 1, 1}};
    size_t count = crn__tensor_count(dw);
    crn__tensor *out = splits > 1 ? crn__schedule_workspace(schedule, count * (size_t)splits) : dw;
    crn__schedule_add(
        schedule, &task,
        CRN__OPERANDS(
            CRN__TENSOR(x), CRN__TENSOR(dy), CRN__TENSOR(out), CRN__INT(c.images), CRN__INT(c.ih),
            CRN__INT(c.iw), CRN__INT(c.ic), CRN__INT(c.oh), CRN__INT(c.ow), CRN__INT(c.oc),
            CRN__INT(window->kernel[1]), CRN__INT(window->stride[0]), CRN__INT(window->stride[1]),
            CRN__INT(window->rate[0]), CRN__INT(window->rate[1]), CRN__INT(window->pad_before[0]),
            CRN__INT(window->pad_before[1]), CRN__INT(taps), CRN__INT(channels),
            CRN__INT(clamp(BLOCK_PIXELS / c.ow, 1, image_rows)),
            CRN__INT(splits == 1 && accumulate)));
    if (splits > 1)
        crn__emit_fold(schedule, out, (size_t)splits, dw, count, accumulate);
}

const crn__conv_solver_ops crn__conv_direct = {
    .name = "direct",
    .applies = applies,
    .forward = forward,
    .input_gradient = input_gradient,
    .weight_gradient = weight_gradient,
};
