/* Variables: creation and reuse, first values, reading and writing. */
#include "graph/step.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/thread.h"

#define TWO_PI 6.28318530717958647692
/* A thread takes as long to start as some thousand values to draw. */
#define VALUES_PER_THREAD ((size_t)1 << 15)

crn_node *crn_variable_find(const crn_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->variables.count; i++) {
        crn_node *variable = graph->variables.items[i];
        if (strcmp(variable->name, name) == 0)
            return variable;
    }
    return NULL;
}

/* The variable that a reusing scope asks for, or the mistake that it, or a second one of a name,
 * is. */
static crn_node *find_shared(crn_graph *graph, const char *full, const crn_shape *shape)
{
    crn_node *found = crn_variable_find(graph, full);
    char a[96], b[96];
    if (found == NULL) {
        if (crn__reusing(graph))
            crn__graph_fail(graph, CRN_INVALID,
                            "variable \"%s\" is to be reused but does not exist", full);
    } else if (!crn__reusing(graph)) {
        crn__graph_fail(graph, CRN_INVALID,
                        "variable \"%s\" exists already: crn_scope_reuse shares it", full);
    } else if (!crn_shape_equal(&found->shape, shape)) {
        crn__graph_fail(graph, CRN_INVALID, "variable \"%s\" is %s and cannot be reused as %s",
                        full, crn_shape_text(&found->shape, a, sizeof a),
                        crn_shape_text(shape, b, sizeof b));
    }
    return found;
}

crn_node *crn_variable(crn_graph *graph, const char *name, crn_shape shape,
                       crn_initializer initializer, bool trainable)
{
    if (graph->error.status != CRN_OK)
        return NULL;
    if (name == NULL || !crn__shape_valid(&shape, false)) {
        crn__graph_fail(graph, CRN_INVALID, "variable \"%s\": dimensions must be positive",
                        name != NULL ? name : "");
        return NULL;
    }
    char *full = crn__scoped_name(graph, name);
    if (full == NULL)
        return NULL;
    crn_node *shared = find_shared(graph, full, &shape);
    free(full);
    if (shared != NULL || graph->error.status != CRN_OK)
        return graph->error.status == CRN_OK ? shared : NULL;

    crn_node *node = crn__node_create(graph, CRN__NODE_VARIABLE, name, CRN_F32, &shape, NULL, 0);
    if (node == NULL)
        return NULL;
    node->initializer = initializer;
    node->trainable = trainable;
    node->tensor = crn__tensor_create(CRN_F32, &shape);
    if (node->tensor == NULL || !crn__list_add(&graph->variables, node)) {
        crn__graph_fail(graph, CRN_NO_MEMORY, "%s", crn_status_text(CRN_NO_MEMORY));
        return NULL;
    }
    return node;
}

size_t crn_variable_count(const crn_graph *graph)
{
    return graph->variables.count;
}

crn_node *crn_variable_at(const crn_graph *graph, size_t index)
{
    return index < graph->variables.count ? graph->variables.items[index] : NULL;
}

bool crn_variable_is_trainable(const crn_node *variable)
{
    return variable != NULL && variable->trainable && !variable->frozen;
}

void crn_variable_set_trainable(crn_node *variable, bool trainable)
{
    if (variable != NULL && variable->kind == CRN__NODE_VARIABLE)
        variable->trainable = trainable;
}

/* ---- first values ---- */

/* A normal deviate within two deviations: Box and Muller (1958), drawn again outside. */
static float truncated_normal(uint64_t key, uint64_t position)
{
    for (uint64_t attempt = 0;; attempt++) {
        uint64_t bits = crn__random_bits(key + attempt, position);
        double u = ((double)(bits >> 32) + 0.5) * 0x1p-32,
               v = (double)(bits & 0xFFFFFFFFu) * 0x1p-32;
        float x = sqrtf(-2.0f * logf((float)u)) * cosf((float)(TWO_PI * v));
        if (x > -2.0f && x < 2.0f)
            return x;
    }
}

