/* Small text files and logs. */
#ifndef CRN_TRAIN_TEXT_FILE_H
#define CRN_TRAIN_TEXT_FILE_H

#include "clarinet/common.h"

/* Appends all of it to a file that was opened with O_APPEND, by one call to the system where that
 * takes it; `path` is for messages. */
crn_status crn__append(int fd, const char *path, const void *data, size_t size, crn_error *error);

/* Replaces a file by this text: at any moment there is the old file or the new one. */
crn_status crn__write_text(const char *path, const char *text, crn_error *error);

#endif
