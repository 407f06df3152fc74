/*
 * Threads take one image after the other, in the order of the batches, and decode it into its
 * place. A batch that is complete is handed out once those before it were; its slot is then free
 * for a later one.
 */
#define _DEFAULT_SOURCE /* _SC_NPROCESSORS_ONLN */
#include "train/prefetch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/thread.h"
#include "data/mix.h"

#define DEFAULT_QUEUE 3
#define MAX_THREADS 16

/* An image that could not be read, in place `position` of its batch, as the n-th that was tried. */
typedef struct skip {
    size_t position, try, index;
    crn_error error;
} skip;

/* Where a batch is made. The mutex guards all but the places of `batch`, each of which belongs to
 * the thread that took it. */
typedef struct slot {
    crn__batch batch;
    size_t *indices;  /* [count] of the images, in the data set */
    uint64_t augment; /* 0: none */
    uint64_t mix_seed;
    size_t taken, filled; /* places */
    bool complete;
    crn_error error; /* of the place failed_at, the first that failed; CRN_OK: none */
    size_t failed_at;
    skip *skips; /* [skip_count] */
    size_t skip_count, skip_capacity;
} slot;

struct crn__prefetch {
    crn__batches source;
    size_t images, numbers; /* in the data set; in an image */
    size_t classes;
    int64_t per_epoch, end;
    pthread_t *threads;
    size_t thread_count;

    pthread_mutex_t mutex;
    pthread_cond_t work, ready; /* for the threads; for the user */
    bool stop;
    size_t *order; /* of the images in `epoch` */
    int64_t epoch;
    int64_t opened; /* the batch that places are taken of; those before it are all taken */
    bool is_open;
    int64_t first_kept; /* the oldest batch that the user may still look at */
    int64_t next;       /* what crn__prefetch_next hands out */
    slot *slots;        /* batch n lies in slot n % source.queue */

    /* The user's alone. */
    bool *known_broken; /* [images]; NULL unless broken images are skipped */
    size_t skipped;
};

int64_t crn__batches_per_epoch(const crn__batches *batches)
{
    size_t images = crn_dataset_size(batches->dataset);
    size_t whole = images / batches->batch_size;
    bool rest = images % batches->batch_size != 0;
    return (int64_t)(whole + (rest && !batches->training ? 1 : 0));
}

/* ---- the threads ---- */

static slot *slot_of(crn__prefetch *p, int64_t number)
{
    return &p->slots[number % (int64_t)p->source.queue];
}

static void begin_epoch(crn__prefetch *p, int64_t epoch)
{
    p->epoch = epoch;
    if (p->source.training)
        crn_shuffle(p->source.seed, (uint64_t)epoch, p->order, p->images);
    else
        for (size_t i = 0; i < p->images; i++)
            p->order[i] = i;
}

/* The batch `opened` begins to be made. */
static void open_batch(crn__prefetch *p)
{
    const crn__batches *source = &p->source;
    slot *s = slot_of(p, p->opened);
    int64_t epoch = p->opened / p->per_epoch;
    size_t first = (size_t)(p->opened % p->per_epoch) * source->batch_size;
    size_t left = p->images - first;
    if (epoch != p->epoch)
        begin_epoch(p, epoch);
    s->batch.count = left < source->batch_size ? left : source->batch_size;
    memcpy(s->indices, p->order + first, s->batch.count * sizeof *s->indices);
    s->augment = source->training ? crn__random_bits(source->seed, (uint64_t)epoch) | 1 : 0;
    s->mix_seed = crn__random_bits(~source->seed, (uint64_t)p->opened);
    s->taken = s->filled = s->skip_count = 0;
    s->complete = false;
    s->error.status = CRN_OK;
    p->is_open = true;
}

static bool is_skippable(crn_status status)
{
    return status != CRN_NO_MEMORY && status != CRN_INVALID;
}

/* Called with the mutex locked. */
static crn_status note_skip(slot *s, const skip *noted, crn_error *error)
{
    if (!crn__grow((void **)&s->skips, s->skip_count, &s->skip_capacity, sizeof *s->skips))
        return crn__fail_memory(error);
    s->skips[s->skip_count++] = *noted;
    return CRN_OK;
}

