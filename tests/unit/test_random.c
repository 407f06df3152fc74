#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/random.h"

/* Outputs of Vigna's splitmix64.c with the state 1234567. */
static void is_splitmix64(void **state)
{
    (void)state;
    static const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u,
                                        9817491932198370423u, 4593380528125082431u,
                                        16408922859458223821u};
    for (uint64_t n = 5; n-- > 0;) /* backwards: any number can be had without those before it */
        assert_true(crn__random_bits(1234567, n) == expected[n]);
}

/* The vectors of the FNV draft (draft-eastlake-fnv). */
static void hash_is_fnv_1a(void **state)
{
    (void)state;
    assert_true(crn__hash_text("") == 0xCBF29CE484222325u);
    assert_true(crn__hash_text("a") == 0xAF63DC4C8601EC8Cu);
    assert_true(crn__hash_text("foobar") == 0x85944171F73967E8u);
    assert_true(crn__hash_text("\xFF") == 0xAF64724C8602EB6Eu); /* bytes are unsigned */
}

static void uniform_is_in_range_and_flat(void **state)
{
    (void)state;
    enum { DRAWS = 100000, BINS = 10 };
    int bins[BINS] = {0};
    double sum = 0;
    for (uint64_t n = 0; n < DRAWS; n++) {
        double u = crn__random_uniform(42, n);
        assert_true(u >= 0 && u < 1);
        bins[(int)(u * BINS)]++;
        sum += u;
    }
    /* Six standard deviations of a mean and of a bin's count. */
    assert_true(fabs(sum / DRAWS - 0.5) < 6 * sqrt(1.0 / 12 / DRAWS));
    for (int i = 0; i < BINS; i++)
        assert_true(abs(bins[i] - DRAWS / BINS) < 6 * sqrt(DRAWS * 0.1 * 0.9));
}

static void streams_differ(void **state)
{
    (void)state;
    int equal = 0;
    for (uint64_t n = 0; n < 1000; n++)
        equal += crn__random_bits(1, n) == crn__random_bits(2, n);
    assert_int_equal(equal, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_splitmix64),
        cmocka_unit_test(hash_is_fnv_1a),
        cmocka_unit_test(uniform_is_in_range_and_flat),
        cmocka_unit_test(streams_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
