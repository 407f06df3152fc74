#include "../formats/files.h"

#include <errno.h>

#include "clarinet/data.h"

#define PICTURES CRN_TEST_DATA "/data/data/"
#define FASHION_MNIST "/usr/share/datasets/fashion-mnist"

static const crn_preprocessing raw3 = {
    .size = sizeof raw3, .image_size = 3, .channels = 1, .scale = {1, 1, 1}};

/* ---- files to be read ---- */

static void make_dir(const char *folder, const char *name)
{
    if (mkdir(in_folder(folder, name), 0777) != 0)
        assert_int_equal(errno, EEXIST);
}

/* folder/to becomes a copy of one of the test's pictures. */
static void copy_picture(const char *folder, const char *from, const char *to)
{
    bytes b = get_file(in_folder(PICTURES, from));
    put_file(in_folder(folder, to), b.data, b.size);
    free(b.data);
}

/* `count` images of 3x3: image i, pixel p is 10i+p; and labels. */
static void put_idx(const char *folder, const char *split, int count, const unsigned char *labels)
{
    unsigned char file[512] = {0, 0, 8, 3, 0, 0, 0, (unsigned char)count, 0, 0, 0, 3, 0, 0, 0, 3};
    char name[64];
    for (int i = 0; i < 9 * count; i++)
        file[16 + i] = (unsigned char)(i / 9 * 10 + i % 9);
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", split);
    put_file(in_folder(folder, name), file, 16 + 9 * (size_t)count);
    unsigned char few[64] = {0, 0, 8, 1, 0, 0, 0, (unsigned char)count};
    memcpy(few + 8, labels, (size_t)count);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", split);
    put_file(in_folder(folder, name), few, 8 + (size_t)count);
}

static void put_npy(const char *folder, const char *name, const char *descr, const char *shape,
                    const void *data, size_t size)
{
    char file[2048] = "\x93NUMPY\x01";
    int length = snprintf(file + 10, 200, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
                          descr, shape);
    file[8] = (char)length;
    assert_true(size <= sizeof file - 200);
    memcpy(file + 10 + length, data, size);
    put_file(in_folder(folder, name), file, 10 + (size_t)length + size);
}

/* ---- what is read ---- */

static crn_dataset *open_split(const char *folder, crn_split split)
{
    crn_dataset *dataset = NULL;
    assert_ok(crn_dataset_open(folder, split, &dataset, &error));
    return dataset;
}

static void assert_item(const crn_dataset *dataset, size_t index, const char *end, int32_t label)
{
    char text[1024];
    assert_int_equal(crn_dataset_item_name(dataset, index, text, sizeof text), CRN_OK);
    size_t length = strlen(text), n = strlen(end);
    if (length < n || strcmp(text + length - n, end) != 0)
        fail_msg("image %zu is \"%s\", not \"…%s\"", index, text, end);
    float *pixels = malloc(sizeof(float) * 9);
    int32_t got = -1;
    assert_ok(crn_dataset_read(dataset, &index, 1, &raw3, 0, pixels, &got, &error));
    free(pixels);
    assert_int_equal(got, label);
}

