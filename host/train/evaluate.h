/* Measuring a network on labelled images. */
#ifndef CRN_TRAIN_EVALUATE_H
#define CRN_TRAIN_EVALUATE_H

#include <jansson.h>

#include "clarinet/train.h"

/* A network in inference mode. */
typedef struct crn__network {
    crn_graph *graph;
    crn_node *inputs; /* [N,S,S,C] */
    crn_node *logits; /* [N, classes] */
    const crn_preprocessing *preprocessing;
    const json_t *class_names; /* an array of strings, one a class */
    crn_error *error;
} crn__network;

/*
 * Means over the data set, its classes found among the network's by their names. An image of a
 * class that is none of them is CRN_INVALID, an answer that is no number CRN_NON_FINITE.
 * `confusion` [classes,classes], row the right class and column the answer, is added to; or NULL.
 */
crn_status crn__evaluate(const crn__network *network, const crn_dataset *dataset, size_t batch_size,
                         crn_evaluate_fn progress, void *progress_data, crn_evaluation *evaluation,
                         uint64_t *confusion);

#endif
