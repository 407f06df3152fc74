/* crn_conv2d and crn_conv2d_same, forward and all three gradients. */
#include <stdio.h>
#include <string.h>

#include "op_test.h"
#include "ref/ref.h"

typedef struct problem {
    ref_window window;
    int c, k;
    crn_padding padding;
    bool no_biases;
    crn_activation activation;
} problem;

#define SAME CRN_PADDING_SAME
#define VALID CRN_PADDING_VALID
#define EXPLICIT CRN_PADDING_EXPLICIT
#define RELU CRN_ACTIVATION_RELU
#define RELU6 CRN_ACTIVATION_RELU6

/* Rows of the tables below; what a row does not say is stride 1, rate 1, SAME, with biases. */
#define IMAGE(N, H, W, C) .window.n = N, .window.h = H, .window.w = W, .c = C
#define KERNEL(H, W, K) .window.kernel_h = H, .window.kernel_w = W, .k = K
#define STRIDE(H, W) .window.stride_h = H, .window.stride_w = W
#define RATE(H, W) .window.rate_h = H, .window.rate_w = W
#define PAD(T, B, L, R)                                                                     \
    .padding = EXPLICIT, .window.pad_top = T, .window.pad_bottom = B, .window.pad_left = L, \
    .window.pad_right = R

/* Counts of elements. */
static int x_count(const problem *p)
{
    return p->window.n * p->window.h * p->window.w * p->c;
}

static int y_count(const problem *p)
{
    return p->window.n * p->window.out_h * p->window.out_w * p->k;
}

static int weight_count(const problem *p)
{
    return p->window.kernel_h * p->window.kernel_w * p->c * p->k;
}

static void or_1(int *value)
{
    if (*value == 0)
        *value = 1;
}

/* Fills in what a table's row leaves out, and the output's size. */
static void lay_out(problem *p)
{
    or_1(&p->window.stride_h);
    or_1(&p->window.stride_w);
    or_1(&p->window.rate_h);
    or_1(&p->window.rate_w);
    if (p->padding == CRN_PADDING_DEFAULT)
        p->padding = SAME;
    if (p->activation == CRN_ACTIVATION_DEFAULT)
        p->activation = CRN_ACTIVATION_NONE;
    if (p->padding == SAME)
        ref_window_same(&p->window);
    else if (p->padding == VALID)
        ref_window_valid(&p->window);
    else
        ref_window_explicit(&p->window);
}

static const char *describe(const problem *p, const char *what)
{
    static char text[256];
    const ref_window *w = &p->window;
    snprintf(text, sizeof text,
             "%s of [%d,%d,%d,%d] * [%d,%d,%d,%d], stride %d,%d rate %d,%d pad %d,%d,%d,%d", what,
             w->n, w->h, w->w, p->c, w->kernel_h, w->kernel_w, p->c, p->k, w->stride_h, w->stride_w,
             w->rate_h, w->rate_w, w->pad_top, w->pad_bottom, w->pad_left, w->pad_right);
    return text;
}

static crn_node *build(const problem *p, crn_node *x)
{
    const ref_window *w = &p->window;
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.stride_h = w->stride_h;
    options.stride_w = w->stride_w;
    options.rate_h = w->rate_h;
    options.rate_w = w->rate_w;
    options.padding = p->padding;
    if (p->padding == EXPLICIT) {
        options.pad_top = w->pad_top;
        options.pad_bottom = w->pad_bottom;
        options.pad_left = w->pad_left;
        options.pad_right = w->pad_right;
    }
    options.activation = p->activation;
    options.no_biases = p->no_biases;
    return crn_conv2d(op_graph(), x, p->k, w->kernel_h, w->kernel_w, &options);
}

/* What a problem is given, and what must come out. */
typedef struct values {
    double *x, *weights, *biases, *dy;
    double *y, *dx, *dweights, *dbiases;
} values;

