/* A training's checkpoint as TensorFlow's, and what the other commands make of it. */
#include "../train/fixture.h"

#include <jansson.h>

#include "run.h"

#define CLI CRN_TEST_CLI
#define MODEL "run/model.safetensors"
#define GOLDEN CRN_TEST_DATA "/golden/checkpoints/"

static result r;

static int setup(void **state)
{
    if (fixture_setup(state) != 0 || chdir(fixture_folder) != 0)
        return 1;
    make_dataset("data", 32, 2);
    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "data", "--out", "run", "--steps",
        "3", "--batch-size", "16", "--seed", "5");
    if (r.code != 0 || mkdir("tf", 0777) != 0)
        print_error("%s", r.err);
    return r.code;
}

static int teardown(void **state)
{
    return chdir("/") != 0 || fixture_teardown(state);
}

static json_t *inspect(const char *path)
{
    RUN(&r, CLI, "inspect", "--json", path);
    expect_code(&r, 0);
    json_t *value = json_loads(r.out, 0, NULL);
    assert_non_null(value);
    return value;
}

static void convert(const char *from, const char *to, const char *option)
{
    if (option != NULL)
        RUN(&r, CLI, "convert", from, to, option);
    else
        RUN(&r, CLI, "convert", from, to);
    expect_code(&r, 0);
    assert_string_equal(r.out, "");
    assert_string_equal(r.err, "");
}

/* Everything that inspect says, but for where it is and the step, which TensorFlow has as a tensor.
 */
static void conversion_keeps_everything(void **state)
{
    (void)state;
    convert(MODEL, "tf", "--to=tensorflow");
    json_t *ours = inspect(MODEL), *theirs = inspect("tf"), *tensors, *tensor;
    assert_string_equal(json_string_value(json_object_get(ours, "format")), "safetensors");
    assert_string_equal(json_string_value(json_object_get(theirs, "format")), "TensorFlow V2");
    assert_true(json_equal(json_object_get(ours, "metadata"), json_object_get(theirs, "metadata")));
    assert_true(json_equal(json_object_get(ours, "slots"), json_object_get(theirs, "slots")));
    tensors = json_object_get(theirs, "tensors");
    size_t i, steps = 0;
    json_array_foreach(tensors, i, tensor)
    {
        if (strcmp(json_string_value(json_object_get(tensor, "name")), "global_step") == 0) {
            assert_string_equal(json_string_value(json_object_get(tensor, "dtype")), "I64");
            json_array_remove(tensors, i);
            steps++;
            break;
        }
    }
    assert_int_equal(steps, 1);
    assert_true(json_equal(json_object_get(ours, "tensors"), tensors));
    json_decref(ours);
    json_decref(theirs);
}

/* The folder, the prefix, the index: the same network as the safetensors file. */
static void commands_take_either_format(void **state)
{
    (void)state;
    static const char *const paths[] = {MODEL, "tf", "tf/model.ckpt-3", "tf/model.ckpt-3.index"};
    json_t *first = NULL;
    convert(MODEL, "tf", "--to=tensorflow");
    for (int i = 0; i < 4; i++) {
        RUN(&r, CLI, "eval", "--checkpoint", paths[i], "--data", "data", "--json");
        expect_code(&r, 0);
        json_t *value = json_loads(r.out, 0, NULL);
        assert_non_null(value);
        json_object_del(value, "checkpoint");
        json_object_del(value, "seconds");
        if (first == NULL)
            first = json_incref(value);
        assert_true(json_equal(value, first));
        json_decref(value);
    }
    json_decref(first);
    RUN(&r, CLI, "train", "--model", "resnet_v2_20", "--data", "data", "--out", "on", "--steps",
        "5", "--batch-size", "16", "--init-from", "tf/model.ckpt-3");
    expect_code(&r, 0);
    expect_part(r.err, "step 5");
}

static void parts_can_be_converted(void **state)
{
    (void)state;
    convert(MODEL, "weights", "--no-slots");
    json_t *file = inspect("weights");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(file, "slots"), "tensors")),
                     0);
    json_decref(file);
    convert("weights", "logits.safetensors", "--include=resnet_v2_20/logits");
    file = inspect("logits.safetensors");
    assert_int_equal(json_array_size(json_object_get(file, "tensors")), 2);
    json_decref(file);
    RUN(&r, CLI, "convert", GOLDEN "v2", "v2.safetensors");
    expect_code(&r, 0);
    assert_string_equal(r.err,
                        "clarinet convert: text is left out: the format cannot have STRING\n");
}

static void mistakes_are_told(void **state)
{
    (void)state;
    RUN(&r, CLI, "convert", "data/images.npy", "out");
    expect_code(&r, 1);
    expect_part(r.err, "data/images.npy: no checkpoint");
    RUN(&r, CLI, "convert", MODEL, "nowhere/out");
    expect_code(&r, 1);
    expect_part(r.err, "nowhere/out");
    assert_int_equal(mkdir("none", 0777), 0);
    RUN(&r, CLI, "inspect", "none");
    expect_code(&r, 2);
    expect_part(r.err, "without a file \"checkpoint\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversion_keeps_everything),
        cmocka_unit_test(commands_take_either_format),
        cmocka_unit_test(parts_can_be_converted),
        cmocka_unit_test(mistakes_are_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