/* Fills a place; called and returns with the mutex locked, which it gives up meanwhile. */
static crn_status read_place(crn__prefetch *p, slot *s, size_t position, crn_error *error)
{
    size_t index = s->indices[position];
    crn_status status = CRN_OK;
    for (size_t tries = 0; !p->stop; tries++, index = (index + 1) % p->images) {
        pthread_mutex_unlock(&p->mutex);
        status = crn_dataset_read(p->source.dataset, &index, 1, p->source.preprocessing, s->augment,
                                  s->batch.images + position * p->numbers,
                                  s->batch.labels + position, error);
        pthread_mutex_lock(&p->mutex);
        if (status == CRN_OK || p->source.broken == CRN__BROKEN_FATAL || !is_skippable(status) ||
            tries + 1 == p->images)
            break;
        const skip noted = {position, tries, index, *error};
        CRN__TRY(note_skip(s, &noted, error));
    }
    return status;
}

/* What is to be done with a whole batch; the last thread at it calls this without the mutex. */
static crn_status finish_batch(const crn__prefetch *p, slot *s, crn_error *error)
{
    const crn__batches *source = &p->source;
    int64_t side = source->preprocessing->image_size;
    const crn_shape shape =
        CRN_SHAPE((int64_t)s->batch.count, side, side, source->preprocessing->channels);
    if (s->batch.soft_labels == NULL || s->error.status != CRN_OK)
        return CRN_OK;
    return crn_mix_batch(source->mix, s->mix_seed, s->batch.images, &shape, s->batch.labels,
                         p->classes, s->batch.soft_labels, error);
}

static void note_failure(slot *s, size_t position, const crn_error *error)
{
    if (s->error.status == CRN_OK || position < s->failed_at) {
        s->error = *error;
        s->failed_at = position;
    }
}

/* Takes a place of the open batch and fills it. */
static void work_at_batch(crn__prefetch *p)
{
    crn_error error = {0};
    slot *s = slot_of(p, p->opened);
    size_t position = s->taken++;
    if (s->taken == s->batch.count) {
        p->opened++;
        p->is_open = false;
    }
    if (read_place(p, s, position, &error) != CRN_OK)
        note_failure(s, position, &error);
    if (p->stop || ++s->filled < s->batch.count)
        return;
    pthread_mutex_unlock(&p->mutex);
    crn_status status = finish_batch(p, s, &error);
    pthread_mutex_lock(&p->mutex);
    if (status != CRN_OK)
        note_failure(s, 0, &error);
    s->complete = true;
    pthread_cond_signal(&p->ready);
}

