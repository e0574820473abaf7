/*
 * Private directories: listings that go on while names come and go, descriptors in snapshots, and a
 * directory below that changes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "priv_rig.h"
#include "wasi_state.h"

static char home[64];

static const char *path_of(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", home, name);
    return path;
}

static void rename_below(const char *from, const char *to) {
    char old_path[256];
    strcpy(old_path, path_of(from));
    CHECK(rename(old_path, path_of(to)) == 0);
}

static void put_below(const char *name, const char *contents) {
    FILE *file = fopen(path_of(name), "w");
    CHECK(file != NULL && fputs(contents, file) >= 0 && fclose(file) == 0);
}

static void cow_init(struct priv_rig *rig) {
    strcpy(home, "/tmp/husk-privstate-XXXXXX");
    CHECK(mkdtemp(home) != NULL);
    CHECK(mkdir(path_of("below"), 0755) == 0 && mkdir(path_of("below/dir"), 0755) == 0);
    put_below("below/one", "first");
    put_below("below/dir/two", "second");
    rig_init(rig, path_of("below"));
}

static void cow_done(struct priv_rig *rig) {
    rig_check(rig);
    rig_done(rig);
    files_remove_tree(home);
}

static uint32_t open_ok(struct priv_rig *rig, const char *path, uint32_t oflags, uint32_t how) {
    const int fd = rig_open_at(rig, RIG_ROOT, path, oflags, how);
    CHECK_MSG(fd > 0, "%s: %d", path, fd);
    return (uint32_t)fd;
}

static long put_text(struct priv_rig *rig, uint32_t fd, const char *text) {
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    return rig_io(rig, fd, copy, strlen(copy), true, WASI_NO_OFFSET);
}

static void expect_read(struct priv_rig *rig, uint32_t fd, const char *expected) {
    char got[64] = "";
    CHECK_EQ_I64(rig_io(rig, fd, got, sizeof got - 1, false, WASI_NO_OFFSET),
                 (int64_t)strlen(expected));
    CHECK_STR(got, expected);
}

static void expect_names(struct priv_rig *rig, const char *path, const char *expected) {
    struct buf names = {0};
    const uint32_t fd = open_ok(rig, path, WASI_OFLAG_DIRECTORY, 0);
    CHECK_EQ_I64(rig_list(rig, fd, 100, &names), 0);
    files_sort(&names);
    CHECK_STR((char *)names.data, expected);
    buf_done(&names);
    rig_close(rig, fd);
}

/* ---- Listings ---- */

#define NAMES 200

struct seen {
    uint32_t counts[NAMES]; /* of the names n0, n1, … */
    uint32_t dots, left;
    uint64_t cookie;
    bool is_more;
};

static bool seen_emit(void *user, const struct wasi_dirent *entry) {
    struct seen *seen = user;
    char name[256];
    if (seen->left == 0) {
        seen->is_more = true;
        return false;
    }
    seen->left--;
    seen->cookie = entry->next;
    snprintf(name, sizeof name, "%.*s", (int)entry->name_bytes, entry->name);
    seen->dots += strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    if (name[0] == 'n' && (unsigned)atoi(name + 1) < NAMES)
        seen->counts[atoi(name + 1)]++;
    return true;
}

/* Odd names exist all the time. Between two pages, even ones come and go, odd ones come into the
 * layer or get new contents; each odd name must be seen once. */
static void list_while_changing(struct priv_rig *rig, uint32_t dir, bool is_cache_lost) {
    struct seen seen = {0};
    char name[32];
    uint32_t page = 0;
    do {
        seen.left = 1 + page % 7;
        seen.is_more = false;
        CHECK_EQ_I64(rig_list_from(rig, dir, seen.cookie, seen_emit, &seen), 0);
        snprintf(name, sizeof name, "n%u", page * 37 % NAMES / 2 * 2);
        if (rig_unlink_at(rig, dir, name) != 0)
            rig_close(rig, (uint32_t)rig_open_at(rig, dir, name, WASI_OFLAG_CREAT, RIG_WRITE));
        snprintf(name, sizeof name, "n%u", page * 53 % NAMES / 2 * 2 + 1);
        const int fd = rig_open_at(rig, dir, name, 0, RIG_WRITE);
        CHECK(fd > 0 && put_text(rig, (uint32_t)fd, "text") == 4);
        rig_close(rig, (uint32_t)fd);
        if (is_cache_lost)
            wasi_privlist_forget(&rig->ctx);
        page++;
    } while (seen.is_more);
    CHECK_EQ_U64(seen.dots, 2);
    for (uint32_t i = 1; i < NAMES; i += 2)
        if (seen.counts[i] != 1)
            FAIL("n%u was listed %u times", i, seen.counts[i]);
}

