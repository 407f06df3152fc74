/* y = exp(x) / sum of exp(x) over the last dimension; dx = y (dy - sum of dy y). */
#include "ops/op.h"

static void forward(crn__schedule *schedule, crn__call *call)
{
    crn__task task =
        crn__task_flat(schedule, "softmax.cl", "forward", crn__tensor_count(call->output));
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(call->inputs[0]), CRN__TENSOR(call->output),
                                    CRN__LONG(crn__rows(call->output)),
                                    CRN__INT(crn__channels(call->output))));
}

static void backward(crn__schedule *schedule, crn__call *call)
{
    bool accumulate;
    crn__tensor *dx = crn__gradient_of(schedule, call, 0, &accumulate);
    crn__task task = crn__task_flat(schedule, "softmax.cl", "backward", crn__tensor_count(dx));
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(call->output), CRN__TENSOR(call->d_output),
                                    CRN__TENSOR(dx), CRN__LONG(crn__rows(dx)),
                                    CRN__INT(crn__channels(dx)), CRN__INT(accumulate)));
}

const crn__op crn__op_softmax = {
    .name = "softmax",
    .forward = forward,
    .backward = backward,
};

crn_node *crn_softmax(crn_graph *graph, crn_node *logits)
{
    return crn__apply(graph, &crn__op_softmax, "Softmax", &(crn__attrs){.epsilon = 0}, &logits, 1);
}
