/* What mixes a batch, drawn from a seed. */
#ifndef CRN_DATA_MIX_H
#define CRN_DATA_MIX_H

#include "clarinet/data.h"

typedef struct crn__mixing {
    double lambda; /* the share of an image's own label */
    bool cut;      /* the box is the other's; else all of the image is blended by lambda */
    int64_t top, left, bottom, right;
} crn__mixing;

crn__mixing crn__mix_draw(const crn_mix *mix, uint64_t seed, int64_t height, int64_t width);

/* alpha > 0; a number of the stream `key` from Beta(alpha, alpha). */
double crn__random_beta(double alpha, uint64_t key);

/* The mix's members; CRN_INVALID when they are no alphas. */
crn_status crn__mix_check(const crn_mix *mix, crn_error *error);

#endif
