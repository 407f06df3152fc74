/* crn_softmax. */
#include "op_test.h"
#include "ref/ref.h"

static void check(crn_shape shape, const double *logits)
{
    int count = (int)crn_shape_count(&shape), classes = (int)shape.dims[shape.rank - 1];
    double *dy = op_uniform(9, count, -1, 1), *y = op_array(count), *dx = op_array(count);
    crn_node *x = op_input("logits", shape, logits), *node = crn_softmax(op_graph(), x);
    crn_node *loss = op_loss(node, dy);
    const double *actual_y = op_fetch(node), *actual_dx = op_fetch_gradient(loss, x);
    op_run(NULL);
    ref_softmax_forward(count / classes, classes, logits, y);
    ref_softmax_backward(count / classes, classes, logits, dy, dx);
    op_compare("softmax", actual_y, y, count, OP_RTOL);
    op_compare("gradient", actual_dx, dx, count, OP_RTOL);
    op_next();
}

static void shapes(void **state)
{
    (void)state;
    static const crn_shape all[] = {
        {2, {1, 2}},  {2, {3, 7}},    {2, {5, 10}},       {2, {2, 16}},      {2, {17, 33}},
        {2, {1, 64}}, {2, {2, 1001}}, {4, {3, 1, 1, 10}}, {4, {2, 3, 2, 5}},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        check(all[i], op_uniform(i, crn_shape_count(&all[i]), -4, 4));
}

/* exp(1e4) is not a float: rows must be shifted by their largest. */
static void large_logits(void **state)
{
    (void)state;
    static const double logits[] = {1e4, 9999, 9998,  -1e4, -1e4, -1e4, -1e4, -1e4,
                                    1e4, 1e4,  -9998, 0,    88,   89,   90,   -104};
    check(CRN_SHAPE(4, 4), logits);
    check(CRN_SHAPE(2, 8), logits);
    check(CRN_SHAPE(1, 16), logits);
}

static void one_class_is_certain(void **state)
{
    (void)state;
    double *logits = op_uniform(1, 5, -4, 4);
    crn_node *x = op_input("logits", CRN_SHAPE(5, 1), logits), *y = crn_softmax(op_graph(), x);
    const double *actual = op_fetch(y);
    op_run(NULL);
    op_compare("softmax", actual, (const double[]){1, 1, 1, 1, 1}, 5, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(shapes),
        OP_TEST(large_logits),
        OP_TEST(one_class_is_certain),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
