/* crn_minimize: steps of each optimizer against the same steps in double. */
#include <string.h>

#include "ops/op_test.h"
#include "ref/ref.h"

/*
 * images [N,H,W,C] -> conv 3x3 K -> batch norm -> ReLU -> mean -> dense CLASSES -> cross-entropy,
 * with weight decay on both weights. The reference holds it all in plain arrays.
 */
enum { N = 4, H = 5, W = 6, C = 3, K = 7, CLASSES = 5, STEPS = 5 };
enum { X = N * H * W * C, CONV = 9 * C * K, ROWS = N * H * W, Y = ROWS * K, FC = K * CLASSES };

/* Each step adds its own rounding to weights that the next one starts from. */
#define STEPS_RTOL 1e-4

static const double decay = 0.9f, epsilon = 0.001f, weight_decay = 0.01f;

enum { CONV_W, GAMMA, BETA, FC_W, FC_B, VARIABLES };
static const char *const names[VARIABLES] = {"conv/weights", "conv/BatchNorm/gamma",
                                             "conv/BatchNorm/beta", "fc/weights", "fc/biases"};
static const int counts[VARIABLES] = {CONV, K, K, FC, CLASSES};

typedef struct model {
    double *x, *labels, *values[VARIABLES], *slots[VARIABLES];
    double *moving_mean, *moving_variance;
    bool frozen[VARIABLES];
} model;

static model make_model(void)
{
    model m = {.x = op_uniform(1, X, -1, 1), .labels = op_array(N * CLASSES)};
    for (int i = 0; i < N; i++)
        m.labels[i * CLASSES + i * 3 % CLASSES] = 1;
    for (int i = 0; i < VARIABLES; i++) {
        m.values[i] = op_uniform((uint64_t)(10 + i), counts[i], i == GAMMA ? 0.5 : -0.5, 1);
        m.slots[i] = op_array(counts[i]);
    }
    m.moving_mean = op_array(K);
    m.moving_variance = op_array(K);
    for (int i = 0; i < K; i++)
        m.moving_variance[i] = 1;
    return m;
}

/* The total loss and the gradient of every variable at the present values. */
static double differentiate(const model *m, double *gradients[VARIABLES])
{
    ref_window same = {N, H, W, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0};
    ref_window_same(&same);
    ref_window all = {N, H, W, H, W, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1};
    double *conv = op_array(Y), *normal = op_array(Y), *relu = op_array(Y);
    double mean[K], variance[K], pooled[N * K], logits[N * CLASSES], losses[N];
    ref_conv_forward(&same, C, K, m->x, m->values[CONV_W], NULL, conv);
    ref_moments(ROWS, K, conv, mean, variance);
    ref_batch_norm_forward(ROWS, K, epsilon, conv, mean, variance, m->values[GAMMA],
                           m->values[BETA], normal);
    ref_relu_forward(Y, normal, relu);
    ref_avg_pool_forward(&all, K, relu, pooled);
    ref_dense_forward(N, K, CLASSES, pooled, m->values[FC_W], m->values[FC_B], logits);
    ref_cross_entropy_forward(N, CLASSES, m->labels, logits, losses);
    ref_batch_norm_move(ROWS, K, decay, conv, m->moving_mean, m->moving_variance);

    double *drelu = op_array(Y), *dnormal = op_array(Y), *dconv = op_array(Y);
    double dlosses[N], dlogits[N * CLASSES], dpooled[N * K];
    for (int i = 0; i < N; i++)
        dlosses[i] = 1.0 / N;
    ref_cross_entropy_backward(N, CLASSES, m->labels, logits, dlosses, dlogits);
    ref_dense_backward(N, K, CLASSES, pooled, m->values[FC_W], dlogits, dpooled, gradients[FC_W],
                       gradients[FC_B]);
    ref_avg_pool_backward(&all, K, dpooled, drelu);
    ref_relu_backward(Y, normal, drelu, dnormal);
    ref_batch_norm_backward_training(ROWS, K, epsilon, conv, m->values[GAMMA], dnormal, dconv,
                                     gradients[GAMMA], gradients[BETA]);
    ref_conv_backward(&same, C, K, m->x, m->values[CONV_W], dconv, NULL, gradients[CONV_W], NULL);
    for (int i = 0; i < CONV; i++)
        gradients[CONV_W][i] += weight_decay * m->values[CONV_W][i];
    for (int i = 0; i < FC; i++)
        gradients[FC_W][i] += weight_decay * m->values[FC_W][i];
    return ref_mean(N, losses) + ref_l2(CONV, weight_decay, m->values[CONV_W]) +
           ref_l2(FC, weight_decay, m->values[FC_W]);
}

