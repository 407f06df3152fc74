/*
 * The direct solver: register tiles over NHWC (cl/conv_direct.cl, cl/conv_direct_weight.cl). It
 * applies to every convolution on every device; it is the fast one where a work-item is a thread
 * with vector registers.
 */
#include "ops/conv/conv.h"

#include <stdio.h>

/* What a group of tiles reads of the source should stay in a core's second-level cache beside the
 * weights. */
#define CACHE_BYTES (256 * 1024)
/* Pixels that the weight gradient handles between two visits of its sums. */
#define BLOCK_PIXELS 64

/* A register tile: `tile` points by `block` vectors of `width` channels. */
typedef struct register_tile {
    uint32_t width;
    int32_t tile, block;
} register_tile;

static const crn__profile *profile_of(crn__schedule *schedule)
{
    return crn__context_profile(crn__schedule_context(schedule));
}

static int32_t ceil_div(int64_t a, int64_t b)
{
    return (int32_t)((a + b - 1) / b);
}

static int32_t clamp(int64_t value, int64_t low, int64_t high)
{
    return (int32_t)(value < low ? low : value > high ? high : value);
}

/* 28 accumulators of AVX-512's 32 registers, 12 of the 16 that narrower vectors have at least. */
static register_tile choose_tile(crn__schedule *schedule, int32_t channels)
{
    uint32_t width = profile_of(schedule)->vector_width;
    int32_t accumulators = width == 16 ? 28 : 12;
    int32_t block = channels > (int32_t)width ? 2 : 1;
    return (register_tile){width, accumulators / block, block};
}

/* The weights in the order in which the kernel reads them; repacked when the variable has changed.
 */
static crn__tensor *packed_weights(crn__schedule *schedule, const crn__conv *conv, crn__tensor *w,
                                   register_tile tile, bool gather)
{
    int32_t width = tile.block * (int32_t)tile.width;
    int32_t taps = conv->window.kernel[0] * conv->window.kernel[1];
    int32_t source = gather ? conv->oc : conv->ic, destination = gather ? conv->ic : conv->oc;
    int64_t vectors = (int64_t)ceil_div(destination, width) * taps * source;
    crn_shape shape = {2, {vectors, width}};
    char key[32];
    snprintf(key, sizeof key, "%s %d", gather ? "gather" : "forward", width);
    crn__tensor *packed = crn__schedule_derive(schedule, w, key, &shape);
    crn__task task = crn__task_flat(schedule, "conv_pack.cl", "pack", (size_t)(vectors * width));
    snprintf(task.options, sizeof task.options, "-DGROUP=%u -DWIDTH=%d%s",
             profile_of(schedule)->group_size, width, gather ? " -DGATHER" : "");
    crn__task_refreshes(&task, packed, w);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(w), CRN__TENSOR(packed), CRN__LONG(vectors),
                                    CRN__INT(taps), CRN__INT(conv->ic), CRN__INT(conv->oc)));
    return packed;
}

/* A line of zeros as long as either side's channels, kept beside the weights. */
static crn__tensor *zero_line(crn__schedule *schedule, const crn__conv *conv, crn__tensor *w)
{
    crn_shape shape = {1, {conv->ic > conv->oc ? conv->ic : conv->oc}};
    crn__tensor *zeros = crn__schedule_derive(schedule, w, "zeros", &shape);
    if (!zeros->persistent) /* a persistent one starts as zeros and stays so */
        crn__emit_fill(schedule, zeros, 0.0f);
    return zeros;
}

static bool applies(crn__schedule *schedule, const crn__conv *conv)
{
    (void)schedule;
    (void)conv;
    return true;
}

