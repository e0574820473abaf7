/*
 * Private directories (host/wasi/wasi_priv*.c), one rule after the other. The kernel's rules are
 * compared in wasi_privmodel_test.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "harness.h"
#include "priv_rig.h"

#define AT_ROOT(rig, call, ...) rig_##call##_at(rig, RIG_ROOT, __VA_ARGS__)

/* ---- A directory below ---- */

static char home[64];

static const char *path_of(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", home, name);
    return path;
}

static void put_below(const char *name, const char *contents) {
    FILE *file = fopen(path_of(name), "w");
    CHECK(file != NULL && fputs(contents, file) >= 0 && fclose(file) == 0);
}

/* below/: file "one", dir/two, dir/sub/three, links. Beside it: "secret". */
static void make_below(void) {
    strcpy(home, "/tmp/husk-privdir-XXXXXX");
    CHECK(mkdtemp(home) != NULL);
    CHECK(mkdir(path_of("below"), 0755) == 0 && mkdir(path_of("below/dir"), 0755) == 0);
    CHECK(mkdir(path_of("below/dir/sub"), 0755) == 0);
    put_below("secret", "not for the guest");
    put_below("below/one", "first");
    put_below("below/dir/two", "second");
    put_below("below/dir/sub/three", "third");
}

static void remove_below(void) {
    files_remove_tree(home);
}

static void cow_init(struct priv_rig *rig) {
    make_below();
    rig_init(rig, path_of("below"));
}

static void cow_done(struct priv_rig *rig) {
    rig_check(rig);
    rig_done(rig);
    remove_below();
}

/* ---- Short forms ---- */

static void expect_text(struct priv_rig *rig, const char *path, const char *expected) {
    char got[64] = "";
    const int fd = AT_ROOT(rig, open, path, 0, RIG_FOLLOW);
    CHECK_MSG(fd > 0, "%s: %d", path, fd);
    const long bytes = rig_io(rig, (uint32_t)fd, got, sizeof got - 1, false, 0);
    CHECK_EQ_I64(bytes, (int64_t)strlen(expected));
    CHECK_STR(got, expected);
    rig_close(rig, (uint32_t)fd);
}

static uint32_t open_ok(struct priv_rig *rig, const char *path, uint32_t oflags, uint32_t how) {
    const int fd = AT_ROOT(rig, open, path, oflags, how);
    CHECK_MSG(fd > 0, "%s: %d", path, fd);
    return (uint32_t)fd;
}

static long put_text(struct priv_rig *rig, uint32_t fd, const char *text, uint64_t offset) {
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    return rig_io(rig, fd, copy, strlen(copy), true, offset);
}

static void write_file(struct priv_rig *rig, const char *path, const char *text) {
    const uint32_t fd = open_ok(rig, path, WASI_OFLAG_CREAT | WASI_OFLAG_TRUNC, RIG_WRITE);
    CHECK_EQ_I64(put_text(rig, fd, text, WASI_NO_OFFSET), (int64_t)strlen(text));
    rig_close(rig, fd);
}

static void expect_names(struct priv_rig *rig, const char *path, const char *expected) {
    struct buf names = {0};
    const uint32_t fd = open_ok(rig, path, WASI_OFLAG_DIRECTORY, 0);
    CHECK_EQ_I64(rig_list(rig, fd, 2, &names), 0);
    files_sort(&names);
    CHECK_STR((char *)names.data, expected);
    buf_done(&names);
    rig_close(rig, fd);
}

static struct privfs_usage usage_of(struct priv_rig *rig) {
    const struct privfs fs = rig_layer(rig);
    struct privfs_usage usage;
    privfs_usage(&fs, &usage);
    return usage;
}

/* ---- Paths ---- */

static const char *const escapes[] = {"..",
                                      "../secret",
                                      "dir/../../secret",
                                      "./../below/one",
                                      "dir/sub/../../../secret",
                                      "/one",
                                      "/etc/passwd",
                                      "out",
                                      "out/",
                                      "dir/up",
                                      "absolute",
                                      "own_out"};

