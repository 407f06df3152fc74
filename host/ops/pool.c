/*
 * Maximum and average pools. The maximum's gradient goes to where it was, which forward saves
 * (windows of one element need no telling); the average's is spread over what of the window lies
 * inside the image.
 */
#include "ops/op.h"

#include "core/error.h"

static crn_status infer(const crn__attrs *attrs, const crn_shape *inputs, size_t n_inputs,
                        crn_shape *output, crn_error *error)
{
    (void)n_inputs;
    (void)error; /* crn__window_resolve has checked the sizes */
    *output = inputs[0];
    for (int axis = 0; axis < 2; axis++)
        output->dims[1 + axis] = crn__window_output(&attrs->window, axis, inputs[0].dims[1 + axis]);
    return CRN_OK;
}

#define GEOMETRY(x, y, window)                                                                \
    CRN__INT((x)->shape.dims[1]), CRN__INT((x)->shape.dims[2]), CRN__INT((y)->shape.dims[1]), \
        CRN__INT((y)->shape.dims[2]), CRN__INT((window)->kernel[0]),                          \
        CRN__INT((window)->kernel[1]), CRN__INT((window)->stride[0]),                         \
        CRN__INT((window)->stride[1]), CRN__INT((window)->pad_before[0]),                     \
        CRN__INT((window)->pad_before[1])

static void forward(crn__schedule *schedule, crn__call *call)
{
    crn__tensor *x = call->inputs[0], *y = call->output;
    const crn__window *window = &call->attrs.window;
    size_t rows = (size_t)(y->shape.dims[0] * y->shape.dims[1]);
    int32_t vectors, chunks;
    crn__task task =
        crn__task_rows(schedule, "pool.cl", call->attrs.average ? "average_forward" : "max_forward",
                       rows, crn__channels(y), &vectors, &chunks);
    if (call->attrs.average) {
        crn__schedule_add(schedule, &task,
                          CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(y), CRN__LONG(rows),
                                        CRN__INT(vectors), GEOMETRY(x, y, window)));
        return;
    }
    bool single = window->kernel[0] == 1 && window->kernel[1] == 1;
    if (call->has_backward && !single)
        call->saved[0] = crn__schedule_tensor(schedule, CRN_I32, &y->shape);
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(x), CRN__TENSOR(y), CRN__TENSOR(call->saved[0]),
                                    CRN__LONG(rows), CRN__INT(vectors),
                                    CRN__INT(crn__how_to_write(schedule, y, false)),
                                    GEOMETRY(x, y, window)));
}

static void backward(crn__schedule *schedule, crn__call *call)
{
    bool accumulate;
    crn__tensor *dx = crn__gradient_of(schedule, call, 0, &accumulate), *dy = call->d_output;
    const crn__window *window = &call->attrs.window;
    size_t rows = (size_t)(dx->shape.dims[0] * dx->shape.dims[1]);
    int32_t vectors, chunks;
    crn__task task = crn__task_rows(schedule, "pool.cl",
                                    call->attrs.average ? "average_backward" : "max_backward", rows,
                                    crn__channels(dx), &vectors, &chunks);
    if (call->attrs.average) {
        crn__schedule_add(schedule, &task,
                          CRN__OPERANDS(CRN__TENSOR(dy), CRN__TENSOR(dx), CRN__LONG(rows),
                                        CRN__INT(vectors), CRN__INT(accumulate),
                                        GEOMETRY(dx, dy, window)));
        return;
    }
    crn__schedule_add(schedule, &task,
                      CRN__OPERANDS(CRN__TENSOR(dy), CRN__TENSOR(call->saved[0]), CRN__TENSOR(dx),
                                    CRN__LONG(rows), CRN__INT(vectors),
                                    CRN__INT(crn__how_to_write(schedule, dx, accumulate)),
                                    GEOMETRY(dx, dy, window)));
}

const crn__op crn__op_pool = {
    .name = "pool",
    .infer = infer,
    .forward = forward,
    .backward = backward,
};

static crn_node *pool(crn_graph *graph, crn_node *x, int32_t kernel_h, int32_t kernel_w,
                      const crn_pool_options *options, bool average)
{
    crn_pool_options o = CRN_POOL_OPTIONS_INIT;
    CRN__COPY_OPTIONS(&o, options);
    crn__attrs attrs = {
        .window = {.kernel = {kernel_h, kernel_w},
                   .stride = {o.stride_h, o.stride_w},
                   .rate = {1, 1}},
        .average = average,
    };
    const int32_t pads[4] = {o.pad_top, o.pad_bottom, o.pad_left, o.pad_right};
    const char *name = average ? "AvgPool2D" : "MaxPool2D";
    if (!crn__resolve_window(graph, name, &attrs.window, o.padding, pads, x))
        return NULL;
    return crn__apply(graph, &crn__op_pool, name, &attrs, &x, 1);
}

crn_node *crn_max_pool2d(crn_graph *graph, crn_node *x, int32_t kernel_h, int32_t kernel_w,
                         const crn_pool_options *options)
{
    return pool(graph, x, kernel_h, kernel_w, options, false);
}

crn_node *crn_avg_pool2d(crn_graph *graph, crn_node *x, int32_t kernel_h, int32_t kernel_w,
                         const crn_pool_options *options)
{
    return pool(graph, x, kernel_h, kernel_w, options, true);
}
