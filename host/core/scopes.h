/* Comma-separated scopes, as TF-slim's checkpoint_exclude_scopes: a name is in a scope that it
 * starts with. */
#ifndef CRN_CORE_SCOPES_H
#define CRN_CORE_SCOPES_H

#include <stdbool.h>
#include <stddef.h>

/* The next scope and its length, 0 at the end; *scopes moves behind it. */
const char *crn__next_scope(const char **scopes, size_t *length);

/* Whether name is in one of the scopes; NULL: there are none. */
bool crn__in_scopes(const char *name, const char *scopes);

#endif
