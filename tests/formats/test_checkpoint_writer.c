/* Writing TensorFlow's checkpoints, and converting between the formats. */
#include "golden_checkpoint.h"

#include "formats/checkpoint_writer.h"

/* ---- writing ---- */

static const float weights[] = {1, -2, 3.5f, 1e-40f, 1e38f, 0};
static const crn_metadata pairs[] = {{"clarinet.classes", "[\"cat\",\"dog\"]"}, {"note", ""}};

static crn_status write_ours(const char *path, int64_t step, crn_error *why)
{
    const crn_checkpoint_entry entries[] = {
        {"w/x", "F32", 2, {2, 3}, 0}, {"nothing", "F32", 1, {0}, 0}, {"b", "BF16", 1, {4}, 0}};
    crn__checkpoint_content content = {entries, 3, pairs, 2, step};
    crn__checkpoint_writer *writer;
    crn_status status =
        crn__checkpoint_writer_create(path, CRN_CHECKPOINT_TENSORFLOW, &content, &writer, why);
    if (status != CRN_OK)
        return status;
    assert_ok(crn__checkpoint_writer_append(writer, weights, 5, &error));
    assert_ok(crn__checkpoint_writer_append(writer, (const char *)weights + 5, 19, &error));
    assert_ok(crn__checkpoint_writer_append(writer, weights, 8, &error));
    return crn__checkpoint_writer_commit(writer, why);
}

static void check_ours(const char *path, const char *step)
{
    crn_checkpoint *file;
    float read[6];
    assert_ok(crn_checkpoint_open(path, &file, &error));
    assert_int_equal(crn_checkpoint_count(file), step != NULL ? 4 : 3);
    assert_ok(crn_checkpoint_read(file, "w/x", read, 6, &error));
    assert_memory_equal(read, weights, sizeof weights);
    assert_string_equal(crn_checkpoint_metadata(file, "clarinet.classes"), "[\"cat\",\"dog\"]");
    assert_string_equal(crn_checkpoint_metadata(file, "note"), "");
    if (step != NULL)
        assert_string_equal(crn_checkpoint_metadata(file, "global_step"), step);
    else
        assert_null(crn_checkpoint_metadata(file, "global_step"));
    crn_checkpoint_free(file);
}

static void reads_what_it_wrote(void **state)
{
    const char *prefix = in_folder(*state, "ours");
    assert_ok(write_ours(prefix, -1, &error));
    check_ours(prefix, NULL);
    assert_int_equal(count_files(*state), 2);
    assert_ok(write_ours(prefix, 7, &error)); /* over the old one */
    check_ours(prefix, "7");
    assert_ok(write_ours(*state, 12, &error));
    check_ours(*state, "12");
    check_ours(in_folder(*state, "model.ckpt-12"), "12");
    assert_int_equal(count_files(*state), 5);
}

static void refuses_to_write_what_is_no_tensor(void **state)
{
    const char *path = in_folder(*state, "ours");
    crn_checkpoint_entry entries[] = {{"a", "F32", 0, {0}, 0}, {"b", "F32", 0, {0}, 0}};
    crn__checkpoint_content content = {.entries = entries, .n_entries = 2, .step = -1};
    crn__checkpoint_writer *writer = NULL;
#define CREATE() \
    crn__checkpoint_writer_create(path, CRN_CHECKPOINT_TENSORFLOW, &content, &writer, &error)
    entries[1].name = "a";
    assert_fails(CREATE(), CRN_INVALID, "tensor \"a\" is there twice");
    entries[1].name = "";
    assert_fails(CREATE(), CRN_INVALID, "\"\" is no tensor");
    entries[1].name = "clarinet.metadata/x";
    assert_fails(CREATE(), CRN_INVALID, "no tensor");
    entries[1] = (crn_checkpoint_entry){"b", "STRING", 0, {0}, 0};
    assert_fails(CREATE(), CRN_INVALID, "\"b\" is no tensor");
    entries[1] = (crn_checkpoint_entry){"b", "F32", 2, {INT64_MAX, INT64_MAX}, 0};
    assert_fails(CREATE(), CRN_INVALID, "\"b\" is no tensor");
    entries[1] = (crn_checkpoint_entry){"b", "F32", 1, {-1}, 0};
    assert_fails(CREATE(), CRN_INVALID, "\"b\" is no tensor");
    assert_int_equal(count_files(*state), 0);

    entries[1] = (crn_checkpoint_entry){"b", "F32", 0, {0}, 0};
    assert_ok(CREATE());
    assert_ok(crn__checkpoint_writer_append(writer, weights, 4, &error));
    assert_fails(crn__checkpoint_writer_commit(writer, &error), CRN_INVALID,
                 "the data of 1 tensors is missing");
    assert_ok(CREATE());
    assert_fails(crn__checkpoint_writer_append(writer, weights, 9, &error), CRN_INVALID,
                 "more data than was declared");
    crn__checkpoint_writer_abort(writer);
    crn__checkpoint_writer_abort(NULL);
    assert_int_equal(count_files(*state), 0);
}

