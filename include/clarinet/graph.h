/*
 * Graphs: placeholders, variables, scopes, end points, gradients and running.
 *
 * Builders have a sticky error. They return a node, or NULL after a mistake, and accept NULL where
 * a node is expected, so a network reads without a check a line. The first mistake, with the scope
 * it was made in, comes back from the next crn_run, crn_initialize_variables or crn_graph_status.
 */
#ifndef CLARINET_GRAPH_H
#define CLARINET_GRAPH_H

#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct crn_graph crn_graph;
typedef struct crn_node crn_node;
typedef struct crn_train_op crn_train_op;

CRN_API crn_status crn_graph_create(crn_context *context, crn_graph **out);
CRN_API void crn_graph_free(crn_graph *graph);

/* The first mistake made while building: CRN_OK, or the status whose text crn_graph_error has. */
CRN_API crn_status crn_graph_status(const crn_graph *graph);
/* The building mistake if there is one, else the last error of the context. Never NULL. */
CRN_API const crn_error *crn_graph_error(const crn_graph *graph);
CRN_API crn_context *crn_graph_context(const crn_graph *graph);

/* Seeds the initialisers. The same seed and names give the same values on every device. Default 0.
 */
CRN_API void crn_graph_set_seed(crn_graph *graph, uint64_t seed);

/* ---- nodes ---- */

/* Of NULL, which a builder returns after a mistake: "", no dtype, a scalar's shape. */
CRN_API const char *crn_node_name(const crn_node *node);
CRN_API crn_dtype crn_node_dtype(const crn_node *node);
CRN_API crn_shape crn_node_shape(const crn_node *node);

/*
 * A value that every run which needs it must feed. The first dimension may be CRN_ANY; all open
 * dimensions of a graph are the same batch.
 */
CRN_API crn_node *crn_placeholder(crn_graph *graph, const char *name, crn_dtype dtype,
                                  crn_shape shape);

/* ---- scopes (tf.variable_scope) ---- */

/* Names made until the matching pop start with "name/". An empty name changes nothing. */
CRN_API void crn_scope_push(crn_graph *graph, const char *name);
CRN_API void crn_scope_pop(crn_graph *graph);
/*
 * From here to the pop of the current scope, variables must exist already and are shared, as with
 * reuse=True. Building a variable twice without it is a mistake.
 */
CRN_API void crn_scope_reuse(crn_graph *graph);

/* ---- variables ---- */

typedef enum crn_initializer_kind {
    CRN_INIT_CONSTANT,         /* value */
    CRN_INIT_TRUNCATED_NORMAL, /* mean 0, stddev value, redrawn past two of them */
    CRN_INIT_VARIANCE_SCALING, /* slim.variance_scaling_initializer: factor value, FAN_IN, truncated
                                  normal with stddev sqrt(1.3 * value / fan_in) */
    CRN_INIT_UNIFORM           /* [-value, value) */
} crn_initializer_kind;

typedef struct crn_initializer {
    crn_initializer_kind kind;
    float value;
} crn_initializer;

/* A float32 variable called "scopes/name" that lives on the device. */
CRN_API crn_node *crn_variable(crn_graph *graph, const char *name, crn_shape shape,
                               crn_initializer initializer, bool trainable);

/* In order of creation; NULL past the end. */
CRN_API size_t crn_variable_count(const crn_graph *graph);
CRN_API crn_node *crn_variable_at(const crn_graph *graph, size_t index);
/* By its full name; NULL when there is none. */
CRN_API crn_node *crn_variable_find(const crn_graph *graph, const char *name);
CRN_API bool crn_variable_is_trainable(const crn_node *variable);
/* Whether later crn_minimize calls update it. */
CRN_API void crn_variable_set_trainable(crn_node *variable, bool trainable);
/*
 * slim's trainable_scopes: of the variables that there are, those whose names start with one of the
 * comma-separated scopes are trained by later crn_minimize calls, if they are trainable at all; the
 * others are frozen. NULL: no variable is frozen. CRN_NOT_FOUND for a scope without a variable.
 *
 * As with slim, frozen batch norms still normalise by the batch and move their statistics; those
 * that were built with freeze_bn (crn_batch_norm_options, crn_resnet_options) use their statistics
 * as they are.
 */
