#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/progress.h"

/* ---- messages ---- */

char *cli_clean(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++)
        if (*c < 0x20 || *c == 0x7f)
            *c = ' ';
    return text;
}

void cli_print_clean(FILE *file, const char *text)
{
    for (const char *c = text; *c != '\0'; c++)
        fputc((unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c, file);
}

void cli_complain(const char *command, const char *text)
{
    cli_progress_clear();
    fprintf(stderr, "clarinet %s: ", command);
    cli_print_clean(stderr, text);
    fputc('\n', stderr);
}

int cli_fail(const char *command, const crn_error *error)
{
    cli_complain(command, error->text);
    switch (error->status) {
    case CRN_INVALID:
    case CRN_NOT_FOUND:
        return CLI_USAGE;
    case CRN_INTERRUPTED:
        return 128 + cli_stopped();
    default:
        return CLI_FAILED;
    }
}

int cli_no_memory(const char *command)
{
    cli_complain(command, "out of memory");
    return CLI_FAILED;
}

json_t *cli_json_text(const char *text)
{
    json_t *value = json_string(text);
    size_t length = strlen(text);
    char *ascii = value == NULL ? malloc(length + 1) : NULL;
    if (ascii == NULL)
        return value;
    for (size_t i = 0; i <= length; i++)
        ascii[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
    value = json_string(ascii);
    free(ascii);
    return value;
}

int cli_print_json(const char *command, json_t *value)
{
    if (value == NULL) {
        cli_complain(command, "the result cannot be written as JSON");
        return CLI_FAILED;
    }
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(value);
    return CLI_OK;
}

const char *cli_bytes_text(uint64_t bytes, char text[16])
{
    static const char units[][4] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1000 && unit < sizeof units / sizeof *units - 1; unit++)
        value /= 1024;
    snprintf(text, 16, unit > 0 && value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

const char *cli_time_text(double seconds, char text[32])
{
    long long s = seconds < 1e9 ? (long long)(seconds + 0.5) : 1000000000;
    if (s >= 3600)
        snprintf(text, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, 32, "%lld:%02lld", s / 60, s % 60);
    return text;
}

/* ---- opening ---- */

static void print_log(void *data, crn_log_level level, const char *line)
{
    if (level >= CRN_LOG_INFO)
        cli_complain(data, line);
}

int cli_open_context(const char *command, const char *device, crn_context **out)
{
    crn_context_options options = CRN_CONTEXT_OPTIONS_INIT;
    crn_error error;
    options.device = device;
    options.log = print_log;
    options.log_data = (void *)(uintptr_t)command;
    if (crn_context_create(&options, out, &error) != CRN_OK)
        return cli_fail(command, &error);
    return CLI_GO_ON;
}

int cli_open_dataset(const char *command, const char *path, crn_split split, crn_dataset **out)
{
    crn_error error;
    if (crn_dataset_open(path, split, out, &error) != CRN_OK)
        return cli_fail(command, &error);
    return CLI_GO_ON;
}

int cli_open_classifier(const char *command, const char *device, const char *checkpoint,
                        crn_context **context, crn_classifier **out)
{
    int code = cli_open_context(command, device, context);
    if (code == CLI_GO_ON && crn_classifier_open(*context, checkpoint, out) != CRN_OK)
        code = cli_fail(command, crn_context_error(*context));
    return code;
}

const char *cli_model_names(void)
{
    static char names[512];
    size_t used = 0;
    for (size_t i = 0; i < crn_model_count() && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "",
                                 crn_model_at(i)->name);
    return names;
}

/* ---- time and interruption ---- */

double cli_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    static const char text[] = "\nstopping; once more ends at once\n";
    stop_signal = number;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        return;
}

void cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int cli_stopped(void)
{
    return stop_signal;
}
