/*
 * A CSV file of paths and labels. A first row that names a column "label" (or "class") and one
 * "path" (or "file", "filename", "filepath", "image") is a header; without one, rows are
 * path,label.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/csv.h"
#include "data/dataset.h"
#include "data/listing.h"
#include "formats/json_text.h"

typedef struct table {
    char **paths;  /* [count], joined to the file's folder */
    char **labels; /* [count] */
    size_t count, paths_capacity, labels_capacity;
} table;

static void end_table(table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->paths[i]);
        free(t->labels[i]);
    }
    free(t->paths);
    free(t->labels);
    *t = (table){0};
}

/* ---- reading the file ---- */

typedef struct columns {
    size_t path, label, count;
} columns;

static bool is_one_of(const char *text, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcasecmp(text, *names) == 0)
            return true;
    return false;
}

/* Whether the first row is a header; `out` is then what it says. */
static bool find_columns(const crn__csv *csv, columns *out)
{
    static const char *const paths[] = {"path", "file", "filename", "filepath", "image", NULL};
    static const char *const labels[] = {"label", "class", NULL};
    bool has_path = false, has_label = false;
    for (size_t i = csv->count; i-- > 0;) {
        if (is_one_of(csv->fields[i], paths)) {
            out->path = i;
            has_path = true;
        } else if (is_one_of(csv->fields[i], labels)) {
            out->label = i;
            has_label = true;
        }
    }
    out->count = csv->count;
    return has_path && has_label;
}

static crn_status add_row(table *t, const crn__csv *csv, const columns *c, const char *folder,
                          crn_error *error)
{
    if (csv->count != c->count)
        return crn__fail(error, CRN_FORMAT, "%s, line %zu: %zu fields, not %zu", csv->path,
                         csv->line, csv->count, c->count);
    const char *path = csv->fields[c->path], *label = csv->fields[c->label];
    if (*path == '\0' || *label == '\0')
        return crn__fail(error, CRN_FORMAT, "%s, line %zu: an empty %s", csv->path, csv->line,
                         *path == '\0' ? "path" : "label");
    /* Class names go into checkpoints, as JSON. */
    if (!crn__is_utf8(label))
        return crn__fail(error, CRN_FORMAT, "%s, line %zu: the label is not UTF-8", csv->path,
                         csv->line);
    if (!crn__grow((void **)&t->paths, t->count, &t->paths_capacity, sizeof *t->paths) ||
        !crn__grow((void **)&t->labels, t->count, &t->labels_capacity, sizeof *t->labels))
        return crn__fail_memory(error);
    char *joined = *path == '/' ? crn__strdup(path) : crn__path_join(folder, path);
    char *copy = crn__strdup(label);
    if (joined == NULL || copy == NULL) {
        free(joined);
        free(copy);
        return crn__fail_memory(error);
    }
    t->paths[t->count] = joined;
    t->labels[t->count++] = copy;
    return CRN_OK;
}

static crn_status read_rows(crn__csv *csv, const char *folder, table *t, crn_error *error)
{
    columns c = {0};
    CRN__TRY(crn__csv_next(csv, error));
    bool header = find_columns(csv, &c);
    if (!header)
        c = (columns){.path = 0, .label = 1, .count = 2};
    if (header)
        CRN__TRY(crn__csv_next(csv, error));
    while (csv->count > 0) {
        CRN__TRY(add_row(t, csv, &c, folder, error));
        CRN__TRY(crn__csv_next(csv, error));
    }
    return CRN_OK;
}

static crn_status load_table(const char *path, table *t, crn_error *error)
{
    crn__csv csv;
    const char *slash = strrchr(path, '/');
    char *folder =
        slash != NULL ? crn__format("%.*s", (int)(slash - path + 1), path) : crn__strdup(".");
    if (folder == NULL)
        return crn__fail_memory(error);
    crn_status status = crn__csv_open(path, &csv, error);
    if (status == CRN_OK) {
        status = read_rows(&csv, folder, t, error);
        crn__csv_close(&csv);
    }
    free(folder);
    return status;
}

/* ---- labels ---- */

/* All labels are integers that fit. */
static bool is_numbered(const table *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (strspn(t->labels[i], "0123456789") != strlen(t->labels[i]) || strlen(t->labels[i]) > 9)
            return false;
    return true;
}

static crn_status set_numbers(crn_dataset *dataset, const char *path, const table *t,
                              crn_error *error)
{
    int64_t *labels = crn__alloc(t->count, sizeof *labels);
    if (labels == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < t->count; i++)
        labels[i] = strtol(t->labels[i], NULL, 10);
    crn_status status = crn__dataset_set_labels(dataset, path, labels, t->count, error);
    free(labels);
    return status;
}

