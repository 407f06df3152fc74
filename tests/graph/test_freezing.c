/* crn_graph_set_trainable_scopes and freeze_bn. */
#include <stdio.h>
#include <string.h>

#include "ops/op_test.h"

enum { N = 3, H = 6, W = 5, C = 3, K = 4, CLASSES = 5 };

static crn_node *logits, *labels;

/* `depth` convolutions with batch norm, "conv0" and so on, and a dense layer "logits". */
static crn_node *build(int depth, bool freeze_bn)
{
    crn_graph *g = op_graph();
    crn_arg_scope scope = *crn_arg_scope_current(g);
    scope.weight_decay = 0.01f;
    scope.normalizer = CRN_NORMALIZER_BATCH_NORM;
    scope.batch_norm.scale = true;
    scope.batch_norm.decay = 0.5f;
    scope.batch_norm.freeze_bn = freeze_bn;
    crn_arg_scope_push(g, &scope);
    double *one_hot = op_array(N * CLASSES);
    for (int i = 0; i < N; i++)
        one_hot[i * CLASSES + i] = 1;
    crn_node *x = op_input("images", CRN_SHAPE(N, H, W, C), op_uniform(1, N * H * W * C, -1, 1));
    labels = op_input_int("labels", CRN_SHAPE(N, CLASSES), one_hot);
    for (int i = 0; i < depth; i++) {
        char name[16];
        crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
        snprintf(name, sizeof name, "conv%d", i);
        o.scope = name;
        x = crn_conv2d(g, x, K, 3, 3, &o);
    }
    x = crn_squeeze(g, crn_global_avg_pool(g, x));
    logits = crn_dense(g, x, CLASSES, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "logits");
    crn_arg_scope_pop(g);
    crn_node *loss = crn_reduce_mean(g, crn_softmax_cross_entropy(g, labels, logits));
    op_check(crn_initialize_variables(g));
    return loss;
}

/* Every variable moves, or stays to the bit, as the table says. */
typedef struct expected {
    const char *name;
    int count;
    bool moves;
} expected;

static void check_moves(crn_train_op *train, const expected *all, size_t n)
{
    double *before[16];
    assert_int_equal(crn_variable_count(op_graph()), n);
    for (size_t i = 0; i < n; i++)
        before[i] = op_get(all[i].name);
    op_run(train);
    for (size_t i = 0; i < n; i++)
        if ((memcmp(before[i], op_get(all[i].name), (size_t)all[i].count * sizeof(double)) != 0) !=
            all[i].moves)
            fail_msg("%s %s", all[i].name, all[i].moves ? "stays" : "moves");
}

#define LAYER(name, weights, trained, statistics)                                             \
    {name "/weights", weights, trained}, {name "/BatchNorm/gamma", K, trained},               \
        {name "/BatchNorm/beta", K, trained}, {name "/BatchNorm/moving_mean", K, statistics}, \
    {                                                                                         \
        name "/BatchNorm/moving_variance", K, statistics                                      \
    }
#define LOGITS(trained)                       \
    {"logits/weights", K * CLASSES, trained}, \
    {                                         \
        "logits/biases", CLASSES, trained     \
    }
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* slim's: statistics of frozen batch norms move all the same. */
static void scopes_are_trained(void **state)
{
    (void)state;
    static const expected all[] = {LAYER("conv0", 9 * C * K, false, true),
                                   LAYER("conv1", 9 * K * K, true, true), LOGITS(true)};
    crn_node *loss = build(2, false);
    op_check(crn_graph_set_trainable_scopes(op_graph(), "logits, conv1/"));
    assert_false(crn_variable_is_trainable(crn_variable_find(op_graph(), "conv0/weights")));
    check_moves(crn_minimize(op_graph(), crn_gradient_descent(0.5f), loss), all, COUNT(all));
}

static void frozen_batch_norms_stay(void **state)
{
    (void)state;
    static const expected all[] = {LAYER("conv0", 9 * C * K, false, false),
                                   LAYER("conv1", 9 * K * K, true, true), LOGITS(true)};
    crn_node *loss = build(2, true);
    op_check(crn_graph_set_trainable_scopes(op_graph(), "conv1,logits"));
    check_moves(crn_minimize(op_graph(), crn_gradient_descent(0.5f), loss), all, COUNT(all));
}

/* Without scopes freeze_bn changes nothing; and NULL takes scopes back. */
static void nothing_is_frozen(void **state)
{
    (void)state;
    static const expected all[] = {LAYER("conv0", 9 * C * K, true, true), LOGITS(true)};
    crn_node *loss = build(1, true);
    check_moves(crn_minimize(op_graph(), crn_gradient_descent(0.5f), loss), all, COUNT(all));
    op_check(crn_graph_set_trainable_scopes(op_graph(), "logits"));
    op_check(crn_graph_set_trainable_scopes(op_graph(), NULL));
    check_moves(crn_minimize(op_graph(), crn_gradient_descent(0.5f), loss), all, COUNT(all));
}

