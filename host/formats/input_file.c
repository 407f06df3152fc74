#define _FILE_OFFSET_BITS 64
#include "formats/input_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/memory.h"

/* read() may refuse more than this at once (Linux takes 2 GiB less a page). */
#define READ_AT_ONCE ((size_t)1 << 30)

static crn_status check_opened(crn__input_file *file, const char *path, crn_error *error)
{
    struct stat status;
    if (fstat(file->fd, &status) != 0)
        return crn__fail(error, CRN_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return crn__fail(error, CRN_INVALID, "%s: not a regular file", path);
    file->size = (uint64_t)status.st_size;
    file->path = crn__strdup(path);
    return file->path != NULL ? CRN_OK : crn__fail_memory(error);
}

crn_status crn__input_file_open(const char *path, crn__input_file *file, crn_error *error)
{
    *file = (crn__input_file){.fd = -1};
    if (path == NULL)
        return crn__fail(error, CRN_INVALID, "a file's path is NULL");
    /* O_NONBLOCK: a named pipe must not hang the open that finds out that it is one. */
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0)
        return crn__fail(error, errno == ENOENT || errno == ENOTDIR ? CRN_NOT_FOUND : CRN_IO,
                         "%s: %s", path, strerror(errno));
    crn_status status = check_opened(file, path, error);
    if (status != CRN_OK)
        crn__input_file_close(file);
    return status;
}

void crn__input_file_close(crn__input_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    *file = (crn__input_file){.fd = -1};
}

crn_status crn__input_file_read(const crn__input_file *file, uint64_t offset, void *data,
                                size_t bytes, crn_error *error)
{
    for (size_t done = 0; done < bytes;) {
        size_t wanted = bytes - done < READ_AT_ONCE ? bytes - done : READ_AT_ONCE;
        ssize_t n = pread(file->fd, (char *)data + done, wanted, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return crn__fail(error, CRN_IO, "%s: %s", file->path, strerror(errno));
        if (n == 0)
            return crn__fail(error, CRN_FORMAT, "%s: is cut short: no byte %" PRIu64, file->path,
                             offset + done);
        done += (size_t)n;
    }
    return CRN_OK;
}

crn_status crn__input_file_load(const char *path, uint64_t limit, unsigned char **data,
                                size_t *bytes, crn_error *error)
{
    crn__input_file file;
    CRN__TRY(crn__input_file_open(path, &file, error));
    crn_status status;
    if (file.size > limit) {
        status = crn__fail(error, CRN_UNSUPPORTED, "%s: %" PRIu64 " bytes; at most %" PRIu64, path,
                           file.size, limit);
    } else if ((*data = crn__alloc((size_t)file.size, 1)) == NULL) {
        status = crn__fail_memory(error);
    } else {
        *bytes = (size_t)file.size;
        status = crn__input_file_read(&file, 0, *data, *bytes, error);
        if (status != CRN_OK)
            free(*data);
    }
    crn__input_file_close(&file);
    return status;
}