static void make_names(struct priv_rig *rig, bool is_below) {
    char name[64];
    for (uint32_t i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "%sdir/n%u", is_below ? "below/" : "", i);
        if (is_below)
            put_below(name, "");
        else
            rig_close(rig, open_ok(rig, name, WASI_OFLAG_CREAT, RIG_WRITE));
    }
}

TEST(what_stays_is_listed_once) {
    for (int round = 0; round < 4; round++) {
        struct priv_rig rig;
        cow_init(&rig);
        make_names(&rig, round % 2 == 0);
        const uint32_t dir = open_ok(&rig, "dir", 0, 0);
        list_while_changing(&rig, dir, round >= 2);
        list_while_changing(&rig, dir, round >= 2);
        cow_done(&rig);
    }
}

TEST(a_listing_goes_on_after_a_restore) {
    struct priv_rig rig;
    struct rig_snapshot snapshot;
    struct seen seen = {.left = 77}, again;
    cow_init(&rig);
    make_names(&rig, true);
    const uint32_t dir = open_ok(&rig, "dir", 0, 0);
    CHECK_EQ_I64(rig_list_from(&rig, dir, 0, seen_emit, &seen), 0);
    rig_save(&rig, &snapshot);
    for (int round = 0; round < 2; round++) {
        again = seen;
        again.left = 1000;
        CHECK_EQ_I64(rig_list_from(&rig, dir, again.cookie, seen_emit, &again), 0);
        for (uint32_t i = 0; i < NAMES; i++)
            CHECK_EQ_U64(again.counts[i], 1);
        CHECK_EQ_I64(rig_unlink_at(&rig, dir, "n5"), 0);
        rig_load(&rig, &snapshot);
    }
    rig_drop(&snapshot);
    cow_done(&rig);
}

/* ---- Snapshots ---- */

TEST(descriptors_come_back) {
    struct priv_rig rig;
    struct rig_snapshot snapshot;
    struct stat st;
    cow_init(&rig);
    const uint32_t one = open_ok(&rig, "one", 0, RIG_WRITE), dir = open_ok(&rig, "dir", 0, 0);
    const uint32_t two = open_ok(&rig, "dir/two", 0, 0);
    const uint32_t own = open_ok(&rig, "own", WASI_OFLAG_CREAT, RIG_WRITE | RIG_APPEND);
    const uint32_t gone = open_ok(&rig, "gone", WASI_OFLAG_CREAT, RIG_WRITE);
    CHECK_EQ_I64(put_text(&rig, own, "mine"), 4);
    CHECK_EQ_I64(put_text(&rig, gone, "nameless"), 8);
    CHECK_EQ_I64(rig_unlink_at(&rig, RIG_ROOT, "gone"), 0);
    CHECK_EQ_I64(rig_unlink_at(&rig, dir, "two"), 0);
    CHECK_EQ_I64(rig_seek(&rig, one, 2, SEEK_SET), 2);
    CHECK_EQ_I64(rig_seek(&rig, gone, 4, SEEK_SET), 4);
    CHECK_EQ_I64(rig_seek(&rig, own, 1, SEEK_SET), 1);
    rig_save(&rig, &snapshot);
    for (int round = 0; round < 3; round++) {
        expect_read(&rig, one, "rst");
        expect_read(&rig, two, "second");
        expect_read(&rig, gone, "less");
        expect_read(&rig, own, "ine");
        CHECK_EQ_I64(put_text(&rig, own, "more"), 4); /* at the end */
        expect_names(&rig, ".", "dir/\none\nown\n");
        expect_names(&rig, "dir", "");
        /* Change all of it. */
        CHECK_EQ_I64(put_text(&rig, one, "changed"), 7);
        CHECK_EQ_I64(rig_rename_at(&rig, RIG_ROOT, "dir", RIG_ROOT, "moved"), 0);
        CHECK_EQ_I64(rig_make_dir_at(&rig, dir, "new"), 0);
        rig_close(&rig, gone);
        rig_close(&rig, two);
        rig_close(&rig, open_ok(&rig, "other", WASI_OFLAG_CREAT, RIG_WRITE));
        rig_load(&rig, &snapshot);
        CHECK_EQ_I64(rig_stat_at(&rig, RIG_ROOT, "moved", false, &st), -ENOENT);
    }
    rig_drop(&snapshot);
    cow_done(&rig);
}

