/* From a stored image to a network's input. */
#ifndef CRN_DATA_PREPROCESS_H
#define CRN_DATA_PREPROCESS_H

#include "clarinet/data.h"
#include "data/image.h"

/* Checks every member's range; `failure` is the status of one that is outside. */
crn_status crn__preprocessing_check(const crn_preprocessing *preprocessing, crn_status failure,
                                    crn_error *error);

/*
 * Fills out [S,S,channels] from the image as `how`, which was checked, says. augment 0: as for
 * evaluation; else a random position and a flip that depend on augment and index alone.
 *
 * A random crop of an image that the resize has brought to exactly S x S cuts from it with a border
 * of S/8 around, as is customary for CIFAR; the border is 0 in the output, the mean colour.
 */
void crn__preprocess(const crn__image *image, const crn_preprocessing *how, uint64_t augment,
                     uint64_t index, float *out);

#endif
