/* The double reference itself: central differences of its forward prove its backward, and known
 * numbers its forward. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/random.h"

#include "ref/ref.h"

#define ROOM 4096 /* elements of the largest array here */

/* One op with its arrays; forward computes y, of n_y elements, from x, weights and biases. */
typedef struct problem {
    void (*forward)(struct problem *);
    ref_window window;
    int rows, c, k, n_y;
    double x[ROOM], weights[ROOM], biases[ROOM], y[ROOM], dy[ROOM];
} problem;

static problem p; /* too large for the stack; every test fills it anew */
static double dx[ROOM], dweights[ROOM], dbiases[ROOM];

static const double epsilon = 1e-3;

static void fill(double *array, uint64_t key, double low, double high)
{
    for (int i = 0; i < ROOM; i++)
        array[i] = low + (high - low) * crn__random_uniform(key, (uint64_t)i);
}

static void near(double actual, double expected)
{
    if (fabs(actual - expected) > 1e-11)
        fail_msg("%.15g is not %.15g", actual, expected);
}

static void begin(void (*forward)(problem *), int rows, int c, int k)
{
    p = (problem){.forward = forward, .rows = rows, .c = c, .k = k};
    fill(p.x, 1, -2, 2);
    fill(p.weights, 2, -1, 1);
    fill(p.biases, 3, -1, 1);
    fill(p.dy, 4, -1, 1);
}

/* gradient[i] must be d sum(y dy) / d variable[i]. */
static void check(double *variable, int count, const double *gradient)
{
    const double step = 1e-5;
    assert_in_range(count, 1, ROOM);
    for (int i = 0; i < count; i++) {
        double kept = variable[i];
        variable[i] = kept + step;
        p.forward(&p);
        double above = ref_dot(p.n_y, p.y, p.dy);
        variable[i] = kept - step;
        p.forward(&p);
        double below = ref_dot(p.n_y, p.y, p.dy);
        variable[i] = kept;
        double difference = (above - below) / (2 * step);
        if (fabs(difference - gradient[i]) > 1e-7 * (1 + fabs(difference)))
            fail_msg("element %d: gradient %.12g, central difference %.12g", i, gradient[i],
                     difference);
    }
}

/* ---- convolution ---- */

static void conv(problem *q)
{
    ref_conv_forward(&q->window, q->c, q->k, q->x, q->weights, q->biases, q->y);
}

static void check_conv(ref_window window, int c, int k)
{
    begin(conv, 0, c, k);
    p.window = window;
    p.n_y = window.n * window.out_h * window.out_w * k;
    assert_in_range(p.n_y, 1, ROOM);
    ref_conv_backward(&window, c, k, p.x, p.weights, p.dy, dx, dweights, dbiases);
    check(p.x, window.n * window.h * window.w * c, dx);
    check(p.weights, window.kernel_h * window.kernel_w * c * k, dweights);
    check(p.biases, k, dbiases);
}

static void conv_gradients(void **state)
{
    (void)state;
    ref_window window = {.n = 2,
                         .h = 5,
                         .w = 6,
                         .kernel_h = 3,
                         .kernel_w = 2,
                         .stride_h = 1,
                         .stride_w = 1,
                         .rate_h = 1,
                         .rate_w = 1};
    ref_window_same(&window);
    check_conv(window, 2, 3);
    window.stride_h = 2, window.stride_w = 3;
    ref_window_same(&window);
    check_conv(window, 1, 2);
    window.rate_h = 2, window.rate_w = 3;
    ref_window_valid(&window);
    check_conv(window, 3, 1);
    window.pad_top = 1, window.pad_bottom = 3, window.pad_left = 4, window.pad_right = 0;
    ref_window_explicit(&window);
    check_conv(window, 2, 2);
}

