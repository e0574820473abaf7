/*
 * tests/unit/wasi_files_state_test.c: open files and directories of the host in a snapshot: they
 * come back where they were, with no more rights than are given now, and never as another file.
 * Hostile bytes open nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "harness.h"
#include "wasi_abi.h"
#include "wasi_files.h"

#define READ_WRITE (HUSK_WASI_READ | HUSK_WASI_WRITE)

static void save(const struct wasi_guest *guest, struct buf *ret_saved) {
    struct husk_error err;
    *ret_saved = (struct buf){0};
    CHECK_OK(wasi_state_save(&guest->ctx, ret_saved, &err), err);
    CHECK(!ret_saved->failed);
}

static void load(struct wasi_guest *guest, const struct buf *saved) {
    struct husk_error err;
    CHECK_OK(wasi_state_check(&guest->ctx, saved->data, saved->count, &err), err);
    wasi_state_load(&guest->ctx, saved->data, saved->count);
}

static const struct wasi_fd *at(const struct wasi_guest *guest, int fd) {
    return wasi_fds_at(&guest->ctx.fds, (uint32_t)fd);
}

static uint64_t tell(struct wasi_guest *guest, int fd) {
    CHECK_EQ_U64(WASI_CALL(guest, fd_tell, (uint64_t)fd, 0), 0);
    return wasi_guest_u64(guest, 0);
}

TEST(the_same_open_file_stays_open) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest;
    struct buf saved;
    wasi_files_init(&files, READ_WRITE);
    const int fd = files_open(guest, "file", WASI_OFLAG_CREAT, FILES_RIGHTS_ALL);
    CHECK_EQ_I64(files_write(guest, (uint32_t)fd, "one"), 3);
    CHECK_EQ_U64(WASI_CALL(guest, path_unlink_file, 3, 0x2000, 4), 0); /* "file" is still there */
    save(guest, &saved);
    const int host_fd = at(guest, fd)->host_fd;
    CHECK_EQ_I64(files_write(guest, (uint32_t)fd, "two"), 3);
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_set_flags, (uint64_t)fd, WASI_FDFLAG_APPEND), 0);
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_set_rights, (uint64_t)fd, WASI_RIGHT_FD_READ, 0), 0);
    const int later = files_open(guest, "later", WASI_OFLAG_CREAT, FILES_RIGHTS_ALL);
    for (int i = 0; i < 3; i++) {
        load(guest, &saved);
        CHECK_EQ_I64(at(guest, fd)->host_fd, host_fd);
        CHECK_EQ_U64(at(guest, fd)->flags, 0);
        CHECK_EQ_I64(fcntl(host_fd, F_GETFL) & O_APPEND, 0);
        CHECK_EQ_U64(tell(guest, fd), 3);
        CHECK(at(guest, later) == NULL);
    }
    CHECK_EQ_I64(files_write(guest, (uint32_t)fd, "TWO"), 3); /* unlinked, and still good */
    buf_done(&saved);
    wasi_files_done(&files);
}

