#include <inttypes.h>
#include <stdlib.h>

#include "core/memory.h"
#include "device/opencl.h"

struct crn__buffer {
    crn_context *context;
    crn__buffer *root; /* NULL: this one owns the memory */
    cl_mem mem;        /* a part's is a sub-buffer, so its first byte is at offset 0 */
    size_t offset;     /* in the root */
    size_t size;
};

static crn_status fail_allocation(crn_context *context, size_t size, const char *reason)
{
    return crn__fail(&context->error, CRN_DEVICE_MEMORY,
                     "%s cannot give a buffer of %zu bytes (%s): %" PRIu64
                     " bytes are held of %" PRIu64 ", one buffer may have %" PRIu64,
                     context->info.name, size, reason, context->memory, context->info.global_memory,
                     context->info.max_allocation);
}

crn_status crn__buffer_create(crn_context *context, size_t size, crn__buffer **out)
{
    *out = NULL;
    if (size == 0)
        return crn__fail(&context->error, CRN_INVALID, "a buffer of 0 bytes");
    /* Asked here as well, because a CPU driver would promise memory that the system then kills
     * for. */
    uint64_t held;
    if (__builtin_add_overflow(context->memory, (uint64_t)size, &held) ||
        held > context->info.global_memory)
        return fail_allocation(context, size, "more than its memory");
    crn__buffer *buffer = crn__alloc(1, sizeof *buffer);
    if (buffer == NULL)
        return crn__fail_memory(&context->error);
    cl_int code;
    *buffer = (crn__buffer){.context = context, .size = size};
    buffer->mem = clCreateBuffer(context->cl, CL_MEM_READ_WRITE, size, NULL, &code);
    if (buffer->mem == NULL) {
        free(buffer);
        if (code == CL_INVALID_BUFFER_SIZE || crn__cl_status(code) == CRN_DEVICE_MEMORY)
            return fail_allocation(context, size, crn__cl_name(code));
        return crn__cl_fail(context, code, "clCreateBuffer(%zu bytes)", size);
    }
    context->memory = held;
    if (context->peak < held)
        context->peak = held;
    *out = buffer;
    return CRN_OK;
}

static crn_status check_range(const crn__buffer *buffer, size_t offset, size_t size)
{
    if (offset <= buffer->size && size <= buffer->size - offset)
        return CRN_OK;
    return crn__fail(&buffer->context->error, CRN_INVALID,
                     "%zu bytes at %zu are not inside a buffer of %zu bytes", size, offset,
                     buffer->size);
}

crn_status crn__buffer_part(crn__buffer *parent, size_t offset, size_t size, crn__buffer **out)
{
    crn_context *context = parent->context;
    *out = NULL;
    if (size == 0)
        return crn__fail(&context->error, CRN_INVALID, "a part of 0 bytes");
    CRN__TRY(check_range(parent, offset, size));
    if (offset % context->alignment != 0)
        return crn__fail(&context->error, CRN_INVALID, "a part at %zu, which is no multiple of %zu",
                         offset, context->alignment);
    crn__buffer *part = crn__alloc(1, sizeof *part);
    if (part == NULL)
        return crn__fail_memory(&context->error);
    *part = (crn__buffer){.context = context,
                          .root = parent->root != NULL ? parent->root : parent,
                          .offset = parent->offset + offset,
                          .size = size};
    cl_int code;
    cl_buffer_region region = {.origin = part->offset, .size = size};
    part->mem = clCreateSubBuffer(part->root->mem, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
    if (part->mem == NULL) {
        free(part);
        return crn__cl_fail(context, code, "clCreateSubBuffer(%zu bytes at %zu)", size,
                            region.origin);
    }
    *out = part;
    return CRN_OK;
}

void crn__buffer_free(crn__buffer *buffer)
{
    if (buffer == NULL)
        return;
    clReleaseMemObject(buffer->mem);
    if (buffer->root == NULL)
        buffer->context->memory -= buffer->size;
    free(buffer);
}

size_t crn__buffer_size(const crn__buffer *buffer)
{
    return buffer->size;
}

size_t crn__buffer_alignment(const crn_context *context)
{
    return context->alignment;
}

void *crn__buffer_mem(const crn__buffer *buffer)
{
    return buffer->mem;
}

crn_status crn__buffer_write(crn__buffer *buffer, size_t offset, const void *data, size_t size)
{
    crn_context *context = buffer->context;
    CRN__TRY(check_range(buffer, offset, size));
    if (size == 0)
        return CRN_OK;
    cl_int code = clEnqueueWriteBuffer(context->queue, buffer->mem, CL_TRUE, offset, size, data, 0,
                                       NULL, NULL);
    if (code != CL_SUCCESS)
        return crn__cl_fail(context, code, "clEnqueueWriteBuffer(%zu bytes)", size);
    return CRN_OK;
}

crn_status crn__buffer_read(const crn__buffer *buffer, size_t offset, void *data, size_t size)
{
    crn_context *context = buffer->context;
    CRN__TRY(check_range(buffer, offset, size));
    if (size == 0)
        return CRN_OK;
    cl_int code = clEnqueueReadBuffer(context->queue, buffer->mem, CL_TRUE, offset, size, data, 0,
                                      NULL, NULL);
    if (code != CL_SUCCESS)
        return crn__cl_fail(context, code, "clEnqueueReadBuffer(%zu bytes)", size);
    return CRN_OK;
}

crn_status crn__buffer_zero(crn__buffer *buffer)
{
    static const cl_uint zero[4] = {0};
    crn_context *context = buffer->context;
    size_t pattern = sizeof zero;
    while (buffer->size % pattern != 0)
        pattern /= 2;
    cl_int code = clEnqueueFillBuffer(context->queue, buffer->mem, zero, pattern, 0, buffer->size,
                                      0, NULL, NULL);
    if (code != CL_SUCCESS)
        return crn__cl_fail(context, code, "clEnqueueFillBuffer(%zu bytes)", buffer->size);
    return CRN_OK;
}
