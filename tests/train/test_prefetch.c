#include "fixture.h"

#include "train/prefetch.h"

#define IMAGES 10
#define BATCH 3

static crn_preprocessing raw;
static crn_dataset *dataset;

static int setup(void **state)
{
    if (fixture_setup(state) != 0)
        return 1;
    /* Stored values as they are, so that an image's first pixel names it. */
    raw = crn_preprocessing_inception(SIDE, 1);
    for (int c = 0; c < 3; c++) {
        raw.mean[c] = 0;
        raw.scale[c] = 1;
    }
    dataset = open_dataset(make_dataset("data", IMAGES, 2));
    return 0;
}

static int teardown(void **state)
{
    crn_dataset_free(dataset);
    return fixture_teardown(state);
}

static crn__batches make_batches(bool training, uint64_t seed)
{
    return (crn__batches){.dataset = dataset,
                          .preprocessing = &raw,
                          .batch_size = BATCH,
                          .training = training,
                          .seed = seed};
}

static crn__prefetch *start(const crn__batches *batches, int64_t first, int64_t end)
{
    crn__prefetch *prefetch;
    assert_int_equal(crn__prefetch_create(batches, first, end, &prefetch, NULL), CRN_OK);
    return prefetch;
}

/* That the next batch is `count` images whose numbers are order[0…]. */
static void expect_batch(crn__prefetch *prefetch, const size_t *order, size_t count)
{
    const crn__batch *batch;
    crn_error error;
    assert_int_equal(crn__prefetch_next(prefetch, &batch, &error), CRN_OK);
    assert_int_equal(batch->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(batch->labels[i], order[i] % 2);
        for (size_t p = 0; p < PIXELS; p++)
            assert_true(batch->images[i * PIXELS + p] ==
                        fixture_pixel(order[i], order[i] % 2, 2, p));
    }
}

static void training_follows_the_shuffle_of_each_epoch(void **state)
{
    (void)state;
    const crn__batches batches = make_batches(true, 42);
    assert_int_equal(crn__batches_per_epoch(&batches), 3);
    crn__prefetch *prefetch = start(&batches, 0, 9);
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        size_t order[IMAGES];
        crn_shuffle(42, epoch, order, IMAGES);
        for (size_t b = 0; b < 3; b++)
            expect_batch(prefetch, order + b * BATCH, BATCH);
    }
    crn__prefetch_free(prefetch);
}

static void a_later_start_sees_the_same_batches(void **state)
{
    (void)state;
    const crn__batches batches = make_batches(true, 7);
    size_t order[IMAGES];
    crn_shuffle(7, 1, order, IMAGES);
    crn__prefetch *prefetch = start(&batches, 4, 6);
    expect_batch(prefetch, order + BATCH, BATCH);
    expect_batch(prefetch, order + 2 * BATCH, BATCH);
    crn__prefetch_free(prefetch);
}

