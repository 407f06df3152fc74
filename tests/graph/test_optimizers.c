/* Every optimizer's steps, slots and their names, clipped, averaged and gathered, against
 * TensorFlow's. */
#include "graph/regression.h"

static void check_with(const char *name, crn_optimizer optimizer,
                       const crn_minimize_options *options)
{
    crn_train_op *train = crn_minimize_with(op_graph(), optimizer, regression_loss(), options);
    op_check(crn_graph_status(op_graph()));
    for (int i = 0; i < STEPS; i++)
        op_run(train);
    regression_compare(name, train);
    op_next();
}

/* A guard changes nothing where all is finite, and clipping at a norm that no gradient has neither.
 */
static void check(const char *name, crn_optimizer optimizer)
{
    crn_minimize_options options = CRN_MINIMIZE_OPTIONS_INIT;
    check_with(name, optimizer, NULL);
    options.guard = CRN_GUARD_STOP;
    check_with(name, optimizer, &options);
    options.guard = CRN_GUARD_SKIP;
    options.clip_global_norm = 1e6f;
    check_with(name, optimizer, &options);
    options = (crn_minimize_options)CRN_MINIMIZE_OPTIONS_INIT;
    options.clip_norm = 1e6f;
    check_with(name, optimizer, &options);
}

static void gradient_descent(void **state)
{
    (void)state;
    check("gradient_descent", crn_gradient_descent(0.5f));
}

static void momentum(void **state)
{
    (void)state;
    check("momentum", crn_momentum(0.25f, 0.75f));
    check("momentum", (crn_optimizer)CRN_MOMENTUM_INIT(0.25f, 0.75f));
    check("nesterov", crn_nesterov(0.25f, 0.75f));
}

static void rmsprop(void **state)
{
    (void)state;
    crn_optimizer o = crn_rmsprop(0.0625f);
    o.decay = 0.75f;
    o.momentum = 0.5f;
    o.epsilon = 1e-3f;
    check("rmsprop", o);
    o.centered = true;
    check("rmsprop_centered", o);
}

static void adam(void **state)
{
    (void)state;
    crn_optimizer o = crn_adam(0.0625f), w = crn_adamw(0.0625f, 0.25f);
    o.beta1 = w.beta1 = 0.75f;
    o.beta2 = w.beta2 = 0.9375f;
    o.epsilon = w.epsilon = 1e-3f;
    check("adam", o);
    check("adamw", w);
}

static void adagrad(void **state)
{
    (void)state;
    check("adagrad", crn_adagrad(0.5f));
}

static void adadelta(void **state)
{
    (void)state;
    crn_optimizer o = crn_adadelta(2);
    o.decay = 0.75f;
    o.epsilon = 1e-3f;
    check("adadelta", o);
}

static void ftrl(void **state)
{
    (void)state;
    crn_optimizer o = crn_ftrl(0.5f), power = o;
    o.l1 = 0.03125f;
    o.l2 = 0.0625f;
    check("ftrl", o);
    power.power = -0.75f;
    power.initial = 0.25f;
    check("ftrl_power", power);
}

static void lars(void **state)
{
    (void)state;
    crn_optimizer o = crn_lars(2, 0.75f, 0.0625f);
    o.trust = 0.03125f;
    check("lars", o);
}

/* ---- clipping ---- */

static void clipping(void **state)
{
    (void)state;
    crn_minimize_options options = CRN_MINIMIZE_OPTIONS_INIT;
    options.clip_global_norm = 0.25f;
    check_with("clip_global", crn_momentum(0.25f, 0.75f), &options);
    options.guard = CRN_GUARD_STOP;
    check_with("clip_global", crn_momentum(0.25f, 0.75f), &options);
    options.clip_global_norm = 0;
    options.clip_norm = 0.2f;
    check_with("clip_each", crn_momentum(0.25f, 0.75f), &options);
    options.guard = CRN_GUARD_OFF;
    check_with("clip_each", crn_momentum(0.25f, 0.75f), &options);
}

/* ---- moving averages ---- */

static void averages(void **state)
{
    (void)state;
    crn_minimize_options options = CRN_MINIMIZE_OPTIONS_INIT;
    options.moving_average_decay = 0.75f;
    check_with("average", crn_gradient_descent(0.5f), &options);
    options.guard = CRN_GUARD_SKIP;
    check_with("average", crn_gradient_descent(0.5f), &options);
    options.moving_average_num_updates = true;
    check_with("average_num_updates", crn_gradient_descent(0.5f), &options);
}

