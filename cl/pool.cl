/*
 * Pooling windows over x [n][ih][iw][vectors] into y [n][oh][ow][vectors]. A work-item handles rows
 * of the written image: dimension 1 counts chunks of the n * height rows, dimension 0 vectors of
 * channels on a GPU.
 */
#define GEOMETRY \
    int ih, int iw, int oh, int ow, int kh, int kw, int sh, int sw, int pad_top, int pad_left

/* The part of a window that lies inside the image, along one axis. */
#define INSIDE(o, stride, pad, kernel, size, low, high) \
    const int low = max((o) * (stride) - (pad), 0);     \
    const int high = min((o) * (stride) - (pad) + (kernel), (size))

/*
 * One output of max_forward, whose window has h lines of w elements from position `first` on;
 * `unroll` goes before the loops over them. A NaN wins and stays, so that it is seen downstream.
 */
#define MAXIMUM(unroll, h, w)                                         \
    FOR_EACH_CHANNEL (c, vectors) {                                   \
        const __global vec *from = image + (long)first * vectors + c; \
        vec best = (vec)(-INFINITY);                                  \
        ivec at = (ivec)(first);                                      \
        unroll for (int i = 0; i < (h); i++)                          \
        {                                                             \
            unroll for (int j = 0; j < (w); j++)                      \
            {                                                         \
                const vec v = from[i * line + j * vectors];           \
                const ivec wins = !(v <= best) && best == best;       \
                best = wins ? v : best;                               \
                at = wins ? (ivec)(first + i * iw + j) : at;          \
            }                                                         \
        }                                                             \
        WRITE(y + out + c, best, how);                                \
        if (where)                                                    \
            WRITE(where + out + c, at, how);                          \
    }

/*
 * The greatest element of each window, and where it was, as y * iw + x in its image (the first of
 * equals); where may be missing.
 */
KERNEL void max_forward(const __global vec *restrict x, __global vec *restrict y,
                        __global ivec *restrict where, long rows, int vectors, int how, GEOMETRY)
{
    const long line = (long)iw * vectors;
    ROW_RANGE(rows);
    for (long row = row_begin; row < row_end; row++) {
        const __global vec *image = x + row / oh * ih * line;
        INSIDE((int)(row % oh), sh, pad_top, kh, ih, y0, y1);
        for (int o = 0; o < ow; o++) {
            INSIDE(o, sw, pad_left, kw, iw, x0, x1);
            const int first = y0 * iw + x0;
            const long out = (row * ow + o) * vectors;
            if (y1 - y0 == 3 && x1 - x0 == 3)
                MAXIMUM(UNROLL, 3, 3) /* resnet's */
            else
                MAXIMUM(, y1 - y0, x1 - x0)
        }
    }
}

/* The windows o of one axis that contain position i: [low, high). */
#define WINDOWS(i, stride, pad, kernel, count, low, high)                 \
    const int low = max((i) + (pad) - (kernel) + (stride), 0) / (stride); \
    const int high = min(((i) + (pad)) / (stride) + 1, (count))

/*
 * dx[i] (+)= sum of dy over the windows whose maximum was at i. rows = n * ih; where is missing for
 * windows of one element.
 */
KERNEL void max_backward(const __global vec *restrict dy, const __global ivec *restrict where,
                         __global vec *restrict dx, long rows, int vectors, int how, GEOMETRY)
{
    ROW_RANGE(rows);
    for (long row = row_begin; row < row_end; row++) {
        const int i = (int)(row % ih);
        const long image = row / ih * oh * ow;
        WINDOWS(i, sh, pad_top, kh, oh, y0, y1);
        for (int j = 0; j < iw; j++) {
            WINDOWS(j, sw, pad_left, kw, ow, x0, x1);
            if (how == ADDED && (y0 >= y1 || x0 >= x1))
                continue;
            FOR_EACH_CHANNEL (c, vectors) {
                vec sum = (vec)(0.0f);
                for (int p = y0; p < y1; p++)
                    for (int q = x0; q < x1; q++) {
                        const long out = (image + (long)p * ow + q) * vectors + c;
                        if (where)
                            sum += where[out] == (ivec)(i * iw + j) ? dy[out] : (vec)(0.0f);
                        else
                            sum += dy[out];
                    }
                const long in = (row * iw + j) * vectors + c;
                WRITE(dx + in, sum, how);
            }
        }
    }
}

/* The mean of what of each window lies inside the image. */
KERNEL void average_forward(const __global vec *x, __global vec *y, long rows, int vectors,
                            GEOMETRY)
{
    ROW_RANGE(rows);
    for (long row = row_begin; row < row_end; row++) {
        const __global vec *image = x + row / oh * ih * iw * vectors;
        INSIDE((int)(row % oh), sh, pad_top, kh, ih, y0, y1);
        for (int o = 0; o < ow; o++) {
            INSIDE(o, sw, pad_left, kw, iw, x0, x1);
            FOR_EACH_CHANNEL (c, vectors) {
                vec sum = (vec)(0.0f);
                for (int i = y0; i < y1; i++)
                    for (int j = x0; j < x1; j++)
                        sum += image[((long)i * iw + j) * vectors + c];
                y[(row * ow + o) * vectors + c] = sum / (float)((y1 - y0) * (x1 - x0));
            }
        }
    }
}

KERNEL void average_backward(const __global vec *dy, __global vec *dx, long rows, int vectors,
                             int accumulate, GEOMETRY)
{
    ROW_RANGE(rows);
    for (long row = row_begin; row < row_end; row++) {
        const int i = (int)(row % ih);
        const __global vec *image = dy + row / ih * oh * ow * vectors;
        WINDOWS(i, sh, pad_top, kh, oh, p0, p1);
        for (int j = 0; j < iw; j++) {
            WINDOWS(j, sw, pad_left, kw, ow, q0, q1);
            FOR_EACH_CHANNEL (c, vectors) {
                vec sum = (vec)(0.0f);
                for (int p = p0; p < p1; p++) {
                    INSIDE(p, sh, pad_top, kh, ih, y0, y1);
                    for (int q = q0; q < q1; q++) {
                        INSIDE(q, sw, pad_left, kw, iw, x0, x1);
                        sum += image[((long)p * ow + q) * vectors + c] /
                               (float)((y1 - y0) * (x1 - x0));
                    }
                }
                const long in = (row * iw + j) * vectors + c;
                dx[in] = accumulate ? dx[in] + sum : sum;
            }
        }
    }
}

/* y[n][c] = mean over the pixels of x [n][pixels][vectors]. rows = n */
KERNEL void global_forward(const __global vec *x, __global vec *y, long rows, int vectors,
                           int pixels)
{
    ROW_RANGE(rows);
    for (long row = row_begin; row < row_end; row++)
        FOR_EACH_CHANNEL (c, vectors) {
            vec sum = (vec)(0.0f);
            for (int p = 0; p < pixels; p++)
                sum += x[(row * pixels + p) * vectors + c];
            y[row * vectors + c] = sum / (float)pixels;
        }
}

/* dx (+)= dy / pixels */
KERNEL void global_backward(const __global vec *dy, __global vec *dx, long rows, int vectors,
                            int pixels, int accumulate)
{
    ROW_RANGE(rows);
    for (long row = row_begin; row < row_end; row++)
        for (int p = 0; p < pixels; p++)
            FOR_EACH_CHANNEL (c, vectors) {
                const vec d = dy[row * vectors + c] / (float)pixels;
                const long i = (row * pixels + p) * vectors + c;
                dx[i] = accumulate ? dx[i] + d : d;
            }
}
