/*
 * TensorFlow's tables (tensorflow/core/lib/io/table, LevelDB's sorted string tables): keys in
 * rising order, each with a value. A V1 checkpoint is one, so is the index of a V2 checkpoint. The
 * format is specified in table.c.
 */
#ifndef CRN_FORMATS_TABLE_H
#define CRN_FORMATS_TABLE_H

#include "formats/atomic_file.h"
#include "formats/input_file.h"

#define CRN__TABLE_MAGIC UINT64_C(0xdb4775248b80fb57) /* a table's last 8 bytes */

/* ---- reading ---- */

/* The unpacked content of a block, and where reading is in it. */
typedef struct crn__table_block {
    unsigned char *data;
    size_t size, at;    /* of the entries; what follows them is cut off */
    uint64_t place;     /* byte in the file, for messages */
    unsigned char *key; /* of the present entry; has its own memory, as keys share beginnings */
    size_t key_size, key_capacity;
    const unsigned char *value; /* in data */
    size_t value_size;
} crn__table_block;

typedef struct crn__table {
    crn__input_file file;
    uint64_t index_at, index_size; /* the handle of the index block */
} crn__table;

/* Where reading is in a table; begins as {.table = …}, ended by crn__table_cursor_end. */
typedef struct crn__table_cursor {
    const crn__table *table;
    crn__table_block index, block;
    bool started;
    /* The present entry, until the next call. */
    const unsigned char *key, *value;
    size_t key_size, value_size;
} crn__table_cursor;

/* Takes the file over: *file is closed then. End the table after a failure too. */
crn_status crn__table_open(crn__input_file *file, crn__table *table, crn_error *error);
void crn__table_end(crn__table *table);

/*
 * Moves to the first entry, or to the next; *more is false behind the last. CRN_FORMAT when a
 * block is damaged or keys do not rise. Memory: two blocks, each at most the file and 16 MiB.
 */
crn_status crn__table_next(crn__table_cursor *cursor, bool *more, crn_error *error);
/* Moves a new cursor to the entry of a key; *found is false when there is none. */
crn_status crn__table_find(crn__table_cursor *cursor, const void *key, size_t key_size, bool *found,
                           crn_error *error);
void crn__table_cursor_end(crn__table_cursor *cursor);

/* ---- writing ---- */

typedef struct crn__table_entry {
    const void *key, *value;
    size_t key_size, value_size;
} crn__table_entry;

/* Writes a table of entries, whose keys rise, as all of a new file: one block, not compressed. */
crn_status crn__table_write(crn__atomic_file *file, const crn__table_entry *entries, size_t count,
                            crn_error *error);

#endif
