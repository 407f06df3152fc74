/* Steps whose loss or gradients are not finite: refused with a name, or skipped. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/op_test.h"

enum { N = 3, H = 4, W = 5, C = 2, K = 3, CLASSES = 5, X = N * H * W * C, Y = N * CLASSES };

static crn_node *images, *labels;

/* Two convolutions with batch norm and ReLU, "a" and "b", a third "c" with biases and ReLU, and a
 * dense layer "d". */
static crn_node *build(float weight_decay)
{
    crn_graph *g = op_graph();
    crn_arg_scope scope = *crn_arg_scope_current(g);
    scope.weight_decay = weight_decay;
    scope.normalizer = CRN_NORMALIZER_BATCH_NORM;
    scope.batch_norm.scale = true;
    crn_arg_scope_push(g, &scope);
    double *one_hot = op_array(Y);
    for (int i = 0; i < N; i++)
        one_hot[i * CLASSES + i] = 1;
    images = op_input("images", CRN_SHAPE(N, H, W, C), op_uniform(1, X, -1, 1));
    labels = op_input("labels", CRN_SHAPE(N, CLASSES), one_hot);
    crn_node *x = images;
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
        o.scope = names[i];
        o.normalizer = i < 2 ? CRN_NORMALIZER_BATCH_NORM : CRN_NORMALIZER_NONE;
        x = crn_conv2d(g, x, K, 3, 3, &o);
    }
    x = crn_squeeze(g, crn_global_avg_pool(g, x));
    x = crn_dense(g, x, CLASSES, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "d");
    crn_arg_scope_pop(g);
    crn_node *loss = crn_reduce_mean(g, crn_softmax_cross_entropy(g, labels, x));
    if (weight_decay > 0)
        loss = crn_add(g, loss, crn_regularization_loss(g));
    op_check(crn_initialize_variables(g));
    return loss;
}

/* All variables and slots of the operation, one after the other. */
static double *snapshot(const crn_train_op *train, int64_t *count)
{
    char path[] = "/tmp/clarinet-guard-XXXXXX";
    crn_checkpoint *file;
    crn_error error;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    fclose(fdopen(fd, "w"));
    crn_save_options options = CRN_SAVE_OPTIONS_INIT;
    options.train = train;
    op_check(crn_checkpoint_save(op_graph(), path, &options));
    assert_int_equal(crn_checkpoint_open(path, &file, &error), CRN_OK);
    remove(path);
    enum { MOST = 2000 };
    double *values = op_array(MOST);
    float data[MOST];
    *count = 0;
    for (size_t i = 0; i < crn_checkpoint_count(file); i++) {
        crn_checkpoint_entry entry;
        crn_checkpoint_entry_at(file, i, &entry);
        size_t n = (size_t)entry.bytes / sizeof(float);
        assert_true(*count + (int64_t)n <= MOST);
        assert_int_equal(crn_checkpoint_read(file, entry.name, data, n, &error), CRN_OK);
        for (size_t k = 0; k < n; k++)
            values[(*count)++] = (double)data[k];
    }
    crn_checkpoint_free(file);
    return values;
}

static crn_minimize_options with_guard(crn_guard guard)
{
    crn_minimize_options options = CRN_MINIMIZE_OPTIONS_INIT;
    options.guard = guard;
    options.moving_average_decay = 0.75f;
    return options;
}

static void expect_refusal(crn_train_op *train, const char *part)
{
    int64_t step = crn_train_op_step(train);
    assert_int_equal(op_try(train), CRN_NON_FINITE);
    const char *text = crn_graph_error(op_graph())->text;
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", text, part);
    assert_int_equal(crn_train_op_step(train), step);
}

/* One number of a variable at a time is spoilt, and mended again. */
static void every_layer_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int count;
    } variables[] = {{"a/weights", 9 * C * K}, {"a/BatchNorm/gamma", K}, {"a/BatchNorm/beta", K},
                     {"b/weights", 9 * K * K}, {"b/BatchNorm/gamma", K}, {"b/BatchNorm/beta", K},
                     {"c/weights", 9 * K * K}, {"c/biases", K},          {"d/weights", K * CLASSES},
                     {"d/biases", CLASSES}};
    static const float decays[] = {0, 0.01f};
    for (int d = 0; d < 2; d++) {
        crn_minimize_options options = with_guard(CRN_GUARD_STOP);
        crn_train_op *train =
            crn_minimize_with(op_graph(), crn_adam(0.01f), build(decays[d]), &options);
        op_run(train);
        for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
            for (int k = 0; k < 3; k++) {
                char part[64];
                double *values = op_get(variables[i].name), *spoilt = op_get(variables[i].name);
                spoilt[k * (variables[i].count - 1) / 2] = k == 1 ? INFINITY : NAN;
                op_set(variables[i].name, spoilt);
                snprintf(part, sizeof part, "variable \"%s\" is not finite after step 1",
                         variables[i].name);
                expect_refusal(train, part);
                op_set(variables[i].name, values);
            }
        op_run(train);
        op_next();
    }
}

