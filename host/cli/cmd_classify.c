#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define BATCH 16

typedef struct job {
    crn_context *context;
    crn_classifier *classifier;
    size_t classes, top;
    float *images;        /* [BATCH,S,S,C] */
    float *probabilities; /* [BATCH,classes] */
    const char *names[BATCH];
    size_t count; /* images read */
    json_t *list; /* with --json */
    bool failed;  /* some image could not be read */
} job;

/* The most probable class that is less probable than `last`, which comes before equals. */
static size_t next_best(const float *p, size_t classes, size_t last)
{
    size_t best = classes;
    for (size_t i = 0; i < classes; i++) {
        bool after = last == classes || p[i] < p[last] || (p[i] == p[last] && i > last);
        if (after && (best == classes || p[i] > p[best]))
            best = i;
    }
    return best;
}

static json_t *answer_json(const job *j, const char *image, const float *p)
{
    json_t *best = json_array();
    for (size_t n = 0, k = j->classes; n < j->top; n++) {
        k = next_best(p, j->classes, k);
        json_array_append_new(best, json_pack("{ss si sf}", "class",
                                              crn_classifier_class_name(j->classifier, k), "index",
                                              (int)k, "probability", (double)p[k]));
    }
    return json_pack("{so so}", "image", cli_json_text(image), "classes", best);
}

static void print_answer(const job *j, const char *image, const float *p)
{
    cli_print_clean(stdout, image);
    for (size_t n = 0, k = j->classes; n < j->top; n++) {
        k = next_best(p, j->classes, k);
        printf("%s", n == 0 ? ": " : ", ");
        cli_print_clean(stdout, crn_classifier_class_name(j->classifier, k));
        printf(" %.1f%%", 100 * (double)p[k]);
    }
    putchar('\n');
}

/* Answers for the images read so far. */
static int flush(job *j)
{
    if (j->count == 0)
        return CLI_GO_ON;
    if (crn_classifier_run(j->classifier, j->images, j->count, j->probabilities) != CRN_OK)
        return cli_fail("classify", crn_context_error(j->context));
    for (size_t i = 0; i < j->count; i++) {
        const float *p = j->probabilities + i * j->classes;
        if (j->list == NULL)
            print_answer(j, j->names[i], p);
        else if (json_array_append_new(j->list, answer_json(j, j->names[i], p)) != 0)
            return cli_no_memory("classify");
    }
    j->count = 0;
    return CLI_GO_ON;
}

static int classify(job *j, const cli_rest *images)
{
    const crn_preprocessing *how = crn_classifier_preprocessing(j->classifier);
    size_t pixels = (size_t)how->image_size * (size_t)how->image_size * (size_t)how->channels;
    j->images = calloc(BATCH * pixels, sizeof *j->images);
    j->probabilities = calloc(BATCH * j->classes, sizeof *j->probabilities);
    if (j->images == NULL || j->probabilities == NULL)
        return cli_no_memory("classify");
    int code = CLI_GO_ON;
    for (size_t i = 0; i < images->count && code == CLI_GO_ON; i++) {
        crn_error error;
        /* One bad picture costs no other its answer. */
        if (crn_image_read(images->items[i], how, j->images + j->count * pixels, &error) !=
            CRN_OK) {
            cli_complain("classify", error.text);
            j->failed = true;
        } else {
            j->names[j->count++] = images->items[i];
        }
        if (j->count == BATCH)
            code = flush(j);
    }
    return code == CLI_GO_ON ? flush(j) : code;
}

static int run(const char *device, const char *checkpoint, size_t top, bool json,
               const cli_rest *images)
{
    job j = {.list = json ? json_array() : NULL};
    int code = cli_open_classifier("classify", device, checkpoint, &j.context, &j.classifier);
    if (code == CLI_GO_ON) {
        j.classes = crn_classifier_class_count(j.classifier);
        j.top = top < j.classes ? top : j.classes;
        code = classify(&j, images);
    }
    if (code == CLI_GO_ON && json)
        code = cli_print_json("classify", json_incref(j.list));
    json_decref(j.list);
    free(j.images);
    free(j.probabilities);
    crn_classifier_free(j.classifier);
    crn_context_free(j.context);
    return code > CLI_OK ? code : j.failed ? CLI_FAILED : CLI_OK;
}

int cmd_classify(int argc, char **argv)
{
    const char *checkpoint = NULL, *device = NULL;
    int64_t top = 1;
    bool json = false;
    const cli_option options[] = {
        {"checkpoint", CLI_CHECKPOINT, &checkpoint, "C", .help = "from clarinet train",
         .required = true},
        {"top", CLI_INTEGER, &top, "N", .help = "how many classes to name, the most probable first",
         .min = 1, .max = 1000000},
        {"device", CLI_TEXT, &device, "X", .help = CLI_DEVICE_HELP},
        {"json", CLI_FLAG, &json, .help = CLI_JSON_HELP},
    };
    const cli_spec spec = {.command = "classify",
                           .about = "Says which class each PNG or JPEG picture belongs to, and "
                                    "how probable that is.",
                           .options = options,
                           .n_options = sizeof options / sizeof *options,
                           .rest = "IMAGE",
                           .max_rest = SIZE_MAX};
    cli_rest images;
    int code = cli_parse(&spec, argc, argv, &images);
    for (size_t i = 0; code == CLI_GO_ON && i < images.count; i++)
        code = cli_check_file("classify", images.items[i]);
    return code == CLI_GO_ON ? run(device, checkpoint, (size_t)top, json, &images) : code;
}