TEST(nothing_leads_out) {
    struct priv_rig rig;
    struct stat st;
    cow_init(&rig);
    CHECK(symlink("../secret", path_of("below/out")) == 0);
    CHECK(symlink("../../secret", path_of("below/dir/up")) == 0);
    CHECK(symlink("/etc/passwd", path_of("below/absolute")) == 0);
    CHECK_EQ_I64(rig_symlink_at(&rig, "dir/../../secret", RIG_ROOT, "own_out"), 0);
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
        CHECK_EQ_I64(AT_ROOT(&rig, open, escapes[i], 0, RIG_FOLLOW), -EPERM);
        CHECK_EQ_I64(AT_ROOT(&rig, stat, escapes[i], true, &st), -EPERM);
    }
    CHECK_EQ_I64(rig_rename_at(&rig, RIG_ROOT, "one", RIG_ROOT, "../one"), -EPERM);
    CHECK_EQ_I64(rig_link_at(&rig, RIG_ROOT, "one", false, RIG_ROOT, "dir/../../one"), -EPERM);
    /* A descriptor is the root of its paths. */
    const uint32_t dir = open_ok(&rig, "dir", 0, 0);
    CHECK_EQ_I64(rig_open_at(&rig, dir, "../one", 0, 0), -EPERM);
    CHECK_EQ_I64(rig_open_at(&rig, dir, "up", 0, RIG_FOLLOW), -EPERM);
    CHECK_EQ_I64(rig_close(&rig, (uint32_t)rig_open_at(&rig, dir, "sub/../two", 0, 0)), 0);
    cow_done(&rig);
}

TEST(links_end) {
    struct priv_rig rig;
    struct stat st;
    char path[4096];
    rig_init(&rig, NULL);
    CHECK_EQ_I64(rig_symlink_at(&rig, "b", RIG_ROOT, "a"), 0);
    CHECK_EQ_I64(rig_symlink_at(&rig, "a", RIG_ROOT, "b"), 0);
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "a", true, &st), -ELOOP);
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "a/c", false, &st), -ELOOP);
    CHECK_EQ_I64(AT_ROOT(&rig, open, "a", WASI_OFLAG_CREAT, RIG_FOLLOW | RIG_WRITE), -ELOOP);
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "a", false, &st), 0);
    /* 40 links are followed, as on Linux. */
    CHECK_EQ_I64(AT_ROOT(&rig, make_dir, "d"), 0);
    CHECK_EQ_I64(rig_symlink_at(&rig, ".", RIG_ROOT, "d/l"), 0);
    strcpy(path, "d");
    for (int i = 0; i < 40; i++)
        strcat(path, "/l");
    CHECK_EQ_I64(AT_ROOT(&rig, stat, path, true, &st), 0);
    CHECK_EQ_I64(AT_ROOT(&rig, stat, strcat(path, "/l"), true, &st), -ELOOP);
    rig_check(&rig);
    rig_done(&rig);
}

TEST(names_and_depths_have_limits) {
    struct priv_rig rig;
    char name[300];
    rig_init(&rig, NULL);
    memset(name, 'x', sizeof name);
    name[256] = '\0';
    CHECK_EQ_I64(AT_ROOT(&rig, make_dir, name), -ENAMETOOLONG);
    name[255] = '\0';
    CHECK_EQ_I64(AT_ROOT(&rig, make_dir, name), 0);
    uint32_t dir = RIG_ROOT, depth = 1;
    int status = 0;
    while ((status = rig_make_dir_at(&rig, dir, "d")) == 0) {
        const int next = rig_open_at(&rig, dir, "d", 0, 0);
        CHECK(next > 0);
        if (dir != RIG_ROOT)
            rig_close(&rig, dir);
        dir = (uint32_t)next;
        depth++;
    }
    CHECK_EQ_I64(status, -ENAMETOOLONG);
    CHECK_EQ_U64(depth, 1024);
    CHECK_EQ_I64(rig_rename_at(&rig, RIG_ROOT, name, dir, "d"), -ENAMETOOLONG);
    rig_check(&rig);
    rig_done(&rig);
}

