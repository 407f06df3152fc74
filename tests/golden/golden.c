#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "golden/truth.h"

#define MOST_FEEDS 16
#define MOST_FETCHES 512
#define MOST_COMPARISONS 1024
#define MOST_MEMORY 1024

typedef struct comparison {
    char group[32];
    char name[TRUTH_NAME];
    double error, tensorflow;
    double rtol; /* what the error may be */
} comparison;

typedef struct expectation {
    char group[32];
    char name[TRUTH_NAME]; /* with the group */
} expectation;

static crn_context *context;
static crn_graph *graph;
static const char *file_path;
static crn_feed feeds[MOST_FEEDS];
static size_t n_feeds;
static crn_fetch fetches[MOST_FETCHES];
static expectation expectations[MOST_FETCHES];
static size_t n_fetches;
static comparison comparisons[MOST_COMPARISONS];
static size_t n_comparisons;
static void *memory[MOST_MEMORY]; /* of the present case */
static size_t n_memory;

int golden_open(void **state)
{
    (void)state;
    crn_error error;
    if (crn_context_create(NULL, &context, &error) == CRN_OK)
        return 0;
    fprintf(stderr, "no context: %s\n", error.text);
    return -1;
}

int golden_close(void **state)
{
    (void)state;
    crn_context_free(context);
    return 0;
}

int golden_end(void **state)
{
    (void)state;
    crn_graph_free(graph);
    graph = NULL;
    while (n_memory > 0)
        free(memory[--n_memory]);
    n_feeds = n_fetches = n_comparisons = 0;
    truth_close();
    return 0;
}

crn_graph *golden_graph(void)
{
    return graph;
}

void golden_check(crn_status status)
{
    if (status != CRN_OK)
        fail_msg("%s: %s", crn_status_text(status), crn_graph_error(graph)->text);
}

/* Zeroed, until golden_end. */
static void *allocate(size_t count, size_t size)
{
    assert_true(n_memory < MOST_MEMORY);
    void *data = calloc(count, size);
    assert_non_null(data);
    memory[n_memory++] = data;
    return data;
}

void golden_begin(const char *path)
{
    golden_end(NULL);
    file_path = path;
    if (path != NULL)
        truth_open(path);
    assert_int_equal(crn_graph_create(context, &graph), CRN_OK);
}

const double *golden_doubles(const char *name, size_t count)
{
    double tensorflow;
    return truth_doubles(name, count, &tensorflow);
}

/* ---- values by rule ---- */

static void base_and_scale(const char *name, const crn_shape *shape, double *base, double *scale)
{
    static const struct {
        const char *kind;
        double base, scale;
    } rules[] = {
        {"bottleneck/preact/gamma", 4, 0.2}, /* past 6, for relu6 */
        {"gamma", 1, 0.2},
        {"beta", 2, 0.2}, /* few activations near 0, where rounding decides */
        {"biases", 0, 0.1},
        {"moving_mean", 0, 0.1},
        {"moving_variance", 1, 0.5},
        {"inputs", 0, 1},
        {"pool_inputs", 0, 1},
    };
    *base = *scale = 0;
    const char *slash = strrchr(name, '/'), *kind = slash != NULL ? slash + 1 : name;
    if (strncmp(name, "inputs/", strlen("inputs/")) == 0)
        kind = "inputs"; /* a stream of them */
    if (strcmp(kind, "weights") == 0) {
        double fan_in = 1;
        for (int i = 0; i + 1 < shape->rank; i++)
            fan_in *= (double)shape->dims[i];
        *scale = sqrt(3.0) * sqrt(2.0 / fan_in);
        return;
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcmp(rules[i].kind, name) == 0 || strcmp(rules[i].kind, kind) == 0) {
            *base = rules[i].base;
            *scale = rules[i].scale;
            return;
        }
    fail_msg("the rule has no values for %s", name);
}

void golden_rule(const char *name, crn_shape shape, float *values)
{
    double base, scale;
    base_and_scale(name, &shape, &base, &scale);
    uint64_t key = crn__hash_text(name), count = (uint64_t)crn_shape_count(&shape);
    for (uint64_t i = 0; i < count; i++)
        values[i] = (float)(base + scale * (2.0 * crn__random_uniform(key, i) - 1.0));
}

crn_node *golden_feed(const char *name, crn_dtype dtype, crn_shape shape, const void *data)
{
    crn_node *node = crn_placeholder(graph, name, dtype, shape);
    golden_check(crn_graph_status(graph));
    assert_true(n_feeds < MOST_FEEDS);
    feeds[n_feeds++] = (crn_feed){.node = node, .data = data, .shape = shape};
    return node;
}

