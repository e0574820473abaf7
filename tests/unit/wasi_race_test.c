/*
 * tests/unit/wasi_race_test.c: random operations on paths, while a thread swaps directories for
 * symbolic links that lead outside. Nothing outside is read or changed, and nothing that the guest
 * opened is outside.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "wasi_abi.h"
#include "wasi_files.h"

#define OPERATIONS 20000
#define DIRS 3
#define NAMES 4

static atomic_bool is_over;

/* d0, d1, d2 are directories most of the time, and links to ../out in between. */
static void *swap(void *user) {
    const char *inner = user;
    const int dir = open(inner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (unsigned i = 0; !is_over; i++) {
        const char *name = (const char *[]){"d0", "d1", "d2"}[i % DIRS];
        (void)syscall(SYS_renameat2, dir, name, dir, "link", 2 /* RENAME_EXCHANGE */);
        (void)syscall(SYS_renameat2, dir, name, dir, "link", 2);
    }
    close(dir);
    return NULL;
}

static uint64_t next(uint64_t *random) {
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random >> 33;
}

static void random_path(uint64_t *random, char *out, size_t bytes) {
    static const char *const forms[] = {"d%u/n%u",   "d%u/../d%u/n1", "d%u/sub/../n%u",
                                        "d%u/./n%u", "d%u/n%u/",      "n%u"};
    const unsigned a = (unsigned)(next(random) % DIRS), b = (unsigned)(next(random) % NAMES);
    const size_t form = next(random) % 6;
    if (form == 5)
        snprintf(out, bytes, forms[5], b);
    else if (form == 1)
        snprintf(out, bytes, "d%u/../d%u/n1", a, b % DIRS);
    else if (form == 0)
        snprintf(out, bytes, "d%u/n%u", a, b);
    else if (form == 2)
        snprintf(out, bytes, "d%u/sub/../n%u", a, b);
    else if (form == 3)
        snprintf(out, bytes, "d%u/./n%u", a, b);
    else
        snprintf(out, bytes, "d%u/n%u/", a, b);
}

/* Files outside hold "outside", files inside never do. */
static void open_and_look(struct wasi_guest *guest, const char *path, uint64_t random) {
    char text[16] = {0};
    const uint32_t oflags = random % 4 == 0   ? WASI_OFLAG_CREAT
                            : random % 4 == 1 ? WASI_OFLAG_TRUNC
                                              : 0;
    const int fd = files_open(guest, path, oflags, FILES_RIGHTS_ALL);
    if (fd < 0)
        return;
    (void)files_read(guest, (uint32_t)fd, text, 7);
    CHECK(memcmp(text, "outside", 7) != 0);
    (void)files_write(guest, (uint32_t)fd, "guest");
    CHECK_EQ_U64(WASI_CALL(guest, fd_close, (uint64_t)fd), 0);
}

static void operate(struct wasi_guest *guest, uint64_t *random) {
    char path[64], other[64];
    random_path(random, path, sizeof path);
    random_path(random, other, sizeof other);
    switch (next(random) % 8) {
    case 0: (void)files_at(guest, WASI_ID_path_create_directory, path); break;
    case 1: (void)files_at(guest, WASI_ID_path_remove_directory, path); break;
    case 2: (void)files_at(guest, WASI_ID_path_unlink_file, path); break;
    case 3: (void)files_two(guest, WASI_ID_path_link, path, other); break;
    case 4: (void)files_two(guest, WASI_ID_path_rename, path, other); break;
    case 5: (void)files_symlink(guest, "../../out/n1", path); break;
    case 6:
        if (files_stat(guest, path, true) == 0) /* outside, all files have 77 bytes */
            CHECK(wasi_guest_u64(guest, FILES_STAT_ADDR + 32) != 77);
        break;
    default: open_and_look(guest, path, next(random)); break;
    }
}

TEST(nothing_outside_is_touched) {
    struct wasi_files files;
    pthread_t thread;
    uint64_t random = 1;
    wasi_files_init(&files, HUSK_WASI_READ | HUSK_WASI_WRITE);
    wasi_files_shell(&files, "mkdir d0 d1 d2 d0/sub d1/sub d2/sub ../out/sub; ln -s ../out link;"
                             "for i in 0 1 2 3; do printf '%-77s' outside >../out/n$i; done;"
                             "ls -lR --time-style=full-iso ../out >../before");
    is_over = false;
    CHECK(pthread_create(&thread, NULL, swap, files.inner) == 0);
    for (int i = 0; i < OPERATIONS; i++)
        operate(&files.guest, &random);
    is_over = true;
    CHECK(pthread_join(thread, NULL) == 0);
    wasi_files_shell(&files, "ls -lR --time-style=full-iso ../out | cmp - ../before");
    wasi_files_shell(&files, "grep -q secret ../secret; test $(ls .. | wc -l) = 4");
    wasi_files_done(&files);
}

TEST_MAIN()
