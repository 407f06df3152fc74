/*
 * y[n,p,q,k] = biases[k] + sum over r,s,c of x[n, row(p,r), col(q,s), c] * weights[r,s,c,k], where
 * x is 0 outside the image. Backward walks the same terms and gives each factor its share of dy.
 */
#include "ref.h"

#include <stddef.h>

/* Offset of [i,j,k,0] in an array [?, b, c, d]. */
static size_t at(int i, int j, int k, int b, int c, int d)
{
    return (((size_t)i * (size_t)b + (size_t)j) * (size_t)c + (size_t)k) * (size_t)d;
}

/* One tap of one window: k sums over c channels. */
static void multiply(int c, int k, const double *x, const double *weights, double *y)
{
    for (int i = 0; i < c; i++)
        for (int o = 0; o < k; o++)
            y[o] += x[i] * weights[i * k + o];
}

static void multiply_backward(int c, int k, const double *x, const double *weights,
                              const double *dy, double *dx, double *dweights)
{
    for (int i = 0; i < c; i++)
        for (int o = 0; o < k; o++) {
            if (dx != NULL)
                dx[i] += dy[o] * weights[i * k + o];
            if (dweights != NULL)
                dweights[i * k + o] += dy[o] * x[i];
        }
}

static void zero(double *array, size_t count)
{
    for (size_t i = 0; array != NULL && i < count; i++)
        array[i] = 0;
}

void ref_conv_forward(const ref_window *window, int c, int k, const double *x,
                      const double *weights, const double *biases, double *y)
{
    for (int n = 0; n < window->n; n++)
        for (int p = 0; p < window->out_h; p++)
            for (int q = 0; q < window->out_w; q++) {
                double *out = y + at(n, p, q, window->out_h, window->out_w, k);
                for (int o = 0; o < k; o++)
                    out[o] = biases != NULL ? biases[o] : 0;
                for (int r = 0; r < window->kernel_h; r++)
                    for (int s = 0; s < window->kernel_w; s++) {
                        int row = ref_window_row(window, p, r);
                        int col = ref_window_col(window, q, s);
                        if (ref_window_inside(window, row, col))
                            multiply(c, k, x + at(n, row, col, window->h, window->w, c),
                                     weights +
                                         at(0, r, s, window->kernel_h, window->kernel_w, c * k),
                                     out);
                    }
            }
}

void ref_conv_backward(const ref_window *window, int c, int k, const double *x,
                       const double *weights, const double *dy, double *dx, double *dweights,
                       double *dbiases)
{
    zero(dx, at(window->n, 0, 0, window->h, window->w, c));
    zero(dweights, at(1, 0, 0, window->kernel_h, window->kernel_w, c * k));
    zero(dbiases, (size_t)k);
    for (int n = 0; n < window->n; n++)
        for (int p = 0; p < window->out_h; p++)
            for (int q = 0; q < window->out_w; q++) {
                const double *dout = dy + at(n, p, q, window->out_h, window->out_w, k);
                for (int o = 0; dbiases != NULL && o < k; o++)
                    dbiases[o] += dout[o];
                for (int r = 0; r < window->kernel_h; r++)
                    for (int s = 0; s < window->kernel_w; s++) {
                        int row = ref_window_row(window, p, r);
                        int col = ref_window_col(window, q, s);
                        if (!ref_window_inside(window, row, col))
                            continue;
                        size_t image = at(n, row, col, window->h, window->w, c);
                        size_t tap = at(0, r, s, window->kernel_h, window->kernel_w, c * k);
                        multiply_backward(c, k, x + image, weights + tap, dout,
                                          dx != NULL ? dx + image : NULL,
                                          dweights != NULL ? dweights + tap : NULL);
                    }
            }
}
