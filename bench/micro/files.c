/*
 * bench/micro/files.c: a module that works with files, for the benchmarks of files. Its imports are
 * WASI's, declared by hand. Every export takes a count and the descriptor of a directory. An error
 * is a trap.
 *
 * The directory holds small/fN (512 bytes each), pages/fN (a page each), and big (1 MiB).
 */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))

enum {
    SMALL_BYTES = 512,
    PAGE_BYTES = 4096,
    PIECE_BYTES = 1 << 16,
    BIG_BYTES = 1 << 20,
    LIST_BYTES = 4096, /* as wasi-libc's readdir() */
    DIRENT_BYTES = 24,
    PAGES_MAX = 256,
    ERRNO_BADF = 8
};
enum { OPEN_CREAT = 1, OPEN_DIRECTORY = 2, OPEN_EXCL = 4 };
enum { RIGHT_READ = 1 << 1, RIGHT_WRITE = 1 << 6, RIGHT_READDIR = 1 << 14 };

struct piece {
    const void *bytes;
    uint32_t count;
};

WASI(path_open)
int32_t path_open(int32_t dir, uint32_t lookup, const char *path, uint32_t path_bytes,
                  uint32_t oflags, uint64_t rights, uint64_t inheriting, uint32_t fdflags,
                  int32_t *ret_fd);
WASI(path_create_directory)
int32_t path_create_directory(int32_t dir, const char *path, uint32_t path_bytes);
WASI(path_unlink_file)
int32_t path_unlink_file(int32_t dir, const char *path, uint32_t path_bytes);
WASI(fd_close) int32_t fd_close(int32_t fd);
WASI(fd_read)
int32_t fd_read(int32_t fd, const struct piece *pieces, uint32_t count, uint32_t *ret_count);
WASI(fd_write)
int32_t fd_write(int32_t fd, const struct piece *pieces, uint32_t count, uint32_t *ret_count);
WASI(fd_readdir)
int32_t fd_readdir(int32_t fd, void *bytes, uint32_t count, uint64_t cookie, uint32_t *ret_count);

static uint8_t piece_buffer[PIECE_BYTES];
static const uint8_t old_page[PAGE_BYTES] = {[0 ... PAGE_BYTES - 1] = 'a'};
static const uint8_t new_page[PAGE_BYTES] = {[0 ... PAGE_BYTES - 1] = 'b'};
static uint8_t memory_pages[PAGES_MAX * PAGE_BYTES];

static void check(int is_right) {
    if (!is_right)
        __builtin_trap();
}

struct path {
    char text[16];
    uint32_t bytes;
};

static void path_add(struct path *path, const char *text) {
    while (*text != '\0')
        path->text[path->bytes++] = *text++;
}

/* folder/fN, with four digits. */
static struct path path_of(const char *folder, int32_t n) {
    struct path path = {.bytes = 0};
    path_add(&path, folder);
    path_add(&path, "/f");
    for (int32_t unit = 1000; unit > 0; unit /= 10)
        path.text[path.bytes++] = (char)('0' + n / unit % 10);
    return path;
}

static struct path path_named(const char *name) {
    struct path path = {.bytes = 0};
    path_add(&path, name);
    return path;
}

static int32_t open_path(int32_t dir, const struct path *path, uint32_t oflags, uint64_t rights) {
    int32_t fd = -1;
    check(path_open(dir, 0, path->text, path->bytes, oflags, rights, 0, 0, &fd) == 0);
    return fd;
}

static void read_piece(int32_t fd, uint32_t bytes) {
    const struct piece piece = {piece_buffer, bytes};
    uint32_t count = 0;
    check(fd_read(fd, &piece, 1, &count) == 0 && count == bytes);
}

static void write_piece(int32_t fd, const void *bytes, uint32_t bytes_count) {
    const struct piece piece = {bytes, bytes_count};
    uint32_t count = 0;
    check(fd_write(fd, &piece, 1, &count) == 0 && count == bytes_count);
}

static void put(int32_t dir, const struct path *path, uint32_t oflags, const struct piece *piece) {
    int32_t fd = open_path(dir, path, oflags, RIGHT_WRITE);
    write_piece(fd, piece->bytes, piece->count);
    check(fd_close(fd) == 0);
}

static void put_all(int32_t dir, const char *folder, int32_t count, const struct piece *piece) {
    for (int32_t i = 0; i < count; i++) {
        struct path path = path_of(folder, i);
        put(dir, &path, OPEN_CREAT | OPEN_EXCL, piece);
    }
}

static void make_folder(int32_t dir, const char *name) {
    struct path path = path_named(name);
    check(path_create_directory(dir, path.text, path.bytes) == 0);
}

EXPORT(empty) void empty(void);
void empty(void) {
}

/* One word in each of `count` pages of memory. */
EXPORT(touch) void touch(int32_t count, int32_t dir);
void touch(int32_t count, int32_t dir) {
    (void)dir;
    for (uint32_t i = 0; i < (uint32_t)count; i++)
        *(volatile uint32_t *)&memory_pages[i * PAGE_BYTES + i * 576u % PAGE_BYTES] += 1;
}

/* All of `count` pages of memory. */
EXPORT(rewrite) void rewrite(int32_t count, int32_t dir);
void rewrite(int32_t count, int32_t dir) {
    (void)dir;
    __builtin_memset(memory_pages, 'b', (uint32_t)count * PAGE_BYTES);
}

