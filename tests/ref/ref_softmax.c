#include "ref.h"

#include <math.h>

/* log(sum(exp(row))), shifted by the largest so that nothing overflows. */
static double log_sum_exp(int classes, const double *row)
{
    double largest = row[0], sum = 0;
    for (int i = 1; i < classes; i++)
        largest = fmax(largest, row[i]);
    for (int i = 0; i < classes; i++)
        sum += exp(row[i] - largest);
    return largest + log(sum);
}

void ref_softmax_forward(int n, int classes, const double *logits, double *y)
{
    for (int r = 0; r < n; r++)
        for (int i = 0; i < classes; i++)
            y[r * classes + i] =
                exp(logits[r * classes + i] - log_sum_exp(classes, logits + r * classes));
}

/* d y_j / d logit_i = y_j ([i = j] - y_i), so dlogit_i = sum over j of dy_j y_j ([i = j] - y_i). */
void ref_softmax_backward(int n, int classes, const double *logits, const double *dy,
                          double *dlogits)
{
    for (int r = 0; r < n; r++) {
        const double *row = logits + r * classes;
        double norm = log_sum_exp(classes, row);
        for (int i = 0; i < classes; i++) {
            dlogits[r * classes + i] = 0;
            for (int j = 0; j < classes; j++)
                dlogits[r * classes + i] += dy[r * classes + j] * exp(row[j] - norm) *
                                            ((i == j ? 1 : 0) - exp(row[i] - norm));
        }
    }
}

void ref_cross_entropy_forward(int n, int classes, const double *labels, const double *logits,
                               double *loss)
{
    for (int r = 0; r < n; r++) {
        double norm = log_sum_exp(classes, logits + r * classes);
        loss[r] = 0;
        for (int i = 0; i < classes; i++)
            loss[r] -= labels[r * classes + i] * (logits[r * classes + i] - norm);
    }
}

/* d loss / d logit_i = softmax_i sum(labels) - label_i */
void ref_cross_entropy_backward(int n, int classes, const double *labels, const double *logits,
                                const double *dloss, double *dlogits)
{
    for (int r = 0; r < n; r++) {
        double norm = log_sum_exp(classes, logits + r * classes), total = 0;
        for (int i = 0; i < classes; i++)
            total += labels[r * classes + i];
        for (int i = 0; i < classes; i++)
            dlogits[r * classes + i] =
                dloss[r] * (exp(logits[r * classes + i] - norm) * total - labels[r * classes + i]);
    }
}
