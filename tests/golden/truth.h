/* One file of numbers that TF-slim computed, and how far others are from them. README.md specifies
 * the file. Whatever is wrong with it ends the test. */
#ifndef CRN_TESTS_GOLDEN_TRUTH_H
#define CRN_TESTS_GOLDEN_TRUTH_H

#include "clarinet.h"

#define TRUTH_NAME 256 /* room for a tensor's name */

/* One tensor: whole, or sampled at places that its name gives. */
typedef struct truth {
    const char *name;
    crn_shape shape;
    const float *values;
    size_t n_values;
    bool sampled;
    const double *stats; /* of a sampled one: largest magnitude, where, sum, sum of squares */
    double largest;      /* magnitude */
    double tensorflow;   /* TensorFlow's own error in float32, as a share of the largest */
} truth;

void truth_open(const char *path);
void truth_close(void); /* legal without a file */

bool truth_has(const char *name);
truth truth_of(const char *name); /* which is borrowed */
/* A float64 tensor of `count` elements, which counts as used; *tensorflow as above where the file
 * has it, else 0. */
const double *truth_doubles(const char *name, size_t count, double *tensorflow);

/* Where the k-th of the truth's values is in the tensor. */
size_t truth_place(const truth *t, size_t k);
/*
 * The largest deviation as a share of `scale`, not counting what is `allowed`. The statistics of a
 * sampled tensor are looked at too. Infinite where a value is none.
 */
double truth_deviation(const truth *t, const float *values, double scale, double allowed);

/* From here on the tensor counts as used. */
void truth_use(const char *name);
/* Prints the tensors that are not used yet and returns their number. */
size_t truth_unused(void);

#endif
