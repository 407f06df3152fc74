#include "fixture.h"

#include <math.h>

#define CLASSES 3
#define IMAGES 48

static crn_context *context;
static crn_dataset *dataset;
static crn_classifier *classifier;
static crn_preprocessing how;

static void expect(crn_status wanted, crn_status got)
{
    if (wanted != got)
        fail_msg("status %d: %s", (int)got, crn_context_error(context)->text);
}

static int setup(void **state)
{
    if (fixture_setup(state) != 0)
        return 1;
    how = crn_preprocessing_inception(SIDE, 1);
    dataset = open_dataset(make_dataset("data", IMAGES, CLASSES));
    if (crn_context_create(NULL, &context, NULL) != CRN_OK)
        return 1;
    crn_train_options o = CRN_TRAIN_OPTIONS_INIT;
    o.steps = 30;
    o.batch_size = 16;
    o.optimizer = crn_momentum(0.05f, 0.9f);
    o.preprocessing = &how;
    o.out = fixture_folder;
    return crn_train(context, dataset, &o) != CRN_OK ||
           crn_classifier_open(context, in_folder("model.safetensors"), &classifier) != CRN_OK;
}

static int teardown(void **state)
{
    crn_classifier_free(classifier);
    crn_dataset_free(dataset);
    crn_context_free(context);
    return fixture_teardown(state);
}

static void a_checkpoint_says_what_it_is_of(void **state)
{
    (void)state;
    assert_string_equal(crn_classifier_model(classifier), "resnet_v2_20");
    assert_int_equal(crn_classifier_class_count(classifier), CLASSES);
    assert_string_equal(crn_classifier_class_name(classifier, 0), "0");
    assert_string_equal(crn_classifier_class_name(classifier, 2), "2");
    assert_null(crn_classifier_class_name(classifier, CLASSES));
    const crn_preprocessing *p = crn_classifier_preprocessing(classifier);
    assert_int_equal(p->image_size, SIDE);
    assert_int_equal(p->channels, 1);
    assert_true(p->mean[0] == how.mean[0] && p->scale[0] == how.scale[0]);
    crn_shape inputs = crn_node_shape(crn_classifier_inputs(classifier));
    crn_shape logits = crn_node_shape(crn_classifier_logits(classifier));
    assert_true(crn_shape_equal(&inputs, &CRN_SHAPE(CRN_ANY, SIDE, SIDE, 1)));
    assert_true(crn_shape_equal(&logits, &CRN_SHAPE(CRN_ANY, CLASSES)));
    assert_non_null(crn_end_point_find(crn_classifier_graph(classifier), "resnet_v2_20/logits"));
}

/* Every image alone and all at once: an answer depends on its image only. */
static void answers_are_probabilities(void **state)
{
    (void)state;
    float images[IMAGES * PIXELS], together[IMAGES * CLASSES], alone[CLASSES];
    int32_t labels[IMAGES];
    size_t order[IMAGES];
    for (size_t i = 0; i < IMAGES; i++)
        order[i] = i;
    assert_int_equal(crn_dataset_read(dataset, order, IMAGES, &how, 0, images, labels, NULL),
                     CRN_OK);
    expect(CRN_OK, crn_classifier_run(classifier, images, IMAGES, together));
    for (size_t i = 0; i < IMAGES; i++) {
        const float *p = together + i * CLASSES;
        assert_true(fabsf(p[0] + p[1] + p[2] - 1) < 1e-5f);
        assert_true(p[labels[i]] > 0.5f);
        expect(CRN_OK, crn_classifier_run(classifier, images + i * PIXELS, 1, alone));
        for (size_t k = 0; k < CLASSES; k++)
            assert_true(fabsf(alone[k] - p[k]) < 1e-5f);
    }
    expect(CRN_OK, crn_classifier_run(classifier, NULL, 0, NULL));
}

static void evaluation_agrees_with_the_answers(void **state)
{
    (void)state;
    float image[PIXELS], p[CLASSES];
    int32_t label;
    double loss = 0;
    size_t right = 0;
    for (size_t i = 0; i < IMAGES; i++) {
        assert_int_equal(crn_dataset_read(dataset, &i, 1, &how, 0, image, &label, NULL), CRN_OK);
        expect(CRN_OK, crn_classifier_run(classifier, image, 1, p));
        loss -= log((double)p[label]) / IMAGES;
        right += p[label] > p[(label + 1) % CLASSES] && p[label] > p[(label + 2) % CLASSES];
    }
    for (size_t batch = 1; batch <= 100; batch = batch * 3 + 2) { /* 1, 5, 17, 53 */
        crn_evaluation e;
        expect(CRN_OK, crn_classifier_evaluate(classifier, dataset, batch, NULL, NULL, &e));
        assert_int_equal(e.images, IMAGES);
        assert_true(fabs(e.top1 - (double)right / IMAGES) < 1e-9);
        assert_true(e.top5 == 1); /* there are three */
        assert_true(fabs(e.loss - loss) < 1e-4);
    }
}

static bool stop_at_20(void *data, size_t done, size_t total)
{
    assert_int_equal(total, IMAGES);
    *(size_t *)data = done;
    return done < 20;
}

static void evaluation_stops_when_told(void **state)
{
    (void)state;
    size_t done = 0;
    crn_evaluation e;
    expect(CRN_INTERRUPTED,
           crn_classifier_evaluate(classifier, dataset, 10, stop_at_20, &done, &e));
    assert_int_equal(done, 20);
}

