/* Windows that slide over images: padding and output sizes, as TensorFlow computes them. */
#include "ops/op.h"

#include <inttypes.h>

#include "core/error.h"

static const char *const axis_names[2] = {"height", "width"};

/* Convolution and pool arguments that the arithmetic below can work with. */
static crn_status check(const crn__window *window, int axis, crn_error *error)
{
    if (window->kernel[axis] < 1 || window->stride[axis] < 1 || window->rate[axis] < 1 ||
        window->kernel[axis] > 65535 || window->stride[axis] > 65535 || window->rate[axis] > 65535)
        return crn__fail(error, CRN_INVALID,
                         "%s: kernel %d, stride %d and rate %d must each be between 1 and 65535",
                         axis_names[axis], window->kernel[axis], window->stride[axis],
                         window->rate[axis]);
    return CRN_OK;
}

static int64_t extent(const crn__window *window, int axis)
{
    return (int64_t)(window->kernel[axis] - 1) * window->rate[axis] + 1;
}

int64_t crn__window_output(const crn__window *window, int axis, int64_t input)
{
    int64_t padded = input + window->pad_before[axis] + window->pad_after[axis];
    int64_t room = padded - extent(window, axis);
    return room < 0 ? 0 : room / window->stride[axis] + 1;
}

crn_status crn__window_resolve(crn__window *window, crn_padding padding, const int32_t pads[4],
                               const crn_shape *input, crn_error *error)
{
    for (int axis = 0; axis < 2; axis++) {
        CRN__TRY(check(window, axis, error));
        int64_t size = input->dims[1 + axis], before = 0, after = 0;
        if (padding == CRN_PADDING_SAME || padding == CRN_PADDING_DEFAULT) {
            int64_t output = (size + window->stride[axis] - 1) / window->stride[axis];
            int64_t total = (output - 1) * window->stride[axis] + extent(window, axis) - size;
            before = total > 0 ? total / 2 : 0;
            after = total > 0 ? total - before : 0;
        } else if (padding == CRN_PADDING_EXPLICIT) {
            before = pads[2 * axis];
            after = pads[2 * axis + 1];
            if (before < 0 || after < 0 || before > extent(window, axis) ||
                after > extent(window, axis))
                return crn__fail(error, CRN_INVALID,
                                 "%s: padding %" PRId64 " and %" PRId64
                                 " must each be between 0 and the kernel's extent %" PRId64,
                                 axis_names[axis], before, after, extent(window, axis));
        } else if (padding != CRN_PADDING_VALID) {
            return crn__fail(error, CRN_INVALID, "unknown padding %d", (int)padding);
        }
        window->pad_before[axis] = (int32_t)before;
        window->pad_after[axis] = (int32_t)after;
        if (crn__window_output(window, axis, size) < 1)
            return crn__fail(error, CRN_INVALID,
                             "%s: a kernel of extent %" PRId64 " does not fit an input of %" PRId64,
                             axis_names[axis], extent(window, axis), size);
    }
    return CRN_OK;
}
