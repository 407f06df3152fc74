/*
 * Comma-separated values (RFC 4180): rows end with LF or CRLF; a field in double quotes may hold
 * commas, line ends and doubled quotes. Empty lines are left out, and UTF-8's byte order mark.
 */
#ifndef CRN_DATA_CSV_H
#define CRN_DATA_CSV_H

#include "clarinet/common.h"

#define CRN__CSV_MAX_FIELDS 64

typedef struct crn__csv {
    const char *path; /* for messages */
    char *text;       /* the whole file, changed as it is read; NULL-ended fields lie in it */
    char *at, *end;
    size_t line; /* where the row began, from 1 */
    size_t next_line;
    char *fields[CRN__CSV_MAX_FIELDS];
    size_t count;
} crn__csv;

/* `path` must live as long. */
crn_status crn__csv_open(const char *path, crn__csv *csv, crn_error *error);
void crn__csv_close(crn__csv *csv);
/* The next row into fields and count, which is 0 at the end. CRN_FORMAT names file and line. */
crn_status crn__csv_next(crn__csv *csv, crn_error *error);

#endif
