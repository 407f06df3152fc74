/*
 * Replacing a file so that at any moment, a crash and a power failure included, there is the old
 * one or the new one.
 *
 * Data goes to a temporary file in the target's folder; commit syncs it, renames it over the target
 * and syncs the folder. A process that is killed between leaves ".clarinet-PID-N.tmp" behind.
 */
#ifndef CRN_FORMATS_ATOMIC_FILE_H
#define CRN_FORMATS_ATOMIC_FILE_H

#include "clarinet/common.h"

typedef struct crn__atomic_file crn__atomic_file;

/* Permissions are 0666 less the umask. `path` stays right when the process changes its folder. */
crn_status crn__atomic_file_create(const char *path, crn__atomic_file **out, crn_error *error);

/* Appends. */
crn_status crn__atomic_file_write(crn__atomic_file *file, const void *data, size_t bytes,
                                  crn_error *error);
/* Replaces bytes that were written before. */
crn_status crn__atomic_file_patch(crn__atomic_file *file, uint64_t offset, const void *data,
                                  size_t bytes, crn_error *error);

/* Puts the new file in place. Frees `file` in any case; on failure the old file stays. */
crn_status crn__atomic_file_commit(crn__atomic_file *file, crn_error *error);
/* Removes the temporary file and frees `file`; NULL is legal. */
void crn__atomic_file_abort(crn__atomic_file *file);

#endif
