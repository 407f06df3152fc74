/* The folder of a run: logs, checkpoints, and how a training ends before its end. */
#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <sys/file.h>

#include "formats/protobuf.h"
#include "train/run_folder.h"

#define IMAGES 40
#define BATCH 16

static crn_context *context;
static crn_dataset *dataset;
static crn_preprocessing how;
static char told[65536]; /* by the log */

static void on_log(void *data, crn_log_level level, const char *line)
{
    size_t used = strlen(told);
    (void)data, (void)level;
    snprintf(told + used, sizeof told - used, "%s\n", line);
}

static int setup(void **state)
{
    if (fixture_setup(state) != 0)
        return 1;
    how = crn_preprocessing_inception(SIDE, 1);
    dataset = open_dataset(make_dataset("data", IMAGES, 2));
    crn_context_options options = CRN_CONTEXT_OPTIONS_INIT;
    options.log = on_log;
    return crn_context_create(&options, &context, NULL) != CRN_OK;
}

static int teardown(void **state)
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

static bool on_progress(void *data, const crn_progress *progress)
{
    diary *d = data;
    assert_in_range(d->count, 0, 63);
    d->steps[d->count++] = *progress;
    if (progress->validation != NULL)
        d->validations[d->n_validations++] = *progress->validation;
    return progress->step != d->stop_after;
}

static crn_train_options make_options(const char *out, int64_t steps, diary *d)
{
    crn_train_options o = CRN_TRAIN_OPTIONS_INIT;
    memset(d, 0, sizeof *d);
    *told = '\0';
    o.steps = steps;
    o.batch_size = BATCH;
    o.optimizer = crn_momentum(0.05f, 0.9f);
    o.cosine = true;
    o.seed = 11;
    o.preprocessing = &how;
    o.out = in_folder(out);
    o.log_every = 1;
    o.progress = on_progress;
    o.progress_data = d;
    return o;
}

static void expect(crn_status wanted, crn_status got)
{
    if (wanted != got)
        fail_msg("status %d: %s", (int)got, crn_context_error(context)->text);
}

static void expect_text(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("'%s' is not in:\n%s", part, text);
}

static void expect_metadata(const char *checkpoint, const char *key, const char *value)
{
    crn_checkpoint *file;
    assert_int_equal(crn_checkpoint_open(in_folder(checkpoint), &file, NULL), CRN_OK);
    const char *found = crn_checkpoint_metadata(file, key);
    assert_non_null(found);
    assert_string_equal(found, value);
    crn_checkpoint_free(file);
}

