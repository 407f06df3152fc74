/* From a stored image to a network's input. */
#ifndef CRN_DATA_PREPROCESS_H
#define CRN_DATA_PREPROCESS_H

#include "clarinet/data.h"
#include "data/image.h"

/* Checks every member's range; `failure` is the status of one that is outside. */
crn_status crn__preprocessing_check(const crn_preprocessing *preprocessing, crn_status failure,
                                    crn_error *error);

/* What is to be done with an image: what `decoding` points to must live as long. */
typedef struct crn__reading {
    const crn_preprocessing *how; /* checked */
    /* 0: as for evaluation; else what is random depends on augment and index alone. */
    uint64_t augment, index;
} crn__reading;

/* How a decoder serves that best. */
crn__decoding crn__reading_decoding(const crn__reading *reading);

/*
 * Fills out [S,S,channels] from the image, which was decoded for the same reading or is as stored.
 * CRN_NO_MEMORY.
 *
 * A random crop of an image that the resize has brought to exactly S x S cuts from it with a border
 * of S/8 around, as is customary for CIFAR; the border is 0 in the output, the mean colour.
 */
crn_status crn__preprocess(const crn__image *image, const crn_preprocessing *how, uint64_t augment,
                           uint64_t index, float *out);

#endif
