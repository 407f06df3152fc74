#include "data/csv.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "formats/input_file.h"

#define MAX_FILE ((uint64_t)1 << 30)

crn_status crn__csv_open(const char *path, crn__csv *csv, crn_error *error)
{
    unsigned char *data;
    size_t size;
    CRN__TRY(crn__input_file_load(path, MAX_FILE, &data, &size, error));
    char *text = realloc(data, size + 1);
    if (text == NULL) {
        free(data);
        return crn__fail_memory(error);
    }
    text[size] = '\0';
    *csv = (crn__csv){.path = path, .text = text, .at = text, .end = text + size, .next_line = 1};
    size_t length = strlen(text);
    if (length < size) {
        crn__csv_close(csv);
        return crn__fail(error, CRN_FORMAT, "%s: no text: byte %zu is 0", path, length);
    }
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
        csv->at += 3;
    return CRN_OK;
}

void crn__csv_close(crn__csv *csv)
{
    free(csv->text);
    *csv = (crn__csv){0};
}

static crn_status fail(const crn__csv *csv, const char *what, crn_error *error)
{
    return crn__fail(error, CRN_FORMAT, "%s, line %zu: %s", csv->path, csv->line, what);
}

/* Past the quotes, which are taken out in place; *end is where the field's text ends. */
static crn_status read_quoted(crn__csv *csv, char **end, crn_error *error)
{
    char *out = csv->at++;
    for (; csv->at < csv->end; csv->at++) {
        if (*csv->at == '"' && *++csv->at != '"') { /* the text is ended by a 0 */
            *end = out;
            return CRN_OK;
        }
        if (*csv->at == '\n')
            csv->next_line++;
        *out++ = *csv->at;
    }
    return fail(csv, "a quote is not closed", error);
}

/* One field and the comma after it; *more: there was one. */
static crn_status read_field(crn__csv *csv, bool *more, crn_error *error)
{
    char *begin = csv->at, *end = begin;
    if (csv->count == CRN__CSV_MAX_FIELDS)
        return fail(csv, "too many fields", error);
    if (csv->at < csv->end && *csv->at == '"') {
        CRN__TRY(read_quoted(csv, &end, error));
        if (csv->at < csv->end && strchr(",\r\n", *csv->at) == NULL)
            return fail(csv, "text after a closing quote", error);
    } else {
        csv->at += strcspn(csv->at, ",\r\n");
        end = csv->at;
    }
    *more = csv->at < csv->end && *csv->at == ',';
    if (*more)
        csv->at++;
    else if (csv->at < csv->end && *csv->at == '\r')
        csv->at++;
    if (!*more && csv->at < csv->end && *csv->at == '\n') {
        csv->at++;
        csv->next_line++;
    }
    *end = '\0'; /* last: it may lie where the comma was */
    csv->fields[csv->count++] = begin;
    return CRN_OK;
}

crn_status crn__csv_next(crn__csv *csv, crn_error *error)
{
    csv->count = 0;
    while (csv->at < csv->end && (*csv->at == '\n' || *csv->at == '\r'))
        csv->next_line += *csv->at++ == '\n';
    csv->line = csv->next_line;
    for (bool more = csv->at < csv->end; more;)
        CRN__TRY(read_field(csv, &more, error));
    return CRN_OK;
}
