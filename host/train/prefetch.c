#include "train/prefetch.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/thread.h"

#define SLOTS 2

struct crn__prefetch {
    crn__batches source;
    int64_t per_epoch;
    int64_t end;
    pthread_t thread;
    bool running;

    /* The reader's alone. */
    size_t *order; /* of the images in `epoch` */
    int64_t epoch;

    /* Batch n lies in slot n % SLOTS. */
    crn__batch slots[SLOTS];

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int64_t first_read; /* the reader's next batch: those before it are in their slots */
    int64_t first_kept; /* the oldest batch that the user may still look at */
    int64_t next;       /* what crn__prefetch_next hands out */
    bool stop;
    crn_error error;
};

int64_t crn__batches_per_epoch(const crn__batches *batches)
{
    size_t images = crn_dataset_size(batches->dataset);
    size_t whole = images / batches->batch_size;
    bool rest = images % batches->batch_size != 0;
    return (int64_t)(whole + (rest && !batches->training ? 1 : 0));
}

static crn_status read_batch(crn__prefetch *p, int64_t number)
{
    const crn__batches *source = &p->source;
    size_t images = crn_dataset_size(source->dataset);
    int64_t epoch = number / p->per_epoch;
    size_t first = (size_t)(number % p->per_epoch) * source->batch_size;
    crn__batch *batch = &p->slots[number % SLOTS];
    batch->count = images - first < source->batch_size ? images - first : source->batch_size;

    if (epoch != p->epoch) {
        p->epoch = epoch;
        if (source->training)
            crn_shuffle(source->seed, (uint64_t)epoch, p->order, images);
        else
            for (size_t i = 0; i < images; i++)
                p->order[i] = i;
    }
    uint64_t augment = source->training ? crn__random_bits(source->seed, (uint64_t)epoch) | 1 : 0;
    return crn_dataset_read(source->dataset, p->order + first, batch->count, source->preprocessing,
                            augment, batch->images, batch->labels, &p->error);
}

static void *reader(void *data)
{
    crn__prefetch *p = data;
    pthread_mutex_lock(&p->mutex);
    while (!p->stop && p->first_read < p->end) {
        if (p->first_read - p->first_kept >= SLOTS) {
            pthread_cond_wait(&p->changed, &p->mutex);
            continue;
        }
        int64_t number = p->first_read;
        pthread_mutex_unlock(&p->mutex);
        crn_status status = read_batch(p, number);
        pthread_mutex_lock(&p->mutex);
        if (status == CRN_OK)
            p->first_read++;
        else
            p->stop = true;
        pthread_cond_signal(&p->changed);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

static bool allocate(crn__prefetch *p)
{
    const crn_preprocessing *how = p->source.preprocessing;
    size_t side = (size_t)how->image_size, numbers;
    if (!crn__size_mul(side * side, (size_t)how->channels, &numbers) ||
        !crn__size_mul(numbers, p->source.batch_size, &numbers))
        return false;
    p->order = crn__alloc(crn_dataset_size(p->source.dataset), sizeof *p->order);
    bool complete = p->order != NULL;
    for (int i = 0; i < SLOTS; i++) {
        crn__batch *slot = &p->slots[i];
        slot->images = crn__alloc(numbers, sizeof *slot->images);
        slot->labels = crn__alloc(p->source.batch_size, sizeof *slot->labels);
        complete = complete && slot->images != NULL && slot->labels != NULL;
    }
    return complete;
}

crn_status crn__prefetch_create(const crn__batches *batches, int64_t first, int64_t end,
                                crn__prefetch **out, crn_error *error)
{
    crn__prefetch *p = crn__alloc(1, sizeof *p);
    if (p == NULL)
        return crn__fail_memory(error);
    p->source = *batches;
    p->per_epoch = crn__batches_per_epoch(batches);
    p->end = end;
    p->epoch = -1;
    p->first_read = p->first_kept = p->next = first;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->running = allocate(p) && crn__thread_start(&p->thread, reader, p);
    if (!p->running) {
        crn__prefetch_free(p);
        return crn__fail(error, CRN_NO_MEMORY, "no memory to read batches of %zu images into",
                         batches->batch_size);
    }
    *out = p;
    return CRN_OK;
}

crn_status crn__prefetch_next(crn__prefetch *p, const crn__batch **out, crn_error *error)
{
    crn_status status = CRN_OK;
    pthread_mutex_lock(&p->mutex);
    p->first_kept = p->next;
    pthread_cond_signal(&p->changed);
    while (p->first_read <= p->next && !p->stop)
        pthread_cond_wait(&p->changed, &p->mutex);
    if (p->first_read > p->next)
        *out = &p->slots[p->next++ % SLOTS];
    else
        status = crn__fail(error, p->error.status, "%s", p->error.text);
    pthread_mutex_unlock(&p->mutex);
    return status;
}

void crn__prefetch_free(crn__prefetch *p)
{
    if (p == NULL)
        return;
    if (p->running) {
        pthread_mutex_lock(&p->mutex);
        p->stop = true;
        pthread_cond_signal(&p->changed);
        pthread_mutex_unlock(&p->mutex);
        pthread_join(p->thread, NULL);
    }
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mutex);
    for (int i = 0; i < SLOTS; i++) {
        free(p->slots[i].images);
        free(p->slots[i].labels);
    }
    free(p->order);
    free(p);
}
