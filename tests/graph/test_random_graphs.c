/*
 * Values and gradients of random graphs, where nodes have several consumers, variables are shared,
 * and any value or gradient may be fetched: what fuses, shares and overwrites must not show.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops/op_test.h"
#include "ref/ref.h"

/* Several batch norms in a row divide by deviations that are rounded themselves. */
#define TRAINING_RTOL 1e-4

/*
 * A random graph of nodes that are all [2,3,3,c]: two inputs, then sums, activations, 1x1
 * convolutions by one of two shared weights, 3x3 max-pools, batch norms that all share their
 * variables, and reshapes there and back. Small integers, so that all must be equal: batch norm
 * then is inference with a deviation of 1. Or, for batch norm in training, any numbers and no
 * pools.
 */
enum { MOST_NODES = 12, N = 2, H = 3, W = 3 };

typedef enum kind { INPUT, ADD, RELU, RELU6, CONV, POOL, NORM, RESHAPE, KINDS } kind;

typedef struct step {
    kind kind;
    int a, b; /* nodes; b of a convolution is its weights */
} step;

typedef struct network {
    bool training;
    int c, count, nodes; /* channels, elements of a node */
    step steps[MOST_NODES];
    double *values[MOST_NODES], *gradients[MOST_NODES];
    double *weights[2], *weight_gradients[2];
    double *gamma, *beta, *mean, *variance, *dgamma, *dbeta;
    double *dy;
} network;

static const ref_window one_by_one = {N, H, W, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, H, W};
static const ref_window three_by_three = {N, H, W, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, H, W};

static double *numbers(bool training, uint64_t key, int count, int low, int high)
{
    return training ? op_uniform(key, count, low, high) : op_integers(key, count, low, high);
}

static network draw(uint64_t key, bool training)
{
    static const int channels[] = {1, 3, 4, 16};
    network n = {.training = training,
                 .c = op_choose(key, 0, 4, channels),
                 .nodes = op_pick(key, 1, 3, MOST_NODES)};
    n.count = N * H * W * n.c;
    int convs = 0; /* each multiplies the largest value by up to 2 c */
    for (int i = 2; i < n.nodes; i++) {
        step *s = &n.steps[i];
        uint64_t d = (uint64_t)i * 4;
        s->kind = (kind)op_pick(key, d, ADD, KINDS - 1);
        if (s->kind == CONV && ++convs > 2)
            s->kind = ADD;
        if (s->kind == POOL && training)
            s->kind = NORM;
        /* Mostly near the end, so that most of the graph hangs together. */
        s->a = op_pick(key, d + 1, 0, 1) == 0 ? i - 1 : op_pick(key, d + 2, 0, i - 1);
        s->b = op_pick(key, d + 3, 0, s->kind == CONV ? 1 : i - 1);
    }
    n.dy = numbers(training, key + 1, n.count, -2, 2);
    n.gamma = numbers(training, key + 8, n.c, -1, 2);
    n.beta = numbers(training, key + 9, n.c, -2, 2);
    n.mean = numbers(training, key + 10, n.c, -1, 1);
    n.variance = op_array(n.c);
    n.dgamma = op_array(n.c);
    n.dbeta = op_array(n.c);
    for (int i = 0; i < 2; i++) {
        n.weights[i] = numbers(training, key + 2 + (uint64_t)i, n.c * n.c, -1, 1);
        n.weight_gradients[i] = op_array(n.c * n.c);
    }
    for (int i = 0; i < n.nodes; i++) {
        n.values[i] =
            i < 2 ? numbers(training, key + 4 + (uint64_t)i, n.count, -3, 3) : op_array(n.count);
        n.gradients[i] = op_array(n.count);
    }
    return n;
}

static double epsilon_of(const network *n)
{
    return n->training ? 0.125 : 1; /* inference has a variance of 0 */
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
        case POOL:
            ref_max_pool_forward(&three_by_three, n->c, a, y);
            break;
        case NORM:
            if (n->training)
                ref_moments(N * H * W, n->c, a, n->mean, n->variance);
            ref_batch_norm_forward(N * H * W, n->c, epsilon_of(n), a, n->mean, n->variance,
                                   n->gamma, n->beta, y);
            break;
        default:
            memcpy(y, a, (size_t)n->count * sizeof *y);
        }
    }
}

