/*
 * OpenCL devices and the context that everything else lives on.
 */
#ifndef CLARINET_DEVICE_H
#define CLARINET_DEVICE_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum crn_device_type {
    CRN_DEVICE_CPU,
    CRN_DEVICE_GPU,
    CRN_DEVICE_ACCELERATOR,
    CRN_DEVICE_OTHER
} crn_device_type;

#define CRN_DEVICE_TEXT 128

/* What a user needs to know of a device. Sizes are bytes. */
typedef struct crn_device_info {
    int32_t index; /* position over all platforms, 0-based; what --device takes */
    crn_device_type type;
    char name[CRN_DEVICE_TEXT];
    char vendor[CRN_DEVICE_TEXT];
    char platform[CRN_DEVICE_TEXT];
    char driver[CRN_DEVICE_TEXT];
    char version[CRN_DEVICE_TEXT]; /* "OpenCL 1.2 …" */
    uint32_t compute_units;
    uint32_t vector_width; /* native float elements: 16 with AVX-512, 1 on most GPUs */
    uint64_t global_memory;
    uint64_t max_allocation;
    uint64_t cache_memory; /* of the last cache before global memory; 0: not told */
    uint64_t local_memory;
    uint64_t max_work_group;
    bool fp16;
    bool fp64;
    bool is_default; /* chosen when nothing is asked for */
} crn_device_info;

/*
 * Lists every device of every platform. Writes at most `capacity` of them and sets *count to how
 * many there are. CRN_NO_DEVICE when there is none: the text says what to install.
 */
CRN_API crn_status crn_device_list(crn_device_info *infos, size_t capacity, size_t *count,
                                   crn_error *error);

/* A device with its queue, compiled kernels and last error. One thread at a time may use it. */
typedef struct crn_context crn_context;

typedef struct crn_context_options {
    size_t size;
    /*
     * An index ("1"), part of a device's or platform's name ("radeon"), "cpu" or "gpu". NULL: the
     * environment's CLARINET_DEVICE, else the fastest kind present (GPU, accelerator, CPU).
     */
    const char *device;
    /*
     * Where compiled kernels and tuned choices are kept. NULL: CLARINET_CACHE_DIR, else
     * $XDG_CACHE_HOME/clarinet, else ~/.cache/clarinet. "" keeps none.
     */
    const char *cache_dir;
    /*
     * Which kernels convolve: "auto", "direct", "winograd" (3x3, stride 1, on a CPU; fp32 rounding
     * errors of a few 1e-6 rather than 1e-7) or "clblast" (1x1 and dense). Where one does not
     * apply, direct is taken. NULL: CLARINET_CONV_SOLVER, else auto.
     */
    const char *conv_solver;
    /*
     * The family of kernels: "cpu" (a work-item is a thread with vector registers), "gpu" (a
     * work-group shares work) or "auto". Both are right on every device. NULL: CLARINET_KERNELS,
     * else auto.
     */
    const char *kernels;
    /* Float elements a kernel handles at once: 4, 8 or 16. 0: CLARINET_VECTOR_WIDTH, else the
     * device's. */
    uint32_t vector_width;
    crn_log_fn log; /* NULL: silent */
    void *log_data;
    /* "1": convolve with what crn_graph_tune has measured to be fastest, where it has and
     * conv_solver is auto; "0": never. NULL: CLARINET_TUNED, else 1. */
    const char *tuned;
} crn_context_options;

#define CRN_CONTEXT_OPTIONS_INIT                                                 \
    {                                                                            \
        sizeof(crn_context_options), NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL \
    }

/* Opens a device. `options` may be NULL. */
CRN_API crn_status crn_context_create(const crn_context_options *options, crn_context **out,
                                      crn_error *error);
/* Frees the context. Graphs on it must have been freed before. */
CRN_API void crn_context_free(crn_context *context);

CRN_API const crn_device_info *crn_context_device(const crn_context *context);

/* The detail of the last call on this context that failed. Never NULL. */
CRN_API const crn_error *crn_context_error(const crn_context *context);

/* Device memory that this context holds now and held at most, in bytes. */
CRN_API uint64_t crn_context_memory(const crn_context *context);
CRN_API uint64_t crn_context_peak_memory(const crn_context *context);

#ifdef __cplusplus
}
#endif

#endif
