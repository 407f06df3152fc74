/* Curves of trainings, drawn by gnuplot. */
#ifndef CRN_CLI_PLOT_H
#define CRN_CLI_PLOT_H

#include <stddef.h>

/*
 * Draws the loss, accuracy and learning rate of the runs' metrics.jsonl into a PNG file. Returns
 * CLI_OK, or an exit code with the reason told: no gnuplot, no such run, …
 */
int cli_plot(const char *command, const char *const *runs, size_t count, const char *png);

#endif
