/* Reading a .npy array piece by piece, without ever holding all of it. Format: npy.c. */
#ifndef CRN_FORMATS_NPY_H
#define CRN_FORMATS_NPY_H

#include "clarinet/common.h"
#include "formats/input_file.h"

typedef enum crn__npy_type {
    CRN__NPY_F32,
    CRN__NPY_F64,
    CRN__NPY_I8,
    CRN__NPY_I16,
    CRN__NPY_I32,
    CRN__NPY_I64,
    CRN__NPY_U8,
    CRN__NPY_U16,
    CRN__NPY_U32,
    CRN__NPY_U64,
    CRN__NPY_BOOL
} crn__npy_type;

typedef struct crn__npy {
    crn__input_file file;
    crn__npy_type type;
    crn_shape shape;
    uint64_t count;      /* elements; the file holds all of them */
    uint64_t data_start; /* byte in the file */
} crn__npy;

/* Checks the header and that the file has exactly the bytes that it asks for. */
crn_status crn__npy_open(const char *path, crn__npy *npy, crn_error *error);
void crn__npy_close(crn__npy *npy);

/* Elements first…first+count-1 as they are stored; `data` has room for them. */
crn_status crn__npy_read_raw(const crn__npy *npy, uint64_t first, size_t count, void *data,
                             crn_error *error);
/* The same as float32, rounded to nearest. */
crn_status crn__npy_read_floats(const crn__npy *npy, uint64_t first, size_t count, float *data,
                                crn_error *error);
/* The same as int64: CRN_UNSUPPORTED when the array is not of an integer type. uint64 numbers past
 * INT64_MAX become INT64_MAX. */
crn_status crn__npy_read_integers(const crn__npy *npy, uint64_t first, size_t count, int64_t *data,
                                  crn_error *error);

#endif
