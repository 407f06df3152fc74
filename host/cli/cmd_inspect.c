#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char *const known_metadata[] = {
    "global_step",        CRN_METADATA_MODEL, CRN_METADATA_NUM_CLASSES,
    CRN_METADATA_CLASSES, CRN_METADATA_SEED,  CRN_METADATA_PREPROCESSING};

#define N_METADATA (sizeof known_metadata / sizeof *known_metadata)

typedef struct totals {
    uint64_t tensors, numbers, bytes;
} totals;

/* The numbers of a tensor; the file's own size bounds them. */
static uint64_t count_numbers(const crn_checkpoint_entry *e)
{
    uint64_t numbers = 1;
    for (int32_t i = 0; i < e->rank; i++)
        numbers *= (uint64_t)e->dims[i];
    return numbers;
}

static void sum_up(const crn_checkpoint *file, totals *variables, totals *slots)
{
    crn_checkpoint_entry e;
    for (size_t i = 0; crn_checkpoint_entry_at(file, i, &e) == CRN_OK; i++) {
        totals *t = crn_checkpoint_is_slot(file, e.name) ? slots : variables;
        t->tensors++;
        t->numbers += count_numbers(&e);
        t->bytes += e.bytes;
    }
}

/* ---- for programs ---- */

static json_t *entry_json(const crn_checkpoint_entry *e)
{
    json_t *dims = json_array();
    for (int32_t i = 0; i < e->rank; i++)
        json_array_append_new(dims, json_integer(e->dims[i]));
    return json_pack("{so so so sI}", "name", cli_json_text(e->name), "dtype",
                     cli_json_text(e->dtype), "shape", dims, "bytes", (json_int_t)e->bytes);
}

static json_t *totals_json(const totals *t)
{
    return json_pack("{sI sI sI}", "tensors", (json_int_t)t->tensors, "numbers",
                     (json_int_t)t->numbers, "bytes", (json_int_t)t->bytes);
}

static json_t *to_json(const crn_checkpoint *file, const char *path)
{
    json_t *metadata = json_object(), *tensors = json_array();
    for (size_t i = 0; i < N_METADATA; i++) {
        const char *value = crn_checkpoint_metadata(file, known_metadata[i]);
        if (value != NULL)
            json_object_set_new(metadata, known_metadata[i], cli_json_text(value));
    }
    crn_checkpoint_entry e;
    for (size_t i = 0; crn_checkpoint_entry_at(file, i, &e) == CRN_OK; i++)
        json_array_append_new(tensors, entry_json(&e));
    totals variables = {0}, slots = {0};
    sum_up(file, &variables, &slots);
    return json_pack("{so ss so so so so}", "file", cli_json_text(path), "format",
                     crn_checkpoint_kind(file), "metadata", metadata, "tensors", tensors,
                     "variables", totals_json(&variables), "slots", totals_json(&slots));
}

/* ---- for people ---- */

static void print_entry(const crn_checkpoint_entry *e, int width, int dtype_width)
{
    char name[512];
    snprintf(name, sizeof name, "%s", e->name);
    printf("%-*s  %-*s [", width, cli_clean(name), dtype_width, e->dtype);
    for (int32_t i = 0; i < e->rank; i++)
        printf("%s%" PRId64, i > 0 ? "," : "", e->dims[i]);
    printf("]\n");
}

static void print_totals(const char *what, const totals *t)
{
    char text[16];
    if (t->tensors > 0)
        printf("%s: %" PRIu64 ", %" PRIu64 " numbers, %s\n", what, t->tensors, t->numbers,
               cli_bytes_text(t->bytes, text));
}

static int print(const crn_checkpoint *file)
{
    crn_checkpoint_entry e;
    printf("format: %s\n", crn_checkpoint_kind(file));
    int width = 0, dtype_width = 5;
    for (size_t i = 0; crn_checkpoint_entry_at(file, i, &e) == CRN_OK; i++) {
        if (strlen(e.name) < 80 && (int)strlen(e.name) > width)
            width = (int)strlen(e.name);
        if ((int)strlen(e.dtype) > dtype_width)
            dtype_width = (int)strlen(e.dtype);
    }
    for (size_t i = 0; crn_checkpoint_entry_at(file, i, &e) == CRN_OK; i++)
        print_entry(&e, width, dtype_width);
    totals variables = {0}, slots = {0};
    sum_up(file, &variables, &slots);
    print_totals("variables", &variables);
    print_totals("optimizer slots", &slots);
    for (size_t i = 0; i < N_METADATA; i++) {
        const char *value = crn_checkpoint_metadata(file, known_metadata[i]);
        if (value == NULL)
            continue;
        printf("%s: ", known_metadata[i]);
        cli_print_clean(stdout, value);
        putchar('\n');
    }
    return CLI_OK;
}

int cmd_inspect(int argc, char **argv)
{
    bool json = false;
    const cli_option options[] = {
        {"json", CLI_FLAG, &json, .help = CLI_JSON_HELP},
    };
    const cli_spec spec = {.command = "inspect",
                           .about = "Shows the variables, shapes, totals and metadata of a "
                                    "checkpoint: a safetensors file, a TensorFlow one (V1 file, "
                                    "V2 prefix or index), or a folder with TensorFlow's file "
                                    "'checkpoint'. Needs no device.",
                           .options = options,
                           .n_options = sizeof options / sizeof *options,
                           .rest = "FILE",
                           .max_rest = 1};
    cli_rest files;
    int code = cli_parse(&spec, argc, argv, &files);
    if (code == CLI_GO_ON)
        code = cli_check_checkpoint("inspect", files.items[0]);
    if (code != CLI_GO_ON)
        return code;
    crn_checkpoint *file;
    crn_error error;
    if (crn_checkpoint_open(files.items[0], &file, &error) != CRN_OK)
        return cli_fail("inspect", &error);
    code = json ? cli_print_json("inspect", to_json(file, files.items[0])) : print(file);
    crn_checkpoint_free(file);
    return code;
}
