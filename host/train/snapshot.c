#include "train/snapshot.h"

#include <math.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/memory.h"
#include "device/device.h"
#include "graph/graph.h"

typedef struct piece {
    const char *name; /* of the variable; a slot has its variable's */
    crn__tensor *tensor;
    float *kept, *next; /* the tensor's elements; `next` is room for those of the next step */
} piece;

struct crn__snapshot {
    crn_graph *graph;
    piece *pieces;
    size_t count;
};

static crn_status read_piece(crn__snapshot *s, piece *p)
{
    CRN__TRY(crn__tensor_allocate(s->graph->context, p->tensor));
    return crn__buffer_read(p->tensor->buffer, 0, p->next, p->tensor->bytes);
}

static void swap(crn__snapshot *s)
{
    for (size_t i = 0; i < s->count; i++) {
        float *next = s->pieces[i].next;
        s->pieces[i].next = s->pieces[i].kept;
        s->pieces[i].kept = next;
    }
}

static bool add(crn__snapshot *s, const char *name, crn__tensor *tensor)
{
    piece *p = &s->pieces[s->count++];
    size_t count = crn__tensor_count(tensor);
    *p = (piece){.name = name,
                 .tensor = tensor,
                 .kept = crn__alloc(count, sizeof(float)),
                 .next = crn__alloc(count, sizeof(float))};
    return p->kept != NULL && p->next != NULL;
}

static bool list_pieces(crn__snapshot *s, crn_train_op *op)
{
    const crn__list *variables = &s->graph->variables;
    s->pieces = crn__alloc(variables->count + op->slots.count, sizeof *s->pieces);
    bool whole = s->pieces != NULL;
    for (size_t i = 0; i < variables->count && whole; i++) {
        crn_node *variable = variables->items[i];
        whole = add(s, variable->name, variable->tensor);
    }
    for (size_t i = 0; i < op->slots.count && whole; i++)
        whole = add(s, op->slot_name, op->slots.items[i]);
    return whole;
}

crn_status crn__snapshot_create(crn_graph *graph, crn_train_op *op, crn__snapshot **out)
{
    crn_error *error = crn__context_fail(graph->context);
    crn__snapshot *s = crn__alloc(1, sizeof *s);
    if (s == NULL)
        return crn__fail_memory(error);
    s->graph = graph;
    crn_status status = list_pieces(s, op) ? CRN_OK : crn__fail_memory(error);
    for (size_t i = 0; i < s->count && status == CRN_OK; i++)
        status = read_piece(s, &s->pieces[i]);
    if (status != CRN_OK) {
        crn__snapshot_free(s);
        return status;
    }
    swap(s);
    *out = s;
    return CRN_OK;
}

void crn__snapshot_free(crn__snapshot *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++) {
        free(s->pieces[i].kept);
        free(s->pieces[i].next);
    }
    free(s->pieces);
    free(s);
}

static bool is_finite(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

crn_status crn__snapshot_take(crn__snapshot *s, const char **name)
{
    *name = NULL;
    for (size_t i = 0; i < s->count; i++) {
        piece *p = &s->pieces[i];
        CRN__TRY(read_piece(s, p));
        if (is_finite(p->next, crn__tensor_count(p->tensor)))
            continue;
        *name = p->name;
        return crn__snapshot_undo(s);
    }
    swap(s);
    return CRN_OK;
}

crn_status crn__snapshot_undo(crn__snapshot *s)
{
    for (size_t i = 0; i < s->count; i++) {
        piece *p = &s->pieces[i];
        p->tensor->version++; /* packed weights are of the values of before */
        CRN__TRY(crn__buffer_write(p->tensor->buffer, 0, p->kept, p->tensor->bytes));
    }
    return CRN_OK;
}
