/*
 * compiler/client/background_note.c: a job's file: its lock, and what it says (background.h). The
 * folder may be shared by machines and containers. So a note tells where its process number means
 * something.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "auto.h"
#include "background.h"
#include "file.h"

#define LOCK_ATTEMPTS 16
#define READ_ATTEMPTS 4

uint64_t background_now_s(void) {
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec;
}

char *background_note_path(const char *entry_path) {
    const size_t bytes = strlen(entry_path), stem = bytes - strlen("husk");
    char *path = malloc(bytes + 1);
    if (path != NULL)
        snprintf(path, bytes + 1, "%.*sjob", (int)stem, entry_path);
    return path;
}

/* A job that ends removes its file. A lock on one that is removed locks nothing. */
static bool is_at(const char *path, int fd) {
    struct stat here, there;
    return fstat(fd, &here) == 0 && S_ISREG(here.st_mode) && lstat(path, &there) == 0 &&
           here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

int background_note_lock(const char *path, bool *ret_is_locked) {
    *ret_is_locked = false;
    for (int i = 0; i < LOCK_ATTEMPTS; i++) {
        auto_fd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
            return -1;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            *ret_is_locked = errno == EWOULDBLOCK;
            return -1;
        }
        if (is_at(path, fd))
            return take_fd(&fd);
    }
    return -1;
}

bool background_note_is_locked(int fd) {
    if (flock(fd, LOCK_SH | LOCK_NB) != 0)
        return errno == EWOULDBLOCK;
    (void)flock(fd, LOCK_UN);
    return false;
}

static void make_check(const struct background_note *note, uint8_t ret_check[XXH3_128_BYTES]) {
    xxh3_128(note, offsetof(struct background_note, check), ret_check);
}

bool background_note_read(int fd, struct background_note *ret_note) {
    static const char magic[16] = BACKGROUND_MAGIC;
    struct background_note note;
    uint8_t check[XXH3_128_BYTES];
    for (int i = 0; i < READ_ATTEMPTS; i++) {
        if (pread(fd, &note, sizeof note, 0) != sizeof note ||
            memcmp(note.magic, magic, sizeof magic) != 0)
            return false;
        make_check(&note, check);
        if (memcmp(check, note.check, sizeof check) != 0)
            continue;
        note.label[sizeof note.label - 1] = '\0';
        note.error.message[sizeof note.error.message - 1] = '\0';
        *ret_note = note;
        return true;
    }
    return false;
}

/* Without a note, a failed job is begun again: errors need no report. */
void background_note_write(int fd, struct background_note *note) {
    static const char magic[16] = BACKGROUND_MAGIC;
    memcpy(note->magic, magic, sizeof magic);
    make_check(note, note->check);
    (void)file_write_at(fd, 0, note, sizeof *note);
}

void background_note_remove(const char *path, int fd) {
    if (is_at(path, fd))
        (void)unlink(path);
}

/* ---- where a process number means something ---- */

static uint64_t own_namespace(void) {
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

static void own_boot(char ret_boot[40]) {
    char text[40] = "";
    auto_fd fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    const ssize_t bytes = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    memset(ret_boot, 0, 40);
    if (bytes > 0)
        memcpy(ret_boot, text, strcspn(text, "\n"));
}

void background_note_sign(struct background_note *note) {
    note->pid = (uint32_t)getpid();
    note->namespace = own_namespace();
    own_boot(note->boot);
}

bool background_note_is_here(const struct background_note *note) {
    char boot[40];
    own_boot(boot);
    return boot[0] != '\0' && memcmp(boot, note->boot, sizeof boot) == 0 && note->namespace != 0 &&
           note->namespace == own_namespace();
}
