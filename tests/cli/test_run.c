/* Runs from the command line: killed and resumed, made of files of options, drawn, looked into. */
#include "../train/fixture.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <time.h>

#include "run.h"

#define CLI CRN_TEST_CLI
#define IMAGES 64

static result r;

/* A data set with test images: the same ones. */
static int setup(void **state)
{
    static const char *const names[] = {"images", "labels"};
    if (fixture_setup(state) != 0 || chdir(fixture_folder) != 0)
        return 1;
    make_dataset("data", IMAGES, 2);
    make_dataset("alone", IMAGES, 2);
    for (int i = 0; i < 2; i++) {
        char from[64], to[64];
        size_t size;
        snprintf(from, sizeof from, "data/%s.npy", names[i]);
        snprintf(to, sizeof to, "data/test_%s.npy", names[i]);
        char *data = read_bytes(from, &size);
        write_bytes(to, data, size);
        free(data);
    }
    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "data", "--out", "whole",
        "--batch-size", "16", "--learning-rate", "0.05", "--schedule", "cosine", "--flip", "--crop",
        "--steps", "40", "--validate-every", "9", "--save-every", "5", "--keep", "1",
        "--early-stop", "1000", "--log-every", "3");
    if (r.code != 0)
        print_error("%s", r.err);
    return r.code;
}

static int teardown(void **state)
{
    return chdir("/") != 0 || fixture_teardown(state);
}

static void expect_same_file(const char *a, const char *b)
{
    size_t sizes[2];
    char *data[2] = {read_bytes(a, &sizes[0]), read_bytes(b, &sizes[1])};
    if (sizes[0] != sizes[1] || memcmp(data[0], data[1], sizes[0]) != 0)
        fail_msg("%s differs from %s", a, b);
    free(data[0]);
    free(data[1]);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static json_t *read_json(const char *path)
{
    json_t *value = json_load_file(path, 0, NULL);
    if (value == NULL)
        fail_msg("%s is no JSON", path);
    return value;
}

/* ---- killed and resumed ---- */

static void sleep_for(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)(fmod(seconds, 1) * 1e9)};
    nanosleep(&t, NULL);
}

/* Lines of a log that are a step's, without what is the clock's. */
static json_t *read_metrics(const char *path)
{
    char line[4096];
    json_t *lines = json_array();
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        json_object_del(object, "seconds");
        json_object_del(object, "images_per_second");
        json_array_append_new(lines, object);
    }
    fclose(file);
    return lines;
}

/*
 * Killed at three moments by chance, once it has begun to write, and resumed: every file is that of
 * the run that was left alone.
 */
static void a_killed_run_ends_as_if_it_was_not(void **state)
{
    (void)state;
    int nowhere = open("/dev/null", O_WRONLY);
    pid_t pid = start_program(nowhere, (const char *const[]){CLI,
                                                             "train",
                                                             "--model",
                                                             "resnet_v2_20",
                                                             "--data",
                                                             "data",
                                                             "--out",
                                                             "killed",
                                                             "--batch-size",
                                                             "16",
                                                             "--learning-rate",
                                                             "0.05",
                                                             "--schedule",
                                                             "cosine",
                                                             "--flip",
                                                             "--crop",
                                                             "--steps",
                                                             "40",
                                                             "--validate-every",
                                                             "9",
                                                             "--save-every",
                                                             "5",
                                                             "--keep",
                                                             "1",
                                                             "--early-stop",
                                                             "1000",
                                                             "--log-every",
                                                             "3",
                                                             NULL});
    srand((unsigned)time(NULL));
    for (int i = 0; i < 3; i++) {
        for (int tries = 0; tries < 6000 && !exists("killed/metrics.jsonl"); tries++)
            sleep_for(0.01);
        sleep_for(0.4 * rand() / RAND_MAX + (i > 0 ? 0.5 : 0));
        kill(pid, SIGKILL);
        int code = wait_for_program(pid);
        assert_true(code == 128 + SIGKILL || code == 0);
        pid =
            start_program(nowhere, (const char *const[]){CLI, "train", "--resume", "killed", NULL});
    }
    assert_int_equal(wait_for_program(pid), 0);
    close(nowhere);
    expect_same_file("whole/model.safetensors", "killed/model.safetensors");
    expect_same_file("whole/best.safetensors", "killed/best.safetensors");
    expect_same_file("whole/step-000040.safetensors", "killed/step-000040.safetensors");
    json_t *a = read_metrics("whole/metrics.jsonl"), *b = read_metrics("killed/metrics.jsonl");
    assert_int_equal(json_array_size(a), 13 + 1 + 5);
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
}

