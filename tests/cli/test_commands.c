/* Every command at work on a small data set: dark and bright pictures. */
#include "../train/fixture.h"

#include <jansson.h>
#include <math.h>

#include "run.h"

#define CLI CRN_TEST_CLI
#define IMAGES 64
#define MODEL "run/model.safetensors"

static result r;

/* Trains the checkpoint that the other tests use. */
static int setup(void **state)
{
    if (fixture_setup(state) != 0 || chdir(fixture_folder) != 0)
        return 1;
    make_dataset("data", IMAGES, 2);
    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "data", "--out", "run", "--steps",
        "30", "--batch-size", "16", "--learning-rate", "0.05", "--seed", "5");
    if (r.code != 0)
        print_error("%s", r.err);
    return r.code;
}

static int teardown(void **state)
{
    return chdir("/") != 0 || fixture_teardown(state);
}

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);
    if (value == NULL)
        fail_msg("%s:\n%s", error.text, text);
    return value;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("no number '%s'", key);
    return json_number_value(value);
}

static const char *string(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    if (value == NULL)
        fail_msg("no string '%s'", key);
    return value;
}

/* ---- devices ---- */

static void devices_agree_with_the_library(void **state)
{
    (void)state;
    crn_device_info infos[16];
    size_t count;
    assert_int_equal(crn_device_list(infos, 16, &count, NULL), CRN_OK);
    RUN(&r, CLI, "devices", "--json");
    expect_code(&r, 0);
    json_t *list = parse(r.out);
    assert_int_equal(json_array_size(list), count);
    size_t defaults = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *d = json_array_get(list, i);
        assert_int_equal(number(d, "index"), i);
        assert_string_equal(string(d, "name"), infos[i].name);
        assert_string_equal(string(d, "driver"), infos[i].driver);
        assert_true(number(d, "global_memory") == (double)infos[i].global_memory);
        assert_int_equal(json_is_true(json_object_get(d, "fp64")), infos[i].fp64);
        defaults += json_is_true(json_object_get(d, "default"));
    }
    assert_int_equal(defaults, 1);
    json_decref(list);

    RUN(&r, CLI, "devices");
    expect_code(&r, 0);
    for (size_t i = 0; i < count; i++)
        expect_part(r.out, infos[i].name);
    expect_part(r.out, "\n*  ");
}

static void unknown_devices_are_refused(void **state)
{
    (void)state;
    RUN(&r, CLI, "eval", "--checkpoint", MODEL, "--data", "data", "--device", "no such device");
    expect_code(&r, 2);
    expect_part(r.err, "no such device");
    RUN(&r, "/usr/bin/env", "CLARINET_DEVICE=nothing like it", CLI, "eval", "--checkpoint", MODEL,
        "--data", "data");
    expect_code(&r, 2);
    expect_part(r.err, "nothing like it");
}

/* ---- train and eval ---- */

static void training_tells_where_it_is(void **state)
{
    (void)state;
    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "data", "--out", "short", "--epochs",
        "2", "--batch-size", "16", "--optimizer", "sgd", "--schedule", "cosine", "--flip",
        "--crop");
    expect_code(&r, 0);
    assert_string_equal(r.out, "");
    expect_part(r.err, "64 images of 2 classes as 8x8x1");
    expect_part(r.err, "epoch 1/2 25% step 1/4 loss ");
    expect_part(r.err, "epoch 2/2 100% step 4/4 loss ");
    expect_part(r.err, "step 8, loss ");
    assert_null(strchr(r.err, '\r'));
    assert_null(strchr(r.err, '\033'));

    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "data", "--out", "short", "--steps",
        "6", "--batch-size", "16");
    expect_code(&r, 0);
    expect_part(r.err, "epoch 2/2 100% step 2/2 loss ");
}