/* x[i,j] = weights[i,j] = i + j; TF-slim's own resnet tests have these numbers. */
static void check_numbers(int size, int stride, bool fixed, const double *expected)
{
    begin(conv, 0, 1, 1);
    ref_window window = {.n = 1,
                         .h = size,
                         .w = size,
                         .kernel_h = 3,
                         .kernel_w = 3,
                         .stride_h = stride,
                         .stride_w = stride,
                         .rate_h = 1,
                         .rate_w = 1,
                         .pad_top = 1,
                         .pad_bottom = 1,
                         .pad_left = 1,
                         .pad_right = 1};
    if (fixed)
        ref_window_explicit(&window);
    else
        ref_window_same(&window);
    for (int i = 0; i < size * size; i++)
        p.x[i] = i / size + i % size;
    for (int i = 0; i < 9; i++)
        p.weights[i] = i / 3 + i % 3;
    ref_conv_forward(&window, 1, 1, p.x, p.weights, NULL, p.y);
    for (int i = 0; i < window.out_h * window.out_w; i++)
        assert_true(p.y[i] == expected[i]);
}

static void conv_known_numbers(void **state)
{
    (void)state;
    static const double same_4[] = {14, 28, 43, 26, 28, 48, 66, 37, 43, 66, 84, 46, 26, 37, 46, 22};
    static const double same_4_by_2[] = {48, 37, 37, 22};
    static const double fixed_4_by_2[] = {14, 43, 43, 84};
    static const double by_2_of_5[] = {14, 43, 34, 43, 84, 55, 34, 55, 30};
    check_numbers(4, 1, false, same_4);
    check_numbers(4, 2, false, same_4_by_2);
    check_numbers(4, 2, true, fixed_4_by_2);
    check_numbers(5, 2, false, by_2_of_5);
    check_numbers(5, 2, true, by_2_of_5);
}

static void check_window(ref_window window, int top, int bottom, int out)
{
    window.n = window.w = window.kernel_w = window.stride_w = window.rate_w = 1;
    ref_window_same(&window);
    assert_int_equal(window.pad_top, top);
    assert_int_equal(window.pad_bottom, bottom);
    assert_int_equal(window.out_h, out);
}

/* Worked out by hand from TensorFlow's "Notes on padding". */
static void windows(void **state)
{
    (void)state;
    check_window((ref_window){.h = 224, .kernel_h = 7, .stride_h = 2, .rate_h = 1}, 2, 3, 112);
    check_window((ref_window){.h = 112, .kernel_h = 3, .stride_h = 2, .rate_h = 1}, 0, 1, 56);
    check_window((ref_window){.h = 7, .kernel_h = 3, .stride_h = 1, .rate_h = 2}, 2, 2, 7);
    check_window((ref_window){.h = 7, .kernel_h = 1, .stride_h = 3, .rate_h = 1}, 0, 0, 3);
    check_window((ref_window){.h = 2, .kernel_h = 5, .stride_h = 1, .rate_h = 1}, 2, 2, 2);
    ref_window valid = {.h = 7,
                        .w = 2,
                        .kernel_h = 3,
                        .kernel_w = 3,
                        .stride_h = 2,
                        .stride_w = 2,
                        .rate_h = 2,
                        .rate_w = 1};
    ref_window_valid(&valid);
    assert_int_equal(valid.out_h, 2);
    assert_int_equal(valid.out_w, 0);
}

/* ---- batch norm ---- */

static void batch_norm(problem *q)
{
    double mean[8], variance[8];
    ref_moments(q->rows, q->c, q->x, mean, variance);
    ref_batch_norm_forward(q->rows, q->c, epsilon, q->x, mean, variance, q->weights, q->biases,
                           q->y);
}

static const double moving_mean[] = {0.5, -1, 2}, moving_variance[] = {0.25, 1, 4};

static void batch_norm_inference(problem *q)
{
    ref_batch_norm_forward(q->rows, q->c, epsilon, q->x, moving_mean, moving_variance, q->weights,
                           q->biases, q->y);
}

