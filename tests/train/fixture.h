/* What the tests of training and of the command line begin with: a folder and data sets in it. */
#ifndef CRN_TESTS_TRAIN_FIXTURE_H
#define CRN_TESTS_TRAIN_FIXTURE_H

#define _XOPEN_SOURCE 700 /* nftw */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <png.h>

#include <clarinet.h>

#define SIDE 8
#define PIXELS (SIDE * SIDE)

static char fixture_folder[4096];

static inline int fixture_setup(void **state)
{
    (void)state;
    const char *parent = getenv("TMPDIR");
    snprintf(fixture_folder, sizeof fixture_folder, "%s/clarinet-test-XXXXXX",
             parent != NULL && *parent != '\0' ? parent : "/tmp");
    return mkdtemp(fixture_folder) == NULL;
}

static inline int fixture_remove_one(const char *path, const struct stat *info, int type,
                                     struct FTW *place)
{
    (void)info, (void)type, (void)place;
    return remove(path);
}

static inline int fixture_teardown(void **state)
{
    (void)state;
    return nftw(fixture_folder, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* "FOLDER/name" into one of a few texts that are used in turn. */
static inline const char *in_folder(const char *name)
{
    static char texts[16][4352];
    static size_t next;
    char *text = texts[next++ % 16];
    snprintf(text, sizeof texts[0], "%s/%s", fixture_folder, name);
    return text;
}

static inline void write_bytes(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* The whole of a file, ended by a zero byte; the caller's to free. */
static inline char *read_bytes(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s is missing", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *data = calloc(1, *size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

/* One byte a label, written here so that the reader is not tested against a writer of its own. */
static inline void write_labels(const char *path, const unsigned char *labels, size_t count)
{
    char file[10 + 118 + 256];
    memcpy(file, "\x93NUMPY\x01\x00\x76\x00", 10);
    int length = snprintf(file + 10, 118,
                          "{'descr': '|u1', 'fortran_order': False, 'shape': (%zu,), }", count);
    memset(file + 10 + length, ' ', (size_t)(118 - length));
    file[10 + 117] = '\n';
    memcpy(file + 10 + 118, labels, count);
    write_bytes(path, file, 10 + 118 + count);
}

/* Brightness of image i of class k out of `classes`: far apart, and never twice the same. */
static inline float fixture_pixel(size_t i, size_t k, size_t classes, size_t pixel)
{
    return (float)(30 + k * 180 / (classes - 1) + (i * 7 + pixel * 13) % 41);
}

/* A data set of `count` (at most 256) images [8,8,1] of flat brightness; the class is i % classes.
 */
static inline const char *make_dataset(const char *name, size_t count, size_t classes)
{
    const char *folder = in_folder(name);
    char path[4400];
    unsigned char labels[256];
    float *images = calloc(count * PIXELS, sizeof *images);
    assert_non_null(images);
    assert_int_equal(mkdir(folder, 0777), 0);
    for (size_t i = 0; i < count; i++) {
        labels[i] = (unsigned char)(i % classes);
        for (size_t p = 0; p < PIXELS; p++)
            images[i * PIXELS + p] = fixture_pixel(i, i % classes, classes, p);
    }
    crn_shape shape = CRN_SHAPE((int64_t)count, SIDE, SIDE, 1);
    snprintf(path, sizeof path, "%s/images.npy", folder);
    assert_int_equal(crn_npy_write(path, images, &shape, NULL), CRN_OK);
    snprintf(path, sizeof path, "%s/labels.npy", folder);
    write_labels(path, labels, count);
    free(images);
    return folder;
}

/* The picture of image i of a class, grey, 8x8. */
static inline const char *make_png(const char *name, size_t i, size_t k, size_t classes)
{
    const char *path = in_folder(name);
    unsigned char pixels[PIXELS];
    for (size_t p = 0; p < PIXELS; p++)
        pixels[p] = (unsigned char)fixture_pixel(i, k, classes, p);
    png_image png = {
        .version = PNG_IMAGE_VERSION, .width = SIDE, .height = SIDE, .format = PNG_FORMAT_GRAY};
    assert_true(png_image_write_to_file(&png, path, 0, pixels, SIDE, NULL));
    return path;
}

static inline crn_dataset *open_dataset(const char *path)
{
    crn_dataset *dataset;
    crn_error error;
    if (crn_dataset_open(path, CRN_SPLIT_TRAIN, &dataset, &error) != CRN_OK)
        fail_msg("%s", error.text);
    return dataset;
}

#endif