static void eval_finds_all_of_two_classes(void **state)
{
    (void)state;
    RUN(&r, CLI, "eval", "--checkpoint", MODEL, "--data", "data", "--json", "--batch-size", "10");
    expect_code(&r, 0);
    json_t *e = parse(r.out);
    assert_int_equal(number(e, "images"), IMAGES);
    assert_true(number(e, "top1") == 1);
    assert_true(number(e, "top5") == 1);
    assert_true(number(e, "loss") >= 0 && number(e, "loss") < log(2));
    assert_string_equal(string(e, "model"), "resnet_v2_20");
    json_decref(e);
    expect_part(r.err, "no test images");

    RUN(&r, CLI, "eval", "--checkpoint", MODEL, "--data", "data");
    expect_code(&r, 0);
    expect_part(r.out, "images 64\ntop-1 100.00 %\ntop-5 100.00 %\nloss ");
}

static void other_classes_get_a_new_last_layer(void **state)
{
    (void)state;
    make_dataset("three", 48, 3);
    for (int excludes = 0; excludes < 2; excludes++) {
        RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "three", "--out", "tuned",
            "--steps", "2", "--batch-size", "16", "--init-from", MODEL,
            excludes ? "--exclude-scopes=resnet_v2_20/logits" : "--no-flip");
        expect_code(&r, 0);
        expect_part(r.err, " 2 initialised, ");
        expect_part(r.err, "; which: tuned/restore.txt");
        expect_part(r.err, "begins at step 1");
    }
    RUN(&r, CLI, "eval", "--checkpoint", MODEL, "--data", "three");
    expect_code(&r, 2);
    expect_part(r.err, "class '2'");
}

static void a_batch_larger_than_the_data_is_refused(void **state)
{
    (void)state;
    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "data", "--out", "none",
        "--batch-size", "65");
    expect_code(&r, 2);
    expect_part(r.err, "64 images");
}

/* ---- classify ---- */

static void pictures_are_classified(void **state)
{
    (void)state;
    make_png("dark.png", 3, 0, 2);
    make_png("bright.png", 8, 1, 2);
    RUN(&r, CLI, "classify", "--checkpoint", MODEL, "dark.png", "bright.png");
    expect_code(&r, 0);
    char *second = strchr(r.out, '\n');
    assert_non_null(second);
    assert_memory_equal(r.out, "dark.png: 0 ", 12);
    assert_memory_equal(second + 1, "bright.png: 1 ", 14);

    RUN(&r, CLI, "classify", "--checkpoint", MODEL, "--top", "9", "--json", "bright.png",
        "dark.png");
    expect_code(&r, 0);
    json_t *list = parse(r.out);
    assert_int_equal(json_array_size(list), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *item = json_array_get(list, i);
        const json_t *classes = json_object_get(item, "classes");
        const json_t *first = json_array_get(classes, 0), *last = json_array_get(classes, 1);
        assert_string_equal(string(item, "image"), i == 0 ? "bright.png" : "dark.png");
        assert_int_equal(json_array_size(classes), 2);
        assert_int_equal(number(first, "index"), 1 - i);
        assert_string_equal(string(first, "class"), i == 0 ? "1" : "0");
        double p = number(first, "probability"), q = number(last, "probability");
        assert_true(p > 0.5 && p >= q && fabs(p + q - 1) < 1e-5);
    }
    json_decref(list);
}

/* More than one batch of them, one of which is no picture. */
static void one_bad_picture_spoils_no_other(void **state)
{
    (void)state;
    const char *words[32] = {CLI, "classify", "--checkpoint", MODEL};
    size_t n = 4;
    make_png("dark.png", 3, 0, 2);
    write_bytes(in_folder("broken.png"), "\x89PNG\r\n\x1a\n", 8);
    for (size_t i = 0; i < 20; i++)
        words[n++] = i == 7 ? "broken.png" : "dark.png";
    run_program(&r, words);
    expect_code(&r, 1);
    expect_part(r.err, "broken.png");
    size_t lines = 0;
    for (char *line = strtok(r.out, "\n"); line != NULL; line = strtok(NULL, "\n"), lines++)
        assert_memory_equal(line, "dark.png: 0 ", 12);
    assert_int_equal(lines, 19);
}

/* ---- predict ---- */

