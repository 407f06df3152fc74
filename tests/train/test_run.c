/* The checkpoints of a run, what of it is trained, and how it ends before its end. */
#include "run_fixture.h"

#include <fcntl.h>
#include <sys/file.h>

static void the_last_numbered_checkpoints_are_kept(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("keep", 9, &d);
    o.save_every = 2;
    o.keep = 2;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_false(exists("keep/step-000006.safetensors"));
    expect_metadata("keep/step-000008.safetensors", "global_step", "8");
    expect_metadata("keep/step-000009.safetensors", "global_step", "9");
    expect_metadata("keep/model.safetensors", "global_step", "9");

    /* Another run in the same folder leaves nothing of the first but its last checkpoint. */
    write_bytes(in_folder("keep/best.safetensors"), "", 0);
    o = make_options("keep", 1, &d);
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_false(exists("keep/step-000009.safetensors"));
    assert_false(exists("keep/best.safetensors"));
    expect_metadata("keep/model.safetensors", "global_step", "1");
    expect_metadata("keep/previous.safetensors", "global_step", "9");
    json_t *lines = read_metrics("keep");
    assert_int_equal(json_array_size(lines), 1);
    json_decref(lines);
}

/* Without a learning rate nothing changes but batch norm's statistics, that is: no step is better
 * than the first for long. */
static void training_without_gain_ends_early(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("early", 60, &d);
    o.optimizer = crn_gradient_descent(0);
    o.schedule = NULL;
    o.validation = dataset;
    o.validate_every = 1;
    o.early_stop = 3;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_true(d.count < 60);
    int64_t best = d.steps[d.count - 1].best_step;
    assert_int_equal(best + 3, d.count);
    for (size_t i = 0; i < d.count; i++)
        assert_true(d.validations[i].top1 <= d.validations[best - 1].top1);
    assert_true(d.steps[d.count - 1].best_top1 == d.validations[best - 1].top1);
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)best);
    expect_metadata("early/best.safetensors", "global_step", text);
    expect_text(told, "early stop after step");

    /* A stop is not forgotten. */
    o = make_options("early", 60, &d);
    o.optimizer = crn_gradient_descent(0);
    o.schedule = NULL;
    o.validation = dataset;
    o.validate_every = 1;
    o.early_stop = 3;
    o.resume = true;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_int_equal(d.count, 0);
}

static void time_ends_a_training(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("time", 1000, &d);
    o.time_limit = 1e-3;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_in_range(d.count, 1, 63);
    expect_text(told, "time limit ends training");
    assert_true(exists("time/model.safetensors"));
}

static void a_folder_is_one_process_at_a_time(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("keep", 1, &d);
    int other = open(in_folder("keep/.lock"), O_RDWR);
    assert_true(other >= 0 && flock(other, LOCK_EX) == 0);
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    expect_text(crn_context_error(context)->text, "another process");
    expect_metadata("keep/model.safetensors", "global_step", "1");
    close(other);
    expect(CRN_OK, crn_train(context, dataset, &o));
}

/* ---- what is trained ---- */

static bool same_tensor(const char *a, const char *b, const char *name, size_t count)
{
    float *values[2];
    const char *paths[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        crn_checkpoint *file;
        values[i] = calloc(count, sizeof(float));
        assert_int_equal(crn_checkpoint_open(in_folder(paths[i]), &file, NULL), CRN_OK);
        assert_int_equal(crn_checkpoint_read(file, name, values[i], count, NULL), CRN_OK);
        crn_checkpoint_free(file);
    }
    bool same = memcmp(values[0], values[1], count * sizeof(float)) == 0;
    free(values[0]);
    free(values[1]);
    return same;
}

