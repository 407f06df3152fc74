/*
 * jansson would do this, but it does not tell a lack of memory from a broken text, and a header of
 * a hundred thousand strings is many allocations.
 */
#include "formats/json_text.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

/* Bytes of the character at text, RFC 3629's table; 0 when it is none. */
static size_t utf8_size(const char *text, size_t left)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t size = s[0] < 0x80   ? 1
                  : s[0] < 0xc2 ? 0
                  : s[0] < 0xe0 ? 2
                  : s[0] < 0xf0 ? 3
                  : s[0] < 0xf5 ? 4
                                : 0;
    if (size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool longer_than_needed = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] > 0x9f;
    bool past_the_end = s[0] == 0xf4 && s[1] > 0x8f;
    return longer_than_needed || surrogate || past_the_end ? 0 : size;
}

bool crn__is_utf8(const char *text)
{
    size_t left = strlen(text), size;
    for (; left > 0; text += size, left -= size)
        if ((size = utf8_size(text, left)) == 0)
            return false;
    return true;
}

static char *put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3; /* bytes of six bits after the first */
    *out++ = (char)((0xff00u >> (more + 1) & 0xff) | code >> 6 * more);
    while (more-- > 0)
        *out++ = (char)(0x80 | (code >> 6 * more & 0x3f));
    return out;
}

/* The four digits of \uXXXX at text; UINT32_MAX when they are not there. */
static uint32_t hex4(const char *text, const char *end)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    uint32_t value = 0;
    if (end - text < 4)
        return UINT32_MAX;
    for (int i = 0; i < 4; i++) {
        const char *digit = memchr(digits, text[i], sizeof digits - 1);
        if (digit == NULL)
            return UINT32_MAX;
        value = value << 4 | ((uint32_t)(digit - digits) & 15);
    }
    return value;
}

/* Decodes the escape behind a backslash. Returns what follows it, or NULL. */
static const char *decode_escape(const char *at, const char *end, char **out)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (at == end)
        return NULL;
    const char *name = memchr(names, *at, sizeof names - 1);
    if (name != NULL) {
        *(*out)++ = values[name - names];
        return at + 1;
    }
    uint32_t code = *at == 'u' ? hex4(at + 1, end) : UINT32_MAX, low;
    if (code == 0 || code == UINT32_MAX || (code >= 0xdc00 && code <= 0xdfff))
        return NULL;
    at += 5;
    if (code >= 0xd800 && code < 0xdc00) { /* the first half of a pair */
        low = end - at > 2 && at[0] == '\\' && at[1] == 'u' ? hex4(at + 2, end) : 0;
        if (low < 0xdc00 || low > 0xdfff)
            return NULL;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
    }
    *out = put_utf8(*out, code);
    return at;
}

crn_status crn__json_decode(const char *text, size_t length, char **out, const char **what)
{
    const char *end = text + length;
    char *decoded = crn__alloc(length + 1, 1), *to = decoded; /* never longer than what it means */
    if (decoded == NULL)
        return CRN_NO_MEMORY;
    for (*what = NULL; text < end && *what == NULL;) {
        size_t size = utf8_size(text, (size_t)(end - text));
        if (*text == '\\') {
            text = decode_escape(text + 1, end, &to);
            *what = text == NULL ? "an escape that does not exist" : NULL;
        } else if (size == 0) {
            *what = "text that is not UTF-8";
        } else if ((unsigned char)*text < 0x20) {
            *what = "a control character in a string";
        } else {
            memcpy(to, text, size);
            to += size;
            text += size;
        }
    }
    if (*what != NULL)
        free(decoded);
    else
        *out = decoded;
    return *what != NULL ? CRN_FORMAT : CRN_OK;
}

void crn__json_write(FILE *stream, const char *text)
{
    fputc('"', stream);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', stream);
        if ((unsigned char)*text < 0x20)
            fprintf(stream, "\\u%04x", (unsigned)*text);
        else
            fputc(*text, stream);
    }
    fputc('"', stream);
}
