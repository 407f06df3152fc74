/* images.npy and labels.npy; images stay in their file until they are read. */
#include <stdio.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/dataset.h"
#include "formats/npy.h"

static const char *const image_files[] = {
    [CRN_SPLIT_TRAIN] = "images.npy", [CRN_SPLIT_TEST] = "test_images.npy"};
static const char *const label_files[] = {
    [CRN_SPLIT_TRAIN] = "labels.npy", [CRN_SPLIT_TEST] = "test_labels.npy"};

typedef struct npy_source {
    crn__npy images;
    int32_t channels;
} npy_source;

crn_status crn__npy_dataset_matches(const char *folder, bool *matches, crn_error *error)
{
    return crn__has_file(folder, image_files[CRN_SPLIT_TRAIN], matches, error);
}

/* Catches NaN, and pictures that were normalised already. */
static bool all_in_range(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(values[i] >= 0 && values[i] <= 255))
            return false;
    return true;
}

static crn_status read_image(const void *data, size_t index, const crn__decoding *decoding,
                             crn__image *image, crn_error *error)
{
    (void)decoding;
    const npy_source *source = data;
    const crn__npy *npy = &source->images;
    bool floats = npy->type == CRN__NPY_F32;
    size_t count = (size_t)(npy->shape.dims[1] * npy->shape.dims[2]) * (size_t)source->channels;
    void *pixels = crn__alloc(count, floats ? sizeof(float) : 1);
    if (pixels == NULL)
        return crn__fail_memory(error);
    crn_status status = crn__npy_read_raw(npy, (uint64_t)index * count, count, pixels, error);
    if (status == CRN_OK && floats && !all_in_range(pixels, count))
        status = crn__fail(error, CRN_FORMAT, "%s[%zu]: an image with values outside 0…255",
                           npy->file.path, index);
    if (status != CRN_OK) {
        free(pixels);
        return status;
    }
    *image = (crn__image){.height = (int32_t)npy->shape.dims[1],
                          .width = (int32_t)npy->shape.dims[2],
                          .channels = source->channels,
                          .bytes = floats ? NULL : pixels,
                          .floats = floats ? pixels : NULL,
                          .owned = pixels};
    return CRN_OK;
}

static void name_image(const void *source, size_t index, char *text, size_t size)
{
    snprintf(text, size, "%s[%zu]", ((const npy_source *)source)->images.file.path, index);
}

static void free_source(void *data)
{
    npy_source *source = data;
    crn__npy_close(&source->images);
    free(source);
}

static const crn__source_kind npy_kind = {read_image, name_image, free_source};

static crn_status check_images(npy_source *source, crn_error *error)
{
    const crn__npy *npy = &source->images;
    const crn_shape *shape = &npy->shape;
    char text[128];
    if (npy->type != CRN__NPY_U8 && npy->type != CRN__NPY_F32)
        return crn__fail(error, CRN_UNSUPPORTED, "%s: images are uint8 or float32 (0…255)",
                         npy->file.path);
    source->channels = shape->rank == 3 ? 1 : (int32_t)shape->dims[3];
    if ((shape->rank != 3 && shape->rank != 4) ||
        (shape->rank == 4 && shape->dims[3] != 1 && shape->dims[3] != 3))
        return crn__fail(error, CRN_FORMAT, "%s: shape %s is not [N,H,W], [N,H,W,1] or [N,H,W,3]",
                         npy->file.path, crn_shape_text(shape, text, sizeof text));
    return crn__image_check_size(npy->file.path, shape->dims[1], shape->dims[2], error);
}

static crn_status open_images(const char *path, crn_dataset *dataset, crn_error *error)
{
    npy_source *source = crn__alloc(1, sizeof *source);
    if (source == NULL)
        return crn__fail_memory(error);
    dataset->kind = &npy_kind;
    dataset->source = source;
    CRN__TRY(crn__npy_open(path, &source->images, error));
    CRN__TRY(check_images(source, error));
    dataset->size = (size_t)source->images.shape.dims[0];
    dataset->channels = source->channels;
    dataset->height = (int32_t)source->images.shape.dims[1];
    dataset->width = (int32_t)source->images.shape.dims[2];
    return CRN_OK;
}

static crn_status read_labels(const char *path, crn_dataset *dataset, crn_error *error)
{
    crn__npy npy;
    CRN__TRY(crn__npy_open(path, &npy, error));
    size_t count = (size_t)npy.count;
    int64_t *labels = NULL;
    crn_status status = CRN_OK;
    if (npy.shape.rank != 1)
        status = crn__fail(error, CRN_FORMAT, "%s: labels have one dimension, not %d", path,
                           (int)npy.shape.rank);
    else if ((labels = crn__alloc(count, sizeof *labels)) == NULL)
        status = crn__fail_memory(error);
    if (status == CRN_OK)
        status = crn__npy_read_integers(&npy, 0, count, labels, error);
    if (status == CRN_OK)
        status = crn__dataset_set_labels(dataset, path, labels, count, error);
    free(labels);
    crn__npy_close(&npy);
    return status;
}

/* Opens one of the folder's files by `open`. */
static crn_status with_path(const char *folder, const char *name, crn_dataset *dataset,
                            crn_status (*open)(const char *, crn_dataset *, crn_error *),
                            crn_error *error)
{
    char *path = crn__path_join(folder, name);
    crn_status status = path != NULL ? open(path, dataset, error) : crn__fail_memory(error);
    free(path);
    return status;
}

crn_status crn__npy_dataset_open(const char *folder, crn_split split, crn_dataset *dataset,
                                 crn_error *error)
{
    CRN__TRY(crn__has_file(folder, image_files[CRN_SPLIT_TEST], &dataset->has_test, error));
    crn_split other = split == CRN_SPLIT_TRAIN ? CRN_SPLIT_TEST : CRN_SPLIT_TRAIN;
    if (dataset->has_test) /* the number of classes is that of both splits */
        CRN__TRY(with_path(folder, label_files[other], dataset, read_labels, error));
    else
        split = CRN_SPLIT_TRAIN;
    CRN__TRY(with_path(folder, label_files[split], dataset, read_labels, error));
    size_t labels = dataset->size;
    CRN__TRY(with_path(folder, image_files[split], dataset, open_images, error));
    if (labels != dataset->size)
        return crn__fail(error, CRN_FORMAT, "%s: %zu images and %zu labels", folder, dataset->size,
                         labels);
    return crn__dataset_number_classes(dataset, error);
}