static bool exists(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

/* ---- metrics.jsonl ---- */

/* Its lines as an array; every one must be whole. */
static json_t *read_metrics(const char *run)
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

static double number(const json_t *lines, size_t index, const char *key)
{
    const json_t *value = json_object_get(json_array_get(lines, index), key);
    if (!json_is_number(value))
        fail_msg("line %zu has no number '%s'", index, key);
    return json_number_value(value);
}

/* Numbers of a log have 9 digits. */
static void expect_number(const json_t *lines, size_t index, const char *key, double wanted)
{
    double got = number(lines, index, key);
    if (!(fabs(got - wanted) <= 1e-8 * fabs(wanted)))
        fail_msg("line %zu: %s is %g, not %g", index, key, got, wanted);
}

/* ---- event files, read by the letter of their specification ---- */

/* CRC-32C bit by bit (RFC 3720: 0x1edc6f41, reflected), with TensorFlow's mask. */
static uint32_t masked_crc(const unsigned char *data, size_t size)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    crc = ~crc;
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

typedef struct event {
    int64_t step;
    bool starts;
    char version[32];
    char tag[128]; /* of the summary's first value */
    float value;
    double num, sum, limits, counts; /* a histogram's; the last limit, the sum of counts */
} event;

static double packed_double(const crn__pb_field *field, bool last)
{
    double sum = 0, value = 0;
    for (const unsigned char *at = field->content.at; at < field->content.end; at += 8) {
        memcpy(&value, at, 8);
        sum += value;
    }
    return last ? value : sum;
}

static double as_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void read_histogram(crn__pb_reader message, event *e)
{
    crn__pb_field f;
    while (crn__pb_next(&message, &f)) {
        e->num = f.number == 3 ? as_double(f.value) : e->num;
        e->sum = f.number == 4 ? as_double(f.value) : e->sum;
        e->limits = f.number == 6 ? packed_double(&f, true) : e->limits;
        e->counts = f.number == 7 ? packed_double(&f, false) : e->counts;
    }
    assert_false(message.broken);
}

static void read_value(crn__pb_reader message, event *e)
{
    crn__pb_field f;
    while (crn__pb_next(&message, &f)) {
        if (f.number == 1)
            snprintf(e->tag, sizeof e->tag, "%.*s", (int)crn__pb_left(&f.content),
                     (const char *)f.content.at);
        if (f.number == 2)
            memcpy(&e->value, &f.value, sizeof e->value);
        if (f.number == 5)
            read_histogram(f.content, e);
    }
    assert_false(message.broken);
}

static void read_event(crn__pb_reader message, event *e)
{
    crn__pb_field f, g;
    while (crn__pb_next(&message, &f)) {
        if (f.number == 2)
            e->step = (int64_t)f.value;
        if (f.number == 3)
            snprintf(e->version, sizeof e->version, "%.*s", (int)crn__pb_left(&f.content),
                     (const char *)f.content.at);
        if (f.number == 5 && crn__pb_next(&f.content, &g) && g.number == 1)
            read_value(g.content, e);
        if (f.number == 7 && crn__pb_next(&f.content, &g))
            e->starts = g.number == 1 && g.value == 1;
    }
    assert_false(message.broken);
}

/* Of the only event file in the folder. Returns their number. */
static size_t read_events(const char *run, event *events, size_t most)
{
    char name[250] = "";
    DIR *dir = opendir(in_folder(run));
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strncmp(entry->d_name, "events.out.tfevents.", 20) == 0) {
            assert_int_equal(*name, 0);
            snprintf(name, sizeof name, "%s/%.200s", run, entry->d_name);
        }
    closedir(dir);
    size_t size, at = 0, count = 0;
    unsigned char *data = (unsigned char *)read_bytes(in_folder(name), &size);
    while (at < size) {
        uint64_t length;
        uint32_t sum;
        assert_true(size - at >= 12);
        memcpy(&length, data + at, 8);
        memcpy(&sum, data + at + 8, 4);
        assert_int_equal(sum, masked_crc(data + at, 8));
        assert_true(length + 16 <= size - at);
        memcpy(&sum, data + at + 12 + length, 4);
        assert_int_equal(sum, masked_crc(data + at + 12, length));
        assert_in_range(count, 0, most - 1);
        memset(&events[count], 0, sizeof *events);
        read_event(crn__pb_read(data + at + 12, length), &events[count++]);
        at += length + 16;
    }
    free(data);
    return count;
}

/* ---- tests ---- */

