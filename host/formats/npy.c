/*
 * NumPy's .npy (numpy/lib/format.py), versions 1.0, 2.0 and 3.0:
 *
 *     6 bytes     93 'N' 'U' 'M' 'P' 'Y'
 *     2 bytes     major and minor version
 *     u16 or u32  little-endian: the header's length n; u16 in version 1
 *     n bytes     a Python dictionary, {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), },
 *                 spaces, a newline; the data then begins at a multiple of 64 (16 in old files).
 *                 Latin-1 in versions 1 and 2, UTF-8 in 3: names that we understand are ASCII
 *     the rest    the elements, row-major
 *
 * Refused: other element types, big-endian ones, Fortran order, more than CRN_MAX_RANK dimensions,
 * bytes behind the array.
 */
#include "formats/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clarinet/data.h"
#include "core/error.h"
#include "core/memory.h"
#include "formats/atomic_file.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_LENGTH (sizeof MAGIC - 1)
/* A header that we understand has some 200 characters. */
#define MAX_HEADER 65536u
#define ALIGNMENT 64

static const struct {
    const char *descr;
    crn__npy_type type;
    uint32_t size;
} types[] = {{"<f4", CRN__NPY_F32, 4}, {"<f8", CRN__NPY_F64, 8}, {"|i1", CRN__NPY_I8, 1},
             {"<i2", CRN__NPY_I16, 2}, {"<i4", CRN__NPY_I32, 4}, {"<i8", CRN__NPY_I64, 8},
             {"|u1", CRN__NPY_U8, 1},  {"<u2", CRN__NPY_U16, 2}, {"<u4", CRN__NPY_U32, 4},
             {"<u8", CRN__NPY_U64, 8}, {"|b1", CRN__NPY_BOOL, 1}};

static uint32_t type_size(crn__npy_type type)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].type == type)
            return types[i].size;
    return 0;
}

/* ---- the dictionary ---- */

typedef struct cursor {
    const char *path;
    const char *at; /* in a text that ends in NUL */
    crn_error *error;
} cursor;

static crn_status fail_header(const cursor *c, const char *what)
{
    return crn__fail(c->error, CRN_FORMAT, "%s: .npy header: %s before \"%.20s\"", c->path, what,
                     c->at);
}

static bool accept(cursor *c, const char *word)
{
    c->at += strspn(c->at, " ");
    if (strncmp(c->at, word, strlen(word)) != 0)
        return false;
    c->at += strlen(word);
    return true;
}

/* A string of either kind of quotes, at most size-1 characters without backslashes. */
static crn_status read_string(cursor *c, char *text, size_t size)
{
    const char *quote = accept(c, "'") ? "'" : accept(c, "\"") ? "\"" : NULL;
    if (quote == NULL)
        return fail_header(c, "expected a string");
    size_t length = strcspn(c->at, quote);
    if (c->at[length] == '\0' || length >= size || memchr(c->at, '\\', length) != NULL)
        return fail_header(c, "a string is not one of NumPy's");
    snprintf(text, size, "%.*s", (int)length, c->at);
    c->at += length + 1;
    return CRN_OK;
}

static crn_status read_type(cursor *c, crn__npy *npy)
{
    char descr[32];
    if (accept(c, "["))
        return crn__fail(c->error, CRN_UNSUPPORTED, "%s: an array of records", c->path);
    CRN__TRY(read_string(c, descr, sizeof descr));
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].descr, descr) == 0) {
            npy->type = types[i].type;
            return CRN_OK;
        }
    return crn__fail(c->error, CRN_UNSUPPORTED,
                     "%s: element type \"%s\"; clarinet reads little-endian float32, float64, "
                     "integers and bool",
                     c->path, descr);
}

static crn_status read_order(cursor *c)
{
    if (accept(c, "True"))
        return crn__fail(c->error, CRN_UNSUPPORTED,
                         "%s: the array is in Fortran order; save numpy.ascontiguousarray(it)",
                         c->path);
    return accept(c, "False") ? CRN_OK : fail_header(c, "expected True or False");
}

