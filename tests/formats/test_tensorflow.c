/* Reading the checkpoints that TensorFlow made, whole and damaged. */
#include "golden_checkpoint.h"

#include "formats/crc32c.h"
#include "formats/element.h"

static void reads_what_tensorflow_wrote(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        {"v1", "v1"},
        {"v1_snappy", "v1_snappy"},
        {"v1_parts", "v1_parts"},
        {"v2", "v2"},
        {"v2.index", "v2"},
        {"v2.data-00000-of-00001", "v2"},
        {"v2_parts", "v2_parts"},
        {"v2_wide", "v2_wide"},
        {"v2_shards", "v2_shards"},
        {"v2_shards.data-00001-of-00002", "v2_shards"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[256];
        snprintf(path, sizeof path, DATA "%s", files[i][0]);
        assert_ok(check_file(path, files[i][1], &error));
    }
}

static void says_what_a_checkpoint_is(void **state)
{
    (void)state;
    static const char *const kinds[][2] = {
        {"v1", "TensorFlow V1"}, {"v2", "TensorFlow V2"}, {"v2.safetensors", "safetensors"}};
    for (int i = 0; i < 3; i++) {
        char path[256];
        crn_checkpoint *file;
        snprintf(path, sizeof path, DATA "%s", kinds[i][0]);
        assert_ok(crn_checkpoint_open(path, &file, &error));
        assert_string_equal(crn_checkpoint_kind(file), kinds[i][1]);
        if (i < 2)
            assert_string_equal(crn_checkpoint_metadata(file, "global_step"), "123456789012");
        assert_true(crn_checkpoint_is_slot(file, "conv/weights/ExponentialMovingAverage"));
        assert_false(crn_checkpoint_is_slot(file, "conv/weights"));
        assert_false(crn_checkpoint_is_slot(file, "scalar"));
        crn_checkpoint_free(file);
    }
}

/* ---- folders ---- */

static void follows_the_state_file(void **state)
{
    (void)state;
    crn_checkpoint *file;
    float w[4];
    assert_ok(crn_checkpoint_open(DATA "folder", &file, &error));
    assert_string_equal(crn_checkpoint_metadata(file, "global_step"), "42");
    assert_ok(crn_checkpoint_read(file, "w", w, 4, &error));
    for (int i = 0; i < 4; i++)
        assert_true(w[i] == (float)i);
    crn_checkpoint_free(file);
}

static void state_files_stay_in_their_folder(void **state)
{
    static const struct {
        const char *text, *says;
        crn_status status;
    } states[] = {
        {"", "no model_checkpoint_path", CRN_FORMAT},
        {"all_model_checkpoint_paths: \"m\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: m\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"m", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"../m\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"a/m\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"..\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"/\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"/etc/..\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"\\x2e\\x2e\"\n", "no model_checkpoint_path", CRN_FORMAT},
        {"model_checkpoint_path: \"sub\"\n", "names the folder", CRN_FORMAT},
        {"model_checkpoint_path: \"/etc/passwd\"\n", "/passwd: No such file", CRN_NOT_FOUND},
        {"model_checkpoint_path: \"gone\"\n", "/gone: No such file", CRN_NOT_FOUND},
    };
    crn_checkpoint *file = NULL;
    assert_int_equal(mkdir(in_folder(*state, "sub"), 0777), 0);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        put_file(in_folder(*state, "checkpoint"), states[i].text, strlen(states[i].text));
        assert_fails(crn_checkpoint_open(*state, &file, &error), states[i].status, states[i].says);
    }
    bytes b = get_file(DATA "v1");
    static const char there[] = "# note\n model_checkpoint_path: \"/elsewhere/there-1\"\n";
    put_file(in_folder(*state, "checkpoint"), there, sizeof there - 1);
    put_file(in_folder(*state, "there-1"), b.data, b.size);
    free(b.data);
    assert_ok(check_file(*state, "v1", &error));
}

/* ---- damage ---- */

/* Copies DATA NAME into the folder; returns the path of the copy. */
static const char *copy(const char *folder, const char *name)
{
    char from[256];
    snprintf(from, sizeof from, DATA "%s", name);
    bytes b = get_file(from);
    const char *to = in_folder(folder, name);
    put_file(to, b.data, b.size);
    free(b.data);
    return to;
}

/* The files of a checkpoint, the first of which is damaged, and every how many bytes. */
static const struct {
    const char *files[3], *name;
    size_t every;
} victims[] = {
    {{"v1"}, "v1", 1},
    {{"v1_parts"}, "v1_parts", 1},
    {{"v1_snappy"}, "v1_snappy", 67},
    {{"v2.index", "v2.data-00000-of-00001"}, "v2", 1},
    {{"v2.data-00000-of-00001", "v2.index"}, "v2", 1},
    {{"v2_parts.index", "v2_parts.data-00000-of-00001"}, "v2_parts", 1},
    {{"v2_parts.data-00000-of-00001", "v2_parts.index"}, "v2_parts", 7},
    {{"v2_shards.index", "v2_shards.data-00000-of-00002", "v2_shards.data-00001-of-00002"},
     "v2_shards",
     1},
};

#define N_VICTIMS (sizeof victims / sizeof *victims)

static const char *copy_victim(const char *folder, size_t i)
{
    for (size_t k = 3; k-- > 1;)
        if (victims[i].files[k] != NULL)
            copy(folder, victims[i].files[k]);
    return copy(folder, victims[i].files[0]);
}

