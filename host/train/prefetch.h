/* Batches of a data set, read one ahead of the device by a thread of their own. */
#ifndef CRN_TRAIN_PREFETCH_H
#define CRN_TRAIN_PREFETCH_H

#include "clarinet/data.h"

/*
 * A sequence of batches, numbered from 0. What is in batch n depends on these members and n alone,
 * so that a training that goes on from a checkpoint sees what it would have seen.
 */
typedef struct crn__batches {
    const crn_dataset *dataset;
    const crn_preprocessing *preprocessing;
    size_t batch_size;
    /*
     * true: epoch after epoch, shuffled and augmented by seed and epoch; the incomplete last batch
     * of an epoch is dropped, so that every step has the same plan and weight. false: once, in the
     * stored order, the last batch as small as it comes.
     */
    bool training;
    uint64_t seed;
} crn__batches;

typedef struct crn__batch {
    float *images;   /* [count,S,S,C] */
    int32_t *labels; /* [count] */
    size_t count;
} crn__batch;

/* Batches of one pass over the data; 0 when a training's batch is larger than the data set. */
int64_t crn__batches_per_epoch(const crn__batches *batches);

typedef struct crn__prefetch crn__prefetch;

/* Starts reading the batches first…end-1. The data set is not to be used elsewhere meanwhile. */
crn_status crn__prefetch_create(const crn__batches *batches, int64_t first, int64_t end,
                                crn__prefetch **out, crn_error *error);

/* Waits for the next batch, which stays valid until the call after. At most end-first calls. */
crn_status crn__prefetch_next(crn__prefetch *prefetch, const crn__batch **out, crn_error *error);

/* Stops the thread, after the read that it is in. */
void crn__prefetch_free(crn__prefetch *prefetch);

#endif