static void steps_are_written_down(void **state)
{
    (void)state;
    static event events[1024];
    diary d;
    crn_train_options o = make_options("log", 5, &d);
    o.validation = dataset;
    o.validate_every = 3;
    o.histograms_every = 4;
    o.config = "{\"its\": \"config\"}\n";
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_int_equal(d.count, 5);
    assert_int_equal(d.n_validations, 2);

    json_t *lines = read_metrics("log");
    static const size_t line_of[] = {0, 1, 2, 4, 5};
    assert_int_equal(json_array_size(lines), 7);
    for (size_t i = 0; i < 5; i++) {
        const crn_progress *p = &d.steps[i];
        expect_number(lines, line_of[i], "step", (double)(i + 1));
        expect_number(lines, line_of[i], "epoch", (double)p->epoch);
        expect_number(lines, line_of[i], "loss", (double)p->loss);
        expect_number(lines, line_of[i], "total_loss", (double)p->total_loss);
        expect_number(lines, line_of[i], "accuracy", (double)p->accuracy);
        expect_number(lines, line_of[i], "learning_rate", (double)p->learning_rate);
        double rate = 0.05 * 0.5 * (1 + cos(acos(-1) * (double)i / 5));
        assert_true(fabs((double)p->learning_rate - rate) < 1e-8);
        assert_true(p->total_loss > p->loss);
    }
    for (size_t i = 0; i < 2; i++) {
        expect_number(lines, i == 0 ? 3 : 6, "step", i == 0 ? 3 : 5);
        expect_number(lines, i == 0 ? 3 : 6, "validation_top1", d.validations[i].top1);
        expect_number(lines, i == 0 ? 3 : 6, "validation_top5", 1);
        expect_number(lines, i == 0 ? 3 : 6, "validation_loss", d.validations[i].loss);
    }
    json_decref(lines);

    size_t size, n = read_events("log", events, 1024), losses = 0, tops = 0, histograms = 0;
    assert_string_equal(events[0].version, "brain.Event:2");
    assert_true(events[1].starts && events[1].step == 1);
    for (size_t i = 2; i < n; i++) {
        const event *e = &events[i];
        if (strcmp(e->tag, "train/loss") == 0)
            assert_true(e->step == (int64_t)++losses && e->value == d.steps[losses - 1].loss);
        if (strcmp(e->tag, "validation/loss") == 0)
            assert_true(e->value == (float)d.validations[tops++].loss);
        if (e->num > 0) {
            assert_int_equal(e->step, 4);
            assert_true(e->num == e->counts);
            histograms++;
        }
        if (strcmp(e->tag, "resnet_v2_20/conv1/weights") == 0)
            assert_true(e->num == 9 * 16);
    }
    assert_int_equal(losses, 5);
    assert_int_equal(tops, 2);
    assert_true(histograms > 50);

    char *text = read_bytes(in_folder("log/labels.txt"), &size);
    assert_string_equal(text, "0:0\n1:1\n");
    free(text);
    text = read_bytes(in_folder("log/config.json"), &size);
    assert_string_equal(text, o.config);
    free(text);
}

static void histograms_count_finite_values(void **state)
{
    (void)state;
    event events[8];
    crn_error error;
    crn__event_file *file;
    const float values[] = {-1, NAN, 3, 0.5f, INFINITY, 0.5f};
    assert_int_equal(mkdir(in_folder("histogram"), 0777), 0);
    assert_int_equal(crn__event_file_create(in_folder("histogram"), 1, &file, &error), CRN_OK);
    for (size_t count = 0; count <= 6; count += 2)
        assert_int_equal(crn__event_file_histogram(file, 1, "h", values, count, &error), CRN_OK);
    crn__event_file_free(file);
    assert_int_equal(read_events("histogram", events, 8), 6);
    assert_true(events[2].num == 0 && events[2].counts == 0);
    assert_true(events[3].num == 1 && events[3].counts == 1 && events[3].limits == -1);
    assert_true(events[4].num == 3 && events[4].sum == 2.5 && events[4].limits == 3);
    assert_true(events[5].num == 4 && events[5].counts == 4 && events[5].sum == 3);
}

