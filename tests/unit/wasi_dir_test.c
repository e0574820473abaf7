/*
 * tests/unit/wasi_dir_test.c: directories of the host: errors of paths, rights, what is not a file,
 * listing, many open files, and the options' table.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "wasi_abi.h"
#include "wasi_dir.h"
#include "wasi_files.h"

#define READ_WRITE (HUSK_WASI_READ | HUSK_WASI_WRITE)
#define R_READ WASI_RIGHT_FD_READ
#define R_WRITE WASI_RIGHT_FD_WRITE

/* ---- Paths ---- */

TEST(paths_that_lead_out_or_nowhere) {
    static const struct {
        const char *path;
        int wasi_errno;
    } rows[] = {
        {"", WASI_ENOENT},         {"/", WASI_EPERM},
        {"/file", WASI_EPERM},     {"..", WASI_EPERM},
        {"../secret", WASI_EPERM}, {"dir/../../secret", WASI_EPERM},
        {"out", WASI_EPERM},       {"out/secret", WASI_EPERM},
        {"absolute", WASI_EPERM},  {"dir/up/secret", WASI_EPERM},
        {"loop", WASI_ELOOP},      {"loop/x", WASI_ELOOP},
        {"none", WASI_ENOENT},     {"none/file", WASI_ENOENT},
        {"file/", WASI_ENOTDIR},   {"file/x", WASI_ENOTDIR},
        {"\xff", WASI_EILSEQ},     {"\xed\xa0\x80", WASI_EILSEQ},
        {"magic", WASI_EPERM},
    };
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest;
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "echo text >file; mkdir dir; ln -s ../out out; ln -s loop loop; "
                             "ln -s ../.. dir/up; ln -s $PWD/file absolute; "
                             "ln -s /proc/self/cwd magic; ln -s dir/../file good");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *path = rows[i].path;
        const uint32_t count = (uint32_t)strlen(path);
        memcpy(guest->memory + 100, path, count);
        CHECK_EQ_U64(WASI_CALL(guest, path_open, 3, 1, 100, count, 0, R_READ, 0, 0, 0),
                     rows[i].wasi_errno);
        CHECK_EQ_U64(files_stat(guest, path, true), rows[i].wasi_errno);
    }
    CHECK_EQ_U64(files_stat(guest, "good", true), 0);
    CHECK_EQ_U64(guest->memory[FILES_STAT_ADDR + 16], WASI_FILETYPE_REGULAR_FILE);
    CHECK_EQ_U64(wasi_guest_u64(guest, FILES_STAT_ADDR + 32), 5);
    CHECK_EQ_U64(files_stat(guest, "loop", false), 0);
    CHECK_EQ_U64(guest->memory[FILES_STAT_ADDR + 16], WASI_FILETYPE_SYMBOLIC_LINK);
    CHECK_EQ_I64(files_open(guest, "good", 0, R_READ), -WASI_ELOOP); /* not followed */
    wasi_files_done(&files);
}

/* A guest with all of the host still cannot change this process through /proc/self. */
TEST(proc_below_a_directory_cannot_be_entered) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    const struct husk_wasi_dir root = {
        .guest_path = "/", .host_path = "/", .kind = HUSK_WASI_DIR_HOST, .rights = HUSK_WASI_READ};
    struct wasi_guest guest;
    options.dirs = &root;
    options.dirs_count = 1;
    wasi_guest_init(&guest, &options);
    CHECK(files_open(&guest, "etc/passwd", 0, R_READ) >= 0);
    CHECK_EQ_I64(files_open(&guest, "proc/self/maps", 0, R_READ), -WASI_EACCES);
    CHECK_EQ_I64(files_open(&guest, "proc", 0, R_READ), -WASI_EACCES);
    wasi_guest_done(&guest);
}

