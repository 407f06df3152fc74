/* Scopes, which give nodes their names, and end points, by which outputs are found. */
#include "graph/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"

/* Scopes and end points both begin with an owned name. */
void crn__named_free(void *item)
{
    free(*(char **)item);
    free(item);
}

/* ---- scopes ---- */

char *crn__scoped_name(crn_graph *graph, const char *name)
{
    size_t bytes = strlen(name) + 1;
    for (size_t i = 0; i < graph->scopes.count; i++)
        bytes += strlen(((crn__scope *)graph->scopes.items[i])->name) + 1;
    char *text = crn__alloc(bytes, 1);
    if (text == NULL) {
        crn__fail_memory(graph->error.status == CRN_OK ? &graph->error : NULL);
        return NULL;
    }
    char *end = text;
    for (size_t i = 0; i < graph->scopes.count; i++) {
        const char *scope = ((crn__scope *)graph->scopes.items[i])->name;
        if (scope[0] != '\0')
            end += sprintf(end, "%s%s", end > text ? "/" : "", scope);
    }
    sprintf(end, "%s%s", end > text && name[0] != '\0' ? "/" : "", name);
    return text;
}

/* A pop that has no push is noticed; a push that failed leaves the error sticky, so its pop is too.
 */
void crn_scope_push(crn_graph *graph, const char *name)
{
    crn__scope *scope = crn__alloc(1, sizeof *scope);
    char *copy = name != NULL ? crn__strdup(name) : NULL;
    if (scope == NULL || copy == NULL || !crn__list_add(&graph->scopes, scope)) {
        crn__graph_fail(graph, name == NULL ? CRN_INVALID : CRN_NO_MEMORY, "a scope needs a name");
        free(scope);
        free(copy);
        return;
    }
    scope->name = copy;
}

void crn_scope_pop(crn_graph *graph)
{
    if (graph->scopes.count == 0)
        crn__graph_fail(graph, CRN_INVALID, "crn_scope_pop without crn_scope_push");
    else
        crn__named_free(graph->scopes.items[--graph->scopes.count]);
}

void crn_scope_reuse(crn_graph *graph)
{
    if (graph->scopes.count == 0)
        crn__graph_fail(graph, CRN_INVALID, "crn_scope_reuse outside of a scope");
    else
        ((crn__scope *)graph->scopes.items[graph->scopes.count - 1])->reuse = true;
}

bool crn__reusing(const crn_graph *graph)
{
    for (size_t i = 0; i < graph->scopes.count; i++)
        if (((const crn__scope *)graph->scopes.items[i])->reuse)
            return true;
    return false;
}

/* ---- end points ---- */

void crn_end_point_add(crn_graph *graph, const char *name, crn_node *node)
{
    if (node == NULL || graph->error.status != CRN_OK)
        return;
    crn__end_point *point = crn__alloc(1, sizeof *point);
    char *copy = crn__strdup(name);
    if (point == NULL || copy == NULL || !crn__list_add(&graph->end_points, point)) {
        free(point);
        free(copy);
        crn__graph_fail(graph, CRN_NO_MEMORY, "%s", crn_status_text(CRN_NO_MEMORY));
        return;
    }
    *point = (crn__end_point){copy, node};
}

size_t crn_end_point_count(const crn_graph *graph)
{
    return graph->end_points.count;
}

static const crn__end_point *end_point(const crn_graph *graph, size_t index)
{
    return index < graph->end_points.count ? graph->end_points.items[index] : NULL;
}

const char *crn_end_point_name(const crn_graph *graph, size_t index)
{
    const crn__end_point *point = end_point(graph, index);
    return point != NULL ? point->name : NULL;
}

crn_node *crn_end_point_at(const crn_graph *graph, size_t index)
{
    const crn__end_point *point = end_point(graph, index);
    return point != NULL ? point->node : NULL;
}

/* The latest of that name: with a second tower, its. */
crn_node *crn_end_point_find(const crn_graph *graph, const char *name)
{
    for (size_t i = graph->end_points.count; i-- > 0;)
        if (strcmp(end_point(graph, i)->name, name) == 0)
            return end_point(graph, i)->node;
    return NULL;
}
