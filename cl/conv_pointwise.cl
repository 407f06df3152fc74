/*
 * Pointwise (1x1, stride 1) convolution on NHWC images, and its input gradient, for CPUs.
 *
 * A work-item owns a tile of TILE points by BLOCK vectors of channels in registers, as in
 * conv_direct.cl, and walks through the source channels. Meanwhile it fetches into the caches what
 * the tile's result will meet, the next tile's source, and its share of the weights of the group of
 * blocks that the next work-item has: of few images a network's weights are read from memory. With
 * TILE 12, the pointers to the points are in registers, too.
 *
 * Weights come packed [channel blocks][source channels][BLOCK vectors] (conv_pack.cl). VW divides
 * both sides' channels.
 */
#ifndef TILE
#define TILE 12
#endif
#ifndef BLOCK
#define BLOCK 2
#endif
/* Most blocks of a group. */
#define GROUP_BLOCKS 16

#define STEP(k) ADD_PRODUCTS(TILE, point[i][k], weights[(k)*BLOCK + b])

/* A tile's first n points: writes them, and takes their moments along. */
#define FINISH(n)                                                                               \
    {                                                                                           \
        UNROLL                                                                                  \
        for (int b = 0; b < BLOCK; b++) {                                                       \
            const int channel = (block * BLOCK + b) * VW, g = block - block_begin;              \
            if (channel >= channels)                                                            \
                continue;                                                                       \
            const vec factor = scale ? *(const __global vec *)(scale + channel) : (vec)(1.0f);  \
            const vec summand = shift ? *(const __global vec *)(shift + channel) : (vec)(0.0f); \
            UNROLL                                                                              \
            for (int i = 0; i < TILE; i++)                                                      \
                if (i < n) {                                                                    \
                    const long at = (first + i) * channels + channel;                           \
                    vec value = fma(acc[i][b], factor, summand);                                \
                    if (other)                                                                  \
                        value += *(const __global vec *)(other + at);                           \
                    acc[i][b] = activate(value, activation);                                    \
                    WRITE((__global vec *)(y + at), acc[i][b], how);                            \
                }                                                                               \
            if (moments) {                                                                      \
                if (first == begin) {                                                           \
                    reference[g][b] = acc[0][b];                                                \
                    sum[g][b] = square[g][b] = (vec)(0.0f);                                     \
                }                                                                               \
                const vec r = reference[g][b];                                                  \
                vec s = sum[g][b], q = square[g][b];                                            \
                UNROLL                                                                          \
                for (int i = 0; i < TILE; i++)                                                  \
                    if (i < n) {                                                                \
                        const vec d = acc[i][b] - r;                                            \
                        s += d;                                                                 \
                        q = fma(d, d, q);                                                       \
                    }                                                                           \
                sum[g][b] = s;                                                                  \
                square[g][b] = q;                                                               \
            }                                                                                   \
        }                                                                                       \
    }

/*
 * Dimension 0: groups of `group` of the `blocks` blocks of channels; 1: of `tiles` tiles.
 * x [points][source vectors], y and other [points][channels], scale and shift [channels]:
 * y (+)= activation(convolution * scale + shift + other), of which each may be missing. moments
 * [global size 1][3][channels], if wanted: of a work-item's points mean, sum of squared deviations
 * (from the first point, then from the mean) and count.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
pointwise(const __global vec *restrict x, const __global vec *restrict w,
          const __global float *restrict scale, const __global float *restrict shift,
          const __global float *other, __global float *y, long points, int source, int channels,
          int blocks, int group, int tiles, int activation, int how,
          __global float *restrict moments)
{
    const int block_begin = (int)get_global_id(0) * group;
    const int block_end = min(block_begin + group, blocks);
    const long begin = (long)get_global_id(1) * tiles * TILE;
    const long end = min(begin + tiles * TILE, points);
    vec reference[GROUP_BLOCKS][BLOCK], sum[GROUP_BLOCKS][BLOCK], square[GROUP_BLOCKS][BLOCK];
    const __global float *meets = how == ADDED ? y : other;
    /* Of a vector of source channels, the next group's weights that each tile fetches. */
    const int share =
        block_end < blocks ? (VW * BLOCK * TILE + (int)(end - begin) - 1) / (int)(end - begin) : 0;
    const __global vec *later = w + (long)block_end * source * VW * BLOCK;

    for (long first = begin; first < end; first += TILE) {
        const int n = (int)min(points - first, (long)TILE);
        for (int block = block_begin; block < block_end; block++) {
            const int fetches = block == block_begin && first + TILE < end;
            const __global vec *next = x + (first + TILE) * source;
            const __global vec *weights = w + (long)block * source * VW * BLOCK;
            const __global float *point[TILE];
            UNROLL
            for (int i = 0; i < TILE; i++) /* those past the end are not stored */
                point[i] = (const __global float *)(x + min(first + i, points - 1) * source);
            vec acc[TILE][BLOCK];
            UNROLL
            for (int i = 0; i < TILE; i++) {
                UNROLL
                for (int b = 0; b < BLOCK; b++)
                    acc[i][b] = (vec)(0.0f);
            }
            if (meets)
                for (int i = 0; i < TILE; i++)
                    for (int b = 0; b < BLOCK; b++)
                        PREFETCH(meets + min(first + i, points - 1) * channels +
                                 (block * BLOCK + b) * VW);
            for (int c = 0; c < source; c++) {
                for (int i = 0; i < share; i++)
                    PREFETCH_LATER(later++);
                if (fetches)
                    for (int i = 0; i < TILE; i++)
                        PREFETCH(next + c * TILE + i);
                for (int k = 0; k < VW; k += 4) {
                    STEP(k)
                    STEP(k + 1)
                    STEP(k + 2)
                    STEP(k + 3)
                }
                UNROLL
                for (int i = 0; i < TILE; i++)
                    point[i] += VW;
                weights += VW * BLOCK;
            }

            if (n == TILE)
                FINISH(TILE)
            else
                FINISH(n)
        }
    }
    if (moments && begin < end) {
        const vec count = (vec)((float)(end - begin));
        __global float *to = moments + (long)get_global_id(1) * 3 * channels;
        for (int block = block_begin; block < block_end; block++)
            for (int b = 0; b < BLOCK; b++) {
                const int channel = (block * BLOCK + b) * VW, g = block - block_begin;
                if (channel >= channels)
                    continue;
                const vec mean = sum[g][b] / count;
                *(__global vec *)(to + channel) = reference[g][b] + mean;
                *(__global vec *)(to + channels + channel) =
                    fmax(fma(-mean, sum[g][b], square[g][b]), (vec)(0.0f));
                *(__global vec *)(to + 2 * channels + channel) = count;
            }
    }
}
