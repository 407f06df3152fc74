#include "formats/checkpoint_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/element.h"

void crn_checkpoint_free(crn_checkpoint *checkpoint)
{
    if (checkpoint == NULL)
        return;
    if (checkpoint->kind != NULL)
        checkpoint->kind->end(checkpoint->state);
    free(checkpoint->entries);
    free(checkpoint->path);
    free(checkpoint);
}

const char *crn_checkpoint_kind(const crn_checkpoint *checkpoint)
{
    return checkpoint->kind->name;
}

size_t crn_checkpoint_count(const crn_checkpoint *checkpoint)
{
    return checkpoint->n_entries;
}

crn_status crn_checkpoint_entry_at(const crn_checkpoint *checkpoint, size_t index,
                                   crn_checkpoint_entry *entry)
{
    if (index >= checkpoint->n_entries)
        return CRN_NOT_FOUND;
    *entry = checkpoint->entries[index];
    return CRN_OK;
}

static int compare_name(const void *name, const void *entry)
{
    return strcmp(name, ((const crn_checkpoint_entry *)entry)->name);
}

static const crn_checkpoint_entry *find(const crn_checkpoint *checkpoint, const char *name)
{
    if (name == NULL || checkpoint->n_entries == 0)
        return NULL;
    return bsearch(name, checkpoint->entries, checkpoint->n_entries, sizeof *checkpoint->entries,
                   compare_name);
}

crn_status crn_checkpoint_find(const crn_checkpoint *checkpoint, const char *name,
                               crn_checkpoint_entry *entry)
{
    const crn_checkpoint_entry *found = find(checkpoint, name);
    if (found == NULL)
        return CRN_NOT_FOUND;
    *entry = *found;
    return CRN_OK;
}

crn_status crn__checkpoint_index(const crn_checkpoint *checkpoint, const char *name, size_t *index,
                                 crn_error *error)
{
    const crn_checkpoint_entry *found = find(checkpoint, name);
    if (found == NULL)
        return crn__fail(error, CRN_NOT_FOUND, "%s: no tensor \"%s\"", checkpoint->path, name);
    *index = (size_t)(found - checkpoint->entries);
    return CRN_OK;
}

bool crn__checkpoint_bytes(const crn_checkpoint_entry *entry, uint64_t size, uint64_t *bytes)
{
    *bytes = size;
    for (int i = 0; i < entry->rank; i++)
        if (entry->dims[i] < 0 || __builtin_mul_overflow(*bytes, (uint64_t)entry->dims[i], bytes))
            return false;
    return true;
}

/* Numbers of another type, through memory of their own. */
static crn_status read_converted(const crn_checkpoint *checkpoint, size_t index,
                                 const crn__element *element, float *data, size_t count,
                                 crn_error *error)
{
    void *values = crn__alloc(count, element->size);
    if (values == NULL)
        return crn__fail_memory(error);
    crn_status status = checkpoint->kind->read(checkpoint, index, values, error);
    if (status == CRN_OK)
        element->to_floats(values, count, data);
    free(values);
    return status;
}

crn_status crn_checkpoint_read(const crn_checkpoint *checkpoint, const char *name, float *data,
                               size_t count, crn_error *error)
{
    size_t index = 0;
    if (name == NULL || (data == NULL && count > 0))
        return crn__fail(error, CRN_INVALID, "%s: no tensor's name, or no room for it",
                         checkpoint->path);
    CRN__TRY(crn__checkpoint_index(checkpoint, name, &index, error));
    const crn_checkpoint_entry *entry = &checkpoint->entries[index];
    const crn__element *element = crn__element_find(entry->dtype, strlen(entry->dtype));
    if (element->to_floats == NULL)
        return crn__fail(error, CRN_UNSUPPORTED,
                         "%s: tensor \"%s\" is %s, which cannot be read as float32",
                         checkpoint->path, name, entry->dtype);
    uint64_t elements = entry->bytes / element->size;
    if (count != elements)
        return crn__fail(error, CRN_INVALID,
                         "%s: tensor \"%s\" has %" PRIu64 " elements, not the %zu asked for",
                         checkpoint->path, name, elements, count);
    if (strcmp(element->name, "F32") == 0)
        return checkpoint->kind->read(checkpoint, index, data, error);
    return read_converted(checkpoint, index, element, data, count, error);
}

static int compare_key(const void *key, const void *pair)
{
    return strcmp(key, ((const crn__checkpoint_pair *)pair)->key);
}

const char *crn_checkpoint_metadata(const crn_checkpoint *checkpoint, const char *key)
{
    const crn__checkpoint_pair *pair = NULL;
    if (checkpoint->n_pairs > 0)
        pair = bsearch(key, checkpoint->pairs, checkpoint->n_pairs, sizeof *pair, compare_key);
    if (pair == NULL && *checkpoint->step != '\0' && strcmp(key, CRN__STEP_KEY) == 0)
        return checkpoint->step;
    return pair != NULL ? pair->value : NULL;
}

bool crn_checkpoint_is_slot(const crn_checkpoint *checkpoint, const char *name)
{
    const char *slash = strrchr(name, '/');
    if (slash == NULL)
        return false;
    size_t length = (size_t)(slash - name), low = 0, high = checkpoint->n_entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *other = checkpoint->entries[middle].name;
        int order = strncmp(other, name, length);
        if (order == 0 && other[length] == '\0')
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle; /* longer names of this beginning are behind it */
    }
    return false;
}
