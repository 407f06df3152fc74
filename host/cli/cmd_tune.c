#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/progress.h"

#define CHANNELS 3

typedef struct tune {
    const char *model, *mode, *device;
    int64_t batch_size, image_size, classes;
    bool again, json;

    crn_graph *graph;
    crn_tune_result *results;
    size_t count;
    bool no_memory;
} tune;

static crn_status build(tune *t)
{
    crn_graph *g = t->graph;
    crn_resnet_options options = CRN_RESNET_OPTIONS_INIT;
    options.is_training = strcmp(t->mode, "train") == 0;
    crn_node *inputs = crn_placeholder(g, "inputs", CRN_F32,
                                       CRN_SHAPE(CRN_ANY, t->image_size, t->image_size, CHANNELS));
    crn_node *logits = crn_model_find(t->model)->build(g, inputs, t->classes, &options);
    if (options.is_training) {
        crn_node *labels = crn_placeholder(g, "labels", CRN_I32, CRN_SHAPE(CRN_ANY));
        crn_node *entropy = crn_sparse_softmax_cross_entropy(g, labels, logits);
        crn_minimize(g, crn_gradient_descent(0.01f), crn_reduce_mean(g, entropy));
    }
    return crn_graph_status(g);
}

/* crn_tune_fn: keeps the result, to be printed when the progress bar is gone. */
static bool keep(void *data, const crn_tune_result *result)
{
    tune *t = data;
    char after[64];
    snprintf(after, sizeof after, "%zu of %zu", result->done, result->total);
    cli_progress_show("tuning", (double)result->done / (double)result->total, after,
                      result->done == result->total);
    if (t->results == NULL)
        t->results = calloc(result->total, sizeof *t->results);
    t->no_memory = t->results == NULL;
    if (t->no_memory || cli_stopped())
        return false;
    t->results[t->count++] = *result;
    return true;
}

/* ---- printing ---- */

static json_t *shape_json(const crn_shape *shape)
{
    json_t *dims = json_array();
    for (int i = 0; i < shape->rank; i++)
        json_array_append_new(dims, json_integer((json_int_t)shape->dims[i]));
    return dims;
}

/* Seconds by solver: null where it failed or was wrong; empty where nothing was measured. */
static json_t *times_json(const crn_tune_result *r)
{
    json_t *times = json_object();
    for (size_t i = 0; i < r->n_solvers; i++)
        if (r->seconds[i] != 0)
            json_object_set_new(times, r->solvers[i],
                                r->seconds[i] > 0 ? json_real(r->seconds[i]) : json_null());
    return times;
}

static int print_json(const tune *t, const crn_context *context)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->count; i++) {
        const crn_tune_result *r = &t->results[i];
        json_array_append_new(
            list, json_pack("{ss sI so so s[ii] s[ii] ss ss so}", "layer", crn_node_name(r->node),
                            "count", (json_int_t)r->count, "input", shape_json(&r->input), "output",
                            shape_json(&r->output), "kernel", (int)r->kernel[0], (int)r->kernel[1],
                            "stride", (int)r->stride[0], (int)r->stride[1], "direction",
                            r->direction, "solver", r->solver, "seconds", times_json(r)));
    }
    return cli_print_json(
        "tune", json_pack("{ss ss so sI sI sI so}", "model", t->model, "mode", t->mode, "device",
                          cli_json_text(crn_context_device(context)->name), "batch_size",
                          (json_int_t)t->batch_size, "image_size", (json_int_t)t->image_size,
                          "classes", (json_int_t)t->classes, "convolutions", list));
}

