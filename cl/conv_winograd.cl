/*
 * Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308) on NHWC images: 3x3 kernels, stride 1.
 *
 * A tile is 4x4 outputs, `rate` pixels apart, made from 6x6 inputs as far apart: 36 multiplications
 * a channel where the direct way has 144. output = A^T [ (G w G^T) * (B^T x B) ] A For each of the
 * 36 points that product is a matrix product over channels, [tiles, source] [source, destination],
 * in register tiles of TILE tiles by BLOCK vectors as in conv_direct.cl. Three kernels:
 * transform_weights, once a change of the weights; transform_images; and multiply, which ends with
 * the output's transform, biases and activation. For CPUs: multiply keeps its products in private
 * memory.
 *
 * Rounding: fp32 errors are a few times those of a direct sum (1e-6 to 4e-6 of the result's rms;
 * the weight gradient's stay below 5e-6 of its largest value).
 *
 * The input gradient is the same convolution of dy with the kernel turned by half a turn and its
 * channels exchanged (GATHER, in transform_weights).
 *
 * The weight gradient is G^T [ sum over tiles of (B^T x B) * (A dy A^T) ] G: transform_images for x
 * and, with GRADIENT, for dy, then multiply_weights, a matrix product over tiles,
 * [source, tiles] [tiles, destination], in register tiles of ROWS channels by BLOCK vectors.
 */
#ifndef TILE
#define TILE 14
#endif
#ifndef BLOCK
#define BLOCK 2
#endif
#ifndef GROUPS
#define GROUPS 2
#endif
#ifndef ROWS
#define ROWS 8
#endif
#define POINTS 36

/*
 * a * x + y for a number a. As fma it is one rounding, and a sign to LLVM that the kernel wants
 * vectors in whole registers.
 */
#define SCALED(a, x, y) fma((vec)(a), x, y)

/* One axis of the input's transform: r = B^T d. */
#define TRANSFORM_INPUT(d, r)                             \
    r[0] = SCALED(4.0f, d[0], SCALED(-5.0f, d[2], d[4])); \
    r[1] = SCALED(-4.0f, d[1] + d[2], d[3] + d[4]);       \
    r[2] = SCALED(4.0f, d[1] - d[2], d[4] - d[3]);        \
    r[3] = SCALED(2.0f, d[3] - d[1], d[4] - d[2]);        \
    r[4] = SCALED(-2.0f, d[3] - d[1], d[4] - d[2]);       \
    r[5] = SCALED(4.0f, d[1], SCALED(-5.0f, d[3], d[5]));

/* One axis of the output's transform: r = A^T m. */
#define TRANSFORM_OUTPUT(m, r)                 \
    r[0] = m[0] + m[1] + m[2] + m[3] + m[4];   \
    r[1] = m[1] - m[2] + 2.0f * (m[3] - m[4]); \
    r[2] = m[1] + m[2] + 4.0f * (m[3] + m[4]); \
    r[3] = m[1] - m[2] + 8.0f * (m[3] - m[4]) + m[5];

/* One axis of the weights' transform: r = G g. */
#define TRANSFORM_WEIGHTS(g, r)                                         \
    r[0] = 0.25f * g[0];                                                \
    r[1] = (-1.0f / 6) * (g[0] + g[1] + g[2]);                          \
    r[2] = (-1.0f / 6) * (g[0] - g[1] + g[2]);                          \
    r[3] = (1.0f / 24) * g[0] + (1.0f / 12) * g[1] + (1.0f / 6) * g[2]; \
    r[4] = (1.0f / 24) * g[0] - (1.0f / 12) * g[1] + (1.0f / 6) * g[2]; \
    r[5] = g[2];

/* One axis of the output's gradient's transform, the transpose of the output's: r = A d. */
#define TRANSFORM_GRADIENT(d, r)                                              \
    r[0] = d[0];                                                              \
    r[1] = (d[0] + d[2]) + (d[1] + d[3]);                                     \
    r[2] = (d[0] + d[2]) - (d[1] + d[3]);                                     \
    r[3] = SCALED(2.0f, SCALED(4.0f, d[3], d[1]), SCALED(4.0f, d[2], d[0]));  \
    r[4] = SCALED(-2.0f, SCALED(4.0f, d[3], d[1]), SCALED(4.0f, d[2], d[0])); \
    r[5] = d[3];

