#include "ref.h"

double ref_mean(int count, const double *x)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += x[i];
    return sum / count;
}

double ref_dot(int count, const double *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

double ref_l2(int count, double weight_decay, const double *w)
{
    return weight_decay * ref_dot(count, w, w) / 2;
}
