#include "ref.h"

#include <stddef.h>

void ref_dense_forward(int n, int inputs, int outputs, const double *x, const double *weights,
                       const double *biases, double *y)
{
    for (int row = 0; row < n; row++)
        for (int o = 0; o < outputs; o++) {
            double sum = biases != NULL ? biases[o] : 0;
            for (int i = 0; i < inputs; i++)
                sum += x[row * inputs + i] * weights[i * outputs + o];
            y[row * outputs + o] = sum;
        }
}

/* dx = dy weights^T, dweights = x^T dy, dbiases = column sums of dy. */
void ref_dense_backward(int n, int inputs, int outputs, const double *x, const double *weights,
                        const double *dy, double *dx, double *dweights, double *dbiases)
{
    for (int row = 0; dx != NULL && row < n; row++)
        for (int i = 0; i < inputs; i++) {
            dx[row * inputs + i] = 0;
            for (int o = 0; o < outputs; o++)
                dx[row * inputs + i] += dy[row * outputs + o] * weights[i * outputs + o];
        }
    for (int i = 0; dweights != NULL && i < inputs; i++)
        for (int o = 0; o < outputs; o++) {
            dweights[i * outputs + o] = 0;
            for (int row = 0; row < n; row++)
                dweights[i * outputs + o] += x[row * inputs + i] * dy[row * outputs + o];
        }
    for (int o = 0; dbiases != NULL && o < outputs; o++) {
        dbiases[o] = 0;
        for (int row = 0; row < n; row++)
            dbiases[o] += dy[row * outputs + o];
    }
}
