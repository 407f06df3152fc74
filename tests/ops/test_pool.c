/* crn_max_pool2d, crn_avg_pool2d, crn_global_avg_pool and crn_subsample. */
#include <stdio.h>

#include "op_test.h"
#include "ref/ref.h"

typedef struct problem {
    ref_window window;
    int c;
    crn_padding padding;
    bool average;
} problem;

static int x_count(const problem *p)
{
    return p->window.n * p->window.h * p->window.w * p->c;
}

static int y_count(const problem *p)
{
    return p->window.n * p->window.out_h * p->window.out_w * p->c;
}

static const char *describe(const problem *p, const char *what)
{
    static char text[256];
    const ref_window *w = &p->window;
    snprintf(text, sizeof text, "%s of [%d,%d,%d,%d], window %d,%d stride %d,%d pad %d,%d,%d,%d",
             what, w->n, w->h, w->w, p->c, w->kernel_h, w->kernel_w, w->stride_h, w->stride_w,
             w->pad_top, w->pad_bottom, w->pad_left, w->pad_right);
    return text;
}

static crn_node *build(const problem *p, crn_node *x)
{
    const ref_window *w = &p->window;
    crn_pool_options options = CRN_POOL_OPTIONS_INIT;
    options.stride_h = w->stride_h;
    options.stride_w = w->stride_w;
    options.padding = p->padding;
    if (p->padding == CRN_PADDING_EXPLICIT) {
        options.pad_top = w->pad_top;
        options.pad_bottom = w->pad_bottom;
        options.pad_left = w->pad_left;
        options.pad_right = w->pad_right;
    }
    return p->average ? crn_avg_pool2d(op_graph(), x, w->kernel_h, w->kernel_w, &options)
                      : crn_max_pool2d(op_graph(), x, w->kernel_h, w->kernel_w, &options);
}

/* p is laid out: its output's size is known. */
static void check(const problem *p, const double *values, const double *dy, double rtol)
{
    const ref_window *w = &p->window;
    crn_node *x = op_input("x", CRN_SHAPE(w->n, w->h, w->w, p->c), values), *node = build(p, x);
    crn_node *loss = op_loss(node, dy);
    crn_shape shape = crn_node_shape(node);
    assert_true(crn_shape_equal(&shape, &CRN_SHAPE(w->n, w->out_h, w->out_w, p->c)));
    const double *actual_y = op_fetch(node), *actual_dx = op_fetch_gradient(loss, x);
    op_run(NULL);
    double *y = op_array(y_count(p)), *dx = op_array(x_count(p));
    if (p->average) {
        ref_avg_pool_forward(w, p->c, values, y);
        ref_avg_pool_backward(w, p->c, dy, dx);
    } else {
        ref_max_pool_forward(w, p->c, values, y);
        ref_max_pool_backward(w, p->c, values, dy, dx);
    }
    op_compare(describe(p, "y"), actual_y, y, y_count(p), rtol);
    op_compare(describe(p, "dx"), actual_dx, dx, x_count(p), rtol);
    op_next();
}

static problem draw_problem(uint64_t key)
{
    static const int channels[] = {1, 3, 7, 16, 17, 32, 33, 64}, batches[] = {1, 2, 3, 5};
    for (uint64_t d = 0;; d += 32) {
        problem p = {.window = {.n = op_choose(key, d, 4, batches),
                                .h = op_pick(key, d + 1, 1, 15),
                                .w = op_pick(key, d + 2, 1, 15),
                                .kernel_h = op_pick(key, d + 3, 1, 3),
                                .kernel_w = op_pick(key, d + 4, 1, 3),
                                .stride_h = op_pick(key, d + 5, 1, 3),
                                .stride_w = op_pick(key, d + 6, 1, 3),
                                .rate_h = 1,
                                .rate_w = 1},
                     .c = op_choose(key, d + 7, 8, channels),
                     .padding =
                         (crn_padding)op_pick(key, d + 8, CRN_PADDING_SAME, CRN_PADDING_EXPLICIT)};
        ref_window *w = &p.window;
        if (op_pick(key, d + 9, 0, 1) == 1)
            w->kernel_w = w->kernel_h;
        /* Less than the window, so that each window sees something. */
        w->pad_top = op_pick(key, d + 10, 0, w->kernel_h - 1);
        w->pad_bottom = op_pick(key, d + 11, 0, w->kernel_h - 1);
        w->pad_left = op_pick(key, d + 12, 0, w->kernel_w - 1);
        w->pad_right = op_pick(key, d + 13, 0, w->kernel_w - 1);
        if (p.padding == CRN_PADDING_SAME)
            ref_window_same(w);
        else if (p.padding == CRN_PADDING_VALID)
            ref_window_valid(w);
        else
            ref_window_explicit(w);
        if (y_count(&p) > 0)
            return p;
    }
}

