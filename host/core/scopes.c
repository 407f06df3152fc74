#include "core/scopes.h"

#include <string.h>

const char *crn__next_scope(const char **scopes, size_t *length)
{
    *scopes += strspn(*scopes, ", ");
    const char *scope = *scopes;
    *length = strcspn(scope, ", ");
    *scopes += *length;
    return scope;
}

bool crn__in_scopes(const char *name, const char *scopes)
{
    size_t length;
    if (scopes == NULL)
        return false;
    for (const char *scope; scope = crn__next_scope(&scopes, &length), length > 0;)
        if (strncmp(name, scope, length) == 0)
            return true;
    return false;
}
