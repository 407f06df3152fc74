/* A training, in the files of this room: options and start, checkpoints, logs, steps. */
#ifndef CRN_TRAIN_TRAINING_H
#define CRN_TRAIN_TRAINING_H

#include <jansson.h>

#include "clarinet/train.h"
#include "train/evaluate.h"
#include "train/prefetch.h"
#include "train/run_folder.h"

#define CRN__MAX_ACCUMULATE 65536

/* What of a training is in no variable: kept in checkpoints' metadata. */
typedef struct crn__training_state {
    int64_t validated; /* the step last validated; 0: none */
    int64_t best_step; /* of the best validation; 0: none */
    double best_top1;
    int64_t without_gain; /* validations since then */
    int64_t rollbacks;
} crn__training_state;

typedef struct crn__training {
    crn_context *context;
    crn_error *error; /* the context's */
    crn_train_options options;
    const crn_model *model;
    crn__batches batches;
    int64_t steps, per_epoch;
    crn__training_state state;

    size_t classes;         /* the network's */
    json_t *class_names;    /* array of strings */
    char *class_names_text; /* the same as JSON */

    crn__run_folder folder; /* path NULL: there is none */
    bool continues;         /* a training that began before */
    int64_t saved;          /* the step that the last checkpoint holds; -1: none of this training */

    crn_graph *graph;
    crn_node *inputs, *labels, *logits, *loss, *total;
    crn_node *inference; /* logits with moving statistics; NULL without validation */
    crn_train_op *op;
    float *logit_values;   /* [batch_size,classes] */
    int32_t *label_values; /* [batch_size], the network's classes */
    float *soft_values;    /* [batch_size,classes], what mixing made of them; or NULL */

    double begin, window; /* when training and the window of the rate began */
    int64_t window_steps;
    crn_schedule schedule;
    int64_t skipped, skipped_in_row; /* steps that were not finite, by this process */
    crn_progress progress;
    crn_evaluation validation;
} crn__training;

double crn__training_now(void); /* seconds, monotonic */

/* ---- train_options.c ---- */

crn_status crn__training_check(crn__training *t);
/* Fills classes, class_names and class_names_text. */
crn_status crn__training_name_classes(crn__training *t);

/* ---- train_start.c ---- */

crn_status crn__training_build(crn__training *t);
/* From init_from or, when resuming, the run's last checkpoint. */
crn_status crn__training_restore(crn__training *t);
/* Back to the run's last checkpoint, with the state that it has. */
crn_status crn__training_go_back(crn__training *t);

/* ---- train_save.c ---- */

/* The run's last checkpoint, and a numbered one; nothing when it has this step already. */
crn_status crn__training_save(crn__training *t);
/* best.safetensors. */
crn_status crn__training_save_best(crn__training *t);

/* ---- train_log.c ---- */

/* config.json, labels.txt and the logs. */
crn_status crn__training_begin_logs(crn__training *t);
/* The present step's line, if it is one of log_every. */
crn_status crn__training_log_step(crn__training *t);
crn_status crn__training_log_validation(crn__training *t);

/* ---- train_loop.c ---- */

/* From the graph's step to the last. */
crn_status crn__training_run(crn__training *t);

#endif
