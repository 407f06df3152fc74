#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static int cmd_help(int argc, char **argv);

static const cli_command commands[] = {
    {"devices", cmd_devices, "list the OpenCL devices"},
    {"train", cmd_train, "train a network on images, or go on with a training"},
    {"eval", cmd_eval, "measure a checkpoint's accuracy on test images"},
    {"classify", cmd_classify, "say what is on pictures"},
    {"predict", cmd_predict, "run a checkpoint on a NumPy array"},
    {"features", cmd_features, "write an inner layer's answers to images"},
    {"plot", cmd_plot, "draw the curves of trainings"},
    {"inspect", cmd_inspect, "show what a checkpoint holds"},
    {"convert", cmd_convert, "write a checkpoint in another format"},
    {"bench", cmd_bench, "measure speed, start-up and memory of a network"},
    {"tune", cmd_tune, "measure which kernels are fastest for a network, and keep that"},
    {"help", cmd_help, "show how a command is used"},
};

#define N_COMMANDS (sizeof commands / sizeof *commands)

static const cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int print_overview(void)
{
    printf("usage: clarinet COMMAND [options]\n\n"
           "Residual networks trained, fine-tuned and run on any OpenCL device.\n\ncommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  %-10s%s\n", commands[i].name, commands[i].help);
    printf("\n  --version   print the version\n  --help      print this\n\n"
           "clarinet COMMAND --help shows a command's options.\n");
    return CLI_OK;
}

static int unknown_command(const char *name)
{
    char text[512];
    snprintf(text, sizeof text, "clarinet: there is no command '%s'; see clarinet --help", name);
    fprintf(stderr, "%s\n", cli_clean(text));
    return CLI_USAGE;
}

static int cmd_help(int argc, char **argv)
{
    static char help[] = "--help";
    if (argc < 2 || strcmp(argv[1], help) == 0)
        return print_overview();
    if (argc > 2)
        return cli_usage_error("help", "'%s' is one argument too many", argv[2]);
    const cli_command *command = find_command(argv[1]);
    if (command == NULL)
        return unknown_command(argv[1]);
    char *line[] = {argv[1], help, NULL};
    return command->run == cmd_help ? print_overview() : command->run(2, line);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "clarinet: needs a command; see clarinet --help\n");
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("clarinet %s\n", crn_version());
        return CLI_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_overview();
    const cli_command *command = find_command(argv[1]);
    return command != NULL ? command->run(argc - 1, argv + 1) : unknown_command(argv[1]);
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, ""); /* to know whether the terminal speaks UTF-8; numbers stay C's */
    int code = dispatch(argc, argv);
    bool failed = ferror(stdout) != 0;
    if (fflush(stdout) != 0 || failed) {
        perror("clarinet: cannot write the output");
        return code != CLI_OK ? code : CLI_FAILED;
    }
    return code;
}
