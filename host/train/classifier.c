#include "clarinet/train.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "device/device.h"
#include "train/evaluate.h"

struct crn_classifier {
    crn_context *context;
    crn_error *error; /* the context's */
    const crn_model *model;
    json_t *class_names; /* an array of at least one string */
    crn_preprocessing preprocessing;
    crn_graph *graph;
    crn_node *inputs, *logits, *probabilities;
};

/* ---- opening ---- */

static crn_status parse_classes(crn_classifier *c, const char *path, const char *text)
{
    c->class_names = json_loads(text, 0, NULL);
    size_t count = json_array_size(c->class_names); /* 0 for what is no array */
    bool good = count > 0;
    for (size_t i = 0; i < count && good; i++)
        good = json_is_string(json_array_get(c->class_names, i));
    return good ? CRN_OK
                : crn__fail(c->error, CRN_FORMAT,
                            "%s: " CRN_METADATA_CLASSES " is no list of names", path);
}

static crn_status describe(crn_classifier *c, const crn_checkpoint *file, const char *path)
{
    const char *model = crn_checkpoint_metadata(file, CRN_METADATA_MODEL);
    const char *classes = crn_checkpoint_metadata(file, CRN_METADATA_CLASSES);
    const char *count = crn_checkpoint_metadata(file, CRN_METADATA_NUM_CLASSES);
    const char *preprocessing = crn_checkpoint_metadata(file, CRN_METADATA_PREPROCESSING);
    if (model == NULL || classes == NULL || count == NULL || preprocessing == NULL)
        return crn__fail(c->error, CRN_FORMAT,
                         "%s: its metadata does not say what network it is of: not a checkpoint "
                         "of clarinet train",
                         path);
    c->model = crn_model_find(model);
    if (c->model == NULL)
        return crn__fail(c->error, CRN_FORMAT, "%s: no model is called '%.64s'", path, model);
    CRN__TRY(parse_classes(c, path, classes));
    char expected[24];
    snprintf(expected, sizeof expected, "%zu", json_array_size(c->class_names));
    if (strcmp(count, expected) != 0)
        return crn__fail(c->error, CRN_FORMAT, "%s: %.24s classes with %s names", path, count,
                         expected);
    crn_error error;
    if (crn_preprocessing_from_json(preprocessing, &c->preprocessing, &error) != CRN_OK)
        return crn__fail(c->error, CRN_FORMAT, "%s: %s", path, error.text);
    return CRN_OK;
}

static crn_status build(crn_classifier *c, const char *path)
{
    const crn_preprocessing *how = &c->preprocessing;
    CRN__TRY(crn_graph_create(c->context, &c->graph));
    crn_resnet_options options = CRN_RESNET_OPTIONS_INIT;
    options.is_training = false;
    c->inputs =
        crn_placeholder(c->graph, "inputs", CRN_F32,
                        CRN_SHAPE(CRN_ANY, how->image_size, how->image_size, how->channels));
    c->logits =
        c->model->build(c->graph, c->inputs, (int64_t)json_array_size(c->class_names), &options);
    c->probabilities = crn_softmax(c->graph, c->logits);
    if (crn_graph_status(c->graph) != CRN_OK)
        return crn__fail(c->error, crn_graph_status(c->graph), "%s",
                         crn_graph_error(c->graph)->text);
    crn_restore_options restore = CRN_RESTORE_OPTIONS_INIT;
    restore.moving_average = true;
    return crn_checkpoint_restore(c->graph, path, &restore);
}

crn_status crn_classifier_open(crn_context *context, const char *checkpoint, crn_classifier **out)
{
    crn_error *error = crn__context_fail(context);
    crn_classifier *c = crn__alloc(1, sizeof *c);
    if (c == NULL)
        return crn__fail_memory(error);
    c->context = context;
    c->error = error;
    crn_checkpoint *file;
    crn_status status = crn_checkpoint_open(checkpoint, &file, error);
    if (status == CRN_OK) {
        status = describe(c, file, checkpoint);
        crn_checkpoint_free(file);
    }
    if (status == CRN_OK)
        status = build(c, checkpoint);
    if (status != CRN_OK) {
        crn_classifier_free(c);
        return status;
    }
    *out = c;
    return CRN_OK;
}

void crn_classifier_free(crn_classifier *classifier)
{
    if (classifier == NULL)
        return;
    crn_graph_free(classifier->graph);
    json_decref(classifier->class_names);
    free(classifier);
}

const char *crn_classifier_model(const crn_classifier *classifier)
{
    return classifier->model->name;
}

size_t crn_classifier_class_count(const crn_classifier *classifier)
{
    return json_array_size(classifier->class_names);
}

const char *crn_classifier_class_name(const crn_classifier *classifier, size_t index)
{
    return json_string_value(json_array_get(classifier->class_names, index));
}

const crn_preprocessing *crn_classifier_preprocessing(const crn_classifier *classifier)
{
    return &classifier->preprocessing;
}

crn_graph *crn_classifier_graph(crn_classifier *classifier)
{
    return classifier->graph;
}

crn_node *crn_classifier_inputs(crn_classifier *classifier)
{
    return classifier->inputs;
}

crn_node *crn_classifier_logits(crn_classifier *classifier)
{
    return classifier->logits;
}

/* ---- running ---- */

crn_status crn_classifier_run(crn_classifier *classifier, const float *images, size_t count,
                              float *probabilities)
{
    if (count == 0)
        return CRN_OK;
    const crn_preprocessing *how = &classifier->preprocessing;
    size_t classes = crn_classifier_class_count(classifier);
    const crn_feed feed = {
        classifier->inputs, images,
        CRN_SHAPE((int64_t)count, how->image_size, how->image_size, how->channels)};
    crn_fetch fetch = {.node = classifier->probabilities,
                       .data = probabilities,
                       .size = count * classes * sizeof *probabilities};
    CRN__TRY(crn_run(classifier->graph, NULL, &feed, 1, &fetch, 1));
    for (size_t i = 0; i < count * classes; i++)
        if (!isfinite(probabilities[i]))
            return crn__fail(classifier->error, CRN_NON_FINITE,
                             "the network's answer for image %zu is not finite", i / classes);
    return CRN_OK;
}

crn_status crn_classifier_evaluate(crn_classifier *classifier, const crn_dataset *dataset,
                                   size_t batch_size, crn_evaluate_fn progress, void *progress_data,
                                   crn_evaluation *evaluation)
{
    return crn_classifier_confusion(classifier, dataset, batch_size, progress, progress_data,
                                    evaluation, NULL);
}

crn_status crn_classifier_confusion(crn_classifier *classifier, const crn_dataset *dataset,
                                    size_t batch_size, crn_evaluate_fn progress,
                                    void *progress_data, crn_evaluation *evaluation,
                                    uint64_t *counts)
{
    const crn__network network = {.graph = classifier->graph,
                                  .inputs = classifier->inputs,
                                  .logits = classifier->logits,
                                  .preprocessing = &classifier->preprocessing,
                                  .class_names = classifier->class_names,
                                  .error = classifier->error};
    size_t classes = crn_classifier_class_count(classifier);
    if (counts != NULL)
        memset(counts, 0, classes * classes * sizeof *counts);
    return crn__evaluate(&network, dataset, batch_size, progress, progress_data, evaluation,
                         counts);
}
