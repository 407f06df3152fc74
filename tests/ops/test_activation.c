/* crn_relu and crn_relu6. */
#include "op_test.h"
#include "ref/ref.h"

typedef struct rule {
    const char *name;
    crn_node *(*build)(crn_graph *, crn_node *);
    void (*forward)(int, const double *, double *);
    void (*backward)(int, const double *, const double *, double *);
} rule;

static const rule rules[] = {
    {"relu", crn_relu, ref_relu_forward, ref_relu_backward},
    {"relu6", crn_relu6, ref_relu6_forward, ref_relu6_backward},
};

/* Nothing is rounded, so all must be equal. */
static void check(const rule *r, crn_shape shape, const double *values, uint64_t key)
{
    int count = (int)crn_shape_count(&shape);
    double *dy = op_integers(key, count, -3, 3), *y = op_array(count), *dx = op_array(count);
    crn_node *x = op_input("x", shape, values), *node = r->build(op_graph(), x);
    crn_node *loss = op_loss(node, dy);
    const double *actual_y = op_fetch(node), *actual_dx = op_fetch_gradient(loss, x);
    op_run(NULL);
    r->forward(count, values, y);
    r->backward(count, values, dy, dx);
    op_compare(r->name, actual_y, y, count, 0);
    op_compare("gradient", actual_dx, dx, count, 0);
    op_next();
}

static void edges_pass_no_gradient(void **state)
{
    (void)state;
    static const float edges[] = {0,       -0.0f, 6,      5.9999995f, 6.0000005f, 1e-30f,
                                  -1e-30f, 3e38f, -3e38f, 1,          7,          -6};
    enum { COUNT = sizeof edges / sizeof *edges };
    double values[COUNT];
    for (int i = 0; i < COUNT; i++)
        values[i] = edges[i];
    for (int r = 0; r < 2; r++)
        check(&rules[r], CRN_SHAPE(COUNT), values, 1);
}

static void random_integers(void **state)
{
    (void)state;
    int count = op_problems();
    for (int i = 0; i < count; i++) {
        uint64_t key = (uint64_t)i * 8;
        crn_shape shape = {.rank = op_pick(key, 0, 1, 4)};
        for (int j = 0; j < shape.rank; j++)
            shape.dims[j] = op_pick(key, 1 + (uint64_t)j, 1, shape.rank == 1 ? 200 : 11);
        double *values = op_integers(key + 1, crn_shape_count(&shape), -3, 9);
        check(&rules[i % 2], shape, values, key + 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(edges_pass_no_gradient),
        OP_TEST(random_integers),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