static void work_out(const problem *p, values *v)
{
    int n_y = y_count(p);
    double *sum = op_array(n_y), *dsum = op_array(n_y);
    v->y = op_array(n_y);
    v->dx = op_array(x_count(p));
    v->dweights = op_array(weight_count(p));
    v->dbiases = op_array(p->k);
    ref_conv_forward(&p->window, p->c, p->k, v->x, v->weights, p->no_biases ? NULL : v->biases,
                     sum);
    if (p->activation == RELU) {
        ref_relu_forward(n_y, sum, v->y);
        ref_relu_backward(n_y, sum, v->dy, dsum);
    } else if (p->activation == RELU6) {
        ref_relu6_forward(n_y, sum, v->y);
        ref_relu6_backward(n_y, sum, v->dy, dsum);
    } else {
        memcpy(v->y, sum, (size_t)n_y * sizeof *sum);
        memcpy(dsum, v->dy, (size_t)n_y * sizeof *sum);
    }
    ref_conv_backward(&p->window, p->c, p->k, v->x, v->weights, dsum, v->dx, v->dweights,
                      v->dbiases);
}

/* Builds the problem with the library and compares all that comes out. */
static void check(const problem *p, values *v, double rtol)
{
    const ref_window *w = &p->window;
    crn_node *x = op_input("x", CRN_SHAPE(w->n, w->h, w->w, p->c), v->x);
    crn_node *y = build(p, x);
    op_check(crn_graph_status(op_graph()));
    crn_shape shape = crn_node_shape(y);
    if (!crn_shape_equal(&shape, &CRN_SHAPE(w->n, w->out_h, w->out_w, p->k))) {
        char text[64];
        fail_msg("%s is %s", describe(p, "shape"), crn_shape_text(&shape, text, sizeof text));
    }
    op_set("Conv/weights", v->weights);
    if (!p->no_biases)
        op_set("Conv/biases", v->biases);
    crn_node *loss = op_loss(y, v->dy);
    const double *actual_y = op_fetch(y);
    const double *dx = op_fetch_gradient(loss, x);
    const double *dweights = op_fetch_gradient_of(loss, "Conv/weights");
    const double *dbiases = p->no_biases ? NULL : op_fetch_gradient_of(loss, "Conv/biases");
    op_run(NULL);
    work_out(p, v);
    op_compare(describe(p, "y"), actual_y, v->y, y_count(p), rtol);
    op_compare(describe(p, "dx"), dx, v->dx, x_count(p), rtol);
    op_compare(describe(p, "dweights"), dweights, v->dweights, weight_count(p), rtol);
    if (!p->no_biases)
        op_compare(describe(p, "dbiases"), dbiases, v->dbiases, p->k, rtol);
}

static void check_uniform(problem p)
{
    lay_out(&p);
    values v = {.x = op_uniform(1, x_count(&p), -1, 1),
                .weights = op_uniform(2, weight_count(&p), -1, 1),
                .biases = op_uniform(3, p.k, -1, 1),
                .dy = op_uniform(4, y_count(&p), -1, 1)};
    check(&p, &v, OP_RTOL);
    op_next();
}

static void check_table(const problem *table, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_uniform(table[i]);
}
#define CHECK_TABLE(table) check_table(table, sizeof(table) / sizeof *(table))

/* ---- shape classes ---- */

static void strides_and_sizes(void **state)
{
    (void)state;
    static const problem table[] = {
        {IMAGE(1, 8, 8, 16), KERNEL(1, 1, 16)},
        {IMAGE(2, 7, 7, 64), KERNEL(1, 1, 33), STRIDE(2, 2), .no_biases = true},
        {IMAGE(1, 11, 13, 7), KERNEL(1, 1, 17), STRIDE(3, 3),
         .padding = VALID}, /* stride over kernel */
        {IMAGE(3, 8, 8, 3), KERNEL(2, 2, 32)},
        {IMAGE(1, 9, 8, 17), KERNEL(2, 2, 16), STRIDE(3, 3)}, /* stride over kernel */
        {IMAGE(2, 7, 7, 64), KERNEL(3, 3, 64), .no_biases = true},
        {IMAGE(1, 14, 14, 32), KERNEL(3, 3, 33), .no_biases = true},
        {IMAGE(5, 6, 6, 16), KERNEL(3, 3, 17), STRIDE(2, 2)},
        {IMAGE(1, 13, 17, 1), KERNEL(3, 3, 1), STRIDE(2, 1), .padding = VALID},
        {IMAGE(2, 11, 7, 33), KERNEL(3, 3, 7), STRIDE(3, 2)},
        {IMAGE(1, 12, 12, 7), KERNEL(5, 5, 16)},
        {IMAGE(2, 15, 13, 16), KERNEL(5, 5, 3), STRIDE(2, 3), .padding = VALID},
        {IMAGE(1, 30, 30, 3), KERNEL(7, 7, 64), STRIDE(2, 2), .no_biases = true},
        {IMAGE(2, 19, 23, 1), KERNEL(7, 7, 17), .padding = VALID},
        {IMAGE(1, 9, 31, 16), KERNEL(1, 7, 16)}, /* rectangular */
        {IMAGE(1, 31, 5, 3), KERNEL(7, 2, 7), STRIDE(1, 2)},
        {IMAGE(2, 29, 2, 17), KERNEL(3, 1, 32), STRIDE(2, 1), .padding = VALID},
        {IMAGE(1, 1, 1, 1), KERNEL(1, 1, 1), .padding = VALID},
        {IMAGE(3, 1, 1, 64), KERNEL(1, 1, 33)},
    };
    CHECK_TABLE(table);
}

