#define _XOPEN_SOURCE 700 /* nftw */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/profile.h"

/* Steps after the first that are not counted either: caches and clocks settle. */
#define WARM_UP 2
#define CHANNELS 3
#define PROFILE_STEPS 3
#define PROFILE_ROWS 40

typedef struct bench {
    const char *model, *mode, *device;
    int64_t batch_size, image_size, output_stride, steps, classes;
    bool cold, json, profile;

    crn_graph *graph;
    crn_node *inputs, *labels, *result;
    crn_train_op *op; /* NULL: inference */
    float *images, *values;
    int32_t *label_values;
    size_t value_count;

    double start_up; /* seconds to the end of the first step */
    double median;   /* of a step, in seconds */
    crn_plan_info plan;
    uint64_t peak;
} bench;

/* ---- cold caches ---- */

/* Where clarinet and OpenCL drivers keep compiled kernels. */
static const char *const cache_variables[] = {"CLARINET_CACHE_DIR", "POCL_CACHE_DIR",
                                              "CUDA_CACHE_PATH", "MESA_SHADER_CACHE_DIR",
                                              "NEO_CACHE_DIR"};

static int make_cold(char *folder, size_t size)
{
    const char *parent = getenv("TMPDIR");
    snprintf(folder, size, "%s/clarinet-bench-XXXXXX", parent != NULL && *parent ? parent : "/tmp");
    if (mkdtemp(folder) == NULL) {
        cli_complain("bench", "cannot make a temporary folder for cold caches");
        *folder = '\0';
        return CLI_FAILED;
    }
    for (size_t i = 0; i < sizeof cache_variables / sizeof *cache_variables; i++)
        setenv(cache_variables[i], folder, 1);
    return CLI_GO_ON;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info, (void)type, (void)place;
    remove(path);
    return 0;
}

/* ---- the network ---- */

static crn_status build(bench *b)
{
    crn_graph *g = b->graph;
    crn_resnet_options options = CRN_RESNET_OPTIONS_INIT;
    bool training = strcmp(b->mode, "train") == 0;
    options.is_training = training;
    options.output_stride = (int32_t)b->output_stride;
    b->inputs = crn_placeholder(g, "inputs", CRN_F32,
                                CRN_SHAPE(CRN_ANY, b->image_size, b->image_size, CHANNELS));
    crn_node *logits = crn_model_find(b->model)->build(g, b->inputs, b->classes, &options);
    b->result = logits;
    b->value_count = (size_t)(b->batch_size * b->classes);
    if (training) {
        b->labels = crn_placeholder(g, "labels", CRN_I32, CRN_SHAPE(CRN_ANY));
        crn_node *entropy = crn_sparse_softmax_cross_entropy(g, b->labels, logits);
        b->result = crn_add(g, crn_reduce_mean(g, entropy), crn_regularization_loss(g));
        b->op = crn_minimize(g, crn_gradient_descent(0.01f), b->result);
        b->value_count = 1;
    }
    crn_status status = crn_plan(g, b->op, &b->result, 1, b->batch_size, &b->plan);
    return status == CRN_OK ? crn_initialize_variables(g) : status;
}

static bool make_data(bench *b)
{
    size_t batch = (size_t)b->batch_size;
    size_t pixels = (size_t)(b->image_size * b->image_size * CHANNELS);
    b->images = calloc(batch * pixels, sizeof *b->images);
    b->label_values = calloc(batch, sizeof *b->label_values);
    b->values = calloc(b->value_count, sizeof *b->values);
    if (b->images == NULL || b->label_values == NULL || b->values == NULL)
        return false;
    uint32_t random = 1;
    for (size_t i = 0; i < batch * pixels; i++) {
        random = random * 1664525u + 1013904223u;
        b->images[i] = (float)(random >> 8) * 0x1p-23f - 1;
    }
    for (size_t i = 0; i < batch; i++)
        b->label_values[i] = (int32_t)((int64_t)i % b->classes);
    return true;
}

static crn_status step(bench *b)
{
    const crn_feed feeds[] = {
        {b->inputs, b->images, CRN_SHAPE(b->batch_size, b->image_size, b->image_size, CHANNELS)},
        {b->labels, b->label_values, CRN_SHAPE(b->batch_size)},
    };
    crn_fetch fetch = {
        .node = b->result, .data = b->values, .size = b->value_count * sizeof *b->values};
    return crn_run(b->graph, b->op, feeds, b->op != NULL ? 2 : 1, &fetch, 1);
}

