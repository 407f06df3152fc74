#include "files.h"

#include <jansson.h>

#include "formats/json_text.h"

/* Decodes what stands between quotes both ways: jansson is the judge. */
static void assert_as_jansson(const char *inner, size_t length)
{
    char quoted[64] = "\"", *ours = NULL;
    memcpy(quoted + 1, inner, length);
    quoted[length + 1] = '"';
    json_t *value = json_loadb(quoted, length + 2, JSON_DECODE_ANY, NULL);
    const char *theirs = json_string_value(value), *what = NULL;
    crn_status status = crn__json_decode(inner, length, &ours, &what);
    if ((status == CRN_OK) != (theirs != NULL) || (theirs != NULL && strcmp(ours, theirs) != 0))
        fail_msg("%s is \"%s\", not \"%s\"", quoted, ours, theirs);
    assert_int_equal(status, theirs != NULL ? CRN_OK : CRN_FORMAT);
    assert_true((what == NULL) == (status == CRN_OK));
    free(ours);
    json_decref(value);
}

static void strings_are_decoded(void **state)
{
    (void)state;
    static const char *const strings[] = {
        "", "plain", "\\\"\\\\\\/\\b\\f\\n\\r\\t", "\\u0041\\u00e9\\u20AC\\uffff", "\\u007f\\u0080",
        "\\u07ff\\u0800", "\\ud83d\\ude00", "\\uDBFF\\uDFFF", "\\ud800\\udc00",
        "\u00e9\u20ac\U0001F600",
        /* and not these */
        "\\", "\\x", "\\u", "\\u12", "\\u123g", "\\u0000", "\\ud83d", "\\ud83dx", "\\ud83d\\n",
        "\\ud83d\\u0041", "\\ud83d\\ud83d", "\\udc00", "\\ud83d\\u", "\\ud83d\\ude0", "\n", "\x1f",
        "\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3(", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        assert_as_jansson(strings[i], strlen(strings[i]));
    assert_as_jansson("a\0b", 3);
}

/* Pieces of what is critical, put together at random. */
static void mixtures_are_decoded(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a",    "\\\\",     "\\u",     "\\ud8", "\\udc", "00",
                                         "\\n",  "\xc3",     "\xa9",    "\xe2",  "\x82",  "\xac",
                                         "\xf0", "\x9f\x98", "\x80",    "\xed",  "\xbf",  "\\ud83d",
                                         "3d",   "\\ude00",  "\\\\\\\""};
    uint32_t noise = 3;
    for (int round = 0; round < 20000; round++) {
        char text[64] = "";
        for (int i = 0; i < 6; i++) {
            noise = noise * 1664525u + 1013904223u;
            strcat(text, pieces[(noise >> 16) % (sizeof pieces / sizeof pieces[0])]);
        }
        assert_as_jansson(text, strlen(text));
    }
}

static void every_character_is_utf8(void **state)
{
    (void)state;
    for (uint32_t code = 1; code < 0x110000; code += code < 0x3000 ? 1 : 37) {
        if (code >= 0xd800 && code < 0xe000)
            continue;
        char text[5] = "";
        int n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        for (int i = n; i-- > 1;)
            text[i] = (char)(0x80 | (code >> 6 * (n - 1 - i) & 0x3f));
        static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
        text[0] = (char)(heads[n] | code >> 6 * (n - 1));
        assert_true(crn__is_utf8(text));
        text[n - 1] = n > 1 ? 'x' : '\xff';
        assert_false(crn__is_utf8(text));
    }
}

static void what_is_written_is_read_by_jansson(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "plain", "\"\\/", "\n\t\x01\x1f\x7f",
                                        "\u00e9\u20ac\U0001F600"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *written = NULL;
        size_t size = 0;
        FILE *stream = open_memstream(&written, &size);
        crn__json_write(stream, texts[i]);
        assert_int_equal(fclose(stream), 0);
        json_t *value = json_loadb(written, size, JSON_DECODE_ANY, NULL);
        assert_string_equal(json_string_value(value), texts[i]);
        json_decref(value);
        free(written);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(mixtures_are_decoded),
        cmocka_unit_test(every_character_is_utf8),
        cmocka_unit_test(what_is_written_is_read_by_jansson),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
