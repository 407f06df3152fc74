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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_follows_the_shuffle_of_each_epoch),
        cmocka_unit_test(a_later_start_sees_the_same_batches),
        cmocka_unit_test(evaluation_reads_all_once_in_order),
        cmocka_unit_test(augmentation_depends_on_seed_and_epoch),
        cmocka_unit_test(nobody_needs_to_take_what_was_read),
        cmocka_unit_test(an_unreadable_picture_is_told_where_it_is_met),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