static void reads_idx(void **state)
{
    put_idx(*state, "train", 3, (const unsigned char[]){1, 0, 1});
    put_idx(*state, "t10k", 2, (const unsigned char[]){4, 2});
    crn_dataset *train = open_split(*state, CRN_SPLIT_TRAIN);
    crn_dataset *test = open_split(*state, CRN_SPLIT_TEST);
    assert_int_equal(crn_dataset_size(train), 3);
    assert_int_equal(crn_dataset_size(test), 2);
    assert_true(crn_dataset_has_split(train, CRN_SPLIT_TEST));
    assert_true(crn_dataset_has_split(test, CRN_SPLIT_TRAIN));
    assert_int_equal(crn_dataset_class_count(train), 5); /* of both splits */
    assert_int_equal(crn_dataset_class_count(test), 5);
    assert_string_equal(crn_dataset_class_name(train, 4), "4");
    assert_null(crn_dataset_class_name(train, 5));
    assert_int_equal(crn_dataset_channels(train), 1);
    int32_t height, width;
    crn_dataset_image_size(train, &height, &width);
    assert_true(height == 3 && width == 3);
    assert_item(train, 1, "train-images-idx3-ubyte[1]", 0);
    assert_item(test, 0, "t10k-images-idx3-ubyte[0]", 4);

    float images[3 * 9];
    int32_t labels[3];
    static const size_t order[] = {2, 0, 2};
    assert_ok(crn_dataset_read(train, order, 3, &raw3, 0, images, labels, &error));
    for (int i = 0; i < 27; i++)
        assert_true(images[i] == (float)(order[i / 9] * 10 + (size_t)i % 9));
    assert_true(labels[0] == 1 && labels[1] == 1 && labels[2] == 1);

    static const size_t outside[] = {0, 3};
    assert_fails(crn_dataset_read(train, outside, 2, &raw3, 0, images, labels, &error), CRN_INVALID,
                 "image 3 of a data set of 3");
    char text[8];
    assert_int_equal(crn_dataset_item_name(train, 3, text, sizeof text), CRN_INVALID);
    crn_dataset_free(train);
    crn_dataset_free(test);
    crn_dataset_free(NULL);
}

static void a_single_set_is_both_splits(void **state)
{
    put_idx(*state, "t10k", 2, (const unsigned char[]){1, 0});
    for (int split = CRN_SPLIT_TRAIN; split <= CRN_SPLIT_TEST; split++) {
        crn_dataset *dataset = open_split(*state, (crn_split)split);
        assert_false(crn_dataset_has_split(dataset, CRN_SPLIT_TEST));
        assert_int_equal(crn_dataset_size(dataset), 2);
        crn_dataset_free(dataset);
    }
}

static void broken_idx_is_reported(void **state)
{
    crn_dataset *dataset = NULL;
    put_idx(*state, "train", 3, (const unsigned char[]){1, 0, 1});
    unlink(in_folder(*state, "train-labels-idx1-ubyte"));
    assert_fails(crn_dataset_open(*state, CRN_SPLIT_TRAIN, &dataset, &error), CRN_NOT_FOUND,
                 "no train-labels-idx1-ubyte");
    put_file(in_folder(*state, "train-labels-idx1-ubyte"), "\0\0\10\1\0\0\0\2\1\1", 10);
    assert_fails(crn_dataset_open(*state, CRN_SPLIT_TRAIN, &dataset, &error), CRN_FORMAT,
                 "3 images and 2 labels");
    put_idx(*state, "train", 0, (const unsigned char[]){0});
    assert_fails(crn_dataset_open(*state, CRN_SPLIT_TRAIN, &dataset, &error), CRN_FORMAT,
                 "no images");
    put_file(in_folder(*state, "train-images-idx3-ubyte"), "\0\0\10\3\0\0\0\0\0\0\0\0\0\0\0\3", 16);
    assert_fails(crn_dataset_open(*state, CRN_SPLIT_TRAIN, &dataset, &error), CRN_FORMAT,
                 "an image of 3x0 pixels");
    assert_null(dataset);
}

static void reads_fashion_mnist(void **state)
{
    (void)state;
    if (access(FASHION_MNIST, R_OK) != 0)
        skip();
    crn_dataset *train = open_split(FASHION_MNIST, CRN_SPLIT_TRAIN);
    crn_dataset *test = open_split(FASHION_MNIST, CRN_SPLIT_TEST);
    assert_int_equal(crn_dataset_size(train), 60000);
    assert_int_equal(crn_dataset_size(test), 10000);
    assert_int_equal(crn_dataset_class_count(train), 10);
    float image[28 * 28], ink = 0;
    int32_t label;
    size_t first = 0;
    crn_preprocessing how = crn_preprocessing_inception(28, 1);
    /* An ankle boot, as everywhere that shows the first of them; empty above and at the left. */
    assert_ok(crn_dataset_read(train, &first, 1, &how, 0, image, &label, &error));
    assert_int_equal(label, 9);
    for (int i = 0; i < 28 * 28; i++) {
        assert_true(image[i] >= -1 && image[i] <= 1.00001f);
        ink += image[i] + 1;
    }
    assert_true(image[0] == -1 && ink > 100);
    assert_ok(crn_dataset_read(test, &first, 1, &how, 0, image, &label, &error));
    assert_int_equal(label, 9);
    crn_dataset_free(train);
    crn_dataset_free(test);
}

