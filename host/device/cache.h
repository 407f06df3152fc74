/*
 * Compiled kernels and choices on disk: one SQLite file, kernels.sqlite, that any number of
 * processes share.
 *
 *     CREATE TABLE kernel (key BLOB PRIMARY KEY,    -- crn__cache_key: 16 bytes
 *                          kernels INTEGER,         -- crn__cache_entry.kernels
 *                          checksum INTEGER,        -- XXH3 of the binary, seeded with the key
 *                          binary BLOB)
 *     CREATE TABLE choice (key BLOB PRIMARY KEY,    -- crn__cache_key: 16 bytes
 *                          value TEXT)              -- of crn__context_choose
 *
 * A cache may lose what it was given and never fails: whatever is wrong with the file, the folder
 * or an entry is told in a debug line, and the caller compiles. A file that is not a database of
 * ours, or has grown past 256 MiB, is replaced.
 */
#ifndef CRN_DEVICE_CACHE_H
#define CRN_DEVICE_CACHE_H

#include "clarinet/device.h"

typedef struct crn__cache crn__cache;

typedef struct crn__cache_key {
    unsigned char bytes[16];
} crn__cache_key;

typedef struct crn__cache_entry {
    unsigned char *binary; /* ended by free() */
    size_t size;
    uint32_t kernels; /* how many of the program's kernels had run when it was made */
} crn__cache_entry;

/* XXH3-128 of the strings, each with its NUL. */
bool crn__cache_key_make(const char *const *texts, size_t count, crn__cache_key *key);

/*
 * Opens the cache in `folder` (crn_context_options.cache_dir), making the folder, mode 0700. NULL
 * when there is to be none, or there can be none: a folder of another user, or one that everybody
 * may write to, is not trusted with code. `context` takes the debug lines and outlives the cache.
 */
crn__cache *crn__cache_open(crn_context *context, const char *folder);
void crn__cache_close(crn__cache *cache);

/* false when there is no sound entry. `cache` may be NULL. */
bool crn__cache_load(crn__cache *cache, const crn__cache_key *key, crn__cache_entry *entry);
/* Stores an entry, or replaces it. */
void crn__cache_store(crn__cache *cache, const crn__cache_key *key, const crn__cache_entry *entry);

/*
 * The same for choices: short words, which their readers check. false when there is none, or none
 * of fewer than `size` characters.
 */
bool crn__cache_load_choice(crn__cache *cache, const crn__cache_key *key, char *value, size_t size);
void crn__cache_store_choice(crn__cache *cache, const crn__cache_key *key, const char *value);

#endif
