/* Reading, writing and first values of variables. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/op_test.h"

static crn_node *variable(crn_graph *g, const char *name, int64_t count, crn_initializer_kind kind,
                          float value)
{
    return crn_variable(g, name, CRN_SHAPE(count), (crn_initializer){kind, value}, true);
}

static void values_come_back(void **state)
{
    (void)state;
    double *values = op_uniform(1, 17, -1, 1);
    variable(op_graph(), "w", 17, CRN_INIT_CONSTANT, 3);
    op_set("w", values);
    op_compare("w", op_get("w"), values, 17, 0);
    op_check(crn_initialize_variables(op_graph()));
    assert_true(op_get("w")[16] == 3);
}

static void refuse(crn_status status, const char *word)
{
    assert_int_equal(status, CRN_INVALID);
    assert_non_null(strstr(crn_graph_error(op_graph())->text, word));
}

static void counts_are_checked(void **state)
{
    (void)state;
    float data[8] = {0};
    crn_scope_push(op_graph(), "net");
    crn_node *w = variable(op_graph(), "w", 7, CRN_INIT_CONSTANT, 3);
    crn_scope_pop(op_graph());
    op_check(crn_initialize_variables(op_graph()));
    refuse(crn_variable_write(w, data, 8), "net/w");
    refuse(crn_variable_write(w, data, 6), "net/w");
    refuse(crn_variable_read(w, data, 8), "net/w");
    refuse(crn_variable_read(w, data, 0), "net/w");
    refuse(crn_variable_write(w, NULL, 7), "net/w");
    refuse(crn_variable_read(w, NULL, 7), "net/w");
    crn_node *x = crn_placeholder(op_graph(), "x", CRN_F32, CRN_SHAPE(7));
    refuse(crn_variable_read(x, data, 7), "x");
    refuse(crn_variable_write(x, data, 7), "x");
    assert_int_equal(crn_variable_read(NULL, data, 7), CRN_INVALID);
    assert_int_equal(crn_variable_write(NULL, data, 7), CRN_INVALID);
    assert_true(op_get("net/w")[0] == 3);
}

static void trainable_can_be_changed(void **state)
{
    (void)state;
    crn_node *w = variable(op_graph(), "w", 7, CRN_INIT_CONSTANT, 3);
    assert_true(crn_variable_is_trainable(w));
    crn_variable_set_trainable(w, false);
    assert_false(crn_variable_is_trainable(w));
}

/* ---- first values ---- */

enum { MANY = 40000 };

/* The values of a variable "w" in a graph of its own with the seed. */
static double *first_values(const char *name, crn_initializer_kind kind, float value, uint64_t seed,
                            int64_t count)
{
    op_next();
    crn_graph_set_seed(op_graph(), seed);
    variable(op_graph(), name, count, kind, value);
    op_check(crn_initialize_variables(op_graph()));
    return op_get(name);
}

static void seed_and_name_decide(void **state)
{
    (void)state;
    double kept[100];
    memcpy(kept, first_values("w", CRN_INIT_TRUNCATED_NORMAL, 1, 7, 100), sizeof kept);
    op_compare("same seed", first_values("w", CRN_INIT_TRUNCATED_NORMAL, 1, 7, 100), kept, 100, 0);
    int equal = 0;
    for (int i = 0; i < 100; i++)
        equal += first_values("w", CRN_INIT_TRUNCATED_NORMAL, 1, 8, 100)[i] == kept[i];
    assert_true(equal < 5); /* another seed */
    equal = 0;
    double *other = first_values("v", CRN_INIT_TRUNCATED_NORMAL, 1, 7, 100);
    for (int i = 0; i < 100; i++)
        equal += other[i] == kept[i];
    assert_true(equal < 5); /* another name */
}

