/*
 * The transforms into Winograd's points, for conv_winograd.cl: of weights and of images. Compiled
 * twice: BACKWARD makes the weights of the input gradient, and transforms the output's gradient for
 * the weight gradient.
 */
#ifndef BLOCK
#define BLOCK 2
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

/*
 * w [3][3][ic][oc] to u [blocks][36][source][BLOCK vectors], zeros past the last destination
 * channel. n = blocks * source * BLOCK. VW divides ic and oc: the weights are read in squares of VW
 * source by VW destination channels, and what is made of a square is written point by point: points
 * lie a large power of two apart, and 36 lines of that would fall on the same few of the caches.
 */
KERNEL void transform_weights(const __global float *restrict w, __global vec *restrict u, long n,
                              int ic, int oc)
{
#ifdef BACKWARD
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
#ifdef BACKWARD
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
#ifdef BACKWARD
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
                WRITE(to + ((long)p * source + j) * BLOCK, results[p][j], STREAMED);
        }
    }
}

#ifdef BACKWARD
#define SIDE 4
#define TRANSFORM TRANSFORM_GRADIENT
#else
#define SIDE 6
#define TRANSFORM TRANSFORM_INPUT
#endif

/*
 * Tiles [first, first + global size * tile_count) of x [images][h][w][vectors] to v, where point p
 * of tile t and vector c lies at t / tile_count * item_step + p * point_step + c * vector_step + t
 * % tile_count vectors; tiles past the last are zeros. A work-item transforms tile_count tiles.
 * Tiles are numbered over all images. BACKWARD: x is the output's gradient, of 4x4 a tile.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
transform_images(const __global vec *restrict x, __global vec *restrict v, long item_step,
                 long point_step, long vector_step, int tile_count, long first, long tiles, int h,
                 int w, int vectors, int tiles_h, int tiles_w, int rate, int pad_top, int pad_left)
{
    __global vec *block = v + (long)get_global_id(0) * item_step;
    for (int t = 0; t < tile_count; t++) {
        const long tile = first + (long)get_global_id(0) * tile_count + t;
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
