/*
 * Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308) on NHWC images: 3x3 kernels, stride 1.
 *
 * A tile is 4x4 outputs, `rate` pixels apart, made from 6x6 inputs as far apart: 36 multiplications
 * a channel where the direct way has 144. output = A^T [ (G w G^T) * (B^T x B) ] A. For each of the
 * 36 points that product is a matrix product over channels, [tiles, source] [source, destination],
 * in register tiles of TILE tiles by BLOCK vectors as in conv_direct.cl. Three kernels:
 * transform_weights, once a change of the weights, and transform_images, of
 * conv_winograd_transform.cl; and multiply, which ends with the output's transform, biases and
 * activation. For CPUs: multiply keeps its products in private memory.
 *
 * Rounding: fp32 errors are a few times those of a direct sum (1e-6 to 4e-6 of the result's rms;
 * the weight gradient's stay below 5e-6 of its largest value).
 *
 * The input gradient is the same convolution of dy with the kernel turned by half a turn and its
 * channels exchanged.
 *
 * The weight gradient is G^T [ sum over tiles of (B^T x B) * (A dy A^T) ] G: transform_images for x
 * and for dy, then multiply_weights, a matrix product over tiles, [source, tiles]
 * [tiles, destination], in register tiles of ROWS channels by BLOCK vectors.
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
/* Work-items that share weights: if no more, most of them find the weights far away. */
#define FEW_ITEMS 4

/* One axis of the output's transform: r = A^T m. */
#define TRANSFORM_OUTPUT(m, r)                 \
    r[0] = m[0] + m[1] + m[2] + m[3] + m[4];   \
    r[1] = m[1] - m[2] + 2.0f * (m[3] - m[4]); \
    r[2] = m[1] + m[2] + 4.0f * (m[3] + m[4]); \
    r[3] = m[1] - m[2] + 8.0f * (m[3] - m[4]) + m[5];

/* One axis of the weight gradient's transform, the transpose of the weights': r = G^T m. */
#define TRANSFORM_SUMS(m, r)                                                        \
    r[0] = 0.25f * m[0] - (1.0f / 6) * (m[1] + m[2]) + (1.0f / 24) * (m[3] + m[4]); \
    r[1] = (1.0f / 6) * (m[2] - m[1]) + (1.0f / 12) * (m[3] - m[4]);                \
    r[2] = (1.0f / 6) * ((m[3] + m[4]) - (m[1] + m[2])) + m[5];

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
         int h, int w, int channels, int tiles_h, int tiles_w, int rate, int activation, int how,
         __global float *restrict moments)
{
    const long block = (long)get_global_id(0), group = (long)get_global_id(1);
    vec products[POINTS][GROUPS * TILE][BLOCK];
    /* Of VW channels, the lines that each of the groups fetches of the next point's weights. */
    const int fetches = get_global_size(1) <= FEW_ITEMS ? VW * BLOCK / GROUPS : 0;

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
            const __global vec *later =
                from_u + (GROUPS + g) * source_vectors * (VW * BLOCK / GROUPS);
            for (int c = 0; c < source_vectors; c++) {
                for (int i = 0; i < fetches; i++)
                    PREFETCH_LATER(later++);
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
                        WRITE((__global vec *)(y + at), value, how);
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
                 __global float *restrict dw, long tiles, long stride, int ic, int oc, int how)
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
                        WRITE((__global vec *)(to + (y * 3 + x) * (long)ic * oc), r[y], how);
                }
            }
}
