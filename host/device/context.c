#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "device/opencl.h"

/* float16 loads want their own size. */
#define MIN_ALIGNMENT ((size_t)64)

static crn_status choose_device(crn_context *context, const char *wanted)
{
    crn__device *devices;
    size_t count;
    CRN__TRY(crn__devices_find(&devices, &count, &context->error));
    const crn__device *fastest = NULL, *chosen = NULL;
    const char *environment = getenv("CLARINET_DEVICE");
    crn__devices_choose(devices, count, environment, &fastest, NULL);
    crn_status status = crn__devices_choose(devices, count, wanted != NULL ? wanted : environment,
                                            &chosen, &context->error);
    if (status == CRN_OK) {
        context->device = chosen->id;
        context->info = chosen->info;
        context->info.is_default = chosen == fastest;
    }
    free(devices);
    return status;
}

static crn_status open_device(crn_context *context)
{
    cl_int code;
    cl_uint bits = 0;
    context->cl = clCreateContext(NULL, 1, &context->device, NULL, NULL, &code);
    if (context->cl == NULL)
        return crn__cl_fail(context, code, "clCreateContext(%s)", context->info.name);
    context->queue = clCreateCommandQueue(context->cl, context->device, 0, &code);
    if (context->queue == NULL)
        return crn__cl_fail(context, code, "clCreateCommandQueue(%s)", context->info.name);
    code =
        clGetDeviceInfo(context->device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof bits, &bits, NULL);
    if (code != CL_SUCCESS)
        return crn__cl_fail(context, code, "clGetDeviceInfo(%s)", context->info.name);
    context->alignment = bits / 8 > MIN_ALIGNMENT ? bits / 8 : MIN_ALIGNMENT;
    return CRN_OK;
}

/*
 * PoCL keeps compiled kernels on disk itself, and asking it for a binary compiles every kernel of
 * the program once more, for any group size. Measured with 8 programs of 4 kernels on 2 cores:
 *                   first result, cold   saving   from our cache   from PoCL's own
 *     PoCL 3.1                   2.0 s    1.2 s           0.05 s            0.15 s
 *     Intel 2026                 1.0 s   0.00 s           0.11 s                 -
 * The library's own kernels take PoCL several seconds to save, to gain some 0.2 s later on.
 */
static bool is_worth_saving(const crn_device_info *device)
{
    return strcmp(device->platform, "Portable Computing Language") != 0;
}

static crn_status open_context(crn_context *context, const crn_context_options *options)
{
    context->log = options->log;
    context->log_data = options->log_data;
    CRN__TRY(choose_device(context, options->device));
    CRN__TRY(crn__profile_make(&context->info, options, &context->profile, &context->error));
    CRN__TRY(open_device(context));
    context->cache = crn__cache_open(context, options->cache_dir);
    context->saves = is_worth_saving(&context->info);
    return CRN_OK;
}

crn_status crn_context_create(const crn_context_options *options, crn_context **out,
                              crn_error *error)
{
    if (out == NULL)
        return crn__fail(error, CRN_INVALID, "crn_context_create: out is NULL");
    *out = NULL;
    crn_context_options known = CRN_CONTEXT_OPTIONS_INIT;
    if (options != NULL) {
        if (options->size < sizeof options->size)
            return crn__fail(error, CRN_INVALID,
                             "crn_context_options was not initialised: its size is %zu",
                             options->size);
        memcpy(&known, options, options->size < sizeof known ? options->size : sizeof known);
    }
    crn_context *context = crn__alloc(1, sizeof *context);
    if (context == NULL)
        return crn__fail_memory(error);
    crn_status status = open_context(context, &known);
    if (status == CRN_OK) {
        *out = context;
        return CRN_OK;
    }
    if (error != NULL)
        *error = context->error;
    crn_context_free(context);
    return status;
}

void crn_context_free(crn_context *context)
{
    if (context == NULL)
        return;
    if (context->queue != NULL && crn__finish(context) == CRN_OK)
        crn__programs_save(context);
    crn__programs_free(context);
    crn__cache_close(context->cache);
    free(context->choices);
    if (context->queue != NULL)
        clReleaseCommandQueue(context->queue);
    if (context->cl != NULL)
        clReleaseContext(context->cl);
    free(context);
}

const crn_device_info *crn_context_device(const crn_context *context)
{
    return &context->info;
}

const crn_error *crn_context_error(const crn_context *context)
{
    return &context->error;
}

uint64_t crn_context_memory(const crn_context *context)
{
    return context->memory;
}

uint64_t crn_context_peak_memory(const crn_context *context)
{
    return context->peak;
}

crn__profile *crn__context_profile(crn_context *context)
{
    return &context->profile;
}

crn_error *crn__context_fail(crn_context *context)
{
    return &context->error;
}

void *crn__context_queue(crn_context *context)
{
    return context->queue;
}

void crn__log(crn_context *context, crn_log_level level, const char *format, ...)
{
    if (context->log == NULL)
        return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    context->log(context->log_data, level, line);
}
