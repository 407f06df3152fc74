/* Which format a checkpoint is of, and which file a path means. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/error.h"
#include "core/memory.h"
#include "formats/checkpoint_file.h"
#include "formats/element.h"
#include "formats/safetensors_header.h"
#include "formats/table.h"

#define STATE_FILE "checkpoint"
#define MAX_STATE_FILE (1 << 20)

/* ---- the step ---- */

/* Takes the step from an integer tensor "global_step" of one element, as TensorFlow has it. */
static crn_status read_step(crn_checkpoint *checkpoint, crn_error *error)
{
    size_t index = 0;
    if (crn_checkpoint_metadata(checkpoint, CRN__STEP_KEY) != NULL ||
        crn__checkpoint_index(checkpoint, CRN__STEP_KEY, &index, NULL) != CRN_OK)
        return CRN_OK;
    const crn_checkpoint_entry *entry = &checkpoint->entries[index];
    bool wide = strcmp(entry->dtype, "I64") == 0;
    if ((!wide && strcmp(entry->dtype, "I32") != 0) || entry->bytes != (wide ? 8 : 4))
        return CRN_OK;
    int64_t step = 0;
    int32_t narrow = 0;
    CRN__TRY(checkpoint->kind->read(checkpoint, index, wide ? (void *)&step : &narrow, error));
    snprintf(checkpoint->step, sizeof checkpoint->step, "%" PRId64, wide ? step : narrow);
    return CRN_OK;
}

/* ---- content ---- */

/* Opens by what the file begins and ends with; takes it over. */
static crn_status open_content(crn__input_file *file, crn_checkpoint *checkpoint, crn_error *error)
{
    uint64_t length = 0, magic = 0;
    char first = 0;
    if (file->size >= sizeof length + 1) {
        CRN__TRY(crn__input_file_read(file, 0, &length, sizeof length, error));
        CRN__TRY(crn__input_file_read(file, sizeof length, &first, 1, error));
        CRN__TRY(
            crn__input_file_read(file, file->size - sizeof magic, &magic, sizeof magic, error));
    }
    bool fits = file->size >= sizeof length + 1 && length <= CRN__SAFETENSORS_MAX_HEADER &&
                length <= file->size - sizeof length;
    if (magic == CRN__TABLE_MAGIC && !(fits && first == '{'))
        return crn__tensorflow_open(file, checkpoint, error);
    if (fits)
        return crn__safetensors_open(file, checkpoint, error);
    return crn__fail(error, CRN_FORMAT,
                     "%s: no checkpoint, or cut short: it neither begins as a safetensors file nor "
                     "ends as a TensorFlow checkpoint (%" PRIu64 " bytes)",
                     file->path, file->size);
}

static crn_status open_file(const char *path, crn_checkpoint **out, crn_error *error)
{
    crn_checkpoint *checkpoint = crn__alloc(1, sizeof *checkpoint);
    if (checkpoint == NULL)
        return crn__fail_memory(error);
    crn__input_file file;
    crn_status status = crn__input_file_open(path, &file, error);
    if (status == CRN_OK && (checkpoint->path = crn__strdup(path)) == NULL)
        status = crn__fail_memory(error);
    if (status == CRN_OK)
        status = open_content(&file, checkpoint, error);
    crn__input_file_close(&file); /* what was taken over is closed already */
    if (status == CRN_OK)
        status = read_step(checkpoint, error);
    if (status == CRN_OK)
        *out = checkpoint;
    else
        crn_checkpoint_free(checkpoint);
    return status;
}

/* ---- paths ---- */

static bool is_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* The length of PREFIX in "PREFIX.data-DDDDD-of-DDDDD", or 0. */
static size_t data_prefix(const char *path)
{
    static const char pattern[] = ".data-00000-of-00000";
    size_t length = strlen(path), tail = sizeof pattern - 1;
    if (length <= tail)
        return 0;
    for (size_t i = 0; i < tail; i++) {
        char c = path[length - tail + i];
        if (pattern[i] == '0' ? !isdigit((unsigned char)c) : c != pattern[i])
            return 0;
    }
    return length - tail;
}

