#include "cli/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cli_profile_row *find(cli_profile *profile, const char *node, const char *kernel)
{
    for (size_t i = 0; i < profile->count; i++)
        if (strcmp(profile->rows[i].kernel, kernel) == 0 &&
            strcmp(profile->rows[i].node, node) == 0)
            return &profile->rows[i];
    if (profile->count == profile->capacity) {
        size_t capacity = profile->capacity > 0 ? 2 * profile->capacity : 256;
        cli_profile_row *rows = realloc(profile->rows, capacity * sizeof *rows);
        if (rows == NULL)
            return NULL;
        profile->rows = rows;
        profile->capacity = capacity;
    }
    cli_profile_row row = {.node = strdup(node), .kernel = strdup(kernel)};
    if (row.node == NULL || row.kernel == NULL) {
        free(row.node);
        free(row.kernel);
        return NULL;
    }
    profile->rows[profile->count] = row;
    return &profile->rows[profile->count++];
}

void cli_profile_add(void *data, const char *node, const char *kernel, double seconds)
{
    cli_profile *profile = data;
    cli_profile_row *row = find(profile, node, kernel);
    if (row == NULL) {
        profile->failed = true;
        return;
    }
    row->seconds += seconds;
    row->count++;
}

static int longest_first(const void *a, const void *b)
{
    double x = ((const cli_profile_row *)a)->seconds, y = ((const cli_profile_row *)b)->seconds;
    return (x < y) - (x > y);
}

static void print_table(const cli_profile *profile, long steps, size_t most, bool with_nodes)
{
    double total = 0;
    qsort(profile->rows, profile->count, sizeof *profile->rows, longest_first);
    for (size_t i = 0; i < profile->count; i++)
        total += profile->rows[i].seconds;
    printf("%10s %7s %6s  %s\n", "ms a step", "share", "runs", with_nodes ? "layer" : "kernel");
    for (size_t i = 0; i < profile->count && i < most; i++) {
        const cli_profile_row *row = &profile->rows[i];
        printf("%10.3f %5.1f %% %6ld  %s%s%s\n", 1e3 * row->seconds / (double)steps,
               100 * row->seconds / total, row->count / steps, with_nodes ? row->node : "",
               with_nodes ? "  " : "", row->kernel);
    }
    printf("%10.3f  all\n", 1e3 * total / (double)steps);
}

void cli_profile_print(const cli_profile *profile, long steps, size_t most)
{
    cli_profile kernels = {.rows = NULL};
    for (size_t i = 0; i < profile->count; i++) {
        cli_profile_row *row = find(&kernels, "", profile->rows[i].kernel);
        if (row == NULL)
            continue;
        row->seconds += profile->rows[i].seconds;
        row->count += profile->rows[i].count;
    }
    print_table(&kernels, steps, kernels.count, false);
    cli_profile_free(&kernels);
    printf("\n");
    print_table(profile, steps, most, true);
    if (profile->failed)
        printf("(not complete: memory ran out)\n");
}

void cli_profile_free(cli_profile *profile)
{
    for (size_t i = 0; i < profile->count; i++) {
        free(profile->rows[i].node);
        free(profile->rows[i].kernel);
    }
    free(profile->rows);
}
