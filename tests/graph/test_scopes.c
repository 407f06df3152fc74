/* Scopes, the names of variables, and sharing them. */
#include <string.h>

#include "ops/op_test.h"

static const crn_initializer zeros = {CRN_INIT_CONSTANT, 0};

static crn_node *image(void)
{
    return op_input("x", CRN_SHAPE(1, 4, 4, 3), op_uniform(1, 48, -1, 1));
}

static crn_node *conv(crn_node *x, const char *scope, crn_normalizer normalizer)
{
    crn_conv2d_options options = CRN_CONV2D_OPTIONS_INIT;
    options.normalizer = normalizer;
    options.scope = scope;
    return crn_conv2d(op_graph(), x, 5, 3, 3, &options);
}

static void expect_name(const char *expected)
{
    assert_string_equal(crn_node_name(crn_variable(op_graph(), "w", CRN_SHAPE(1), zeros, true)),
                        expected);
}

static void names_follow_scopes(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    expect_name("w");
    crn_scope_push(g, "net");
    expect_name("net/w");
    crn_scope_push(g, "");
    crn_scope_push(g, "block1/unit_1"); /* one that holds a slash */
    expect_name("net/block1/unit_1/w");
    crn_scope_pop(g);
    crn_scope_pop(g);
    crn_scope_push(g, "block2");
    expect_name("net/block2/w");
    crn_scope_pop(g);
    crn_scope_pop(g);
    op_check(crn_graph_status(g));
    assert_int_equal(crn_variable_count(g), 4);
}

static void expect_variable(size_t index, const char *name, crn_shape shape, bool trainable)
{
    crn_node *variable = crn_variable_at(op_graph(), index);
    crn_shape actual = crn_node_shape(variable);
    assert_string_equal(crn_node_name(variable), name);
    assert_true(crn_shape_equal(&actual, &shape));
    assert_int_equal(crn_variable_is_trainable(variable), trainable);
    assert_ptr_equal(crn_variable_find(op_graph(), name), variable);
}

/* TF-slim's names, which checkpoints have. */
static void layers_have_slims_names(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_arg_scope scope = *crn_arg_scope_current(g);
    scope.batch_norm.scale = true;
    crn_arg_scope_push(g, &scope);
    crn_scope_push(g, "net");
    crn_node *y = conv(image(), "conv1", CRN_NORMALIZER_NONE);
    y = conv(y, "conv2", CRN_NORMALIZER_BATCH_NORM);
    crn_dense(g, crn_squeeze(g, crn_global_avg_pool(g, y)), 7, CRN_ACTIVATION_NONE,
              CRN_NORMALIZER_NONE, "logits");
    crn_scope_pop(g);
    crn_arg_scope_pop(g);
    op_check(crn_graph_status(g));

    assert_int_equal(crn_variable_count(g), 9);
    assert_null(crn_variable_at(g, 9));
    assert_null(crn_variable_find(g, "net/conv2/biases"));
    expect_variable(0, "net/conv1/weights", CRN_SHAPE(3, 3, 3, 5), true);
    expect_variable(1, "net/conv1/biases", CRN_SHAPE(5), true);
    expect_variable(2, "net/conv2/weights", CRN_SHAPE(3, 3, 5, 5), true);
    assert_non_null(crn_variable_find(g, "net/conv2/BatchNorm/gamma"));
    assert_non_null(crn_variable_find(g, "net/conv2/BatchNorm/beta"));
    assert_false(
        crn_variable_is_trainable(crn_variable_find(g, "net/conv2/BatchNorm/moving_mean")));
    assert_false(
        crn_variable_is_trainable(crn_variable_find(g, "net/conv2/BatchNorm/moving_variance")));
    expect_variable(7, "net/logits/weights", CRN_SHAPE(5, 7), true);
    expect_variable(8, "net/logits/biases", CRN_SHAPE(7), true);
}

static void first_values_of_layers(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_arg_scope scope = *crn_arg_scope_current(g);
    scope.batch_norm.scale = true;
    scope.weights_initializer = (crn_initializer){CRN_INIT_CONSTANT, 0.25f};
    crn_arg_scope_push(g, &scope);
    conv(conv(image(), "a", CRN_NORMALIZER_NONE), "b", CRN_NORMALIZER_BATCH_NORM);
    crn_arg_scope_pop(g);
    op_check(crn_initialize_variables(g));
    assert_true(op_get("a/weights")[134] == 0.25);
    assert_true(op_get("a/biases")[4] == 0);
    assert_true(op_get("b/BatchNorm/gamma")[4] == 1);
    assert_true(op_get("b/BatchNorm/beta")[4] == 0);
    assert_true(op_get("b/BatchNorm/moving_mean")[4] == 0);
    assert_true(op_get("b/BatchNorm/moving_variance")[4] == 1);
}

