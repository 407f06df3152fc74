#include "op_test.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "ref/ref.h"

#define MOST 32 /* feeds, and fetches, of a test */

typedef struct fetched {
    float *data; /* what crn_run writes */
    double *values;
    int64_t count;
} fetched;

static crn_context *context;
static crn_graph *graph;
static crn_feed feeds[MOST];
static size_t n_feeds;
static crn_fetch fetches[MOST];
static fetched results[MOST];
static size_t n_fetches;

/* Memory of the present problem, in a list. */
typedef struct block {
    struct block *next;
    max_align_t data[];
} block;
static block *blocks;

static void *keep(int64_t count, size_t size)
{
    assert_true(count >= 0);
    block *made = calloc(1, sizeof *made + (size_t)count * size);
    assert_non_null(made);
    made->next = blocks;
    blocks = made;
    return made->data;
}

int op_open(void **state)
{
    (void)state;
    crn_error error;
    crn_context_options options = CRN_CONTEXT_OPTIONS_INIT;
    if (crn_context_create(&options, &context, &error) != CRN_OK) {
        fprintf(stderr, "no context: %s\n", error.text);
        return -1;
    }
    /* A small cache, so that small results, too, are written past it. */
    const char *cache = getenv("CLARINET_TEST_CACHE");
    if (cache != NULL)
        ((crn_device_info *)crn_context_device(context))->cache_memory = strtoul(cache, NULL, 10);
    return 0;
}

int op_close(void **state)
{
    (void)state;
    crn_context_free(context);
    return 0;
}

int op_begin(void **state)
{
    (void)state;
    if (crn_graph_create(context, &graph) == CRN_OK)
        return 0;
    fprintf(stderr, "no graph: %s\n", crn_context_error(context)->text);
    return -1;
}

int op_end(void **state)
{
    (void)state;
    crn_graph_free(graph);
    graph = NULL;
    n_feeds = n_fetches = 0;
    while (blocks != NULL) {
        block *next = blocks->next;
        free(blocks);
        blocks = next;
    }
    return 0;
}

void op_next(void)
{
    op_end(NULL);
    assert_int_equal(op_begin(NULL), 0);
}

crn_context *op_context(void)
{
    return context;
}

crn_graph *op_graph(void)
{
    return graph;
}

void op_check(crn_status status)
{
    if (status != CRN_OK)
        fail_msg("%s: %s", crn_status_text(status), crn_graph_error(graph)->text);
}

/* ---- values ---- */

double *op_array(int64_t count)
{
    return keep(count, sizeof(double));
}

double *op_uniform(uint64_t key, int64_t count, double low, double high)
{
    double *values = op_array(count);
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)(low + (high - low) * crn__random_uniform(key, (uint64_t)i));
    return values;
}

double *op_integers(uint64_t key, int64_t count, int low, int high)
{
    double *values = op_array(count);
    for (int64_t i = 0; i < count; i++)
        values[i] = op_pick(key, (uint64_t)i, low, high);
    return values;
}

int op_pick(uint64_t key, uint64_t n, int low, int high)
{
    return low + (int)(crn__random_bits(key, n) % (uint64_t)(high - low + 1));
}

int op_choose(uint64_t key, uint64_t n, int count, const int *choices)
{
    return choices[op_pick(key, n, 0, count - 1)];
}

int op_problems(void)
{
    const char *text = getenv("CRN_TEST_PROBLEMS");
    int count = text != NULL ? atoi(text) : 0;
    return count > 0 ? count : 200;
}

/* ---- a graph with its feeds and fetches ---- */

static crn_node *feed(const char *name, crn_dtype dtype, crn_shape shape, const void *data)
{
    crn_node *node = crn_placeholder(graph, name, dtype, shape);
    op_check(crn_graph_status(graph));
    assert_true(n_feeds < MOST);
    feeds[n_feeds++] = (crn_feed){.node = node, .data = data, .shape = shape};
    return node;
}

static float *to_floats(const double *values, int64_t count)
{
    float *data = keep(count, sizeof(float));
    for (int64_t i = 0; i < count; i++)
        data[i] = (float)values[i];
    return data;
}

crn_node *op_input(const char *name, crn_shape shape, const double *values)
{
    return feed(name, CRN_F32, shape, to_floats(values, crn_shape_count(&shape)));
}

crn_node *op_input_int(const char *name, crn_shape shape, const double *values)
{
    int64_t count = crn_shape_count(&shape);
    int32_t *data = keep(count, sizeof(int32_t));
    for (int64_t i = 0; i < count; i++)
        data[i] = (int32_t)values[i];
    return feed(name, CRN_I32, shape, data);
}

