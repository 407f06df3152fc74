/*
 * Optimizers.
 */
#ifndef CLARINET_OPTIM_H
#define CLARINET_OPTIM_H

#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum crn_optimizer_kind {
    CRN_OPTIMIZER_GRADIENT_DESCENT, /* w -= lr * g                                            */
    CRN_OPTIMIZER_MOMENTUM /* m = momentum * m + g; w -= lr * m  (tf.train.MomentumOptimizer) */
} crn_optimizer_kind;

typedef struct crn_optimizer {
    crn_optimizer_kind kind;
    float learning_rate;
    float momentum;
} crn_optimizer;

CRN_API crn_optimizer crn_gradient_descent(float learning_rate);
CRN_API crn_optimizer crn_momentum(float learning_rate, float momentum);

/*
 * tf.train.Optimizer.minimize over the trainable variables that loss depends on. Each run with the
 * returned operation computes their gradients, updates them, and also moves the batch-norm
 * statistics of the layers that loss depends on: slim.learning.create_train_op's behaviour, so that
 * the update operations that TensorFlow users forget are never forgotten here. Borrowed from the
 * graph.
 */
CRN_API crn_train_op *crn_minimize(crn_graph *graph, crn_optimizer optimizer, crn_node *loss);

/* For schedules: takes effect in the next run. */
CRN_API void crn_train_op_set_learning_rate(crn_train_op *train, float learning_rate);
/* Steps done, which checkpoints keep (global_step). */
CRN_API int64_t crn_train_op_step(const crn_train_op *train);

#ifdef __cplusplus
}
#endif

#endif
