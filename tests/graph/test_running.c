/* Runs: batch sizes, repetition, and what a step may and may not change. */
#include <math.h>
#include <string.h>

#include "ops/op_test.h"
#include "ref/ref.h"

enum { MOST = 5, IMAGE = 6 * 5 * 3, CLASSES = 4, WEIGHTS = 3 * 3 * 3 * 7 };

/* One of each kind of layer, with an open batch, and each image on its own: batch norm is by the
 * moving statistics. */
typedef struct net {
    crn_node *images, *labels, *logits, *loss, *dweights;
    float image_data[MOST * IMAGE];
    int32_t label_data[MOST];
} net;

static void build(net *n)
{
    crn_graph *g = op_graph();
    n->images = crn_placeholder(g, "images", CRN_F32, CRN_SHAPE(CRN_ANY, 6, 5, 3));
    n->labels = crn_placeholder(g, "labels", CRN_I32, CRN_SHAPE(CRN_ANY));
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.stride_h = 2;
    crn_node *y = crn_conv2d(g, n->images, 7, 3, 3, &options);
    crn_batch_norm_options norm = CRN_BATCH_NORM_OPTIONS_INIT;
    norm.is_training = false;
    norm.activation = CRN_ACTIVATION_RELU6;
    y = crn_add(g, y, crn_batch_norm(g, y, &norm));
    crn_node *mean = crn_squeeze(g, crn_global_avg_pool(g, y)); /* of [batch,3,5,7] */
    crn_node *pooled =
        crn_add(g, crn_max_pool2d(g, y, 2, 2, NULL), crn_avg_pool2d(g, y, 2, 2, NULL));
    pooled = crn_reshape(g, pooled, CRN_SHAPE(CRN_ANY, 14));
    n->logits =
        crn_add(g, crn_dense(g, mean, CLASSES, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "mean"),
                crn_dense(g, pooled, CLASSES, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "pooled"));
    n->loss = crn_reduce_mean(g, crn_sparse_softmax_cross_entropy(g, n->labels, n->logits));
    op_check(crn_initialize_variables(g));
    n->dweights = crn_gradient(g, n->loss, crn_variable_find(g, "Conv/weights"));
    double *values = op_uniform(1, MOST * IMAGE, -1, 1);
    for (int i = 0; i < MOST * IMAGE; i++)
        n->image_data[i] = (float)values[i];
    for (int i = 0; i < MOST; i++)
        n->label_data[i] = i % CLASSES;
}

/* Images first to first + count - 1. */
static void run(net *n, int first, int count, float *logits, float *dweights)
{
    crn_feed feeds[] = {{n->images, n->image_data + first * IMAGE, CRN_SHAPE(count, 6, 5, 3)},
                        {n->labels, n->label_data + first, CRN_SHAPE(count)}};
    crn_fetch fetches[] = {{n->logits, logits, sizeof(float) * (size_t)(count * CLASSES), {0}},
                           {n->dweights, dweights, sizeof(float) * WEIGHTS, {0}}};
    op_check(crn_run(op_graph(), NULL, feeds, 2, fetches, 2));
    assert_true(crn_shape_equal(&fetches[0].shape, &CRN_SHAPE(count, CLASSES)));
}

static void compare(const char *what, const float *actual, const double *expected, int count)
{
    double *values = op_array(count);
    for (int i = 0; i < count; i++)
        values[i] = actual[i];
    op_compare(what, values, expected, count, OP_RTOL);
}

/* An image's logits do not depend on its company, and the gradient of a mean is the mean of those
 * of its parts: one batch size checks another. */