/* A sandbox that gets only some of the descriptors: what nobody has open takes no room. */
TEST(files_of_lost_descriptors_are_released) {
    struct priv_rig rig, other;
    struct rig_snapshot snapshot;
    struct privfs_usage usage;
    struct stat st;
    rig_init(&rig, NULL);
    const uint32_t kept = open_ok(&rig, "kept", WASI_OFLAG_CREAT, RIG_WRITE);
    CHECK_EQ_I64(rig_make_dir_at(&rig, RIG_ROOT, "dir"), 0);
    const uint32_t dir = open_ok(&rig, "dir", WASI_OFLAG_DIRECTORY, 0);
    const uint32_t again = open_ok(&rig, "kept", 0, 0);
    CHECK_EQ_I64(put_text(&rig, kept, "nameless"), 8);
    CHECK_EQ_I64(rig_unlink_at(&rig, RIG_ROOT, "kept"), 0);
    CHECK_EQ_I64(rig_remove_dir_at(&rig, RIG_ROOT, "dir"), 0);
    rig_save(&rig, &snapshot);
    for (int round = 0; round < 3; round++) { /* all of them: nothing is released */
        rig_load(&rig, &snapshot);
        CHECK_EQ_I64(rig_fd_stat(&rig, dir, &st), 0);
        expect_read(&rig, again, "nameless");
        const struct privfs all = rig_layer(&rig);
        privfs_usage(&all, &usage);
        CHECK(usage.nameless == 2 && usage.entries == 2);
    }
    rig_close(&rig, kept);
    wasi_fds_close(&rig.ctx.fds, dir); /* as if it could not be loaded */
    CHECK_EQ_I64(rig_seek(&rig, again, 0, SEEK_SET), 0);
    rig_drop(&snapshot);
    rig_save(&rig, &snapshot);
    rig_load(&rig, &snapshot);
    expect_read(&rig, again, "nameless");
    struct privfs fs = rig_layer(&rig);
    privfs_usage(&fs, &usage);
    CHECK(usage.nameless == 1 && usage.entries == 1);
    rig_check(&rig);

    rig_init(&other, NULL); /* a layer without any descriptor */
    memcpy(other.region, snapshot.region, snapshot.bytes);
    CHECK_EQ_I64(rig_stat_at(&other, RIG_ROOT, "kept", false, &st), -ENOENT);
    fs = rig_layer(&other);
    privfs_usage(&fs, &usage);
    CHECK(usage.nameless == 0 && usage.entries == 0);
    rig_check(&other);
    rig_done(&other);
    rig_drop(&snapshot);
    rig_done(&rig);
}

/* What another process does that opens a saved snapshot. */
TEST(another_sandbox_goes_on) {
    struct priv_rig rig, other;
    struct rig_snapshot snapshot;
    struct stat st;
    cow_init(&rig);
    const uint32_t one = open_ok(&rig, "one", 0, 0), two = open_ok(&rig, "dir/two", 0, RIG_WRITE);
    const uint32_t replaced = open_ok(&rig, "dir/two", 0, 0);
    CHECK_EQ_I64(put_text(&rig, two, "2"), 1);
    rig_save(&rig, &snapshot);
    rig_init(&other, path_of("below"));
    rig_load(&other, &snapshot);
    expect_read(&other, one, "first");
    expect_read(&other, two, "econd");
    expect_read(&other, replaced, "2econd");
    rig_done(&other);
    /* Another file at that path, or none: closed. The copy is the layer's. */
    put_below("below/new", "other");
    rename_below("below/new", "below/one");
    CHECK(unlink(path_of("below/dir/two")) == 0);
    rig_init(&other, path_of("below"));
    rig_load(&other, &snapshot);
    char text[8];
    CHECK_EQ_I64(rig_io(&other, one, text, 8, false, 0), -EBADF);
    CHECK_EQ_I64(rig_fd_stat(&other, one, &st), -EBADF);
    CHECK_EQ_I64(rig_resize(&other, one, 3), -EBADF);
    expect_read(&other, two, "econd");
    rig_done(&other);
    /* Without the directory below. */
    rig_init(&other, NULL);
    rig_load(&other, &snapshot);
    CHECK(wasi_fds_at(&other.ctx.fds, one) == NULL);
    expect_read(&other, two, "econd");
    rig_done(&other);
    rig_drop(&snapshot);
    cow_done(&rig);
}

