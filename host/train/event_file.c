#include "train/event_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/crc32c.h"
#include "formats/protobuf.h"
#include "train/text_file.h"

#define PREFIX "events.out.tfevents."
#define BUCKETS 64
#define MAX_TRIES 1000

/* Field numbers. */
enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP = 2,
    EVENT_FILE_VERSION = 3,
    EVENT_SUMMARY = 5,
    EVENT_SESSION_LOG = 7,
    SESSION_LOG_STATUS = 1,
    SESSION_LOG_START = 1, /* a value */
    SUMMARY_VALUE = 1,
    VALUE_TAG = 1,
    VALUE_SIMPLE = 2,
    VALUE_HISTOGRAM = 5,
    HISTOGRAM_MIN = 1,
    HISTOGRAM_MAX = 2,
    HISTOGRAM_NUM = 3,
    HISTOGRAM_SUM = 4,
    HISTOGRAM_SUM_SQUARES = 5,
    HISTOGRAM_LIMITS = 6, /* the upper edges, packed doubles */
    HISTOGRAM_COUNTS = 7  /* packed doubles */
};

struct crn__event_file {
    int fd;
    char *path; /* for messages */
};

bool crn__event_file_is_name(const char *name)
{
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0;
}

/* ---- records ---- */

/* Memory is little-endian: formats/input_file.h has made sure. */
static crn_status write_record(crn__event_file *file, const crn__pb_writer *event, crn_error *error)
{
    if (event->failed)
        return crn__fail_memory(error);
    crn__pb_writer record = {.data = NULL};
    uint64_t length = event->size;
    uint32_t sums[2] = {crn__crc32c_mask(crn__crc32c(&length, sizeof length)),
                        crn__crc32c_mask(crn__crc32c(event->data, event->size))};
    crn__pb_write_raw(&record, &length, sizeof length);
    crn__pb_write_raw(&record, &sums[0], sizeof sums[0]);
    crn__pb_write_raw(&record, event->data, event->size);
    crn__pb_write_raw(&record, &sums[1], sizeof sums[1]);
    crn_status status = record.failed
                            ? crn__fail_memory(error)
                            : crn__append(file->fd, file->path, record.data, record.size, error);
    free(record.data);
    return status;
}

static void begin_event(crn__pb_writer *event, int64_t step)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    crn__pb_write_double(event, EVENT_WALL_TIME, (double)t.tv_sec + 1e-9 * (double)t.tv_nsec);
    crn__pb_write_uint(event, EVENT_STEP, (uint64_t)step);
}

/* Ends the parts. */
static crn_status write_summary(crn__event_file *file, int64_t step, crn__pb_writer *summary,
                                crn_error *error)
{
    crn__pb_writer event = {.failed = summary->failed};
    begin_event(&event, step);
    crn__pb_write_bytes(&event, EVENT_SUMMARY, summary->data, summary->size);
    crn_status status = write_record(file, &event, error);
    free(event.data);
    free(summary->data);
    return status;
}

/* ---- opening ---- */

static crn_status write_start(crn__event_file *file, int64_t first, crn_error *error)
{
    crn__pb_writer version = {.data = NULL}, start = {.data = NULL}, log = {.data = NULL};
    begin_event(&version, 0);
    crn__pb_write_string(&version, EVENT_FILE_VERSION, "brain.Event:2");
    crn__pb_write_uint(&log, SESSION_LOG_STATUS, SESSION_LOG_START);
    begin_event(&start, first);
    crn__pb_write_bytes(&start, EVENT_SESSION_LOG, log.data, log.size);
    start.failed |= log.failed;
    crn_status status = write_record(file, &version, error);
    if (status == CRN_OK)
        status = write_record(file, &start, error);
    free(version.data);
    free(start.data);
    free(log.data);
    return status;
}

