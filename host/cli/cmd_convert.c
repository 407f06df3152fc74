#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* A tensor that is left out is worth a line, not a failure: TensorFlow's files hold bookkeeping. */
static void tell(void *data, const char *name, const char *why)
{
    char text[1024];
    (void)data;
    snprintf(text, sizeof text, "%s is left out: %s", name, why);
    cli_complain("convert", text);
}

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

int cmd_convert(int argc, char **argv)
{
    crn_convert_options o = CRN_CONVERT_OPTIONS_INIT;
    const char *to = NULL;
    const cli_option options[] = {
        {"to", CLI_CHOICE, &to, "FORMAT",
         .help = "else safetensors if OUT ends in .safetensors, tensorflow if not",
         .choices = "safetensors, tensorflow"},
        {"include", CLI_TEXT, &o.include_scopes, "A,B",
         .help = "only tensors whose names start with one of these"},
        {"exclude", CLI_TEXT, &o.exclude_scopes, "A,B",
         .help = "no tensors whose names start with one of these"},
        {"no-slots", CLI_FLAG, &o.no_slots,
         .help = "leave out optimizer slots and moving averages of variables, as w/Momentum of w"},
    };
    const cli_spec spec = {
        .command = "convert",
        .about = "Writes the checkpoint IN as OUT in another format, every tensor with its type "
                 "and bits. IN is what clarinet inspect takes. For tensorflow, OUT is the prefix "
                 "of a V2 checkpoint, or a folder that gets model.ckpt-STEP and the file "
                 "'checkpoint'. Needs no device.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .rest = "IN OUT",
        .min_rest = 2,
        .max_rest = 2};
    cli_rest files;
    crn_error error;
    int code = cli_parse(&spec, argc, argv, &files);
    if (code == CLI_GO_ON)
        code = cli_check_checkpoint("convert", files.items[0]);
    if (code != CLI_GO_ON)
        return code;
    bool tensorflow =
        to != NULL ? strcmp(to, "tensorflow") == 0 : !ends_with(files.items[1], ".safetensors");
    o.format = tensorflow ? CRN_CHECKPOINT_TENSORFLOW : CRN_CHECKPOINT_SAFETENSORS;
    o.report = tell;
    if (crn_checkpoint_convert(files.items[0], files.items[1], &o, &error) != CRN_OK)
        return cli_fail("convert", &error);
    return CLI_OK;
}
