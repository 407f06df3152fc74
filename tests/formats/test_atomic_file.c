#include "files.h"

#include <signal.h>
#include <sys/resource.h>

#include "formats/atomic_file.h"

static void write_text(const char *path, const char *text)
{
    crn__atomic_file *file = NULL;
    assert_ok(crn__atomic_file_create(path, &file, &error));
    assert_ok(crn__atomic_file_write(file, text, strlen(text), &error));
    assert_ok(crn__atomic_file_commit(file, &error));
}

static void assert_text(const char *path, const char *text)
{
    bytes b = get_file(path);
    assert_int_equal(b.size, strlen(text));
    assert_memory_equal(b.data, text, b.size);
    free(b.data);
}

static void commit_replaces_and_leaves_nothing_else(void **state)
{
    const char *path = in_folder(*state, "model");
    write_text(path, "old");
    assert_text(path, "old");

    crn__atomic_file *file = NULL;
    assert_ok(crn__atomic_file_create(path, &file, &error));
    assert_ok(crn__atomic_file_write(file, "0000", 4, &error));
    assert_ok(crn__atomic_file_write(file, " new", 4, &error));
    assert_ok(crn__atomic_file_patch(file, 1, "12", 2, &error));
    assert_text(path, "old"); /* until it is complete */
    assert_int_equal(count_files(*state), 2);
    assert_ok(crn__atomic_file_commit(file, &error));
    assert_text(path, "0120 new");
    assert_int_equal(count_files(*state), 1);
}

static void abort_keeps_the_old_file(void **state)
{
    const char *path = in_folder(*state, "model");
    write_text(path, "old");
    crn__atomic_file *file = NULL;
    assert_ok(crn__atomic_file_create(path, &file, &error));
    assert_ok(crn__atomic_file_write(file, "new", 3, &error));
    crn__atomic_file_abort(file);
    crn__atomic_file_abort(NULL);
    assert_text(path, "old");
    assert_int_equal(count_files(*state), 1);
}

static void two_writers_do_not_meet(void **state)
{
    const char *path = in_folder(*state, "model");
    crn__atomic_file *first = NULL, *second = NULL;
    assert_ok(crn__atomic_file_create(path, &first, &error));
    assert_ok(crn__atomic_file_create(path, &second, &error));
    assert_ok(crn__atomic_file_write(first, "first", 5, &error));
    assert_ok(crn__atomic_file_write(second, "second", 6, &error));
    assert_ok(crn__atomic_file_commit(first, &error));
    assert_text(path, "first");
    assert_ok(crn__atomic_file_commit(second, &error));
    assert_text(path, "second");
}

static void a_relative_path_stays_where_it_was(void **state)
{
    char before[1024];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(*state), 0);
    crn__atomic_file *file = NULL;
    assert_ok(crn__atomic_file_create("model", &file, &error));
    assert_int_equal(chdir("/"), 0);
    assert_ok(crn__atomic_file_write(file, "here", 4, &error));
    assert_ok(crn__atomic_file_commit(file, &error));
    assert_text(in_folder(*state, "model"), "here");
    assert_int_equal(chdir(before), 0);
}

static void permissions_are_those_of_a_new_file(void **state)
{
    mode_t before = umask(027);
    write_text(in_folder(*state, "model"), "x");
    umask(before);
    struct stat status;
    assert_int_equal(stat(in_folder(*state, "model"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
}

/* A full disk, as a limit on the size of files: write() fails in the middle. */
static void a_failing_write_keeps_the_old_file(void **state)
{
    const char *path = in_folder(*state, "model");
    write_text(path, "old");
    struct rlimit unlimited, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    small = unlimited;
    small.rlim_cur = 100;
    signal(SIGXFSZ, SIG_IGN);
    char data[300] = {0};
    crn__atomic_file *file = NULL;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_ok(crn__atomic_file_create(path, &file, &error));
    assert_fails(crn__atomic_file_write(file, data, sizeof data, &error), CRN_IO,
                 "model: cannot write: File too large");
    crn__atomic_file_abort(file);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    assert_text(path, "old");
    assert_int_equal(count_files(*state), 1);
}

static void errors_name_the_file(void **state)
{
    crn__atomic_file *file = NULL;
    assert_fails(crn__atomic_file_create(in_folder(*state, "none/model"), &file, &error), CRN_IO,
                 "none/model: cannot open its folder: No such file or directory");
    assert_fails(crn__atomic_file_create(in_folder(*state, ""), &file, &error), CRN_INVALID,
                 "is no name for a file");
    assert_fails(crn__atomic_file_create("", &file, &error), CRN_INVALID, "is no name for a file");
    assert_fails(crn__atomic_file_create(NULL, &file, &error), CRN_INVALID, "NULL");
    assert_null(file);

    assert_int_equal(mkdir(in_folder(*state, "folder"), 0777), 0);
    assert_ok(crn__atomic_file_create(in_folder(*state, "folder"), &file, &error));
    assert_fails(crn__atomic_file_commit(file, &error), CRN_IO,
                 "folder: cannot replace: Is a directory");
    assert_int_equal(count_files(*state), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commit_replaces_and_leaves_nothing_else),
        TEST(abort_keeps_the_old_file),
        TEST(two_writers_do_not_meet),
        TEST(a_relative_path_stays_where_it_was),
        TEST(permissions_are_those_of_a_new_file),
        TEST(a_failing_write_keeps_the_old_file),
        TEST(errors_name_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
