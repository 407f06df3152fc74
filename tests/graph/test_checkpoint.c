/* Saving and restoring graphs, in each format and from other programs' files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/checkpoint_writer.h"
#include "ops/op_test.h"

enum { IN = 3, OUT = 2, BEFORE = 3, AFTER = 2 };

static const crn_checkpoint_format formats[] = {CRN_CHECKPOINT_SAFETENSORS,
                                                CRN_CHECKPOINT_TENSORFLOW};

/* A folder for what is saved. */
static char folder[] = "/tmp/clarinet-test-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int open_folder(void **state)
{
    return mkdtemp(folder) == NULL || op_open(state) != 0;
}

static int close_folder(void **state)
{
    static const char *const files[] = {"it", "it.index", "it.data-00000-of-00001"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(in_folder(files[i]));
    return rmdir(folder) != 0 || op_close(state) != 0;
}

/* A layer "fc" and its training by momentum. */
static crn_train_op *build(void)
{
    crn_graph *g = op_graph();
    crn_node *x = op_input("x", CRN_SHAPE(4, IN), op_uniform(1, 4 * IN, -1, 1));
    crn_node *y = crn_dense(g, x, OUT, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "fc");
    crn_node *loss = crn_reduce_mean(g, crn_relu(g, y));
    crn_train_op *train = crn_minimize(g, crn_momentum(0.25f, 0.75f), loss);
    op_check(crn_initialize_variables(g));
    op_set("fc/weights", op_uniform(2, IN * OUT, -1, 1));
    op_set("fc/biases", (double[]){0.5, 1});
    return train;
}

static void run(crn_train_op *train, int steps)
{
    for (int i = 0; i < steps; i++)
        op_run(train);
}

static size_t n_told[4];

static void count(void *data, crn_restore_event event, const char *name)
{
    (void)data, (void)name;
    n_told[event]++;
}

/* Weights, slots and step: training goes on as if it had not stopped. */
static void training_goes_on_from_either_format(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        double weights[IN * OUT], biases[OUT];
        crn_save_options save = CRN_SAVE_OPTIONS_INIT;
        crn_train_op *train = build();
        save.train = train;
        save.format = formats[i];
        run(train, BEFORE);
        op_check(crn_checkpoint_save(op_graph(), in_folder("it"), &save));
        run(train, AFTER);
        memcpy(weights, op_get("fc/weights"), sizeof weights);
        memcpy(biases, op_get("fc/biases"), sizeof biases);

        op_next();
        crn_restore_options restore = CRN_RESTORE_OPTIONS_INIT;
        train = build();
        restore.train = train;
        restore.report = count;
        memset(n_told, 0, sizeof n_told);
        op_check(crn_checkpoint_restore(op_graph(), in_folder("it"), &restore));
        assert_int_equal(n_told[CRN_RESTORE_LOADED], 4); /* and global_step is not left over */
        assert_int_equal(n_told[CRN_RESTORE_UNUSED], 0);
        assert_int_equal(crn_train_op_step(train), BEFORE);
        run(train, AFTER);
        op_compare("weights", op_get("fc/weights"), weights, IN * OUT, 0);
        op_compare("biases", op_get("fc/biases"), biases, OUT, 0);
        unlink(in_folder("it"));
        op_next();
    }
}

static const float weights[IN * OUT] = {1, 2, 3, 4, 5, 6};
static const float averages[IN * OUT] = {-1, -2, -3, -4, -5, -6};
static const float biases[OUT] = {7, 8};

/* fc/weights with a moving average, fc/biases without; the weights as doubles. */
static void write_averages(void)
{
    const crn_checkpoint_entry entries[] = {
        {"fc/weights", "F64", 2, {IN, OUT}, 0},
        {"fc/weights/ExponentialMovingAverage", "F32", 2, {IN, OUT}, 0},
        {"fc/biases", "F32", 1, {OUT}, 0},
        {"other", "F32", 1, {0}, 0}};
    const crn__checkpoint_content content = {.entries = entries, .n_entries = 4, .step = -1};
    crn__checkpoint_writer *writer;
    double wide[IN * OUT];
    for (int i = 0; i < IN * OUT; i++)
        wide[i] = weights[i];
    op_check(crn__checkpoint_writer_create(in_folder("it"), CRN_CHECKPOINT_TENSORFLOW, &content,
                                           &writer, NULL));
    op_check(crn__checkpoint_writer_append(writer, wide, sizeof wide, NULL));
    op_check(crn__checkpoint_writer_append(writer, averages, sizeof averages, NULL));
    op_check(crn__checkpoint_writer_append(writer, biases, sizeof biases, NULL));
    op_check(crn__checkpoint_writer_commit(writer, NULL));
}

static void expect_floats(const char *name, const float *expected, int n)
{
    const double *actual = op_get(name);
    for (int i = 0; i < n; i++)
        assert_true(actual[i] == (double)expected[i]);
}

static void moving_averages_are_read_where_they_are(void **state)
{
    (void)state;
    write_averages();
    for (int average = 0; average < 2; average++) {
        crn_restore_options restore = CRN_RESTORE_OPTIONS_INIT;
        restore.moving_average = average != 0;
        restore.report = count;
        memset(n_told, 0, sizeof n_told);
        build();
        op_check(crn_checkpoint_restore(op_graph(), in_folder("it"), &restore));
        expect_floats("fc/weights", average ? averages : weights, IN * OUT);
        expect_floats("fc/biases", biases, OUT);
        assert_int_equal(n_told[CRN_RESTORE_LOADED], 2);
        assert_int_equal(n_told[CRN_RESTORE_UNUSED], average ? 1 : 2);
        op_next();
    }
}

/* Nothing changes when slots are asked for that a file has not. */
static void what_is_missing_is_named(void **state)
{
    (void)state;
    write_averages();
    crn_restore_options restore = CRN_RESTORE_OPTIONS_INIT;
    crn_train_op *train = build();
    run(train, 1);
    double before[OUT];
    memcpy(before, op_get("fc/biases"), sizeof before);
    restore.train = train;
    assert_int_equal(crn_checkpoint_restore(op_graph(), in_folder("it"), &restore), CRN_NOT_FOUND);
    assert_non_null(strstr(crn_context_error(op_context())->text, "fc/weights/Momentum"));
    op_compare("biases", op_get("fc/biases"), before, OUT, 0);
    assert_int_equal(crn_train_op_step(train), 1);
    restore.ignore_missing_vars = true;
    op_check(crn_checkpoint_restore(op_graph(), in_folder("it"), &restore));
    expect_floats("fc/biases", biases, OUT);
    assert_int_equal(crn_train_op_step(train), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(training_goes_on_from_either_format),
        OP_TEST(moving_averages_are_read_where_they_are),
        OP_TEST(what_is_missing_is_named),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
