#include "train/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "train/prefetch.h"
#include "train/score.h"

typedef struct evaluation {
    const crn__network *network;
    const crn_dataset *dataset;
    size_t classes; /* of the network */
    size_t *mapped; /* the network's number for the data set's class i; SIZE_MAX: it has none */
    float *logits;  /* [batch,classes] */
    crn_evaluation sums; /* over images; divided at the end */
    uint64_t *confusion;
} evaluation;

/* A data set may lack a class, or its folders may be numbered otherwise; only names say what is
 * meant. */
static void map_classes(evaluation *e)
{
    for (size_t i = 0; i < crn_dataset_class_count(e->dataset); i++) {
        const char *name = crn_dataset_class_name(e->dataset, i);
        e->mapped[i] = SIZE_MAX;
        for (size_t k = 0; k < e->classes && e->mapped[i] == SIZE_MAX; k++)
            if (strcmp(json_string_value(json_array_get(e->network->class_names, k)), name) == 0)
                e->mapped[i] = k;
    }
}

static crn_status run(const evaluation *e, const crn__batch *batch)
{
    const crn__network *n = e->network;
    int64_t side = n->preprocessing->image_size;
    const crn_feed feed = {
        n->inputs, batch->images,
        CRN_SHAPE((int64_t)batch->count, side, side, n->preprocessing->channels)};
    crn_fetch fetch = {.node = n->logits,
                       .data = e->logits,
                       .size = batch->count * e->classes * sizeof *e->logits};
    return crn_run(n->graph, NULL, &feed, 1, &fetch, 1);
}

static crn_status score(evaluation *e, const crn__batch *batch)
{
    crn_error *error = e->network->error;
    for (size_t i = 0; i < batch->count; i++) {
        const float *logits = e->logits + i * e->classes;
        size_t label = e->mapped[batch->labels[i]];
        if (label == SIZE_MAX)
            return crn__fail(error, CRN_INVALID,
                             "class '%s' of the data set is none of the network's %zu classes",
                             crn_dataset_class_name(e->dataset, (size_t)batch->labels[i]),
                             e->classes);
        size_t rank = crn__rank(logits, e->classes, label);
        e->sums.top1 += rank < 1;
        e->sums.top5 += rank < 5;
        e->sums.loss += crn__cross_entropy(logits, e->classes, label);
        if (e->confusion != NULL)
            e->confusion[label * e->classes + crn__best(logits, e->classes)]++;
    }
    e->sums.images += batch->count;
    return isfinite(e->sums.loss) ? CRN_OK
                                  : crn__fail(error, CRN_NON_FINITE,
                                              "the network's answer is not finite for one of the "
                                              "first %zu images",
                                              e->sums.images);
}

static crn_status run_all(evaluation *e, const crn__batches *batches, crn_evaluate_fn progress,
                          void *progress_data)
{
    crn_error *error = e->network->error;
    size_t total = crn_dataset_size(e->dataset);
    crn__prefetch *prefetch;
    crn_status status =
        crn__prefetch_create(batches, 0, crn__batches_per_epoch(batches), &prefetch, error);
    if (status != CRN_OK)
        return status;
    while (status == CRN_OK && e->sums.images < total) {
        const crn__batch *batch;
        status = crn__prefetch_next(prefetch, &batch, error);
        if (status == CRN_OK)
            status = run(e, batch);
        if (status == CRN_OK)
            status = score(e, batch);
        if (status == CRN_OK && progress != NULL && !progress(progress_data, e->sums.images, total))
            status = crn__fail(error, CRN_INTERRUPTED, "evaluation was stopped after %zu images",
                               e->sums.images);
    }
    crn__prefetch_free(prefetch);
    return status;
}

crn_status crn__evaluate(const crn__network *network, const crn_dataset *dataset, size_t batch_size,
                         crn_evaluate_fn progress, void *progress_data, crn_evaluation *result,
                         uint64_t *confusion)
{
    size_t total = crn_dataset_size(dataset);
    if (batch_size < 1 || total < 1)
        return crn__fail(network->error, CRN_INVALID, "%zu images in batches of %zu", total,
                         batch_size);
    const crn__batches batches = {.dataset = dataset,
                                  .preprocessing = network->preprocessing,
                                  .batch_size = batch_size < total ? batch_size : total};
    evaluation e = {.network = network,
                    .dataset = dataset,
                    .classes = json_array_size(network->class_names),
                    .confusion = confusion};
    e.mapped = crn__alloc(crn_dataset_class_count(dataset), sizeof *e.mapped);
    e.logits = crn__alloc(batches.batch_size, e.classes * sizeof *e.logits);
    crn_status status = CRN_OK;
    if (e.mapped == NULL || e.logits == NULL)
        status = crn__fail_memory(network->error);
    if (status == CRN_OK) {
        map_classes(&e);
        status = run_all(&e, &batches, progress, progress_data);
    }
    if (status == CRN_OK) {
        double n = (double)total;
        *result = (crn_evaluation){total, e.sums.top1 / n, e.sums.top5 / n, e.sums.loss / n};
    }
    free(e.logits);
    free(e.mapped);
    return status;
}
