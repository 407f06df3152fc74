/*
 * Times every convolution of a network in each direction, as the library runs it:
 *     ops [MODEL [BATCH [IMAGE_SIZE [REPEATS]]]]
 * For each: milliseconds (the median), GFLOP/s as a direct convolution counts them, and the share
 * of the device's multiply-add limit, which is measured before and after in the same run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clarinet/resnet.h"
#include "graph/graph.h"
#include "ops/conv/conv.h"

static crn_context *context;

static void check(crn_status status)
{
    if (status == CRN_OK)
        return;
    fprintf(stderr, "ops: %s\n", crn_context_error(context)->text);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of a schedule's run. */
static double time_schedule(crn__schedule *schedule, int repeats)
{
    crn__arena arena = {.slabs = NULL};
    double *seconds = calloc((size_t)repeats, sizeof *seconds);
    check(crn__schedule_place(schedule));
    check(crn__schedule_prepare(schedule, &arena));
    check(
        crn__schedule_run(schedule, &(crn__observer){.report = NULL})); /* the first run compiles */
    check(crn__finish(context));
    for (int i = 0; i < repeats; i++) {
        double begin = now();
        check(crn__schedule_run(schedule, &(crn__observer){.report = NULL}));
        check(crn__finish(context));
        seconds[i] = now() - begin;
    }
    qsort(seconds, (size_t)repeats, sizeof *seconds, ascending);
    double median = seconds[repeats / 2];
    free(seconds);
    crn__schedule_free(schedule);
    crn__arena_free(&arena);
    return median;
}

static crn__schedule *new_schedule(void)
{
    crn__schedule *schedule = crn__schedule_create(context, crn__context_fail(context));
    if (schedule == NULL)
        check(CRN_NO_MEMORY);
    return schedule;
}

/* GFLOP/s of independent multiply-adds. */
static double fma_limit(void)
{
    const crn__profile *profile = crn__context_profile(context);
    const int64_t n = 2000000;
    crn__schedule *schedule = new_schedule();
    size_t items = (size_t)profile->parallelism * profile->group_size;
    crn__tensor *out = crn__schedule_workspace(schedule, items * profile->vector_width);
    int chains = profile->vector_width == 16 ? 24 : 12;
    crn__task task = crn__task_kernel("limits.cl", "fma_limit", "-DVW=%u -DGROUP=%u -DCHAINS=%d",
                                      profile->vector_width, profile->group_size, chains);
    task.range = (crn__range){1, {items, 1, 1}, {profile->group_size, 1, 1}};
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(out), CRN__LONG(n), CRN__FLOAT(0.5f)));
    double operations = 2.0 * profile->vector_width * chains * (double)n * (double)items;
    return operations / time_schedule(schedule, 3) / 1e9;
}

static crn__tensor *tensor(crn_shape shape)
{
    crn__tensor *made = crn__tensor_create(CRN_F32, &shape);
    if (made == NULL)
        check(CRN_NO_MEMORY);
    return made;
}

enum { FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, DIRECTIONS };

static double time_direction(const crn__conv *c, int direction, int repeats)
{
    crn__tensor *x = tensor(CRN_SHAPE(c->images, c->ih, c->iw, c->ic));
    crn__tensor *y = tensor(CRN_SHAPE(c->images, c->oh, c->ow, c->oc));
    crn__tensor *w = tensor(CRN_SHAPE(c->window.kernel[0], c->window.kernel[1], c->ic, c->oc));
    crn__schedule *schedule = new_schedule();
    const crn__conv_solver_ops *solver = crn__conv_choose(schedule, c);
    if (direction == FORWARD)
        solver->forward(schedule, c, x, w, &(crn__epilogue){.scale = NULL}, y);
    else if (direction == INPUT_GRADIENT)
        solver->input_gradient(schedule, c, y, w, x, false);
    else
        solver->weight_gradient(schedule, c, x, y, w, false);
    double seconds = time_schedule(schedule, repeats);
    crn__tensor_free(x);
    crn__tensor_free(y);
    crn__tensor_free(w);
    return seconds;
}

