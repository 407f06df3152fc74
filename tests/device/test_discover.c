/* Finding devices, choosing one, and what is made of it. */
#include "support.h"

static crn__device device(int32_t index, crn_device_type type, const char *name,
                          const char *platform, uint32_t units)
{
    crn__device made = {.usable = true};
    made.info.index = index;
    made.info.type = type;
    made.info.compute_units = units;
    snprintf(made.info.name, sizeof made.info.name, "%s", name);
    snprintf(made.info.platform, sizeof made.info.platform, "%s", platform);
    return made;
}

enum { N = 6 };

static void make_zoo(crn__device zoo[N])
{
    zoo[0] = device(0, CRN_DEVICE_CPU, "cpu-haswell", "Portable Computing Language", 8);
    zoo[1] = device(1, CRN_DEVICE_CPU, "Xeon", "Intel(R) OpenCL", 64);
    zoo[2] = device(2, CRN_DEVICE_ACCELERATOR, "Phi", "Intel(R) OpenCL", 240);
    zoo[3] = device(3, CRN_DEVICE_GPU, "GeForce RTX 3090", "NVIDIA CUDA", 82);
    zoo[4] = device(4, CRN_DEVICE_GPU, "GeForce GTX 1060", "NVIDIA CUDA", 82);
    zoo[5] = device(5, CRN_DEVICE_GPU, "Radeon", "AMD", 200);
    zoo[5].usable = false;
}

static void choosing_follows_index_kind_and_names(void **state)
{
    (void)state;
    static const struct {
        const char *wanted;
        int32_t index;
    } cases[] = {
        {NULL, 3},    {"", 3},         {"cpu", 1},   {"CPU", 1},     {"gpu", 3},  {"0", 0},
        {"2", 2},     {"02", 2},       {"3090", 3},  {"1060", 4},    {"xeon", 1}, {"HASWELL", 0},
        {"cpu-h", 0}, {"portable", 0}, {"intel", 2}, {"geforce", 3}, {"phi", 2},  {"gtx 1", 4},
    };
    crn__device zoo[N];
    make_zoo(zoo);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const crn__device *chosen = NULL;
        crn_error error = {0};
        if (crn__devices_choose(zoo, N, cases[i].wanted, &chosen, &error) != CRN_OK)
            fail_msg("%s: %s", cases[i].wanted, error.text);
        assert_int_equal(chosen->info.index, cases[i].index);
    }
}

static void without_a_gpu_the_next_kind_is_default(void **state)
{
    (void)state;
    crn__device zoo[N];
    const crn__device *chosen;
    make_zoo(zoo);
    assert_int_equal(crn__devices_choose(zoo, 3, NULL, &chosen, NULL), CRN_OK);
    assert_int_equal(chosen->info.index, 2);
    assert_int_equal(crn__devices_choose(zoo, 2, NULL, &chosen, NULL), CRN_OK);
    assert_int_equal(chosen->info.index, 1);
}

static void a_device_that_cannot_compile_is_refused(void **state)
{
    (void)state;
    crn__device zoo[N];
    const crn__device *chosen;
    crn_error error;
    make_zoo(zoo);
    assert_int_equal(crn__devices_choose(zoo, N, "radeon", &chosen, &error), CRN_UNSUPPORTED);
    assert_contains(error.text, "Radeon");
    assert_int_equal(crn__devices_choose(zoo, N, "5", &chosen, &error), CRN_UNSUPPORTED);
    assert_int_equal(crn__devices_choose(zoo + 5, 1, NULL, &chosen, &error), CRN_NO_DEVICE);
    assert_contains(error.text, "Radeon");
}

static void an_unknown_device_is_told_with_those_that_are_there(void **state)
{
    (void)state;
    static const char *const unknown[] = {"7", "99999999999999999999999", "-1", "cpux", "voodoo"};
    crn__device zoo[N];
    const crn__device *chosen;
    crn_error error;
    make_zoo(zoo);
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        assert_int_equal(crn__devices_choose(zoo, N, unknown[i], &chosen, &error), CRN_NOT_FOUND);
        assert_contains(error.text, unknown[i]);
        for (size_t j = 0; j < N; j++)
            assert_contains(error.text, zoo[j].info.name);
    }
    assert_int_equal(crn__devices_choose(zoo, 3, "gpu", &chosen, &error), CRN_NOT_FOUND);

    char endless[4096];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_int_equal(crn__devices_choose(zoo, N, endless, &chosen, &error), CRN_NOT_FOUND);
    assert_contains(error.text, "cpu-haswell");
}

/* ---- the profile ---- */

