/* One training step of a variable w with gradient g, over n vectors. */

/* w -= lr * g */
KERNEL void gradient_descent(__global vec *w, const __global vec *g, long n, float lr)
{
    FOR_EACH (i, n)
        w[i] -= lr * g[i];
}

/* m = momentum * m + g; w -= lr * m */
KERNEL void momentum(__global vec *w, const __global vec *g, __global vec *m, long n, float lr,
                     float momentum)
{
    FOR_EACH (i, n) {
        const vec v = fma((vec)(momentum), m[i], g[i]);
        m[i] = v;
        w[i] -= lr * v;
    }
}
