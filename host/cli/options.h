/*
 * Command lines. Each command declares a table of its options, from which they are parsed and its
 * --help is printed.
 */
#ifndef CRN_CLI_OPTIONS_H
#define CRN_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes; 128 + signal after a signal. CLI_GO_ON is none: parsing went well, run the command.
 */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_GO_ON = -1 };

typedef enum cli_kind {
    CLI_FLAG,       /* bool: --name alone sets it */
    CLI_TEXT,       /* const char * */
    CLI_FILE,       /* const char *: a file or folder that can be read */
    CLI_CHECKPOINT, /* const char *: the same, or what NAME.index is beside */
    CLI_CHOICE,     /* const char *: one of `choices` */
    CLI_INTEGER,    /* int64_t in min…max */
    CLI_NUMBER      /* double in min…max */
} cli_kind;

typedef struct cli_option {
    const char *name; /* "batch-size" */
    cli_kind kind;
    void *target;      /* of the kind's type; holds the default, which --help prints */
    const char *value; /* what --help calls the value; NULL for a flag */
    const char *help;
    double min, max;
    const char *choices; /* "train, infer" */
    bool required;
} cli_option;

typedef struct cli_spec {
    const char *command;
    const char *about;
    const cli_option *options;
    size_t n_options;
    const char *rest; /* what --help calls arguments that are no options; NULL: there are none */
    size_t min_rest, max_rest; /* min_rest 0: at least one is needed */
} cli_spec;

/* What is left of a command line: point into argv. */
typedef struct cli_rest {
    char **items;
    size_t count;
} cli_rest;

/*
 * Parses argv[1…argc-1], in any order, "--name value" or "--name=value", all of it an argument
 * after "--". Returns CLI_GO_ON; or, having printed help or one line of complaint, an exit code.
 */
int cli_parse(const cli_spec *spec, int argc, char **argv, cli_rest *rest);

/* Prints "clarinet COMMAND: …" as one line on stderr and returns CLI_USAGE. */
int cli_usage_error(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* CLI_GO_ON if the file can be read, else as cli_usage_error. */
int cli_check_file(const char *command, const char *path);
/* The same of a checkpoint, which may also be named by a prefix of files (see
 * clarinet/checkpoint.h).
 */
int cli_check_checkpoint(const char *command, const char *path);

/* The same everywhere. */
#define CLI_DEVICE_HELP                                                                     \
    "index, part of a name, cpu or gpu (see clarinet devices); else CLARINET_DEVICE, else " \
    "the fastest kind there is"
#define CLI_JSON_HELP "print JSON on stdout"

#endif
