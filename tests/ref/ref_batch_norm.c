#include "ref.h"

#include <math.h>
#include <stddef.h>

static double or_1(const double *gamma, int i)
{
    return gamma != NULL ? gamma[i] : 1;
}

/* Mean and population variance of column i, in two passes. */
static void moments_of(int rows, int c, const double *x, int i, double *mean, double *variance)
{
    double sum = 0, squares = 0;
    for (int r = 0; r < rows; r++)
        sum += x[r * c + i];
    *mean = sum / rows;
    for (int r = 0; r < rows; r++)
        squares += (x[r * c + i] - *mean) * (x[r * c + i] - *mean);
    *variance = squares / rows;
}

void ref_moments(int rows, int c, const double *x, double *mean, double *variance)
{
    for (int i = 0; i < c; i++)
        moments_of(rows, c, x, i, &mean[i], &variance[i]);
}

void ref_batch_norm_forward(int rows, int c, double epsilon, const double *x, const double *mean,
                            const double *variance, const double *gamma, const double *beta,
                            double *y)
{
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < c; i++)
            y[r * c + i] = (x[r * c + i] - mean[i]) / sqrt(variance[i] + epsilon) * or_1(gamma, i) +
                           (beta != NULL ? beta[i] : 0);
}

void ref_batch_norm_backward_inference(int rows, int c, double epsilon, const double *x,
                                       const double *mean, const double *variance,
                                       const double *gamma, const double *dy, double *dx,
                                       double *dgamma, double *dbeta)
{
    for (int i = 0; i < c; i++) {
        double sum = 0, scaled = 0, deviation = sqrt(variance[i] + epsilon);
        for (int r = 0; r < rows; r++) {
            sum += dy[r * c + i];
            scaled += dy[r * c + i] * (x[r * c + i] - mean[i]) / deviation;
            if (dx != NULL)
                dx[r * c + i] = dy[r * c + i] * or_1(gamma, i) / deviation;
        }
        if (dgamma != NULL)
            dgamma[i] = scaled;
        if (dbeta != NULL)
            dbeta[i] = sum;
    }
}

/*
 * The chain rule through the two statistics (Ioffe and Szegedy, arXiv 1502.03167, section 3):
 *     dxhat = dy gamma
 *     dvariance = sum(dxhat (x - mean)) (-1/2) (variance + epsilon)^(-3/2)
 *     dmean = -sum(dxhat) / sqrt(variance + epsilon)        (sum(x - mean) is 0)
 *     dx = dxhat / sqrt(variance + epsilon) + dvariance 2 (x - mean) / rows + dmean / rows
 */
void ref_batch_norm_backward_training(int rows, int c, double epsilon, const double *x,
                                      const double *gamma, const double *dy, double *dx,
                                      double *dgamma, double *dbeta)
{
    for (int i = 0; i < c; i++) {
        double mean, variance, sum = 0, centred = 0;
        moments_of(rows, c, x, i, &mean, &variance);
        double deviation = sqrt(variance + epsilon);
        for (int r = 0; r < rows; r++) {
            sum += dy[r * c + i];
            centred += dy[r * c + i] * (x[r * c + i] - mean);
        }
        double dvariance = or_1(gamma, i) * centred * -0.5 * pow(variance + epsilon, -1.5);
        double dmean = -or_1(gamma, i) * sum / deviation;
        for (int r = 0; dx != NULL && r < rows; r++)
            dx[r * c + i] = dy[r * c + i] * or_1(gamma, i) / deviation +
                            dvariance * 2 * (x[r * c + i] - mean) / rows + dmean / rows;
        if (dgamma != NULL)
            dgamma[i] = centred / deviation;
        if (dbeta != NULL)
            dbeta[i] = sum;
    }
}

void ref_batch_norm_move(int rows, int c, double decay, const double *x, double *moving_mean,
                         double *moving_variance)
{
    double bessel = rows > 1 ? (double)rows / (rows - 1) : 1;
    for (int i = 0; i < c; i++) {
        double mean, variance;
        moments_of(rows, c, x, i, &mean, &variance);
        moving_mean[i] = decay * moving_mean[i] + (1 - decay) * mean;
        moving_variance[i] = decay * moving_variance[i] + (1 - decay) * variance * bessel;
    }
}
