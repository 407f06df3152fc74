/*
 * Tuning: which kernels convolve, by measurement rather than by rule.
 */
#ifndef CLARINET_TUNE_H
#define CLARINET_TUNE_H

#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CRN_TUNE_MAX_SOLVERS 8

/* What was found for one direction of one kind of convolution. Borrowed for the call. */
typedef struct crn_tune_result {
    size_t done, total;   /* results so far, this one counted, and in all */
    const crn_node *node; /* the first convolution of the kind */
    size_t count;         /* how many of the graph's convolutions are of it */
    crn_shape input;      /* [N,H,W,C] or [N,C], at the batch size */
    crn_shape output;
    int32_t kernel[2]; /* height, width; 1, 1 of a dense layer */
    int32_t stride[2];
    const char *direction; /* "forward", "input gradient" or "weight gradient" */
    const char *solver;    /* chosen: "direct", … */
    /* All that apply. Seconds: 0 where nothing was measured, as there was but one, or a choice
     * already; negative where the solver failed or was wrong. */
    size_t n_solvers;
    const char *solvers[CRN_TUNE_MAX_SOLVERS];
    double seconds[CRN_TUNE_MAX_SOLVERS];
} crn_tune_result;

/* Returning false stops (CRN_INTERRUPTED); the choices that were made stay. */
typedef bool (*crn_tune_fn)(void *data, const crn_tune_result *result);

typedef struct crn_tune_options {
    size_t size;
    bool again;         /* measure what was measured before, too */
    crn_tune_fn report; /* after each direction of each kind of convolution; or NULL */
    void *report_data;
} crn_tune_options;

#define CRN_TUNE_OPTIONS_INIT                       \
    {                                               \
        sizeof(crn_tune_options), false, NULL, NULL \
    }

/*
 * Measures how the graph's convolutions are computed fastest at a batch size, and remembers it, for
 * this device, driver and version of the library, in crn_context_options.cache_dir (without one, in
 * the context). Runs from then on use it, of this graph and of others, in other processes too;
 * unless CLARINET_TUNED=0 or a CLARINET_CONV_SOLVER other than auto says otherwise, which also
 * holds for this graph. A context keeps to the choices that it has once used until it tunes itself,
 * so that its runs give the same bits.
 *
 * Each kind of convolution is measured in each direction that the graph has: forward and, with a
 * gradient or a crn_minimize, those of the input and the weights. Every solver that applies runs
 * six times on random tensors, of which the first is compared with the direct solver's result: one
 * that is off by more than 1e-4 of the largest element is not chosen. In a graph with crn_minimize
 * weights are taken to change between runs. That takes some ten times as long as a step, and the
 * time to compile each kernel once. Nothing else should run on the device meanwhile.
 *
 * The graph's variables stay as they are. Its device memory between runs is used and may grow, by
 * at most the largest convolution with its workspace. CRN_INVALID: the batch size is not positive,
 * or a building mistake; CRN_DEVICE_MEMORY: a convolution does not fit. `options` may be NULL. One
 * thread at a time, as with all that is on a context.
 */
CRN_API crn_status crn_graph_tune(crn_graph *graph, int64_t batch_size,
                                  const crn_tune_options *options);

#ifdef __cplusplus
}
#endif

#endif