/* Two good steps, between them perhaps one whose feed is not finite; what is there in the end. */
static void train_past(bool spoilt, double *end, int64_t most)
{
    double *bad = op_uniform(3, X, -1, 1);
    bad[X - 1] = NAN;
    int64_t count;
    crn_minimize_options options = with_guard(CRN_GUARD_STOP);
    crn_node *loss = build(0.01f);
    crn_train_op *train = crn_minimize_with(op_graph(), crn_adam(0.01f), loss, &options);
    const double *value = op_fetch(loss);
    op_run(train);
    if (spoilt) {
        double *before = snapshot(train, &count);
        op_feed(images, bad);
        expect_refusal(train, "what was fed to \"images\"");
        assert_true(isnan(value[0])); /* the fetch tells, too */
        op_compare("all", snapshot(train, &count), before, count, 0);
    }
    op_feed(images, op_uniform(2, X, -1, 1));
    op_run(train);
    const double *values = snapshot(train, &count);
    assert_true(count <= most);
    memcpy(end, values, (size_t)count * sizeof *end);
    op_next();
}

static void a_refused_run_changes_nothing(void **state)
{
    (void)state;
    enum { MOST = 2000 };
    static double without[MOST], with[MOST];
    train_past(false, without, MOST);
    train_past(true, with, MOST);
    op_compare("in the end", with, without, MOST, 0);
}

/* All values are finite, and one gradient is 1e30 * 1e20. */
static void a_gradient_is_named(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_node *x = op_input("x", CRN_SHAPE(1, 2), (const double[]){1e30, 1e30});
    crn_node *y = crn_dense(g, x, 1, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "first");
    y = crn_dense(g, y, 1, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "second");
    crn_node *loss = crn_reduce_mean(g, y);
    crn_minimize_options options = with_guard(CRN_GUARD_STOP);
    crn_train_op *train = crn_minimize_with(g, crn_gradient_descent(1), loss, &options);
    op_check(crn_initialize_variables(g));
    op_set("first/weights", (const double[]){1e-30, -1e-30});
    op_set("second/weights", (const double[]){1e20});
    expect_refusal(train, "the gradient of \"first/weights\" is not finite after step 0");
    assert_true(op_get("second/weights")[0] == (double)1e20f);
}

static void skipped_steps_are_counted(void **state)
{
    (void)state;
    double *bad = op_uniform(3, X, -1, 1), *good = op_uniform(1, X, -1, 1);
    bad[0] = INFINITY;
    int64_t count, skipped;
    crn_minimize_options options = with_guard(CRN_GUARD_SKIP);
    crn_train_op *train = crn_minimize_with(op_graph(), crn_rmsprop(0.01f), build(0.01f), &options);
    op_run(train);
    double *before = snapshot(train, &count);
    op_feed(images, bad);
    op_run(train);
    op_run(train);
    op_compare("all", snapshot(train, &count), before, count, 0);
    op_check(crn_train_op_skipped(train, &skipped));
    assert_int_equal(skipped, 2);
    assert_int_equal(crn_train_op_step(train), 3);
    op_feed(images, good);
    op_run(train);
    op_check(crn_train_op_skipped(train, &skipped));
    assert_int_equal(skipped, 2);
    double *after = snapshot(train, &count);
    assert_false(memcmp(before, after, (size_t)count * sizeof *after) == 0);
    op_check(crn_initialize_variables(op_graph()));
    op_check(crn_train_op_skipped(train, &skipped));
    assert_int_equal(skipped, 0);
}

