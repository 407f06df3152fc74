/*
 * Every OpenCL call fails once, and from then on: a status with words comes back, every object that
 * was made is released, and the next run is right. OpenCL's functions are defined here, in front of
 * the real ones.
 */
#include "support.h"

#include <dlfcn.h>
#include <unistd.h>

static struct {
    long calls;
    long fail_at; /* the call, from 1, that fails; 0: none */
    bool sticky;  /* and all after it */
    cl_int code;
    long objects; /* made and not released */
} cl;

static bool fails(void)
{
    cl.calls++;
    return cl.fail_at > 0 && (cl.sticky ? cl.calls >= cl.fail_at : cl.calls == cl.fail_at);
}

/* By name: nothing is left for the linker to take from the library, and it may leave it out. */
static void *find(const char *name)
{
    static void *library;
    if (library == NULL)
        library = dlopen("libOpenCL.so.1", RTLD_NOW);
    void *found = library != NULL ? dlsym(library, name) : NULL;
    if (found == NULL)
        abort();
    return found;
}

#define FIND(real, name) \
    if (real == NULL)    \
        *(void **)&real = find(name);

#define CALL(name, parameters, arguments)          \
    cl_int name parameters                         \
    {                                              \
        static cl_int(*real) parameters;           \
        FIND(real, #name)                          \
        return fails() ? cl.code : real arguments; \
    }

#define CREATE(type, name, parameters, arguments) \
    type name parameters                          \
    {                                             \
        static type(*real) parameters;            \
        FIND(real, #name)                         \
        if (fails()) {                            \
            *code = cl.code;                      \
            return NULL;                          \
        }                                         \
        type made = real arguments;               \
        cl.objects += made != NULL;               \
        return made;                              \
    }

/* Not counted: a failed release has no remedy. */
#define RELEASE(name, type)          \
    cl_int name(type object)         \
    {                                \
        static cl_int (*real)(type); \
        FIND(real, #name)            \
        cl.objects--;                \
        return real(object);         \
    }

CALL(clGetPlatformIDs, (cl_uint n, cl_platform_id *ids, cl_uint *count), (n, ids, count))
CALL(clGetPlatformInfo,
     (cl_platform_id id, cl_platform_info what, size_t size, void *value, size_t *needed),
     (id, what, size, value, needed))
CALL(clGetDeviceIDs,
     (cl_platform_id id, cl_device_type type, cl_uint n, cl_device_id *ids, cl_uint *count),
     (id, type, n, ids, count))
CALL(clGetDeviceInfo,
     (cl_device_id id, cl_device_info what, size_t size, void *value, size_t *needed),
     (id, what, size, value, needed))
CREATE(cl_context, clCreateContext,
       (const cl_context_properties *properties, cl_uint n, const cl_device_id *ids,
        void (*notify)(const char *, const void *, size_t, void *), void *data, cl_int *code),
       (properties, n, ids, notify, data, code))
CREATE(cl_command_queue, clCreateCommandQueue,
       (cl_context context, cl_device_id id, cl_command_queue_properties properties, cl_int *code),
       (context, id, properties, code))
CREATE(cl_mem, clCreateBuffer,
       (cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *code),
       (context, flags, size, host, code))
CREATE(cl_mem, clCreateSubBuffer,
       (cl_mem mem, cl_mem_flags flags, cl_buffer_create_type type, const void *info, cl_int *code),
       (mem, flags, type, info, code))
CREATE(cl_program, clCreateProgramWithSource,
       (cl_context context, cl_uint n, const char **texts, const size_t *lengths, cl_int *code),
       (context, n, texts, lengths, code))
CREATE(cl_program, clCreateProgramWithBinary,
       (cl_context context, cl_uint n, const cl_device_id *ids, const size_t *lengths,
        const unsigned char **binaries, cl_int *each, cl_int *code),
       (context, n, ids, lengths, binaries, each, code))
CREATE(cl_kernel, clCreateKernel, (cl_program program, const char *name, cl_int *code),
       (program, name, code))
CALL(clBuildProgram,
     (cl_program program, cl_uint n, const cl_device_id *ids, const char *options,
      void (*notify)(cl_program, void *), void *data),
     (program, n, ids, options, notify, data))
CALL(clGetProgramInfo,
     (cl_program program, cl_program_info what, size_t size, void *value, size_t *needed),
     (program, what, size, value, needed))
CALL(clGetProgramBuildInfo,
     (cl_program program, cl_device_id id, cl_program_build_info what, size_t size, void *value,
      size_t *needed),
     (program, id, what, size, value, needed))
CALL(clSetKernelArg, (cl_kernel kernel, cl_uint index, size_t size, const void *value),
     (kernel, index, size, value))
CALL(clEnqueueNDRangeKernel,
     (cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset,
      const size_t *global, const size_t *local, cl_uint n, const cl_event *list, cl_event *event),
     (queue, kernel, dims, offset, global, local, n, list, event))
CALL(clEnqueueWriteBuffer,
     (cl_command_queue queue, cl_mem mem, cl_bool block, size_t offset, size_t size,
      const void *data, cl_uint n, const cl_event *list, cl_event *event),
     (queue, mem, block, offset, size, data, n, list, event))
CALL(clEnqueueReadBuffer,
     (cl_command_queue queue, cl_mem mem, cl_bool block, size_t offset, size_t size, void *data,
      cl_uint n, const cl_event *list, cl_event *event),
     (queue, mem, block, offset, size, data, n, list, event))
CALL(clEnqueueFillBuffer,
     (cl_command_queue queue, cl_mem mem, const void *pattern, size_t length, size_t offset,
      size_t size, cl_uint n, const cl_event *list, cl_event *event),
     (queue, mem, pattern, length, offset, size, n, list, event))
CALL(clFlush, (cl_command_queue queue), (queue))
CALL(clFinish, (cl_command_queue queue), (queue))
RELEASE(clReleaseContext, cl_context)
RELEASE(clReleaseCommandQueue, cl_command_queue)
RELEASE(clReleaseMemObject, cl_mem)
RELEASE(clReleaseProgram, cl_program)
RELEASE(clReleaseKernel, cl_kernel)

/* ---- one use of all that the room does ---- */

static const char source[] = "__kernel void add(__global float *x, int n, float y)\n"
                             "{ int i = (int)get_global_id(0); if (i < n) x[i] += y; }\n";

static crn_status use_buffers(crn_context *context, crn__buffer *root, crn__buffer *part)
{
    float values[16];
    crn__kernel *kernel;
    for (int i = 0; i < 16; i++)
        values[i] = (float)i;
    const crn__range range = {1, {16}, {4}};
    const crn__arg args[] = {
        {CRN__ARG_BUFFER, {.buffer = part}}, {CRN__ARG_INT, {.i = 15}}, {CRN__ARG_FLOAT, {.f = 3}}};
    CRN__TRY(crn__kernel_get_source(context, "add.cl", source, "add", "", &kernel));
    CRN__TRY(crn__buffer_zero(root));
    CRN__TRY(crn__buffer_write(part, 0, values, sizeof values));
    CRN__TRY(crn__launch(context, kernel, &range, args, 3));
    CRN__TRY(crn__flush(context));
    CRN__TRY(crn__finish(context));
    CRN__TRY(crn__buffer_read(part, 0, values, sizeof values));
    for (int i = 0; i < 16; i++)
        assert_true(values[i] == (float)(i < 15 ? i + 3 : i));
    return CRN_OK;
}

static crn_status use_context(crn_context *context)
{
    crn__buffer *root = NULL, *part = NULL;
    size_t step = crn__buffer_alignment(context);
    crn_status status = crn__buffer_create(context, 2 * step, &root);
    if (status == CRN_OK)
        status = crn__buffer_part(root, step, step, &part);
    if (status == CRN_OK)
        status = use_buffers(context, root, part);
    crn__buffer_free(part);
    crn__buffer_free(root);
    assert_int_equal(crn_context_memory(context), 0);
    return status;
}

static crn_status use_all(const char *cache, crn_error *error)
{
    crn_context_options options = CRN_CONTEXT_OPTIONS_INIT;
    crn_context *context;
    options.cache_dir = cache;
    crn_status status = crn_context_create(&options, &context, error);
    if (status == CRN_OK) {
        context->saves = true; /* PoCL's binaries too */
        status = use_context(context);
        *error = *crn_context_error(context);
        crn_context_free(context);
    }
    return status;
}

static void fail_every_call(const char *cache, cl_int code, bool sticky)
{
    crn_error error = {0};
    memset(&cl, 0, sizeof cl);
    assert_int_equal(use_all(cache, &error), CRN_OK);
    assert_int_equal(cl.objects, 0);
    long calls = cl.calls, failed = 0;
    assert_true(calls > 40);
    for (long k = 1; k <= calls; k++) {
        memset(&cl, 0, sizeof cl);
        cl.fail_at = k;
        cl.sticky = sticky;
        cl.code = code;
        memset(&error, 0, sizeof error);
        crn_status status = use_all(cache, &error);
        if (status != CRN_OK) {
            failed++;
            assert_int_equal(error.status, status);
            assert_true(status == CRN_DEVICE || status == CRN_DEVICE_MEMORY ||
                        status == CRN_NO_MEMORY || status == CRN_NO_DEVICE);
            assert_true(strlen(error.text) > 10);
        }
        if (cl.objects != 0)
            fail_msg("call %ld failed with %d: %ld objects are left", k, code, cl.objects);
    }
    /* What may fail unnoticed: saving, a refused binary, and the wait before the end. */
    assert_true(failed >= calls - 8);
    memset(&cl, 0, sizeof cl);
    assert_int_equal(use_all(cache, &error), CRN_OK);
    assert_int_equal(cl.objects, 0);
}

static void every_call_may_fail(void **state)
{
    (void)state;
    static const cl_int codes[] = {-2, -4, -5, -6, -11, -14, -36};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        fail_every_call("", codes[i], false);
}

static void a_lost_device_fails_every_call_after(void **state)
{
    (void)state;
    fail_every_call("", CL_DEVICE_NOT_AVAILABLE, true);
    fail_every_call("", CL_INVALID_COMMAND_QUEUE, true);
}

static void every_call_may_fail_behind_a_cache(void **state)
{
    (void)state;
    char folder[] = "/tmp/clarinet-faults-XXXXXX", file[64];
    assert_non_null(mkdtemp(folder));
    fail_every_call(folder, CL_OUT_OF_HOST_MEMORY, false);
    fail_every_call(folder, CL_OUT_OF_RESOURCES, true);
    snprintf(file, sizeof file, "%s/kernels.sqlite", folder);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_may_fail),
        cmocka_unit_test(a_lost_device_fails_every_call_after),
        cmocka_unit_test(every_call_may_fail_behind_a_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
