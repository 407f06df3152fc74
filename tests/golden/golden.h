/*
 * What makes a golden test short: README.md specifies the files of numbers that TF-slim computed,
 * and the rule that gives variables and inputs their values.
 *
 * An executable has one context (golden_open, golden_close as group setup and teardown). A test
 * names its file, builds a graph, feeds it, says under which names of the file the values of its
 * nodes are, runs, and closes with golden_verify. A call that fails ends the test with the
 * library's own text.
 */
#ifndef CRN_TESTS_GOLDEN_H
#define CRN_TESTS_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clarinet.h"

/* The largest deviation as a share of the tensor's largest value: what must hold, what is meant. */
#define GOLDEN_RTOL 1e-3
#define GOLDEN_AIM 1e-4
/*
 * What must hold of the way that variables went in ten steps. The inputs keep the first step's
 * ReLUs from 0, not those of the others: rounding turns a sign or two there, and the step's
 * gradient by up to some percent, TensorFlow's too.
 */
#define GOLDEN_STEPS_RTOL 3e-2

int golden_open(void **state);
int golden_close(void **state);
int golden_end(void **state);
#define GOLDEN_TEST(f) cmocka_unit_test_teardown(f, golden_end)

/* ---- a case: a file of numbers and an empty graph ---- */

#define GOLDEN(name) CRN_TEST_DATA "/golden/" name
void golden_begin(const char *path); /* GOLDEN("case.safetensors"), or NULL: a graph alone */
crn_graph *golden_graph(void);
void golden_check(crn_status status); /* must be CRN_OK */

/* A float64 tensor of the file that has `count` elements, or the failure of the test. */
const double *golden_doubles(const char *name, size_t count);

/* ---- values by rule ---- */

void golden_rule(const char *name, crn_shape shape, float *values);
/* A placeholder of the closed shape, fed with `scale` times what the rule gives `name`, or where
 * the file has a number K as name/stream, name/K. */
crn_node *golden_input(const char *name, crn_shape shape, float scale);
/* A placeholder fed with these values, borrowed until golden_end. */
crn_node *golden_feed(const char *name, crn_dtype dtype, crn_shape shape, const void *data);
/* Gives every variable its values by rule. */
void golden_initialize(void);

/* ---- comparing ---- */

/* Where the node's value will be after golden_run, until golden_end. */
const float *golden_fetch(crn_node *node);
/* The same, and golden_run compares it with the tensor `group`, or `group/name` with a name. */
void golden_expect(const char *group, const char *name, crn_node *node);
void golden_expect_end_points(void);          /* all of the graph: end_points/NAME */
void golden_expect_gradients(crn_node *loss); /* by every trainable variable: gradient/NAME */
void golden_run(crn_train_op *train);         /* NULL: no update. What was fetched is forgotten. */
/* Compares values with the tensor `name`. */
void golden_compare(const char *name, const float *values, crn_shape shape);
/*
 * Compares the present values of the variables that the file has as group/VARIABLE, after `steps`
 * steps that have left the share `left` of their first values in them: deviations, up to `rtol`,
 * are held against what came to it. The rounding of a sum to float, once a step and once in the
 * file, is no deviation.
 */
void golden_compare_variables(const char *group, double left, int steps, double rtol);
/* Compares each number with that of a float64 tensor. */
void golden_compare_doubles(const char *name, const double *actual, size_t count);

/*
 * Prints the worst tensors of each group and how many meet the aim. Fails when one is off by more
 * than its rtol (GOLDEN_RTOL where none is given), when the file has no tensor that was expected,
 * or when it has one that nothing was compared with.
 */
void golden_verify(void);

#endif
