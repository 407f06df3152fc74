/* Running the built program, CRN_TEST_CLI, as a user does. Tests include fixture.h before. */
#ifndef CRN_TESTS_CLI_RUN_H
#define CRN_TESTS_CLI_RUN_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct result {
    int code; /* exit code; 128 + signal when one ended it */
    char out[262144];
    char err[65536];
} result;

/* RUN(&r, CRN_TEST_CLI, "train", …): waits until it ends. */
#define RUN(r, ...) run_program(r, (const char *const[]){__VA_ARGS__, NULL})
void run_program(result *r, const char *const *words);

/* Starts it with `fd` as its stderr, and stdout nowhere. */
pid_t start_program(int fd, const char *const *words);
/* Its exit code, as above. */
int wait_for_program(pid_t pid);

/* Fails the test, showing what was said, unless the exit code is as wanted. */
void expect_code(const result *r, int code);
/* … unless `text` has `part`. */
void expect_part(const char *text, const char *part);

#endif
