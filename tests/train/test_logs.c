/* What a run writes down, and what of it stays when the run goes on. */
#include "run_fixture.h"

#include <dirent.h>
#include <math.h>

#include "formats/protobuf.h"
#include "train/event_file.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_written_down),
        cmocka_unit_test(histograms_count_finite_values),
        cmocka_unit_test(a_resumed_run_cuts_its_log),
        cmocka_unit_test(a_stopped_validation_is_done_later),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
