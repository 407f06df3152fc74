#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "clarinet/common.h"

static int64_t count(crn_shape shape)
{
    return crn_shape_count(&shape);
}

static void counts(void **state)
{
    (void)state;
    assert_int_equal(count((crn_shape){.rank = 0}), 1);
    assert_int_equal(count(CRN_SHAPE(7)), 7);
    assert_int_equal(count(CRN_SHAPE(2, 3, 5, 7)), 210);
    assert_int_equal(count(CRN_SHAPE(2, 0, 5)), 0);
    assert_int_equal(count(CRN_SHAPE(CRN_ANY, 3)), -1);
    assert_int_equal(count(CRN_SHAPE(3, -2)), -1);
}

static void counts_do_not_wrap(void **state)
{
    (void)state;
    const int64_t half = (int64_t)1 << 32;
    assert_int_equal(count(CRN_SHAPE(half, half)), -1);
    assert_int_equal(count(CRN_SHAPE(half, half / 2, 2)), -1);
    assert_int_equal(count(CRN_SHAPE(half, half / 4)), (int64_t)1 << 62);
    assert_int_equal(count(CRN_SHAPE(INT64_MAX)), INT64_MAX);
    assert_int_equal(count((crn_shape){.rank = CRN_MAX_RANK + 1, .dims = {1, 1, 1, 1}}), -1);
    assert_int_equal(count((crn_shape){.rank = -1}), -1);
}

static bool equal(crn_shape a, crn_shape b)
{
    return crn_shape_equal(&a, &b);
}

static void equality(void **state)
{
    (void)state;
    assert_true(equal(CRN_SHAPE(2, 3), CRN_SHAPE(2, 3)));
    assert_false(equal(CRN_SHAPE(2, 3), CRN_SHAPE(3, 2)));
    assert_false(equal(CRN_SHAPE(2, 3), CRN_SHAPE(2, 3, 1)));
    assert_true(equal((crn_shape){.rank = 0}, (crn_shape){.rank = 0, .dims = {9}}));
    assert_false(equal(CRN_SHAPE(CRN_ANY), CRN_SHAPE(1)));
}

static void check_text(crn_shape shape, const char *expected)
{
    char text[128];
    assert_ptr_equal(crn_shape_text(&shape, text, sizeof text), text);
    assert_string_equal(text, expected);

    /* Any smaller room holds the start of it and a NUL, and nothing is written past it. */
    for (size_t size = 1; size <= strlen(expected); size++) {
        memset(text, '#', sizeof text);
        crn_shape_text(&shape, text, size);
        assert_int_equal(strlen(text), size - 1);
        assert_memory_equal(text, expected, size - 1);
        assert_int_equal(text[size], '#');
    }
}

static void texts(void **state)
{
    (void)state;
    check_text((crn_shape){.rank = 0}, "[]");
    check_text(CRN_SHAPE(5), "[5]");
    check_text(CRN_SHAPE(4, 224, 224, 3), "[4,224,224,3]");
    check_text(CRN_SHAPE(CRN_ANY, 10), "[?,10]");
    check_text(CRN_SHAPE(INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX),
               "[9223372036854775807,9223372036854775807,9223372036854775807,"
               "9223372036854775807]");
}

static void dtypes(void **state)
{
    (void)state;
    assert_int_equal(crn_dtype_size(CRN_F32), sizeof(float));
    assert_int_equal(crn_dtype_size(CRN_I32), sizeof(int32_t));
    assert_int_equal(crn_dtype_size((crn_dtype)0), 0);
    assert_int_equal(crn_dtype_size((crn_dtype)99), 0);
}

static void version(void **state)
{
    (void)state;
    char text[64];
    snprintf(text, sizeof text, "%d.%d.%d", CRN_VERSION_MAJOR, CRN_VERSION_MINOR,
             CRN_VERSION_PATCH);
    assert_string_equal(crn_version(), text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),   cmocka_unit_test(counts_do_not_wrap),
        cmocka_unit_test(equality), cmocka_unit_test(texts),
        cmocka_unit_test(dtypes),   cmocka_unit_test(version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
