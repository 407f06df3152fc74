/*
 * TensorFlow's files of records. A file is records one after the other:
 *     uint64 size, uint32 masked CRC-32C of these 8 bytes, the data, uint32 masked CRC-32C of them,
 * all little-endian.
 */
#ifndef CRN_FORMATS_TFRECORD_H
#define CRN_FORMATS_TFRECORD_H

#include "formats/input_file.h"

#define CRN__TFRECORD_HEADER 12
#define CRN__TFRECORD_FOOTER 4
#define CRN__TFRECORD_MAX ((uint64_t)1 << 30)

/* The size that a header, of CRN__TFRECORD_HEADER bytes, tells; false: its checksum is wrong. */
bool crn__tfrecord_header(const unsigned char *header, uint64_t *size);

/* Reads a record whose data, of `size` bytes, are known to lie at `offset` and to fit into the
 * file; CRN_FORMAT, naming file and place, when their checksum is wrong. */
crn_status crn__tfrecord_read(const crn__input_file *file, uint64_t offset, size_t size,
                              unsigned char *data, crn_error *error);

#endif
