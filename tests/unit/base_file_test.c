/* Whole-file reading, atomic replacement, buffers; full disk and short limits by injection. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auto.h"
#include "buf.h"
#include "harness.h"

/* ---- Steps that fail: linked with --wrap (tests/CMakeLists.txt) ---- */

enum step { FAIL_NOTHING, FAIL_FSYNC_FILE, FAIL_FSYNC_FOLDER, FAIL_LINK, FAIL_RENAME };
static enum step failing;
static bool has_no_tmpfile; /* a file system without O_TMPFILE */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode) {
    if (has_no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return __real_open(path, flags, mode);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    if (failing == (S_ISDIR(st.st_mode) ? FAIL_FSYNC_FOLDER : FAIL_FSYNC_FILE)) {
        errno = EIO;
        return -1;
    }
    return __real_fsync(fd);
}

int __real_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    errno = EIO;
    return failing == FAIL_LINK ? -1 : __real_linkat(from_fd, from, to_fd, to, flags);
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to) {
    errno = EIO;
    return failing == FAIL_RENAME ? -1 : __real_rename(from, to);
}

static void temp_folder(char path[64]) {
    strcpy(path, "/tmp/husk-base-XXXXXX");
    CHECK(mkdtemp(path) != NULL);
}

static int memfd_with(const char *text, size_t hole) {
    int fd = memfd_create("test", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(pwrite(fd, text, strlen(text), (off_t)hole) == (ssize_t)strlen(text));
    return fd;
}

TEST(replace_writes_and_keeps_holes) {
    char folder[64], path[128];
    struct husk_error err;
    temp_folder(folder);
    snprintf(path, sizeof path, "%s/out", folder);
    auto_fd fd = memfd_with("hello", 1 << 20);
    CHECK_OK(file_replace(path, fd, (1 << 20) + 5, &err), err);
    struct stat st;
    CHECK(stat(path, &st) == 0);
    CHECK_EQ_U64(st.st_size, (1 << 20) + 5);
    CHECK(st.st_blocks < 100);
    uint8_t *bytes = NULL;
    size_t count = 0;
    CHECK_OK(file_read(path, 1 << 21, &bytes, &count, &err), err);
    CHECK_EQ_U64(count, (1 << 20) + 5);
    CHECK_MEM(bytes + (1 << 20), "hello", 5);
    CHECK(bytes[77] == 0);
    free(bytes);
    CHECK(unlink(path) == 0);
    CHECK_MSG(rmdir(folder) == 0, "a temporary file was left");
}

TEST(read_limit_and_missing) {
    struct husk_error err;
    uint8_t *bytes = NULL;
    size_t count = 0;
    auto_fd fd = memfd_with("0123456789", 0);
    CHECK_STATUS(file_read_fd(fd, "input", 9, &bytes, &count, &err), HUSK_E_LIMIT);
    CHECK_CONTAINS(err.message, "limit of 9 bytes");
    CHECK(bytes == NULL);
    CHECK_STATUS(file_read("/proc/absent/x", 9, &bytes, &count, &err), HUSK_E_SYS);
    CHECK_CONTAINS(err.message, "No such file");
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    CHECK(write(ends[1], "abc", 3) == 3);
    close(ends[1]);
    CHECK_OK(file_read_fd(ends[0], "pipe", 9, &bytes, &count, &err), err);
    CHECK_EQ_U64(count, 3);
    CHECK_STR((char *)bytes, "abc");
    free(bytes);
    close(ends[0]);
}

TEST(replace_failures_leave_the_old_file) {
    char folder[64], path[128];
    struct husk_error err;
    temp_folder(folder);
    snprintf(path, sizeof path, "%s/out", folder);
    auto_fd fd = memfd_with("new contents", 0);
    CHECK_OK(file_replace(path, fd, 3, &err), err);
    /* longer than the source: not written */
    CHECK_STATUS(file_replace(path, fd, 100, &err), HUSK_E_SYS);
    struct rlimit old, tiny;
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    tiny = (struct rlimit){.rlim_cur = 5, .rlim_max = old.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &tiny) == 0);
    int status = file_replace(path, fd, 12, &err);
    CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    CHECK_STATUS(status, HUSK_E_SYS);
    CHECK_CONTAINS(err.message, "File too large");
    uint8_t *bytes = NULL;
    size_t count = 0;
    CHECK_OK(file_read(path, 100, &bytes, &count, &err), err);
    CHECK_EQ_U64(count, 3);
    free(bytes);
    CHECK(unlink(path) == 0);
    CHECK_MSG(rmdir(folder) == 0, "a temporary file was left");
    CHECK_STATUS(file_replace(path, fd, 3, &err), HUSK_E_SYS); /* no folder any more */
}

static void check_text(const char *path, const char *text) {
    struct husk_error err;
    uint8_t *bytes = NULL;
    size_t count = 0;
    CHECK_OK(file_read(path, 1000, &bytes, &count, &err), err);
    CHECK_STR((char *)bytes, text);
    free(bytes);
}