/* TIME is this second, or the next that no file of the folder has: readers go by their order. */
static crn_status open_new(const char *folder, crn__event_file *file, crn_error *error)
{
    char host[65] = "";
    if (gethostname(host, sizeof host - 1) != 0 || *host == '\0')
        strcpy(host, "localhost");
    for (char *c = host; *c != '\0'; c++)
        if (*c == '/' || (unsigned char)*c <= ' ')
            *c = '_';
    time_t now = time(NULL);
    for (int i = 0; i < MAX_TRIES; i++) {
        free(file->path);
        file->path = crn__format("%s/" PREFIX "%010" PRId64 ".%s", folder, (int64_t)now + i, host);
        if (file->path == NULL)
            return crn__fail_memory(error);
        file->fd = open(file->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
        if (file->fd >= 0)
            return CRN_OK;
        if (errno != EEXIST)
            break;
    }
    return crn__fail(error, CRN_IO, "%s: cannot make it: %s", file->path, strerror(errno));
}

crn_status crn__event_file_create(const char *folder, int64_t first, crn__event_file **out,
                                  crn_error *error)
{
    crn__event_file *file = crn__alloc(1, sizeof *file);
    if (file == NULL)
        return crn__fail_memory(error);
    file->fd = -1;
    crn_status status = open_new(folder, file, error);
    if (status == CRN_OK)
        status = write_start(file, first, error);
    if (status == CRN_OK)
        *out = file;
    else
        crn__event_file_free(file);
    return status;
}

void crn__event_file_free(crn__event_file *file)
{
    if (file == NULL)
        return;
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    free(file);
}

/* ---- values ---- */

crn_status crn__event_file_scalars(crn__event_file *file, int64_t step, const crn__scalar *scalars,
                                   size_t count, crn_error *error)
{
    crn__pb_writer summary = {.data = NULL};
    for (size_t i = 0; i < count; i++) {
        crn__pb_writer value = {.data = NULL};
        crn__pb_write_string(&value, VALUE_TAG, scalars[i].tag);
        crn__pb_write_float(&value, VALUE_SIMPLE, (float)scalars[i].value);
        crn__pb_write_bytes(&summary, SUMMARY_VALUE, value.data, value.size);
        summary.failed |= value.failed;
        free(value.data);
    }
    return write_summary(file, step, &summary, error);
}

typedef struct histogram {
    double min, max, count, sum, sum_squares;
    double limits[BUCKETS], counts[BUCKETS];
} histogram;

static void count_values(const float *values, size_t count, histogram *h)
{
    *h = (histogram){.min = INFINITY, .max = -INFINITY};
    for (size_t i = 0; i < count; i++) {
        double x = (double)values[i];
        if (!isfinite(x))
            continue;
        h->min = fmin(h->min, x);
        h->max = fmax(h->max, x);
        h->count++;
        h->sum += x;
        h->sum_squares += x * x;
    }
    if (h->count == 0)
        h->min = h->max = 0;
    double width = (h->max - h->min) / BUCKETS;
    for (int i = 0; i < BUCKETS; i++)
        h->limits[i] = i == BUCKETS - 1 ? h->max : h->min + (i + 1) * width;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            continue;
        int bucket = width > 0 ? (int)(((double)values[i] - h->min) / width) : BUCKETS - 1;
        h->counts[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    }
}

crn_status crn__event_file_histogram(crn__event_file *file, int64_t step, const char *tag,
                                     const float *values, size_t count, crn_error *error)
{
    histogram h;
    count_values(values, count, &h);
    crn__pb_writer content = {.data = NULL}, value = {.data = NULL}, summary = {.data = NULL};
    crn__pb_write_double(&content, HISTOGRAM_MIN, h.min);
    crn__pb_write_double(&content, HISTOGRAM_MAX, h.max);
    crn__pb_write_double(&content, HISTOGRAM_NUM, h.count);
    crn__pb_write_double(&content, HISTOGRAM_SUM, h.sum);
    crn__pb_write_double(&content, HISTOGRAM_SUM_SQUARES, h.sum_squares);
    crn__pb_write_bytes(&content, HISTOGRAM_LIMITS, h.limits, sizeof h.limits);
    crn__pb_write_bytes(&content, HISTOGRAM_COUNTS, h.counts, sizeof h.counts);
    crn__pb_write_string(&value, VALUE_TAG, tag);
    crn__pb_write_bytes(&value, VALUE_HISTOGRAM, content.data, content.size);
    crn__pb_write_bytes(&summary, SUMMARY_VALUE, value.data, value.size);
    summary.failed |= content.failed || value.failed;
    free(content.data);
    free(value.data);
    return write_summary(file, step, &summary, error);
}
