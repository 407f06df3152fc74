/*
 * Weights [taps][ic][oc] into the order in which conv_direct.cl reads them:
 * packed [blocks][taps][source channels][WIDTH], WIDTH destination channels side by side, zeros
 * past the last. Source = ic, destination = oc; TRANSPOSED the other way, for the input gradient.
 * TURNED takes the taps backwards: the input gradient with stride 1 is a convolution of dy with
 * these.
 */
#ifndef WIDTH
#define WIDTH 32
#endif

KERNEL void pack(const __global float *w, __global float *packed, long n, int taps, int ic, int oc)
{
#ifdef TRANSPOSED
    const int source = oc, destination = ic;
    const long source_step = 1, destination_step = oc;
#else
    const int source = ic, destination = oc;
    const long source_step = oc, destination_step = 1;
#endif
    FOR_EACH (i, n) /* n = blocks * taps * source */
    {
        const int k = (int)(i % source), t = (int)(i / source % taps);
#ifdef TURNED
        const int tap = taps - 1 - t;
#else
        const int tap = t;
#endif
        const int first = (int)(i / source / taps) * WIDTH;
        const __global float *from = w + (long)tap * ic * oc + k * source_step;
        __global float *to = packed + i * WIDTH;
        if (first + WIDTH <= destination)
            for (int l = 0; l < WIDTH; l++)
                to[l] = from[(first + l) * destination_step];
        else
            for (int l = 0; l < WIDTH; l++)
                to[l] = first + l < destination ? from[(first + l) * destination_step] : 0.0f;
    }
}
