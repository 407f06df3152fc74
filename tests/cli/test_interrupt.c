/* Ctrl-C and what is seen on a terminal. */
#include "../train/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "run.h"

#define CLI CRN_TEST_CLI
#define COLUMNS 90

static result r;

static int setup(void **state)
{
    if (fixture_setup(state) != 0 || chdir(fixture_folder) != 0)
        return 1;
    make_dataset("data", 64, 2);
    return 0;
}

static int teardown(void **state)
{
    return chdir("/") != 0 || fixture_teardown(state);
}

/* Reads until `part` was read, or to the end when part is NULL. */
static void read_until(int fd, const char *part, char *text, size_t size)
{
    size_t length = strlen(text);
    while (part == NULL || strstr(text, part) == NULL) {
        ssize_t n = read(fd, text + length, size - 1 - length);
        if (n <= 0) { /* a terminal whose other end is closed: EIO */
            if (part != NULL)
                fail_msg("'%s' never came:\n%s", part, text);
            return;
        }
        length += (size_t)n;
        text[length] = '\0';
    }
}

static int64_t step_of(const char *checkpoint)
{
    crn_checkpoint *file;
    assert_int_equal(crn_checkpoint_open(checkpoint, &file, NULL), CRN_OK);
    int64_t step = strtoll(crn_checkpoint_metadata(file, "global_step"), NULL, 10);
    crn_checkpoint_free(file);
    return step;
}

/* Trains for ever, and is stopped by `number` after its first step. */
static void stop_with(int number)
{
    char text[8192] = "", said[64];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = start_program(
        ends[1], (const char *const[]){CLI, "train", "--model", "resnet_v2_20", "--data", "data",
                                       "--out", "run", "--steps", "1000000", "--batch-size", "16",
                                       "--save-every", "1000000", NULL});
    close(ends[1]);
    read_until(ends[0], "step 1/4", text, sizeof text);
    assert_int_equal(kill(pid, number), 0);
    read_until(ends[0], NULL, text, sizeof text);
    close(ends[0]);
    assert_int_equal(wait_for_program(pid), 128 + number);
    int64_t step = step_of("run/model.safetensors");
    snprintf(said, sizeof said, "stopped after step %lld;", (long long)step);
    expect_part(text, said);
    expect_part(text, "clarinet train --resume run");
}

static void a_stopped_training_goes_on(void **state)
{
    (void)state;
    stop_with(SIGINT);
    int64_t step = step_of("run/model.safetensors");
    assert_in_range(step, 1, 999999);
    char steps[32], said[64];
    snprintf(steps, sizeof steps, "%lld", (long long)step + 3);
    snprintf(said, sizeof said, "goes on after step %lld of %s", (long long)step, steps);
    RUN(&r, CLI, "train", "--resume", "run", "--steps", steps);
    expect_code(&r, 0);
    expect_part(r.err, said);
    assert_int_equal(step_of("run/model.safetensors"), step + 3);
    stop_with(SIGTERM);
}

/* ---- terminals ---- */

/* What a training writes to a terminal of COLUMNS columns with this locale. */
static void train_on_terminal(const char *locale, char *text, size_t size)
{
    int main_end = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(main_end >= 0);
    assert_int_equal(grantpt(main_end), 0);
    assert_int_equal(unlockpt(main_end), 0);
    int terminal = open(ptsname(main_end), O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0);
    struct winsize window = {.ws_row = 25, .ws_col = COLUMNS};
    assert_int_equal(ioctl(terminal, TIOCSWINSZ, &window), 0);
    pid_t pid = start_program(
        terminal, (const char *const[]){"/usr/bin/env", locale, "TERM=xterm", CLI, "train",
                                        "--model", "resnet_v2_20", "--data", "data", "--out", "tty",
                                        "--epochs", "2", "--batch-size", "16", NULL});
    close(terminal);
    *text = '\0';
    read_until(main_end, NULL, text, size);
    close(main_end);
    assert_int_equal(wait_for_program(pid), 0);
}

/* Columns of a line: bytes that do not continue a UTF-8 character. */
static size_t width_of(const char *line, size_t length)
{
    size_t width = 0;
    for (size_t i = 0; i < length; i++)
        width += ((unsigned char)line[i] & 0xC0) != 0x80;
    return width;
}

/* That each drawing of the bar, from \r to the erasing of what is right of it, fits. */
static void expect_bars(const char *text)
{
    size_t bars = 0;
    for (const char *bar = strstr(text, "\repoch "); bar != NULL;
         bar = strstr(bar + 1, "\repoch "), bars++) {
        const char *end = strstr(bar, "\033[K");
        assert_non_null(end);
        assert_in_range(width_of(bar + 1, (size_t)(end - bar - 1)), 40, COLUMNS - 1);
    }
    assert_true(bars >= 2);
}

static void a_terminal_gets_a_bar(void **state)
{
    (void)state;
    static char text[65536];
    train_on_terminal("LC_ALL=C.UTF-8", text, sizeof text);
    expect_bars(text);
    expect_part(text, "\repoch 1/2 [");
    expect_part(text, "█");
    expect_part(text, "] 100% step 4/4 loss ");
    expect_part(text, " ETA 0:00\033[K");
}

static void without_utf8_the_bar_is_plain(void **state)
{
    (void)state;
    static char text[65536];
    train_on_terminal("LC_ALL=C", text, sizeof text);
    expect_bars(text);
    expect_part(text, "#");
    for (const char *c = text; *c != '\0'; c++)
        assert_true((unsigned char)*c < 0x80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stopped_training_goes_on),
        cmocka_unit_test(a_terminal_gets_a_bar),
        cmocka_unit_test(without_utf8_the_bar_is_plain),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
