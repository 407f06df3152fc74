/* Tuning: each kind of convolution in a graph is measured once. */
#include "clarinet/tune.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "graph/conv_kinds.h"

size_t crn__conv_kinds(const crn_graph *graph, int64_t batch, crn__conv_kind *kinds)
{
    size_t n = 0;
    for (size_t i = 0; i < graph->nodes.count; i++) {
        const crn_node *node = graph->nodes.items[i];
        if (node->op != &crn__op_conv2d)
            continue;
        crn_shape x = crn__shape_at(&node->inputs[0]->shape, batch);
        crn_shape y = crn__shape_at(&node->shape, batch);
        crn__conv conv = crn__conv_describe(&x, &y, &node->attrs.window);
        size_t k = 0;
        while (k < n && memcmp(&kinds[k].conv, &conv, sizeof conv) != 0)
            k++;
        if (k == n)
            kinds[n++] = (crn__conv_kind){.conv = conv, .node = node};
        kinds[k].count++;
    }
    return n;
}

static bool has_gradients(const crn_graph *graph)
{
    bool has = graph->train_ops.count > 0;
    for (size_t i = 0; i < graph->nodes.count; i++)
        has = has || ((const crn_node *)graph->nodes.items[i])->kind == CRN__NODE_GRADIENT;
    return has;
}

static crn_tune_result describe(const crn__conv_kind *k, int64_t batch, crn__direction direction,
                                const crn__conv_times *times)
{
    static const char *const names[CRN__DIRECTIONS] = {"forward", "input gradient",
                                                       "weight gradient"};
    const crn__window *window = &k->conv.window;
    crn_tune_result result = {
        .node = k->node,
        .count = k->count,
        .input = crn__shape_at(&k->node->inputs[0]->shape, batch),
        .output = crn__shape_at(&k->node->shape, batch),
        .kernel = {window->kernel[0], window->kernel[1]},
        .stride = {window->stride[0], window->stride[1]},
        .direction = names[direction],
        .solver = times->chosen->name,
        .n_solvers = times->n,
    };
    for (size_t i = 0; i < times->n; i++) {
        result.solvers[i] = times->solvers[i]->name;
        result.seconds[i] = times->seconds[i];
    }
    return result;
}

static crn_status tune(crn_graph *graph, int64_t batch, const crn_tune_options *options,
                       const crn__conv_kind *kinds, size_t n)
{
    int directions = has_gradients(graph) ? CRN__DIRECTIONS : CRN__FORWARD + 1;
    size_t done = 0, total = n * (size_t)directions;
    for (size_t i = 0; i < n; i++)
        for (int d = 0; d < directions; d++) {
            crn__conv_times times;
            CRN__TRY(crn__conv_tune(graph->context, &graph->arena, &kinds[i].conv,
                                    (crn__direction)d, graph->train_ops.count > 0, options->again,
                                    &times));
            crn_tune_result result = describe(&kinds[i], batch, (crn__direction)d, &times);
            result.done = ++done;
            result.total = total;
            if (options->report != NULL && !options->report(options->report_data, &result))
                return crn__fail(crn__context_fail(graph->context), CRN_INTERRUPTED,
                                 "tuning was stopped after %zu of %zu", done, total);
        }
    return CRN_OK;
}

crn_status crn_graph_tune(crn_graph *graph, int64_t batch_size, const crn_tune_options *options)
{
    crn_error *error = crn__context_fail(graph->context);
    crn_tune_options o = CRN_TUNE_OPTIONS_INIT;
    CRN__COPY_OPTIONS(&o, options);
    CRN__TRY(graph->error.status);
    if (batch_size < 1 || batch_size > INT32_MAX)
        return crn__fail(error, CRN_INVALID,
                         "a batch size of %" PRId64 " is not positive or too large", batch_size);
    CRN__TRY(crn__finish(graph->context));
    while (graph->plans.count > 0) /* they have chosen already */
        crn__plan_free(graph->plans.items[--graph->plans.count]);
    crn__conv_kind *kinds = crn__alloc(graph->nodes.count, sizeof *kinds);
    if (kinds == NULL)
        return crn__fail_memory(error);
    crn_status status =
        tune(graph, batch_size, &o, kinds, crn__conv_kinds(graph, batch_size, kinds));
    free(kinds);
    return status;
}
