#include "fixture.h"

#include <math.h>

#define IMAGES 40
#define BATCH 16
#define PER_EPOCH 2 /* whole batches in 40 images */

static crn_context *context;
static crn_dataset *dataset;
static crn_preprocessing how;
static char told[65536]; /* by the log and the restore report */

static void tell(const char *text)
{
    size_t used = strlen(told);
    snprintf(told + used, sizeof told - used, "%s\n", text);
}

static void on_log(void *data, crn_log_level level, const char *line)
{
    (void)data, (void)level;
    tell(line);
}

static void on_restore(void *data, crn_restore_event event, const char *name)
{
    static const char *const events[] = {"loaded", "excluded", "missing", "unused"};
    char text[512];
    (void)data;
    snprintf(text, sizeof text, "%s %s", events[event], name);
    tell(text);
}

static int setup(void **state)
{
    if (fixture_setup(state) != 0)
        return 1;
    how = crn_preprocessing_inception(SIDE, 1);
    dataset = open_dataset(make_dataset("data", IMAGES, 2));
    crn_context_options options = CRN_CONTEXT_OPTIONS_INIT;
    options.log = on_log;
    return crn_context_create(&options, &context, NULL) != CRN_OK;
}

static int teardown(void **state)
{
    crn_dataset_free(dataset);
    crn_context_free(context);
    return fixture_teardown(state);
}

/* ---- a training with its steps written down ---- */

typedef struct diary {
    crn_progress steps[64];
    size_t count;
    int64_t stop_after; /* step; 0: never */
} diary;

static bool on_progress(void *data, const crn_progress *progress)
{
    diary *d = data;
    assert_in_range(d->count, 0, 63);
    d->steps[d->count++] = *progress;
    return progress->step != d->stop_after;
}

static crn_train_options make_options(const char *out, int64_t steps, diary *d)
{
    crn_train_options o = CRN_TRAIN_OPTIONS_INIT;
    memset(d, 0, sizeof *d);
    *told = '\0';
    o.steps = steps;
    o.batch_size = BATCH;
    o.optimizer = crn_momentum(0.05f, 0.9f);
    static const crn_schedule cosine = {.kind = CRN_SCHEDULE_COSINE, .rate = 0.05f};
    o.schedule = &cosine;
    o.seed = 11;
    o.preprocessing = &how;
    o.out = in_folder(out);
    o.report = on_restore;
    o.progress = on_progress;
    o.progress_data = d;
    return o;
}

static void expect(crn_status wanted, crn_status got)
{
    if (wanted != got)
        fail_msg("status %d: %s", (int)got, crn_context_error(context)->text);
}

/* That the context's last error is `status` and says all of the words, separated by '|'. */
static void expect_failure(const crn_train_options *options, crn_status status, const char *words)
{
    char copy[256];
    expect(status, crn_train(context, dataset, options));
    const char *text = crn_context_error(context)->text;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok(copy, "|"); word != NULL; word = strtok(NULL, "|"))
        if (strstr(text, word) == NULL)
            fail_msg("'%s' does not say '%s'", text, word);
}

static void expect_step(const char *checkpoint, const char *step)
{
    crn_checkpoint *file;
    assert_int_equal(crn_checkpoint_open(checkpoint, &file, NULL), CRN_OK);
    assert_string_equal(crn_checkpoint_metadata(file, "global_step"), step);
    crn_checkpoint_free(file);
}

static void expect_same_file(const char *a, const char *b)
{
    size_t sizes[2];
    char *data[2] = {read_bytes(a, &sizes[0]), read_bytes(b, &sizes[1])};
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(data[0], data[1], sizes[0]);
    free(data[0]);
    free(data[1]);
}

/* ---- tests ---- */

