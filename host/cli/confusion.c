#include "cli/confusion.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CLASSES_SHOWN 20
#define MAX_PAIRS_SHOWN 5

bool cli_confusion_init(cli_confusion *c, const crn_classifier *classifier)
{
    c->classifier = classifier;
    c->classes = crn_classifier_class_count(classifier);
    c->counts = calloc(c->classes, c->classes * sizeof *c->counts);
    return c->counts != NULL;
}

void cli_confusion_free(cli_confusion *c)
{
    free(c->counts);
}

static const char *name_of(const cli_confusion *c, size_t i)
{
    return crn_classifier_class_name(c->classifier, i);
}

/* ---- the file ---- */

static void write_field(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', file);
        fputc(*text, file);
    }
    fputc('"', file);
}

int cli_confusion_write(const char *command, const cli_confusion *c, const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return cli_usage_error(command, "%s: %s", path, strerror(errno));
    fputs("\"class\"", file);
    for (size_t i = 0; i < c->classes; i++) {
        fputc(',', file);
        write_field(file, name_of(c, i));
    }
    for (size_t i = 0; i < c->classes; i++) {
        fputc('\n', file);
        write_field(file, name_of(c, i));
        for (size_t k = 0; k < c->classes; k++)
            fprintf(file, ",%" PRIu64, c->counts[i * c->classes + k]);
    }
    fputc('\n', file);
    bool failed = ferror(file) != 0;
    if (fclose(file) == 0 && !failed)
        return CLI_GO_ON;
    cli_complain(command, "cannot write all of the confusion counts");
    return CLI_FAILED;
}

/* ---- the table ---- */

typedef struct row {
    size_t class;
    uint64_t images, answers, right;
} row;

static double share(uint64_t part, uint64_t all)
{
    return all > 0 ? 100 * (double)part / (double)all : 0;
}

static int worst_first(const void *a, const void *b)
{
    const row *x = a, *y = b;
    double p = share(x->right, x->images), q = share(y->right, y->images);
    if (p != q)
        return p < q ? -1 : 1;
    return (x->class > y->class) - (x->class < y->class);
}

/* Of the classes that have images; returns their number. */
static size_t make_rows(const cli_confusion *c, row *rows)
{
    size_t count = 0;
    for (size_t i = 0; i < c->classes; i++) {
        row r = {.class = i, .right = c->counts[i * c->classes + i]};
        for (size_t k = 0; k < c->classes; k++) {
            r.images += c->counts[i * c->classes + k];
            r.answers += c->counts[k * c->classes + i];
        }
        if (r.images > 0)
            rows[count++] = r;
    }
    qsort(rows, count, sizeof *rows, worst_first);
    return count;
}

typedef struct pair {
    size_t right, answer;
    uint64_t count;
} pair;

/* Puts a pair where it belongs among the most frequent ones. */
static void insert(pair *pairs, pair new)
{
    for (size_t i = 0; i < MAX_PAIRS_SHOWN; i++)
        if (new.count > pairs[i].count) {
            pair old = pairs[i];
            pairs[i] = new;
            new = old;
        }
}

static void print_pairs(const cli_confusion *c, FILE *file)
{
    pair pairs[MAX_PAIRS_SHOWN] = {{0, 0, 0}};
    for (size_t i = 0; i < c->classes; i++)
        for (size_t k = 0; k < c->classes; k++)
            if (i != k)
                insert(pairs, (pair){i, k, c->counts[i * c->classes + k]});
    for (size_t i = 0; i < MAX_PAIRS_SHOWN && pairs[i].count > 0; i++) {
        fprintf(file, "%s%" PRIu64 " of ", i == 0 ? "taken for another: " : ", ", pairs[i].count);
        cli_print_clean(file, name_of(c, pairs[i].right));
        fputs(" for ", file);
        cli_print_clean(file, name_of(c, pairs[i].answer));
    }
    if (pairs[0].count > 0)
        fputc('\n', file);
}

void cli_confusion_print(const cli_confusion *c, FILE *file)
{
    row *rows = calloc(c->classes, sizeof *rows);
    if (rows == NULL)
        return;
    size_t count = make_rows(c, rows);
    fprintf(file, "%8s %8s %10s  %s\n", "images", "recall", "precision", "class");
    for (size_t i = 0; i < count && i < MAX_CLASSES_SHOWN; i++) {
        fprintf(file, "%8" PRIu64 " %6.2f %% %8.2f %%  ", rows[i].images,
                share(rows[i].right, rows[i].images), share(rows[i].right, rows[i].answers));
        cli_print_clean(file, name_of(c, rows[i].class));
        fputc('\n', file);
    }
    if (count > MAX_CLASSES_SHOWN)
        fprintf(file, "and %zu classes of better recall\n", count - MAX_CLASSES_SHOWN);
    print_pairs(c, file);
    free(rows);
}
