#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "device/opencl.h"

#define ERRORS(X)                       \
    X(CL_DEVICE_NOT_FOUND)              \
    X(CL_DEVICE_NOT_AVAILABLE)          \
    X(CL_COMPILER_NOT_AVAILABLE)        \
    X(CL_MEM_OBJECT_ALLOCATION_FAILURE) \
    X(CL_OUT_OF_RESOURCES)              \
    X(CL_OUT_OF_HOST_MEMORY)            \
    X(CL_MEM_COPY_OVERLAP)              \
    X(CL_BUILD_PROGRAM_FAILURE)         \
    X(CL_MAP_FAILURE)                   \
    X(CL_MISALIGNED_SUB_BUFFER_OFFSET)  \
    X(CL_LINKER_NOT_AVAILABLE)          \
    X(CL_LINK_PROGRAM_FAILURE)          \
    X(CL_KERNEL_ARG_INFO_NOT_AVAILABLE) \
    X(CL_INVALID_VALUE)                 \
    X(CL_INVALID_PLATFORM)              \
    X(CL_INVALID_DEVICE)                \
    X(CL_INVALID_CONTEXT)               \
    X(CL_INVALID_QUEUE_PROPERTIES)      \
    X(CL_INVALID_COMMAND_QUEUE)         \
    X(CL_INVALID_HOST_PTR)              \
    X(CL_INVALID_MEM_OBJECT)            \
    X(CL_INVALID_BINARY)                \
    X(CL_INVALID_BUILD_OPTIONS)         \
    X(CL_INVALID_PROGRAM)               \
    X(CL_INVALID_PROGRAM_EXECUTABLE)    \
    X(CL_INVALID_KERNEL_NAME)           \
    X(CL_INVALID_KERNEL_DEFINITION)     \
    X(CL_INVALID_KERNEL)                \
    X(CL_INVALID_ARG_INDEX)             \
    X(CL_INVALID_ARG_VALUE)             \
    X(CL_INVALID_ARG_SIZE)              \
    X(CL_INVALID_KERNEL_ARGS)           \
    X(CL_INVALID_WORK_DIMENSION)        \
    X(CL_INVALID_WORK_GROUP_SIZE)       \
    X(CL_INVALID_WORK_ITEM_SIZE)        \
    X(CL_INVALID_GLOBAL_OFFSET)         \
    X(CL_INVALID_EVENT_WAIT_LIST)       \
    X(CL_INVALID_EVENT)                 \
    X(CL_INVALID_OPERATION)             \
    X(CL_INVALID_BUFFER_SIZE)           \
    X(CL_INVALID_GLOBAL_WORK_SIZE)      \
    X(CL_INVALID_PROPERTY)              \
    X(CL_INVALID_COMPILER_OPTIONS)      \
    X(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)

const char *crn__cl_name(cl_int code)
{
    switch (code) {
#define CASE(name) \
    case name:     \
        return #name;
        ERRORS(CASE)
#undef CASE
    default:
        return "unknown error";
    }
}

crn_status crn__cl_status(cl_int code)
{
    switch (code) {
    case CL_OUT_OF_HOST_MEMORY:
        return CRN_NO_MEMORY;
    /* Drivers may give a buffer its memory at its first use, so a launch can run out of it too. */
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
    case CL_OUT_OF_RESOURCES:
        return CRN_DEVICE_MEMORY;
    default:
        return CRN_DEVICE;
    }
}

crn_status crn__cl_fail(crn_context *context, cl_int code, const char *call, ...)
{
    char text[200];
    va_list args;
    va_start(args, call);
    vsnprintf(text, sizeof text, call, args);
    va_end(args);
    crn_status status = crn__cl_status(code);
    if (status != CRN_DEVICE_MEMORY)
        return crn__fail(&context->error, status, "%s: %s (%d)", text, crn__cl_name(code), code);
    return crn__fail(&context->error, status,
                     "%s: %s (%d), with %" PRIu64 " bytes held of the device's %" PRIu64, text,
                     crn__cl_name(code), code, context->memory, context->info.global_memory);
}
