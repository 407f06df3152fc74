/* Batches of a data set, read ahead of the device by threads of their own. */
#ifndef CRN_TRAIN_PREFETCH_H
#define CRN_TRAIN_PREFETCH_H

#include "clarinet/data.h"

/* What becomes of an image that cannot be read. */
typedef enum crn__broken {
    CRN__BROKEN_FATAL, /* its batch fails with the image's error */
    /* In its place comes the next image of the stored order that can be read. When none can, the
     * batch fails after all; so it does for want of memory. */
    CRN__BROKEN_SKIP
} crn__broken;

/* Told of a broken image, once each, by crn__prefetch_next in the caller's thread: when the batch
 * is handed out that met it first. `error` names it. */
typedef void (*crn__broken_fn)(void *data, size_t index, const crn_error *error);

/*
 * A sequence of batches, numbered from 0. What is in batch n depends on these members but for the
 * last four, and n alone, so that a training that goes on from a checkpoint sees what it would have
 * seen, whatever the number of threads.
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
    const crn_mix *mix; /* of training: mixes each batch, which then has soft labels; or NULL */
    crn__broken broken;
    size_t threads; /* that decode; 0: as many as there are processors, at most 16 */
    size_t queue;   /* batches that there is memory for, the user's included; 0: 3; at least 2 */
    crn__broken_fn report; /* or NULL */
    void *report_data;
} crn__batches;

typedef struct crn__batch {
    float *images;      /* [count,S,S,C] */
    int32_t *labels;    /* [count]; as they were before mixing */
    float *soft_labels; /* [count,classes]; NULL without a mix */
    size_t count;
} crn__batch;

/* Batches of one pass over the data; 0 when a training's batch is larger than the data set. */
int64_t crn__batches_per_epoch(const crn__batches *batches);

typedef struct crn__prefetch crn__prefetch;

/* Starts reading the batches first…end-1. The data set is only read: others may read it too. */
crn_status crn__prefetch_create(const crn__batches *batches, int64_t first, int64_t end,
                                crn__prefetch **out, crn_error *error);

/* Waits for the next batch, which stays valid until the call after. At most end-first calls. A
 * batch that failed fails again in every later call. */
crn_status crn__prefetch_next(crn__prefetch *prefetch, const crn__batch **out, crn_error *error);

/* Different images that were skipped in the batches handed out. */
size_t crn__prefetch_skipped(const crn__prefetch *prefetch);

/* Stops the threads, each after the image that it is in. */
void crn__prefetch_free(crn__prefetch *prefetch);

#endif