TEST(paths_of_strange_bytes) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest;
    wasi_files_init(&files, READ_WRITE);
    memset(guest->memory + 100, 'a', 70000);
    CHECK_EQ_U64(WASI_CALL(guest, path_create_directory, 3, 100, 65536), WASI_ENAMETOOLONG);
    CHECK_EQ_U64(WASI_CALL(guest, path_create_directory, 3, 100, 4096), WASI_ENAMETOOLONG);
    CHECK_EQ_U64(WASI_CALL(guest, path_create_directory, 3, 100, 4095), WASI_ENAMETOOLONG);
    CHECK_EQ_U64(WASI_CALL(guest, path_create_directory, 3, 100, 256), WASI_ENAMETOOLONG);
    CHECK_EQ_U64(WASI_CALL(guest, path_create_directory, 3, 100, 255), 0);
    CHECK_EQ_U64(WASI_CALL(guest, path_create_directory, 3, GUEST_BYTES - 4, 5), WASI_EFAULT);
    memcpy(guest->memory + 100, "a\0b", 3);
    CHECK_EQ_U64(WASI_CALL(guest, path_create_directory, 3, 100, 3), WASI_EINVAL);
    memcpy(guest->memory + 100, "./././", 6);
    for (uint32_t at = 106; at < 100 + 4094; at += 2)
        memcpy(guest->memory + at, "./", 2);
    CHECK_EQ_U64(WASI_CALL(guest, path_filestat_get, 3, 0, 100, 4094, 0), 0);
    CHECK_EQ_U64(WASI_CALL(guest, path_filestat_get, 3, 2, 100, 2, 0), WASI_EINVAL);
    wasi_files_done(&files);
}

TEST(names_are_made_moved_and_removed_as_posix_says) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest;
    const uint32_t make = WASI_ID_path_create_directory, rmdir = WASI_ID_path_remove_directory,
                   unlink = WASI_ID_path_unlink_file, link = WASI_ID_path_link,
                   rename = WASI_ID_path_rename;
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "echo text >file; ln -s ../out out; mkdir full; touch full/x");
    CHECK_EQ_U64(files_at(guest, make, "dir/"), 0);
    CHECK_EQ_U64(files_at(guest, make, "dir"), WASI_EEXIST);
    CHECK_EQ_U64(files_at(guest, make, "."), WASI_EEXIST);
    CHECK_EQ_U64(files_at(guest, make, ".."), WASI_EPERM);
    CHECK_EQ_U64(files_at(guest, make, "out/new"), WASI_EPERM);
    CHECK_EQ_U64(files_at(guest, make, "out/"), WASI_EEXIST);
    CHECK_EQ_U64(files_at(guest, rmdir, "."), WASI_EINVAL);
    CHECK_EQ_U64(files_at(guest, rmdir, "dir/.."), WASI_ENOTEMPTY);
    CHECK_EQ_U64(files_at(guest, rmdir, ".."), WASI_EPERM);
    CHECK_EQ_U64(files_at(guest, rmdir, "full"), WASI_ENOTEMPTY);
    CHECK_EQ_U64(files_at(guest, rmdir, "file"), WASI_ENOTDIR);
    CHECK_EQ_U64(files_at(guest, rmdir, "out"), WASI_ENOTDIR);
    CHECK_EQ_U64(files_at(guest, rmdir, "out/"), WASI_ENOTDIR);
    CHECK_EQ_U64(files_at(guest, unlink, "dir"), WASI_EISDIR);
    CHECK_EQ_U64(files_at(guest, unlink, "file/"), WASI_ENOTDIR);
    CHECK_EQ_U64(files_at(guest, unlink, "out/secret"), WASI_EPERM);
    CHECK_EQ_U64(files_at(guest, unlink, "../secret"), WASI_EPERM);
    CHECK_EQ_U64(files_two(guest, link, "../secret", "mine"), WASI_EPERM);
    CHECK_EQ_U64(files_two(guest, link, "out/secret", "mine"), WASI_EPERM);
    CHECK_EQ_U64(files_two(guest, link, "out/", "mine"), WASI_EPERM);
    CHECK_EQ_U64(files_two(guest, link, "dir", "mine"), WASI_EPERM);
    CHECK_EQ_U64(files_two(guest, link, "dir/.", "mine"), WASI_EPERM);
    CHECK_EQ_U64(files_two(guest, link, "file", "out/mine"), WASI_EPERM);
    CHECK_EQ_U64(files_two(guest, link, "out", "out2"), 0); /* the link itself */
    CHECK_EQ_U64(files_two(guest, link, "file", "file2"), 0);
    CHECK_EQ_U64(files_two(guest, rename, "file", "../file"), WASI_EPERM);
    CHECK_EQ_U64(files_two(guest, rename, "../secret", "file"), WASI_EPERM);
    CHECK_EQ_U64(files_two(guest, rename, "out/secret", "file"), WASI_EPERM);
    CHECK_EQ_U64(files_two(guest, rename, "full", "dir"), 0);
    CHECK_EQ_U64(files_two(guest, rename, "dir", "dir/sub"), WASI_EINVAL);
    CHECK_EQ_U64(files_two(guest, rename, "file", "dir"), WASI_EISDIR);
    CHECK_EQ_U64(files_symlink(guest, "/etc", "abs"), WASI_EPERM);
    CHECK_EQ_U64(files_symlink(guest, "x", "../link"), WASI_EPERM);
    CHECK_EQ_U64(files_symlink(guest, "x", "file"), WASI_EEXIST);
    CHECK_EQ_U64(files_symlink(guest, "x", "file/"), WASI_ENOTDIR);
    wasi_files_shell(&files, "test -f dir/x -a -f file2 -a -L out2 -a ! -e mine -a ! -e ../out/new;"
                             "grep -q secret ../secret; grep -q other ../out/secret");
    wasi_files_done(&files);
}

