/* The direct solver on integers, which it must get exactly right. (Others may round: Winograd's
 * transforms divide.) */
#include <stdlib.h>

#include "op_conv.h"

static int open_direct(void **state)
{
    setenv("CLARINET_CONV_SOLVER", "direct", 1);
    return op_open(state);
}

static void random_integers(void **state)
{
    (void)state;
    int count = op_problems();
    for (int i = 0; i < count; i++) {
        uint64_t key = (uint64_t)i * 8;
        conv_problem p = conv_draw(key, false);
        conv_values v = conv_integers(&p, key);
        conv_check(&p, &v, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(random_integers),
    };
    return cmocka_run_group_tests(tests, open_direct, op_close);
}
