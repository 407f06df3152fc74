/* The kernel cache: used when it is sound, never missed when it is not. */
#include "support.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/memory.h"
#include "device/cache_file.h"

/* ---- a folder for each test ---- */

typedef struct folder {
    char path[64];  /* the cache's */
    char file[128]; /* kernels.sqlite in it */
} folder;

static int make_folder(void **state)
{
    folder *made = crn__alloc(1, sizeof *made);
    char base[] = "/tmp/clarinet-cache-XXXXXX";
    if (made == NULL || mkdtemp(base) == NULL)
        return -1;
    snprintf(made->path, sizeof made->path, "%s", base);
    snprintf(made->file, sizeof made->file, "%s/kernels.sqlite", base);
    *state = made;
    return 0;
}

static int remove_folder(void **state)
{
    folder *made = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", made->path);
    int failed = system(command);
    free(made);
    return failed;
}

/* ---- a use: what was compiled, what was loaded, and that the result is right ---- */

typedef struct use {
    size_t compiled, loaded;
} use;

static const char source[] = "__kernel void triple(__global int *x) { *x = 3 * *x; }\n"
                             "__kernel void negate(__global int *x) { *x = -*x; }\n";

static void run(crn_context *context, const char *name, int32_t in, int32_t out)
{
    crn__kernel *kernel;
    crn__buffer *buffer;
    assert_ok(context, crn__kernel_get_source(context, "test.cl", source, name, "", &kernel));
    assert_ok(context, crn__buffer_create(context, sizeof in, &buffer));
    assert_ok(context, crn__buffer_write(buffer, 0, &in, sizeof in));
    const crn__range range = {1, {1}, {1}};
    const crn__arg arg = {CRN__ARG_BUFFER, {.buffer = buffer}};
    assert_ok(context, crn__launch(context, kernel, &range, &arg, 1));
    assert_ok(context, crn__buffer_read(buffer, 0, &in, sizeof in));
    assert_int_equal(in, out);
    crn__buffer_free(buffer);
}

/* Saves whatever the driver, PoCL's too. */
static crn_context *open_saving(const char *path)
{
    crn_context *context = open_with_cache(path);
    context->saves = true;
    return context;
}

static use use_cache(const char *path)
{
    crn_context *context = open_saving(path);
    run(context, "triple", 14, 42);
    use counted = {context->compiled, context->loaded};
    crn_context_free(context);
    return counted;
}

#define assert_compiles(path)                   \
    do {                                        \
        use counted_ = use_cache(path);         \
        assert_int_equal(counted_.compiled, 1); \
        assert_int_equal(counted_.loaded, 0);   \
    } while (0)

#define assert_loads(path)                      \
    do {                                        \
        use counted_ = use_cache(path);         \
        assert_int_equal(counted_.compiled, 0); \
        assert_int_equal(counted_.loaded, 1);   \
    } while (0)

/* ---- sound ---- */

static void the_second_context_loads_what_the_first_compiled(void **state)
{
    folder *at = *state;
    assert_compiles(at->path);
    assert_loads(at->path);
    assert_loads(at->path);
    assert_int_equal(ask(at->file, "SELECT COUNT(*) FROM kernel"), 1);
    assert_int_equal(ask(at->file, "SELECT kernels FROM kernel"), 1);
    assert_int_equal(ask(at->file, "SELECT LENGTH(key) FROM kernel"), 16);
}

static void a_binary_is_replaced_when_more_of_its_kernels_have_run(void **state)
{
    folder *at = *state;
    assert_compiles(at->path);
    crn_context *context = open_saving(at->path);
    run(context, "triple", 5, 15);
    run(context, "negate", 5, -5);
    assert_int_equal(context->loaded, 1);
    crn_context_free(context);
    assert_int_equal(ask(at->file, "SELECT kernels FROM kernel"), 2);
    assert_loads(at->path);
    assert_int_equal(ask(at->file, "SELECT kernels FROM kernel"), 2);
}

static void what_is_not_worth_saving_is_not_saved(void **state)
{
    folder *at = *state;
    crn_context *context = open_with_cache(at->path);
    assert_int_equal(context->saves, strstr(context->info.platform, "Portable Computing") == NULL);
    context->saves = false;
    run(context, "triple", 5, 15);
    crn_context_free(context);
    assert_int_equal(ask(at->file, "SELECT COUNT(*) FROM kernel"), 0);
}

