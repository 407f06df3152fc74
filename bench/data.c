/*
 * How many pictures a second become a network's input:
 *     data DATASET [SECONDS [THREADS [SHRINK]]]
 * Training batches of 32, 224 x 224, as torchvision's reference: RandomResizedCrop, flip,
 * normalisation. SHRINK 0 decodes every JPEG whole; 1, as training does, at 1/2 to 1/8 of its size
 * where that is enough. Prints pictures a second of wall time, from the first batch on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "train/prefetch.h"

static crn_error error;

static void check(crn_status status)
{
    if (status == CRN_OK)
        return;
    fprintf(stderr, "data: %s\n", error.text);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: data DATASET [SECONDS [THREADS [SHRINK]]]\n");
        return 2;
    }
    double seconds = argc > 2 ? atof(argv[2]) : 5;
    crn_dataset *dataset;
    check(crn_dataset_open(argv[1], CRN_SPLIT_TRAIN, &dataset, &error));
    crn_preprocessing how = crn_preprocessing_torchvision(224);
    check(crn_preprocessing_augment(&how, "torchvision", &error));
    if (argc > 4 && atoi(argv[4]) == 0)
        how.shrink = CRN_SHRINK_NEVER;
    const crn__batches batches = {.dataset = dataset,
                                  .preprocessing = &how,
                                  .batch_size = 32,
                                  .training = true,
                                  .seed = 1,
                                  .threads = argc > 3 ? (size_t)atoi(argv[3]) : 0};
    if (crn__batches_per_epoch(&batches) < 1) {
        fprintf(stderr, "data: fewer than 32 pictures\n");
        return 1;
    }
    crn__prefetch *prefetch;
    check(crn__prefetch_create(&batches, 0, INT64_MAX, &prefetch, &error));
    const crn__batch *batch;
    check(crn__prefetch_next(prefetch, &batch, &error));
    size_t images = 0;
    double begin = now(), end = begin;
    while (end - begin < seconds) {
        check(crn__prefetch_next(prefetch, &batch, &error));
        images += batch->count;
        end = now();
    }
    printf("%.1f\n", (double)images / (end - begin));
    crn__prefetch_free(prefetch);
    crn_dataset_free(dataset);
    return 0;
}
