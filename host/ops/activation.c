/* ReLU and ReLU6: y = max(x, 0), y = min(max(x, 0), 6). The gradient passes where 0 < y (and y <
 * 6). */
#include "ops/op.h"

static void forward(crn__schedule *schedule, crn__call *call)
{
    size_t count = crn__tensor_count(call->output);
    crn__task task = crn__task_flat(schedule, "activation.cl", "forward", count);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(call->inputs[0]), CRN__TENSOR(call->output),
                                    CRN__LONG(crn__flat_vectors(schedule, count)),
                                    CRN__INT(crn__activation_code(call->attrs.activation))));
}

static void backward(crn__schedule *schedule, crn__call *call)
{
    bool accumulate = false;
    crn__tensor *dx = call->d_output;
    if (!call->may_overwrite || !crn__gradient_share(call, 0, dx))
        dx = crn__gradient_of(schedule, call, 0, &accumulate);
    size_t count = crn__tensor_count(dx);
    crn__task task = crn__task_flat(schedule, "activation.cl", "backward", count);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(call->output), CRN__TENSOR(call->d_output),
                                    CRN__TENSOR(dx), CRN__LONG(crn__flat_vectors(schedule, count)),
                                    CRN__INT(crn__activation_code(call->attrs.activation)),
                                    CRN__INT(accumulate)));
}

const crn__op crn__op_activation = {
    .name = "activation",
    .forward = forward,
    .backward = backward,
};

crn_node *crn_relu(crn_graph *graph, crn_node *x)
{
    crn__attrs attrs = {.activation = CRN_ACTIVATION_RELU};
    return crn__apply(graph, &crn__op_activation, "Relu", &attrs, &x, 1);
}

crn_node *crn_relu6(crn_graph *graph, crn_node *x)
{
    crn__attrs attrs = {.activation = CRN_ACTIVATION_RELU6};
    return crn__apply(graph, &crn__op_activation, "Relu6", &attrs, &x, 1);
}
