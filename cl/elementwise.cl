/* What several ops need on flat tensors of n vectors. */

/* y = x, or y += x */
KERNEL void copy(const __global vec *x, __global vec *y, long n, int accumulate)
{
    FOR_EACH (i, n)
        y[i] = accumulate ? y[i] + x[i] : x[i];
}

/* y = value */
KERNEL void fill(__global vec *y, long n, float value)
{
    FOR_EACH (i, n)
        y[i] = (vec)(value);
}

/* y[i] = sum over p of x[p * stride + i], in the order of p; plus y[i] if accumulate */
KERNEL void fold(const __global vec *x, __global vec *y, long n, long stride, int parts,
                 int accumulate)
{
    FOR_EACH (i, n) {
        vec sum = x[i];
        for (int p = 1; p < parts; p++)
            sum += x[p * stride + i];
        y[i] = accumulate ? y[i] + sum : sum;
    }
}
