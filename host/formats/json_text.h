/* Strings of JSON (RFC 8259), without the rest of it. */
#ifndef CRN_FORMATS_JSON_TEXT_H
#define CRN_FORMATS_JSON_TEXT_H

#include <stdio.h>

#include "clarinet/common.h"

bool crn__is_utf8(const char *text);

/*
 * Decodes what stands between the quotes of a string; *out is ended by free(). CRN_FORMAT with
 * *what in words for escapes that do not exist, control characters, NUL and what is not UTF-8.
 */
crn_status crn__json_decode(const char *text, size_t length, char **out, const char **what);

/* Writes text, which is UTF-8, with quotes and escapes. Errors are the stream's. */
void crn__json_write(FILE *stream, const char *text);

#endif