static void batch_sizes_agree(void **state)
{
    (void)state;
    static net n;
    build(&n);
    float logits[MOST * CLASSES], dweights[WEIGHTS];
    double *one_logits = op_array(MOST * CLASSES), *one_dweights = op_array(MOST * WEIGHTS);
    for (int i = 0; i < MOST; i++) {
        run(&n, i, 1, logits, dweights);
        for (int k = 0; k < CLASSES; k++)
            one_logits[i * CLASSES + k] = logits[k];
        for (int k = 0; k < WEIGHTS; k++)
            one_dweights[i * WEIGHTS + k] = dweights[k];
    }
    static const int sizes[] = {5, 2, 3, 1, 4, 5, 2};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int count = sizes[s];
        double *mean = op_array(WEIGHTS);
        for (int i = 0; i < count; i++)
            for (int k = 0; k < WEIGHTS; k++)
                mean[k] += one_dweights[i * WEIGHTS + k] / count;
        run(&n, 0, count, logits, dweights);
        compare("logits", logits, one_logits, count * CLASSES);
        compare("dweights", dweights, mean, WEIGHTS);
    }
}

/* More plans than are kept. */
static void many_batch_sizes(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_node *x = crn_placeholder(g, "x", CRN_F32, CRN_SHAPE(CRN_ANY, 3));
    crn_node *mean = crn_reduce_mean(g, crn_relu(g, x));
    float data[3 * 40], value;
    for (int i = 0; i < 3 * 40; i++)
        data[i] = (float)(i / 3);
    for (int round = 0; round < 2; round++)
        for (int batch = 40; batch >= 1; batch -= 3) {
            crn_feed feed = {x, data, CRN_SHAPE(batch, 3)};
            crn_fetch fetch = {mean, &value, sizeof value, {0}};
            op_check(crn_run(g, NULL, &feed, 1, &fetch, 1));
            assert_true(fabs(value - (batch - 1) / 2.0) <= OP_RTOL * batch);
        }
}

/* Two runs, a second graph and a run at another batch size between them: the same bits. */
static void runs_are_bit_equal(void **state)
{
    (void)state;
    static net n, m;
    float logits[3][MOST * CLASSES], dweights[3][WEIGHTS], other[MOST * CLASSES], drop[WEIGHTS];
    build(&n);
    run(&n, 0, MOST, logits[0], dweights[0]);
    run(&n, 0, 2, other, drop);
    run(&n, 0, MOST, logits[1], dweights[1]);
    op_next();
    build(&m);
    run(&m, 0, MOST, logits[2], dweights[2]);
    for (int i = 1; i < 3; i++) {
        assert_memory_equal(logits[i], logits[0], sizeof logits[0]);
        assert_memory_equal(dweights[i], dweights[0], sizeof dweights[0]);
    }
}

/* ---- a training step and what is fetched with it ---- */

enum { ROWS = 6, C = 5, COUNT = ROWS * C };

static crn_node *normalize(crn_node *x, const char *scope, bool training, bool reuse)
{
    crn_batch_norm_options options = CRN_BATCH_NORM_OPTIONS_INIT;
    options.decay = 0.5f;
    options.is_training = training;
    options.scope = scope;
    crn_scope_push(op_graph(), "");
    if (reuse)
        crn_scope_reuse(op_graph());
    crn_node *y = crn_batch_norm(op_graph(), x, &options);
    crn_scope_pop(op_graph());
    return y;
}

/* Everything fetched is of the step's beginning, wherever in the graph it is. */
static void fetches_are_from_before_the_update(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    double *x = op_uniform(1, COUNT, 1, 3), *weights = op_uniform(2, C * 3, -1, 1);
    crn_node *in = op_input("x", CRN_SHAPE(ROWS, C), x);
    crn_node *y = normalize(in, "bn", true, false);
    y = crn_dense(g, y, 3, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "fc");
    crn_node *loss = crn_reduce_mean(g, y);
    crn_node *inference = normalize(in, "bn", false, true);
    op_check(crn_initialize_variables(g));
    op_set("fc/weights", weights);
    crn_train_op *train = crn_minimize(g, crn_gradient_descent(1), loss);
    const double *fetched = op_fetch(crn_variable_find(g, "fc/weights"));
    const double *fetched_mean = op_fetch(crn_variable_find(g, "bn/moving_mean"));
    const double *fetched_y = op_fetch(y), *fetched_inference = op_fetch(inference);
    op_run(train);

    double *mean = op_array(C), *variance = op_array(C), *zeros = op_array(C);
    double *normal = op_array(COUNT), *expected_y = op_array(ROWS * 3);
    double *expected_inference = op_array(COUNT), *ones = op_array(C);
    for (int i = 0; i < C; i++)
        ones[i] = 1;
    ref_moments(ROWS, C, x, mean, variance);
    ref_batch_norm_forward(ROWS, C, 0.001, x, mean, variance, NULL, NULL, normal);
    ref_dense_forward(ROWS, C, 3, normal, weights, NULL, expected_y);
    ref_batch_norm_forward(ROWS, C, 0.001, x, zeros, ones, NULL, NULL, expected_inference);
    op_compare("weights", fetched, weights, C * 3, 0);
    op_compare("moving_mean", fetched_mean, zeros, C, 0);
    op_compare("y", fetched_y, expected_y, ROWS * 3, OP_RTOL);
    op_compare("inference", fetched_inference, expected_inference, COUNT, OP_RTOL);
    assert_true(op_get("bn/moving_mean")[0] > 0.4); /* and then they moved: x is 1 at least */
}

