/*
 * Optimizers, learning rates, and what a training step does besides.
 *
 * Formulas, defaults and names of slots are those of TensorFlow's tf.train (tf.compat.v1.train in
 * 2.12), so that a checkpoint's slots are called as TensorFlow calls them.
 */
#ifndef CLARINET_OPTIM_H
#define CLARINET_OPTIM_H

#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- optimizers ---- */

/* g is the gradient, with the weight decay that the loss has in it. Slots of a variable w in
 * brackets. */
typedef enum crn_optimizer_kind {
    CRN_OPTIMIZER_GRADIENT_DESCENT, /* w -= lr * g */
    /* m = momentum * m + g; w -= lr * m [w/Momentum]. With nesterov w -= lr * (g + momentum * m).
     */
    CRN_OPTIMIZER_MOMENTUM,
    /* s = decay * s + (1 - decay) * g^2; m = momentum * m + lr * g / sqrt(s + epsilon); w -= m
     * [w/RMSProp, from 1; w/RMSProp_1]. With centered, a = decay * a + (1 - decay) * g is the
     * second slot, and sqrt(s - a^2 + epsilon) the divisor. */
    CRN_OPTIMIZER_RMSPROP,
    /* Kingma and Ba, arXiv 1412.6980: m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2)
     * * g^2; w -= lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon)
     * [w/Adam, w/Adam_1; beta1_power and beta2_power, of all]. */
    CRN_OPTIMIZER_ADAM,
    /* Loshchilov and Hutter, arXiv 1711.05101, as PyTorch's AdamW: w -= lr * weight_decay * w; then
     * Adam with the corrected m / (sqrt(corrected v) + epsilon) [w/AdamW, w/AdamW_1]. */
    CRN_OPTIMIZER_ADAMW,
    CRN_OPTIMIZER_ADAGRAD, /* a += g^2; w -= lr * g / sqrt(a) [w/Adagrad, from initial] */
    /* Zeiler, arXiv 1212.5701: a = decay * a + (1 - decay) * g^2; d = sqrt(u + epsilon) /
     * sqrt(a + epsilon) * g; u = decay * u + (1 - decay) * d^2; w -= lr * d
     * [w/Adadelta, w/Adadelta_1]. */
    CRN_OPTIMIZER_ADADELTA,
    /* McMahan et al., Ad click prediction, KDD 2013: b = a + g^2; l += g - (b^-power - a^-power) /
     * lr * w; w = (sign(l) * l1 - l) / (b^-power / lr + 2 * l2), or 0 where |l| <= l1; a = b
     * [w/Ftrl, from initial; w/Ftrl_1]. */
    CRN_OPTIMIZER_FTRL,
    /* You et al., arXiv 1708.03888, as tf.contrib.opt: h = g + weight_decay * w; m = momentum * m +
     * h; w -= lr * trust * |w| / (|g| + weight_decay * |w|) * m [w/LARSOptimizer]. Variables of one
     * dimension (biases, gamma, beta) take plain momentum. */
    CRN_OPTIMIZER_LARS
} crn_optimizer_kind;

/* Made by the functions below; members that are no argument there may be changed afterwards. */
typedef struct crn_optimizer {
    crn_optimizer_kind kind;
    float learning_rate;
    float momentum;     /* momentum, RMSProp, LARS */
    bool nesterov;      /* momentum */
    bool centered;      /* RMSProp */
    float decay;        /* RMSProp; Adadelta's rho */
    float beta1, beta2; /* Adam, AdamW */
    float epsilon;      /* RMSProp, Adam, AdamW, Adadelta */
    float initial;      /* Adagrad's and Ftrl's accumulators before the first step, > 0 */
    float l1, l2;       /* Ftrl */
    float power;        /* Ftrl's learning_rate_power, <= 0 */
    float trust;        /* LARS's coefficient (eeta) */
    /* AdamW and LARS: decoupled, of variables of more than one dimension. An arg scope's
     * weight_decay, which is part of the loss, comes on top: one of them is to be 0. */
    float weight_decay;
} crn_optimizer;