TEST(what_is_no_file_is_shown_and_not_opened) {
    struct priv_rig rig;
    struct stat st;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cow_init(&rig);
    CHECK(mkfifo(path_of("below/fifo"), 0644) == 0);
    strcpy(address.sun_path, path_of("below/socket"));
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK_EQ_I64(AT_ROOT(&rig, open, "fifo", 0, RIG_FOLLOW), -ENXIO);
    CHECK_EQ_I64(AT_ROOT(&rig, open, "socket", WASI_OFLAG_TRUNC, RIG_WRITE), -ENXIO);
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "fifo", true, &st), 0);
    CHECK(S_ISFIFO(st.st_mode));
    CHECK_EQ_I64(rig_rename_at(&rig, RIG_ROOT, "fifo", RIG_ROOT, "other"), -EPERM);
    CHECK_EQ_I64(rig_link_at(&rig, RIG_ROOT, "socket", false, RIG_ROOT, "other"), -EPERM);
    expect_names(&rig, ".", "dir/\nfifo\none\nsocket\n");
    CHECK_EQ_I64(AT_ROOT(&rig, unlink, "fifo"), 0);
    expect_names(&rig, ".", "dir/\none\nsocket\n");
    CHECK(access(path_of("below/fifo"), F_OK) == 0);
    close(listener);
    cow_done(&rig);
}

/* ---- Copies ---- */

TEST(reading_copies_nothing) {
    struct priv_rig rig;
    cow_init(&rig);
    expect_text(&rig, "dir/sub/three", "third");
    const struct privfs_usage before = usage_of(&rig);
    const uint32_t fd = open_ok(&rig, "one", 0, RIG_WRITE);
    expect_names(&rig, "dir/sub", "three\n");
    CHECK_EQ_I64(put_text(&rig, fd, "", 0), 0);
    CHECK_EQ_U64(usage_of(&rig).bytes, before.bytes);
    CHECK_EQ_U64(usage_of(&rig).entries, before.entries);
    cow_done(&rig);
}

TEST(a_copy_is_the_same_file) {
    struct priv_rig rig;
    struct stat before, after, dir_before, dir_after;
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000, .tv_nsec = 5}};
    cow_init(&rig);
    CHECK(utimensat(AT_FDCWD, path_of("below/dir/two"), times, 0) == 0);
    CHECK(utimensat(AT_FDCWD, path_of("below/dir"), times, 0) == 0);
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "dir/two", false, &before), 0);
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "dir", false, &dir_before), 0);
    /* A descriptor to read, one to write, one more: all see the copy. */
    const uint32_t reader = open_ok(&rig, "dir/two", 0, 0);
    const uint32_t writer = open_ok(&rig, "dir/two", 0, RIG_WRITE);
    char text[16] = "";
    CHECK_EQ_I64(rig_io(&rig, reader, text, 3, false, WASI_NO_OFFSET), 3);
    CHECK_EQ_I64(put_text(&rig, writer, "SEC", 0), 3);
    CHECK_EQ_I64(rig_io(&rig, reader, text, 8, false, WASI_NO_OFFSET), 3);
    CHECK_STR(text, "ond");
    CHECK_EQ_I64(rig_io(&rig, reader, text, 8, false, 0), 6);
    CHECK_STR(text, "SECond");
    expect_text(&rig, "dir/two", "SECond");
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "dir/two", false, &after), 0);
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "dir", false, &dir_after), 0);
    CHECK(after.st_ino == before.st_ino && after.st_dev == before.st_dev);
    CHECK(dir_after.st_ino == dir_before.st_ino && dir_after.st_dev == dir_before.st_dev);
    CHECK(memcmp(&dir_after.st_mtim, &dir_before.st_mtim, sizeof dir_after.st_mtim) == 0);
    CHECK_EQ_U64(after.st_size, 6);
    /* Setting times, a link and a new name copy, too, and keep what they do not set. */
    CHECK_EQ_I64(rig_rename_at(&rig, RIG_ROOT, "one", RIG_ROOT, "uno"), 0);
    CHECK(stat(path_of("below/one"), &before) == 0);
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "uno", false, &after), 0);
    CHECK(memcmp(&after.st_mtim, &before.st_mtim, sizeof after.st_mtim) == 0);
    CHECK_EQ_U64(after.st_ino, before.st_ino);
    CHECK_EQ_I64(AT_ROOT(&rig, set_times, "dir/sub/three", false, times), 0);
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "dir/sub/three", false, &after), 0);
    CHECK_EQ_I64(after.st_mtim.tv_sec, 2000);
    cow_done(&rig);
}

