/* IDX, the MNIST family's format, perhaps gzipped. Format: idx.c. */
#ifndef CRN_FORMATS_IDX_H
#define CRN_FORMATS_IDX_H

#include "clarinet/common.h"

typedef struct crn__idx {
    crn_shape shape;
    unsigned char *data; /* row-major; ended by free() */
} crn__idx;

/* Reads a file of unsigned bytes of `rank` dimensions whole. */
crn_status crn__idx_read(const char *path, int32_t rank, crn__idx *out, crn_error *error);

#endif
