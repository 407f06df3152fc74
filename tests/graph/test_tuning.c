/* crn_graph_tune: what it chooses is kept and obeyed, and changes no result. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/cache_file.h"
#include "graph/graph.h"
#include "ops/op_conv.h"

/* Where Winograd is the rule's choice, at any vector width: 8 tiles, 16 channels. */
enum { BATCH = 2, SIZE = 8, CHANNELS = 16, COUNT = BATCH * SIZE * SIZE * CHANNELS };

/* As in tests/ops/test_conv2d_winograd.c. */
#define WINOGRAD_RTOL 5e-5

/* ---- a folder for each test ---- */

static char folder[64], file[96];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/clarinet-tuning-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(file, sizeof file, "%s/kernels.sqlite", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(file);
    return rmdir(folder);
}

/* ---- a net of one convolution, on a context of its own ---- */

typedef struct net {
    crn_context *context;
    crn_graph *graph;
    crn_node *x, *y, *dx;
    bool winograd, direct; /* kernels that ran */
    float values[2][COUNT];
} net;

static void ok(const net *n, crn_status status)
{
    if (status != CRN_OK)
        fail_msg("%s: %s", crn_status_text(status),
                 n->graph != NULL ? crn_graph_error(n->graph)->text : "no graph");
}

static net *open_net(const char *conv_solver, const char *tuned)
{
    net *n = calloc(1, sizeof *n);
    assert_non_null(n);
    crn_context_options options = CRN_CONTEXT_OPTIONS_INIT;
    options.cache_dir = folder;
    options.conv_solver = conv_solver;
    options.tuned = tuned;
    options.kernels = "cpu";
    crn_error error;
    if (crn_context_create(&options, &n->context, &error) != CRN_OK)
        fail_msg("%s", error.text);
    ok(n, crn_graph_create(n->context, &n->graph));
    n->x = crn_placeholder(n->graph, "x", CRN_F32, CRN_SHAPE(CRN_ANY, SIZE, SIZE, CHANNELS));
    n->y = crn_conv2d(n->graph, n->x, CHANNELS, 3, 3, NULL);
    crn_node *flat = crn_reshape(n->graph, n->y, CRN_SHAPE(CRN_ANY, SIZE * SIZE * CHANNELS));
    crn_node *loss = crn_reduce_mean(
        n->graph, crn_dense(n->graph, flat, 1, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, NULL));
    n->dx = crn_gradient(n->graph, loss, n->x);
    ok(n, crn_graph_status(n->graph));
    ok(n, crn_initialize_variables(n->graph));
    return n;
}

static void close_net(net *n)
{
    crn_graph_free(n->graph);
    crn_context_free(n->context);
    free(n);
}

static void note_kernel(void *data, const char *node, const char *kernel, double seconds)
{
    net *n = data;
    (void)seconds;
    if (strncmp(node, "Conv/", 5) != 0)
        return;
    n->winograd = n->winograd || strncmp(kernel, "conv_winograd.cl:", 17) == 0;
    n->direct = n->direct || strncmp(kernel, "conv_direct.cl:", 15) == 0;
}

/* y and dx, with the kernels noted. */
static void run(net *n)
{
    float x[COUNT];
    for (int i = 0; i < COUNT; i++)
        x[i] = (float)(i * 37 % 101) / 50 - 1;
    const crn_feed feed = {n->x, x, CRN_SHAPE(BATCH, SIZE, SIZE, CHANNELS)};
    crn_fetch fetches[] = {{n->y, n->values[0], sizeof n->values[0], {0}},
                           {n->dx, n->values[1], sizeof n->values[1], {0}}};
    n->winograd = n->direct = false;
    crn_graph_set_profile(n->graph, note_kernel, n);
    ok(n, crn_run(n->graph, NULL, &feed, 1, fetches, 2));
}

static void expect_solver(const char *conv_solver, const char *tuned, bool winograd)
{
    net *n = open_net(conv_solver, tuned);
    run(n);
    assert_int_equal(n->winograd, winograd);
    assert_int_equal(n->direct, !winograd);
    close_net(n);
}

/* ---- tuning ---- */

typedef struct tally {
    size_t results, measured, stop_at;
    char chosen[16][16];
} tally;

