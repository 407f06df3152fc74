/*
 * Weights [taps][ic][oc] into the order in which conv_direct.cl reads them:
 * packed [blocks][taps][source channels][WIDTH], WIDTH destination channels side by side, zeros
 * past the last. Forward: source = ic, destination = oc. GATHER: source = oc, destination = ic.
 */
#ifndef WIDTH
#define WIDTH 32
#endif

KERNEL void pack(const __global float *w, __global float *packed, long n, int taps, int ic, int oc)
{
#ifdef GATHER
    const int source = oc, destination = ic;
    const long source_step = 1, destination_step = oc;
#else
    const int source = ic, destination = oc;
    const long source_step = oc, destination_step = 1;
#endif
    FOR_EACH (i, n) /* n = blocks * taps * source */
    {
        const int k = (int)(i % source), tap = (int)(i / source % taps);
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