/* Seven values among so many: windows full of ties. Half of the problems have none above 0, where
 * padding taken for a 0 would win. */
static void max_of_random_integers(void **state)
{
    (void)state;
    int count = op_problems();
    for (int i = 0; i < count; i++) {
        uint64_t key = (uint64_t)i * 8;
        problem p = draw_problem(key);
        check(&p, op_integers(key + 1, x_count(&p), i % 2 == 0 ? -3 : -7, i % 2 == 0 ? 3 : -1),
              op_integers(key + 2, y_count(&p), -3, 3), 0);
    }
}

/* Not exact: thirds and sixths are rounded. */
static void mean_of_random_values(void **state)
{
    (void)state;
    int count = op_problems();
    for (int i = 0; i < count; i++) {
        uint64_t key = (uint64_t)i * 8 + 4;
        problem p = draw_problem(key);
        p.average = true;
        check(&p, op_uniform(key + 1, x_count(&p), -3, 3), op_uniform(key + 2, y_count(&p), -3, 3),
              OP_RTOL);
    }
}

static void windows_larger_than_the_image(void **state)
{
    (void)state;
    for (int average = 0; average < 2; average++) {
        problem p = {.window = {2, 2, 3, 5, 7, 2, 3, 1, 1, 0, 0, 0, 0, 0, 0},
                     .c = 17,
                     .padding = CRN_PADDING_SAME,
                     .average = average == 1};
        ref_window_same(&p.window);
        check(&p, op_integers(1, x_count(&p), -9, -1), op_integers(2, y_count(&p), -3, 3), OP_RTOL);
    }
}

/* resnet's pool1 and subsample, on enough pixels for several work-items. */
static void as_in_resnet(void **state)
{
    (void)state;
    problem pool1 = {.window = {2, 56, 56, 3, 3, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0},
                     .c = 64,
                     .padding = CRN_PADDING_SAME};
    ref_window_same(&pool1.window);
    check(&pool1, op_integers(1, x_count(&pool1), 0, 9), op_integers(2, y_count(&pool1), -3, 3), 0);

    problem by_2 = {.window = {2, 7, 10, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0}, .c = 33};
    ref_window_valid(&by_2.window);
    double *values = op_integers(1, x_count(&by_2), -3, 3), *y = op_array(y_count(&by_2));
    crn_node *x = op_input("x", CRN_SHAPE(2, 7, 10, 33), values);
    assert_true(crn_subsample(op_graph(), x, 1) == x);
    const double *actual = op_fetch(crn_subsample(op_graph(), x, 2));
    op_run(NULL);
    ref_max_pool_forward(&by_2.window, 33, values, y);
    op_compare("subsample", actual, y, y_count(&by_2), 0);
}

static void global_mean(void **state)
{
    (void)state;
    static const int sizes[][4] = {{1, 7, 7, 64},  {3, 1, 1, 16},  {2, 5, 3, 7},
                                   {5, 13, 1, 33}, {1, 40, 41, 1}, {2, 8, 8, 128}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int n = sizes[i][0], h = sizes[i][1], w = sizes[i][2], c = sizes[i][3];
        /* A window as large as the image. */
        problem p = {.window = {n, h, w, h, w, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1}, .c = c};
        double *values = op_uniform(1, x_count(&p), -1, 3), *dy = op_uniform(2, n * c, -1, 1);
        double *y = op_array(n * c), *dx = op_array(x_count(&p));
        crn_node *x = op_input("x", CRN_SHAPE(n, h, w, c), values);
        crn_node *mean = crn_global_avg_pool(op_graph(), x), *loss = op_loss(mean, dy);
        crn_shape shape = crn_node_shape(mean);
        assert_true(crn_shape_equal(&shape, &CRN_SHAPE(n, 1, 1, c)));
        const double *actual = op_fetch(mean), *actual_dx = op_fetch_gradient(loss, x);
        op_run(NULL);
        ref_avg_pool_forward(&p.window, c, values, y);
        ref_avg_pool_backward(&p.window, c, dy, dx);
        op_compare(describe(&p, "mean"), actual, y, n * c, OP_RTOL);
        op_compare(describe(&p, "its gradient"), actual_dx, dx, x_count(&p), OP_RTOL);
        op_next();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(max_of_random_integers),
        OP_TEST(mean_of_random_values),
        OP_TEST(windows_larger_than_the_image),
        OP_TEST(as_in_resnet),
        OP_TEST(global_mean),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
