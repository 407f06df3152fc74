#include <stdlib.h>
#include <string.h>

#include "device/opencl.h"

/* Work-items for each compute unit that keep it busy: enough of them to share out evenly on a CPU,
 * enough to hide the memory's latency on a GPU. */
enum { CPU_ITEMS = 16, GPU_ITEMS = 128, GPU_GROUP = 64 };

static crn_status choose_width(const crn_device_info *device, crn__family family, uint32_t option,
                               uint32_t *width, crn_error *error)
{
    const char *text = option == 0 ? getenv("CLARINET_VECTOR_WIDTH") : NULL;
    if (option == 4 || option == 8 || option == 16)
        *width = option;
    else if (option != 0)
        return crn__fail(error, CRN_INVALID, "vector width %u: 4, 8 or 16 is wanted", option);
    else if (text == NULL || *text == '\0')
        *width = family == CRN__FAMILY_GPU    ? 4
                 : device->vector_width >= 16 ? 16
                 : device->vector_width >= 8  ? 8
                                              : 4;
    else if (strcmp(text, "4") == 0 || strcmp(text, "8") == 0 || strcmp(text, "16") == 0)
        *width = (uint32_t)strtoul(text, NULL, 10);
    else
        return crn__fail(error, CRN_INVALID,
                         "CLARINET_VECTOR_WIDTH is \"%.80s\": 4, 8 or 16 is wanted", text);
    return CRN_OK;
}

static crn_status choose_solver(const char *option, crn__conv_solver *solver, crn_error *error)
{
    const char *text = option != NULL ? option : getenv("CLARINET_CONV_SOLVER");
    if (text == NULL || *text == '\0' || strcmp(text, "auto") == 0)
        *solver = CRN__SOLVER_AUTO;
    else if (strcmp(text, "direct") == 0)
        *solver = CRN__SOLVER_DIRECT;
    else if (strcmp(text, "winograd") == 0)
        *solver = CRN__SOLVER_WINOGRAD;
    else if (strcmp(text, "clblast") == 0)
        *solver = CRN__SOLVER_CLBLAST;
    else
        return crn__fail(error, CRN_INVALID,
                         "%s is \"%.80s\": auto, direct, winograd or clblast is wanted",
                         option != NULL ? "the convolution solver" : "CLARINET_CONV_SOLVER", text);
    return CRN_OK;
}

static crn_status choose_tuned(const char *option, bool *tuned, crn_error *error)
{
    const char *text = option != NULL ? option : getenv("CLARINET_TUNED");
    *tuned = text == NULL || strcmp(text, "0") != 0;
    if (!*tuned || text == NULL || *text == '\0' || strcmp(text, "1") == 0)
        return CRN_OK;
    return crn__fail(error, CRN_INVALID, "%s is \"%.80s\": 0 or 1 is wanted",
                     option != NULL ? "the use of tuned choices" : "CLARINET_TUNED", text);
}

static crn_status choose_family(const crn_device_info *device, const char *option,
                                crn__family *family, crn_error *error)
{
    const char *text = option != NULL ? option : getenv("CLARINET_KERNELS");
    bool gpu = device->type == CRN_DEVICE_GPU || device->type == CRN_DEVICE_ACCELERATOR;
    if (text == NULL || *text == '\0' || strcmp(text, "auto") == 0)
        *family = gpu ? CRN__FAMILY_GPU : CRN__FAMILY_CPU;
    else if (strcmp(text, "cpu") == 0)
        *family = CRN__FAMILY_CPU;
    else if (strcmp(text, "gpu") == 0)
        *family = CRN__FAMILY_GPU;
    else
        return crn__fail(error, CRN_INVALID, "%s is \"%.80s\": auto, cpu or gpu is wanted",
                         option != NULL ? "the kernels' family" : "CLARINET_KERNELS", text);
    return CRN_OK;
}

static uint32_t times(uint32_t a, uint32_t b)
{
    uint32_t product;
    return __builtin_mul_overflow(a, b, &product) ? UINT32_MAX : product;
}

crn_status crn__profile_make(const crn_device_info *device, const crn_context_options *options,
                             crn__profile *profile, crn_error *error)
{
    crn__family family = CRN__FAMILY_CPU;
    CRN__TRY(choose_family(device, options->kernels, &family, error));
    bool gpu = family == CRN__FAMILY_GPU;
    uint32_t units = device->compute_units > 0 ? device->compute_units : 1;
    *profile = (crn__profile){.family = family,
                              .group_size = gpu ? GPU_GROUP : 1,
                              .parallelism = times(units, gpu ? GPU_ITEMS : CPU_ITEMS)};
    if (device->max_work_group > 0 && profile->group_size > device->max_work_group)
        profile->group_size = (uint32_t)device->max_work_group;
    CRN__TRY(choose_width(device, profile->family, options->vector_width, &profile->vector_width,
                          error));
    CRN__TRY(choose_tuned(options->tuned, &profile->tuned, error));
    return choose_solver(options->conv_solver, &profile->solver, error);
}