static crn_status read_dimension(cursor *c, int64_t *out)
{
    c->at += strspn(c->at, " ");
    size_t digits = strspn(c->at, "0123456789");
    if (digits == 0 || (digits > 1 && *c->at == '0'))
        return fail_header(c, "expected a dimension");
    for (*out = 0; digits > 0; digits--, c->at++)
        if (__builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, *c->at - '0', out))
            return fail_header(c, "a dimension is too large");
    return CRN_OK;
}

/* "()", "(3,)", "(3, 4)" or "(3, 4,)". */
static crn_status read_shape(cursor *c, crn_shape *shape)
{
    shape->rank = 0;
    if (!accept(c, "("))
        return fail_header(c, "expected '('");
    while (!accept(c, ")")) {
        if (shape->rank == CRN_MAX_RANK)
            return crn__fail(c->error, CRN_UNSUPPORTED, "%s: more than %d dimensions", c->path,
                             CRN_MAX_RANK);
        CRN__TRY(read_dimension(c, &shape->dims[shape->rank++]));
        bool comma = accept(c, ",");
        if (!comma && (shape->rank == 1 || !accept(c, ")")))
            return fail_header(c, "expected ','");
        if (!comma)
            break;
    }
    return CRN_OK;
}

static crn_status read_dictionary(cursor *c, crn__npy *npy)
{
    enum { DESCR, ORDER, SHAPE, N_KEYS };
    static const char *const keys[N_KEYS] = {"descr", "fortran_order", "shape"};
    bool seen[N_KEYS] = {false};
    if (!accept(c, "{"))
        return fail_header(c, "expected '{'");
    for (int n = 0; n < N_KEYS; n++) {
        char key[32];
        CRN__TRY(read_string(c, key, sizeof key));
        int k = 0;
        while (k < N_KEYS && strcmp(key, keys[k]) != 0)
            k++;
        if (k == N_KEYS || seen[k] || !accept(c, ":"))
            return fail_header(c, "expected descr, fortran_order and shape, once each,");
        seen[k] = true;
        CRN__TRY(k == DESCR   ? read_type(c, npy)
                 : k == ORDER ? read_order(c)
                              : read_shape(c, &npy->shape));
        if (!accept(c, ",") && n < N_KEYS - 1)
            return fail_header(c, "expected ','");
    }
    if (!accept(c, "}"))
        return fail_header(c, "expected '}'");
    accept(c, "\n");
    return *c->at == '\0' ? CRN_OK : fail_header(c, "expected the end");
}

/* ---- the file ---- */

static crn_status read_header(crn__npy *npy, crn_error *error)
{
    const char *path = npy->file.path;
    unsigned char start[MAGIC_LENGTH + 2];
    if (npy->file.size < sizeof start + sizeof(uint32_t))
        return crn__fail(error, CRN_FORMAT, "%s: not a .npy file: only %" PRIu64 " bytes", path,
                         npy->file.size);
    CRN__TRY(crn__input_file_read(&npy->file, 0, start, sizeof start, error));
    unsigned major = start[MAGIC_LENGTH];
    if (memcmp(start, MAGIC, MAGIC_LENGTH) != 0)
        return crn__fail(error, CRN_FORMAT, "%s: not a .npy file", path);
    if (major < 1 || major > 3 || start[MAGIC_LENGTH + 1] != 0)
        return crn__fail(error, CRN_UNSUPPORTED, "%s: .npy version %u.%u", path, major,
                         start[MAGIC_LENGTH + 1]);

    uint32_t length = 0;
    size_t width = major == 1 ? sizeof(uint16_t) : sizeof(uint32_t);
    CRN__TRY(crn__input_file_read(&npy->file, sizeof start, &length, width, error));
    npy->data_start = sizeof start + width + length;
    if (length > MAX_HEADER || npy->data_start > npy->file.size)
        return crn__fail(error, CRN_FORMAT, "%s: a .npy header of %" PRIu32 " bytes", path, length);

    char *text = crn__alloc((size_t)length + 1, 1);
    if (text == NULL)
        return crn__fail_memory(error);
    cursor c = {path, text, error};
    crn_status status = crn__input_file_read(&npy->file, sizeof start + width, text, length, error);
    if (status == CRN_OK && strlen(text) != length)
        status = crn__fail(error, CRN_FORMAT, "%s: a NUL in the .npy header", path);
    if (status == CRN_OK)
        status = read_dictionary(&c, npy);
    free(text);
    return status;
}