static void write_images(const char *name, int64_t count)
{
    float images[5 * PIXELS];
    for (size_t i = 0; i < 5 * PIXELS; i++)
        images[i] = (float)(i % 17) / 8 - 1;
    crn_shape shape = count > 0 ? CRN_SHAPE(count, SIDE, SIDE, 1) : CRN_SHAPE(SIDE, SIDE, 1);
    assert_int_equal(crn_npy_write(name, images, &shape, NULL), CRN_OK);
}

static float *expect_npy(const char *name, crn_shape wanted)
{
    float *data;
    crn_shape shape;
    assert_int_equal(crn_npy_read(name, &data, &shape, NULL), CRN_OK);
    assert_true(crn_shape_equal(&shape, &wanted));
    return data;
}

static void predictions_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    write_images("five.npy", 5);
    write_images("one.npy", 0);
    RUN(&r, CLI, "predict", "--checkpoint", MODEL, "--input", "five.npy", "--output", "y5.npy",
        "--batch-size", "2");
    expect_code(&r, 0);
    RUN(&r, CLI, "predict", "--checkpoint", MODEL, "--input", "one.npy", "--output", "y1.npy");
    expect_code(&r, 0);
    float *five = expect_npy("y5.npy", CRN_SHAPE(5, 2));
    float *one = expect_npy("y1.npy", CRN_SHAPE(1, 2));
    for (int k = 0; k < 2; k++)
        assert_true(fabsf(one[k] - five[k]) <= 1e-4f * fmaxf(1, fabsf(one[k])));
    assert_true(five[0] != five[2]);
    crn_free(five);
    crn_free(one);
}

/* Every end point can be had, with the shape that the list says. */
static void every_end_point_can_be_written(void **state)
{
    (void)state;
    static char list[sizeof r.out];
    write_images("one.npy", 0);
    RUN(&r, CLI, "predict", "--checkpoint", MODEL, "--list-end-points");
    expect_code(&r, 0);
    strcpy(list, r.out);
    expect_part(list, "resnet_v2_20/logits [?,1,1,2]\n");
    expect_part(list, "predictions [?,2]\n");
    size_t count = 0;
    char *place = NULL;
    for (char *line = strtok_r(list, "\n", &place); line != NULL;
         line = strtok_r(NULL, "\n", &place), count++) {
        char *shape = strchr(line, ' ');
        assert_non_null(shape);
        *shape++ = '\0';
        RUN(&r, CLI, "predict", "--checkpoint", MODEL, "--input", "one.npy", "--output", "y.npy",
            "--end-point", line);
        expect_code(&r, 0);
        crn_shape got;
        float *data;
        char text[64];
        assert_int_equal(crn_npy_read("y.npy", &data, &got, NULL), CRN_OK);
        assert_int_equal(got.dims[0], 1);
        got.dims[0] = CRN_ANY;
        assert_string_equal(crn_shape_text(&got, text, sizeof text), shape);
        crn_free(data);
        if (strcmp(line, "predictions") == 0) {
            data = expect_npy("y.npy", CRN_SHAPE(1, 2));
            assert_true(fabsf(data[0] + data[1] - 1) < 1e-5f);
            crn_free(data);
        }
    }
    assert_in_range(count, 10, 100);
}

static void predictions_refuse_what_does_not_fit(void **state)
{
    (void)state;
    const crn_shape wrong = CRN_SHAPE(2, SIDE, SIDE + 1, 1), none = CRN_SHAPE(0, SIDE, SIDE, 1);
    const float data[2 * SIDE * (SIDE + 1)] = {0};
    assert_int_equal(crn_npy_write("wrong.npy", data, &wrong, NULL), CRN_OK);
    assert_int_equal(crn_npy_write("none.npy", data, &none, NULL), CRN_OK);
    write_images("one.npy", 0);
    RUN(&r, CLI, "predict", "--checkpoint", MODEL, "--input", "wrong.npy", "--output", "bad.npy");
    expect_code(&r, 2);
    expect_part(r.err, "wrong.npy is [2,8,9,1], the network takes [?,8,8,1]");
    RUN(&r, CLI, "predict", "--checkpoint", MODEL, "--input", "none.npy", "--output", "bad.npy");
    expect_code(&r, 2);
    RUN(&r, CLI, "predict", "--checkpoint", MODEL, "--input", "one.npy", "--output", "bad.npy",
        "--end-point", "resnet_v2_20/block9");
    expect_code(&r, 2);
    expect_part(r.err, "'resnet_v2_20/block9'");
    RUN(&r, CLI, "predict", "--checkpoint", MODEL, "--input", MODEL, "--output", "bad.npy");
    expect_code(&r, 1);
    RUN(&r, CLI, "predict", "--checkpoint", MODEL, "--input", "one.npy", "--output",
        "nowhere/bad.npy");
    assert_in_range(r.code, 1, 2);
    expect_part(r.err, "nowhere/bad.npy");
    assert_int_not_equal(access("bad.npy", F_OK), 0);
}