static crn_node *tower(crn_node *x, bool reuse)
{
    crn_scope_push(op_graph(), "tower");
    if (reuse)
        crn_scope_reuse(op_graph());
    crn_node *y = conv(x, "conv", CRN_NORMALIZER_BATCH_NORM);
    crn_scope_pop(op_graph());
    return y;
}

static void reuse_shares_variables(void **state)
{
    (void)state;
    crn_node *x = image(), *first = tower(x, false);
    size_t count = crn_variable_count(op_graph());
    crn_node *second = tower(x, true);
    assert_int_equal(crn_variable_count(op_graph()), count);
    op_check(crn_initialize_variables(op_graph()));
    const double *a = op_fetch(first), *b = op_fetch(second);
    op_run(NULL);
    op_compare("second tower", b, a, 80, 0);
}

/* Scopes inside the reusing one reuse too; after its pop nothing does. */
static void reuse_ends_with_its_scope(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_scope_push(g, "a");
    crn_scope_push(g, "b");
    crn_node *first = crn_variable(g, "w", CRN_SHAPE(2), zeros, true);
    crn_scope_pop(g);
    crn_scope_reuse(g);
    crn_scope_push(g, "b");
    assert_ptr_equal(crn_variable(g, "w", CRN_SHAPE(2), zeros, true), first);
    crn_scope_pop(g);
    crn_scope_pop(g);
    crn_scope_push(g, "a");
    assert_ptr_not_equal(crn_variable(g, "v", CRN_SHAPE(2), zeros, true), first);
    crn_scope_pop(g);
    op_check(crn_graph_status(g));
}

/* Building stopped with a text that holds each word. */
static void expect_mistake(const char *a, const char *b)
{
    const crn_error *error = crn_graph_error(op_graph());
    assert_int_equal(crn_graph_status(op_graph()), CRN_INVALID);
    assert_int_equal(error->status, CRN_INVALID);
    if (strstr(error->text, a) == NULL || strstr(error->text, b) == NULL)
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", error->text, a, b);
}

static void building_twice_is_a_mistake(void **state)
{
    (void)state;
    crn_node *x = image();
    tower(x, false);
    assert_null(tower(x, false));
    expect_mistake("tower", "weights");
}

static void reusing_what_is_not_there_is_a_mistake(void **state)
{
    (void)state;
    assert_null(tower(image(), true));
    expect_mistake("tower", "weights");
}

static void reusing_as_another_shape_is_a_mistake(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_scope_push(g, "s");
    crn_variable(g, "w", CRN_SHAPE(2, 3), zeros, true);
    crn_scope_reuse(g);
    assert_null(crn_variable(g, "w", CRN_SHAPE(3, 2), zeros, true));
    expect_mistake("s/w", "[2,3]");
    expect_mistake("s/w", "[3,2]");
}

static void popping_too_much_is_a_mistake(void **state)
{
    (void)state;
    crn_scope_push(op_graph(), "s");
    crn_scope_pop(op_graph());
    op_check(crn_graph_status(op_graph()));
    crn_scope_pop(op_graph());
    assert_int_equal(crn_graph_status(op_graph()), CRN_INVALID);
}

static void popping_the_last_arg_scope_is_a_mistake(void **state)
{
    (void)state;
    crn_arg_scope_pop(op_graph());
    assert_int_equal(crn_graph_status(op_graph()), CRN_INVALID);
    assert_non_null(crn_arg_scope_current(op_graph()));
}

static void end_points_are_found_by_name(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_node *x = image(), *y = crn_relu(g, x);
    crn_scope_push(g, "net"); /* names are used as given */
    crn_end_point_add(g, "first", x);
    crn_end_point_add(g, "net/second", y);
    crn_end_point_add(g, "third", NULL); /* after a mistake; survives */
    crn_scope_pop(g);
    assert_true(crn_end_point_count(g) >= 2);
    assert_string_equal(crn_end_point_name(g, 0), "first");
    assert_ptr_equal(crn_end_point_at(g, 1), y);
    assert_ptr_equal(crn_end_point_find(g, "first"), x);
    assert_ptr_equal(crn_end_point_find(g, "net/second"), y);
    assert_null(crn_end_point_find(g, "second"));
    assert_null(crn_end_point_at(g, 99));
    assert_null(crn_end_point_name(g, 99));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(names_follow_scopes),
        OP_TEST(layers_have_slims_names),
        OP_TEST(first_values_of_layers),
        OP_TEST(reuse_shares_variables),
        OP_TEST(reuse_ends_with_its_scope),
        OP_TEST(building_twice_is_a_mistake),
        OP_TEST(reusing_what_is_not_there_is_a_mistake),
        OP_TEST(reusing_as_another_shape_is_a_mistake),
        OP_TEST(popping_too_much_is_a_mistake),
        OP_TEST(popping_the_last_arg_scope_is_a_mistake),
        OP_TEST(end_points_are_found_by_name),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
