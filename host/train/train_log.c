/* What a training writes down. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "train/training.h"

/* ---- at the start ---- */

static crn_status write_labels(crn__training *t)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    for (size_t i = 0; stream != NULL && i < t->classes; i++) {
        fprintf(stream, "%zu:", i);
        for (const char *c = json_string_value(json_array_get(t->class_names, i)); *c != '\0'; c++)
            fputc(*c == '\n' ? ' ' : *c, stream);
        fputc('\n', stream);
    }
    crn_status status = stream != NULL && fclose(stream) == 0
                            ? crn__run_folder_write(&t->folder, "labels.txt", text, t->error)
                            : crn__fail_memory(t->error);
    free(text);
    return status;
}

/* A last checkpoint in the folder that this training does not go on from. */
static crn_status set_aside_other(crn__training *t)
{
    return t->continues ? CRN_OK : crn__run_folder_set_aside(&t->folder, t->error);
}

crn_status crn__training_begin_logs(crn__training *t)
{
    if (t->folder.path == NULL)
        return CRN_OK;
    CRN__TRY(set_aside_other(t));
    if (t->options.config != NULL)
        CRN__TRY(crn__run_folder_write(&t->folder, "config.json", t->options.config, t->error));
    CRN__TRY(write_labels(t));
    return crn__run_folder_begin_logs(&t->folder, crn_train_op_step(t->op), t->error);
}

/* ---- histograms ---- */

static crn_status log_histograms(crn__training *t)
{
    float *data = NULL;
    crn_status status = CRN_OK;
    for (size_t i = 0; i < crn_variable_count(t->graph) && status == CRN_OK; i++) {
        const crn_node *variable = crn_variable_at(t->graph, i);
        crn_shape shape = crn_node_shape(variable);
        size_t count = (size_t)crn_shape_count(&shape);
        free(data);
        if ((data = crn__alloc(count, sizeof *data)) == NULL)
            return crn__fail_memory(t->error);
        status = crn_variable_read(variable, data, count);
        if (status == CRN_OK)
            status = crn__event_file_histogram(t->folder.events, t->progress.step,
                                               crn_node_name(variable), data, count, t->error);
    }
    free(data);
    return status;
}

/* ---- steps ---- */

static double all_seconds(const crn__training *t)
{
    return t->folder.seconds + crn__training_now() - t->begin;
}

crn_status crn__training_log_step(crn__training *t)
{
    const crn_progress *p = &t->progress;
    if (t->folder.path == NULL)
        return CRN_OK;
    int64_t histograms = t->options.histograms_every;
    if (histograms > 0 && p->step % histograms == 0)
        CRN__TRY(log_histograms(t));
    if (p->step % t->options.log_every != 0 && p->step != t->steps)
        return CRN_OK;
    const crn__scalar scalars[] = {
        {"train/loss", (double)p->loss},
        {"train/total_loss", (double)p->total_loss},
        {"train/accuracy", (double)p->accuracy},
        {"train/learning_rate", (double)p->learning_rate},
        {"train/images_per_second", p->images_per_second},
    };
    json_t *line = json_pack("{sI sI sf sf sf sf sf sf}", "step", (json_int_t)p->step, "epoch",
                             (json_int_t)p->epoch, "loss", (double)p->loss, "total_loss",
                             (double)p->total_loss, "learning_rate", (double)p->learning_rate,
                             "accuracy", (double)p->accuracy, "images_per_second",
                             p->images_per_second, "seconds", all_seconds(t));
    CRN__TRY(crn__run_folder_log(&t->folder, line, t->error));
    return crn__event_file_scalars(t->folder.events, p->step, scalars,
                                   sizeof scalars / sizeof *scalars, t->error);
}

crn_status crn__training_log_validation(crn__training *t)
{
    const crn_evaluation *v = &t->validation;
    if (t->folder.path == NULL)
        return CRN_OK;
    int64_t step = crn_train_op_step(t->op);
    const crn__scalar scalars[] = {
        {"validation/loss", v->loss}, {"validation/top1", v->top1}, {"validation/top5", v->top5}};
    json_t *line = json_pack("{sI sI sf sf sf sf}", "step", (json_int_t)step, "epoch",
                             (json_int_t)((step - 1) / t->per_epoch + 1), "validation_loss",
                             v->loss, "validation_top1", v->top1, "validation_top5", v->top5,
                             "seconds", all_seconds(t));
    CRN__TRY(crn__run_folder_log(&t->folder, line, t->error));
    return crn__event_file_scalars(t->folder.events, step, scalars,
                                   sizeof scalars / sizeof *scalars, t->error);
}
