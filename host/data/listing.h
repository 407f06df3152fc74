/* What is in a folder. */
#ifndef CRN_DATA_LISTING_H
#define CRN_DATA_LISTING_H

#include "clarinet/common.h"

typedef struct crn__names {
    char **names; /* [count] */
    size_t count, capacity;
} crn__names;

void crn__names_end(crn__names *names);

/* For qsort and bsearch of char *. */
int crn__compare_names(const void *a, const void *b);

/* The names in a folder that `wanted` accepts, sorted. Names that begin with a dot never are. */
crn_status crn__list_folder(const char *path, bool (*wanted)(int folder, const char *name),
                            crn__names *out, crn_error *error);

#endif
