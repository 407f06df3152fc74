/* Failing with words. */
#ifndef CRN_CORE_ERROR_H
#define CRN_CORE_ERROR_H

#include "clarinet/common.h"

/*
 * Stores status and text in error (which may be NULL) and returns status, so that failing is one
 * line: return crn__fail(error, CRN_FORMAT, "%s: header is truncated", path);
 */
crn_status crn__fail(crn_error *error, crn_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* For a failed allocation: always this text. */
crn_status crn__fail_memory(crn_error *error);

/* Returns from the calling function when expression is not CRN_OK. */
#define CRN__TRY(expression)                    \
    do {                                        \
        crn_status crn__status_ = (expression); \
        if (crn__status_ != CRN_OK)             \
            return crn__status_;                \
    } while (0)

#endif
