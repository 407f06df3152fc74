/* crn_reshape and crn_squeeze. */
#include "op_test.h"
#include "ref/ref.h"

static void check(crn_node *y, crn_node *x, const double *values, crn_shape expected)
{
    int64_t count = crn_shape_count(&expected);
    double *dy = op_integers(2, count, -3, 3);
    crn_node *loss = op_loss(y, dy);
    crn_shape shape = crn_node_shape(y);
    assert_true(crn_shape_equal(&shape, &expected));
    const double *actual = op_fetch(y), *dx = op_fetch_gradient(loss, x);
    op_run(NULL);
    op_compare("values", actual, values, count, 0);
    op_compare("gradient", dx, dy, count, 0);
    op_next();
}

static void elements_stay(void **state)
{
    (void)state;
    static const crn_shape shapes[] = {
        {1, {210}}, {2, {6, 35}}, {2, {1, 210}}, {3, {2, 15, 7}}, {4, {7, 5, 3, 2}}};
    for (int i = 0; i < 5; i++) {
        double *values = op_integers(1, 210, -3, 3);
        crn_node *x = op_input("x", CRN_SHAPE(2, 3, 5, 7), values);
        check(crn_reshape(op_graph(), x, shapes[i]), x, values, shapes[i]);
    }
}

static void squeeze(void **state)
{
    (void)state;
    double *values = op_integers(1, 3 * 17, -3, 3);
    crn_node *x = op_input("x", CRN_SHAPE(3, 1, 1, 17), values);
    check(crn_squeeze(op_graph(), x), x, values, CRN_SHAPE(3, 17));
}

/* Through a reshape to one consumer and directly to another: both gradients arrive. */
static void one_of_two_consumers(void **state)
{
    (void)state;
    double *values = op_integers(1, 24, -3, 3), *dy = op_integers(2, 24, -3, 3);
    double *expected = op_array(24), *dexpected = op_array(24);
    crn_graph *g = op_graph();
    crn_node *x = op_input("x", CRN_SHAPE(4, 6), values);
    crn_node *back = crn_reshape(g, crn_reshape(g, x, CRN_SHAPE(2, 3, 4)), CRN_SHAPE(4, 6));
    crn_node *y = crn_add(g, x, back), *loss = op_loss(y, dy);
    const double *actual = op_fetch(y), *dx = op_fetch_gradient(loss, x);
    op_run(NULL);
    ref_add(24, values, values, expected);
    ref_add(24, dy, dy, dexpected);
    op_compare("x + x", actual, expected, 24, 0);
    op_compare("gradient", dx, dexpected, 24, 0);
}

static void expect_invalid(crn_node *node)
{
    assert_null(node);
    assert_int_equal(crn_graph_status(op_graph()), CRN_INVALID);
    op_next();
}

static crn_node *input(crn_shape shape)
{
    return op_input("x", shape, op_array(crn_shape_count(&shape)));
}

static void other_counts_are_mistakes(void **state)
{
    (void)state;
    expect_invalid(crn_reshape(op_graph(), input(CRN_SHAPE(2, 3)), CRN_SHAPE(7)));
    expect_invalid(crn_reshape(op_graph(), input(CRN_SHAPE(2, 3)), CRN_SHAPE(2, 2)));
    expect_invalid(crn_reshape(op_graph(), input(CRN_SHAPE(2, 3)), CRN_SHAPE(-6, -1)));
    expect_invalid(crn_reshape(op_graph(), input(CRN_SHAPE(2, 3)), (crn_shape){5, {6, 1, 1, 1}}));
    expect_invalid(crn_reshape(op_graph(), input(CRN_SHAPE(2, 3)), (crn_shape){-1, {6}}));
    expect_invalid(crn_squeeze(op_graph(), input(CRN_SHAPE(2, 2, 1, 3))));
    expect_invalid(crn_squeeze(op_graph(), input(CRN_SHAPE(6))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(elements_stay),
        OP_TEST(squeeze),
        OP_TEST(one_of_two_consumers),
        OP_TEST(other_counts_are_mistakes),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
