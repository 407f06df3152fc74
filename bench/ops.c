/*
 * Times what a training step of a network is made of:
 *     ops [MODEL [BATCH [IMAGE_SIZE [REPEATS]]]]
 * First each convolution alone, in each direction: the first letter of the solver (conv.h),
 * milliseconds (the median), GFLOP/s as a direct convolution counts them, and the share of the
 * device's multiply-add limit, which is measured before and after in the same run.
 * Then what memory limits, kernel by kernel in whole steps: milliseconds of one (the median), GB/s
 * where every tensor that goes in or comes out counts once, however often the kernels read it, and
 * the share of what a copy of large tensors reaches in the same run. Tensors that the caches hold
 * exceed that; tiny ones take what launching and waiting take.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clarinet/resnet.h"
#include "graph/conv_kinds.h"

enum { CLASSES = 1000, MAX_REPEATS = 99 };

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

/* GB/s, read and written, of a copy of tensors that are too large for the caches. */
static double copy_limit(void)
{
    const crn_device_info *device = crn_context_device(context);
    uint64_t bytes = (uint64_t)256 << 20;
    bytes = bytes > 4 * device->cache_memory ? bytes : 4 * device->cache_memory;
    bytes = bytes < device->max_allocation ? bytes : device->max_allocation;
    crn_shape shape = {1, {(int64_t)(bytes / sizeof(float))}};
    crn__tensor *x = tensor(shape), *y = tensor(shape);
    crn__schedule *schedule = new_schedule();
    size_t count = crn__tensor_count(x);
    crn__task task = crn__task_flat(schedule, "limits.cl", "copy_limit", count);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(y),
                                    CRN__LONG(crn__flat_vectors(schedule, count))));
    double seconds = time_schedule(schedule, 5);
    crn__tensor_free(x);
    crn__tensor_free(y);
    return 2 * (double)bytes / seconds / 1e9;
}

/* ---- convolutions ---- */

static double time_direction(const crn__conv *c, crn__direction direction, int repeats,
                             char *letter)
{
    crn__tensor *x = tensor(CRN_SHAPE(c->images, c->ih, c->iw, c->ic));
    crn__tensor *y = tensor(CRN_SHAPE(c->images, c->oh, c->ow, c->oc));
    crn__tensor *w = tensor(CRN_SHAPE(c->window.kernel[0], c->window.kernel[1], c->ic, c->oc));
    crn__schedule *schedule = new_schedule();
    const crn__conv_solver_ops *solver = crn__conv_choose(schedule, c, direction);
    *letter = solver->name[0];
    crn__conv_write(schedule, solver, c, direction, x, w, y);
    double seconds = time_schedule(schedule, repeats);
    crn__tensor_free(x);
    crn__tensor_free(y);
    crn__tensor_free(w);
    return seconds;
}

static void print_convolutions(crn_graph *graph, int batch, int repeats, double limit)
{
    crn__conv_kind *convolutions = calloc(graph->nodes.count, sizeof *convolutions);
    size_t n = crn__conv_kinds(graph, batch, convolutions);
    double total[CRN__DIRECTIONS] = {0}, work = 0;
    printf("%-30s %2s  %26s %26s %26s\n", "convolution", "x", "forward", "input gradient",
           "weight gradient");
    for (size_t i = 0; i < n; i++) {
        const crn__conv *c = &convolutions[i].conv;
        size_t count = convolutions[i].count;
        double flops = 2.0 * c->images * c->oh * c->ow * c->oc * c->ic * c->window.kernel[0] *
                       c->window.kernel[1];
        char name[64];
        snprintf(name, sizeof name, "%dx%d %d>%d %dx%d/%d", c->ih, c->iw, c->ic, c->oc,
                 c->window.kernel[0], c->window.kernel[1], c->window.stride[0]);
        printf("%-30s %2zu ", name, count);
        for (int d = 0; d < CRN__DIRECTIONS; d++) {
            char letter;
            double seconds = time_direction(c, (crn__direction)d, repeats, &letter);
            total[d] += seconds * (double)count;
            printf("  %c %8.2f ms %5.0f %3.0f %%", letter, 1e3 * seconds, flops / seconds / 1e9,
                   100 * flops / seconds / 1e9 / limit);
            fflush(stdout);
        }
        work += flops * (double)count;
        printf("\n");
    }
    printf("%-33s ", "all");
    for (int d = 0; d < CRN__DIRECTIONS; d++)
        printf("    %8.2f ms %5.0f %3.0f %%", 1e3 * total[d], work / total[d] / 1e9,
               100 * work / total[d] / 1e9 / limit);
    printf("\n");
    free(convolutions);
}

/* ---- what memory limits ---- */

/*
 * Which kernels a step of the second table is. The first of them has its traffic: tensors of the
 * node's (first) input's shape and of its output's.
 */
