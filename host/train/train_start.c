/* The network of a training, and the values that it begins with. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/scopes.h"
#include "device/device.h"
#include "graph/graph.h"
#include "train/training.h"

/* ---- the network ---- */

static crn_status build_forward(crn__training *t, crn_resnet_options *options)
{
    const crn_preprocessing *how = t->options.preprocessing;
    crn_graph *g = t->graph;
    t->inputs = crn_placeholder(
        g, "inputs", CRN_F32, CRN_SHAPE(CRN_ANY, how->image_size, how->image_size, how->channels));
    t->labels = t->options.mix != NULL
                    ? crn_placeholder(g, "labels", CRN_F32, CRN_SHAPE(CRN_ANY, (int64_t)t->classes))
                    : crn_placeholder(g, "labels", CRN_I32, CRN_SHAPE(CRN_ANY));
    t->logits = t->model->build(g, t->inputs, (int64_t)t->classes, options);
    CRN__TRY(crn_graph_status(g)); /* before names of variables are looked at */
    return crn_graph_set_trainable_scopes(g, t->options.trainable_scopes);
}

static void build_step(crn__training *t)
{
    const crn_train_options *o = &t->options;
    crn_graph *g = t->graph;
    crn_minimize_options options = CRN_MINIMIZE_OPTIONS_INIT;
    options.accumulate = o->accumulate;
    options.clip_global_norm = o->clip_global_norm;
    options.clip_norm = o->clip_norm;
    options.guard = o->on_non_finite == CRN_NON_FINITE_SKIP ? CRN_GUARD_SKIP : CRN_GUARD_STOP;
    options.moving_average_decay = o->moving_average_decay;
    options.moving_average_num_updates = o->moving_average_num_updates;
    crn_node *entropy =
        crn_softmax_cross_entropy_smoothed(g, t->labels, t->logits, o->label_smoothing);
    t->loss = crn_reduce_mean(g, entropy);
    t->total = crn_add(g, t->loss, crn_regularization_loss(g));
    t->op = crn_minimize_with(g, o->optimizer, t->total, &options);
}

static bool make_room(crn__training *t)
{
    size_t batch = t->batches.batch_size;
    t->logit_values = crn__alloc(batch, t->classes * sizeof *t->logit_values);
    t->label_values = crn__alloc(batch, sizeof *t->label_values);
    if (t->options.mix != NULL)
        t->soft_values = crn__alloc(batch, t->classes * sizeof *t->soft_values);
    return t->logit_values != NULL && t->label_values != NULL &&
           (t->options.mix == NULL || t->soft_values != NULL);
}

crn_status crn__training_build(crn__training *t)
{
    CRN__TRY(crn_graph_create(t->context, &t->graph));
    crn_graph *g = t->graph;
    crn_graph_set_seed(g, t->options.seed);
    crn_resnet_options options = CRN_RESNET_OPTIONS_INIT;
    options.weight_decay = t->options.weight_decay;
    options.batch_norm_decay = t->options.batch_norm_decay;
    options.freeze_bn = t->options.freeze_bn;
    crn_status status = build_forward(t, &options);
    if (status == CRN_OK) {
        build_step(t);
        if (t->options.validation != NULL) {
            options.is_training = false;
            options.reuse = true;
            t->inference = t->model->build(g, t->inputs, (int64_t)t->classes, &options);
        }
        status = crn_graph_status(g);
    }
    if (status != CRN_OK)
        return crn__fail(t->error, status, "%s", crn_graph_error(g)->text);
    return make_room(t) ? crn_initialize_variables(g) : crn__fail_memory(t->error);
}

/* ---- what a checkpoint says ---- */

static bool metadata_is(const crn_checkpoint *file, const char *key, const char *value)
{
    const char *found = crn_checkpoint_metadata(file, key);
    return found != NULL && strcmp(found, value) == 0;
}

/* Whether the file is of the same network. */
static bool is_ours(const crn__training *t, const crn_checkpoint *file)
{
    return metadata_is(file, CRN_METADATA_MODEL, t->model->name) &&
           metadata_is(file, CRN_METADATA_CLASSES, t->class_names_text);
}

