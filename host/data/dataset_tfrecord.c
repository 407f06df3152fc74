/*
 * TFRecord files of tf.Example: one, or a folder of such shards as TF-slim writes them,
 * NAME_train_00000-of-00005.tfrecord and NAME_validation_…, beside labels.txt with lines "0:daisy".
 * What stands where is noted at opening; records are read, and checked, when they are asked for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/dataset.h"
#include "data/example.h"
#include "data/shards.h"
#include "formats/tfrecord.h"

typedef struct record {
    uint64_t offset; /* of the data */
    uint32_t size;
    uint32_t encoded_at, encoded_size; /* in the data */
    uint32_t shard, number;            /* which file, and which record in it */
} record;

typedef struct tfrecord_source {
    crn__shards shards;
    record *records; /* [count] */
    size_t count, capacity;
    int64_t *labels; /* [count], until the data set has them */
    size_t labels_capacity;
} tfrecord_source;

/* ---- the source ---- */

static void name_image(const void *data, size_t index, char *text, size_t size)
{
    const tfrecord_source *source = data;
    const record *r = &source->records[index];
    snprintf(text, size, "%s[%u]", source->shards.paths[r->shard], (unsigned)r->number);
}

static crn_status decode_record(const tfrecord_source *source, size_t index,
                                const unsigned char *data, const crn__decoding *decoding,
                                crn__image *image, crn_error *error)
{
    const record *r = &source->records[index];
    char name[4352];
    name_image(source, index, name, sizeof name);
    return crn__image_decode(name, data + r->encoded_at, r->encoded_size, decoding, image, error);
}

static crn_status read_image(const void *data, size_t index, const crn__decoding *decoding,
                             crn__image *image, crn_error *error)
{
    const tfrecord_source *source = data;
    const record *r = &source->records[index];
    crn__input_file file;
    unsigned char *bytes = malloc(r->size);
    if (bytes == NULL)
        return crn__fail_memory(error);
    crn_status status = crn__input_file_open(source->shards.paths[r->shard], &file, error);
    if (status == CRN_OK) {
        status = crn__tfrecord_read(&file, r->offset, r->size, bytes, error);
        crn__input_file_close(&file);
    }
    if (status == CRN_OK)
        status = decode_record(source, index, bytes, decoding, image, error);
    free(bytes);
    return status;
}

static void free_source(void *data)
{
    tfrecord_source *source = data;
    crn__shards_end(&source->shards);
    free(source->records);
    free(source->labels);
    free(source);
}

static const crn__source_kind tfrecord_kind = {read_image, name_image, free_source};

/* ---- opening ---- */

static crn_status add_record(tfrecord_source *source, crn__peek *peek, uint32_t shard,
                             uint32_t number, uint64_t offset, uint64_t size, crn_error *error)
{
    crn__example example;
    CRN__TRY(crn__example_find(peek, offset, offset + size, &example, error));
    if (!crn__grow((void **)&source->records, source->count, &source->capacity,
                   sizeof *source->records) ||
        !crn__grow((void **)&source->labels, source->count, &source->labels_capacity,
                   sizeof *source->labels))
        return crn__fail_memory(error);
    source->labels[source->count] = example.label;
    source->records[source->count++] =
        (record){.offset = offset,
                 .size = (uint32_t)size,
                 .encoded_at = (uint32_t)(example.encoded_at - offset),
                 .encoded_size = (uint32_t)example.encoded_size,
                 .shard = shard,
                 .number = number};
    return CRN_OK;
}

static crn_status index_file(tfrecord_source *source, uint32_t shard, crn__peek *peek,
                             crn_error *error)
{
    const crn__input_file *file = peek->file;
    const uint64_t frame = CRN__TFRECORD_HEADER + CRN__TFRECORD_FOOTER;
    uint32_t number = 0;
    for (uint64_t at = 0; at < file->size; number++) {
        const unsigned char *header;
        uint64_t size;
        CRN__TRY(crn__peek_at(peek, at, CRN__TFRECORD_HEADER, &header, error));
        if (!crn__tfrecord_header(header, &size))
            return crn__fail(error, CRN_FORMAT, "%s: no record at byte %llu: a wrong checksum",
                             file->path, (unsigned long long)at);
        if (size > CRN__TFRECORD_MAX || file->size - at < frame || size > file->size - at - frame)
            return crn__fail(error, CRN_FORMAT,
                             "%s: the record at byte %llu, of %llu bytes, is cut short or too long",
                             file->path, (unsigned long long)at, (unsigned long long)size);
        CRN__TRY(add_record(source, peek, shard, number, at + CRN__TFRECORD_HEADER, size, error));
        at += frame + size;
    }
    return CRN_OK;
}

static crn_status index_shards(tfrecord_source *source, crn_error *error)
{
    crn_status status = CRN_OK;
    crn__peek *peek = crn__alloc(1, sizeof *peek);
    if (peek == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; status == CRN_OK && i < source->shards.count; i++) {
        crn__input_file file;
        status = crn__input_file_open(source->shards.paths[i], &file, error);
        if (status != CRN_OK)
            break;
        *peek = (crn__peek){.file = &file};
        status = index_file(source, (uint32_t)i, peek, error);
        crn__input_file_close(&file);
    }
    free(peek);
    return status;
}