/* The loss is sum(last node * dy). */
static void backward(network *n)
{
    double *share = op_array(n->count), *weight_share = op_array(2 * n->c * n->c);
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
        } else if (s->kind == POOL)
            ref_max_pool_backward(&three_by_three, n->c, a, dy, share);
        else if (s->kind == NORM) {
            if (n->training)
                ref_batch_norm_backward_training(N * H * W, n->c, epsilon_of(n), a, n->gamma, dy,
                                                 share, weight_share, weight_share + n->c);
            else
                ref_batch_norm_backward_inference(N * H * W, n->c, epsilon_of(n), a, n->mean,
                                                  n->variance, n->gamma, dy, share, weight_share,
                                                  weight_share + n->c);
            ref_add(n->c, n->dgamma, weight_share, n->dgamma);
            ref_add(n->c, n->dbeta, weight_share + n->c, n->dbeta);
        }
        ref_add(n->count, da, share, da);
        if (s->kind == ADD)
            ref_add(n->count, n->gradients[s->b], share, n->gradients[s->b]);
    }
}

static double largest(const double *array, int count)
{
    double most = 0;
    for (int i = 0; i < count; i++)
        most = fmax(most, fabs(array[i]));
    return most;
}

/* Whether every sum of products stays below 2^24, up to where floats hold all integers. */
static bool is_exact(const network *n)
{
    double value = 1, gradient = 1;
    for (int i = 0; i < n->nodes; i++) {
        value = fmax(value, largest(n->values[i], n->count));
        gradient = fmax(gradient, largest(n->gradients[i], n->count));
    }
    return value * gradient * N * H * W < 0x1p24 && (value + gradient) * n->c < 0x1p24;
}

/* Whether every activation's input is too far from 0 and 6 for rounding to change its side. */
static bool is_smooth(const network *n)
{
    for (int i = 2; i < n->nodes; i++) {
        const double *x = n->values[n->steps[i].a];
        if (n->steps[i].kind != RELU && n->steps[i].kind != RELU6)
            continue;
        for (int k = 0; k < n->count; k++)
            if ((x[k] != 0 && fabs(x[k]) < 1e-4) || (x[k] != 6 && fabs(x[k] - 6) < 1e-4))
                return false;
    }
    return true;
}

static const char *const weight_scopes[2] = {"w0", "w1"};
static const char *const weight_names[2] = {"w0/weights", "w1/weights"};

/* From here to the pop of the scope: the variables are shared if one of that name exists. */
static void share(const char *name)
{
    crn_scope_push(op_graph(), "");
    if (crn_variable_find(op_graph(), name) != NULL)
        crn_scope_reuse(op_graph());
}

static crn_node *convolve(const network *n, crn_node *x, int weights)
{
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.activation = CRN_ACTIVATION_NONE;
    options.no_biases = true;
    options.scope = weight_scopes[weights];
    share(weight_names[weights]);
    crn_node *y = crn_conv2d(op_graph(), x, n->c, 1, 1, &options);
    crn_scope_pop(op_graph());
    return y;
}

static crn_node *normalize(const network *n, crn_node *x)
{
    crn_batch_norm_options options = CRN_BATCH_NORM_OPTIONS_INIT;
    options.scale = true;
    options.epsilon = (float)epsilon_of(n);
    options.is_training = n->training;
    share("BatchNorm/gamma");
    crn_node *y = crn_batch_norm(op_graph(), x, &options);
    crn_scope_pop(op_graph());
    return y;
}

static crn_node *build_step(const network *n, const step *s, crn_node *a, crn_node *b)
{
    crn_graph *g = op_graph();
    crn_pool_options same = CRN_POOL_OPTIONS_INIT;
    same.padding = CRN_PADDING_SAME;
    same.stride_h = same.stride_w = 1;
    switch (s->kind) {
    case ADD:
        return crn_add(g, a, b);
    case RELU:
        return crn_relu(g, a);
    case RELU6:
        return crn_relu6(g, a);
    case CONV:
        return convolve(n, a, s->b);
    case POOL:
        return crn_max_pool2d(g, a, 3, 3, &same);
    case NORM:
        return normalize(n, a);
    default:
        return crn_reshape(g, crn_reshape(g, a, CRN_SHAPE(n->count)), CRN_SHAPE(N, H, W, n->c));
    }
}

