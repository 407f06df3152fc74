/* The bottleneck of the program that started clarinet, with relu6, from public layer calls. */
#include "golden/golden.h"

#include <string.h>

enum { BATCH = 2, SIZE = 9, CHANNELS = 32, BASE_DEPTH = 8 };

static crn_node *plain_1x1(crn_graph *g, crn_node *x, int64_t depth, int32_t stride,
                           const char *scope)
{
    crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
    o.stride_h = o.stride_w = stride;
    o.normalizer = CRN_NORMALIZER_NONE;
    o.activation = CRN_ACTIVATION_NONE;
    o.scope = scope;
    return crn_conv2d(g, x, depth, 1, 1, &o);
}

static crn_node *bottleneck(crn_graph *g, crn_node *inputs, int64_t depth, int32_t stride)
{
    crn_scope_push(g, "bottleneck");
    crn_batch_norm_options norm = crn_arg_scope_current(g)->batch_norm;
    norm.activation = CRN_ACTIVATION_RELU6;
    norm.scope = "preact";
    crn_node *preact = crn_batch_norm(g, inputs, &norm);
    crn_node *shortcut = depth == CHANNELS ? crn_subsample(g, inputs, stride)
                                           : plain_1x1(g, preact, depth, stride, "shortcut");
    crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
    o.scope = "conv1";
    crn_node *residual = crn_conv2d(g, preact, BASE_DEPTH, 1, 1, &o);
    o.scope = "conv2";
    residual = crn_conv2d_same(g, residual, BASE_DEPTH, 3, stride, &o);
    residual = plain_1x1(g, residual, depth, 1, "conv3");
    crn_scope_pop(g);
    return crn_add(g, shortcut, residual);
}

/*
 * Half the squared norm of y is no op; but its gradients are those of the sum of c y, a dense
 * layer, with the constant c = y. Returns that sum; *c are its weights.
 */
static crn_node *weighted_sum(crn_graph *g, crn_node *y, crn_node **c)
{
    crn_shape shape = crn_node_shape(y);
    crn_node *row = crn_reshape(g, y, CRN_SHAPE(1, crn_shape_count(&shape)));
    const crn_arg_scope plain = CRN_ARG_SCOPE_INIT;
    crn_arg_scope_push(g, &plain);
    crn_node *sum = crn_dense(g, row, 1, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "loss");
    crn_arg_scope_pop(g);
    *c = crn_variable_find(g, "loss/weights");
    crn_variable_set_trainable(*c, false);
    crn_variable_set_trainable(crn_variable_find(g, "loss/biases"), false);
    return crn_reduce_mean(g, sum);
}

static void check(const char *path, int64_t depth, int32_t stride)
{
    golden_begin(path);
    crn_graph *g = golden_graph();
    crn_arg_scope scope = crn_resnet_arg_scope(NULL);
    crn_arg_scope_push(g, &scope);
    crn_node *inputs = golden_input("inputs", CRN_SHAPE(BATCH, SIZE, SIZE, CHANNELS), 4);
    crn_node *output = bottleneck(g, inputs, depth, stride), *c;
    crn_arg_scope_pop(g);
    crn_node *loss = weighted_sum(g, output, &c);
    golden_check(crn_graph_status(g));
    golden_initialize();

    crn_shape shape = crn_node_shape(output);
    const float *values = golden_fetch(output);
    golden_run(NULL);
    size_t count = (size_t)crn_shape_count(&shape);
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += (double)values[i] * (double)values[i];
    golden_check(crn_variable_write(c, values, count));
    golden_compare("loss", &(float){(float)(squares / 2)}, (crn_shape){.rank = 0});
    golden_expect("output", NULL, output);
    golden_expect("gradient", "inputs", crn_gradient(g, loss, inputs));
    golden_expect_gradients(loss);
    golden_run(NULL);
    golden_verify();
}

static void stride_1_with_equal_depth(void **state)
{
    (void)state;
    check(GOLDEN("seed_bottleneck_s1_d32.safetensors"), 32, 1);
}

static void stride_1_with_unequal_depth(void **state)
{
    (void)state;
    check(GOLDEN("seed_bottleneck_s1_d48.safetensors"), 48, 1);
}

static void stride_2_with_equal_depth(void **state)
{
    (void)state;
    check(GOLDEN("seed_bottleneck_s2_d32.safetensors"), 32, 2);
}

static void stride_2_with_unequal_depth(void **state)
{
    (void)state;
    check(GOLDEN("seed_bottleneck_s2_d48.safetensors"), 48, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        GOLDEN_TEST(stride_1_with_equal_depth),
        GOLDEN_TEST(stride_1_with_unequal_depth),
        GOLDEN_TEST(stride_2_with_equal_depth),
        GOLDEN_TEST(stride_2_with_unequal_depth),
    };
    return cmocka_run_group_tests(tests, golden_open, golden_close);
}