/* A log of a process that was killed: later steps than its checkpoint's, and half a line. */
static void a_resumed_run_cuts_its_log(void **state)
{
    (void)state;
    diary whole, first, second;
    crn_train_options o = make_options("cut-whole", 9, &whole);
    o.validation = dataset;
    o.validate_every = 4;
    expect(CRN_OK, crn_train(context, dataset, &o));
    o = make_options("cut", 9, &first);
    o.validation = dataset;
    o.validate_every = 4;
    first.stop_after = 5;
    expect(CRN_INTERRUPTED, crn_train(context, dataset, &o));
    FILE *log = fopen(in_folder("cut/metrics.jsonl"), "a");
    assert_non_null(log);
    fprintf(log, "{\"step\":6,\"loss\":1}\n{\"step\":7,\"lo");
    fclose(log);

    o = make_options("cut", 9, &second);
    o.validation = dataset;
    o.validate_every = 4;
    o.resume = true;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_int_equal(second.count, 4);
    expect_text(told, "goes on after step 5 of 9");
    json_t *a = read_metrics("cut-whole"), *b = read_metrics("cut");
    assert_int_equal(json_array_size(a), 9 + 3);
    assert_int_equal(json_array_size(b), 9 + 3);
    double seconds = 0;
    for (size_t i = 0; i < 12; i++) {
        assert_true(number(b, i, "seconds") >= seconds);
        seconds = number(b, i, "seconds");
        for (int k = 0; k < 2; k++) {
            json_object_del(json_array_get(k ? a : b, i), "seconds");
            json_object_del(json_array_get(k ? a : b, i), "images_per_second");
        }
    }
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
    static const char *const names[] = {"model", "best"};
    for (int i = 0; i < 2; i++) {
        char paths[2][64];
        size_t sizes[2];
        snprintf(paths[0], sizeof paths[0], "cut-whole/%s.safetensors", names[i]);
        snprintf(paths[1], sizeof paths[1], "cut/%s.safetensors", names[i]);
        char *x = read_bytes(in_folder(paths[0]), &sizes[0]);
        char *y = read_bytes(in_folder(paths[1]), &sizes[1]);
        assert_int_equal(sizes[0], sizes[1]);
        assert_memory_equal(x, y, sizes[0]);
        free(x);
        free(y);
    }
}

static bool stop_at_once(void *data, size_t done, size_t total)
{
    (void)data, (void)done, (void)total;
    return false;
}

/* The validation that was stopped is done before the next step. */
static void a_stopped_validation_is_done_later(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("late", 4, &d);
    o.validation = dataset;
    o.validate_every = 2;
    o.validating = stop_at_once;
    expect(CRN_INTERRUPTED, crn_train(context, dataset, &o));
    assert_int_equal(d.count, 2);
    expect_metadata("late/model.safetensors", CRN_METADATA_VALIDATED, "0");
    o = make_options("late", 4, &d);
    o.validation = dataset;
    o.validate_every = 2;
    o.resume = true;
    expect(CRN_OK, crn_train(context, dataset, &o));
    json_t *lines = read_metrics("late");
    assert_int_equal(json_array_size(lines), 6);
    expect_number(lines, 2, "step", 2);
    assert_true(number(lines, 2, "validation_loss") > 0);
    json_decref(lines);
    expect_metadata("late/model.safetensors", CRN_METADATA_VALIDATED, "4");
}

static void the_last_numbered_checkpoints_are_kept(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("keep", 9, &d);
    o.save_every = 2;
    o.keep = 2;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_false(exists("keep/step-000006.safetensors"));
    expect_metadata("keep/step-000008.safetensors", "global_step", "8");
    expect_metadata("keep/step-000009.safetensors", "global_step", "9");
    expect_metadata("keep/model.safetensors", "global_step", "9");

    /* Another run in the same folder leaves nothing of the first but its last checkpoint. */
    write_bytes(in_folder("keep/best.safetensors"), "", 0);
    o = make_options("keep", 1, &d);
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_false(exists("keep/step-000009.safetensors"));
    assert_false(exists("keep/best.safetensors"));
    expect_metadata("keep/model.safetensors", "global_step", "1");
    expect_metadata("keep/previous.safetensors", "global_step", "9");
    json_t *lines = read_metrics("keep");
    assert_int_equal(json_array_size(lines), 1);
    json_decref(lines);
}

/* Without a learning rate nothing changes but batch norm's statistics, that is: no step is better
 * than the first for long. */
