#include "cli/plot.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

#define WIDTH 1000
#define HEIGHT 1200
#define MAX_LINE 65536

extern char **environ;

/* ---- gnuplot's input: numbers in blocks of data, a training's and a validation's a run ---- */

static double number(const json_t *line, const char *key)
{
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* The lines of a log that have `key`, as rows of step and these columns. Returns their number. */
static size_t write_block(FILE *script, FILE *log, char kind, size_t run, const char *const *keys,
                          size_t n_keys)
{
    char text[MAX_LINE];
    size_t count = 0;
    fprintf(script, "$%c%zu << END\n", kind, run);
    rewind(log);
    while (fgets(text, sizeof text, log) != NULL) {
        json_t *line = json_loads(text, 0, NULL); /* NULL: a line that was cut short */
        if (json_is_number(json_object_get(line, keys[0]))) {
            fprintf(script, "%.0f", number(line, "step"));
            for (size_t i = 0; i < n_keys; i++)
                fprintf(script, " %.9g", number(line, keys[i]));
            fputc('\n', script);
            count++;
        }
        json_decref(line);
    }
    fprintf(script, "END\n");
    return count;
}

/* A single-quoted string, in which gnuplot expands nothing. */
static void write_quoted(FILE *script, const char *text)
{
    fputc('\'', script);
    for (; *text != '\0'; text++)
        fputc((unsigned char)*text < ' ' || *text == '\'' || *text == '`' ? '_' : *text, script);
    fputc('\'', script);
}

typedef struct run {
    const char *name;
    size_t trained, validated; /* rows */
} run;

static int read_run(const char *command, FILE *script, size_t index, run *r)
{
    static const char *const train[] = {"loss", "accuracy", "learning_rate"};
    static const char *const validation[] = {"validation_loss", "validation_top1"};
    char path[4400];
    snprintf(path, sizeof path, "%s/metrics.jsonl", r->name);
    FILE *log = fopen(path, "rb");
    if (log == NULL)
        return cli_usage_error(command, "%s: %s", path, strerror(errno));
    r->trained = write_block(script, log, 't', index, train, 3);
    r->validated = write_block(script, log, 'v', index, validation, 2);
    fclose(log);
    if (r->trained + r->validated == 0)
        return cli_usage_error(command, "%s: has no step yet", path);
    return CLI_GO_ON;
}

/* One plot: column `train` of the trainings and, if not 0, `validation` of the validations. */
static void write_plot(FILE *script, const run *runs, size_t count, const char *title, int train,
                       int validation)
{
    const char *before = "plot ";
    fprintf(script, "set ylabel '%s'\n", title);
    for (size_t i = 0; i < count; i++) {
        if (runs[i].trained > 0) {
            fprintf(script, "%s$t%zu using 1:%d with lines lw 1 lc %zu title ", before, i, train,
                    i + 1);
            write_quoted(script, runs[i].name);
            before = ", ";
        }
        if (validation > 0 && runs[i].validated > 0) {
            char label[256];
            snprintf(label, sizeof label, "%.200s, validation", runs[i].name);
            fprintf(script, "%s$v%zu using 1:%d with linespoints lw 2 pt 7 lc %zu dt 2 title ",
                    before, i, validation, i + 1);
            write_quoted(script, label);
            before = ", ";
        }
    }
    fprintf(script, "\n");
}

static bool has_training(const run *runs, size_t count)
{
    size_t rows = 0;
    for (size_t i = 0; i < count; i++)
        rows += runs[i].trained;
    return rows > 0;
}

static int write_script(const char *command, FILE *script, run *runs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int code = read_run(command, script, i, &runs[i]);
        if (code != CLI_GO_ON)
            return code;
    }
    fprintf(script,
            "set terminal pngcairo size %d,%d noenhanced\nset multiplot layout 3,1\n"
            "set lmargin 10\nset xlabel 'step'\nset grid\nset key outside top center horizontal\n",
            WIDTH, HEIGHT);
    fprintf(script, "set logscale y\n"); /* a validation early on may be off by thousands */
    write_plot(script, runs, count, "loss", 2, 2);
    fprintf(script, "unset logscale y\n");
    write_plot(script, runs, count, "accuracy", 3, 3);
    if (has_training(runs, count))
        write_plot(script, runs, count, "learning rate", 4, 0);
    fprintf(script, "unset multiplot\n");
    return fflush(script) == 0 && !ferror(script) ? CLI_GO_ON : cli_no_memory(command);
}

/* ---- running it ---- */

/* gnuplot from one file to the other, without the user's settings. An exit code, -1: not there. */
static int spawn(int script, int picture)
{
    static char name[] = "gnuplot", no_settings[] = "-d", input[] = "-";
    char *words[] = {name, no_settings, input, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return CLI_FAILED;
    posix_spawn_file_actions_adddup2(&actions, script, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, picture, STDOUT_FILENO);
    /* It also warns, of a curve that is flat for example. */
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawnp(&pid, name, &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0)
        return failed == ENOENT ? -1 : CLI_FAILED;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return CLI_FAILED;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? CLI_OK : CLI_FAILED;
}

/* The picture takes its name when it is whole. */
static int draw(const char *command, FILE *script, const char *png)
{
    char temporary[4500];
    snprintf(temporary, sizeof temporary, "%s.XXXXXX", png);
    int picture = mkstemp(temporary);
    if (picture < 0)
        return cli_usage_error(command, "%s: %s", png, strerror(errno));
    mode_t mask = umask(0);
    umask(mask);
    fchmod(picture, 0666 & ~mask);
    rewind(script);
    int code = spawn(fileno(script), picture);
    bool drawn = lseek(picture, 0, SEEK_END) > 0;
    close(picture);
    if (code == CLI_OK && drawn && rename(temporary, png) == 0)
        return CLI_OK;
    unlink(temporary);
    cli_complain(command, code < 0 ? "gnuplot is not installed: there are no curves"
                                   : "gnuplot failed: there are no curves");
    return CLI_FAILED;
}

int cli_plot(const char *command, const char *const *names, size_t count, const char *png)
{
    FILE *script = tmpfile();
    run *runs = calloc(count, sizeof *runs);
    int code = script != NULL && runs != NULL ? CLI_GO_ON : cli_no_memory(command);
    for (size_t i = 0; i < count && code == CLI_GO_ON; i++)
        runs[i].name = names[i];
    if (code == CLI_GO_ON)
        code = write_script(command, script, runs, count);
    if (code == CLI_GO_ON)
        code = draw(command, script, png);
    if (script != NULL)
        fclose(script);
    free(runs);
    return code;
}
