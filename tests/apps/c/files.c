/*
 * tests/apps/c/files.c: what C libraries do with files, in the folder that is the first argument.
 * Prints the same when it is built natively; tests/apps/c_files_test.sh compares.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static int root; /* the folder */

static void must(int is_done, const char *what) {
    if (is_done)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(3);
}

static const char *error_name(void) {
    static const struct {
        int number;
        const char *name;
    } names[] = {{ENOENT, "ENOENT"}, {EEXIST, "EEXIST"}, {ENOTDIR, "ENOTDIR"},
                 {EISDIR, "EISDIR"}, {EBADF, "EBADF"},   {ENOTEMPTY, "ENOTEMPTY"},
                 {EINVAL, "EINVAL"}, {ELOOP, "ELOOP"},   {ENAMETOOLONG, "ENAMETOOLONG"},
                 {ESPIPE, "ESPIPE"}, {EACCES, "EACCES"}, {EPERM, "EPERM"},
                 {EXDEV, "EXDEV"}};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (names[i].number == errno)
            return names[i].name;
    return strerror(errno);
}

static void fails(const char *what, long result) {
    printf("%s: %s\n", what, result >= 0 ? "no error" : error_name());
}

static void streams(const char *folder) {
    char path[512], line[64];
    snprintf(path, sizeof path, "%s/text", folder);
    FILE *file = fopen(path, "w+");
    must(file != NULL, "fopen");
    for (int i = 0; i < 1000; i++)
        fprintf(file, "line %d\n", i);
    must(fseek(file, 10, SEEK_SET) == 0, "fseek");
    must(fgets(line, sizeof line, file) != NULL, "fgets");
    printf("at 10: %sat %ld\n", line, ftell(file));
    must(fseek(file, -4, SEEK_END) == 0 && fgets(line, sizeof line, file) != NULL, "the end");
    printf("the end: %s", line);
    fclose(file);
    must((file = fopen(path, "a")) != NULL, "append");
    fputs("appended\n", file);
    printf("appended at %ld\n", ftell(file));
    fclose(file);
    fails("exclusive", fopen(path, "wx") == NULL ? -1 : 0);
    must((file = fopen(path, "r")) != NULL, "read");
    printf("written to a file for reading: %d\n", fputc('x', file) == EOF || fflush(file) != 0);
    fclose(file);
    must(truncate(path, 5) == 0, "truncate");
    struct stat st;
    must(stat(path, &st) == 0, "stat");
    printf("size %ld, a file %d\n", (long)st.st_size, S_ISREG(st.st_mode));
}

static void descriptors(void) {
    char bytes[32] = "";
    int fd = openat(root, "data", O_RDWR | O_CREAT | O_EXCL, 0644);
    must(fd >= 0, "openat");
    struct iovec parts[2] = {{"vec", 3}, {"tor\n", 4}};
    printf("writev %zd, ", writev(fd, parts, 2));
    printf("pwrite %zd, ", pwrite(fd, "X", 1, 3));
    printf("pread %zd %.3s, ", pread(fd, bytes, 3, 2), bytes);
    printf("at %ld\n", (long)lseek(fd, 0, SEEK_CUR));
    must(posix_fallocate(fd, 0, 100) == 0 && posix_fallocate(fd, 0, 50) == 0, "posix_fallocate");
    printf("hole: seek to %ld, ", (long)lseek(fd, 4096, SEEK_SET));
    printf("write %zd, ", write(fd, "end", 3));
    struct stat st;
    must(fstat(fd, &st) == 0, "fstat");
    printf("size %ld\n", (long)st.st_size);
    fails("before the start", lseek(fd, -1, SEEK_SET));
    must(ftruncate(fd, 7) == 0 && fsync(fd) == 0 && fdatasync(fd) == 0, "ftruncate, fsync");
    printf("read at the end: %zd\n", read(fd, bytes, sizeof bytes));
    int flags = fcntl(fd, F_GETFL);
    must(fcntl(fd, F_SETFL, flags | O_APPEND) == 0, "F_SETFL");
    must(lseek(fd, 0, SEEK_SET) == 0 && write(fd, "more", 4) == 4, "append");
    memset(bytes, 0, sizeof bytes);
    must(pread(fd, bytes, sizeof bytes - 1, 0) == 11, "pread");
    printf("contents: %s\n", bytes);
    must(unlinkat(root, "data", 0) == 0, "unlinkat");
    printf("unlinked, still %zd bytes\n", pread(fd, bytes, sizeof bytes, 0));
    must(fstat(fd, &st) == 0, "fstat");
    printf("links %d\n", (int)st.st_nlink);
    close(fd);
    fails("closed", write(fd, "x", 1));
}