/* One axis of the weight gradient's transform, the transpose of the weights': r = G^T m. */
#define TRANSFORM_SUMS(m, r)                                                        \
    r[0] = 0.25f * m[0] - (1.0f / 6) * (m[1] + m[2]) + (1.0f / 24) * (m[3] + m[4]); \
    r[1] = (1.0f / 6) * (m[2] - m[1]) + (1.0f / 12) * (m[3] - m[4]);                \
    r[2] = (1.0f / 6) * ((m[3] + m[4]) - (m[1] + m[2])) + m[5];

/*
 * w [3][3][ic][oc] to u [blocks][36][source][BLOCK vectors], zeros past the last destination
 * channel. n = blocks * source * BLOCK. VW divides ic and oc: the weights are read in squares of VW
 * source by VW destination channels, and what is made of a square is written point by point: points
 * lie a large power of two apart, and 36 lines of that would fall on the same few of the caches.
 */
KERNEL void transform_weights(const __global float *restrict w, __global vec *restrict u, long n,
                              int ic, int oc)
{
#ifdef GATHER
    const int source = oc, destination = ic;
    const long source_step = 1, destination_step = oc;
#else
    const int source = ic, destination = oc;
    const long source_step = oc, destination_step = 1;
#endif
    FOR_EACH (i, n / VW) {
        const int b = (int)(i % BLOCK), k = (int)(i / BLOCK % (source / VW)) * VW;
        const long block = i / BLOCK / (source / VW);
        const int first = (int)(block * BLOCK + b) * VW;
        __global vec *to = u + (block * POINTS * source + k) * BLOCK + b;
        vec taps[9][VW], results[POINTS][VW];
        for (int t = 0; t < 9; t++) {
#ifdef GATHER
            const long tap = 8 - t;
#else
            const long tap = t;
#endif
            const __global float *from =
                w + tap * ic * oc + k * source_step + first * destination_step;
            vec square[VW];
            UNROLL
            for (int j = 0; j < VW; j++)
                square[j] = first < destination ? *(const __global vec *)(from + j * (long)oc)
                                                : (vec)(0.0f);
#ifdef GATHER
            TRANSPOSE(vec, square, VW)
#endif
            UNROLL
            for (int j = 0; j < VW; j++)
                taps[t][j] = square[j];
        }
        for (int j = 0; j < VW; j++) {
            vec columns[3][6];
            UNROLL
            for (int x = 0; x < 3; x++) {
                const vec g[3] = {taps[x][j], taps[3 + x][j], taps[6 + x][j]};
                TRANSFORM_WEIGHTS(g, columns[x])
            }
            UNROLL
            for (int y = 0; y < 6; y++) {
                const vec g[3] = {columns[0][y], columns[1][y], columns[2][y]};
                vec r[6];
                TRANSFORM_WEIGHTS(g, r)
                UNROLL
                for (int x = 0; x < 6; x++)
                    results[y * 6 + x][j] = r[x];
            }
        }
        for (int p = 0; p < POINTS; p++) {
            UNROLL
            for (int j = 0; j < VW; j++)
                WRITE(to + ((long)p * source + j) * BLOCK, results[p][j], false);
        }
    }
}

#ifdef GRADIENT
#define SIDE 4
#define TRANSFORM TRANSFORM_GRADIENT
#else
#define SIDE 6
#define TRANSFORM TRANSFORM_INPUT
#endif

/* The first pixel of tile i along an axis: tiles that interleave make 4 * rate pixels. */
static int tile_begin(int i, int rate)
{
    return i / rate * 4 * rate + i % rate;
}