static void batch_norm_gradients(void **state)
{
    (void)state;
    begin(batch_norm, 7, 3, 0);
    p.n_y = 21;
    ref_batch_norm_backward_training(7, 3, epsilon, p.x, p.weights, p.dy, dx, dweights, dbiases);
    check(p.x, 21, dx);
    check(p.weights, 3, dweights);
    check(p.biases, 3, dbiases);
    p.forward = batch_norm_inference;
    ref_batch_norm_backward_inference(7, 3, epsilon, p.x, moving_mean, moving_variance, p.weights,
                                      p.dy, dx, dweights, dbiases);
    check(p.x, 21, dx);
    check(p.weights, 3, dweights);
    check(p.biases, 3, dbiases);
}

/* {1, 2, 6}: mean 3, population variance 14/3, Bessel-corrected 7. */
static void batch_norm_known_numbers(void **state)
{
    (void)state;
    const double x[] = {1, 2, 6};
    double mean, variance, moved_mean = 10, moved_variance = 100, y[3];
    ref_moments(3, 1, x, &mean, &variance);
    near(mean, 3);
    near(variance, 14.0 / 3);
    ref_batch_norm_move(3, 1, 0.9, x, &moved_mean, &moved_variance);
    near(moved_mean, 9.3);
    near(moved_variance, 90.7);
    ref_batch_norm_forward(3, 1, 1 - 14.0 / 3 + 3, x, &mean, &variance, NULL, NULL, y);
    near(y[0], -1); /* a deviation of 2 */
    near(y[2], 1.5);
}

/* ---- element-wise ---- */

static void relu(problem *q)
{
    ref_relu_forward(q->n_y, q->x, q->y);
}

static void relu6(problem *q)
{
    ref_relu6_forward(q->n_y, q->x, q->y);
}

static void elementwise_gradients(void **state)
{
    (void)state;
    begin(relu, 0, 0, 0);
    p.n_y = 100;
    ref_relu_backward(100, p.x, p.dy, dx);
    check(p.x, 100, dx);
    p.forward = relu6;
    fill(p.x, 5, -3, 9);
    ref_relu6_backward(100, p.x, p.dy, dx);
    check(p.x, 100, dx);

    const double edge[] = {0, 6}, one[] = {1, 1};
    ref_relu6_forward(2, edge, p.y);
    assert_true(p.y[0] == 0 && p.y[1] == 6);
    ref_relu6_backward(2, edge, one, dx);
    assert_true(dx[0] == 0 && dx[1] == 0);
    ref_relu_backward(2, edge, one, dx);
    assert_true(dx[0] == 0 && dx[1] == 1);
}

/* ---- pools ---- */

static void max_pool(problem *q)
{
    ref_max_pool_forward(&q->window, q->c, q->x, q->y);
}

static void avg_pool(problem *q)
{
    ref_avg_pool_forward(&q->window, q->c, q->x, q->y);
}

static void check_pools(ref_window window)
{
    begin(max_pool, 0, 3, 0);
    p.window = window;
    p.n_y = window.n * window.out_h * window.out_w * 3;
    ref_max_pool_backward(&window, 3, p.x, p.dy, dx);
    check(p.x, window.n * window.h * window.w * 3, dx);
    p.forward = avg_pool;
    ref_avg_pool_backward(&window, 3, p.dy, dx);
    check(p.x, window.n * window.h * window.w * 3, dx);
}

static void pool_gradients(void **state)
{
    (void)state;
    ref_window window = {.n = 2,
                         .h = 5,
                         .w = 6,
                         .kernel_h = 3,
                         .kernel_w = 2,
                         .stride_h = 2,
                         .stride_w = 1,
                         .rate_h = 1,
                         .rate_w = 1};
    ref_window_same(&window);
    check_pools(window);
    ref_window_valid(&window);
    check_pools(window);
    window.pad_top = 2, window.pad_bottom = 1, window.pad_left = 0, window.pad_right = 1;
    ref_window_explicit(&window);
    check_pools(window);
}

