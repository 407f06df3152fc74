/* The types of elements that checkpoint files hold: many more than the two that networks use. */
#ifndef CRN_FORMATS_ELEMENT_H
#define CRN_FORMATS_ELEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct crn__element {
    const char *name; /* safetensors' name where it has one, else TensorFlow's in that style */
    uint32_t size;    /* bytes; 0: not of a fixed size */
    uint8_t
        tensorflow;   /* enum DataType of tensorflow/core/framework/types.proto; 0: unknown there */
    bool safetensors; /* safetensors has it */
    /* Real numbers as float32, rounded to nearest, ties to even; NULL for what are none. */
    void (*to_floats)(const void *values, size_t count, float *floats);
} crn__element;

/* NULL when there is none. */
const crn__element *crn__element_find(const char *name, size_t length);
/* Never NULL: of a type that is not known, "UNKNOWN" of no fixed size. */
const crn__element *crn__element_of_tensorflow(uint64_t type);

#endif
