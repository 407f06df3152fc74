/*
 * The graph's insides: nodes, scopes, variables, and the plans made of them.
 */
#ifndef CRN_GRAPH_GRAPH_H
#define CRN_GRAPH_GRAPH_H

#include "clarinet/optim.h"
#include "ops/op.h"

typedef enum crn__node_kind {
    CRN__NODE_PLACEHOLDER,
    CRN__NODE_VARIABLE,
    CRN__NODE_OP,
    CRN__NODE_GRADIENT /* inputs: loss, wrt */
} crn__node_kind;

struct crn_node {
    crn_graph *graph;
    crn__node_kind kind;
    int32_t index; /* in graph->nodes; inputs come before */
    char *name;    /* with its scopes */
    crn_dtype dtype;
    crn_shape shape; /* the batch may be open */

    const crn__op *op;
    crn__attrs attrs;
    crn_node **inputs; /* NULL where an optional one is missing */
    size_t n_inputs;

    /* A variable's. */
    crn__tensor *tensor;
    crn_initializer initializer;
    bool trainable;
    bool frozen; /* outside the graph's trainable scopes */
    float weight_decay;
};

/* A list that grows; items are of one pointer type. */
typedef struct crn__list {
    void **items;
    size_t count, capacity;
} crn__list;

bool crn__list_add(crn__list *list, void *item);

/* Ends a crn__scope or a crn__end_point. */
void crn__named_free(void *item);

typedef struct crn__scope {
    char *name;
    bool reuse;
} crn__scope;

typedef struct crn__end_point {
    char *name;
    crn_node *node;
} crn__end_point;

/* What an optimizer, or a moving average, keeps from step to step. */
typedef struct crn__slot {
    char *name; /* "w/Momentum": as checkpoints have it */
    /* Of version 0 until it has a value: the first step gives it `initial`, or what `averages` has
     * then. */
    crn__tensor *tensor;
    float initial;
    crn_node *averages; /* the variable that this is the moving average of; or NULL */
} crn__slot;

struct crn__optimizer_row; /* host/graph/step.h */

struct crn_train_op {
    crn_graph *graph;
    crn_node *loss;
    crn_optimizer optimizer; /* its learning rate is the present one, read at every launch */
    const struct crn__optimizer_row *row;
    crn_minimize_options options;
    int64_t step;
    crn__list variables;
    crn__list slots;        /* crn__slot: row->n_slots a variable, then powers, then averages */
    size_t first_average;   /* in slots */
    crn__list sums;         /* a tensor per variable: gradients of the runs of a step, if several */
    crn__tensor *verdict;   /* on each step: cl/optimizer.cl; NULL when nothing asks for one */
    int32_t phase;          /* runs of the present step that are done */
    bool averages_in_place; /* they and the variables are exchanged */
    /* Read at launches: 0 in the first run of a step, else 1; 1 - decay of the averages. */
    float keep, average_rate;
};

typedef struct crn__plan crn__plan;

struct crn_graph {
    crn_context *context;
    crn_error error; /* the first building mistake */
    uint64_t seed;
    crn__list nodes;      /* crn_node */
    crn__list variables;  /* crn_node, borrowed */
    crn__list scopes;     /* crn__scope */
    crn__list arg_scopes; /* crn_arg_scope */
    crn__list end_points; /* crn__end_point */
    crn__list train_ops;  /* crn_train_op */
    crn__list scales;     /* float arrays of regularization nodes */
    crn__list plans;      /* crn__plan, most recently used last */
    crn__arena arena;
    crn__observer observer;
};

/* Sets the sticky error, with the current scope before the text, if it is the first. Returns its
 * status. */
crn_status crn__graph_fail(crn_graph *graph, crn_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "scopes/name", the caller's; NULL (with the sticky error) when there is no memory. */
char *crn__scoped_name(crn_graph *graph, const char *name);
/* Whether a surrounding scope asked for reuse. */
bool crn__reusing(const crn_graph *graph);

/* A node of `kind` with a scoped name, appended to the graph. NULL, with the sticky error set,
 * without memory. */
crn_node *crn__node_create(crn_graph *graph, crn__node_kind kind, const char *name, crn_dtype dtype,
                           const crn_shape *shape, crn_node *const *inputs, size_t n_inputs);

/* Whether a batch norm normalises by its batch, and moves its statistics: it is training, and not
 * frozen. */
bool crn__takes_batch_statistics(const crn_node *node);

/* Dimensions are positive (the first may be open if allowed) and their product fits. */
bool crn__shape_valid(const crn_shape *shape, bool open);
/* The shape with its open dimensions closed. */
crn_shape crn__shape_at(const crn_shape *shape, int64_t batch);

/* Fills `data` with a variable's first value: a function of seed, name and position. */
void crn__initialize(const crn_node *variable, float *data, size_t count);

/* ---- plans ---- */

typedef struct crn__request {
    crn_train_op *train;
    crn_node *const *fetches;
    size_t n_fetches;
    int64_t batch;
    bool accumulates; /* the run adds up gradients for a later one to update with */
    bool diagnoses;   /* nothing is updated: every value and gradient is looked at */
} crn__request;

/* Writes the schedule for a request and places its tensors; allocates nothing on the device. */
crn_status crn__plan_create(crn_graph *graph, const crn__request *request, crn__plan **out);
void crn__plan_free(crn__plan *plan);
bool crn__plan_serves(const crn__plan *plan, const crn__request *request);
crn__schedule *crn__plan_schedule(crn__plan *plan);
/* A placeholder's tensor, or NULL when the plan does not need it. */
crn__tensor *crn__plan_input(const crn__plan *plan, const crn_node *placeholder);
/* The tensor that holds fetch i after a run. */
crn__tensor *crn__plan_fetch(const crn__plan *plan, size_t i);
/* Placeholders that a run needs. */
const crn__list *crn__plan_inputs(const crn__plan *plan);
/* Notes that a run has changed variables. */
void crn__plan_ran(crn__plan *plan);
/* After the run of a plan that diagnoses: the first node in forward order whose value is not
 * finite, else on the way back from the loss the first whose gradient is not; NULL: none. */
crn_status crn__plan_find_non_finite(const crn__plan *plan, const crn_node **node,
                                     bool *is_gradient);
/* Plans no longer hold: they are made again when they are asked for. */
crn_status crn__drop_plans(crn_graph *graph);

/* The fusions and the gradient's reach, computed by host/graph/analyse.c before the schedule is
 * written. */
typedef struct crn__analysis {
    const crn_node *loss; /* NULL: forward only */
    bool *needed;         /* by node index: its value is computed */
    bool *in_loss;        /* the loss depends on it */
    bool *active;         /* a gradient passes through it */
    bool *kept;         /* its gradient is fetched or used by an update: nothing may overwrite it */
    int32_t *consumers; /* uses of its value by needed nodes */
    int32_t *fused;     /* the ReLU's index that an op's output takes in, or -1 */
    bool *folded;       /* the op that follows computes it */
    bool *normalised;   /* batch norm takes the moments of its value */
} crn__analysis;

crn_status crn__analyse(crn_graph *graph, const crn__request *request, crn__analysis *analysis);
void crn__analysis_free(crn__analysis *analysis);
#endif
