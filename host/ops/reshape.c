/* Other dimensions for the same elements: no work in either direction. */
#include "ops/op.h"

#include "core/error.h"

/* Elements without the open dimensions, and how many of these there are; false on overflow. */
static bool closed_count(const crn_shape *shape, int64_t *count, int *open)
{
    *count = 1;
    *open = 0;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dims[i] == CRN_ANY)
            ++*open;
        else if (shape->dims[i] < 1 || __builtin_mul_overflow(*count, shape->dims[i], count))
            return false;
    }
    return true;
}

static crn_status infer(const crn__attrs *attrs, const crn_shape *inputs, size_t n_inputs,
                        crn_shape *output, crn_error *error)
{
    (void)n_inputs;
    int64_t from, to;
    int open_from, open_to;
    const crn_shape *wanted = &attrs->shape;
    if (wanted->rank < 0 || wanted->rank > CRN_MAX_RANK ||
        !closed_count(&inputs[0], &from, &open_from) || !closed_count(wanted, &to, &open_to) ||
        from != to || open_from != open_to || (open_to == 1 && wanted->dims[0] != CRN_ANY)) {
        char a[96], b[96];
        return crn__fail(error, CRN_INVALID, "%s cannot be reshaped to %s",
                         crn_shape_text(&inputs[0], a, sizeof a),
                         wanted->rank >= 0 && wanted->rank <= CRN_MAX_RANK
                             ? crn_shape_text(wanted, b, sizeof b)
                             : "that rank");
    }
    *output = *wanted;
    return CRN_OK;
}

static void forward(crn__schedule *schedule, crn__call *call)
{
    crn__emit_copy(schedule, call->inputs[0], call->output, false);
}

static void backward(crn__schedule *schedule, crn__call *call)
{
    bool accumulate;
    crn__tensor *dx = crn__gradient_of(schedule, call, 0, &accumulate);
    crn__emit_copy(schedule, call->d_output, dx, accumulate);
}

const crn__op crn__op_reshape = {
    .name = "reshape",
    .infer = infer,
    .forward = forward,
    .backward = backward,
};

crn_node *crn_reshape(crn_graph *graph, crn_node *x, crn_shape shape)
{
    crn__attrs attrs = {.shape = shape};
    return crn__apply(graph, &crn__op_reshape, "Reshape", &attrs, &x, 1);
}

crn_node *crn_squeeze(crn_graph *graph, crn_node *x)
{
    crn_shape shape = {.rank = 2};
    if (x != NULL) {
        crn_shape from = crn_node_shape(x);
        shape.dims[0] = from.dims[0];
        shape.dims[1] = from.rank > 0 ? from.dims[from.rank - 1] : 0;
    }
    return crn_reshape(graph, x, shape);
}