static void rates(void **state)
{
    (void)state;
    static const problem table[] = {
        {IMAGE(1, 9, 9, 16), KERNEL(3, 3, 16), RATE(2, 2)},
        {IMAGE(2, 7, 7, 7), KERNEL(3, 3, 17), RATE(4, 4),
         .no_biases = true}, /* only the middle inside */
        {IMAGE(1, 13, 11, 33), KERNEL(3, 2, 3), RATE(2, 3), .padding = VALID},
        {IMAGE(1, 15, 15, 3), KERNEL(3, 3, 16), STRIDE(2, 2), RATE(2, 2)},
        {IMAGE(1, 16, 16, 1), KERNEL(5, 5, 7), STRIDE(3, 2), RATE(2, 1), .padding = VALID},
        {IMAGE(2, 8, 8, 16), KERNEL(1, 1, 32), RATE(2, 2)}, /* a rate of nothing */
    };
    CHECK_TABLE(table);
}

static void explicit_padding(void **state)
{
    (void)state;
    static const problem table[] = {
        {IMAGE(1, 8, 8, 16), KERNEL(3, 3, 16), STRIDE(2, 2), PAD(1, 1, 1, 1)},
        {IMAGE(2, 7, 9, 7), KERNEL(3, 3, 17), PAD(0, 2, 3, 1)},
        {IMAGE(1, 5, 5, 3), KERNEL(2, 3, 3), PAD(2, 0, 0, 3)}, /* windows see nothing */
        {IMAGE(1, 6, 5, 16), KERNEL(1, 1, 7), STRIDE(2, 2), PAD(1, 1, 0, 1)},
        {IMAGE(1, 9, 9, 33), KERNEL(3, 3, 16), STRIDE(2, 3), RATE(2, 2), PAD(2, 1, 0, 3),
         .no_biases = true},
        {IMAGE(3, 4, 4, 17), KERNEL(3, 3, 1), PAD(0, 0, 0, 0)},
    };
    CHECK_TABLE(table);
}

static void kernels_larger_than_the_input(void **state)
{
    (void)state;
    static const problem table[] = {
        {IMAGE(1, 2, 2, 16), KERNEL(3, 3, 16)},
        {IMAGE(2, 1, 1, 3), KERNEL(7, 7, 17)},
        {IMAGE(1, 3, 2, 7), KERNEL(7, 5, 33), STRIDE(2, 2)},
        {IMAGE(1, 2, 3, 1), KERNEL(5, 5, 16), PAD(2, 3, 1, 1)},
        {IMAGE(2, 3, 3, 17), KERNEL(3, 3, 3), STRIDE(3, 3), RATE(2, 2), .no_biases = true},
    };
    CHECK_TABLE(table);
}

/* 31*37 output pixels in 3 images: sums long enough for a lost part of a reduction to show. */
static void large_ones(void **state)
{
    (void)state;
    static const problem table[] = {
        {IMAGE(3, 31, 37, 16), KERNEL(3, 3, 17)},
        {IMAGE(2, 56, 56, 64), KERNEL(1, 1, 16)},
        {IMAGE(1, 7, 7, 128), KERNEL(3, 3, 131), .no_biases = true},
    };
    CHECK_TABLE(table);
}

static void activations(void **state)
{
    (void)state;
    static const problem table[] = {
        {IMAGE(1, 7, 7, 16), KERNEL(3, 3, 16), .activation = RELU},
        {IMAGE(3, 5, 9, 7), KERNEL(3, 3, 17), STRIDE(2, 2), .no_biases = true, .activation = RELU},
        {IMAGE(1, 7, 7, 32), KERNEL(5, 5, 33), .activation = RELU6},
        {IMAGE(2, 8, 8, 64), KERNEL(1, 1, 3), STRIDE(2, 2), .padding = VALID, .no_biases = true,
         .activation = RELU6},
    };
    CHECK_TABLE(table);
}