/* *index: the index file of which `path` is the prefix or a data file; or NULL, with CRN_OK. */
static crn_status find_index(const char *path, char **index, crn_error *error)
{
    size_t prefix = data_prefix(path);
    *index = NULL;
    if (prefix == 0 && is_file(path))
        return CRN_OK;
    char *name = crn__format("%.*s.index", (int)(prefix > 0 ? prefix : strlen(path)), path);
    if (name == NULL)
        return crn__fail_memory(error);
    if (is_file(name))
        *index = name;
    else
        free(name);
    return CRN_OK;
}

static crn_status open_path(const char *path, crn_checkpoint **out, crn_error *error)
{
    char *index;
    CRN__TRY(find_index(path, &index, error));
    crn_status status = open_file(index != NULL ? index : path, out, error);
    free(index);
    return status;
}

/* ---- folders ---- */

/*
 * The state file is a text protocol buffer: lines like
 *     model_checkpoint_path: "/home/me/train/model.ckpt-100"
 * of which the last of this key counts. *name points into text.
 */
static bool read_state(char *text, char **name)
{
    static const char key[] = "model_checkpoint_path:";
    *name = NULL;
    for (char *line = text, *end; line != NULL; line = end) {
        end = strchr(line, '\n');
        if (end != NULL)
            *end++ = '\0';
        line += strspn(line, " \t");
        if (strncmp(line, key, sizeof key - 1) != 0)
            continue;
        char *value = line + sizeof key - 1;
        value += strspn(value, " \t");
        char quote = *value++;
        char *close = quote == '"' || quote == '\'' ? strchr(value, quote) : NULL;
        if (close == NULL || memchr(value, '\\', (size_t)(close - value)) != NULL)
            return false;
        *close = '\0';
        *name = *value == '/' ? strrchr(value, '/') + 1 : value;
    }
    return *name != NULL && **name != '\0' && strcmp(*name, ".") != 0 && strcmp(*name, "..") != 0 &&
           strchr(*name, '/') == NULL;
}

static crn_status open_folder(const char *folder, crn_checkpoint **out, crn_error *error)
{
    unsigned char *data = NULL;
    size_t bytes = 0;
    char *state = crn__format("%s/" STATE_FILE, folder), *text = NULL, *path = NULL, *name;
    crn_status status = state == NULL ? crn__fail_memory(error) : CRN_OK;
    if (status == CRN_OK && !is_file(state))
        status = crn__fail(error, CRN_NOT_FOUND,
                           "%s: a folder without a file \"" STATE_FILE
                           "\", in which TensorFlow keeps the latest checkpoint's name",
                           folder);
    if (status == CRN_OK)
        status = crn__input_file_load(state, MAX_STATE_FILE, &data, &bytes, error);
    if (status == CRN_OK) {
        text = crn__format("%.*s", (int)bytes, (char *)data);
        if (text == NULL)
            status = crn__fail_memory(error);
        else if (!read_state(text, &name))
            status =
                crn__fail(error, CRN_FORMAT,
                          "%s: has no model_checkpoint_path that is a name in its folder", state);
        else if ((path = crn__format("%s/%s", folder, name)) == NULL)
            status = crn__fail_memory(error);
        free(data);
    }
    if (status == CRN_OK)
        status = is_folder(path)
                     ? crn__fail(error, CRN_FORMAT, "%s: names the folder %s", state, path)
                     : open_path(path, out, error);
    free(state);
    free(text);
    free(path);
    return status;
}

crn_status crn_checkpoint_open(const char *path, crn_checkpoint **out, crn_error *error)
{
    if (path == NULL)
        return crn__fail(error, CRN_INVALID, "a file's path is NULL");
    return is_folder(path) ? open_folder(path, out, error) : open_path(path, out, error);
}