typedef struct step_kind {
    const char *name;
    const char *kernels[3];
    int inputs, outputs;
    const crn__op *op; /* for this one's nodes only; or NULL */
} step_kind;

static const step_kind kinds[] = {
    {"batch norm statistics", {"batch_norm.cl:statistics ", "batch_norm.cl:finalise "}, 1, 0, NULL},
    {"batch norm, activation", {"batch_norm.cl:forward "}, 1, 1, &crn__op_batch_norm},
    {"batch norm, add, activation", {"batch_norm.cl:forward "}, 2, 1, &crn__op_add},
    {"batch norm gradient", /* x, dy > dx */
     {"batch_norm.cl:backward_sums ", "batch_norm.cl:backward_finalise ",
      "batch_norm.cl:backward "},
     2,
     1,
     NULL},
    {"add, activation", {"add.cl:forward "}, 2, 1, NULL},
    {"activation gradient", {"activation.cl:backward "}, 0, 3, NULL}, /* y, dy > dx */
    {"gradient copy", {"elementwise.cl:copy "}, 2, 0, NULL},
    {"max pool", {"pool.cl:max_forward "}, 1, 2, NULL}, /* x > y, indices */
    {"max pool gradient", {"pool.cl:max_backward "}, 1, 2, NULL},
    {"global pool", {"pool.cl:global_forward "}, 1, 1, NULL},
    {"global pool gradient", {"pool.cl:global_backward "}, 1, 1, NULL},
    {"L2 loss", {"reduce.cl:sum_parts ", "reduce.cl:sum_total "}, 1, 0, &crn__op_regularization},
    {"L2 loss gradient", {"reduce.cl:spread_scaled "}, 2, 0, NULL},
    {"update", {"optimizer.cl:gradient_descent "}, 0, 3, NULL}, /* w, dw > w */
};

typedef struct row {
    const step_kind *kind;
    const crn_node *node; /* the first of its kind and shape */
    int count;            /* in a step */
    double bytes;         /* of all of them */
    double seconds[MAX_REPEATS];
} row;

typedef struct table {
    crn_graph *graph;
    int batch, step;
    row rows[256];
    size_t count;
} table;

/* Of all weights there is one row; else one for each shape. */
static bool takes_weights(const crn_node *node)
{
    return node->kind == CRN__NODE_VARIABLE || node->op == &crn__op_regularization;
}

static row *find_row(table *t, const step_kind *kind, const crn_node *node)
{
    for (size_t i = 0; i < t->count; i++) {
        const row *r = &t->rows[i];
        if (r->kind == kind && takes_weights(r->node) == takes_weights(node) &&
            (takes_weights(node) || crn_shape_equal(&r->node->shape, &node->shape)))
            return &t->rows[i];
    }
    if (t->count == sizeof t->rows / sizeof *t->rows)
        return NULL;
    t->rows[t->count] = (row){.kind = kind, .node = node};
    return &t->rows[t->count++];
}

static double bytes_of(const table *t, const crn_node *node)
{
    crn_shape shape = crn__shape_at(&node->shape, t->batch);
    return (double)crn_shape_count(&shape) * sizeof(float);
}

static const crn_node *find_node(const crn_graph *graph, const char *label)
{
    for (size_t i = 0; i < graph->nodes.count; i++)
        if (((const crn_node *)graph->nodes.items[i])->name == label)
            return graph->nodes.items[i];
    return NULL;
}

/* The kind of step that a kernel is part of, and whether it is the first part; or NULL. */
static const step_kind *find_kind(const crn_node *node, const char *kernel, bool *first)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (size_t k = 0; k < 3 && kinds[i].kernels[k] != NULL; k++)
            if (strncmp(kernel, kinds[i].kernels[k], strlen(kinds[i].kernels[k])) == 0 &&
                (kinds[i].op == NULL || kinds[i].op == node->op)) {
                *first = k == 0;
                return &kinds[i];
            }
    return NULL;
}

/* crn_profile_fn: adds one kernel to its row. */
static void add_kernel(void *data, const char *label, const char *kernel, double seconds)
{
    table *t = data;
    bool first = false;
    const crn_node *node = find_node(t->graph, label);
    if (node == NULL || (node->shape.rank != 4 && !takes_weights(node)))
        return;
    const step_kind *kind = find_kind(node, kernel, &first);
    row *r = kind != NULL ? find_row(t, kind, node) : NULL;
    if (r == NULL)
        return;
    r->seconds[t->step] += seconds;
    if (!first || t->step > 0)
        return;
    size_t input = node->op == &crn__op_regularization ? (size_t)r->count : 0;
    if (kind->inputs > 0)
        r->bytes += kind->inputs * bytes_of(t, node->inputs[input]);
    r->bytes += kind->outputs * bytes_of(t, node);
    r->count++;
}

