#include <stdio.h>

#include "cli/cli.h"
#include "cli/plot.h"

#define MAX_RUNS 16

int cmd_plot(int argc, char **argv)
{
    const char *out = NULL;
    const cli_option options[] = {
        {"out", CLI_TEXT, &out, "F.PNG",
         .help = "where the picture goes; else curves.png in RUN, "
                 "or here with several"},
    };
    const cli_spec spec = {.command = "plot",
                           .about = "Draws the loss, accuracy and learning rate of trainings, with "
                                    "gnuplot. Several runs are drawn over each other.",
                           .options = options,
                           .n_options = sizeof options / sizeof *options,
                           .rest = "RUN",
                           .max_rest = MAX_RUNS};
    cli_rest runs;
    int code = cli_parse(&spec, argc, argv, &runs);
    if (code != CLI_GO_ON)
        return code;
    char png[4400];
    if (out != NULL)
        snprintf(png, sizeof png, "%s", out);
    else
        snprintf(png, sizeof png, runs.count == 1 ? "%s/curves.png" : "curves.png", runs.items[0]);
    code = cli_plot("plot", (const char *const *)runs.items, runs.count, png);
    if (code == CLI_OK)
        printf("%s\n", png);
    return code;
}
