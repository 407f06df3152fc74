#include "golden_checkpoint.h"

#include <inttypes.h>

#include "formats/element.h"

static size_t size_of(const char *dtype)
{
    return crn__element_find(dtype, strlen(dtype))->size;
}

crn_status read_bytes(const crn_checkpoint *file, const char *name, unsigned char **out,
                      crn_error *why)
{
    size_t index = 0;
    assert_ok(crn__checkpoint_index(file, name, &index, &error));
    *out = calloc(1, (size_t)file->entries[index].bytes + 1);
    crn_status status = file->kind->read(file, index, *out, why);
    if (status != CRN_OK)
        free(*out);
    return status;
}

/* The floats of a tensor are the bytes of `name` among the expected ones. */
static crn_status check_floats(const crn_checkpoint *file, const crn_checkpoint_entry *e,
                               const crn_checkpoint *expected, const char *name, crn_error *why)
{
    size_t count = (size_t)e->bytes / size_of(e->dtype);
    float *floats = calloc(count + 1, sizeof *floats);
    crn_status status = crn_checkpoint_read(file, e->name, floats, count, why);
    if (status == CRN_OK) {
        unsigned char *data;
        assert_ok(read_bytes(expected, name, &data, &error));
        assert_memory_equal(floats, data, count * sizeof *floats);
        free(data);
    }
    free(floats);
    return status;
}

static crn_status check_bytes(const crn_checkpoint *file, const crn_checkpoint_entry *e,
                              const crn_checkpoint *expected, bool zeros, crn_error *why)
{
    unsigned char *data, *wanted = calloc(1, (size_t)e->bytes + 1);
    if (!zeros) {
        free(wanted);
        assert_ok(read_bytes(expected, e->name, &wanted, &error));
    }
    crn_status status = read_bytes(file, e->name, &data, why);
    if (status == CRN_OK) {
        assert_memory_equal(data, wanted, (size_t)e->bytes);
        free(data);
    }
    free(wanted);
    return status;
}

/* One tensor of a file against what was expected of it. */
static crn_status check_tensor(const crn_checkpoint *file, const crn_checkpoint_entry *e,
                               const crn_checkpoint *expected, crn_error *why)
{
    char floats[128];
    crn_checkpoint_entry other;
    snprintf(floats, sizeof floats, "%s@F32", e->name);
    bool has_bytes = crn_checkpoint_find(expected, e->name, &other) == CRN_OK;
    bool has_floats = crn_checkpoint_find(expected, floats, &other) == CRN_OK;
    bool numbers = crn__element_find(e->dtype, strlen(e->dtype))->to_floats != NULL;
    if (!numbers) {
        float none;
        assert_false(has_bytes || has_floats);
        assert_fails(crn_checkpoint_read(file, e->name, &none, 1, &error), CRN_UNSUPPORTED,
                     e->dtype);
        return CRN_OK;
    }
    crn_status status = CRN_OK;
    if (has_floats)
        status = check_floats(file, e, expected, floats, why);
    else if (has_bytes)
        status = check_floats(file, e, expected, e->name, why);
    if (status == CRN_OK && (has_bytes || !has_floats))
        status = check_bytes(file, e, expected, !has_bytes, why);
    return status;
}

/* Line `i` of NAME.txt, which is this entry's; entries beyond its lines are of later ones. */
static void check_line(FILE *list, const crn_checkpoint_entry *e)
{
    char line[256], ours[256];
    assert_non_null(fgets(line, sizeof line, list));
    int used = snprintf(ours, sizeof ours, "%s %s [", e->name, e->dtype);
    for (int i = 0; i < e->rank; i++)
        used += snprintf(ours + used, sizeof ours - (size_t)used, "%s%" PRId64, i > 0 ? "," : "",
                         e->dims[i]);
    snprintf(ours + used, sizeof ours - (size_t)used, "]\n");
    assert_string_equal(ours, line);
}

crn_status check_file(const char *path, const char *name, crn_error *why)
{
    char about[256];
    crn_checkpoint *file, *expected;
    crn_status status = crn_checkpoint_open(path, &file, why);
    if (status != CRN_OK)
        return status;
    snprintf(about, sizeof about, DATA "%s.safetensors", name);
    assert_ok(crn_checkpoint_open(about, &expected, &error));
    snprintf(about, sizeof about, DATA "%s.txt", name);
    FILE *list = fopen(about, "r");
    assert_non_null(list);
    for (size_t i = 0; i < crn_checkpoint_count(file) && status == CRN_OK; i++) {
        crn_checkpoint_entry e;
        assert_int_equal(crn_checkpoint_entry_at(file, i, &e), CRN_OK);
        check_line(list, &e);
        status = check_tensor(file, &e, expected, why);
    }
    if (status == CRN_OK)
        assert_int_equal(fgetc(list), EOF);
    fclose(list);
    crn_checkpoint_free(file);
    crn_checkpoint_free(expected);
    return status;
}
