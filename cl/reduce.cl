/* Sums in a fixed order: the same bits at every run. */

/*
 * partial[g] = sum over this work-item's part of x[0…n), or of its squares. Work-items: parts.
 */
KERNEL void sum_parts(const __global float *x, __global float *partial, long n, int squares)
{
    const long g = (long)get_global_id(0), parts = (long)get_global_size(0);
    const long begin = n * g / parts, end = n * (g + 1) / parts;
    float lane[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    long i = begin;
    for (; i + 8 <= end; i += 8)
        for (int k = 0; k < 8; k++)
            lane[k] += squares ? x[i + k] * x[i + k] : x[i + k];
    for (int k = 0; i < end; i++, k++)
        lane[k] += squares ? x[i] * x[i] : x[i];
    partial[g] =
        ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

/* y[0] = scale * sum of partial[0…parts), plus y[0] if accumulate. One work-item. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
sum_total(const __global float *partial, __global float *y, int parts, float scale, int accumulate)
{
    /* Thousands of parts: what each addition rounds off is carried along (Kahan, 1965). */
    float sum = 0.0f, lost = 0.0f;
    for (int i = 0; i < parts; i++) {
        const float term = partial[i] - lost, next = sum + term;
        lost = (next - sum) - term;
        sum = next;
    }
    sum *= scale;
    y[0] = accumulate ? y[0] + sum : sum;
}

/* dx[i] (+)= scale * dy[0] */
KERNEL void spread(const __global float *dy, __global vec *dx, long n, float scale, int accumulate)
{
    const vec d = (vec)(scale * dy[0]);
    FOR_EACH (i, n)
        dx[i] = accumulate ? dx[i] + d : d;
}

/* dx[i] (+)= scale * dy[0] * x[i] : the gradient of scale/2 * sum(x^2) */
KERNEL void spread_scaled(const __global float *dy, const __global vec *x, __global vec *dx, long n,
                          float scale, int accumulate)
{
    const vec s = (vec)(scale * dy[0]);
    FOR_EACH (i, n) {
        vec d = s * x[i];
        dx[i] = accumulate ? dx[i] + d : d;
    }
}

/*
 * partial[chunk][c] = sum over the chunk's rows of x[row][c]; x [rows][vectors], partial
 * [chunks][vectors]. The fold of elementwise.cl adds the chunks.
 */
KERNEL void column_sums(const __global vec *x, __global vec *partial, long rows, int vectors)
{
    ROW_RANGE(rows);
    __global vec *sums = partial + get_global_id(1) * vectors;
    FOR_EACH_CHANNEL (c, vectors)
        sums[c] = (vec)(0.0f);
    for (long row = row_begin; row < row_end; row += ROWS_AT_ONCE(vectors)) {
        const long end = min(row + ROWS_AT_ONCE(vectors), row_end);
        FOR_EACH_CHANNEL (c, vectors) {
            vec sum = sums[c];
            for (long r = row; r < end; r++)
                sum += x[r * vectors + c];
            sums[c] = sum;
        }
    }
}
