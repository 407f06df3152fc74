/* Moving averages in the variables' place, and of what. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/op_test.h"

enum { N = 4, C = 3, K = 5 };

static const char *const names[] = {"conv/weights", "conv/BatchNorm/beta",
                                    "conv/BatchNorm/moving_mean", "conv/BatchNorm/moving_variance"};
static const int counts[] = {C * K, K, K, K};
enum { VARIABLES = 4 };

static crn_node *images;

static crn_train_op *build(float decay, crn_node **output)
{
    crn_graph *g = op_graph();
    crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
    o.scope = "conv";
    o.normalizer = CRN_NORMALIZER_BATCH_NORM;
    images = op_input("images", CRN_SHAPE(N, 2, 2, C), op_uniform(1, N * 4 * C, -1, 1));
    crn_node *y = crn_conv2d(g, images, K, 1, 1, &o);
    *output = crn_reduce_mean(g, y);
    op_check(crn_initialize_variables(g));
    op_set("conv/weights", op_uniform(2, C * K, -1, 1));
    crn_minimize_options options = CRN_MINIMIZE_OPTIONS_INIT;
    options.moving_average_decay = decay;
    return crn_minimize_with(g, crn_momentum(0.5f, 0.5f), *output, &options);
}

/* average = decay average + (1 - decay) w of all that a step changes, from the first values on. */
static void averages_follow(void **state)
{
    (void)state;
    crn_node *loss;
    crn_train_op *train = build(0.75f, &loss);
    double *averages[VARIABLES];
    for (int i = 0; i < VARIABLES; i++)
        averages[i] = op_get(names[i]);
    for (int step = 0; step < 5; step++) {
        op_feed(images, op_uniform((uint64_t)step, N * 4 * C, -1, 1));
        op_run(train);
        double *values[VARIABLES];
        for (int i = 0; i < VARIABLES; i++) {
            values[i] = op_get(names[i]);
            for (int k = 0; k < counts[i]; k++)
                averages[i][k] = 0.75 * averages[i][k] + 0.25 * values[i][k];
        }
        op_check(crn_train_op_use_averages(train, true));
        op_check(crn_train_op_use_averages(train, true));
        for (int i = 0; i < VARIABLES; i++)
            op_compare(names[i], op_get(names[i]), averages[i], counts[i], OP_RTOL);
        op_check(crn_train_op_use_averages(train, false));
        for (int i = 0; i < VARIABLES; i++)
            op_compare(names[i], op_get(names[i]), values[i], counts[i], 0);
    }
}

/* A value that is computed after the exchange is computed with the averages, also where what is
 * made of the variables is kept. */
static void runs_take_the_averages(void **state)
{
    (void)state;
    crn_node *loss;
    crn_train_op *train = build(0.75f, &loss);
    for (int step = 0; step < 3; step++)
        op_run(train);
    crn_node *variable = crn_variable_find(op_graph(), names[0]);
    const double *weights = op_fetch(variable), *value = op_fetch(loss);
    op_run(NULL);
    double before = weights[0], first = value[0];
    op_check(crn_train_op_use_averages(train, true));
    op_run(NULL);
    assert_true(weights[0] == op_get(names[0])[0]);
    assert_true(weights[0] != before);
    double averaged = value[0], *averages[VARIABLES];
    for (int i = 0; i < VARIABLES; i++)
        averages[i] = op_get(names[i]);
    op_check(crn_train_op_use_averages(train, false));
    op_run(NULL);
    assert_true(weights[0] == before && value[0] == first);
    for (int i = 0; i < VARIABLES; i++)
        op_set(names[i], averages[i]);
    op_run(NULL);
    assert_true(value[0] == averaged && averaged != first);
}

static void no_step_with_averages_in_place(void **state)
{
    (void)state;
    crn_node *loss;
    crn_train_op *train = build(0.75f, &loss);
    op_run(train);
    op_check(crn_train_op_use_averages(train, true));
    assert_int_equal(op_try(train), CRN_INVALID);
    assert_non_null(strstr(crn_graph_error(op_graph())->text, "crn_train_op_use_averages"));
    crn_save_options options = CRN_SAVE_OPTIONS_INIT;
    options.train = train;
    assert_int_equal(crn_checkpoint_save(op_graph(), "/tmp/clarinet-no-such-file", &options),
                     CRN_INVALID);
    assert_int_equal(crn_train_op_step(train), 1);
    op_check(crn_train_op_use_averages(train, false));
    op_run(train);
    op_next();
    train = build(0, &loss);
    assert_int_equal(crn_train_op_use_averages(train, true), CRN_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(averages_follow),
        OP_TEST(runs_take_the_averages),
        OP_TEST(no_step_with_averages_in_place),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
