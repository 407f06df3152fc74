/*
 * Reading files that may be hostile, damaged, or cut short while they are read.
 *
 * By pread rather than mmap: a file that another program truncates, or a disk that fails, is then
 * an error with words instead of a SIGBUS that kills the whole process.
 */
#ifndef CRN_FORMATS_INPUT_FILE_H
#define CRN_FORMATS_INPUT_FILE_H

#include "clarinet/common.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "clarinet reads little-endian formats straight into memory: this machine is big-endian"
#endif

typedef struct crn__input_file {
    int fd;
    uint64_t size;
    char *path; /* for messages */
} crn__input_file;

/* Opens a regular file: a folder, pipe or device is CRN_INVALID, a missing file CRN_NOT_FOUND. */
crn_status crn__input_file_open(const char *path, crn__input_file *file, crn_error *error);
void crn__input_file_close(crn__input_file *file);

/* Reads exactly `bytes` at `offset`. CRN_FORMAT when the file ends before. */
crn_status crn__input_file_read(const crn__input_file *file, uint64_t offset, void *data,
                                size_t bytes, crn_error *error);

/* A whole file of at most `limit` bytes; *data is ended by free(). */
crn_status crn__input_file_load(const char *path, uint64_t limit, unsigned char **data,
                                size_t *bytes, crn_error *error);

#endif
