/* CRC-32C and Protocol Buffers' wire format, against the examples of their specifications. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/crc32c.h"
#include "formats/protobuf.h"

/* RFC 3720, B.4 */
static void crc32c_gives_the_rfcs_examples(void **state)
{
    unsigned char data[32] = {0};
    (void)state;
    assert_int_equal(crn__crc32c("123456789", 9), 0xe3069283u);
    assert_int_equal(crn__crc32c(data, 32), 0x8a9136aau);
    memset(data, 255, 32);
    assert_int_equal(crn__crc32c(data, 32), 0x62a8ab43u);
    for (unsigned i = 0; i < 32; i++)
        data[i] = (unsigned char)i;
    assert_int_equal(crn__crc32c(data, 32), 0x46dd794eu);
    for (size_t cut = 0; cut <= 32; cut++)
        assert_int_equal(crn__crc32c_extend(crn__crc32c(data, cut), data + cut, 32 - cut),
                         0x46dd794eu);
}

/* "protobuf.dev/programming-guides/encoding": 150 as field 1, "testing" as field 2. */
static void messages_read_as_the_guide_writes_them(void **state)
{
    static const unsigned char message[] = {0x08, 0x96, 0x01, 0x12, 0x07, 't',
                                            'e',  's',  't',  'i',  'n',  'g'};
    crn__pb_reader reader = crn__pb_read(message, sizeof message);
    crn__pb_field field;
    crn__pb_writer writer = {0};
    (void)state;
    assert_true(crn__pb_next(&reader, &field));
    assert_int_equal(field.number, 1);
    assert_int_equal(field.value, 150);
    assert_true(crn__pb_next(&reader, &field));
    assert_int_equal(field.number, 2);
    assert_int_equal(crn__pb_left(&field.content), 7);
    assert_memory_equal(field.content.at, "testing", 7);
    assert_false(crn__pb_next(&reader, &field));
    assert_false(reader.broken);

    crn__pb_write_uint(&writer, 1, 150);
    crn__pb_write_string(&writer, 2, "testing");
    assert_int_equal(writer.size, sizeof message);
    assert_memory_equal(writer.data, message, sizeof message);
    free(writer.data);
}

static void numbers_come_back(void **state)
{
    static const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX};
    crn__pb_writer writer = {0};
    crn__pb_field field;
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        crn__pb_write_uint(&writer, (uint32_t)i + 1, values[i]);
        crn__pb_write_fixed32(&writer, 20, (uint32_t)values[i]);
        crn__pb_write_fixed64(&writer, 0x1fffffff, values[i]);
    }
    crn__pb_write_float(&writer, 3, 1.0f);
    crn__pb_write_double(&writer, 4, -2.0);
    crn__pb_reader reader = crn__pb_read(writer.data, writer.size);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_true(crn__pb_next(&reader, &field));
        assert_int_equal(field.number, i + 1);
        assert_true(field.value == values[i]);
        assert_true(crn__pb_next(&reader, &field));
        assert_true(field.value == (uint32_t)values[i]);
        assert_true(crn__pb_next(&reader, &field));
        assert_int_equal(field.number, 0x1fffffff);
        assert_true(field.value == values[i]);
    }
    assert_true(crn__pb_next(&reader, &field));
    assert_true(field.wire == CRN__PB_FIXED32 && field.value == 0x3f800000u); /* IEEE 754 */
    assert_true(crn__pb_next(&reader, &field));
    assert_true(field.wire == CRN__PB_FIXED64 && field.value == 0xc000000000000000u);
    assert_false(crn__pb_next(&reader, &field));
    assert_false(reader.broken);
    free(writer.data);
}

static void damage_is_told_from_the_end(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } broken[] = {
        {"\x08", 1},                                          /* no value */
        {"\x08\x96", 2},                                      /* half a varint */
        {"\x12\x07testin", 8},                                /* short bytes */
        {"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}, /* endless bytes */
        {"\x0d\x01\x02\x03", 4},                              /* short fixed32 */
        {"\x09\x01\x02\x03\x04\x05\x06\x07", 8},              /* short fixed64 */
        {"\x00\x01", 2},                                      /* field 0 */
        {"\x0b", 1},                                          /* a group */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11}, /* 65 bits */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12},
    };
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        crn__pb_reader reader = crn__pb_read(broken[i].bytes, broken[i].size);
        crn__pb_field field;
        assert_false(crn__pb_next(&reader, &field));
        assert_true(reader.broken);
        assert_false(crn__pb_next(&reader, &field));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_gives_the_rfcs_examples),
        cmocka_unit_test(messages_read_as_the_guide_writes_them),
        cmocka_unit_test(numbers_come_back),
        cmocka_unit_test(damage_is_told_from_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
