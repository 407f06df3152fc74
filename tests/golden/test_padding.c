/* Where zeros go: conv2d_same on ramps, whose numbers are known, and SAME max pooling. */
#include "golden/golden.h"

#include <stdio.h>

/* x[i,j] = i + j. */
static void ramp(int size, float *values)
{
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++)
            values[i * size + j] = (float)(i + j);
}

/* Returns where the result will be. */
static const float *expect_convolution(int size, int32_t stride, int32_t rate, float *inputs,
                                       const char *name)
{
    crn_graph *g = golden_graph();
    char text[32];
    ramp(size, inputs);
    snprintf(text, sizeof text, "%dx%d_%d_%d", size, size, stride, rate);
    crn_node *x = golden_feed(text, CRN_F32, CRN_SHAPE(1, size, size, 1), inputs);
    crn_conv2d_options o = CRN_CONV2D_OPTIONS_INIT;
    o.activation = CRN_ACTIVATION_NONE;
    o.no_biases = true;
    o.rate_h = o.rate_w = rate;
    o.scope = text;
    crn_node *y = crn_conv2d_same(g, x, 1, 3, stride, &o);
    golden_expect("conv2d_same", name, y);
    const float *result = golden_fetch(y);
    float weights[9];
    ramp(3, weights);
    snprintf(text, sizeof text, "%dx%d_%d_%d/weights", size, size, stride, rate);
    golden_check(crn_variable_write(crn_variable_find(g, text), weights, 9));
    return result;
}

static void expect_pool(int size, int64_t channels)
{
    crn_graph *g = golden_graph();
    char name[32];
    crn_node *x = golden_input("pool_inputs", CRN_SHAPE(1, size, size, channels), 1);
    crn_pool_options o = CRN_POOL_OPTIONS_INIT;
    o.padding = CRN_PADDING_SAME;
    snprintf(name, sizeof name, "%dx%dx%d", size, size, (int)channels);
    golden_expect("max_pool2d", name, crn_max_pool2d(g, x, 3, 3, &o));
}

static void conv2d_same_and_max_pool2d(void **state)
{
    (void)state;
    golden_begin(GOLDEN("conv2d_same.safetensors"));
    float inputs[6][81];
    expect_convolution(4, 1, 1, inputs[0], "4x4_stride1");
    const float *four = expect_convolution(4, 2, 1, inputs[1], "4x4_stride2");
    expect_convolution(5, 1, 1, inputs[2], "5x5_stride1");
    const float *five = expect_convolution(5, 2, 1, inputs[3], "5x5_stride2");
    expect_convolution(9, 1, 2, inputs[4], "9x9_rate2");
    expect_convolution(9, 1, 3, inputs[5], "9x9_rate3");
    expect_pool(4, 1);
    expect_pool(5, 1);
    expect_pool(8, 2);
    golden_run(NULL);
    /* What TF-slim's own tests expect. */
    assert_memory_equal(four, ((const float[]){14, 43, 43, 84}), 4 * sizeof(float));
    assert_memory_equal(five, ((const float[]){14, 43, 34, 43, 84, 55, 34, 55, 30}),
                        9 * sizeof(float));
    golden_verify();
}

/* Values of README.md's, of the script's own making: what every other test starts from. */
static void values_by_rule(void **state)
{
    (void)state;
    static float values[4 * 64 * 64 * 3];
    golden_rule("inputs", CRN_SHAPE(4, 64, 64, 3), values);
    assert_float_equal(values[0], 0.339164585f, 0);
    assert_float_equal(values[49151], 0.200296417f, 0);
    golden_rule("resnet_v1_50/conv1/weights", CRN_SHAPE(7, 7, 3, 64), values);
    assert_float_equal(values[0], 0.137138516f, 0);
    assert_float_equal(values[9407], -0.00862561539f, 0);
    golden_rule("resnet_v1_50/conv1/BatchNorm/beta", CRN_SHAPE(64), values);
    assert_float_equal(values[0], 2.09938884f, 0);
    golden_rule("resnet_v1_50/conv1/BatchNorm/moving_variance", CRN_SHAPE(64), values);
    assert_float_equal(values[63], 1.40360677f, 0);
    golden_rule("bottleneck/preact/gamma", CRN_SHAPE(32), values);
    assert_float_equal(values[0], 3.962466f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_by_rule),
        GOLDEN_TEST(conv2d_same_and_max_pool2d),
    };
    return cmocka_run_group_tests(tests, golden_open, golden_close);
}
