/* crn_plan: what a run takes, known before its first launch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/op_test.h"

enum { VARIABLES = (3 * 3 * 3 * 32 + 32 + 32 * 10 + 10) * (int)sizeof(float) };

typedef struct net {
    crn_node *images, *labels, *loss;
    crn_train_op *train;
} net;

static net build(crn_optimizer optimizer)
{
    crn_graph *g = op_graph();
    net n = {.images = crn_placeholder(g, "images", CRN_F32, CRN_SHAPE(CRN_ANY, 32, 32, 3)),
             .labels = crn_placeholder(g, "labels", CRN_I32, CRN_SHAPE(CRN_ANY))};
    crn_node *y = crn_conv2d(g, n.images, 32, 3, 3, NULL);
    y = crn_dense(g, crn_squeeze(g, crn_global_avg_pool(g, y)), 10, CRN_ACTIVATION_NONE,
                  CRN_NORMALIZER_NONE, NULL);
    n.loss = crn_reduce_mean(g, crn_sparse_softmax_cross_entropy(g, n.labels, y));
    n.train = crn_minimize(g, optimizer, n.loss);
    op_check(crn_graph_status(g));
    return n;
}

static crn_plan_info plan(const net *n, bool train, int64_t batch)
{
    crn_plan_info info;
    memset(&info, 0xFF, sizeof info);
    op_check(crn_plan(op_graph(), train ? n->train : NULL, &n->loss, 1, batch, &info));
    return info;
}

static void sizes_are_sensible(void **state)
{
    (void)state;
    net n = build(crn_gradient_descent(0.1f));
    crn_plan_info info = plan(&n, false, 8), train = plan(&n, true, 8);
    uint64_t activation = 8 * 32 * 32 * 32 * sizeof(float);
    assert_true(info.variables >= VARIABLES && train.variables >= VARIABLES);
    assert_true(info.arena >= activation);
    assert_true(train.arena >= info.arena); /* the activation is kept for its gradient */
    assert_true(info.peak == info.variables + info.arena);
    assert_true(info.largest_buffer >= activation && info.largest_buffer <= info.peak);
    assert_true(info.launches > 0 && train.launches > info.launches && train.launches < 1000);
    assert_true(plan(&n, true, 9).arena > train.arena);
    assert_true(plan(&n, true, 9).variables == train.variables);
}

static void momentum_has_a_slot_a_variable(void **state)
{
    (void)state;
    net n = build(crn_gradient_descent(0.1f));
    uint64_t without = plan(&n, true, 8).variables;
    op_next();
    n = build(crn_momentum(0.1f, 0.9f));
    assert_true(plan(&n, true, 8).variables >= without + VARIABLES);
}

/* What is predicted is enough, and not much more than what is taken. */
static void predictions_hold(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        net n = build(crn_momentum(0.1f, 0.9f));
        uint64_t before = crn_context_memory(op_context());
        crn_plan_info info = plan(&n, i == 1, 8);
        assert_true(crn_context_memory(op_context()) == before); /* nothing is allocated */
        op_check(crn_initialize_variables(op_graph()));
        float *images = calloc(8 * 32 * 32 * 3, sizeof *images), loss;
        int32_t labels[8] = {0};
        crn_feed feeds[] = {{n.images, images, CRN_SHAPE(8, 32, 32, 3)},
                            {n.labels, labels, CRN_SHAPE(8)}};
        crn_fetch fetch = {n.loss, &loss, sizeof loss, {0}};
        op_check(crn_run(op_graph(), i == 1 ? n.train : NULL, feeds, 2, &fetch, 1));
        free(images);
        uint64_t taken = crn_context_memory(op_context()) - before;
        if (taken > info.peak || taken < info.peak * 9 / 10)
            fail_msg("predicted %llu bytes, taken %llu", (unsigned long long)info.peak,
                     (unsigned long long)taken);
        op_next();
    }
}