TEST(files_are_opened_again_elsewhere) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest, other;
    struct buf saved;
    char text[16];
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "mkdir dir; echo text >dir/file; echo more >moved; ln -s dir link");
    const int file = files_open(guest, "dir/file", 0, FILES_RIGHTS_ALL);
    const int dir =
        files_open(guest, "dir", WASI_OFLAG_DIRECTORY, FILES_RIGHTS_ALL & ~WASI_RIGHT_FD_WRITE);
    const int moved = files_open(guest, "moved", 0, WASI_RIGHT_FD_READ | WASI_RIGHT_FD_TELL);
    const int gone = files_open(guest, "gone", WASI_OFLAG_CREAT, FILES_RIGHTS_ALL);
    CHECK_EQ_I64(files_read(guest, (uint32_t)file, text, 2), 2);
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_set_flags, (uint64_t)file, WASI_FDFLAG_APPEND), 0);
    wasi_files_shell(&files, "mv moved dir/moved");
    save(guest, &saved);
    wasi_files_shell(&files, "rm gone; echo other >gone"); /* another file of that name */
    wasi_files_share(&files, &other, READ_WRITE);
    load(&other, &saved);
    CHECK(at(&other, 3) != NULL && at(&other, 3)->is_preopen);
    CHECK(at(&other, gone) == NULL && at(&other, dir) != NULL);
    CHECK_EQ_U64(tell(&other, file), 2);
    CHECK_EQ_U64(at(&other, file)->rights, at(guest, file)->rights);
    CHECK_EQ_U64(at(&other, file)->flags, WASI_FDFLAG_APPEND);
    CHECK_EQ_I64(files_read(&other, (uint32_t)file, text, 16), 3);
    CHECK_MEM(text, "xt\n", 3);
    CHECK_EQ_I64(files_write(&other, (uint32_t)file, "end"), 3);
    CHECK_EQ_U64(at(&other, moved)->rights, WASI_RIGHT_FD_READ | WASI_RIGHT_FD_TELL);
    CHECK_EQ_I64(files_read(&other, (uint32_t)moved, text, 16), 5);
    CHECK(files_open_at(&other, (uint32_t)dir, "file", 0, WASI_RIGHT_FD_READ) >= 0);
    const int before = at(&other, file)->host_fd;
    load(&other, &saved); /* now it is the same open file */
    CHECK_EQ_I64(at(&other, file)->host_fd, before);
    CHECK_EQ_U64(tell(&other, file), 2);
    wasi_files_shell(&files,
                     "grep -q textend dir/file || grep -q end dir/file; grep -q other gone");
    buf_done(&saved);
    wasi_guest_done(&other);
    wasi_files_done(&files);
}

TEST(rights_are_no_wider_than_the_new_directory) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest, other;
    struct buf saved;
    char text[16];
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "echo text >file; mkdir dir");
    const int both = files_open(guest, "file", 0, FILES_RIGHTS_ALL);
    const int write = files_open(guest, "file", 0, WASI_RIGHT_FD_WRITE);
    const int dir =
        files_open(guest, "dir", WASI_OFLAG_DIRECTORY, FILES_RIGHTS_ALL & ~WASI_RIGHT_FD_WRITE);
    save(guest, &saved);
    wasi_files_share(&files, &other, HUSK_WASI_READ);
    load(&other, &saved);
    CHECK_EQ_I64(files_read(&other, (uint32_t)both, text, 16), 5);
    CHECK_EQ_I64(files_write(&other, (uint32_t)both, "x"), -WASI_ENOTCAPABLE);
    CHECK_EQ_U64(at(&other, write)->rights, 0);
    CHECK_EQ_I64(fcntl(at(&other, both)->host_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    CHECK_EQ_I64(files_open_at(&other, (uint32_t)dir, "new", WASI_OFLAG_CREAT, 0), -WASI_EPERM);
    buf_done(&saved);
    save(&other, &saved); /* and come back where they were given */
    load(guest, &saved);
    CHECK_EQ_I64(files_write(guest, (uint32_t)both, "x"), 1);
    buf_done(&saved);
    wasi_guest_done(&other);
    wasi_files_done(&files);
}

/* A later set has a directory more than the snapshot's: it is open, at a free number. */
TEST(a_new_directory_is_there) {
    struct wasi_files files;
    struct wasi_guest none;
    struct buf saved;
    wasi_files_init(&files, READ_WRITE);
    wasi_guest_init(&none, NULL);
    save(&none, &saved);
    load(&files.guest, &saved);
    CHECK_EQ_U64(WASI_CALL(&files.guest, fd_prestat_get, 3, 0), 0);
    buf_done(&saved);
    save(&files.guest, &saved);
    load(&none, &saved); /* a directory that is not given any more */
    CHECK(at(&none, 3) == NULL);
    CHECK_EQ_U64(WASI_CALL(&files.guest, fd_close, 3), 0);
    buf_done(&saved);
    save(&files.guest, &saved);
    load(&files.guest, &saved); /* closed by the guest: stays closed */
    CHECK(at(&files.guest, 3) == NULL);
    buf_done(&saved);
    wasi_guest_done(&none);
    wasi_files_done(&files);
}

/* ---- Hostile bytes ---- */

/* Everything that is open then is below the directory. */
static void check_all_inside(const struct wasi_files *files, const struct wasi_guest *guest) {
    char link[64], path[256];
    for (uint32_t i = 0; i < guest->ctx.fds.count; i++) {
        const struct wasi_fd *fd = wasi_fds_at(&guest->ctx.fds, i);
        if (fd == NULL)
            continue;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd->host_fd);
        const ssize_t got = readlink(link, path, sizeof path);
        CHECK(got >= (ssize_t)strlen(files->inner) &&
              memcmp(path, files->inner, strlen(files->inner)) == 0);
        CHECK_EQ_U64(fd->rights & WASI_RIGHTS_FD_CHANGE, 0);
    }
}

