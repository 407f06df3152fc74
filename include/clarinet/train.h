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

/* Where a training is. Rates are over the last second or so. */
typedef struct crn_progress {
    int64_t step;  /* done, from 1 */
    int64_t steps; /* in all */
    int64_t epoch; /* from 1 */
    int64_t epochs;
    float loss;     /* total loss of this step */
    float accuracy; /* of this step's batch, 0…1 */
    double images_per_second;
    double seconds; /* since training began */
} crn_progress;

/* Called after every step. Returning false stops after it, with the checkpoint kept. */
typedef bool (*crn_progress_fn)(void *data, const crn_progress *progress);

typedef struct crn_train_options {
    size_t size;
    const char *model;       /* a name that crn_model_find knows */
    int64_t epochs;          /* used when steps is 0 */
    int64_t steps;           /* 0: epochs over the data */
    int64_t batch_size;      /* at least 2 */
    crn_optimizer optimizer; /* its learning rate is the first one */
    bool cosine;             /* the learning rate falls to 0 along a half cosine */
    float weight_decay;      /* L2, as resnet_arg_scope */
    float batch_norm_decay;  /* of the moving statistics */
    uint64_t seed;           /* initial weights, order and augmentation */
    const crn_preprocessing *preprocessing;
    const char *out;            /* folder for "model.safetensors"; made if missing; or NULL */
    int64_t save_every;         /* steps between checkpoints; 0: one per epoch and at the end */
    const char *init_from;      /* checkpoint to start from; or NULL */
    const char *exclude_scopes; /* with init_from */
    bool ignore_missing_vars;   /* with init_from */
    crn_restore_fn report;      /* with init_from; or NULL */
    void *report_data;
    crn_progress_fn progress; /* or NULL */
    void *progress_data;
} crn_train_options;

#define CRN_TRAIN_OPTIONS_INIT                                                               \
    {                                                                                        \
        sizeof(crn_train_options), "resnet_v2_20", 1, 0, 128, CRN_MOMENTUM_INIT(0.1f, 0.9f), \
            false, 1e-4f, 0.9f, 0, NULL, NULL, 0, NULL, NULL, false, NULL, NULL, NULL, NULL  \
    }

/*
 * Trains options->model on the data set. Returns CRN_INTERRUPTED when the callback asked to stop;
 * the checkpoint is written then too. CRN_NON_FINITE when the loss is NaN or infinite: the last
 * good checkpoint stays.
 *
 * `init_from` with nothing excluded, of the same model and classes, continues that training: its
 * optimizer slots and step count, up to the same total of steps, with the batches that it would
 * have seen. Otherwise only its weights are taken, and training begins at step 1. The context's log
 * says which.
 *
 * A training epoch is as many whole batches as the data set has.
 */
CRN_API crn_status crn_train(crn_context *context, const crn_dataset *dataset,
                             const crn_train_options *options);

/* A trained network with its class names and preprocessing, from a checkpoint that crn_train wrote.
 */
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

typedef struct crn_evaluation {
    size_t images;
    double top1, top5; /* 0…1 */
    double loss;       /* mean cross-entropy */
} crn_evaluation;

/* Called after every batch with the images done; returning false stops (CRN_INTERRUPTED). */
typedef bool (*crn_evaluate_fn)(void *data, size_t done, size_t total);

CRN_API crn_status crn_classifier_evaluate(crn_classifier *classifier, const crn_dataset *dataset,
                                           size_t batch_size, crn_evaluate_fn progress,
                                           void *progress_data, crn_evaluation *evaluation);

#ifdef __cplusplus
}
#endif

#endif
