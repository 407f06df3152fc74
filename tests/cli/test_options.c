/* What needs no device: help, version, and every way to get a command line wrong. */
#include "../train/fixture.h"

#include "run.h"

#define CLI CRN_TEST_CLI

static result r;

static int setup(void **state)
{
    if (fixture_setup(state) != 0)
        return 1;
    write_bytes(in_folder("file"), "not a checkpoint", 16);
    /* Command lines name files by short names. */
    return chdir(fixture_folder);
}

static int teardown(void **state)
{
    return chdir("/") != 0 || fixture_teardown(state);
}

/* Of the issue that asked for the program. */
static const struct {
    const char *command, *options;
} commands[] = {
    {"devices", "json"},
    {"train", "model data out epochs steps batch-size image-size learning-rate optimizer momentum "
              "weight-decay schedule flip crop seed save-every device init-from exclude-scopes "
              "ignore-missing-vars resume config time-limit labels-offset validation "
              "validate-every early-stop keep log-every histograms trainable-scopes "
              "on-non-finite decay-steps decay-rate end-learning-rate power boundaries rates "
              "warmup-steps warmup-learning-rate beta1 beta2 rho centered epsilon "
              "initial-accumulator l1 l2 trust label-smoothing clip-norm clip-each-norm accumulate "
              "moving-average num-updates preprocessing mean std augment jitter "
              "mixup cutmix batch-norm-decay on-broken threads validation-fraction freeze-bn"},
    {"eval", "checkpoint data batch-size device json"},
    {"classify", "checkpoint top device json"},
    {"predict", "checkpoint input output end-point list-end-points batch-size device"},
    {"features", "checkpoint data end-point out spatial test batch-size device"},
    {"plot", "out"},
    {"inspect", "json"},
    {"convert", "to include exclude no-slots"},
    {"bench",
     "model mode batch-size image-size output-stride steps classes cold profile device json"},
    {"tune", "model batch-size image-size mode classes again device json"},
};

#define N_COMMANDS (sizeof commands / sizeof *commands)

static void help_mentions_every_option(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char options[1024], line[64];
        RUN(&r, CLI, commands[i].command, "--help");
        expect_code(&r, 0);
        assert_string_equal(r.err, "");
        snprintf(line, sizeof line, "usage: clarinet %s", commands[i].command);
        expect_part(r.out, line);
        snprintf(options, sizeof options, "%s", commands[i].options);
        for (char *name = strtok(options, " "); name != NULL; name = strtok(NULL, " ")) {
            snprintf(line, sizeof line, "\n  --%s ", name);
            expect_part(r.out, line);
        }
    }
}

static void help_lines_fit_a_terminal(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        RUN(&r, CLI, commands[i].command, "--help");
        for (char *line = strtok(r.out, "\n"); line != NULL; line = strtok(NULL, "\n"))
            assert_in_range(strlen(line), 1, 80);
    }
}

static void help_command_says_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        static char first[sizeof r.out];
        RUN(&r, CLI, commands[i].command, "--nonsense", "--help");
        strcpy(first, r.out);
        RUN(&r, CLI, "help", commands[i].command);
        expect_code(&r, 0);
        assert_string_equal(r.out, first);
    }
}

static void overview_names_every_command(void **state)
{
    (void)state;
    for (int as_command = 0; as_command < 2; as_command++) {
        RUN(&r, CLI, as_command ? "help" : "--help");
        expect_code(&r, 0);
        for (size_t i = 0; i < N_COMMANDS; i++)
            expect_part(r.out, commands[i].command);
    }
    RUN(&r, CLI, "--version");
    expect_code(&r, 0);
    char version[64];
    snprintf(version, sizeof version, "clarinet %d.%d.%d\n", CRN_VERSION_MAJOR, CRN_VERSION_MINOR,
             CRN_VERSION_PATCH);
    assert_string_equal(r.out, version);
}

/* Exit code 2, nothing on stdout, exactly one line on stderr which says `words`. */
static void expect_usage_error(const char *line, const char *words)
{
    char copy[512];
    const char *argv[32] = {CLI};
    size_t n = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
        argv[n++] = strcmp(word, "''") == 0 ? "" : word;
    run_program(&r, argv);
    if (r.code != 2 || *r.out != '\0' || strncmp(r.err, "clarinet", 8) != 0 ||
        strchr(r.err, '\n') != r.err + strlen(r.err) - 1 || strstr(r.err, words) == NULL)
        fail_msg("clarinet %s: exit code %d, '%s', '%s'", line, r.code, r.out, r.err);
}

