#include "tensor/tensor.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"

#define STORAGE_UNIT 64u

size_t crn__tensor_count(const crn__tensor *tensor)
{
    return tensor->bytes / crn_dtype_size(tensor->dtype);
}

size_t crn__storage_bytes(size_t bytes)
{
    return bytes > 0 ? (bytes + STORAGE_UNIT - 1) / STORAGE_UNIT * STORAGE_UNIT : STORAGE_UNIT;
}

crn__tensor *crn__tensor_create(crn_dtype dtype, const crn_shape *shape)
{
    crn__tensor *tensor = crn__alloc(1, sizeof *tensor);
    if (tensor == NULL)
        return NULL;
    tensor->dtype = dtype;
    tensor->shape = *shape;
    tensor->bytes = (size_t)crn_shape_count(shape) * crn_dtype_size(dtype);
    tensor->persistent = true;
    return tensor;
}

void crn__tensor_free(crn__tensor *tensor)
{
    while (tensor != NULL) {
        crn__tensor *next = tensor->derived;
        crn__buffer_free(tensor->buffer);
        free(tensor);
        tensor = next;
    }
}

crn_status crn__tensor_allocate(crn_context *context, crn__tensor *tensor)
{
    if (tensor->buffer != NULL)
        return CRN_OK;
    CRN__TRY(crn__buffer_create(context, crn__storage_bytes(tensor->bytes), &tensor->buffer));
    return crn__buffer_zero(tensor->buffer);
}

crn__tensor *crn__tensor_derive(crn__tensor *owner, const char *key, const crn_shape *shape)
{
    crn__tensor **link = &owner->derived;
    for (; *link != NULL; link = &(*link)->derived)
        if (strcmp((*link)->derived_key, key) == 0)
            return *link;
    crn__tensor *made = crn__tensor_create(owner->dtype, shape);
    if (made == NULL)
        return NULL;
    strncpy(made->derived_key, key, sizeof made->derived_key - 1);
    made->derived_version = UINT64_MAX;
    return *link = made;
}
