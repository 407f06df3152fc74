/*
 * What makes an op's test short.
 *
 * An executable has one context (op_open, op_close as group setup and teardown; CLARINET_… of the
 * environment choose its device, vector width and solver). A test has a graph, what it is fed and
 * what is fetched (OP_TEST gives it op_begin and op_end). All values are double arrays that live
 * until op_end, and hold numbers that a float holds exactly, so that the library and the reference
 * start from the same. A call that fails ends the test with the library's own text.
 */
#ifndef CRN_TESTS_OP_TEST_H
#define CRN_TESTS_OP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clarinet.h"

/*
 * How far a float result may be from the reference, as a share of the tensor's largest value.
 * A float sum of k products is off by about sqrt(k) half-ulps of its terms (6e-8 each), at most
 * 1e-5 for the few thousand terms of the largest sum here. Sums in the wrong place, a term missed
 * or counted twice are off by 1e-3 and more.
 */
#define OP_RTOL 1e-5

int op_open(void **state);
int op_close(void **state);
int op_begin(void **state);
int op_end(void **state);
#define OP_TEST(f) cmocka_unit_test_setup_teardown(f, op_begin, op_end)

crn_context *op_context(void);
crn_graph *op_graph(void);

/* Ends the present problem and begins another one, for loops over many. */
void op_next(void);

/* The status must be CRN_OK. */
void op_check(crn_status status);

/* ---- values ---- */

double *op_array(int64_t count); /* zeros */
/* Uniform in [low, high), rounded to float; integers in [low, high]. The same key, the same ones.
 */
double *op_uniform(uint64_t key, int64_t count, double low, double high);
double *op_integers(uint64_t key, int64_t count, int low, int high);
/* The n-th draw of a key: an integer in [low, high]; one of `count` choices. */
int op_pick(uint64_t key, uint64_t n, int low, int high);
int op_choose(uint64_t key, uint64_t n, int count, const int *choices);
/* Random problems a test runs: CRN_TEST_PROBLEMS, else 200. */
int op_problems(void);

/* ---- a graph with its feeds and fetches ---- */

/* A placeholder of the closed shape, fed with values in each run. */
crn_node *op_input(const char *name, crn_shape shape, const double *values);
crn_node *op_input_int(const char *name, crn_shape shape, const double *values);
/* From here on the placeholder is fed with these. */
void op_feed(crn_node *placeholder, const double *values);
/* Gives the variable its values. */
void op_set(const char *variable, const double *values);
/* The variable's present values. */
double *op_get(const char *variable);

/* The scalar sum(y dy), whose gradient by y is dy exactly: a dense layer of one output whose
 * weights are dy. y has a closed shape. */
crn_node *op_loss(crn_node *y, const double *dy);

/* Where the node's value, or d loss / d wrt, will be after op_run. */
const double *op_fetch(crn_node *node);
const double *op_fetch_gradient(crn_node *loss, crn_node *wrt);
const double *op_fetch_gradient_of(crn_node *loss, const char *variable);
/* From here on nothing is fetched; what was stays where it is. */
void op_forget_fetches(void);

void op_run(crn_train_op *train); /* NULL: no update */
/* The same for a run that may fail. */
crn_status op_try(crn_train_op *train);

/* ---- the reference of layers with an activation ---- */

/* y = activation(sum), and dsum from dy; `count` elements each. */
void op_activate(crn_activation activation, int count, const double *sum, const double *dy,
                 double *y, double *dsum);

/* ---- comparing ---- */

/* |actual - expected| <= rtol * largest |expected|, for every element; rtol 0: equal. Prints the
 * worst element. NaN is never equal. */
void op_compare(const char *what, const double *actual, const double *expected, int64_t count,
                double rtol);

#endif
