/*
 * Gradients through graphs: nodes with several consumers, shared variables, gradients of inner
 * nodes. Small integers, so all must be equal.
 */
#include <stdio.h>
#include <string.h>

#include "ops/op_test.h"
#include "ref/ref.h"

/*
 * A random graph of nodes that are all [2,3,3,c]: two inputs, then sums, activations, 1x1
 * convolutions by one of two shared weights, and reshapes there and back.
 */
enum { MOST_NODES = 12, N = 2, H = 3, W = 3 };

typedef enum kind { INPUT, ADD, RELU, RELU6, CONV, RESHAPE, KINDS } kind;

typedef struct step {
    kind kind;
    int a, b; /* nodes; b of a convolution is its weights */
} step;

typedef struct network {
    int c, count, nodes; /* channels, elements of a node */
    step steps[MOST_NODES];
    double *values[MOST_NODES], *gradients[MOST_NODES];
    double *weights[2], *weight_gradients[2];
    double *dy;
} network;

static const ref_window one_by_one = {N, H, W, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, H, W};

static network draw(uint64_t key)
{
    static const int channels[] = {1, 3, 4, 16};
    network n = {.c = op_choose(key, 0, 4, channels), .nodes = op_pick(key, 1, 3, MOST_NODES)};
    n.count = N * H * W * n.c;
    int convs = 0; /* each multiplies the largest value by up to 2 c */
    for (int i = 2; i < n.nodes; i++) {
        step *s = &n.steps[i];
        uint64_t d = (uint64_t)i * 4;
        s->kind = (kind)op_pick(key, d, ADD, KINDS - 1);
        if (s->kind == CONV && ++convs > 2)
            s->kind = ADD;
        /* Mostly near the end, so that most of the graph hangs together. */
        s->a = op_pick(key, d + 1, 0, 1) == 0 ? i - 1 : op_pick(key, d + 2, 0, i - 1);
        s->b = op_pick(key, d + 3, 0, s->kind == CONV ? 1 : i - 1);
    }
    n.dy = op_integers(key + 1, n.count, -2, 2);
    for (int i = 0; i < 2; i++) {
        n.weights[i] = op_integers(key + 2 + (uint64_t)i, n.c * n.c, -1, 1);
        n.weight_gradients[i] = op_array(n.c * n.c);
    }
    for (int i = 0; i < n.nodes; i++) {
        n.values[i] =
            i < 2 ? op_integers(key + 4 + (uint64_t)i, n.count, -3, 3) : op_array(n.count);
        n.gradients[i] = op_array(n.count);
    }
    return n;
}

static void forward(network *n)
{
    for (int i = 2; i < n->nodes; i++) {
        const step *s = &n->steps[i];
        const double *a = n->values[s->a];
        double *y = n->values[i];
        switch (s->kind) {
        case ADD:
            ref_add(n->count, a, n->values[s->b], y);
            break;
        case RELU:
            ref_relu_forward(n->count, a, y);
            break;
        case RELU6:
            ref_relu6_forward(n->count, a, y);
            break;
        case CONV:
            ref_conv_forward(&one_by_one, n->c, n->c, a, n->weights[s->b], NULL, y);
            break;
        default:
            memcpy(y, a, (size_t)n->count * sizeof *y);
        }
    }
}

/* The loss is sum(last node * dy). */
static void backward(network *n)
{
    double *share = op_array(n->count), *weight_share = op_array(n->c * n->c);
    ref_add(n->count, n->dy, n->gradients[n->nodes - 1], n->gradients[n->nodes - 1]);
    for (int i = n->nodes - 1; i >= 2; i--) {
        const step *s = &n->steps[i];
        const double *a = n->values[s->a], *dy = n->gradients[i];
        double *da = n->gradients[s->a];
        memcpy(share, dy, (size_t)n->count * sizeof *share);
        if (s->kind == RELU)
            ref_relu_backward(n->count, a, dy, share);
        else if (s->kind == RELU6)
            ref_relu6_backward(n->count, a, dy, share);
        else if (s->kind == CONV) {
            double *dw = n->weight_gradients[s->b];
            ref_conv_backward(&one_by_one, n->c, n->c, a, n->weights[s->b], dy, share, weight_share,
                              NULL);
            ref_add(n->c * n->c, dw, weight_share, dw);
        }
        ref_add(n->count, da, share, da);
        if (s->kind == ADD)
            ref_add(n->count, n->gradients[s->b], share, n->gradients[s->b]);
    }
}

static const char *const weight_scopes[2] = {"w0", "w1"};
static const char *const weight_names[2] = {"w0/weights", "w1/weights"};

