/* Data sets in files: CSV, and TFRecords that TensorFlow wrote (make_tfrecords.py). */
#include "../formats/files.h"

#include <math.h>

#include "clarinet/data.h"
#include "formats/crc32c.h"
#include "formats/protobuf.h"

#define PICTURES CRN_TEST_DATA "/data/data/"
#define SHARDS PICTURES "shards"

static const crn_preprocessing small = {
    .size = sizeof small, .image_size = 8, .channels = 3, .scale = {1, 1, 1}};
enum { NUMBERS = 8 * 8 * 3 };

static crn_dataset *open_split(const char *path, crn_split split)
{
    crn_dataset *dataset = NULL;
    assert_ok(crn_dataset_open(path, split, &dataset, &error));
    return dataset;
}

/* The image is the one in the file `picture`, and has this label and name. */
static void assert_item(const crn_dataset *dataset, size_t index, const char *picture,
                        int32_t label, const char *name_end)
{
    float got[NUMBERS], expected[NUMBERS];
    int32_t got_label = -1;
    char name[1024];
    assert_ok(crn_dataset_read(dataset, &index, 1, &small, 0, got, &got_label, &error));
    assert_ok(crn_image_read(in_folder(PICTURES, picture), &small, expected, &error));
    assert_memory_equal(got, expected, sizeof got);
    assert_int_equal(got_label, label);
    assert_int_equal(crn_dataset_item_name(dataset, index, name, sizeof name), CRN_OK);
    size_t n = strlen(name), end = strlen(name_end);
    if (n < end || strcmp(name + n - end, name_end) != 0)
        fail_msg("\"%s\" is not \"...%s\"", name, name_end);
}

/* ---- CSV ---- */

static void put_text(const char *path, const char *text)
{
    put_file(path, text, strlen(text));
}

static void copy_picture(const char *from, const char *to)
{
    bytes b = get_file(in_folder(PICTURES, from));
    put_file(to, b.data, b.size);
    free(b.data);
}

static void reads_csv_with_names(void **state)
{
    char text[2048];
    copy_picture("rgb.jpg", in_folder(*state, "a, \"b\".jpg"));
    copy_picture("grey.jpg", in_folder(*state, "g.jpg"));
    snprintf(
        text, sizeof text,
        "\xef\xbb\xbf\"id\",Label,PATH\r\n\r\n1,wolf,\"a, \"\"b\"\".jpg\"\r\n2,\"b\near\",g.jpg\n"
        "3,wolf,%slossless.webp\n4,\"wolf\",../%s/g.jpg",
        PICTURES, strrchr(*state, '/') + 1);
    put_text(in_folder(*state, "list.csv"), text);
    crn_dataset *dataset = open_split(in_folder(*state, "list.csv"), CRN_SPLIT_TRAIN);
    assert_int_equal(crn_dataset_size(dataset), 4);
    assert_int_equal(crn_dataset_class_count(dataset), 2);
    assert_string_equal(crn_dataset_class_name(dataset, 0), "b\near");
    assert_string_equal(crn_dataset_class_name(dataset, 1), "wolf");
    assert_item(dataset, 0, "rgb.jpg", 1, "/a, \"b\".jpg");
    assert_item(dataset, 1, "grey.jpg", 0, "/g.jpg");
    assert_item(dataset, 2, "lossless.webp", 1, PICTURES "lossless.webp");
    assert_item(dataset, 3, "grey.jpg", 1, "/g.jpg");
    assert_false(crn_dataset_has_split(dataset, CRN_SPLIT_TEST));
    assert_int_equal(crn_dataset_channels(dataset), 3);
    crn_dataset_free(dataset);
}

