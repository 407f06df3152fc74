/* crn_softmax_cross_entropy and crn_sparse_softmax_cross_entropy. */
#include <math.h>

#include "op_test.h"
#include "ref/ref.h"

typedef enum kind { ONE_HOT, DISTRIBUTION, SPARSE } kind;

/* labels: [n, classes], also for SPARSE, whose rows are one-hot. */
static void check(kind k, int n, int classes, const double *labels, const double *logits)
{
    double *dloss = op_uniform(9, n, -1, 1), *loss = op_array(n), *dlogits = op_array(n * classes);
    double *indices = op_array(n);
    for (int i = 0; i < n * classes; i++)
        if (labels[i] == 1)
            indices[i / classes] = i % classes;
    crn_graph *g = op_graph();
    crn_node *x = op_input("logits", CRN_SHAPE(n, classes), logits);
    crn_node *node =
        k == SPARSE
            ? crn_sparse_softmax_cross_entropy(g, op_input_int("labels", CRN_SHAPE(n), indices), x)
        : k == ONE_HOT
            ? crn_softmax_cross_entropy(g, op_input_int("labels", CRN_SHAPE(n, classes), labels), x)
            : crn_softmax_cross_entropy(g, op_input("labels", CRN_SHAPE(n, classes), labels), x);
    crn_node *sum = op_loss(node, dloss);
    const double *actual = op_fetch(node), *actual_dlogits = op_fetch_gradient(sum, x);
    op_run(NULL);
    ref_cross_entropy_forward(n, classes, labels, logits, loss);
    ref_cross_entropy_backward(n, classes, labels, logits, dloss, dlogits);
    op_compare("loss", actual, loss, n, OP_RTOL);
    op_compare("gradient", actual_dlogits, dlogits, n * classes, OP_RTOL);
    op_next();
}

static double *one_hot(uint64_t key, int n, int classes)
{
    double *labels = op_array(n * classes);
    for (int i = 0; i < n; i++)
        labels[i * classes + op_pick(key, (uint64_t)i, 0, classes - 1)] = 1;
    return labels;
}

static const int sizes[][2] = {{1, 2}, {3, 7}, {5, 10}, {2, 16}, {17, 33}, {1, 64}, {3, 1001}};
#define FOR_EACH_SIZE(i) for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)

static void one_hot_labels(void **state)
{
    (void)state;
    FOR_EACH_SIZE(i)
    {
        int n = sizes[i][0], classes = sizes[i][1];
        check(ONE_HOT, n, classes, one_hot(i, n, classes), op_uniform(i + 50, n * classes, -4, 4));
    }
}

static void sparse_labels(void **state)
{
    (void)state;
    FOR_EACH_SIZE(i)
    {
        int n = sizes[i][0], classes = sizes[i][1];
        check(SPARSE, n, classes, one_hot(i, n, classes), op_uniform(i + 50, n * classes, -4, 4));
    }
}

/* Smoothed ones, and rows that do not sum to 1 at all. */
static void float_labels(void **state)
{
    (void)state;
    FOR_EACH_SIZE(i)
    {
        int n = sizes[i][0], classes = sizes[i][1];
        double *smooth = one_hot(i, n, classes);
        for (int j = 0; j < n * classes; j++)
            smooth[j] = (float)(0.9 * smooth[j] + 0.1 / classes);
        check(DISTRIBUTION, n, classes, smooth, op_uniform(i + 50, n * classes, -4, 4));
        check(DISTRIBUTION, n, classes, op_uniform(i, n * classes, 0, 1),
              op_uniform(i + 50, n * classes, -4, 4));
    }
}

/* Labels smoothed by s are labels (1 - s) + s / classes, of the double reference; `labels` as for
 * check. */