/* ---- converting ---- */

static size_t left_out;

static void count_left_out(void *data, const char *name, const char *why)
{
    assert_ptr_equal(data, &left_out);
    assert_string_equal(name, "text");
    assert_string_equal(why, "the format cannot have STRING");
    left_out++;
}

/* Everything in a is in b with the same bytes. */
static void check_same(const char *a_path, const char *b_path, const char *but)
{
    crn_checkpoint *a, *b;
    assert_ok(crn_checkpoint_open(a_path, &a, &error));
    assert_ok(crn_checkpoint_open(b_path, &b, &error));
    for (size_t i = 0; i < crn_checkpoint_count(a); i++) {
        crn_checkpoint_entry x, y;
        unsigned char *p, *q;
        crn_checkpoint_entry_at(a, i, &x);
        if (but != NULL && strcmp(x.name, but) == 0)
            continue;
        assert_int_equal(crn_checkpoint_find(b, x.name, &y), CRN_OK);
        assert_string_equal(x.dtype, y.dtype);
        assert_int_equal(x.rank, y.rank);
        assert_memory_equal(x.dims, y.dims, sizeof x.dims);
        assert_ok(read_bytes(a, x.name, &p, &error));
        assert_ok(read_bytes(b, x.name, &q, &error));
        assert_memory_equal(p, q, (size_t)x.bytes);
        free(p);
        free(q);
    }
    crn_checkpoint_free(a);
    crn_checkpoint_free(b);
}

static void converts_there_and_back(void **state)
{
    static const char *const names[] = {"v1", "v1_parts", "v1_snappy",
                                        "v2", "v2_parts", "v2_shards"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char from[256];
        snprintf(from, sizeof from, DATA "%s", names[i]);
        const char *there = in_folder(*state, "there"), *back = in_folder(*state, "back");
        crn_convert_options o = CRN_CONVERT_OPTIONS_INIT;
        left_out = 0;
        o.report = count_left_out;
        o.report_data = &left_out;
        assert_ok(crn_checkpoint_convert(from, there, &o, &error));
        assert_int_equal(left_out, strcmp(names[i], "v2") == 0);
        check_same(from, there, "text");
        o.format = CRN_CHECKPOINT_TENSORFLOW;
        assert_ok(crn_checkpoint_convert(there, back, &o, &error));
        check_same(there, back, NULL);
        check_same(back, there, NULL);
        assert_ok(crn_checkpoint_convert(back, back, &o, &error)); /* onto itself */
        check_same(there, back, NULL);
    }
}

static void converts_parts_and_metadata(void **state)
{
    const char *prefix = in_folder(*state, "ours");
    const char *to = in_folder(*state, "to");
    crn_convert_options o = CRN_CONVERT_OPTIONS_INIT;
    crn_checkpoint *file;
    crn_checkpoint_entry e;
    assert_ok(write_ours(prefix, 7, &error));
    assert_ok(crn_checkpoint_convert(prefix, to, &o, &error));
    check_ours(to, "7");

    o.no_slots = true;
    o.exclude_scopes = "conv/b,global_step";
    assert_ok(crn_checkpoint_convert(DATA "v1", to, &o, &error));
    assert_ok(crn_checkpoint_open(to, &file, &error));
    assert_int_equal(crn_checkpoint_count(file), 18 - 2 - 2);
    assert_int_equal(crn_checkpoint_find(file, "conv/weights", &e), CRN_OK);
    assert_int_equal(crn_checkpoint_find(file, "conv/biases", &e), CRN_NOT_FOUND);
    assert_int_equal(crn_checkpoint_find(file, "conv/weights/Momentum", &e), CRN_NOT_FOUND);
    assert_null(crn_checkpoint_metadata(file, "global_step"));
    crn_checkpoint_free(file);

    o = (crn_convert_options)CRN_CONVERT_OPTIONS_INIT;
    o.include_scopes = "conv, scalar";
    assert_ok(crn_checkpoint_convert(DATA "v1", to, &o, &error));
    assert_ok(crn_checkpoint_open(to, &file, &error));
    assert_int_equal(crn_checkpoint_count(file), 5);
    crn_checkpoint_free(file);
    assert_fails(crn_checkpoint_convert(in_folder(*state, "none"), to, NULL, &error), CRN_NOT_FOUND,
                 "none: No such file");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_what_it_wrote),
        TEST(refuses_to_write_what_is_no_tensor),
        TEST(converts_there_and_back),
        TEST(converts_parts_and_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
