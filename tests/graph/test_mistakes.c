/* The sticky error: the first mistake, with its scope, whatever is built after it. */
#include <stdio.h>
#include <string.h>

#include "ops/op_test.h"

static crn_node *image(void)
{
    return crn_placeholder(op_graph(), "x", CRN_F32, CRN_SHAPE(CRN_ANY, 4, 4, 3));
}

static crn_node *integers(void)
{
    return crn_placeholder(op_graph(), "i", CRN_I32, CRN_SHAPE(CRN_ANY, 3));
}

static crn_node *rows(void)
{
    return crn_placeholder(op_graph(), "r", CRN_F32, CRN_SHAPE(CRN_ANY, 3));
}

static crn_node *conv(int64_t outputs, int32_t kernel, int32_t stride, int32_t rate, int32_t pad)
{
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.stride_h = options.stride_w = stride;
    options.rate_h = options.rate_w = rate;
    options.padding = CRN_PADDING_EXPLICIT;
    options.pad_top = options.pad_right = pad;
    return crn_conv2d(op_graph(), image(), outputs, kernel, kernel, &options);
}

static crn_node *pool(bool average, int32_t kernel, int32_t stride, int32_t pad)
{
    crn_pool_options options = CRN_POOL_OPTIONS_INIT;
    options.stride_h = options.stride_w = stride;
    options.padding = CRN_PADDING_EXPLICIT;
    options.pad_bottom = pad;
    return average ? crn_avg_pool2d(op_graph(), image(), kernel, kernel, &options)
                   : crn_max_pool2d(op_graph(), image(), kernel, kernel, &options);
}

static crn_node *batch_norm(float decay, float epsilon)
{
    crn_batch_norm_options options = CRN_BATCH_NORM_OPTIONS_INIT;
    options.decay = decay;
    options.epsilon = epsilon;
    return crn_batch_norm(op_graph(), image(), &options);
}

static crn_node *dense(crn_node *x, int64_t outputs)
{
    return crn_dense(op_graph(), x, outputs, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, NULL);
}

static crn_node *placeholder(crn_dtype dtype, crn_shape shape)
{
    return crn_placeholder(op_graph(), "p", dtype, shape);
}

static crn_node *variable(crn_shape shape)
{
    return crn_variable(op_graph(), "v", shape, (crn_initializer){CRN_INIT_CONSTANT, 0}, true);
}

