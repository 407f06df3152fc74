/* y = a + b, of the same shape. The gradient of each is dy. */
#include "ops/op.h"

#include "core/error.h"

static crn_status infer(const crn__attrs *attrs, const crn_shape *inputs, size_t n_inputs,
                        crn_shape *output, crn_error *error)
{
    (void)attrs;
    (void)n_inputs;
    if (!crn_shape_equal(&inputs[0], &inputs[1])) {
        char a[96], b[96];
        return crn__fail(error, CRN_INVALID, "adding %s and %s: shapes differ",
                         crn_shape_text(&inputs[0], a, sizeof a),
                         crn_shape_text(&inputs[1], b, sizeof b));
    }
    *output = inputs[0];
    return CRN_OK;
}

static void forward(crn__schedule *schedule, crn__call *call)
{
    for (size_t i = 0; i < 2; i++)
        if (call->folded[i] != NULL) {
            call->folded[i]->op->apply(schedule, call->folded[i], call->inputs[1 - i],
                                       call->attrs.activation, call->wants_moments, call->output);
            return;
        }
    size_t count = crn__tensor_count(call->output);
    crn__task task = crn__task_flat(schedule, "add.cl", "forward", count);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(call->inputs[0]), CRN__TENSOR(call->inputs[1]),
                                    CRN__TENSOR(call->output),
                                    CRN__LONG(crn__flat_vectors(schedule, count)),
                                    CRN__INT(crn__activation_code(call->attrs.activation))));
}

static void backward(crn__schedule *schedule, crn__call *call)
{
    crn__tensor *dy = crn__masked_gradient(schedule, call);
    for (size_t i = 0; i < 2; i++) {
        if (crn__gradient_share(call, i, dy))
            continue;
        bool accumulate;
        crn__tensor *dx = crn__gradient_of(schedule, call, i, &accumulate);
        if (dx != NULL)
            crn__emit_copy(schedule, dy, dx, accumulate);
    }
}

const crn__op crn__op_add = {
    .name = "add",
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .fuses_activation = true,
};

crn_node *crn_add(crn_graph *graph, crn_node *a, crn_node *b)
{
    return crn__apply(graph, &crn__op_add, "add", &(crn__attrs){.epsilon = 0}, (crn_node *[]){a, b},
                      2);
}