static int by_number(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void folders(void) {
    must(mkdirat(root, "many", 0755) == 0, "mkdirat");
    int many = openat(root, "many", O_RDONLY | O_DIRECTORY);
    must(many >= 0, "many");
    char name[32];
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "a rather long name %d", i);
        int fd = openat(many, name, O_WRONLY | O_CREAT, 0644);
        must(fd >= 0, name);
        close(fd);
    }
    DIR *dir = fdopendir(many);
    must(dir != NULL, "fdopendir");
    char *names[600];
    int count = 0, dots = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL && count < 600;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            dots++;
        else
            names[count++] = strdup(entry->d_name);
    }
    qsort(names, (size_t)count, sizeof *names, by_number);
    printf("%d entries, %s to %s, dots %d\n", count, names[0], names[count - 1], dots);
    for (int i = 0; i < count; i++) {
        must(i % 2 != 0 || unlinkat(many, names[i], 0) == 0, names[i]);
        free(names[i]);
    }
    rewinddir(dir);
    for (count = 0; readdir(dir) != NULL;)
        count++;
    printf("%d entries\n", count);
    closedir(dir);
    fails("not empty", unlinkat(root, "many", AT_REMOVEDIR));
    fails("unlink of a folder", unlinkat(root, "many", 0) < 0 ? -1 : 0);
}

static void links(const char *folder) {
    char target[64] = "";
    must(mkdirat(root, "d", 0755) == 0 && symlinkat("../text", root, "d/up") == 0, "d/up");
    must(symlinkat("d/up", root, "twice") == 0 && symlinkat("round", root, "round") == 0, "twice");
    must(symlinkat("../../../../../../etc", root, "d/out") == 0, "d/out");
    int fd = openat(root, "twice", O_RDONLY);
    must(fd >= 0, "twice");
    printf("through two links: %zd bytes, ", read(fd, target, 10));
    close(fd);
    memset(target, 0, sizeof target);
    printf("readlink %zd %s, ", readlinkat(root, "d/up", target, sizeof target), target);
    printf("cut %zd\n", readlinkat(root, "d/up", target, 3));
    fails("round and round", openat(root, "round", O_RDONLY));
    fails("no follow", openat(root, "twice", O_RDONLY | O_NOFOLLOW));
    must(linkat(root, "text", root, "d/hard", 0) == 0, "linkat");
    struct stat a, b;
    must(fstatat(root, "text", &a, 0) == 0 && fstatat(root, "d/hard", &b, 0) == 0, "fstatat");
    printf("one file %d, links %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev,
           (int)a.st_nlink);
    fails("link over a file", linkat(root, "text", root, "d/hard", 0));
    must(renameat(root, "d/hard", root, "text") == 0, "rename to itself");
    must(fstatat(root, "d/hard", &b, 0) == 0, "a rename to itself does nothing");
    must(renameat(root, "d", root, "moved") == 0 && mkdirat(root, "e", 0755) == 0,
         "rename of a folder");
    fails("into itself", renameat(root, "moved", root, "moved/below"));
    fails("over a full folder", renameat(root, "e", root, "moved"));
    fails("a folder over a file", renameat(root, "e", root, "text"));
    fails("a file over a folder", renameat(root, "text", root, "e"));
    (void)folder;
}

static void times(void) {
    struct timespec when[2] = {{1000000000, 123456789}, {1234567890, 987654321}};
    must(utimensat(root, "text", when, 0) == 0, "utimensat");
    struct stat st;
    must(fstatat(root, "text", &st, 0) == 0, "fstatat");
    printf("times %ld.%ld %ld.%ld\n", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
           (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static void failures(void) {
    char name[5000];
    fails("missing", openat(root, "missing", O_RDONLY));
    fails("below a file", openat(root, "text/x", O_RDONLY));
    fails("a folder for writing", openat(root, "e", O_WRONLY));
    fails("a file as a folder", openat(root, "text", O_RDONLY | O_DIRECTORY));
    fails("no name", openat(root, "", O_RDONLY));
    memset(name, 'n', sizeof name);
    name[256] = '\0';
    fails("256 bytes", openat(root, name, O_RDONLY | O_CREAT, 0644));
    name[256] = 'n';
    name[sizeof name - 1] = '\0';
    fails("5,000 bytes", openat(root, name, O_RDONLY | O_CREAT, 0644));
    fails("a slash at the end of a file", openat(root, "text/", O_RDONLY));
    fails("a slash at the end of a new file", openat(root, "new/", O_WRONLY | O_CREAT, 0644));
    fails("a folder with a slash", mkdirat(root, "f/", 0755));
    fails("the folder itself", unlinkat(root, "e/.", AT_REMOVEDIR));
    fails("remove a file as a folder", unlinkat(root, "text", AT_REMOVEDIR));
    int fd = openat(root, "e/../moved/./../text", O_RDONLY);
    printf("dots inside %d\n", fd >= 0);
    close(fd);
}

int main(int argc, char **argv) {
    must(argc > 1, "usage");
    setvbuf(stdout, NULL, _IONBF, 0);
    root = open(argv[1], O_RDONLY | O_DIRECTORY);
    must(root >= 0, argv[1]);
    streams(argv[1]);
    descriptors();
    folders();
    links(argv[1]);
    times();
    failures();
    return 0;
}