void op_feed(crn_node *placeholder, const double *values)
{
    crn_shape shape = crn_node_shape(placeholder);
    for (size_t i = 0; i < n_feeds; i++)
        if (feeds[i].node == placeholder)
            feeds[i].data = to_floats(values, crn_shape_count(&shape));
}

static crn_node *variable_of(const char *name, int64_t *count)
{
    op_check(crn_graph_status(graph));
    crn_node *variable = crn_variable_find(graph, name);
    if (variable == NULL)
        fail_msg("no variable %s", name);
    crn_shape shape = crn_node_shape(variable);
    *count = crn_shape_count(&shape);
    return variable;
}

void op_set(const char *variable, const double *values)
{
    int64_t count;
    crn_node *node = variable_of(variable, &count);
    op_check(crn_variable_write(node, to_floats(values, count), (size_t)count));
}

double *op_get(const char *variable)
{
    int64_t count;
    crn_node *node = variable_of(variable, &count);
    float *data = keep(count, sizeof(float));
    op_check(crn_variable_read(node, data, (size_t)count));
    double *values = op_array(count);
    for (int64_t i = 0; i < count; i++)
        values[i] = data[i];
    return values;
}

crn_node *op_loss(crn_node *y, const double *dy)
{
    op_check(crn_graph_status(graph));
    crn_shape shape = crn_node_shape(y);
    int64_t count = crn_shape_count(&shape);
    crn_node *row = crn_reshape(graph, y, CRN_SHAPE(1, count));
    crn_node *sum = crn_dense(graph, row, 1, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "op_loss");
    op_set("op_loss/weights", dy);
    op_set("op_loss/biases", op_array(1));
    return crn_reduce_mean(graph, sum);
}

const double *op_fetch(crn_node *node)
{
    op_check(crn_graph_status(graph));
    crn_shape shape = crn_node_shape(node);
    int64_t count = crn_shape_count(&shape);
    assert_true(n_fetches < MOST);
    fetched *result = &results[n_fetches];
    *result = (fetched){keep(count, sizeof(float)), op_array(count), count};
    fetches[n_fetches++] =
        (crn_fetch){.node = node, .data = result->data, .size = (size_t)count * sizeof(float)};
    return result->values;
}

const double *op_fetch_gradient(crn_node *loss, crn_node *wrt)
{
    return op_fetch(crn_gradient(graph, loss, wrt));
}

const double *op_fetch_gradient_of(crn_node *loss, const char *variable)
{
    int64_t count;
    return op_fetch_gradient(loss, variable_of(variable, &count));
}

void op_forget_fetches(void)
{
    n_fetches = 0;
}

crn_status op_try(crn_train_op *train)
{
    crn_status status = crn_run(graph, train, feeds, n_feeds, fetches, n_fetches);
    for (size_t f = 0; f < n_fetches; f++)
        for (int64_t i = 0; i < results[f].count; i++)
            results[f].values[i] = results[f].data[i];
    return status;
}

void op_run(crn_train_op *train)
{
    op_check(op_try(train));
}

/* ---- the reference of layers with an activation ---- */

void op_activate(crn_activation activation, int count, const double *sum, const double *dy,
                 double *y, double *dsum)
{
    if (activation == CRN_ACTIVATION_RELU) {
        ref_relu_forward(count, sum, y);
        ref_relu_backward(count, sum, dy, dsum);
    } else if (activation == CRN_ACTIVATION_RELU6) {
        ref_relu6_forward(count, sum, y);
        ref_relu6_backward(count, sum, dy, dsum);
    } else {
        memcpy(y, sum, (size_t)count * sizeof *y);
        memcpy(dsum, dy, (size_t)count * sizeof *dsum);
    }
}

/* ---- comparing ---- */

void op_compare(const char *what, const double *actual, const double *expected, int64_t count,
                double rtol)
{
    double largest = 0, worst = -1;
    int64_t where = 0;
    assert_true(count > 0);
    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs(expected[i]));
        double off = fabs(actual[i] - expected[i]);
        if (isnan(off))
            off = INFINITY;
        if (off > worst) {
            worst = off;
            where = i;
        }
    }
    if (worst > rtol * largest)
        fail_msg("%s: element %" PRId64 " of %" PRId64
                 " is %.9g, expected %.9g: off by %.2g of %.3g",
                 what, where, count, actual[where], expected[where], worst, largest);
}
