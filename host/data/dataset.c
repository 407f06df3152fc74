#include "data/dataset.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/preprocess.h"

#define MAX_LABEL 65535

static const struct {
    crn_status (*matches)(const char *folder, bool *matches, crn_error *error);
    crn_status (*open)(const char *folder, crn_split split, crn_dataset *dataset, crn_error *error);
} kinds[] = {{crn__idx_dataset_matches, crn__idx_dataset_open},
             {crn__npy_dataset_matches, crn__npy_dataset_open},
             {crn__csv_dataset_matches, crn__csv_dataset_open},
             {crn__tfrecord_dataset_matches, crn__tfrecord_dataset_open},
             {crn__folder_dataset_matches, crn__folder_dataset_open}};

/* A TFRecord file by its name or its first checksum, a CSV by its name: it could be any text. */
static crn_status open_file(const char *path, crn_dataset *dataset, crn_error *error)
{
    bool matches;
    const char *dot = strrchr(path, '.');
    if (dot != NULL && strcasecmp(dot, ".csv") == 0)
        return crn__csv_file_open(path, dataset, error);
    CRN__TRY(crn__tfrecord_file_matches(path, &matches, error));
    if (matches)
        return crn__tfrecord_file_open(path, dataset, error);
    return crn__fail(error, CRN_INVALID,
                     "%s: a data set is a folder, a .csv file or a TFRecord file", path);
}

static crn_status open_kind(const char *path, crn_split split, crn_dataset *dataset,
                            crn_error *error)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return crn__fail(error, errno == ENOENT || errno == ENOTDIR ? CRN_NOT_FOUND : CRN_IO,
                         "%s: %s", path, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return open_file(path, dataset, error);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        bool matches;
        CRN__TRY(kinds[i].matches(path, &matches, error));
        if (matches)
            return kinds[i].open(path, split, dataset, error);
    }
    return crn__fail(error, CRN_FORMAT,
                     "%s: no data set: neither {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz], "
                     "nor images.npy and labels.npy, nor train.csv, nor shards like "
                     "train-00000-of-00005.tfrecord, nor a folder a class with .png, .jpg, .jpeg "
                     "or .webp files (perhaps in train and test)",
                     path);
}

crn_status crn_dataset_open(const char *path, crn_split split, crn_dataset **out, crn_error *error)
{
    if (path == NULL || (split != CRN_SPLIT_TRAIN && split != CRN_SPLIT_TEST))
        return crn__fail(error, CRN_INVALID, "no data set's path, or no such split");
    crn_dataset *dataset = crn__alloc(1, sizeof *dataset);
    if (dataset == NULL)
        return crn__fail_memory(error);
    crn_status status = open_kind(path, split, dataset, error);
    if (status == CRN_OK && dataset->size == 0)
        status = crn__fail(error, CRN_FORMAT, "%s: no images", path);
    if (status == CRN_OK)
        *out = dataset;
    else
        crn_dataset_free(dataset);
    return status;
}

void crn_dataset_free(crn_dataset *dataset)
{
    if (dataset == NULL)
        return;
    if (dataset->source != NULL)
        dataset->kind->free(dataset->source);
    for (size_t i = 0; dataset->class_names != NULL && i < dataset->class_count; i++)
        free(dataset->class_names[i]);
    free(dataset->class_names);
    free(dataset->labels);
    free(dataset);
}

bool crn_dataset_has_split(const crn_dataset *dataset, crn_split split)
{
    return split == CRN_SPLIT_TRAIN || (split == CRN_SPLIT_TEST && dataset->has_test);
}

size_t crn_dataset_size(const crn_dataset *dataset)
{
    return dataset->size;
}

int32_t crn_dataset_channels(const crn_dataset *dataset)
{
    return dataset->channels;
}

void crn_dataset_image_size(const crn_dataset *dataset, int32_t *height, int32_t *width)
{
    *height = dataset->height;
    *width = dataset->width;
}

