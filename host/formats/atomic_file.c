#define _FILE_OFFSET_BITS 64
#include "formats/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "core/memory.h"

/* write() may refuse more than this at once (Linux takes 2 GiB less a page). */
#define WRITE_AT_ONCE ((size_t)1 << 30)
#define MAX_TRIES 1000

struct crn__atomic_file {
    char *path;         /* for messages */
    const char *name;   /* the target in its folder: the end of path */
    char temporary[64]; /* in the same folder; "" once it is renamed */
    int folder;         /* file descriptors */
    int fd;
    uint64_t size;
};

static crn_status fail_io(const crn__atomic_file *file, const char *what, crn_error *error)
{
    return crn__fail(error, CRN_IO, "%s: cannot %s: %s", file->path, what, strerror(errno));
}

static crn_status open_folder(crn__atomic_file *file, crn_error *error)
{
    const char *slash = strrchr(file->path, '/');
    file->name = slash == NULL ? file->path : slash + 1;
    if (*file->name == '\0')
        return crn__fail(error, CRN_INVALID, "\"%s\" is no name for a file", file->path);
    char *folder = slash == NULL ? crn__strdup(".")
                                 : crn__format("%.*s", (int)(slash - file->path + 1), file->path);
    if (folder == NULL)
        return crn__fail_memory(error);
    file->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    return file->folder >= 0 ? CRN_OK : fail_io(file, "open its folder", error);
}

static crn_status open_temporary(crn__atomic_file *file, crn_error *error)
{
    for (int i = 0; i < MAX_TRIES && file->fd < 0; i++) {
        snprintf(file->temporary, sizeof file->temporary, ".clarinet-%ld-%d.tmp", (long)getpid(),
                 i);
        file->fd =
            openat(file->folder, file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->fd < 0 && errno != EEXIST)
            break;
    }
    if (file->fd >= 0)
        return CRN_OK;
    file->temporary[0] = '\0';
    return fail_io(file, "make a temporary file beside it", error);
}

crn_status crn__atomic_file_create(const char *path, crn__atomic_file **out, crn_error *error)
{
    if (path == NULL)
        return crn__fail(error, CRN_INVALID, "a file's path is NULL");
    crn__atomic_file *file = crn__alloc(1, sizeof *file);
    if (file == NULL)
        return crn__fail_memory(error);
    file->folder = file->fd = -1;
    file->path = crn__strdup(path);
    crn_status status = file->path == NULL ? crn__fail_memory(error) : open_folder(file, error);
    if (status == CRN_OK)
        status = open_temporary(file, error);
    if (status == CRN_OK)
        *out = file;
    else
        crn__atomic_file_abort(file);
    return status;
}

crn_status crn__atomic_file_patch(crn__atomic_file *file, uint64_t offset, const void *data,
                                  size_t bytes, crn_error *error)
{
    for (size_t done = 0; done < bytes;) {
        size_t wanted = bytes - done < WRITE_AT_ONCE ? bytes - done : WRITE_AT_ONCE;
        ssize_t n = pwrite(file->fd, (const char *)data + done, wanted, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = ENOSPC;
        if (n <= 0)
            return fail_io(file, "write", error);
        done += (size_t)n;
    }
    return CRN_OK;
}

crn_status crn__atomic_file_write(crn__atomic_file *file, const void *data, size_t bytes,
                                  crn_error *error)
{
    CRN__TRY(crn__atomic_file_patch(file, file->size, data, bytes, error));
    file->size += bytes;
    return CRN_OK;
}

static crn_status put_in_place(crn__atomic_file *file, crn_error *error)
{
    if (fsync(file->fd) != 0)
        return fail_io(file, "sync", error);
    int fd = file->fd;
    file->fd = -1;
    if (close(fd) != 0)
        return fail_io(file, "close", error);
    if (renameat(file->folder, file->temporary, file->folder, file->name) != 0)
        return fail_io(file, "replace", error);
    file->temporary[0] = '\0';
    /* EINVAL: the file system has no such thing as syncing a folder. */
    if (fsync(file->folder) != 0 && errno != EINVAL)
        return fail_io(file, "sync its folder", error);
    return CRN_OK;
}

crn_status crn__atomic_file_commit(crn__atomic_file *file, crn_error *error)
{
    crn_status status = put_in_place(file, error);
    crn__atomic_file_abort(file);
    return status;
}

void crn__atomic_file_abort(crn__atomic_file *file)
{
    if (file == NULL)
        return;
    if (file->fd >= 0)
        close(file->fd);
    if (file->temporary[0] != '\0')
        unlinkat(file->folder, file->temporary, 0);
    if (file->folder >= 0)
        close(file->folder);
    free(file->path);
    free(file);
}