static void training_without_gain_ends_early(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("early", 60, &d);
    o.optimizer = crn_gradient_descent(0);
    o.validation = dataset;
    o.validate_every = 1;
    o.early_stop = 3;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_true(d.count < 60);
    int64_t best = d.steps[d.count - 1].best_step;
    assert_int_equal(best + 3, d.count);
    for (size_t i = 0; i < d.count; i++)
        assert_true(d.validations[i].top1 <= d.validations[best - 1].top1);
    assert_true(d.steps[d.count - 1].best_top1 == d.validations[best - 1].top1);
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)best);
    expect_metadata("early/best.safetensors", "global_step", text);
    expect_text(told, "early stop after step");

    /* A stop is not forgotten. */
    o = make_options("early", 60, &d);
    o.optimizer = crn_gradient_descent(0);
    o.validation = dataset;
    o.validate_every = 1;
    o.early_stop = 3;
    o.resume = true;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_int_equal(d.count, 0);
}

static void time_ends_a_training(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("time", 1000, &d);
    o.time_limit = 1e-3;
    expect(CRN_OK, crn_train(context, dataset, &o));
    assert_in_range(d.count, 1, 63);
    expect_text(told, "time limit ends training");
    assert_true(exists("time/model.safetensors"));
}

static void a_folder_is_one_process_at_a_time(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("log", 1, &d);
    int other = open(in_folder("log/.lock"), O_RDWR);
    assert_true(other >= 0 && flock(other, LOCK_EX) == 0);
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    expect_text(crn_context_error(context)->text, "another process");
    expect_metadata("log/model.safetensors", "global_step", "5");
    close(other);
    expect(CRN_OK, crn_train(context, dataset, &o));
}

/* ---- what is trained ---- */

static bool same_tensor(const char *a, const char *b, const char *name, size_t count)
{
    float *values[2];
    const char *paths[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        crn_checkpoint *file;
        values[i] = calloc(count, sizeof(float));
        assert_int_equal(crn_checkpoint_open(in_folder(paths[i]), &file, NULL), CRN_OK);
        assert_int_equal(crn_checkpoint_read(file, name, values[i], count, NULL), CRN_OK);
        crn_checkpoint_free(file);
    }
    bool same = memcmp(values[0], values[1], count * sizeof(float)) == 0;
    free(values[0]);
    free(values[1]);
    return same;
}

static void only_trainable_scopes_are_trained(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("base", 1, &d);
    expect(CRN_OK, crn_train(context, dataset, &o));
    o = make_options("frozen", 2, &d);
    o.init_from = in_folder("base/model.safetensors");
    o.exclude_scopes = "no such scope";
    o.trainable_scopes = "resnet_v2_20/logits, resnet_v2_20/block3";
    expect(CRN_OK, crn_train(context, dataset, &o));
    const char *a = "base/model.safetensors", *b = "frozen/model.safetensors";
    assert_true(same_tensor(a, b, "resnet_v2_20/conv1/weights", 9 * 16));
    assert_false(same_tensor(a, b, "resnet_v2_20/logits/biases", 2));
    assert_false(same_tensor(a, b, "resnet_v2_20/logits/weights", 512));
    size_t size;
    char *text = read_bytes(in_folder("frozen/restore.txt"), &size);
    expect_text(text, "frozen: resnet_v2_20/conv1/weights\n");
    expect_text(text, "loaded: resnet_v2_20/conv1/weights\n");
    assert_null(strstr(text, "frozen: resnet_v2_20/logits"));
    free(text);
    o.trainable_scopes = "resnet_v1_20";
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    expect_text(crn_context_error(context)->text, "resnet_v1_20");
}

