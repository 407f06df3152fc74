/* crn_batch_norm: values, gradients and moving statistics. */
#include <math.h>

#include "op_test.h"
#include "ref/ref.h"

/* Float statistics of values with a mean 10,000 times their deviation: the mean itself is rounded
 * to 6e-5, a share of 6e-4 of the deviation. E[x^2] - E[x]^2 would have no digit right. */
#define FAR_RTOL 2e-3

typedef struct problem {
    crn_shape shape;
    bool inference, no_gamma, no_beta;
    crn_activation activation;
    int steps;           /* training steps, 1 if 0 */
    double mean, radius; /* x is uniform in mean +- radius; radius 2 if 0 */
    double rtol;         /* OP_RTOL if 0 */
} problem;

static const float decay = 0.9f, epsilon = 0.001f;

typedef struct values {
    int rows, c;
    double *x, *dy, *gamma, *beta, *moving_mean, *moving_variance;
    double *y, *dx, *dgamma, *dbeta;
} values;

static values make_values(const problem *p)
{
    int count = (int)crn_shape_count(&p->shape), c = (int)p->shape.dims[p->shape.rank - 1];
    double radius = p->radius > 0 ? p->radius : 2;
    return (values){.rows = count / c,
                    .c = c,
                    .x = op_uniform(1, count, p->mean - radius, p->mean + radius),
                    .dy = op_uniform(2, count, -1, 1),
                    .gamma = op_uniform(3, c, 0.5, 2),
                    .beta = op_uniform(4, c, -1, 1),
                    .moving_mean = op_uniform(5, c, -1, 1),
                    .moving_variance = op_uniform(6, c, 0.5, 2),
                    .y = op_array(count),
                    .dx = op_array(count),
                    .dgamma = op_array(c),
                    .dbeta = op_array(c)};
}

/* What the library must give; moves the moving statistics as the steps do. */
static void work_out(const problem *p, values *v)
{
    int count = v->rows * v->c;
    double *sum = op_array(count), *dsum = op_array(count);
    const double *gamma = p->no_gamma ? NULL : v->gamma, *beta = p->no_beta ? NULL : v->beta;
    if (p->inference) {
        ref_batch_norm_forward(v->rows, v->c, epsilon, v->x, v->moving_mean, v->moving_variance,
                               gamma, beta, sum);
        op_activate(p->activation, count, sum, v->dy, v->y, dsum);
        ref_batch_norm_backward_inference(v->rows, v->c, epsilon, v->x, v->moving_mean,
                                          v->moving_variance, gamma, dsum, v->dx, v->dgamma,
                                          v->dbeta);
        return;
    }
    double *mean = op_array(v->c), *variance = op_array(v->c);
    ref_moments(v->rows, v->c, v->x, mean, variance);
    ref_batch_norm_forward(v->rows, v->c, epsilon, v->x, mean, variance, gamma, beta, sum);
    op_activate(p->activation, count, sum, v->dy, v->y, dsum);
    ref_batch_norm_backward_training(v->rows, v->c, epsilon, v->x, gamma, dsum, v->dx, v->dgamma,
                                     v->dbeta);
    for (int step = 0; step < (p->steps > 0 ? p->steps : 1); step++)
        ref_batch_norm_move(v->rows, v->c, decay, v->x, v->moving_mean, v->moving_variance);
}

static crn_node *build(const problem *p, crn_node *x)
{
    crn_batch_norm_options options = CRN_BATCH_NORM_OPTIONS_INIT;
    options.decay = decay;
    options.epsilon = epsilon;
    options.scale = !p->no_gamma;
    options.center = !p->no_beta;
    options.is_training = !p->inference;
    options.activation =
        p->activation == CRN_ACTIVATION_DEFAULT ? CRN_ACTIVATION_NONE : p->activation;
    return crn_batch_norm(op_graph(), x, &options);
}

