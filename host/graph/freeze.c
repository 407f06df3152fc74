/* Freezing: which variables are trained, and which batch norms go on moving. */
#include "graph/graph.h"

#include <string.h>

#include "core/error.h"
#include "core/scopes.h"

enum { MOVING_MEAN = 1 }; /* input of a batch norm: a variable that it always has */

bool crn__takes_batch_statistics(const crn_node *node)
{
    return node->attrs.is_training && !(node->attrs.freezes && node->inputs[MOVING_MEAN]->frozen);
}

/* Each scope must be one, else a slip of the pen freezes what was to be trained. */
static crn_status check_scopes(const crn_graph *graph, const char *scopes)
{
    size_t length, n = 0;
    crn_error *error = crn__context_fail(graph->context);
    for (const char *scope; scope = crn__next_scope(&scopes, &length), length > 0; n++) {
        size_t i = 0;
        while (i < graph->variables.count &&
               strncmp(((crn_node *)graph->variables.items[i])->name, scope, length) != 0)
            i++;
        if (i == graph->variables.count)
            return crn__fail(error, CRN_NOT_FOUND, "no variable's name starts with \"%.*s\"",
                             (int)(length < 200 ? length : 200), scope);
    }
    return n > 0 ? CRN_OK : crn__fail(error, CRN_INVALID, "trainable scopes without a name");
}

crn_status crn_graph_set_trainable_scopes(crn_graph *graph, const char *scopes)
{
    CRN__TRY(graph->error.status);
    if (scopes != NULL)
        CRN__TRY(check_scopes(graph, scopes));
    CRN__TRY(crn__drop_plans(graph));
    for (size_t i = 0; i < graph->variables.count; i++) {
        crn_node *variable = graph->variables.items[i];
        variable->frozen = scopes != NULL && !crn__in_scopes(variable->name, scopes);
    }
    return CRN_OK;
}