static crn_status check_size(crn__npy *npy, crn_error *error)
{
    int64_t count = crn_shape_count(&npy->shape);
    uint64_t bytes, have = npy->file.size - npy->data_start;
    if (count < 0 || __builtin_mul_overflow((uint64_t)count, type_size(npy->type), &bytes))
        return crn__fail(error, CRN_FORMAT, "%s: its shape is too large", npy->file.path);
    if (bytes != have)
        return crn__fail(error, CRN_FORMAT,
                         "%s: %" PRIu64 " bytes of data where its shape and type ask for %" PRIu64,
                         npy->file.path, have, bytes);
    npy->count = (uint64_t)count;
    return CRN_OK;
}

crn_status crn__npy_open(const char *path, crn__npy *npy, crn_error *error)
{
    *npy = (crn__npy){0};
    crn_status status = crn__input_file_open(path, &npy->file, error);
    if (status == CRN_OK)
        status = read_header(npy, error);
    if (status == CRN_OK)
        status = check_size(npy, error);
    if (status != CRN_OK)
        crn__npy_close(npy);
    return status;
}

void crn__npy_close(crn__npy *npy)
{
    crn__input_file_close(&npy->file);
}

crn_status crn__npy_read_raw(const crn__npy *npy, uint64_t first, size_t count, void *data,
                             crn_error *error)
{
    uint32_t size = type_size(npy->type);
    return crn__input_file_read(&npy->file, npy->data_start + first * size, data, count * size,
                                error);
}

/* ---- conversion ---- */

#define CHUNK_BYTES 8192 /* converted at once */

/* One stored element, at no particular alignment, converted to what the function returns. */
#define CASE(name, T, convert)            \
    case CRN__NPY_##name: {               \
        T value;                          \
        memcpy(&value, at, sizeof value); \
        return convert;                   \
    }

static float float_at(crn__npy_type type, const unsigned char *at)
{
    switch (type) {
        CASE(F32, float, value)
        CASE(F64, double, (float)value)
        CASE(I8, int8_t, value)
        CASE(I16, int16_t, value)
        CASE(I32, int32_t, (float)value)
        CASE(I64, int64_t, (float)value)
        CASE(U8, uint8_t, value)
        CASE(U16, uint16_t, value)
        CASE(U32, uint32_t, (float)value)
        CASE(U64, uint64_t, (float)value)
        CASE(BOOL, uint8_t, value != 0 ? 1.0f : 0.0f)
    }
    return 0;
}

static int64_t integer_at(crn__npy_type type, const unsigned char *at)
{
    switch (type) {
        CASE(I8, int8_t, value)
        CASE(I16, int16_t, value)
        CASE(I32, int32_t, value)
        CASE(I64, int64_t, value)
        CASE(U8, uint8_t, value)
        CASE(U16, uint16_t, value)
        CASE(U32, uint32_t, value)
        CASE(U64, uint64_t, value > INT64_MAX ? INT64_MAX : (int64_t)value)
        CASE(BOOL, uint8_t, value != 0)
    case CRN__NPY_F32:
    case CRN__NPY_F64:
        break;
    }
    return 0;
}