/* A training step moves the statistics of the layers that its loss depends on, and no others. */
static void layers_beside_the_loss_stay(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_node *in = op_input("x", CRN_SHAPE(ROWS, C), op_uniform(1, COUNT, 1, 3));
    crn_node *loss = crn_reduce_mean(g, normalize(in, "trained", true, false));
    crn_node *beside = normalize(in, "beside", true, false);
    op_check(crn_initialize_variables(g));
    crn_train_op *train = crn_minimize(g, crn_gradient_descent(1), loss);
    op_fetch(beside);
    op_run(train);
    assert_true(op_get("trained/moving_mean")[0] > 0.4);
    op_compare("beside", op_get("beside/moving_mean"), op_array(C), C, 0);
}

/* With nothing to fetch a run may return early; what it did is there after a wait. */
static void runs_without_fetches(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    double *x = op_integers(1, 12, -3, 3), *expected = op_array(3), *ones = op_array(4);
    crn_node *in = op_input("x", CRN_SHAPE(4, 3), x);
    crn_node *y = crn_dense(g, in, 1, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "fc");
    crn_node *loss = crn_reduce_mean(g, y);
    crn_train_op *train = crn_minimize(g, crn_gradient_descent(4), loss);
    op_set("fc/weights", op_array(3));
    op_set("fc/biases", op_array(1));
    op_run(train);
    op_run(train);
    op_check(crn_graph_finish(g));
    for (int i = 0; i < 4; i++)
        ones[i] = -2; /* two steps of -4 * 1/4 */
    ref_dense_backward(4, 3, 1, x, expected, ones, NULL, expected, NULL);
    op_compare("weights", op_get("fc/weights"), expected, 3, 0);
}

/* Nothing to feed, fetch or do; and only a variable. */
static void runs_for_little(void **state)
{
    (void)state;
    op_run(NULL);
    crn_variable(op_graph(), "v", CRN_SHAPE(2), (crn_initializer){CRN_INIT_CONSTANT, 7}, true);
    op_check(crn_initialize_variables(op_graph()));
    const double *v = op_fetch(crn_variable_find(op_graph(), "v"));
    op_run(NULL);
    assert_true(v[0] == 7 && v[1] == 7);
}

/* A graph in which a run failed half-way, or that was never run, can be freed; others go on. */
static void many_graphs_on_one_context(void **state)
{
    (void)state;
    uint64_t before = crn_context_memory(op_context());
    for (int i = 0; i < 20; i++) {
        static net n;
        float logits[CLASSES], dweights[WEIGHTS];
        build(&n);
        if (i % 3 != 0)
            run(&n, i % MOST, 1, logits, dweights);
        op_next();
    }
    assert_true(crn_context_memory(op_context()) == before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(batch_sizes_agree),
        OP_TEST(many_batch_sizes),
        OP_TEST(runs_are_bit_equal),
        OP_TEST(fetches_are_from_before_the_update),
        OP_TEST(layers_beside_the_loss_stay),
        OP_TEST(runs_without_fetches),
        OP_TEST(runs_for_little),
        OP_TEST(many_graphs_on_one_context),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
