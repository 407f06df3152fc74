/* The MNIST family: images and labels of both splits in IDX files, perhaps gzipped. */
#include <stdio.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/dataset.h"
#include "formats/idx.h"

static const char *const split_names[] = {[CRN_SPLIT_TRAIN] = "train", [CRN_SPLIT_TEST] = "t10k"};

typedef struct idx_source {
    crn__idx images;
    char *path;
} idx_source;

/* *path becomes that of "train-images-idx3-ubyte" or the same with .gz; NULL: there is neither. */
static crn_status find_file(const char *folder, crn_split split, const char *what, char **path,
                            crn_error *error)
{
    *path = NULL;
    for (int gz = 0; gz < 2; gz++) {
        char name[64];
        bool has;
        snprintf(name, sizeof name, "%s-%s-ubyte%s", split_names[split], what, gz ? ".gz" : "");
        CRN__TRY(crn__has_file(folder, name, &has, error));
        if (has)
            return (*path = crn__path_join(folder, name)) != NULL ? CRN_OK
                                                                  : crn__fail_memory(error);
    }
    return CRN_OK;
}

/* Which splits have images. */
static crn_status find_splits(const char *folder, bool has[2], crn_error *error)
{
    for (int split = CRN_SPLIT_TRAIN; split <= CRN_SPLIT_TEST; split++) {
        char *path;
        CRN__TRY(find_file(folder, (crn_split)split, "images-idx3", &path, error));
        has[split] = path != NULL;
        free(path);
    }
    return CRN_OK;
}

crn_status crn__idx_dataset_matches(const char *folder, bool *matches, crn_error *error)
{
    bool has[2];
    CRN__TRY(find_splits(folder, has, error));
    *matches = has[CRN_SPLIT_TRAIN] || has[CRN_SPLIT_TEST];
    return CRN_OK;
}

static crn_status read_image(const void *source, size_t index, const crn__decoding *decoding,
                             crn__image *image, crn_error *error)
{
    (void)decoding;
    (void)error;
    const crn__idx *images = &((const idx_source *)source)->images;
    int64_t height = images->shape.dims[1], width = images->shape.dims[2];
    *image = (crn__image){.height = (int32_t)height,
                          .width = (int32_t)width,
                          .channels = 1,
                          .bytes = images->data + index * (size_t)(height * width)};
    return CRN_OK;
}

static void name_image(const void *source, size_t index, char *text, size_t size)
{
    snprintf(text, size, "%s[%zu]", ((const idx_source *)source)->path, index);
}

static void free_source(void *data)
{
    idx_source *source = data;
    free(source->images.data);
    free(source->path);
    free(source);
}

static const crn__source_kind idx_kind = {read_image, name_image, free_source};

static crn_status read_images(const char *folder, crn_split split, crn_dataset *dataset,
                              crn_error *error)
{
    idx_source *source = crn__alloc(1, sizeof *source);
    if (source == NULL)
        return crn__fail_memory(error);
    dataset->kind = &idx_kind;
    dataset->source = source;
    CRN__TRY(find_file(folder, split, "images-idx3", &source->path, error));
    CRN__TRY(crn__idx_read(source->path, 3, &source->images, error));
    const int64_t *dims = source->images.shape.dims;
    CRN__TRY(crn__image_check_size(source->path, dims[1], dims[2], error));
    dataset->size = (size_t)dims[0];
    dataset->channels = 1;
    dataset->height = (int32_t)dims[1];
    dataset->width = (int32_t)dims[2];
    return CRN_OK;
}

static crn_status read_labels(const char *folder, crn_split split, crn_dataset *dataset,
                              crn_error *error)
{
    char *path;
    CRN__TRY(find_file(folder, split, "labels-idx1", &path, error));
    if (path == NULL)
        return crn__fail(error, CRN_NOT_FOUND, "%s: no %s-labels-idx1-ubyte", folder,
                         split_names[split]);
    crn__idx labels = {0};
    int64_t *wide = NULL;
    crn_status status = crn__idx_read(path, 1, &labels, error);
    if (status == CRN_OK) {
        size_t count = (size_t)labels.shape.dims[0];
        wide = crn__alloc(count, sizeof *wide);
        for (size_t i = 0; wide != NULL && i < count; i++)
            wide[i] = labels.data[i];
        status = wide != NULL ? crn__dataset_set_labels(dataset, path, wide, count, error)
                              : crn__fail_memory(error);
    }
    free(wide);
    free(labels.data);
    free(path);
    return status;
}

crn_status crn__idx_dataset_open(const char *folder, crn_split split, crn_dataset *dataset,
                                 crn_error *error)
{
    bool has[2];
    CRN__TRY(find_splits(folder, has, error));
    dataset->has_test = has[CRN_SPLIT_TRAIN] && has[CRN_SPLIT_TEST];
    crn_split other = split == CRN_SPLIT_TRAIN ? CRN_SPLIT_TEST : CRN_SPLIT_TRAIN;
    if (dataset->has_test) /* the number of classes is that of both splits */
        CRN__TRY(read_labels(folder, other, dataset, error));
    else if (!has[split])
        split = other;
    CRN__TRY(read_labels(folder, split, dataset, error));
    size_t labels = dataset->size;
    CRN__TRY(read_images(folder, split, dataset, error));
    if (labels != dataset->size)
        return crn__fail(error, CRN_FORMAT, "%s: %zu images and %zu labels", folder, dataset->size,
                         labels);
    return crn__dataset_number_classes(dataset, error);
}