/* Reads in chunks into whichever of floats and integers is not NULL. */
static crn_status convert(const crn__npy *npy, uint64_t first, size_t count, float *floats,
                          int64_t *integers, crn_error *error)
{
    unsigned char chunk[CHUNK_BYTES];
    uint32_t size = type_size(npy->type);
    for (size_t done = 0; done < count;) {
        size_t n = count - done < CHUNK_BYTES / size ? count - done : CHUNK_BYTES / size;
        CRN__TRY(crn__npy_read_raw(npy, first + done, n, chunk, error));
        for (size_t i = 0; i < n; i++, done++)
            if (floats != NULL)
                floats[done] = float_at(npy->type, chunk + i * size);
            else
                integers[done] = integer_at(npy->type, chunk + i * size);
    }
    return CRN_OK;
}

crn_status crn__npy_read_floats(const crn__npy *npy, uint64_t first, size_t count, float *data,
                                crn_error *error)
{
    return npy->type == CRN__NPY_F32 ? crn__npy_read_raw(npy, first, count, data, error)
                                     : convert(npy, first, count, data, NULL, error);
}

crn_status crn__npy_read_integers(const crn__npy *npy, uint64_t first, size_t count, int64_t *data,
                                  crn_error *error)
{
    if (npy->type == CRN__NPY_F32 || npy->type == CRN__NPY_F64)
        return crn__fail(error, CRN_UNSUPPORTED, "%s: holds floats where integers are needed",
                         npy->file.path);
    return convert(npy, first, count, NULL, data, error);
}

crn_status crn_npy_read(const char *path, float **data, crn_shape *shape, crn_error *error)
{
    crn__npy npy;
    CRN__TRY(crn__npy_open(path, &npy, error));
    crn_status status = CRN_OK;
    float *read = npy.count <= SIZE_MAX ? crn__alloc((size_t)npy.count, sizeof *read) : NULL;
    if (read == NULL)
        status = crn__fail_memory(error);
    else
        status = crn__npy_read_floats(&npy, 0, (size_t)npy.count, read, error);
    if (status == CRN_OK) {
        *data = read;
        *shape = npy.shape;
    } else {
        free(read);
    }
    crn__npy_close(&npy);
    return status;
}

/* ---- writing ---- */

/* Magic, version 1.0, length and dictionary as numpy.save writes them; the number of bytes. */
static size_t make_header(const crn_shape *shape, char *text, size_t size)
{
    static const size_t before = MAGIC_LENGTH + 2 + sizeof(uint16_t);
    memset(text, ' ', size);
    memcpy(text, MAGIC "\x01\x00", MAGIC_LENGTH + 2);
    size_t at = before;
    at += (size_t)snprintf(text + at, size - at,
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < shape->rank; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%" PRId64 "%s", i > 0 ? " " : "",
                               shape->dims[i], i + 1 < shape->rank || shape->rank == 1 ? "," : "");
    at += (size_t)snprintf(text + at, size - at, "), }");
    text[at] = ' '; /* where snprintf put its NUL */
    size_t end = (at + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    text[end - 1] = '\n';
    uint16_t length = (uint16_t)(end - before);
    memcpy(text + before - sizeof length, &length, sizeof length);
    return end;
}

crn_status crn_npy_write(const char *path, const float *data, const crn_shape *shape,
                         crn_error *error)
{
    int64_t count = crn_shape_count(shape);
    size_t bytes;
    if (count < 0 || !crn__size_mul((size_t)count, sizeof *data, &bytes))
        return crn__fail(error, CRN_INVALID, "%s: an array of no valid shape", path);
    char header[4 * ALIGNMENT]; /* four dimensions of 19 digits need 152 characters */
    size_t length = make_header(shape, header, sizeof header);
    crn__atomic_file *file;
    CRN__TRY(crn__atomic_file_create(path, &file, error));
    crn_status status = crn__atomic_file_write(file, header, length, error);
    if (status == CRN_OK)
        status = crn__atomic_file_write(file, data, bytes, error);
    if (status == CRN_OK)
        return crn__atomic_file_commit(file, error);
    crn__atomic_file_abort(file);
    return status;
}
