/* A data set, a context whose log is kept, and trainings whose steps are written down. */
#ifndef CRN_TESTS_TRAIN_RUN_FIXTURE_H
#define CRN_TESTS_TRAIN_RUN_FIXTURE_H

#include "fixture.h"

#include <jansson.h>

#define IMAGES 40
#define BATCH 16

static crn_context *context;
static crn_dataset *dataset;
static crn_preprocessing how;
static char told[65536]; /* by the log */

static inline void on_log(void *data, crn_log_level level, const char *line)
{
    size_t used = strlen(told);
    (void)data, (void)level;
    snprintf(told + used, sizeof told - used, "%s\n", line);
}

static inline int setup(void **state)
{
    if (fixture_setup(state) != 0)
        return 1;
    how = crn_preprocessing_inception(SIDE, 1);
    dataset = open_dataset(make_dataset("data", IMAGES, 2));
    crn_context_options options = CRN_CONTEXT_OPTIONS_INIT;
    options.log = on_log;
    return crn_context_create(&options, &context, NULL) != CRN_OK;
}

static inline int teardown(void **state)
{
    crn_dataset_free(dataset);
    crn_context_free(context);
    return fixture_teardown(state);
}

typedef struct diary {
    crn_progress steps[64];
    crn_evaluation validations[64];
    size_t count, n_validations;
    int64_t stop_after; /* step; 0: never */
} diary;

static inline bool on_progress(void *data, const crn_progress *progress)
{
    diary *d = data;
    assert_in_range(d->count, 0, 63);
    d->steps[d->count++] = *progress;
    if (progress->validation != NULL)
        d->validations[d->n_validations++] = *progress->validation;
    return progress->step != d->stop_after;
}

static inline crn_train_options make_options(const char *out, int64_t steps, diary *d)
{
    crn_train_options o = CRN_TRAIN_OPTIONS_INIT;
    memset(d, 0, sizeof *d);
    *told = '\0';
    o.steps = steps;
    o.batch_size = BATCH;
    o.optimizer = crn_momentum(0.05f, 0.9f);
    static const crn_schedule cosine = {.kind = CRN_SCHEDULE_COSINE, .rate = 0.05f};
    o.schedule = &cosine;
    o.seed = 11;
    o.preprocessing = &how;
    o.out = in_folder(out);
    o.log_every = 1;
    o.progress = on_progress;
    o.progress_data = d;
    return o;
}

static inline void expect(crn_status wanted, crn_status got)
{
    if (wanted != got)
        fail_msg("status %d: %s", (int)got, crn_context_error(context)->text);
}

static inline void expect_text(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("'%s' is not in:\n%s", part, text);
}

static inline void expect_metadata(const char *checkpoint, const char *key, const char *value)
{
    crn_checkpoint *file;
    assert_int_equal(crn_checkpoint_open(in_folder(checkpoint), &file, NULL), CRN_OK);
    const char *found = crn_checkpoint_metadata(file, key);
    assert_non_null(found);
    assert_string_equal(found, value);
    crn_checkpoint_free(file);
}

static inline bool exists(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

/* ---- metrics.jsonl ---- */

/* Its lines as an array; every one must be whole. */
static inline json_t *read_metrics(const char *run)
{
    char name[256];
    size_t size;
    snprintf(name, sizeof name, "%s/metrics.jsonl", run);
    char *text = read_bytes(in_folder(name), &size);
    json_t *lines = json_array();
    assert_true(size == 0 || text[size - 1] == '\n');
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        json_t *value = json_loads(line, 0, NULL);
        if (value == NULL)
            fail_msg("no JSON: %s", line);
        json_array_append_new(lines, value);
    }
    free(text);
    return lines;
}

static inline double number(const json_t *lines, size_t index, const char *key)
{
    const json_t *value = json_object_get(json_array_get(lines, index), key);
    if (!json_is_number(value))
        fail_msg("line %zu has no number '%s'", index, key);
    return json_number_value(value);
}

#endif