static void check(problem p)
{
    values v = make_values(&p);
    double rtol = p.rtol > 0 ? p.rtol : OP_RTOL;
    crn_node *x = op_input("x", p.shape, v.x);
    crn_node *y = build(&p, x);
    crn_node *loss = op_loss(y, v.dy);
    op_set("BatchNorm/moving_mean", v.moving_mean);
    op_set("BatchNorm/moving_variance", v.moving_variance);
    if (!p.no_gamma)
        op_set("BatchNorm/gamma", v.gamma);
    if (!p.no_beta)
        op_set("BatchNorm/beta", v.beta);
    /* A step that moves nothing but the moving statistics. */
    crn_train_op *train = crn_minimize(op_graph(), crn_gradient_descent(0), loss);
    const double *actual_y = op_fetch(y), *dx = op_fetch_gradient(loss, x);
    const double *dgamma = p.no_gamma ? NULL : op_fetch_gradient_of(loss, "BatchNorm/gamma");
    const double *dbeta = p.no_beta ? NULL : op_fetch_gradient_of(loss, "BatchNorm/beta");
    for (int step = 0; step < (p.steps > 0 ? p.steps : 1); step++)
        op_run(train);

    work_out(&p, &v);
    int count = v.rows * v.c;
    op_compare("y", actual_y, v.y, count, rtol);
    op_compare("dx", dx, v.dx, count, rtol);
    if (!p.no_gamma) {
        op_compare("dgamma", dgamma, v.dgamma, v.c, rtol);
        op_compare("gamma", op_get("BatchNorm/gamma"), v.gamma, v.c, 0);
    }
    if (!p.no_beta)
        op_compare("dbeta", dbeta, v.dbeta, v.c, rtol);
    op_compare("moving_mean", op_get("BatchNorm/moving_mean"), v.moving_mean, v.c, OP_RTOL);
    op_compare("moving_variance", op_get("BatchNorm/moving_variance"), v.moving_variance, v.c,
               rtol);
    op_next();
}

static const crn_shape shapes[] = {
    {4, {2, 3, 5, 7}},   {4, {1, 4, 4, 16}},   {4, {3, 7, 7, 64}},  {4, {5, 1, 1, 17}},
    {4, {2, 2, 2, 1}},   {4, {1, 3, 1, 3}},    {4, {4, 9, 11, 33}}, {4, {2, 40, 41, 16}},
    {4, {3, 13, 1, 24}}, {4, {1, 23, 29, 12}}, {2, {6, 5}},         {2, {31, 32}},
};
#define FOR_EACH_SHAPE(i) for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)

static void training(void **state)
{
    (void)state;
    FOR_EACH_SHAPE(i)
    check((problem){.shape = shapes[i]});
}

static void inference(void **state)
{
    (void)state;
    FOR_EACH_SHAPE(i)
    check((problem){.shape = shapes[i], .inference = true});
}

static void activations(void **state)
{
    (void)state;
    FOR_EACH_SHAPE(i)
    {
        check((problem){.shape = shapes[i], .activation = CRN_ACTIVATION_RELU});
        check((problem){.shape = shapes[i], .inference = true, .activation = CRN_ACTIVATION_RELU6});
    }
    check((problem){.shape = shapes[0], .activation = CRN_ACTIVATION_RELU6});
    check((problem){
        .shape = shapes[0], .inference = true, .activation = CRN_ACTIVATION_RELU, .steps = 2});
}

static void without_gamma_or_beta(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        problem p = {.shape = shapes[i % 2],
                     .inference = i / 4 == 1,
                     .no_gamma = i / 2 % 2 == 0,
                     .no_beta = i / 2 % 2 == 1};
        check(p);
        p.no_gamma = p.no_beta = true;
        check(p);
    }
}

static void moving_statistics_over_three_steps(void **state)
{
    (void)state;
    FOR_EACH_SHAPE(i)
    check((problem){.shape = shapes[i], .steps = 3});
}

static void far_from_zero(void **state)
{
    (void)state;
    check((problem){.shape = {4, {4, 7, 7, 16}}, .mean = 1000, .radius = 0.17, .rtol = FAR_RTOL});
    check((problem){.shape = {4, {1, 5, 3, 7}}, .mean = -1000, .radius = 0.17, .rtol = FAR_RTOL});
    check((problem){.shape = {4, {2, 56, 56, 3}}, .mean = 1000, .radius = 0.17, .rtol = FAR_RTOL});
}

/* The variance of one value is 0, and TensorFlow's correction of it is left out. */
static void one_value_a_channel(void **state)
{
    (void)state;
    problem p = {.shape = {4, {1, 1, 1, 5}}};
    values v = make_values(&p);
    crn_node *x = op_input("x", p.shape, v.x), *y = build(&p, x), *loss = op_loss(y, v.dy);
    op_set("BatchNorm/gamma", v.gamma);
    op_set("BatchNorm/beta", v.beta);
    op_set("BatchNorm/moving_mean", v.moving_mean);
    op_set("BatchNorm/moving_variance", v.moving_variance);
    crn_train_op *train = crn_minimize(op_graph(), crn_gradient_descent(0), loss);
    const double *actual_y = op_fetch(y), *dx = op_fetch_gradient(loss, x);
    op_run(train);
    work_out(&p, &v);
    op_compare("y", actual_y, v.beta, 5, 0);
    for (int i = 0; i < 5; i++)
        assert_true(fabs(dx[i]) < 1e-5);
    op_compare("moving_mean", op_get("BatchNorm/moving_mean"), v.moving_mean, 5, OP_RTOL);
    op_compare("moving_variance", op_get("BatchNorm/moving_variance"), v.moving_variance, 5,
               OP_RTOL);
}