/* ---- integers that float arithmetic must get exactly right ---- */

static problem draw_problem(uint64_t key)
{
    static const int kernels[] = {1, 1, 2, 3, 3, 5, 7}, batches[] = {1, 1, 2, 3, 5};
    static const int channels[] = {1, 2, 3, 7, 8, 16, 17, 32, 33, 64};
    uint64_t d = 0;
    for (;;) {
        problem p = {
            .window = {.n = op_choose(key, &d, 5, batches),
                       .h = op_pick(key, &d, 1, 17),
                       .w = op_pick(key, &d, 1, 17),
                       .kernel_h = op_choose(key, &d, 7, kernels),
                       .stride_h = op_pick(key, &d, 1, 3),
                       .stride_w = op_pick(key, &d, 1, 3),
                       .rate_h = op_pick(key, &d, 1, 2),
                       .rate_w = op_pick(key, &d, 1, 2)},
            .c = op_choose(key, &d, 10, channels),
            .k = op_choose(key, &d, 10, channels),
            .padding = (crn_padding)op_pick(key, &d, SAME, EXPLICIT),
            .no_biases = op_pick(key, &d, 0, 1) == 1,
            .activation = (crn_activation)op_pick(key, &d, CRN_ACTIVATION_NONE, RELU6),
        };
        p.window.kernel_w =
            op_pick(key, &d, 0, 1) == 1 ? p.window.kernel_h : op_choose(key, &d, 7, kernels);
        int reach_h = (p.window.kernel_h - 1) * p.window.rate_h + 1;
        int reach_w = (p.window.kernel_w - 1) * p.window.rate_w + 1;
        p.window.pad_top = op_pick(key, &d, 0, reach_h);
        p.window.pad_bottom = op_pick(key, &d, 0, reach_h);
        p.window.pad_left = op_pick(key, &d, 0, reach_w);
        p.window.pad_right = op_pick(key, &d, 0, reach_w);
        lay_out(&p);
        double products = (double)y_count(&p) * weight_count(&p) / p.k;
        if (products > 0 && products < 1e6)
            return p;
    }
}

static void random_integers(void **state)
{
    (void)state;
    int count = op_problems();
    for (int i = 0; i < count; i++) {
        uint64_t key = (uint64_t)i * 8;
        problem p = draw_problem(key);
        values v = {.x = op_integers(key + 1, x_count(&p), -3, 3),
                    .weights = op_integers(key + 2, weight_count(&p), -3, 3),
                    .biases = op_integers(key + 3, p.k, -3, 3),
                    .dy = op_integers(key + 4, y_count(&p), -3, 3)};
        check(&p, &v, 0);
        op_next();
    }
}

/* ---- conv2d_same ---- */

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
    problem p = {IMAGE(2, 11, 10, 3), KERNEL(kernel, kernel, 16), STRIDE(stride, stride),
                 RATE(rate, rate), .no_biases = true};
    if (stride > 1) {
        int total = kernel + (kernel - 1) * (rate - 1) - 1;
        p.padding = EXPLICIT;
        p.window.pad_top = p.window.pad_left = total / 2;
        p.window.pad_bottom = p.window.pad_right = total - total / 2;
    }
    lay_out(&p);
    values v = {.x = op_integers(1, x_count(&p), -3, 3),
                .weights = op_integers(2, weight_count(&p), -3, 3),
                .dy = op_integers(3, y_count(&p), -3, 3)};
    work_out(&p, &v);
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
    op_compare(describe(&p, "same y"), actual_y, v.y, y_count(&p), 0);
    op_compare(describe(&p, "same dx"), dx, v.dx, x_count(&p), 0);
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
        OP_TEST(strides_and_sizes),
        OP_TEST(rates),
        OP_TEST(explicit_padding),
        OP_TEST(kernels_larger_than_the_input),
        OP_TEST(large_ones),
        OP_TEST(activations),
        OP_TEST(random_integers),
        OP_TEST(conv2d_same_has_slims_numbers),
        OP_TEST(conv2d_same_pads_by_kernel_and_rate),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
