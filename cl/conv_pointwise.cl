/*
 * Pointwise (1x1, stride 1) convolution on NHWC images, and its input gradient, for CPUs.
 *
 * A work-item owns a tile of TILE points by BLOCK vectors of channels in registers, as in
 * conv_direct.cl, and walks through the source channels while the next tile's source is fetched
 * into the cache. With TILE 12, the pointers to the points are in registers, too.
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

/* acc[i][b] += point[i][k] * weights[k][b] */
#define STEP(k)                                               \
    {                                                         \
        vec weight[BLOCK];                                    \
        UNROLL                                                \
        for (int b = 0; b < BLOCK; b++)                       \
            weight[b] = weights[(k)*BLOCK + b];               \
        UNROLL                                                \
        for (int i = 0; i < TILE; i++) {                      \
            const vec value = (vec)(point[i][k]);             \
            UNROLL                                            \
            for (int b = 0; b < BLOCK; b++)                   \
                acc[i][b] = fma(value, weight[b], acc[i][b]); \
        }                                                     \
    }

/*
 * Dimension 0: groups of `group` of the `blocks` blocks of channels; 1: of `tiles` tiles.
 * x [points][source vectors], y and other [points][channels], scale and shift [channels]:
 * y (+)= activation(convolution * scale + shift + other), of which each may be missing.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
pointwise(const __global vec *restrict x, const __global vec *restrict w,
          const __global float *restrict scale, const __global float *restrict shift,
          const __global float *other, __global float *y, long points, int source, int channels,
          int blocks, int group, int tiles, int activation, int accumulate)
{
    const int block_begin = (int)get_global_id(0) * group;
    const int block_end = min(block_begin + group, blocks);

    for (int t = 0; t < tiles; t++) {
        const long first = ((long)get_global_id(1) * tiles + t) * TILE;
        if (first >= points)
            return;
        const int n = (int)min(points - first, (long)TILE);
        for (int block = block_begin; block < block_end; block++) {
            const int fetches = block == block_begin && t + 1 < tiles;
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
            for (int c = 0; c < source; c++) {
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

            UNROLL
            for (int b = 0; b < BLOCK; b++) {
                const int channel = (block * BLOCK + b) * VW;
                if (channel >= channels)
                    continue;
                const vec factor = scale ? *(const __global vec *)(scale + channel) : (vec)(1.0f);
                const vec summand = shift ? *(const __global vec *)(shift + channel) : (vec)(0.0f);
                UNROLL
                for (int i = 0; i < TILE; i++)
                    if (i < n) {
                        const long at = (first + i) * channels + channel;
                        vec value = fma(acc[i][b], factor, summand);
                        if (other)
                            value += *(const __global vec *)(other + at);
                        WRITE((__global vec *)(y + at), activate(value, activation), accumulate);
                    }
            }
        }
    }
}