/*
 * Tiles [first, first + global size * TILE) of x [images][h][w][vectors] to v, where point p of
 * tile t and vector c lies at t / TILE * item_step + p * point_step + c * vector_step + t % TILE
 * vectors; tiles past the last are zeros. A work-item transforms TILE tiles. Tiles are numbered
 * over all images. With GRADIENT x is the output's gradient, of 4x4 a tile.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
transform_images(const __global vec *restrict x, __global vec *restrict v, long item_step,
                 long point_step, long vector_step, long first, long tiles, int h, int w,
                 int vectors, int tiles_h, int tiles_w, int rate, int pad_top, int pad_left)
{
    __global vec *block = v + (long)get_global_id(0) * item_step;
    for (int t = 0; t < TILE; t++) {
        const long tile = first + (long)get_global_id(0) * TILE + t;
        const long image = tile / tiles_w / tiles_h * h;
        const int top =
            tile < tiles ? tile_begin((int)(tile / tiles_w % tiles_h), rate) - pad_top : h;
        const int left = tile_begin((int)(tile % tiles_w), rate) - pad_left;
        for (int c = 0; c < vectors; c++) {
            vec rows[SIDE][6];
            UNROLL
            for (int i = 0; i < SIDE; i++) {
                vec d[SIDE];
                const int y = top + i * rate;
                const __global vec *from = x + ((image + y) * w + left) * vectors + c;
                UNROLL
                for (int j = 0; j < SIDE; j++) {
                    const int column = left + j * rate;
                    d[j] = y >= 0 && y < h && column >= 0 && column < w ? from[j * rate * vectors]
                                                                        : (vec)(0.0f);
                }
                TRANSFORM(d, rows[i])
            }
            __global vec *to = block + c * vector_step + t;
            UNROLL
            for (int j = 0; j < 6; j++) {
                vec d[SIDE], r[6];
                UNROLL
                for (int i = 0; i < SIDE; i++)
                    d[i] = rows[i][j];
                TRANSFORM(d, r)
                UNROLL
                for (int i = 0; i < 6; i++)
                    to[(i * 6 + j) * point_step] = r[i];
            }
        }
    }
}

#define STEP(k) ADD_PRODUCTS(TILE, from_v[i * VW + (k)], from_u[(k)*BLOCK + b])

/*
 * y (+)= activation(products transformed back * scale + shift + other) for tiles [first, first +
 * global size 1 * GROUPS * TILE). Dimension 0: blocks of destination channels; 1: GROUPS blocks of
 * tiles. scale, shift and other may be missing. moments [all blocks of tiles][3][channels], if
 * wanted: mean, sum of squared deviations (from the first pixel, then from the mean) and count of a
 * work-item's pixels.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
multiply(const __global float *restrict v, const __global vec *restrict u,
         const __global float *restrict scale, const __global float *restrict shift,
         const __global float *other, __global float *y, long first, long tiles, int source_vectors,
         int h, int w, int channels, int tiles_h, int tiles_w, int rate, int activation,
         int accumulate, __global float *restrict moments)
{
    const long block = (long)get_global_id(0), group = (long)get_global_id(1);
    vec products[POINTS][GROUPS * TILE][BLOCK];

    for (int p = 0; p < POINTS; p++)
        for (int g = 0; g < GROUPS; g++) {
            const __global float *from_v =
                v + ((group * GROUPS + g) * POINTS + p) * source_vectors * TILE * VW;
            const __global vec *from_u = u + (block * POINTS + p) * source_vectors * VW * BLOCK;
            vec acc[TILE][BLOCK];
            UNROLL
            for (int i = 0; i < TILE; i++) {
                UNROLL
                for (int b = 0; b < BLOCK; b++)
                    acc[i][b] = (vec)(0.0f);
            }
            for (int c = 0; c < source_vectors; c++) {
                for (int k = 0; k < VW; k += 4) {
                    STEP(k)
                    STEP(k + 1)
                    STEP(k + 2)
                    STEP(k + 3)
                }
                from_v += TILE * VW;
                from_u += VW * BLOCK;
            }
            UNROLL
            for (int i = 0; i < TILE; i++) {
                UNROLL
                for (int b = 0; b < BLOCK; b++)
                    products[p][g * TILE + i][b] = acc[i][b];
            }
        }

    vec reference[BLOCK], sum[BLOCK], square[BLOCK];
    int count = 0;
    for (int t = 0; t < GROUPS * TILE; t++) {
        const long tile = first + group * GROUPS * TILE + t;
        if (tile >= tiles)
            break;
        const long image = tile / tiles_w / tiles_h * h;
        const int top = tile_begin((int)(tile / tiles_w % tiles_h), rate);
        const int left = tile_begin((int)(tile % tiles_w), rate);
        for (int b = 0; b < BLOCK; b++) {
            const long channel = (block * BLOCK + b) * VW;
            if (channel >= channels)
                continue;
            const vec factor = scale ? *(const __global vec *)(scale + channel) : (vec)(1.0f);
            const vec summand = shift ? *(const __global vec *)(shift + channel) : (vec)(0.0f);
            vec rows[6][4], s = (vec)(0.0f), q = s;
            UNROLL
            for (int i = 0; i < 6; i++) {
                vec m[6];
                UNROLL
                for (int j = 0; j < 6; j++)
                    m[j] = products[i * 6 + j][t][b];
                TRANSFORM_OUTPUT(m, rows[i])
            }
            UNROLL
            for (int j = 0; j < 4; j++) {
                const vec m[6] = {rows[0][j], rows[1][j], rows[2][j],
                                  rows[3][j], rows[4][j], rows[5][j]};
                vec r[4];
                TRANSFORM_OUTPUT(m, r)
                for (int i = 0; i < 4; i++) {
                    const int row = top + i * rate, column = left + j * rate;
                    if (row < h && column < w) {
                        const long at = ((image + row) * w + column) * channels + channel;
                        vec value = fma(r[i], factor, summand);
                        if (other)
                            value += *(const __global vec *)(other + at);
                        value = activate(value, activation);
                        WRITE((__global vec *)(y + at), value, accumulate);
                        if (t == 0 && i == 0 && j == 0)
                            reference[b] = value;
                        const vec d = value - reference[b];
                        s += d;
                        q = fma(d, d, q);
                    }
                }
            }
            sum[b] = t == 0 ? s : sum[b] + s;
            square[b] = t == 0 ? q : square[b] + q;
        }
        count += min((h - top + rate - 1) / rate, 4) * min((w - left + rate - 1) / rate, 4);
    }
    if (!moments)
        return;
    moments += (first / (GROUPS * TILE) + group) * 3 * channels;
    for (int b = 0; b < BLOCK; b++) {
        const long channel = (block * BLOCK + b) * VW;
        if (channel >= channels)
            continue;
        const vec n = (vec)((float)count), mean = sum[b] / n;
        *(__global vec *)(moments + channel) = reference[b] + mean;
        *(__global vec *)(moments + channels + channel) =
            fmax(fma(-mean, sum[b], square[b]), (vec)(0.0f));
        *(__global vec *)(moments + 2 * channels + channel) = n;
    }
}

#define STEP_WEIGHTS(t) ADD_PRODUCTS(ROWS, from_v[(t)*VW + i], from_u[b * POINTS * stride + (t)])

/*
 * dw (+)= the weight gradient of `tiles` tiles, a multiple of 4, of v [ic / VW][36][stride] and
 * u [oc / VW][36][stride] vectors. Dimension 0: GROUPS blocks of ROWS source channels; 1: blocks of
 * BLOCK vectors of destination channels; 2: ranges of tiles, each with its own dw.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
multiply_weights(const __global float *restrict v, const __global vec *restrict u,
                 __global float *restrict dw, long tiles, long stride, int ic, int oc,
                 int accumulate)
{
    const long group = (long)get_global_id(0), block = (long)get_global_id(1);
    const long split = (long)get_global_id(2), splits = (long)get_global_size(2);
    const long begin = tiles / 4 * split / splits * 4, end = tiles / 4 * (split + 1) / splits * 4;
    vec products[POINTS][GROUPS][ROWS][BLOCK];

    for (int p = 0; p < POINTS; p++)
        for (int g = 0; g < GROUPS; g++) {
            const long channel = (group * GROUPS + g) * ROWS;
            const __global float *from_v =
                v + ((channel / VW * POINTS + p) * stride + begin) * VW + channel % VW;
            const __global vec *from_u = u + (block * BLOCK * POINTS + p) * stride + begin;
            vec acc[ROWS][BLOCK];
            UNROLL
            for (int i = 0; i < ROWS; i++) {
                UNROLL
                for (int b = 0; b < BLOCK; b++)
                    acc[i][b] = (vec)(0.0f);
            }
            for (long t = begin; t < end; t += 4) {
                STEP_WEIGHTS(0)
                STEP_WEIGHTS(1)
                STEP_WEIGHTS(2)
                STEP_WEIGHTS(3)
                from_v += 4 * VW;
                from_u += 4;
            }
            UNROLL
            for (int i = 0; i < ROWS; i++) {
                UNROLL
                for (int b = 0; b < BLOCK; b++)
                    products[p][g][i][b] = acc[i][b];
            }
        }

    for (int g = 0; g < GROUPS; g++)
        for (int i = 0; i < ROWS; i++)
            for (int b = 0; b < BLOCK; b++) {
                vec rows[6][3];
                UNROLL
                for (int y = 0; y < 6; y++) {
                    vec m[6];
                    UNROLL
                    for (int x = 0; x < 6; x++)
                        m[x] = products[y * 6 + x][g][i][b];
                    TRANSFORM_SUMS(m, rows[y])
                }
                const long channel = (group * GROUPS + g) * ROWS + i;
                __global float *to =
                    dw + (split * 9 * ic + channel) * oc + (block * BLOCK + b) * VW;
                UNROLL
                for (int x = 0; x < 3; x++) {
                    const vec m[6] = {rows[0][x], rows[1][x], rows[2][x],
                                      rows[3][x], rows[4][x], rows[5][x]};
                    vec r[3];
                    TRANSFORM_SUMS(m, r)
                    UNROLL
                    for (int y = 0; y < 3; y++)
                        WRITE((__global vec *)(to + (y * 3 + x) * (long)ic * oc), r[y], accumulate);
                }
            }
}
