/*
 * Weight gradient of a convolution on NHWC images, for CPUs:
 * dw [taps][ic][oc] = sum over output pixels of x[pixel's input under the tap][ic] * dy[pixel][oc].
 *
 * A work-item owns `channels` input channels under one tap, all output channels, and one of
 * `splits` ranges of output rows. It takes the rows in blocks short enough for the cache, and
 * passes over a block once for each register tile of ROWS input channels by BLOCK vectors of output
 * channels; sums rest in dw in between. Pixels whose input lies outside the image are skipped by
 * bounds, not tests.
 *
 * With PIXELS, for pointwise convolutions, the inputs of a block are first copied for all output
 * channels, and dy of a register tile for all inputs, so that the walk reads them in order: where
 * pixels lie a multiple of 4 KiB apart, they share few places in the first-level cache. A work-item
 * then has at most CHANNELS inputs, and a block at most PIXELS of one line.
 *
 * MERGED takes a line of taps as one: its kw * ic inputs lie side by side, which suits few channels
 * (an image's 3). Pixels whose window leaves the image to the left or right then take a slower way.
 *
 * ROWS divides the inputs of a tap, BLOCK * VW divides oc.
 */
#ifndef ROWS
#define ROWS 8
#endif
#ifndef BLOCK
#define BLOCK 2
#endif

#define ADD(from) ADD_PRODUCTS(ROWS, (from)[i], g[b])

/* Dimension 0: groups of input channels; 1: of taps; 2: splits. dw [splits][taps][ic][oc] */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
weight_gradient(const __global float *restrict x, const __global float *restrict dy,
                __global float *restrict dw, int images, int ih, int iw, int ic, int oh, int ow,
                int oc, int kw, int stride_h, int stride_w, int rate_h, int rate_w, int pad_top,
                int pad_left, int taps, int channels, int block_rows, int accumulate)
{
#ifdef MERGED
    const int width = kw;
#else
    const int width = 1;
#endif
    const int inputs = width * ic; /* of a tap */
    const int channel_begin = (int)get_global_id(0) * channels;
    const int channel_end = min(channel_begin + channels, inputs);
    const int tap_begin = (int)(taps * get_global_id(1) / get_global_size(1));
    const int tap_end = (int)(taps * (get_global_id(1) + 1) / get_global_size(1));
#ifdef PIXELS
    float values[CHANNELS / ROWS][PIXELS][ROWS];
    vec gradients[PIXELS][BLOCK];
#endif
    const int tiles = (channel_end - channel_begin + ROWS - 1) / ROWS;
    const int passes = tiles * oc / (BLOCK * VW);
    const int pointwise = taps * width == 1 && stride_h * stride_w == 1;
    const long all = (long)images * oh, split = (long)get_global_id(2);
    const long row_begin = all * split / (long)get_global_size(2);
    const long row_end = all * (split + 1) / (long)get_global_size(2);

    for (long row = row_begin; row < row_end; row += block_rows) {
        const long stop = min(row + block_rows, row_end);
        const int resume = accumulate || row > row_begin;
        const int pixels = (int)(stop - row) * ow;
        const long first_image = row / oh;
        const int first_line = (int)(row % oh);
#ifdef PIXELS
        for (int p = 0; p < pixels; p++)
            for (int c = channel_begin; c < channel_end; c += ROWS) {
                UNROLL
                for (int i = 0; i < ROWS; i++)
                    values[(c - channel_begin) / ROWS][p][i] = x[(row * ow + p) * ic + c + i];
            }
#endif
        for (int tap = tap_begin; tap < tap_end; tap++) {
#ifdef MERGED
            const int from_h = tap * rate_h - pad_top, from_w = -pad_left;
#else
            const int from_h = tap / kw * rate_h - pad_top, from_w = tap % kw * rate_w - pad_left;
#endif
            __global float *out = dw + (split * taps + tap) * inputs * oc;

            /* Output columns [left, right) whose input columns are all inside the image. */
            const int left = min(from_w < 0 ? (-from_w + stride_w - 1) / stride_w : 0, ow);
            const int room = iw - width - from_w;
            const int right = max(room >= 0 ? min(room / stride_w + 1, ow) : 0, left);

            for (int o = 0; o < oc; o += BLOCK * VW) {
                /* Meanwhile what comes next is fetched: dy of the next pass, x of the next block.
                 */
                const int last = o + BLOCK * VW >= oc;
                const __global float *next_dy =
                    dy + (last ? stop * ow * oc : row * ow * oc + o + BLOCK * VW);
#ifdef PIXELS
                for (int p = 0; p < pixels; p++) {
                    UNROLL
                    for (int b = 0; b < BLOCK; b++)
                        gradients[p][b] = ((const __global vec *)(dy + (row * ow + p) * oc + o))[b];
                }
#endif
                for (int c = channel_begin; c < channel_end; c += ROWS) {
                    const int tile = (c - channel_begin) / ROWS;
                    for (int p = pixels * tile / tiles; p < pixels * (tile + 1) / tiles; p++)
                        for (int k = 0; k < BLOCK * VW; k += 16)
                            PREFETCH(next_dy + (long)p * oc + k);
                    if (pointwise) {
                        const int pass = o / (BLOCK * VW) * tiles + tile;
                        for (int p = pixels * pass / passes; p < pixels * (pass + 1) / passes; p++)
                            for (int k = channel_begin; k < channel_end; k += 16)
                                PREFETCH(x + (stop * ow + p) * ic + k);
                    }
                    vec acc[ROWS][BLOCK];
                    UNROLL
                    for (int i = 0; i < ROWS; i++) {
                        const __global vec *sums =
                            (const __global vec *)(out + (long)(c + i) * oc + o);
                        UNROLL
                        for (int b = 0; b < BLOCK; b++)
                            acc[i][b] = resume ? sums[b] : (vec)(0.0f);
                    }
#ifdef PIXELS
                    const float *in = values[tile][0];
                    for (int p = 0; p < pixels; p++) {
                        const vec *g = gradients[p];
                        ADD(in)
                        in += ROWS;
                    }
#else
                    long image = first_image;
                    int line = first_line;
                    for (long r = row; r < stop; r++) {
                        const int h = line * stride_h + from_h;
                        const __global float *from_line = x + (image * ih + h) * iw * ic;
                        const __global float *in = from_line + (left * stride_w + from_w) * ic + c;
                        if (++line == oh) {
                            line = 0;
                            image++;
                        }
                        if (h < 0 || h >= ih)
                            continue;
                        const __global vec *g =
                            (const __global vec *)(dy + (r * ow + left) * oc + o);
                        for (int v = left; v < right; v++) {
                            ADD(in)
                            in += (long)stride_w * ic;
                            g += oc / VW;
                        }
#ifdef MERGED
                        for (int v = left > 0 ? 0 : right; v < ow;
                             v = v + 1 == left ? right : v + 1) {
                            const int at = (v * stride_w + from_w) * ic + c;
                            float part[ROWS];
                            for (int i = 0; i < ROWS; i++)
                                part[i] =
                                    at + i >= 0 && at + i < iw * ic ? from_line[at + i] : 0.0f;
                            g = (const __global vec *)(dy + (r * ow + v) * oc + o);
                            ADD(part)
                        }
#endif
                    }
#endif
                    UNROLL
                    for (int i = 0; i < ROWS; i++) {
                        __global vec *sums = (__global vec *)(out + (long)(c + i) * oc + o);
                        UNROLL
                        for (int b = 0; b < BLOCK; b++)
                            sums[b] = acc[i][b];
                    }
                }
            }
        }
    }
}