/* ---- What is not a file ---- */

TEST(pipes_devices_and_sockets_are_not_opened) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest;
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "mkfifo pipe");
    guest->cut_after_ms = 5000;
    CHECK_EQ_I64(files_open(guest, "pipe", 0, R_READ), -WASI_ENXIO);
    CHECK_EQ_I64(files_open(guest, "pipe", 0, R_WRITE), -WASI_ENXIO);
    CHECK_EQ_I64(files_open(guest, "pipe", WASI_OFLAG_CREAT | WASI_OFLAG_TRUNC, R_WRITE),
                 -WASI_ENXIO);
    CHECK_EQ_U64(files_stat(guest, "pipe", false), 0);
    char path[96];
    snprintf(path, sizeof path, "%s/null", files.inner);
    if (mknod(path, S_IFCHR | 0666, 0x103) == 0)
        CHECK_EQ_I64(files_open(guest, "null", 0, R_READ), -WASI_EACCES);
    wasi_files_done(&files);
}

/* ---- Rights ---- */

TEST(a_directory_to_read_stays_as_it_is) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest;
    wasi_files_init(&files, HUSK_WASI_READ);
    wasi_files_shell(&files, "echo text >file; mkdir dir");
    CHECK_EQ_U64(files_at(guest, WASI_ID_path_create_directory, "new"), WASI_EPERM);
    CHECK_EQ_U64(files_at(guest, WASI_ID_path_remove_directory, "dir"), WASI_EPERM);
    CHECK_EQ_U64(files_at(guest, WASI_ID_path_unlink_file, "file"), WASI_EPERM);
    CHECK_EQ_U64(files_two(guest, WASI_ID_path_link, "file", "new"), WASI_EPERM);
    CHECK_EQ_U64(files_two(guest, WASI_ID_path_rename, "file", "new"), WASI_EPERM);
    CHECK_EQ_U64(files_symlink(guest, "file", "new"), WASI_EPERM);
    CHECK_EQ_U64(WASI_CALL(guest, path_filestat_set_times, 3, 0, 100, 1, 0, 0, 0), WASI_EPERM);
    CHECK_EQ_I64(files_open(guest, "file", 0, R_READ | R_WRITE), -WASI_EPERM);
    CHECK_EQ_I64(files_open(guest, "file", WASI_OFLAG_TRUNC, R_READ), -WASI_EPERM);
    CHECK_EQ_I64(files_open(guest, "new", WASI_OFLAG_CREAT, R_READ), -WASI_EPERM);
    const int fd = files_open(guest, "file", 0, FILES_RIGHTS_ALL & ~R_WRITE);
    CHECK(fd >= 0);
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_get, (uint64_t)fd, 0), 0);
    CHECK_EQ_U64(wasi_guest_u64(guest, 8) & WASI_RIGHTS_FD_CHANGE, 0);
    CHECK((wasi_guest_u64(guest, 8) & R_READ) != 0);
    CHECK_EQ_U64(WASI_CALL(guest, fd_filestat_set_size, (uint64_t)fd, 0), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_filestat_set_times, 3, 0, 0, 2), WASI_ENOTCAPABLE);
    const int dir = files_open(guest, "dir", WASI_OFLAG_DIRECTORY, FILES_RIGHTS_ALL & ~R_WRITE);
    CHECK_EQ_I64(files_open_at(guest, (uint32_t)dir, "x", WASI_OFLAG_CREAT, R_READ), -WASI_EPERM);
    wasi_files_shell(&files, "test \"$(ls)\" = \"$(printf 'dir\\nfile')\"; grep -q text file");
    wasi_files_done(&files);
}

