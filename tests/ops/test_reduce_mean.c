/* crn_reduce_mean. */
#include "op_test.h"
#include "ref/ref.h"

static void check(crn_shape shape, double low, double high)
{
    int count = (int)crn_shape_count(&shape);
    double *values = op_uniform(1, count, low, high), *dx = op_array(count);
    crn_node *x = op_input("x", shape, values), *mean = crn_reduce_mean(op_graph(), x);
    assert_int_equal(crn_node_shape(mean).rank, 0);
    const double *actual = op_fetch(mean), *actual_dx = op_fetch_gradient(mean, x);
    op_run(NULL);
    double expected = ref_mean(count, values);
    for (int i = 0; i < count; i++)
        dx[i] = 1.0 / count;
    op_compare("mean", actual, &expected, 1, OP_RTOL);
    op_compare("gradient", actual_dx, dx, count, OP_RTOL);
    op_next();
}

static void shapes(void **state)
{
    (void)state;
    static const crn_shape all[] = {
        {1, {1}},      {1, {2}},          {1, {17}},     {1, {1000}},
        {2, {31, 33}}, {4, {2, 3, 5, 7}}, {1, {100003}}, {4, {2, 32, 32, 65}}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        check(all[i], 0, 1);
        check(all[i], 1000, 1001);
    }
}

/* Sums of integers below 2^24 and a count that is a power of two: exact. */
static void exact(void **state)
{
    (void)state;
    double *values = op_integers(1, 4096, -3, 3), expected = ref_mean(4096, values);
    crn_node *mean = crn_reduce_mean(op_graph(), op_input("x", CRN_SHAPE(64, 64), values));
    const double *actual = op_fetch(mean);
    op_run(NULL);
    op_compare("mean", actual, &expected, 1, 0);
}

static void of_a_scalar(void **state)
{
    (void)state;
    double value = 3;
    crn_node *x = op_input("x", CRN_SHAPE(1), &value);
    crn_node *again = crn_reduce_mean(op_graph(), crn_reduce_mean(op_graph(), x));
    const double *actual = op_fetch(again), *dx = op_fetch_gradient(again, x);
    op_run(NULL);
    assert_true(actual[0] == 3 && dx[0] == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(shapes),
        OP_TEST(exact),
        OP_TEST(of_a_scalar),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
