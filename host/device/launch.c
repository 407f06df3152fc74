#include "core/memory.h"
#include "device/opencl.h"

static cl_int set_arg(cl_kernel kernel, cl_uint index, const crn__arg *arg)
{
    switch (arg->kind) {
    case CRN__ARG_BUFFER: {
        cl_mem mem = arg->as.buffer != NULL ? crn__buffer_mem(arg->as.buffer) : NULL;
        return clSetKernelArg(kernel, index, sizeof mem, mem != NULL ? &mem : NULL);
    }
    case CRN__ARG_INT:
        return clSetKernelArg(kernel, index, sizeof arg->as.i, &arg->as.i);
    case CRN__ARG_LONG:
        return clSetKernelArg(kernel, index, sizeof arg->as.l, &arg->as.l);
    case CRN__ARG_FLOAT:
        return clSetKernelArg(kernel, index, sizeof arg->as.f, &arg->as.f);
    case CRN__ARG_FLOAT_AT:
        return clSetKernelArg(kernel, index, sizeof *arg->as.at, arg->as.at);
    case CRN__ARG_LOCAL:
        return clSetKernelArg(kernel, index, arg->as.local, NULL);
    }
    return CL_INVALID_ARG_VALUE;
}

/* OpenCL 1.2 takes whole work-groups only. */
static crn_status round_range(crn_context *context, const crn__kernel *kernel,
                              const crn__range *range, size_t global[3], bool *empty)
{
    if (range->dims < 1 || range->dims > 3)
        return crn__fail(&context->error, CRN_INVALID, "%s: a range of %u dimensions", kernel->name,
                         range->dims);
    for (uint32_t i = 0; i < range->dims; i++) {
        size_t local = range->local[i];
        if (local == 0 || !crn__size_add(range->global[i], local - 1, &global[i]))
            return crn__fail(&context->error, CRN_INVALID,
                             "%s: %zu work-items in groups of %zu in dimension %u", kernel->name,
                             range->global[i], local, i);
        global[i] -= global[i] % local;
        *empty = *empty || global[i] == 0;
    }
    return CRN_OK;
}

crn_status crn__launch(crn_context *context, crn__kernel *kernel, const crn__range *range,
                       const crn__arg *args, size_t n_args)
{
    size_t global[3];
    bool empty = false;
    CRN__TRY(round_range(context, kernel, range, global, &empty));
    if (empty) /* an empty batch: nothing to do, and OpenCL 1.2 refuses it */
        return CRN_OK;
    cl_int code;
    for (size_t i = 0; i < n_args; i++)
        if ((code = set_arg(kernel->cl, (cl_uint)i, &args[i])) != CL_SUCCESS)
            return crn__cl_fail(context, code, "clSetKernelArg(%s, %zu)", kernel->name, i);
    code = clEnqueueNDRangeKernel(context->queue, kernel->cl, range->dims, NULL, global,
                                  range->local, 0, NULL, NULL);
    if (code != CL_SUCCESS)
        return crn__cl_fail(context, code, "clEnqueueNDRangeKernel(%s)", kernel->name);
    if (!kernel->launched)
        kernel->program->launched++;
    kernel->launched = true;
    return CRN_OK;
}

crn_status crn__flush(crn_context *context)
{
    cl_int code = clFlush(context->queue);
    return code == CL_SUCCESS ? CRN_OK : crn__cl_fail(context, code, "clFlush");
}

crn_status crn__finish(crn_context *context)
{
    cl_int code = clFinish(context->queue);
    return code == CL_SUCCESS ? CRN_OK : crn__cl_fail(context, code, "clFinish");
}
