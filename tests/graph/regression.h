/*
 * Softmax regression, the problem of golden/optimizers.safetensors (golden/make_optimizers.py):
 * what steps of it are, TensorFlow said.
 */
#ifndef CRN_TESTS_GRAPH_REGRESSION_H
#define CRN_TESTS_GRAPH_REGRESSION_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/op_test.h"

enum { SAMPLES = 6, INPUTS = 5, CLASSES = 7, STEPS = 6, WEIGHTS = INPUTS * CLASSES };

#define REGRESSION_DECAY 0.01f
/* Six steps in float against double. */
#define REGRESSION_RTOL 1e-5

static crn_checkpoint *golden;

static inline int regression_open(void **state)
{
    crn_error error;
    if (crn_checkpoint_open(CRN_TEST_DATA "/golden/optimizers.safetensors", &golden, &error) !=
        CRN_OK) {
        fprintf(stderr, "%s\n", error.text);
        return -1;
    }
    return op_open(state);
}

static inline int regression_close(void **state)
{
    crn_checkpoint_free(golden);
    return op_close(state);
}

/* A tensor of a file, of `count` elements. */
static inline double *regression_read(const crn_checkpoint *file, const char *name, size_t count)
{
    float data[SAMPLES * CLASSES + WEIGHTS];
    crn_error error;
    assert_true(count <= sizeof data / sizeof *data);
    if (crn_checkpoint_read(file, name, data, count, &error) != CRN_OK)
        fail_msg("%s", error.text);
    double *values = op_array((int64_t)count);
    for (size_t i = 0; i < count; i++)
        values[i] = (double)data[i];
    return values;
}

static inline double *golden_values(const char *name, size_t count)
{
    return regression_read(golden, name, count);
}

/* Gives the variables their first values. */
static inline void regression_initialise(void)
{
    op_check(crn_initialize_variables(op_graph()));
    op_set("fc/weights", golden_values("weights", WEIGHTS));
    op_set("fc/biases", golden_values("biases", CLASSES));
}

/* The logits of the first `count` samples, and the placeholders. */
static inline crn_node *regression_logits(int count, crn_node **x, crn_node **labels)
{
    crn_graph *g = op_graph();
    crn_arg_scope scope = *crn_arg_scope_current(g);
    scope.weight_decay = REGRESSION_DECAY;
    crn_arg_scope_push(g, &scope);
    *x = op_input("x", CRN_SHAPE(count, INPUTS), golden_values("x", SAMPLES * INPUTS));
    *labels =
        op_input("labels", CRN_SHAPE(count, CLASSES), golden_values("labels", SAMPLES * CLASSES));
    crn_node *logits = crn_dense(g, *x, CLASSES, CRN_ACTIVATION_NONE, CRN_NORMALIZER_NONE, "fc");
    crn_arg_scope_pop(g);
    return logits;
}

/* The loss of all samples, at the first values. */
static inline crn_node *regression_loss(void)
{
    crn_graph *g = op_graph();
    crn_node *x, *labels, *logits = regression_logits(SAMPLES, &x, &labels);
    crn_node *loss = crn_reduce_mean(g, crn_softmax_cross_entropy(g, labels, logits));
    loss = crn_add(g, loss, crn_regularization_loss(g));
    regression_initialise();
    return loss;
}

/* What a checkpoint of the training operation holds is what the file has of the case, by the same
 * names. */
static inline void regression_compare(const char *name, const crn_train_op *train)
{
    char path[] = "/tmp/clarinet-optimizers-XXXXXX", key[128];
    crn_checkpoint *file;
    crn_error error;
    crn_checkpoint_entry entry;
    size_t expected = 0, length = strlen(name);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    fclose(fdopen(fd, "w"));
    crn_save_options options = CRN_SAVE_OPTIONS_INIT;
    options.train = train;
    op_check(crn_checkpoint_save(op_graph(), path, &options));
    assert_int_equal(crn_checkpoint_open(path, &file, &error), CRN_OK);
    remove(path);
    for (size_t i = 0; i < crn_checkpoint_count(golden); i++) {
        crn_checkpoint_entry_at(golden, i, &entry);
        expected += strncmp(entry.name, name, length) == 0 && entry.name[length] == '/';
    }
    assert_int_equal(crn_checkpoint_count(file), expected);
    for (size_t i = 0; i < crn_checkpoint_count(file); i++) {
        crn_checkpoint_entry_at(file, i, &entry);
        size_t count = (size_t)entry.bytes / sizeof(float);
        snprintf(key, sizeof key, "%s/%s", name, entry.name);
        op_compare(key, regression_read(file, entry.name, count), golden_values(key, count),
                   (int64_t)count, REGRESSION_RTOL);
    }
    crn_checkpoint_free(file);
}

#endif