TEST(own_numbers_are_not_those_below) {
    struct priv_rig rig;
    struct stat st;
    cow_init(&rig);
    write_file(&rig, "new", "text");
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "new", false, &st), 0);
    CHECK((st.st_ino & (UINT64_C(1) << 52)) != 0);
    cow_done(&rig);
}

TEST(truncating_copies_nothing) {
    struct priv_rig rig;
    cow_init(&rig);
    CHECK(truncate(path_of("below/one"), 50 << 20) == 0);
    rig.config.private_max_bytes = 1 << 20;
    rig_close(&rig, open_ok(&rig, "one", WASI_OFLAG_TRUNC, RIG_WRITE));
    expect_text(&rig, "one", "");
    const uint32_t fd = open_ok(&rig, "dir/two", 0, RIG_WRITE);
    CHECK_EQ_I64(rig_resize(&rig, fd, 3), 0);
    expect_text(&rig, "dir/two", "sec");
    cow_done(&rig);
}

TEST(holes_stay_holes) {
    struct priv_rig rig;
    char text[8] = "";
    cow_init(&rig);
    const int host_fd = open(path_of("below/one"), O_WRONLY | O_CLOEXEC);
    CHECK(host_fd >= 0 && ftruncate(host_fd, 200 << 20) == 0);
    CHECK(pwrite(host_fd, "middle", 6, 100 << 20) == 6);
    close(host_fd);
    const uint32_t fd = open_ok(&rig, "one", 0, RIG_WRITE);
    CHECK_EQ_I64(put_text(&rig, fd, "F", 0), 1);
    CHECK_EQ_I64(rig_seek(&rig, fd, 0, SEEK_END), 200 << 20);
    CHECK_EQ_I64(rig_io(&rig, fd, text, 6, false, 100 << 20), 6);
    CHECK_STR(text, "middle");
    CHECK_EQ_I64(rig_io(&rig, fd, text, 5, false, 0), 5);
    CHECK_MEM(text, "First", 5);
    CHECK(usage_of(&rig).bytes < 1 << 20);
    cow_done(&rig);
}

/* A file of this many bytes at dir/sub/big. */
static void make_big(off_t bytes) {
    uint8_t block[65536];
    memset(block, 'b', sizeof block);
    const int fd = open(path_of("below/dir/sub/big"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    for (off_t at = 0; at < bytes; at += (off_t)sizeof block)
        CHECK(pwrite(fd, block, sizeof block, at) == (ssize_t)sizeof block);
    close(fd);
}

TEST(a_copy_that_is_cut_off_leaves_nothing) {
    struct priv_rig rig;
    cow_init(&rig);
    make_big(8 << 20);
    rig_close(&rig, open_ok(&rig, "new", WASI_OFLAG_CREAT, RIG_WRITE));
    const struct privfs_usage before = usage_of(&rig);
    const uint32_t fd = open_ok(&rig, "dir/sub/big", 0, RIG_WRITE);
    const uint32_t dir = open_ok(&rig, "dir/sub", 0, 0);
    for (long after = 0; after < 20; after += 6) {
        rig.cut_after = after;
        CHECK_EQ_I64(put_text(&rig, fd, "x", 0), -EINTR);
        rig.cut_after = -1;
        CHECK_EQ_U64(usage_of(&rig).entries, before.entries);
        CHECK(usage_of(&rig).bytes <= before.bytes + 8192);
        rig_check(&rig);
    }
    CHECK_EQ_I64(put_text(&rig, fd, "x", 0), 1);
    CHECK_EQ_I64(rig_seek(&rig, fd, 0, SEEK_END), 8 << 20);
    CHECK_EQ_I64(rig_unlink_at(&rig, dir, "three"), 0);
    expect_names(&rig, "dir/sub", "big\n");
    cow_done(&rig);
}

static bool no_entry(void *user, const struct wasi_dirent *entry) {
    (void)user;
    CHECK_MSG(false, "%s is listed", entry->name);
    return false;
}

/* Nothing is left to list, but there is much to pass over. */
TEST(a_listing_of_hidden_names_is_cut_off) {
    struct priv_rig rig;
    struct buf names = {0};
    char name[32];
    cow_init(&rig);
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "below/dir/sub/%u", i);
        const int host_fd = open(path_of(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        CHECK(host_fd >= 0);
        close(host_fd);
    }
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "dir/sub/%u", i);
        CHECK_EQ_I64(rig_unlink_at(&rig, RIG_ROOT, name), 0);
    }
    CHECK_EQ_I64(rig_unlink_at(&rig, RIG_ROOT, "dir/sub/three"), 0);
    const uint32_t fd = open_ok(&rig, "dir/sub", WASI_OFLAG_DIRECTORY, 0);
    rig.cut_after = 0;
    CHECK_EQ_I64(rig_list(&rig, fd, 4096, &names), -EINTR);
    rig.cut_after = -1;
    CHECK_EQ_I64(rig_list(&rig, fd, 4096, &names), 0);
    buf_done(&names);
    /* With the names below read already. */
    rig.cut_after = 0;
    CHECK_EQ_I64(rig_list_from(&rig, fd, 16, no_entry, NULL), -EINTR);
    rig.cut_after = -1;
    cow_done(&rig);
}

