/*
 * The device room: the only one that calls OpenCL (CLBlast aside, which is given its queue).
 *
 * The rooms above see buffers, kernels by name, and launches.
 */
#ifndef CRN_DEVICE_DEVICE_H
#define CRN_DEVICE_DEVICE_H

#include "clarinet/device.h"

/* Kernels come in families: what is fast on a CPU and what is fast on a GPU differ in more than
 * sizes. */
typedef enum crn__family { CRN__FAMILY_CPU, CRN__FAMILY_GPU } crn__family;

typedef enum crn__conv_solver {
    CRN__SOLVER_AUTO,
    CRN__SOLVER_DIRECT,
    CRN__SOLVER_WINOGRAD,
    CRN__SOLVER_CLBLAST
} crn__conv_solver;

/* What kernels are chosen and compiled by. */
typedef struct crn__profile {
    crn__family family;
    uint32_t
        vector_width; /* float elements a work-item handles at once: 4, 8, 16; 1 where C is odd */
    uint32_t group_size;  /* work-items of a work-group in element-wise kernels: 1 on a CPU */
    uint32_t parallelism; /* work-items that keep the device busy when each has much to do */
    crn__conv_solver solver;
    bool tuned;          /* choices that were measured replace the rules */
    bool clblast_failed; /* CLBlast was tried here and was wrong, or is not in this build */
    bool clblast_checked;
} crn__profile;

crn__profile *crn__context_profile(crn_context *context);

/* Where failures on this context are told; for crn__fail. */
crn_error *crn__context_fail(crn_context *context);

void crn__log(crn_context *context, crn_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- buffers ---- */

typedef struct crn__buffer crn__buffer;

/* Device memory of `size` bytes (at least 1), counted in crn_context_memory. Contents are
 * undefined. */
crn_status crn__buffer_create(crn_context *context, size_t size, crn__buffer **out);
/* A part of a buffer. `offset` is a multiple of crn__buffer_alignment; the parent is freed after
 * it. */
crn_status crn__buffer_part(crn__buffer *parent, size_t offset, size_t size, crn__buffer **out);
void crn__buffer_free(crn__buffer *buffer);
size_t crn__buffer_size(const crn__buffer *buffer);
/* Bytes that the start of a part is aligned to: at least 64, so that float16 loads are legal. */
size_t crn__buffer_alignment(const crn_context *context);

/* Blocking copies in the queue's order. Ranges are checked. */
crn_status crn__buffer_write(crn__buffer *buffer, size_t offset, const void *data, size_t size);
crn_status crn__buffer_read(const crn__buffer *buffer, size_t offset, void *data, size_t size);
crn_status crn__buffer_zero(crn__buffer *buffer);

/* ---- kernels ---- */

typedef struct crn__kernel crn__kernel;

/*
 * Kernel `name` of embedded source `file` ("batch_norm.cl", behind common.clh), compiled with
 * `options`
 * ("-DVW=16 -DGROUP=1"). Every combination is compiled once a context, or taken from the disk
 * cache; the kernel is borrowed from the context. A build failure's text names file, options and
 * the log's start.
 */
crn_status crn__kernel_get(crn_context *context, const char *file, const char *name,
                           const char *options, crn__kernel **out);
const char *crn__kernel_name(const crn__kernel *kernel);

typedef enum crn__arg_kind {
    CRN__ARG_BUFFER,   /* __global T * */
    CRN__ARG_INT,      /* int */
    CRN__ARG_LONG,     /* long */
    CRN__ARG_FLOAT,    /* float */
    CRN__ARG_FLOAT_AT, /* float, read from host memory at each launch: a learning rate */
    CRN__ARG_LOCAL     /* __local T *, bytes */
} crn__arg_kind;

typedef struct crn__arg {
    crn__arg_kind kind;
    union {
        crn__buffer *buffer; /* NULL passes a null pointer */
        int32_t i;
        int64_t l;
        float f;
        const float *at;
        size_t local;
    } as;
} crn__arg;

/* global and local of `dims` (1 to 3) dimensions; global is rounded up to a multiple of local. */
typedef struct crn__range {
    uint32_t dims;
    size_t global[3];
    size_t local[3];
} crn__range;

/* Enqueues the kernel in order. Returns before it has run. */
crn_status crn__launch(crn_context *context, crn__kernel *kernel, const crn__range *range,
                       const crn__arg *args, size_t n_args);

/* Sends what was enqueued to the device; waits until it is done. */
crn_status crn__flush(crn_context *context);
crn_status crn__finish(crn_context *context);

/* ---- choices ---- */

#define CRN__CHOICE_TEXT 16

/*
 * What was chosen under `key` on this device with this version of the library: "" where nothing
 * was. Read from the cache's file once: it stays the same for the context's life unless the context
 * itself chooses. Valid until the next call of either.
 */
const char *crn__context_choice(crn_context *context, const char *key);
/* Chooses; value has fewer than CRN__CHOICE_TEXT characters. */
void crn__context_choose(crn_context *context, const char *key, const char *value);

/* For CLBlast: the cl_command_queue and a buffer's cl_mem, and the offset of a part in elements of
 * 4 bytes. */
void *crn__context_queue(crn_context *context);
void *crn__buffer_mem(const crn__buffer *buffer);

#endif