/* m = momentum m + g; w -= rate m. Gradient descent is a momentum of 0. */
static double step(model *m, double rate, double momentum)
{
    double *gradients[VARIABLES];
    for (int i = 0; i < VARIABLES; i++)
        gradients[i] = op_array(counts[i]);
    double loss = differentiate(m, gradients);
    for (int i = 0; i < VARIABLES; i++)
        for (int k = 0; !m->frozen[i] && k < counts[i]; k++) {
            m->slots[i][k] = momentum * m->slots[i][k] + gradients[i][k];
            m->values[i][k] -= rate * m->slots[i][k];
        }
    return loss;
}

/* The same network with the library; its total loss. */
static crn_node *build(const model *m)
{
    crn_graph *g = op_graph();
    crn_arg_scope scope = *crn_arg_scope_current(g);
    scope.weight_decay = (float)weight_decay;
    scope.normalizer = CRN_NORMALIZER_BATCH_NORM;
    scope.batch_norm.decay = (float)decay;
    scope.batch_norm.epsilon = (float)epsilon;
    scope.batch_norm.scale = true;
    crn_arg_scope_push(g, &scope);
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.scope = "conv";
    crn_node *x = op_input("images", CRN_SHAPE(N, H, W, C), m->x);
    crn_node *labels = op_input_int("labels", CRN_SHAPE(N, CLASSES), m->labels);
    crn_node *y = crn_conv2d(g, x, K, 3, 3, &options);
    y = crn_squeeze(g, crn_global_avg_pool(g, y));
    y = crn_dense(g, y, CLASSES, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "fc");
    crn_arg_scope_pop(g);
    crn_node *loss = crn_reduce_mean(g, crn_softmax_cross_entropy(g, labels, y));
    loss = crn_add(g, loss, crn_regularization_loss(g));
    op_check(crn_initialize_variables(g));
    for (int i = 0; i < VARIABLES; i++)
        op_set(names[i], m->values[i]);
    return loss;
}

static void compare_variables(const model *m)
{
    for (int i = 0; i < VARIABLES; i++)
        op_compare(names[i], op_get(names[i]), m->values[i], counts[i],
                   m->frozen[i] ? 0 : STEPS_RTOL);
    op_compare("moving_mean", op_get("conv/BatchNorm/moving_mean"), m->moving_mean, K, STEPS_RTOL);
    op_compare("moving_variance", op_get("conv/BatchNorm/moving_variance"), m->moving_variance, K,
               STEPS_RTOL);
}

static void check(crn_optimizer optimizer, model m)
{
    crn_node *loss = build(&m);
    for (int i = 0; i < VARIABLES; i++)
        if (m.frozen[i])
            crn_variable_set_trainable(crn_variable_find(op_graph(), names[i]), false);
    crn_train_op *train = crn_minimize(op_graph(), optimizer, loss);
    const double *actual = op_fetch(loss);
    double rate = optimizer.learning_rate;
    for (int i = 0; i < STEPS; i++) {
        assert_int_equal(crn_train_op_step(train), i);
        if (i == 3) { /* a schedule */
            rate = 0.0625;
            crn_train_op_set_learning_rate(train, (float)rate);
        }
        op_run(train);
        double expected = step(&m, rate, optimizer.momentum);
        op_compare("loss", actual, &expected, 1, STEPS_RTOL);
    }
    assert_int_equal(crn_train_op_step(train), STEPS);
    compare_variables(&m);
}

static void gradient_descent(void **state)
{
    (void)state;
    check(crn_gradient_descent(0.25f), make_model());
}

static void momentum(void **state)
{
    (void)state;
    check(crn_momentum(0.25f, 0.75f), make_model());
}

static void frozen_variables_stay(void **state)
{
    (void)state;
    model m = make_model();
    m.frozen[CONV_W] = m.frozen[BETA] = true;
    check(crn_momentum(0.25f, 0.75f), m);
}

/* A gradient that is fetched has its weight decay in it, and the update has it once. */
static void gradients_are_fetched_beside_the_update(void **state)
{
    (void)state;
    model m = make_model();
    crn_node *loss = build(&m);
    crn_train_op *train = crn_minimize(op_graph(), crn_momentum(0.25f, 0.75f), loss);
    const double *actual = op_fetch_gradient_of(loss, names[CONV_W]);
    for (int i = 0; i < 2; i++) {
        double *gradients[VARIABLES];
        for (int k = 0; k < VARIABLES; k++)
            gradients[k] = op_array(counts[k]);
        differentiate(&m, gradients); /* moves the moving statistics, as step does */
        memcpy(m.moving_mean, op_get("conv/BatchNorm/moving_mean"), K * sizeof(double));
        memcpy(m.moving_variance, op_get("conv/BatchNorm/moving_variance"), K * sizeof(double));
        op_run(train);
        op_compare("gradient", actual, gradients[CONV_W], CONV, STEPS_RTOL);
        step(&m, 0.25, 0.75);
    }
    compare_variables(&m);
}

