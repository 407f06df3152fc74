#include "clarinet/common.h"

#include <inttypes.h>
#include <stdio.h>

#define TEXT(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *crn_version(void)
{
    return VERSION_TEXT(CRN_VERSION_MAJOR, CRN_VERSION_MINOR, CRN_VERSION_PATCH);
}

size_t crn_dtype_size(crn_dtype dtype)
{
    return dtype == CRN_F32 || dtype == CRN_I32 ? 4 : 0;
}

int64_t crn_shape_count(const crn_shape *shape)
{
    if (shape->rank < 0 || shape->rank > CRN_MAX_RANK)
        return -1;
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] < 0 || __builtin_mul_overflow(count, shape->dims[i], &count))
            return -1;
    return count;
}

bool crn_shape_equal(const crn_shape *a, const crn_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

char *crn_shape_text(const crn_shape *shape, char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i <= shape->rank && used < size; i++) {
        const char *before = i == 0 ? "[" : i < shape->rank ? "," : "";
        int n;
        if (i == shape->rank)
            n = snprintf(text + used, size - used, i == 0 ? "[]" : "]");
        else if (shape->dims[i] == CRN_ANY)
            n = snprintf(text + used, size - used, "%s?", before);
        else
            n = snprintf(text + used, size - used, "%s%" PRId64, before, shape->dims[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    return text;
}
