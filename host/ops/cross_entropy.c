/*
 * Softmax cross-entropy of each row: loss = sum over k of label_k (log sum exp(x) - x_k), and
 * dx = (softmax(x) sum(label) - label) dloss. Labels are rows of int32 or float32, or indices
 * (sparse), and may be smoothed: label (1 - s) + s / classes.
 */
#include "ops/op.h"

#include <stdio.h>

#include "core/error.h"

enum { LABELS, LOGITS };

static crn_status infer(const crn__attrs *attrs, const crn_shape *inputs, size_t n_inputs,
                        crn_shape *output, crn_error *error)
{
    (void)n_inputs;
    const crn_shape *labels = &inputs[LABELS], *logits = &inputs[LOGITS];
    crn_shape row = {1, {logits->dims[0]}};
    if (logits->rank != 2 || !crn_shape_equal(labels, attrs->sparse ? &row : logits)) {
        char a[96], b[96];
        return crn__fail(error, CRN_INVALID,
                         "labels %s do not match logits %s: logits must be [N,classes], labels %s",
                         crn_shape_text(labels, a, sizeof a), crn_shape_text(logits, b, sizeof b),
                         attrs->sparse ? "[N]" : "[N,classes]");
    }
    if (!(attrs->smoothing >= 0.0f && attrs->smoothing <= 1.0f))
        return crn__fail(error, CRN_INVALID, "a label smoothing of %g is not in [0,1]",
                         (double)attrs->smoothing);
    *output = row;
    return CRN_OK;
}

static crn__task make_task(crn__schedule *schedule, const crn__call *call, const char *kernel)
{
    crn__task task =
        crn__task_flat(schedule, "softmax.cl", kernel, crn__tensor_count(call->inputs[LOGITS]));
    size_t used = 0;
    while (task.options[used] != '\0')
        used++;
    if (call->inputs[LABELS]->dtype == CRN_I32)
        snprintf(task.options + used, sizeof task.options - used, " -DLABEL=int%s",
                 call->attrs.sparse ? " -DSPARSE" : "");
    return task;
}

/* What a label of 1 is multiplied with, and what every class gets. */
static float keep_of(const crn__call *call)
{
    return 1.0f - call->attrs.smoothing;
}

static float spread_of(const crn__call *call)
{
    return call->attrs.smoothing / (float)crn__channels(call->inputs[LOGITS]);
}

static void forward(crn__schedule *schedule, crn__call *call)
{
    crn__task task = make_task(schedule, call, "cross_entropy");
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(call->inputs[LABELS]),
                                    CRN__TENSOR(call->inputs[LOGITS]), CRN__TENSOR(call->output),
                                    CRN__LONG(crn__rows(call->inputs[LOGITS])),
                                    CRN__INT(crn__channels(call->inputs[LOGITS])),
                                    CRN__FLOAT(keep_of(call)), CRN__FLOAT(spread_of(call))));
}

static void backward(crn__schedule *schedule, crn__call *call)
{
    bool accumulate;
    crn__tensor *dx = crn__gradient_of(schedule, call, LOGITS, &accumulate);
    if (dx == NULL)
        return;
    crn__task task = make_task(schedule, call, "cross_entropy_backward");
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(call->inputs[LABELS]),
                                    CRN__TENSOR(call->inputs[LOGITS]), CRN__TENSOR(call->d_output),
                                    CRN__TENSOR(dx), CRN__LONG(crn__rows(dx)),
                                    CRN__INT(crn__channels(dx)), CRN__FLOAT(keep_of(call)),
                                    CRN__FLOAT(spread_of(call)), CRN__INT(accumulate)));
}

const crn__op crn__op_cross_entropy = {
    .name = "cross_entropy",
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .stops_gradient = 1u << LABELS,
    .takes_integers = 1u << LABELS,
};

const crn__op crn__op_sparse_cross_entropy = {
    .name = "sparse_cross_entropy",
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .stops_gradient = 1u << LABELS,
    .takes_integers = 1u << LABELS,
    .needs_integers = 1u << LABELS,
};

crn_node *crn_softmax_cross_entropy_smoothed(crn_graph *graph, crn_node *labels, crn_node *logits,
                                             float label_smoothing)
{
    bool sparse = crn_node_shape(labels).rank == 1;
    return crn__apply(graph, sparse ? &crn__op_sparse_cross_entropy : &crn__op_cross_entropy,
                      sparse ? "sparse_softmax_cross_entropy_with_logits"
                             : "softmax_cross_entropy_with_logits",
                      &(crn__attrs){.sparse = sparse, .smoothing = label_smoothing},
                      (crn_node *[]){labels, logits}, 2);
}

crn_node *crn_softmax_cross_entropy(crn_graph *graph, crn_node *labels, crn_node *logits)
{
    return crn__apply(graph, &crn__op_cross_entropy, "softmax_cross_entropy_with_logits",
                      &(crn__attrs){.sparse = false}, (crn_node *[]){labels, logits}, 2);
}

crn_node *crn_sparse_softmax_cross_entropy(crn_graph *graph, crn_node *labels, crn_node *logits)
{
    return crn__apply(graph, &crn__op_sparse_cross_entropy,
                      "sparse_softmax_cross_entropy_with_logits", &(crn__attrs){.sparse = true},
                      (crn_node *[]){labels, logits}, 2);
}
