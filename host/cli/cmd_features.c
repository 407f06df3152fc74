#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/progress.h"

typedef struct arguments {
    const char *checkpoint, *data, *end_point, *out, *device;
    int64_t batch_size;
    bool spatial, test;
} arguments;

/* What is written of each image. */
typedef struct features {
    crn_classifier *classifier;
    const crn_dataset *dataset;
    crn_node *node;
    crn_shape shape; /* of all: first dimension the images */
    size_t places;   /* that are averaged; 1: none */
    size_t size;     /* numbers an image */
    size_t images, batch;
    float *input, *values, *result;
    int32_t *labels;
    size_t *indices;
} features;

static int shape_result(const arguments *a, features *f)
{
    crn_shape s = crn_node_shape(f->node);
    if (s.rank < 1 || s.dims[0] != CRN_ANY)
        return cli_usage_error("features", "'%s' has no row an image", a->end_point);
    f->places = 1;
    if (s.rank == 4 && !a->spatial) {
        f->places = (size_t)(s.dims[1] * s.dims[2]);
        s = CRN_SHAPE(CRN_ANY, s.dims[3]);
    }
    s.dims[0] = (int64_t)f->images;
    f->shape = s;
    int64_t count = crn_shape_count(&s);
    if (count < 0)
        return cli_usage_error("features", "%zu images of '%s' are too many numbers", f->images,
                               a->end_point);
    f->size = (size_t)count / f->images;
    return CLI_GO_ON;
}

static bool allocate(features *f)
{
    const crn_preprocessing *how = crn_classifier_preprocessing(f->classifier);
    size_t pixels = (size_t)how->image_size * (size_t)how->image_size * (size_t)how->channels;
    f->input = calloc(f->batch, pixels * sizeof *f->input);
    f->values = calloc(f->batch, f->size * f->places * sizeof *f->values);
    f->result = calloc(f->images, f->size * sizeof *f->result);
    f->labels = calloc(f->batch, sizeof *f->labels);
    f->indices = calloc(f->batch, sizeof *f->indices);
    return f->input != NULL && f->values != NULL && f->result != NULL && f->labels != NULL &&
           f->indices != NULL;
}

/* Means over the places [places,size] of each of `count` images; summed in double. */
static void average(const features *f, size_t count, float *result)
{
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < f->size; c++) {
            const float *values = f->values + i * f->places * f->size + c;
            double sum = 0;
            for (size_t p = 0; p < f->places; p++)
                sum += (double)values[p * f->size];
            result[i * f->size + c] = (float)(sum / (double)f->places);
        }
}

static int run_batch(features *f, size_t first, size_t count)
{
    crn_error error;
    const crn_preprocessing *how = crn_classifier_preprocessing(f->classifier);
    crn_graph *graph = crn_classifier_graph(f->classifier);
    for (size_t i = 0; i < count; i++)
        f->indices[i] = first + i;
    if (crn_dataset_read(f->dataset, f->indices, count, how, 0, f->input, f->labels, &error) !=
        CRN_OK)
        return cli_fail("features", &error);
    const crn_feed feed = {
        crn_classifier_inputs(f->classifier), f->input,
        CRN_SHAPE((int64_t)count, how->image_size, how->image_size, how->channels)};
    crn_fetch fetch = {.node = f->node,
                       .data = f->values,
                       .size = count * f->places * f->size * sizeof *f->values};
    if (crn_run(graph, NULL, &feed, 1, &fetch, 1) != CRN_OK)
        return cli_fail("features", crn_graph_error(graph));
    average(f, count, f->result + first * f->size);
    return CLI_GO_ON;
}

static int run_all(features *f)
{
    for (size_t first = 0, count; first < f->images; first += count) {
        count = f->images - first < f->batch ? f->images - first : f->batch;
        int code = run_batch(f, first, count);
        if (code != CLI_GO_ON)
            return code;
        if (cli_stopped())
            return 128 + cli_stopped();
        char after[64];
        snprintf(after, sizeof after, "%zu/%zu", first + count, f->images);
        cli_progress_show("features", (double)(first + count) / (double)f->images, after,
                          first + count == f->images);
    }
    return CLI_GO_ON;
}

