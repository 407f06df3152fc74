#include "ref.h"

#include <math.h>

/* Offset of [n,i,j,ch] in an array [?, h, w, c]. */
static int at(int n, int i, int j, int ch, int h, int w, int c)
{
    return ((n * h + i) * w + j) * c + ch;
}

/* Offset in x of the largest value of window (p,q) of image n and channel ch: the first of equals;
 * -1 when nothing of the window lies inside. */
static int largest(const ref_window *window, int c, const double *x, int n, int p, int q, int ch)
{
    int best = -1;
    for (int r = 0; r < window->kernel_h; r++)
        for (int s = 0; s < window->kernel_w; s++) {
            int row = ref_window_row(window, p, r);
            int col = ref_window_col(window, q, s);
            if (!ref_window_inside(window, row, col))
                continue;
            int offset = at(n, row, col, ch, window->h, window->w, c);
            if (best < 0 || x[offset] > x[best])
                best = offset;
        }
    return best;
}

/* Taps of window (p,q) that lie inside the image. */
static int inside(const ref_window *window, int p, int q)
{
    int count = 0;
    for (int r = 0; r < window->kernel_h; r++)
        for (int s = 0; s < window->kernel_w; s++)
            count += ref_window_inside(window, ref_window_row(window, p, r),
                                       ref_window_col(window, q, s));
    return count;
}

static void zero(double *array, int count)
{
    for (int i = 0; i < count; i++)
        array[i] = 0;
}

void ref_max_pool_forward(const ref_window *window, int c, const double *x, double *y)
{
    for (int n = 0; n < window->n; n++)
        for (int p = 0; p < window->out_h; p++)
            for (int q = 0; q < window->out_w; q++)
                for (int ch = 0; ch < c; ch++) {
                    int best = largest(window, c, x, n, p, q, ch);
                    y[at(n, p, q, ch, window->out_h, window->out_w, c)] =
                        best < 0 ? -INFINITY : x[best];
                }
}

void ref_max_pool_backward(const ref_window *window, int c, const double *x, const double *dy,
                           double *dx)
{
    zero(dx, window->n * window->h * window->w * c);
    for (int n = 0; n < window->n; n++)
        for (int p = 0; p < window->out_h; p++)
            for (int q = 0; q < window->out_w; q++)
                for (int ch = 0; ch < c; ch++) {
                    int best = largest(window, c, x, n, p, q, ch);
                    if (best >= 0)
                        dx[best] += dy[at(n, p, q, ch, window->out_h, window->out_w, c)];
                }
}

void ref_avg_pool_forward(const ref_window *window, int c, const double *x, double *y)
{
    for (int n = 0; n < window->n; n++)
        for (int p = 0; p < window->out_h; p++)
            for (int q = 0; q < window->out_w; q++)
                for (int ch = 0; ch < c; ch++) {
                    double sum = 0;
                    for (int r = 0; r < window->kernel_h; r++)
                        for (int s = 0; s < window->kernel_w; s++) {
                            int row = ref_window_row(window, p, r);
                            int col = ref_window_col(window, q, s);
                            if (ref_window_inside(window, row, col))
                                sum += x[at(n, row, col, ch, window->h, window->w, c)];
                        }
                    y[at(n, p, q, ch, window->out_h, window->out_w, c)] =
                        sum / inside(window, p, q);
                }
}

void ref_avg_pool_backward(const ref_window *window, int c, const double *dy, double *dx)
{
    zero(dx, window->n * window->h * window->w * c);
    for (int n = 0; n < window->n; n++)
        for (int p = 0; p < window->out_h; p++)
            for (int q = 0; q < window->out_w; q++)
                for (int r = 0; r < window->kernel_h; r++)
                    for (int s = 0; s < window->kernel_w; s++) {
                        int row = ref_window_row(window, p, r);
                        int col = ref_window_col(window, q, s);
                        if (!ref_window_inside(window, row, col))
                            continue;
                        for (int ch = 0; ch < c; ch++)
                            dx[at(n, row, col, ch, window->h, window->w, c)] +=
                                dy[at(n, p, q, ch, window->out_h, window->out_w, c)] /
                                inside(window, p, q);
                    }
}
