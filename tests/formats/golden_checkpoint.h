/* The checkpoints that TensorFlow made (golden/make_checkpoints.py), and what is in them. */
#ifndef TESTS_FORMATS_GOLDEN_CHECKPOINT_H
#define TESTS_FORMATS_GOLDEN_CHECKPOINT_H

#include "files.h"

#include "formats/checkpoint_file.h"

#define DATA "golden/checkpoints/" /* tests run in the folder tests/ */

/* All bytes of a tensor, in new memory. */
crn_status read_bytes(const crn_checkpoint *file, const char *name, unsigned char **out,
                      crn_error *why);

/*
 * Opens `path` and compares its list of tensors with NAME.txt, every value with NAME.safetensors:
 * bytes, and what crn_checkpoint_read makes of them. What differs fails the test; what cannot be
 * read is the status.
 */
crn_status check_file(const char *path, const char *name, crn_error *why);

#endif