TEST(an_allocation_that_is_cut_off_leaves_nothing) {
    struct priv_rig rig;
    struct stat st;
    rig_init(&rig, NULL);
    const uint32_t fd = open_ok(&rig, "new", WASI_OFLAG_CREAT, RIG_WRITE);
    CHECK_EQ_I64(put_text(&rig, fd, "words", 0), 5);
    const struct privfs_usage before = usage_of(&rig);
    for (long after = 0; after < 20; after += 6) {
        rig.cut_after = after;
        CHECK_EQ_I64(rig_allocate(&rig, fd, 3, 40 << 20), -EINTR);
        rig.cut_after = -1;
        CHECK_EQ_I64(rig_fd_stat(&rig, fd, &st), 0);
        CHECK_EQ_I64(st.st_size, 5);
        CHECK(usage_of(&rig).bytes <= before.bytes + 8192); /* block 0, and an index page */
        rig_check(&rig);
    }
    CHECK_EQ_I64(rig_allocate(&rig, fd, 3, RIG_REGION_BYTES), -ENOSPC);
    CHECK(usage_of(&rig).bytes <= before.bytes + 8192); /* block 0, and an index page */
    CHECK_EQ_I64(rig_allocate(&rig, fd, 3, 40 << 20), 0);
    CHECK_EQ_I64(rig_seek(&rig, fd, 0, SEEK_END), (40 << 20) + 3);
    CHECK(usage_of(&rig).bytes > before.bytes + (40 << 20));
    rig_check(&rig);
    rig_done(&rig);
}

TEST(a_full_layer_changes_nothing) {
    struct priv_rig rig;
    cow_init(&rig);
    make_big(8 << 20);
    rig_close(&rig, open_ok(&rig, "new", WASI_OFLAG_CREAT, RIG_WRITE));
    const struct privfs_usage before = usage_of(&rig);
    const uint32_t fd = open_ok(&rig, "dir/sub/big", 0, RIG_WRITE);
    rig.config.private_max_bytes = before.bytes + (2 << 20);
    CHECK_EQ_I64(put_text(&rig, fd, "x", 0), -ENOSPC);
    CHECK_EQ_I64(rig_rename_at(&rig, RIG_ROOT, "dir/sub/big", RIG_ROOT, "big"), -ENOSPC);
    CHECK_EQ_U64(usage_of(&rig).entries, before.entries);
    rig.config.private_max_bytes = RIG_REGION_BYTES;
    for (uint64_t entries = before.entries; entries < before.entries + 3; entries++) {
        rig.config.private_max_entries = entries; /* it needs three: dir, sub, and the name */
        CHECK_EQ_I64(AT_ROOT(&rig, unlink, "dir/sub/big"), -ENOSPC);
        rig_check(&rig);
        expect_names(&rig, "dir/sub", "big\nthree\n");
    }
    rig.config.private_max_entries = 1000;
    CHECK_EQ_I64(AT_ROOT(&rig, unlink, "dir/sub/big"), 0);
    expect_names(&rig, "dir/sub", "three\n");
    cow_done(&rig);
}

/* ---- Names that hide others ---- */