/* rename() would put a file in the place of /dev/null, or of /dev/stdout. */
TEST(only_regular_files_are_replaced) {
    char folder[64], path[128], target[128];
    struct husk_error err;
    struct stat st;
    temp_folder(folder);
    auto_fd fd = memfd_with("new", 0);
    snprintf(path, sizeof path, "%s/pipe", folder);
    CHECK(mkfifo(path, 0600) == 0);
    CHECK_STATUS(file_replace(path, fd, 3, &err), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "pipe");
    CHECK(lstat(path, &st) == 0 && S_ISFIFO(st.st_mode));
    CHECK(unlink(path) == 0);
    snprintf(target, sizeof target, "%s/target", folder);
    CHECK_OK(file_replace(target, fd, 3, &err), err);
    CHECK(symlink("target", path) == 0);
    CHECK_STATUS(file_replace(path, fd, 2, &err), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "symbolic link");
    CHECK(lstat(path, &st) == 0 && S_ISLNK(st.st_mode));
    check_text(target, "new");
    CHECK(unlink(path) == 0 && unlink(target) == 0);
    CHECK_STATUS(file_replace(folder, fd, 3, &err), HUSK_E_SYS);
    CHECK_EQ_I64(err.sys_errno, EISDIR);
    snprintf(path, sizeof path, "%s/", folder);
    CHECK_STATUS(file_replace(path, fd, 3, &err), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "does not name a file");
    CHECK_STATUS(file_replace("", fd, 3, &err), HUSK_E_INVAL);
    CHECK_STATUS(file_replace("/dev/null", fd, 3, &err), HUSK_E_INVAL);
    CHECK(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    CHECK_MSG(rmdir(folder) == 0, "a temporary file was left");
}

TEST(permissions_are_kept) {
    char folder[64], path[128];
    struct husk_error err;
    struct stat st;
    temp_folder(folder);
    snprintf(path, sizeof path, "%s/secret", folder);
    auto_fd fd = memfd_with("new contents", 0);
    mode_t mask = umask(022);
    CHECK_OK(file_replace(path, fd, 3, &err), err);
    umask(mask);
    CHECK(stat(path, &st) == 0);
    CHECK_EQ_U64(st.st_mode & 0777, 0644);
    CHECK(chmod(path, 0600) == 0);
    CHECK_OK(file_replace(path, fd, 12, &err), err);
    CHECK(stat(path, &st) == 0);
    CHECK_EQ_U64(st.st_mode & 0777, 0600);
    check_text(path, "new contents");
    CHECK(unlink(path) == 0);
    CHECK_MSG(rmdir(folder) == 0, "a temporary file was left");
}

/* A temporary name must not be longer than the file system allows. */
TEST(long_names_and_relative_paths) {
    char folder[64], name[256];
    struct husk_error err;
    temp_folder(folder);
    auto_fd fd = memfd_with("new", 0);
    auto_fd here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(here >= 0 && chdir(folder) == 0);
    memset(name, 'n', 255);
    name[255] = 0;
    for (int i = 0; i < 2; i++) { /* the second time it is replaced */
        CHECK_OK(file_replace(name, fd, 3, &err), err);
        check_text(name, "new");
    }
    CHECK(unlink(name) == 0 && fchdir(here) == 0);
    CHECK_MSG(rmdir(folder) == 0, "a temporary file was left");
}

TEST(a_replacement_that_is_given_up_leaves_nothing) {
    char folder[64], path[128];
    struct husk_error err;
    struct file_replacement new;
    temp_folder(folder);
    snprintf(path, sizeof path, "%s/out", folder);
    CHECK_OK(file_replacement_begin(&new, path, &err), err);
    CHECK(file_write_all(new.fd, "abc", 3) == 0);
    CHECK(access(path, F_OK) != 0); /* not before it is whole */
    file_replacement_abort(&new);
    file_replacement_abort(&new);
    CHECK_MSG(rmdir(folder) == 0, "something was left");
    CHECK_STATUS(file_replacement_begin(&new, path, &err), HUSK_E_SYS);
    CHECK_CONTAINS(err.message, "temporary file");
}

/* Every step fails in turn, with and without O_TMPFILE: the old file is as it was (but for the very
 * last step) and nothing is left. */
TEST(every_step_of_a_replacement_can_fail) {
    char folder[64], path[128];
    struct husk_error err;
    temp_folder(folder);
    snprintf(path, sizeof path, "%s/out", folder);
    auto_fd old = memfd_with("old", 0);
    auto_fd fd = memfd_with("new contents", 0);
    for (int i = 0; i < 2; i++) {
        has_no_tmpfile = i == 1;
        static const enum step steps[] = {FAIL_FSYNC_FILE, FAIL_LINK, FAIL_RENAME,
                                          FAIL_FSYNC_FOLDER};
        for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
            if (steps[k] == FAIL_LINK && has_no_tmpfile)
                continue; /* nothing to be linked then */
            CHECK_OK(file_replace(path, old, 3, &err), err);
            failing = steps[k];
            int status = file_replace(path, fd, 12, &err);
            failing = FAIL_NOTHING;
            CHECK_STATUS(status, HUSK_E_SYS);
            CHECK_EQ_I64(err.sys_errno, EIO);
            check_text(path, steps[k] == FAIL_FSYNC_FOLDER ? "new contents" : "old");
            CHECK(unlink(path) == 0);
            CHECK_MSG(rmdir(folder) == 0, "step %zu left a temporary file", k);
            CHECK(mkdir(folder, 0700) == 0);
        }
        CHECK_OK(file_replace(path, old, 3, &err), err);
        CHECK_OK(file_replace(path, fd, 12, &err), err);
        check_text(path, "new contents");
        CHECK(unlink(path) == 0);
    }
    has_no_tmpfile = false;
    CHECK_MSG(rmdir(folder) == 0, "a temporary file was left");
}

TEST(buffer_grows_and_aligns) {
    struct buf buf = {0};
    for (int i = 0; i < 1000; i++)
        buf_append(&buf, "abc", 3);
    buf_align(&buf, 64);
    CHECK_EQ_U64(buf.count, 3008);
    CHECK(buf.data[2999] == 'c' && buf.data[3000] == 0);
    CHECK(buf_extend(&buf, SIZE_MAX / 2) == NULL);
    CHECK(buf.failed);
    buf_append(&buf, "x", 1);
    CHECK_EQ_U64(buf.count, 3008);
    buf_done(&buf);
    CHECK(buf.data == NULL && buf.count == 0);
}

TEST_MAIN()