crn_node *golden_input(const char *name, crn_shape shape, float scale)
{
    size_t count = (size_t)crn_shape_count(&shape);
    float *values = allocate(count, sizeof *values);
    char stream[TRUTH_NAME], source[TRUTH_NAME];
    snprintf(stream, sizeof stream, "%s/stream", name);
    snprintf(source, sizeof source, "%s", name);
    if (truth_has(stream))
        snprintf(source, sizeof source, "%s/%d", name, (int)*golden_doubles(stream, 1));
    golden_rule(source, shape, values);
    for (size_t i = 0; i < count; i++)
        values[i] *= scale;
    return golden_feed(name, CRN_F32, shape, values);
}

void golden_initialize(void)
{
    for (size_t i = 0; i < crn_variable_count(graph); i++) {
        crn_node *variable = crn_variable_at(graph, i);
        crn_shape shape = crn_node_shape(variable);
        size_t count = (size_t)crn_shape_count(&shape);
        float *values = calloc(count, sizeof *values);
        assert_non_null(values);
        golden_rule(crn_node_name(variable), shape, values);
        golden_check(crn_variable_write(variable, values, count));
        free(values);
    }
}

/* ---- comparing ---- */

static void record(const char *group, const char *name, double error, double tensorflow,
                   double rtol)
{
    assert_true(n_comparisons < MOST_COMPARISONS);
    comparison *c = &comparisons[n_comparisons++];
    snprintf(c->group, sizeof c->group, "%s", group);
    snprintf(c->name, sizeof c->name, "%s", name);
    c->error = isnan(error) ? INFINITY : error;
    c->tensorflow = tensorflow;
    c->rtol = rtol;
}

/*
 * A gradient that is zero because batch norm takes constants out again (README.md) has no scale of
 * its own. What rounding leaves of it is held against the gradient of the factor beside it.
 */
static double scale_of(const truth *t)
{
    static const char *const factors[][2] = {{"/biases", "/weights"}, {"/beta", "/gamma"}};
    char factor[TRUTH_NAME];
    const char *kind = strrchr(t->name, '/');
    for (int i = 0; i < 2 && t->largest < 1e-12 && kind != NULL; i++)
        if (strcmp(kind, factors[i][0]) == 0) {
            snprintf(factor, sizeof factor, "%.*s%s", (int)(kind - t->name), t->name,
                     factors[i][1]);
            return truth_of(factor).largest;
        }
    return t->largest;
}

/* Deviations beyond `allowed`, as shares of `scale`, or if it is 0 of the tensor's own. */
static void compare(const char *group, const char *name, const float *values, crn_shape shape,
                    double scale, double allowed, double rtol)
{
    truth t = truth_of(name);
    char ours[96], theirs[96];
    if (!crn_shape_equal(&shape, &t.shape))
        fail_msg("%s is %s, TF-slim's %s", name, crn_shape_text(&shape, ours, sizeof ours),
                 crn_shape_text(&t.shape, theirs, sizeof theirs));
    scale = scale > 0 ? scale : scale_of(&t);
    record(group, name, truth_deviation(&t, values, scale, allowed),
           fmax(0, t.tensorflow * t.largest - allowed) / scale, rtol);
    truth_use(name);
}

void golden_compare(const char *name, const float *values, crn_shape shape)
{
    compare(name, name, values, shape, 0, 0, GOLDEN_RTOL);
}

const float *golden_fetch(crn_node *node)
{
    golden_check(crn_graph_status(graph));
    assert_true(n_fetches < MOST_FETCHES);
    crn_shape shape = crn_node_shape(node);
    size_t size = (size_t)crn_shape_count(&shape) * sizeof(float);
    fetches[n_fetches] = (crn_fetch){.node = node, .data = allocate(size, 1), .size = size};
    expectations[n_fetches].name[0] = '\0';
    return fetches[n_fetches++].data;
}

void golden_expect(const char *group, const char *name, crn_node *node)
{
    golden_fetch(node);
    expectation *e = &expectations[n_fetches - 1];
    snprintf(e->group, sizeof e->group, "%s", group);
    snprintf(e->name, sizeof e->name, "%s%s%s", group, name != NULL ? "/" : "",
             name != NULL ? name : "");
}

