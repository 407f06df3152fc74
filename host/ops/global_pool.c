/* y[n][c] = mean over the pixels of image n; dx = dy / pixels. */
#include "ops/op.h"

#include "core/error.h"

static crn_status infer(const crn__attrs *attrs, const crn_shape *inputs, size_t n_inputs,
                        crn_shape *output, crn_error *error)
{
    (void)attrs;
    (void)n_inputs;
    if (inputs[0].rank != 4) {
        char text[96];
        return crn__fail(error, CRN_INVALID, "%s is not [N,H,W,C]",
                         crn_shape_text(&inputs[0], text, sizeof text));
    }
    *output = (crn_shape){4, {inputs[0].dims[0], 1, 1, inputs[0].dims[3]}};
    return CRN_OK;
}

static int64_t pixels(const crn__tensor *x)
{
    return x->shape.dims[1] * x->shape.dims[2];
}

static void forward(crn__schedule *schedule, crn__call *call)
{
    crn__tensor *x = call->inputs[0], *y = call->output;
    int32_t vectors, chunks;
    crn__task task = crn__task_rows(schedule, "pool.cl", "global_forward", crn__rows(y),
                                    crn__channels(y), &vectors, &chunks);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(y), CRN__LONG(crn__rows(y)),
                                    CRN__INT(vectors), CRN__INT(pixels(x))));
}

static void backward(crn__schedule *schedule, crn__call *call)
{
    bool accumulate;
    crn__tensor *dx = crn__gradient_of(schedule, call, 0, &accumulate), *dy = call->d_output;
    int32_t vectors, chunks;
    crn__task task = crn__task_rows(schedule, "pool.cl", "global_backward", crn__rows(dy),
                                    crn__channels(dy), &vectors, &chunks);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(dy), CRN__TENSOR(dx), CRN__LONG(crn__rows(dy)),
                                    CRN__INT(vectors), CRN__INT(pixels(dx)), CRN__INT(accumulate)));
}

const crn__op crn__op_global_pool = {
    .name = "global_pool",
    .infer = infer,
    .forward = forward,
    .backward = backward,
};

crn_node *crn_global_avg_pool(crn_graph *graph, crn_node *x)
{
    return crn__apply(graph, &crn__op_global_pool, "pool5", &(crn__attrs){.epsilon = 0}, &x, 1);
}
