/* What a device can do at most: the yardstick that the other kernels are measured with. */

/* `chains` independent chains of fused multiply-adds a work-item, `n` long: 2 * VW * CHAINS * n
 * operations. */
#ifndef CHAINS
#define CHAINS 24
#endif
KERNEL void fma_limit(__global vec *out, long n, float start)
{
    const vec x = (vec)(0.9999f), y = (vec)(1e-6f);
    vec chain[CHAINS];
    UNROLL
    for (int i = 0; i < CHAINS; i++)
        chain[i] = (vec)(start + (float)i);
    for (long k = 0; k < n; k++) {
        UNROLL
        for (int i = 0; i < CHAINS; i++)
            chain[i] = fma(chain[i], x, y);
    }
    vec sum = chain[0];
    UNROLL
    for (int i = 1; i < CHAINS; i++)
        sum += chain[i];
    out[get_global_id(0)] = sum;
}

/* y = x, of n vectors, more than the caches hold. */
KERNEL void copy_limit(const __global vec *x, __global vec *y, long n)
{
    FOR_EACH (i, n)
        WRITE(&y[i], x[i], STREAMED);
}
