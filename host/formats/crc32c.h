/* CRC-32C (Castagnoli, RFC 3720), the checksum of TensorFlow's files. */
#ifndef CRN_FORMATS_CRC32C_H
#define CRN_FORMATS_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what `crc` covers (0: nothing) followed by data. */
uint32_t crn__crc32c_extend(uint32_t crc, const void *data, size_t size);

static inline uint32_t crn__crc32c(const void *data, size_t size)
{
    return crn__crc32c_extend(0, data, size);
}

/* What TensorFlow and LevelDB store, so that a checksum over checksums is still a good one. */
static inline uint32_t crn__crc32c_mask(uint32_t crc)
{
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

#endif
