#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"

typedef struct arguments {
    const char *checkpoint, *input, *output, *end_point, *device;
    int64_t batch_size;
    bool list;
} arguments;

static int list_end_points(const crn_graph *graph)
{
    for (size_t i = 0; i < crn_end_point_count(graph); i++) {
        char text[64];
        crn_shape shape = crn_node_shape(crn_end_point_at(graph, i));
        printf("%s %s\n", crn_end_point_name(graph, i), crn_shape_text(&shape, text, sizeof text));
    }
    return CLI_OK;
}

/* [H,W,C] counts as one image. */
static int check_input(const char *path, const crn_shape *wanted, crn_shape *got)
{
    char want_text[64], got_text[64];
    crn_shape read = *got, one = *wanted;
    if (read.rank == 3)
        *got = CRN_SHAPE(1, read.dims[0], read.dims[1], read.dims[2]);
    one.dims[0] = got->dims[0];
    if (crn_shape_equal(got, &one) && got->dims[0] > 0)
        return CLI_GO_ON;
    return cli_usage_error("predict", "%s is %s, the network takes %s", path,
                           crn_shape_text(&read, got_text, sizeof got_text),
                           crn_shape_text(wanted, want_text, sizeof want_text));
}

/* values: `size` floats an image. */
static crn_status run(crn_classifier *classifier, crn_node *node, const float *images,
                      crn_shape shape, int64_t batch_size, float *values, size_t size)
{
    size_t pixels = (size_t)(shape.dims[1] * shape.dims[2] * shape.dims[3]);
    for (int64_t done = 0, count; done < shape.dims[0]; done += count) {
        count = shape.dims[0] - done < batch_size ? shape.dims[0] - done : batch_size;
        crn_feed feed = {crn_classifier_inputs(classifier), images + (size_t)done * pixels, shape};
        feed.shape.dims[0] = count;
        crn_fetch fetch = {.node = node,
                           .data = values + (size_t)done * size,
                           .size = (size_t)count * size * sizeof *values};
        crn_status status = crn_run(crn_classifier_graph(classifier), NULL, &feed, 1, &fetch, 1);
        if (status != CRN_OK)
            return status;
    }
    return CRN_OK;
}

static int predict(const arguments *a, crn_context *context, crn_classifier *classifier,
                   crn_node *node)
{
    crn_error error;
    crn_shape input, wanted = crn_node_shape(crn_classifier_inputs(classifier));
    crn_shape output = crn_node_shape(node);
    float *images = NULL, *values = NULL;
    if (crn_npy_read(a->input, &images, &input, &error) != CRN_OK)
        return cli_fail("predict", &error);
    int code = check_input(a->input, &wanted, &input);
    if (code == CLI_GO_ON) {
        output.dims[0] = input.dims[0];
        int64_t total = crn_shape_count(&output);
        values = total < 0 ? NULL : calloc((size_t)total, sizeof *values);
        if (values == NULL)
            code = cli_no_memory("predict");
        else if (run(classifier, node, images, input, a->batch_size, values,
                     (size_t)(total / input.dims[0])) != CRN_OK)
            code = cli_fail("predict", crn_context_error(context));
        else if (crn_npy_write(a->output, values, &output, &error) != CRN_OK)
            code = cli_fail("predict", &error);
    }
    free(values);
    crn_free(images);
    return code == CLI_GO_ON ? CLI_OK : code;
}

static int open_and_predict(const arguments *a)
{
    crn_context *context = NULL;
    crn_classifier *classifier = NULL;
    int code = cli_open_classifier("predict", a->device, a->checkpoint, &context, &classifier);
    if (code == CLI_GO_ON) {
        crn_graph *graph = crn_classifier_graph(classifier);
        crn_node *node = a->end_point != NULL ? crn_end_point_find(graph, a->end_point)
                                              : crn_classifier_logits(classifier);
        if (a->list)
            code = list_end_points(graph);
        else if (node == NULL)
            code = cli_usage_error("predict", "there is no end point '%s'; see --list-end-points",
                                   a->end_point);
        else
            code = predict(a, context, classifier, node);
    }
    crn_classifier_free(classifier);
    crn_context_free(context);
    return code;
}

int cmd_predict(int argc, char **argv)
{
    arguments a = {.batch_size = 32};
    const cli_option options[] = {
        {"checkpoint", CLI_CHECKPOINT, &a.checkpoint, "C", .help = "from clarinet train",
         .required = true},
        {"input", CLI_FILE, &a.input, "X.NPY",
         .help =
             "array [N,H,W,C] or [H,W,C], as the network takes it: nothing is resized or scaled"},
        {"output", CLI_TEXT, &a.output, "Y.NPY", .help = "where the float32 result goes"},
        {"end-point", CLI_TEXT, &a.end_point, "NAME", .help = "what to write; else the logits"},
        {"list-end-points", CLI_FLAG, &a.list,
         .help = "print names and shapes, and do nothing else"},
        {"batch-size", CLI_INTEGER, &a.batch_size, "N", .help = "images at once", .min = 1,
         .max = 65536},
        {"device", CLI_TEXT, &a.device, "X", .help = CLI_DEVICE_HELP},
    };
    const cli_spec spec = {.command = "predict",
                           .about = "Runs a checkpoint on a NumPy array and writes its logits, or "
                                    "any end point, as another.",
                           .options = options,
                           .n_options = sizeof options / sizeof *options};
    int code = cli_parse(&spec, argc, argv, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (!a.list && (a.input == NULL || a.output == NULL))
        return cli_usage_error("predict", "needs --input and --output, or --list-end-points");
    return open_and_predict(&a);
}
