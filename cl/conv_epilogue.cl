/*
 * y = activation(y * scale + shift + other) in place on rows of channels: what follows a product
 * that a library computed. scale, shift and other may be missing.
 */
KERNEL void finish(__global vec *y, const __global vec *scale, const __global vec *shift,
                   const __global vec *other, long rows, int vectors, int activation)
{
    ROW_RANGE(rows);
    for (long row = row_begin; row < row_end; row++)
        FOR_EACH_CHANNEL (c, vectors) {
            const long i = row * vectors + c;
            vec v = y[i];
            if (scale)
                v *= scale[c];
            if (shift)
                v += shift[c];
            if (other)
                v += other[i];
            y[i] = activate(v, activation);
        }
}