TEST(rights_are_passed_on_and_never_gained) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest;
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "echo text >file; mkdir dir; echo text >dir/file");
    const uint64_t base = WASI_RIGHT_PATH_OPEN, inheriting = R_READ | WASI_RIGHT_PATH_OPEN;
    memcpy(guest->memory + 100, "dir", 3);
    CHECK_EQ_U64(WASI_CALL(guest, path_open, 3, 0, 100, 3, 0, base, inheriting, 0, 0), 0);
    const uint32_t dir = wasi_guest_u32(guest, 0);
    CHECK_EQ_I64(files_open_at(guest, dir, "new", WASI_OFLAG_CREAT, R_WRITE), -WASI_ENOTCAPABLE);
    const int fd = files_open_at(guest, dir, "file", 0, FILES_RIGHTS_ALL);
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_get, (uint64_t)fd, 0), 0);
    CHECK_EQ_U64(wasi_guest_u64(guest, 8), R_READ);
    CHECK_EQ_I64(files_write(guest, (uint32_t)fd, "x"), -WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_set_rights, dir, base, R_READ | R_WRITE),
                 WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_set_rights, dir, base, 0), 0);
    const int poor = files_open_at(guest, dir, "file", 0, FILES_RIGHTS_ALL);
    char byte;
    CHECK_EQ_I64(files_read(guest, (uint32_t)poor, &byte, 1), -WASI_ENOTCAPABLE);
    CHECK_EQ_I64(files_open_at(guest, (uint32_t)fd, "x", 0, R_READ), -WASI_ENOTDIR);
    CHECK_EQ_I64(files_read(guest, dir, &byte, 1), -WASI_EISDIR);
    CHECK_EQ_I64(files_write(guest, dir, "x"), -WASI_EBADF);
    wasi_files_done(&files);
}

TEST(append_and_the_position_behind_it) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest;
    char text[16];
    wasi_files_init(&files, READ_WRITE);
    memcpy(guest->memory + 100, "log", 3);
    CHECK_EQ_U64(WASI_CALL(guest, path_open, 3, 0, 100, 3, WASI_OFLAG_CREAT, FILES_RIGHTS_ALL, 0,
                           WASI_FDFLAG_APPEND, 0),
                 0);
    const uint32_t fd = wasi_guest_u32(guest, 0);
    CHECK_EQ_I64(files_write(guest, fd, "one"), 3);
    CHECK_EQ_U64(WASI_CALL(guest, fd_seek, fd, 0, 0, 0), 0);
    CHECK_EQ_I64(files_write(guest, fd, "two"), 3);
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_set_flags, fd, WASI_FDFLAG_SYNC), WASI_ENOTSUP);
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_set_flags, fd, 0), 0);
    CHECK_EQ_U64(WASI_CALL(guest, fd_seek, fd, 0, 0, 0), 0);
    CHECK_EQ_I64(files_write(guest, fd, "ONE"), 3);
    CHECK_EQ_I64(files_read(guest, fd, text, 16), 3);
    CHECK_MEM(text, "two", 3);
    wasi_files_shell(&files, "test $(cat log) = ONEtwo; : >log");
    CHECK_EQ_I64(files_read(guest, fd, text, 16), 0); /* truncated by somebody else */
    wasi_files_done(&files);
}

/* ---- Listing ---- */

TEST(a_listing_goes_on_where_it_was) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest;
    bool seen[300] = {false};
    unsigned count = 0;
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "seq 0 299 | xargs touch");
    for (uint64_t cookie = 0, used = 200; used == 200;) {
        CHECK_EQ_U64(WASI_CALL(guest, fd_readdir, 3, 1000, 200, cookie, 0), 0);
        used = wasi_guest_u32(guest, 0);
        for (uint64_t at = 0; at + WASI_DIRENT_BYTES <= used;) {
            const uint8_t *entry = guest->memory + 1000 + at;
            uint32_t name_bytes;
            char name[64] = {0};
            memcpy(&name_bytes, entry + 16, 4);
            CHECK(name_bytes < sizeof name);
            if (at + WASI_DIRENT_BYTES + name_bytes > used)
                break;
            memcpy(name, entry + WASI_DIRENT_BYTES, name_bytes);
            memcpy(&cookie, entry, 8);
            at += WASI_DIRENT_BYTES + name_bytes;
            count++;
            if (name[0] == '.') {
                CHECK_EQ_U64(entry[20], WASI_FILETYPE_DIRECTORY);
                continue;
            }
            CHECK(!seen[atoi(name)]);
            seen[atoi(name)] = true;
        }
    }
    CHECK_EQ_U64(count, 302);
    CHECK_EQ_U64(WASI_CALL(guest, fd_readdir, 3, 1000, 200, UINT64_MAX, 0), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(guest, fd_readdir, 3, 1000, 0, 0, 0), 0);
    CHECK_EQ_U64(WASI_CALL(guest, fd_readdir, 3, 1000, GUEST_BYTES, 0, 0), WASI_EFAULT);
    wasi_files_done(&files);
}

