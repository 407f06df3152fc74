/* crn_dense. */
#include <stdio.h>

#include "op_test.h"
#include "ref/ref.h"

typedef struct problem {
    int n, inputs, outputs;
    crn_activation activation;
} problem;

static void check(const problem *p, const double *x, const double *weights, const double *biases,
                  const double *dy, double rtol)
{
    int n_x = p->n * p->inputs, n_y = p->n * p->outputs, n_w = p->inputs * p->outputs;
    crn_node *in = op_input("x", CRN_SHAPE(p->n, p->inputs), x);
    crn_node *node =
        crn_dense(op_graph(), in, p->outputs, p->activation, CRN_NORMALIZER_NONE, NULL);
    op_set("fully_connected/weights", weights);
    op_set("fully_connected/biases", biases);
    crn_node *loss = op_loss(node, dy);
    const double *actual_y = op_fetch(node), *actual_dx = op_fetch_gradient(loss, in);
    const double *actual_dw = op_fetch_gradient_of(loss, "fully_connected/weights");
    const double *actual_db = op_fetch_gradient_of(loss, "fully_connected/biases");
    op_run(NULL);

    double *sum = op_array(n_y), *y = op_array(n_y), *dsum = op_array(n_y);
    double *dx = op_array(n_x), *dw = op_array(n_w), *db = op_array(p->outputs);
    ref_dense_forward(p->n, p->inputs, p->outputs, x, weights, biases, sum);
    op_activate(p->activation, n_y, sum, dy, y, dsum);
    ref_dense_backward(p->n, p->inputs, p->outputs, x, weights, dsum, dx, dw, db);
    char what[128];
    snprintf(what, sizeof what, "dense [%d,%d] to %d", p->n, p->inputs, p->outputs);
    op_compare(what, actual_y, y, n_y, rtol);
    op_compare("dx", actual_dx, dx, n_x, rtol);
    op_compare("dweights", actual_dw, dw, n_w, rtol);
    op_compare("dbiases", actual_db, db, p->outputs, rtol);
    op_next();
}

static void random_integers(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 3, 7, 10, 16, 17, 31, 32, 33, 64, 100, 131};
    static const int batches[] = {1, 2, 3, 5, 7, 16, 33};
    int count = op_problems();
    for (int i = 0; i < count; i++) {
        uint64_t key = (uint64_t)i * 8;
        problem p = {op_choose(key, 0, 7, batches), op_choose(key, 1, 13, sizes),
                     op_choose(key, 2, 13, sizes),
                     (crn_activation)op_pick(key, 3, CRN_ACTIVATION_NONE, CRN_ACTIVATION_RELU6)};
        check(&p, op_integers(key + 1, p.n * p.inputs, -3, 3),
              op_integers(key + 2, p.inputs * p.outputs, -3, 3),
              op_integers(key + 3, p.outputs, -3, 3), op_integers(key + 4, p.n * p.outputs, -3, 3),
              0);
    }
}

static void long_sums(void **state)
{
    (void)state;
    static const problem problems[] = {{2, 2048, 1001, CRN_ACTIVATION_NONE},
                                       {300, 100, 10, CRN_ACTIVATION_NONE},
                                       {1, 3001, 3, CRN_ACTIVATION_RELU}};
    for (int i = 0; i < 3; i++) {
        const problem *p = &problems[i];
        check(p, op_uniform(1, p->n * p->inputs, -1, 1),
              op_uniform(2, p->inputs * p->outputs, -1, 1), op_uniform(3, p->outputs, -1, 1),
              op_uniform(4, p->n * p->outputs, -1, 1), OP_RTOL);
    }
}

/* [6,5] -> dense 7 -> batch norm over the rows -> ReLU, without biases. */
static void with_a_normalizer(void **state)
{
    (void)state;
    double *x = op_uniform(1, 30, -1, 1), *weights = op_uniform(2, 35, -1, 1);
    double *beta = op_uniform(3, 7, -1, 1), *sum = op_array(42), *y = op_array(42);
    double *mean = op_array(7), *variance = op_array(7);
    crn_node *node = crn_dense(op_graph(), op_input("x", CRN_SHAPE(6, 5), x), 7,
                               CRN_ACTIVATION_RELU, CRN_NORMALIZER_BATCH_NORM, "fc");
    assert_null(crn_variable_find(op_graph(), "fc/biases"));
    op_check(crn_graph_status(op_graph()));
    op_set("fc/weights", weights);
    op_set("fc/BatchNorm/beta", beta);
    const double *actual = op_fetch(node);
    op_run(NULL);
    ref_dense_forward(6, 5, 7, x, weights, NULL, sum);
    ref_moments(6, 7, sum, mean, variance);
    ref_batch_norm_forward(6, 7, 0.001, sum, mean, variance, NULL, beta, y);
    ref_relu_forward(42, y, y);
    op_compare("y", actual, y, 42, OP_RTOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(random_integers),
        OP_TEST(long_sums),
        OP_TEST(with_a_normalizer),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
