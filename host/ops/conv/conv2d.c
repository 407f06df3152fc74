/*
 * Convolution as an op: y = activation(conv(x, w) + biases), with the gradient of each input.
 *
 * x is [N,H,W,C] with weights [kh,kw,C,K], or [N,C] with weights [C,K] (a dense layer is a 1x1
 * convolution of a one-pixel image).
 */
#include "ops/conv/conv.h"

#include "core/error.h"

enum { X, WEIGHTS, BIASES };

static crn_status infer(const crn__attrs *attrs, const crn_shape *inputs, size_t n_inputs,
                        crn_shape *output, crn_error *error)
{
    (void)n_inputs;
    const crn_shape *x = &inputs[X], *w = &inputs[WEIGHTS];
    if (x->rank != w->rank || (x->rank != 4 && x->rank != 2) ||
        x->dims[x->rank - 1] != w->dims[w->rank - 2]) {
        char a[96], b[96];
        return crn__fail(error, CRN_INVALID, "weights %s do not fit an input %s",
                         crn_shape_text(w, b, sizeof b), crn_shape_text(x, a, sizeof a));
    }
    *output = *x;
    output->dims[x->rank - 1] = w->dims[w->rank - 1];
    for (int axis = 0; x->rank == 4 && axis < 2; axis++)
        output->dims[1 + axis] = crn__window_output(&attrs->window, axis, x->dims[1 + axis]);
    return CRN_OK;
}

crn__conv crn__conv_describe(const crn_shape *x, const crn_shape *y, const crn__window *window)
{
    bool image = x->rank == 4;
    return (crn__conv){
        .images = (int32_t)x->dims[0],
        .ih = image ? (int32_t)x->dims[1] : 1,
        .iw = image ? (int32_t)x->dims[2] : 1,
        .ic = (int32_t)x->dims[x->rank - 1],
        .oh = image ? (int32_t)y->dims[1] : 1,
        .ow = image ? (int32_t)y->dims[2] : 1,
        .oc = (int32_t)y->dims[y->rank - 1],
        .window = *window,
    };
}

static crn__conv describe(const crn__call *call)
{
    return crn__conv_describe(&call->inputs[X]->shape, &call->output->shape, &call->attrs.window);
}

void crn__conv_apply(crn__schedule *schedule, const crn__call *call, const crn__epilogue *epilogue,
                     crn__tensor *y)
{
    crn__conv conv = describe(call);
    crn__conv_choose(schedule, &conv, CRN__FORWARD)
        ->forward(schedule, &conv, call->inputs[X], call->inputs[WEIGHTS], epilogue, y);
}

static void apply(crn__schedule *schedule, const crn__call *call, crn__tensor *other,
                  crn_activation activation, bool wants_moments, crn__tensor *y)
{
    const crn__epilogue epilogue = {.shift = call->inputs[BIASES],
                                    .other = other,
                                    .activation = activation,
                                    .wants_moments = wants_moments};
    crn__conv_apply(schedule, call, &epilogue, y);
}

static void forward(crn__schedule *schedule, crn__call *call)
{
    if (!call->is_folded)
        apply(schedule, call, NULL, call->attrs.activation, call->wants_moments, call->output);
}

static void backward(crn__schedule *schedule, crn__call *call)
{
    crn__conv conv = describe(call);
    crn__tensor *dy = crn__masked_gradient(schedule, call);
    bool accumulate;
    crn__tensor *dw = crn__gradient_of(schedule, call, WEIGHTS, &accumulate);
    if (dw != NULL)
        crn__conv_choose(schedule, &conv, CRN__WEIGHT_GRADIENT)
            ->weight_gradient(schedule, &conv, call->inputs[X], dy, dw, accumulate);
    crn__tensor *db = crn__gradient_of(schedule, call, BIASES, &accumulate);
    if (db != NULL)
        crn__emit_column_sums(schedule, dy, crn__rows(dy), crn__channels(dy), db, accumulate);
    crn__tensor *dx = crn__gradient_of(schedule, call, X, &accumulate);
    if (dx != NULL)
        crn__conv_choose(schedule, &conv, CRN__INPUT_GRADIENT)
            ->input_gradient(schedule, &conv, dy, call->inputs[WEIGHTS], dx, accumulate);
}

const crn__op crn__op_conv2d = {
    .name = "conv2d",
    .infer = infer,
    .forward = forward,
    .backward = backward,
    .apply = apply,
    .fuses_activation = true,
    .optional_inputs = 1u << BIASES,
};

/* What is best on the device's kind, by measurement (bench/ops). */
static const crn__conv_solver_ops *choose_by_device(const crn__profile *profile,
                                                    const crn__conv *conv)
{
    if (profile->family == CRN__FAMILY_GPU)
        return &crn__conv_clblast;
    /* With fewer tiles, reading Winograd's larger weights takes longer than it saves. */
    int64_t tiles = (int64_t)conv->images * ((conv->oh + 3) / 4) * ((conv->ow + 3) / 4);
    return tiles >= 8 ? &crn__conv_winograd : &crn__conv_direct;
}

const crn__conv_solver_ops *crn__conv_choose(crn__schedule *schedule, const crn__conv *conv,
                                             crn__direction direction)
{
    const crn__profile *profile = crn__schedule_profile(schedule);
    const crn__conv_solver_ops *wanted = &crn__conv_direct;
    switch (profile->solver) {
    case CRN__SOLVER_AUTO:
        wanted = profile->tuned ? crn__conv_tuned(schedule, conv, direction) : NULL;
        if (wanted == NULL)
            wanted = choose_by_device(profile, conv);
        break;
    case CRN__SOLVER_DIRECT:
        break;
    case CRN__SOLVER_WINOGRAD:
        wanted = &crn__conv_winograd;
        break;
    case CRN__SOLVER_CLBLAST:
        wanted = &crn__conv_clblast;
        break;
    }
    return wanted->applies(schedule, conv) ? wanted : &crn__conv_direct;
}
