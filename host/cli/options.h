/*
 * Command lines. Each command declares a table of its options, from which they are parsed and its
 * --help is printed.
 */
#ifndef CRN_CLI_OPTIONS_H
#define CRN_CLI_OPTIONS_H

#include <jansson.h>
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
    bool not_kept; /* no part of a file of options: says where such a file is, or the like */
} cli_option;

typedef struct cli_spec cli_spec;

struct cli_spec {
    const char *command;
    const char *about;
    const cli_option *options;
    size_t n_options;
    const char *rest; /* what --help calls arguments that are no options; NULL: there are none */
    size_t min_rest, max_rest; /* min_rest 0: at least one is needed */
    /*
     * Called once the line is parsed; may set options from a file (cli_read_json) and mark them as
     * given. The line is parsed again after it, so that what it says wins. Not with `rest`. NULL:
     * none.
     */
    int (*preset)(const cli_spec *spec, bool *given, void *data);
    void *preset_data;
};

/* What is left of a command line: point into argv. */
typedef struct cli_rest {
    char **items;
    size_t count;
} cli_rest;

/*
 * Parses argv[1…argc-1], in any order, "--name value" or "--name=value", all of it an argument
 * after "--"; "--no-name" unsets a flag. Returns CLI_GO_ON; or, having printed help or one line of
 * complaint, an exit code.
 */
int cli_parse(const cli_spec *spec, int argc, char **argv, cli_rest *rest);

/*
 * Sets an option from text; `where` ("run.json: " or "") begins the complaint. A file need not be
 * there unless check_file.
 */
int cli_set_option(const char *command, const char *where, const cli_option *option,
                   const char *text, bool check_file);
/* By its name of `length` bytes; NULL: there is none. */
const cli_option *cli_find_option(const cli_spec *spec, const char *name, size_t length);

/* ---- files of options: a JSON object with a member an option, {"batch-size": 64, "flip": true} */

/*
 * Sets what the file gives; null is the default. CLI_GO_ON, or an exit code with the complaint
 * told, which names an unknown option. *file owns the texts that were set: json_decref it after the
 * options' last use, in any case.
 */
int cli_read_json(const cli_spec *spec, const char *path, json_t **file, bool *given);
/* All options as such a file, ended by free(); paths of files that are there become absolute. NULL
 * without memory. */
char *cli_options_json(const cli_spec *spec);

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
