/*
 * Batch normalisation (Ioffe and Szegedy, arXiv 1502.03167), with TensorFlow's moving averages.
 *
 * Inputs: x, moving_mean, moving_variance, gamma or NULL, beta or NULL.
 * Forward: n = (x - mean) * inverse, y = activation(gamma * n + beta), inverse = 1 / sqrt(variance
 * + epsilon). Backward, g = dy where the activation passes: dbeta = sum g, dgamma = sum g n, dx =
 * gamma inverse (g - mean(g) - n mean(g n)), without the means when the statistics are fixed. The
 * activation's mask is computed again from x, so that y is not kept for it.
 */
#include "ops/op.h"

#include <stdio.h>

enum { X, MOVING_MEAN, MOVING_VARIANCE, GAMMA, BETA, N_INPUTS };
enum { MEAN, VARIANCE, INVERSE };
enum { SCALE, SHIFT }; /* where a convolution is folded in */

static void batch_statistics(crn__schedule *schedule, crn__call *call)
{
    crn__tensor *x = call->inputs[X];
    size_t rows = crn__rows(x), channels = crn__channels(x);
    int32_t vectors, chunks;
    crn__task task =
        crn__task_rows(schedule, "batch_norm.cl", "statistics", rows, channels, &vectors, &chunks);
    crn__tensor *partial = x->moments;
    if (partial != NULL) {
        chunks = x->n_moments;
    } else {
        partial = crn__schedule_workspace(schedule, (size_t)chunks * 3 * channels);
        crn__schedule_add(schedule, &task,
                          CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(partial), CRN__LONG(rows),
                                        CRN__INT(vectors)));
    }
    call->saved[MEAN] = crn__schedule_workspace(schedule, channels);
    call->saved[VARIANCE] = crn__schedule_workspace(schedule, channels);
    call->saved[INVERSE] = crn__schedule_workspace(schedule, channels);
    task.kernel = "finalise";
    task.range = (crn__range){1, {(size_t)vectors, 1, 1}, {task.range.local[0], 1, 1}};
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(partial), CRN__TENSOR(call->saved[MEAN]),
                                    CRN__TENSOR(call->saved[VARIANCE]),
                                    CRN__TENSOR(call->saved[INVERSE]), CRN__LONG(rows),
                                    CRN__INT(vectors), CRN__INT(chunks),
                                    CRN__FLOAT(call->attrs.epsilon)));
}

/* The statistics for the convolution before to apply: kept with the variables until one of them
 * changes. */
static void fixed_factors(crn__schedule *schedule, crn__call *call)
{
    crn__tensor *variance = call->inputs[MOVING_VARIANCE];
    size_t channels = crn__channels(call->inputs[X]);
    char key[32];
    snprintf(key, sizeof key, "scale %.9g", (double)call->attrs.epsilon);
    call->saved[SCALE] = crn__schedule_derive(schedule, variance, key, &variance->shape);
    snprintf(key, sizeof key, "shift %.9g", (double)call->attrs.epsilon);
    call->saved[SHIFT] = crn__schedule_derive(schedule, variance, key, &variance->shape);
    crn__task task = crn__task_flat(schedule, "batch_norm.cl", "as_factor", channels);
    crn__task_refreshes(&task, call->saved[SCALE], variance); /* and SHIFT with it */
    task.sources[1] = call->inputs[MOVING_MEAN];
    task.sources[2] = call->inputs[GAMMA];
    task.sources[3] = call->inputs[BETA];
    crn__schedule_add(
        schedule, &task,
        CRN__OPERANDS(CRN__TENSOR(call->inputs[MOVING_MEAN]), CRN__TENSOR(variance),
                      CRN__TENSOR(call->inputs[GAMMA]), CRN__TENSOR(call->inputs[BETA]),
                      CRN__TENSOR(call->saved[SCALE]), CRN__TENSOR(call->saved[SHIFT]),
                      CRN__LONG(crn__flat_vectors(schedule, channels)),
                      CRN__FLOAT(call->attrs.epsilon)));
}

static void fixed_statistics(crn__schedule *schedule, crn__call *call)
{
    size_t channels = crn__channels(call->inputs[X]);
    call->saved[MEAN] = call->inputs[MOVING_MEAN];
    call->saved[INVERSE] = crn__schedule_workspace(schedule, channels);
    crn__task task = crn__task_flat(schedule, "batch_norm.cl", "invert", channels);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(call->inputs[MOVING_VARIANCE]),
                                    CRN__TENSOR(call->saved[INVERSE]),
                                    CRN__LONG(crn__flat_vectors(schedule, channels)),
                                    CRN__FLOAT(call->attrs.epsilon)));
}

static void apply(crn__schedule *schedule, const crn__call *norm, crn__tensor *other,
                  crn_activation activation, bool wants_moments, crn__tensor *y)
{
    if (norm->folded[X] != NULL) {
        const crn__epilogue epilogue = {.scale = norm->saved[SCALE],
                                        .shift = norm->saved[SHIFT],
                                        .other = other,
                                        .activation = activation,
                                        .wants_moments = wants_moments};
        crn__conv_apply(schedule, norm->folded[X], &epilogue, y);
        return;
    }
    crn__tensor *x = norm->inputs[X];
    size_t rows = crn__rows(x);
    int32_t vectors, chunks;
    crn__task task = crn__task_rows(schedule, "batch_norm.cl", "forward", rows, crn__channels(x),
                                    &vectors, &chunks);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(norm->saved[MEAN]),
                                    CRN__TENSOR(norm->saved[INVERSE]),
                                    CRN__TENSOR(norm->inputs[GAMMA]),
                                    CRN__TENSOR(norm->inputs[BETA]), CRN__TENSOR(other),
                                    CRN__TENSOR(y), CRN__LONG(rows), CRN__INT(vectors),
                                    CRN__INT(crn__activation_code(activation)),
                                    CRN__INT(crn__how_to_write(schedule, y, false))));
}

