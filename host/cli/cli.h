/* What the commands share. The program uses the library's public headers only. */
#ifndef CRN_CLI_CLI_H
#define CRN_CLI_CLI_H

#include <clarinet.h>
#include <jansson.h>
#include <stdio.h>

#include "cli/options.h"

/* A command: argv[0] is its name. Returns the exit code. */
typedef struct cli_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* one line */
} cli_command;

int cmd_devices(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_classify(int argc, char **argv);
int cmd_predict(int argc, char **argv);
int cmd_features(int argc, char **argv);
int cmd_plot(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_tune(int argc, char **argv);

/* ---- messages ---- */

/* "clarinet COMMAND: text" as one line on stderr; control characters become spaces. */
void cli_complain(const char *command, const char *text);

/*
 * Tells a failure and returns its exit code: CLI_USAGE where what was asked for is wrong or is not
 * there, 128 + signal where a signal stopped it, else CLI_FAILED.
 */
int cli_fail(const char *command, const crn_error *error);

int cli_no_memory(const char *command);

/* Text from a file or a driver, with what could command a terminal replaced: in place, or printed.
 */
char *cli_clean(char *text);
void cli_print_clean(FILE *file, const char *text);

/* A JSON string of text that may be no UTF-8, as file names: then '?' for what is not ASCII. */
json_t *cli_json_text(const char *text);

/* Prints a value on stdout with a newline and ends it. Returns CLI_OK, or CLI_FAILED on NULL. */
int cli_print_json(const char *command, json_t *value);

/* "1.5 GiB" */
const char *cli_bytes_text(uint64_t bytes, char text[16]);
/* "1:02:03" or "2:03" */
const char *cli_time_text(double seconds, char text[32]);

/* ---- what most commands begin with: CLI_GO_ON, or an exit code with the failure told ---- */

int cli_open_context(const char *command, const char *device, crn_context **out);
int cli_open_dataset(const char *command, const char *path, crn_split split, crn_dataset **out);
int cli_open_classifier(const char *command, const char *device, const char *checkpoint,
                        crn_context **context, crn_classifier **out);

/* "resnet_v1_50, …" for a CLI_CHOICE. */
const char *cli_model_names(void);

/* ---- time and interruption ---- */

double cli_now(void); /* seconds, monotonic */

/* From here on the first SIGINT or SIGTERM only sets cli_stopped(); the second ends the program. */
void cli_catch_signals(void);
int cli_stopped(void); /* the signal; or 0 */

#endif
