#include "ref.h"

#include <math.h>

void ref_relu_forward(int count, const double *x, double *y)
{
    for (int i = 0; i < count; i++)
        y[i] = fmax(x[i], 0);
}

void ref_relu_backward(int count, const double *x, const double *dy, double *dx)
{
    for (int i = 0; i < count; i++)
        dx[i] = x[i] > 0 ? dy[i] : 0;
}

void ref_relu6_forward(int count, const double *x, double *y)
{
    for (int i = 0; i < count; i++)
        y[i] = fmin(fmax(x[i], 0), 6);
}

void ref_relu6_backward(int count, const double *x, const double *dy, double *dx)
{
    for (int i = 0; i < count; i++)
        dx[i] = x[i] > 0 && x[i] < 6 ? dy[i] : 0;
}

void ref_add(int count, const double *a, const double *b, double *y)
{
    for (int i = 0; i < count; i++)
        y[i] = a[i] + b[i];
}
