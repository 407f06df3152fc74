/*
 * Tensors on a device, and schedules: the list of launches that a run is.
 *
 * A schedule is written once for a batch size and run many times. While it is written, tensors are
 * only shapes; their places in the arena follow from the first and the last launch that uses them.
 */
#ifndef CRN_TENSOR_TENSOR_H
#define CRN_TENSOR_TENSOR_H

#include "device/device.h"

typedef struct crn__tensor crn__tensor;

struct crn__tensor {
    crn_dtype dtype;
    crn_shape shape;     /* closed */
    size_t bytes;        /* of the elements; storage is rounded up to whole vectors */
    crn__buffer *buffer; /* NULL until storage is needed */
    bool persistent;  /* a variable, a slot, packed weights: outlives a run, has its own buffer */
    uint64_t version; /* of a persistent tensor's contents: goes up at every write */
    bool changes;     /* while a plan is written: every run of it changes the contents */

    /* What is computed from it alone or with others, when their versions added up to
     * derived_version. */
    crn__tensor *derived;
    uint64_t derived_version;
    char derived_key[32];

    /* Moments of its channels that the op which made it took along, for batch norm: of n_moments
     * ranges of rows mean, sum of squared deviations and count, [n_moments][3][channels]; or NULL.
     */
    crn__tensor *moments;
    int32_t n_moments;

    int32_t holders; /* while a backward pass is written: gradients that this tensor is */

    /* Placement in a schedule's arena: launches first to last use it. */
    int32_t first, last;
    size_t offset;
};

/* The element count must not overflow; checked where shapes are made. */
size_t crn__tensor_count(const crn__tensor *tensor);

/* Bytes of storage for `bytes` of elements: whole cache lines, so that kernels may handle whole
 * vectors. */
size_t crn__storage_bytes(size_t bytes);

/* A persistent tensor without storage yet; NULL when there is no memory. */
crn__tensor *crn__tensor_create(crn_dtype dtype, const crn_shape *shape);
void crn__tensor_free(crn__tensor *tensor);
/* Gives a persistent tensor its (zeroed) storage if it has none. */
crn_status crn__tensor_allocate(crn_context *context, crn__tensor *tensor);

/*
 * The persistent copy of `owner` under `key`, made (without contents) at the first call. It is
 * stale while the versions of what it is made of do not add up to its derived_version. NULL when
 * there is no memory.
 */
crn__tensor *crn__tensor_derive(crn__tensor *owner, const char *key, const crn_shape *shape);

/* ---- arena ---- */

/* Device memory that schedules share, since only one runs at a time. */
typedef struct crn__arena {
    crn__buffer **slabs; /* each slab_bytes long but the last */
    size_t n_slabs;
    size_t slab_bytes;
    size_t bytes;
    uint64_t generation; /* goes up when the slabs are replaced */
} crn__arena;

void crn__arena_free(crn__arena *arena);

/* ---- schedules ---- */

typedef struct crn__schedule crn__schedule;

crn__schedule *crn__schedule_create(crn_context *context, crn_error *error);
void crn__schedule_free(crn__schedule *schedule);
crn_context *crn__schedule_context(const crn__schedule *schedule);
/* Writing a schedule has a sticky error, as building a graph has. */
crn_status crn__schedule_status(const crn__schedule *schedule);
crn_status crn__schedule_fail(crn__schedule *schedule, crn_status status, const char *text);

/* A tensor that lives from the first launch that uses it to the last. Never NULL: after a failure,
 * a dummy. */
crn__tensor *crn__schedule_tensor(crn__schedule *schedule, crn_dtype dtype, const crn_shape *shape);
/* Float workspace of `count` elements. */
crn__tensor *crn__schedule_workspace(crn__schedule *schedule, size_t count);
/* It has a value before the first launch (a feed), after the last one (a fetch). */
void crn__schedule_feed(crn__schedule *schedule, crn__tensor *tensor);
void crn__schedule_keep(crn__schedule *schedule, crn__tensor *tensor);

/* An argument of a launch. */
typedef struct crn__operand {
    crn__arg_kind kind;
    union {
        crn__tensor *tensor;
        int32_t i;
        int64_t l;
        float f;
        const float *at;
        size_t local;
    } as;
} crn__operand;

#define CRN__TENSOR(t) ((crn__operand){CRN__ARG_BUFFER, {.tensor = (t)}})
#define CRN__INT(v) ((crn__operand){CRN__ARG_INT, {.i = (int32_t)(v)}})
#define CRN__LONG(v) ((crn__operand){CRN__ARG_LONG, {.l = (int64_t)(v)}})
#define CRN__FLOAT(v) ((crn__operand){CRN__ARG_FLOAT, {.f = (v)}})
#define CRN__FLOAT_AT(p) ((crn__operand){CRN__ARG_FLOAT_AT, {.at = (p)}})

/* Work on the device that is no kernel of ours: CLBlast. Arguments have their buffers. */
typedef crn_status (*crn__call_fn)(crn_context *context, const crn__arg *args, size_t n_args);

#define CRN__MAX_SOURCES 4

typedef struct crn__task {
    const char *file;   /* of the kernel, and its */
    const char *kernel; /* name; literals */
    char options[96];   /* for the compiler */
    crn__call_fn call;  /* instead of a kernel */
    crn__range range;
    crn__tensor *refreshes; /* a derived tensor: the task runs only when it is stale… */
    const crn__tensor
        *sources[CRN__MAX_SOURCES]; /* …against what it is made of; NULL where fewer */
} crn__task;

/* Appends a task. Its operands: CRN__OPERANDS(CRN__TENSOR(x), CRN__INT(n)). */
void crn__schedule_add(crn__schedule *schedule, const crn__task *task, const crn__operand *operands,
                       size_t n_operands);
#define CRN__OPERANDS(...)               \
    (const crn__operand[]){__VA_ARGS__}, \
        sizeof((const crn__operand[]){__VA_ARGS__}) / sizeof(crn__operand)

/* Names what follows in profiles and errors; borrowed for the schedule's life. */
void crn__schedule_label(crn__schedule *schedule, const char *label);

/* Ends the writing: gives every tensor its place. Nothing is allocated. */
crn_status crn__schedule_place(crn__schedule *schedule);

typedef struct crn__footprint {
    size_t arena;
    size_t persistent;     /* of the persistent tensors that it uses */
    size_t unallocated;    /* the part of these that has no storage yet */
    size_t largest_tensor; /* the largest single tensor: it must fit one allocation */
    size_t launches;
} crn__footprint;

void crn__schedule_footprint(const crn__schedule *schedule, crn__footprint *footprint);

/* Allocates what is missing, grows the arena, compiles kernels. Cheap when nothing is missing. */
crn_status crn__schedule_prepare(crn__schedule *schedule, crn__arena *arena);
/* Told of every task that has run; the device waits after each. */
typedef struct crn__observer {
    void (*report)(void *data, const char *label, const char *task, double seconds); /* or NULL */
    void *data;
} crn__observer;

/* Enqueues every task. crn__schedule_prepare comes first. */
crn_status crn__schedule_run(crn__schedule *schedule, const crn__observer *observer);

#endif
