#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"

static void failing_keeps_status_and_text(void **state)
{
    (void)state;
    crn_error error = {0};
    assert_int_equal(crn__fail(&error, CRN_FORMAT, "%s: byte %d", "a.npy", 7), CRN_FORMAT);
    assert_int_equal(error.status, CRN_FORMAT);
    assert_string_equal(error.text, "a.npy: byte 7");
    assert_int_equal(crn__fail(NULL, CRN_IO, "nobody reads this"), CRN_IO);
}

static void an_error_may_be_built_from_itself(void **state)
{
    (void)state;
    crn_error error = {0};
    crn__fail(&error, CRN_IO, "disk full");
    crn__fail(&error, error.status, "saving: %s", error.text);
    assert_string_equal(error.text, "saving: disk full");
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    char word[2 * CRN_ERROR_TEXT];
    memset(word, 'w', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    crn_error error;
    crn__fail(&error, CRN_INVALID, "%s", word);
    assert_int_equal(strlen(error.text), CRN_ERROR_TEXT - 1);
}

static void every_status_has_words(void **state)
{
    (void)state;
    assert_string_equal(crn_status_text(CRN_OK), "success");
    assert_string_equal(crn_status_text(CRN_INVALID), "invalid argument");
    assert_string_equal(crn_status_text(CRN_INTERRUPTED), "stopped on request");
    for (int i = CRN_OK; i <= CRN_INTERRUPTED; i++)
        assert_string_not_equal(crn_status_text((crn_status)i), "unknown status");
    assert_string_equal(crn_status_text((crn_status)99), "unknown status");

    crn_error error;
    assert_int_equal(crn__fail_memory(&error), CRN_NO_MEMORY);
    assert_string_equal(error.text, crn_status_text(CRN_NO_MEMORY));
}

static crn_status twice(crn_status status, int *calls)
{
    ++*calls;
    CRN__TRY(status);
    ++*calls;
    return CRN_OK;
}

static void trying_returns_at_the_first_failure(void **state)
{
    (void)state;
    int calls = 0;
    assert_int_equal(twice(CRN_OK, &calls), CRN_OK);
    assert_int_equal(calls, 2);
    assert_int_equal(twice(CRN_DEVICE, &calls), CRN_DEVICE);
    assert_int_equal(calls, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failing_keeps_status_and_text),
        cmocka_unit_test(an_error_may_be_built_from_itself),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(every_status_has_words),
        cmocka_unit_test(trying_returns_at_the_first_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