/* Both directions of cl/conv_direct.cl. */
static void convolve(crn__schedule *schedule, const crn__conv *conv, bool gather, crn__tensor *x,
                     crn__tensor *w, crn__tensor *biases, int activation, crn__tensor *y,
                     bool accumulate)
{
    const crn__window *window = &conv->window;
    int32_t sh = gather ? conv->oh : conv->ih, sw = gather ? conv->ow : conv->iw;
    int32_t sc = gather ? conv->oc : conv->ic;
    int32_t dh = gather ? conv->ih : conv->oh, dw = gather ? conv->iw : conv->ow;
    int32_t dc = gather ? conv->ic : conv->oc;
    int32_t phases_h = gather ? window->stride[0] : 1, phases_w = gather ? window->stride[1] : 1;

    register_tile tile = choose_tile(schedule, dc);
    crn__tensor *packed = packed_weights(schedule, conv, w, tile, gather);
    crn__tensor *zeros = zero_line(schedule, conv, w);
    int32_t blocks = ceil_div(dc, tile.block * (int32_t)tile.width);
    int64_t points = (int64_t)conv->images * ceil_div(dh, phases_h) * ceil_div(dw, phases_w);
    int32_t all_tiles = ceil_div(points, tile.tile);
    int64_t items_wanted = (int64_t)profile_of(schedule)->parallelism / (phases_h * phases_w);
    int64_t balanced = (int64_t)all_tiles * blocks / (items_wanted > 0 ? items_wanted : 1);
    int64_t cached = CACHE_BYTES / ((int64_t)tile.tile * sc * (int64_t)sizeof(float));
    int32_t tiles = clamp(balanced < cached ? balanced : cached, 1, all_tiles);

    crn__task task = crn__task_kernel("conv_direct.cl", "conv", "-DVW=%u -DTILE=%d -DBLOCK=%d%s",
                                      tile.width, tile.tile, tile.block, gather ? " -DGATHER" : "");
    task.range = (crn__range){
        3,
        {(size_t)blocks, (size_t)ceil_div(all_tiles, tiles), (size_t)(phases_h * phases_w)},
        {1, 1, 1}};
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(packed), CRN__TENSOR(biases),
                                    CRN__TENSOR(y), CRN__TENSOR(zeros), CRN__INT(conv->images),
                                    CRN__INT(sh), CRN__INT(sw), CRN__INT(sc), CRN__INT(dh),
                                    CRN__INT(dw), CRN__INT(dc), CRN__INT(window->kernel[0]),
                                    CRN__INT(window->kernel[1]), CRN__INT(window->stride[0]),
                                    CRN__INT(window->stride[1]), CRN__INT(window->rate[0]),
                                    CRN__INT(window->rate[1]), CRN__INT(window->pad_before[0]),
                                    CRN__INT(window->pad_before[1]), CRN__INT(tiles),
                                    CRN__INT(activation), CRN__INT(accumulate)));
}

static void forward(crn__schedule *schedule, const crn__conv *conv, crn__tensor *x, crn__tensor *w,
                    crn__tensor *biases, crn_activation activation, crn__tensor *y)
{
    convolve(schedule, conv, false, x, w, biases, crn__activation_code(activation), y, false);
}

static void input_gradient(crn__schedule *schedule, const crn__conv *conv, crn__tensor *dy,
                           crn__tensor *w, crn__tensor *dx, bool accumulate)
{
    convolve(schedule, conv, true, dy, w, NULL, 0, dx, accumulate);
}

static int32_t largest_divisor(int32_t value, int32_t most)
{
    while (value % most != 0)
        most--;
    return most;
}

static void weight_gradient(crn__schedule *schedule, const crn__conv *conv, crn__tensor *x,
                            crn__tensor *dy, crn__tensor *dw, bool accumulate)
{
    const crn__window *window = &conv->window;
    uint32_t width = crn__vector_for(schedule, (size_t)conv->oc);
    int32_t block = conv->oc % (2 * (int32_t)width) == 0 ? 2 : 1;
    /* A line of taps at once where a tap alone has too few inputs for a register tile. */
    bool merged = conv->ic < 8 && window->kernel[1] > 1 && window->rate[1] == 1;
    int32_t taps = window->kernel[0] * (merged ? 1 : window->kernel[1]);
    int32_t inputs = conv->ic * (merged ? window->kernel[1] : 1);
    int32_t rows = largest_divisor(inputs, (int32_t)width * block >= 16 ? 8 : 6);

    /* Inputs of a work-item: its sums should stay in the cache. */
    int64_t sums = CACHE_BYTES / 2 / ((int64_t)conv->oc * (int64_t)sizeof(float));
    int32_t channels = ceil_div(clamp(sums, rows, 64), rows) * rows;
    channels = channels < inputs ? channels : inputs;
    int32_t groups = ceil_div(inputs, channels);
    int64_t image_rows = (int64_t)conv->images * conv->oh;
    int32_t splits =
        clamp(profile_of(schedule)->parallelism / ((int64_t)groups * taps), 1, image_rows);

    crn__task task = crn__task_kernel("conv_direct_weight.cl", "weight_gradient",
                                      "-DVW=%u -DROWS=%d -DBLOCK=%d%s", width, rows, block,
                                      merged ? " -DMERGED" : "");
    task.range = (crn__range){3, {(size_t)groups, (size_t)taps, (size_t)splits}, {1, 1, 1}};
    size_t count = crn__tensor_count(dw);
    crn__tensor *out = splits > 1 ? crn__schedule_workspace(schedule, count * (size_t)splits) : dw;
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(dy), CRN__TENSOR(out),
                                    CRN__INT(conv->images), CRN__INT(conv->ih), CRN__INT(conv->iw),
                                    CRN__INT(conv->ic), CRN__INT(conv->oh), CRN__INT(conv->ow),
                                    CRN__INT(conv->oc), CRN__INT(window->kernel[1]),
                                    CRN__INT(window->stride[0]), CRN__INT(window->stride[1]),
                                    CRN__INT(window->rate[0]), CRN__INT(window->rate[1]),
                                    CRN__INT(window->pad_before[0]),
                                    CRN__INT(window->pad_before[1]), CRN__INT(channels),
                                    CRN__INT(clamp(BLOCK_PIXELS / conv->ow, 1, image_rows)),
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
