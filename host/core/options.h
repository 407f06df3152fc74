/* Option structs, which begin with their size. */
#ifndef CRN_CORE_OPTIONS_H
#define CRN_CORE_OPTIONS_H

#include <stddef.h>

/*
 * Copies what the caller's option struct has over the defaults in *to: the caller's header may be
 * older, and its struct shorter. `from` may be NULL.
 */
#define CRN__COPY_OPTIONS(to, from) \
    crn__copy_options((to), sizeof *(to), (from), (from) != NULL ? (from)->size : 0)
void crn__copy_options(void *to, size_t size, const void *from, size_t from_size);

#endif