static crn__profile profile_of(crn_device_type type, uint32_t width, uint32_t units,
                               uint64_t max_group)
{
    crn_context_options options = CRN_CONTEXT_OPTIONS_INIT;
    crn_device_info info = {
        .type = type, .vector_width = width, .compute_units = units, .max_work_group = max_group};
    crn__profile profile;
    crn_error error;
    if (crn__profile_make(&info, &options, &profile, &error) != CRN_OK)
        fail_msg("%s", error.text);
    return profile;
}

static void profile_follows_the_device(void **state)
{
    (void)state;
    static const struct {
        uint32_t native, width;
    } cpus[] = {{0, 4}, {1, 4}, {4, 4}, {7, 4}, {8, 8}, {15, 8}, {16, 16}, {64, 16}};
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
        crn__profile cpu = profile_of(CRN_DEVICE_CPU, cpus[i].native, 2, 4096);
        assert_int_equal(cpu.vector_width, cpus[i].width);
        assert_int_equal(cpu.family, CRN__FAMILY_CPU);
        assert_int_equal(cpu.group_size, 1);
        assert_int_equal(cpu.parallelism, 32);
        assert_int_equal(cpu.solver, CRN__SOLVER_AUTO);
    }
    crn__profile gpu = profile_of(CRN_DEVICE_GPU, 1, 10, 1024);
    assert_int_equal(gpu.family, CRN__FAMILY_GPU);
    assert_int_equal(gpu.vector_width, 4);
    assert_int_equal(gpu.group_size, 64);
    assert_true(gpu.parallelism >= 640);
    assert_int_equal(profile_of(CRN_DEVICE_ACCELERATOR, 8, 1, 32).group_size, 32);
    assert_int_equal(profile_of(CRN_DEVICE_OTHER, 8, 1, 32).family, CRN__FAMILY_CPU);
    assert_true(profile_of(CRN_DEVICE_GPU, 1, UINT32_MAX, 64).parallelism > 0);
}

static crn_status make_profile(const crn_context_options *options, crn__profile *profile,
                               crn_error *error)
{
    crn_device_info info = {.type = CRN_DEVICE_CPU, .vector_width = 8, .compute_units = 1};
    return crn__profile_make(&info, options, profile, error);
}

static void options_and_environment_are_checked(void **state)
{
    (void)state;
    crn_context_options options = CRN_CONTEXT_OPTIONS_INIT;
    crn__profile profile;
    crn_error error;
    setenv("CLARINET_VECTOR_WIDTH", "16", 1);
    setenv("CLARINET_CONV_SOLVER", "direct", 1);
    assert_int_equal(make_profile(&options, &profile, &error), CRN_OK);
    assert_int_equal(profile.vector_width, 16);
    assert_int_equal(profile.solver, CRN__SOLVER_DIRECT);
    options.vector_width = 4;
    options.conv_solver = "clblast";
    assert_int_equal(make_profile(&options, &profile, &error), CRN_OK);
    assert_int_equal(profile.vector_width, 4);
    assert_int_equal(profile.solver, CRN__SOLVER_CLBLAST);

    options.kernels = "gpu";
    assert_int_equal(make_profile(&options, &profile, &error), CRN_OK);
    assert_int_equal(profile.family, CRN__FAMILY_GPU);
    options.kernels = "tpu";
    assert_int_equal(make_profile(&options, &profile, &error), CRN_INVALID);
    assert_contains(error.text, "tpu");
    options.kernels = NULL;

    options.vector_width = 5;
    assert_int_equal(make_profile(&options, &profile, &error), CRN_INVALID);
    assert_contains(error.text, "5");
    options.vector_width = 0;
    static const char *const widths[] = {"5", "32", "8x", " 8", "-8", "08", "four"};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        setenv("CLARINET_VECTOR_WIDTH", widths[i], 1);
        assert_int_equal(make_profile(&options, &profile, &error), CRN_INVALID);
        assert_contains(error.text, "CLARINET_VECTOR_WIDTH");
        assert_contains(error.text, widths[i]);
    }
    unsetenv("CLARINET_VECTOR_WIDTH");
    options.conv_solver = "fft";
    assert_int_equal(make_profile(&options, &profile, &error), CRN_INVALID);
    assert_contains(error.text, "winograd");
    options.conv_solver = NULL;
    setenv("CLARINET_CONV_SOLVER", "Direct", 1);
    assert_int_equal(make_profile(&options, &profile, &error), CRN_INVALID);
    assert_contains(error.text, "CLARINET_CONV_SOLVER");
    unsetenv("CLARINET_CONV_SOLVER");
}

/* ---- this machine's devices ---- */

