/* crn_conv2d, forward and all three gradients. */
#include "op_conv.h"

static void check_table(const conv_problem *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        conv_problem p = table[i];
        conv_lay_out(&p);
        conv_values v = conv_uniform(&p);
        conv_check(&p, &v, OP_RTOL);
    }
}
#define CHECK_TABLE(table) check_table(table, sizeof(table) / sizeof *(table))

static void strides_and_sizes(void **state)
{
    (void)state;
    static const conv_problem table[] = {
        {IMAGE(1, 8, 8, 16), KERNEL(1, 1, 16)},
        {IMAGE(2, 7, 7, 64), KERNEL(1, 1, 33), STRIDE(2, 2), NO_BIASES},
        {IMAGE(1, 11, 13, 7), KERNEL(1, 1, 17), STRIDE(3, 3), VALID}, /* stride over kernel */
        {IMAGE(3, 8, 8, 3), KERNEL(2, 2, 32)},
        {IMAGE(1, 9, 8, 17), KERNEL(2, 2, 16), STRIDE(3, 3)}, /* stride over kernel */
        {IMAGE(2, 7, 7, 64), KERNEL(3, 3, 64), NO_BIASES},
        {IMAGE(1, 14, 14, 32), KERNEL(3, 3, 33), NO_BIASES},
        {IMAGE(5, 6, 6, 16), KERNEL(3, 3, 17), STRIDE(2, 2)},
        {IMAGE(1, 13, 17, 1), KERNEL(3, 3, 1), STRIDE(2, 1), VALID},
        {IMAGE(2, 11, 7, 33), KERNEL(3, 3, 7), STRIDE(3, 2)},
        {IMAGE(1, 12, 12, 7), KERNEL(5, 5, 16)},
        {IMAGE(2, 15, 13, 16), KERNEL(5, 5, 3), STRIDE(2, 3), VALID},
        {IMAGE(1, 30, 30, 3), KERNEL(7, 7, 64), STRIDE(2, 2), NO_BIASES},
        {IMAGE(2, 19, 23, 1), KERNEL(7, 7, 17), VALID},
        {IMAGE(1, 9, 31, 16), KERNEL(1, 7, 16)}, /* rectangular */
        {IMAGE(1, 31, 5, 3), KERNEL(7, 2, 7), STRIDE(1, 2)},
        {IMAGE(2, 29, 2, 17), KERNEL(3, 1, 32), STRIDE(2, 1), VALID},
        {IMAGE(1, 1, 1, 1), KERNEL(1, 1, 1), VALID},
        {IMAGE(3, 1, 1, 64), KERNEL(1, 1, 33)},
    };
    CHECK_TABLE(table);
}

static void rates(void **state)
{
    (void)state;
    static const conv_problem table[] = {
        {IMAGE(1, 9, 9, 16), KERNEL(3, 3, 16), RATE(2, 2)},
        {IMAGE(2, 7, 7, 7), KERNEL(3, 3, 17), RATE(4, 4), NO_BIASES}, /* only the middle inside */
        {IMAGE(1, 13, 11, 33), KERNEL(3, 2, 3), RATE(2, 3), VALID},
        {IMAGE(1, 15, 15, 3), KERNEL(3, 3, 16), STRIDE(2, 2), RATE(2, 2)},
        {IMAGE(1, 16, 16, 1), KERNEL(5, 5, 7), STRIDE(3, 2), RATE(2, 1), VALID},
        {IMAGE(2, 8, 8, 16), KERNEL(1, 1, 32), RATE(2, 2)}, /* a rate of nothing */
    };
    CHECK_TABLE(table);
}

static void explicit_padding(void **state)
{
    (void)state;
    static const conv_problem table[] = {
        {IMAGE(1, 8, 8, 16), KERNEL(3, 3, 16), STRIDE(2, 2), PAD(1, 1, 1, 1)},
        {IMAGE(2, 7, 9, 7), KERNEL(3, 3, 17), PAD(0, 2, 3, 1)},
        {IMAGE(1, 5, 5, 3), KERNEL(2, 3, 3), PAD(2, 0, 0, 3)}, /* windows see nothing */
        {IMAGE(1, 6, 5, 16), KERNEL(1, 1, 7), STRIDE(2, 2), PAD(1, 1, 0, 1)},
        {IMAGE(1, 9, 9, 33), KERNEL(3, 3, 16), STRIDE(2, 3), RATE(2, 2), PAD(2, 1, 0, 3),
         NO_BIASES},
        {IMAGE(3, 4, 4, 17), KERNEL(3, 3, 1), PAD(0, 0, 0, 0)},
    };
    CHECK_TABLE(table);
}

static void kernels_larger_than_the_input(void **state)
{
    (void)state;
    static const conv_problem table[] = {
        {IMAGE(1, 2, 2, 16), KERNEL(3, 3, 16)},
        {IMAGE(2, 1, 1, 3), KERNEL(7, 7, 17)},
        {IMAGE(1, 3, 2, 7), KERNEL(7, 5, 33), STRIDE(2, 2)},
        {IMAGE(1, 2, 3, 1), KERNEL(5, 5, 16), PAD(2, 3, 1, 1)},
        {IMAGE(2, 3, 3, 17), KERNEL(3, 3, 3), STRIDE(3, 3), RATE(2, 2), NO_BIASES},
    };
    CHECK_TABLE(table);
}

/* 31*37 output pixels in 3 images: sums long enough for a lost part of a reduction to show. */
static void large_ones(void **state)
{
    (void)state;
    static const conv_problem table[] = {
        {IMAGE(3, 31, 37, 16), KERNEL(3, 3, 17)},
        {IMAGE(2, 56, 56, 64), KERNEL(1, 1, 16)},
        {IMAGE(1, 7, 7, 128), KERNEL(3, 3, 131), NO_BIASES},
    };
    CHECK_TABLE(table);
}

static void activations(void **state)
{
    (void)state;
    static const conv_problem table[] = {
        {IMAGE(1, 7, 7, 16), KERNEL(3, 3, 16), RELU},
        {IMAGE(3, 5, 9, 7), KERNEL(3, 3, 17), STRIDE(2, 2), NO_BIASES, RELU},
        {IMAGE(1, 7, 7, 32), KERNEL(5, 5, 33), RELU6},
        {IMAGE(2, 8, 8, 64), KERNEL(1, 1, 3), STRIDE(2, 2), VALID, NO_BIASES, RELU6},
    };
    CHECK_TABLE(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(strides_and_sizes), OP_TEST(rates),
        OP_TEST(explicit_padding),  OP_TEST(kernels_larger_than_the_input),
        OP_TEST(large_ones),        OP_TEST(activations),
    };
    return cmocka_run_group_tests(tests, op_open, op_close);
}
