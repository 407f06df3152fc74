#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/thread.h"

static void count_up(void *data, size_t begin, size_t end)
{
    unsigned char *seen = data;
    for (size_t i = begin; i < end; i++)
        seen[i]++;
}

static void every_index_is_worked_on_once(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 15, 16, 17, 1000, 100003};
    for (size_t least = 1; least <= 1000; least *= 10)
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
            unsigned char *seen = calloc(counts[k] + 1, 1);
            assert_non_null(seen);
            crn__parallel_for(counts[k], least, count_up, seen);
            for (size_t i = 0; i < counts[k]; i++)
                assert_int_equal(seen[i], 1);
            assert_int_equal(seen[counts[k]], 0);
            free(seen);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_is_worked_on_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