void golden_expect_end_points(void)
{
    for (size_t i = 0; i < crn_end_point_count(graph); i++)
        golden_expect("end_points", crn_end_point_name(graph, i), crn_end_point_at(graph, i));
}

void golden_expect_gradients(crn_node *loss)
{
    for (size_t i = 0; i < crn_variable_count(graph); i++) {
        crn_node *variable = crn_variable_at(graph, i);
        if (crn_variable_is_trainable(variable))
            golden_expect("gradient", crn_node_name(variable), crn_gradient(graph, loss, variable));
    }
}

void golden_run(crn_train_op *train)
{
    golden_check(crn_run(graph, train, feeds, n_feeds, fetches, n_fetches));
    for (size_t i = 0; i < n_fetches; i++)
        if (expectations[i].name[0] != '\0')
            compare(expectations[i].group, expectations[i].name, fetches[i].data, fetches[i].shape,
                    0, 0, GOLDEN_RTOL);
    n_fetches = 0;
}

/* The largest value without what is left of the first ones. */
static double moved_scale(const truth *t, const float *first, double left)
{
    double scale = 0;
    for (size_t k = 0; k < t->n_values; k++)
        scale = fmax(scale, fabs((double)t->values[k] - left * (double)first[truth_place(t, k)]));
    return scale;
}

static void compare_variable(const char *group, const char *name, const crn_node *variable,
                             double left, int steps, double rtol)
{
    crn_shape shape = crn_node_shape(variable);
    size_t count = (size_t)crn_shape_count(&shape);
    float *values = calloc(count, sizeof *values);
    assert_non_null(values);
    golden_rule(crn_node_name(variable), shape, values);
    truth t = truth_of(name);
    double scale = moved_scale(&t, values, left);
    golden_check(crn_variable_read(variable, values, count));
    compare(group, name, values, shape, scale, (steps + 1) * 0x1p-24 * t.largest, rtol);
    free(values);
}

void golden_compare_variables(const char *group, double left, int steps, double rtol)
{
    for (size_t i = 0; i < crn_variable_count(graph); i++) {
        const crn_node *variable = crn_variable_at(graph, i);
        char name[TRUTH_NAME];
        snprintf(name, sizeof name, "%s/%s", group, crn_node_name(variable));
        if (truth_has(name))
            compare_variable(group, name, variable, left, steps, rtol);
    }
}

void golden_compare_doubles(const char *name, const double *actual, size_t count)
{
    double tensorflow;
    const double *expected = truth_doubles(name, count, &tensorflow);
    for (size_t i = 0; i < count; i++) {
        char text[TRUTH_NAME];
        snprintf(text, sizeof text, "%s[%zu]", name, i);
        record(name, text, fabs(actual[i] - expected[i]) / fabs(expected[i]), tensorflow,
               GOLDEN_RTOL);
    }
}

/* ---- the verdict ---- */

static int worst_first(const void *a, const void *b)
{
    const comparison *x = a, *y = b;
    int order = strcmp(x->group, y->group);
    return order != 0 ? order : (x->error < y->error) - (x->error > y->error);
}

/* Prints what is to be known of comparisons begin to end - 1, which are a group. */
static void print_group(size_t begin, size_t end)
{
    size_t meeting = 0;
    for (size_t i = begin; i < end; i++)
        meeting += comparisons[i].error <= GOLDEN_AIM;
    print_message("  %s: %zu of %zu within %g; worst\n", comparisons[begin].group, meeting,
                  end - begin, GOLDEN_AIM);
    for (size_t i = begin; i < end && (i < begin + 3 || comparisons[i].error > comparisons[i].rtol);
         i++)
        print_message("    %.1e  (TensorFlow in float32 %.1e)  %s\n", comparisons[i].error,
                      comparisons[i].tensorflow, comparisons[i].name);
}

void golden_verify(void)
{
    size_t failures = 0;
    print_message("%s\n", strrchr(file_path, '/') + 1);
    qsort(comparisons, n_comparisons, sizeof *comparisons, worst_first);
    for (size_t begin = 0, end; begin < n_comparisons; begin = end) {
        for (end = begin; end < n_comparisons; end++) {
            if (strcmp(comparisons[end].group, comparisons[begin].group) != 0)
                break;
            failures += comparisons[end].error > comparisons[end].rtol;
        }
        print_group(begin, end);
    }
    size_t unused = truth_unused();
    if (failures + unused > 0)
        fail_msg("%zu tensors are off by more than they may be, %zu were compared with nothing",
                 failures, unused);
}
