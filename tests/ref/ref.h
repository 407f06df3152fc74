/*
 * The reference: every op by its definition, in naive loops over double arrays.
 *
 * Nothing here is shared with the library, so that a mistake has to be made twice to go unseen.
 * Images are NHWC, convolution weights HWIO, all row-major. Backward functions take dy, the
 * gradient of a scalar by the output, and set (not add to) the gradients by the inputs; a gradient
 * that is not wanted is NULL. tests/unit/test_reference.c proves each of them by finite
 * differences.
 */
#ifndef CRN_TESTS_REF_H
#define CRN_TESTS_REF_H

#include <stdbool.h>

/* ---- windows: the geometry that convolutions and pools share (ref_window.c) ---- */

typedef struct ref_window {
    int n, h, w;                                  /* images */
    int kernel_h, kernel_w;                       /* taps of a window */
    int stride_h, stride_w;                       /* between windows */
    int rate_h, rate_w;                           /* between taps; 1 in pools */
    int pad_top, pad_bottom, pad_left, pad_right; /* pixels around the image */
    int out_h, out_w;                             /* windows; 0 when none fits */
} ref_window;

/* Each sets out_h and out_w; the first two set the padding too, the third takes it as given. */
void ref_window_same(ref_window *window);
void ref_window_valid(ref_window *window);
void ref_window_explicit(ref_window *window);

/* The image row of window row `out` at tap `tap`, which may lie outside; and the column. */
int ref_window_row(const ref_window *window, int out, int tap);
int ref_window_col(const ref_window *window, int out, int tap);
bool ref_window_inside(const ref_window *window, int row, int col);

/* ---- convolution (ref_conv.c) ---- */

void ref_conv_forward(const ref_window *window, int c, int k, /* channels in and out */
                      const double *x,                        /* [n, h, w, c] */
                      const double *weights,                  /* [kernel_h, kernel_w, c, k] */
                      const double *biases,                   /* [k] or NULL */
                      double *y);                             /* [n, out_h, out_w, k] */

void ref_conv_backward(const ref_window *window, int c, int k, /* channels in and out */
                       const double *x,                        /* [n, h, w, c] */
                       const double *weights,                  /* [kernel_h, kernel_w, c, k] */
                       const double *dy,                       /* [n, out_h, out_w, k] */
                       double *dx,                             /* [n, h, w, c] or NULL */
                       double *dweights, /* [kernel_h, kernel_w, c, k] or NULL */
                       double *dbiases); /* [k] or NULL */

/* ---- batch norm (ref_batch_norm.c) ---- */

/* Mean and population variance of every column. */
void ref_moments(int rows, int c, const double *x, /* [rows, c] */
                 double *mean,                     /* [c] */
                 double *variance);                /* [c] */

/* y = (x - mean) / sqrt(variance + epsilon) * gamma + beta */
void ref_batch_norm_forward(int rows, int c, double epsilon, const double *x, /* [rows, c] */
                            const double *mean, const double *variance,       /* [c] each */
                            const double *gamma,                              /* [c] or NULL: 1 */
                            const double *beta,                               /* [c] or NULL: 0 */
                            double *y);                                       /* [rows, c] */

/* mean and variance are constants: inference. */
void ref_batch_norm_backward_inference(int rows, int c, double epsilon,
                                       const double *x,                            /* [rows, c] */
                                       const double *mean, const double *variance, /* [c] each */
                                       const double *gamma, /* [c] or NULL: 1 */
                                       const double *dy,    /* [rows, c] */
                                       double *dx,          /* [rows, c] or NULL */
                                       double *dgamma,      /* [c] or NULL */
                                       double *dbeta);      /* [c] or NULL */

/* mean and variance are those of x: training. */
void ref_batch_norm_backward_training(int rows, int c, double epsilon,
                                      const double *x,     /* [rows, c] */
                                      const double *gamma, /* [c] or NULL: 1 */
                                      const double *dy,    /* [rows, c] */
                                      double *dx,          /* [rows, c] or NULL */
                                      double *dgamma,      /* [c] or NULL */
                                      double *dbeta);      /* [c] or NULL */

/* One training step's update of the moving statistics, as TensorFlow's fused kernel does it. */
void ref_batch_norm_move(int rows, int c, double decay, const double *x, /* [rows, c] */
                         double *moving_mean, double *moving_variance);  /* [c] each */

/* ---- element-wise (ref_elementwise.c) ---- */

void ref_relu_forward(int count, const double *x, double *y);
void ref_relu_backward(int count, const double *x, const double *dy, double *dx);
/* The gradient is 0 at 0 and at 6 themselves, as TensorFlow's. */
void ref_relu6_forward(int count, const double *x, double *y);
void ref_relu6_backward(int count, const double *x, const double *dy, double *dx);
void ref_add(int count, const double *a, const double *b, double *y);

/* ---- pools (ref_pool.c): x [n, h, w, c], y [n, out_h, out_w, c] ---- */

void ref_max_pool_forward(const ref_window *window, int c, const double *x, double *y);
/* dy goes to the first of equal maxima, in row-major order. */
void ref_max_pool_backward(const ref_window *window, int c, const double *x, const double *dy,
                           double *dx);
/* The mean of what lies inside the image. */
void ref_avg_pool_forward(const ref_window *window, int c, const double *x, double *y);
void ref_avg_pool_backward(const ref_window *window, int c, const double *dy, double *dx);

/* ---- dense (ref_dense.c) ---- */

void ref_dense_forward(int n, int inputs, int outputs, const double *x,  /* [n, inputs] */
                       const double *weights,                            /* [inputs, outputs] */
                       const double *biases,                             /* [outputs] or NULL */
                       double *y);                                       /* [n, outputs] */
void ref_dense_backward(int n, int inputs, int outputs, const double *x, /* [n, inputs] */
                        const double *weights,                           /* [inputs, outputs] */
                        const double *dy,                                /* [n, outputs] */
                        double *dx,                                      /* [n, inputs] or NULL */
                        double *dweights, /* [inputs, outputs] or NULL */
                        double *dbiases); /* [outputs] or NULL */

/* ---- softmax and losses (ref_softmax.c) ---- */

void ref_softmax_forward(int n, int classes, const double *logits,  /* [n, classes] */
                         double *y);                                /* [n, classes] */
void ref_softmax_backward(int n, int classes, const double *logits, /* [n, classes] */
                          const double *dy,                         /* [n, classes] */
                          double *dlogits);                         /* [n, classes] */

/* loss = -sum(labels * log(softmax(logits))) a row. */
void ref_cross_entropy_forward(int n, int classes, const double *labels,  /* [n, classes] */
                               const double *logits,                      /* [n, classes] */
                               double *loss);                             /* [n] */
void ref_cross_entropy_backward(int n, int classes, const double *labels, /* [n, classes] */
                                const double *logits,                     /* [n, classes] */
                                const double *dloss,                      /* [n] */
                                double *dlogits);                         /* [n, classes] */

/* ---- reductions (ref_reduce.c) ---- */

double ref_mean(int count, const double *x);
/* sum(a * b) */
double ref_dot(int count, const double *a, const double *b);
/* weight_decay * sum(w^2) / 2 */
double ref_l2(int count, double weight_decay, const double *w);

#endif
