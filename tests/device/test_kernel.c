/* Building kernels and launching them, and the words of what goes wrong. */
#include "support.h"

#include "device/sources.h"

static const char source[] =
    "__kernel void every_kind(__global float *out, int n, int i, long l, float f, float at,\n"
    "                         __local float *scratch, __global const float *none)\n"
    "{\n"
    "    int x = (int)get_global_id(0), y = (int)get_local_id(0);\n"
    "    scratch[y] = f;\n"
    "    if (x < n)\n"
    "        out[x] = (float)x * scratch[y] + (float)i + (float)(l >> 40) + at\n"
    "                 + (none == 0 ? ADD : 1000.0f);\n"
    "}\n"
    "__kernel void places(__global int *out, int w, int h, int d)\n"
    "{\n"
    "    int x = (int)get_global_id(0), y = (int)get_global_id(1), z = (int)get_global_id(2);\n"
    "    if (x < w && y < h && z < d)\n"
    "        out[(z * h + y) * w + x] = x + 100 * y + 10000 * z;\n"
    "}\n"
    "__kernel void tell(__global int *out)\n"
    "{\n"
    "    if (get_global_id(0) == 0)\n"
    "        *out = (int)get_global_size(0) * 1000 + (int)get_local_size(0);\n"
    "}\n";

static crn__kernel *get(crn_context *context, const char *name, const char *options)
{
    crn__kernel *kernel;
    assert_ok(context, crn__kernel_get_source(context, "test.cl", source, name, options, &kernel));
    assert_string_equal(crn__kernel_name(kernel), name);
    return kernel;
}

static crn__buffer *make_buffer(crn_context *context, size_t size)
{
    crn__buffer *buffer;
    assert_ok(context, crn__buffer_create(context, size, &buffer));
    assert_ok(context, crn__buffer_zero(buffer));
    return buffer;
}

static void every_kind_of_argument_arrives(void **state)
{
    crn_context *context = *state;
    crn__kernel *kernel = get(context, "every_kind", "-DADD=0.25f");
    static const size_t sizes[] = {1, 7, 16, 100, 1003};
    static const size_t groups[] = {1, 16, 64};
    for (size_t s = 0; s < 5 * 3; s++) {
        size_t n = sizes[s / 3], group = groups[s % 3];
        float out[1003 + 1], rate = 0;
        crn__buffer *buffer = make_buffer(context, (n + 1) * sizeof *out);
        const crn__range range = {1, {n}, {group}};
        const crn__arg args[] = {
            {CRN__ARG_BUFFER, {.buffer = buffer}},
            {CRN__ARG_INT, {.i = (int32_t)n}},
            {CRN__ARG_INT, {.i = -3}},
            {CRN__ARG_LONG, {.l = INT64_C(5) << 40}},
            {CRN__ARG_FLOAT, {.f = 2}},
            {CRN__ARG_FLOAT_AT, {.at = &rate}},
            {CRN__ARG_LOCAL, {.local = group * sizeof(float)}},
            {CRN__ARG_BUFFER, {.buffer = NULL}},
        };
        for (rate = 0; rate < 20; rate += 10) { /* read at each launch */
            assert_ok(context, crn__launch(context, kernel, &range, args, 8));
            assert_ok(context, crn__flush(context));
            assert_ok(context, crn__finish(context));
            assert_ok(context, crn__buffer_read(buffer, 0, out, (n + 1) * sizeof *out));
            for (size_t i = 0; i < n; i++)
                assert_true(out[i] == 2 * (float)i - 3 + 5 + rate + 0.25f);
            assert_true(out[n] == 0);
        }
        crn__buffer_free(buffer);
    }
}

