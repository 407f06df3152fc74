/* What was taken for what: a file, and what is worth saying of it. */
#ifndef CRN_CLI_CONFUSION_H
#define CRN_CLI_CONFUSION_H

#include "cli/cli.h"

/* Borrows the classifier, for its class names. */
typedef struct cli_confusion {
    const crn_classifier *classifier;
    size_t classes;
    uint64_t *counts; /* [classes,classes]: row the right class, column the answer */
} cli_confusion;

/* false: no memory. */
bool cli_confusion_init(cli_confusion *confusion, const crn_classifier *classifier);
void cli_confusion_free(cli_confusion *confusion);

/* CSV (RFC 4180): a line and a column of names, then counts. CLI_GO_ON, or the failure told. */
int cli_confusion_write(const char *command, const cli_confusion *confusion, const char *path);

/*
 * A line a class, the worst recall first and a few at most: of its images the share that was found
 * (recall), of the answers that name it the share that was right (precision); and the commonest
 * confusions.
 */
void cli_confusion_print(const cli_confusion *confusion, FILE *file);

#endif
