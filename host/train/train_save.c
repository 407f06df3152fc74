/* A training's checkpoints. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/memory.h"
#include "train/training.h"

/* The loss of a step is that before its update, so it says nothing about the weights after it. */
static crn_status check_variables(crn__training *t)
{
    crn_status status = CRN_OK;
    float *data = NULL;
    for (size_t i = 0; i < crn_variable_count(t->graph) && status == CRN_OK; i++) {
        crn_node *variable = crn_variable_at(t->graph, i);
        crn_shape shape = crn_node_shape(variable);
        size_t count = (size_t)crn_shape_count(&shape), bad = 0;
        free(data);
        if ((data = crn__alloc(count, sizeof *data)) == NULL)
            return crn__fail_memory(t->error);
        status = crn_variable_read(variable, data, count);
        while (status == CRN_OK && bad < count && isfinite(data[bad]))
            bad++;
        if (status == CRN_OK && bad < count)
            status = crn__fail(t->error, CRN_NON_FINITE, "%s is not finite after step %" PRId64,
                               crn_node_name(variable), crn_train_op_step(t->op));
    }
    free(data);
    return status;
}

/* Room for numbers as text. */
typedef struct texts {
    char preprocessing[CRN_PREPROCESSING_JSON_SIZE], classes[24], seed[24], validated[24],
        best_step[24], best_top1[32], without_gain[24], rollbacks[24];
} texts;

static crn_status write_texts(const crn__training *t, texts *x)
{
    const crn__training_state *s = &t->state;
    if (crn_preprocessing_to_json(t->options.preprocessing, x->preprocessing,
                                  sizeof x->preprocessing) != CRN_OK)
        return crn__fail(t->error, CRN_INVALID, "the preprocessing has no place in the checkpoint");
    snprintf(x->classes, sizeof x->classes, "%zu", t->classes);
    snprintf(x->seed, sizeof x->seed, "%" PRIu64, t->options.seed);
    snprintf(x->validated, sizeof x->validated, "%" PRId64, s->validated);
    snprintf(x->best_step, sizeof x->best_step, "%" PRId64, s->best_step);
    snprintf(x->best_top1, sizeof x->best_top1, "%.17g", s->best_top1);
    snprintf(x->without_gain, sizeof x->without_gain, "%" PRId64, s->without_gain);
    snprintf(x->rollbacks, sizeof x->rollbacks, "%" PRId64, s->rollbacks);
    return CRN_OK;
}

static crn_status save_as(crn__training *t, const char *name)
{
    texts x;
    CRN__TRY(write_texts(t, &x));
    const crn_metadata metadata[] = {
        {CRN_METADATA_MODEL, t->model->name},          {CRN_METADATA_NUM_CLASSES, x.classes},
        {CRN_METADATA_CLASSES, t->class_names_text},   {CRN_METADATA_SEED, x.seed},
        {CRN_METADATA_PREPROCESSING, x.preprocessing}, {CRN_METADATA_VALIDATED, x.validated},
        {CRN_METADATA_BEST_STEP, x.best_step},         {CRN_METADATA_BEST_TOP1, x.best_top1},
        {CRN_METADATA_WITHOUT_GAIN, x.without_gain},   {CRN_METADATA_ROLLBACKS, x.rollbacks},
    };
    crn_save_options options = CRN_SAVE_OPTIONS_INIT;
    options.train = t->op;
    options.metadata = metadata;
    options.n_metadata = sizeof metadata / sizeof *metadata;
    char *path = crn__run_folder_file(&t->folder, name);
    crn_status status =
        path != NULL ? crn_checkpoint_save(t->graph, path, &options) : crn__fail_memory(t->error);
    free(path);
    return status;
}

/* Once this training's first checkpoint is safe, those of another one in the folder are not wanted.
 */
static crn_status forget_others(crn__training *t)
{
    return t->saved < 0 && !t->continues ? crn__run_folder_forget(&t->folder, t->error) : CRN_OK;
}

crn_status crn__training_save(crn__training *t)
{
    int64_t step = crn_train_op_step(t->op);
    if (t->folder.path == NULL || t->saved == step)
        return CRN_OK;
    CRN__TRY(check_variables(t));
    CRN__TRY(save_as(t, CRN__RUN_LAST));
    CRN__TRY(forget_others(t));
    t->saved = step;
    if (t->options.keep == 0 || step == 0)
        return CRN_OK;
    char name[48];
    crn__run_folder_numbered(step, name);
    CRN__TRY(save_as(t, name));
    return crn__run_folder_prune(&t->folder, t->options.keep, t->error);
}

crn_status crn__training_save_best(crn__training *t)
{
    if (t->folder.path == NULL)
        return CRN_OK;
    if (t->saved < 0) /* so that what is forgotten is not this one */
        CRN__TRY(crn__training_save(t));
    CRN__TRY(check_variables(t));
    return save_as(t, CRN__RUN_BEST);
}
