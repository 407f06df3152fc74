/*
 * Progress on stderr: a bar that is redrawn in place on a terminal, else a plain line now and then.
 */
#ifndef CRN_CLI_PROGRESS_H
#define CRN_CLI_PROGRESS_H

#include <stdbool.h>

/*
 * "BEFORE [████░░░░] 45% AFTER", or "BEFORE 45% AFTER". Does nothing when the last one was a moment
 * ago, unless `last`, which also ends the line.
 */
void cli_progress_show(const char *before, double fraction, const char *after, bool last);

/* Removes the bar, so that something else can be printed; the next show draws it again. */
void cli_progress_clear(void);

#endif