static void no_folder_is_no_cache(void **state)
{
    folder *at = *state;
    assert_compiles("");
    assert_compiles("");
    assert_int_equal(access(at->file, F_OK), -1);
}

static void the_environment_says_where(void **state)
{
    folder *at = *state;
    char wanted[128];
    struct stat is;
    static const char *const names[] = {"CLARINET_CACHE_DIR", "XDG_CACHE_HOME", "HOME"};
    static const char *const ends[] = {"/a/b", "/xdg/clarinet", "/home/.cache/clarinet"};
    static const char *const values[] = {"/a/b", "/xdg", "/home"};
    char *saved[3], value[128];
    for (size_t i = 0; i < 3; i++)
        saved[i] = getenv(names[i]) != NULL ? crn__strdup(getenv(names[i])) : NULL;
    for (size_t i = 0; i < 3; i++) {
        snprintf(value, sizeof value, "%s%s", at->path, values[i]);
        snprintf(wanted, sizeof wanted, "%s%s", at->path, ends[i]);
        setenv(names[i], value, 1);
        crn__cache *cache = crn__cache_open(&(crn_context){0}, NULL);
        assert_non_null(cache);
        crn__cache_close(cache);
        assert_int_equal(stat(wanted, &is), 0);
        assert_int_equal(is.st_mode & 0777, 0700);
        if (i == 1)
            setenv(names[i], "relative", 1);
        else
            unsetenv(names[i]);
    }
    assert_null(crn__cache_open(&(crn_context){0}, NULL)); /* no HOME, a relative XDG_CACHE_HOME */
    setenv("CLARINET_CACHE_DIR", "", 1);
    setenv("HOME", at->path, 1);
    assert_null(crn__cache_open(&(crn_context){0}, NULL));
    for (size_t i = 0; i < 3; i++) {
        if (saved[i] != NULL)
            setenv(names[i], saved[i], 1);
        else
            unsetenv(names[i]);
        free(saved[i]);
    }
}

/* ---- damaged ---- */

static long size_of(const char *file)
{
    struct stat is;
    assert_int_equal(stat(file, &is), 0);
    return (long)is.st_size;
}

static void a_truncated_file_is_compiled_around_and_mended(void **state)
{
    folder *at = *state;
    assert_compiles(at->path);
    long size = size_of(at->file);
    const long sizes[] = {0, 1, 15, 100, 4096, 4097, size / 2, size - 4096};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(truncate(at->file, sizes[i]), 0);
        assert_compiles(at->path);
        assert_loads(at->path);
    }
}

static void write_bytes(const char *file, const unsigned char *bytes, size_t size)
{
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
}

/* Some bits of a database mean nothing; whatever a flip does, results hold and the file heals. */
static void a_flipped_bit_never_changes_a_result(void **state)
{
    enum { HEADER = 20, PAGE = 10, SPREAD = 40 };
    folder *at = *state;
    assert_compiles(at->path);
    size_t size = (size_t)size_of(at->file), compiled = 0;
    unsigned char *bytes = malloc(size);
    FILE *in = fopen(at->file, "r");
    assert_true(bytes != NULL && in != NULL && fread(bytes, 1, size, in) == size);
    fclose(in);
    for (size_t i = 0; i < HEADER + PAGE + SPREAD; i++) {
        size_t offset = i < HEADER          ? i * 5
                        : i < HEADER + PAGE ? 4096 + i - HEADER
                                            : size / SPREAD * (i - HEADER - PAGE);
        bytes[offset] ^= 0x10;
        write_bytes(at->file, bytes, size);
        bytes[offset] ^= 0x10;
        use first = use_cache(at->path);
        assert_int_equal(first.compiled + first.loaded, 1);
        compiled += first.compiled;
        assert_loads(at->path);
    }
    free(bytes);
    assert_true(compiled > 0); /* the file's first bytes at least mean something */
}