/* Only a training step moves them. */
static void a_run_without_a_step_moves_nothing(void **state)
{
    (void)state;
    problem p = {.shape = shapes[0]};
    values v = make_values(&p);
    crn_node *x = op_input("x", p.shape, v.x), *y = build(&p, x), *loss = op_loss(y, v.dy);
    op_set("BatchNorm/moving_mean", v.moving_mean);
    op_set("BatchNorm/moving_variance", v.moving_variance);
    op_fetch(y);
    op_fetch_gradient(loss, x);
    op_run(NULL);
    op_compare("moving_mean", op_get("BatchNorm/moving_mean"), v.moving_mean, v.c, 0);
    op_compare("moving_variance", op_get("BatchNorm/moving_variance"), v.moving_variance, v.c, 0);
}

/* conv2d -> batch norm -> ReLU by the layer's own arguments, whose gradients pass through all. */
static void as_the_normalizer_of_a_convolution(void **state)
{
    (void)state;
    enum { C = 7, K = 16, X = 2 * 6 * 5 * C, W = 9 * C * K, ROWS = 2 * 6 * 5, Y = ROWS * K };
    ref_window window = {2, 6, 5, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0};
    ref_window_same(&window);
    double *x = op_uniform(1, X, -1, 1), *weights = op_uniform(2, W, -1, 1);
    double *gamma = op_uniform(3, K, 0.5, 2), *beta = op_uniform(4, K, -1, 1);
    double *dy = op_uniform(5, Y, -1, 1);

    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    crn_arg_scope scope = *crn_arg_scope_current(op_graph());
    scope.normalizer = CRN_NORMALIZER_BATCH_NORM;
    scope.batch_norm.scale = true;
    scope.batch_norm.epsilon = epsilon;
    crn_arg_scope_push(op_graph(), &scope);
    crn_node *in = op_input("x", CRN_SHAPE(2, 6, 5, C), x);
    crn_node *y = crn_conv2d(op_graph(), in, K, 3, 3, &options);
    crn_arg_scope_pop(op_graph());
    assert_null(crn_variable_find(op_graph(), "Conv/biases"));
    op_check(crn_graph_status(op_graph()));
    op_set("Conv/weights", weights);
    op_set("Conv/BatchNorm/gamma", gamma);
    op_set("Conv/BatchNorm/beta", beta);
    crn_node *loss = op_loss(y, dy);
    const double *actual_y = op_fetch(y), *dx = op_fetch_gradient(loss, in);
    const double *dweights = op_fetch_gradient_of(loss, "Conv/weights");
    const double *dgamma = op_fetch_gradient_of(loss, "Conv/BatchNorm/gamma");
    op_run(NULL);

    double *conv = op_array(Y), *normal = op_array(Y), *expected = op_array(Y);
    double *mean = op_array(K), *variance = op_array(K);
    double *dnormal = op_array(Y), *dconv = op_array(Y), *expected_dgamma = op_array(K);
    double *expected_dx = op_array(X), *expected_dweights = op_array(W);
    ref_conv_forward(&window, C, K, x, weights, NULL, conv);
    ref_moments(ROWS, K, conv, mean, variance);
    ref_batch_norm_forward(ROWS, K, epsilon, conv, mean, variance, gamma, beta, normal);
    ref_relu_forward(Y, normal, expected);
    ref_relu_backward(Y, normal, dy, dnormal);
    ref_batch_norm_backward_training(ROWS, K, epsilon, conv, gamma, dnormal, dconv, expected_dgamma,
                                     NULL);
    ref_conv_backward(&window, C, K, x, weights, dconv, expected_dx, expected_dweights, NULL);
    op_compare("y", actual_y, expected, Y, OP_RTOL);
    op_compare("dx", dx, expected_dx, X, OP_RTOL);
    op_compare("dweights", dweights, expected_dweights, W, OP_RTOL);
    op_compare("dgamma", dgamma, expected_dgamma, K, OP_RTOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(training),
        OP_TEST(inference),
        OP_TEST(activations),
        OP_TEST(without_gamma_or_beta),
        OP_TEST(moving_statistics_over_three_steps),
        OP_TEST(far_from_zero),
        OP_TEST(one_value_a_channel),
        OP_TEST(a_run_without_a_step_moves_nothing),
        OP_TEST(as_the_normalizer_of_a_convolution),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
