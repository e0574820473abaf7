/*
 * tests/support/files_model.c: see files_model.h.
 */
#include "files_model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "wasi_abi.h"

#define PAIRS_MAX 12
#define PATH_BYTES 256
#define FILE_BYTES_MAX 20000

/* ---- Random numbers ---- */

static uint64_t random_state;

static uint32_t below(uint32_t limit) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % limit;
}

static bool chance(uint32_t percent) {
    return below(100) < percent;
}

/* ---- Both worlds ---- */

/* A descriptor in both. */
struct pair {
    uint32_t fd; /* 0: closed */
    int host_fd;
    uint32_t opening; /* the operation that opened it */
    bool is_dir, can_write;
};

/* How the host's descriptor comes back. */
struct kept {
    char path[PATH_BYTES]; /* "": the file has no name */
    off_t position;
    uint64_t bytes;
    uint8_t *contents;
    ino_t ino;
};

struct world {
    const struct files_game *game;
    const struct files_api *api;
    void *self;
    char host[96], saved[96];
    int host_fd;
    struct pair pairs[PAIRS_MAX];
    bool has_snapshot;
    struct pair kept_pairs[PAIRS_MAX];
    struct kept kept[PAIRS_MAX];
    uint32_t operation;
    char what[3 * PATH_BYTES]; /* the operation, for messages */
};

