/* A part of another data set. */
#include <stdio.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"
#include "data/dataset.h"

typedef struct part_source {
    const crn_dataset *whole;
    size_t *indices; /* of the part's images in the whole, ascending */
} part_source;

static crn_status read_image(const void *data, size_t index, const crn__decoding *decoding,
                             crn__image *image, crn_error *error)
{
    const part_source *part = data;
    return part->whole->kind->read(part->whole->source, part->indices[index], decoding, image,
                                   error);
}

static void name_image(const void *data, size_t index, char *text, size_t size)
{
    const part_source *part = data;
    part->whole->kind->name(part->whole->source, part->indices[index], text, size);
}

static void free_source(void *data)
{
    part_source *part = data;
    free(part->indices);
    free(part);
}

static const crn__source_kind part_kind = {read_image, name_image, free_source};

/* taken[i]: whether image i is of the test split. */
static bool choose(const crn_dataset *whole, double fraction, uint64_t seed, bool *taken)
{
    size_t *members = crn__alloc(whole->size, sizeof *members);
    size_t *order = crn__alloc(whole->size, sizeof *order);
    size_t *begin = crn__alloc(whole->class_count + 1, sizeof *begin);
    bool complete = members != NULL && order != NULL && begin != NULL;
    if (complete) { /* members: by class, ascending in each */
        for (size_t i = 0; i < whole->size; i++)
            begin[whole->labels[i] + 1]++;
        for (size_t c = 0; c < whole->class_count; c++)
            begin[c + 1] += begin[c];
        for (size_t i = 0; i < whole->size; i++)
            members[begin[whole->labels[i]]++] = i;
    }
    for (size_t c = 0, first = 0; complete && c < whole->class_count; first = begin[c++]) {
        size_t count = begin[c] - first, n = (size_t)((double)count * fraction + 0.5);
        n = n < count ? n : count > 0 ? count - 1 : 0;
        crn_shuffle(seed, c, order, count);
        for (size_t i = 0; i < n; i++)
            taken[members[first + order[i]]] = true;
    }
    free(members);
    free(order);
    free(begin);
    return complete;
}

static crn_status copy_names(const crn_dataset *from, crn_dataset *to, crn_error *error)
{
    to->class_names = crn__alloc(from->class_count, sizeof *to->class_names);
    if (to->class_names == NULL)
        return crn__fail_memory(error);
    to->class_count = from->class_count;
    for (size_t i = 0; i < from->class_count; i++)
        if ((to->class_names[i] = crn__strdup(from->class_names[i])) == NULL)
            return crn__fail_memory(error);
    return CRN_OK;
}

static crn_status fill_part(const crn_dataset *whole, const bool *taken, crn_split split,
                            crn_dataset *out, crn_error *error)
{
    part_source *part = crn__alloc(1, sizeof *part);
    if (part == NULL)
        return crn__fail_memory(error);
    out->kind = &part_kind;
    out->source = part;
    out->channels = whole->channels;
    out->height = whole->height;
    out->width = whole->width;
    out->has_test = true;
    part->whole = whole;
    part->indices = crn__alloc(whole->size, sizeof *part->indices);
    out->labels = crn__alloc(whole->size, sizeof *out->labels);
    if (part->indices == NULL || out->labels == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < whole->size; i++)
        if (taken[i] == (split == CRN_SPLIT_TEST)) {
            part->indices[out->size] = i;
            out->labels[out->size++] = whole->labels[i];
        }
    if (out->size == 0)
        return crn__fail(error, CRN_INVALID,
                         "a part of a data set of %zu images would have none of them", whole->size);
    return copy_names(whole, out, error);
}

crn_status crn_dataset_split(const crn_dataset *dataset, double fraction, uint64_t seed,
                             crn_split part, crn_dataset **out, crn_error *error)
{
    if (dataset == NULL || !(fraction > 0 && fraction < 1) ||
        (part != CRN_SPLIT_TRAIN && part != CRN_SPLIT_TEST))
        return crn__fail(error, CRN_INVALID,
                         "no data set to split, a fraction that is not between 0 and 1, or no "
                         "such part");
    if (dataset->has_test)
        return crn__fail(error, CRN_INVALID, "the data set has a test split of its own");
    crn_dataset *made = crn__alloc(1, sizeof *made);
    bool *taken = crn__alloc(dataset->size, sizeof *taken);
    crn_status status = made != NULL && taken != NULL && choose(dataset, fraction, seed, taken)
                            ? fill_part(dataset, taken, part, made, error)
                            : crn__fail_memory(error);
    free(taken);
    if (status == CRN_OK)
        *out = made;
    else
        crn_dataset_free(made);
    return status;
}
