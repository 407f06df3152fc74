#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train/score.h"

static void rank_counts_larger_logits(void **state)
{
    (void)state;
    const float logits[] = {-1, 3, 0.5f, 7, 2};
    const size_t ranks[] = {4, 1, 3, 0, 2};
    for (size_t label = 0; label < 5; label++)
        assert_int_equal(crn__rank(logits, 5, label), ranks[label]);
}

/* Else a network that says nothing at all would be right every time. */
static void equal_logits_have_one_winner(void **state)
{
    (void)state;
    const float logits[] = {0, 0, 0, 0};
    for (size_t label = 0; label < 4; label++)
        assert_int_equal(crn__rank(logits, 4, label), label);
}

static void nothing_else_ranks_well(void **state)
{
    (void)state;
    const float logits[] = {NAN, 1, NAN};
    assert_int_equal(crn__rank(logits, 3, 0), 3);
    assert_int_equal(crn__rank(logits, 3, 3), 3);
    assert_int_equal(crn__rank(logits, 3, (size_t)(int32_t)-1), 3);
}

static void cross_entropy_is_minus_log_softmax(void **state)
{
    (void)state;
    const float even[] = {5, 5, 5, 5};
    assert_true(fabs(crn__cross_entropy(even, 4, 2) - log(4)) < 1e-12);
    const float two[] = {1, 3};
    assert_true(fabs(crn__cross_entropy(two, 2, 0) - log(1 + exp(2))) < 1e-12);
    assert_true(fabs(crn__cross_entropy(two, 2, 1) - log(1 + exp(-2))) < 1e-12);
}

static void cross_entropy_does_not_overflow(void **state)
{
    (void)state;
    const float far[] = {-3e38f, 3e38f};
    assert_true(crn__cross_entropy(far, 2, 1) == 0);
    assert_true(fabs(crn__cross_entropy(far, 2, 0) - 6e38) < 1e32);
}

static void cross_entropy_of_no_class_is_not_finite(void **state)
{
    (void)state;
    const float logits[] = {1, 2};
    const float bad[] = {1, INFINITY};
    assert_true(isnan(crn__cross_entropy(logits, 2, 2)));
    assert_true(isnan(crn__cross_entropy(bad, 2, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rank_counts_larger_logits),
        cmocka_unit_test(equal_logits_have_one_winner),
        cmocka_unit_test(nothing_else_ranks_well),
        cmocka_unit_test(cross_entropy_is_minus_log_softmax),
        cmocka_unit_test(cross_entropy_does_not_overflow),
        cmocka_unit_test(cross_entropy_of_no_class_is_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
