/* From one format of checkpoints to another, without a device. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/scopes.h"
#include "formats/checkpoint_writer.h"
#include "formats/element.h"
#include "formats/safetensors_header.h"

typedef struct conversion {
    const crn_checkpoint *file;
    crn_convert_options options;
    crn_checkpoint_entry *entries; /* to write */
    size_t *indices;               /* of these in the file */
    size_t n_entries;
    crn_metadata *metadata;
    size_t n_metadata;
    uint64_t largest; /* bytes of a tensor */
} conversion;

static bool is_wanted(const conversion *c, const char *name)
{
    const crn_convert_options *o = &c->options;
    return (o->include_scopes == NULL || crn__in_scopes(name, o->include_scopes)) &&
           !crn__in_scopes(name, o->exclude_scopes) &&
           !(o->no_slots && crn_checkpoint_is_slot(c->file, name));
}

static bool can_be_written(const conversion *c, const crn_checkpoint_entry *entry)
{
    const crn__element *element = crn__element_find(entry->dtype, strlen(entry->dtype));
    return element->size > 0 &&
           (c->options.format == CRN_CHECKPOINT_TENSORFLOW ? element->tensorflow != 0
                                                           : element->safetensors);
}

static crn_status choose_entries(conversion *c, crn_error *error)
{
    size_t n = c->file->n_entries;
    c->entries = crn__alloc(n, sizeof *c->entries);
    c->indices = crn__alloc(n, sizeof *c->indices);
    if (c->entries == NULL || c->indices == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < n; i++) {
        const crn_checkpoint_entry *entry = &c->file->entries[i];
        if (!is_wanted(c, entry->name))
            continue;
        if (!can_be_written(c, entry)) {
            char *why = crn__format("the format cannot have %s", entry->dtype);
            if (why == NULL)
                return crn__fail_memory(error);
            if (c->options.report != NULL)
                c->options.report(c->options.report_data, entry->name, why);
            free(why);
            continue;
        }
        c->largest = entry->bytes > c->largest ? entry->bytes : c->largest;
        c->indices[c->n_entries] = i;
        c->entries[c->n_entries++] = *entry;
    }
    return CRN_OK;
}

/* The step, which each format writes in its own way; -1 where there is none. */
static int64_t step_of(const conversion *c)
{
    const char *text = crn_checkpoint_metadata(c->file, CRN__STEP_KEY);
    if (text == NULL || !is_wanted(c, CRN__STEP_KEY))
        return -1;
    char *end;
    errno = 0;
    int64_t step = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && step >= 0 ? step : -1;
}

/* All but what a writer adds itself. */
static crn_status choose_metadata(conversion *c, crn_error *error)
{
    static const char *const own[] = {CRN__SAFETENSORS_CHECKSUM_KEY, CRN__SAFETENSORS_FORMAT_KEY,
                                      CRN__STEP_KEY};
    c->metadata = crn__alloc(c->file->n_pairs, sizeof *c->metadata);
    if (c->metadata == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < c->file->n_pairs; i++) {
        const crn__checkpoint_pair *pair = &c->file->pairs[i];
        bool skip = false;
        for (size_t k = 0; k < sizeof own / sizeof *own; k++)
            skip |= strcmp(pair->key, own[k]) == 0;
        if (!skip)
            c->metadata[c->n_metadata++] = (crn_metadata){pair->key, pair->value};
    }
    return CRN_OK;
}

static crn_status copy_tensors(const conversion *c, crn__checkpoint_writer *writer,
                               crn_error *error)
{
    void *data = crn__alloc((size_t)c->largest, 1);
    crn_status status = data != NULL ? CRN_OK : crn__fail_memory(error);
    for (size_t i = 0; i < c->n_entries && status == CRN_OK; i++) {
        status = c->file->kind->read(c->file, c->indices[i], data, error);
        if (status == CRN_OK)
            status =
                crn__checkpoint_writer_append(writer, data, (size_t)c->entries[i].bytes, error);
    }
    free(data);
    return status;
}

static crn_status convert(conversion *c, const char *to, crn_error *error)
{
    CRN__TRY(choose_entries(c, error));
    CRN__TRY(choose_metadata(c, error));
    crn__checkpoint_content content = {.entries = c->entries,
                                       .n_entries = c->n_entries,
                                       .metadata = c->metadata,
                                       .n_metadata = c->n_metadata,
                                       .step = step_of(c)};
    crn__checkpoint_writer *writer;
    CRN__TRY(crn__checkpoint_writer_create(to, c->options.format, &content, &writer, error));
    crn_status status = copy_tensors(c, writer, error);
    if (status == CRN_OK)
        return crn__checkpoint_writer_commit(writer, error);
    crn__checkpoint_writer_abort(writer);
    return status;
}

crn_status crn_checkpoint_convert(const char *from, const char *to,
                                  const crn_convert_options *options, crn_error *error)
{
    conversion c = {.options = CRN_CONVERT_OPTIONS_INIT};
    crn_checkpoint *file;
    CRN__COPY_OPTIONS(&c.options, options);
    CRN__TRY(crn_checkpoint_open(from, &file, error));
    c.file = file;
    crn_status status = convert(&c, to, error);
    free(c.entries);
    free(c.indices);
    free(c.metadata);
    crn_checkpoint_free(file);
    return status;
}
