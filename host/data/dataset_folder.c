/* A folder of class folders of pictures; perhaps two of them, train and test (or val). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/dataset.h"
#include "data/listing.h"
#include "formats/json_text.h"

typedef struct folder_source {
    char *folder;
    char **class_names;    /* the data set's */
    const int32_t *labels; /* the data set's */
    char **files;          /* file names in their class folder */
    size_t count;
} folder_source;

/* ---- reading folders ---- */

static bool has_image_suffix(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL && (strcasecmp(dot, ".png") == 0 || strcasecmp(dot, ".jpg") == 0 ||
                           strcasecmp(dot, ".jpeg") == 0 || strcasecmp(dot, ".webp") == 0);
}

/* Links are followed to files, not to folders: a link upwards must not make a tree endless. */
static bool is_class_folder(int folder, const char *name)
{
    struct stat status;
    return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
}

static bool is_image_file(int folder, const char *name)
{
    struct stat status;
    return has_image_suffix(name) && fstatat(folder, name, &status, 0) == 0 &&
           S_ISREG(status.st_mode);
}

crn_status crn__folder_dataset_matches(const char *folder, bool *matches, crn_error *error)
{
    crn__names classes;
    CRN__TRY(crn__list_folder(folder, is_class_folder, &classes, error));
    *matches = classes.count > 0;
    crn__names_end(&classes);
    return CRN_OK;
}

/* ---- the source ---- */

static void name_image(const void *data, size_t index, char *text, size_t size)
{
    const folder_source *source = data;
    snprintf(text, size, "%s/%s/%s", source->folder, source->class_names[source->labels[index]],
             source->files[index]);
}

static crn_status read_image(const void *data, size_t index, const crn__decoding *decoding,
                             crn__image *image, crn_error *error)
{
    const folder_source *source = data;
    char *path = crn__format("%s/%s/%s", source->folder, source->class_names[source->labels[index]],
                             source->files[index]);
    crn_status status =
        path != NULL ? crn__image_load(path, decoding, image, error) : crn__fail_memory(error);
    free(path);
    return status;
}

static void free_source(void *data)
{
    folder_source *source = data;
    for (size_t i = 0; i < source->count; i++)
        free(source->files[i]);
    free(source->files);
    free(source->folder);
    free(source);
}

static const crn__source_kind folder_kind = {read_image, name_image, free_source};

/* ---- opening ---- */

/* *path becomes that of a subfolder that holds class folders itself; NULL: there is none. */
static crn_status find_split(const char *folder, const char *name, char **path, crn_error *error)
{
    struct stat status;
    bool found = false;
    *path = crn__path_join(folder, name);
    if (*path == NULL)
        return crn__fail_memory(error);
    crn_status result = CRN_OK;
    if (lstat(*path, &status) == 0 && S_ISDIR(status.st_mode))
        result = crn__folder_dataset_matches(*path, &found, error);
    if (!found) {
        free(*path);
        *path = NULL;
    }
    return result;
}

/* Appends a class folder's files, which the source then owns. */
static crn_status add_files(crn_dataset *dataset, folder_source *source, crn__names *files,
                            int32_t label, crn_error *error)
{
    size_t total = source->count + files->count;
    char **names = realloc(source->files, total * sizeof *names);
    if (names == NULL)
        return crn__fail_memory(error);
    source->files = names;
    int32_t *labels = realloc(dataset->labels, total * sizeof *labels);
    if (labels == NULL)
        return crn__fail_memory(error);
    source->labels = dataset->labels = labels;
    for (size_t i = 0; i < files->count; i++) {
        names[source->count + i] = files->names[i];
        labels[source->count + i] = label;
    }
    dataset->size = source->count = total;
    files->count = 0;
    return CRN_OK;
}

static crn_status add_class(crn_dataset *dataset, folder_source *source, const char *name,
                            crn_error *error)
{
    char **known = bsearch(&name, dataset->class_names, dataset->class_count, sizeof *known,
                           crn__compare_names);
    if (known == NULL)
        return crn__fail(error, CRN_FORMAT, "%s/%s: training has no class of that name",
                         source->folder, name);
    char *path = crn__path_join(source->folder, name);
    if (path == NULL)
        return crn__fail_memory(error);
    crn__names files;
    crn_status status = crn__list_folder(path, is_image_file, &files, error);
    if (status == CRN_OK && files.count == 0)
        status = crn__fail(error, CRN_FORMAT,
                           "%s: a class without images (.png, .jpg, .jpeg or .webp)", path);
    if (status == CRN_OK)
        status = add_files(dataset, source, &files, (int32_t)(known - dataset->class_names), error);
    crn__names_end(&files);
    free(path);
    return status;
}

/* Class names go into checkpoints, as JSON: better refused before a training than after it. */
static crn_status check_class_names(const char *folder, const crn__names *classes, crn_error *error)
{
    for (size_t i = 0; i < classes->count; i++)
        if (!crn__is_utf8(classes->names[i]))
            return crn__fail(error, CRN_FORMAT, "%s/%s: the name of a class is not UTF-8", folder,
                             classes->names[i]);
    return CRN_OK;
}

/* Class numbers are those of the folders in `train`, for either split. */
static crn_status open_split(const char *train, const char *folder, crn_dataset *dataset,
                             crn_error *error)
{
    crn__names classes;
    CRN__TRY(crn__list_folder(train, is_class_folder, &classes, error));
    dataset->class_names = classes.names;
    dataset->class_count = classes.count;
    CRN__TRY(check_class_names(train, &classes, error));

    folder_source *source = crn__alloc(1, sizeof *source);
    if (source == NULL)
        return crn__fail_memory(error);
    dataset->kind = &folder_kind;
    dataset->source = source;
    source->class_names = dataset->class_names;
    source->folder = crn__strdup(folder);
    if (source->folder == NULL)
        return crn__fail_memory(error);

    crn__names present;
    CRN__TRY(crn__list_folder(folder, is_class_folder, &present, error));
    crn_status status = CRN_OK;
    for (size_t i = 0; i < present.count && status == CRN_OK; i++)
        status = add_class(dataset, source, present.names[i], error);
    crn__names_end(&present);
    return status;
}

crn_status crn__folder_dataset_open(const char *folder, crn_split split, crn_dataset *dataset,
                                    crn_error *error)
{
    char *train = NULL, *test = NULL;
    crn_status status = find_split(folder, "train", &train, error);
    if (status == CRN_OK && train != NULL)
        status = find_split(folder, "test", &test, error);
    if (status == CRN_OK && train != NULL && test == NULL)
        status = find_split(folder, "val", &test, error);
    dataset->channels = 3;
    dataset->has_test = test != NULL;
    const char *first = train != NULL ? train : folder;
    if (status == CRN_OK)
        status = open_split(first, split == CRN_SPLIT_TEST && test != NULL ? test : first, dataset,
                            error);
    free(train);
    free(test);
    return status;
}