static bool same(const crn__conv *a, const crn__conv *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* The network's convolutions, each kind once with how often it occurs. */
static size_t collect(crn_graph *graph, int32_t batch, crn__conv *convs, int *counts)
{
    size_t n = 0;
    for (size_t i = 0; i < graph->nodes.count; i++) {
        const crn_node *node = graph->nodes.items[i];
        if (node->op != &crn__op_conv2d)
            continue;
        const crn_shape *x = &node->inputs[0]->shape, *y = &node->shape;
        crn__conv c;
        memset(&c, 0, sizeof c);
        c.images = batch;
        c.ih = (int32_t)x->dims[1];
        c.iw = (int32_t)x->dims[2];
        c.ic = (int32_t)x->dims[3];
        c.oh = (int32_t)y->dims[1];
        c.ow = (int32_t)y->dims[2];
        c.oc = (int32_t)y->dims[3];
        c.window = node->attrs.window;
        size_t k = 0;
        while (k < n && !same(&convs[k], &c))
            k++;
        convs[k] = c;
        counts[k]++;
        n += k == n;
    }
    return n;
}

int main(int argc, char **argv)
{
    const crn_model *model = crn_model_find(argc > 1 ? argv[1] : "resnet_v1_50");
    int batch = argc > 2 ? atoi(argv[2]) : 8;
    int size = argc > 3 ? atoi(argv[3]) : model != NULL ? model->image_size : 0;
    int repeats = argc > 4 ? atoi(argv[4]) : 5;
    if (model == NULL || batch < 1 || size < 1 || repeats < 1) {
        fprintf(stderr, "Usage: ops [MODEL [BATCH [IMAGE_SIZE [REPEATS]]]]\n");
        return 2;
    }
    crn_error error;
    if (crn_context_create(NULL, &context, &error) != CRN_OK) {
        fprintf(stderr, "ops: %s\n", error.text);
        return 1;
    }
    crn_graph *graph;
    check(crn_graph_create(context, &graph));
    crn_node *inputs = crn_placeholder(graph, "inputs", CRN_F32, CRN_SHAPE(CRN_ANY, size, size, 3));
    model->build(graph, inputs, 1000, NULL);
    if (crn_graph_status(graph) != CRN_OK) {
        fprintf(stderr, "ops: %s\n", crn_graph_error(graph)->text);
        return 1;
    }
    crn__conv *convs = calloc(graph->nodes.count, sizeof *convs);
    int *counts = calloc(graph->nodes.count, sizeof *counts);
    size_t n = collect(graph, batch, convs, counts);

    double limit = fma_limit(), total[DIRECTIONS] = {0}, work = 0;
    printf("%s, batch %d, %d pixels, %s (%s); multiply-add limit %.0f GFLOP/s\n", model->name,
           batch, size, crn_context_device(context)->name, crn_context_device(context)->driver,
           limit);
    printf("%-30s %2s  %24s %24s %24s\n", "convolution", "x", "forward", "input gradient",
           "weight gradient");
    for (size_t i = 0; i < n; i++) {
        const crn__conv *c = &convs[i];
        double flops = 2.0 * c->images * c->oh * c->ow * c->oc * c->ic * c->window.kernel[0] *
                       c->window.kernel[1];
        char name[64];
        snprintf(name, sizeof name, "%dx%d %d>%d %dx%d/%d", c->ih, c->iw, c->ic, c->oc,
                 c->window.kernel[0], c->window.kernel[1], c->window.stride[0]);
        printf("%-30s %2d ", name, counts[i]);
        for (int d = 0; d < DIRECTIONS; d++) {
            double seconds = time_direction(c, d, repeats);
            total[d] += seconds * counts[i];
            printf("  %8.2f ms %5.0f %3.0f %%", 1e3 * seconds, flops / seconds / 1e9,
                   100 * flops / seconds / 1e9 / limit);
            fflush(stdout);
        }
        work += flops * counts[i];
        printf("\n");
    }
    printf("%-33s ", "all");
    for (int d = 0; d < DIRECTIONS; d++)
        printf("  %8.2f ms %5.0f %3.0f %%", 1e3 * total[d], work / total[d] / 1e9,
               100 * work / total[d] / 1e9 / limit);
    printf("\nmultiply-add limit afterwards %.0f GFLOP/s\n", fma_limit());
    free(convs);
    free(counts);
    crn_graph_free(graph);
    crn_context_free(context);
    return 0;
}
