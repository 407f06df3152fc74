/*
 * What every other header uses: statuses, errors, element types and shapes.
 *
 * Conventions of the whole API
 *  - Functions are crn_noun_verb; constants start with CRN_.
 *  - A call that can fail returns crn_status. CRN_INVALID means that the call was wrong,
 *    CRN_UNSUPPORTED that it was right but cannot be had here.
 *  - An object returned through `T **out` is the caller's, to be ended with T_free; T_free(NULL) is
 *    legal. A pointer returned directly is borrowed and lives as long as its owner.
 *  - Option structs begin with their own size: initialise them with their _INIT macro, then set
 *    members. A struct from an older header keeps working with a newer library.
 *  - The library never prints, exits or keeps global state.
 */
#ifndef CLARINET_COMMON_H
#define CLARINET_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRN_VERSION_MAJOR 0
#define CRN_VERSION_MINOR 1
#define CRN_VERSION_PATCH 0

#if defined(__GNUC__)
#define CRN_API __attribute__((visibility("default")))
#else
#define CRN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, text): every status once. */
#define CRN_STATUS_MAP(X)                    \
    X(OK, "success")                         \
    X(INVALID, "invalid argument")           \
    X(UNSUPPORTED, "not supported here")     \
    X(NO_MEMORY, "out of host memory")       \
    X(NO_DEVICE, "no OpenCL device")         \
    X(DEVICE, "OpenCL error")                \
    X(DEVICE_MEMORY, "out of device memory") \
    X(IO, "input/output error")              \
    X(FORMAT, "malformed file")              \
    X(NOT_FOUND, "not found")                \
    X(NON_FINITE, "not a finite number")     \
    X(INTERRUPTED, "stopped on request")

typedef enum crn_status {
#define CRN_STATUS_MEMBER(name, text) CRN_##name,
    CRN_STATUS_MAP(CRN_STATUS_MEMBER)
#undef CRN_STATUS_MEMBER
} crn_status;

/* The words for a status, for example "invalid argument". Never NULL. */
CRN_API const char *crn_status_text(crn_status status);

/* The library's version, "major.minor.patch". */
CRN_API const char *crn_version(void);

#define CRN_ERROR_TEXT 512

/*
 * One failure in words. Calls with a context or a graph leave their detail there
 * (crn_context_error, crn_graph_error); the few calls that work without a device take a crn_error,
 * which may be NULL.
 */
typedef struct crn_error {
    crn_status status;
    char text[CRN_ERROR_TEXT];
} crn_error;

typedef enum crn_dtype { CRN_F32 = 1, CRN_I32 = 2 } crn_dtype;

/* Bytes of one element; 0 for a value that is no dtype. */
CRN_API size_t crn_dtype_size(crn_dtype dtype);

#define CRN_MAX_RANK 4

/* A dimension that is open when a graph is built and known when it is run: the batch. */
#define CRN_ANY ((int64_t)-1)

/* Rank 0 is a scalar. Images are NHWC, convolution weights HWIO, as in TensorFlow. */
typedef struct crn_shape {
    int32_t rank;
    int64_t dims[CRN_MAX_RANK];
} crn_shape;

/* CRN_SHAPE(CRN_ANY, 224, 224, 3) in C. */
#define CRN_SHAPE(...) \
    ((crn_shape){(int32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})

/* Number of elements, 1 for a scalar; -1 when a dimension is open or the product overflows. */
CRN_API int64_t crn_shape_count(const crn_shape *shape);

CRN_API bool crn_shape_equal(const crn_shape *a, const crn_shape *b);

/* Writes "[4,224,224,3]" ("?" for an open dimension) into text and returns text. */
CRN_API char *crn_shape_text(const crn_shape *shape, char *text, size_t size);

typedef enum crn_log_level { CRN_LOG_DEBUG, CRN_LOG_INFO, CRN_LOG_WARNING } crn_log_level;

/* Receives one line without a newline. Called on the thread that made the library call. */
typedef void (*crn_log_fn)(void *data, crn_log_level level, const char *line);

#ifdef __cplusplus
}
#endif

#endif