static void reads_csv_with_numbers_in_two_files(void **state)
{
    copy_picture("grey.jpg", in_folder(*state, "g.jpg"));
    put_text(in_folder(*state, "train.csv"), "g.jpg,2\ng.jpg,0\n");
    crn_dataset *dataset = open_split(*state, CRN_SPLIT_TEST);
    assert_false(crn_dataset_has_split(dataset, CRN_SPLIT_TEST));
    assert_int_equal(crn_dataset_size(dataset), 2);
    crn_dataset_free(dataset);

    put_text(in_folder(*state, "val.csv"), "file,class\ng.jpg,4\n");
    dataset = open_split(*state, CRN_SPLIT_TEST);
    assert_true(crn_dataset_has_split(dataset, CRN_SPLIT_TEST));
    assert_int_equal(crn_dataset_class_count(dataset), 5);
    assert_item(dataset, 0, "grey.jpg", 4, "/g.jpg");
    crn_dataset_free(dataset);
    dataset = open_split(*state, CRN_SPLIT_TRAIN);
    assert_item(dataset, 0, "grey.jpg", 2, "/g.jpg");
    crn_dataset_free(dataset);

    /* Names are training's. */
    put_text(in_folder(*state, "train.csv"), "g.jpg,b\ng.jpg,a\n");
    put_text(in_folder(*state, "val.csv"), "g.jpg,b\n");
    dataset = open_split(*state, CRN_SPLIT_TEST);
    assert_item(dataset, 0, "grey.jpg", 1, "/g.jpg");
    assert_int_equal(crn_dataset_class_count(dataset), 2);
    crn_dataset_free(dataset);
    put_text(in_folder(*state, "val.csv"), "g.jpg,c\n");
    dataset = NULL;
    assert_fails(crn_dataset_open(*state, CRN_SPLIT_TEST, &dataset, &error), CRN_FORMAT,
                 "val.csv: \"c\": training has no class of that name");
    assert_null(dataset);
}

static void bad_csv_is_told_by_line(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "list.csv: no images"},
        {"path,label\n", "list.csv: no images"},
        {"a.jpg\n", "line 1: 1 fields, not 2"},
        {"a.jpg,1\n\n\nb.jpg,1,2\n", "line 4: 3 fields, not 2"},
        {"a.jpg,1\n\"b.jpg,1\n", "line 2: a quote is not closed"},
        {"a.jpg,\"", "line 1: a quote is not closed"},
        {"a.jpg,\"x\"y\n", "line 1: text after a closing quote"},
        {"path,label\n,1\n", "line 2: an empty path"},
        {"a.jpg,\n", "line 1: an empty label"},
        {"a.jpg,\xff\n", "line 1: the label is not UTF-8"},
        {"a.jpg,65536\n", "list.csv[0]: label 65536 is not 0"},
    };
    const char *csv = in_folder(*state, "list.csv");
    crn_dataset *dataset = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_text(csv, cases[i].text);
        assert_fails(crn_dataset_open(csv, CRN_SPLIT_TRAIN, &dataset, &error), CRN_FORMAT,
                     cases[i].says);
    }
    put_file(csv, "a.jpg,1\0", 8);
    assert_fails(crn_dataset_open(csv, CRN_SPLIT_TRAIN, &dataset, &error), CRN_FORMAT,
                 "no text: byte 7 is 0");
    char many[300] = {0};
    memset(many, ',', 100);
    put_text(csv, many);
    assert_fails(crn_dataset_open(csv, CRN_SPLIT_TRAIN, &dataset, &error), CRN_FORMAT,
                 "line 1: too many fields");
    assert_null(dataset);
}

/* ---- TFRecord ---- */

