/* Graphs to and from checkpoints. */
#include "clarinet/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/scopes.h"
#include "formats/checkpoint_writer.h"
#include "graph/step.h"

#define MOVING_AVERAGE "ExponentialMovingAverage"

/* What a file holds of a graph: variables, then the slots of a training operation. */
typedef struct item {
    char *name; /* owned for slots, the node's for variables */
    crn__tensor *tensor;
} item;

typedef struct items {
    item *all;
    size_t count, n_variables;
    size_t largest; /* elements of the largest */
} items;

static void free_items(items *list)
{
    for (size_t i = list->n_variables; i < list->count; i++)
        free(list->all[i].name);
    free(list->all);
}

static crn_status add_item(items *list, char *name, crn__tensor *tensor)
{
    if (name == NULL)
        return CRN_NO_MEMORY;
    size_t count = crn__tensor_count(tensor);
    list->largest = count > list->largest ? count : list->largest;
    list->all[list->count++] = (item){name, tensor};
    return CRN_OK;
}

static crn_status list_items(const crn_graph *graph, const crn_train_op *train, items *list)
{
    crn_error *error = crn__context_fail(graph->context);
    size_t slots = train != NULL ? train->slots.count : 0;
    list->all = crn__alloc(graph->variables.count + slots, sizeof *list->all);
    if (list->all == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < graph->variables.count; i++) {
        crn_node *variable = graph->variables.items[i];
        add_item(list, variable->name, variable->tensor);
    }
    list->n_variables = list->count;
    for (size_t i = 0; i < slots; i++) {
        const crn__slot *slot = train->slots.items[i];
        if (add_item(list, crn__strdup(slot->name), slot->tensor) != CRN_OK)
            return crn__fail_memory(error);
    }
    return CRN_OK;
}

static crn_status check_train(crn_graph *graph, const crn_train_op *train)
{
    CRN__TRY(crn_graph_status(graph));
    if (train != NULL && train->graph != graph)
        return crn__fail(crn__context_fail(graph->context), CRN_INVALID,
                         "the training operation is of another graph");
    return CRN_OK;
}

/* ---- saving ---- */

static crn_status open_writer(crn_graph *graph, const char *path, const items *list,
                              const crn_save_options *options, crn__checkpoint_writer **writer)
{
    crn_error *error = crn__context_fail(graph->context);
    crn_checkpoint_entry *entries = crn__alloc(list->count, sizeof *entries);
    if (entries == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < list->count; i++)
        entries[i] =
            crn__checkpoint_entry_of(list->all[i].name, CRN_F32, &list->all[i].tensor->shape);
    crn__checkpoint_content content = {.entries = entries,
                                       .n_entries = list->count,
                                       .metadata = options->metadata,
                                       .n_metadata = options->n_metadata,
                                       .step = options->train != NULL ? options->train->step : -1};
    crn_status status =
        crn__checkpoint_writer_create(path, options->format, &content, writer, error);
    free(entries);
    return status;
}

static crn_status write_items(crn_graph *graph, const items *list, crn__checkpoint_writer *writer)
{
    crn_error *error = crn__context_fail(graph->context);
    float *data = crn__alloc(list->largest, sizeof *data);
    crn_status status = data != NULL ? CRN_OK : crn__fail_memory(error);
    for (size_t i = 0; i < list->count && status == CRN_OK; i++) {
        crn__tensor *tensor = list->all[i].tensor;
        status = crn__tensor_allocate(graph->context, tensor);
        if (status == CRN_OK)
            status = crn__buffer_read(tensor->buffer, 0, data, tensor->bytes);
        if (status == CRN_OK)
            status = crn__checkpoint_writer_append(writer, data, tensor->bytes, error);
    }
    free(data);
    return status;
}

crn_status crn_checkpoint_save(crn_graph *graph, const char *path, const crn_save_options *options)
{
    crn_save_options o = CRN_SAVE_OPTIONS_INIT;
    CRN__COPY_OPTIONS(&o, options);
    CRN__TRY(check_train(graph, o.train));
    if (o.train != NULL)
        CRN__TRY(crn__train_op_begin(o.train));
    items list = {.all = NULL};
    crn__checkpoint_writer *writer = NULL;
    crn_status status = list_items(graph, o.train, &list);
    if (status == CRN_OK)
        status = open_writer(graph, path, &list, &o, &writer);
    if (status == CRN_OK)
        status = write_items(graph, &list, writer);
    if (status == CRN_OK)
        status = crn__checkpoint_writer_commit(writer, crn__context_fail(graph->context));
    else
        crn__checkpoint_writer_abort(writer);
    free_items(&list);
    return status;
}

/* ---- restoring ---- */

static bool same_shape(const crn_checkpoint_entry *entry, const crn_shape *shape)
{
    if (entry->rank != shape->rank)
        return false;
    for (int i = 0; i < shape->rank; i++)
        if (entry->dims[i] != shape->dims[i])
            return false;
    return true;
}

static crn_status shape_error(crn_error *error, const char *path, const crn_checkpoint_entry *entry,
                              const crn_shape *shape)
{
    char ours[96], theirs[256] = "[";
    size_t used = 1;
    for (int i = 0; i < entry->rank && used < sizeof theirs; i++)
        used += (size_t)snprintf(theirs + used, sizeof theirs - used, "%s%" PRId64,
                                 i > 0 ? "," : "", entry->dims[i]);
    return crn__fail(error, CRN_INVALID, "%s: variable \"%s\" is %s] there and %s here", path,
                     entry->name, theirs, crn_shape_text(shape, ours, sizeof ours));
}

/* Where an item's value comes from. */
typedef struct source {
    crn_restore_event event;
    const char *name; /* in the file, which owns it; where it is loaded */
} source;