/* A loss that counts a variable's decay three times, in two parts of the graph. */
static void decays_add_up(void **state)
{
    (void)state;
    model m = make_model();
    crn_graph *g = op_graph();
    build(&m);
    crn_node *twice = crn_regularization_loss(g), *once = crn_regularization_loss(g);
    crn_node *loss = crn_add(g, crn_add(g, twice, twice), once);
    op_run(crn_minimize(g, crn_gradient_descent(2), loss));
    for (int i = 0; i < CONV; i++)
        m.values[CONV_W][i] *= 1 - 2 * 3 * weight_decay;
    op_compare(names[CONV_W], op_get(names[CONV_W]), m.values[CONV_W], CONV, OP_RTOL);
    op_compare(names[GAMMA], op_get(names[GAMMA]), m.values[GAMMA], K, 0);
}

/* Slots, step count and values begin anew. */
static void initialising_starts_again(void **state)
{
    (void)state;
    model m = make_model(), again = m;
    for (int i = 0; i < VARIABLES; i++) {
        again.values[i] = op_array(counts[i]);
        memcpy(again.values[i], m.values[i], (size_t)counts[i] * sizeof(double));
    }
    crn_node *loss = build(&m);
    crn_train_op *train = crn_minimize(op_graph(), crn_momentum(0.25f, 0.75f), loss);
    op_run(train);
    op_run(train);
    op_check(crn_initialize_variables(op_graph()));
    assert_int_equal(crn_train_op_step(train), 0);
    for (int i = 0; i < VARIABLES; i++)
        op_set(names[i], again.values[i]);
    op_run(train);
    op_run(train);
    step(&again, 0.25, 0.75);
    step(&again, 0.25, 0.75);
    compare_variables(&again);
}

/* Two operations with a loss each: each moves what its loss depends on. */
static void two_losses_train_in_turn(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_node *x = op_input("x", CRN_SHAPE(2, 2), (double[]){1, 2, 3, 4}), *loss[2];
    crn_train_op *train[2];
    static const char *const scopes[2] = {"a", "b"};
    for (int i = 0; i < 2; i++) {
        crn_node *y = crn_dense(g, x, 1, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, scopes[i]);
        loss[i] = crn_reduce_mean(g, y);
        train[i] = crn_minimize(g, crn_gradient_descent(1), loss[i]);
    }
    op_set("a/weights", (double[]){0, 0});
    op_set("b/weights", (double[]){0, 0});
    op_run(train[0]);
    op_compare("a", op_get("a/weights"), (const double[]){-2, -3}, 2, 0);
    op_compare("b", op_get("b/weights"), (const double[]){0, 0}, 2, 0);
    op_run(train[1]);
    op_run(train[1]);
    op_compare("a", op_get("a/weights"), (const double[]){-2, -3}, 2, 0);
    op_compare("b", op_get("b/weights"), (const double[]){-4, -6}, 2, 0);
    assert_int_equal(crn_train_op_step(train[0]), 1);
    assert_int_equal(crn_train_op_step(train[1]), 2);
}

/* A run that is refused is no step. */
static void refused_runs_are_no_steps(void **state)
{
    (void)state;
    model m = make_model();
    crn_train_op *train = crn_minimize(op_graph(), crn_gradient_descent(1), build(&m));
    assert_int_equal(crn_run(op_graph(), train, NULL, 0, NULL, 0), CRN_INVALID);
    assert_int_equal(crn_train_op_step(train), 0);
    compare_variables(&m);
}

static void mistakes(void **state)
{
    (void)state;
    crn_node *x = op_input("x", CRN_SHAPE(2, 2), op_array(4));
    assert_null(crn_minimize(op_graph(), crn_gradient_descent(1), x)); /* not a scalar */
    assert_int_equal(crn_graph_status(op_graph()), CRN_INVALID);
    op_next();
    crn_graph *g = op_graph(), *other;
    x = op_input("x", CRN_SHAPE(2, 2), op_array(4));
    crn_node *loss =
        crn_reduce_mean(g, crn_dense(g, x, 1, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, NULL));
    crn_train_op *train = crn_minimize(g, crn_gradient_descent(1), loss);
    op_check(crn_graph_status(g));
    op_check(crn_graph_create(op_context(), &other));
    assert_int_equal(crn_run(other, train, NULL, 0, NULL, 0), CRN_INVALID);
    crn_graph_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(gradient_descent),
        OP_TEST(momentum),
        OP_TEST(frozen_variables_stay),
        OP_TEST(gradients_are_fetched_beside_the_update),
        OP_TEST(decays_add_up),
        OP_TEST(initialising_starts_again),
        OP_TEST(two_losses_train_in_turn),
        OP_TEST(refused_runs_are_no_steps),
        OP_TEST(mistakes),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
