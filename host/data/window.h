/* What part of an image becomes a network's input. */
#ifndef CRN_DATA_WINDOW_H
#define CRN_DATA_WINDOW_H

#include "clarinet/data.h"

/* A box of the stored image, in its pixels; the size it is resized to; and where in that the output
 * lies. No resized image is made as a whole. */
typedef struct crn__window {
    int32_t box_top, box_left, box_height, box_width;
    int64_t height, width; /* of the resized box */
    int64_t top, left;     /* of the S x S output in it; negative: in the border */
    bool flip;
} crn__window;

/* augment 0: as for evaluation; else what is random depends on augment and index alone. */
crn__window crn__window_choose(int32_t height, int32_t width, const crn_preprocessing *how,
                               uint64_t augment, uint64_t index);

/* The streams of one image's random numbers: which number of its key is what. */
enum {
    CRN__DRAW_TOP = 0,
    CRN__DRAW_LEFT = 1,
    CRN__DRAW_FLIP = 2,
    CRN__DRAW_SIDE = 3,
    CRN__DRAW_COLOUR = 8, /* 8 numbers */
    CRN__DRAW_BOX = 16    /* 4 numbers an attempt */
};

#endif
