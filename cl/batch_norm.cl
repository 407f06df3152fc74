/*
 * Batch normalisation over the rows of x [rows][vectors], where a row is a pixel's channels.
 *
 * Variance comes from deviations (each chunk's from its own first row, the chunks' merged as Chan,
 * Golub and LeVeque do, 1979), never from E[x^2] - E[x]^2.
 */

/*
 * Per chunk of rows and channel: partial[chunk][0] = mean, partial[chunk][1] = sum of squared
 * deviations, partial[chunk][2] = count. partial [chunks][3][vectors]
 */
KERNEL void statistics(const __global vec *x, __global vec *partial, long rows, int vectors)
{
    ROW_RANGE(rows);
    __global vec *sum = partial + get_global_id(1) * 3 * vectors, *square = sum + vectors;
    const __global vec *first = x + row_begin * vectors;
    FOR_EACH_CHANNEL (c, vectors) {
        sum[c] = (vec)(0.0f);
        square[c] = (vec)(0.0f);
    }
    for (long row = row_begin; row < row_end; row += ROWS_AT_ONCE(vectors)) {
        const long end = min(row + ROWS_AT_ONCE(vectors), row_end);
        FOR_EACH_CHANNEL (c, vectors) {
            const vec shift = first[c];
            vec s = sum[c], q = square[c];
            for (long r = row; r < end; r++) {
                const vec d = x[r * vectors + c] - shift;
                s += d;
                q = fma(d, d, q);
            }
            sum[c] = s;
            square[c] = q;
        }
    }
    const float count = (float)(row_end - row_begin);
    FOR_EACH_CHANNEL (c, vectors) {
        const vec s = sum[c];
        sum[c] = first[c] + s / count;
        square[c] = fmax(square[c] - s * s / count, (vec)(0.0f));
        square[vectors + c] = (vec)(count);
    }
}

/*
 * Merges the chunks in their order: mean and (population) variance, and inverse = 1 / sqrt(variance
 * + epsilon), each [vectors].
 */
KERNEL void finalise(const __global vec *partial, __global vec *mean, __global vec *variance,
                     __global vec *inverse, long rows, int vectors, int chunks, float epsilon)
{
    FOR_EACH (c, (long)vectors) {
        vec m = partial[c], m2 = partial[vectors + c], before = partial[2 * vectors + c];
        for (int k = 1; k < chunks; k++) {
            const __global vec *p = partial + (long)k * 3 * vectors + c;
            const vec delta = p[0] - m, after = before + p[2 * vectors];
            const vec share = p[2 * vectors] / after;
            m += delta * share;
            m2 += p[vectors] + delta * delta * (share * before);
            before = after;
        }
        mean[c] = m;
        variance[c] = m2 / (float)rows;
        inverse[c] = 1.0f / sqrt(variance[c] + epsilon);
    }
}

/* moving = decay * moving + (1 - decay) * batch, the variance Bessel-corrected; n vectors. Not
 * where there is a verdict and it is 0. */
KERNEL void move(const __global vec *mean, const __global vec *variance, __global vec *moving_mean,
                 __global vec *moving_variance, const __global float *verdict, long n, long rows,
                 float decay)
{
    if (verdict && verdict[0] == 0.0f)
        return;
    const float correction = (float)rows / (float)max(rows - 1, 1L);
    FOR_EACH (c, n) {
        moving_mean[c] = decay * moving_mean[c] + (1.0f - decay) * mean[c];
        moving_variance[c] =
            decay * moving_variance[c] + (1.0f - decay) * (variance[c] * correction);
    }
}

/* inverse = 1 / sqrt(variance + epsilon): of the moving variance, when not training */
KERNEL void invert(const __global vec *variance, __global vec *inverse, long n, float epsilon)
{
    FOR_EACH (c, n)
        inverse[c] = 1.0f / sqrt(variance[c] + epsilon);
}

/*
 * The statistics as one factor and one summand: x * scale + shift = (x - mean) * gamma / deviation
 * + beta, for the convolution before to apply. gamma and beta may be missing; n vectors
 */
KERNEL void as_factor(const __global vec *mean, const __global vec *variance,
                      const __global vec *gamma, const __global vec *beta, __global vec *scale,
                      __global vec *shift, long n, float epsilon)
{
    FOR_EACH (c, n) {
        const vec inverse = 1.0f / sqrt(variance[c] + epsilon);
        scale[c] = gamma ? gamma[c] * inverse : inverse;
        shift[c] = (beta ? beta[c] : (vec)(0.0f)) - mean[c] * scale[c];
    }
}

