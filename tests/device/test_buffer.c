/* Device memory: contents, parts, ranges and the account of it. */
#include "support.h"

static void what_is_written_is_read_back(void **state)
{
    crn_context *context = *state;
    static const size_t sizes[] = {1, 3, 4, 17, 64, 4099};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i];
        unsigned char written[4099], read[4099];
        for (size_t j = 0; j < size; j++)
            written[j] = (unsigned char)(j * 7 + 1);
        crn__buffer *buffer;
        assert_ok(context, crn__buffer_create(context, size, &buffer));
        assert_int_equal(crn__buffer_size(buffer), size);
        assert_ok(context, crn__buffer_write(buffer, 0, written, size));
        assert_ok(context, crn__buffer_read(buffer, 0, read, size));
        assert_memory_equal(read, written, size);

        assert_ok(context, crn__buffer_write(buffer, size - 1, "Z", 1));
        assert_ok(context, crn__buffer_read(buffer, size / 2, read, size - size / 2));
        assert_int_equal(read[size - size / 2 - 1], 'Z');

        assert_ok(context, crn__buffer_zero(buffer));
        assert_ok(context, crn__buffer_read(buffer, 0, read, size));
        for (size_t j = 0; j < size; j++)
            assert_int_equal(read[j], 0);
        crn__buffer_free(buffer);
    }
}

static void parts_are_windows_of_their_root(void **state)
{
    crn_context *context = *state;
    size_t step = crn__buffer_alignment(context);
    assert_true(step >= 64 && step % 64 == 0);
    crn__buffer *root, *part, *inner;
    unsigned char *bytes = malloc(4 * step);
    assert_non_null(bytes);
    memset(bytes, 1, 4 * step);
    assert_ok(context, crn__buffer_create(context, 4 * step, &root));
    assert_ok(context, crn__buffer_write(root, 0, bytes, 4 * step));
    assert_ok(context, crn__buffer_part(root, step, 2 * step + 5, &part));
    assert_ok(context, crn__buffer_part(part, step, step, &inner));
    assert_int_equal(crn__buffer_size(part), 2 * step + 5);

    assert_ok(context, crn__buffer_zero(inner));
    assert_ok(context, crn__buffer_write(part, 3, "abc", 3));
    assert_ok(context, crn__buffer_read(root, 0, bytes, 4 * step));
    for (size_t i = 0; i < 4 * step; i++) {
        bool written = i >= step + 3 && i < step + 6, zeroed = i >= 2 * step && i < 3 * step;
        assert_int_equal(bytes[i], written ? "abc"[i - step - 3] : zeroed ? 0 : 1);
    }
    crn__buffer_free(inner);
    crn__buffer_free(part);
    crn__buffer_free(root);
    free(bytes);
}

static void ranges_outside_are_refused(void **state)
{
    crn_context *context = *state;
    size_t step = crn__buffer_alignment(context);
    char bytes[8] = {0};
    crn__buffer *buffer, *part;
    assert_ok(context, crn__buffer_create(context, 2 * step, &buffer));
    static const struct {
        size_t offset, size;
    } outside[] = {{SIZE_MAX, 8}, {8, SIZE_MAX}, {SIZE_MAX - 3, 4}, {SIZE_MAX, SIZE_MAX}};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        size_t offset = outside[i].offset, size = outside[i].size;
        assert_int_equal(crn__buffer_write(buffer, offset, bytes, size), CRN_INVALID);
        assert_int_equal(crn__buffer_read(buffer, offset, bytes, size), CRN_INVALID);
        assert_int_equal(crn__buffer_part(buffer, offset, size, &part), CRN_INVALID);
        assert_null(part);
    }
    assert_int_equal(crn__buffer_write(buffer, 2 * step - 7, bytes, 8), CRN_INVALID);
    assert_contains(crn_context_error(context)->text, "8 bytes at");
    assert_ok(context, crn__buffer_write(buffer, 2 * step, bytes, 0));
    assert_int_equal(crn__buffer_part(buffer, step, step + 1, &part), CRN_INVALID);
    assert_int_equal(crn__buffer_part(buffer, 0, 0, &part), CRN_INVALID);
    assert_int_equal(crn__buffer_part(buffer, step / 2, 4, &part), CRN_INVALID);
    assert_contains(crn_context_error(context)->text, "multiple");
    crn__buffer_free(buffer);
    crn__buffer_free(NULL);
}

static void memory_is_accounted_for(void **state)
{
    crn_context *context = *state;
    uint64_t before = crn_context_memory(context);
    size_t step = crn__buffer_alignment(context);
    crn__buffer *a, *b, *part;
    assert_ok(context, crn__buffer_create(context, 1 << 20, &a));
    assert_ok(context, crn__buffer_create(context, 100, &b));
    assert_ok(context, crn__buffer_part(a, step, step, &part));
    assert_int_equal(crn_context_memory(context), before + (1 << 20) + 100);
    crn__buffer_free(b);
    assert_int_equal(crn_context_memory(context), before + (1 << 20));
    assert_true(crn_context_peak_memory(context) >= before + (1 << 20) + 100);
    crn__buffer_free(part);
    crn__buffer_free(a);
    assert_int_equal(crn_context_memory(context), before);
}

static void a_buffer_that_cannot_be_says_how_much_there_is(void **state)
{
    crn_context *context = *state;
    uint64_t before = crn_context_memory(context);
    const crn_device_info *device = crn_context_device(context);
    crn__buffer *held, *buffer;
    char text[32];
    assert_ok(context, crn__buffer_create(context, 12345, &held));
    size_t sizes[] = {SIZE_MAX, SIZE_MAX - 12344, (size_t)device->global_memory + 1,
                      (size_t)device->global_memory - 12344};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(crn__buffer_create(context, sizes[i], &buffer), CRN_DEVICE_MEMORY);
        assert_null(buffer);
        snprintf(text, sizeof text, "%zu", sizes[i]);
        assert_contains(crn_context_error(context)->text, text);
        assert_contains(crn_context_error(context)->text, "12345 bytes are held");
        snprintf(text, sizeof text, "%llu", (unsigned long long)device->max_allocation);
        assert_contains(crn_context_error(context)->text, text);
        assert_int_equal(crn_context_memory(context), before + 12345);
    }
    assert_int_equal(crn__buffer_create(context, 0, &buffer), CRN_INVALID);
    crn__buffer_free(held);
    assert_int_equal(crn_context_memory(context), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(parts_are_windows_of_their_root),
        cmocka_unit_test(ranges_outside_are_refused),
        cmocka_unit_test(memory_is_accounted_for),
        cmocka_unit_test(a_buffer_that_cannot_be_says_how_much_there_is),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
