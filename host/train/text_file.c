#include "train/text_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "formats/atomic_file.h"

crn_status crn__append(int fd, const char *path, const void *data, size_t size, crn_error *error)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)data + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = ENOSPC;
        if (n <= 0)
            return crn__fail(error, CRN_IO, "%s: cannot write: %s", path, strerror(errno));
        done += (size_t)n;
    }
    return CRN_OK;
}

crn_status crn__write_text(const char *path, const char *text, crn_error *error)
{
    crn__atomic_file *file;
    CRN__TRY(crn__atomic_file_create(path, &file, error));
    crn_status status = crn__atomic_file_write(file, text, strlen(text), error);
    if (status == CRN_OK)
        return crn__atomic_file_commit(file, error);
    crn__atomic_file_abort(file);
    return status;
}