static void a_file_that_is_no_cache_is_replaced(void **state)
{
    folder *at = *state;
    unsigned char text[5000];
    memset(text, 'x', sizeof text);
    write_bytes(at->file, text, sizeof text);
    assert_compiles(at->path);
    assert_loads(at->path);

    unlink(at->file);
    ask(at->file, "CREATE TABLE kernel (id INTEGER, words TEXT)");
    assert_compiles(at->path);
    assert_loads(at->path);

    assert_int_equal(truncate(at->file, (off_t)300 << 20), 0); /* grown past all measure */
    assert_compiles(at->path);
    assert_true(size_of(at->file) < 100 << 20);
    assert_loads(at->path);
}

static void wrong_checksums_and_entries_are_seen(void **state)
{
    folder *at = *state;
    assert_compiles(at->path);
    static const char *const damage[] = {
        "UPDATE kernel SET checksum = checksum + 1",
        "UPDATE kernel SET checksum = 'text'",
        "UPDATE kernel SET binary = x''",
        "UPDATE kernel SET binary = NULL",
        "UPDATE kernel SET binary = substr(binary, 2)",
        "UPDATE kernel SET binary = CAST(x'00' || substr(binary, 2) AS BLOB)",
        "UPDATE kernel SET kernels = -1",
        "UPDATE kernel SET kernels = 1 << 40",
        "UPDATE kernel SET key = x'00'",
        "UPDATE OR REPLACE kernel SET key = zeroblob(16)",
        "DELETE FROM kernel",
    };
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        ask(at->file, damage[i]);
        assert_compiles(at->path);
        assert_loads(at->path);
    }
}

static void a_binary_that_the_driver_refuses_is_compiled_again(void **state)
{
    folder *at = *state;
    crn__cache_key key;
    unsigned char nonsense[100];
    memset(nonsense, 0xA5, sizeof nonsense);
    const crn__cache_entry entry = {nonsense, sizeof nonsense, 1};
    crn_context *context = open_saving(at->path);
    run(context, "triple", 1, 3);
    key = context->programs[0]->key;
    crn_context_free(context);
    crn__cache *cache = crn__cache_open(&(crn_context){0}, at->path);
    crn__cache_store(cache, &key, &entry);
    crn__cache_close(cache);
    assert_compiles(at->path);
    assert_loads(at->path);
}

/* ---- what cannot be used ---- */

static void a_folder_that_cannot_be_is_no_error(void **state)
{
    folder *at = *state;
    char path[160];
    snprintf(path, sizeof path, "%s/file", at->path);
    write_bytes(path, (const unsigned char *)"file", 4);
    assert_compiles(path);
    snprintf(path, sizeof path, "%s/file/below", at->path);
    assert_compiles(path);
    assert_compiles("/proc/clarinet");
    assert_int_equal(mkdir(at->file, 0700), 0); /* a folder where the file should be */
    assert_compiles(at->path);
    assert_compiles(at->path);
}

static void a_folder_that_everybody_writes_to_is_not_trusted(void **state)
{
    folder *at = *state;
    assert_compiles(at->path);
    assert_int_equal(chmod(at->path, 0777), 0);
    assert_compiles(at->path);
    assert_int_equal(chmod(at->path, 0755), 0);
    assert_loads(at->path);
}

static crn__cache_key key_of(unsigned number)
{
    char text[32];
    const char *const texts[] = {text};
    crn__cache_key key;
    snprintf(text, sizeof text, "%u", number);
    assert_true(crn__cache_key_make(texts, 1, &key));
    return key;
}

static void store(crn__cache *cache, unsigned number)
{
    unsigned char binary[3000];
    memset(binary, (int)(number & 0xFF), sizeof binary);
    crn__cache_key key = key_of(number);
    crn__cache_store(cache, &key, &(crn__cache_entry){binary, sizeof binary, number});
}

static bool holds(crn__cache *cache, unsigned number)
{
    crn__cache_key key = key_of(number);
    crn__cache_entry entry;
    if (!crn__cache_load(cache, &key, &entry))
        return false;
    bool right = entry.size == 3000 && entry.kernels == number;
    for (size_t i = 0; right && i < entry.size; i++)
        right = entry.binary[i] == (number & 0xFF);
    free(entry.binary);
    return right;
}