/* A frozen batch norm gives what an inference network gives, also in a run that was planned before.
 */
static void frozen_batch_norms_use_their_statistics(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    build(1, true);
    op_set("conv0/BatchNorm/moving_mean", op_uniform(5, K, -1, 1));
    op_set("conv0/BatchNorm/moving_variance", op_uniform(6, K, 0.5, 2));
    crn_node *training = logits;
    crn_arg_scope scope = *crn_arg_scope_current(g);
    scope.normalizer = CRN_NORMALIZER_BATCH_NORM;
    scope.batch_norm.scale = true;
    scope.batch_norm.is_training = false;
    crn_arg_scope_push(g, &scope);
    crn_scope_push(g, "");
    crn_scope_reuse(g);
    crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
    o.scope = "conv0";
    crn_node *x = op_input("again", CRN_SHAPE(N, H, W, C), op_uniform(1, N * H * W * C, -1, 1));
    x = crn_squeeze(g, crn_global_avg_pool(g, crn_conv2d(g, x, K, 3, 3, &o)));
    x = crn_dense(g, x, CLASSES, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "logits");
    crn_scope_pop(g);
    crn_arg_scope_pop(g);
    const double *by_batch = op_fetch(training), *fixed = op_fetch(x);
    op_run(NULL);
    double first = by_batch[0];
    assert_true(first != fixed[0]);
    op_check(crn_graph_set_trainable_scopes(g, "logits"));
    op_run(NULL);
    op_compare("logits", by_batch, fixed, N * CLASSES, OP_RTOL);
    op_check(crn_graph_set_trainable_scopes(g, NULL));
    op_run(NULL);
    assert_true(by_batch[0] == first);
}

/* The networks take the option. */
static void networks_freeze(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_resnet_options o = CRN_RESNET_OPTIONS_INIT;
    o.freeze_bn = true;
    o.spatial_squeeze = true;
    crn_node *x = op_input("images", CRN_SHAPE(2, 8, 8, 3), op_uniform(1, 2 * 8 * 8 * 3, -1, 1));
    crn_node *loss = crn_reduce_mean(g, crn_resnet_v2_20(g, x, 4, &o));
    op_check(crn_initialize_variables(g));
    op_check(crn_graph_set_trainable_scopes(
        g, "resnet_v2_20/postnorm,resnet_v2_20/block3/unit_2,resnet_v2_20/logits"));
    op_run(crn_minimize(g, crn_gradient_descent(0.5f), loss));
    int moving = 0;
    for (size_t i = 0; i < crn_variable_count(g); i++) {
        const char *name = crn_node_name(crn_variable_at(g, i));
        bool moves = strstr(name, "postnorm") != NULL || strstr(name, "block3/unit_2") != NULL;
        if (strstr(name, "moving_mean") == NULL)
            continue;
        assert_true((op_get(name)[0] != 0) == moves);
        moving += moves;
    }
    assert_int_equal(moving, 4); /* preact, conv1, conv2 and postnorm */
}

/* Launches that a step has beyond those of the forward pass. */
static size_t launches_of_step(int depth, const char *scopes)
{
    crn_graph *g = op_graph();
    crn_node *loss = build(depth, true);
    crn_plan_info step, forward;
    if (scopes != NULL)
        op_check(crn_graph_set_trainable_scopes(g, scopes));
    crn_train_op *train = crn_minimize(g, crn_momentum(0.5f, 0.5f), loss);
    op_check(crn_plan(g, NULL, &loss, 1, N, &forward));
    op_check(crn_plan(g, train, NULL, 0, N, &step));
    op_next();
    return (size_t)(step.launches - forward.launches);
}

/* What is below the lowest variable that is trained costs the way back nothing, however deep. */
static void no_way_back_below(void **state)
{
    (void)state;
    size_t head = launches_of_step(1, "logits");
    assert_int_equal(launches_of_step(2, "logits"), head);
    assert_int_equal(launches_of_step(4, "logits"), head);
    assert_true(launches_of_step(1, NULL) > head);
    size_t last = launches_of_step(2, "logits,conv1");
    assert_int_equal(launches_of_step(3, "logits,conv2"), last);
    assert_true(launches_of_step(3, NULL) > last && last > head);
}

static void mistakes(void **state)
{
    (void)state;
    build(1, false);
    assert_int_equal(crn_graph_set_trainable_scopes(op_graph(), "logits,conv7"), CRN_NOT_FOUND);
    assert_non_null(strstr(crn_graph_error(op_graph())->text, "\"conv7\""));
    assert_int_equal(crn_graph_set_trainable_scopes(op_graph(), " ,"), CRN_INVALID);
    assert_true(crn_variable_is_trainable(crn_variable_find(op_graph(), "conv0/weights")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(scopes_are_trained), OP_TEST(frozen_batch_norms_stay),
        OP_TEST(nothing_is_frozen),  OP_TEST(frozen_batch_norms_use_their_statistics),
        OP_TEST(networks_freeze),    OP_TEST(no_way_back_below),
        OP_TEST(mistakes),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
