#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define COLUMNS 13

static const char *const heads[COLUMNS] = {"",       "#",      "type",  "name",   "vendor",
                                           "driver", "OpenCL", "units", "memory", "largest",
                                           "vector", "fp16",   "fp64"};

typedef char row[COLUMNS][CRN_DEVICE_TEXT];

static const char *type_text(crn_device_type type)
{
    switch (type) {
    case CRN_DEVICE_CPU:
        return "cpu";
    case CRN_DEVICE_GPU:
        return "gpu";
    case CRN_DEVICE_ACCELERATOR:
        return "accelerator";
    case CRN_DEVICE_OTHER:
        break;
    }
    return "other";
}

static void fill_row(row cells, const crn_device_info *d)
{
    const char *version = strncmp(d->version, "OpenCL ", 7) == 0 ? d->version + 7 : d->version;
    const size_t size = CRN_DEVICE_TEXT;
    snprintf(cells[0], size, "%s", d->is_default ? "*" : "");
    snprintf(cells[1], size, "%" PRId32, d->index);
    snprintf(cells[2], size, "%s", type_text(d->type));
    snprintf(cells[3], size, "%s", d->name);
    snprintf(cells[4], size, "%s", d->vendor);
    snprintf(cells[5], size, "%s", d->driver);
    snprintf(cells[6], size, "%.*s", (int)strcspn(version, " "), version);
    snprintf(cells[7], size, "%" PRIu32, d->compute_units);
    cli_bytes_text(d->global_memory, cells[8]);
    cli_bytes_text(d->max_allocation, cells[9]);
    snprintf(cells[10], size, "%" PRIu32, d->vector_width);
    snprintf(cells[11], size, "%s", d->fp16 ? "yes" : "no");
    snprintf(cells[12], size, "%s", d->fp64 ? "yes" : "no");
    for (int c = 0; c < COLUMNS; c++)
        cli_clean(cells[c]);
}

static int print_table(const crn_device_info *infos, size_t count)
{
    row *rows = calloc(count + 1, sizeof *rows);
    if (rows == NULL)
        return cli_no_memory("devices");
    int widths[COLUMNS] = {0};
    for (size_t r = 0; r <= count; r++) {
        for (int c = 0; c < COLUMNS && r == 0; c++)
            snprintf(rows[r][c], CRN_DEVICE_TEXT, "%s", heads[c]);
        if (r > 0)
            fill_row(rows[r], &infos[r - 1]);
        for (int c = 0; c < COLUMNS; c++)
            widths[c] = (int)strlen(rows[r][c]) > widths[c] ? (int)strlen(rows[r][c]) : widths[c];
    }
    for (size_t r = 0; r <= count; r++)
        for (int c = 0; c < COLUMNS; c++)
            printf("%-*s%s", c + 1 < COLUMNS ? widths[c] : 0, rows[r][c],
                   c + 1 < COLUMNS ? "  " : "\n");
    printf("\n*: the default   largest: the largest allocation   vector: floats handled at once\n");
    free(rows);
    return CLI_OK;
}

static json_t *to_json(const crn_device_info *infos, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const crn_device_info *d = &infos[i];
        json_t *item = json_pack(
            "{si ss so so so so so si si sI sI sI sI sI sb sb sb}", "index", (int)d->index, "type",
            type_text(d->type), "name", cli_json_text(d->name), "vendor", cli_json_text(d->vendor),
            "platform", cli_json_text(d->platform), "driver", cli_json_text(d->driver), "version",
            cli_json_text(d->version), "compute_units", (int)d->compute_units, "vector_width",
            (int)d->vector_width, "global_memory", (json_int_t)d->global_memory, "max_allocation",
            (json_int_t)d->max_allocation, "local_memory", (json_int_t)d->local_memory,
            "cache_memory", (json_int_t)d->cache_memory, "max_work_group",
            (json_int_t)d->max_work_group, "fp16", (int)d->fp16, "fp64", (int)d->fp64, "default",
            (int)d->is_default);
        json_array_append_new(list, item);
    }
    return list;
}

int cmd_devices(int argc, char **argv)
{
    bool json = false;
    const cli_option options[] = {
        {"json", CLI_FLAG, &json, .help = CLI_JSON_HELP},
    };
    const cli_spec spec = {.command = "devices",
                           .about = "Lists every device of every OpenCL platform.",
                           .options = options,
                           .n_options = sizeof options / sizeof *options};
    int code = cli_parse(&spec, argc, argv, NULL);
    if (code != CLI_GO_ON)
        return code;

    crn_error error;
    size_t count = 0;
    if (crn_device_list(NULL, 0, &count, &error) != CRN_OK)
        return cli_fail("devices", &error);
    crn_device_info *infos = calloc(count, sizeof *infos);
    if (infos == NULL)
        return cli_no_memory("devices");
    size_t found = 0;
    if (crn_device_list(infos, count, &found, &error) != CRN_OK)
        code = cli_fail("devices", &error);
    else if (json)
        code = cli_print_json("devices", to_json(infos, found < count ? found : count));
    else
        code = print_table(infos, found < count ? found : count);
    free(infos);
    return code;
}