/* Nothing is to be learned about what is above. */
/* Unlink all that a call of fd_readdir gave. Returns the cookie behind it; *ret_used: its bytes. */
static uint64_t unlink_listed(struct wasi_guest *guest, uint64_t fd, uint64_t cookie,
                              uint64_t *ret_used) {
    CHECK_EQ_U64(WASI_CALL(guest, fd_readdir, fd, 1000, 500, cookie, 0), 0);
    *ret_used = wasi_guest_u32(guest, 0);
    for (uint64_t at = 0; at + WASI_DIRENT_BYTES < *ret_used;) {
        const uint8_t *entry = guest->memory + 1000 + at;
        uint32_t name_bytes;
        memcpy(&name_bytes, entry + 16, 4);
        at += WASI_DIRENT_BYTES + name_bytes;
        if (at > *ret_used)
            break;
        memcpy(&cookie, entry, 8);
        if (entry[WASI_DIRENT_BYTES] != '.')
            CHECK_EQ_U64(WASI_CALL(guest, path_unlink_file, fd, 1000 + at - name_bytes, name_bytes),
                         0);
    }
    return cookie;
}

/* An overlay makes the list of a directory when it is opened, and its positions count in that list:
 * good for who keeps it open. So are those of many a FUSE. */
TEST(all_is_listed_while_it_is_removed_from_an_overlay) {
    struct wasi_files files;
    char options[512], point[128];
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        SKIP("nothing can be mounted here");
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files,
                     "mkdir -p m ../low/d ../up ../work; cd ../low/d; seq 600 | xargs touch");
    snprintf(options, sizeof options, "lowerdir=%s/low,upperdir=%s/up,workdir=%s/work", files.outer,
             files.outer, files.outer);
    snprintf(point, sizeof point, "%s/m", files.inner);
    const bool is_mounted = mount("overlay", point, "overlay", 0, options) == 0;
    if (is_mounted) {
        wasi_files_shell(&files, "cd m/d; seq 1001 1600 | xargs touch");
        const int fd = files_open(&files.guest, "m/d", WASI_OFLAG_DIRECTORY, WASI_RIGHTS_DIR);
        for (uint64_t cookie = 0, used = 500; used == 500;)
            cookie = unlink_listed(&files.guest, (uint64_t)fd, cookie, &used);
        CHECK_EQ_U64(WASI_CALL(&files.guest, fd_close, (uint64_t)fd), 0);
        CHECK_EQ_U64(files_at(&files.guest, WASI_ID_path_remove_directory, "m/d"), 0);
        CHECK(umount2(point, MNT_DETACH) == 0);
    }
    wasi_files_done(&files);
    if (!is_mounted)
        SKIP("no overlay can be mounted here");
}

TEST(a_removed_directory_is_empty) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest;
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "mkdir dir");
    const int fd = files_open(guest, "dir", WASI_OFLAG_DIRECTORY, WASI_RIGHTS_DIR);
    CHECK_EQ_U64(files_at(guest, WASI_ID_path_remove_directory, "dir"), 0);
    wasi_guest_set_u32(guest, 0, 1);
    CHECK_EQ_U64(WASI_CALL(guest, fd_readdir, (uint64_t)fd, 1000, 500, 0, 0), 0);
    CHECK_EQ_U64(wasi_guest_u32(guest, 0), 0);
    wasi_files_done(&files);
}