/* Equal maxima: the first; padding neither wins a maximum nor counts in a mean. */
static void pool_known_numbers(void **state)
{
    (void)state;
    const double x[] = {-5, -5, -3, -7}, dy[] = {1, 2, 4, 8};
    ref_window window = {.n = 1,
                         .h = 2,
                         .w = 2,
                         .kernel_h = 2,
                         .kernel_w = 2,
                         .stride_h = 1,
                         .stride_w = 1,
                         .rate_h = 1,
                         .rate_w = 1};
    ref_window_same(&window);
    ref_max_pool_forward(&window, 1, x, p.y);
    assert_true(p.y[0] == -3 && p.y[1] == -5 && p.y[2] == -3 && p.y[3] == -7);
    ref_max_pool_backward(&window, 1, x, dy, dx);
    assert_true(dx[0] == 0 && dx[1] == 2 && dx[2] == 5 && dx[3] == 8);
    ref_avg_pool_forward(&window, 1, x, p.y);
    assert_true(p.y[0] == -5 && p.y[1] == -6 && p.y[2] == -5 && p.y[3] == -7);
    const double ties[] = {4, 4, 4, 4};
    ref_max_pool_backward(&window, 1, ties, dy, dx);
    assert_true(dx[0] == 1 && dx[1] == 2 && dx[2] == 4 && dx[3] == 8);
}

/* ---- dense, softmax, losses ---- */

static void dense(problem *q)
{
    ref_dense_forward(q->rows, q->c, q->k, q->x, q->weights, q->biases, q->y);
}

static void softmax(problem *q)
{
    ref_softmax_forward(q->rows, q->c, q->x, q->y);
}

static void cross_entropy(problem *q)
{
    ref_cross_entropy_forward(q->rows, q->c, q->weights, q->x, q->y);
}

static void l2(problem *q)
{
    q->y[0] = ref_l2(q->c, 0.25, q->x);
}

static void dense_gradients(void **state)
{
    (void)state;
    begin(dense, 3, 5, 4);
    p.n_y = 12;
    ref_dense_backward(3, 5, 4, p.x, p.weights, p.dy, dx, dweights, dbiases);
    check(p.x, 15, dx);
    check(p.weights, 20, dweights);
    check(p.biases, 4, dbiases);
}

static void softmax_gradients(void **state)
{
    (void)state;
    begin(softmax, 3, 5, 0);
    p.n_y = 15;
    ref_softmax_backward(3, 5, p.x, p.dy, dx);
    check(p.x, 15, dx);
    p.forward = cross_entropy;
    p.n_y = 3;
    ref_cross_entropy_backward(3, 5, p.weights, p.x, p.dy, dx);
    check(p.x, 15, dx);
}

static void softmax_known_numbers(void **state)
{
    (void)state;
    const double logits[] = {1e4, 1e4 - 1, -1e4}, labels[] = {0, 1, 0};
    double y[3], loss;
    ref_softmax_forward(1, 3, logits, y);
    near(y[0], 0.731058578630005);
    near(y[1], 0.268941421369995);
    assert_true(y[2] == 0);
    ref_cross_entropy_forward(1, 3, labels, logits, &loss);
    near(loss, 1.313261687518223);
}

static void reductions(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3, 6};
    assert_true(ref_mean(4, x) == 3);
    assert_true(ref_dot(4, x, x) == 50);
    assert_true(ref_l2(4, 0.5, x) == 12.5);
    begin(l2, 0, 6, 0);
    p.n_y = 1;
    for (int i = 0; i < 6; i++)
        dx[i] = 0.25 * p.x[i] * p.dy[0];
    check(p.x, 6, dx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_gradients),
        cmocka_unit_test(conv_known_numbers),
        cmocka_unit_test(windows),
        cmocka_unit_test(batch_norm_gradients),
        cmocka_unit_test(batch_norm_known_numbers),
        cmocka_unit_test(elementwise_gradients),
        cmocka_unit_test(pool_gradients),
        cmocka_unit_test(pool_known_numbers),
        cmocka_unit_test(dense_gradients),
        cmocka_unit_test(softmax_gradients),
        cmocka_unit_test(softmax_known_numbers),
        cmocka_unit_test(reductions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
