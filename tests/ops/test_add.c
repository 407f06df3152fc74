/* crn_add. */
#include "op_test.h"
#include "ref/ref.h"

static void random_integers(void **state)
{
    (void)state;
    int problems = op_problems();
    for (int i = 0; i < problems; i++) {
        uint64_t key = (uint64_t)i * 8;
        crn_shape shape = {.rank = op_pick(key, 0, 1, 4)};
        for (int j = 0; j < shape.rank; j++)
            shape.dims[j] = op_pick(key, 1 + (uint64_t)j, 1, shape.rank == 1 ? 200 : 11);
        int count = (int)crn_shape_count(&shape);
        double *a = op_integers(key + 1, count, -3, 3), *b = op_integers(key + 2, count, -3, 3);
        double *dy = op_integers(key + 3, count, -3, 3), *y = op_array(count);
        crn_node *node_a = op_input("a", shape, a), *node_b = op_input("b", shape, b);
        crn_node *sum = crn_add(op_graph(), node_a, node_b), *loss = op_loss(sum, dy);
        const double *actual = op_fetch(sum), *da = op_fetch_gradient(loss, node_a);
        const double *db = op_fetch_gradient(loss, node_b);
        op_run(NULL);
        ref_add(count, a, b, y);
        op_compare("a + b", actual, y, count, 0);
        op_compare("gradient by a", da, dy, count, 0);
        op_compare("gradient by b", db, dy, count, 0);
        op_next();
    }
}

/* a + a: the gradient comes twice. */
static void a_node_to_itself(void **state)
{
    (void)state;
    enum { COUNT = 3 * 5 * 7 };
    double *a = op_integers(1, COUNT, -3, 3), *dy = op_integers(2, COUNT, -3, 3);
    double *twice = op_array(COUNT), *dtwice = op_array(COUNT);
    crn_node *x = op_input("a", CRN_SHAPE(3, 5, 7), a), *sum = crn_add(op_graph(), x, x);
    crn_node *loss = op_loss(sum, dy);
    const double *actual = op_fetch(sum), *dx = op_fetch_gradient(loss, x);
    op_run(NULL);
    ref_add(COUNT, a, a, twice);
    ref_add(COUNT, dy, dy, dtwice);
    op_compare("a + a", actual, twice, COUNT, 0);
    op_compare("its gradient", dx, dtwice, COUNT, 0);
}

/* relu(a + b) + a, the end of a residual unit: a's gradients come by both ways. */
static void a_sum_under_relu(void **state)
{
    (void)state;
    enum { COUNT = 2 * 7 * 7 * 16 };
    double *a = op_integers(1, COUNT, -3, 3), *b = op_integers(2, COUNT, -3, 3);
    double *dy = op_integers(3, COUNT, -3, 3);
    crn_shape shape = CRN_SHAPE(2, 7, 7, 16);
    crn_graph *g = op_graph();
    crn_node *node_a = op_input("a", shape, a), *node_b = op_input("b", shape, b);
    crn_node *y = crn_add(g, crn_relu(g, crn_add(g, node_a, node_b)), node_a);
    crn_node *loss = op_loss(y, dy);
    const double *actual = op_fetch(y), *da = op_fetch_gradient(loss, node_a);
    const double *db = op_fetch_gradient(loss, node_b);
    op_run(NULL);
    double *sum = op_array(COUNT), *expected = op_array(COUNT), *dsum = op_array(COUNT);
    double *expected_da = op_array(COUNT);
    ref_add(COUNT, a, b, sum);
    ref_relu_forward(COUNT, sum, expected);
    ref_add(COUNT, expected, a, expected);
    ref_relu_backward(COUNT, sum, dy, dsum);
    ref_add(COUNT, dsum, dy, expected_da);
    op_compare("y", actual, expected, COUNT, 0);
    op_compare("gradient by a", da, expected_da, COUNT, 0);
    op_compare("gradient by b", db, dsum, COUNT, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(random_integers),
        OP_TEST(a_node_to_itself),
        OP_TEST(a_sum_under_relu),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