/* A layer that knows nothing of the descriptors: they read as closed. */
TEST(descriptors_without_their_layer_are_closed) {
    struct priv_rig rig;
    struct rig_snapshot snapshot, empty;
    struct stat st;
    char text[8] = "x";
    cow_init(&rig);
    rig_save(&rig, &empty);
    const uint32_t own = open_ok(&rig, "own", WASI_OFLAG_CREAT, RIG_WRITE);
    CHECK_EQ_I64(rig_make_dir_at(&rig, RIG_ROOT, "new"), 0);
    const uint32_t dir = open_ok(&rig, "new", 0, 0);
    const uint32_t below = open_ok(&rig, "dir/two", 0, RIG_WRITE);
    rig_save(&rig, &snapshot);
    buf_done(&empty.state);
    empty.state = snapshot.state;
    rig_load(&rig, &empty);
    CHECK_EQ_I64(rig_io(&rig, own, text, 1, true, 0), -EBADF);
    CHECK_EQ_I64(rig_io(&rig, own, text, 1, false, 0), -EBADF);
    CHECK_EQ_I64(rig_fd_stat(&rig, dir, &st), -EBADF);
    CHECK_EQ_I64(rig_open_at(&rig, dir, "a", WASI_OFLAG_CREAT, RIG_WRITE), -EBADF);
    CHECK_EQ_I64(rig_make_dir_at(&rig, dir, "a"), -EBADF);
    expect_read(&rig, below, "second");
    CHECK(put_text(&rig, below, "x") == 1);
    CHECK_EQ_I64(rig_close(&rig, own), 0);
    rig_check(&rig);
    rig_drop(&snapshot);
    free(empty.region);
    cow_done(&rig);
}

/* Any bytes of a saved descriptor may be others: then the state is refused, or what it opens fails
 * in some way, and nothing outside is reached. */
TEST(hostile_states) {
    struct priv_rig rig;
    struct rig_snapshot snapshot;
    struct husk_error err;
    cow_init(&rig);
    put_below("secret", "not for the guest");
    open_ok(&rig, "dir/two", 0, RIG_WRITE);
    open_ok(&rig, "dir", 0, 0);
    open_ok(&rig, "own", WASI_OFLAG_CREAT, RIG_WRITE);
    rig_save(&rig, &snapshot);
    uint32_t accepted = 0;
    for (size_t at = 0; at < snapshot.state.count; at++) {
        for (uint32_t bit = 0; bit < 8; bit++) {
            snapshot.state.data[at] ^= (uint8_t)(1u << bit);
            if (wasi_state_check(&rig.ctx, snapshot.state.data, snapshot.state.count, &err) == 0) {
                rig_load(&rig, &snapshot);
                for (uint32_t fd = RIG_ROOT; fd < rig.ctx.fds.count; fd++) {
                    const struct wasi_fd *open = wasi_fds_at(&rig.ctx.fds, fd);
                    char text[32] = "";
                    struct stat st;
                    if (open == NULL)
                        continue;
                    (void)rig_fd_stat(&rig, fd, &st);
                    if (open->ops->dir != NULL) {
                        (void)rig_make_dir_at(&rig, fd, "a");
                        (void)rig_open_at(&rig, fd, "two", 0, RIG_WRITE);
                        continue;
                    }
                    (void)rig_io(&rig, fd, text, sizeof text, false, 0);
                    CHECK(strstr(text, "guest") == NULL);
                    (void)rig_io(&rig, fd, text, 1, true, 0);
                }
                rig_check(&rig);
                accepted++;
            }
            snapshot.state.data[at] ^= (uint8_t)(1u << bit);
        }
    }
    CHECK(accepted > 0);
    rig_drop(&snapshot);
    cow_done(&rig);
}

static int check_with(struct priv_rig *rig, const char *lower, uint32_t rel_at) {
    struct {
        uint32_t flags, ino, generation, rel_at, lower_bytes, pad;
        uint64_t dev, below_ino;
        char lower[5000];
    } body = {.flags = 2, .ino = 1, .rel_at = rel_at, .lower_bytes = (uint32_t)strlen(lower)};
    const struct wasi_saved_fd row = {
        .number = 5, .kind = WASI_SAVED_PRIVATE, .body_bytes = 40 + body.lower_bytes};
    struct wasi_fd fd = {0};
    struct husk_error err;
    strcpy(body.lower, lower);
    const int status = wasi_privfile_check(&rig->ctx, &row, (const uint8_t *)&body, &fd, &err);
    if (status == 0 && fd.ops != NULL)
        fd.ops->close(&fd);
    return status;
}

