/* All eight networks as lists: variables, and end points at 224 pixels. Nothing runs. */
#include "golden/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"

#define MOST_COLUMNS 4

/* Splits a line at its tabs; returns the number of columns. */
static int split(char *line, char *columns[MOST_COLUMNS])
{
    int n = 0;
    line[strcspn(line, "\n")] = '\0';
    for (char *at = line; at != NULL && n < MOST_COLUMNS; n++) {
        columns[n] = at;
        at = strchr(at, '\t');
        if (at != NULL)
            *at++ = '\0';
    }
    return n;
}

/* The shape as the lists have it: "7,7,3,64". */
static void shape_text(crn_shape shape, char text[96])
{
    crn_shape_text(&shape, text, 96);
    size_t length = strlen(text);
    memmove(text, text + 1, length - 1);
    text[length - 2] = '\0';
}

static FILE *open_list(const char *kind, const char *model)
{
    char path[512];
    snprintf(path, sizeof path, "%s/golden/%s_%s.txt", CRN_TEST_DATA, kind, model);
    FILE *list = fopen(path, "r");
    if (list == NULL)
        fail_msg("cannot open %s", path);
    return list;
}

static crn_graph *build(const char *model)
{
    golden_begin(NULL);
    crn_graph *g = golden_graph();
    crn_resnet_options options = CRN_RESNET_OPTIONS_INIT;
    options.spatial_squeeze = false;
    crn_node *inputs = crn_placeholder(g, "inputs", CRN_F32, CRN_SHAPE(1, 224, 224, 3));
    crn_model_find(model)->build(g, inputs, 1000, &options);
    golden_check(crn_graph_status(g));
    return g;
}

static void check_variable(const crn_graph *g, char *columns[MOST_COLUMNS])
{
    const crn_node *variable = crn_variable_find(g, columns[0]);
    char shape[96];
    if (variable == NULL)
        fail_msg("no variable %s", columns[0]);
    shape_text(crn_node_shape(variable), shape);
    if (strcmp(shape, columns[1]) != 0 ||
        crn_variable_is_trainable(variable) != (strcmp(columns[2], "1") == 0) ||
        (variable->weight_decay > 0) != (strcmp(columns[3], "1") == 0))
        fail_msg("%s is %s, trainable %d, weight decay %g; TF-slim's %s, %s, %s", columns[0], shape,
                 crn_variable_is_trainable(variable), (double)variable->weight_decay, columns[1],
                 columns[2], columns[3]);
}

static int64_t trainable_numbers(const crn_graph *g)
{
    int64_t sum = 0;
    for (size_t i = 0; i < crn_variable_count(g); i++) {
        crn_shape shape = crn_node_shape(crn_variable_at(g, i));
        sum += crn_variable_is_trainable(crn_variable_at(g, i)) ? crn_shape_count(&shape) : 0;
    }
    return sum;
}

/* As many variables as lines, and each line's is there, is the same set. */
static crn_graph *check_variables(const char *model)
{
    crn_graph *g = build(model);
    FILE *list = open_list("variables", model + strlen("resnet_"));
    size_t lines = 0;
    char line[256], *columns[MOST_COLUMNS];
    for (; fgets(line, sizeof line, list) != NULL; lines++) {
        assert_int_equal(split(line, columns), 4);
        check_variable(g, columns);
    }
    fclose(list);
    assert_int_equal(crn_variable_count(g), lines);
    return g;
}

static size_t regularised(const crn_graph *g)
{
    size_t n = 0;
    for (size_t i = 0; i < crn_variable_count(g); i++)
        n += crn_variable_at(g, i)->weight_decay > 0;
    return n;
}

static void variables_of_v1_50(void **state)
{
    (void)state;
    const crn_graph *g = check_variables("resnet_v1_50");
    assert_int_equal(crn_variable_count(g), 267);
    assert_int_equal(trainable_numbers(g), 25557032);
    assert_int_equal(regularised(g), 54);
}

static void variables_of_v2_50(void **state)
{
    (void)state;
    const crn_graph *g = check_variables("resnet_v2_50");
    assert_int_equal(crn_variable_count(g), 272);
    assert_int_equal(trainable_numbers(g), 25568360);
    assert_int_equal(regularised(g), 54);
}

static void variables_of_deeper_networks(void **state)
{
    (void)state;
    check_variables("resnet_v1_101");
    check_variables("resnet_v1_152");
    check_variables("resnet_v1_200");
    check_variables("resnet_v2_101");
    check_variables("resnet_v2_152");
    check_variables("resnet_v2_200");
}

static void check_end_points(const char *model)
{
    crn_graph *g = build(model);
    FILE *list = open_list("end_points", model + strlen("resnet_"));
    size_t lines = 0;
    char line[256], *columns[MOST_COLUMNS], shape[96];
    for (; fgets(line, sizeof line, list) != NULL; lines++) {
        assert_int_equal(split(line, columns), 2);
        const crn_node *node = crn_end_point_find(g, columns[0]);
        if (node == NULL)
            fail_msg("no end point %s", columns[0]);
        shape_text(crn_node_shape(node), shape);
        if (strcmp(shape, columns[1]) != 0)
            fail_msg("%s is %s, TF-slim's %s", columns[0], shape, columns[1]);
    }
    fclose(list);
    assert_int_equal(crn_end_point_count(g), lines);
    assert_int_equal(lines, 75);
}

static void end_points_of_v1_50(void **state)
{
    (void)state;
    check_end_points("resnet_v1_50");
}

static void end_points_of_v2_50(void **state)
{
    (void)state;
    check_end_points("resnet_v2_50");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        GOLDEN_TEST(variables_of_v1_50),           GOLDEN_TEST(variables_of_v2_50),
        GOLDEN_TEST(variables_of_deeper_networks), GOLDEN_TEST(end_points_of_v1_50),
        GOLDEN_TEST(end_points_of_v2_50),
    };
    return cmocka_run_group_tests(tests, golden_open, golden_close);
}
