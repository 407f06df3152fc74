#include "cli/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

int cli_usage_error(const char *command, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cli_complain(command, text);
    return CLI_USAGE;
}

int cli_check_file(const char *command, const char *path)
{
    if (access(path, R_OK) == 0)
        return CLI_GO_ON;
    return cli_usage_error(command, "%s: %s", path, strerror(errno));
}

int cli_check_checkpoint(const char *command, const char *path)
{
    char index[4096];
    int length = snprintf(index, sizeof index, "%s.index", path);
    if (length > 0 && (size_t)length < sizeof index && access(index, R_OK) == 0)
        return CLI_GO_ON;
    return cli_check_file(command, path);
}

/* ---- help ---- */

#define HELP_WIDTH 80
#define HELP_INDENT 24

/* Breaks text at spaces; `column` is where the cursor stands. */
static void print_wrapped(const char *text, size_t indent, size_t column)
{
    while (*text != '\0') {
        size_t word = strcspn(text, " ");
        if (column > indent && column + 1 + word > HELP_WIDTH) {
            printf("\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            column += (size_t)printf(" ");
        }
        printf("%.*s", (int)word, text);
        column += word;
        text += word + (text[word] == ' ');
    }
    printf("\n");
}

/* The default in words, "" where saying it says nothing. */
static const char *default_text(const cli_option *option, char *text, size_t size)
{
    *text = '\0';
    switch (option->kind) {
    case CLI_FLAG:
        break;
    case CLI_TEXT:
    case CLI_FILE:
    case CLI_CHECKPOINT:
    case CLI_CHOICE: {
        const char *value = *(const char **)option->target;
        if (value != NULL)
            snprintf(text, size, " (default %s)", value);
        break;
    }
    case CLI_INTEGER: {
        int64_t value = *(int64_t *)option->target;
        if ((double)value >= option->min)
            snprintf(text, size, " (default %" PRId64 ")", value);
        break;
    }
    case CLI_NUMBER: {
        double value = *(double *)option->target;
        if (value >= option->min)
            snprintf(text, size, " (default %.6g)", value);
        break;
    }
    }
    return text;
}

static void print_option(const cli_option *option)
{
    char text[1024], preset[64];
    int column = printf("  --%s%s%s", option->name, option->value != NULL ? " " : "",
                        option->value != NULL ? option->value : "");
    if (column >= HELP_INDENT)
        column = printf("\n") - 1;
    printf("%*s", HELP_INDENT - column, "");
    snprintf(text, sizeof text, "%s%s%s%s", option->help, option->choices != NULL ? ": " : "",
             option->choices != NULL ? option->choices : "",
             default_text(option, preset, sizeof preset));
    print_wrapped(text, HELP_INDENT, HELP_INDENT);
}

static void print_help(const cli_spec *spec)
{
    char usage[512];
    int used = snprintf(usage, sizeof usage, "usage: clarinet %s", spec->command);
    for (size_t i = 0; i < spec->n_options; i++)
        if (spec->options[i].required)
            used += snprintf(usage + used, sizeof usage - (size_t)used, " --%s %s",
                             spec->options[i].name, spec->options[i].value);
    used += snprintf(usage + used, sizeof usage - (size_t)used, " [options]");
    if (spec->rest != NULL)
        snprintf(usage + used, sizeof usage - (size_t)used, " %s%s", spec->rest,
                 spec->min_rest == 0 && spec->max_rest > 1 ? " ..." : "");
    print_wrapped(usage, 0, 0);
    printf("\n");
    print_wrapped(spec->about, 0, 0);
    printf("\noptions:\n");
    for (size_t i = 0; i < spec->n_options; i++)
        print_option(&spec->options[i]);
    printf("  --help                print this\n");
}

/* ---- values ---- */

static int set_number(const char *command, const char *where, const cli_option *option,
                      const char *text)
{
    bool whole = option->kind == CLI_INTEGER;
    char *end;
    errno = 0;
    int64_t integer = whole ? strtoll(text, &end, 10) : 0;
    double number = whole ? (double)integer : strtod(text, &end);
    /* The C library also takes spaces, hexadecimal, "nan" and "infinity". */
    if (*text == '\0' || *end != '\0' ||
        text[strspn(text, whole ? "-0123456789" : "+-.0123456789eE")] != '\0')
        return cli_usage_error(command, "%s--%s takes a%s number, not '%s'", where, option->name,
                               whole ? " whole" : "", text);
    if (errno != 0 || number < option->min || number > option->max)
        return cli_usage_error(command, "%s--%s is from %.15g to %.15g, not %s", where,
                               option->name, option->min, option->max, text);
    if (whole)
        *(int64_t *)option->target = integer;
    else
        *(double *)option->target = number;
    return CLI_GO_ON;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *c = choices; *c != '\0'; c += strspn(c, ", ")) {
        size_t word = strcspn(c, ",");
        if (word == length && strncmp(c, text, length) == 0)
            return true;
        c += word;
    }
    return false;
}