/* The class names: the table's labels, sorted, each once. */
static crn_status collect_names(crn_dataset *dataset, const table *t, crn_error *error)
{
    char **sorted = crn__alloc(t->count, sizeof *sorted);
    dataset->class_names = crn__alloc(t->count, sizeof *dataset->class_names);
    bool complete = sorted != NULL && dataset->class_names != NULL;
    if (complete) {
        memcpy(sorted, t->labels, t->count * sizeof *sorted);
        qsort(sorted, t->count, sizeof *sorted, crn__compare_names);
    }
    for (size_t i = 0; complete && i < t->count; i++)
        if (i == 0 || strcmp(sorted[i - 1], sorted[i]) != 0) {
            char *name = crn__strdup(sorted[i]);
            complete = name != NULL;
            if (complete)
                dataset->class_names[dataset->class_count++] = name;
        }
    free(sorted);
    return complete ? CRN_OK : crn__fail_memory(error);
}

static crn_status find_names(crn_dataset *dataset, const char *path, const table *t,
                             crn_error *error)
{
    dataset->labels = crn__alloc(t->count, sizeof *dataset->labels);
    if (dataset->labels == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < t->count; i++) {
        char **known = bsearch(&t->labels[i], dataset->class_names, dataset->class_count,
                               sizeof *known, crn__compare_names);
        if (known == NULL)
            return crn__fail(error, CRN_FORMAT, "%s: \"%s\": training has no class of that name",
                             path, t->labels[i]);
        dataset->labels[i] = (int32_t)(known - dataset->class_names);
    }
    dataset->size = t->count;
    return CRN_OK;
}

/* Those of `t`, read from `path`; classes are those of `train`, or of both where they are numbers.
 */
static crn_status set_labels(crn_dataset *dataset, const char *path, const table *train,
                             const table *t, crn_error *error)
{
    if (t->count == 0 || train->count == 0)
        return crn__fail(error, CRN_FORMAT, "%s: no images", path);
    if (is_numbered(train) && is_numbered(t)) {
        CRN__TRY(set_numbers(dataset, path, train, error));
        CRN__TRY(set_numbers(dataset, path, t, error));
        return crn__dataset_number_classes(dataset, error);
    }
    CRN__TRY(collect_names(dataset, train, error));
    return find_names(dataset, path, t, error);
}

/* ---- the source ---- */

static void name_image(const void *data, size_t index, char *text, size_t size)
{
    snprintf(text, size, "%s", ((const table *)data)->paths[index]);
}

static crn_status read_image(const void *data, size_t index, const crn__decoding *decoding,
                             crn__image *image, crn_error *error)
{
    return crn__image_load(((const table *)data)->paths[index], decoding, image, error);
}

static void free_source(void *data)
{
    end_table(data);
    free(data);
}

static const crn__source_kind csv_kind = {read_image, name_image, free_source};

static crn_status open_table(const char *train_path, const char *path, crn_dataset *dataset,
                             crn_error *error)
{
    table *t = crn__alloc(1, sizeof *t);
    if (t == NULL)
        return crn__fail_memory(error);
    dataset->kind = &csv_kind;
    dataset->source = t;
    dataset->channels = 3;
    CRN__TRY(load_table(path, t, error));
    if (strcmp(train_path, path) == 0)
        return set_labels(dataset, path, t, t, error);
    table train = {0};
    crn_status status = load_table(train_path, &train, error);
    if (status == CRN_OK)
        status = set_labels(dataset, path, &train, t, error);
    end_table(&train);
    return status;
}

crn_status crn__csv_file_open(const char *path, crn_dataset *dataset, crn_error *error)
{
    return open_table(path, path, dataset, error);
}

/* ---- a folder of train.csv and perhaps another ---- */

crn_status crn__csv_dataset_matches(const char *folder, bool *matches, crn_error *error)
{
    return crn__has_file(folder, "train.csv", matches, error);
}

crn_status crn__csv_dataset_open(const char *folder, crn_split split, crn_dataset *dataset,
                                 crn_error *error)
{
    static const char *const others[] = {"test.csv", "val.csv", "validation.csv"};
    const char *other = NULL;
    for (size_t i = 0; i < sizeof others / sizeof others[0] && other == NULL; i++) {
        bool has;
        CRN__TRY(crn__has_file(folder, others[i], &has, error));
        other = has ? others[i] : NULL;
    }
    dataset->has_test = other != NULL;
    bool test = split == CRN_SPLIT_TEST && other != NULL;
    char *train_path = crn__path_join(folder, "train.csv");
    char *path = crn__path_join(folder, test ? other : "train.csv");
    crn_status status = train_path != NULL && path != NULL
                            ? open_table(train_path, path, dataset, error)
                            : crn__fail_memory(error);
    free(train_path);
    free(path);
    return status;
}