static void reads_slims_shards(void **state)
{
    (void)state;
    crn_dataset *train = open_split(SHARDS, CRN_SPLIT_TRAIN);
    assert_int_equal(crn_dataset_size(train), 4);
    assert_int_equal(crn_dataset_class_count(train), 4);
    assert_string_equal(crn_dataset_class_name(train, 0), "daisy");
    assert_string_equal(crn_dataset_class_name(train, 3), "lily: white");
    assert_true(crn_dataset_has_split(train, CRN_SPLIT_TEST));
    assert_item(train, 0, "rgb.jpg", 1, "train_00000-of-00002.tfrecord[0]");
    assert_item(train, 1, "large.jpg", 0, "train_00000-of-00002.tfrecord[1]");
    assert_item(train, 2, "grey8.png", 2, "train_00000-of-00002.tfrecord[2]");
    assert_item(train, 3, "exif6.jpg", 2, "train_00001-of-00002.tfrecord[0]");
    crn_dataset_free(train);
    crn_dataset *test = open_split(SHARDS, CRN_SPLIT_TEST);
    assert_int_equal(crn_dataset_size(test), 2);
    assert_item(test, 0, "lossless.webp", 3, "validation_00000-of-00001.tfrecord[0]");
    assert_item(test, 1, "grey.jpg", 0, "validation_00000-of-00001.tfrecord[1]");
    crn_dataset_free(test);
    crn_dataset *one = open_split(SHARDS "/flowers_train_00001-of-00002.tfrecord", CRN_SPLIT_TRAIN);
    assert_int_equal(crn_dataset_size(one), 1);
    assert_int_equal(crn_dataset_class_count(one), 4);
    assert_item(one, 0, "exif6.jpg", 2, "train_00001-of-00002.tfrecord[0]");
    crn_dataset_free(one);
}

static void copy_shard(const char *folder, const char *from, const char *to)
{
    bytes b = get_file(in_folder(SHARDS, from));
    put_file(in_folder(folder, to), b.data, b.size);
    free(b.data);
}

#define TRAIN0 "flowers_train_00000-of-00002.tfrecord"
#define TRAIN1 "flowers_train_00001-of-00002.tfrecord"
#define VALIDATION "flowers_validation_00000-of-00001.tfrecord"

/* ImageNet's shards have no suffix; without labels.txt classes are numbers, of both splits. */
static void shards_may_be_named_otherwise(void **state)
{
    copy_shard(*state, TRAIN0, "train-00000-of-00002");
    copy_shard(*state, TRAIN1, "train-00001-of-00002");
    copy_shard(*state, VALIDATION, "validation-00000-of-00001");
    crn_dataset *dataset = open_split(*state, CRN_SPLIT_TRAIN);
    assert_int_equal(crn_dataset_size(dataset), 4);
    assert_int_equal(crn_dataset_class_count(dataset), 4);
    assert_string_equal(crn_dataset_class_name(dataset, 3), "3");
    assert_item(dataset, 3, "exif6.jpg", 2, "/train-00001-of-00002[0]");
    crn_dataset_free(dataset);
    /* Any file whose first checksum is right is one. */
    copy_shard(*state, VALIDATION, "some.data");
    dataset = open_split(in_folder(*state, "some.data"), CRN_SPLIT_TRAIN);
    assert_item(dataset, 1, "grey.jpg", 0, "some.data[1]");
    crn_dataset_free(dataset);
}

static void incomplete_shards_are_reported(void **state)
{
    crn_dataset *dataset = NULL;
#define ASSERT_OPEN_FAILS(says) \
    assert_fails(crn_dataset_open(*state, CRN_SPLIT_TRAIN, &dataset, &error), CRN_FORMAT, says)
    copy_shard(*state, TRAIN1, TRAIN1);
    ASSERT_OPEN_FAILS("train_00001-of-00002.tfrecord: not shard 0 of 2");
    unlink(in_folder(*state, TRAIN1));
    copy_shard(*state, TRAIN0, TRAIN0);
    ASSERT_OPEN_FAILS("only 1 of its 2 shards are here");
    copy_shard(*state, TRAIN1, "birds_train_00001-of-00002.tfrecord");
    ASSERT_OPEN_FAILS("are of two data sets");
    unlink(in_folder(*state, "birds_train_00001-of-00002.tfrecord"));
    copy_shard(*state, TRAIN1, TRAIN1);
    put_text(in_folder(*state, "labels.txt"), "0:a\r\n2:c\n");
    dataset = open_split(*state, CRN_SPLIT_TEST);
    assert_string_equal(crn_dataset_class_name(dataset, 1), "1");
    assert_string_equal(crn_dataset_class_name(dataset, 2), "c");
    assert_false(crn_dataset_has_split(dataset, CRN_SPLIT_TEST));
    crn_dataset_free(dataset);
    dataset = NULL;
    static const char *const bad[] = {"0:a\n0:b\n", "a\n",  ":a\n",     "-1:a\n",
                                      "65536:a\n",  "0:\n", "0:\xff\n", "99999999999999999999:a\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_text(in_folder(*state, "labels.txt"), bad[i]);
        ASSERT_OPEN_FAILS(i == 0 ? "labels.txt, line 2: class 0 has a name" : "labels.txt, line 1");
    }
}

