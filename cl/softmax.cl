/* Softmax and its cross-entropy over rows of `classes` logits; a work-item per row. */

/* The greatest logit of a row, and the sum of exp(logit - greatest). */
static float2 row_scale(const __global float *x, int classes)
{
    float most = x[0], sum = 0.0f;
    for (int k = 1; k < classes; k++)
        most = fmax(most, x[k]);
    for (int k = 0; k < classes; k++)
        sum += exp(x[k] - most);
    return (float2)(most, sum);
}

/* y = exp(x) / sum of exp(x) */
KERNEL void forward(const __global float *x, __global float *y, long rows, int classes)
{
    FOR_EACH (row, rows) {
        const __global float *in = x + row * classes;
        const float2 scale = row_scale(in, classes);
        for (int k = 0; k < classes; k++)
            y[row * classes + k] = exp(in[k] - scale.x) / scale.y;
    }
}

/* dx (+)= y * (dy - sum of dy * y) */
KERNEL void backward(const __global float *y, const __global float *dy, __global float *dx,
                     long rows, int classes, int accumulate)
{
    FOR_EACH (row, rows) {
        const long at = row * classes;
        float dot_product = 0.0f;
        for (int k = 0; k < classes; k++)
            dot_product += dy[at + k] * y[at + k];
        for (int k = 0; k < classes; k++) {
            const float d = y[at + k] * (dy[at + k] - dot_product);
            dx[at + k] = accumulate ? dx[at + k] + d : d;
        }
    }
}

/*
 * Labels are LABEL [rows][classes], or int [rows] where SPARSE. What is computed with is keep *
 * label
 * + spread: smoothed by s, keep is 1 - s and spread s / classes.
 */
#ifndef LABEL
#define LABEL float
#endif
#ifdef SPARSE
#define LABEL_AT(row, k) (labels[row] == (k) ? 1.0f : 0.0f)
#define LABEL_VALID(row) (labels[row] >= 0 && labels[row] < classes)
#else
#define LABEL_AT(row, k) ((float)labels[(row)*classes + (k)])
#define LABEL_VALID(row) true
#endif

#define SMOOTHED(row, k) fma(keep, LABEL_AT(row, k), spread)

/* loss[row] = sum over k of label * (log(sum of exp(logit)) - logit) */
KERNEL void cross_entropy(const __global LABEL *labels, const __global float *logits,
                          __global float *loss, long rows, int classes, float keep, float spread)
{
    FOR_EACH (row, rows) {
        const __global float *in = logits + row * classes;
        const float2 scale = row_scale(in, classes);
        const float log_sum = log(scale.y);
        float sum = 0.0f;
        for (int k = 0; k < classes; k++) {
            const float label = SMOOTHED(row, k);
            if (label != 0.0f) /* 0 * infinity is 0 here */
                sum += label * (log_sum - (in[k] - scale.x));
        }
        loss[row] = LABEL_VALID(row) ? sum : NAN;
    }
}

/* dlogits (+)= (softmax * sum of labels - label) * dloss */
KERNEL void cross_entropy_backward(const __global LABEL *labels, const __global float *logits,
                                   const __global float *dloss, __global float *dlogits, long rows,
                                   int classes, float keep, float spread, int accumulate)
{
    FOR_EACH (row, rows) {
        const long at = row * classes;
        const float2 scale = row_scale(logits + at, classes);
        float total = 0.0f;
        for (int k = 0; k < classes; k++)
            total += LABEL_AT(row, k);
        total = fma(keep, total, spread * (float)classes);
        for (int k = 0; k < classes; k++) {
            const float p = exp(logits[at + k] - scale.x) / scale.y;
            const float d = LABEL_VALID(row) ? (p * total - SMOOTHED(row, k)) * dloss[row] : NAN;
            dlogits[at + k] = accumulate ? dlogits[at + k] + d : d;
        }
    }
}