static void unknown_classes_are_named(void **state)
{
    (void)state;
    crn_dataset *more = open_dataset(make_dataset("more", 20, CLASSES + 2));
    crn_evaluation e;
    expect(CRN_INVALID, crn_classifier_evaluate(classifier, more, 10, NULL, NULL, &e));
    assert_non_null(strstr(crn_context_error(context)->text, "class '3'"));
    crn_dataset_free(more);
}

/* Folders 1 and 2 are the data set's classes 0 and 1. */
static void classes_are_matched_by_name(void **state)
{
    (void)state;
    mkdir(in_folder("pictures"), 0777);
    mkdir(in_folder("pictures/1"), 0777);
    mkdir(in_folder("pictures/2"), 0777);
    make_png("pictures/1/a.png", 1, 1, CLASSES);
    make_png("pictures/1/b.png", 4, 1, CLASSES);
    make_png("pictures/2/a.png", 2, 2, CLASSES);
    crn_dataset *pictures = open_dataset(in_folder("pictures"));
    crn_evaluation e;
    expect(CRN_OK, crn_classifier_evaluate(classifier, pictures, 10, NULL, NULL, &e));
    assert_int_equal(e.images, 3);
    assert_true(e.top1 == 1);
    crn_dataset_free(pictures);
}

static void expect_no_classifier(const char *path, crn_status status, const char *word)
{
    crn_classifier *none = NULL;
    expect(status, crn_classifier_open(context, path, &none));
    assert_null(none);
    if (strstr(crn_context_error(context)->text, word) == NULL)
        fail_msg("'%s' does not say '%s'", crn_context_error(context)->text, word);
}

/* Saves the classifier's weights with one value of its metadata changed; NULL: left out. */
static const char *save_changed(const char *key, const char *value)
{
    const char *path = in_folder("changed.safetensors");
    char json[512];
    assert_int_equal(crn_preprocessing_to_json(&how, json, sizeof json), CRN_OK);
    crn_metadata metadata[] = {{CRN_METADATA_MODEL, "resnet_v2_20"},
                               {CRN_METADATA_NUM_CLASSES, "3"},
                               {CRN_METADATA_CLASSES, "[\"0\",\"1\",\"2\"]"},
                               {CRN_METADATA_PREPROCESSING, json}};
    crn_save_options options = CRN_SAVE_OPTIONS_INIT;
    options.metadata = metadata;
    options.n_metadata = 4;
    for (size_t i = 0; i < 4; i++)
        if (key != NULL && strcmp(metadata[i].key, key) == 0) {
            metadata[i].value = value;
            if (value == NULL)
                metadata[i] = metadata[--options.n_metadata];
        }
    expect(CRN_OK, crn_checkpoint_save(crn_classifier_graph(classifier), path, &options));
    return path;
}

static void metadata_is_checked(void **state)
{
    (void)state;
    crn_classifier *good;
    expect(CRN_OK, crn_classifier_open(context, save_changed(NULL, NULL), &good));
    crn_classifier_free(good);
    const struct {
        const char *key, *value, *word;
        crn_status status;
    } cases[] = {
        {CRN_METADATA_MODEL, NULL, "metadata", CRN_FORMAT},
        {CRN_METADATA_PREPROCESSING, NULL, "metadata", CRN_FORMAT},
        {CRN_METADATA_MODEL, "vgg", "'vgg'", CRN_FORMAT},
        {CRN_METADATA_NUM_CLASSES, "4", "4 classes", CRN_FORMAT},
        {CRN_METADATA_NUM_CLASSES, "99999999999999999999", "classes", CRN_FORMAT},
        {CRN_METADATA_CLASSES, "[]", "no list of names", CRN_FORMAT},
        {CRN_METADATA_CLASSES, "[1,2,3]", "no list of names", CRN_FORMAT},
        {CRN_METADATA_CLASSES, "{\"0\":1}", "no list of names", CRN_FORMAT},
        {CRN_METADATA_CLASSES, "[\"0\",", "no list of names", CRN_FORMAT},
        {CRN_METADATA_PREPROCESSING, "{\"image_size\":-1}", "changed.safetensors", CRN_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_no_classifier(save_changed(cases[i].key, cases[i].value), cases[i].status,
                             cases[i].word);
    expect_no_classifier(in_folder("data/images.npy"), CRN_FORMAT, "images.npy");
}

static void weights_that_are_not_finite_give_no_answer(void **state)
{
    (void)state;
    crn_classifier *broken;
    expect(CRN_OK, crn_classifier_open(context, save_changed(NULL, NULL), &broken));
    crn_node *biases =
        crn_variable_find(crn_classifier_graph(broken), "resnet_v2_20/logits/biases");
    const float values[CLASSES] = {0, NAN, 0};
    expect(CRN_OK, crn_variable_write(biases, values, CLASSES));
    const float image[PIXELS] = {0};
    float p[CLASSES];
    crn_evaluation e;
    expect(CRN_NON_FINITE, crn_classifier_run(broken, image, 1, p));
    expect(CRN_NON_FINITE, crn_classifier_evaluate(broken, dataset, 10, NULL, NULL, &e));
    crn_classifier_free(broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_says_what_it_is_of),
        cmocka_unit_test(answers_are_probabilities),
        cmocka_unit_test(evaluation_agrees_with_the_answers),
        cmocka_unit_test(evaluation_stops_when_told),
        cmocka_unit_test(unknown_classes_are_named),
        cmocka_unit_test(classes_are_matched_by_name),
        cmocka_unit_test(metadata_is_checked),
        cmocka_unit_test(weights_that_are_not_finite_give_no_answer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