/* A record around an Example around one Features message. */
static void put_example(const char *path, const crn__pb_writer *features)
{
    crn__pb_writer example = {0}, file = {0};
    crn__pb_write_bytes(&example, 1, features->data, features->size);
    uint64_t size = example.size;
    uint32_t crc = crn__crc32c_mask(crn__crc32c(&size, 8));
    crn__pb_write_raw(&file, &size, 8);
    crn__pb_write_raw(&file, &crc, 4);
    crn__pb_write_raw(&file, example.data, example.size);
    crc = crn__crc32c_mask(crn__crc32c(example.data, example.size));
    crn__pb_write_raw(&file, &crc, 4);
    put_file(path, file.data, file.size);
    free(example.data);
    free(file.data);
}

/* features gets an entry: key and a Feature whose list `number` has the content. */
static void add_feature(crn__pb_writer *features, const char *key, uint32_t number,
                        const crn__pb_writer *list)
{
    crn__pb_writer entry = {0}, feature = {0};
    crn__pb_write_bytes(&feature, number, list->data, list->size);
    crn__pb_write_bytes(&entry, 2, feature.data, feature.size); /* value before key */
    crn__pb_write_string(&entry, 1, key);
    crn__pb_write_bytes(features, 1, entry.data, entry.size);
    free(entry.data);
    free(feature.data);
}

/* Labels: `packed` in one field, `loose` in fields of their own. */
static void put_labels(const char *path, int pictures, int packed, int loose)
{
    crn__pb_writer features = {0}, list = {0}, numbers = {0}, labels = {0}, other = {0};
    bytes b = get_file(PICTURES "grey8.png");
    for (int i = 0; i < pictures; i++)
        crn__pb_write_bytes(&list, 1, b.data, b.size);
    free(b.data);
    for (int i = 0; i < packed; i++)
        crn__pb_write_varint(&numbers, 300);
    if (packed > 0)
        crn__pb_write_bytes(&labels, 1, numbers.data, numbers.size);
    for (int i = 0; i < loose; i++)
        crn__pb_write_uint(&labels, 1, 200);
    crn__pb_write_float(&other, 1, 1.5f);
    add_feature(&features, "image/object/bbox", 2, &other);
    add_feature(&features, "image/class/label", 3, &labels);
    add_feature(&features, "image/encoded", 1, &list);
    put_example(path, &features);
    free(features.data);
    free(list.data);
    free(numbers.data);
    free(labels.data);
    free(other.data);
}

static void a_record_has_one_picture_and_one_label(void **state)
{
    const char *path = in_folder(*state, "x.tfrecord");
    static const int right[][2] = {{1, 0}, {0, 1}};
    for (int i = 0; i < 2; i++) {
        put_labels(path, 1, right[i][0], right[i][1]);
        crn_dataset *dataset = open_split(path, CRN_SPLIT_TRAIN);
        assert_item(dataset, 0, "grey8.png", i == 0 ? 300 : 200, "x.tfrecord[0]");
        crn_dataset_free(dataset);
    }
    static const int wrong[][3] = {{0, 1, 0}, {2, 1, 0}, {1, 0, 0}, {1, 2, 0},
                                   {1, 0, 2}, {1, 1, 1}, {1, 30, 0}};
    crn_dataset *dataset = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        put_labels(path, wrong[i][0], wrong[i][1], wrong[i][2]);
        assert_fails(crn_dataset_open(path, CRN_SPLIT_TRAIN, &dataset, &error), CRN_FORMAT,
                     "x.tfrecord: the record at byte 12 has");
    }
}

