#include "core/options.h"

#include <string.h>

void crn__copy_options(void *to, size_t size, const void *from, size_t from_size)
{
    if (from != NULL)
        memcpy(to, from, from_size < size ? from_size : size);
}
