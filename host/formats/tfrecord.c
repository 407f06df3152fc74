#include "formats/tfrecord.h"

#include <inttypes.h>
#include <string.h>

#include "core/error.h"
#include "formats/crc32c.h"

bool crn__tfrecord_header(const unsigned char *header, uint64_t *size)
{
    uint32_t crc;
    memcpy(size, header, sizeof *size);
    memcpy(&crc, header + sizeof *size, sizeof crc);
    return crc == crn__crc32c_mask(crn__crc32c(header, sizeof *size));
}

crn_status crn__tfrecord_read(const crn__input_file *file, uint64_t offset, size_t size,
                              unsigned char *data, crn_error *error)
{
    uint32_t crc;
    CRN__TRY(crn__input_file_read(file, offset, data, size, error));
    CRN__TRY(crn__input_file_read(file, offset + size, &crc, sizeof crc, error));
    if (crc != crn__crc32c_mask(crn__crc32c(data, size)))
        return crn__fail(error, CRN_FORMAT, "%s: the record at byte %" PRIu64 " is damaged",
                         file->path, offset - CRN__TFRECORD_HEADER);
    return CRN_OK;
}
