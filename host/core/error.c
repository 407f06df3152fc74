#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>

crn_status crn__fail(crn_error *error, crn_status status, const char *format, ...)
{
    if (error != NULL) {
        /* Built aside: an argument may point into the text that is replaced. */
        crn_error made = {.status = status};
        va_list args;
        va_start(args, format);
        vsnprintf(made.text, sizeof made.text, format, args);
        va_end(args);
        *error = made;
    }
    return status;
}

crn_status crn__fail_memory(crn_error *error)
{
    return crn__fail(error, CRN_NO_MEMORY, "%s", crn_status_text(CRN_NO_MEMORY));
}

const char *crn_status_text(crn_status status)
{
    switch (status) {
#define CASE(name, text) \
    case CRN_##name:     \
        return text;
        CRN_STATUS_MAP(CASE)
#undef CASE
    }
    return "unknown status";
}