typedef struct restore {
    crn_graph *graph;
    const char *path;
    crn_restore_options options;
    crn_checkpoint *file;
    items list;
    float *data;
    source *sources; /* by item */
} restore;

/*
 * The name in the file: *found is the slot of moving averages where that is wanted and there, else
 * of the item's own name; its name is NULL where the file has none. A checkpoint's names live as
 * long as it.
 */
static crn_status find_item(const restore *r, size_t i, crn_checkpoint_entry *found)
{
    const char *name = r->list.all[i].name;
    if (r->options.moving_average && i < r->list.n_variables) {
        char *average = crn__format("%s/" MOVING_AVERAGE, name);
        if (average == NULL)
            return crn__fail_memory(crn__context_fail(r->graph->context));
        crn_status status = crn_checkpoint_find(r->file, average, found);
        free(average);
        if (status == CRN_OK)
            return CRN_OK;
    }
    if (crn_checkpoint_find(r->file, name, found) != CRN_OK)
        found->name = NULL;
    return CRN_OK;
}

/* Reads everything once, so that nothing has changed when something is wrong. */
static crn_status check_items(restore *r)
{
    crn_error *error = crn__context_fail(r->graph->context);
    for (size_t i = 0; i < r->list.count; i++) {
        const item *it = &r->list.all[i];
        source *from = &r->sources[i];
        crn_checkpoint_entry entry;
        CRN__TRY(find_item(r, i, &entry));
        if (crn__in_scopes(it->name, r->options.exclude_scopes)) {
            from->event = CRN_RESTORE_EXCLUDED;
        } else if (entry.name == NULL) {
            from->event = CRN_RESTORE_MISSING;
            if (!r->options.ignore_missing_vars)
                return crn__fail(error, CRN_NOT_FOUND, "%s: has no variable \"%s\"", r->path,
                                 it->name);
        } else {
            *from = (source){CRN_RESTORE_LOADED, entry.name};
            if (!same_shape(&entry, &it->tensor->shape))
                return shape_error(error, r->path, &entry, &it->tensor->shape);
            CRN__TRY(crn_checkpoint_read(r->file, from->name, r->data,
                                         crn__tensor_count(it->tensor), error));
        }
    }
    return CRN_OK;
}

static crn_status check_step(restore *r, int64_t *step)
{
    const char *text = crn_checkpoint_metadata(r->file, CRN__STEP_KEY);
    char *end;
    if (r->options.train == NULL)
        text = NULL;
    *step = text != NULL ? strtoll(text, &end, 10) : 0;
    if (text != NULL && (*text == '\0' || *end != '\0' || *step < 0))
        return crn__fail(crn__context_fail(r->graph->context), CRN_FORMAT,
                         "%s: " CRN__STEP_KEY " is \"%s\", which is no step", r->path, text);
    return CRN_OK;
}

static crn_status load_items(restore *r)
{
    crn_context *context = r->graph->context;
    for (size_t i = 0; i < r->list.count; i++) {
        const item *it = &r->list.all[i];
        if (r->sources[i].event != CRN_RESTORE_LOADED)
            continue;
        CRN__TRY(crn_checkpoint_read(r->file, r->sources[i].name, r->data,
                                     crn__tensor_count(it->tensor), crn__context_fail(context)));
        CRN__TRY(crn__tensor_allocate(context, it->tensor));
        it->tensor->version++;
        CRN__TRY(crn__buffer_write(it->tensor->buffer, 0, r->data, it->tensor->bytes));
    }
    return CRN_OK;
}

static void report(const restore *r)
{
    crn_restore_fn tell = r->options.report;
    if (tell == NULL)
        return;
    for (size_t i = 0; i < r->list.count; i++)
        tell(r->options.report_data, r->sources[i].event, r->list.all[i].name);
    for (size_t i = 0; i < crn_checkpoint_count(r->file); i++) {
        crn_checkpoint_entry entry;
        bool used = false;
        crn_checkpoint_entry_at(r->file, i, &entry);
        for (size_t k = 0; k < r->list.count && !used; k++)
            used = strcmp(r->list.all[k].name, entry.name) == 0 || r->sources[k].name == entry.name;
        used |= r->options.train != NULL && strcmp(entry.name, CRN__STEP_KEY) == 0;
        if (!used)
            tell(r->options.report_data, CRN_RESTORE_UNUSED, entry.name);
    }
}

crn_status crn_checkpoint_restore(crn_graph *graph, const char *path,
                                  const crn_restore_options *options)
{
    restore r = {.graph = graph, .path = path, .options = CRN_RESTORE_OPTIONS_INIT};
    CRN__COPY_OPTIONS(&r.options, options);
    crn_error *error = crn__context_fail(graph->context);
    CRN__TRY(check_train(graph, r.options.train));
    if (r.options.train != NULL)
        CRN__TRY(crn_train_op_use_averages(r.options.train, false));
    int64_t step = 0;
    crn_status status = list_items(graph, r.options.train, &r.list);
    if (status == CRN_OK)
        status = crn_checkpoint_open(path, &r.file, error);
    if (status == CRN_OK) {
        r.data = crn__alloc(r.list.largest, sizeof *r.data);
        r.sources = crn__alloc(r.list.count, sizeof *r.sources);
        if (r.data == NULL || r.sources == NULL)
            status = crn__fail_memory(error);
    }
    if (status == CRN_OK)
        status = check_items(&r);
    if (status == CRN_OK)
        status = check_step(&r, &step);
    if (status == CRN_OK)
        status = load_items(&r);
    if (status == CRN_OK) {
        if (r.options.train != NULL)
            crn__train_op_set_step(r.options.train, step);
        report(&r);
    }
    free(r.data);
    free(r.sources);
    crn_checkpoint_free(r.file);
    free_items(&r.list);
    return status;
}
