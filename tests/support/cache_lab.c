/* tests/support/cache_lab.c: see cache_lab.h. */
#include "cache_lab.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

static char *next_text(void) {
    static char texts[8][512];
    static unsigned next;
    return texts[next++ % 8];
}

void cache_lab_open(struct cache_lab *lab) {
    strcpy(lab->folder, "/tmp/husk-cache-XXXXXX");
    CHECK(mkdtemp(lab->folder) != NULL);
}

void cache_lab_close(struct cache_lab *lab) {
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", lab->folder);
    CHECK(system(command) == 0);
}

const char *image_name(char digit) {
    char *text = next_text();
    memset(text, digit, 64);
    strcpy(text + 64, ".husk");
    return text;
}

const char *note_name(char digit) {
    char *text = next_text();
    memset(text, digit, 32);
    strcpy(text + 32, ".seen");
    return text;
}

const char *cache_lab_path(const struct cache_lab *lab, const char *name) {
    char *text = next_text();
    snprintf(text, 512, "%s/%s", lab->folder, name);
    return text;
}

void cache_lab_file(const struct cache_lab *lab, const char *name, unsigned kib, int64_t age_s) {
    static const char block[1024] = "not an image";
    int fd = open(cache_lab_path(lab, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    for (unsigned i = 0; i < kib; i++)
        CHECK(write(fd, block, sizeof block) == sizeof block);
    CHECK(fsync(fd) == 0); /* some file systems know the blocks only then */
    close(fd);
    cache_lab_set_age(lab, name, age_s);
}

void cache_lab_set_age(const struct cache_lab *lab, const char *name, int64_t age_s) {
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - age_s}};
    CHECK(utimensat(AT_FDCWD, cache_lab_path(lab, name), times, AT_SYMLINK_NOFOLLOW) == 0);
}

int64_t cache_lab_age(const struct cache_lab *lab, const char *name) {
    struct stat st;
    CHECK(lstat(cache_lab_path(lab, name), &st) == 0);
    return time(NULL) - st.st_mtim.tv_sec;
}

bool cache_lab_has(const struct cache_lab *lab, const char *name) {
    return faccessat(AT_FDCWD, cache_lab_path(lab, name), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int cache_lab_count(const struct cache_lab *lab) {
    DIR *dir = opendir(lab->folder);
    int count = 0;
    CHECK(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        count += entry->d_name[0] != '.' && strncmp(entry->d_name, "husk-cache.", 11) != 0;
    closedir(dir);
    return count;
}

void cache_lab_write(const struct cache_lab *lab, const char *name, const void *bytes,
                     uint64_t count) {
    int fd = open(cache_lab_path(lab, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(write(fd, bytes, count) == (ssize_t)count);
    close(fd);
}