static void a_run_can_be_made_longer(void **state)
{
    (void)state;
    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "data", "--out", "longer", "--steps",
        "2", "--batch-size", "16", "--flip", "--seed", "7");
    expect_code(&r, 0);
    RUN(&r, CLI, "train", "--resume", "longer");
    expect_code(&r, 0);
    expect_part(r.err, "nothing to do");
    RUN(&r, CLI, "train", "--resume", "longer", "--epochs", "2", "--no-flip");
    expect_code(&r, 0);
    expect_part(r.err, "goes on after step 2 of 8");
    json_t *config = read_json("longer/config.json");
    assert_int_equal(json_integer_value(json_object_get(config, "epochs")), 2);
    assert_true(json_is_integer(json_object_get(config, "steps")) == 0);
    assert_int_equal(json_integer_value(json_object_get(config, "seed")), 7);
    assert_int_equal(json_integer_value(json_object_get(config, "batch-size")), 16);
    assert_true(json_is_false(json_object_get(config, "flip")));
    json_decref(config);
}

static void what_is_no_run_is_not_resumed(void **state)
{
    (void)state;
    RUN(&r, CLI, "train", "--resume", "data");
    expect_code(&r, 2);
    expect_part(r.err, "data/config.json");
    RUN(&r, CLI, "train", "--resume", "whole", "--model", "resnet_v1_50");
    expect_code(&r, 2);
    expect_part(r.err, "another network");
}

/* ---- files of options ---- */

static void options_come_from_a_file(void **state)
{
    (void)state;
    static const char text[] = "{\"model\": \"resnet_v2_20\", \"data\": \"alone\", \"steps\": 3,"
                               " \"batch-size\": 16, \"learning-rate\": 0.125, \"crop\": true,"
                               " \"seed\": null}";
    write_bytes("options.json", text, strlen(text));
    RUN(&r, CLI, "train", "--config", "options.json", "--out", "of-file", "--batch-size", "8");
    expect_code(&r, 0);
    json_t *config = read_json("of-file/config.json");
    assert_int_equal(json_integer_value(json_object_get(config, "batch-size")), 8);
    assert_int_equal(json_integer_value(json_object_get(config, "steps")), 3);
    assert_int_equal(json_integer_value(json_object_get(config, "seed")), 0);
    assert_true(json_number_value(json_object_get(config, "learning-rate")) == 0.125);
    assert_true(json_number_value(json_object_get(config, "momentum")) == 0.9);
    assert_true(json_is_true(json_object_get(config, "crop")));
    assert_true(json_is_false(json_object_get(config, "flip")));
    assert_true(json_is_null(json_object_get(config, "early-stop")));
    assert_int_equal(json_string_value(json_object_get(config, "data"))[0], '/');
    json_decref(config);

    /* What a run was made of makes it again. */
    RUN(&r, CLI, "train", "--config", "of-file/config.json", "--out", "again");
    expect_code(&r, 0);
    expect_same_file("of-file/model.safetensors", "again/model.safetensors");
}

static void bad_files_of_options_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"{\"modle\": \"resnet_v2_20\"}", "'modle'"},
        {"{\"config\": \"x\"}", "'config'"},
        {"{\"steps\": \"3\"}", "'steps' is no number"},
        {"{\"steps\": 0}", "bad.json: --steps is from 1"},
        {"{\"steps\": 1.5}", "bad.json: --steps"},
        {"{\"flip\": 1}", "'flip' is no true or false"},
        {"{\"model\": \"resnet\"}", "'resnet'"},
        {"{\"out\": \"\"}", "--out is empty"},
        {"{\"steps\": 3, \"steps\": 4}", "line 1"},
        {"[]", "no JSON object"},
        {"{", "line 1"},
        {"", "line 1"},
        {"{}", "needs --model"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_bytes("bad.json", bad[i].text, strlen(bad[i].text));
        RUN(&r, CLI, "train", "--config", "bad.json");
        expect_code(&r, 2);
        expect_part(r.err, bad[i].words);
        assert_ptr_equal(strchr(r.err, '\n'), r.err + strlen(r.err) - 1);
    }
}

/* ---- validation ---- */