static crn_status read_state(crn__training *t, const crn_checkpoint *file, const char *path)
{
    crn__training_state *state = &t->state;
    const struct {
        const char *key;
        int64_t *target;
    } counts[] = {
        {CRN_METADATA_VALIDATED, &state->validated},
        {CRN_METADATA_BEST_STEP, &state->best_step},
        {CRN_METADATA_WITHOUT_GAIN, &state->without_gain},
        {CRN_METADATA_ROLLBACKS, &state->rollbacks},
    };
    *state = (crn__training_state){0};
    char *end;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const char *text = crn_checkpoint_metadata(file, counts[i].key);
        errno = 0;
        *counts[i].target = text != NULL ? strtoll(text, &end, 10) : 0;
        if (text != NULL && (*text == '\0' || *end != '\0' || errno != 0 || *counts[i].target < 0))
            return crn__fail(t->error, CRN_FORMAT, "%s: %s is \"%.64s\", which is no count", path,
                             counts[i].key, text);
    }
    const char *top1 = crn_checkpoint_metadata(file, CRN_METADATA_BEST_TOP1);
    state->best_top1 = top1 != NULL ? strtod(top1, &end) : 0;
    if (top1 != NULL &&
        (*top1 == '\0' || *end != '\0' || !(state->best_top1 >= 0) || !(state->best_top1 <= 1)))
        return crn__fail(t->error, CRN_FORMAT,
                         "%s: " CRN_METADATA_BEST_TOP1 " is \"%.64s\", which is no share", path,
                         top1);
    return CRN_OK;
}

/* ---- the last layer ---- */

static bool has_other_shape(const crn_checkpoint *file, const crn_node *variable)
{
    crn_shape shape = crn_node_shape(variable);
    for (size_t i = 0; i < crn_checkpoint_count(file); i++) {
        crn_checkpoint_entry entry;
        crn_checkpoint_entry_at(file, i, &entry);
        if (strcmp(entry.name, crn_node_name(variable)) != 0)
            continue;
        bool same = entry.rank == shape.rank;
        for (int k = 0; k < shape.rank && same; k++)
            same = entry.dims[k] == shape.dims[k];
        return !same;
    }
    return false;
}

/* The scopes to leave out: those asked for, and the last layer where it is of another shape. NULL
 * without memory. */
static char *excluded_scopes(const crn__training *t, const crn_checkpoint *file)
{
    const char *asked = t->options.exclude_scopes != NULL ? t->options.exclude_scopes : "";
    bool other = false;
    char *head = crn__format("%s/logits/", t->model->name);
    for (size_t i = 0; head != NULL && i < crn_variable_count(t->graph) && !other; i++) {
        const crn_node *variable = crn_variable_at(t->graph, i);
        other = strncmp(crn_node_name(variable), head, strlen(head)) == 0 &&
                !crn__in_scopes(crn_node_name(variable), asked) && has_other_shape(file, variable);
    }
    if (other)
        crn__log(t->context, CRN_LOG_INFO,
                 "%s: its last layer is for other classes: %s begins afresh", t->options.init_from,
                 head);
    char *scopes =
        head != NULL ? crn__format("%s%s%s", asked, other ? "," : "", other ? head : "") : NULL;
    free(head);
    return scopes;
}

/* ---- what became of each variable ---- */

typedef struct account {
    const crn__training *t;
    FILE *text; /* restore.txt; NULL: memory ran out */
    size_t count[CRN_RESTORE_UNUSED + 1];
} account;

static void on_restore(void *data, crn_restore_event event, const char *name)
{
    static const char *const words[] = {"loaded", "initialised (excluded)",
                                        "initialised (not in the file)", "not used"};
    account *a = data;
    a->count[event]++;
    if (a->text != NULL)
        fprintf(a->text, "%s: %s\n", words[event], name);
    if (a->t->options.report != NULL)
        a->t->options.report(a->t->options.report_data, event, name);
}

/* Of those that have gradients: all but batch norm's moving statistics, were it not for
 * trainable_scopes. */
static size_t list_frozen(account *a)
{
    size_t frozen = 0;
    for (size_t i = 0;
         a->t->options.trainable_scopes != NULL && i < crn_variable_count(a->t->graph); i++) {
        crn_node *variable = crn_variable_at(a->t->graph, i);
        if (crn_variable_is_trainable(variable) || strstr(crn_node_name(variable), "/moving_"))
            continue;
        frozen++;
        if (a->text != NULL)
            fprintf(a->text, "frozen: %s\n", crn_node_name(variable));
    }
    return frozen;
}

