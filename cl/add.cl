/* y = activation(a + b) on flat tensors of n vectors */
KERNEL void forward(const __global vec *a, const __global vec *b, __global vec *y, long n,
                    int activation)
{
    FOR_EACH (i, n)
        y[i] = activate(a[i] + b[i], activation);
}
