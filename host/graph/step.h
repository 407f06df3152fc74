/* Training operations: what an optimizer is to a plan, slots, and the device's part of a step. */
#ifndef CRN_GRAPH_STEP_H
#define CRN_GRAPH_STEP_H

#include "graph/graph.h"

#define CRN__MAX_SLOTS 3
#define CRN__MAX_SETTINGS 5

/* An optimizer: slots, what they start from, and the kernel of cl/optimizer.cl. Members of
 * crn_optimizer are named by their place in it. */
typedef struct crn__optimizer_row {
    crn_optimizer_kind kind;
    bool variant; /* nesterov, centered */
    const char *kernel;
    const char *slot; /* TensorFlow's name; the second slot's ends in "_1" */
    size_t n_slots;
    struct {
        size_t member; /* or SIZE_MAX and… */
        float value;   /* …a number */
    } initial[CRN__MAX_SLOTS];
    bool has_powers; /* of beta1 and beta2 */
    bool has_trust;  /* needs the norms of gradient and weights */
    size_t n_settings;
    size_t settings[CRN__MAX_SETTINGS]; /* members that the kernel takes, in this order */
} crn__optimizer_row;

/* Where an optimizer has the number that a row names. */
const float *crn__optimizer_member(const crn_optimizer *optimizer, size_t member);

/* ---- the operation (slots.c) ---- */

/* Gives the operation its slots. False without memory. */
bool crn__train_op_make_slots(crn_train_op *train, const bool *reached);
void crn__train_op_free(void *train);

/* Before a run or a checkpoint: slots without a value get their first one. CRN_INVALID while the
 * averages are in place. */
crn_status crn__train_op_begin(const crn_train_op *train);
/* The same for a run of the operation, whose numbers for launches are set; and after it. */
crn_status crn__train_op_begin_run(crn_train_op *train);
void crn__train_op_ran(crn_train_op *train);
/* Slots and counts as before the first step. */
crn_status crn__train_op_reset(crn_train_op *train);
/* The step that a checkpoint has; what was added up for the next one is forgotten. */
void crn__train_op_set_step(crn_train_op *train, int64_t step);

/* ---- the device's part of a step (update.c) ---- */

/* A trained variable whose gradient is complete. */
typedef struct crn__update {
    size_t at; /* in train->variables */
    crn__gradient gradient;
} crn__update;

/* Whether the step's verdict needs all gradients, so that no variable is updated before. */
bool crn__updates_wait(const crn_train_op *train);
/*
 * Appends what a run does with gradients: some of them, or where updates wait, all. `accumulates`:
 * only adds them up.
 */
void crn__emit_updates(crn__schedule *schedule, crn_train_op *train, crn__tensor *loss,
                       crn__update *updates, size_t n, bool accumulates);
/* What is left to do after all updates. */
void crn__emit_step_end(crn__schedule *schedule, const crn_train_op *train);

/* sums[i][0] of sums [n][2] = 0 where all of tensors[i] is finite, else NaN. */
void crn__emit_finite(crn__schedule *schedule, crn__tensor *const *tensors, size_t n,
                      crn__tensor *sums);

/* After a run: whether the guard's verdict lets it count. Waits where the guard stops. A step that
 * was refused only for its norm begins anew. */
crn_status crn__verdict_read(crn_train_op *train, bool *good);

#endif