static crn_status open_and_read(const char *path, crn_error *error)
{
    crn_dataset *dataset = NULL;
    crn_status status = crn_dataset_open(path, CRN_SPLIT_TRAIN, &dataset, error);
    for (size_t i = 0; status == CRN_OK && i < crn_dataset_size(dataset); i++) {
        float image[NUMBERS];
        int32_t label;
        status = crn_dataset_read(dataset, &i, 1, &small, 0, image, &label, error);
    }
    crn_dataset_free(dataset);
    return status;
}

static void damage_to_records_is_found(void **state)
{
    const char *path = in_folder(*state, "cut.tfrecord");
    bytes b = get_file(SHARDS "/" VALIDATION);
    uint64_t first;
    memcpy(&first, b.data, 8);
    put_file(path, b.data, b.size);
    for (size_t bit = 0; bit<8 * b.size; bit += b.size> 800 ? 3 : 1) {
        crn_error error = {0};
        flip_bit(path, &b, bit);
        if (open_and_read(path, &error) != CRN_FORMAT || strstr(error.text, "cut.tfrecord") == NULL)
            fail_msg("bit %zu of byte %zu: \"%s\"", bit % 8, bit / 8, error.text);
        flip_bit(path, &b, bit);
    }
    for (size_t size = b.size; size-- > 0;) {
        crn_error error = {0};
        assert_int_equal(truncate(path, (off_t)size), 0);
        crn_status status = open_and_read(path, &error);
        if (size == first + 16)
            assert_int_equal(status, CRN_OK); /* a whole record */
        else if (status != CRN_FORMAT || strstr(error.text, "cut.tfrecord") == NULL)
            fail_msg("%zu bytes: \"%s\"", size, error.text);
    }
    free(b.data);
}

