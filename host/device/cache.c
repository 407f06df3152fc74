#include "device/cache.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/memory.h"
#include "device/device.h"

enum { BUSY_MS = 3000 };
#define MAX_FILE ((off_t)256 << 20)

struct crn__cache {
    crn_context *context;
    char *path;
    sqlite3 *db; /* NULL: given up */
    sqlite3_stmt *select, *insert, *select_choice, *insert_choice;
    bool replaced; /* once is enough */
};

bool crn__cache_key_make(const char *const *texts, size_t count, crn__cache_key *key)
{
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL)
        return false;
    bool ok = XXH3_128bits_reset(state) == XXH_OK;
    for (size_t i = 0; ok && i < count; i++)
        ok = XXH3_128bits_update(state, texts[i], strlen(texts[i]) + 1) == XXH_OK;
    if (ok) {
        XXH128_canonical_t canonical;
        XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
        memcpy(key->bytes, canonical.digest, sizeof key->bytes);
    }
    XXH3_freeState(state);
    return ok;
}

/* Seeded with the key, so that an entry under another's key is found out as well. */
static sqlite3_int64 checksum(const crn__cache_key *key, const void *binary, size_t size)
{
    uint64_t seed;
    memcpy(&seed, key->bytes, sizeof seed);
    return (sqlite3_int64)XXH3_64bits_withSeed(binary, size, seed);
}

/* ---- the folder ---- */

/* *out: the folder's path, ended by free(), or NULL for none. */
static char *choose_folder(const char *folder)
{
    if (folder == NULL)
        folder = getenv("CLARINET_CACHE_DIR");
    if (folder != NULL)
        return *folder != '\0' ? crn__strdup(folder) : NULL;
    const char *cache = getenv("XDG_CACHE_HOME");
    if (cache != NULL && *cache == '/') /* the specification says: ignore a relative one */
        return crn__format("%s/clarinet", cache);
    const char *home = getenv("HOME");
    if (home != NULL && *home == '/')
        return crn__format("%s/.cache/clarinet", home);
    return NULL;
}

/* Makes the folder and those above it. */
static bool make_folder(char *path)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        int failed = mkdir(path, 0700);
        *slash = '/';
        if (failed && errno != EEXIST)
            return false;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static bool is_trusted(const char *path)
{
    struct stat is;
    return stat(path, &is) == 0 && S_ISDIR(is.st_mode) && is.st_uid == geteuid() &&
           (is.st_mode & S_IWOTH) == 0;
}

/* ---- the file ---- */

static void close_file(crn__cache *cache)
{
    sqlite3_finalize(cache->select);
    sqlite3_finalize(cache->insert);
    sqlite3_finalize(cache->select_choice);
    sqlite3_finalize(cache->insert_choice);
    sqlite3_close(cache->db);
    cache->select = cache->insert = cache->select_choice = cache->insert_choice = NULL;
    cache->db = NULL;
}

static bool prepare(crn__cache *cache, const char *sql, sqlite3_stmt **out)
{
    return sqlite3_prepare_v3(cache->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) ==
           SQLITE_OK;
}

/* What is lost when the machine stops is found by the checksums, so nothing need be synced. */
static bool open_file(crn__cache *cache)
{
    struct stat is;
    if (stat(cache->path, &is) == 0 && S_ISREG(is.st_mode) && is.st_size > MAX_FILE)
        unlink(cache->path);
    return sqlite3_open_v2(cache->path, &cache->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                           NULL) == SQLITE_OK &&
           sqlite3_extended_result_codes(cache->db, 0) == SQLITE_OK &&
           sqlite3_busy_timeout(cache->db, BUSY_MS) == SQLITE_OK &&
           sqlite3_exec(cache->db,
                        "PRAGMA trusted_schema=OFF; PRAGMA synchronous=OFF;"
                        "CREATE TABLE IF NOT EXISTS kernel (key BLOB PRIMARY KEY, kernels INTEGER,"
                        " checksum INTEGER, binary BLOB);"
                        "CREATE TABLE IF NOT EXISTS choice (key BLOB PRIMARY KEY, value TEXT)",
                        NULL, NULL, NULL) == SQLITE_OK &&
           prepare(cache, "SELECT kernels, checksum, binary FROM kernel WHERE key = ?1",
                   &cache->select) &&
           prepare(cache, "INSERT OR REPLACE INTO kernel VALUES (?1, ?2, ?3, ?4)",
                   &cache->insert) &&
           prepare(cache, "SELECT value FROM choice WHERE key = ?1", &cache->select_choice) &&
           prepare(cache, "INSERT OR REPLACE INTO choice VALUES (?1, ?2)", &cache->insert_choice);
}

/*
 * To be called after a failure: logs it; a file that SQLite cannot read, or whose tables are not
 * ours, gives way to a new one. true when there is one to try again with. A lock that was waited
 * for in vain ends the use of the cache, so that the wait is not repeated for every program.
 */
static bool recover(crn__cache *cache, const char *doing)
{
    int code = sqlite3_errcode(cache->db);
    crn__log(cache->context, CRN_LOG_DEBUG, "kernel cache %s: %s: %s", cache->path, doing,
             sqlite3_errmsg(cache->db));
    if (code == SQLITE_BUSY)
        close_file(cache);
    if (code != SQLITE_NOTADB && code != SQLITE_CORRUPT && code != SQLITE_ERROR)
        return false;
    close_file(cache);
    if (cache->replaced)
        return false;
    cache->replaced = true;
    char *journal = crn__format("%s-journal", cache->path);
    if (journal != NULL)
        unlink(journal);
    free(journal);
    if (unlink(cache->path) == 0 && open_file(cache))
        return true;
    crn__log(cache->context, CRN_LOG_DEBUG, "kernel cache %s: cannot be replaced", cache->path);
    close_file(cache);
    return false;
}

