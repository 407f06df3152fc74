/*
 * Scalars of type string in the data files of V2 checkpoints (WriteStringTensor of TensorFlow's
 * tensor_bundle.cc):
 *
 *     varint64        the length
 *     u32             masked CRC-32C of the length as a u32
 *     length bytes    the text
 *
 * The entry's checksum is of the length as a u32, the second line as it stands, and the text.
 */
#include <string.h>

#include "core/memory.h"
#include "formats/crc32c.h"
#include "formats/tensorflow.h"

void crn__tensorflow_string_write(crn__pb_writer *out, const char *text, uint32_t *crc)
{
    size_t length = strlen(text);
    uint32_t narrow = (uint32_t)length;
    *crc = crn__crc32c(&narrow, sizeof narrow);
    uint32_t checksum = crn__crc32c_mask(*crc);
    crn__pb_write_varint(out, length);
    crn__pb_write_raw(out, &checksum, sizeof checksum);
    crn__pb_write_raw(out, text, length);
    *crc = crn__crc32c_extend(*crc, &checksum, sizeof checksum);
    *crc = crn__crc32c_extend(*crc, text, length);
}

crn_status crn__tensorflow_string_read(const unsigned char *data, size_t size, uint32_t checksum,
                                       char **text)
{
    crn__pb_reader reader = crn__pb_read(data, size);
    uint64_t length;
    uint32_t narrow, of_length;
    if (!crn__pb_varint(&reader, &length) || length > UINT32_MAX ||
        crn__pb_left(&reader) < sizeof of_length ||
        crn__pb_left(&reader) - sizeof of_length != length)
        return CRN_FORMAT;
    narrow = (uint32_t)length;
    memcpy(&of_length, reader.at, sizeof of_length);
    const unsigned char *bytes = reader.at + sizeof of_length;
    uint32_t crc = crn__crc32c(&narrow, sizeof narrow);
    if (crn__crc32c_mask(crc) != of_length)
        return CRN_FORMAT;
    crc = crn__crc32c_extend(crc, reader.at, crn__pb_left(&reader));
    if (crn__crc32c_mask(crc) != checksum || memchr(bytes, '\0', narrow) != NULL)
        return CRN_FORMAT;
    *text = crn__alloc((size_t)narrow + 1, 1);
    if (*text == NULL)
        return CRN_NO_MEMORY;
    memcpy(*text, bytes, narrow);
    return CRN_OK;
}
