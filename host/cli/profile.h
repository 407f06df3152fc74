/* Where a step's time goes, by kernel and by layer. */
#ifndef CLARINET_CLI_PROFILE_H
#define CLARINET_CLI_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct cli_profile_row {
    char *node, *kernel;
    double seconds;
    long count;
} cli_profile_row;

/* Starts as all zeros. */
typedef struct cli_profile {
    cli_profile_row *rows;
    size_t count, capacity;
    bool failed; /* memory ran out */
} cli_profile;

/* crn_profile_fn with a cli_profile as its data. */
void cli_profile_add(void *profile, const char *node, const char *kernel, double seconds);

/* Two tables of milliseconds a step, the longest first: kernels, and the `most` longest layers'
 * kernels. */
void cli_profile_print(const cli_profile *profile, long steps, size_t most);
void cli_profile_free(cli_profile *profile);

#endif