/* Gradients of 1e25 are finite; the norm that they are to be clipped by is not. */
static void norms_that_overflow(void **state)
{
    (void)state;
    for (int runs = 1; runs <= 2; runs++) {
        crn_minimize_options options = CRN_MINIMIZE_OPTIONS_INIT;
        options.clip_global_norm = 1;
        options.accumulate = runs;
        options.guard = CRN_GUARD_SKIP;
        crn_graph *g = op_graph();
        int64_t skipped;
        crn_node *x = op_input("x", CRN_SHAPE(1, 2), (const double[]){1e25, 1});
        crn_node *y = crn_dense(g, x, 1, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "fc");
        crn_node *loss = crn_reduce_mean(g, y);
        crn_train_op *skips = crn_minimize_with(g, crn_gradient_descent(1), loss, &options);
        options.guard = CRN_GUARD_STOP;
        crn_train_op *stops = crn_minimize_with(g, crn_gradient_descent(1), loss, &options);
        op_check(crn_initialize_variables(g));
        op_set("fc/weights", (const double[]){0, 2});
        for (int i = 0; i < runs; i++)
            op_run(skips);
        op_check(crn_train_op_skipped(skips, &skipped));
        assert_int_equal(skipped, 1);
        for (int i = 0; i + 1 < runs; i++)
            op_run(stops);
        expect_refusal(stops, "the loss or a gradient is not finite");
        op_compare("weights", op_get("fc/weights"), (const double[]){0, 2}, 2, 0);
        op_feed(x, (const double[]){0, 1});
        for (int i = 0; i < runs; i++)
            op_run(stops);
        assert_int_equal(crn_train_op_step(stops), 1);
        const double least = 2 - 1 / sqrt(2); /* biases have half of the norm */
        op_compare("weights", op_get("fc/weights"), (const double[]){0, least}, 2, 1e-6);
        op_next();
    }
}

/* A step of three runs, one of which is not finite, is skipped; the next one is as good as ever. */
static void one_of_several_runs(void **state)
{
    (void)state;
    crn_minimize_options options = CRN_MINIMIZE_OPTIONS_INIT;
    options.accumulate = 3;
    options.guard = CRN_GUARD_SKIP;
    for (int bad = 0; bad < 3; bad++) {
        crn_graph *g = op_graph();
        crn_node *x = op_input("x", CRN_SHAPE(1, 2), op_array(2));
        crn_node *y = crn_dense(g, x, 1, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "fc");
        crn_train_op *train =
            crn_minimize_with(g, crn_gradient_descent(1), crn_reduce_mean(g, y), &options);
        op_check(crn_initialize_variables(g));
        op_set("fc/weights", (const double[]){1, 2});
        for (int run = 0; run < 6; run++) {
            op_feed(x, run == bad ? (const double[]){NAN, 1} : (const double[]){run - 3, 1});
            op_run(train);
            if (run == 2)
                op_compare("skipped", op_get("fc/weights"), (const double[]){1, 2}, 2, 0);
        }
        int64_t skipped;
        op_check(crn_train_op_skipped(train, &skipped));
        assert_int_equal(skipped, 1);
        assert_int_equal(crn_train_op_step(train), 2);
        op_compare("stepped", op_get("fc/weights"), (const double[]){0, 1}, 2, 1e-6);
        op_next();
    }
}

/* With a guard that stops, a refused run may be made up for. */
static void a_refused_one_of_several_runs(void **state)
{
    (void)state;
    crn_minimize_options options = CRN_MINIMIZE_OPTIONS_INIT;
    options.accumulate = 2;
    options.guard = CRN_GUARD_STOP;
    crn_graph *g = op_graph();
    crn_node *x = op_input("x", CRN_SHAPE(1, 2), (const double[]){1, 3});
    crn_node *y = crn_dense(g, x, 1, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "fc");
    crn_train_op *train =
        crn_minimize_with(g, crn_gradient_descent(1), crn_reduce_mean(g, y), &options);
    op_check(crn_initialize_variables(g));
    op_set("fc/weights", (const double[]){1, 2});
    op_run(train);
    op_feed(x, (const double[]){0, -INFINITY});
    expect_refusal(train, "what was fed to \"x\"");
    op_feed(x, (const double[]){3, 5});
    op_run(train);
    assert_int_equal(crn_train_op_step(train), 1);
    op_compare("stepped", op_get("fc/weights"), (const double[]){-1, -2}, 2, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(every_layer_is_named),          OP_TEST(a_refused_run_changes_nothing),
        OP_TEST(a_gradient_is_named),           OP_TEST(skipped_steps_are_counted),
        OP_TEST(norms_that_overflow),           OP_TEST(one_of_several_runs),
        OP_TEST(a_refused_one_of_several_runs),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