/* ---- measuring ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int measure(bench *b, crn_context *context)
{
    size_t steps = (size_t)b->steps;
    double *times = calloc(steps, sizeof *times);
    if (times == NULL)
        return cli_no_memory("bench");
    int code = CLI_GO_ON;
    for (size_t i = 0; i < steps + WARM_UP && code == CLI_GO_ON; i++) {
        double begin = cli_now();
        if (step(b) != CRN_OK)
            code = cli_fail("bench", crn_context_error(context));
        else if (cli_stopped())
            code = 128 + cli_stopped();
        else if (i >= WARM_UP)
            times[i - WARM_UP] = cli_now() - begin;
    }
    qsort(times, steps, sizeof *times, compare);
    b->median = (times[(steps - 1) / 2] + times[steps / 2]) / 2;
    b->peak = crn_context_peak_memory(context);
    free(times);
    return code;
}

static int print(const bench *b, const crn_context *context)
{
    const char *device = crn_context_device(context)->name;
    double rate = (double)b->batch_size / b->median;
    if (b->json)
        return cli_print_json(
            "bench",
            json_pack("{ss ss so sI sI sI sI sf sf sf sb sI sI sI sI}", "model", b->model, "mode",
                      b->mode, "device", cli_json_text(device), "batch_size",
                      (json_int_t)b->batch_size, "image_size", (json_int_t)b->image_size, "classes",
                      (json_int_t)b->classes, "steps", (json_int_t)b->steps, "images_per_second",
                      rate, "step_seconds", b->median, "start_up_seconds", b->start_up, "cold",
                      (int)b->cold, "predicted_peak", (json_int_t)b->plan.peak, "actual_peak",
                      (json_int_t)b->peak, "largest_buffer", (json_int_t)b->plan.largest_buffer,
                      "launches", (json_int_t)b->plan.launches));
    char predicted[16], peak[16], largest[16];
    printf("%s, %s, batch of %" PRId64 " images %" PRId64 "x%" PRId64 "x%d, on ", b->model, b->mode,
           b->batch_size, b->image_size, b->image_size, CHANNELS);
    cli_print_clean(stdout, device);
    printf("\nspeed     %.1f images/s, median of %" PRId64 " steps of %" PRIu64 " kernels\n"
           "start-up  %.2f s to the end of the first step, %s caches\n"
           "memory    %s predicted, %s at most in use; largest buffer %s\n",
           rate, b->steps, b->plan.launches, b->start_up, b->cold ? "cold" : "usual",
           cli_bytes_text(b->plan.peak, predicted), cli_bytes_text(b->peak, peak),
           cli_bytes_text(b->plan.largest_buffer, largest));
    return CLI_OK;
}

/* A few more steps, kernel by kernel. */
static int profile(bench *b, crn_context *context)
{
    cli_profile found = {.rows = NULL};
    int code = CLI_OK;
    crn_graph_set_profile(b->graph, cli_profile_add, &found);
    for (int i = 0; i < PROFILE_STEPS && code == CLI_OK; i++)
        if (step(b) != CRN_OK)
            code = cli_fail("bench", crn_context_error(context));
    if (code == CLI_OK) {
        printf("\n");
        cli_profile_print(&found, PROFILE_STEPS, PROFILE_ROWS);
    }
    cli_profile_free(&found);
    return code;
}

static int run(bench *b)
{
    double begin = cli_now();
    crn_context *context = NULL;
    int code = cli_open_context("bench", b->device, &context);
    if (code == CLI_GO_ON) {
        if (crn_graph_create(context, &b->graph) != CRN_OK)
            code = cli_fail("bench", crn_context_error(context));
        else if (build(b) != CRN_OK)
            code = cli_fail("bench", crn_graph_error(b->graph));
        else if (!make_data(b))
            code = cli_no_memory("bench");
        else if (step(b) != CRN_OK)
            code = cli_fail("bench", crn_graph_error(b->graph));
    }
    b->start_up = cli_now() - begin;
    if (code == CLI_GO_ON)
        code = measure(b, context);
    if (code == CLI_GO_ON)
        code = print(b, context);
    if (code == CLI_OK && b->profile)
        code = profile(b, context);
    free(b->images);
    free(b->label_values);
    free(b->values);
    crn_graph_free(b->graph);
    crn_context_free(context);
    return code;
}

int cmd_bench(int argc, char **argv)
{
    bench b = {.batch_size = 32, .steps = 20, .classes = 1000};
    const cli_option options[] = {
        {"model", CLI_CHOICE, &b.model, "M", .help = "the network", .choices = cli_model_names(),
         .required = true},
        {"mode", CLI_CHOICE, &b.mode, "MODE", .help = "with or without gradients and updates",
         .choices = "train, infer", .required = true},
        {"batch-size", CLI_INTEGER, &b.batch_size, "N", .help = "images a step", .min = 1,
         .max = 65536},
        {"image-size", CLI_INTEGER, &b.image_size, "N",
         .help = "height and width; else what the network was made for", .min = 8, .max = 4096},
        {"output-stride", CLI_INTEGER, &b.output_stride, "N",
         .help = "image size / feature map size, reached by atrous rates; else the network's own",
         .min = 1, .max = 4096},
        {"steps", CLI_INTEGER, &b.steps, "N", .help = "steps to measure, after a few to warm up",
         .min = 1, .max = 1e6},
        {"classes", CLI_INTEGER, &b.classes, "N", .help = "number of classes", .min = 1,
         .max = 1e6},
        {"cold", CLI_FLAG, &b.cold,
         .help = "start up with empty kernel caches, in a temporary folder"},
        {"profile", CLI_FLAG, &b.profile,
         .help = "then list the kernels of a step, the longest first (not with --json)"},
        {"device", CLI_TEXT, &b.device, "X", .help = CLI_DEVICE_HELP},
        {"json", CLI_FLAG, &b.json, .help = CLI_JSON_HELP},
    };
    const cli_spec spec = {.command = "bench",
                           .about = "Measures speed, start-up time and device memory of a network "
                                    "on random images.",
                           .options = options,
                           .n_options = sizeof options / sizeof *options};
    int code = cli_parse(&spec, argc, argv, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (b.profile && b.json) {
        cli_complain("bench", "--profile and --json exclude each other");
        return CLI_USAGE;
    }
    if (b.image_size == 0)
        b.image_size = crn_model_find(b.model)->image_size;

    char folder[4096] = "";
    cli_catch_signals();
    if (b.cold)
        code = make_cold(folder, sizeof folder);
    if (code == CLI_GO_ON)
        code = run(&b);
    if (*folder != '\0')
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return code;
}
