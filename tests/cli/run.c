#include "run.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static pid_t start(int out, int err, const char *const *words)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        execv(words[0], (char *const *)words);
        _exit(127);
    }
    return pid;
}

pid_t start_program(int fd, const char *const *words)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    pid_t pid = start(nowhere, fd, words);
    close(nowhere);
    return pid;
}

int wait_for_program(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void read_all(FILE *file, char *text, size_t size)
{
    rewind(file);
    size_t length = fread(text, 1, size - 1, file);
    text[length] = '\0';
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
}

void run_program(result *r, const char *const *words)
{
    FILE *out = tmpfile(), *err = tmpfile();
    assert_non_null(out);
    assert_non_null(err);
    r->code = wait_for_program(start(fileno(out), fileno(err), words));
    read_all(out, r->out, sizeof r->out);
    read_all(err, r->err, sizeof r->err);
}

void expect_code(const result *r, int code)
{
    if (r->code != code)
        fail_msg("exit code %d, not %d\n%s%s", r->code, code, r->out, r->err);
}

void expect_part(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("'%s' is not in:\n%s", part, text);
}
