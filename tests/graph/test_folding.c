/*
 * Ops that an op after them computes: the values are those of the single ops, also after a variable
 * has changed, and whichever of the nodes in between are fetched.
 */
#include "ops/op_test.h"
#include "ref/ref.h"

enum { N = 2, H = 5, W = 4, C = 16, ROWS = N * H * W, COUNT = ROWS * C, WEIGHTS = 9 * C * C };

typedef struct unit {
    crn_node *conv, *norm, *sum, *output;
    double *x;
} unit;

/* relu(x + batch norm by the moving statistics(3x3 convolution of x)) */
static unit build(void)
{
    crn_graph *g = op_graph();
    unit u = {.x = op_uniform(1, COUNT, -1, 1)};
    crn_node *x = op_input("x", CRN_SHAPE(N, H, W, C), u.x);
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.activation = CRN_ACTIVATION_NONE;
    options.no_biases = true;
    u.conv = crn_conv2d(g, x, C, 3, 3, &options);
    crn_batch_norm_options norm = CRN_BATCH_NORM_OPTIONS_INIT;
    norm.is_training = false;
    norm.scale = true;
    u.norm = crn_batch_norm(g, u.conv, &norm);
    u.sum = crn_add(g, x, u.norm);
    u.output = crn_relu(g, u.sum);
    op_check(crn_initialize_variables(g));
    return u;
}

typedef struct expected {
    double *conv, *norm, *sum, *output;
} expected;

/* What the variables' present values give. */
static expected work_out(const unit *u)
{
    ref_window window = {.n = N,
                         .h = H,
                         .w = W,
                         .kernel_h = 3,
                         .kernel_w = 3,
                         .stride_h = 1,
                         .stride_w = 1,
                         .rate_h = 1,
                         .rate_w = 1};
    ref_window_same(&window);
    expected e = {op_array(COUNT), op_array(COUNT), op_array(COUNT), op_array(COUNT)};
    ref_conv_forward(&window, C, C, u->x, op_get("Conv/weights"), NULL, e.conv);
    ref_batch_norm_forward(ROWS, C, 0.001, e.conv, op_get("BatchNorm/moving_mean"),
                           op_get("BatchNorm/moving_variance"), op_get("BatchNorm/gamma"),
                           op_get("BatchNorm/beta"), e.norm);
    ref_add(COUNT, u->x, e.norm, e.sum);
    ref_relu_forward(COUNT, e.sum, e.output);
    return e;
}

/* Winograd's rounding, where the device takes that way. */
#define RTOL 5e-5

static void variables_change(void **state)
{
    (void)state;
    static const char *const variables[] = {"BatchNorm/gamma", "BatchNorm/beta",
                                            "BatchNorm/moving_mean", "BatchNorm/moving_variance"};
    unit u = build();
    for (int i = -1; i < 5; i++) {
        if (i == 4)
            op_set("Conv/weights", op_uniform(20, WEIGHTS, -1, 1));
        else if (i >= 0)
            op_set(variables[i], op_uniform(10 + (uint64_t)i, C, 0.5, 2));
        op_forget_fetches();
        const double *output = op_fetch(u.output);
        op_run(NULL);
        op_compare(i < 0   ? "first"
                   : i < 4 ? variables[i]
                           : "weights",
                   output, work_out(&u).output, COUNT, RTOL);
    }
}

static void anything_in_between_is_fetched(void **state)
{
    (void)state;
    unit u = build();
    op_set("BatchNorm/moving_mean", op_uniform(10, C, -1, 1));
    op_set("BatchNorm/gamma", op_uniform(11, C, 0.5, 2));
    expected e = work_out(&u);
    for (int fetched = 1; fetched < 16; fetched++) {
        crn_node *const nodes[] = {u.conv, u.norm, u.sum, u.output};
        const double *const values[] = {e.conv, e.norm, e.sum, e.output};
        const double *actual[4];
        op_forget_fetches();
        for (int k = 0; k < 4; k++)
            actual[k] = (fetched >> k & 1) != 0 ? op_fetch(nodes[k]) : NULL;
        op_run(NULL);
        for (int k = 0; k < 4; k++)
            if (actual[k] != NULL)
                op_compare("a node of the unit", actual[k], values[k], COUNT, RTOL);
    }
}

/*
 * norm(x + convolution of x), as units of version 2 end and the next begin: the sum computes the
 * convolution, which takes the sum's moments along for the batch norm.
 */
static void sum_computes_convolution(void **state)
{
    (void)state;
    enum { H2 = 18, W2 = 19, C2 = 32, ROWS2 = N * H2 * W2, COUNT2 = ROWS2 * C2 };
    for (int kernel = 1; kernel <= 3; kernel += 2) {
        crn_graph *g = op_graph();
        double *x_values = op_uniform(1, COUNT2, 2, 4); /* a mean far from 0 */
        crn_scope_push(g, kernel == 1 ? "one" : "three");
        crn_node *x = op_input(kernel == 1 ? "x1" : "x3", CRN_SHAPE(N, H2, W2, C2), x_values);
        crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
        options.activation = CRN_ACTIVATION_NONE;
        crn_node *conv = crn_conv2d(g, x, C2, kernel, kernel, &options);
        crn_node *sum = crn_add(g, x, conv);
        crn_batch_norm_options norm_options = CRN_BATCH_NORM_OPTIONS_INIT;
        norm_options.is_training = true;
        crn_node *norm = crn_batch_norm(g, sum, &norm_options);
        crn_scope_pop(g);
        op_check(crn_initialize_variables(g));
        const char *weights = kernel == 1 ? "one/Conv/weights" : "three/Conv/weights";
        const char *biases = kernel == 1 ? "one/Conv/biases" : "three/Conv/biases";
        op_set(biases, op_uniform(3, C2, -1, 1));

        ref_window window = {.n = N,
                             .h = H2,
                             .w = W2,
                             .kernel_h = kernel,
                             .kernel_w = kernel,
                             .stride_h = 1,
                             .stride_w = 1,
                             .rate_h = 1,
                             .rate_w = 1};
        ref_window_same(&window);
        double *conv_values = op_array(COUNT2), *sum_values = op_array(COUNT2),
               *norm_values = op_array(COUNT2), mean[C2], variance[C2];
        ref_conv_forward(&window, C2, C2, x_values, op_get(weights), op_get(biases), conv_values);
        ref_add(COUNT2, x_values, conv_values, sum_values);
        ref_moments(ROWS2, C2, sum_values, mean, variance);
        ref_batch_norm_forward(ROWS2, C2, 0.001, sum_values, mean, variance, NULL, NULL,
                               norm_values);
        for (int fetched = 1; fetched < 8; fetched++) {
            crn_node *const nodes[] = {conv, sum, norm};
            const double *const values[] = {conv_values, sum_values, norm_values};
            const double *actual[3];
            op_forget_fetches();
            for (int k = 0; k < 3; k++)
                actual[k] = (fetched >> k & 1) != 0 ? op_fetch(nodes[k]) : NULL;
            op_run(NULL);
            for (int k = 0; k < 3; k++)
                if (actual[k] != NULL)
                    op_compare("a node of the unit's end", actual[k], values[k], COUNT2, RTOL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(variables_change),
        OP_TEST(anything_in_between_is_fetched),
        OP_TEST(sum_computes_convolution),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
