#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "device/opencl.h"
#include "device/sources.h"

static const char *find_source(const char *file)
{
    for (const crn__source *source = crn__sources; source->file != NULL; source++)
        if (strcmp(source->file, file) == 0)
            return source->text;
    return NULL;
}

static const char *common_text(void)
{
    const char *text = find_source("common.clh");
    return text != NULL ? text : "";
}

/* ---- building ---- */

/* NULL when there is none. */
static char *build_log(const crn_context *context, const crn__program *program)
{
    size_t size = 0;
    if (clGetProgramBuildInfo(program->cl, context->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size) !=
        CL_SUCCESS)
        return NULL;
    char *log = size < SIZE_MAX ? crn__alloc(size + 1, 1) : NULL;
    if (log != NULL)
        clGetProgramBuildInfo(program->cl, context->device, CL_PROGRAM_BUILD_LOG, size, log, NULL);
    return log;
}

/* The whole log goes to the log callback, a line at a time; its start, in one line, to the error.
 */
static crn_status fail_build(crn_context *context, const crn__program *program, cl_int code)
{
    char *log = build_log(context, program);
    for (char *line = log; line != NULL && *line != '\0';) {
        size_t length = strcspn(line, "\r\n");
        crn__log(context, CRN_LOG_DEBUG, "%s: %.*s", program->file,
                 length < 1000 ? (int)length : 1000, line);
        line += length;
        if (*line != '\0')
            *line++ = ' ';
    }
    crn_status status =
        crn__fail(&context->error, crn__cl_status(code), "%s (%s): %s (%d): %s", program->file,
                  program->options, crn__cl_name(code), code, log != NULL ? log : "no build log");
    free(log);
    return status;
}

static crn_status compile(crn_context *context, crn__program *program, const char *text)
{
    char line[128];
    snprintf(line, sizeof line, "\n#line 1 \"%s\"\n", program->file);
    const char *texts[] = {common_text(), line, text};
    cl_int code;
    program->cl = clCreateProgramWithSource(context->cl, 3, texts, NULL, &code);
    if (program->cl == NULL)
        return crn__cl_fail(context, code, "clCreateProgramWithSource(%s)", program->file);
    code = clBuildProgram(program->cl, 1, &context->device, program->options, NULL, NULL);
    if (code != CL_SUCCESS)
        return fail_build(context, program, code);
    context->compiled++;
    crn__log(context, CRN_LOG_DEBUG, "compiled %s (%s)", program->file, program->options);
    return CRN_OK;
}

/* false, with program->cl NULL, when the cache has no binary that the driver takes. */
static bool load(crn_context *context, crn__program *program)
{
    crn__cache_entry entry;
    if (!crn__cache_load(context->cache, &program->key, &entry))
        return false;
    cl_int code, refused;
    program->cl = clCreateProgramWithBinary(context->cl, 1, &context->device, &entry.size,
                                            (const unsigned char **)&entry.binary, &refused, &code);
    free(entry.binary);
    if (program->cl != NULL)
        code = clBuildProgram(program->cl, 1, &context->device, program->options, NULL, NULL);
    if (program->cl == NULL || code != CL_SUCCESS) {
        crn__log(context, CRN_LOG_DEBUG, "cached binary of %s (%s) was refused: %s (%d)",
                 program->file, program->options, crn__cl_name(code), code);
        if (program->cl != NULL)
            clReleaseProgram(program->cl);
        program->cl = NULL;
        return false;
    }
    program->saved = entry.kernels;
    context->loaded++;
    crn__log(context, CRN_LOG_DEBUG, "loaded %s (%s)", program->file, program->options);
    return true;
}

static void program_free(crn__program *program)
{
    if (program == NULL)
        return;
    for (size_t i = 0; i < program->n_kernels; i++) {
        if (program->kernels[i]->cl != NULL)
            clReleaseKernel(program->kernels[i]->cl);
        free(program->kernels[i]->name);
        free(program->kernels[i]);
    }
    free(program->kernels);
    if (program->cl != NULL)
        clReleaseProgram(program->cl);
    free(program->file);
    free(program->options);
    free(program);
}

void crn__programs_free(crn_context *context)
{
    for (size_t i = 0; i < context->n_programs; i++)
        program_free(context->programs[i]);
    free(context->programs);
}