/* ---- steps of several runs ---- */

/* Each of three runs a step has a third of the samples; the placeholders are fed anew. */
static void check_gathered(const char *name, crn_optimizer optimizer, crn_minimize_options options)
{
    enum { RUNS = 3, PART = SAMPLES / RUNS };
    crn_graph *g = op_graph();
    options.accumulate = RUNS;
    crn_node *input, *labels, *logits = regression_logits(PART, &input, &labels);
    crn_node *loss = crn_reduce_mean(g, crn_softmax_cross_entropy(g, labels, logits));
    loss = crn_add(g, loss, crn_regularization_loss(g));
    crn_train_op *train = crn_minimize_with(g, optimizer, loss, &options);
    op_check(crn_graph_status(g));
    regression_initialise();
    const double *x = golden_values("x", SAMPLES * INPUTS);
    const double *y = golden_values("labels", SAMPLES * CLASSES);
    float xs[PART * INPUTS], ys[PART * CLASSES];
    crn_node *by_weights = crn_gradient(g, loss, crn_variable_find(g, "fc/weights"));
    for (int run = 0; run < STEPS * RUNS; run++) {
        for (int i = 0; i < PART * INPUTS; i++)
            xs[i] = (float)x[run % RUNS * PART * INPUTS + i];
        for (int i = 0; i < PART * CLASSES; i++)
            ys[i] = (float)y[run % RUNS * PART * CLASSES + i];
        assert_int_equal(crn_train_op_step(train), run / RUNS);
        const crn_feed feeds[] = {{input, xs, CRN_SHAPE(PART, INPUTS)},
                                  {labels, ys, CRN_SHAPE(PART, CLASSES)}};
        /* with a fetched gradient the plan is another, and the sums are the same */
        float gradient[WEIGHTS];
        crn_fetch fetch = {.node = by_weights, .data = gradient, .size = sizeof gradient};
        op_check(crn_run(g, train, feeds, 2, &fetch, run % 2 == 0 ? 1 : 0));
    }
    regression_compare(name, train);
    op_next();
}

static void gathering(void **state)
{
    (void)state;
    crn_minimize_options options = CRN_MINIMIZE_OPTIONS_INIT;
    check_gathered("momentum", crn_momentum(0.25f, 0.75f), options);
    options.guard = CRN_GUARD_STOP;
    check_gathered("gradient_descent", crn_gradient_descent(0.5f), options);
    options.clip_global_norm = 0.25f;
    check_gathered("clip_global", crn_momentum(0.25f, 0.75f), options);
    options.guard = CRN_GUARD_OFF;
    check_gathered("clip_global", crn_momentum(0.25f, 0.75f), options);
    options.clip_global_norm = 0;
    options.clip_norm = 0.2f;
    check_gathered("clip_each", crn_momentum(0.25f, 0.75f), options);
    options.clip_norm = 0;
    options.moving_average_decay = 0.75f;
    check_gathered("average", crn_gradient_descent(0.5f), options);
    crn_optimizer o = crn_lars(2, 0.75f, 0.0625f);
    o.trust = 0.03125f;
    check_gathered("lars", o, (crn_minimize_options)CRN_MINIMIZE_OPTIONS_INIT);
}

/* ---- from a checkpoint ---- */

