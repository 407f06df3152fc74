#include "train/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/input_file.h"
#include "train/text_file.h"

#define METRICS "metrics.jsonl"
#define MAX_METRICS ((uint64_t)1 << 32)

char *crn__run_folder_file(const crn__run_folder *folder, const char *name)
{
    return crn__format("%s/%s", folder->path, name);
}

crn_status crn__run_folder_write(const crn__run_folder *folder, const char *name, const char *text,
                                 crn_error *error)
{
    char *path = crn__run_folder_file(folder, name);
    crn_status status = path != NULL ? crn__write_text(path, text, error) : crn__fail_memory(error);
    free(path);
    return status;
}

/* ---- opening ---- */

static crn_status make(const char *path, crn_error *error)
{
    char *copy = crn__format("%s/", path);
    if (copy == NULL)
        return crn__fail_memory(error);
    int failed = 0;
    for (char *slash = strchr(copy + 1, '/'); slash != NULL && !failed;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        failed = mkdir(copy, 0777) != 0 && errno != EEXIST ? errno : 0;
        *slash = '/';
    }
    free(copy);
    if (failed)
        return crn__fail(error, CRN_IO, "%s: cannot make the folder: %s", path, strerror(failed));
    if (access(path, W_OK | X_OK) != 0)
        return crn__fail(error, CRN_IO, "%s: cannot write there: %s", path, strerror(errno));
    return CRN_OK;
}