static void validation_is_told(void **state)
{
    (void)state;
    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "data", "--out", "told", "--epochs",
        "2", "--batch-size", "16");
    expect_code(&r, 0);
    expect_part(r.err, "step 4: validation top-1 ");
    expect_part(r.err, "step 8: validation top-1 ");
    expect_part(r.err, "  images   recall  precision  class\n");
    assert_true(exists("told/best.safetensors"));

    /* As does clarinet eval. */
    json_t *lines = read_metrics("told/metrics.jsonl");
    const json_t *last = json_array_get(lines, json_array_size(lines) - 1);
    RUN(&r, CLI, "eval", "--checkpoint", "told/model.safetensors", "--data", "data", "--json");
    expect_code(&r, 0);
    json_t *e = json_loads(r.out, 0, NULL);
    double loss = json_number_value(json_object_get(e, "loss"));
    assert_true(json_number_value(json_object_get(e, "top1")) ==
                json_number_value(json_object_get(last, "validation_top1")));
    assert_true(fabs(json_number_value(json_object_get(last, "validation_loss")) - loss) <
                1e-4 * loss);
    json_decref(e);
    json_decref(lines);

    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "data", "--out", "untold", "--steps",
        "2", "--batch-size", "16", "--validate-every", "0");
    expect_code(&r, 0);
    assert_null(strstr(r.err, "validation"));
    assert_false(exists("untold/best.safetensors"));
    assert_false(exists("untold/confusion.csv"));

    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "alone", "--out", "untold",
        "--validation", "data", "--steps", "2", "--batch-size", "16");
    expect_code(&r, 0);
    expect_part(r.err, "step 2: validation top-1 ");
    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "alone", "--out", "untold",
        "--early-stop", "2", "--batch-size", "16", "--validation-fraction", "0");
    expect_code(&r, 2);
    expect_part(r.err, "--validation");
    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "alone", "--out", "untold",
        "--steps", "2", "--batch-size", "16", "--validation-fraction", "0.25");
    expect_code(&r, 0);
    expect_part(r.err, "16 of 64 are kept from training");
    expect_part(r.err, "step 2: validation top-1 ");
}

/* ---- what is left of a run ---- */

/* Rows sum to the images of a class, the diagonal to what eval finds right. */
static void confusions_are_counted(void **state)
{
    (void)state;
    size_t size;
    unsigned counts[4];
    char *text = read_bytes("whole/confusion.csv", &size);
    assert_int_equal(sscanf(text, "\"class\",\"0\",\"1\"\n\"0\",%u,%u\n\"1\",%u,%u", &counts[0],
                            &counts[1], &counts[2], &counts[3]),
                     4);
    free(text);
    assert_int_equal(counts[0] + counts[1], IMAGES / 2);
    assert_int_equal(counts[2] + counts[3], IMAGES / 2);
    RUN(&r, CLI, "eval", "--checkpoint", "whole/best.safetensors", "--data", "data", "--json");
    expect_code(&r, 0);
    json_t *e = json_loads(r.out, 0, NULL);
    assert_true((counts[0] + counts[3]) / (double)IMAGES ==
                json_number_value(json_object_get(e, "top1")));
    json_decref(e);
}

static void expect_png(const char *path)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&png, path));
    assert_in_range(png.width, 500, 4000);
    assert_in_range(png.height, 500, 4000);
    png_image_free(&png);
}

static void curves_are_drawn(void **state)
{
    (void)state;
    /* What is in a name is not for gnuplot to run. */
    static const char odd[] = "it's `touch touched`";
    RUN(&r, "/bin/sh", "-c", "command -v gnuplot");
    if (r.code != 0) {
        RUN(&r, CLI, "plot", "whole");
        expect_code(&r, 1);
        expect_part(r.err, "gnuplot is not installed");
        return;
    }
    expect_png("whole/curves.png");
    assert_int_equal(mkdir(odd, 0777), 0);
    RUN(&r, "/bin/cp", "whole/metrics.jsonl", odd);
    RUN(&r, CLI, "plot", "whole", odd, "--out", "both.png");
    expect_code(&r, 0);
    assert_string_equal(r.out, "both.png\n");
    assert_string_equal(r.err, "");
    expect_png("both.png");
    assert_false(exists("touched"));

    RUN(&r, CLI, "plot", "data");
    expect_code(&r, 2);
    expect_part(r.err, "data/metrics.jsonl");
    RUN(&r, CLI, "plot", "whole", "--out", "nowhere/curves.png");
    expect_code(&r, 2);
    RUN(&r, "/usr/bin/env", "PATH=/nowhere", CLI, "plot", "whole", "--out", "none.png");
    expect_code(&r, 1);
    expect_part(r.err, "gnuplot is not installed");
    assert_false(exists("none.png"));
}