static bool count_result(void *data, const crn_tune_result *result)
{
    tally *t = data;
    bool measured = false;
    assert_true(t->results < 16 && result->n_solvers > 0);
    assert_int_equal(result->done, t->results + 1);
    assert_int_equal(result->count, 1);
    assert_true(result->done <= result->total && result->input.dims[0] == BATCH);
    bool listed = false;
    for (size_t i = 0; i < result->n_solvers; i++) {
        measured = measured || result->seconds[i] != 0;
        listed = listed || strcmp(result->solver, result->solvers[i]) == 0;
        assert_true(result->seconds[i] >= 0 && isfinite(result->seconds[i])); /* right */
    }
    assert_true(listed);
    snprintf(t->chosen[t->results++], sizeof t->chosen[0], "%s", result->solver);
    t->measured += measured;
    return t->results != t->stop_at;
}

static crn_status tune(net *n, tally *t, bool again)
{
    crn_tune_options options = CRN_TUNE_OPTIONS_INIT;
    options.again = again;
    options.report = count_result;
    options.report_data = t;
    return crn_graph_tune(n->graph, BATCH, &options);
}

/* Tunes, and puts a value in the place of each choice. */
static void tune_and_write(const char *value)
{
    char sql[128];
    net *n = open_net("auto", "1");
    ok(n, crn_graph_tune(n->graph, BATCH, NULL));
    close_net(n);
    snprintf(sql, sizeof sql, "UPDATE choice SET value = %s", value);
    ask(file, sql);
}

static void choices_outlive_their_context(void **state)
{
    (void)state;
    tally first = {0}, second = {0}, third = {0};
    net *n = open_net("auto", "1");
    ok(n, tune(n, &first, false));
    close_net(n);
    /* The convolution and the dense layer, in three directions; with a build without CLBlast there
     * is nothing to choose for the latter. */
    assert_int_equal(first.results, 6);
    assert_true(first.measured >= 3);
    assert_int_equal(ask(file, "SELECT COUNT(*) FROM choice"), first.measured);
    n = open_net("auto", "1");
    ok(n, tune(n, &second, false));
    assert_int_equal(second.results, 6);
    assert_int_equal(second.measured, 0);
    assert_memory_equal(second.chosen, first.chosen, sizeof first.chosen);
    ok(n, tune(n, &third, true));
    assert_int_equal(third.measured, first.measured);
    close_net(n);
}

static void choices_are_obeyed(void **state)
{
    (void)state;
    expect_solver("auto", "1", true); /* the rule's */
    tune_and_write("'direct'");
    expect_solver("auto", "1", false);
    tune_and_write("'winograd'");
    expect_solver("auto", "1", true);
}

static void choices_can_be_left_alone(void **state)
{
    (void)state;
    tune_and_write("'direct'");
    expect_solver("auto", "0", true);
    char *before = getenv("CLARINET_TUNED") != NULL ? strdup(getenv("CLARINET_TUNED")) : NULL;
    setenv("CLARINET_TUNED", "0", 1);
    expect_solver("auto", NULL, true);
    setenv("CLARINET_TUNED", "1", 1);
    expect_solver("auto", NULL, false);
    setenv("CLARINET_TUNED", "perhaps", 1);
    crn_context *context;
    crn_error error;
    assert_int_equal(crn_context_create(NULL, &context, &error), CRN_INVALID);
    assert_non_null(strstr(error.text, "CLARINET_TUNED"));
    unsetenv("CLARINET_TUNED");
    expect_solver("auto", NULL, false);
    if (before != NULL)
        setenv("CLARINET_TUNED", before, 1);
    free(before);
}

static void a_solver_that_is_asked_for_wins(void **state)
{
    (void)state;
    tune_and_write("'direct'");
    expect_solver("winograd", "1", true);
    tune_and_write("'winograd'");
    expect_solver("direct", "1", false);
}

static void nonsense_is_no_choice(void **state)
{
    (void)state;
    static const char *const nonsense[] = {
        "''",      "'cudnn'",  "NULL", "17", "zeroblob(9)", "'direct and much more than a name'",
        "x'FF00'", "'clblast'"}; /* which does not apply */
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        tune_and_write(nonsense[i]);
        expect_solver("auto", "1", true);
    }
    ask(file, "DROP TABLE choice");
    ask(file, "CREATE TABLE choice (id INTEGER, words TEXT)");
    expect_solver("auto", "1", true);
    tune_and_write("'direct'");
    expect_solver("auto", "1", false);
}