/* ---- inspect ---- */

static void inspect_lists_and_sums_up(void **state)
{
    (void)state;
    RUN(&r, CLI, "inspect", "--json", MODEL);
    expect_code(&r, 0);
    json_t *file = parse(r.out), *tensors = json_object_get(file, "tensors");
    const json_t *metadata = json_object_get(file, "metadata");
    assert_string_equal(string(metadata, "clarinet.model"), "resnet_v2_20");
    assert_string_equal(string(metadata, "clarinet.num_classes"), "2");
    assert_string_equal(string(metadata, "clarinet.classes"), "[\"0\",\"1\"]");
    assert_string_equal(string(metadata, "clarinet.seed"), "5");
    assert_string_equal(string(metadata, "global_step"), "30");
    double bytes = 0;
    size_t slots = 0, i;
    json_t *tensor;
    json_array_foreach(tensors, i, tensor)
    {
        bytes += number(tensor, "bytes");
        slots += strstr(string(tensor, "name"), "/Momentum") != NULL;
        assert_string_equal(string(tensor, "dtype"), "F32");
    }
    const json_t *variables = json_object_get(file, "variables");
    const json_t *all_slots = json_object_get(file, "slots");
    assert_true(slots > 0 && number(all_slots, "tensors") == (double)slots);
    assert_true(number(variables, "tensors") == (double)(i - slots));
    assert_true(number(variables, "bytes") + number(all_slots, "bytes") == bytes);
    assert_true(number(variables, "numbers") * 4 == number(variables, "bytes"));
    json_decref(file);

    RUN(&r, CLI, "inspect", MODEL);
    expect_code(&r, 0);
    expect_part(r.out, "resnet_v2_20/logits/weights ");
    expect_part(r.out, "  F32   [1,1,256,2]\n");
    expect_part(r.out, "\nvariables: ");
    expect_part(r.out, "\noptimizer slots: ");
    expect_part(r.out, "\nglobal_step: 30\n");
}

static void other_files_are_no_checkpoints(void **state)
{
    (void)state;
    RUN(&r, CLI, "inspect", "data/images.npy");
    expect_code(&r, 1);
    expect_part(r.err, "data/images.npy");
    RUN(&r, CLI, "eval", "--checkpoint", "data/images.npy", "--data", "data");
    expect_code(&r, 1);
    expect_part(r.err, "data/images.npy");
}

/* ---- bench ---- */

static void bench_measures(void **state)
{
    (void)state;
    static const char *const modes[] = {"train", "infer"};
    double peaks[2];
    assert_int_equal(mkdir("tmp", 0777), 0);
    for (int i = 0; i < 2; i++) {
        RUN(&r, "/usr/bin/env", "TMPDIR=tmp", CLI, "bench", "--model", "resnet_v2_20", "--mode",
            modes[i], "--batch-size", "4", "--image-size", "8", "--steps", "3", "--classes", "10",
            "--json", i == 0 ? "--cold" : "--json");
        expect_code(&r, 0);
        json_t *b = parse(r.out);
        assert_string_equal(string(b, "mode"), modes[i]);
        assert_int_equal(number(b, "batch_size"), 4);
        assert_int_equal(number(b, "image_size"), 8);
        double rate = number(b, "images_per_second"), step = number(b, "step_seconds");
        assert_true(rate > 0 && fabs(rate * step - 4) < 1e-3);
        assert_true(number(b, "start_up_seconds") > 0);
        assert_true(number(b, "predicted_peak") > 0 && number(b, "actual_peak") > 0);
        assert_true(number(b, "largest_buffer") <= number(b, "predicted_peak"));
        assert_int_equal(json_is_true(json_object_get(b, "cold")), i == 0);
        peaks[i] = number(b, "predicted_peak");
        json_decref(b);
    }
    assert_true(peaks[0] > peaks[1]);
    assert_int_equal(rmdir("tmp"), 0); /* that is, empty: no cache is left behind */

    RUN(&r, CLI, "bench", "--model", "resnet_v2_20", "--mode", "infer", "--batch-size", "2",
        "--image-size", "8", "--steps", "2");
    expect_code(&r, 0);
    expect_part(r.out, "images/s");
    expect_part(r.out, "usual caches");
}