TEST(what_is_removed_stays_below) {
    struct priv_rig rig;
    struct stat st;
    cow_init(&rig);
    CHECK_EQ_I64(AT_ROOT(&rig, remove_dir, "dir"), -ENOTEMPTY);
    CHECK_EQ_I64(AT_ROOT(&rig, unlink, "dir/sub/three"), 0);
    CHECK_EQ_I64(AT_ROOT(&rig, remove_dir, "dir/sub"), 0);
    CHECK_EQ_I64(AT_ROOT(&rig, unlink, "dir/two"), 0);
    CHECK_EQ_I64(AT_ROOT(&rig, remove_dir, "dir"), 0);
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "dir", false, &st), -ENOENT);
    expect_names(&rig, ".", "one\n");
    /* A new directory shows nothing of the old one. */
    CHECK_EQ_I64(AT_ROOT(&rig, make_dir, "dir"), 0);
    expect_names(&rig, "dir", "");
    CHECK(access(path_of("below/dir/sub/three"), F_OK) == 0);
    cow_done(&rig);
}

TEST(a_directory_below_is_renamed_with_its_names) {
    struct priv_rig rig;
    struct stat st;
    cow_init(&rig);
    const uint32_t sub = open_ok(&rig, "dir/sub", 0, 0),
                   two = open_ok(&rig, "dir/two", 0, RIG_WRITE);
    CHECK_EQ_I64(rig_rename_at(&rig, RIG_ROOT, "dir", RIG_ROOT, "dir/sub/dir"), -EINVAL);
    CHECK_EQ_I64(rig_rename_at(&rig, RIG_ROOT, "dir", RIG_ROOT, "moved"), 0);
    expect_names(&rig, ".", "moved/\none\n");
    expect_names(&rig, "moved", "sub/\ntwo\n");
    expect_text(&rig, "moved/sub/three", "third");
    CHECK_EQ_I64(AT_ROOT(&rig, stat, "dir/two", false, &st), -ENOENT);
    /* Descriptors follow: */
    CHECK_EQ_I64(put_text(&rig, two, "2", 0), 1);
    expect_text(&rig, "moved/two", "2econd");
    CHECK_EQ_I64(rig_make_dir_at(&rig, sub, "new"), 0);
    expect_names(&rig, "moved/sub", "new/\nthree\n");
    CHECK_EQ_I64(AT_ROOT(&rig, make_dir, "dir"), 0);
    expect_names(&rig, "dir", "");
    CHECK_EQ_I64(rig_rename_at(&rig, RIG_ROOT, "moved", RIG_ROOT, "dir"), 0);
    expect_names(&rig, "dir", "sub/\ntwo\n");
    cow_done(&rig);
}

TEST(a_file_without_a_name_lives_until_it_is_closed) {
    struct priv_rig rig;
    char text[16] = "";
    struct stat st;
    cow_init(&rig);
    const uint32_t below = open_ok(&rig, "one", 0, RIG_WRITE), also = open_ok(&rig, "one", 0, 0);
    write_file(&rig, "own", "mine");
    const uint32_t own = open_ok(&rig, "own", 0, RIG_WRITE);
    CHECK_EQ_I64(AT_ROOT(&rig, unlink, "one"), 0);
    CHECK_EQ_I64(AT_ROOT(&rig, unlink, "own"), 0);
    CHECK_EQ_I64(rig_fd_stat(&rig, below, &st), 0);
    CHECK_EQ_U64(st.st_nlink, 0);
    /* It is written: both see the copy, which has no name. */
    CHECK_EQ_I64(put_text(&rig, below, "F", 0), 1);
    CHECK_EQ_I64(rig_io(&rig, also, text, 5, false, 0), 5);
    CHECK_STR(text, "First");
    CHECK_EQ_I64(rig_io(&rig, own, text, 4, false, 0), 4);
    CHECK_MEM(text, "mine", 4);
    expect_names(&rig, ".", "dir/\n");
    const struct privfs_usage before = usage_of(&rig);
    rig_close(&rig, below);
    CHECK_EQ_U64(usage_of(&rig).entries, before.entries);
    rig_close(&rig, also);
    CHECK_EQ_U64(usage_of(&rig).entries, before.entries - 1);
    rig_close(&rig, own);
    CHECK_EQ_U64(usage_of(&rig).entries, before.entries - 2);
    cow_done(&rig);
}

TEST_MAIN()
