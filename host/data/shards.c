#include "data/shards.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/error.h"
#include "core/memory.h"
#include "data/dataset.h"
#include "data/listing.h"
#include "formats/input_file.h"
#include "formats/json_text.h"

#define MAX_LABELS_FILE ((uint64_t)16 << 20)

void crn__shards_end(crn__shards *shards)
{
    for (size_t i = 0; i < shards->count; i++)
        free(shards->paths[i]);
    free(shards->paths);
    *shards = (crn__shards){0};
}

/* ---- names ---- */

typedef struct shard_name {
    size_t stem; /* length of the name before what is told here */
    unsigned long number, of;
    bool numbered, suffixed;
} shard_name;

static bool ends_with(const char *text, size_t length, const char *end)
{
    size_t n = strlen(end);
    return length >= n && memcmp(text + length - n, end, n) == 0;
}

/* Takes digits off the end of text[0…*length). */
static bool take_number(const char *text, size_t *length, unsigned long *number)
{
    size_t end = *length, begin = end;
    while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9')
        begin--;
    *number = strtoul(text + begin, NULL, 10);
    *length = begin;
    return end > begin && end - begin <= 9;
}

static shard_name parse(const char *name)
{
    size_t length = strlen(name);
    shard_name s = {0};
    static const char *const suffixes[] = {".tfrecord", ".tfrecords"};
    for (int i = 0; i < 2 && !s.suffixed; i++)
        if (ends_with(name, length, suffixes[i])) {
            length -= strlen(suffixes[i]);
            s.suffixed = true;
        }
    s.stem = length;
    s.of = 1;
    unsigned long number, of;
    if (!take_number(name, &length, &of) || !ends_with(name, length, "-of-"))
        return s;
    length -= strlen("-of-");
    if (!take_number(name, &length, &number) || length == 0 ||
        (name[length - 1] != '-' && name[length - 1] != '_'))
        return s;
    return (shard_name){length - 1, number, of, true, s.suffixed};
}

bool crn__is_shard_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    shard_name s = parse(slash != NULL ? slash + 1 : path);
    return s.numbered || s.suffixed;
}

static bool is_shard_file(int folder, const char *name)
{
    struct stat status;
    return crn__is_shard_name(name) && fstatat(folder, name, &status, 0) == 0 &&
           S_ISREG(status.st_mode);
}

/* A whole word: NAME_train, NAME-train or train. */
static bool is_split(const char *name, size_t stem, const char *split)
{
    size_t n = strlen(split);
    return ends_with(name, stem, split) &&
           (stem == n || name[stem - n - 1] == '_' || name[stem - n - 1] == '-');
}

/* ---- sets of shards ---- */

static bool same_stem(const char *a, const char *b)
{
    size_t stem = parse(a).stem;
    return stem == parse(b).stem && memcmp(a, b, stem) == 0;
}

/* The names, which are sorted, with the stem of `like`; each number is there once. */
static crn_status take_set(const char *folder, const crn__names *names, const char *like,
                           crn__shards *out, crn_error *error)
{
    shard_name first = parse(like);
    out->paths = crn__alloc(names->count, sizeof *out->paths);
    if (out->paths == NULL)
        return crn__fail_memory(error);
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->names[i];
        if (!same_stem(name, like))
            continue;
        shard_name s = parse(name);
        if (s.number != out->count || s.of != first.of)
            return crn__fail(error, CRN_FORMAT, "%s/%s: not shard %zu of %lu", folder, name,
                             out->count, first.of);
        if ((out->paths[out->count] = crn__path_join(folder, name)) == NULL)
            return crn__fail_memory(error);
        out->count++;
    }
    if (out->count != first.of)
        return crn__fail(error, CRN_FORMAT, "%s/%s: only %zu of its %lu shards are here", folder,
                         like, out->count, first.of);
    return CRN_OK;
}

/* *like: a name of the split (NULL: any); NULL when there is none. */
static crn_status find_set(const char *folder, const crn__names *names, const char *split,
                           const char **like, crn_error *error)
{
    *like = NULL;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->names[i];
        if (split != NULL && !is_split(name, parse(name).stem, split))
            continue;
        if (*like == NULL)
            *like = name;
        else if (!same_stem(*like, name))
            return crn__fail(error, CRN_FORMAT, "%s: %s and %s are of two data sets", folder, *like,
                             name);
    }
    return CRN_OK;
}