static void only_trainable_scopes_are_trained(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("base", 1, &d);
    expect(CRN_OK, crn_train(context, dataset, &o));
    o = make_options("frozen", 2, &d);
    o.init_from = in_folder("base/model.safetensors");
    o.exclude_scopes = "no such scope";
    o.trainable_scopes = "resnet_v2_20/logits, resnet_v2_20/block3";
    expect(CRN_OK, crn_train(context, dataset, &o));
    const char *a = "base/model.safetensors", *b = "frozen/model.safetensors";
    assert_true(same_tensor(a, b, "resnet_v2_20/conv1/weights", 9 * 16));
    assert_false(same_tensor(a, b, "resnet_v2_20/logits/biases", 2));
    assert_false(same_tensor(a, b, "resnet_v2_20/logits/weights", 512));
    size_t size;
    char *text = read_bytes(in_folder("frozen/restore.txt"), &size);
    expect_text(text, "frozen: resnet_v2_20/conv1/weights\n");
    expect_text(text, "loaded: resnet_v2_20/conv1/weights\n");
    assert_null(strstr(text, "frozen: resnet_v2_20/logits"));
    free(text);
    o.trainable_scopes = "resnet_v1_20";
    expect(CRN_NOT_FOUND, crn_train(context, dataset, &o));
    expect_text(crn_context_error(context)->text, "resnet_v1_20");
}

static void labels_can_have_another_background(void **state)
{
    (void)state;
    diary d;
    size_t size;
    crn_train_options o = make_options("background", 2, &d);
    o.labels_offset = -1;
    o.validation = dataset;
    expect(CRN_OK, crn_train(context, dataset, &o));
    char *text = read_bytes(in_folder("background/labels.txt"), &size);
    assert_string_equal(text, "0:background\n1:0\n2:1\n");
    free(text);
    expect_metadata("background/model.safetensors", CRN_METADATA_NUM_CLASSES, "3");

    o = make_options("offset", 2, &d);
    o.labels_offset = 1; /* class 0 has images */
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    expect_text(crn_context_error(context)->text, "class '0'");
    o.labels_offset = 2;
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    expect_text(crn_context_error(context)->text, "labels offset 2");
}

/* ---- numbers that are none ---- */

/*
 * 20 images, of which the first `bad` become infinite: pixels are so small that the preprocessing
 * makes usual ones of them with a factor that takes white past what a float holds.
 */
static crn_dataset *make_poisoned(const char *name, size_t bad)
{
    enum { COUNT = 20 };
    char path[4400];
    unsigned char labels[COUNT];
    float images[COUNT * PIXELS];
    const char *folder = in_folder(name);
    assert_int_equal(mkdir(folder, 0777), 0);
    for (size_t i = 0; i < COUNT; i++) {
        labels[i] = (unsigned char)(i % 2);
        for (size_t p = 0; p < PIXELS; p++)
            images[i * PIXELS + p] = i < bad ? 255 : 1e-37f * fixture_pixel(i, i % 2, 2, p);
    }
    crn_shape shape = CRN_SHAPE(COUNT, SIDE, SIDE, 1);
    snprintf(path, sizeof path, "%s/images.npy", folder);
    assert_int_equal(crn_npy_write(path, images, &shape, NULL), CRN_OK);
    snprintf(path, sizeof path, "%s/labels.npy", folder);
    write_labels(path, labels, COUNT);
    return open_dataset(folder);
}

/* A checkpoint whose first convolution makes usual numbers of such pixels, and infinity of white.
 */
static void make_steep(void)
{
    crn_graph *g;
    float weights[9 * 16];
    expect(CRN_OK, crn_graph_create(context, &g));
    crn_node *inputs = crn_placeholder(g, "inputs", CRN_F32, CRN_SHAPE(CRN_ANY, SIDE, SIDE, 1));
    crn_resnet_v2_20(g, inputs, 2, NULL);
    expect(CRN_OK, crn_initialize_variables(g));
    crn_node *conv1 = crn_variable_find(g, "resnet_v2_20/conv1/weights");
    expect(CRN_OK, crn_variable_read(conv1, weights, 9 * 16));
    for (size_t i = 0; i < 9 * 16; i++)
        weights[i] *= 1e37f;
    expect(CRN_OK, crn_variable_write(conv1, weights, 9 * 16));
    expect(CRN_OK, crn_checkpoint_save(g, in_folder("steep.safetensors"), NULL));
    crn_graph_free(g);
}

static crn_train_options make_steep_options(const char *out, int64_t steps, int64_t batch_size,
                                            diary *d)
{
    static crn_preprocessing plain;
    plain = how;
    plain.mean[0] = 0;
    plain.scale[0] = 1;
    crn_train_options o = make_options(out, steps, d);
    o.preprocessing = &plain;
    o.batch_size = batch_size;
    o.weight_decay = 0; /* the square of such weights is infinite */
    o.init_from = in_folder("steep.safetensors");
    return o;
}