/* Right values (where the byte is not read) or an error in words. */
static void every_flipped_byte_is_noticed(void **state)
{
    for (size_t i = 0; i < N_VICTIMS; i++) {
        const char *path = copy_victim(*state, i);
        bytes b = get_file(path);
        size_t unnoticed = 0;
        for (size_t at = 0; at < b.size; at += victims[i].every) {
            crn_error error = {0};
            size_t bit = 8 * at + at % 8;
            flip_bit(path, &b, bit);
            crn_status status = check_file(path, victims[i].name, &error);
            unnoticed += status == CRN_OK;
            if (status != CRN_OK && (status != CRN_FORMAT || *error.text == '\0'))
                fail_msg("%s, byte %zu: status %d, \"%s\"", victims[i].files[0], at, (int)status,
                         error.text);
            flip_bit(path, &b, bit);
        }
        free(b.data);
        /* Of "v2" some bytes are a string's and a complex number's, which are not read. A number
         * may be written in more than one way in the footer. */
        bool data = strcmp(victims[i].files[0], "v2.data-00000-of-00001") == 0;
        if (unnoticed > (data ? 26u : 1u))
            fail_msg("%s: %zu flips were not noticed", victims[i].files[0], unnoticed);
    }
}

static void every_truncation_is_noticed(void **state)
{
    for (size_t i = 0; i < N_VICTIMS; i++) {
        const char *path = copy_victim(*state, i);
        bytes b = get_file(path);
        free(b.data);
        for (size_t size = b.size; size-- > 0;) {
            crn_error error = {0};
            assert_int_equal(truncate(path, (off_t)size), 0);
            crn_status status = check_file(path, victims[i].name, &error);
            if (status != CRN_FORMAT || strstr(error.text, *state) == NULL)
                fail_msg("%s of %zu bytes: status %d, \"%s\"", victims[i].files[0], size,
                         (int)status, error.text);
        }
    }
}

static uint32_t read_u32(const unsigned char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Writes the file's first `size` bytes as a block that is not packed. */
static void put_block(const char *path, const bytes *b, size_t size)
{
    uint32_t checksum = crn__crc32c_mask(crn__crc32c(b->data, size + 1));
    int file = open(path, O_WRONLY);
    memcpy(b->data + size + 1, &checksum, sizeof checksum);
    assert_int_equal(pwrite(file, b->data, size + 5, 0), size + 5);
    assert_int_equal(close(file), 0);
}

/* Reads all that can be read; whether something was refused. */
static bool read_all(const char *path)
{
    crn_error error = {0};
    crn_checkpoint *file;
    crn_status status = crn_checkpoint_open(path, &file, &error);
    if (status == CRN_OK) {
        crn_checkpoint_entry e;
        for (size_t i = 0; crn_checkpoint_entry_at(file, i, &e) == CRN_OK && status == CRN_OK;
             i++) {
            unsigned char *data;
            if (crn__element_find(e.dtype, strlen(e.dtype))->to_floats == NULL)
                continue;
            status = read_bytes(file, e.name, &data, &error);
            if (status == CRN_OK)
                free(data);
        }
        crn_checkpoint_free(file);
    }
    if (status != CRN_OK && status != CRN_FORMAT && status != CRN_UNSUPPORTED &&
        status != CRN_NOT_FOUND)
        fail_msg("status %d, \"%s\"", (int)status, error.text);
    assert_true(status == CRN_OK || *error.text != '\0');
    return status != CRN_OK;
}

/*
 * Changes every byte of a table's first block to some others and corrects the checksum: what is
 * read then must be values or an error in words, whatever it says. Sanitizers see the rest.
 */
static void bytes_may_lie_under_right_checksums(void **state)
{
    static const size_t tables[] = {0, 1, 3, 5}; /* of victims */
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const char *path = copy_victim(*state, tables[i]);
        bytes b = get_file(path);
        size_t size = 0, refused = 0, tried = 0;
        while (crn__crc32c_mask(crn__crc32c(b.data, size + 1)) != read_u32(b.data + size + 1))
            size++;
        for (size_t at = 0; at < size; at++) {
            unsigned char kept = b.data[at];
            const unsigned char others[] = {
                0, 1, 0x7f, 0xff, (unsigned char)(kept ^ 1), (unsigned char)(kept + 1)};
            for (size_t k = 0; k < sizeof others; k++, tried++) {
                b.data[at] = others[k];
                put_block(path, &b, size);
                refused += read_all(path);
            }
            b.data[at] = kept;
        }
        assert_true(refused > tried / 4);
        free(b.data);
    }
}

static void data_files_lie_beside_the_index(void **state)
{
    crn_checkpoint *file;
    const char *path = copy(*state, "v2.index");
    assert_fails(crn_checkpoint_open(path, &file, &error), CRN_NOT_FOUND,
                 "/v2.data-00000-of-00001: No such file");
    const char *other = in_folder(*state, "v2.something");
    assert_int_equal(rename(path, other), 0);
    assert_fails(crn_checkpoint_open(other, &file, &error), CRN_FORMAT, "called PREFIX.index");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_tensorflow_wrote), cmocka_unit_test(says_what_a_checkpoint_is),
        cmocka_unit_test(follows_the_state_file),      TEST(state_files_stay_in_their_folder),
        TEST(every_flipped_byte_is_noticed),           TEST(every_truncation_is_noticed),
        TEST(bytes_may_lie_under_right_checksums),     TEST(data_files_lie_beside_the_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