static void labels_can_have_another_background(void **state)
{
    (void)state;
    diary d;
    size_t size;
    crn_train_options o = make_options("background", 2, &d);
    o.labels_offset = -1;
    o.validation = dataset;
    expect(CRN_OK, crn_train(context, dataset, &o));
    char *text = read_bytes(in_folder("background/labels.txt"), &size);
    assert_string_equal(text, "0:background\n1:0\n2:1\n");
    free(text);
    expect_metadata("background/model.safetensors", CRN_METADATA_NUM_CLASSES, "3");

    o = make_options("offset", 2, &d);
    o.labels_offset = 1; /* class 0 has images */
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    expect_text(crn_context_error(context)->text, "class '0'");
    o.labels_offset = 2;
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    expect_text(crn_context_error(context)->text, "labels offset 2");
}

/* ---- numbers that are none ---- */

/*
 * 20 images, of which the first `bad` become infinite: pixels are so small that the preprocessing
 * makes usual ones of them with a factor that takes white past what a float holds.
 */
static crn_dataset *make_poisoned(const char *name, size_t bad)
{
    enum { COUNT = 20 };
    char path[4400];
    unsigned char labels[COUNT];
    float images[COUNT * PIXELS];
    const char *folder = in_folder(name);
    assert_int_equal(mkdir(folder, 0777), 0);
    for (size_t i = 0; i < COUNT; i++) {
        labels[i] = (unsigned char)(i % 2);
        for (size_t p = 0; p < PIXELS; p++)
            images[i * PIXELS + p] = i < bad ? 255 : 1e-37f * fixture_pixel(i, i % 2, 2, p);
    }
    crn_shape shape = CRN_SHAPE(COUNT, SIDE, SIDE, 1);
    snprintf(path, sizeof path, "%s/images.npy", folder);
    assert_int_equal(crn_npy_write(path, images, &shape, NULL), CRN_OK);
    snprintf(path, sizeof path, "%s/labels.npy", folder);
    write_labels(path, labels, COUNT);
    return open_dataset(folder);
}

/* A checkpoint whose first convolution makes usual numbers of such pixels, and infinity of white.
 */
static void make_steep(void)
{
    crn_graph *g;
    float weights[9 * 16];
    expect(CRN_OK, crn_graph_create(context, &g));
    crn_node *inputs = crn_placeholder(g, "inputs", CRN_F32, CRN_SHAPE(CRN_ANY, SIDE, SIDE, 1));
    crn_resnet_v2_20(g, inputs, 2, NULL);
    expect(CRN_OK, crn_initialize_variables(g));
    crn_node *conv1 = crn_variable_find(g, "resnet_v2_20/conv1/weights");
    expect(CRN_OK, crn_variable_read(conv1, weights, 9 * 16));
    for (size_t i = 0; i < 9 * 16; i++)
        weights[i] *= 1e37f;
    expect(CRN_OK, crn_variable_write(conv1, weights, 9 * 16));
    expect(CRN_OK, crn_checkpoint_save(g, in_folder("steep.safetensors"), NULL));
    crn_graph_free(g);
}

static crn_train_options make_steep_options(const char *out, int64_t steps, int64_t batch_size,
                                            diary *d)
{
    static crn_preprocessing plain;
    plain = how;
    plain.mean[0] = 0;
    plain.scale[0] = 1;
    crn_train_options o = make_options(out, steps, d);
    o.preprocessing = &plain;
    o.batch_size = batch_size;
    o.weight_decay = 0; /* the square of such weights is infinite */
    o.init_from = in_folder("steep.safetensors");
    return o;
}

