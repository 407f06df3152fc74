/*
 * Training and using an image classifier in one call each: what the command line program is made
 * of. For another loop, use graph.h and layers.h directly.
 */
#ifndef CLARINET_TRAIN_H
#define CLARINET_TRAIN_H

#include "checkpoint.h"

#include "data.h"

#include "resnet.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What crn_train adds to a checkpoint's metadata, so that the network can be built again from it:
 * the model's name, the number of classes, their names as a JSON array, the preprocessing
 * (crn_preprocessing_from_json) and the seed. "global_step" is crn_checkpoint_save's own.
 */
#define CRN_METADATA_MODEL "clarinet.model"
#define CRN_METADATA_NUM_CLASSES "clarinet.num_classes"
#define CRN_METADATA_CLASSES "clarinet.classes"
#define CRN_METADATA_PREPROCESSING "clarinet.preprocessing"
#define CRN_METADATA_SEED "clarinet.seed"
/*
 * And where the training is, so that it can go on: the step last validated, the step of the best
 * validation with its top-1 accuracy, the validations since then, and how often a training that
 * failed went back to a checkpoint. Absent: none.
 */
#define CRN_METADATA_VALIDATED "clarinet.validated_step"
#define CRN_METADATA_BEST_STEP "clarinet.best_step"
#define CRN_METADATA_BEST_TOP1 "clarinet.best_top1"
#define CRN_METADATA_WITHOUT_GAIN "clarinet.validations_without_gain"
#define CRN_METADATA_ROLLBACKS "clarinet.rollbacks"

typedef struct crn_evaluation {
    size_t images;
    double top1, top5; /* 0…1 */
    double loss;       /* mean cross-entropy */
} crn_evaluation;

/* Called after every batch with the images done; returning false stops (CRN_INTERRUPTED). */
typedef bool (*crn_evaluate_fn)(void *data, size_t done, size_t total);

/* Where a training is. Rates are over the last second or so. */
typedef struct crn_progress {
    int64_t step;  /* done, from 1 */
    int64_t steps; /* in all */
    int64_t epoch; /* from 1 */
    int64_t epochs;
    float loss;       /* mean cross-entropy of this step's batch, before its update */
    float total_loss; /* with regularisation: what is made smaller */
    float accuracy;   /* of this step's batch, 0…1 */
    float learning_rate;
    double images_per_second;
    double seconds;                   /* since training began, by this process */
    const crn_evaluation *validation; /* after this step; NULL: it had none */
    int64_t best_step;                /* of the best validation so far; 0: there was none */
    double best_top1;
} crn_progress;

/* Called after every step. Returning false stops after it, with the checkpoint kept. */
typedef bool (*crn_progress_fn)(void *data, const crn_progress *progress);

/* What is done when a step's loss or a gradient is NaN or infinite (crn_guard): that step changes
 * nothing. */
typedef enum crn_on_non_finite {
    CRN_NON_FINITE_STOP, /* training ends with CRN_NON_FINITE, naming the layer */
    CRN_NON_FINITE_SKIP, /* training goes on; 20 such steps in a row stop it */
    /* Goes back to the last checkpoint, and on with the images in another order; 3 times at most.
     * Needs `out`. */
    CRN_NON_FINITE_ROLLBACK
} crn_on_non_finite;

typedef struct crn_train_options {
    size_t size;
    const char *model;  /* a name that crn_model_find knows */
    int64_t epochs;     /* used when steps is 0 */
    int64_t steps;      /* 0: epochs over the data */
    int64_t batch_size; /* at least 2 */
    crn_optimizer optimizer;
    /* The learning rate by step; NULL: the optimizer's, fixed. decay_steps 0: all of the
     * training's. */
    const crn_schedule *schedule;
    float weight_decay;     /* L2, as resnet_arg_scope */
    float batch_norm_decay; /* of the moving statistics */
    uint64_t seed;          /* initial weights, order and augmentation */
    const crn_preprocessing *preprocessing;
    const char *out;            /* the run's folder; made if missing; or NULL */
    int64_t save_every;         /* steps between checkpoints; 0: one per epoch and at the end */
    const char *init_from;      /* checkpoint to start from; or NULL */
    const char *exclude_scopes; /* with init_from */
    bool ignore_missing_vars;   /* with init_from */
    crn_restore_fn report;      /* with init_from; or NULL */
    void *report_data;
    crn_progress_fn progress; /* or NULL */
    void *progress_data;      /* of `validating` too */

    bool resume;                   /* go on from out's model.safetensors, if it is there */
    const char *config;            /* kept as out's config.json; or NULL */
    int64_t log_every;             /* steps between lines of out's logs */
    int64_t histograms_every;      /* steps between histograms of the variables; 0: none */
    const crn_dataset *validation; /* or NULL. Its classes are found by name */
    int64_t validate_every;        /* steps; 0: each epoch. And at the end */
    crn_evaluate_fn validating;    /* or NULL */
    int64_t keep;                  /* numbered checkpoints besides the last and the best */
    int64_t early_stop;            /* validations without a better top-1 that end it; 0: never */
    double time_limit;             /* seconds after which it ends; 0: never */
    int64_t labels_offset;         /* the network's class is the data's less this */
    const char *trainable_scopes;  /* "a,b": names of the variables to train start so; or NULL */
    bool freeze_bn;                /* with trainable_scopes: crn_batch_norm_options */
    crn_on_non_finite on_non_finite;

    float label_smoothing;      /* crn_softmax_cross_entropy_smoothed */
    const crn_mix *mix;         /* mixup and CutMix; or NULL */
    int32_t accumulate;         /* batches a step: crn_minimize_options, as are those that follow */
    float clip_global_norm;     /* 0: none */
    float clip_norm;            /* 0: none */
    float moving_average_decay; /* 0: none. Validation is of the averages */
    bool moving_average_num_updates;

    bool skip_broken; /* images that cannot be read are replaced by the next one, and the context's
                         log names them; else they end the training */
    int32_t threads;  /* that decode; 0: one a processor */
} crn_train_options;

