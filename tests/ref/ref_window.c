#include "ref.h"

static int at_least_0(int value)
{
    return value > 0 ? value : 0;
}

/* Pixels from a window's first tap to its last. */
static int extent(int kernel, int rate)
{
    return (kernel - 1) * rate + 1;
}

/* TensorFlow, "Notes on padding": out = ceil(in / stride), the odd pixel goes after. */
static void same(int in, int kernel, int stride, int rate, int *before, int *after, int *out)
{
    *out = (in + stride - 1) / stride;
    int total = at_least_0((*out - 1) * stride + extent(kernel, rate) - in);
    *before = total / 2;
    *after = total - *before;
}

/* Windows that fit wholly into `in` pixels. */
static int fitting(int in, int kernel, int stride, int rate)
{
    int room = in - extent(kernel, rate);
    return room < 0 ? 0 : room / stride + 1;
}

void ref_window_same(ref_window *window)
{
    same(window->h, window->kernel_h, window->stride_h, window->rate_h, &window->pad_top,
         &window->pad_bottom, &window->out_h);
    same(window->w, window->kernel_w, window->stride_w, window->rate_w, &window->pad_left,
         &window->pad_right, &window->out_w);
}

void ref_window_explicit(ref_window *window)
{
    window->out_h = fitting(window->pad_top + window->h + window->pad_bottom, window->kernel_h,
                            window->stride_h, window->rate_h);
    window->out_w = fitting(window->pad_left + window->w + window->pad_right, window->kernel_w,
                            window->stride_w, window->rate_w);
}

void ref_window_valid(ref_window *window)
{
    window->pad_top = window->pad_bottom = window->pad_left = window->pad_right = 0;
    ref_window_explicit(window);
}

int ref_window_row(const ref_window *window, int out, int tap)
{
    return out * window->stride_h + tap * window->rate_h - window->pad_top;
}

int ref_window_col(const ref_window *window, int out, int tap)
{
    return out * window->stride_w + tap * window->rate_w - window->pad_left;
}

bool ref_window_inside(const ref_window *window, int row, int col)
{
    return row >= 0 && row < window->h && col >= 0 && col < window->w;
}
