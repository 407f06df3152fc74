#include "cli/progress.h"

#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

#define TERMINAL_SECONDS 0.1
#define PLAIN_SECONDS 10.0
#define MAX_BAR 40
#define MIN_BAR 4

/* There is one stderr, so there is one bar. */
static struct {
    bool drawn;
    bool shown_before;
    double shown; /* when */
} bar;

static bool is_terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
}

static int columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void draw(const char *before, double fraction, const char *after)
{
    bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    char numbers[256];
    int used = snprintf(numbers, sizeof numbers, " %3.0f%% %s", 100 * fraction, after);
    /* The last column stays free: some terminals wrap on it. */
    int room = columns() - 1 - (int)strlen(before);
    int width = room - used - 3 < MAX_BAR ? room - used - 3 : MAX_BAR;

    fprintf(stderr, "\r%s", before);
    if (width >= MIN_BAR) {
        int full = (int)(fraction * width + 0.5);
        fputs(" [", stderr);
        for (int i = 0; i < width; i++)
            fputs(i < full ? (utf8 ? "█" : "#") : (utf8 ? "░" : "."), stderr);
        fputc(']', stderr);
    }
    fprintf(stderr, "%.*s\033[K", room > 0 ? room : 0, numbers);
    fflush(stderr);
}

void cli_progress_show(const char *before, double fraction, const char *after, bool last)
{
    bool terminal = is_terminal();
    double time = cli_now();
    if (!last && bar.shown_before &&
        time - bar.shown < (terminal ? TERMINAL_SECONDS : PLAIN_SECONDS))
        return;
    if (terminal)
        draw(before, fraction, after);
    else
        fprintf(stderr, "%s %.0f%% %s\n", before, 100 * fraction, after);
    if (terminal && last)
        fputc('\n', stderr);
    bar.drawn = terminal && !last;
    bar.shown_before = true;
    bar.shown = time;
}

void cli_progress_clear(void)
{
    if (bar.drawn)
        fputs("\r\033[K", stderr);
    bar.drawn = false;
}
