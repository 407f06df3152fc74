/* The Winograd solver in every shape that it takes, and others beside them, which stay direct. */
#include <stdlib.h>

#include "op_conv.h"

/* Its transforms multiply by up to 8 and divide by up to 24: some tens of roundings more than a
 * sum. */
#define RTOL 5e-5

static int open_winograd(void **state)
{
    setenv("CLARINET_CONV_SOLVER", "winograd", 1);
    return op_open(state);
}

static void shapes(void **state)
{
    (void)state;
    static const conv_problem table[] = {
        {IMAGE(1, 4, 4, 16), KERNEL(3, 3, 16)},
        {IMAGE(2, 8, 8, 32), KERNEL(3, 3, 64), NO_BIASES},
        {IMAGE(3, 7, 7, 64), KERNEL(3, 3, 32), RELU},
        {IMAGE(5, 13, 5, 16), KERNEL(3, 3, 48), RELU6},
        {IMAGE(2, 1, 1, 16), KERNEL(3, 3, 16)},
        {IMAGE(1, 2, 31, 48), KERNEL(3, 3, 16)},
        {IMAGE(2, 9, 10, 16), KERNEL(3, 3, 16), VALID},
        {IMAGE(2, 6, 7, 16), KERNEL(3, 3, 32), PAD(2, 0, 0, 2)},
        {IMAGE(2, 6, 7, 16), KERNEL(3, 3, 32), PAD(0, 2, 1, 0)},
        {IMAGE(1, 29, 27, 32), KERNEL(3, 3, 32)}, /* several groups of tiles, the last short */
        {IMAGE(17, 7, 7, 512), KERNEL(3, 3, 32)}, /* scratch for part of the tiles at a time */
        {IMAGE(2, 8, 8, 17), KERNEL(3, 3, 16)},   /* direct from here */
        {IMAGE(2, 8, 8, 16), KERNEL(3, 3, 19)},
        {IMAGE(2, 8, 8, 16), KERNEL(3, 3, 16), STRIDE(2, 1)},
        {IMAGE(2, 8, 8, 16), KERNEL(3, 3, 16), RATE(1, 2)},
        {IMAGE(2, 8, 8, 16), KERNEL(3, 1, 16)},
        {IMAGE(2, 3, 3, 16), KERNEL(3, 3, 16), PAD(3, 0, 3, 0)},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        conv_problem p = table[i];
        conv_lay_out(&p);
        conv_values v = conv_uniform(&p);
        conv_check(&p, &v, RTOL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(shapes),
    };
    return cmocka_run_group_tests(tests, open_winograd, op_close);
}