/* Mistake number i; false past the last. */
static bool make_mistake(int i, crn_node **made)
{
    crn_graph *g = op_graph();
    const int64_t huge = INT64_MAX;
    switch (i) {
#define MISTAKE(number, expression) \
    case number:                    \
        *made = (expression);       \
        return true
        MISTAKE(0, conv(0, 3, 1, 1, 0));
        MISTAKE(1, conv(-5, 3, 1, 1, 0));
        MISTAKE(2, conv(5, 0, 1, 1, 0));
        MISTAKE(3, conv(5, 3, 0, 1, 0));
        MISTAKE(4, conv(5, 3, 1, 0, 0));
        MISTAKE(5, conv(5, 3, 1, 1, -1));
        MISTAKE(6, conv(5, 5, 1, 1, 0)); /* does not fit 4x4 without padding */
        MISTAKE(7, conv(huge, 3, 1, 1, 0));
        MISTAKE(8, conv(5, INT32_MAX, 1, INT32_MAX, INT32_MAX));
        MISTAKE(9, conv((int64_t)1 << 31, 3, 1, 1, 0));
        MISTAKE(10, crn_conv2d(g, rows(), 5, 3, 3, NULL));
        MISTAKE(11, crn_conv2d(g, integers(), 5, 3, 3, NULL));
        MISTAKE(12, crn_conv2d_same(g, image(), 5, 0, 1, NULL));
        MISTAKE(13, crn_conv2d_same(g, image(), 5, 3, 0, NULL));
        MISTAKE(14, crn_conv2d_same(g, image(), 5, 3, -2, NULL));
        MISTAKE(15, pool(false, 0, 1, 0));
        MISTAKE(16, pool(false, 2, 0, 0));
        MISTAKE(17, pool(false, 2, 1, -1));
        MISTAKE(18, pool(true, 5, 1, 0));
        MISTAKE(19, pool(true, -1, 1, 0));
        MISTAKE(20, crn_max_pool2d(g, rows(), 2, 2, NULL));
        MISTAKE(21, crn_global_avg_pool(g, rows()));
        MISTAKE(22, crn_subsample(g, image(), 0));
        MISTAKE(23, batch_norm(0.9f, 0));
        MISTAKE(24, batch_norm(0.9f, -1));
        MISTAKE(25, batch_norm(1.5f, 0.001f));
        MISTAKE(26, batch_norm(-0.5f, 0.001f));
        MISTAKE(27, crn_batch_norm(g, integers(), NULL));
        MISTAKE(28, dense(image(), 5));
        MISTAKE(29, dense(rows(), 0));
        MISTAKE(30, dense(rows(), huge));
        MISTAKE(31, crn_add(g, image(), rows()));
        MISTAKE(32, crn_add(g, rows(), dense(rows(), 2)));
        MISTAKE(33, crn_relu(g, integers()));
        MISTAKE(34, crn_relu6(g, integers()));
        MISTAKE(35, crn_softmax(g, integers()));
        MISTAKE(36, crn_softmax_cross_entropy(g, integers(), dense(rows(), 2)));
        MISTAKE(37, crn_softmax_cross_entropy(g, integers(), image()));
        MISTAKE(38, crn_sparse_softmax_cross_entropy(g, integers(), rows()));
        MISTAKE(39, crn_sparse_softmax_cross_entropy(g, rows(), rows()));
        MISTAKE(40, crn_reduce_mean(g, integers()));
        MISTAKE(41, crn_reshape(g, image(), CRN_SHAPE(CRN_ANY, 47)));
        MISTAKE(42, crn_reshape(g, image(), CRN_SHAPE(2, 24)));
        MISTAKE(43, crn_reshape(g, image(), CRN_SHAPE(CRN_ANY, CRN_ANY)));
        MISTAKE(44, crn_squeeze(g, image()));
        MISTAKE(45, placeholder(CRN_F32, CRN_SHAPE(4, CRN_ANY)));
        MISTAKE(46, placeholder(CRN_F32, CRN_SHAPE(4, -7)));
        MISTAKE(47, placeholder((crn_dtype)9, CRN_SHAPE(4)));
        MISTAKE(48, placeholder(CRN_F32, CRN_SHAPE(huge, huge)));
        MISTAKE(49, placeholder(CRN_F32, (crn_shape){.rank = 5}));
        MISTAKE(50, placeholder(CRN_F32, (crn_shape){.rank = -1}));
        MISTAKE(51, crn_placeholder(g, NULL, CRN_F32, CRN_SHAPE(4)));
        MISTAKE(52, variable(CRN_SHAPE(CRN_ANY, 3)));
        MISTAKE(53, variable(CRN_SHAPE(0)));
        MISTAKE(54, variable(CRN_SHAPE(huge, 2)));
        MISTAKE(55, variable((crn_shape){.rank = 7}));
        MISTAKE(56, crn_gradient(g, rows(), rows())); /* not a scalar */
        MISTAKE(57, crn_gradient(g, crn_reduce_mean(g, rows()), integers()));
        MISTAKE(58, crn_conv2d(g, image(), 5, 3, 3,
                               &(crn_conv2d_options){.size = sizeof(crn_conv2d_options),
                                                     .stride_h = 1,
                                                     .stride_w = 1,
                                                     .rate_h = 1,
                                                     .rate_w = 1,
                                                     .padding = (crn_padding)77}));
        MISTAKE(59, crn_sparse_softmax_cross_entropy(g, placeholder(CRN_F32, CRN_SHAPE(CRN_ANY)),
                                                     rows()));
#undef MISTAKE
    default:
        return false;
    }
}

/* Each returns NULL, and the text begins with the scope. */
static void each_is_invalid_and_names_its_scope(void **state)
{
    (void)state;
    crn_node *made;
    for (int i = 0;; i++) {
        crn_scope_push(op_graph(), "net");
        crn_scope_push(op_graph(), "unit_7");
        if (!make_mistake(i, &made))
            break;
        const crn_error *error = crn_graph_error(op_graph());
        if (made != NULL || crn_graph_status(op_graph()) != CRN_INVALID ||
            error->status != CRN_INVALID || strncmp(error->text, "net/unit_7", 10) != 0)
            fail_msg("mistake %d: node %p, status %d, \"%s\"", i, (void *)made, error->status,
                     error->text);
        op_next();
    }
}

static void nodes_of_another_graph_are_a_mistake(void **state)
{
    (void)state;
    crn_graph *other;
    op_check(crn_graph_create(op_context(), &other));
    crn_node *foreign = crn_placeholder(other, "foreign", CRN_F32, CRN_SHAPE(CRN_ANY, 3));
    assert_null(crn_add(op_graph(), rows(), foreign));
    assert_int_equal(crn_graph_status(op_graph()), CRN_INVALID);
    assert_int_equal(crn_graph_status(other), CRN_OK);
    crn_graph_free(other);
}

