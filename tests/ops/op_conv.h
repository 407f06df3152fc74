/* Convolutions as problems: what a test of any solver builds, and what must come out. */
#ifndef CRN_TESTS_OP_CONV_H
#define CRN_TESTS_OP_CONV_H

#include "op_test.h"
#include "ref/ref.h"

typedef struct conv_problem {
    ref_window window; /* n, h, w, kernel, stride, rate; pads with CRN_PADDING_EXPLICIT */
    int c, k;          /* channels in and out */
    crn_padding padding;
    bool no_biases;
    crn_activation activation;
} conv_problem;

/* Rows of a table; what a row does not say is stride 1, rate 1, SAME, with biases, no activation.
 */
#define IMAGE(N, H, W, C) .window.n = N, .window.h = H, .window.w = W, .c = C
#define KERNEL(H, W, K) .window.kernel_h = H, .window.kernel_w = W, .k = K
#define STRIDE(H, W) .window.stride_h = H, .window.stride_w = W
#define RATE(H, W) .window.rate_h = H, .window.rate_w = W
#define VALID .padding = CRN_PADDING_VALID
#define PAD(T, B, L, R)                                                           \
    .padding = CRN_PADDING_EXPLICIT, .window.pad_top = T, .window.pad_bottom = B, \
    .window.pad_left = L, .window.pad_right = R
#define NO_BIASES .no_biases = true
#define RELU .activation = CRN_ACTIVATION_RELU
#define RELU6 .activation = CRN_ACTIVATION_RELU6

/* What a problem is given, and (below the blank line) what must come out. */
typedef struct conv_values {
    double *x, *weights; /* [n, h, w, c], [kernel_h, kernel_w, c, k] */
    double *biases, *dy; /* [k], [n, out_h, out_w, k] */

    double *y, *dx, *dweights, *dbiases;
} conv_values;

/* Fills in what a table's row leaves out, and the output's size. */
void conv_lay_out(conv_problem *p);

/* Counts of elements. */
int conv_x_count(const conv_problem *p);
int conv_y_count(const conv_problem *p);
int conv_weight_count(const conv_problem *p);

/* The problem in words after `what`, good until the next call. */
const char *conv_describe(const conv_problem *p, const char *what);

/* A random problem; with `product`, one that is a matrix product: 1x1, stride 1, no padding. */
conv_problem conv_draw(uint64_t key, bool product);
conv_values conv_uniform(const conv_problem *p);
conv_values conv_integers(const conv_problem *p, uint64_t key);

/* The reference's results. */
void conv_work_out(const conv_problem *p, conv_values *v);

/* Builds the problem with the library, compares all that comes out, and ends it (op_next). */
void conv_check(const conv_problem *p, conv_values *v, double rtol);

#endif
