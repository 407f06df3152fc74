#include "data/listing.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"

void crn__names_end(crn__names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    *names = (crn__names){0};
}

int crn__compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

crn_status crn__list_folder(const char *path, bool (*wanted)(int folder, const char *name),
                            crn__names *out, crn_error *error)
{
    *out = (crn__names){0};
    DIR *folder = opendir(path);
    if (folder == NULL)
        return errno == ENOMEM ? crn__fail_memory(error)
                               : crn__fail(error, CRN_IO, "%s: %s", path, strerror(errno));
    crn_status status = CRN_OK;
    while (status == CRN_OK) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL && errno != 0)
            status = crn__fail(error, CRN_IO, "%s: %s", path, strerror(errno));
        if (entry == NULL)
            break;
        if (entry->d_name[0] == '.' || !wanted(dirfd(folder), entry->d_name))
            continue;
        if (!crn__grow((void **)&out->names, out->count, &out->capacity, sizeof *out->names) ||
            (out->names[out->count] = crn__strdup(entry->d_name)) == NULL)
            status = crn__fail_memory(error);
        else
            out->count++;
    }
    closedir(folder);
    if (status != CRN_OK)
        crn__names_end(out);
    else if (out->count > 0)
        qsort(out->names, out->count, sizeof *out->names, crn__compare_names);
    return status;
}
