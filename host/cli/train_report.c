#include "cli/train_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/confusion.h"
#include "cli/plot.h"
#include "cli/progress.h"

/* ---- meanwhile ---- */

static void tell_validation(const crn_progress *p)
{
    char text[256];
    const crn_evaluation *v = p->validation;
    snprintf(text, sizeof text,
             "step %" PRId64 ": validation top-1 %.2f %%, top-5 %.2f %%, loss %.4f; best top-1 "
             "%.2f %% at step %" PRId64,
             p->step, 100 * v->top1, 100 * v->top5, v->loss, 100 * p->best_top1, p->best_step);
    cli_complain("train", text);
}

bool train_on_progress(void *data, const crn_progress *p)
{
    train_meter *m = data;
    bool stop = cli_stopped() != 0;
    int64_t earlier = (p->epoch - 1) * m->per_epoch; /* steps before this epoch */
    int64_t in_epoch = p->step - earlier, epoch_steps = p->steps - earlier;
    if (epoch_steps > m->per_epoch) /* else --steps ends amid this epoch */
        epoch_steps = m->per_epoch;
    char before[64], after[160], eta[32];
    double left = (double)((p->steps - p->step) * m->images);
    snprintf(before, sizeof before, "epoch %" PRId64 "/%" PRId64, p->epoch, p->epochs);
    snprintf(after, sizeof after,
             "step %" PRId64 "/%" PRId64 " loss %.3f acc %.1f%% %.*f img/s ETA %s", in_epoch,
             epoch_steps, (double)p->loss, 100 * (double)p->accuracy,
             p->images_per_second < 10 ? 2 : 0, p->images_per_second,
             cli_time_text(p->images_per_second > 0 ? left / p->images_per_second : 0, eta));
    cli_progress_show(before, (double)in_epoch / (double)epoch_steps, after,
                      stop || p->step == p->steps);
    if (p->validation != NULL)
        tell_validation(p);
    m->last = *p;
    return !stop;
}

bool train_on_validating(void *data, size_t done, size_t total)
{
    char after[64];
    (void)data;
    snprintf(after, sizeof after, "%zu/%zu", done, total);
    cli_progress_show("validation", (double)done / (double)total, after, false);
    return cli_stopped() == 0;
}

void train_tell_start(const train_arguments *a, crn_context *context, const crn_dataset *dataset,
                      const crn_preprocessing *how)
{
    char text[512];
    snprintf(text, sizeof text, "%s on %s: %zu images of %zu classes as %dx%dx%d", a->model,
             crn_context_device(context)->name, crn_dataset_size(dataset),
             crn_dataset_class_count(dataset), how->image_size, how->image_size, how->channels);
    cli_complain("train", text);
}

/* ---- at the end ---- */

int train_tell_end(const train_arguments *a, crn_context *context, crn_status status,
                   const train_meter *m)
{
    char text[1024], time[32];
    if (status != CRN_OK && status != CRN_INTERRUPTED)
        return cli_fail("train", crn_context_error(context));
    if (status == CRN_INTERRUPTED) {
        snprintf(text, sizeof text,
                 "stopped after step %" PRId64 "; to go on: clarinet train --resume %s",
                 m->last.step, a->out);
        cli_complain("train", text);
        return 128 + cli_stopped();
    }
    snprintf(text, sizeof text, "step %" PRId64 ", loss %.3f, after %s: %s/model.safetensors",
             m->last.step, (double)m->last.loss, cli_time_text(m->last.seconds, time), a->out);
    if (m->last.step > 0)
        cli_complain("train", text);
    return CLI_OK;
}

static bool on_counting(void *data, size_t done, size_t total)
{
    char after[64];
    (void)data;
    snprintf(after, sizeof after, "%zu/%zu", done, total);
    cli_progress_show("confusion", (double)done / (double)total, after, done == total);
    return cli_stopped() == 0;
}

static void count_confusion(const train_arguments *a, crn_context *context,
                            const crn_dataset *validation)
{
    char checkpoint[4400], csv[4400];
    snprintf(checkpoint, sizeof checkpoint, "%s/best.safetensors", a->out);
    snprintf(csv, sizeof csv, "%s/confusion.csv", a->out);
    if (access(checkpoint, R_OK) != 0)
        snprintf(checkpoint, sizeof checkpoint, "%s/model.safetensors", a->out);
    crn_classifier *classifier = NULL;
    cli_confusion confusion = {.counts = NULL};
    crn_evaluation result;
    if (crn_classifier_open(context, checkpoint, &classifier) != CRN_OK)
        cli_fail("train", crn_context_error(context));
    else if (!cli_confusion_init(&confusion, classifier))
        cli_no_memory("train");
    else if (crn_classifier_confusion(classifier, validation, (size_t)a->batch_size, on_counting,
                                      NULL, &result, confusion.counts) != CRN_OK)
        cli_fail("train", crn_context_error(context));
    else if (cli_confusion_write("train", &confusion, csv) == CLI_GO_ON) {
        fprintf(stderr, "\n");
        cli_confusion_print(&confusion, stderr);
    }
    cli_confusion_free(&confusion);
    crn_classifier_free(classifier);
}

void train_conclude(const train_arguments *a, crn_context *context, const crn_dataset *validation)
{
    char png[4400];
    if (validation != NULL)
        count_confusion(a, context, validation);
    snprintf(png, sizeof png, "%s/curves.png", a->out);
    cli_plot("train", &a->out, 1, png);
}
