#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "formats/safetensors_header.h"
#include "golden/truth.h"

/* crn_checkpoint_read gives F32 alone; these files have F64 and I32 too, so one is held whole. */
static char *file;
static const char *data;               /* in the file, behind the header */
static crn__safetensors_header header; /* sorted by name */
static bool *used;                     /* by entry */

static char *read_file(const char *path, size_t *size)
{
    FILE *stream = fopen(path, "rb");
    if (stream == NULL)
        fail_msg("%s cannot be opened", path);
    assert_int_equal(fseek(stream, 0, SEEK_END), 0);
    *size = (size_t)ftell(stream);
    rewind(stream);
    char *bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, stream), *size);
    fclose(stream);
    return bytes;
}

void truth_open(const char *path)
{
    size_t size;
    uint64_t length;
    crn_error error = {.text = "cut short"};
    file = read_file(path, &size);
    assert_true(size > sizeof length);
    memcpy(&length, file, sizeof length);
    assert_true(length <= size - sizeof length);
    data = file + sizeof length + length;
    if (crn__safetensors_header_parse(path, file + sizeof length, (size_t)length,
                                      size - sizeof length - length, &header, &error) != CRN_OK)
        fail_msg("%s", error.text);
    used = calloc(header.n_entries, sizeof *used);
    assert_non_null(used);
}

void truth_close(void)
{
    crn__safetensors_header_end(&header);
    header = (crn__safetensors_header){.n_entries = 0};
    free(used);
    used = NULL;
    free(file);
    file = NULL;
}

/* ---- tensors ---- */

/* The entry called NAME or NAME@PART, or NULL. */
static const crn__safetensors_entry *find(const char *name, const char *part)
{
    char full[TRUTH_NAME];
    snprintf(full, sizeof full, "%s%s%s", name, part[0] != '\0' ? "@" : "", part);
    for (size_t i = 0; i < header.n_entries; i++)
        if (strcmp(header.entries[i].tensor.name, full) == 0)
            return &header.entries[i];
    return NULL;
}

bool truth_has(const char *name)
{
    return find(name, "") != NULL || find(name, "samples") != NULL;
}

static const void *elements(const char *name, const char *part, const char *dtype, size_t *count)
{
    const crn__safetensors_entry *entry = find(name, part);
    if (entry == NULL)
        fail_msg("TF-slim has no %s %s", name, part);
    assert_string_equal(entry->tensor.dtype, dtype);
    *count = entry->tensor.bytes / (strcmp(dtype, "F64") == 0 ? sizeof(double) : sizeof(float));
    return data + entry->begin;
}

void truth_use(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < header.n_entries; i++) {
        const char *entry = header.entries[i].tensor.name;
        if (strncmp(entry, name, length) == 0 && (entry[length] == '\0' || entry[length] == '@'))
            used[i] = true;
    }
}

static void read_samples(truth *t)
{
    size_t n, rank;
    const int32_t *dims = elements(t->name, "shape", "I32", &rank);
    assert_true(rank <= CRN_MAX_RANK);
    t->shape.rank = (int32_t)rank;
    for (size_t i = 0; i < rank; i++)
        t->shape.dims[i] = dims[i];
    t->values = elements(t->name, "samples", "F32", &t->n_values);
    t->stats = elements(t->name, "stats", "F64", &n);
    assert_int_equal(n, 4);
    t->largest = t->stats[0];
}

static void read_whole(truth *t)
{
    t->values = elements(t->name, "", "F32", &t->n_values);
    const crn_checkpoint_entry *entry = &find(t->name, "")->tensor;
    assert_true(entry->rank <= CRN_MAX_RANK);
    t->shape.rank = entry->rank;
    memcpy(t->shape.dims, entry->dims, sizeof t->shape.dims);
    for (size_t i = 0; i < t->n_values; i++)
        t->largest = fmax(t->largest, fabs((double)t->values[i]));
}

truth truth_of(const char *name)
{
    size_t n;
    truth t = {.name = name, .sampled = find(name, "samples") != NULL};
    if (t.sampled)
        read_samples(&t);
    else
        read_whole(&t);
    t.tensorflow = *(const double *)elements(name, "tf32err", "F64", &n);
    return t;
}

const double *truth_doubles(const char *name, size_t count, double *tensorflow)
{
    size_t n;
    const double *values = elements(name, "", "F64", &n);
    assert_int_equal(n, count);
    *tensorflow = 0;
    if (find(name, "tf32err") != NULL)
        *tensorflow = *(const double *)elements(name, "tf32err", "F64", &n);
    truth_use(name);
    return values;
}

size_t truth_unused(void)
{
    size_t n = 0;
    for (size_t i = 0; i < header.n_entries; i++) {
        const char *name = header.entries[i].tensor.name, *part = strchr(name, '@');
        if (used[i] || (part != NULL && strcmp(part, "@samples") != 0))
            continue;
        print_error("  nothing is compared with %s\n", name);
        n++;
    }
    return n;
}

/* ---- deviations ---- */

size_t truth_place(const truth *t, size_t k)
{
    uint64_t count = (uint64_t)crn_shape_count(&t->shape);
    return t->sampled ? (size_t)(crn__random_bits(crn__hash_text(t->name), k) % count) : k;
}

/* What samples miss: the largest element and its place, the mean, and the norm. */
static double statistics_deviation(const truth *t, const float *values)
{
    size_t count = (size_t)crn_shape_count(&t->shape);
    double largest = 0, sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        double x = values[i];
        largest = fmax(largest, fabs(x));
        sum += x;
        squares += x * x;
    }
    if (!isfinite(squares))
        return INFINITY;
    double rms = sqrt(t->stats[3] / (double)count);
    double at_its_place = fabs((double)values[(size_t)t->stats[1]]);
    double off = fmax(fabs(largest - t->largest), fabs(at_its_place - t->largest)) / t->largest;
    off = fmax(off, fabs(sum - t->stats[2]) / (double)count / rms);
    return fmax(off, fabs(sqrt(squares / (double)count) - rms) / rms);
}

double truth_deviation(const truth *t, const float *values, double scale, double allowed)
{
    double worst = 0;
    for (size_t k = 0; k < t->n_values; k++) {
        double off = fabs((double)values[truth_place(t, k)] - (double)t->values[k]);
        if (isnan(off))
            return INFINITY;
        worst = fmax(worst, off);
    }
    worst = worst > allowed ? (worst - allowed) / scale : 0;
    /* A tensor that is held against a scale of another one is noise, statistics too. */
    return t->sampled && scale <= t->largest ? fmax(worst, statistics_deviation(t, values)) : worst;
}
