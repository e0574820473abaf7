/* Whole-file reading, atomic replacement, buffers; full disk and short limits by injection. */
#include "file.h"

#include <fcntl.h>
#include <signal.h>
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
    CHECK_STATUS(file_read("/nonexistent/x", 9, &bytes, &count, &err), HUSK_E_SYS);
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
    CHECK_STATUS(file_replace(path, fd, 100, &err), HUSK_E_SYS); /* longer than the source: not written */
    struct rlimit old, tiny;
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    signal(SIGXFSZ, SIG_IGN);
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