static void steps_and_epochs_are_counted(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("count/in/a/new/folder", 0, &d);
    o.epochs = 3;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_int_equal(d.count, 3 * PER_EPOCH);
    for (size_t i = 0; i < d.count; i++) {
        assert_int_equal(d.steps[i].step, i + 1);
        assert_int_equal(d.steps[i].steps, 3 * PER_EPOCH);
        assert_int_equal(d.steps[i].epoch, i / PER_EPOCH + 1);
        assert_int_equal(d.steps[i].epochs, 3);
        assert_true(d.steps[i].loss > 0 && d.steps[i].loss < 100);
        assert_true(d.steps[i].images_per_second > 0);
        /* A count out of 16. */
        assert_true(d.steps[i].accuracy * BATCH == (float)(int)(d.steps[i].accuracy * BATCH));
    }
    expect_step(in_folder("count/in/a/new/folder/model.safetensors"), "6");
}

static void bright_and_dark_are_learnt(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("learn", 24, &d);
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_true(d.steps[23].loss < d.steps[0].loss);
    crn_classifier *classifier;
    expect(CRN_OK, crn_classifier_open(context, in_folder("learn/model.safetensors"), &classifier));
    crn_evaluation result;
    expect(CRN_OK, crn_classifier_evaluate(classifier, dataset, 7, NULL, NULL, &result));
    assert_int_equal(result.images, IMAGES);
    assert_true(result.top1 == 1);
    crn_classifier_free(classifier);
}

/* RELIABILITY 7: a training that was stopped and continued equals one that was not. */
static void continued_equals_uninterrupted(void **state)
{
    (void)state;
    diary whole, first, second;
    crn_train_options o = make_options("whole", 9, &whole);
    expect(CRN_OK, crn_train(context, dataset, &o));

    o = make_options("part", 9, &first);
    first.stop_after = 4;
    expect(CRN_INTERRUPTED, crn_train(context, dataset, &o));
    assert_int_equal(first.count, 4);
    expect_step(in_folder("part/model.safetensors"), "4");

    o = make_options("part", 9, &second);
    o.resume = true;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_non_null(strstr(told, "after step 4 of 9"));
    assert_int_equal(second.count, 5);
    for (size_t i = 0; i < 9; i++) {
        const crn_progress *p = i < 4 ? &first.steps[i] : &second.steps[i - 4];
        assert_int_equal(p->step, i + 1);
        assert_int_equal(p->epoch, whole.steps[i].epoch);
        assert_true(p->loss == whole.steps[i].loss);
    }
    expect_same_file(in_folder("whole/model.safetensors"), in_folder("part/model.safetensors"));
}

static void a_finished_training_stays_finished(void **state)
{
    (void)state;
    diary d;
    size_t size;
    char *before = read_bytes(in_folder("whole/model.safetensors"), &size);
    crn_train_options o = make_options("whole", 9, &d);
    o.resume = true;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_int_equal(d.count, 0);
    assert_non_null(strstr(told, "nothing to do"));
    size_t size_after;
    char *after = read_bytes(in_folder("whole/model.safetensors"), &size_after);
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    free(before);
    free(after);
}

/* A new training of the same classes: only the weights are taken. */
static void first_weights_are_no_training_to_go_on_with(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("again", 2, &d);
    o.init_from = in_folder("whole/model.safetensors");
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_int_equal(d.count, 2);
    assert_non_null(strstr(told, "loaded resnet_v2_20/logits/weights"));
    assert_non_null(strstr(told, "begins at step 1"));
}

static void checkpoints_come_when_asked_for(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("every", 5, &d);
    o.save_every = 3;
    expect(CRN_OK, crn_train(context, dataset, &o));
    expect_step(in_folder("every/model.safetensors"), "5");

    /* Nothing is written where no folder is named. */
    o = make_options("none", 1, &d);
    o.out = NULL;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_int_not_equal(access(in_folder("none"), F_OK), 0);
}