static crn_node *convolve(const network *n, crn_node *x, int weights)
{
    crn_graph *g = op_graph();
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.activation = CRN_ACTIVATION_NONE;
    options.no_biases = true;
    options.scope = weight_scopes[weights];
    crn_scope_push(g, "");
    if (crn_variable_find(g, weight_names[weights]) != NULL)
        crn_scope_reuse(g);
    crn_node *y = crn_conv2d(g, x, n->c, 1, 1, &options);
    crn_scope_pop(g);
    return y;
}

static void build(const network *n, crn_node **nodes)
{
    crn_graph *g = op_graph();
    crn_shape shape = CRN_SHAPE(N, H, W, n->c);
    nodes[0] = op_input("a", shape, n->values[0]);
    nodes[1] = op_input("b", shape, n->values[1]);
    for (int i = 2; i < n->nodes; i++) {
        const step *s = &n->steps[i];
        crn_node *a = nodes[s->a];
        nodes[i] = s->kind == ADD     ? crn_add(g, a, nodes[s->b])
                   : s->kind == RELU  ? crn_relu(g, a)
                   : s->kind == RELU6 ? crn_relu6(g, a)
                   : s->kind == CONV
                       ? convolve(n, a, s->b)
                       : crn_reshape(g, crn_reshape(g, a, CRN_SHAPE(n->count)), shape);
    }
    for (int w = 0; w < 2; w++)
        if (crn_variable_find(g, weight_names[w]) != NULL)
            op_set(weight_names[w], n->weights[w]);
}

static const char *describe(const network *n, const char *what, int node)
{
    static const char *const words[] = {"in", "add", "relu", "relu6", "conv", "reshape"};
    static char text[512];
    int used = snprintf(text, sizeof text, "%s %d of c=%d", what, node, n->c);
    for (int i = 2; i < n->nodes; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, ", %d=%s %d %d", i,
                         words[n->steps[i].kind], n->steps[i].a, n->steps[i].b);
    return text;
}

/* Fetches a random part of the values and gradients: what is fetched decides what may be fused,
 * shared and overwritten. */
static void check(uint64_t key)
{
    network n = draw(key);
    crn_node *nodes[MOST_NODES];
    build(&n, nodes);
    crn_node *loss = op_loss(nodes[n.nodes - 1], n.dy);
    const double *values[MOST_NODES] = {0}, *gradients[MOST_NODES] = {0}, *dweights[2] = {0};
    int rarity = op_pick(key + 6, 0, 0, 4); /* of fetches */
    for (int i = 0; i < n.nodes; i++) {
        if (op_pick(key + 6, 1 + (uint64_t)i, 0, rarity) == 0)
            values[i] = op_fetch(nodes[i]);
        if (op_pick(key + 7, (uint64_t)i, 0, rarity) == 0)
            gradients[i] = op_fetch_gradient(loss, nodes[i]);
    }
    for (int w = 0; w < 2; w++)
        if (crn_variable_find(op_graph(), weight_names[w]) != NULL)
            dweights[w] = op_fetch_gradient_of(loss, weight_names[w]);
    op_run(NULL);

    forward(&n);
    backward(&n);
    for (int i = 0; i < n.nodes; i++) {
        if (values[i] != NULL)
            op_compare(describe(&n, "value", i), values[i], n.values[i], n.count, 0);
        if (gradients[i] != NULL)
            op_compare(describe(&n, "gradient", i), gradients[i], n.gradients[i], n.count, 0);
    }
    for (int w = 0; w < 2; w++)
        if (dweights[w] != NULL)
            op_compare(describe(&n, "gradient of weights", w), dweights[w], n.weight_gradients[w],
                       n.c * n.c, 0);
}

static void random_graphs(void **state)
{
    (void)state;
    int count = op_problems();
    for (int i = 0; i < count; i++) {
        check((uint64_t)i * 8);
        op_next();
    }
}