static void *worker(void *data)
{
    crn__prefetch *p = data;
    pthread_mutex_lock(&p->mutex);
    while (!p->stop && p->opened < p->end) {
        if (!p->is_open && p->opened - p->first_kept >= (int64_t)p->source.queue) {
            pthread_cond_wait(&p->work, &p->mutex);
            continue;
        }
        if (!p->is_open)
            open_batch(p);
        work_at_batch(p);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

/* ---- creation ---- */

static size_t choose_threads(size_t wanted)
{
    long processors = wanted > 0 ? (long)wanted : sysconf(_SC_NPROCESSORS_ONLN);
    if (processors < 1)
        return 1;
    return processors < MAX_THREADS || wanted > 0 ? (size_t)processors : MAX_THREADS;
}

static bool allocate_slot(crn__prefetch *p, slot *s)
{
    size_t size = p->source.batch_size, numbers;
    if (!crn__size_mul(p->numbers, size, &numbers))
        return false;
    s->complete = false;
    s->batch.images = crn__alloc(numbers, sizeof *s->batch.images);
    s->batch.labels = crn__alloc(size, sizeof *s->batch.labels);
    s->indices = crn__alloc(size, sizeof *s->indices);
    bool complete = s->batch.images != NULL && s->batch.labels != NULL && s->indices != NULL;
    if (complete && p->source.mix != NULL) {
        size_t soft;
        complete = crn__size_mul(size, p->classes, &soft);
        if (complete)
            s->batch.soft_labels = crn__alloc(soft, sizeof *s->batch.soft_labels);
        complete = complete && s->batch.soft_labels != NULL;
    }
    return complete;
}

static bool allocate(crn__prefetch *p)
{
    p->order = crn__alloc(p->images, sizeof *p->order);
    p->slots = crn__alloc(p->source.queue, sizeof *p->slots);
    p->threads = crn__alloc(p->source.threads, sizeof *p->threads);
    if (p->source.broken == CRN__BROKEN_SKIP)
        p->known_broken = crn__alloc(p->images, sizeof *p->known_broken);
    bool complete = p->order != NULL && p->slots != NULL && p->threads != NULL &&
                    (p->known_broken != NULL || p->source.broken != CRN__BROKEN_SKIP);
    for (size_t i = 0; complete && i < p->source.queue; i++)
        complete = allocate_slot(p, &p->slots[i]);
    return complete;
}

/* Fewer threads than wanted are enough. */
static bool start_threads(crn__prefetch *p)
{
    while (p->thread_count < p->source.threads &&
           crn__thread_start(&p->threads[p->thread_count], worker, p))
        p->thread_count++;
    return p->thread_count > 0;
}

crn_status crn__prefetch_create(const crn__batches *batches, int64_t first, int64_t end,
                                crn__prefetch **out, crn_error *error)
{
    if (batches->mix != NULL)
        CRN__TRY(crn__mix_check(batches->mix, error));
    crn__prefetch *p = crn__alloc(1, sizeof *p);
    if (p == NULL)
        return crn__fail_memory(error);
    const crn_preprocessing *how = batches->preprocessing;
    p->source = *batches;
    p->source.threads = choose_threads(batches->threads);
    p->source.queue = batches->queue == 0 ? DEFAULT_QUEUE : batches->queue < 2 ? 2 : batches->queue;
    p->images = crn_dataset_size(batches->dataset);
    p->classes = crn_dataset_class_count(batches->dataset);
    p->numbers = (size_t)how->image_size * (size_t)how->image_size * (size_t)how->channels;
    p->per_epoch = crn__batches_per_epoch(batches);
    p->end = end;
    p->epoch = -1;
    p->opened = p->first_kept = p->next = first;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->ready, NULL);
    if (!allocate(p) || !start_threads(p)) {
        crn__prefetch_free(p);
        return crn__fail(error, CRN_NO_MEMORY, "no memory to read batches of %zu images into",
                         batches->batch_size);
    }
    *out = p;
    return CRN_OK;
}

/* ---- use ---- */

static int compare_skips(const void *a, const void *b)
{
    const skip *x = a, *y = b;
    if (x->position != y->position)
        return x->position < y->position ? -1 : 1;
    return x->try < y->try ? -1 : x->try > y->try;
}

/* A batch's broken images, in the order of its places; two places may have met the same. */
static void report_skips(crn__prefetch *p, slot *s)
{
    if (s->skip_count > 1)
        qsort(s->skips, s->skip_count, sizeof *s->skips, compare_skips);
    for (size_t i = 0; i < s->skip_count; i++) {
        const skip *k = &s->skips[i];
        if (p->known_broken[k->index])
            continue;
        p->known_broken[k->index] = true;
        p->skipped++;
        if (p->source.report != NULL)
            p->source.report(p->source.report_data, k->index, &k->error);
    }
    s->skip_count = 0;
}

crn_status crn__prefetch_next(crn__prefetch *p, const crn__batch **out, crn_error *error)
{
    slot *s = slot_of(p, p->next);
    pthread_mutex_lock(&p->mutex);
    if (p->first_kept < p->next) { /* the one before is given back */
        slot_of(p, p->next - 1)->complete = false;
        p->first_kept = p->next;
        pthread_cond_broadcast(&p->work);
    }
    while (!s->complete)
        pthread_cond_wait(&p->ready, &p->mutex);
    pthread_mutex_unlock(&p->mutex);
    /* A complete batch's slot is the user's. */
    report_skips(p, s);
    if (s->error.status != CRN_OK)
        return crn__fail(error, s->error.status, "%s", s->error.text);
    *out = &s->batch;
    p->next++;
    return CRN_OK;
}

size_t crn__prefetch_skipped(const crn__prefetch *prefetch)
{
    return prefetch->skipped;
}

void crn__prefetch_free(crn__prefetch *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->mutex);
    p->stop = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->mutex);
    for (size_t i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->ready);
    pthread_mutex_destroy(&p->mutex);
    for (size_t i = 0; p->slots != NULL && i < p->source.queue; i++) {
        free(p->slots[i].batch.images);
        free(p->slots[i].batch.labels);
        free(p->slots[i].batch.soft_labels);
        free(p->slots[i].indices);
        free(p->slots[i].skips);
    }
    free(p->slots);
    free(p->order);
    free(p->threads);
    free(p->known_broken);
    free(p);
}