static void print_line(const crn_tune_result *r)
{
    const int64_t *in = r->input.dims, *out = r->output.dims;
    bool image = r->input.rank == 4;
    char text[96];
    snprintf(text, sizeof text, "%" PRId64 "x%" PRId64 " %" PRId64 ">%" PRId64 " %dx%d/%d",
             image ? in[1] : 1, image ? in[2] : 1, in[r->input.rank - 1], out[r->output.rank - 1],
             (int)r->kernel[0], (int)r->kernel[1], (int)r->stride[0]);
    printf("%-28s %3zu  %-16s %-9s", text, r->count, r->direction, r->solver);
    bool measured = false;
    for (size_t i = 0; i < r->n_solvers; i++) {
        if (r->seconds[i] > 0)
            printf("%s%s %.3f ms", measured ? ", " : " ", r->solvers[i], 1e3 * r->seconds[i]);
        else if (r->seconds[i] < 0)
            printf("%s%s is wrong", measured ? ", " : " ", r->solvers[i]);
        measured = measured || r->seconds[i] != 0;
    }
    printf("%s\n", measured ? "" : r->n_solvers > 1 ? " chosen before" : " the only one");
}

static int print(const tune *t, const crn_context *context)
{
    if (t->json)
        return print_json(t, context);
    printf("%s, %s, batch of %" PRId64 " images %" PRId64 "x%" PRId64 "x%d, on ", t->model, t->mode,
           t->batch_size, t->image_size, t->image_size, CHANNELS);
    cli_print_clean(stdout, crn_context_device(context)->name);
    printf("\n%-28s %3s  %-16s %-9s %s\n", "convolution", "x", "direction", "solver", "measured");
    for (size_t i = 0; i < t->count; i++)
        print_line(&t->results[i]);
    return CLI_OK;
}

static int run(tune *t)
{
    crn_context *context = NULL;
    crn_tune_options options = CRN_TUNE_OPTIONS_INIT;
    options.again = t->again;
    options.report = keep;
    options.report_data = t;
    int code = cli_open_context("tune", t->device, &context);
    if (code == CLI_GO_ON) {
        if (crn_graph_create(context, &t->graph) != CRN_OK)
            code = cli_fail("tune", crn_context_error(context));
        else if (build(t) != CRN_OK)
            code = cli_fail("tune", crn_graph_error(t->graph));
        else if (crn_graph_tune(t->graph, t->batch_size, &options) != CRN_OK)
            code =
                t->no_memory ? cli_no_memory("tune") : cli_fail("tune", crn_context_error(context));
    }
    if (code == CLI_GO_ON)
        code = print(t, context);
    free(t->results);
    crn_graph_free(t->graph);
    crn_context_free(context);
    return code;
}

int cmd_tune(int argc, char **argv)
{
    tune t = {.batch_size = 32, .mode = "train", .classes = 1000};
    const cli_option options[] = {
        {"model", CLI_CHOICE, &t.model, "M", .help = "the network", .choices = cli_model_names(),
         .required = true},
        {"batch-size", CLI_INTEGER, &t.batch_size, "N", .help = "images a step", .min = 1,
         .max = 65536},
        {"image-size", CLI_INTEGER, &t.image_size, "N",
         .help = "height and width; else what the network was made for", .min = 8, .max = 4096},
        {"mode", CLI_CHOICE, &t.mode, "MODE", .help = "with or without gradients",
         .choices = "train, infer"},
        {"classes", CLI_INTEGER, &t.classes, "N", .help = "number of classes", .min = 1,
         .max = 1e6},
        {"again", CLI_FLAG, &t.again, .help = "measure what was measured before, too"},
        {"device", CLI_TEXT, &t.device, "X", .help = CLI_DEVICE_HELP},
        {"json", CLI_FLAG, &t.json, .help = CLI_JSON_HELP},
    };
    const cli_spec spec = {.command = "tune",
                           .about = "Measures which kernels convolve fastest in a network at a "
                                    "batch size, and keeps that for later runs.",
                           .options = options,
                           .n_options = sizeof options / sizeof *options};
    int code = cli_parse(&spec, argc, argv, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (t.image_size == 0)
        t.image_size = crn_model_find(t.model)->image_size;
    cli_catch_signals();
    return run(&t);
}
