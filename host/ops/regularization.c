/* y = sum over inputs w of scale * sum(w^2) / 2; dw = scale * w * dy. The scales are the weight
 * decays. */
#include "ops/op.h"

static void forward(crn__schedule *schedule, crn__call *call)
{
    if (call->n_inputs == 0)
        crn__emit_fill(schedule, call->output, 0.0f);
    for (size_t i = 0; i < call->n_inputs; i++)
        crn__emit_sum(schedule, call->inputs[i], true, 0.5f * call->attrs.scales[i], call->output,
                      i > 0);
}

/* Leaves the gradient to the variable's update if it can add it. */
static bool leave_to_update(crn__call *call, size_t i)
{
    crn__gradient *gradient = call->d_inputs[i];
    if (gradient == NULL || !gradient->is_for_update || gradient->decay.dy != NULL)
        return false;
    gradient->decay = (crn__decay){.dy = call->d_output, .scale = call->attrs.scales[i]};
    call->d_output->holders++; /* nothing overwrites it before */
    return true;
}

static void backward(crn__schedule *schedule, crn__call *call)
{
    for (size_t i = 0; i < call->n_inputs; i++) {
        if (leave_to_update(call, i))
            continue;
        bool accumulate;
        crn__tensor *dw = crn__gradient_of(schedule, call, i, &accumulate);
        if (dw == NULL)
            continue;
        size_t count = crn__tensor_count(dw);
        crn__task task = crn__task_flat(schedule, "reduce.cl", "spread_scaled", count);
        crn__schedule_add(schedule, &task,
                          CRN__OPERANDS(CRN__TENSOR(call->d_output), CRN__TENSOR(call->inputs[i]),
                                        CRN__TENSOR(dw),
                                        CRN__LONG(crn__flat_vectors(schedule, count)),
                                        CRN__FLOAT(call->attrs.scales[i]), CRN__INT(accumulate)));
    }
}

const crn__op crn__op_regularization = {
    .name = "regularization",
    .infer = crn__infer_scalar,
    .forward = forward,
    .backward = backward,
};
