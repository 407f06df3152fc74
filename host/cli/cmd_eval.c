#include <stdio.h>

#include "cli/cli.h"
#include "cli/progress.h"

static bool on_progress(void *data, size_t done, size_t total)
{
    const double *begin = data;
    bool stop = cli_stopped() != 0;
    double seconds = cli_now() - *begin, rate = (double)done / (seconds > 0 ? seconds : 1e-9);
    char after[128], eta[32];
    snprintf(after, sizeof after, "%zu/%zu %.*f img/s ETA %s", done, total, rate < 10 ? 2 : 0, rate,
             cli_time_text((double)(total - done) / rate, eta));
    cli_progress_show("eval", (double)done / (double)total, after, stop || done == total);
    return !stop;
}

static int print(const crn_evaluation *e, double seconds, const char *checkpoint, const char *model,
                 bool json)
{
    if (json)
        return cli_print_json("eval", json_pack("{so ss sI sf sf sf sf}", "checkpoint",
                                                cli_json_text(checkpoint), "model", model, "images",
                                                (json_int_t)e->images, "top1", e->top1, "top5",
                                                e->top5, "loss", e->loss, "seconds", seconds));
    printf("images %zu\ntop-1 %.2f %%\ntop-5 %.2f %%\nloss %.4f\n", e->images, 100 * e->top1,
           100 * e->top5, e->loss);
    return CLI_OK;
}

int cmd_eval(int argc, char **argv)
{
    const char *checkpoint = NULL, *data = NULL, *device = NULL;
    int64_t batch_size = 64;
    bool json = false;
    const cli_option options[] = {
        {"checkpoint", CLI_CHECKPOINT, &checkpoint, "C", .help = "from clarinet train",
         .required = true},
        {"data", CLI_FILE, &data, "D",
         .help = "a folder as for train; its test images where there are any, else all",
         .required = true},
        {"batch-size", CLI_INTEGER, &batch_size, "N", .help = "images at once", .min = 1,
         .max = 65536},
        {"device", CLI_TEXT, &device, "X", .help = CLI_DEVICE_HELP},
        {"json", CLI_FLAG, &json, .help = CLI_JSON_HELP},
    };
    const cli_spec spec = {.command = "eval",
                           .about = "Measures how often a checkpoint is right (top-1), has the "
                                    "right class among its first five (top-5), and its mean "
                                    "cross-entropy (loss).",
                           .options = options,
                           .n_options = sizeof options / sizeof *options};
    int code = cli_parse(&spec, argc, argv, NULL);
    if (code != CLI_GO_ON)
        return code;

    crn_dataset *dataset = NULL;
    crn_context *context = NULL;
    crn_classifier *classifier = NULL;
    crn_evaluation result;
    double begin = 0;
    code = cli_open_dataset("eval", data, CRN_SPLIT_TEST, &dataset);
    if (code == CLI_GO_ON)
        code = cli_open_classifier("eval", device, checkpoint, &context, &classifier);
    if (code == CLI_GO_ON) {
        if (!crn_dataset_has_split(dataset, CRN_SPLIT_TEST))
            cli_complain("eval", "the data has no test images of its own: using all of it");
        cli_catch_signals();
        begin = cli_now();
        if (crn_classifier_evaluate(classifier, dataset, (size_t)batch_size, on_progress, &begin,
                                    &result) != CRN_OK)
            code = cli_fail("eval", crn_context_error(context));
    }
    if (code == CLI_GO_ON)
        code =
            print(&result, cli_now() - begin, checkpoint, crn_classifier_model(classifier), json);
    crn_classifier_free(classifier);
    crn_context_free(context);
    crn_dataset_free(dataset);
    return code;
}