/* ---- NumPy ---- */

static void reads_npy(void **state)
{
    unsigned char pixels[2 * 9 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (unsigned char)i;
    put_npy(*state, "images.npy", "|u1", "(2, 3, 3, 3)", pixels, sizeof pixels);
    put_npy(*state, "labels.npy", "<i8", "(2,)", (const int64_t[]){2, 0}, 16);
    crn_dataset *dataset = open_split(*state, CRN_SPLIT_TEST);
    assert_false(crn_dataset_has_split(dataset, CRN_SPLIT_TEST));
    assert_int_equal(crn_dataset_channels(dataset), 3);
    assert_int_equal(crn_dataset_class_count(dataset), 3);
    assert_item(dataset, 1, "images.npy[1]", 0);
    crn_preprocessing how = raw3;
    how.channels = 3;
    float image[27];
    int32_t label;
    size_t second = 1;
    assert_ok(crn_dataset_read(dataset, &second, 1, &how, 0, image, &label, &error));
    for (int i = 0; i < 27; i++)
        assert_true(image[i] == (float)(27 + i));
    crn_dataset_free(dataset);

    static const float greys[9] = {0, 0.5f, 1, 2, 3, 4, 5, 254.5f, 255};
    put_npy(*state, "test_images.npy", "<f4", "(1, 3, 3)", greys, sizeof greys);
    put_npy(*state, "test_labels.npy", "|u1", "(1,)", "\7", 1);
    dataset = open_split(*state, CRN_SPLIT_TRAIN);
    assert_true(crn_dataset_has_split(dataset, CRN_SPLIT_TEST));
    assert_int_equal(crn_dataset_size(dataset), 2);
    assert_int_equal(crn_dataset_class_count(dataset), 8);
    crn_dataset_free(dataset);
    dataset = open_split(*state, CRN_SPLIT_TEST);
    assert_int_equal(crn_dataset_size(dataset), 1);
    assert_int_equal(crn_dataset_class_count(dataset), 8);
    assert_int_equal(crn_dataset_channels(dataset), 1);
    size_t first = 0;
    assert_ok(crn_dataset_read(dataset, &first, 1, &raw3, 0, image, &label, &error));
    assert_memory_equal(image, greys, sizeof greys);
    assert_int_equal(label, 7);
    crn_dataset_free(dataset);
}

static void broken_npy_is_reported(void **state)
{
    static const unsigned char pixels[64] = {0};
    crn_dataset *dataset = NULL;
#define ASSERT_OPEN_FAILS(status, says) \
    assert_fails(crn_dataset_open(*state, CRN_SPLIT_TRAIN, &dataset, &error), status, says)
    put_npy(*state, "images.npy", "|u1", "(2, 3, 3)", pixels, 18);
    ASSERT_OPEN_FAILS(CRN_NOT_FOUND, "labels.npy: No such file");
    put_npy(*state, "labels.npy", "<i4", "(3,)", (const int32_t[]){0, 1, 2}, 12);
    ASSERT_OPEN_FAILS(CRN_FORMAT, "2 images and 3 labels");
    put_npy(*state, "labels.npy", "<i4", "(2, 1)", (const int32_t[]){0, 1}, 8);
    ASSERT_OPEN_FAILS(CRN_FORMAT, "labels.npy: labels have one dimension, not 2");
    put_npy(*state, "labels.npy", "<f4", "(2,)", (const float[]){0, 1}, 8);
    ASSERT_OPEN_FAILS(CRN_UNSUPPORTED, "labels.npy: holds floats");
    put_npy(*state, "labels.npy", "<i4", "(2,)", (const int32_t[]){0, -1}, 8);
    ASSERT_OPEN_FAILS(CRN_FORMAT, "labels.npy[1]: label -1 is not 0…65535");
    put_npy(*state, "labels.npy", "<u8", "(2,)", (const uint64_t[]){UINT64_MAX, 1}, 16);
    ASSERT_OPEN_FAILS(CRN_FORMAT, "labels.npy[0]: label 9223372036854775807");
    put_npy(*state, "labels.npy", "<i4", "(2,)", (const int32_t[]){0, 1}, 8);
    put_npy(*state, "images.npy", "|u1", "(2, 2, 2, 2)", pixels, 16);
    ASSERT_OPEN_FAILS(CRN_FORMAT, "images.npy: shape [2,2,2,2] is not");
    put_npy(*state, "images.npy", "|u1", "(2, 8)", pixels, 16);
    ASSERT_OPEN_FAILS(CRN_FORMAT, "images.npy: shape [2,8] is not");
    put_npy(*state, "images.npy", "|i1", "(2, 2, 2)", pixels, 8);
    ASSERT_OPEN_FAILS(CRN_UNSUPPORTED, "images.npy: images are uint8 or float32");
    put_npy(*state, "images.npy", "|u1", "(2, 0, 3)", pixels, 0);
    ASSERT_OPEN_FAILS(CRN_FORMAT, "images.npy: an image of 3x0 pixels");
    put_npy(*state, "images.npy", "|u1", "(0, 3, 3)", pixels, 0);
    put_npy(*state, "labels.npy", "<i4", "(0,)", pixels, 0);
    ASSERT_OPEN_FAILS(CRN_FORMAT, "no images");
    assert_null(dataset);

    static const uint32_t nan_bits = 0x7fc00000;
    float values[18] = {0}, out[9];
    memcpy(&values[13], &nan_bits, 4);
    put_npy(*state, "images.npy", "<f4", "(2, 3, 3)", values, sizeof values);
    put_npy(*state, "labels.npy", "<i4", "(2,)", (const int32_t[]){0, 1}, 8);
    dataset = open_split(*state, CRN_SPLIT_TRAIN);
    int32_t label;
    size_t index = 0;
    assert_ok(crn_dataset_read(dataset, &index, 1, &raw3, 0, out, &label, &error));
    index = 1;
    assert_fails(crn_dataset_read(dataset, &index, 1, &raw3, 0, out, &label, &error), CRN_FORMAT,
                 "images.npy[1]: an image with values outside 0…255");
    /* A file that shrinks while it is used is an error, not the end of the process. */
    assert_int_equal(truncate(in_folder(*state, "images.npy"), 100), 0);
    assert_fails(crn_dataset_read(dataset, &index, 1, &raw3, 0, out, &label, &error), CRN_FORMAT,
                 "images.npy: is cut short: no byte 108");
    crn_dataset_free(dataset);
}

/* ---- folders ---- */

static void reads_a_folder_of_classes(void **state)
{
    make_dir(*state, "wolf");
    make_dir(*state, "bear");
    make_dir(*state, ".git");
    make_dir(*state, "bear/inner");
    copy_picture(*state, "rgb8.png", "wolf/b.PNG");
    copy_picture(*state, "rgb.jpg", "wolf/a.JpEg");
    copy_picture(*state, "grey.jpg", "bear/z.jpg");
    copy_picture(*state, "grey.jpg", "bear/._z.jpg");
    copy_picture(*state, "grey.jpg", "bear/.DS_Store");
    copy_picture(*state, "grey.jpg", "bear/inner/no.jpg");
    put_file(in_folder(*state, "bear/notes.txt"), "no picture", 10);
    put_file(in_folder(*state, "bear/png"), "no picture", 10);
    put_file(in_folder(*state, "README.md"), "no class", 8);
    /* Links lead to files, never to folders. */
    assert_int_equal(symlink("../wolf/b.PNG", in_folder(*state, "bear/link.png")), 0);
    assert_int_equal(symlink("nowhere", in_folder(*state, "bear/broken.png")), 0);
    assert_int_equal(symlink(".", in_folder(*state, "again")), 0);
    assert_int_equal(symlink("..", in_folder(*state, "bear/up.png")), 0);

    crn_dataset *dataset = open_split(*state, CRN_SPLIT_TRAIN);
    assert_int_equal(crn_dataset_class_count(dataset), 2);
    assert_string_equal(crn_dataset_class_name(dataset, 0), "bear");
    assert_string_equal(crn_dataset_class_name(dataset, 1), "wolf");
    assert_int_equal(crn_dataset_size(dataset), 4);
    assert_item(dataset, 0, "/bear/link.png", 0);
    assert_item(dataset, 1, "/bear/z.jpg", 0);
    assert_item(dataset, 2, "/wolf/a.JpEg", 1);
    assert_item(dataset, 3, "/wolf/b.PNG", 1);
    assert_int_equal(crn_dataset_channels(dataset), 3);
    assert_false(crn_dataset_has_split(dataset, CRN_SPLIT_TEST));
    int32_t height = -1, width = -1, label;
    crn_dataset_image_size(dataset, &height, &width);
    assert_true(height == 0 && width == 0);

    float out[9];
    size_t index = 1;
    put_file(in_folder(*state, "bear/z.jpg"), "\xff\xd8\xff broken", 10);
    assert_fails(crn_dataset_read(dataset, &index, 1, &raw3, 0, out, &label, &error), CRN_FORMAT,
                 "/bear/z.jpg: broken JPEG");
    unlink(in_folder(*state, "bear/z.jpg"));
    assert_fails(crn_dataset_read(dataset, &index, 1, &raw3, 0, out, &label, &error), CRN_NOT_FOUND,
                 "/bear/z.jpg: No such file");
    crn_dataset_free(dataset);
}

static void reads_train_and_test_folders(void **state)
{
    static const char *const folders[] = {"train", "val", "train/a", "train/b", "train/c", "val/c"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        make_dir(*state, folders[i]);
    copy_picture(*state, "grey.jpg", "train/a/1.jpg");
    copy_picture(*state, "grey.jpg", "train/b/1.jpg");
    copy_picture(*state, "grey.jpg", "train/c/1.jpg");
    copy_picture(*state, "rgb.jpg", "val/c/2.jpg");
    crn_dataset *test = open_split(*state, CRN_SPLIT_TEST);
    assert_true(crn_dataset_has_split(test, CRN_SPLIT_TEST));
    assert_int_equal(crn_dataset_size(test), 1);
    assert_int_equal(crn_dataset_class_count(test), 3); /* training's, so that labels agree */
    assert_item(test, 0, "/val/c/2.jpg", 2);
    crn_dataset_free(test);
    crn_dataset *train = open_split(*state, CRN_SPLIT_TRAIN);
    assert_int_equal(crn_dataset_size(train), 3);
    assert_item(train, 2, "/train/c/1.jpg", 2);
    crn_dataset_free(train);

    crn_dataset *dataset = NULL;
    make_dir(*state, "val/d");
    copy_picture(*state, "rgb.jpg", "val/d/2.jpg");
    assert_fails(crn_dataset_open(*state, CRN_SPLIT_TEST, &dataset, &error), CRN_FORMAT,
                 "/val/d: training has no class of that name");
    /* "test" comes before "val". */
    make_dir(*state, "test");
    make_dir(*state, "test/a");
    copy_picture(*state, "rgb.jpg", "test/a/3.jpg");
    test = open_split(*state, CRN_SPLIT_TEST);
    assert_item(test, 0, "/test/a/3.jpg", 0);
    crn_dataset_free(test);
}

/* Folders named train and test that hold pictures are classes like any other. */
static void a_class_may_be_called_train(void **state)
{
    make_dir(*state, "train");
    make_dir(*state, "test");
    copy_picture(*state, "grey.jpg", "train/1.jpg");
    copy_picture(*state, "grey.jpg", "test/1.jpg");
    crn_dataset *dataset = open_split(*state, CRN_SPLIT_TRAIN);
    assert_int_equal(crn_dataset_class_count(dataset), 2);
    assert_item(dataset, 1, "/train/1.jpg", 1);
    assert_false(crn_dataset_has_split(dataset, CRN_SPLIT_TEST));
    crn_dataset_free(dataset);
}

static void folders_without_images_are_reported(void **state)
{
    crn_dataset *dataset = NULL;
    ASSERT_OPEN_FAILS(CRN_FORMAT, "no data set: neither {train,t10k}-");
    put_file(in_folder(*state, "picture.png"), "x", 1);
    ASSERT_OPEN_FAILS(CRN_FORMAT, "images.npy and labels.npy, nor train.csv");
    make_dir(*state, "cat");
    make_dir(*state, "dog");
    copy_picture(*state, "grey.jpg", "cat/1.jpg");
    put_file(in_folder(*state, "dog/1.gif"), "x", 1);
    ASSERT_OPEN_FAILS(CRN_FORMAT, "/dog: a class without images");
    copy_picture(*state, "grey.jpg", "dog/1.jpg");
    make_dir(*state, "\xff");
    ASSERT_OPEN_FAILS(CRN_FORMAT, "the name of a class is not UTF-8");
    assert_fails(crn_dataset_open(in_folder(*state, "none"), CRN_SPLIT_TRAIN, &dataset, &error),
                 CRN_NOT_FOUND, "none: No such file");
    assert_fails(
        crn_dataset_open(in_folder(*state, "picture.png"), CRN_SPLIT_TRAIN, &dataset, &error),
        CRN_INVALID, "picture.png: a data set is a folder");
    assert_fails(crn_dataset_open(NULL, CRN_SPLIT_TRAIN, &dataset, &error), CRN_INVALID, "path");
    assert_fails(crn_dataset_open(*state, (crn_split)2, &dataset, &error), CRN_INVALID, "split");
    assert_null(dataset);
}

/* ---- order ---- */

static void shuffling_is_a_permutation_of_seed_and_epoch(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    size_t order[COUNT], again[COUNT], other[COUNT];
    crn_shuffle(1, 0, order, COUNT);
    bool seen[COUNT] = {false};
    size_t fixed = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(order[i] < COUNT && !seen[order[i]]);
        seen[order[i]] = true;
        fixed += order[i] == i;
    }
    assert_true(fixed < 10); /* 1 is expected */
    crn_shuffle(1, 0, again, COUNT);
    assert_memory_equal(order, again, sizeof order);
    crn_shuffle(1, 1, other, COUNT);
    assert_memory_not_equal(order, other, sizeof order);
    crn_shuffle(2, 0, other, COUNT);
    assert_memory_not_equal(order, other, sizeof order);
    crn_shuffle(1, 0, order, 0);
    crn_shuffle(1, 0, order, 1);
    assert_int_equal(order[0], 0);
}

/* All 24 orders of four are as likely, within 5 standard deviations. */
static void shuffling_is_fair(void **state)
{
    (void)state;
    enum { DRAWS = 24000 };
    int seen[256] = {0};
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        size_t order[4];
        crn_shuffle(seed, 3, order, 4);
        seen[order[0] * 64 + order[1] * 16 + order[2] * 4 + order[3]]++;
    }
    int orders = 0;
    for (int i = 0; i < 256; i++) {
        orders += seen[i] > 0;
        assert_true(seen[i] == 0 || abs(seen[i] - DRAWS / 24) < 5 * 31);
    }
    assert_int_equal(orders, 24);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_idx),
        TEST(a_single_set_is_both_splits),
        TEST(broken_idx_is_reported),
        cmocka_unit_test(reads_fashion_mnist),
        TEST(reads_npy),
        TEST(broken_npy_is_reported),
        TEST(reads_a_folder_of_classes),
        TEST(reads_train_and_test_folders),
        TEST(a_class_may_be_called_train),
        TEST(folders_without_images_are_reported),
        cmocka_unit_test(shuffling_is_a_permutation_of_seed_and_epoch),
        cmocka_unit_test(shuffling_is_fair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
