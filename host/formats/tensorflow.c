#include "formats/tensorflow.h"

#include <stdlib.h>

#include "core/error.h"

/* Newer programs write this version and say which older ones still read their files. */
#define OUR_VERSION 1

crn_status crn__tensorflow_check_version(crn__pb_reader reader, const char *path, crn_error *error)
{
    crn__pb_field field;
    while (crn__pb_next(&reader, &field))
        if (field.number == 2 && field.value > OUR_VERSION)
            return crn__fail(error, CRN_UNSUPPORTED,
                             "%s: asks for a reader of checkpoint version %d", path,
                             (int)(field.value & 0xffff));
    if (reader.broken)
        return crn__fail(error, CRN_FORMAT, "%s: its version is none", path);
    return CRN_OK;
}

/*
 * Both formats are tables with a message at key "", whose field 1 is a message in V1
 * (SavedTensorSlices.meta) and a number in V2 (BundleHeaderProto.num_shards).
 */
static crn_status open_table(crn__table *table, crn__table_cursor *cursor,
                             crn_checkpoint *checkpoint, crn_error *error)
{
    const char *path = checkpoint->path;
    crn__pb_field field;
    bool more;
    CRN__TRY(crn__table_next(cursor, &more, error));
    crn__pb_reader reader = crn__pb_read(cursor->value, cursor->value_size);
    if (more && cursor->key_size == 0 && crn__pb_next(&reader, &field) && field.number == 1) {
        if (field.wire == CRN__PB_BYTES)
            return crn__tensorflow_v1_open(table, cursor, checkpoint, error);
        if (field.wire == CRN__PB_VARINT)
            return crn__tensorflow_v2_open(table, cursor, checkpoint, error);
    }
    return crn__fail(error, CRN_FORMAT, "%s: a table, but not of a checkpoint", path);
}

crn_status crn__tensorflow_open(crn__input_file *file, crn_checkpoint *checkpoint, crn_error *error)
{
    crn__table table;
    crn_status status = crn__table_open(file, &table, error);
    if (status == CRN_OK) {
        crn__table_cursor cursor = {.table = &table};
        status = open_table(&table, &cursor, checkpoint, error);
        crn__table_cursor_end(&cursor);
    }
    crn__table_end(&table); /* what was taken over is closed already */
    return status;
}
