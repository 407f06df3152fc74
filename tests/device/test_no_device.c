/* A machine without any OpenCL driver: the loader reads an empty folder of them. */
#include "support.h"

#include <unistd.h>

static void no_driver_is_one_sentence_that_says_what_to_install(void **state)
{
    (void)state;
    crn_context *context;
    crn_error error;
    assert_int_equal(crn_context_create(NULL, &context, &error), CRN_NO_DEVICE);
    assert_int_equal(error.status, CRN_NO_DEVICE);
    assert_null(context);
    assert_contains(error.text, "pocl-opencl-icd");
    assert_null(strchr(error.text, '\n'));

    size_t count = 9;
    crn_error listing;
    assert_int_equal(crn_device_list(NULL, 0, &count, &listing), CRN_NO_DEVICE);
    assert_int_equal(count, 0);
    assert_string_equal(listing.text, error.text);
    assert_int_equal(crn_context_create(NULL, &context, NULL), CRN_NO_DEVICE);
}

int main(void)
{
    char folder[] = "/tmp/clarinet-no-device-XXXXXX";
    if (mkdtemp(folder) == NULL || setenv("OCL_ICD_VENDORS", folder, 1) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_driver_is_one_sentence_that_says_what_to_install),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
