/* Running: feeds are checked, a plan is found or made, fits the device, and is run. */
#include "graph/step.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"

/* Plans kept: a program alternates between few batch sizes. */
#define MAX_PLANS 8

/* ---- the request ---- */

static crn_status check_fetch(crn_graph *graph, const crn_node *node, size_t i)
{
    crn_error *error = crn__context_fail(graph->context);
    if (node == NULL)
        return crn__fail(error, CRN_INVALID, "fetch %zu is NULL", i);
    if (node->graph != graph)
        return crn__fail(error, CRN_INVALID, "fetch \"%s\" is of another graph", node->name);
    return CRN_OK;
}

/* The batch size that a feed gives, or that a mistake in it is found. */
static crn_status check_feed(crn_graph *graph, const crn_feed *feed, size_t i, int64_t *batch)
{
    crn_error *error = crn__context_fail(graph->context);
    const crn_node *node = feed->node;
    if (node == NULL)
        return crn__fail(error, CRN_INVALID, "feed %zu has no node", i);
    if (node->graph != graph || node->kind != CRN__NODE_PLACEHOLDER)
        return crn__fail(error, CRN_INVALID, "\"%s\" is no placeholder of this graph", node->name);
    char want[96], got[96];
    const crn_shape *shape = &feed->shape;
    bool fits = crn__shape_valid(shape, false) && shape->rank == node->shape.rank;
    for (int d = 0; fits && d < shape->rank; d++)
        fits = node->shape.dims[d] == CRN_ANY || node->shape.dims[d] == shape->dims[d];
    if (!fits)
        return crn__fail(error, CRN_INVALID, "placeholder \"%s\" is %s and cannot be fed %s",
                         node->name, crn_shape_text(&node->shape, want, sizeof want),
                         shape->rank >= 0 && shape->rank <= CRN_MAX_RANK
                             ? crn_shape_text(shape, got, sizeof got)
                             : "that rank");
    if (feed->data == NULL)
        return crn__fail(error, CRN_INVALID, "placeholder \"%s\" is fed no data", node->name);
    if (node->shape.rank > 0 && node->shape.dims[0] == CRN_ANY) {
        if (*batch != 0 && *batch != shape->dims[0])
            return crn__fail(error, CRN_INVALID,
                             "placeholder \"%s\" is fed a batch of %" PRId64
                             ", another of %" PRId64,
                             node->name, shape->dims[0], *batch);
        *batch = shape->dims[0];
    }
    return CRN_OK;
}

/* ---- memory ---- */

/* Whether the device can hold what a plan needs beside what the context holds. */
static bool fits(crn_graph *graph, const crn__footprint *footprint, uint64_t *needed)
{
    const crn_device_info *device = crn_context_device(graph->context);
    uint64_t held = crn_context_memory(graph->context) - graph->arena.bytes;
    uint64_t arena = footprint->arena > graph->arena.bytes ? footprint->arena : graph->arena.bytes;
    *needed = held + footprint->unallocated + arena;
    return *needed <= device->global_memory && footprint->largest_tensor <= device->max_allocation;
}

static bool batch_fits(crn_graph *graph, crn__request request, int64_t batch)
{
    request.batch = batch;
    crn__plan *plan;
    if (crn__plan_create(graph, &request, &plan) != CRN_OK)
        return false;
    crn__footprint footprint;
    uint64_t needed;
    crn__schedule_footprint(crn__plan_schedule(plan), &footprint);
    bool answer = fits(graph, &footprint, &needed);
    crn__plan_free(plan);
    return answer;
}

/* The largest batch below request->batch that fits; 0 when not even 1 does. */
static int64_t largest_batch(crn_graph *graph, const crn__request *request)
{
    int64_t low = 0, high = request->batch;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (batch_fits(graph, *request, middle))
            low = middle;
        else
            high = middle;
    }
    return low;
}

static crn_status check_memory(crn_graph *graph, const crn__request *request, crn__plan *plan)
{
    crn__footprint footprint;
    uint64_t needed;
    crn__schedule_footprint(crn__plan_schedule(plan), &footprint);
    if (fits(graph, &footprint, &needed))
        return CRN_OK;
    const crn_device_info *device = crn_context_device(graph->context);
    const double mib = 1024.0 * 1024.0;
    int64_t batch = largest_batch(graph, request);
    char advice[64] = "no batch size fits";
    if (batch > 0)
        snprintf(advice, sizeof advice, "a batch of %" PRId64 " fits", batch);
    return crn__fail(
        crn__context_fail(graph->context), CRN_DEVICE_MEMORY,
        "a batch of %" PRId64 " needs %.0f MiB in buffers of up to %.0f MiB; %s has %.0f MiB "
        "and allocates up to %.0f MiB at once: %s",
        request->batch, (double)needed / mib, (double)footprint.largest_tensor / mib, device->name,
        (double)device->global_memory / mib, (double)device->max_allocation / mib, advice);
}