static void evaluation_reads_all_once_in_order(void **state)
{
    (void)state;
    const crn__batches batches = make_batches(false, 42);
    assert_int_equal(crn__batches_per_epoch(&batches), 4);
    crn__prefetch *prefetch = start(&batches, 0, 4);
    const size_t order[IMAGES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    for (size_t b = 0; b < 3; b++)
        expect_batch(prefetch, order + b * BATCH, BATCH);
    expect_batch(prefetch, order + 9, 1);
    crn__prefetch_free(prefetch);
}

static void augmentation_depends_on_seed_and_epoch(void **state)
{
    (void)state;
    crn_preprocessing flips = raw;
    flips.random_flip = true;
    crn__batches batches = make_batches(true, 3);
    batches.preprocessing = &flips;
    batches.batch_size = IMAGES;
    float first[IMAGES * PIXELS];
    size_t same = 0, mirrored = 0;
    const crn__batch *batch;

    crn__prefetch *prefetch = start(&batches, 0, 1);
    assert_int_equal(crn__prefetch_next(prefetch, &batch, NULL), CRN_OK);
    memcpy(first, batch->images, sizeof first);
    crn__prefetch_free(prefetch);

    prefetch = start(&batches, 0, 1);
    assert_int_equal(crn__prefetch_next(prefetch, &batch, NULL), CRN_OK);
    assert_memory_equal(first, batch->images, sizeof first);
    crn__prefetch_free(prefetch);

    size_t order[IMAGES];
    crn_shuffle(3, 0, order, IMAGES);
    for (size_t i = 0; i < IMAGES; i++) {
        bool plain = first[i * PIXELS] == fixture_pixel(order[i], order[i] % 2, 2, 0);
        same += plain;
        mirrored += first[i * PIXELS] == fixture_pixel(order[i], order[i] % 2, 2, SIDE - 1);
    }
    assert_int_equal(same + mirrored, IMAGES);
    assert_in_range(mirrored, 1, IMAGES - 1);
}

static void nobody_needs_to_take_what_was_read(void **state)
{
    (void)state;
    const crn__batches batches = make_batches(true, 1);
    for (int taken = 0; taken < 3; taken++) {
        crn__prefetch *prefetch = start(&batches, 0, 1000);
        const crn__batch *batch;
        for (int i = 0; i < taken; i++)
            assert_int_equal(crn__prefetch_next(prefetch, &batch, NULL), CRN_OK);
        crn__prefetch_free(prefetch);
    }
    crn__prefetch_free(start(&batches, 5, 5));
}

static void an_unreadable_picture_is_told_where_it_is_met(void **state)
{
    (void)state;
    mkdir(in_folder("bad"), 0777);
    mkdir(in_folder("bad/a"), 0777);
    write_bytes(in_folder("bad/a/broken.png"), "no picture", 10);
    write_bytes(in_folder("bad/a/broken2.png"), "no picture", 10);
    crn_dataset *bad = open_dataset(in_folder("bad"));
    const crn_preprocessing how = crn_preprocessing_vgg(SIDE);
    const crn__batches batches = {
        .dataset = bad, .preprocessing = &how, .batch_size = 2, .training = true};
    crn__prefetch *prefetch = start(&batches, 0, 4);
    const crn__batch *batch;
    crn_error error;
    for (int again = 0; again < 2; again++) {
        assert_int_equal(crn__prefetch_next(prefetch, &batch, &error), CRN_FORMAT);
        assert_non_null(strstr(error.text, "broken"));
    }
    crn__prefetch_free(prefetch);
    crn_dataset_free(bad);
}

/* ---- threads ---- */

#define PHOTOS 12

/* A folder of two classes of PHOTOS pictures, as PNG; those of the list are broken. */
static crn_dataset *make_photos(const char *name, const size_t *broken, size_t broken_count)
{
    char path[64];
    mkdir(in_folder(name), 0777);
    for (size_t k = 0; k < 2; k++) {
        snprintf(path, sizeof path, "%s/%c", name, (char)('a' + k));
        mkdir(in_folder(path), 0777);
    }
    for (size_t i = 0; i < PHOTOS; i++) {
        snprintf(path, sizeof path, "%s/%c/%02zu.png", name, (char)('a' + i / (PHOTOS / 2)), i);
        make_png(path, i, i % 2, 2);
        for (size_t b = 0; b < broken_count; b++)
            if (broken[b] == i)
                write_bytes(in_folder(path), "no picture", 10);
    }
    return open_dataset(in_folder(name));
}

/* All batches of two epochs: images, labels and soft labels, one after the other. */
static float *read_all(const crn__batches *batches, size_t *size)
{
    const int64_t end = 2 * crn__batches_per_epoch(batches);
    const crn_preprocessing *how = batches->preprocessing;
    size_t numbers = (size_t)(how->image_size * how->image_size * how->channels);
    float *all = calloc(1, 1), *soft;
    crn__prefetch *prefetch = start(batches, 0, end);
    *size = 0;
    for (int64_t n = 0; n < end; n++) {
        const crn__batch *batch;
        crn_error error;
        if (crn__prefetch_next(prefetch, &batch, &error) != CRN_OK)
            fail_msg("%s", error.text);
        all = realloc(all, (*size + batch->count * (numbers + 3)) * sizeof *all);
        memcpy(all + *size, batch->images, batch->count * numbers * sizeof *all);
        soft = all + *size + batch->count * numbers;
        for (size_t i = 0; i < batch->count; i++) {
            soft[i] = (float)batch->labels[i];
            soft[batch->count + 2 * i] = soft[batch->count + 2 * i + 1] = 0;
            if (batch->soft_labels != NULL)
                memcpy(soft + batch->count + 2 * i, batch->soft_labels + 2 * i, 2 * sizeof *all);
        }
        *size += batch->count * (numbers + 3);
    }
    crn__prefetch_free(prefetch);
    return all;
}

static void the_number_of_threads_changes_nothing(void **state)
{
    (void)state;
    static const size_t broken[] = {2, 7, 8};
    crn_dataset *photos = make_photos("threads", broken, 3);
    crn_preprocessing how = crn_preprocessing_inception(SIDE, 3);
    assert_int_equal(crn_preprocessing_augment(&how, "inception-full", NULL), CRN_OK);
    crn_mix mix = CRN_MIX_INIT;
    mix.mixup_alpha = mix.cutmix_alpha = 1;
    crn__batches batches = {.dataset = photos,
                            .preprocessing = &how,
                            .batch_size = 5,
                            .training = true,
                            .seed = 11,
                            .mix = &mix,
                            .broken = CRN__BROKEN_SKIP,
                            .threads = 1};
    size_t size, again;
    float *first = read_all(&batches, &size);
    static const size_t threads[] = {2, 5, 16}, queues[] = {2, 7, 3};
    for (int i = 0; i < 3; i++) {
        batches.threads = threads[i];
        batches.queue = queues[i];
        float *other = read_all(&batches, &again);
        assert_int_equal(size, again);
        assert_memory_equal(first, other, size * sizeof *first);
        free(other);
    }
    batches.seed = 12;
    float *other = read_all(&batches, &again);
    assert_memory_not_equal(first, other, size * sizeof *first);
    free(other);
    free(first);
    crn_dataset_free(photos);
}

static void a_mix_gives_soft_labels(void **state)
{
    (void)state;
    crn_mix mix = CRN_MIX_INIT;
    mix.mixup_alpha = 1;
    crn__batches batches = make_batches(true, 42);
    batches.mix = &mix;
    crn__prefetch *prefetch = start(&batches, 0, 6);
    double lambdas[6];
    for (size_t b = 0; b < 6; b++) {
        const crn__batch *batch;
        size_t order[IMAGES], at = b % 3 * BATCH;
        crn_shuffle(42, b / 3, order, IMAGES);
        assert_int_equal(crn__prefetch_next(prefetch, &batch, NULL), CRN_OK);
        /* lambda from image 0, which is mixed with the last one */
        size_t own = order[at], last = order[at + BATCH - 1];
        double x = (double)fixture_pixel(own, own % 2, 2, 0),
               y = (double)fixture_pixel(last, last % 2, 2, 0);
        lambdas[b] = ((double)batch->images[0] - y) / (x - y);
        for (size_t i = 0; i < BATCH; i++) {
            size_t label = order[at + i] % 2, other = order[at + (i + BATCH - 1) % BATCH] % 2;
            assert_int_equal(batch->labels[i], label);
            for (size_t c = 0; c < 2; c++) {
                double expected = lambdas[b] * (label == c) + (1 - lambdas[b]) * (other == c);
                double got = (double)batch->soft_labels[2 * i + c];
                assert_true(got > expected - 1e-4 && got < expected + 1e-4);
            }
        }
        for (size_t before = 0; before < b; before++)
            assert_true(lambdas[before] != lambdas[b]);
    }
    crn__prefetch_free(prefetch);
    mix.mixup_alpha = -1;
    assert_int_equal(crn__prefetch_create(&batches, 0, 1, &prefetch, NULL), CRN_INVALID);
}

/* ---- broken images ---- */

typedef struct told {
    size_t count, indices[PHOTOS];
} told;

static void tell(void *data, size_t index, const crn_error *error)
{
    told *t = data;
    char name[16];
    snprintf(name, sizeof name, "/%02zu.png", index);
    assert_non_null(strstr(error->text, name));
    assert_true(t->count < PHOTOS);
    t->indices[t->count++] = index;
}

static void broken_pictures_are_skipped_and_told_once(void **state)
{
    (void)state;
    static const size_t broken[] = {0, 3, 4, PHOTOS - 1};
    /* What each is replaced by: the next that is good. The last one's is the first, which isn't. */
    static const size_t expected[PHOTOS] = {1, 1, 2, 5, 5, 5, 6, 7, 8, 9, 10, 1};
    crn_dataset *photos = make_photos("skipped", broken, 4);
    for (size_t threads = 1; threads <= 4; threads += 3) {
        told t = {0};
        crn__batches batches = {.dataset = photos,
                                .preprocessing = &raw,
                                .batch_size = 4,
                                .broken = CRN__BROKEN_SKIP,
                                .threads = threads,
                                .report = tell,
                                .report_data = &t};
        crn__prefetch *prefetch = start(&batches, 0, 3);
        for (size_t b = 0; b < 3; b++) {
            const crn__batch *batch;
            assert_int_equal(crn__prefetch_next(prefetch, &batch, NULL), CRN_OK);
            assert_int_equal(batch->count, 4);
            for (size_t i = 0; i < 4; i++) {
                size_t image = expected[4 * b + i];
                assert_int_equal(batch->labels[i], image / (PHOTOS / 2));
                for (size_t p = 0; p < PIXELS; p++)
                    assert_true(batch->images[i * PIXELS + p] ==
                                fixture_pixel(image, image % 2, 2, p));
            }
            assert_int_equal(t.count, b == 0 ? 3 : b == 1 ? 3 : 4);
        }
        assert_true(t.indices[0] == 0 && t.indices[1] == 3 && t.indices[2] == 4);
        assert_int_equal(t.indices[3], PHOTOS - 1);
        assert_int_equal(crn__prefetch_skipped(prefetch), 4);
        crn__prefetch_free(prefetch);
    }
    /* Fatal: batch 0 is told of by its first broken image, whichever thread met one first. */
    crn__batches batches = {
        .dataset = photos, .preprocessing = &raw, .batch_size = 6, .threads = 3};
    crn__prefetch *prefetch = start(&batches, 0, 2);
    const crn__batch *batch;
    crn_error error;
    assert_int_equal(crn__prefetch_next(prefetch, &batch, &error), CRN_FORMAT);
    assert_non_null(strstr(error.text, "/00.png: neither a PNG"));
    crn__prefetch_free(prefetch);
    crn_dataset_free(photos);
}

static void nothing_but_broken_pictures_is_an_error(void **state)
{
    (void)state;
    size_t all[PHOTOS];
    for (size_t i = 0; i < PHOTOS; i++)
        all[i] = i;
    crn_dataset *photos = make_photos("none", all, PHOTOS);
    crn__batches batches = {
        .dataset = photos, .preprocessing = &raw, .batch_size = 2, .broken = CRN__BROKEN_SKIP};
    crn__prefetch *prefetch = start(&batches, 0, 2);
    const crn__batch *batch;
    crn_error error;
    assert_int_equal(crn__prefetch_next(prefetch, &batch, &error), CRN_FORMAT);
    assert_non_null(strstr(error.text, ".png: neither a PNG"));
    crn__prefetch_free(prefetch);
    crn_dataset_free(photos);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_follows_the_shuffle_of_each_epoch),
        cmocka_unit_test(a_later_start_sees_the_same_batches),
        cmocka_unit_test(evaluation_reads_all_once_in_order),
        cmocka_unit_test(augmentation_depends_on_seed_and_epoch),
        cmocka_unit_test(nobody_needs_to_take_what_was_read),
        cmocka_unit_test(an_unreadable_picture_is_told_where_it_is_met),
        cmocka_unit_test(the_number_of_threads_changes_nothing),
        cmocka_unit_test(a_mix_gives_soft_labels),
        cmocka_unit_test(broken_pictures_are_skipped_and_told_once),
        cmocka_unit_test(nothing_but_broken_pictures_is_an_error),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
