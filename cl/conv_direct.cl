/*
 * Direct convolution on NHWC images, for devices whose work-items are threads with vector registers
 * (CPUs).
 *
 * A work-item owns a tile of TILE destination points by BLOCK vectors of channels in registers and
 * walks through taps and source channels; nothing is shared, no barrier. Weights come packed, so
 * that the walk reads them in order: w [channel blocks][taps][source channels][BLOCK vectors],
 * zeros past the last channel (conv_pack.cl). Points outside the source read a line of zeros, so
 * that edges cost no branch in the walk.
 *
 * The same kernel is both directions. Forward: destination = output, source = input, and output row
 * o reads input row o * stride + tap * rate - pad. GATHER, the input gradient: destination = input,
 * source = output; input row i reads output row (i + pad - tap * rate) / stride where that divides.
 * Rows of equal i % stride (a phase) share their taps, so a tile's points are of one phase.
 *
 * VW is the device's width, BLOCK 1 or 2, TILE * BLOCK accumulators must fit its registers. `fma`
 * keeps LLVM on whole registers (float16 in operators alone is split in two on some targets).
 */
#ifndef TILE
#define TILE 14
#endif
#ifndef BLOCK
#define BLOCK 2
#endif

#define STEP(from, k) ADD_PRODUCTS(TILE, from[i][k], weights[(k)*BLOCK + b])

/* Steps for k of [0, n). */
#define RUN(from, n)                   \
    {                                  \
        int k = 0;                     \
        for (; k + 2 <= (n); k += 2) { \
            STEP(from, k)              \
            STEP(from, k + 1)          \
        }                              \
        for (; k < (n); k++)           \
            STEP(from, k)              \
    }

/* The first n floats of a vector; `whole`: all of them, and `from` is aligned. */
static vec load(const __global float *from, int n, int whole)
{
    if (whole)
        return *(const __global vec *)from;
    float lane[VW];
    for (int l = 0; l < VW; l++)
        lane[l] = l < n ? from[l] : 0.0f;
    return *(const vec *)lane;
}

/* Writes or adds the first n floats of v; `whole`: all of them, and `to` is aligned. */
static void store(__global float *to, vec v, int n, int whole, int accumulate)
{
    if (whole) {
        __global vec *vector = (__global vec *)to;
        *vector = accumulate ? *vector + v : v;
        return;
    }
    float lane[VW];
    *(vec *)lane = v;
    for (int l = 0; l < n; l++)
        to[l] = accumulate ? to[l] + lane[l] : lane[l];
}