/* Checksums that are right around content that is not: the Example's parser is on its own. */
static void hostile_examples_are_survived(void **state)
{
    const char *path = in_folder(*state, "bad.tfrecord");
    crn__pb_writer good = {0}, list = {0}, label = {0};
    crn__pb_write_bytes(&list, 1, "picture", 7);
    crn__pb_write_uint(&label, 1, 1);
    add_feature(&good, "image/encoded", 1, &list);
    add_feature(&good, "image/class/label", 3, &label);
    for (size_t bit = 0; bit < 8 * good.size; bit++) {
        crn_error error = {0};
        good.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        put_example(path, &good);
        assert_int_not_equal(open_and_read(path, &error), CRN_OK); /* "picture" is none */
        assert_non_null(strstr(error.text, "bad.tfrecord"));
        good.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    for (size_t size = good.size; size-- > 0;) {
        crn__pb_writer cut = {.data = good.data, .size = size};
        put_example(path, &cut);
        assert_fails(open_and_read(path, &error), CRN_FORMAT, "bad.tfrecord");
    }
    free(good.data);
    free(list.data);
    free(label.data);
}

/* ---- splitting ---- */

enum { ROWS = 100 };

/* 70 of class 0, 29 of class 1, 1 of class 2, mixed. */
static int32_t label_of(int row)
{
    return row == 50 ? 2 : row % 10 < 7 || row == 99 ? 0 : 1;
}

static crn_dataset *open_rows(const char *folder)
{
    char text[ROWS * 24] = "";
    for (int i = 0; i < ROWS; i++)
        snprintf(text + strlen(text), 24, "%d.jpg,%d\n", i, (int)label_of(i));
    put_text(in_folder(folder, "list.csv"), text);
    return open_split(in_folder(folder, "list.csv"), CRN_SPLIT_TRAIN);
}

/* Marks the rows of a part; their labels are those of the rows. */
static void mark(const crn_dataset *part, int mark, int *marks, int *counts)
{
    for (size_t i = 0; i < crn_dataset_size(part); i++) {
        char name[1024];
        assert_int_equal(crn_dataset_item_name(part, i, name, sizeof name), CRN_OK);
        int row = atoi(strrchr(name, '/') + 1);
        marks[row] += mark;
        counts[label_of(row)]++;
    }
}

static void splits_each_class(void **state)
{
    crn_dataset *whole = open_rows(*state), *part = NULL;
    int first[ROWS] = {0}, again[ROWS] = {0}, other[ROWS] = {0}, counts[3] = {0};
    static const crn_split parts[] = {CRN_SPLIT_TRAIN, CRN_SPLIT_TEST};
    for (int p = 0; p < 2; p++) {
        assert_ok(crn_dataset_split(whole, 0.2, 5, parts[p], &part, &error));
        int of_class[3] = {0};
        mark(part, p + 1, first, p == 0 ? counts : of_class);
        if (p == 1)
            assert_true(of_class[0] == 14 && of_class[1] == 6 && of_class[2] == 0);
        assert_int_equal(crn_dataset_class_count(part), 3);
        assert_string_equal(crn_dataset_class_name(part, 2), "2");
        assert_true(crn_dataset_has_split(part, CRN_SPLIT_TEST));
        crn_dataset_free(part);
        assert_ok(crn_dataset_split(whole, 0.2, 5, parts[p], &part, &error));
        mark(part, p + 1, again, of_class);
        crn_dataset_free(part);
        assert_ok(crn_dataset_split(whole, 0.2, 6, parts[p], &part, &error));
        mark(part, p + 1, other, of_class);
        crn_dataset_free(part);
    }
    assert_true(counts[0] == 56 && counts[1] == 23 && counts[2] == 1);
    for (int i = 0; i < ROWS; i++)
        assert_true(first[i] == 1 || first[i] == 2); /* in one of them */
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, other, sizeof first);

    part = NULL;
    assert_fails(crn_dataset_split(whole, 0, 5, CRN_SPLIT_TEST, &part, &error), CRN_INVALID,
                 "not between 0 and 1");
    assert_fails(crn_dataset_split(whole, 1, 5, CRN_SPLIT_TEST, &part, &error), CRN_INVALID,
                 "not between 0 and 1");
    assert_fails(crn_dataset_split(whole, 0.001, 5, CRN_SPLIT_TEST, &part, &error), CRN_INVALID,
                 "a part of a data set of 100 images would have none");
    assert_ok(crn_dataset_split(whole, 0.999, 5, CRN_SPLIT_TRAIN, &part, &error));
    assert_int_equal(crn_dataset_size(part), 3); /* one of each */
    crn_dataset_free(part);
    crn_dataset_free(whole);
    whole = open_split(SHARDS, CRN_SPLIT_TRAIN);
    assert_fails(crn_dataset_split(whole, 0.5, 5, CRN_SPLIT_TEST, &part, &error), CRN_INVALID,
                 "of its own");
    crn_dataset_free(whole);
}

static void parts_read_the_whole_sets_images(void **state)
{
    copy_shard(*state, TRAIN0, "x.tfrecord");
    crn_dataset *whole = open_split(in_folder(*state, "x.tfrecord"), CRN_SPLIT_TRAIN), *part;
    assert_fails(crn_dataset_split(whole, 0.4, 1, CRN_SPLIT_TEST, &part, &error), CRN_INVALID,
                 "would have none"); /* classes of one image */
    assert_ok(crn_dataset_split(whole, 0.4, 1, CRN_SPLIT_TRAIN, &part, &error));
    assert_item(part, 1, "large.jpg", 0, "x.tfrecord[1]");
    crn_dataset_free(part);
    crn_dataset_free(whole);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_csv_with_names),
        TEST(reads_csv_with_numbers_in_two_files),
        TEST(bad_csv_is_told_by_line),
        cmocka_unit_test(reads_slims_shards),
        TEST(shards_may_be_named_otherwise),
        TEST(incomplete_shards_are_reported),
        TEST(a_record_has_one_picture_and_one_label),
        TEST(damage_to_records_is_found),
        TEST(hostile_examples_are_survived),
        TEST(splits_each_class),
        TEST(parts_read_the_whole_sets_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
