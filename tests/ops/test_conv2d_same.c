/* crn_conv2d_same. */
#include "op_conv.h"

/* The numbers of TF-slim's own tests: x[i,j] = weights[i,j] = i + j. */
static void check_same_numbers(int size, const double *expected, int count)
{
    double *x = op_array(size * size), *weights = op_array(9);
    for (int i = 0; i < size * size; i++)
        x[i] = i / size + i % size;
    for (int i = 0; i < 9; i++)
        weights[i] = i / 3 + i % 3;
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.activation = CRN_ACTIVATION_NONE;
    options.no_biases = true;
    crn_node *y = crn_conv2d_same(op_graph(), op_input("x", CRN_SHAPE(1, size, size, 1), x), 1, 3,
                                  2, &options);
    op_check(crn_graph_status(op_graph()));
    op_set("Conv/weights", weights);
    const double *actual = op_fetch(y);
    op_run(NULL);
    op_compare("conv2d_same", actual, expected, count, 0);
    op_next();
}

static void conv2d_same_has_slims_numbers(void **state)
{
    (void)state;
    check_same_numbers(4, (const double[]){14, 43, 43, 84}, 4);
    check_same_numbers(5, (const double[]){14, 43, 34, 43, 84, 55, 34, 55, 30}, 9);
}

/* Against SAME for stride 1, explicit padding for others, with the rate in the kernel's extent. */
static void check_same(int kernel, int stride, int rate)
{
    conv_problem p = {IMAGE(2, 11, 10, 3), KERNEL(kernel, kernel, 16), STRIDE(stride, stride),
                      RATE(rate, rate), NO_BIASES};
    if (stride > 1) {
        int total = kernel + (kernel - 1) * (rate - 1) - 1;
        p.padding = CRN_PADDING_EXPLICIT;
        p.window.pad_top = p.window.pad_left = total / 2;
        p.window.pad_bottom = p.window.pad_right = total - total / 2;
    }
    conv_lay_out(&p);
    conv_values v = conv_integers(&p, 0);
    conv_work_out(&p, &v);
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.rate_h = options.rate_w = rate;
    options.activation = CRN_ACTIVATION_NONE;
    options.no_biases = true;
    options.scope = "root";
    crn_node *x = op_input("x", CRN_SHAPE(2, 11, 10, 3), v.x);
    crn_node *y = crn_conv2d_same(op_graph(), x, 16, kernel, stride, &options);
    op_check(crn_graph_status(op_graph()));
    op_set("root/weights", v.weights);
    crn_node *loss = op_loss(y, v.dy);
    const double *actual_y = op_fetch(y), *dx = op_fetch_gradient(loss, x);
    op_run(NULL);
    op_compare(conv_describe(&p, "same y"), actual_y, v.y, conv_y_count(&p), 0);
    op_compare(conv_describe(&p, "same dx"), dx, v.dx, conv_x_count(&p), 0);
    op_next();
}

static void conv2d_same_pads_by_kernel_and_rate(void **state)
{
    (void)state;
    check_same(3, 1, 1);
    check_same(3, 2, 1);
    check_same(7, 2, 1);
    check_same(2, 2, 1); /* the odd pixel goes after */
    check_same(3, 3, 2);
    check_same(3, 1, 2);
    check_same(1, 2, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(conv2d_same_has_slims_numbers),
        OP_TEST(conv2d_same_pads_by_kernel_and_rate),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
