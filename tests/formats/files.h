/* What tests of files share: a folder of their own, files with given bytes, errors in words. */
#ifndef TESTS_FORMATS_FILES_H
#define TESTS_FORMATS_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clarinet/common.h"

#define assert_ok(call)                            \
    do {                                           \
        crn_error error = {0};                     \
        if ((call) != CRN_OK)                      \
            fail_msg("%s: %s", #call, error.text); \
    } while (0)

/* The call, given &error, returns `expected` and says `part`. */
#define assert_fails(call, expected, part)                                                  \
    do {                                                                                    \
        crn_error error = {0};                                                              \
        crn_status got_ = (call);                                                           \
        if (got_ != (expected) || error.status != got_ || strstr(error.text, part) == NULL) \
            fail_msg("%s: status %d, \"%s\"; not %s, \"%s\"", #call, (int)got_, error.text, \
                     #expected, part);                                                      \
    } while (0)

typedef struct bytes {
    unsigned char *data;
    size_t size;
} bytes;

/* A new folder as the test's *state. */
static inline int make_folder(void **state)
{
    static char path[] = "/tmp/clarinet-test-XXXXXX";
    strcpy(path + strlen(path) - 6, "XXXXXX");
    *state = mkdtemp(path);
    return *state == NULL;
}

static inline void remove_tree(int parent, const char *name)
{
    if (unlinkat(parent, name, 0) == 0)
        return;
    DIR *folder = fdopendir(openat(parent, name, O_RDONLY | O_DIRECTORY));
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_tree(dirfd(folder), entry->d_name);
    closedir(folder);
    unlinkat(parent, name, AT_REMOVEDIR);
}

static inline int remove_folder(void **state)
{
    remove_tree(AT_FDCWD, *state);
    return 0;
}

/* folder/name in one of a few buffers, each good until four calls later. */
static inline const char *in_folder(const char *folder, const char *name)
{
    static char paths[4][1024];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline size_t count_files(const char *path)
{
    DIR *folder = opendir(path);
    assert_non_null(folder);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(folder);
    return count;
}

static inline void put_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline bytes get_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s is missing", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    bytes b = {.size = (size_t)ftell(file)};
    rewind(file);
    b.data = malloc(b.size + 1);
    assert_int_equal(fread(b.data, 1, b.size, file), b.size);
    fclose(file);
    return b;
}

/* In place: writing a whole file anew some thousand times is slow on a disk. */
static inline void flip_bit(const char *path, const bytes *b, size_t bit)
{
    int file = open(path, O_WRONLY);
    b->data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    assert_int_equal(pwrite(file, b->data + bit / 8, 1, (off_t)(bit / 8)), 1);
    assert_int_equal(close(file), 0);
}

#endif