TEST(hostile_paths_in_states) {
    struct priv_rig rig;
    char text[5000] = "";
    cow_init(&rig);
    CHECK_STATUS(check_with(&rig, "one", 0), 0);
    CHECK_STATUS(check_with(&rig, "dir/two", 4), 0);
    static const char *const bad[] = {"", "/", "/one", "one/", "a//b", "..", ".", "a/..", "../a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_STATUS(check_with(&rig, bad[i], 0), HUSK_E_BAD_IMAGE);
    CHECK_STATUS(check_with(&rig, "dir/two", 3), HUSK_E_BAD_IMAGE);
    CHECK_STATUS(check_with(&rig, "dir/two", 7), HUSK_E_BAD_IMAGE);
    CHECK_STATUS(check_with(&rig, "dir/two", UINT32_MAX), HUSK_E_BAD_IMAGE);
    memset(text, 'x', 256);
    CHECK_STATUS(check_with(&rig, text, 0), HUSK_E_BAD_IMAGE);
    for (int i = 0; i < 2100; i++)
        memcpy(text + 2 * i, "a/b", 4);
    CHECK_STATUS(check_with(&rig, text, 0), HUSK_E_BAD_IMAGE);
    cow_done(&rig);
}

/* ---- A directory below that changes ---- */

TEST(what_shows_when_the_directory_below_changes) {
    struct priv_rig rig;
    struct stat st;
    cow_init(&rig);
    put_below("below/dir/three", "third");
    const uint32_t one = open_ok(&rig, "one", 0, 0);
    const uint32_t copied = open_ok(&rig, "dir/two", 0, RIG_WRITE);
    CHECK_EQ_I64(put_text(&rig, copied, "S"), 1);
    /* Names that nobody touched show the new state; a copy stays. */
    put_below("below/dir/two", "other");
    put_below("below/dir/new", "new");
    expect_names(&rig, "dir", "new\nthree\ntwo\n");
    CHECK_EQ_I64(rig_seek(&rig, copied, 0, SEEK_SET), 0);
    expect_read(&rig, copied, "Second");
    /* An open file stays open. */
    CHECK(unlink(path_of("below/one")) == 0);
    expect_read(&rig, one, "first");
    CHECK_EQ_I64(rig_stat_at(&rig, RIG_ROOT, "one", false, &st), -ENOENT);
    /* Written, it becomes the copy, which has its name again. */
    CHECK_EQ_I64(rig_resize(&rig, one, 2), 0);
    expect_names(&rig, ".", "dir/\none\n");
    /* A directory that goes away leaves what the layer has of it. */
    rename_below("below/dir", "elsewhere");
    expect_names(&rig, "dir", "two\n");
    CHECK(symlink("../elsewhere", path_of("below/dir")) == 0);
    expect_names(&rig, "dir", "two\n");
    CHECK_EQ_I64(rig_stat_at(&rig, RIG_ROOT, "dir/three", false, &st), -ENOENT);
    CHECK_EQ_I64(rig_unlink_at(&rig, RIG_ROOT, "dir/two"), 0);
    CHECK_EQ_I64(rig_stat_at(&rig, RIG_ROOT, "dir", false, &st), 0);
    CHECK(S_ISDIR(st.st_mode));
    cow_done(&rig);
}

TEST(an_open_directory_below_that_goes_away_is_empty) {
    struct priv_rig rig;
    struct buf names = {0};
    cow_init(&rig);
    const uint32_t dir = open_ok(&rig, "dir", 0, 0);
    CHECK(unlink(path_of("below/dir/two")) == 0 && rmdir(path_of("below/dir")) == 0);
    CHECK_EQ_I64(rig_list(&rig, dir, 10, &names), 0);
    files_sort(&names);
    CHECK_STR((char *)names.data, "");
    CHECK_EQ_I64(rig_open_at(&rig, dir, "new", WASI_OFLAG_CREAT, RIG_WRITE), -ENOENT);
    put_below("below/dir", "a file now");
    CHECK_EQ_I64(rig_open_at(&rig, dir, "new", WASI_OFLAG_CREAT, RIG_WRITE), -ENOENT);
    CHECK_EQ_I64(rig_open_at(&rig, dir, "two", 0, 0), -ENOENT);
    buf_done(&names);
    cow_done(&rig);
}

TEST_MAIN()