TEST(hostile_bytes_open_nothing_else) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest, other;
    struct husk_error err;
    struct buf saved;
    uint64_t random = 1;
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "echo text >file; mkdir dir; ln -s ../secret out; mkfifo pipe");
    CHECK(files_open(guest, "file", 0, FILES_RIGHTS_ALL) >= 0);
    CHECK(files_open(guest, "dir", WASI_OFLAG_DIRECTORY, WASI_RIGHT_PATH_OPEN) >= 0);
    save(guest, &saved);
    wasi_files_share(&files, &other, HUSK_WASI_READ);
    for (size_t count = 0; count < saved.count; count++)
        CHECK_STATUS(wasi_state_check(&other.ctx, saved.data, count, &err), HUSK_E_BAD_IMAGE);
    unsigned refused = 0;
    for (int i = 0; i < 20000; i++) {
        uint8_t *bytes = malloc(saved.count);
        CHECK(bytes != NULL);
        memcpy(bytes, saved.data, saved.count);
        for (int k = 0; k < 1 + i % 4; k++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            bytes[(random >> 40) % saved.count] = (uint8_t)(random >> 32);
        }
        const int status = wasi_state_check(&other.ctx, bytes, saved.count, &err);
        CHECK(status == 0 || status == HUSK_E_BAD_IMAGE || status == HUSK_E_IMAGE_VERSION ||
              status == HUSK_E_LIMIT);
        if (status == 0)
            wasi_state_load(&other.ctx, bytes, saved.count);
        refused += status != 0;
        check_all_inside(&files, &other);
        free(bytes);
    }
    CHECK(refused > 1000 && refused < 20000);
    wasi_files_shell(&files, "grep -q text file");
    buf_done(&saved);
    wasi_guest_done(&other);
    wasi_files_done(&files);
}

/* The row of "file", with another path of the same length and the identity of what is there. */
TEST(hostile_paths_lead_nowhere) {
    static const char *const paths[] = {"../secret", "/etc/pass", "out/////.",
                                        "pipe////.", "./a/../..", "a\0bcdefgh"};
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest, other;
    struct husk_error err;
    struct buf saved;
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "echo text >nine-byte; mkdir a; ln -s ../out out; mkfifo pipe");
    const int fd = files_open(guest, "nine-byte", 0, FILES_RIGHTS_ALL);
    save(guest, &saved);
    wasi_files_share(&files, &other, READ_WRITE);
    uint8_t *path = memmem(saved.data, saved.count, "nine-byte", 9);
    CHECK(path != NULL);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct stat st = {0};
        char full[128];
        memcpy(path, paths[i], 9);
        snprintf(full, sizeof full, "%s/%s", files.inner, paths[i]);
        (void)stat(full, &st);
        memcpy(path - 24, &st.st_ino, 8); /* behind dev; then born_ns, path_bytes and kinds */
        const int status = wasi_state_check(&other.ctx, saved.data, saved.count, &err);
        CHECK(status == 0 || status == HUSK_E_BAD_IMAGE);
        if (status == 0)
            wasi_state_load(&other.ctx, saved.data, saved.count);
        CHECK(at(&other, fd) == NULL);
    }
    buf_done(&saved);
    wasi_guest_done(&other);
    wasi_files_done(&files);
}