static size_t occurrences(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

static void bad_steps_can_be_skipped(void **state)
{
    (void)state;
    diary d;
    crn_dataset *poisoned = make_poisoned("poisoned", 1);
    make_steep();
    crn_train_options o =
        make_steep_options("skip", 6, 5, &d); /* 4 steps an epoch, one of which is bad */
    expect(CRN_NON_FINITE, crn_train(context, poisoned, &o));
    o = make_steep_options("skip", 6, 5, &d);
    o.on_non_finite = CRN_NON_FINITE_SKIP;
    expect(CRN_OK, crn_train(context, poisoned, &o));
    assert_int_equal(d.count, 6);
    assert_in_range(occurrences(told, "is skipped"), 1, 2);
    json_t *lines = read_metrics("skip");
    assert_int_equal(json_array_size(lines) + occurrences(told, "is skipped"), 6);
    json_decref(lines);
    expect_metadata("skip/model.safetensors", "global_step", "6");
    crn_dataset_free(poisoned);
}

/* Batches of 8 leave 4 images of an epoch out. With the first order the bad one is in an epoch of
 * two steps, with a later one it is not. */
static void bad_orders_can_be_left(void **state)
{
    (void)state;
    diary d;
    crn_dataset *poisoned = make_poisoned("poisoned-again", 1), *all = make_poisoned("all", 20);
    size_t recovered = 0;
    for (uint64_t seed = 0; seed < 6; seed++) {
        char name[32], path[64];
        snprintf(name, sizeof name, "back-%d", (int)seed);
        snprintf(path, sizeof path, "%s/model.safetensors", name);
        crn_train_options o = make_steep_options(name, 2, 8, &d);
        o.seed = seed;
        o.on_non_finite = CRN_NON_FINITE_ROLLBACK;
        crn_status status = crn_train(context, poisoned, &o);
        size_t times = occurrences(told, "going back");
        if (status != CRN_OK) {
            expect(CRN_NON_FINITE, status);
            assert_int_equal(times, 3);
            continue;
        }
        char text[8];
        snprintf(text, sizeof text, "%zu", times);
        expect_metadata(path, CRN_METADATA_ROLLBACKS, text);
        expect_metadata(path, "global_step", "2");
        recovered += times > 0;
        json_t *lines = read_metrics(name);
        assert_int_equal(json_array_size(lines), 2);
        json_decref(lines);
    }
    assert_true(recovered > 0);

    crn_train_options o = make_steep_options("lost", 2, 8, &d);
    o.on_non_finite = CRN_NON_FINITE_ROLLBACK;
    expect(CRN_NON_FINITE, crn_train(context, all, &o));
    assert_int_equal(occurrences(told, "going back"), 3);
    o = make_steep_options("lost", 60, 8, &d);
    o.on_non_finite = CRN_NON_FINITE_SKIP;
    expect(CRN_NON_FINITE, crn_train(context, all, &o));
    assert_int_equal(d.count, 19);
    crn_dataset_free(poisoned);
    crn_dataset_free(all);
}

/* ---- mistakes ---- */

static void mistakes_are_named(void **state)
{
    (void)state;
    diary d;
    crn_train_options o = make_options("mistake", 1, &d);
    o.early_stop = 1;
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    expect_text(crn_context_error(context)->text, "validation");
    o = make_options("mistake", 1, &d);
    o.out = NULL;
    o.resume = true;
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    o = make_options("mistake", 1, &d);
    o.log_every = 0;
    expect(CRN_INVALID, crn_train(context, dataset, &o));
    assert_false(exists("mistake"));

    crn_dataset *three = open_dataset(make_dataset("three", 48, 3));
    o = make_options("log", 3, &d);
    o.resume = true;
    expect(CRN_INVALID, crn_train(context, three, &o));
    expect_text(crn_context_error(context)->text, "log/model.safetensors");
    crn_dataset_free(three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_written_down),
        cmocka_unit_test(histograms_count_finite_values),
        cmocka_unit_test(a_resumed_run_cuts_its_log),
        cmocka_unit_test(a_stopped_validation_is_done_later),
        cmocka_unit_test(the_last_numbered_checkpoints_are_kept),
        cmocka_unit_test(training_without_gain_ends_early),
        cmocka_unit_test(time_ends_a_training),
        cmocka_unit_test(a_folder_is_one_process_at_a_time),
        cmocka_unit_test(only_trainable_scopes_are_trained),
        cmocka_unit_test(labels_can_have_another_background),
        cmocka_unit_test(bad_steps_can_be_skipped),
        cmocka_unit_test(bad_orders_can_be_left),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