CRN_API crn_status crn_graph_set_trainable_scopes(crn_graph *graph, const char *scopes);

/* tf.global_variables_initializer: gives every variable (and every optimizer slot) its first value.
 */
CRN_API crn_status crn_initialize_variables(crn_graph *graph);

/* Copies a variable's elements, row-major; `count` must be its number of elements. */
CRN_API crn_status crn_variable_read(const crn_node *variable, float *data, size_t count);
CRN_API crn_status crn_variable_write(crn_node *variable, const float *data, size_t count);

/* ---- end points ---- */

/* Names a node in the graph's collection of outputs (slim's end_points). Names are used as given.
 */
CRN_API void crn_end_point_add(crn_graph *graph, const char *name, crn_node *node);
CRN_API size_t crn_end_point_count(const crn_graph *graph);
CRN_API const char *crn_end_point_name(const crn_graph *graph, size_t index);
CRN_API crn_node *crn_end_point_at(const crn_graph *graph, size_t index);
CRN_API crn_node *crn_end_point_find(const crn_graph *graph, const char *name);

/* ---- gradients ---- */

/*
 * d loss / d wrt, of wrt's shape: fetch it as any node. loss is a scalar. One run may fetch any
 * number of gradients of the same loss.
 */
CRN_API crn_node *crn_gradient(crn_graph *graph, crn_node *loss, crn_node *wrt);

/* ---- running ---- */

/* A placeholder's value for one run: row-major, borrowed for the call. */
typedef struct crn_feed {
    crn_node *node;
    const void *data;
    crn_shape shape; /* closed; agrees with the placeholder's */
} crn_feed;

/* Where a node's value goes after a run. */
typedef struct crn_fetch {
    crn_node *node;
    void *data;      /* the caller's, `size` bytes at least as large as the value */
    size_t size;     /* bytes */
    crn_shape shape; /* set by crn_run */
} crn_fetch;

/*
 * Runs what the fetches need, after which `train` (may be NULL) has updated its variables once, or
 * added up gradients for a later run to do so (crn_minimize_options, whose guard may also refuse
 * the step with CRN_NON_FINITE). Everything fetched is of the same step: values are those before
 * the update. Returns when the fetches are there; with none it may return before the device is done
 * (crn_graph_finish waits).
 */
CRN_API crn_status crn_run(crn_graph *graph, crn_train_op *train, const crn_feed *feeds,
                           size_t n_feeds, crn_fetch *fetches, size_t n_fetches);

CRN_API crn_status crn_graph_finish(crn_graph *graph);

/* One kernel of a run: the node that it works for, the kernel with its compiler options, its
 * seconds. */
typedef void (*crn_profile_fn)(void *data, const char *node, const char *kernel, double seconds);

/* From here on runs wait for each kernel and report it; NULL ends that. Runs are slower meanwhile.
 */
CRN_API void crn_graph_set_profile(crn_graph *graph, crn_profile_fn report, void *data);

/* What a run takes on the device, known before its first launch. Bytes. */
typedef struct crn_plan_info {
    uint64_t variables;      /* variables, optimizer slots, packed weights */
    uint64_t arena;          /* activations, gradients and workspace at the fullest point */
    uint64_t peak;           /* both */
    uint64_t largest_buffer; /* the largest single allocation */
    uint64_t launches;       /* kernels a run enqueues */
} crn_plan_info;

/*
 * Plans a run at a batch size without running it. CRN_DEVICE_MEMORY if it cannot fit: the text says
 * what is needed, what is there and which batch size would fit.
 */
CRN_API crn_status crn_plan(crn_graph *graph, crn_train_op *train, crn_node *const *fetches,
                            size_t n_fetches, int64_t batch_size, crn_plan_info *info);

#ifdef __cplusplus
}
#endif

#endif