TEST(the_parent_of_the_root_is_the_root) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest;
    uint64_t inos[2] = {0};
    wasi_files_init(&files, READ_WRITE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_readdir, 3, 1000, 1000, 0, 0), 0);
    const uint8_t *entry = guest->memory + 1000;
    for (int i = 0; i < 2; i++) {
        uint32_t name_bytes;
        memcpy(&inos[i], entry + 8, 8);
        memcpy(&name_bytes, entry + 16, 4);
        entry += WASI_DIRENT_BYTES + name_bytes;
    }
    CHECK_EQ_U64(files_stat(guest, ".", false), 0);
    CHECK_EQ_U64(inos[0], wasi_guest_u64(guest, FILES_STAT_ADDR + 8));
    CHECK_EQ_U64(inos[1], inos[0]);
    wasi_files_done(&files);
}

static long plain_syscall(void *host, long number, const long args[6]) {
    (void)host;
    const long result = syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
    return result < 0 ? -errno : result;
}

/* The kernel takes an int. */
TEST(a_target_into_a_buffer_of_2_gib) {
    struct wasi_files files;
    char target[16] = {0};
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "ln -s there link");
    const struct wasi_host_ops ops = {.syscall = plain_syscall};
    const struct wasi_call call = {.ctx = &files.guest.ctx, .ops = &ops};
    const struct wasi_fd *dir = wasi_fds_at(&files.guest.ctx.fds, 3);
    const struct wasi_path path = {.bytes = "link", .count = 4};
    CHECK_EQ_I64(dir->ops->dir->read_link(&call, dir, &path, target, 2), 2);
    CHECK_EQ_I64(dir->ops->dir->read_link(&call, dir, &path, target, UINT32_C(1) << 31), 5);
    CHECK_EQ_I64(dir->ops->dir->read_link(&call, dir, &path, target, UINT32_MAX), 5);
    CHECK(strcmp(target, "there") == 0);
    wasi_files_done(&files);
}

/* ---- Many ---- */

TEST(ten_thousand_open_files) {
    struct wasi_files files;
    struct wasi_guest *guest = &files.guest;
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_max < 11000)
        SKIP("RLIMIT_NOFILE does not allow 11,000");
    limit.rlim_cur = 11000;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "echo text >file");
    for (int i = 0; i < 10000; i++)
        CHECK_EQ_I64(files_open(guest, "file", 0, R_READ), i == 0 ? 0 : i < 3 ? i : i + 1);
    CHECK_EQ_U64(WASI_CALL(guest, fd_close, 7), 0);
    CHECK_EQ_U64(WASI_CALL(guest, fd_close, 5000), 0);
    CHECK_EQ_I64(files_open(guest, "file", 0, R_READ), 7);
    CHECK_EQ_I64(files_open(guest, "file", 0, R_READ), 5000);
    wasi_files_done(&files);
}

TEST(the_limit_of_open_files_creates_nothing) {
    struct wasi_files files;
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_wasi_dir dir = {
        .guest_path = "/", .kind = HUSK_WASI_DIR_HOST, .rights = READ_WRITE};
    struct wasi_guest few;
    wasi_files_init(&files, READ_WRITE);
    dir.host_path = files.inner;
    options.dirs = &dir;
    options.dirs_count = 1;
    options.open_max = 5;
    wasi_guest_init(&few, &options);
    for (int i = 0; i < 4; i++)
        CHECK(files_open(&few, "file", WASI_OFLAG_CREAT, R_READ) >= 0);
    CHECK_EQ_I64(files_open(&few, "new", WASI_OFLAG_CREAT, R_READ), -WASI_EMFILE);
    CHECK_EQ_U64(files_stat(&few, "new", false), WASI_ENOENT);
    wasi_guest_done(&few);
    wasi_files_done(&files);
}

/* ---- The table of directories ---- */