/* ---- the graph around it ---- */

static void tuning_replaces_the_plans(void **state)
{
    (void)state;
    net *n = open_net("auto", "1");
    run(n);
    float before[2][COUNT];
    memcpy(before, n->values, sizeof before);
    assert_int_equal(n->graph->plans.count, 1);
    ok(n, crn_graph_tune(n->graph, BATCH, NULL));
    assert_int_equal(n->graph->plans.count, 0);
    for (int i = 0; i < 2; i++) { /* the variables are as they were */
        run(n);
        for (int k = 0; k < COUNT; k++)
            assert_true(fabsf(n->values[i][k] - before[i][k]) < 1e-4f);
    }
    close_net(n);
}

static void without_a_cache_the_context_remembers(void **state)
{
    (void)state;
    char kept[sizeof folder];
    memcpy(kept, folder, sizeof kept);
    *folder = '\0';
    tally first = {0}, second = {0};
    net *n = open_net("auto", "1");
    ok(n, tune(n, &first, false));
    ok(n, tune(n, &second, false));
    assert_true(first.measured > 0 && second.measured == 0);
    close_net(n);
    memcpy(folder, kept, sizeof kept);
}

static void tuning_stops_when_asked_and_goes_on(void **state)
{
    (void)state;
    tally first = {.stop_at = 2}, second = {0};
    net *n = open_net("auto", "1");
    assert_int_equal(tune(n, &first, false), CRN_INTERRUPTED);
    assert_int_equal(first.results, 2);
    ok(n, tune(n, &second, false));
    assert_int_equal(second.results, 6);
    assert_true(second.measured > 0 && second.measured + first.measured <= 6);
    close_net(n);
}

static void mistakes_are_told(void **state)
{
    (void)state;
    net *n = open_net("auto", "1");
    assert_int_equal(crn_graph_tune(n->graph, 0, NULL), CRN_INVALID);
    assert_int_equal(crn_graph_tune(n->graph, (int64_t)1 << 31, NULL), CRN_INVALID);
    assert_int_equal(crn_graph_tune(n->graph, INT32_MAX, NULL), CRN_DEVICE_MEMORY);
    run(n); /* the graph is as good as before */
    crn_dense(n->graph, n->y, 0, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, NULL);
    assert_int_equal(crn_graph_tune(n->graph, BATCH, NULL), crn_graph_status(n->graph));
    assert_int_not_equal(crn_graph_status(n->graph), CRN_OK);
    close_net(n);
}

/* Whatever is chosen: what it computes is right. */
static void tuned_results_are_right(void **state)
{
    (void)state;
    conv_problem problems[] = {
        {IMAGE(2, 9, 7, 16), KERNEL(3, 3, 32), RELU},
        {IMAGE(2, 9, 7, 16), KERNEL(1, 1, 48)},
        {IMAGE(2, 9, 7, 5), KERNEL(3, 3, 6), STRIDE(2, 2), VALID},
    };
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        conv_problem *p = &problems[i];
        conv_lay_out(p);
        crn_node *x = crn_placeholder(op_graph(), "tuned", CRN_F32,
                                      CRN_SHAPE(CRN_ANY, p->window.h, p->window.w, p->c));
        crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
        options.stride_h = p->window.stride_h;
        options.stride_w = p->window.stride_w;
        options.padding = p->padding;
        crn_node *y =
            crn_conv2d(op_graph(), x, p->k, p->window.kernel_h, p->window.kernel_w, &options);
        crn_gradient(op_graph(), crn_reduce_mean(op_graph(), y), x);
        op_check(crn_graph_tune(op_graph(), p->window.n, NULL));
        op_next();
        conv_values v = conv_uniform(p);
        conv_check(p, &v, WINOGRAD_RTOL);
    }
}

int main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(choices_outlive_their_context),
        IN_FOLDER(choices_are_obeyed),
        IN_FOLDER(choices_can_be_left_alone),
        IN_FOLDER(a_solver_that_is_asked_for_wins),
        IN_FOLDER(nonsense_is_no_choice),
        IN_FOLDER(tuning_replaces_the_plans),
        IN_FOLDER(without_a_cache_the_context_remembers),
        IN_FOLDER(tuning_stops_when_asked_and_goes_on),
        IN_FOLDER(mistakes_are_told),
        OP_TEST(tuned_results_are_right),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