/* gamma and beta may be missing */
#define SCALE(c) (gamma ? gamma[c] * inverse[c] : inverse[c])
#define SHIFT(c) (beta ? beta[c] : (vec)(0.0f))

/* y = activation((x - mean) * gamma * inverse + beta + other); other may be missing */
KERNEL void forward(const __global vec *x, const __global vec *mean, const __global vec *inverse,
                    const __global vec *gamma, const __global vec *beta, const __global vec *other,
                    __global vec *y, long rows, int vectors, int activation, int how)
{
    ROW_RANGE(rows);
    for (long row = row_begin; row < row_end; row++)
        FOR_EACH_CHANNEL (c, vectors) {
            const long i = row * vectors + c;
            const vec n = fma(x[i] - mean[c], SCALE(c), SHIFT(c));
            const vec value = activate(other ? other[i] + n : n, activation);
            WRITE(&y[i], value, how);
        }
}

/*
 * With g = dy where the activation passes, and n = (x - mean) * inverse: per chunk
 * partial[chunk][0] = sum of g, partial[chunk][1] = sum of g * n. partial [chunks][2][vectors]
 */
KERNEL void backward_sums(const __global vec *x, const __global vec *dy, const __global vec *mean,
                          const __global vec *inverse, const __global vec *gamma,
                          const __global vec *beta, __global vec *partial, long rows, int vectors,
                          int activation)
{
    ROW_RANGE(rows);
    __global vec *sum = partial + get_global_id(1) * 2 * vectors, *product = sum + vectors;
    FOR_EACH_CHANNEL (c, vectors) {
        sum[c] = (vec)(0.0f);
        product[c] = (vec)(0.0f);
    }
    for (long row = row_begin; row < row_end; row += ROWS_AT_ONCE(vectors)) {
        const long end = min(row + ROWS_AT_ONCE(vectors), row_end);
        FOR_EACH_CHANNEL (c, vectors) {
            const vec m = mean[c], scale = SCALE(c), shift = SHIFT(c);
            vec s = sum[c], p = product[c];
            for (long r = row; r < end; r++) {
                const long i = r * vectors + c;
                const vec d = x[i] - m;
                const vec g = activation_gradient(fma(d, scale, shift), dy[i], activation);
                s += g;
                p = fma(g, d, p);
            }
            sum[c] = s;
            product[c] = p;
        }
    }
    FOR_EACH_CHANNEL (c, vectors)
        product[c] *= inverse[c];
}

/*
 * Adds the chunks: dbeta (+)= sum of g, dgamma (+)= sum of g * n, where wanted, and
 * means[0] = mean of g, means[1] = mean of g * n, or 0 for fixed statistics. means [2][vectors]
 */
KERNEL void backward_finalise(const __global vec *partial, __global vec *dgamma,
                              __global vec *dbeta, __global vec *means, long rows, int vectors,
                              int chunks, int is_training, int accumulate_gamma,
                              int accumulate_beta)
{
    FOR_EACH (c, (long)vectors) {
        vec s = partial[c], p = partial[vectors + c];
        for (int k = 1; k < chunks; k++) {
            s += partial[(long)k * 2 * vectors + c];
            p += partial[(long)k * 2 * vectors + vectors + c];
        }
        if (dbeta)
            dbeta[c] = accumulate_beta ? dbeta[c] + s : s;
        if (dgamma)
            dgamma[c] = accumulate_gamma ? dgamma[c] + p : p;
        means[c] = is_training ? s / (float)rows : (vec)(0.0f);
        means[vectors + c] = is_training ? p / (float)rows : (vec)(0.0f);
    }
}

/* dx (+)= gamma * inverse * (g - mean of g - n * mean of g * n); dx may be dy, not streamed then */
KERNEL void backward(const __global vec *x, const __global vec *dy, const __global vec *mean,
                     const __global vec *inverse, const __global vec *gamma,
                     const __global vec *beta, const __global vec *means, __global vec *dx,
                     long rows, int vectors, int activation, int how)
{
    ROW_RANGE(rows);
    for (long row = row_begin; row < row_end; row++)
        FOR_EACH_CHANNEL (c, vectors) {
            const long i = row * vectors + c;
            const vec d = x[i] - mean[c], scale = SCALE(c);
            const vec g = activation_gradient(fma(d, scale, SHIFT(c)), dy[i], activation);
            const vec t = scale * (g - means[c] - d * inverse[c] * means[vectors + c]);
            WRITE(&dx[i], t, how);
        }
}
