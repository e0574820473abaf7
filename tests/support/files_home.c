/*
 * tests/support/files_home.c: the folder of files_model.h, and lists of names.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files_model.h"
#include "harness.h"

#define PATH_BYTES 512
#define LINKS_MAX 256

/* ---- Trees: without a shell, which small machines lack ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void files_remove_tree(const char *path) {
    CHECK_MSG(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT, "%s", path);
}

/* Copies of files that have several names. */
struct copies {
    size_t count;
    ino_t inos[LINKS_MAX];
    char paths[LINKS_MAX][PATH_BYTES];
};

static void copy_file(const char *from, const char *to, const struct stat *st,
                      struct copies *copies) {
    uint8_t bytes[65536];
    for (size_t i = 0; i < copies->count; i++) {
        if (copies->inos[i] == st->st_ino) {
            CHECK(link(copies->paths[i], to) == 0);
            return;
        }
    }
    const int source = open(from, O_RDONLY | O_CLOEXEC);
    const int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    ssize_t count;
    CHECK(source >= 0 && fd >= 0);
    while ((count = read(source, bytes, sizeof bytes)) > 0)
        CHECK(write(fd, bytes, (size_t)count) == count);
    close(source);
    close(fd);
    if (st->st_nlink > 1 && copies->count < LINKS_MAX) {
        copies->inos[copies->count] = st->st_ino;
        snprintf(copies->paths[copies->count++], PATH_BYTES, "%s", to);
    }
}

static void copy_tree(const char *from, const char *to, struct copies *copies) {
    char source[PATH_BYTES], copy[PATH_BYTES], target[PATH_BYTES] = "";
    struct dirent **entries = NULL;
    struct stat st;
    const int count = scandir(from, &entries, NULL, alphasort);
    CHECK_MSG(count >= 0 && mkdir(to, 0755) == 0, "%s", to);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        snprintf(source, sizeof source, "%s/%s", from, name);
        snprintf(copy, sizeof copy, "%s/%s", to, name);
        CHECK_MSG(lstat(source, &st) == 0, "%s", source);
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            ;
        else if (S_ISDIR(st.st_mode))
            copy_tree(source, copy, copies);
        else if (readlink(source, target, sizeof target - 1) > 0)
            CHECK(symlink(target, copy) == 0);
        else
            copy_file(source, copy, &st, copies);
        memset(target, 0, sizeof target);
        free(entries[i]);
    }
    free(entries);
}

void files_copy_tree(const char *from, const char *to) {
    static struct copies copies;
    copies.count = 0;
    copy_tree(from, to, &copies);
}

/* ---- Folders ---- */

static void make_file(const char *dir, const char *name, uint32_t bytes) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    for (uint32_t i = 0; i < bytes; i++)
        fputc((int)('a' + (i / 7 + i) % 26), file);
    CHECK(fclose(file) == 0);
}

static void make_below(const char *dir) {
    char path[PATH_BYTES];
    static const char *const dirs[] = {"a", "a/b", "a/b/c", "b", "b/a", "d"};
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, dirs[i]);
        CHECK(mkdir(path, 0755) == 0);
    }
    make_file(dir, "c", 10000);
    make_file(dir, "a/a", 5);
    make_file(dir, "a/b/a", 4096);
    make_file(dir, "a/b/c/d", 0);
    make_file(dir, "b/b", 9000);
    snprintf(path, sizeof path, "%s/b/c", dir);
    CHECK(symlink("b", path) == 0);
    snprintf(path, sizeof path, "%s/b/d", dir);
    CHECK(symlink("a/b", path) == 0);
}

void files_home_make(struct files_home *home, bool is_full) {
    strcpy(home->path, "/tmp/husk-files-XXXXXX");
    CHECK(mkdtemp(home->path) != NULL);
    snprintf(home->below, sizeof home->below, "%s/below", home->path);
    CHECK(mkdir(home->below, 0755) == 0);
    if (is_full)
        make_below(home->below);
}

void files_home_remove(const struct files_home *home) {
    files_remove_tree(home->path);
}

/* ---- Names ---- */

void files_put_name(struct buf *names, const char *name, size_t bytes, bool is_dir) {
    if (bytes <= 2 && memcmp(name, "..", bytes) == 0)
        return;
    buf_append(names, name, bytes);
    buf_append(names, is_dir ? "/\n" : "\n", is_dir ? 2 : 1);
}

static int compare_lines(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void files_sort(struct buf *names) {
    char *lines[1024], *next, *line;
    size_t count = 0;
    buf_append_zeros(names, 1);
    char *copy = strdup((char *)names->data);
    next = copy;
    CHECK(copy != NULL);
    while ((line = strsep(&next, "\n")) != NULL && line[0] != '\0' && count < 1024)
        lines[count++] = line;
    qsort(lines, count, sizeof lines[0], compare_lines);
    names->count = 0;
    for (size_t i = 0; i < count; i++) {
        buf_append(names, lines[i], strlen(lines[i]));
        buf_append(names, "\n", 1);
    }
    buf_append_zeros(names, 1);
    free(copy);
}