static void mistakes_get_one_line(void **state)
{
    (void)state;
    static const char train[] = "train --model resnet_v2_20 --data . --out run";
    static const struct {
        const char *line; /* "+" stands for the line above */
        const char *words;
    } wrong[] = {
        {"", "needs a command"},
        {"trian", "no command 'trian'"},
        {"--verbose", "no command '--verbose'"},
        {"help trian", "no command 'trian'"},
        {"help train eval", "'eval'"},
        {"devices --josn", "'--josn'"},
        {"devices extra", "'extra'"},
        {"devices --json=1", "--json takes no value"},
        {"train", "needs --model"},
        {"train --model resnet_v2_20 --out run", "needs --data"},
        {"train --model resnet_v2_20 --data .", "needs --out"},
        {"train --model resnet_v3_20 --data . --out run", "'resnet_v3_20'"},
        {"train --model resnet_v2_2 --data . --out run", "'resnet_v2_2'"},
        {"train --model '' --data . --out run", "--model"},
        {"train --model resnet_v2_20 --data nowhere --out run", "nowhere"},
        {"train --model resnet_v2_20 --data . --out ''", "--out is empty"},
        {"+ -j", "'-j'"},
        {"+ --batch-size", "--batch-size needs a value"},
        {"+ --batch-size 1", "from 2 to"},
        {"+ --batch-size -8", "from 2 to"},
        {"+ --batch-size 8x", "'8x'"},
        {"+ --batch-size=", "whole number"},
        {"+ --batch-size 8.5", "'8.5'"},
        {"+ --batch-size 0x10", "'0x10'"},
        {"+ --batch-size 99999999999999999999", "99999999999999999999"},
        {"+ --epochs 0", "--epochs"},
        {"+ --epochs 2 --steps 3", "--epochs and --steps"},
        {"+ --steps 1e3", "'1e3'"},
        {"+ --image-size 0", "--image-size"},
        {"+ --learning-rate nan", "'nan'"},
        {"+ --learning-rate inf", "'inf'"},
        {"+ --learning-rate 0,1", "'0,1'"},
        {"+ --learning-rate -0.1", "from 0"},
        {"+ --learning-rate 1e999", "1e999"},
        {"+ --momentum 1.1", "from 0 to 1"},
        {"+ --weight-decay x", "'x'"},
        {"+ --optimizer adamax", "'adamax'"},
        {"+ --seed -1", "--seed"},
        {"+ --save-every 0", "--save-every"},
        {"+ --init-from nowhere", "nowhere"},
        {"+ --exclude-scopes a", "needs --init-from"},
        {"+ --ignore-missing-vars", "needs --init-from"},
        {"+ --labels-offset -2", "from -1"},
        {"+ --time-limit 0", "--time-limit"},
        {"+ --on-non-finite hope", "'hope'"},
        {"+ --resume .", "--resume and --out"},
        {"+ --config nowhere.json", "nowhere.json"},
        {"+ --config file", "file: line 1"},
        {"+ --no-model", "'--no-model'"},
        {"+ --no-flip=1", "'--no-flip=1'"},
        {"train --resume .", "./config.json"},
        {"train --resume . --config file", "--config"},
        {"+ extra", "'extra'"},
        {"features --checkpoint file --data . --out f.npy", "needs --end-point"},
        {"plot", "needs RUN"},
        {"plot nowhere", "nowhere/metrics.jsonl"},
        {"eval --data .", "needs --checkpoint"},
        {"eval --checkpoint nowhere --data .", "nowhere"},
        {"eval --checkpoint '' --data .", "--checkpoint is empty"},
        {"classify --checkpoint file", "needs IMAGE"},
        {"classify --checkpoint file nowhere.png", "nowhere.png"},
        {"classify --checkpoint file --top 0 file", "--top"},
        {"predict --checkpoint file", "--input"},
        {"predict --checkpoint file --input file", "--output"},
        {"predict --checkpoint file --input nowhere --output y.npy", "nowhere"},
        {"inspect", "needs FILE"},
        {"inspect nowhere", "nowhere"},
        {"inspect file file", "'file'"},
        {"convert file", "needs IN OUT"},
        {"convert nowhere out.safetensors", "nowhere"},
        {"convert file out more", "'more'"},
        {"convert file out --to onnx", "'onnx'"},
        {"bench --model resnet_v2_20", "needs --mode"},
        {"tune --batch-size 2", "needs --model"},
        {"tune --model resnet_v2_20 --batch-size 0", "--batch-size"},
        {"bench --model resnet_v2_20 --mode fast", "'fast'"},
        {"bench --model resnet_v2_20 --mode train --steps 0", "--steps"},
        {"bench --model resnet_v2_20 --mode train --classes 0", "--classes"},
        {"bench --model resnet_v2_20 --mode train --output-stride 0", "--output-stride"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char line[512];
        bool longer = wrong[i].line[0] == '+';
        snprintf(line, sizeof line, "%s%s", longer ? train : "", wrong[i].line + longer);
        expect_usage_error(line, wrong[i].words);
    }
    assert_int_not_equal(access("run", F_OK), 0);
}

/* A file name must not be able to command the terminal, nor to make two lines of one. */
static void control_characters_are_not_printed(void **state)
{
    (void)state;
    RUN(&r, CLI, "inspect", "a\nb\033[31m");
    expect_code(&r, 2);
    assert_null(strchr(r.err, '\033'));
    assert_ptr_equal(strchr(r.err, '\n'), r.err + strlen(r.err) - 1);
}

static void words_after_two_dashes_are_files(void **state)
{
    (void)state;
    RUN(&r, CLI, "inspect", "--", "--json");
    expect_code(&r, 2);
    expect_part(r.err, "--json: No such file");
}

static void malformed_files_exit_with_1(void **state)
{
    (void)state;
    RUN(&r, CLI, "inspect", "file");
    expect_code(&r, 1);
    expect_part(r.err, "clarinet inspect: file");
    assert_ptr_equal(strchr(r.err, '\n'), r.err + strlen(r.err) - 1);
}

static void lost_output_is_a_failure(void **state)
{
    (void)state;
    RUN(&r, "/bin/sh", "-c", "exec \"$0\" --help >/dev/full", CLI);
    expect_code(&r, 1);
    expect_part(r.err, "cannot write");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_mentions_every_option),
        cmocka_unit_test(help_lines_fit_a_terminal),
        cmocka_unit_test(help_command_says_the_same),
        cmocka_unit_test(overview_names_every_command),
        cmocka_unit_test(mistakes_get_one_line),
        cmocka_unit_test(control_characters_are_not_printed),
        cmocka_unit_test(words_after_two_dashes_are_files),
        cmocka_unit_test(malformed_files_exit_with_1),
        cmocka_unit_test(lost_output_is_a_failure),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