/* Neither what else is in the graph nor the order of making changes a variable's values. */
static void other_variables_do_not_matter(void **state)
{
    (void)state;
    double kept[100];
    memcpy(kept, first_values("w", CRN_INIT_UNIFORM, 1, 7, 100), sizeof kept);
    op_next();
    crn_graph_set_seed(op_graph(), 7);
    variable(op_graph(), "v", 13, CRN_INIT_UNIFORM, 1);
    variable(op_graph(), "w", 100, CRN_INIT_UNIFORM, 1);
    op_check(crn_initialize_variables(op_graph()));
    op_check(crn_initialize_variables(op_graph())); /* and again */
    op_compare("w", op_get("w"), kept, 100, 0);
}

/* Nor does how many threads share the work, which depends on the count. */
static void counts_do_not_matter(void **state)
{
    (void)state;
    enum { FEW = 1000, LONG = 300001 };
    double *few = first_values("w", CRN_INIT_TRUNCATED_NORMAL, 1, 7, FEW), kept[FEW];
    memcpy(kept, few, sizeof kept);
    double *all = first_values("w", CRN_INIT_TRUNCATED_NORMAL, 1, 7, LONG);
    op_compare("w", all, kept, FEW, 0);
    double *longer = malloc(LONG * sizeof *longer);
    assert_non_null(longer);
    memcpy(longer, all, LONG * sizeof *longer);
    op_compare("w", first_values("w", CRN_INIT_TRUNCATED_NORMAL, 1, 7, LONG / 2), longer, LONG / 2,
               0);
    free(longer);
}

static void moments(const double *values, int count, double *mean, double *deviation)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < count; i++) {
        sum += values[i];
        squares += values[i] * values[i];
    }
    *mean = sum / count;
    *deviation = sqrt(squares / count - *mean * *mean);
}

/* A normal distribution cut at two deviations has 0.87962566 of its deviation. */
static void expect_truncated_normal(const double *values, int count, double stddev)
{
    double mean, deviation, largest = 0;
    moments(values, count, &mean, &deviation);
    for (int i = 0; i < count; i++)
        largest = fmax(largest, fabs(values[i]));
    assert_true(fabs(mean) < 6 * stddev / sqrt(count));
    assert_true(fabs(deviation / stddev - 0.87962566) < 0.02);
    assert_true(largest <= 2 * stddev * (1 + 1e-6) && largest > 1.98 * stddev);
}

static void truncated_normal(void **state)
{
    (void)state;
    expect_truncated_normal(first_values("w", CRN_INIT_TRUNCATED_NORMAL, 0.5f, 1, MANY), MANY, 0.5);
}

/* Of a 3x3 convolution of 20 channels the fan-in is 180; of a dense layer of 200 inputs, 200. */
static void variance_scaling(void **state)
{
    (void)state;
    crn_graph *g = op_graph();
    crn_node *x = crn_placeholder(g, "x", CRN_F32, CRN_SHAPE(1, 4, 4, 20));
    crn_conv2d(g, x, 250, 3, 3, NULL);
    crn_node *rows = crn_placeholder(g, "rows", CRN_F32, CRN_SHAPE(1, 200));
    crn_dense(g, rows, 200, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, NULL);
    op_check(crn_initialize_variables(g));
    expect_truncated_normal(op_get("Conv/weights"), 9 * 20 * 250, sqrt(1.3 * 2 / 180));
    expect_truncated_normal(op_get("fully_connected/weights"), MANY, sqrt(1.3 * 2 / 200));
}

static void uniform(void **state)
{
    (void)state;
    double *values = first_values("w", CRN_INIT_UNIFORM, 0.25f, 1, MANY), mean, deviation;
    moments(values, MANY, &mean, &deviation);
    assert_true(fabs(mean) < 6 * 0.25 / sqrt(MANY));
    assert_true(fabs(deviation - 0.25 / sqrt(3)) < 0.002);
    for (int i = 0; i < MANY; i++)
        assert_true(values[i] >= -0.25 && values[i] < 0.25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(values_come_back),
        OP_TEST(counts_are_checked),
        OP_TEST(trainable_can_be_changed),
        OP_TEST(seed_and_name_decide),
        OP_TEST(other_variables_do_not_matter),
        OP_TEST(counts_do_not_matter),
        OP_TEST(truncated_normal),
        OP_TEST(variance_scaling),
        OP_TEST(uniform),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