/* ---- Limits ---- */

/* A file that is there must not read as closed only because this process has no descriptor left. */
TEST(no_descriptor_left_is_an_error) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest, other;
    struct husk_error err;
    struct rlimit limit;
    struct buf saved;
    wasi_files_init(&files, READ_WRITE);
    const int fd = files_open(guest, "file", WASI_OFLAG_CREAT, FILES_RIGHTS_ALL);
    save(guest, &saved);
    wasi_files_share(&files, &other, READ_WRITE);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    const int status = wasi_state_check(&other.ctx, saved.data, saved.count, &err);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK_STATUS(status, HUSK_E_SYS);
    CHECK_EQ_I64(err.sys_errno, EMFILE);
    CHECK(at(&other, fd) == NULL);
    load(&other, &saved);
    CHECK(at(&other, fd) != NULL);
    buf_done(&saved);
    wasi_guest_done(&other);
    wasi_files_done(&files);
}

/* The set gives fewer numbers than the snapshot uses: the bytes are not damaged. */
TEST(a_number_beyond_the_limit_is_an_error) {
    struct wasi_files files;
    struct wasi_guest few;
    struct husk_error err;
    struct buf saved;
    wasi_files_init(&files, READ_WRITE);
    for (int i = 0; i < 4; i++)
        CHECK(files_open(&files.guest, "file", WASI_OFLAG_CREAT, FILES_RIGHTS_ALL) >= 0);
    save(&files.guest, &saved);
    const struct husk_wasi_dir dir = {.guest_path = "/",
                                      .host_path = files.inner,
                                      .kind = HUSK_WASI_DIR_HOST,
                                      .rights = READ_WRITE};
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    options.dirs = &dir;
    options.dirs_count = 1;
    options.open_max = 4;
    wasi_guest_init(&few, &options);
    CHECK_STATUS(wasi_state_check(&few.ctx, saved.data, saved.count, &err), HUSK_E_LIMIT);
    CHECK(strstr(err.message, "open_max") != NULL);
    buf_done(&saved);
    wasi_guest_done(&few);
    wasi_files_done(&files);
}

static unsigned count_own(void) {
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Loads, checks that fail at the last row, and checks without a load. */
TEST(no_descriptor_is_leaked) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest, other;
    struct husk_error err;
    struct buf saved;
    wasi_files_init(&files, READ_WRITE);
    for (int i = 0; i < 20; i++)
        CHECK(files_open(guest, "file", WASI_OFLAG_CREAT, FILES_RIGHTS_ALL) >= 0);
    CHECK(files_open(guest, ".", WASI_OFLAG_DIRECTORY, WASI_RIGHT_FD_READDIR) >= 0);
    save(guest, &saved);
    wasi_files_share(&files, &other, READ_WRITE);
    load(&other, &saved);
    const unsigned count = count_own();
    for (int i = 0; i < 300; i++) {
        for (uint64_t fd = 4; fd < 10; fd++)
            (void)WASI_CALL(&other, fd_close, fd + (uint64_t)i % 12);
        (void)files_open(&other, "file", 0, FILES_RIGHTS_ALL);
        if (i % 3 == 0)
            CHECK_STATUS(wasi_state_check(&other.ctx, saved.data, saved.count - 1, &err),
                         HUSK_E_BAD_IMAGE);
        if (i % 3 == 1)
            CHECK_OK(wasi_state_check(&other.ctx, saved.data, saved.count, &err), err);
        load(&other, &saved);
        CHECK_EQ_U64(count_own(), count);
    }
    buf_done(&saved);
    wasi_guest_done(&other);
    wasi_files_done(&files);
}

TEST_MAIN()