/* ---- features ---- */

/* Means of what --spatial writes, and the logits where that is the end point. */
static void features_are_means_over_places(void **state)
{
    (void)state;
    const char *end_point = "resnet_v2_20/block2";
    float *means, *places, *logits, *predicted;
    crn_shape shapes[4];
    RUN(&r, CLI, "features", "--checkpoint", "whole/model.safetensors", "--data", "data",
        "--end-point", end_point, "--out", "f.npy", "--batch-size", "10");
    expect_code(&r, 0);
    RUN(&r, CLI, "features", "--checkpoint", "whole/model.safetensors", "--data", "data",
        "--end-point", end_point, "--out", "s.npy", "--spatial");
    expect_code(&r, 0);
    assert_int_equal(crn_npy_read("f.npy", &means, &shapes[0], NULL), CRN_OK);
    assert_int_equal(crn_npy_read("s.npy", &places, &shapes[1], NULL), CRN_OK);
    assert_int_equal(shapes[0].rank, 2);
    assert_int_equal(shapes[1].rank, 4);
    size_t channels = (size_t)shapes[0].dims[1];
    size_t n = (size_t)(shapes[1].dims[1] * shapes[1].dims[2]);
    assert_int_equal(shapes[0].dims[0], IMAGES);
    assert_int_equal(shapes[1].dims[3], channels);
    assert_true(n > 1);
    for (size_t i = 0; i < IMAGES; i++)
        for (size_t c = 0; c < channels; c++) {
            double sum = 0;
            for (size_t p = 0; p < n; p++)
                sum += (double)places[(i * n + p) * channels + c];
            double mean = (double)means[i * channels + c];
            assert_true(fabs(mean - sum / (double)n) <= 1e-3 * fmax(1, fabs(mean)));
        }
    crn_free(means);
    crn_free(places);

    /* The rows are the images in their order. */
    RUN(&r, CLI, "features", "--checkpoint", "whole/model.safetensors", "--data", "data",
        "--end-point", "predictions", "--out", "p.npy");
    expect_code(&r, 0);
    assert_int_equal(crn_npy_read("p.npy", &logits, &shapes[2], NULL), CRN_OK);
    assert_true(crn_shape_equal(&shapes[2], &CRN_SHAPE(IMAGES, 2)));
    float *images = calloc(IMAGES * PIXELS, sizeof *images);
    for (size_t i = 0; i < IMAGES * PIXELS; i++)
        images[i] = (fixture_pixel(i / PIXELS, i / PIXELS % 2, 2, i % PIXELS) - 127.5f) / 127.5f;
    crn_shape shape = CRN_SHAPE(IMAGES, SIDE, SIDE, 1);
    assert_int_equal(crn_npy_write("x.npy", images, &shape, NULL), CRN_OK);
    RUN(&r, CLI, "predict", "--checkpoint", "whole/model.safetensors", "--input", "x.npy",
        "--output", "y.npy", "--end-point", "predictions");
    expect_code(&r, 0);
    assert_int_equal(crn_npy_read("y.npy", &predicted, &shapes[3], NULL), CRN_OK);
    for (size_t i = 0; i < IMAGES * 2; i++)
        assert_true(fabsf(logits[i] - predicted[i]) < 1e-4f);
    free(images);
    crn_free(logits);
    crn_free(predicted);

    size_t size, lines = 0;
    char *names = read_bytes("f.names.txt", &size);
    expect_part(names, "images.npy[0]\n");
    expect_part(names, "images.npy[63]\n");
    for (size_t i = 0; i < size; i++)
        lines += names[i] == '\n';
    assert_int_equal(lines, IMAGES);
    free(names);

    RUN(&r, CLI, "features", "--checkpoint", "whole/model.safetensors", "--data", "data",
        "--end-point", "no such", "--out", "none.npy");
    expect_code(&r, 2);
    expect_part(r.err, "'no such'");
    assert_false(exists("none.npy"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_run_ends_as_if_it_was_not),
        cmocka_unit_test(a_run_can_be_made_longer),
        cmocka_unit_test(what_is_no_run_is_not_resumed),
        cmocka_unit_test(options_come_from_a_file),
        cmocka_unit_test(bad_files_of_options_are_named),
        cmocka_unit_test(validation_is_told),
        cmocka_unit_test(confusions_are_counted),
        cmocka_unit_test(curves_are_drawn),
        cmocka_unit_test(features_are_means_over_places),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