/* crn_momentum, for an initialiser. */
#define CRN_MOMENTUM_INIT(learning_rate, momentum)                                                 \
    {                                                                                              \
        CRN_OPTIMIZER_MOMENTUM, (learning_rate), (momentum), false, false, 0.0f, 0.0f, 0.0f, 0.0f, \
            0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f                                                     \
    }

CRN_API crn_optimizer crn_gradient_descent(float learning_rate);
CRN_API crn_optimizer crn_momentum(float learning_rate, float momentum);
CRN_API crn_optimizer crn_nesterov(float learning_rate, float momentum);
CRN_API crn_optimizer crn_rmsprop(float learning_rate); /* decay 0.9, momentum 0, epsilon 1e-10 */
CRN_API crn_optimizer crn_adam(float learning_rate);    /* 0.9, 0.999, epsilon 1e-8 */
CRN_API crn_optimizer crn_adamw(float learning_rate, float weight_decay); /* as Adam */
CRN_API crn_optimizer crn_adagrad(float learning_rate);                   /* initial 0.1 */
CRN_API crn_optimizer crn_adadelta(float learning_rate); /* decay 0.95, epsilon 1e-8 */
CRN_API crn_optimizer crn_ftrl(float learning_rate);     /* initial 0.1, power -0.5, l1 = l2 = 0 */
CRN_API crn_optimizer crn_lars(float learning_rate, float momentum,
                               float weight_decay); /* trust 0.001 */

/* ---- learning rates ---- */

typedef enum crn_schedule_kind {
    CRN_SCHEDULE_FIXED,       /* rate */
    CRN_SCHEDULE_EXPONENTIAL, /* rate * decay_rate ^ (step / decay_steps) */
    CRN_SCHEDULE_STEP,        /* the same with step / decay_steps rounded down: staircase */
    /* (rate - end_rate) * (1 - min(step, decay_steps) / decay_steps) ^ power + end_rate */
    CRN_SCHEDULE_POLYNOMIAL,
    /* (rate - end_rate) * (1 + cos(pi * min(step, decay_steps) / decay_steps)) / 2 + end_rate */
    CRN_SCHEDULE_COSINE,
    CRN_SCHEDULE_PIECEWISE /* values[i], i the number of boundaries below step */
} crn_schedule_kind;

/*
 * A learning rate by step: tf.train's exponential_decay, polynomial_decay, cosine_decay (whose
 * alpha is end_rate / rate) and piecewise_constant. Steps up to warmup_steps come before: from
 * warmup_rate at step 0 the rate rises in a straight line to what the schedule has at step
 * warmup_steps. The schedule itself counts from step 0 all the same.
 */
typedef struct crn_schedule {
    crn_schedule_kind kind;
    float rate;          /* at step 0 */
    int64_t decay_steps; /* >= 1 where it is used */
    float decay_rate;
    float end_rate;
    float power;
    const int64_t *boundaries; /* n_boundaries steps that rise; borrowed */
    const float *values;       /* n_boundaries + 1; borrowed */
    size_t n_boundaries;
    int64_t warmup_steps; /* 0: none */
    float warmup_rate;
} crn_schedule;

/* Fixed at `value`; the other members are set to taste. */
#define CRN_SCHEDULE_INIT(value)                                                 \
    {                                                                            \
        CRN_SCHEDULE_FIXED, (value), 1, 1.0f, 0.0f, 1.0f, NULL, NULL, 0, 0, 0.0f \
    }

/* CRN_OK, or CRN_INVALID with what is wrong in `error`, which may be NULL. */
CRN_API crn_status crn_schedule_check(const crn_schedule *schedule, crn_error *error);
/* The rate of the step that is taken after `step` others, of a schedule that is right. */
CRN_API float crn_schedule_rate(const crn_schedule *schedule, int64_t step);

