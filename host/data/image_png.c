#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/image.h"

/* Memory for a chunk of text, a profile and the like, none of which is used. */
#define MAX_CHUNK_MEMORY ((png_alloc_size_t)8 << 20)

typedef struct decoder {
    png_structp png;
    png_infop info;
    const unsigned char *data; /* the file */
    size_t size, at;
    unsigned char *pixels;
    png_bytep *rows;
    bool no_memory;
    char message[128];
} decoder;

/* libpng and its zlib say "broken" where memory is short: noted here, where it is known. */
static png_voidp on_malloc(png_structp png, png_alloc_size_t bytes)
{
    decoder *d = png_get_mem_ptr(png);
    png_voidp memory = malloc(bytes);
    if (memory == NULL)
        d->no_memory = true;
    return memory;
}

static void on_free(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static void on_error(png_structp png, png_const_charp message)
{
    decoder *d = png_get_error_ptr(png);
    snprintf(d->message, sizeof d->message, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void on_read(png_structp png, png_bytep data, size_t bytes)
{
    decoder *d = png_get_io_ptr(png);
    if (bytes > d->size - d->at)
        png_error(png, "it is cut short");
    memcpy(data, d->data + d->at, bytes);
    d->at += bytes;
}

/*
 * libpng reports errors by longjmp. Only these two functions are jumped back into: they own nothing
 * and have no variables of their own, so that nothing is lost by it.
 */
static bool read_header(decoder *d)
{
    if (setjmp(png_jmpbuf(d->png)) != 0)
        return false;
    png_set_read_fn(d->png, d, on_read);
    png_set_user_limits(d->png, CRN__IMAGE_MAX_SIDE, CRN__IMAGE_MAX_SIDE);
    png_set_chunk_malloc_max(d->png, MAX_CHUNK_MEMORY);
    png_set_crc_action(d->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_read_info(d->png, d->info);
    png_set_expand(d->png); /* palettes, 1 to 4 bits, transparent colours */
    png_set_scale_16(d->png);
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    return true;
}

static bool read_pixels(decoder *d)
{
    if (setjmp(png_jmpbuf(d->png)) != 0)
        return false;
    png_read_image(d->png, d->rows);
    png_read_end(d->png, NULL);
    return true;
}

#ifdef PNG_eXIf_SUPPORTED
static int orientation_of(decoder *d)
{
    png_uint_32 size = 0;
    png_bytep data = NULL;
    bool has = png_get_eXIf_1(d->png, d->info, &size, &data) != 0 && data != NULL;
    return has ? crn__exif_orientation(data, size) : 1;
}
#else
static int orientation_of(decoder *d)
{
    (void)d;
    return 1;
}
#endif

static crn_status fail(const decoder *d, const char *path, crn_error *error)
{
    return d->no_memory ? crn__fail_memory(error)
                        : crn__fail(error, CRN_FORMAT, "%s: broken PNG: %s", path, d->message);
}

static crn_status decode(decoder *d, const char *path, int *orientation, crn__image *out,
                         crn_error *error)
{
    if (!read_header(d))
        return fail(d, path, error);
    size_t height = png_get_image_height(d->png, d->info);
    size_t width = png_get_image_width(d->png, d->info);
    size_t row = png_get_rowbytes(d->png, d->info);
    int channels = png_get_channels(d->png, d->info);
    CRN__TRY(crn__image_check_size(path, (int64_t)height, (int64_t)width, error));

    d->pixels = crn__alloc(height, row);
    d->rows = crn__alloc(height, sizeof *d->rows);
    if (d->pixels == NULL || d->rows == NULL)
        return crn__fail_memory(error);
    for (size_t y = 0; y < height; y++)
        d->rows[y] = d->pixels + y * row;
    if (!read_pixels(d))
        return fail(d, path, error);

    bool alpha = channels == 2 || channels == 4;
    if (alpha)
        crn__composite(d->pixels, height * width, channels);
    *out = (crn__image){.height = (int32_t)height,
                        .width = (int32_t)width,
                        .channels = channels - alpha,
                        .bytes = d->pixels,
                        .owned = d->pixels};
    d->pixels = NULL;
    *orientation = orientation_of(d);
    return CRN_OK;
}

crn_status crn__png_decode(const char *path, const unsigned char *data, size_t size,
                           int *orientation, crn__image *out, crn_error *error)
{
    decoder d = {.data = data, .size = size};
    d.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning, &d, on_malloc,
                                     on_free);
    d.info = d.png != NULL ? png_create_info_struct(d.png) : NULL;
    crn_status status =
        d.info != NULL ? decode(&d, path, orientation, out, error) : crn__fail_memory(error);
    png_destroy_read_struct(&d.png, &d.info, NULL);
    free(d.rows);
    free(d.pixels);
    return status;
}
