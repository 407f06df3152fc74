#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clarinet/data.h"
#include "core/memory.h"

static void sizes_are_checked(void **state)
{
    (void)state;
    size_t out;
    assert_true(crn__size_mul(6, 7, &out));
    assert_int_equal(out, 42);
    assert_true(crn__size_mul(SIZE_MAX, 1, &out));
    assert_true(crn__size_mul(SIZE_MAX, 0, &out));
    assert_int_equal(out, 0);
    assert_false(crn__size_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_true(crn__size_add(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
    assert_false(crn__size_add(SIZE_MAX, 1, &out));
}

static void allocations_are_zero_and_checked(void **state)
{
    (void)state;
    unsigned char *bytes = crn__alloc(1000, 3);
    assert_non_null(bytes);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(bytes[i], 0);
    free(bytes);

    void *nothing = crn__alloc(0, 8); /* NULL would read as a failure */
    assert_non_null(nothing);
    free(nothing);

    assert_null(crn__alloc(SIZE_MAX / 4, 8));
    crn_free(NULL);
}

static void texts(void **state)
{
    (void)state;
    char *copy = crn__strdup("100% kept"); /* not a format */
    assert_string_equal(copy, "100% kept");
    free(copy);

    char word[5000];
    memset(word, 'w', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    char *made = crn__format("%s/%d", word, 7);
    assert_int_equal(strlen(made), sizeof word - 1 + 2);
    assert_string_equal(made + sizeof word - 1, "/7");
    free(made);
}

static void grows(void **state)
{
    (void)state;
    struct list {
        int *items;
        size_t count, capacity;
    } list = {0};
    for (int i = 0; i < 1000; i++) {
        assert_true(
            crn__grow((void **)&list.items, list.count, &list.capacity, sizeof *list.items));
        assert_true(list.capacity > list.count);
        assert_int_equal(list.items[list.count], 0);
        list.items[list.count++] = i;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(list.items[i], i);
    free(list.items);
}

static void growing_past_the_end_changes_nothing(void **state)
{
    (void)state;
    int item = 7;
    void *items = &item;
    size_t capacity = SIZE_MAX / 2 + 1;
    assert_false(crn__grow(&items, capacity, &capacity, 1));
    assert_true(items == &item && capacity == SIZE_MAX / 2 + 1);
    capacity = SIZE_MAX / 8;
    assert_false(crn__grow(&items, capacity, &capacity, 16));
    assert_true(items == &item && capacity == SIZE_MAX / 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(allocations_are_zero_and_checked),
        cmocka_unit_test(texts),
        cmocka_unit_test(grows),
        cmocka_unit_test(growing_past_the_end_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