#define CRN_TRAIN_OPTIONS_INIT                                                                     \
    {                                                                                              \
        sizeof(crn_train_options), "resnet_v2_20", 1, 0, 128, CRN_MOMENTUM_INIT(0.1f, 0.9f), NULL, \
            1e-4f, 0.9f, 0, NULL, NULL, 0, NULL, NULL, false, NULL, NULL, NULL, NULL, false, NULL, \
            10, 0, NULL, 0, NULL, 0, 0, 0, 0, NULL, false, CRN_NON_FINITE_STOP, 0, NULL, 1, 0, 0,  \
            0, false, false, 0                                                                     \
    }

/*
 * Trains options->model on the data set. Returns CRN_INTERRUPTED when the callback asked to stop;
 * the checkpoint is written then too. CRN_NON_FINITE when the loss is NaN or infinite, unless
 * on_non_finite says otherwise: the last good checkpoint stays. A training epoch is as many whole
 * batches as the data set has; with `accumulate` a step takes several, and an epoch's last ones may
 * be left for the next.
 *
 * In `out`:
 *  - model.safetensors, the last checkpoint; best.safetensors, the one of the best validation
 * top-1; the last `keep` ones as step-000123.safetensors, of which the oldest goes once a new one
 * is safe. Each can be `init_from`;
 *  - metrics.jsonl: every log_every steps, and at the last, {"step","epoch","loss","total_loss",
 *    "learning_rate","accuracy","images_per_second","seconds"} (of that step's batch; seconds of
 *    all processes that trained), and {"step","epoch","validation_loss","validation_top1",
 *    "validation_top5","seconds"} of each validation. A killed process leaves whole lines;
 *  - events.out.tfevents.*: the same for TensorBoard, and histograms of the variables;
 *  - config.json, labels.txt ("0:cat" a line, as TF-slim's), and with init_from restore.txt: what
 *    became of each variable.
 * A folder is one process's at a time: CRN_INVALID while another trains there. What another run
 * left in it is replaced: its logs at the start, its numbered and best checkpoints when there is a
 * new one; its last becomes previous.safetensors.
 *
 * `resume` goes on from `out`'s last checkpoint with the same options, to the bit as if it had
 * never stopped, at whatever step that was; from the start when there is none yet. Lines of the
 * logs about later steps are cut off.
 *
 * `init_from` gives the first weights (their moving averages where the file has them), nothing
 * else: training begins at step 1. A last layer of another shape (other classes) begins afresh.
 *
 * `labels_offset` is slim's --labels_offset: files whose class 0 is a background that the network
 * does not have (ImageNet's 1001 classes for a network of 1000) take 1. Such images are then an
 * error. -1 is for data without a background and a network with one: its class 0 is "background".
 */
CRN_API crn_status crn_train(crn_context *context, const crn_dataset *dataset,
                             const crn_train_options *options);

/* A trained network with its class names and preprocessing, from a checkpoint that crn_train wrote;
 * of weights with moving averages it takes these. */
typedef struct crn_classifier crn_classifier;

CRN_API crn_status crn_classifier_open(crn_context *context, const char *checkpoint,
                                       crn_classifier **out);
CRN_API void crn_classifier_free(crn_classifier *classifier);
CRN_API const char *crn_classifier_model(const crn_classifier *classifier);
CRN_API size_t crn_classifier_class_count(const crn_classifier *classifier);
CRN_API const char *crn_classifier_class_name(const crn_classifier *classifier, size_t index);
CRN_API const crn_preprocessing *crn_classifier_preprocessing(const crn_classifier *classifier);
/* The graph, for its end points, and its placeholder [N,S,S,C]. */
CRN_API crn_graph *crn_classifier_graph(crn_classifier *classifier);
CRN_API crn_node *crn_classifier_inputs(crn_classifier *classifier);
CRN_API crn_node *crn_classifier_logits(crn_classifier *classifier);

/* images [count,S,S,C], preprocessed; probabilities [count, classes]. CRN_NON_FINITE when one of
 * them is not a number. */
CRN_API crn_status crn_classifier_run(crn_classifier *classifier, const float *images, size_t count,
                                      float *probabilities);

/* Classes are found by name; CRN_INVALID for an image of a class that the classifier lacks. */
CRN_API crn_status crn_classifier_evaluate(crn_classifier *classifier, const crn_dataset *dataset,
                                           size_t batch_size, crn_evaluate_fn progress,
                                           void *progress_data, crn_evaluation *evaluation);
/*
 * The same, counting what was taken for what: counts [classes,classes] with the classifier's
 * classes, row the right one and column the answer. NULL: not counted.
 */
CRN_API crn_status crn_classifier_confusion(crn_classifier *classifier, const crn_dataset *dataset,
                                            size_t batch_size, crn_evaluate_fn progress,
                                            void *progress_data, crn_evaluation *evaluation,
                                            uint64_t *counts);

#ifdef __cplusplus
}
#endif

#endif