static void host_open(struct world *world) {
    world->host_fd = open(world->host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(world->host_fd >= 0);
}

static void world_init(struct world *world, const struct files_game *game) {
    *world = (struct world){.game = game, .api = game->api, .self = game->self};
    random_state = game->seed;
    snprintf(world->host, sizeof world->host, "%s/host", game->home->path);
    snprintf(world->saved, sizeof world->saved, "%s/saved", game->home->path);
    files_copy_tree(game->home->below, world->host);
    host_open(world);
}

static void world_done(struct world *world) {
    for (uint32_t i = 0; i < PAIRS_MAX; i++) {
        free(world->kept[i].contents);
        if (world->pairs[i].fd != 0)
            close(world->pairs[i].host_fd);
    }
    close(world->host_fd);
}

/* ---- Comparing ---- */

/* A directory of the host takes more than one system call for a path. So if there are two errors,
 * it may see the other one. */
static void expect(struct world *world, int64_t got, int64_t expected) {
    const bool is_either = world->game->is_on_host && got < 0 && expected < 0;
    if (got != expected && !is_either)
        FAIL("operation %u: %s: %ld, the kernel says %ld", world->operation, world->what, (long)got,
             (long)expected);
}

static void host_names(int dir_fd, struct buf *ret_names) {
    struct dirent **entries = NULL;
    const int count = scandirat(dir_fd, ".", &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        struct stat st;
        CHECK(fstatat(dir_fd, entries[i]->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        files_put_name(ret_names, entries[i]->d_name, strlen(entries[i]->d_name),
                       S_ISDIR(st.st_mode));
        free(entries[i]);
    }
    free(entries);
    files_sort(ret_names);
}

static void compare_listing(struct world *world, uint32_t fd, int host_fd) {
    struct buf got = {0}, expected = {0};
    const int status = world->api->list(world->self, fd, 1 + below(5), &got);
    files_sort(&got);
    host_names(host_fd, &expected);
    if (status != -ENOENT || expected.count > 1) /* a directory that was removed */
        expect(world, status, 0);
    if (strcmp((char *)got.data, (char *)expected.data) != 0)
        FAIL("operation %u: %s: names:\n%sthe kernel:\n%s", world->operation, world->what,
             (char *)got.data, (char *)expected.data);
    buf_done(&got);
    buf_done(&expected);
}

static void compare_file(struct world *world, uint32_t fd, int host_fd) {
    uint8_t *got = malloc(FILE_BYTES_MAX * 2), *expected = malloc(FILE_BYTES_MAX * 2);
    CHECK(got != NULL && expected != NULL);
    const ssize_t bytes = pread(host_fd, expected, FILE_BYTES_MAX * 2, 0);
    expect(world, world->api->io(world->self, fd, got, FILE_BYTES_MAX * 2, false, 0), bytes);
    if (bytes > 0 && memcmp(got, expected, (size_t)bytes) != 0)
        FAIL("operation %u: %s: other contents", world->operation, world->what);
    free(got);
    free(expected);
}

static void compare_tree(struct world *world, uint32_t fd, int host_fd) {
    struct buf names = {0};
    host_names(host_fd, &names);
    compare_listing(world, fd, host_fd);
    char *next = (char *)names.data, *name;
    while ((name = strsep(&next, "\n")) != NULL && name[0] != '\0') {
        char got[PATH_BYTES] = "", expected[PATH_BYTES] = "";
        if (name[strlen(name) - 1] == '/')
            name[strlen(name) - 1] = '\0';
        const ssize_t bytes = readlinkat(host_fd, name, expected, sizeof expected - 1);
        if (bytes > 0) {
            expect(world, world->api->read_link(world->self, fd, name, got, sizeof got), bytes);
            CHECK_STR(got, expected);
            continue;
        }
        struct stat st;
        const int child = openat(host_fd, name, O_RDONLY | O_CLOEXEC);
        const int number = world->api->open(world->self, fd, name, 0, 0);
        CHECK_MSG(child >= 0 && fstat(child, &st) == 0, "operation %u: %s: %s: errno %d",
                  world->operation, world->what, name, errno);
        CHECK_MSG(number > 0, "operation %u: %s: %s: %d", world->operation, world->what, name,
                  number);
        if (S_ISDIR(st.st_mode))
            compare_tree(world, (uint32_t)number, child);
        else
            compare_file(world, (uint32_t)number, child);
        world->api->close(world->self, (uint32_t)number);
        close(child);
    }
    buf_done(&names);
}

static void compare_stat(struct world *world, const struct stat *got, const struct stat *expected) {
    expect(world, got->st_mode & S_IFMT, expected->st_mode & S_IFMT);
    if (S_ISDIR(got->st_mode))
        return;
    expect(world, got->st_size, expected->st_size);
    expect(world, (int64_t)got->st_nlink, (int64_t)expected->st_nlink);
}

/* ---- Snapshots ---- */

static void pair_close(struct world *world, struct pair *pair) {
    CHECK(world->api->close(world->self, pair->fd) == 0);
    close(pair->host_fd);
    *pair = (struct pair){0};
}

static void keep_pair(struct world *world, struct pair *pair, struct kept *kept) {
    char link[96], path[PATH_BYTES] = "";
    struct stat st;
    snprintf(link, sizeof link, "/proc/self/fd/%d", pair->host_fd);
    CHECK(readlink(link, path, sizeof path - 1) > 0 && fstat(pair->host_fd, &st) == 0);
    free(kept->contents);
    *kept = (struct kept){.position = lseek(pair->host_fd, 0, SEEK_CUR), .ino = st.st_ino};
    if (st.st_nlink > 0 && strstr(path, " (deleted)") == NULL) {
        strcpy(kept->path, path + strlen(world->host) + 1);
    } else if (pair->is_dir) {
        pair_close(world, pair);
    } else {
        kept->bytes = (uint64_t)st.st_size;
        kept->contents = malloc(kept->bytes + 1);
        CHECK(pread(pair->host_fd, kept->contents, kept->bytes, 0) == st.st_size);
    }
}

static void world_save(struct world *world) {
    for (uint32_t i = 0; i < PAIRS_MAX; i++)
        if (world->pairs[i].fd != 0)
            keep_pair(world, &world->pairs[i], &world->kept[i]);
    memcpy(world->kept_pairs, world->pairs, sizeof world->pairs);
    world->api->save(world->self);
    world->has_snapshot = true;
    if (world->game->is_on_host)
        return;
    files_remove_tree(world->saved);
    files_copy_tree(world->host, world->saved);
}

/* A file without a name: the first descriptor makes it, the others open it again. */
static int reopen_nameless(struct world *world, uint32_t idx) {
    const struct kept *kept = &world->kept[idx];
    char link[96];
    for (uint32_t i = 0; i < idx; i++) {
        if (world->pairs[i].fd == 0 || world->kept[i].ino != kept->ino)
            continue;
        snprintf(link, sizeof link, "/proc/self/fd/%d", world->pairs[i].host_fd);
        return open(link, O_RDWR | O_CLOEXEC);
    }
    snprintf(link, sizeof link, "%s/nameless", world->game->home->path);
    const int fd = open(link, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    CHECK(fd >= 0 && unlink(link) == 0);
    CHECK(write(fd, kept->contents, kept->bytes) == (ssize_t)kept->bytes);
    return fd;
}

static int reopen(struct world *world, uint32_t idx) {
    const struct kept *kept = &world->kept[idx];
    if (kept->path[0] == '\0')
        return reopen_nameless(world, idx);
    return openat(world->host_fd, kept->path,
                  (world->pairs[idx].is_dir ? O_DIRECTORY : O_RDWR) | O_CLOEXEC);
}

/* If the directory did not come back, its descriptor did if its file is still there: another one
 * may have its number by now. was_open: it was not closed meanwhile, and may still be open. */
static bool is_kept_open(struct world *world, uint32_t idx, bool was_open) {
    const struct kept *kept = &world->kept[idx];
    struct stat st;
    if (!world->game->is_on_host)
        return true;
    const bool is_there = kept->path[0] != '\0' &&
                          fstatat(world->host_fd, kept->path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                          st.st_ino == kept->ino;
    const int status = world->api->fd_stat(world->self, world->kept_pairs[idx].fd, &st);
    if (status != -EBADF && !was_open)
        expect(world, is_there ? status : -EBADF, status);
    return status == 0;
}

static void load_pair(struct world *world, uint32_t idx) {
    struct pair *pair = &world->pairs[idx], old = *pair;
    const bool was_open =
        world->game->is_on_host && old.fd != 0 && old.opening == world->kept_pairs[idx].opening;
    *pair = world->kept_pairs[idx];
    if (pair->fd != 0 && !is_kept_open(world, idx, was_open))
        *pair = (struct pair){0};
    if (pair->fd != 0)
        pair->host_fd = was_open ? old.host_fd : reopen(world, idx);
    if (old.fd != 0 && (pair->fd == 0 || !was_open))
        close(old.host_fd);
    if (pair->fd == 0)
        return;
    CHECK(pair->host_fd >= 0);
    if (!pair->is_dir)
        CHECK(lseek(pair->host_fd, world->kept[idx].position, SEEK_SET) >= 0);
}

static void world_load(struct world *world) {
    snprintf(world->what, sizeof world->what, "load");
    if (!world->game->is_on_host) {
        close(world->host_fd);
        files_remove_tree(world->host);
        files_copy_tree(world->saved, world->host);
        host_open(world);
    }
    world->api->load(world->self);
    for (uint32_t i = 0; i < PAIRS_MAX; i++)
        load_pair(world, i);
}

/* ---- Operations ---- */

static void trouble(struct world *world, enum files_trouble kind) {
    if (world->api->trouble != NULL)
        world->api->trouble(world->self, kind, below(4));
}

struct base {
    uint32_t fd;
    int host_fd;
};

static struct base random_base(const struct world *world) {
    const struct pair *pair = &world->pairs[below(PAIRS_MAX)];
    if (chance(30) && pair->fd != 0 && pair->is_dir)
        return (struct base){pair->fd, pair->host_fd};
    return (struct base){FILES_ROOT, world->host_fd};
}

/* Paths do not lead above their directory. */
static void random_path(char *path) {
    const uint32_t names = 1 + below(3);
    path[0] = '\0';
    for (uint32_t i = 0; i < names; i++) {
        if (chance(5))
            strcat(path, "./");
        if (chance(5))
            strcat(path, "a/../");
        strncat(path, &"abcd"[below(4)], 1);
        if (i + 1 < names)
            strcat(path, chance(5) ? "//" : "/");
    }
    if (chance(6))
        strcat(path, "/");
}

/* Say what happens, and choose where. */
static struct base begin(struct world *world, const char *name, char *path) {
    const struct base base = random_base(world);
    random_path(path);
    snprintf(world->what, sizeof world->what, "%s %u %s", name, base.fd, path);
    return base;
}

/* Did the operation on the private directory fail for a reason that the kernel does not have? */
static bool is_failed(struct world *world, int64_t result) {
    (void)world;
    return result == -EINTR || result == -ENOSPC;
}

static int64_t result_of(int64_t result) {
    return result < 0 ? -errno : result;
}

static void op_open(struct world *world) {
    static const uint32_t oflags[] = {0,
                                      0,
                                      WASI_OFLAG_CREAT,
                                      WASI_OFLAG_CREAT,
                                      WASI_OFLAG_CREAT | WASI_OFLAG_EXCL,
                                      WASI_OFLAG_TRUNC,
                                      WASI_OFLAG_CREAT | WASI_OFLAG_TRUNC,
                                      WASI_OFLAG_DIRECTORY,
                                      WASI_OFLAG_DIRECTORY};
    static const int flags[] = {
        0,           0,          O_CREAT, O_CREAT, O_CREAT | O_EXCL, O_TRUNC, O_CREAT | O_TRUNC,
        O_DIRECTORY, O_DIRECTORY};
    char path[PATH_BYTES];
    const struct base base = begin(world, "open", path);
    const uint32_t idx = below(sizeof flags / sizeof flags[0]);
    const bool is_followed = chance(70), can_write = (flags[idx] & O_TRUNC) != 0 || chance(60);
    struct pair *pair = &world->pairs[below(PAIRS_MAX)];
    const uint32_t closed = pair->fd;
    if (closed != 0)
        pair_close(world, pair);
    if (base.fd == closed)
        return;
    snprintf(world->what + strlen(world->what), 64, " oflags %u%s%s", oflags[idx],
             is_followed ? " follow" : "", can_write ? " write" : "");
    const int fd =
        world->api->open(world->self, base.fd, path, oflags[idx],
                         (is_followed ? FILES_FOLLOW : 0) | (can_write ? FILES_WRITE : 0));
    if (is_failed(world, fd))
        return;
    const int host_fd = (int)result_of(openat(base.host_fd, path,
                                              flags[idx] | (is_followed ? 0 : O_NOFOLLOW) |
                                                  (can_write ? O_RDWR : O_RDONLY) | O_CLOEXEC,
                                              0644));
    expect(world, fd < 0 ? fd : 0, host_fd < 0 ? host_fd : 0);
    if (fd < 0)
        return;
    struct stat st;
    CHECK(fstat(host_fd, &st) == 0);
    *pair = (struct pair){(uint32_t)fd, host_fd, world->operation, S_ISDIR(st.st_mode), can_write};
}

static void op_names(struct world *world) {
    static const char *const names[] = {"mkdir", "rmdir", "unlink", "symlink"};
    static const char *const targets[] = {"a", "b/c", "./d", "c/", "b"};
    char path[PATH_BYTES];
    const uint32_t which = below(4);
    const struct base base = begin(world, names[which], path);
    const char *target = targets[below(5)];
    const int got = which == 0   ? world->api->make_dir(world->self, base.fd, path)
                    : which == 1 ? world->api->remove_dir(world->self, base.fd, path)
                    : which == 2 ? world->api->unlink(world->self, base.fd, path)
                                 : world->api->symlink(world->self, target, base.fd, path);
    if (is_failed(world, got))
        return;
    const int expected = which == 0   ? mkdirat(base.host_fd, path, 0755)
                         : which == 1 ? unlinkat(base.host_fd, path, AT_REMOVEDIR)
                         : which == 2 ? unlinkat(base.host_fd, path, 0)
                                      : symlinkat(target, base.host_fd, path);
    const int64_t result = result_of(expected);
    /* WASI's function says that a file is no directory. */
    if (which != 3 || got != -ENOTDIR || result != -EEXIST || path[strlen(path) - 1] != '/')
        expect(world, got, result);
}

static void op_two_names(struct world *world) {
    char path[PATH_BYTES], new_path[PATH_BYTES];
    const bool is_rename = chance(70), is_followed = chance(50) && world->api->can_follow_link;
    const struct base new = random_base(world);
    const struct base base = begin(world, is_rename ? "rename" : "link", path);
    random_path(new_path);
    snprintf(world->what + strlen(world->what), 2 * PATH_BYTES, " to %u %s%s", new.fd, new_path,
             is_followed ? " follow" : "");
    const int got =
        is_rename ? world->api->rename(world->self, base.fd, path, new.fd, new_path)
                  : world->api->link(world->self, base.fd, path, is_followed, new.fd, new_path);
    if (is_failed(world, got))
        return;
    const int expected = is_rename ? renameat(base.host_fd, path, new.host_fd, new_path)
                                   : linkat(base.host_fd, path, new.host_fd, new_path,
                                            is_followed ? AT_SYMLINK_FOLLOW : 0);
    expect(world, got, result_of(expected));
}

static void op_look(struct world *world) {
    char path[PATH_BYTES], got_target[PATH_BYTES] = "", target[PATH_BYTES] = "";
    const bool is_followed = chance(50);
    struct stat got, expected;
    const struct base base = begin(world, is_followed ? "stat" : "lstat", path);
    const int status = world->api->stat(world->self, base.fd, path, is_followed, &got);
    if (is_failed(world, status))
        return;
    expect(
        world, status,
        result_of(fstatat(base.host_fd, path, &expected, is_followed ? 0 : AT_SYMLINK_NOFOLLOW)));
    if (status == 0)
        compare_stat(world, &got, &expected);
    const long bytes =
        world->api->read_link(world->self, base.fd, path, got_target, PATH_BYTES - 1);
    expect(world, bytes, result_of(readlinkat(base.host_fd, path, target, PATH_BYTES - 1)));
    CHECK_STR(got_target, target);
}

static void op_transfer(struct world *world, struct pair *pair) {
    uint8_t got[8000], expected[8000];
    const bool is_write = pair->can_write && chance(60), is_positioned = chance(40);
    const uint64_t offset = is_positioned ? below(FILE_BYTES_MAX / 2) : FILES_HERE;
    const size_t count = below(chance(50) ? 100 : sizeof got);
    memset(got, (int)('0' + world->operation % 70), sizeof got);
    memcpy(expected, got, sizeof got);
    snprintf(world->what, sizeof world->what, "%s %u at %ld count %zu", is_write ? "write" : "read",
             pair->fd, (long)offset, count);
    const long moved = world->api->io(world->self, pair->fd, got, count, is_write, offset);
    if (is_failed(world, moved))
        return;
    const size_t asked = is_write && moved > 0 ? (size_t)moved : count; /* short: it is full */
    const ssize_t host_moved =
        is_write ? (is_positioned ? pwrite(pair->host_fd, expected, asked, (off_t)offset)
                                  : write(pair->host_fd, expected, asked))
                 : (is_positioned ? pread(pair->host_fd, expected, asked, (off_t)offset)
                                  : read(pair->host_fd, expected, asked));
    expect(world, moved, result_of(host_moved));
    CHECK_MEM(got, expected, sizeof got);
}

static void op_file(struct world *world, struct pair *pair) {
    const uint32_t size = below(FILE_BYTES_MAX), more = 1 + below(3000), which = below(5);
    struct stat got, expected;
    int status = 0, host_status = 0;
    snprintf(world->what, sizeof world->what, "file operation %u on %u: %u %u", which, pair->fd,
             size, more);
    if (which == 0 && pair->can_write) {
        status = world->api->resize(world->self, pair->fd, size);
        if (!is_failed(world, status))
            host_status = (int)result_of(ftruncate(pair->host_fd, size));
    } else if (which == 1 && pair->can_write) {
        status = world->api->allocate(world->self, pair->fd, size, more);
        if (!is_failed(world, status))
            host_status = (int)result_of(fallocate(pair->host_fd, 0, size, more));
    } else if (which == 2) {
        const int64_t at = world->api->seek(world->self, pair->fd, -(int64_t)more, SEEK_END);
        expect(world, at, result_of(lseek(pair->host_fd, -(off_t)more, SEEK_END)));
    } else {
        status = world->api->fd_stat(world->self, pair->fd, &got);
        if (!is_failed(world, status)) {
            host_status = (int)result_of(fstat(pair->host_fd, &expected));
            compare_stat(world, &got, &expected);
        }
    }
    if (!is_failed(world, status))
        expect(world, status, host_status);
}

static void op_descriptor(struct world *world) {
    struct pair *pair = &world->pairs[below(PAIRS_MAX)];
    snprintf(world->what, sizeof world->what, "descriptor %u", pair->fd);
    if (pair->fd == 0)
        return;
    if (chance(10)) {
        pair_close(world, pair);
    } else if (pair->is_dir) {
        trouble(world, FILES_NO_TROUBLE);
        compare_listing(world, pair->fd, pair->host_fd);
    } else if (chance(70)) {
        op_transfer(world, pair);
    } else {
        op_file(world, pair);
    }
}

static void step(struct world *world) {
    const uint32_t which = below(100);
    trouble(world, chance(3) ? FILES_CUT : chance(4) ? FILES_FULL : FILES_NO_TROUBLE);
    if (which < 25)
        op_open(world);
    else if (which < 40)
        op_names(world);
    else if (which < 52)
        op_two_names(world);
    else if (which < 62)
        op_look(world);
    else
        op_descriptor(world);
    trouble(world, FILES_NO_TROUBLE);
}

void files_play(const struct files_game *game) {
    struct world world;
    world_init(&world, game);
    for (; world.operation < game->operations; world.operation++) {
        step(&world);
        if (chance(10))
            compare_tree(&world, FILES_ROOT, world.host_fd);
        if (chance(2) && game->api->check != NULL)
            game->api->check(game->self);
        if (below(150) == 0)
            world_save(&world);
        else if (world.has_snapshot && below(150) == 0)
            world_load(&world);
    }
    compare_tree(&world, FILES_ROOT, world.host_fd);
    if (game->api->check != NULL)
        game->api->check(game->self);
    world_done(&world);
}