/*
 * Dimension 0: groups of `group` of the `blocks` blocks of channels; 1: of `tiles` tiles; 2:
 * phases. x [images][sh][sw][sc], y and other [images][dh][dw][dc], scale and shift [dc], zeros
 * [>= sc]: y (+)= activation(convolution * scale + shift + other), of which each may be missing.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
conv(const __global float *restrict x, const __global vec *restrict w,
     const __global float *restrict scale, const __global float *restrict shift,
     const __global float *other, __global float *y, const __global float *restrict zeros,
     int images, int sh, int sw, int sc, int dh, int dw, int dc, int kh, int kw, int stride_h,
     int stride_w, int rate_h, int rate_w, int pad_top, int pad_left, int blocks, int group,
     int tiles, int activation, int accumulate)
{
    const int block_begin = (int)get_global_id(0) * group;
    const int block_end = min(block_begin + group, blocks);
#ifdef GATHER
    const int phase_h = (int)get_global_id(2) / stride_w,
              phase_w = (int)get_global_id(2) % stride_w;
    const int rows = (dh - phase_h + stride_h - 1) / stride_h;
    const int cols = (dw - phase_w + stride_w - 1) / stride_w;
#else
    const int rows = dh, cols = dw;
#endif
    const long points = (long)images * rows * cols;

    for (int t = 0; t < tiles; t++) {
        const long first = ((long)get_global_id(1) * tiles + t) * TILE;
        if (first >= points)
            return;

        /*
         * Where each point's window starts in the source, and the point itself in the destination;
         * points past the end start far outside. The windows' first rows lie in [low_h, high_h],
         * columns in [low_w, high_w].
         */
        const int last = (int)min(points - first, (long)TILE);
        int image = (int)(first / cols / rows), r = (int)(first / cols % rows),
            c = (int)(first % cols);
        int start_h[TILE], start_w[TILE];
        int low_h = INT_MAX, high_h = INT_MIN, low_w = INT_MAX, high_w = INT_MIN;
        const __global float *window[TILE];
        long destination[TILE];
        for (int i = 0; i < TILE; i++) {
#ifdef GATHER
            start_h[i] = r;
            start_w[i] = c;
            destination[i] =
                ((long)image * dh + r * stride_h + phase_h) * dw + c * stride_w + phase_w;
#else
            start_h[i] = r * stride_h - pad_top;
            start_w[i] = c * stride_w - pad_left;
            destination[i] = first + i;
#endif
            window[i] = x + (((long)image * sh + start_h[i]) * sw + start_w[i]) * sc;
            if (i >= last)
                start_h[i] = INT_MIN / 2;
            low_h = min(low_h, start_h[i]);
            high_h = max(high_h, start_h[i]);
            low_w = min(low_w, start_w[i]);
            high_w = max(high_w, start_w[i]);
            if (++c == cols) {
                c = 0;
                if (++r == rows) {
                    r = 0;
                    image++;
                }
            }
        }

        for (int block = block_begin; block < block_end; block++) {
            const __global vec *block_w = w + (long)block * kh * kw * sc * BLOCK;
            vec acc[TILE][BLOCK];
            UNROLL
            for (int i = 0; i < TILE; i++) {
                UNROLL
                for (int b = 0; b < BLOCK; b++)
                    acc[i][b] = (vec)(0.0f);
            }
            for (int tap_h = 0; tap_h < kh; tap_h++) {
#ifdef GATHER
                const int from_h = phase_h + pad_top - tap_h * rate_h;
                if (from_h % stride_h != 0)
                    continue;
                const int shift_h = from_h / stride_h;
#else
                const int shift_h = tap_h * rate_h;
#endif
                if (high_h + shift_h < 0 || low_h + shift_h >= sh)
                    continue;
                const long line = (long)shift_h * sw * sc;
                const __global vec *weights = block_w + (long)tap_h * kw * sc * BLOCK;
                const __global float *point[TILE];
#ifndef GATHER
                /* Windows that lie within their lines are one run, there and in the weights. */
                if (rate_w == 1 && low_w >= 0 && high_w + kw <= sw && low_h + shift_h >= 0 &&
                    high_h + shift_h < sh) {
                    UNROLL
                    for (int i = 0; i < TILE; i++)
                        point[i] = window[i] + line;
                    RUN(point, kw * sc)
                    continue;
                }
#endif
                /* Each window's column in its line, far outside where there is no line. */
                int column[TILE];
                for (int i = 0; i < TILE; i++) {
                    const int h = start_h[i] + shift_h;
                    column[i] = h >= 0 && h < sh ? start_w[i] : INT_MIN / 2;
                }
                for (int tap_w = 0; tap_w < kw; tap_w++, weights += (long)sc * BLOCK) {
#ifdef GATHER
                    const int from_w = phase_w + pad_left - tap_w * rate_w;
                    if (from_w % stride_w != 0)
                        continue;
                    const int shift_w = from_w / stride_w;
#else
                    const int shift_w = tap_w * rate_w;
#endif
                    const long step = line + (long)shift_w * sc;
                    int some = 0;
                    UNROLL
                    for (int i = 0; i < TILE; i++) {
                        const int v = column[i] + shift_w, inside = v >= 0 && v < sw;
                        point[i] = inside ? window[i] + step : zeros;
                        some |= inside;
                    }
                    if (!some)
                        continue;
                    RUN(point, sc)
                }
            }

            /* From memory on: unrolled as the walk is, this takes longest to compile. */
            vec result[TILE][BLOCK];
            UNROLL
            for (int i = 0; i < TILE; i++) {
                UNROLL
                for (int b = 0; b < BLOCK; b++)
                    result[i][b] = acc[i][b];
            }
            const int whole = dc % VW == 0;
            vec factor[BLOCK], summand[BLOCK];
            for (int b = 0; b < BLOCK; b++) {
                const int channel = min(block * BLOCK + b, (dc - 1) / VW) * VW;
                factor[b] = scale ? *(const __global vec *)(scale + channel) : (vec)(1.0f);
                summand[b] = shift ? *(const __global vec *)(shift + channel) : (vec)(0.0f);
            }
            for (int i = 0; i < last; i++)
                for (int b = 0; b < BLOCK; b++) {
                    const int channel = (block * BLOCK + b) * VW, n = min(VW, dc - channel);
                    const long at = destination[i] * dc + channel;
                    if (n <= 0)
                        break;
                    vec v = fma(result[i][b], factor[b], summand[b]);
                    if (other)
                        v += load(other + at, n, whole);
                    store(y + at, activate(v, activation), n, whole, accumulate);
                }
        }
    }
}