/* The same convolution over two inputs: its gradients are those of both. */
static void shared_weights_sum_their_gradients(void **state)
{
    (void)state;
    enum { C = 3, K = 5, X = 2 * 4 * 5 * C, Y = 2 * 4 * 5 * K, WEIGHTS = 9 * C * K };
    crn_graph *g = op_graph();
    ref_window window = {2, 4, 5, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0};
    ref_window_same(&window);
    double *x[2] = {op_integers(1, X, -3, 3), op_integers(2, X, -3, 3)};
    double *weights = op_integers(3, WEIGHTS, -3, 3), *dy = op_integers(4, Y, -3, 3);
    crn_node *y[2];
    for (int i = 0; i < 2; i++) {
        crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
        options.activation = CRN_ACTIVATION_NONE;
        crn_scope_push(g, "tower");
        if (i == 1)
            crn_scope_reuse(g);
        y[i] = crn_conv2d(g, op_input(i == 0 ? "a" : "b", CRN_SHAPE(2, 4, 5, C), x[i]), K, 3, 3,
                          &options);
        crn_scope_pop(g);
    }
    crn_node *loss = op_loss(crn_add(g, y[0], y[1]), dy);
    op_set("tower/Conv/weights", weights);
    const double *dweights = op_fetch_gradient_of(loss, "tower/Conv/weights");
    const double *dbiases = op_fetch_gradient_of(loss, "tower/Conv/biases");
    op_run(NULL);
    double *expected = op_array(WEIGHTS), *expected_biases = op_array(K);
    for (int i = 0; i < 2; i++) {
        double *dw = op_array(WEIGHTS), *db = op_array(K);
        ref_conv_backward(&window, C, K, x[i], weights, dy, NULL, dw, db);
        ref_add(WEIGHTS, expected, dw, expected);
        ref_add(K, expected_biases, db, expected_biases);
    }
    op_compare("dweights", dweights, expected, WEIGHTS, 0);
    op_compare("dbiases", dbiases, expected_biases, K, 0);
}

/* Each kind of op adds to a gradient that is already there. */
static void every_op_adds_to_a_gradient(void **state)
{
    (void)state;
    enum { C = 4, COUNT = 2 * 4 * 4 * C, POOLED = 2 * 2 * 2 * C };
    crn_graph *g = op_graph();
    double *values = op_uniform(1, COUNT, -3, 3), *dy = op_uniform(2, POOLED, -1, 1);
    crn_node *x = op_input("x", CRN_SHAPE(2, 4, 4, C), values);
    crn_node *pools[] = {crn_max_pool2d(g, x, 2, 2, NULL), crn_avg_pool2d(g, x, 2, 2, NULL),
                         crn_subsample(g, x, 2)};
    crn_node *y = crn_add(g, crn_add(g, pools[0], pools[1]), pools[2]);
    crn_batch_norm_options options = CRN_BATCH_NORM_OPTIONS_INIT;
    options.is_training = false;
    options.epsilon = 0.25f; /* with the first moving variance 1: a deviation of sqrt(1.25) */
    y = crn_add(g, y, crn_max_pool2d(g, crn_batch_norm(g, x, &options), 2, 2, NULL));
    crn_node *sum = op_loss(y, dy);
    crn_node *loss = crn_add(g, sum, crn_reduce_mean(g, x));
    op_set("BatchNorm/moving_variance", (double[]){1, 1, 1, 1});
    const double *dx = op_fetch_gradient(loss, x);
    op_run(NULL);

    ref_window by_2 = {2, 4, 4, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0};
    ref_window_valid(&by_2);
    double *expected = op_array(COUNT), *share = op_array(COUNT);
    ref_max_pool_backward(&by_2, C, values, dy, expected);
    for (int i = 0; i < COUNT; i++) /* the maximum is the same one after batch norm */
        expected[i] = expected[i] * (1 + 1 / 1.118033988749895) + 1.0 / COUNT;
    ref_avg_pool_backward(&by_2, C, dy, share);
    ref_add(COUNT, expected, share, expected);
    by_2.kernel_h = by_2.kernel_w = 1;
    ref_max_pool_backward(&by_2, C, values, dy, share);
    ref_add(COUNT, expected, share, expected);
    op_compare("dx", dx, expected, COUNT, OP_RTOL);
}

/* What a loss does not depend on has a gradient of 0, and needs no feed. */
static void gradients_of_the_unrelated_are_0(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_node *x = op_input("x", CRN_SHAPE(3), op_uniform(1, 3, -1, 1));
    crn_node *loss = crn_reduce_mean(g, crn_relu(g, x));
    crn_variable(g, "v", CRN_SHAPE(2), (crn_initializer){CRN_INIT_CONSTANT, 1}, true);
    const double *dv = op_fetch_gradient_of(loss, "v");
    op_check(crn_initialize_variables(g));
    op_run(NULL);
    assert_true(dv[0] == 0 && dv[1] == 0);
}

static void the_gradient_of_a_loss_by_itself_is_1(void **state)
{
    (void)state;
    crn_node *x = op_input("x", CRN_SHAPE(3), op_uniform(1, 3, -1, 1));
    crn_node *loss = crn_reduce_mean(op_graph(), x);
    const double *value = op_fetch(loss), *one = op_fetch_gradient(loss, loss);
    op_run(NULL);
    assert_true(one[0] == 1 && value[0] != 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(random_graphs),
        OP_TEST(shared_weights_sum_their_gradients),
        OP_TEST(every_op_adds_to_a_gradient),
        OP_TEST(gradients_of_the_unrelated_are_0),
        OP_TEST(the_gradient_of_a_loss_by_itself_is_1),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
