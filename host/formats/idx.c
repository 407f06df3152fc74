/*
 * IDX (yann.lecun.com/exdb/mnist), whole or in a single gzip member:
 *
 *     u8 0, u8 0    magic
 *     u8            element type: 8 is unsigned byte; others are not read here
 *     u8            number of dimensions
 *     u32 …         each dimension, big-endian
 *     the rest      the elements, row-major; nothing behind them
 */
#include "formats/idx.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/input_file.h"

#define UNSIGNED_BYTE 8
/* deflate makes at most this many bytes of one. */
#define MAX_RATIO 1032u

/* A file read front to back, inflated on the way when it is gzip. */
typedef struct stream {
    crn__input_file file;
    uint64_t at; /* the next byte to be read from the file */
    bool gzip;
    bool ended; /* the gzip member is complete */
    z_stream inflater;
    unsigned char buffer[1 << 16];
} stream;

static crn_status open_stream(const char *path, stream *s, crn_error *error)
{
    CRN__TRY(crn__input_file_open(path, &s->file, error));
    unsigned char magic[2];
    if (s->file.size < sizeof magic)
        return CRN_OK;
    CRN__TRY(crn__input_file_read(&s->file, 0, magic, sizeof magic, error));
    bool gzip = magic[0] == 0x1f && magic[1] == 0x8b;
    if (gzip && inflateInit2(&s->inflater, 16 + MAX_WBITS) != Z_OK)
        return crn__fail_memory(error);
    s->gzip = gzip;
    return CRN_OK;
}

static void close_stream(stream *s)
{
    if (s->gzip)
        inflateEnd(&s->inflater);
    crn__input_file_close(&s->file);
}

static crn_status fill(stream *s, crn_error *error)
{
    uint64_t left = s->file.size - s->at;
    size_t n = left < sizeof s->buffer ? (size_t)left : sizeof s->buffer;
    if (n == 0)
        return crn__fail(error, CRN_FORMAT, "%s: is cut short", s->file.path);
    CRN__TRY(crn__input_file_read(&s->file, s->at, s->buffer, n, error));
    s->at += n;
    s->inflater.next_in = s->buffer;
    s->inflater.avail_in = (uInt)n;
    return CRN_OK;
}

/* Inflates until `bytes` are there or the member ends; *got says how many. */
static crn_status inflate_some(stream *s, void *data, size_t bytes, size_t *got, crn_error *error)
{
    for (*got = 0; *got < bytes && !s->ended;) {
        if (s->inflater.avail_in == 0)
            CRN__TRY(fill(s, error));
        size_t room = bytes - *got < UINT_MAX ? bytes - *got : UINT_MAX;
        s->inflater.next_out = (unsigned char *)data + *got;
        s->inflater.avail_out = (uInt)room;
        int result = inflate(&s->inflater, Z_NO_FLUSH);
        if (result == Z_MEM_ERROR)
            return crn__fail_memory(error);
        if (result != Z_OK && result != Z_STREAM_END)
            return crn__fail(error, CRN_FORMAT, "%s: broken gzip: %s", s->file.path,
                             s->inflater.msg != NULL ? s->inflater.msg : zError(result));
        *got += room - s->inflater.avail_out;
        s->ended = result == Z_STREAM_END;
    }
    return CRN_OK;
}

static crn_status read_bytes(stream *s, void *data, size_t bytes, crn_error *error)
{
    size_t got;
    if (!s->gzip) {
        CRN__TRY(crn__input_file_read(&s->file, s->at, data, bytes, error));
        s->at += bytes;
        return CRN_OK;
    }
    CRN__TRY(inflate_some(s, data, bytes, &got, error));
    return got == bytes ? CRN_OK : crn__fail(error, CRN_FORMAT, "%s: is cut short", s->file.path);
}

/* The array must be followed by the end; reading on checks gzip's own checksum too. */
static crn_status expect_end(stream *s, crn_error *error)
{
    unsigned char more;
    size_t got = 0;
    if (s->gzip)
        CRN__TRY(inflate_some(s, &more, 1, &got, error));
    return got == 0 && s->at - s->inflater.avail_in == s->file.size
               ? CRN_OK
               : crn__fail(error, CRN_FORMAT, "%s: has bytes behind its array", s->file.path);
}

static crn_status read_header(stream *s, int32_t rank, crn__idx *out, size_t *bytes,
                              crn_error *error)
{
    const char *path = s->file.path;
    unsigned char head[4 + 4 * CRN_MAX_RANK];
    CRN__TRY(read_bytes(s, head, 4, error));
    if (head[0] != 0 || head[1] != 0)
        return crn__fail(error, CRN_FORMAT, "%s: not an IDX file", path);
    if (head[2] != UNSIGNED_BYTE)
        return crn__fail(error, CRN_UNSUPPORTED, "%s: IDX element type %u, not unsigned bytes",
                         path, head[2]);
    if (head[3] != rank)
        return crn__fail(error, CRN_FORMAT, "%s: IDX with %u dimensions, not %d", path, head[3],
                         rank);
    CRN__TRY(read_bytes(s, head + 4, 4 * (size_t)rank, error));
    out->shape.rank = rank;
    for (int i = 0; i < rank; i++) {
        const unsigned char *d = head + 4 + 4 * i;
        out->shape.dims[i] = (int64_t)d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];
    }
    /* Before memory is asked for: can the file hold this at all? */
    int64_t count = crn_shape_count(&out->shape);
    uint64_t most = s->file.size;
    if (s->gzip && __builtin_mul_overflow(most, MAX_RATIO, &most))
        most = UINT64_MAX;
    if (count < 0 || (uint64_t)count > most || (uint64_t)count > SIZE_MAX)
        return crn__fail(error, CRN_FORMAT,
                         "%s: its dimensions ask for more data than a file of %" PRIu64
                         " bytes holds",
                         path, s->file.size);
    *bytes = (size_t)count;
    return CRN_OK;
}

static crn_status read_array(stream *s, int32_t rank, crn__idx *out, crn_error *error)
{
    size_t bytes = 0;
    CRN__TRY(read_header(s, rank, out, &bytes, error));
    out->data = crn__alloc(bytes, 1);
    if (out->data == NULL)
        return crn__fail_memory(error);
    CRN__TRY(read_bytes(s, out->data, bytes, error));
    return expect_end(s, error);
}

crn_status crn__idx_read(const char *path, int32_t rank, crn__idx *out, crn_error *error)
{
    *out = (crn__idx){0};
    stream *s = crn__alloc(1, sizeof *s);
    if (s == NULL)
        return crn__fail_memory(error);
    crn_status status = open_stream(path, s, error);
    if (status == CRN_OK)
        status = read_array(s, rank, out, error);
    if (status != CRN_OK) {
        free(out->data);
        *out = (crn__idx){0};
    }
    close_stream(s);
    free(s);
    return status;
}