/* ---- training steps ---- */

/* What is done with a loss or a gradient that has a NaN or an infinity in it. */
typedef enum crn_guard {
    CRN_GUARD_OFF, /* the step is taken */
    /* crn_run changes no variable, slot or statistic, returns CRN_NON_FINITE, and its text names
     * the first node in forward order whose value is not finite; if all values are, the first
     * gradient that is not, on the way back from the loss. Fetches are filled. The run waits for
     * the device. Where gradients are clipped, a norm that overflows is not finite either. */
    CRN_GUARD_STOP,
    CRN_GUARD_SKIP /* the step changes nothing but the count of steps; crn_train_op_skipped */
} crn_guard;

typedef struct crn_minimize_options {
    size_t size;
    /* Runs that make a step, >= 1: the first accumulate - 1 only add up gradients, the last one
     * updates by their mean. Batch norms work with, and are moved by, each run's batch. The sums
     * are in no checkpoint. With CRN_GUARD_SKIP a run that is not finite spoils the step. */
    int32_t accumulate;
    /* One of the two, or 0 for none. Gradients are those of the step, with their weight decay. */
    float clip_global_norm; /* tf.clip_by_global_norm: all by clip / max(norm of all, clip) */
    float clip_norm;        /* slim's clip_gradient_norms: each by clip / max(its norm, clip) */
    crn_guard guard;
    /*
     * tf.train.ExponentialMovingAverage of the variables that are trained and of the batch-norm
     * statistics that they move: after every step average -= (1 - decay) * (average - w), slots
     * "w/ExponentialMovingAverage", which start at the variable's value. 0: none.
     */
    float moving_average_decay;
    bool moving_average_num_updates; /* decay is min(decay, (1 + step) / (10 + step)), the first
                                        step being 1 */
} crn_minimize_options;

#define CRN_MINIMIZE_OPTIONS_INIT                                               \
    {                                                                           \
        sizeof(crn_minimize_options), 1, 0.0f, 0.0f, CRN_GUARD_OFF, 0.0f, false \
    }

/*
 * tf.train.Optimizer.minimize over the trainable variables that loss depends on. Each run with the
 * returned operation computes their gradients, updates them, and also moves the batch-norm
 * statistics of the layers that loss depends on: slim.learning.create_train_op's behaviour, so that
 * the update operations that TensorFlow users forget are never forgotten here. Borrowed from the
 * graph.
 *
 * A variable is updated as soon as its gradient is complete, whose memory is then free. With a
 * guard or clip_global_norm all gradients are kept until the last of them is known.
 */
CRN_API crn_train_op *crn_minimize(crn_graph *graph, crn_optimizer optimizer, crn_node *loss);
/* The same with options, NULL for none. */
CRN_API crn_train_op *crn_minimize_with(crn_graph *graph, crn_optimizer optimizer, crn_node *loss,
                                        const crn_minimize_options *options);

/* For schedules: takes effect in the next run. */
CRN_API void crn_train_op_set_learning_rate(crn_train_op *train, float learning_rate);
/* Steps done, which checkpoints keep (global_step). */
CRN_API int64_t crn_train_op_step(const crn_train_op *train);
/* Of these, steps that CRN_GUARD_SKIP skipped since the variables were initialised. Waits for the
 * device. */
CRN_API crn_status crn_train_op_skipped(const crn_train_op *train, int64_t *count);

/*
 * Exchanges variables and their moving averages, for evaluation (true) and back (false); asking for
 * what is in place changes nothing. While the averages are in place, runs with `train` and
 * checkpoints of it are CRN_INVALID; a checkpoint without it holds the averages as variables.
 */
CRN_API crn_status crn_train_op_use_averages(crn_train_op *train, bool averages);

#ifdef __cplusplus
}
#endif

#endif