/* Three steps, a checkpoint, and three more in another graph are six, to the bit. */
static void going_on(void **state)
{
    (void)state;
    char path[] = "/tmp/clarinet-optimizers-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    fclose(fdopen(fd, "w"));
    crn_optimizer o = crn_adam(0.0625f);
    o.beta1 = 0.75f;
    o.beta2 = 0.9375f;
    o.epsilon = 1e-3f;
    crn_minimize_options options = CRN_MINIMIZE_OPTIONS_INIT;
    options.moving_average_decay = 0.75f;
    crn_train_op *train = crn_minimize_with(op_graph(), o, regression_loss(), &options);
    for (int i = 0; i < STEPS; i++) {
        if (i == STEPS / 2) {
            crn_save_options save = CRN_SAVE_OPTIONS_INIT;
            save.train = train;
            op_check(crn_checkpoint_save(op_graph(), path, &save));
        }
        op_run(train);
    }
    float weights[WEIGHTS], average[WEIGHTS], again[WEIGHTS];
    op_check(crn_variable_read(crn_variable_find(op_graph(), "fc/weights"), weights, WEIGHTS));
    op_check(crn_train_op_use_averages(train, true));
    op_check(crn_variable_read(crn_variable_find(op_graph(), "fc/weights"), average, WEIGHTS));
    op_next();
    train = crn_minimize_with(op_graph(), o, regression_loss(), &options);
    crn_restore_options restore = CRN_RESTORE_OPTIONS_INIT;
    restore.train = train;
    op_check(crn_checkpoint_restore(op_graph(), path, &restore));
    assert_int_equal(crn_train_op_step(train), STEPS / 2);
    for (int i = STEPS / 2; i < STEPS; i++)
        op_run(train);
    op_check(crn_variable_read(crn_variable_find(op_graph(), "fc/weights"), again, WEIGHTS));
    assert_memory_equal(weights, again, sizeof again);
    op_check(crn_train_op_use_averages(train, true));
    op_check(crn_variable_read(crn_variable_find(op_graph(), "fc/weights"), again, WEIGHTS));
    assert_memory_equal(average, again, sizeof again);
    remove(path);
}

/* ---- smoothed labels ---- */

static void smoothed_labels(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_node *x, *labels, *logits = regression_logits(SAMPLES, &x, &labels);
    crn_node *loss =
        crn_reduce_mean(g, crn_softmax_cross_entropy_smoothed(g, labels, logits, 0.1f));
    loss = crn_add(g, loss, crn_regularization_loss(g));
    regression_initialise();
    const double *value = op_fetch(loss);
    const double *weights = op_fetch_gradient_of(loss, "fc/weights");
    const double *biases = op_fetch_gradient_of(loss, "fc/biases");
    op_run(NULL);
    op_compare("loss", value, golden_values("smoothed/loss", 1), 1, REGRESSION_RTOL);
    op_compare("weights", weights, golden_values("smoothed/fc/weights", WEIGHTS), WEIGHTS,
               REGRESSION_RTOL);
    op_compare("biases", biases, golden_values("smoothed/fc/biases", CLASSES), CLASSES,
               REGRESSION_RTOL);
}

/* ---- mistakes ---- */

static void refuse(crn_optimizer optimizer, const crn_minimize_options *options, const char *part)
{
    assert_null(crn_minimize_with(op_graph(), optimizer, regression_loss(), options));
    assert_int_equal(crn_graph_status(op_graph()), CRN_INVALID);
    if (strstr(crn_graph_error(op_graph())->text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", crn_graph_error(op_graph())->text, part);
    op_next();
}

static void mistakes(void **state)
{
    (void)state;
    crn_optimizer o = crn_adam(1);
    o.kind = (crn_optimizer_kind)99;
    refuse(o, NULL, "unknown optimizer 99");
    o = crn_adam(1);
    o.nesterov = true;
    refuse(o, NULL, "unknown optimizer");
    o = crn_adam(1);
    o.beta2 = 1;
    refuse(o, NULL, "beta2 1");
    o = crn_adagrad(1);
    o.initial = 0;
    refuse(o, NULL, "initial 0");
    o = crn_ftrl(1);
    o.power = 0.5f;
    refuse(o, NULL, "power");
    crn_minimize_options options = CRN_MINIMIZE_OPTIONS_INIT;
    options.accumulate = 0;
    refuse(crn_adam(1), &options, "0 runs");
    options.accumulate = 1;
    options.clip_norm = options.clip_global_norm = 1;
    refuse(crn_adam(1), &options, "one must be 0");
    options.clip_norm = options.clip_global_norm = 0;
    options.moving_average_decay = 1;
    refuse(crn_adam(1), &options, "decay of 1");
    options.moving_average_decay = 0;
    options.guard = (crn_guard)7;
    refuse(crn_adam(1), &options, "guard 7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(gradient_descent), OP_TEST(momentum), OP_TEST(rmsprop),   OP_TEST(adam),
        OP_TEST(adagrad),          OP_TEST(adadelta), OP_TEST(ftrl),      OP_TEST(lars),
        OP_TEST(clipping),         OP_TEST(averages), OP_TEST(gathering), OP_TEST(going_on),
        OP_TEST(smoothed_labels),  OP_TEST(mistakes),
    };
    return cmocka_run_group_tests(tests, regression_open, regression_close);
}
