/* Gradients that meet: shared variables, nodes with several consumers, and none at all. */
#include "ops/op_test.h"
#include "ref/ref.h"

/* The same convolution over two inputs: its gradients are those of both. */
static void shared_weights_sum_their_gradients(void **state)
{
    (void)state;
    enum { C = 3, K = 5, X = 2 * 4 * 5 * C, Y = 2 * 4 * 5 * K, WEIGHTS = 9 * C * K };
    crn_graph *g = op_graph();
    ref_window window = {2, 4, 5, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0};
    ref_window_same(&window);
    double *x[2] = {op_integers(1, X, -3, 3), op_integers(2, X, -3, 3)};
    double *weights = op_integers(3, WEIGHTS, -3, 3), *dy = op_integers(4, Y, -3, 3);
    crn_node *y[2];
    for (int i = 0; i < 2; i++) {
        crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
        options.activation = CRN_ACTIVATION_NONE;
        crn_scope_push(g, "tower");
        if (i == 1)
            crn_scope_reuse(g);
        y[i] = crn_conv2d(g, op_input(i == 0 ? "a" : "b", CRN_SHAPE(2, 4, 5, C), x[i]), K, 3, 3,
                          &options);
        crn_scope_pop(g);
    }
    crn_node *loss = op_loss(crn_add(g, y[0], y[1]), dy);
    op_set("tower/Conv/weights", weights);
    const double *dweights = op_fetch_gradient_of(loss, "tower/Conv/weights");
    const double *dbiases = op_fetch_gradient_of(loss, "tower/Conv/biases");
    op_run(NULL);
    double *expected = op_array(WEIGHTS), *expected_biases = op_array(K);
    for (int i = 0; i < 2; i++) {
        double *dw = op_array(WEIGHTS), *db = op_array(K);
        ref_conv_backward(&window, C, K, x[i], weights, dy, NULL, dw, db);
        ref_add(WEIGHTS, expected, dw, expected);
        ref_add(K, expected_biases, db, expected_biases);
    }
    op_compare("dweights", dweights, expected, WEIGHTS, 0);
    op_compare("dbiases", dbiases, expected_biases, K, 0);
}

/* Each kind of op adds to a gradient that is already there. */
static void every_op_adds_to_a_gradient(void **state)
{
    (void)state;
    enum { C = 4, COUNT = 2 * 4 * 4 * C, POOLED = 2 * 2 * 2 * C };
    crn_graph *g = op_graph();
    double *values = op_uniform(1, COUNT, -3, 3), *dy = op_uniform(2, POOLED, -1, 1);
    crn_node *x = op_input("x", CRN_SHAPE(2, 4, 4, C), values);
    crn_node *pools[] = {crn_max_pool2d(g, x, 2, 2, NULL), crn_avg_pool2d(g, x, 2, 2, NULL),
                         crn_subsample(g, x, 2)};
    crn_node *y = crn_add(g, crn_add(g, pools[0], pools[1]), pools[2]);
    crn_batch_norm_options options = CRN_BATCH_NORM_OPTIONS_INIT;
    options.is_training = false;
    options.epsilon = 0.25f; /* with the first moving variance 1: a deviation of sqrt(1.25) */
    y = crn_add(g, y, crn_max_pool2d(g, crn_batch_norm(g, x, &options), 2, 2, NULL));
    crn_node *sum = op_loss(y, dy);
    crn_node *loss = crn_add(g, sum, crn_reduce_mean(g, x));
    op_set("BatchNorm/moving_variance", (double[]){1, 1, 1, 1});
    const double *dx = op_fetch_gradient(loss, x);
    op_run(NULL);

    ref_window by_2 = {2, 4, 4, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0};
    ref_window_valid(&by_2);
    double *expected = op_array(COUNT), *share = op_array(COUNT);
    ref_max_pool_backward(&by_2, C, values, dy, expected);
    for (int i = 0; i < COUNT; i++) /* the maximum is the same one after batch norm */
        expected[i] = expected[i] * (1 + 1 / 1.118033988749895) + 1.0 / COUNT;
    ref_avg_pool_backward(&by_2, C, dy, share);
    ref_add(COUNT, expected, share, expected);
    by_2.kernel_h = by_2.kernel_w = 1;
    ref_max_pool_backward(&by_2, C, values, dy, share);
    ref_add(COUNT, expected, share, expected);
    op_compare("dx", dx, expected, COUNT, OP_RTOL);
}

/* What a loss does not depend on has a gradient of 0, and needs no feed. */
static void gradients_of_the_unrelated_are_0(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_node *x = op_input("x", CRN_SHAPE(3), op_uniform(1, 3, -1, 1));
    crn_node *loss = crn_reduce_mean(g, crn_relu(g, x));
    crn_variable(g, "v", CRN_SHAPE(2), (crn_initializer){CRN_INIT_CONSTANT, 1}, true);
    const double *dv = op_fetch_gradient_of(loss, "v");
    op_check(crn_initialize_variables(g));
    op_run(NULL);
    assert_true(dv[0] == 0 && dv[1] == 0);
}

static void the_gradient_of_a_loss_by_itself_is_1(void **state)
{
    (void)state;
    crn_node *x = op_input("x", CRN_SHAPE(3), op_uniform(1, 3, -1, 1));
    crn_node *loss = crn_reduce_mean(op_graph(), x);
    const double *value = op_fetch(loss), *one = op_fetch_gradient(loss, loss);
    op_run(NULL);
    assert_true(one[0] == 1 && value[0] != 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(shared_weights_sum_their_gradients),
        OP_TEST(every_op_adds_to_a_gradient),
        OP_TEST(gradients_of_the_unrelated_are_0),
        OP_TEST(the_gradient_of_a_loss_by_itself_is_1),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