/* "F.npy" to "F.names.txt": a line an image, where it came from. */
static int write_names(const features *f, const char *out)
{
    char path[4400], name[4400];
    size_t length = strlen(out);
    if (length > 4 && strcmp(out + length - 4, ".npy") == 0)
        length -= 4;
    snprintf(path, sizeof path, "%.*s.names.txt", (int)length, out);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return cli_usage_error("features", "%s: %s", path, strerror(errno));
    for (size_t i = 0; i < f->images; i++) {
        if (crn_dataset_item_name(f->dataset, i, name, sizeof name) != CRN_OK)
            snprintf(name, sizeof name, "%zu", i);
        fprintf(file, "%s\n", cli_clean(name));
    }
    bool failed = ferror(file) != 0;
    if (fclose(file) == 0 && !failed)
        return CLI_OK;
    cli_complain("features", "cannot write all of the names");
    return CLI_FAILED;
}

static int write_features(const arguments *a, features *f)
{
    crn_error error;
    f->images = crn_dataset_size(f->dataset);
    f->batch = (size_t)a->batch_size < f->images ? (size_t)a->batch_size : f->images;
    f->node = crn_end_point_find(crn_classifier_graph(f->classifier), a->end_point);
    if (f->node == NULL)
        return cli_usage_error("features",
                               "there is no end point '%s'; see clarinet predict --checkpoint %s "
                               "--list-end-points",
                               a->end_point, a->checkpoint);
    int code = shape_result(a, f);
    if (code == CLI_GO_ON && !allocate(f))
        code = cli_no_memory("features");
    if (code == CLI_GO_ON)
        code = run_all(f);
    if (code == CLI_GO_ON && crn_npy_write(a->out, f->result, &f->shape, &error) != CRN_OK)
        code = cli_fail("features", &error);
    return code == CLI_GO_ON ? write_names(f, a->out) : code;
}

static int open_and_write(const arguments *a)
{
    crn_context *context = NULL;
    crn_dataset *dataset = NULL;
    features f = {.classifier = NULL};
    int code =
        cli_open_dataset("features", a->data, a->test ? CRN_SPLIT_TEST : CRN_SPLIT_TRAIN, &dataset);
    if (code == CLI_GO_ON)
        code = cli_open_classifier("features", a->device, a->checkpoint, &context, &f.classifier);
    if (code == CLI_GO_ON) {
        f.dataset = dataset;
        cli_catch_signals();
        code = write_features(a, &f);
    }
    free(f.input);
    free(f.values);
    free(f.result);
    free(f.labels);
    free(f.indices);
    crn_classifier_free(f.classifier);
    crn_context_free(context);
    crn_dataset_free(dataset);
    return code;
}

int cmd_features(int argc, char **argv)
{
    arguments a = {.batch_size = 64};
    const cli_option options[] = {
        {"checkpoint", CLI_CHECKPOINT, &a.checkpoint, "C", .help = "from clarinet train",
         .required = true},
        {"data", CLI_FILE, &a.data, "D", .help = "a folder as for train", .required = true},
        {"end-point", CLI_TEXT, &a.end_point, "NAME",
         .help = "the layer; clarinet predict --list-end-points has their names", .required = true},
        {"out", CLI_TEXT, &a.out, "F.NPY",
         .help = "float32, a row an image; F.names.txt says which image each is", .required = true},
        {"spatial", CLI_FLAG, &a.spatial, .help = "keep height and width, rather than their mean"},
        {"test", CLI_FLAG, &a.test, .help = "the test images rather than those for training"},
        {"batch-size", CLI_INTEGER, &a.batch_size, "N", .help = "images at once", .min = 1,
         .max = 65536},
        {"device", CLI_TEXT, &a.device, "X", .help = CLI_DEVICE_HELP},
    };
    const cli_spec spec = {.command = "features",
                           .about = "Writes what a layer of a trained network makes of images: "
                                    "embeddings to search, cluster or learn from.",
                           .options = options,
                           .n_options = sizeof options / sizeof *options};
    int code = cli_parse(&spec, argc, argv, NULL);
    return code == CLI_GO_ON ? open_and_write(&a) : code;
}
