/* Allocation and size arithmetic that cannot overflow. */
#ifndef CRN_CORE_MEMORY_H
#define CRN_CORE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* *out = a * b, a + b; false when that does not fit. */
bool crn__size_mul(size_t a, size_t b, size_t *out);
bool crn__size_add(size_t a, size_t b, size_t *out);

/* Zeroed memory for count items, ended by free(); NULL when there is none or the size overflows. */
void *crn__alloc(size_t count, size_t size);

/* Copies of text, ended by free(); NULL when there is no memory. */
char *crn__strdup(const char *text);
char *crn__format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Makes room for one more item in a growing array: *items, of `count` items used and *capacity
 * allocated. New room is zeroed. false, with nothing changed, when there is no memory.
 *     if (!crn__grow((void **)&list->items, list->count, &list->capacity, sizeof *list->items))
 */
bool crn__grow(void **items, size_t count, size_t *capacity, size_t size);

#endif