int cli_set_option(const char *command, const char *where, const cli_option *option,
                   const char *text, bool check_file)
{
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)option->target = strcmp(text, "true") == 0;
        return CLI_GO_ON;
    case CLI_INTEGER:
    case CLI_NUMBER:
        return set_number(command, where, option, text);
    case CLI_CHOICE:
        if (!is_choice(option->choices, text))
            return cli_usage_error(command, "%s--%s is one of %s, not '%s'", where, option->name,
                                   option->choices, text);
        break;
    case CLI_TEXT:
    case CLI_FILE:
    case CLI_CHECKPOINT:
        if (*text == '\0')
            return cli_usage_error(command, "%s--%s is empty", where, option->name);
        if (option->kind == CLI_FILE && check_file && cli_check_file(command, text) != CLI_GO_ON)
            return CLI_USAGE;
        if (option->kind == CLI_CHECKPOINT && check_file &&
            cli_check_checkpoint(command, text) != CLI_GO_ON)
            return CLI_USAGE;
        break;
    }
    *(const char **)option->target = text;
    return CLI_GO_ON;
}

/* ---- the line ---- */

const cli_option *cli_find_option(const cli_spec *spec, const char *name, size_t length)
{
    for (size_t i = 0; i < spec->n_options; i++)
        if (strlen(spec->options[i].name) == length &&
            strncmp(spec->options[i].name, name, length) == 0)
            return &spec->options[i];
    return NULL;
}

/* "--no-flip": the flag that is unset. */
static const cli_option *find_unset(const cli_spec *spec, const char *word)
{
    if (strncmp(word, "--no-", 5) != 0)
        return NULL;
    const cli_option *option = cli_find_option(spec, word + 5, strlen(word + 5));
    return option != NULL && option->kind == CLI_FLAG ? option : NULL;
}

/* argv[*at] is an option; *at moves to its last word. */
static int parse_option(const cli_spec *spec, int argc, char **argv, int *at, bool *given)
{
    const char *word = argv[*at];
    size_t length = strcspn(word, "=");
    const char *value = word[length] == '=' ? word + length + 1 : NULL;
    const cli_option *option =
        strncmp(word, "--", 2) == 0 ? cli_find_option(spec, word + 2, length - 2) : NULL;
    bool unset = option == NULL && (option = find_unset(spec, word)) != NULL;
    if (option == NULL)
        return cli_usage_error(spec->command, "there is no option '%s'; see clarinet %s --help",
                               word, spec->command);
    if (option->kind == CLI_FLAG && value != NULL)
        return cli_usage_error(spec->command, "--%s takes no value", option->name);
    if (option->kind != CLI_FLAG && value == NULL) {
        if (*at + 1 == argc)
            return cli_usage_error(spec->command, "--%s needs a value, %s", option->name,
                                   option->value);
        value = argv[++*at];
    }
    given[option - spec->options] = true;
    if (option->kind == CLI_FLAG)
        value = unset ? "false" : "true";
    return cli_set_option(spec->command, "", option, value, true);
}

static int parse_words(const cli_spec *spec, int argc, char **argv, cli_rest *rest, bool *given)
{
    bool only_rest = false;
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (!only_rest && strcmp(word, "--") == 0) {
            only_rest = true;
        } else if (!only_rest && word[0] == '-') {
            int code = parse_option(spec, argc, argv, &i, given);
            if (code != CLI_GO_ON)
                return code;
        } else if (rest == NULL || rest->count == spec->max_rest) {
            return cli_usage_error(spec->command, "'%s' is one argument too many", word);
        } else {
            rest->items[rest->count++] = word;
        }
    }
    return CLI_GO_ON;
}

static int check_complete(const cli_spec *spec, const cli_rest *rest, const bool *given)
{
    for (size_t i = 0; i < spec->n_options; i++)
        if (spec->options[i].required && !given[i])
            return cli_usage_error(spec->command, "needs --%s %s; see clarinet %s --help",
                                   spec->options[i].name, spec->options[i].value, spec->command);
    if (rest != NULL && rest->count < (spec->min_rest > 0 ? spec->min_rest : 1))
        return cli_usage_error(spec->command, "needs %s; see clarinet %s --help", spec->rest,
                               spec->command);
    return CLI_GO_ON;
}

int cli_parse(const cli_spec *spec, int argc, char **argv, cli_rest *rest)
{
    /* Before parsing: help shows the defaults, which parsing changes. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(spec);
            return CLI_OK;
        }
    /* Words that are no options never outnumber those already seen. */
    if (rest != NULL)
        *rest = (cli_rest){argv, 0};
    bool *given = calloc(spec->n_options, sizeof *given);
    if (given == NULL)
        return cli_no_memory(spec->command);
    int code = parse_words(spec, argc, argv, rest, given);
    if (code == CLI_GO_ON && spec->preset != NULL)
        code = spec->preset(spec, given, spec->preset_data);
    if (code == CLI_GO_ON && spec->preset != NULL)
        code = parse_words(spec, argc, argv, rest, given);
    if (code == CLI_GO_ON)
        code = check_complete(spec, rest, given);
    free(given);
    return code;
}