size_t crn_dataset_class_count(const crn_dataset *dataset)
{
    return dataset->class_count;
}

const char *crn_dataset_class_name(const crn_dataset *dataset, size_t index)
{
    return index < dataset->class_count ? dataset->class_names[index] : NULL;
}

crn_status crn_dataset_item_name(const crn_dataset *dataset, size_t index, char *text, size_t size)
{
    if (index >= dataset->size || text == NULL)
        return CRN_INVALID;
    dataset->kind->name(dataset->source, index, text, size);
    return CRN_OK;
}

static crn_status read_one(const crn_dataset *dataset, size_t index,
                           const crn_preprocessing *preprocessing, uint64_t augment, float *out,
                           crn_error *error)
{
    crn__image image = {0};
    if (index >= dataset->size)
        return crn__fail(error, CRN_INVALID, "image %zu of a data set of %zu", index,
                         dataset->size);
    const crn__reading reading = {preprocessing, augment, index};
    const crn__decoding decoding = crn__reading_decoding(&reading);
    CRN__TRY(dataset->kind->read(dataset->source, index, &decoding, &image, error));
    crn_status status = crn__preprocess(&image, preprocessing, augment, index, out);
    crn__image_end(&image);
    return status == CRN_OK ? CRN_OK : crn__fail_memory(error);
}

crn_status crn_dataset_read(const crn_dataset *dataset, const size_t *indices, size_t count,
                            const crn_preprocessing *preprocessing, uint64_t augment, float *images,
                            int32_t *labels, crn_error *error)
{
    CRN__TRY(crn__preprocessing_check(preprocessing, CRN_INVALID, error));
    size_t side = (size_t)preprocessing->image_size;
    size_t numbers = side * side * (size_t)preprocessing->channels;
    for (size_t i = 0; i < count; i++) {
        CRN__TRY(
            read_one(dataset, indices[i], preprocessing, augment, images + i * numbers, error));
        labels[i] = dataset->labels[indices[i]];
    }
    return CRN_OK;
}

/* ---- shared by the kinds ---- */

crn_status crn__has_file(const char *folder, const char *name, bool *has, crn_error *error)
{
    struct stat status;
    char *path = crn__path_join(folder, name);
    if (path == NULL)
        return crn__fail_memory(error);
    *has = stat(path, &status) == 0 && S_ISREG(status.st_mode);
    free(path);
    return CRN_OK;
}

char *crn__path_join(const char *folder, const char *name)
{
    size_t length = strlen(folder);
    return crn__format("%s%s%s", folder, length > 0 && folder[length - 1] == '/' ? "" : "/", name);
}

crn_status crn__dataset_set_labels(crn_dataset *dataset, const char *path, const int64_t *labels,
                                   size_t size, crn_error *error)
{
    free(dataset->labels);
    dataset->labels = crn__alloc(size, sizeof *dataset->labels);
    if (dataset->labels == NULL)
        return crn__fail_memory(error);
    dataset->size = size;
    for (size_t i = 0; i < size; i++) {
        if (labels[i] < 0 || labels[i] > MAX_LABEL)
            return crn__fail(error, CRN_FORMAT, "%s[%zu]: label %" PRId64 " is not 0…%d", path, i,
                             labels[i], MAX_LABEL);
        dataset->labels[i] = (int32_t)labels[i];
        if ((size_t)labels[i] >= dataset->class_count)
            dataset->class_count = (size_t)labels[i] + 1;
    }
    return CRN_OK;
}

crn_status crn__dataset_number_classes(crn_dataset *dataset, crn_error *error)
{
    dataset->class_names = crn__alloc(dataset->class_count, sizeof *dataset->class_names);
    if (dataset->class_names == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < dataset->class_count; i++)
        if ((dataset->class_names[i] = crn__format("%zu", i)) == NULL)
            return crn__fail_memory(error);
    return CRN_OK;
}