/* Labels of the shards' records into the data set, whose class_count grows to fit them. */
static crn_status open_shards(crn_dataset *dataset, crn__shards *shards, crn_error *error)
{
    tfrecord_source *source = crn__alloc(1, sizeof *source);
    if (source == NULL) {
        crn__shards_end(shards);
        return crn__fail_memory(error);
    }
    if (dataset->source != NULL)
        free_source(dataset->source);
    dataset->kind = &tfrecord_kind;
    dataset->source = source;
    source->shards = *shards;
    *shards = (crn__shards){0};
    dataset->channels = 3;
    CRN__TRY(index_shards(source, error));
    if (source->count == 0)
        return crn__fail(error, CRN_FORMAT, "%s: no images", source->shards.paths[0]);
    CRN__TRY(crn__dataset_set_labels(dataset, source->shards.paths[0], source->labels,
                                     source->count, error));
    free(source->labels);
    source->labels = NULL;
    return CRN_OK;
}

/* Names of numbers past those that labels.txt has. */
static crn_status complete_names(crn_dataset *dataset, size_t named, crn_error *error)
{
    if (named >= dataset->class_count) {
        dataset->class_count = named;
        return CRN_OK;
    }
    char **names = realloc(dataset->class_names, dataset->class_count * sizeof *names);
    if (names == NULL) {
        dataset->class_count = named;
        return crn__fail_memory(error);
    }
    dataset->class_names = names;
    memset(names + named, 0, (dataset->class_count - named) * sizeof *names);
    for (size_t i = named; i < dataset->class_count; i++)
        if ((names[i] = crn__format("%zu", i)) == NULL)
            return crn__fail_memory(error);
    return CRN_OK;
}

static crn_status open_named(const char *folder, crn__shards *shards, crn__shards *other,
                             crn_dataset *dataset, crn_error *error)
{
    char **names = NULL;
    size_t named = 0;
    crn_status status = crn__read_label_names(folder, &names, &named, error);
    if (status == CRN_OK && named == 0 && other != NULL) /* classes are those of both splits */
        status = open_shards(dataset, other, error);
    if (status == CRN_OK)
        status = open_shards(dataset, shards, error);
    size_t classes = dataset->class_count;
    dataset->class_names = names;
    dataset->class_count = named; /* what there is to free */
    if (status != CRN_OK)
        return status;
    dataset->class_count = classes;
    return complete_names(dataset, named, error);
}

crn_status crn__tfrecord_file_matches(const char *path, bool *matches, crn_error *error)
{
    unsigned char header[CRN__TFRECORD_HEADER];
    uint64_t size;
    crn__input_file file;
    *matches = crn__is_shard_name(path);
    if (*matches)
        return CRN_OK;
    CRN__TRY(crn__input_file_open(path, &file, error));
    if (file.size >= sizeof header &&
        crn__input_file_read(&file, 0, header, sizeof header, NULL) == CRN_OK)
        *matches = crn__tfrecord_header(header, &size);
    crn__input_file_close(&file);
    return CRN_OK;
}

crn_status crn__tfrecord_file_open(const char *path, crn_dataset *dataset, crn_error *error)
{
    const char *slash = strrchr(path, '/');
    char *folder =
        slash != NULL ? crn__format("%.*s", (int)(slash - path + 1), path) : crn__strdup(".");
    crn__shards one = {.paths = crn__alloc(1, sizeof *one.paths)};
    if (one.paths != NULL && (one.paths[0] = crn__strdup(path)) != NULL)
        one.count = 1;
    crn_status status = folder != NULL && one.count == 1
                            ? open_named(folder, &one, NULL, dataset, error)
                            : crn__fail_memory(error);
    crn__shards_end(&one);
    free(folder);
    return status;
}

crn_status crn__tfrecord_dataset_matches(const char *folder, bool *matches, crn_error *error)
{
    crn__shards train = {0}, test = {0};
    crn_status status = crn__shards_list(folder, &train, &test, error);
    *matches = train.count > 0;
    crn__shards_end(&train);
    crn__shards_end(&test);
    return status;
}

crn_status crn__tfrecord_dataset_open(const char *folder, crn_split split, crn_dataset *dataset,
                                      crn_error *error)
{
    crn__shards train = {0}, test = {0};
    crn_status status = crn__shards_list(folder, &train, &test, error);
    if (status == CRN_OK) {
        bool has_test = test.count > 0, wants_test = has_test && split == CRN_SPLIT_TEST;
        dataset->has_test = has_test;
        status = open_named(folder, wants_test ? &test : &train,
                            !has_test    ? NULL
                            : wants_test ? &train
                                         : &test,
                            dataset, error);
    }
    crn__shards_end(&train);
    crn__shards_end(&test);
    return status;
}
