/*
 * Weights [taps][ic][oc] into the order in which conv_direct.cl reads them:
 * packed [blocks][taps][source channels][WIDTH], WIDTH destination channels side by side, zeros
 * past the last. Source = ic, destination = oc; TRANSPOSED the other way, for the input gradient.
 * TURNED takes the taps backwards: the input gradient with stride 1 is a convolution of dy with
 * these.
 *
 * It is done in squares of LANES source by LANES destination channels, so that what is side by side
 * in w is read at once.
 */
#ifndef WIDTH
#define WIDTH 32
#endif
/* WIDTH is a vector or two of the convolution's; this is the one of two. */
#if WIDTH >= 32
#define LANES 16
#elif WIDTH == 16
#define LANES 8
#else
#define LANES 4
#endif
typedef JOIN(float, LANES) lanes;
#define LOAD JOIN(vload, LANES)
#define STORE JOIN(vstore, LANES)

/* n = blocks * taps * source */
KERNEL void pack(const __global float *restrict w, __global float *restrict packed, long n,
                 int taps, int ic, int oc)
{
#ifdef TRANSPOSED
    const int source = oc, destination = ic;
    const long source_step = 1, destination_step = oc;
    const int next = LANES; /* from here to where this work-item reads next, within w's row */
#else
    const int source = ic, destination = oc;
    const long source_step = oc, destination_step = 1;
    const int next = WIDTH;
#endif
    const int groups = (source + LANES - 1) / LANES, blocks = (destination + WIDTH - 1) / WIDTH;
    FOR_EACH (i, n / source * groups) {
        /* neighbours read neighbouring lines of w */
#ifdef TRANSPOSED
        const int k = (int)(i % groups) * LANES, first = (int)(i / groups % blocks) * WIDTH;
#else
        const int k = (int)(i / blocks % groups) * LANES, first = (int)(i % blocks) * WIDTH;
#endif
        const int t = (int)(i / blocks / groups);
#ifdef TURNED
        const int tap = taps - 1 - t;
#else
        const int tap = t;
#endif
        const __global float *from =
            w + (long)tap * ic * oc + k * source_step + first * destination_step;
        __global float *to = packed + (((long)first / WIDTH * taps + t) * source + k) * WIDTH;
        if (k + LANES <= source && first + WIDTH <= destination) {
            for (int l = 0; l < WIDTH; l += LANES) {
                lanes square[LANES];
                UNROLL
                for (int j = 0; j < LANES; j++) {
                    const __global float *row = from + l * destination_step + j * (long)oc;
                    PREFETCH(row + next);
                    square[j] = LOAD(0, row);
                }
#ifdef TRANSPOSED
                TRANSPOSE(lanes, square, LANES)
#endif
                UNROLL
                for (int j = 0; j < LANES; j++)
                    STORE(square[j], 0, to + j * WIDTH + l);
            }
            continue;
        }
        for (int j = 0; j < min(LANES, source - k); j++)
            for (int l = 0; l < WIDTH; l++)
                to[j * WIDTH + l] =
                    first + l < destination ? from[j * source_step + l * destination_step] : 0.0f;
    }
}