static void ranges_of_three_dimensions_are_rounded_up(void **state)
{
    crn_context *context = *state;
    enum { W = 5, H = 3, D = 7 };
    int32_t out[W * H * D];
    crn__buffer *buffer = make_buffer(context, sizeof out);
    const crn__arg args[] = {{CRN__ARG_BUFFER, {.buffer = buffer}},
                             {CRN__ARG_INT, {.i = W}},
                             {CRN__ARG_INT, {.i = H}},
                             {CRN__ARG_INT, {.i = D}}};
    const crn__range range = {3, {W, H, D}, {4, 2, 1}};
    assert_ok(context, crn__launch(context, get(context, "places", "-DADD=0"), &range, args, 4));
    assert_ok(context, crn__buffer_read(buffer, 0, out, sizeof out));
    for (int z = 0; z < D; z++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                assert_int_equal(out[(z * H + y) * W + x], x + 100 * y + 10000 * z);

    int32_t told;
    const crn__range odd = {1, {33}, {16}};
    assert_ok(context, crn__launch(context, get(context, "tell", "-DADD=0"), &odd, args, 1));
    assert_ok(context, crn__buffer_read(buffer, 0, &told, sizeof told));
    assert_int_equal(told, 48 * 1000 + 16);
    crn__buffer_free(buffer);
}

static void an_empty_range_does_nothing(void **state)
{
    crn_context *context = *state;
    int32_t out = -1;
    crn__buffer *buffer = make_buffer(context, sizeof out);
    const crn__arg arg = {CRN__ARG_BUFFER, {.buffer = buffer}};
    const crn__range range = {2, {8, 0}, {8, 1}};
    assert_ok(context, crn__launch(context, get(context, "tell", "-DADD=0"), &range, &arg, 1));
    assert_ok(context, crn__buffer_read(buffer, 0, &out, sizeof out));
    assert_int_equal(out, 0);
    crn__buffer_free(buffer);
}

static void kernels_are_made_once(void **state)
{
    (void)state;
    crn_context *context = open_with_cache("");
    crn__kernel *kernel = get(context, "tell", "-DADD=1");
    assert_ptr_equal(get(context, "tell", "-DADD=1"), kernel);
    assert_ptr_not_equal(get(context, "places", "-DADD=1"), kernel);
    assert_int_equal(context->compiled, 1);
    assert_ptr_not_equal(get(context, "tell", "-DADD=2"), kernel);
    assert_int_equal(context->compiled, 2);
    crn__kernel *other;
    assert_ok(context,
              crn__kernel_get_source(context, "test.cl", "__kernel void tell(__global int *x) {}",
                                     "tell", "-DADD=1", &other));
    assert_ptr_not_equal(other, kernel);
    crn_context_free(context);
}

static void a_build_failure_names_file_options_and_reason(void **state)
{
    crn_context *context = *state;
    crn__kernel *kernel;
    static const char wrong[] = "__kernel void k(__global int *x)\n{\n    *x = unheard_of;\n}\n";
    for (int i = 0; i < 2; i++) { /* a failure is not remembered as a program */
        assert_int_equal(
            crn__kernel_get_source(context, "wrong.cl", wrong, "k", "-DSOME=7", &kernel),
            CRN_DEVICE);
        assert_null(kernel);
        const char *text = crn_context_error(context)->text;
        assert_contains(text, "wrong.cl");
        assert_contains(text, "-DSOME=7");
        assert_contains(text, "CL_BUILD_PROGRAM_FAILURE");
        assert_contains(text, "unheard_of");
        assert_null(strchr(text, '\n'));
    }
    get(context, "tell", "-DADD=0");
}

static void missing_kernels_and_files_are_named(void **state)
{
    crn_context *context = *state;
    crn__kernel *kernel;
    assert_int_equal(
        crn__kernel_get_source(context, "test.cl", source, "absent", "-DADD=0", &kernel),
        CRN_DEVICE);
    assert_null(kernel);
    assert_contains(crn_context_error(context)->text, "clCreateKernel(absent of test.cl)");
    assert_contains(crn_context_error(context)->text, "CL_INVALID_KERNEL_NAME (-46)");
    assert_int_equal(crn__kernel_get(context, "absent.cl", "k", "", &kernel), CRN_NOT_FOUND);
    assert_contains(crn_context_error(context)->text, "absent.cl");
}

static void embedded_files_compile_behind_the_common_text(void **state)
{
    crn_context *context = *state;
    const crn__source *file = crn__sources;
    while (file->file != NULL && strstr(file->file, ".clh") != NULL)
        file++;
    if (file->file == NULL)
        skip();
    crn__kernel *kernel;
    size_t before = context->compiled;
    assert_int_equal(crn__kernel_get(context, file->file, "absent", "-DVW=4 -DGROUP=1", &kernel),
                     CRN_DEVICE);
    assert_contains(crn_context_error(context)->text, "clCreateKernel(absent");
    assert_int_equal(context->compiled, before + 1);
}

static void a_launch_that_cannot_be_is_told(void **state)
{
    crn_context *context = *state;
    crn__kernel *kernel = get(context, "tell", "-DADD=3");
    crn__buffer *buffer = make_buffer(context, 4);
    const crn__arg args[] = {{CRN__ARG_BUFFER, {.buffer = buffer}}, {CRN__ARG_INT, {.i = 1}}};
    static const crn__range wrong[] = {
        {0, {1}, {1}},
        {4, {1, 1, 1}, {1, 1, 1}},
        {1, {1}, {0}},
        {2, {1, SIZE_MAX}, {1, 2}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(crn__launch(context, kernel, &wrong[i], args, 1), CRN_INVALID);
        assert_contains(crn_context_error(context)->text, "tell");
    }
    const crn__range one = {1, {1}, {1}};
    assert_int_equal(crn__launch(context, kernel, &one, args, 2), CRN_DEVICE);
    assert_contains(crn_context_error(context)->text,
                    "clSetKernelArg(tell, 1): CL_INVALID_ARG_INDEX (-49)");
    size_t huge = (size_t)crn_context_device(context)->max_work_group * 2;
    const crn__range large = {1, {huge}, {huge}};
    assert_int_equal(crn__launch(context, kernel, &large, args, 1), CRN_DEVICE);
    assert_contains(crn_context_error(context)->text, "clEnqueueNDRangeKernel(tell): CL_INVALID_");
    assert_ok(context, crn__launch(context, kernel, &one, args, 1));
    assert_ok(context, crn__finish(context));
    crn__buffer_free(buffer);
}

static void opencl_errors_become_statuses_and_words(void **state)
{
    (void)state;
    assert_int_equal(crn__cl_status(CL_MEM_OBJECT_ALLOCATION_FAILURE), CRN_DEVICE_MEMORY);
    assert_int_equal(crn__cl_status(CL_OUT_OF_RESOURCES), CRN_DEVICE_MEMORY);
    assert_int_equal(crn__cl_status(CL_OUT_OF_HOST_MEMORY), CRN_NO_MEMORY);
    assert_int_equal(crn__cl_status(CL_INVALID_VALUE), CRN_DEVICE);
    assert_string_equal(crn__cl_name(-5), "CL_OUT_OF_RESOURCES");
    assert_string_equal(crn__cl_name(-36), "CL_INVALID_COMMAND_QUEUE");
    assert_string_equal(crn__cl_name(-9999), "unknown error");

    crn_context broken = {.memory = 77, .info.global_memory = 99};
    assert_int_equal(crn__cl_fail(&broken, -5, "clEnqueueNDRangeKernel(%s)", "bn_stats"),
                     CRN_DEVICE_MEMORY);
    assert_string_equal(crn_context_error(&broken)->text,
                        "clEnqueueNDRangeKernel(bn_stats): CL_OUT_OF_RESOURCES (-5), with 77 bytes "
                        "held of the device's 99");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_argument_arrives),
        cmocka_unit_test(ranges_of_three_dimensions_are_rounded_up),
        cmocka_unit_test(an_empty_range_does_nothing),
        cmocka_unit_test(kernels_are_made_once),
        cmocka_unit_test(a_build_failure_names_file_options_and_reason),
        cmocka_unit_test(missing_kernels_and_files_are_named),
        cmocka_unit_test(embedded_files_compile_behind_the_common_text),
        cmocka_unit_test(a_launch_that_cannot_be_is_told),
        cmocka_unit_test(opencl_errors_become_statuses_and_words),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
