/* y = mean of all elements; dx = dy / count everywhere. */
#include "ops/op.h"

static void forward(crn__schedule *schedule, crn__call *call)
{
    size_t count = crn__tensor_count(call->inputs[0]);
    crn__emit_sum(schedule, call->inputs[0], false, 1.0f / (float)count, call->output, false);
}

static void backward(crn__schedule *schedule, crn__call *call)
{
    bool accumulate;
    crn__tensor *dx = crn__gradient_of(schedule, call, 0, &accumulate);
    size_t count = crn__tensor_count(dx);
    crn__task task = crn__task_flat(schedule, "reduce.cl", "spread", count);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(call->d_output), CRN__TENSOR(dx),
                                    CRN__LONG(crn__flat_vectors(schedule, count)),
                                    CRN__FLOAT(1.0f / (float)count), CRN__INT(accumulate)));
}

const crn__op crn__op_reduce_mean = {
    .name = "reduce_mean",
    .infer = crn__infer_scalar,
    .forward = forward,
    .backward = backward,
};

crn_node *crn_reduce_mean(crn_graph *graph, crn_node *x)
{
    return crn__apply(graph, &crn__op_reduce_mean, "Mean", &(crn__attrs){.epsilon = 0}, &x, 1);
}