static void check_smoothed(kind k, int n, int classes, double s, const double *labels,
                           const double *logits)
{
    double *dloss = op_uniform(9, n, -1, 1), *loss = op_array(n), *dlogits = op_array(n * classes);
    double *indices = op_array(n), *smooth = op_array(n * classes);
    for (int i = 0; i < n * classes; i++) {
        smooth[i] = labels[i] * (1 - s) + s / classes;
        if (labels[i] == 1)
            indices[i / classes] = i % classes;
    }
    crn_graph *g = op_graph();
    crn_node *x = op_input("logits", CRN_SHAPE(n, classes), logits);
    crn_node *y = k == SPARSE    ? op_input_int("labels", CRN_SHAPE(n), indices)
                  : k == ONE_HOT ? op_input_int("labels", CRN_SHAPE(n, classes), labels)
                                 : op_input("labels", CRN_SHAPE(n, classes), labels);
    crn_node *node = crn_softmax_cross_entropy_smoothed(g, y, x, (float)s);
    crn_node *sum = op_loss(node, dloss);
    const double *actual = op_fetch(node), *actual_dlogits = op_fetch_gradient(sum, x);
    op_run(NULL);
    ref_cross_entropy_forward(n, classes, smooth, logits, loss);
    ref_cross_entropy_backward(n, classes, smooth, logits, dloss, dlogits);
    op_compare("loss", actual, loss, n, OP_RTOL);
    op_compare("gradient", actual_dlogits, dlogits, n * classes, OP_RTOL);
    /* and the gradient is the loss's slope, by central differences in double */
    for (int i = 0; i < n * classes; i += classes / 2 + 1) {
        double *moved = op_array(n * classes), *up = op_array(n), *down = op_array(n), slope = 0;
        for (int j = 0; j < n * classes; j++)
            moved[j] = logits[j];
        moved[i] = logits[i] + 1e-4;
        ref_cross_entropy_forward(n, classes, smooth, moved, up);
        moved[i] = logits[i] - 1e-4;
        ref_cross_entropy_forward(n, classes, smooth, moved, down);
        for (int j = 0; j < n; j++)
            slope += dloss[j] * (up[j] - down[j]) / 2e-4;
        assert_true(fabs(actual_dlogits[i] - slope) < 1e-5);
    }
    op_next();
}

static void smoothed_labels(void **state)
{
    (void)state;
    static const double shares[] = {0, 0.1f, 0.5, 1};
    FOR_EACH_SIZE(i)
    {
        int n = sizes[i][0], classes = sizes[i][1];
        for (int s = 0; s < 4; s++)
            for (kind k = ONE_HOT; k <= SPARSE; k++) {
                double *labels = one_hot(i, n, classes);
                check_smoothed(k, n, classes, shares[s], labels,
                               op_uniform(i + 50, n * classes, -4, 4));
            }
    }
}

static void smoothing_is_a_share(void **state)
{
    (void)state;
    static const float wrong[] = {-0.1f, 1.5f, NAN};
    for (int i = 0; i < 3; i++) {
        crn_node *x = op_input("logits", CRN_SHAPE(2, 3), op_array(6));
        crn_node *labels = op_input("labels", CRN_SHAPE(2, 3), op_array(6));
        assert_null(crn_softmax_cross_entropy_smoothed(op_graph(), labels, x, wrong[i]));
        assert_int_equal(crn_graph_status(op_graph()), CRN_INVALID);
        op_next();
    }
}

/* exp(1e4) is not a float, and 1e4 - log(…) would lose what matters. */
static void large_logits(void **state)
{
    (void)state;
    static const double logits[] = {1e4, 9999, 9998, -1e4, 9999, 1e4, 9998, 9999};
    static const double second[] = {0, 1, 0, 0, 0, 0, 1, 0}, last[] = {0, 0, 0, 1, 0, 0, 1, 0};
    check(ONE_HOT, 2, 4, second, logits);
    check(SPARSE, 2, 4, second, logits);
    check(DISTRIBUTION, 2, 4, last, logits);
}

static void a_sparse_label_outside_is_nan(void **state)
{
    (void)state;
    enum { N = 5, CLASSES = 3 };
    static const double labels[] = {2, 3, 0, -1, 1};
    static const double rows[] = {0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0};
    static const double one[] = {1, 1, 1, 1, 1};
    double *logits = op_uniform(1, N * CLASSES, -2, 2);
    double *expected = op_array(N), *dexpected = op_array(N * CLASSES);
    crn_node *x = op_input("logits", CRN_SHAPE(N, CLASSES), logits);
    crn_node *loss = crn_sparse_softmax_cross_entropy(
        op_graph(), op_input_int("labels", CRN_SHAPE(N), labels), x);
    const double *actual = op_fetch(loss);
    const double *dactual = op_fetch_gradient(op_loss(loss, one), x);
    op_run(NULL);
    ref_cross_entropy_forward(N, CLASSES, rows, logits, expected);
    ref_cross_entropy_backward(N, CLASSES, rows, logits, one, dexpected);
    for (int i = 0; i < N; i++)
        if (labels[i] < 0 || labels[i] >= CLASSES) {
            assert_true(isnan(actual[i]));
            for (int j = 0; j < CLASSES; j++)
                assert_true(isnan(dactual[i * CLASSES + j]));
        } else { /* and its neighbours are untouched */
            op_compare("loss", &actual[i], &expected[i], 1, OP_RTOL);
            op_compare("gradient", &dactual[i * CLASSES], &dexpected[i * CLASSES], CLASSES,
                       OP_RTOL);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(one_hot_labels),
        OP_TEST(sparse_labels),
        OP_TEST(float_labels),
        OP_TEST(smoothed_labels),
        OP_TEST(smoothing_is_a_share),
        OP_TEST(large_logits),
        OP_TEST(a_sparse_label_outside_is_nan),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