/* ---- tune ---- */

static size_t measured(const json_t *list)
{
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        count += json_object_size(json_object_get(json_array_get(list, i), "seconds")) > 0;
    return count;
}

static void tune_measures_once(void **state)
{
    (void)state;
    size_t counts[3];
    for (int i = 0; i < 3; i++) {
        RUN(&r, CLI, "tune", "--model", "resnet_v2_20", "--mode", "infer", "--batch-size", "2",
            "--image-size", "8", "--classes", "10", i == 1 ? "--json" : "--again", "--json");
        expect_code(&r, 0);
        expect_part(r.err, "100%");
        json_t *t = parse(r.out);
        const json_t *list = json_object_get(t, "convolutions");
        assert_true(json_array_size(list) > 10);
        assert_string_equal(string(json_array_get(list, 0), "direction"), "forward");
        counts[i] = measured(list);
        json_decref(t);
    }
    assert_int_equal(counts[1], 0);
    assert_int_equal(counts[2], counts[0]);

    RUN(&r, CLI, "tune", "--model", "resnet_v2_20", "--mode", "infer", "--batch-size", "2",
        "--image-size", "8", "--classes", "10");
    expect_code(&r, 0);
    expect_part(r.out, "forward");
    expect_part(r.out, counts[0] > 0 ? "chosen before" : "the only one");
}

static double predicted_peak(const char *output_stride)
{
    RUN(&r, CLI, "bench", "--model", "resnet_v2_20", "--mode", "infer", "--batch-size", "2",
        "--image-size", "16", "--output-stride", output_stride, "--steps", "1", "--json");
    expect_code(&r, 0);
    json_t *b = parse(r.out);
    double peak = number(b, "predicted_peak");
    json_decref(b);
    return peak;
}

/* With a smaller output stride feature maps stay larger: more memory. */
static void bench_takes_an_output_stride(void **state)
{
    (void)state;
    assert_true(predicted_peak("1") > predicted_peak("4"));
    RUN(&r, CLI, "bench", "--model", "resnet_v2_20", "--mode", "infer", "--batch-size", "2",
        "--output-stride", "3", "--steps", "1");
    expect_code(&r, 2);
    expect_part(r.err, "output_stride 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_agree_with_the_library),
        cmocka_unit_test(unknown_devices_are_refused),
        cmocka_unit_test(training_tells_where_it_is),
        cmocka_unit_test(eval_finds_all_of_two_classes),
        cmocka_unit_test(other_classes_get_a_new_last_layer),
        cmocka_unit_test(a_batch_larger_than_the_data_is_refused),
        cmocka_unit_test(pictures_are_classified),
        cmocka_unit_test(one_bad_picture_spoils_no_other),
        cmocka_unit_test(predictions_do_not_depend_on_the_batch),
        cmocka_unit_test(every_end_point_can_be_written),
        cmocka_unit_test(predictions_refuse_what_does_not_fit),
        cmocka_unit_test(inspect_lists_and_sums_up),
        cmocka_unit_test(other_files_are_no_checkpoints),
        cmocka_unit_test(bench_measures),
        cmocka_unit_test(bench_takes_an_output_stride),
        cmocka_unit_test(tune_measures_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