/* Every builder, given NULL after a mistake, returns NULL. */
static void build_all(crn_node *x)
{
    crn_graph *g = op_graph();
    assert_null(crn_conv2d(g, x, 5, 3, 3, NULL));
    assert_null(crn_conv2d_same(g, x, 5, 3, 2, NULL));
    assert_null(crn_dense(g, x, 5, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, NULL));
    assert_null(crn_batch_norm(g, x, NULL));
    assert_null(crn_relu(g, x));
    assert_null(crn_relu6(g, x));
    assert_null(crn_add(g, x, x));
    assert_null(crn_max_pool2d(g, x, 2, 2, NULL));
    assert_null(crn_avg_pool2d(g, x, 2, 2, NULL));
    assert_null(crn_global_avg_pool(g, x));
    assert_null(crn_subsample(g, x, 1));
    assert_null(crn_subsample(g, x, 2));
    assert_null(crn_reshape(g, x, CRN_SHAPE(CRN_ANY, 48)));
    assert_null(crn_squeeze(g, x));
    assert_null(crn_softmax(g, x));
    assert_null(crn_softmax_cross_entropy(g, x, x));
    assert_null(crn_sparse_softmax_cross_entropy(g, x, x));
    assert_null(crn_reduce_mean(g, x));
    assert_null(crn_gradient(g, x, x));
    assert_null(crn_minimize(g, crn_gradient_descent(0.1f), x));
    crn_end_point_add(g, "x", x);
}

static void the_first_mistake_stays(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_node *good = image(), *scalar = crn_reduce_mean(g, good);
    crn_scope_push(g, "first");
    crn_node *bad = crn_add(g, good, rows());
    crn_scope_pop(g);
    char text[CRN_ERROR_TEXT];
    snprintf(text, sizeof text, "%s", crn_graph_error(g)->text);

    crn_scope_push(g, "second");
    build_all(bad);
    crn_scope_pop(g);
    assert_null(crn_relu(g, good)); /* right in itself */
    assert_null(crn_gradient(g, scalar, good));

    assert_string_equal(crn_graph_error(g)->text, text);
    assert_non_null(strstr(text, "first"));
    assert_int_equal(crn_run(g, NULL, NULL, 0, NULL, 0), CRN_INVALID);
    assert_int_equal(crn_initialize_variables(g), CRN_INVALID);
    crn_plan_info info;
    assert_int_equal(crn_plan(g, NULL, &scalar, 1, 2, &info), CRN_INVALID);
    assert_string_equal(crn_graph_error(g)->text, text);
}

static void a_null_node_is_a_mistake_itself(void **state)
{
    (void)state;
    build_all(NULL);
    assert_int_equal(crn_graph_status(op_graph()), CRN_INVALID);
}

/* The shape of a network's input decides what follows, also after a mistake. */
static void a_null_node_can_be_asked(void **state)
{
    (void)state;
    assert_int_equal(crn_node_shape(NULL).rank, 0);
    assert_non_null(crn_node_name(NULL));
    assert_int_equal(crn_dtype_size(crn_node_dtype(NULL)), 0);
}

static void one_graphs_mistake_is_not_anothers(void **state)
{
    (void)state;
    crn_graph *other;
    op_check(crn_graph_create(op_context(), &other));
    crn_add(other, NULL, NULL);
    assert_int_equal(crn_graph_status(other), CRN_INVALID);
    assert_int_equal(crn_graph_status(op_graph()), CRN_OK);
    crn_graph_free(other);
}

/* A struct from an older header ends earlier: what comes after it must not be read. */
static void options_of_an_older_header(void **state)
{
    (void)state;
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.size = offsetof(crn_conv2d_options, activation);
    options.stride_h = options.stride_w = 2;
    options.activation = (crn_activation)1234;
    options.scope = "not read";
    crn_node *x = op_input("x", CRN_SHAPE(1, 4, 4, 3), op_uniform(1, 48, -1, 1));
    crn_node *y = crn_conv2d(op_graph(), x, 5, 3, 3, &options);
    op_check(crn_graph_status(op_graph()));
    crn_shape shape = crn_node_shape(y);
    assert_true(crn_shape_equal(&shape, &CRN_SHAPE(1, 2, 2, 5)));
    assert_non_null(crn_variable_find(op_graph(), "Conv/weights"));
    op_check(crn_initialize_variables(op_graph()));
    const double *values = op_fetch(y);
    op_run(NULL);
    for (int i = 0; i < 20; i++)
        assert_true(values[i] >= 0); /* the arg scope's ReLU */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(each_is_invalid_and_names_its_scope),
        OP_TEST(nodes_of_another_graph_are_a_mistake),
        OP_TEST(the_first_mistake_stays),
        OP_TEST(a_null_node_is_a_mistake_itself),
        OP_TEST(a_null_node_can_be_asked),
        OP_TEST(one_graphs_mistake_is_not_anothers),
        OP_TEST(options_of_an_older_header),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
