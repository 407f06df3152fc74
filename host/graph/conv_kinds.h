/* The convolutions of a graph, each kind once: what tuning and timing go over. */
#ifndef CRN_GRAPH_CONV_KINDS_H
#define CRN_GRAPH_CONV_KINDS_H

#include "graph/graph.h"
#include "ops/conv/conv.h"

typedef struct crn__conv_kind {
    crn__conv conv;
    const crn_node *node; /* the first */
    size_t count;
} crn__conv_kind;

/* Returns how many there are at that batch size. `kinds` has room for every node. */
size_t crn__conv_kinds(const crn_graph *graph, int64_t batch, crn__conv_kind *kinds);

#endif
