/* The CLBlast solver, which a CPU takes only when told to: convolutions that are matrix products,
 * and others beside them, which stay with the direct solver. */
#include <stdlib.h>

#include "op_conv.h"

static int open_clblast(void **state)
{
    setenv("CLARINET_CONV_SOLVER", "clblast", 1);
    return op_open(state);
}

static void random_integers(void **state)
{
    (void)state;
    int count = op_problems();
    for (int i = 0; i < count; i++) {
        uint64_t key = (uint64_t)i * 8;
        conv_problem p = conv_draw(key, i % 8 != 0);
        conv_values v = conv_integers(&p, key);
        conv_check(&p, &v, 0);
    }
}

static void long_sums(void **state)
{
    (void)state;
    static const conv_problem table[] = {
        {IMAGE(2, 28, 28, 256), KERNEL(1, 1, 64)},
        {IMAGE(3, 1, 1, 2048), KERNEL(1, 1, 1001)},
        {IMAGE(1, 56, 56, 3), KERNEL(1, 1, 67), RELU6},
    };
    for (int i = 0; i < 3; i++) {
        conv_problem p = table[i];
        conv_lay_out(&p);
        conv_values v = conv_uniform(&p);
        conv_check(&p, &v, OP_RTOL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(random_integers),
        OP_TEST(long_sums),
    };
    return cmocka_run_group_tests(tests, open_clblast, op_close);
}