static crn_status lock(crn__run_folder *folder, crn_error *error)
{
    char *path = crn__run_folder_file(folder, ".lock");
    if (path == NULL)
        return crn__fail_memory(error);
    crn_status status = CRN_OK;
    folder->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (folder->lock < 0)
        status = crn__fail(error, CRN_IO, "%s: cannot make it: %s", path, strerror(errno));
    else if (flock(folder->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        status =
            crn__fail(error, CRN_INVALID, "%s: another process is training there", folder->path);
    /* Another failure: a file system without locks. Then there is none to respect. */
    free(path);
    return status;
}

crn_status crn__run_folder_open(const char *path, crn__run_folder *folder, crn_error *error)
{
    *folder = (crn__run_folder){.path = crn__strdup(path), .lock = -1, .metrics = -1};
    crn_status status = folder->path != NULL ? make(path, error) : crn__fail_memory(error);
    if (status == CRN_OK)
        status = lock(folder, error);
    if (status != CRN_OK)
        crn__run_folder_close(folder);
    return status;
}

void crn__run_folder_close(crn__run_folder *folder)
{
    if (folder->path == NULL)
        return;
    crn__event_file_free(folder->events);
    if (folder->metrics >= 0)
        close(folder->metrics);
    if (folder->lock >= 0)
        close(folder->lock);
    free(folder->path);
    *folder = (crn__run_folder){.path = NULL};
}

/* ---- logs ---- */

/*
 * The length of the part of a log that is of steps up to `step`: lines are in the order of steps. A
 * last line that was not finished is not part of it.
 */
static size_t length_until(const char *text, size_t size, int64_t step, double *seconds)
{
    size_t kept = 0;
    const char *end;
    while ((end = memchr(text + kept, '\n', size - kept)) != NULL) {
        json_t *line = json_loadb(text + kept, (size_t)(end - text) - kept, 0, NULL);
        json_t *at = json_object_get(line, "step"), *time = json_object_get(line, "seconds");
        bool good = json_is_integer(at) && json_integer_value(at) <= step;
        if (good && json_is_number(time))
            *seconds = json_number_value(time);
        json_decref(line);
        if (!good)
            break;
        kept = (size_t)(end - text) + 1;
    }
    return kept;
}

static crn_status cut_metrics(crn__run_folder *folder, const char *path, int64_t step,
                              crn_error *error)
{
    unsigned char *text = NULL;
    size_t size = 0, kept = 0;
    if (step > 0) {
        CRN__TRY(crn__input_file_load(path, MAX_METRICS, &text, &size, error));
        kept = length_until((const char *)text, size, step, &folder->seconds);
        free(text);
    }
    if (ftruncate(folder->metrics, (off_t)kept) != 0)
        return crn__fail(error, CRN_IO, "%s: cannot cut it: %s", path, strerror(errno));
    return CRN_OK;
}

typedef bool (*name_fn)(const char *name);

static bool is_numbered(const char *name)
{
    size_t digits = strncmp(name, "step-", 5) == 0 ? strspn(name + 5, "0123456789") : 0;
    return digits >= 6 && strcmp(name + 5 + digits, ".safetensors") == 0;
}

static crn_status remove_file(const crn__run_folder *folder, const char *name, crn_error *error)
{
    char *path = crn__run_folder_file(folder, name);
    crn_status status = path != NULL ? CRN_OK : crn__fail_memory(error);
    if (path != NULL && unlink(path) != 0 && errno != ENOENT)
        status = crn__fail(error, CRN_IO, "%s: cannot remove it: %s", path, strerror(errno));
    free(path);
    return status;
}

/* Names of the folder's files of a kind. */
typedef struct names {
    char **items;
    size_t count, capacity;
} names;

static void free_names(names *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

static crn_status list_files(const crn__run_folder *folder, name_fn is_one, names *list,
                             crn_error *error)
{
    DIR *dir = opendir(folder->path);
    if (dir == NULL)
        return crn__fail(error, CRN_IO, "%s: cannot list it: %s", folder->path, strerror(errno));
    crn_status status = CRN_OK;
    for (struct dirent *entry; status == CRN_OK && (entry = readdir(dir)) != NULL;) {
        if (!is_one(entry->d_name))
            continue;
        if (!crn__grow((void **)&list->items, list->count, &list->capacity, sizeof *list->items) ||
            (list->items[list->count] = crn__strdup(entry->d_name)) == NULL)
            status = crn__fail_memory(error);
        else
            list->count++;
    }
    closedir(dir);
    return status;
}

static crn_status remove_all(const crn__run_folder *folder, name_fn is_one, crn_error *error)
{
    names list = {.items = NULL};
    crn_status status = list_files(folder, is_one, &list, error);
    for (size_t i = 0; i < list.count && status == CRN_OK; i++)
        status = remove_file(folder, list.items[i], error);
    free_names(&list);
    return status;
}

/* Of formats/atomic_file.h, by a process that was killed amid a checkpoint. */
static bool is_abandoned(const char *name)
{
    long pid;
    return sscanf(name, ".clarinet-%ld-%*d.tmp", &pid) == 1 && pid > 0 && pid <= INT32_MAX &&
           kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

crn_status crn__run_folder_begin_logs(crn__run_folder *folder, int64_t step, crn_error *error)
{
    char *path = crn__run_folder_file(folder, METRICS);
    if (path == NULL)
        return crn__fail_memory(error);
    crn_status status = CRN_OK;
    if (folder->metrics < 0) {
        folder->metrics = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (folder->metrics < 0)
            status = crn__fail(error, CRN_IO, "%s: cannot open it: %s", path, strerror(errno));
    }
    if (status == CRN_OK)
        status = cut_metrics(folder, path, step, error);
    free(path);
    crn__event_file_free(folder->events);
    folder->events = NULL;
    if (status == CRN_OK)
        status = remove_all(folder, is_abandoned, error);
    if (status == CRN_OK && step == 0)
        status = remove_all(folder, crn__event_file_is_name, error);
    if (status == CRN_OK)
        status = crn__event_file_create(folder->path, step + 1, &folder->events, error);
    return status;
}

crn_status crn__run_folder_log(crn__run_folder *folder, json_t *object, crn_error *error)
{
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    if (text == NULL)
        return crn__fail_memory(error);
    size_t length = strlen(text);
    text[length] = '\n'; /* in place of the zero, so that a line is written whole */
    crn_status status = crn__append(folder->metrics, METRICS, text, length + 1, error);
    free(text);
    return status;
}

/* ---- checkpoints ---- */

void crn__run_folder_numbered(int64_t step, char name[48])
{
    snprintf(name, 48, "step-%06" PRId64 ".safetensors", step);
}

static int highest_first(const void *a, const void *b)
{
    int64_t x = strtoll(*(char *const *)a + 5, NULL, 10);
    int64_t y = strtoll(*(char *const *)b + 5, NULL, 10);
    return (x < y) - (x > y);
}

crn_status crn__run_folder_prune(const crn__run_folder *folder, int64_t keep, crn_error *error)
{
    names list = {.items = NULL};
    crn_status status = list_files(folder, is_numbered, &list, error);
    if (list.count > 0)
        qsort(list.items, list.count, sizeof *list.items, highest_first);
    for (size_t i = (size_t)keep; i < list.count && status == CRN_OK; i++)
        status = remove_file(folder, list.items[i], error);
    free_names(&list);
    return status;
}

crn_status crn__run_folder_set_aside(const crn__run_folder *folder, crn_error *error)
{
    char *last = crn__run_folder_file(folder, CRN__RUN_LAST);
    char *previous = crn__run_folder_file(folder, CRN__RUN_PREVIOUS);
    crn_status status = CRN_OK;
    if (last == NULL || previous == NULL)
        status = crn__fail_memory(error);
    else if (rename(last, previous) != 0 && errno != ENOENT)
        status = crn__fail(error, CRN_IO, "%s: cannot rename it: %s", last, strerror(errno));
    free(last);
    free(previous);
    return status;
}

crn_status crn__run_folder_forget(const crn__run_folder *folder, crn_error *error)
{
    CRN__TRY(crn__run_folder_prune(folder, 0, error));
    return remove_file(folder, CRN__RUN_BEST, error);
}