static void a_read_only_cache_is_read(void **state)
{
    folder *at = *state;
    crn__cache *cache = crn__cache_open(&(crn_context){0}, at->path);
    store(cache, 1);
    crn__cache_close(cache);
    const uid_t nobody = 65534;
    bool root = geteuid() == 0; /* whom no mode stops */
    if (root) {
        assert_int_equal(chown(at->path, nobody, (gid_t)-1), 0);
        assert_int_equal(chown(at->file, nobody, (gid_t)-1), 0);
        assert_int_equal(seteuid(nobody), 0);
    }
    assert_int_equal(chmod(at->file, 0400), 0);
    assert_int_equal(chmod(at->path, 0500), 0);
    cache = crn__cache_open(&(crn_context){0}, at->path);
    bool held = holds(cache, 1);
    store(cache, 2);
    bool stored = holds(cache, 2);
    crn__cache_close(cache);
    chmod(at->path, 0700);
    unlink(at->file);
    chmod(at->path, 0500);
    crn__cache *none = crn__cache_open(&(crn_context){0}, at->path);
    chmod(at->path, 0700);
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_true(held);
    assert_false(stored);
    assert_null(none);
    assert_false(holds(NULL, 1));
    store(NULL, 1);
}

static void another_users_folder_is_not_trusted(void **state)
{
    folder *at = *state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(at->path, 65534, (gid_t)-1), 0);
    assert_null(crn__cache_open(&(crn_context){0}, at->path));
}

static void a_lock_that_is_held_is_given_up(void **state)
{
    folder *at = *state;
    assert_compiles(at->path);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(at->file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    assert_compiles(at->path);
    sqlite3_close(db);
    assert_loads(at->path);
}

/* ---- many processes ---- */

enum { WRITERS = 8, ENTRIES = 25 };

static int write_entries(const char *path, unsigned writer)
{
    crn__cache *cache = crn__cache_open(&(crn_context){0}, path);
    if (cache == NULL)
        return 1;
    for (unsigned i = 0; i < ENTRIES; i++) {
        store(cache, writer * ENTRIES + i);
        store(cache, 1000 + i); /* one that all of them write */
        if (!holds(cache, writer * ENTRIES + i) || !holds(cache, 1000 + i))
            return 2;
    }
    crn__cache_close(cache);
    return 0;
}

static void eight_writers_at_once_lose_nothing(void **state)
{
    folder *at = *state;
    pid_t writers[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = fork();
        assert_true(writers[i] >= 0);
        if (writers[i] == 0)
            _exit(write_entries(at->path, i));
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        int status;
        assert_int_equal(waitpid(writers[i], &status, 0), writers[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_int_equal(ask(at->file, "SELECT COUNT(*) FROM kernel"), WRITERS * ENTRIES + ENTRIES);
}

static void keys_differ_where_texts_do(void **state)
{
    (void)state;
    static const char *const texts[][2] = {{"ab", "c"}, {"a", "bc"}, {"abc", ""}, {"", "abc"}};
    crn__cache_key keys[4];
    for (size_t i = 0; i < 4; i++) {
        assert_true(crn__cache_key_make(texts[i], 2, &keys[i]));
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(&keys[i], &keys[j], sizeof keys[i]);
    }
}

#define cached_test(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cached_test(eight_writers_at_once_lose_nothing), /* forks: before any driver has threads */
        cached_test(a_read_only_cache_is_read),
        cached_test(another_users_folder_is_not_trusted),
        cached_test(the_environment_says_where),
        cmocka_unit_test(keys_differ_where_texts_do),
        cached_test(the_second_context_loads_what_the_first_compiled),
        cached_test(a_binary_is_replaced_when_more_of_its_kernels_have_run),
        cached_test(what_is_not_worth_saving_is_not_saved),
        cached_test(no_folder_is_no_cache),
        cached_test(a_truncated_file_is_compiled_around_and_mended),
        cached_test(a_flipped_bit_never_changes_a_result),
        cached_test(a_file_that_is_no_cache_is_replaced),
        cached_test(wrong_checksums_and_entries_are_seen),
        cached_test(a_binary_that_the_driver_refuses_is_compiled_again),
        cached_test(a_folder_that_cannot_be_is_no_error),
        cached_test(a_folder_that_everybody_writes_to_is_not_trusted),
        cached_test(a_lock_that_is_held_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
