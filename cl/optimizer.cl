/*
 * One training step of a variable w over n vectors. Its gradient is g + decay * dy[0] * w; dy may
 * be missing, and is for a w without weight decay.
 */
#define DECAYED(i) (dy ? fma(rate, w[i], g[i]) : g[i])

/* w -= lr * gradient */
KERNEL void gradient_descent(__global vec *restrict w, const __global vec *restrict g,
                             const __global float *restrict dy, long n, float decay, float lr)
{
    const vec rate = (vec)(dy ? decay * dy[0] : 0.0f);
    FOR_EACH (i, n)
        w[i] -= lr * DECAYED(i);
}

/* m = momentum * m + gradient; w -= lr * m */
KERNEL void momentum(__global vec *restrict w, const __global vec *restrict g,
                     const __global float *restrict dy, __global vec *restrict m, long n,
                     float decay, float lr, float momentum)
{
    const vec rate = (vec)(dy ? decay * dy[0] : 0.0f);
    FOR_EACH (i, n) {
        const vec v = fma((vec)(momentum), m[i], DECAYED(i));
        m[i] = v;
        w[i] -= lr * v;
    }
}