static void forward(crn__schedule *schedule, crn__call *call)
{
    if (call->attrs.is_training)
        batch_statistics(schedule, call);
    else if (call->folded[X] != NULL)
        fixed_factors(schedule, call);
    else
        fixed_statistics(schedule, call);
    if (!call->is_folded)
        apply(schedule, call, NULL, call->attrs.activation, call->wants_moments, call->output);
}

/* Sums over the rows; returns the means that dx needs, [2][channels]. */
static crn__tensor *backward_sums(crn__schedule *schedule, crn__call *call)
{
    crn__tensor *x = call->inputs[X];
    size_t rows = crn__rows(x), channels = crn__channels(x);
    int32_t vectors, chunks;
    crn__task task = crn__task_rows(schedule, "batch_norm.cl", "backward_sums", rows, channels,
                                    &vectors, &chunks);
    crn__tensor *partial = crn__schedule_workspace(schedule, (size_t)chunks * 2 * channels);
    crn__schedule_add(
        schedule, &task,
        CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(call->d_output), CRN__TENSOR(call->saved[MEAN]),
                      CRN__TENSOR(call->saved[INVERSE]), CRN__TENSOR(call->inputs[GAMMA]),
                      CRN__TENSOR(call->inputs[BETA]), CRN__TENSOR(partial), CRN__LONG(rows),
                      CRN__INT(vectors), CRN__INT(crn__activation_code(call->attrs.activation))));
    bool add_gamma, add_beta;
    crn__tensor *dgamma = crn__gradient_of(schedule, call, GAMMA, &add_gamma);
    crn__tensor *dbeta = crn__gradient_of(schedule, call, BETA, &add_beta);
    crn__tensor *means = crn__schedule_workspace(schedule, 2 * channels);
    task.kernel = "backward_finalise";
    task.range = (crn__range){1, {(size_t)vectors, 1, 1}, {task.range.local[0], 1, 1}};
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(partial), CRN__TENSOR(dgamma), CRN__TENSOR(dbeta),
                                    CRN__TENSOR(means), CRN__LONG(rows), CRN__INT(vectors),
                                    CRN__INT(chunks), CRN__INT(call->attrs.is_training),
                                    CRN__INT(add_gamma), CRN__INT(add_beta)));
    return means;
}

static void backward(crn__schedule *schedule, crn__call *call)
{
    crn__tensor *x = call->inputs[X], *means = backward_sums(schedule, call);
    bool accumulate = false;
    crn__tensor *dx =
        call->d_output; /* in place where allowed: elements are read before they are written */
    if (!call->may_overwrite || !crn__gradient_share(call, X, dx))
        dx = crn__gradient_of(schedule, call, X, &accumulate);
    if (dx == NULL)
        return;
    size_t rows = crn__rows(x);
    int32_t vectors, chunks;
    crn__task task = crn__task_rows(schedule, "batch_norm.cl", "backward", rows, crn__channels(x),
                                    &vectors, &chunks);
    crn__writing how =
        dx == call->d_output ? CRN__OVER : crn__how_to_write(schedule, dx, accumulate);
    crn__schedule_add(
        schedule, &task,
        CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(call->d_output), CRN__TENSOR(call->saved[MEAN]),
                      CRN__TENSOR(call->saved[INVERSE]), CRN__TENSOR(call->inputs[GAMMA]),
                      CRN__TENSOR(call->inputs[BETA]), CRN__TENSOR(means), CRN__TENSOR(dx),
                      CRN__LONG(rows), CRN__INT(vectors),
                      CRN__INT(crn__activation_code(call->attrs.activation)), CRN__INT(how)));
}

static void update(crn__schedule *schedule, crn__call *call)
{
    if (!call->attrs.is_training)
        return;
    size_t channels = crn__channels(call->inputs[X]);
    crn__task task = crn__task_flat(schedule, "batch_norm.cl", "move", channels);
    crn__schedule_add(
        schedule, &task,
        CRN__OPERANDS(CRN__TENSOR(call->saved[MEAN]), CRN__TENSOR(call->saved[VARIANCE]),
                      CRN__TENSOR(call->inputs[MOVING_MEAN]),
                      CRN__TENSOR(call->inputs[MOVING_VARIANCE]), CRN__TENSOR(call->verdict),
                      CRN__LONG(crn__flat_vectors(schedule, channels)),
                      CRN__LONG(crn__rows(call->inputs[X])), CRN__FLOAT(call->attrs.decay)));
}

const crn__op crn__op_batch_norm = {
    .name = "batch_norm",
    .forward = forward,
    .backward = backward,
    .apply = apply,
    .update = update,
    .updates = 1u << MOVING_MEAN | 1u << MOVING_VARIANCE,
    .fuses_activation = true,
    .optional_inputs = 1u << GAMMA | 1u << BETA,
    .stops_gradient = 1u << MOVING_MEAN | 1u << MOVING_VARIANCE,
};
