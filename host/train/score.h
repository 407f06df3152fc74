/* How well an image's logits say its label. */
#ifndef CRN_TRAIN_SCORE_H
#define CRN_TRAIN_SCORE_H

#include <stddef.h>

/*
 * The number of classes that come before `label` when they are sorted by falling logit, equal ones
 * by index: 0 when the label is the network's answer. A label that is no class comes last.
 */
size_t crn__rank(const float *logits, size_t classes, size_t label);

/* The network's answer: the class of the largest logit, the first of equal ones. */
size_t crn__best(const float *logits, size_t classes);

/* -log softmax(logits)[label]; NaN for a label that is no class. */
double crn__cross_entropy(const float *logits, size_t classes, size_t label);

#endif