static crn_status find_sets(const char *folder, const crn__names *names, crn__shards *train,
                            crn__shards *test, crn_error *error)
{
    static const char *const others[] = {"test", "validation", "val"};
    const char *first, *second = NULL;
    CRN__TRY(find_set(folder, names, "train", &first, error));
    for (size_t i = 0; first != NULL && second == NULL && i < 3; i++)
        CRN__TRY(find_set(folder, names, others[i], &second, error));
    if (first == NULL)
        CRN__TRY(find_set(folder, names, NULL, &first, error));
    if (first != NULL)
        CRN__TRY(take_set(folder, names, first, train, error));
    return second != NULL ? take_set(folder, names, second, test, error) : CRN_OK;
}

crn_status crn__shards_list(const char *folder, crn__shards *train, crn__shards *test,
                            crn_error *error)
{
    crn__names names;
    CRN__TRY(crn__list_folder(folder, is_shard_file, &names, error));
    crn_status status = find_sets(folder, &names, train, test, error);
    crn__names_end(&names);
    return status;
}

/* ---- labels.txt ---- */

#define MAX_LABEL 65535

/* Makes room for names[0…count) in what has *have. */
static bool grow_names(char ***names, size_t *have, size_t count)
{
    if (count <= *have)
        return true;
    char **grown = realloc(*names, count * sizeof *grown);
    if (grown == NULL)
        return false;
    memset(grown + *have, 0, (count - *have) * sizeof *grown);
    *names = grown;
    *have = count;
    return true;
}

/* line is "12:name", NULL-ended. */
static crn_status add_label(const char *path, size_t number, char *line, char ***names,
                            size_t *count, crn_error *error)
{
    char *name;
    unsigned long label = strtoul(line, &name, 10);
    if (*line < '0' || *line > '9' || *name++ != ':' || label > MAX_LABEL || *name == '\0' ||
        !crn__is_utf8(name))
        return crn__fail(error, CRN_FORMAT, "%s, line %zu: not a number, a colon and a name", path,
                         number);
    if (!grow_names(names, count, label + 1))
        return crn__fail_memory(error);
    if ((*names)[label] != NULL)
        return crn__fail(error, CRN_FORMAT, "%s, line %zu: class %lu has a name", path, number,
                         label);
    (*names)[label] = crn__strdup(name);
    return (*names)[label] != NULL ? CRN_OK : crn__fail_memory(error);
}

static crn_status read_lines(const char *path, char *text, char ***names, size_t *count,
                             crn_error *error)
{
    for (size_t number = 1; *text != '\0'; number++) {
        char *end = text + strcspn(text, "\n"), *next = *end == '\n' ? end + 1 : end;
        *end = '\0';
        if (end > text && end[-1] == '\r')
            end[-1] = '\0';
        if (*text != '\0')
            CRN__TRY(add_label(path, number, text, names, count, error));
        text = next;
    }
    for (size_t i = 0; i < *count; i++)
        if ((*names)[i] == NULL && ((*names)[i] = crn__format("%zu", i)) == NULL)
            return crn__fail_memory(error);
    return CRN_OK;
}

crn_status crn__read_label_names(const char *folder, char ***names, size_t *count, crn_error *error)
{
    bool has;
    unsigned char *data = NULL;
    size_t size;
    CRN__TRY(crn__has_file(folder, "labels.txt", &has, error));
    if (!has)
        return CRN_OK;
    char *path = crn__path_join(folder, "labels.txt"), *text = NULL;
    if (path == NULL)
        return crn__fail_memory(error);
    crn_status status = crn__input_file_load(path, MAX_LABELS_FILE, &data, &size, error);
    if (status == CRN_OK && (text = crn__format("%.*s", (int)size, (char *)data)) == NULL)
        status = crn__fail_memory(error);
    if (status == CRN_OK)
        status = read_lines(path, text, names, count, error);
    free(text);
    free(data);
    free(path);
    return status;
}
