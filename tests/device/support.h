/* What the tests of the device room share. */
#ifndef TESTS_DEVICE_SUPPORT_H
#define TESTS_DEVICE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/opencl.h"

#define assert_contains(text, part)                                 \
    do {                                                            \
        if (strstr((text), (part)) == NULL)                         \
            fail_msg("\"%s\" does not say \"%s\"", (text), (part)); \
    } while (0)

/* A context that caches in `folder` ("": nowhere). */
static inline crn_context *open_with_cache(const char *folder)
{
    crn_context_options options = CRN_CONTEXT_OPTIONS_INIT;
    options.cache_dir = folder;
    crn_context *context;
    crn_error error;
    if (crn_context_create(&options, &context, &error) != CRN_OK)
        fail_msg("%s", error.text);
    return context;
}

static inline int open_context(void **state)
{
    *state = open_with_cache("");
    return 0;
}

static inline int close_context(void **state)
{
    crn_context_free(*state);
    return 0;
}

/* For calls that must work: tells the context's error when one does not. */
#define assert_ok(context, expression)                                         \
    do {                                                                       \
        if ((expression) != CRN_OK)                                            \
            fail_msg("%s: %s", #expression, crn_context_error(context)->text); \
    } while (0)

#endif
