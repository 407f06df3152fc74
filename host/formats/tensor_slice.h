/*
 * Parts of tensors: TensorFlow stores a partitioned variable as several, each a box of the whole's
 * index space, under a key that says which.
 */
#ifndef CRN_FORMATS_TENSOR_SLICE_H
#define CRN_FORMATS_TENSOR_SLICE_H

#include "formats/checkpoint_file.h"
#include "formats/protobuf.h"

/* More parts than a variable has in use. */
#define CRN__MAX_SLICES 1024

typedef struct crn__tensor_slice {
    int rank;
    /* What the key says; length -1 with start 0: all of the dimension. */
    int64_t start[CRN__MAX_DIMS], length[CRN__MAX_DIMS];
} crn__tensor_slice;

/* Reads a message TensorShapeProto. CRN_FORMAT, or CRN_UNSUPPORTED for too many dimensions; `what`
 * ("FILE: tensor NAME") begins the message. */
crn_status crn__tensor_shape_parse(crn__pb_reader reader, const char *what,
                                   crn_checkpoint_entry *entry, crn_error *error);

/* Reads a message TensorSliceProto that is a part of the entry. false when it is none. */
bool crn__tensor_slice_parse(crn__pb_reader reader, const crn_checkpoint_entry *entry,
                             crn__tensor_slice *slice);

/* The shape of a part, as `part`'s rank and dims. */
void crn__tensor_slice_shape(const crn__tensor_slice *slice, const crn_checkpoint_entry *entry,
                             crn_checkpoint_entry *part);

/* Whether the parts are all of the entry, and no element is in two. */
bool crn__tensor_slices_cover(const crn__tensor_slice *slices, size_t count,
                              const crn_checkpoint_entry *entry);

/* Appends the key of a part: checkpoint::EncodeTensorNameSlice of TensorFlow. */
void crn__tensor_slice_key(crn__pb_writer *key, const char *name, const crn__tensor_slice *slice);

/* Copies a part's elements of `size` bytes to where they are in the whole. */
void crn__tensor_slice_copy(const crn__tensor_slice *slice, const crn_checkpoint_entry *entry,
                            size_t size, const void *part, void *whole);

#endif
