/* TensorFlow's checkpoints: what their two formats share. */
#ifndef CRN_FORMATS_TENSORFLOW_H
#define CRN_FORMATS_TENSORFLOW_H

#include "formats/checkpoint_file.h"
#include "formats/protobuf.h"
#include "formats/table.h"

/* Networks have some thousands. */
#define CRN__TENSORFLOW_MAX_TENSORS ((size_t)1 << 16)

/* Where clarinet keeps metadata in V2 files: DT_STRING scalars of these names. */
#define CRN__TENSORFLOW_METADATA "clarinet.metadata/"

/*
 * Fill the checkpoint from a table whose cursor is at its first entry, of key "". They take the
 * table over; the caller ends the cursor.
 */
crn_status crn__tensorflow_v1_open(crn__table *table, crn__table_cursor *cursor,
                                   crn_checkpoint *checkpoint, crn_error *error);
crn_status crn__tensorflow_v2_open(crn__table *table, crn__table_cursor *cursor,
                                   crn_checkpoint *checkpoint, crn_error *error);

/* Checks a message VersionDef { int32 producer = 1; int32 min_consumer = 2; …}. */
crn_status crn__tensorflow_check_version(crn__pb_reader reader, const char *path, crn_error *error);

/* Strings (tensorflow_string.c): appends a scalar; *crc is the checksum of its entry, not masked.
 */
void crn__tensorflow_string_write(crn__pb_writer *out, const char *text, uint32_t *crc);
/* *text, ended by free(), from the bytes of a scalar and its entry's masked checksum. CRN_FORMAT
 * when it is damaged or has zero bytes, CRN_NO_MEMORY. */
crn_status crn__tensorflow_string_read(const unsigned char *data, size_t size, uint32_t checksum,
                                       char **text);

#endif
