/* crn_train: from options to a trained network. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "device/device.h"
#include "graph/graph.h"
#include "train/training.h"

/* A folder that cannot be written to is found out before hours of training. */
static crn_status train(crn__training *t)
{
    CRN__TRY(crn__training_check(t));
    CRN__TRY(crn__training_name_classes(t));
    if (t->options.out != NULL)
        CRN__TRY(crn__run_folder_open(t->options.out, &t->folder, t->error));
    CRN__TRY(crn__training_build(t));
    CRN__TRY(crn__training_restore(t));
    CRN__TRY(crn__training_begin_logs(t));
    return crn__training_run(t);
}

crn_status crn_train(crn_context *context, const crn_dataset *dataset,
                     const crn_train_options *options)
{
    crn_error *error = crn__context_fail(context);
    if (options == NULL || options->size == 0 || options->size > sizeof *options)
        return crn__fail(error, CRN_INVALID, "training options of another library version");
    crn__training t = {.context = context,
                       .error = error,
                       .options = CRN_TRAIN_OPTIONS_INIT,
                       .batches.dataset = dataset,
                       .saved = -1};
    memcpy(&t.options, options, options->size);
    crn_status status = train(&t);
    crn_graph_free(t.graph);
    crn__run_folder_close(&t.folder);
    json_decref(t.class_names);
    free(t.class_names_text);
    free(t.logit_values);
    free(t.label_values);
    free(t.soft_values);
    return status;
}
