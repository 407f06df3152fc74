/* crn_schedule_rate against TensorFlow's learning rates (golden/make_optimizers.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "clarinet.h"

static const int64_t steps[] = {0, 1, 9, 10, 11, 25, 39, 40, 41, 100, 12345};
enum { COUNT = sizeof steps / sizeof *steps };

static void check(const char *name, crn_schedule schedule)
{
    crn_checkpoint *golden;
    crn_error error;
    char key[64];
    float expected[COUNT];
    assert_int_equal(
        crn_checkpoint_open(CRN_TEST_DATA "/golden/optimizers.safetensors", &golden, &error),
        CRN_OK);
    snprintf(key, sizeof key, "rate/%s", name);
    assert_int_equal(crn_checkpoint_read(golden, key, expected, COUNT, &error), CRN_OK);
    crn_checkpoint_free(golden);
    assert_int_equal(crn_schedule_check(&schedule, &error), CRN_OK);
    for (int i = 0; i < COUNT; i++) {
        float rate = crn_schedule_rate(&schedule, steps[i]);
        if (!(fabsf(rate - expected[i]) <= 2e-6f * expected[i] + 1e-20f))
            fail_msg("%s at %d: %.9g, expected %.9g", name, (int)steps[i], (double)rate,
                     (double)expected[i]);
    }
}

static crn_schedule decaying(crn_schedule_kind kind)
{
    crn_schedule s = CRN_SCHEDULE_INIT(0.5f);
    s.kind = kind;
    s.decay_steps = 10;
    s.decay_rate = 0.75f;
    return s;
}

static void tensorflows_schedules(void **state)
{
    (void)state;
    static const int64_t boundaries[] = {10, 40};
    static const float values[] = {0.5f, 0.25f, 0.125f};
    check("exponential", decaying(CRN_SCHEDULE_EXPONENTIAL));
    check("step", decaying(CRN_SCHEDULE_STEP));
    crn_schedule s = decaying(CRN_SCHEDULE_POLYNOMIAL);
    s.decay_steps = 40;
    s.end_rate = 0.0625f;
    s.power = 1.5f;
    check("polynomial", s);
    s.kind = CRN_SCHEDULE_COSINE; /* alpha 1/8 */
    check("cosine", s);
    s = decaying(CRN_SCHEDULE_PIECEWISE);
    s.boundaries = boundaries;
    s.values = values;
    s.n_boundaries = 2;
    check("piecewise", s);
}

static void fixed(void **state)
{
    (void)state;
    const crn_schedule s = CRN_SCHEDULE_INIT(0.125f);
    assert_int_equal(crn_schedule_check(&s, NULL), CRN_OK);
    for (int i = 0; i < COUNT; i++)
        assert_true(crn_schedule_rate(&s, steps[i]) == 0.125f);
}

/* A straight line up to where the schedule is by then, and the schedule after it. */
static void warm_up(void **state)
{
    (void)state;
    crn_schedule s = decaying(CRN_SCHEDULE_STEP), plain = s;
    s.warmup_steps = 20;
    s.warmup_rate = 0.03125f;
    const float top = 0.5f * 0.75f * 0.75f;
    assert_true(crn_schedule_rate(&s, 0) == 0.03125f);
    assert_true(fabsf(crn_schedule_rate(&s, 5) - (0.03125f + 0.25f * (top - 0.03125f))) < 1e-7f);
    assert_true(fabsf(crn_schedule_rate(&s, 19) - (0.03125f + 0.95f * (top - 0.03125f))) < 1e-7f);
    for (int64_t step = 20; step < 60; step++)
        assert_true(crn_schedule_rate(&s, step) == crn_schedule_rate(&plain, step));
}

static void refuse(const crn_schedule *schedule, const char *part)
{
    crn_error error;
    assert_int_equal(crn_schedule_check(schedule, &error), CRN_INVALID);
    assert_non_null(strstr(error.text, part));
}

static void mistakes(void **state)
{
    (void)state;
    static const int64_t boundaries[] = {10, 10};
    static const float values[] = {3, 2, 1};
    crn_schedule s = decaying(CRN_SCHEDULE_COSINE);
    s.decay_steps = 0;
    refuse(&s, "0 steps");
    s = decaying(CRN_SCHEDULE_PIECEWISE);
    refuse(&s, "without its pieces");
    s.boundaries = boundaries;
    s.values = values;
    s.n_boundaries = 2;
    refuse(&s, "boundary 10 after 10");
    s = decaying((crn_schedule_kind)77);
    refuse(&s, "schedule 77");
    s = decaying(CRN_SCHEDULE_FIXED);
    s.warmup_steps = -1;
    refuse(&s, "warm-up of -1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensorflows_schedules),
        cmocka_unit_test(fixed),
        cmocka_unit_test(warm_up),
        cmocka_unit_test(mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
