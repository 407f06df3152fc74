/* What the files of the device room share: nothing outside it includes this, tests aside. */
#ifndef CRN_DEVICE_OPENCL_H
#define CRN_DEVICE_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include "core/error.h"
#include "device/cache.h"
#include "device/device.h"

/* ---- errors ---- */

/* "CL_OUT_OF_RESOURCES", or "unknown error". */
const char *crn__cl_name(cl_int code);
/* CRN_DEVICE_MEMORY, CRN_NO_MEMORY or CRN_DEVICE. */
crn_status crn__cl_status(cl_int code);
/* Leaves "CALL: CL_NAME (code)" on the context; for want of memory, what it holds as well. */
crn_status crn__cl_fail(crn_context *context, cl_int code, const char *call, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- devices ---- */

typedef struct crn__device {
    cl_platform_id platform;
    cl_device_id id;
    bool usable; /* available, with a compiler */
    crn_device_info info;
} crn__device;

/* Every device of every platform, at least one; *devices is ended by free(). is_default is not
 * set. */
crn_status crn__devices_find(crn__device **devices, size_t *count, crn_error *error);
/* The one that `wanted` means: crn_context_options.device; NULL or "" is the fastest kind. */
crn_status crn__devices_choose(const crn__device *devices, size_t count, const char *wanted,
                               const crn__device **chosen, crn_error *error);

/* Fills the profile from the device, the options and the environment. */
crn_status crn__profile_make(const crn_device_info *device, const crn_context_options *options,
                             crn__profile *profile, crn_error *error);

/* ---- context ---- */

typedef struct crn__program crn__program;

typedef struct crn__choice {
    crn__cache_key key;
    char value[CRN__CHOICE_TEXT]; /* "": none was made */
} crn__choice;

struct crn_context {
    crn_device_info info;
    crn__profile profile;
    crn_error error;
    crn_log_fn log;
    void *log_data;

    cl_device_id device;
    cl_context cl;
    cl_command_queue queue; /* in order */

    size_t alignment;      /* of a part's start */
    uint64_t memory, peak; /* bytes in buffers that are not parts */

    crn__cache *cache; /* NULL: none */
    bool saves;        /* binaries are worth what asking for them costs */
    crn__program **programs;
    size_t n_programs, programs_capacity;
    size_t compiled, loaded; /* programs from source, from the cache */
    crn__choice *choices;    /* that were asked for or made */
    size_t n_choices, choices_capacity;
};

/* ---- programs ---- */

struct crn__program {
    crn__cache_key key;
    char *file;
    char *options;
    cl_program cl;
    crn__kernel **kernels;
    size_t n_kernels, kernels_capacity;
    uint32_t launched; /* kernels that have run */
    uint32_t saved;    /* kernels that had run when the cache's binary was made */
};

struct crn__kernel {
    crn__program *program;
    char *name;
    cl_kernel cl;
    bool launched;
};

/* crn__kernel_get for a source that need not be embedded; `file` is what messages call it. */
crn_status crn__kernel_get_source(crn_context *context, const char *file, const char *text,
                                  const char *name, const char *options, crn__kernel **out);
/*
 * Gives the cache the binaries that have news for it; the queue is finished. Done when the context
 * ends, because PoCL's binaries hold only what has run by then.
 */
void crn__programs_save(crn_context *context);
void crn__programs_free(crn_context *context);

#endif