static void tell(const account *a, const char *path, size_t frozen)
{
    const crn__training *t = a->t;
    crn__log(t->context, CRN_LOG_INFO,
             "%s: %zu tensors loaded, %zu initialised, %zu of the file not used, %zu frozen%s%s%s",
             path, a->count[CRN_RESTORE_LOADED],
             a->count[CRN_RESTORE_EXCLUDED] + a->count[CRN_RESTORE_MISSING],
             a->count[CRN_RESTORE_UNUSED], frozen, t->folder.path != NULL ? "; which: " : "",
             t->folder.path != NULL ? t->folder.path : "",
             t->folder.path != NULL ? "/restore.txt" : "");
}

static crn_status restore_and_account(crn__training *t, const char *path,
                                      crn_restore_options *options)
{
    char *text = NULL;
    size_t size = 0;
    account a = {.t = t, .text = open_memstream(&text, &size)};
    options->report = on_restore;
    options->report_data = &a;
    crn_status status = crn_checkpoint_restore(t->graph, path, options);
    size_t frozen = status == CRN_OK ? list_frozen(&a) : 0;
    bool whole = a.text != NULL && fclose(a.text) == 0;
    if (status == CRN_OK && !whole)
        status = crn__fail_memory(t->error);
    if (status == CRN_OK && t->folder.path != NULL)
        status = crn__run_folder_write(&t->folder, "restore.txt", text, t->error);
    if (status == CRN_OK)
        tell(&a, path, frozen);
    free(text);
    return status;
}

/* ---- starting ---- */

static crn_status resume_from(crn__training *t, const char *path)
{
    crn_checkpoint *file;
    CRN__TRY(crn_checkpoint_open(path, &file, t->error));
    crn_status status =
        is_ours(t, file)
            ? read_state(t, file, path)
            : crn__fail(t->error, CRN_INVALID,
                        "%s: is of another network or of other classes: cannot go on with it",
                        path);
    crn_checkpoint_free(file);
    CRN__TRY(status);
    crn_restore_options options = CRN_RESTORE_OPTIONS_INIT;
    options.train = t->op;
    CRN__TRY(crn_checkpoint_restore(t->graph, path, &options));
    int64_t step = crn_train_op_step(t->op);
    t->saved = step;
    t->continues = true;
    if (step >= t->steps)
        crn__log(t->context, CRN_LOG_INFO,
                 "%s: training has done %" PRId64 " of %" PRId64 " steps: there is nothing to do",
                 path, step, t->steps);
    else
        crn__log(t->context, CRN_LOG_INFO,
                 "%s: training goes on after step %" PRId64 " of %" PRId64, path, step, t->steps);
    return CRN_OK;
}

static crn_status init_from(crn__training *t, const char *path)
{
    crn_checkpoint *file;
    CRN__TRY(crn_checkpoint_open(path, &file, t->error));
    char *scopes = excluded_scopes(t, file);
    crn_checkpoint_free(file);
    if (scopes == NULL)
        return crn__fail_memory(t->error);
    crn_restore_options options = CRN_RESTORE_OPTIONS_INIT;
    options.exclude_scopes = scopes;
    options.ignore_missing_vars = t->options.ignore_missing_vars;
    options.moving_average = true;
    crn_status status = restore_and_account(t, path, &options);
    free(scopes);
    if (status == CRN_OK)
        crn__log(t->context, CRN_LOG_INFO, "%s: training begins at step 1 with its weights", path);
    return status;
}

crn_status crn__training_restore(crn__training *t)
{
    char *last = NULL;
    if (t->options.resume && (last = crn__run_folder_file(&t->folder, CRN__RUN_LAST)) == NULL)
        return crn__fail_memory(t->error);
    crn_status status = CRN_OK;
    if (last != NULL && access(last, F_OK) == 0)
        status = resume_from(t, last);
    else if (t->options.init_from != NULL)
        status = init_from(t, t->options.init_from);
    if (last != NULL && !t->continues && status == CRN_OK)
        crn__log(t->context, CRN_LOG_INFO,
                 "%s: has no checkpoint yet: training begins at its start", t->folder.path);
    free(last);
    return status;
}

crn_status crn__training_go_back(crn__training *t)
{
    char *path = crn__run_folder_file(&t->folder, CRN__RUN_LAST);
    if (path == NULL)
        return crn__fail_memory(t->error);
    crn_checkpoint *file = NULL;
    crn_restore_options options = CRN_RESTORE_OPTIONS_INIT;
    options.train = t->op;
    crn_status status = crn_checkpoint_open(path, &file, t->error);
    if (status == CRN_OK)
        status = read_state(t, file, path);
    if (status == CRN_OK)
        status = crn_checkpoint_restore(t->graph, path, &options);
    crn_checkpoint_free(file);
    free(path);
    return status;
}
