#define _XOPEN_SOURCE 700 /* realpath */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* ---- reading ---- */

/* A member's value as on a command line; NULL: it is of no such kind. */
static const char *text_of(const cli_option *option, const json_t *value, char *room, size_t size)
{
    switch (option->kind) {
    case CLI_FLAG:
        return json_is_boolean(value) ? (json_is_true(value) ? "true" : "false") : NULL;
    case CLI_INTEGER:
    case CLI_NUMBER:
        if (json_is_integer(value))
            snprintf(room, size, "%lld", (long long)json_integer_value(value));
        else if (json_is_real(value))
            snprintf(room, size, "%.17g", json_real_value(value));
        return json_is_number(value) ? room : NULL;
    case CLI_TEXT:
    case CLI_FILE:
    case CLI_CHECKPOINT:
    case CLI_CHOICE:
        return json_string_value(value);
    }
    return NULL;
}

static int set(const cli_spec *spec, const char *path, const char *name, const json_t *value,
               bool *given)
{
    const cli_option *option = cli_find_option(spec, name, strlen(name));
    if (option == NULL || option->not_kept)
        return cli_usage_error(spec->command, "%s: there is no option '%s'", path, name);
    if (json_is_null(value))
        return CLI_GO_ON;
    char room[64], where[512];
    const char *text = text_of(option, value, room, sizeof room);
    if (text == NULL)
        return cli_usage_error(spec->command, "%s: '%s' is no %s", path, name,
                               option->kind == CLI_FLAG ? "true or false"
                               : option->kind == CLI_INTEGER || option->kind == CLI_NUMBER
                                   ? "number"
                                   : "text");
    snprintf(where, sizeof where, "%.400s: ", path);
    given[option - spec->options] = true;
    return cli_set_option(spec->command, where, option, text, false);
}

int cli_read_json(const cli_spec *spec, const char *path, json_t **file, bool *given)
{
    json_error_t error;
    FILE *stream = fopen(path, "rb");
    if (stream == NULL)
        return cli_usage_error(spec->command, "%s: %s", path, strerror(errno));
    *file = json_loadf(stream, JSON_REJECT_DUPLICATES, &error);
    fclose(stream);
    if (*file == NULL)
        return cli_usage_error(spec->command, "%s: line %d: %s", path, error.line, error.text);
    if (!json_is_object(*file))
        return cli_usage_error(spec->command, "%s: is no JSON object of options", path);
    const char *name;
    json_t *value;
    int code = CLI_GO_ON;
    json_object_foreach(*file, name, value)
    {
        code = set(spec, path, name, value, given);
        if (code != CLI_GO_ON)
            break;
    }
    return code;
}

/* ---- writing ---- */

static json_t *value_of(const cli_option *option)
{
    switch (option->kind) {
    case CLI_FLAG:
        return json_boolean(*(bool *)option->target);
    case CLI_INTEGER: { /* below its range: not given, and there is no default */
        int64_t value = *(int64_t *)option->target;
        return (double)value >= option->min ? json_integer(value) : json_null();
    }
    case CLI_NUMBER: {
        double value = *(double *)option->target;
        return value >= option->min ? json_real(value) : json_null();
    }
    case CLI_TEXT:
    case CLI_CHOICE:
    case CLI_FILE:
    case CLI_CHECKPOINT:
        break;
    }
    const char *text = *(const char **)option->target;
    if (text == NULL)
        return json_null();
    char *full = option->kind == CLI_FILE ? realpath(text, NULL) : NULL;
    json_t *value = cli_json_text(full != NULL ? full : text);
    free(full);
    return value;
}

/* Whether 15 digits are every number again; 17 always are. */
static bool are_short(const cli_spec *spec)
{
    for (size_t i = 0; i < spec->n_options; i++) {
        if (spec->options[i].kind != CLI_NUMBER)
            continue;
        char text[64];
        double value = *(double *)spec->options[i].target;
        snprintf(text, sizeof text, "%.15g", value);
        if (strtod(text, NULL) != value)
            return false;
    }
    return true;
}

/* With a newline at its end; ends `text`. */
static char *end_line(char *text)
{
    size_t length = text != NULL ? strlen(text) : 0;
    char *longer = text != NULL ? realloc(text, length + 2) : NULL;
    if (longer == NULL)
        free(text);
    else
        memcpy(longer + length, "\n", 2);
    return longer;
}

char *cli_options_json(const cli_spec *spec)
{
    json_t *object = json_object();
    bool whole = object != NULL;
    for (size_t i = 0; i < spec->n_options && whole; i++)
        if (!spec->options[i].not_kept)
            whole = json_object_set_new(object, spec->options[i].name,
                                        value_of(&spec->options[i])) == 0;
    size_t digits = are_short(spec) ? 15 : 17;
    char *text = whole ? json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(digits)) : NULL;
    json_decref(object);
    return end_line(text);
}