static size_t fan_in(const crn_shape *shape)
{
    size_t fan = 1;
    for (int i = 0; i + 1 < shape->rank; i++)
        fan *= (size_t)shape->dims[i];
    return fan;
}

typedef struct first_values {
    crn_initializer_kind kind;
    float scale;
    uint64_t key;
    float *data;
} first_values;

static void draw(void *values, size_t begin, size_t end)
{
    const first_values *v = values;
    for (size_t i = begin; i < end; i++) {
        switch (v->kind) {
        case CRN_INIT_CONSTANT:
            v->data[i] = v->scale;
            break;
        case CRN_INIT_TRUNCATED_NORMAL:
        case CRN_INIT_VARIANCE_SCALING:
            v->data[i] = v->scale * truncated_normal(v->key, i);
            break;
        case CRN_INIT_UNIFORM:
            v->data[i] = v->scale * (float)(2.0 * crn__random_uniform(v->key, i) - 1.0);
            break;
        }
    }
}

void crn__initialize(const crn_node *variable, float *data, size_t count)
{
    const crn_initializer *init = &variable->initializer;
    first_values values = {init->kind, init->value,
                           crn__random_bits(crn__hash_text(variable->name), variable->graph->seed),
                           data};
    if (init->kind == CRN_INIT_VARIANCE_SCALING)
        values.scale = sqrtf(1.3f * init->value / (float)fan_in(&variable->shape));
    crn__parallel_for(count, VALUES_PER_THREAD, draw, &values);
}

/* One after the other in the same memory, whose pages are then made once. */
static crn_status initialize_variables(crn_graph *graph)
{
    size_t most = 0;
    for (size_t i = 0; i < graph->variables.count; i++) {
        size_t count = crn__tensor_count(((crn_node *)graph->variables.items[i])->tensor);
        most = count > most ? count : most;
    }
    float *data = crn__alloc(most, sizeof *data);
    if (data == NULL)
        return crn__fail_memory(crn__context_fail(graph->context));
    crn_status status = CRN_OK;
    for (size_t i = 0; status == CRN_OK && i < graph->variables.count; i++) {
        crn_node *variable = graph->variables.items[i];
        size_t count = crn__tensor_count(variable->tensor);
        crn__initialize(variable, data, count);
        status = crn_variable_write(variable, data, count);
    }
    free(data);
    return status;
}

crn_status crn_initialize_variables(crn_graph *graph)
{
    CRN__TRY(graph->error.status);
    CRN__TRY(initialize_variables(graph));
    for (size_t i = 0; i < graph->train_ops.count; i++)
        CRN__TRY(crn__train_op_reset(graph->train_ops.items[i]));
    return CRN_OK;
}

/* ---- reading and writing ---- */

static crn_status check_access(const crn_node *variable, const void *data, size_t count)
{
    if (variable == NULL)
        return CRN_INVALID;
    crn_error *error = crn__context_fail(variable->graph->context);
    if (variable->kind != CRN__NODE_VARIABLE)
        return crn__fail(error, CRN_INVALID, "\"%s\" is no variable", variable->name);
    if (data == NULL || count != crn__tensor_count(variable->tensor))
        return crn__fail(error, CRN_INVALID, "variable \"%s\" has %zu elements, not %zu",
                         variable->name, crn__tensor_count(variable->tensor), count);
    return crn__tensor_allocate(variable->graph->context, variable->tensor);
}

crn_status crn_variable_read(const crn_node *variable, float *data, size_t count)
{
    CRN__TRY(check_access(variable, data, count));
    return crn__buffer_read(variable->tensor->buffer, 0, data, variable->tensor->bytes);
}

crn_status crn_variable_write(crn_node *variable, const float *data, size_t count)
{
    CRN__TRY(check_access(variable, data, count));
    variable->tensor->version++;
    return crn__buffer_write(variable->tensor->buffer, 0, data, variable->tensor->bytes);
}
