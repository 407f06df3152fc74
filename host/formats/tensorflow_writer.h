/* Writing TensorFlow's V2 checkpoints: PREFIX.data-00000-of-00001 and PREFIX.index. */
#ifndef CRN_FORMATS_TENSORFLOW_WRITER_H
#define CRN_FORMATS_TENSORFLOW_WRITER_H

#include "formats/checkpoint_writer.h"

typedef struct crn__tensorflow_writer crn__tensorflow_writer;

/* As of crn__checkpoint_writer. */
crn_status crn__tensorflow_writer_create(const char *path, const crn__checkpoint_content *content,
                                         crn__tensorflow_writer **out, crn_error *error);
crn_status crn__tensorflow_writer_append(crn__tensorflow_writer *writer, const void *data,
                                         size_t bytes, crn_error *error);
crn_status crn__tensorflow_writer_commit(crn__tensorflow_writer *writer, crn_error *error);
void crn__tensorflow_writer_abort(crn__tensorflow_writer *writer);

#endif