static crn_status program_create(crn_context *context, const crn__cache_key *key, const char *file,
                                 const char *text, const char *options, crn__program **out)
{
    if (!crn__grow((void **)&context->programs, context->n_programs, &context->programs_capacity,
                   sizeof(crn__program *)))
        return crn__fail_memory(&context->error);
    crn__program *program = crn__alloc(1, sizeof *program);
    if (program == NULL)
        return crn__fail_memory(&context->error);
    program->key = *key;
    program->file = crn__strdup(file);
    program->options = crn__strdup(options);
    crn_status status = CRN_OK;
    if (program->file == NULL || program->options == NULL)
        status = crn__fail_memory(&context->error);
    else if (!load(context, program))
        status = compile(context, program, text);
    if (status != CRN_OK) {
        program_free(program);
        return status;
    }
    context->programs[context->n_programs++] = program;
    *out = program;
    return CRN_OK;
}

static crn_status program_get(crn_context *context, const char *file, const char *text,
                              const char *options, crn__program **out)
{
    const crn_device_info *info = &context->info;
    const char *const texts[] = {
        crn_version(), info->platform, info->vendor,  info->name, info->driver,
        info->version, options,        common_text(), file,       text};
    crn__cache_key key;
    if (!crn__cache_key_make(texts, sizeof texts / sizeof *texts, &key))
        return crn__fail_memory(&context->error);
    for (size_t i = 0; i < context->n_programs; i++)
        if (memcmp(&context->programs[i]->key, &key, sizeof key) == 0) {
            *out = context->programs[i];
            return CRN_OK;
        }
    return program_create(context, &key, file, text, options, out);
}

/* ---- kernels ---- */

static crn_status kernel_create(crn_context *context, crn__program *program, const char *name,
                                crn__kernel **out)
{
    crn__kernel *kernel = NULL;
    if (!crn__grow((void **)&program->kernels, program->n_kernels, &program->kernels_capacity,
                   sizeof(crn__kernel *)) ||
        (kernel = crn__alloc(1, sizeof *kernel)) == NULL ||
        (kernel->name = crn__strdup(name)) == NULL) {
        free(kernel);
        return crn__fail_memory(&context->error);
    }
    cl_int code;
    kernel->program = program;
    kernel->cl = clCreateKernel(program->cl, name, &code);
    if (kernel->cl == NULL) {
        free(kernel->name);
        free(kernel);
        return crn__cl_fail(context, code, "clCreateKernel(%s of %s)", name, program->file);
    }
    program->kernels[program->n_kernels++] = kernel;
    *out = kernel;
    return CRN_OK;
}

crn_status crn__kernel_get_source(crn_context *context, const char *file, const char *text,
                                  const char *name, const char *options, crn__kernel **out)
{
    *out = NULL;
    char *all = crn__format("-cl-std=CL1.2 %s", options);
    if (all == NULL)
        return crn__fail_memory(&context->error);
    crn__program *program = NULL;
    crn_status status = program_get(context, file, text, all, &program);
    free(all);
    CRN__TRY(status);
    for (size_t i = 0; i < program->n_kernels; i++)
        if (strcmp(program->kernels[i]->name, name) == 0) {
            *out = program->kernels[i];
            return CRN_OK;
        }
    return kernel_create(context, program, name, out);
}

crn_status crn__kernel_get(crn_context *context, const char *file, const char *name,
                           const char *options, crn__kernel **out)
{
    const char *text = find_source(file);
    if (text == NULL) {
        *out = NULL;
        return crn__fail(&context->error, CRN_NOT_FOUND, "kernel source %s is not in this build",
                         file);
    }
    return crn__kernel_get_source(context, file, text, name, options, out);
}

const char *crn__kernel_name(const crn__kernel *kernel)
{
    return kernel->name;
}

/* ---- giving the cache what was compiled ---- */

static bool get_binary(const crn__program *program, crn__cache_entry *entry)
{
    size_t size = 0;
    if (clGetProgramInfo(program->cl, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) !=
            CL_SUCCESS ||
        size == 0)
        return false;
    *entry = (crn__cache_entry){
        .binary = crn__alloc(size, 1), .size = size, .kernels = program->launched};
    if (entry->binary != NULL &&
        clGetProgramInfo(program->cl, CL_PROGRAM_BINARIES, sizeof entry->binary, &entry->binary,
                         NULL) == CL_SUCCESS)
        return true;
    free(entry->binary);
    return false;
}

void crn__programs_save(crn_context *context)
{
    if (context->cache == NULL || !context->saves)
        return;
    for (size_t i = 0; i < context->n_programs; i++) {
        crn__program *program = context->programs[i];
        crn__cache_entry entry;
        if (program->launched <= program->saved || !get_binary(program, &entry))
            continue;
        crn__cache_store(context->cache, &program->key, &entry);
        program->saved = program->launched;
        free(entry.binary);
    }
}
