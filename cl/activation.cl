/* ReLU and ReLU6 on flat tensors of n vectors. */

KERNEL void forward(const __global vec *x, __global vec *y, long n, int activation)
{
    FOR_EACH (i, n)
        y[i] = activate(x[i], activation);
}

/* dx (+)= dy where y, the input or the output, is inside the activation's slope; dx may be dy */
KERNEL void backward(const __global vec *y, const __global vec *dy, __global vec *dx, long n,
                     int activation, int accumulate)
{
    FOR_EACH (i, n) {
        vec d = activation_gradient(y[i], dy[i], activation);
        dx[i] = accumulate ? dx[i] + d : d;
    }
}