static void build(const network *n, crn_node **nodes)
{
    crn_graph *g = op_graph();
    nodes[0] = op_input("a", CRN_SHAPE(N, H, W, n->c), n->values[0]);
    nodes[1] = op_input("b", CRN_SHAPE(N, H, W, n->c), n->values[1]);
    for (int i = 2; i < n->nodes; i++) {
        const step *s = &n->steps[i];
        nodes[i] = build_step(n, s, nodes[s->a], nodes[s->b]);
    }
    for (int w = 0; w < 2; w++)
        if (crn_variable_find(g, weight_names[w]) != NULL)
            op_set(weight_names[w], n->weights[w]);
    if (crn_variable_find(g, "BatchNorm/gamma") != NULL) {
        op_set("BatchNorm/gamma", n->gamma);
        op_set("BatchNorm/beta", n->beta);
        op_set("BatchNorm/moving_mean", n->mean);
        op_set("BatchNorm/moving_variance", n->variance);
    }
}

static const char *describe(const network *n, const char *what, int node)
{
    static const char *const words[] = {"in",   "add",  "relu", "relu6",
                                        "conv", "pool", "norm", "reshape"};
    static char text[512];
    int used = snprintf(text, sizeof text, "%s %d of c=%d", what, node, n->c);
    for (int i = 2; i < n->nodes; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, ", %d=%s %d %d", i,
                         words[n->steps[i].kind], n->steps[i].a, n->steps[i].b);
    return text;
}

/* The gradient of a variable, and what it must be; NULL when the graph has none of that name. */
static const double *fetch_of(crn_node *loss, const char *name)
{
    return crn_variable_find(op_graph(), name) != NULL ? op_fetch_gradient_of(loss, name) : NULL;
}

static void compare(const network *n, const char *what, int node, const double *actual,
                    const double *expected, int count)
{
    if (actual != NULL)
        op_compare(describe(n, what, node), actual, expected, count,
                   n->training ? TRAINING_RTOL : 0);
}

/* Fetches a random part of the values and gradients: what is fetched decides what may be fused,
 * shared and overwritten. */
static void check(network *n, uint64_t key)
{
    crn_node *nodes[MOST_NODES];
    build(n, nodes);
    crn_node *loss = op_loss(nodes[n->nodes - 1], n->dy);
    const double *values[MOST_NODES] = {0}, *gradients[MOST_NODES] = {0};
    int rarity = op_pick(key + 6, 0, 0, 4); /* of fetches */
    for (int i = 0; i < n->nodes; i++) {
        if (op_pick(key + 6, 1 + (uint64_t)i, 0, rarity) == 0)
            values[i] = op_fetch(nodes[i]);
        if (op_pick(key + 7, (uint64_t)i, 0, rarity) == 0)
            gradients[i] = op_fetch_gradient(loss, nodes[i]);
    }
    const double *dw[2] = {fetch_of(loss, weight_names[0]), fetch_of(loss, weight_names[1])};
    const double *dgamma = fetch_of(loss, "BatchNorm/gamma");
    const double *dbeta = fetch_of(loss, "BatchNorm/beta");
    op_run(NULL);

    for (int i = 0; i < n->nodes; i++) {
        compare(n, "value", i, values[i], n->values[i], n->count);
        compare(n, "gradient", i, gradients[i], n->gradients[i], n->count);
    }
    for (int w = 0; w < 2; w++)
        compare(n, "gradient of weights", w, dw[w], n->weight_gradients[w], n->c * n->c);
    compare(n, "gradient of gamma", 0, dgamma, n->dgamma, n->c);
    compare(n, "gradient of beta", 0, dbeta, n->dbeta, n->c);
}

static void check_many(bool training)
{
    int checked = 0, count = op_problems();
    for (int i = 0; i < count; i++) {
        uint64_t key = (uint64_t)i * 16;
        network n = draw(key, training);
        forward(&n);
        backward(&n);
        if (training ? is_smooth(&n) : is_exact(&n)) {
            check(&n, key);
            checked++;
        }
        op_next();
    }
    assert_true(checked > count / 2);
}

static void integers(void **state)
{
    (void)state;
    check_many(false);
}

static void batch_norm_in_training(void **state)
{
    (void)state;
    check_many(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(integers),
        OP_TEST(batch_norm_in_training),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