static size_t occurrences(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

static void bad_steps_can_be_skipped(void **state)
{
    (void)state;
    diary d;
    crn_dataset *poisoned = make_poisoned("poisoned", 1);
    make_steep();
    crn_train_options o =
        make_steep_options("skip", 6, 5, &d); /* 4 steps an epoch, one of which is bad */
    expect(CRN_NON_FINITE, crn_train(context, poisoned, &o));
    o = make_steep_options("skip", 6, 5, &d);
    o.on_non_finite = CRN_NON_FINITE_SKIP;
    expect(CRN_OK, crn_train(context, poisoned, &o));
    assert_int_equal(d.count, 6);
    assert_in_range(occurrences(told, "is skipped"), 1, 2);
    json_t *lines = read_metrics("skip");
    assert_int_equal(json_array_size(lines) + occurrences(told, "is skipped"), 6);
    json_decref(lines);
    expect_metadata("skip/model.safetensors", "global_step", "6");
    crn_dataset_free(poisoned);
}

/* Batches of 8 leave 4 images of an epoch out. With the first order the bad one is in an epoch of
 * two steps, with a later one it is not. */
static void bad_orders_can_be_left(void **state)
{
    (void)state;
    diary d;
    crn_dataset *poisoned = make_poisoned("poisoned-again", 1), *all = make_poisoned("all", 20);
    size_t recovered = 0;
    for (uint64_t seed = 0; seed < 6; seed++) {
        char name[32], path[64];
        snprintf(name, sizeof name, "back-%d", (int)seed);
        snprintf(path, sizeof path, "%s/model.safetensors", name);
        crn_train_options o = make_steep_options(name, 2, 8, &d);
        o.seed = seed;
        o.on_non_finite = CRN_NON_FINITE_ROLLBACK;
        crn_status status = crn_train(context, poisoned, &o);
        size_t times = occurrences(told, "going back");
        if (status != CRN_OK) {
            expect(CRN_NON_FINITE, status);
            assert_int_equal(times, 3);
            continue;
        }
        char text[8];
        snprintf(text, sizeof text, "%zu", times);
        expect_metadata(path, CRN_METADATA_ROLLBACKS, text);
        expect_metadata(path, "global_step", "2");
        recovered += times > 0;
        json_t *lines = read_metrics(name);
        assert_int_equal(json_array_size(lines), 2);
        json_decref(lines);
    }
    assert_true(recovered > 0);

    crn_train_options o = make_steep_options("lost", 2, 8, &d);
    o.on_non_finite = CRN_NON_FINITE_ROLLBACK;
    expect(CRN_NON_FINITE, crn_train(context, all, &o));
    assert_int_equal(occurrences(told, "going back"), 3);
    o = make_steep_options("lost", 60, 8, &d);
    o.on_non_finite = CRN_NON_FINITE_SKIP;
    expect(CRN_NON_FINITE, crn_train(context, all, &o));
    assert_int_equal(d.count, 19);
    crn_dataset_free(poisoned);
    crn_dataset_free(all);
}

/* ---- mistakes ---- */

static void mistakes_are_named(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("mistake", 1, &d);
    o.early_stop = 1;
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    expect_text(crn_context_error(context)->text, "validation");
    o = make_options("mistake", 1, &d);
    o.out = NULL;
    o.resume = true;
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    o = make_options("mistake", 1, &d);
    o.log_every = 0;
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    assert_false(exists("mistake"));

    crn_dataset *three = open_dataset(make_dataset("three", 48, 3));
    o = make_options("keep", 3, &d);
    o.resume = true;
    expect(CRN_INVALID, crn_train(context, three, &o));
    expect_text(crn_context_error(context)->text, "keep/model.safetensors");
    crn_dataset_free(three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_numbered_checkpoints_are_kept),
        cmocka_unit_test(training_without_gain_ends_early),
        cmocka_unit_test(time_ends_a_training),
        cmocka_unit_test(a_folder_is_one_process_at_a_time),
        cmocka_unit_test(only_trainable_scopes_are_trained),
        cmocka_unit_test(labels_can_have_another_background),
        cmocka_unit_test(bad_steps_can_be_skipped),
        cmocka_unit_test(bad_orders_can_be_left),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