/* The error says which batch would fit, and that one does fit. */
static void a_batch_that_cannot_fit(void **state)
{
    (void)state;
    net n = build(crn_gradient_descent(0.1f));
    crn_plan_info info;
    const int64_t batch = 1000000000;
    assert_int_equal(crn_plan(op_graph(), n.train, &n.loss, 1, batch, &info), CRN_DEVICE_MEMORY);
    const char *text = crn_graph_error(op_graph())->text;
    assert_non_null(strstr(text, "1000000000"));
    const char *advice = strstr(text, "a batch of ");
    assert_non_null(advice);
    for (const char *next = advice; next != NULL; next = strstr(advice + 1, "a batch of "))
        advice = next; /* the last one */
    long long fitting = strtoll(advice + strlen("a batch of "), NULL, 10);
    assert_true(fitting > 0 && fitting < batch);
    op_check(crn_plan(op_graph(), n.train, &n.loss, 1, fitting, &info));
    assert_int_equal(crn_plan(op_graph(), n.train, &n.loss, 1, fitting + 1, &info),
                     CRN_DEVICE_MEMORY);
}

static void batch_sizes_are_checked(void **state)
{
    (void)state;
    net n = build(crn_gradient_descent(0.1f));
    static const int64_t wrong[] = {0, -1, INT64_MIN, INT64_MAX};
    crn_plan_info info;
    for (int i = 0; i < 4; i++)
        assert_int_equal(crn_plan(op_graph(), NULL, &n.loss, 1, wrong[i], &info), CRN_INVALID);
    crn_node *nothing = NULL;
    assert_int_equal(crn_plan(op_graph(), NULL, &nothing, 1, 8, &info), CRN_INVALID);
}

/* Values die after their last use: ten layers need no more room than three. */
static void the_arena_is_used_again(void **state)
{
    (void)state;
    crn_plan_info info[2];
    for (int i = 0; i < 2; i++) {
        crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
        crn_node *y = crn_placeholder(op_graph(), "x", CRN_F32, CRN_SHAPE(CRN_ANY, 16, 16, 16));
        for (int layer = 0; layer < (i == 0 ? 3 : 10); layer++) {
            char scope[16];
            snprintf(scope, sizeof scope, "conv%d", layer);
            options.scope = scope;
            y = crn_conv2d(op_graph(), y, 16, 3, 3, &options);
        }
        op_check(crn_plan(op_graph(), NULL, &y, 1, 8, &info[i]));
        op_next();
    }
    assert_true(info[1].arena == info[0].arena);
}

enum { UNITS = 256, MATRIX = UNITS * UNITS * (int)sizeof(float) };

/* Training or using that many dense layers of UNITS x UNITS, one row at a time. */
static crn_plan_info plan_dense(int layers, bool train)
{
    op_next();
    crn_graph *g = op_graph();
    crn_node *y = crn_placeholder(g, "x", CRN_F32, CRN_SHAPE(CRN_ANY, UNITS));
    for (int layer = 0; layer < layers; layer++) {
        char scope[24];
        snprintf(scope, sizeof scope, "dense%d", layer);
        y = crn_dense(g, y, UNITS, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, scope);
    }
    y = crn_reduce_mean(g, y);
    crn_train_op *op = crn_minimize(g, crn_gradient_descent(0.1f), y);
    crn_plan_info info;
    op_check(crn_plan(g, train ? op : NULL, &y, 1, 1, &info));
    return info;
}

/* Weights in another layout are kept while they stay as they are, not from step to step. */
static void copies_of_trained_weights_are_not_kept(void **state)
{
    (void)state;
    assert_true(plan_dense(4, false).variables >= 2 * 4 * MATRIX);
    assert_true(plan_dense(4, true).variables < 5 * MATRIX);
}

/* Neither such copies nor gradients pile up: each is gone before the next layer's. */
static void gradients_are_used_as_they_come(void **state)
{
    (void)state;
    assert_true(plan_dense(12, true).arena < plan_dense(4, true).arena + MATRIX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(sizes_are_sensible),
        OP_TEST(momentum_has_a_slot_a_variable),
        OP_TEST(predictions_hold),
        OP_TEST(a_batch_that_cannot_fit),
        OP_TEST(batch_sizes_are_checked),
        OP_TEST(the_arena_is_used_again),
        OP_TEST(copies_of_trained_weights_are_not_kept),
        OP_TEST(gradients_are_used_as_they_come),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