crn__cache *crn__cache_open(crn_context *context, const char *folder)
{
    char *path = choose_folder(folder);
    if (path == NULL)
        return NULL;
    crn__cache *cache = NULL;
    if (!make_folder(path) || !is_trusted(path))
        crn__log(context, CRN_LOG_DEBUG,
                 "kernel cache %s: cannot be made, or is not a folder of ours alone", path);
    else if ((cache = crn__alloc(1, sizeof *cache)) != NULL) {
        cache->context = context;
        cache->path = crn__format("%s/kernels.sqlite", path);
        if (cache->path == NULL || (!open_file(cache) && !recover(cache, "opening"))) {
            crn__cache_close(cache);
            cache = NULL;
        }
    }
    free(path);
    return cache;
}

void crn__cache_close(crn__cache *cache)
{
    if (cache == NULL)
        return;
    close_file(cache);
    free(cache->path);
    free(cache);
}

/* ---- entries ---- */

static bool select_entry(crn__cache *cache, const crn__cache_key *key, crn__cache_entry *entry)
{
    sqlite3_stmt *select = cache->select;
    bool found = false;
    sqlite3_bind_blob(select, 1, key->bytes, sizeof key->bytes, SQLITE_STATIC);
    if (sqlite3_step(select) == SQLITE_ROW) {
        const void *binary = sqlite3_column_blob(select, 2);
        int size = sqlite3_column_bytes(select, 2);
        int64_t kernels = sqlite3_column_int64(select, 0);
        if (binary == NULL || size <= 0 || kernels < 0 || kernels > UINT32_MAX ||
            sqlite3_column_int64(select, 1) != checksum(key, binary, (size_t)size)) {
            crn__log(cache->context, CRN_LOG_DEBUG, "kernel cache %s: an entry is damaged",
                     cache->path);
        } else if ((entry->binary = crn__alloc((size_t)size, 1)) != NULL) {
            memcpy(entry->binary, binary, (size_t)size);
            entry->size = (size_t)size;
            entry->kernels = (uint32_t)kernels;
            found = true;
        }
    }
    return found;
}

bool crn__cache_load(crn__cache *cache, const crn__cache_key *key, crn__cache_entry *entry)
{
    if (cache == NULL || cache->db == NULL)
        return false;
    bool found = select_entry(cache, key, entry);
    if (sqlite3_reset(cache->select) != SQLITE_OK)
        recover(cache, "reading");
    return found;
}

static bool insert_entry(crn__cache *cache, const crn__cache_key *key,
                         const crn__cache_entry *entry)
{
    sqlite3_stmt *insert = cache->insert;
    sqlite3_bind_blob(insert, 1, key->bytes, sizeof key->bytes, SQLITE_STATIC);
    sqlite3_bind_int64(insert, 2, entry->kernels);
    sqlite3_bind_int64(insert, 3, checksum(key, entry->binary, entry->size));
    bool ok =
        sqlite3_bind_blob64(insert, 4, entry->binary, entry->size, SQLITE_STATIC) == SQLITE_OK &&
        sqlite3_step(insert) == SQLITE_DONE;
    ok = sqlite3_reset(insert) == SQLITE_OK && ok;
    sqlite3_clear_bindings(insert);
    return ok;
}

void crn__cache_store(crn__cache *cache, const crn__cache_key *key, const crn__cache_entry *entry)
{
    if (cache == NULL || cache->db == NULL || insert_entry(cache, key, entry))
        return;
    if (recover(cache, "writing") && !insert_entry(cache, key, entry))
        crn__log(cache->context, CRN_LOG_DEBUG, "kernel cache %s: writing: %s", cache->path,
                 sqlite3_errmsg(cache->db));
}

/* ---- choices ---- */

bool crn__cache_load_choice(crn__cache *cache, const crn__cache_key *key, char *value, size_t size)
{
    if (cache == NULL || cache->db == NULL)
        return false;
    sqlite3_stmt *select = cache->select_choice;
    bool found = false;
    sqlite3_bind_blob(select, 1, key->bytes, sizeof key->bytes, SQLITE_STATIC);
    if (sqlite3_step(select) == SQLITE_ROW) {
        const unsigned char *text = sqlite3_column_text(select, 0);
        size_t length = (size_t)sqlite3_column_bytes(select, 0);
        if (text != NULL && length < size) {
            memcpy(value, text, length);
            value[length] = '\0';
            found = true;
        }
    }
    if (sqlite3_reset(select) != SQLITE_OK)
        recover(cache, "reading");
    return found;
}

static bool insert_choice(crn__cache *cache, const crn__cache_key *key, const char *value)
{
    sqlite3_stmt *insert = cache->insert_choice;
    sqlite3_bind_blob(insert, 1, key->bytes, sizeof key->bytes, SQLITE_STATIC);
    bool ok = sqlite3_bind_text(insert, 2, value, -1, SQLITE_TRANSIENT) == SQLITE_OK &&
              sqlite3_step(insert) == SQLITE_DONE;
    return sqlite3_reset(insert) == SQLITE_OK && ok;
}

void crn__cache_store_choice(crn__cache *cache, const crn__cache_key *key, const char *value)
{
    if (cache == NULL || cache->db == NULL || insert_choice(cache, key, value))
        return;
    if (recover(cache, "writing") && !insert_choice(cache, key, value))
        crn__log(cache->context, CRN_LOG_DEBUG, "kernel cache %s: writing: %s", cache->path,
                 sqlite3_errmsg(cache->db));
}
