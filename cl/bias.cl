/* y = activation(y + biases) in place on rows of channels; biases may be missing */
KERNEL void bias_activation(__global vec *y, const __global vec *biases, long rows, int vectors,
                            int activation)
{
    ROW_RANGE(rows);
    for (long row = row_begin; row < row_end; row++)
        FOR_EACH_CHANNEL (c, vectors) {
            const long i = row * vectors + c;
            y[i] = activate(biases ? y[i] + biases[c] : y[i], activation);
        }
}