static void listing_says_what_the_driver_says(void **state)
{
    (void)state;
    crn_device_info infos[64];
    size_t count, defaults = 0;
    assert_int_equal(crn_device_list(infos, 64, &count, NULL), CRN_OK);
    assert_in_range(count, 1, 64);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(infos[i].index, i);
        defaults += infos[i].is_default;
        assert_true(infos[i].name[0] != '\0' && infos[i].name[0] != ' ');
        assert_true(infos[i].name[strlen(infos[i].name) - 1] != ' ');
    }
    assert_int_equal(defaults, 1);

    cl_platform_id platform;
    cl_device_id id;
    cl_ulong global;
    cl_uint units;
    char version[256];
    assert_int_equal(clGetPlatformIDs(1, &platform, NULL), CL_SUCCESS);
    assert_int_equal(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &id, NULL), CL_SUCCESS);
    clGetDeviceInfo(id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof global, &global, NULL);
    clGetDeviceInfo(id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL);
    clGetDeviceInfo(id, CL_DEVICE_VERSION, sizeof version, version, NULL);
    assert_int_equal(infos[0].global_memory, global);
    assert_int_equal(infos[0].compute_units, units);
    assert_memory_equal(infos[0].version, "OpenCL ", 7);
    assert_memory_equal(infos[0].version, version, strlen(infos[0].version));

    crn_device_info untouched = {.index = -7};
    size_t again = 0;
    assert_int_equal(crn_device_list(&untouched, 0, &again, NULL), CRN_OK);
    assert_int_equal(again, count);
    assert_int_equal(untouched.index, -7);
    assert_int_equal(crn_device_list(NULL, 0, &again, NULL), CRN_OK);
    assert_int_equal(crn_device_list(NULL, 1, &again, NULL), CRN_INVALID);
    assert_int_equal(crn_device_list(infos, 64, NULL, NULL), CRN_INVALID);
}

static void a_context_opens_what_was_asked_for(void **state)
{
    (void)state;
    crn_context_options options = CRN_CONTEXT_OPTIONS_INIT;
    crn_context *context;
    crn_error error;
    options.cache_dir = "";
    setenv("CLARINET_DEVICE", "no such device", 1);
    options.device = "0";
    assert_int_equal(crn_context_create(&options, &context, &error), CRN_OK);
    assert_int_equal(crn_context_device(context)->index, 0);
    assert_int_equal(crn_context_error(context)->status, CRN_OK);
    char name[CRN_DEVICE_TEXT];
    memcpy(name, crn_context_device(context)->name, sizeof name);
    crn_context_free(context);

    options.device = NULL;
    assert_int_equal(crn_context_create(&options, &context, &error), CRN_NOT_FOUND);
    assert_null(context);
    assert_contains(error.text, "no such device");
    assert_contains(error.text, name);
    size_t count;
    crn_device_info infos[64];
    assert_int_equal(crn_device_list(infos, 64, &count, NULL), CRN_OK);
    assert_false(infos[0].is_default);

    setenv("CLARINET_DEVICE", name, 1);
    assert_int_equal(crn_context_create(&options, &context, &error), CRN_OK);
    assert_string_equal(crn_context_device(context)->name, name);
    assert_true(crn_context_device(context)->is_default);
    crn_context_free(context);
    unsetenv("CLARINET_DEVICE");
}

static void context_options_are_checked(void **state)
{
    (void)state;
    crn_context_options options = {0};
    crn_context *context;
    crn_error error;
    assert_int_equal(crn_context_create(&options, &context, &error), CRN_INVALID);
    assert_int_equal(crn_context_create(NULL, NULL, &error), CRN_INVALID);
    options = (crn_context_options)CRN_CONTEXT_OPTIONS_INIT;
    options.vector_width = 3;
    assert_int_equal(crn_context_create(&options, &context, &error), CRN_INVALID);
    assert_null(context);
    assert_contains(error.text, "vector width 3");
    /* An older header's struct ends earlier: what follows it is not read. */
    options.size = offsetof(crn_context_options, vector_width);
    options.cache_dir = "";
    assert_int_equal(crn_context_create(&options, &context, &error), CRN_OK);
    crn_context_free(context);
    crn_context_free(NULL);
}

int main(void)
{
    unsetenv("CLARINET_DEVICE");
    unsetenv("CLARINET_VECTOR_WIDTH");
    unsetenv("CLARINET_CONV_SOLVER");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choosing_follows_index_kind_and_names),
        cmocka_unit_test(without_a_gpu_the_next_kind_is_default),
        cmocka_unit_test(a_device_that_cannot_compile_is_refused),
        cmocka_unit_test(an_unknown_device_is_told_with_those_that_are_there),
        cmocka_unit_test(profile_follows_the_device),
        cmocka_unit_test(options_and_environment_are_checked),
        cmocka_unit_test(listing_says_what_the_driver_says),
        cmocka_unit_test(a_context_opens_what_was_asked_for),
        cmocka_unit_test(context_options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