static crn_train_op *build_training(crn_graph *graph, crn_node *labels, crn_node *logits)
{
    crn_node *entropy = crn_sparse_softmax_cross_entropy(graph, labels, logits);
    crn_node *loss =
        crn_add(graph, crn_reduce_mean(graph, entropy), crn_regularization_loss(graph));
    return crn_minimize(graph, crn_gradient_descent(0.01f), loss);
}

static void run_steps(table *t, crn_train_op *train, crn_node *inputs, crn_node *labels,
                      int repeats)
{
    crn_shape shape = crn__shape_at(&inputs->shape, t->batch);
    size_t count = (size_t)crn_shape_count(&shape);
    float *images = calloc(count, sizeof *images);
    int32_t *classes = calloc((size_t)t->batch, sizeof *classes);
    for (size_t i = 0; i < count; i++)
        images[i] = (float)(i * 2654435761u % 1024) / 512 - 1;
    const crn_feed feeds[] = {{inputs, images, shape}, {labels, classes, CRN_SHAPE(t->batch)}};
    check(crn_initialize_variables(t->graph));
    check(crn_run(t->graph, train, feeds, 2, NULL, 0)); /* the first run compiles */
    crn_graph_set_profile(t->graph, add_kernel, t);
    for (t->step = 0; t->step < repeats; t->step++)
        check(crn_run(t->graph, train, feeds, 2, NULL, 0));
    free(images);
    free(classes);
}

static int by_kind_and_size(const void *a, const void *b)
{
    const row *x = a, *y = b;
    double one_x = x->bytes / x->count, one_y = y->bytes / y->count;
    return x->kind != y->kind ? (x->kind > y->kind) - (x->kind < y->kind)
                              : (one_x < one_y) - (one_x > one_y);
}

static void print_memory(table *t, int repeats, double limit)
{
    double all = 0, all_bytes = 0;
    printf("\n%-30s %-16s %3s %12s %6s  of a copy's %.1f GB/s\n", "limited by memory", "shape", "x",
           "ms of one", "GB/s", limit);
    qsort(t->rows, t->count, sizeof *t->rows, by_kind_and_size);
    for (size_t i = 0; i < t->count; i++) {
        row r = t->rows[i];
        const int64_t *dims = r.node->shape.dims;
        char shape[64] = "all weights";
        if (!takes_weights(r.node))
            snprintf(shape, sizeof shape, "%dx%dx%d", (int)dims[1], (int)dims[2], (int)dims[3]);
        qsort(r.seconds, (size_t)repeats, sizeof *r.seconds, ascending);
        double seconds = r.seconds[repeats / 2], speed = r.bytes / seconds / 1e9;
        printf("%-30s %-16s %3d %12.3f %6.1f %3.0f %%\n", r.kind->name, shape, r.count,
               1e3 * seconds / r.count, speed, 100 * speed / limit);
        all += seconds;
        all_bytes += r.bytes;
    }
    printf("%-30s %-20s %12.3f %6.1f %3.0f %%\n", "all", "", 1e3 * all, all_bytes / all / 1e9,
           100 * all_bytes / all / 1e9 / limit);
}

int main(int argc, char **argv)
{
    const crn_model *model = crn_model_find(argc > 1 ? argv[1] : "resnet_v1_50");
    int batch = argc > 2 ? atoi(argv[2]) : 8;
    int size = argc > 3 ? atoi(argv[3]) : model != NULL ? model->image_size : 0;
    int repeats = argc > 4 ? atoi(argv[4]) : 5;
    if (model == NULL || batch < 1 || size < 1 || repeats < 1 || repeats > MAX_REPEATS) {
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
    crn_node *labels = crn_placeholder(graph, "labels", CRN_I32, CRN_SHAPE(CRN_ANY));
    crn_train_op *train = build_training(graph, labels, model->build(graph, inputs, CLASSES, NULL));
    if (crn_graph_status(graph) != CRN_OK) {
        fprintf(stderr, "ops: %s\n", crn_graph_error(graph)->text);
        return 1;
    }

    double limit = fma_limit();
    printf("%s, batch %d, %d pixels, %s (%s); multiply-add limit %.0f GFLOP/s\n", model->name,
           batch, size, crn_context_device(context)->name, crn_context_device(context)->driver,
           limit);
    print_convolutions(graph, batch, repeats, limit);
    printf("multiply-add limit afterwards %.0f GFLOP/s\n", fma_limit());

    double copy = copy_limit();
    table t = {.graph = graph, .batch = batch};
    run_steps(&t, train, inputs, labels, repeats);
    print_memory(&t, repeats, copy);
    printf("a copy afterwards %.1f GB/s\n", copy_limit());
    crn_graph_free(graph);
    crn_context_free(context);
    return 0;
}
