#include "core/memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clarinet/data.h"

bool crn__size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool crn__size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

void *crn__alloc(size_t count, size_t size)
{
    size_t bytes;
    if (!crn__size_mul(count, size, &bytes))
        return NULL;
    return calloc(1, bytes > 0 ? bytes : 1);
}

char *crn__strdup(const char *text)
{
    return crn__format("%s", text);
}

char *crn__format(const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : crn__alloc((size_t)length + 1, 1);
    if (text != NULL)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

bool crn__grow(void **items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return true;
    size_t wanted = *capacity > 0 ? *capacity * 2 : 8;
    size_t bytes;
    if (wanted <= *capacity || !crn__size_mul(wanted, size, &bytes))
        return false;
    char *grown = realloc(*items, bytes);
    if (grown == NULL)
        return false;
    memset(grown + *capacity * size, 0, bytes - *capacity * size);
    *items = grown;
    *capacity = wanted;
    return true;
}

void crn_free(void *data)
{
    free(data);
}