/* ---- plans ---- */

/* The plan for a request, made if need be, and moved to the end of the list: the most recently
 * used. */
static crn_status find_plan(crn_graph *graph, const crn__request *request, crn__plan **out)
{
    crn__list *plans = &graph->plans;
    for (size_t i = plans->count; i-- > 0;) {
        crn__plan *plan = plans->items[i];
        if (!crn__plan_serves(plan, request))
            continue;
        memmove(&plans->items[i], &plans->items[i + 1], (plans->count - i - 1) * sizeof(void *));
        plans->items[plans->count - 1] = plan;
        *out = plan;
        return CRN_OK;
    }
    CRN__TRY(crn__plan_create(graph, request, out));
    crn_status status = check_memory(graph, request, *out);
    if (status == CRN_OK && plans->count == MAX_PLANS) {
        status = crn__finish(graph->context);
        crn__plan_free(plans->items[0]);
        memmove(plans->items, plans->items + 1, --plans->count * sizeof(void *));
    }
    if (status == CRN_OK && !crn__list_add(plans, *out))
        status = crn__fail_memory(crn__context_fail(graph->context));
    if (status != CRN_OK) {
        crn__plan_free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- running ---- */

static crn_status write_feeds(crn_graph *graph, const crn__plan *plan, const crn_feed *feeds,
                              size_t n_feeds)
{
    const crn__list *inputs = crn__plan_inputs(plan);
    for (size_t i = 0; i < inputs->count; i++) {
        const crn_node *placeholder = inputs->items[i];
        const crn_feed *feed = NULL;
        for (size_t k = 0; k < n_feeds; k++)
            if (feeds[k].node == placeholder)
                feed = &feeds[k];
        if (feed == NULL)
            return crn__fail(crn__context_fail(graph->context), CRN_INVALID,
                             "placeholder \"%s\" must be fed", placeholder->name);
        const crn__tensor *tensor = crn__plan_input(plan, placeholder);
        CRN__TRY(crn__buffer_write(tensor->buffer, 0, feed->data, tensor->bytes));
    }
    return CRN_OK;
}

static crn_status read_fetches(crn_graph *graph, const crn__plan *plan, crn_fetch *fetches,
                               size_t n_fetches)
{
    (void)graph;
    for (size_t i = 0; i < n_fetches; i++) {
        const crn__tensor *tensor = crn__plan_fetch(plan, i);
        CRN__TRY(crn__buffer_read(tensor->buffer, 0, fetches[i].data, tensor->bytes));
        fetches[i].shape = tensor->shape;
    }
    return CRN_OK;
}

static crn_status check_room(crn_graph *graph, const crn__plan *plan, const crn_fetch *fetches,
                             size_t n_fetches)
{
    for (size_t i = 0; i < n_fetches; i++) {
        size_t bytes = crn__plan_fetch(plan, i)->bytes;
        if (fetches[i].data == NULL || fetches[i].size < bytes)
            return crn__fail(crn__context_fail(graph->context), CRN_INVALID,
                             "fetch \"%s\" needs %zu bytes and has %zu", fetches[i].node->name,
                             bytes, fetches[i].data != NULL ? fetches[i].size : 0);
    }
    return CRN_OK;
}

static crn_status enqueue_plan(crn_graph *graph, crn__plan *plan, const crn_feed *feeds,
                               size_t n_feeds)
{
    crn__schedule *schedule = crn__plan_schedule(plan);
    CRN__TRY(crn__schedule_prepare(schedule, &graph->arena));
    CRN__TRY(write_feeds(graph, plan, feeds, n_feeds));
    crn_status status = crn__schedule_run(schedule, &graph->observer);
    crn__plan_ran(plan);
    return status;
}

static crn_status run_plan(crn_graph *graph, const crn__request *request, crn__plan *plan,
                           const crn_feed *feeds, size_t n_feeds, crn_fetch *fetches,
                           size_t n_fetches)
{
    CRN__TRY(check_room(graph, plan, fetches, n_fetches));
    if (request->train != NULL)
        CRN__TRY(crn__train_op_begin_run(request->train));
    CRN__TRY(enqueue_plan(graph, plan, feeds, n_feeds));
    CRN__TRY(read_fetches(graph, plan, fetches, n_fetches));
    return n_fetches == 0 ? crn__flush(graph->context) : CRN_OK;
}

/* Runs the refused run once more with an eye on every value, and fails with what it finds. The
 * device's memory may not suffice for that: then with less. */
static crn_status diagnose(crn_graph *graph, crn__request request, const crn_feed *feeds,
                           size_t n_feeds)
{
    const crn_node *node = NULL;
    bool is_gradient = false;
    crn__plan *plan = NULL;
    request.n_fetches = 0;
    request.diagnoses = true;
    crn_status status = crn__plan_create(graph, &request, &plan);
    if (status == CRN_OK)
        status = check_memory(graph, &request, plan);
    if (status == CRN_OK)
        status = enqueue_plan(graph, plan, feeds, n_feeds);
    if (status == CRN_OK)
        status = crn__plan_find_non_finite(plan, &node, &is_gradient);
    if (plan != NULL)
        crn__finish(graph->context);
    crn__plan_free(plan);
    const char *what = "the loss or a gradient";
    if (node != NULL)
        what = is_gradient                           ? "the gradient of "
               : node->kind == CRN__NODE_VARIABLE    ? "variable "
               : node->kind == CRN__NODE_PLACEHOLDER ? "what was fed to "
                                                     : "the value of ";
    return crn__fail(crn__context_fail(graph->context), CRN_NON_FINITE,
                     "%s%s%s%s is not finite after step %" PRId64, what, node != NULL ? "\"" : "",
                     node != NULL ? node->name : "", node != NULL ? "\"" : "", request.train->step);
}

/* After a run with `train`: takes note of it, or of why it is none. */
static crn_status end_training_run(crn_graph *graph, const crn__request *request,
                                   const crn_feed *feeds, size_t n_feeds)
{
    bool good;
    CRN__TRY(crn__verdict_read(request->train, &good));
    if (!good)
        return diagnose(graph, *request, feeds, n_feeds);
    crn__train_op_ran(request->train);
    return CRN_OK;
}

static crn_status check_request(crn_graph *graph, const crn_train_op *train,
                                crn_node *const *fetches, size_t n_fetches)
{
    CRN__TRY(graph->error.status);
    if (train != NULL && train->graph != graph)
        return crn__fail(crn__context_fail(graph->context), CRN_INVALID,
                         "the training operation is of another graph");
    for (size_t i = 0; i < n_fetches; i++)
        CRN__TRY(check_fetch(graph, fetches[i], i));
    return CRN_OK;
}

crn_status crn_run(crn_graph *graph, crn_train_op *train, const crn_feed *feeds, size_t n_feeds,
                   crn_fetch *fetches, size_t n_fetches)
{
    crn_node **nodes = crn__alloc(n_fetches, sizeof *nodes);
    if (nodes == NULL)
        return crn__fail_memory(crn__context_fail(graph->context));
    for (size_t i = 0; i < n_fetches; i++)
        nodes[i] = fetches[i].node;
    crn__request request = {.train = train, .fetches = nodes, .n_fetches = n_fetches};
    crn__plan *plan = NULL;
    crn_status status = check_request(graph, train, nodes, n_fetches);
    if (status == CRN_OK && train != NULL)
        request.accumulates = train->phase + 1 < train->options.accumulate;
    for (size_t i = 0; status == CRN_OK && i < n_feeds; i++)
        status = check_feed(graph, &feeds[i], i, &request.batch);
    if (status == CRN_OK) {
        request.batch = request.batch > 0 ? request.batch : 1;
        status = find_plan(graph, &request, &plan);
    }
    if (status == CRN_OK)
        status = run_plan(graph, &request, plan, feeds, n_feeds, fetches, n_fetches);
    if (status == CRN_OK && train != NULL)
        status = end_training_run(graph, &request, feeds, n_feeds);
    free(nodes);
    return status;
}

crn_status crn_plan(crn_graph *graph, crn_train_op *train, crn_node *const *fetches,
                    size_t n_fetches, int64_t batch_size, crn_plan_info *info)
{
    CRN__TRY(check_request(graph, train, fetches, n_fetches));
    if (batch_size < 1 || batch_size > INT32_MAX)
        return crn__fail(crn__context_fail(graph->context), CRN_INVALID,
                         "a batch size of %" PRId64 " is not positive or too large", batch_size);
    crn__request request = {
        .train = train, .fetches = fetches, .n_fetches = n_fetches, .batch = batch_size};
    crn__plan *plan;
    CRN__TRY(crn__plan_create(graph, &request, &plan));
    crn__footprint footprint;
    crn__schedule_footprint(crn__plan_schedule(plan), &footprint);
    uint64_t slab = crn_context_device(graph->context)->max_allocation;
    uint64_t largest = footprint.arena < slab ? footprint.arena : slab;
    *info = (crn_plan_info){
        .variables = footprint.persistent,
        .arena = footprint.arena,
        .peak = footprint.persistent + footprint.arena,
        .largest_buffer = largest > footprint.largest_tensor ? largest : footprint.largest_tensor,
        .launches = footprint.launches,
    };
    crn_status status = check_memory(graph, &request, plan);
    crn__plan_free(plan);
    return status;
}

void crn_graph_set_profile(crn_graph *graph, crn_profile_fn report, void *data)
{
    graph->observer = (crn__observer){report, data};
}

crn_status crn_graph_finish(crn_graph *graph)
{
    return crn__finish(graph->context);
}