static void other_classes_begin_with_a_new_last_layer(void **state)
{
    (void)state;
    diary d;
    crn_dataset *three = open_dataset(make_dataset("three", 48, 3));
    for (int excludes = 0; excludes < 2; excludes++) {
        crn_train_options o = make_options("three-run", 2, &d);
        o.init_from = in_folder("whole/model.safetensors");
        o.exclude_scopes = excludes ? "resnet_v2_20/logits" : NULL;
        expect(CRN_OK, crn_train(context, three, &o));
        assert_int_equal(d.steps[0].step, 1);
        assert_non_null(strstr(told, "excluded resnet_v2_20/logits/weights\n"));
        assert_non_null(strstr(told, "excluded resnet_v2_20/logits/biases\n"));
        assert_null(strstr(told, "missing"));
        assert_non_null(strstr(told, "begins at step 1"));
        assert_true((strstr(told, "for other classes") != NULL) == !excludes);
        size_t size;
        char *text = read_bytes(in_folder("three-run/restore.txt"), &size);
        assert_non_null(strstr(text, "initialised (excluded): resnet_v2_20/logits/weights\n"));
        assert_non_null(strstr(text, "loaded: resnet_v2_20/conv1/weights\n"));
        assert_non_null(strstr(text, "not used: resnet_v2_20/conv1/weights/Momentum\n"));
        free(text);
    }
    crn_dataset_free(three);
}

/* Rates that no network survives; the checkpoint of before must. */
static void not_a_number_is_no_checkpoint(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("fragile", 1, &d);
    expect(CRN_OK, crn_train(context, dataset, &o));
    size_t size;
    char *before = read_bytes(in_folder("fragile/model.safetensors"), &size);

    o = make_options("fragile", 20, &d);
    o.optimizer = crn_gradient_descent(1e30f);
    o.schedule = NULL;
    o.save_every = 20;
    expect_failure(&o, CRN_NON_FINITE, "resnet_v2_20/|is not finite|step |of 20");
    assert_in_range(d.count, 1, 19);

    /* The first step's loss is fine, its update is not. */
    o = make_options("fragile", 20, &d);
    o.optimizer = crn_gradient_descent(INFINITY);
    o.schedule = NULL;
    o.save_every = 1;
    expect_failure(&o, CRN_NON_FINITE, "resnet_v2_20/|after step 1");
    assert_int_equal(d.count, 1);

    size_t size_after;
    char *after = read_bytes(in_folder("fragile/previous.safetensors"), &size_after);
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    assert_int_not_equal(access(in_folder("fragile/model.safetensors"), F_OK), 0);
    free(before);
    free(after);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("mistake", 1, &d);
    o.model = "resnet_v9";
    expect_failure(&o, CRN_INVALID, "resnet_v9");
    o = make_options("mistake", 1, &d);
    o.batch_size = 41;
    expect_failure(&o, CRN_INVALID, "41|40 images");
    o = make_options("mistake", 1, &d);
    o.batch_size = 1;
    expect_failure(&o, CRN_INVALID, "batch size 1");
    o = make_options("mistake", 0, &d);
    o.epochs = INT64_MAX;
    expect_failure(&o, CRN_INVALID, "epochs");
    o = make_options("mistake", 1, &d);
    o.preprocessing = NULL;
    expect_failure(&o, CRN_INVALID, "preprocessing");
    o = make_options("mistake", 1, &d);
    o.size = sizeof o + 8;
    expect_failure(&o, CRN_INVALID, "version");
    assert_int_not_equal(access(in_folder("mistake"), F_OK), 0);
    assert_int_equal(d.count, 0);
}

static void files_that_are_in_the_way_are_named(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("data/labels.npy", 1, &d);
    expect_failure(&o, CRN_IO, "data/labels.npy");
    o = make_options("data/labels.npy/x", 1, &d);
    expect_failure(&o, CRN_IO, "data/labels.npy/x");
    o = make_options("mistake", 1, &d);
    o.init_from = in_folder("data/images.npy");
    expect_failure(&o, CRN_FORMAT, "images.npy");
    o = make_options("mistake", 1, &d);
    o.init_from = in_folder("missing.safetensors");
    expect_failure(&o, CRN_NOT_FOUND, "missing.safetensors");
    assert_int_equal(d.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_and_epochs_are_counted),
        cmocka_unit_test(bright_and_dark_are_learnt),
        cmocka_unit_test(continued_equals_uninterrupted),
        cmocka_unit_test(a_finished_training_stays_finished),
        cmocka_unit_test(first_weights_are_no_training_to_go_on_with),
        cmocka_unit_test(checkpoints_come_when_asked_for),
        cmocka_unit_test(other_classes_begin_with_a_new_last_layer),
        cmocka_unit_test(not_a_number_is_no_checkpoint),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(files_that_are_in_the_way_are_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
