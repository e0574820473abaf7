/*
 * tests/support/files_home.c: the folder of files_model.h, and lists of names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files_model.h"
#include "harness.h"

#define PATH_BYTES 256

void files_run(const char *format, const char *a, const char *b) {
    char command[PATH_BYTES];
    snprintf(command, sizeof command, format, a, b);
    CHECK_MSG(system(command) == 0, "%s", command);
}

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
    files_run("rm -rf %s%s", home->path, "");
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
