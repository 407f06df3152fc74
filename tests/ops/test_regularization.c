/* crn_regularization_loss. */
#include "op_test.h"
#include "ref/ref.h"

enum { W1 = 3 * 3 * 2 * 4, W2 = 4 * 5, W3 = 4 * 3 };

static crn_node *conv(crn_node *x, int64_t outputs, int32_t kernel, const char *scope)
{
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.activation = CRN_ACTIVATION_NONE;
    options.scope = scope;
    return crn_conv2d(op_graph(), x, outputs, kernel, kernel, &options);
}

/* Two convolutions with a weight decay of their own each, a dense layer without. */
static crn_node *build(const double *x)
{
    crn_graph *g = op_graph();
    crn_arg_scope scope = *crn_arg_scope_current(g);
    scope.weight_decay = 0.25f;
    crn_arg_scope_push(g, &scope);
    crn_node *y = conv(op_input("x", CRN_SHAPE(1, 3, 3, 2), x), 4, 3, "a");
    scope.weight_decay = 0.5f;
    crn_arg_scope_push(g, &scope);
    conv(y, 5, 1, "b");
    crn_arg_scope_pop(g);
    crn_arg_scope_pop(g);
    return crn_dense(g, crn_squeeze(g, crn_global_avg_pool(g, y)), 3, CRN_ACTIVATION_NONE,
                     CRN_NORMALIZER_NONE, "c");
}

static void value_and_gradient(void **state)
{
    (void)state;
    double *w1 = op_uniform(1, W1, -1, 1), *w2 = op_uniform(2, W2, -1, 1);
    build(op_uniform(3, 18, -1, 1));
    op_set("a/weights", w1);
    op_set("b/weights", w2);
    crn_node *loss = crn_regularization_loss(op_graph());
    assert_int_equal(crn_node_shape(loss).rank, 0);
    const double *actual = op_fetch(loss), *d1 = op_fetch_gradient_of(loss, "a/weights");
    const double *d2 = op_fetch_gradient_of(loss, "b/weights");
    op_run(NULL);
    double expected = ref_l2(W1, 0.25, w1) + ref_l2(W2, 0.5, w2);
    op_compare("loss", actual, &expected, 1, OP_RTOL);
    for (int i = 0; i < W1; i++)
        w1[i] *= 0.25;
    for (int i = 0; i < W2; i++)
        w2[i] *= 0.5;
    op_compare("gradient by a", d1, w1, W1, OP_RTOL);
    op_compare("gradient by b", d2, w2, W2, OP_RTOL);
}

/* total = data loss + regularisation: both reach the weights. */
static void added_to_a_loss(void **state)
{
    (void)state;
    double *w1 = op_uniform(1, W1, -1, 1), *w3 = op_uniform(2, W3, -1, 1);
    crn_graph *g = op_graph();
    crn_node *data = crn_reduce_mean(g, build(op_uniform(3, 18, -1, 1)));
    op_set("a/weights", w1);
    op_set("c/weights", w3);
    crn_node *total = crn_add(g, data, crn_regularization_loss(g));
    const double *d_data = op_fetch_gradient_of(data, "a/weights");
    op_run(NULL);
    double *expected = op_array(W1);
    for (int i = 0; i < W1; i++)
        expected[i] = d_data[i] + 0.25 * w1[i];
    op_forget_fetches(); /* a run has one loss */
    const double *d_total = op_fetch_gradient_of(total, "a/weights");
    op_run(NULL);
    op_compare("gradient", d_total, expected, W1, OP_RTOL);
    assert_true(ref_dot(W1, d_data, d_data) > 0);
}

static void zero_without_any(void **state)
{
    (void)state;
    conv(op_input("x", CRN_SHAPE(1, 3, 3, 2), op_array(18)), 4, 3, "a");
    const double *actual = op_fetch(crn_regularization_loss(op_graph()));
    op_run(NULL);
    assert_true(actual[0] == 0);
}

/* Sums over more elements than one work-item takes. */
static void a_large_weight(void **state)
{
    (void)state;
    enum { COUNT = 2048 * 101 };
    crn_graph *g = op_graph();
    crn_arg_scope scope = *crn_arg_scope_current(g);
    scope.weight_decay = 1e-4f;
    crn_arg_scope_push(g, &scope);
    crn_dense(g, op_input("x", CRN_SHAPE(1, 2048), op_array(2048)), 101, CRN_ACTIVATION_NONE,
              CRN_NORMALIZER_NONE, "fc");
    crn_arg_scope_pop(g);
    double *w = op_uniform(1, COUNT, -1, 1), expected = ref_l2(COUNT, 1e-4f, w);
    op_set("fc/weights", w);
    const double *actual = op_fetch(crn_regularization_loss(g));
    op_run(NULL);
    op_compare("loss", actual, &expected, 1, OP_RTOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(value_and_gradient),
        OP_TEST(added_to_a_loss),
        OP_TEST(zero_without_any),
        OP_TEST(a_large_weight),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