TEST(rows_are_refused_by_number_and_reason) {
    static const struct {
        struct husk_wasi_dir dir;
        int status;
        const char *text;
    } rows[] = {
        {{0}, HUSK_E_INVAL, "dirs[1]: guest_path is missing"},
        {{.guest_path = ""}, HUSK_E_INVAL, "dirs[1]: guest_path is missing"},
        {{.guest_path = "\xff"}, HUSK_E_INVAL, "not UTF-8"},
        {{.guest_path = "/tmp/"}, HUSK_E_INVAL, "dirs[1]: guest_path /tmp/ is that of dirs[0]"},
        {{.guest_path = "a"}, HUSK_E_INVAL, "kind"},
        {{.guest_path = "a", .kind = 9}, HUSK_E_INVAL, "kind"},
        {{.guest_path = "a", .kind = 1}, HUSK_E_INVAL, "rights must be"},
        {{.guest_path = "a", .kind = 1, .rights = 2}, HUSK_E_INVAL, "rights must be"},
        {{.guest_path = "a", .kind = 1, .rights = 1, .reserved = 1}, HUSK_E_INVAL, "reserved"},
        {{.guest_path = "a", .kind = 1, .rights = 1, .host_fd = -1}, HUSK_E_INVAL, "neither"},
        {{.guest_path = "a", .kind = 3, .rights = 1, .host_path = "/"}, HUSK_E_INVAL, "no host"},
        {{.guest_path = "a", .kind = 1, .rights = 1, .host_path = "/none/x"},
         HUSK_E_SYS,
         "dirs[1]: cannot open the directory /none/x"},
        {{.guest_path = "a", .kind = 1, .rights = 1, .host_path = "/dev/null"},
         HUSK_E_SYS,
         "/dev/null: Not a directory"},
        {{.guest_path = "a", .kind = 1, .rights = 1, .host_path = "/proc/self"},
         HUSK_E_INVAL,
         "dirs[1]: it is in a proc file system"},
        {{.guest_path = "a", .kind = 1, .rights = 1, .host_fd = 9999}, HUSK_E_SYS, "host_fd 9999"},
    };
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_wasi_dir dirs[2] = {
        {.guest_path = "/tmp", .host_path = "/tmp", .kind = HUSK_WASI_DIR_HOST, .rights = 1}};
    struct wasi_config *config = NULL;
    struct husk_error err;
    options.dirs = dirs;
    options.dirs_count = 2;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dirs[1] = rows[i].dir;
        CHECK_STATUS(wasi_config_new(&options, &config, &err), rows[i].status);
        CHECK_CONTAINS(err.message, rows[i].text);
    }
}

TEST(limits_are_checked) {
    const struct husk_wasi_dir dir = {
        .guest_path = "/tmp", .host_path = "/tmp", .kind = HUSK_WASI_DIR_HOST, .rights = 1};
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct wasi_config *config = NULL;
    struct husk_error err;
    options.dirs = &dir;
    options.dirs_count = 65;
    CHECK_STATUS(wasi_config_new(&options, &config, &err), HUSK_E_LIMIT);
    options.dirs_count = 1;
    options.open_max = 3;
    CHECK_STATUS(wasi_config_new(&options, &config, &err), HUSK_E_INVAL);
    options.open_max = 65537;
    CHECK_STATUS(wasi_config_new(&options, &config, &err), HUSK_E_LIMIT);
    CHECK_CONTAINS(err.message, "open_max is 65537");
    options.open_max = 0;
    options.dirs = NULL;
    CHECK_STATUS(wasi_config_new(&options, &config, &err), HUSK_E_INVAL);
}

TEST(a_directory_by_descriptor_and_its_name) {
    struct wasi_files files;
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_wasi_dir dir = {
        .guest_path = "/data/x", .kind = HUSK_WASI_DIR_HOST, .rights = HUSK_WASI_READ};
    struct wasi_guest guest;
    wasi_files_init(&files, READ_WRITE);
    wasi_files_shell(&files, "echo text >file");
    dir.host_fd = open(files.inner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    options.dirs = &dir;
    options.dirs_count = 1;
    wasi_guest_init(&guest, &options);
    close(dir.host_fd); /* borrowed until then */
    CHECK_EQ_U64(WASI_CALL(&guest, fd_prestat_get, 3, 0), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 4), 7);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_prestat_dir_name, 3, 64, 6), WASI_ENAMETOOLONG);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_prestat_dir_name, 3, 64, 8), 0);
    CHECK_MEM(guest.memory + 64, "/data/x\0", 8);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_prestat_get, 4, 0), WASI_EBADF);
    CHECK_EQ_U64(files_stat(&guest, "file", false), 0);
    const int self = files_open(&guest, ".", WASI_OFLAG_DIRECTORY, FILES_RIGHTS_ALL & ~R_WRITE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_prestat_get, (uint64_t)self, 0), WASI_EBADF);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_renumber, (uint64_t)self, 3), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_prestat_get, 3, 0), WASI_EBADF);
    CHECK_EQ_U64(files_stat(&guest, "file", false), 0);
    wasi_guest_done(&guest);
    wasi_files_done(&files);
}

TEST_MAIN()