/* `count` calls of WASI that do nothing: there is no such descriptor. */
EXPORT(nothing) void nothing(int32_t count, int32_t dir);
void nothing(int32_t count, int32_t dir) {
    (void)dir;
    for (int32_t i = 0; i < count; i++)
        check(fd_close(-1) == ERRNO_BADF);
}

/* The same, then as many calls of WASI as overwrite() makes. */
EXPORT(rewrite_calls) void rewrite_calls(int32_t count, int32_t dir);
void rewrite_calls(int32_t count, int32_t dir) {
    rewrite(count, dir);
    nothing(3 * count, dir);
}

/* All that the other exports need. */
EXPORT(fill) void fill(int32_t count, int32_t dir);
void fill(int32_t count, int32_t dir) {
    const struct piece small = {old_page, SMALL_BYTES}, page = {old_page, PAGE_BYTES};
    struct path big = path_named("big");
    make_folder(dir, "small");
    put_all(dir, "small", count, &small);
    make_folder(dir, "pages");
    put_all(dir, "pages", count, &page);
    make_folder(dir, "new");
    int32_t fd = open_path(dir, &big, OPEN_CREAT | OPEN_EXCL, RIGHT_WRITE);
    for (uint32_t at = 0; at < BIG_BYTES; at += PIECE_BYTES)
        write_piece(fd, piece_buffer, PIECE_BYTES);
    check(fd_close(fd) == 0);
}

EXPORT(open_read_close) void open_read_close(int32_t count, int32_t dir);
void open_read_close(int32_t count, int32_t dir) {
    for (int32_t i = 0; i < count; i++) {
        struct path path = path_of("small", i);
        int32_t fd = open_path(dir, &path, 0, RIGHT_READ);
        read_piece(fd, SMALL_BYTES);
        check(fd_close(fd) == 0);
    }
}

EXPORT(create_unlink) void create_unlink(int32_t count, int32_t dir);
void create_unlink(int32_t count, int32_t dir) {
    const struct piece small = {old_page, SMALL_BYTES};
    for (int32_t i = 0; i < count; i++) {
        struct path path = path_of("new", i);
        put(dir, &path, OPEN_CREAT | OPEN_EXCL, &small);
        check(path_unlink_file(dir, path.text, path.bytes) == 0);
    }
}

EXPORT(read_big) void read_big(int32_t count, int32_t dir);
void read_big(int32_t count, int32_t dir) {
    struct path big = path_named("big");
    for (int32_t i = 0; i < count; i++) {
        int32_t fd = open_path(dir, &big, 0, RIGHT_READ);
        for (uint32_t at = 0; at < BIG_BYTES; at += PIECE_BYTES)
            read_piece(fd, PIECE_BYTES);
        check(fd_close(fd) == 0);
    }
}

EXPORT(write_big) void write_big(int32_t count, int32_t dir);
void write_big(int32_t count, int32_t dir) {
    struct path big = path_named("big");
    for (int32_t i = 0; i < count; i++) {
        int32_t fd = open_path(dir, &big, 0, RIGHT_WRITE);
        for (uint32_t at = 0; at < BIG_BYTES; at += PIECE_BYTES)
            write_piece(fd, piece_buffer, PIECE_BYTES);
        check(fd_close(fd) == 0);
    }
}

/* Read a directory from its beginning, and count the files: their names begin with f. Where an
 * entry is cut off at the end of the buffer, go on behind the one before it. */
static int32_t list_files(int32_t fd) {
    uint64_t cookie = 0;
    int32_t files = 0;
    for (uint32_t count = LIST_BYTES; count == LIST_BYTES;) {
        check(fd_readdir(fd, piece_buffer, LIST_BYTES, cookie, &count) == 0);
        for (uint32_t at = 0; at + DIRENT_BYTES < count;) {
            const uint8_t *entry = &piece_buffer[at];
            uint32_t name_bytes;
            __builtin_memcpy(&name_bytes, entry + 16, sizeof name_bytes);
            at += DIRENT_BYTES + name_bytes;
            if (at > count)
                break;
            files += entry[DIRENT_BYTES] == 'f';
            __builtin_memcpy(&cookie, entry, sizeof cookie);
        }
    }
    return files;
}

/* `small`, which has `count` files. */
EXPORT(list) void list(int32_t count, int32_t dir);
void list(int32_t count, int32_t dir) {
    struct path small = path_named("small");
    int32_t fd = open_path(dir, &small, OPEN_DIRECTORY, RIGHT_READDIR);
    check(list_files(fd) == count);
    check(fd_close(fd) == 0);
}

/* Other contents in `count` files of `pages`. */
EXPORT(overwrite) void overwrite(int32_t count, int32_t dir);
void overwrite(int32_t count, int32_t dir) {
    const struct piece page = {new_page, PAGE_BYTES};
    for (int32_t i = 0; i < count; i++) {
        struct path path = path_of("pages", i);
        put(dir, &path, 0, &page);
    }
}

EXPORT(create) void create(int32_t count, int32_t dir);
void create(int32_t count, int32_t dir) {
    const struct piece page = {new_page, PAGE_BYTES};
    put_all(dir, "new", count, &page);
}
