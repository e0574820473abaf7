/*
 * compiler/client/worker_path.c: finds husk-compile-worker and opens it. It looks at the path that
 * the caller gave. Without one, it looks where the worker was installed (or built, in a build
 * folder). Then it looks relative to the program or shared library that holds this code, for an
 * installation that was moved.
 *
 * The worker runs with this process's rights. So a worker that another user could have put there is
 * refused; the search does not go on. The owners of the worker and of its folder must be root, this
 * user, or the owner of this running code. No other user may have write permission to either. Both
 * are checked through descriptors, and the worker is executed through its descriptor. So the
 * program that was checked is the program that runs.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "auto.h"
#include "client.h"
#include "error.h"
#include "worker_proto.h"

#define PATH_BYTES 4096 /* Linux's PATH_MAX */

/* tools/set-worker-folder looks for this text in what is installed, and writes the
 * installation's folder behind it. Volatile, or the compiler would use what it sees here. */
#define MARK "husk-compile-worker is in:"
static const volatile char own_place[1024] = MARK HUSK_WORKER_FOLDER;

/* ---- where ---- */

static void built_in_folder(char folder[PATH_BYTES]) {
    size_t i = 0;
    for (; sizeof MARK - 1 + i < sizeof own_place - 1; i++)
        folder[i] = own_place[sizeof MARK - 1 + i];
    folder[i] = 0;
}

/* The file that holds this function. The main program has no name in the link map: /proc knows
 * it. "": unknown. */
static void own_file(char path[PATH_BYTES]) {
    Dl_info info;
    struct link_map *map = NULL;
    ssize_t bytes;
    if (dladdr1((const void *)(uintptr_t)&worker_locate, &info, (void **)&map, RTLD_DL_LINKMAP) !=
            0 &&
        map != NULL && map->l_name[0] == '/')
        bytes = snprintf(path, PATH_BYTES, "%s", map->l_name);
    else
        bytes = readlink("/proc/self/exe", path, PATH_BYTES - 1);
    path[bytes > 0 && bytes < PATH_BYTES ? bytes : 0] = 0;
}

static bool is_program(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool find(const char *own, char path[PATH_BYTES]) {
    static const char *const places[] = {"/../libexec/husk",
                                         "/../../libexec/husk", /* bin, lib; lib/x86_64-linux-gnu */
                                         ""};
    char folder[PATH_BYTES];
    built_in_folder(folder);
    if (snprintf(path, PATH_BYTES, "%s/" WORKER_PROGRAM, folder) < PATH_BYTES && is_program(path))
        return true;
    const char *slash = strrchr(own, '/');
    for (size_t i = 0; slash != NULL && i < sizeof places / sizeof places[0]; i++)
        if (snprintf(path, PATH_BYTES, "%.*s%s/" WORKER_PROGRAM, (int)(slash - own), own,
                     places[i]) < PATH_BYTES &&
            is_program(path))
            return true;
    return false;
}

static int not_found(const char *own, struct husk_error *err) {
    char folder[PATH_BYTES];
    built_in_folder(folder);
    return error_set(err, HUSK_E_NOT_FOUND,
                     "the compiler (" WORKER_PROGRAM
                     ") is neither in %s nor near %s: install Husk with its compiler (Debian: the "
                     "package husk-compiler), or "
                     "set worker_path",
                     folder, own[0] != '\0' ? own : "this program");
}

/* ---- whose ---- */

/* A group of the owner's own has the owner's number (the convention of useradd(8) and of
 * pam_umask(8)'s usergroups, which makes files writable by it); unless an access control list
 * says that the group's bits stand for others, too, or nobody can tell (there is no /proc). */
static bool is_private_group(int fd, const struct stat *st) {
    char path[64];
    if (st->st_gid != st->st_uid)
        return false;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const ssize_t bytes = getxattr(path, "system.posix_acl_access", NULL, 0);
    return bytes == 0 || (bytes < 0 && (errno == ENODATA || errno == EOPNOTSUPP));
}

/* NULL, or what is wrong. */
static const char *distrust(int fd, const char *own, struct stat *ret_st) {
    struct stat code;
    if (fstat(fd, ret_st) != 0)
        return "it cannot be looked at";
    if (ret_st->st_uid != 0 && ret_st->st_uid != geteuid() &&
        (own[0] == '\0' || stat(own, &code) != 0 || code.st_uid != ret_st->st_uid))
        return "it belongs to another user";
    if ((ret_st->st_mode & S_IWOTH) != 0)
        return "everybody may write it";
    if ((ret_st->st_mode & S_IWGRP) != 0 && !is_private_group(fd, ret_st))
        return "its group may write it";
    return NULL;
}

static int check(int fd, const char *what, const char *path, const char *own,
                 struct husk_error *err) {
    struct stat st = {0};
    const char *wrong = distrust(fd, own, &st);
    if (wrong == NULL)
        return 0;
    return error_set(err, HUSK_E_NOT_FOUND,
                     "the compiler worker %s is not started, because somebody else could have put "
                     "it there: its %s: %s (owner %u, group %u, mode %03o); chown it, chmod go-w "
                     "it, or install Husk elsewhere",
                     path, what, wrong, (unsigned)st.st_uid, (unsigned)st.st_gid,
                     (unsigned)st.st_mode & 07777);
}

/* Whoever may write the folder of a symbolic link chooses what is started, if only among what is
 * trusted. */
static int check_named_folder(const char *path, const char *own, struct husk_error *err) {
    char folder[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    if (snprintf(folder, sizeof folder, "%.*s/", slash != NULL ? (int)(slash - path) : 1,
                 slash != NULL ? path : ".") >= PATH_BYTES)
        return error_set(err, HUSK_E_NOT_FOUND, "the path of the compiler worker is too long");
    auto_fd fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_sys(err, errno, "cannot look at %s", folder);
    return check(fd, "folder", path, own, err);
}

/* `path` is absolute and has no symbolic links. */
static int open_checked(const char *path, const char *own, int *ret_fd, struct husk_error *err) {
    char folder[PATH_BYTES];
    const char *name = strrchr(path, '/') + 1;
    snprintf(folder, sizeof folder, "%.*s", (int)(name - path), path);
    auto_fd folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return error_sys(err, errno, "cannot look at %s", folder);
    auto_fd fd = openat(folder_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_sys(err, errno, "cannot look at %s", path);
    int status = check(folder_fd, "folder", path, own, err);
    if (status == 0)
        status = check(fd, "file", path, own, err);
    if (status == 0)
        *ret_fd = take_fd(&fd);
    return status;
}

int worker_locate(const char *wanted, struct worker_program *ret_program, struct husk_error *err) {
    char own[PATH_BYTES], found[PATH_BYTES];
    own_file(own);
    if (wanted != NULL && !is_program(wanted))
        return error_set(err, HUSK_E_NOT_FOUND,
                         "the compiler worker %s does not exist or may not be run", wanted);
    if (wanted == NULL && !find(own, found))
        return not_found(own, err);
    const char *named = wanted != NULL ? wanted : found;
    int status = check_named_folder(named, own, err);
    if (status != 0)
        return status;
    struct worker_program program = {.path = realpath(named, NULL), .fd = -1};
    if (program.path == NULL)
        return error_sys(err, errno, "cannot look at the compiler worker %s", named);
    status = open_checked(program.path, own, &program.fd, err);
    if (status == 0)
        *ret_program = program;
    else
        free(program.path);
    return status;
}

void worker_program_done(struct worker_program *program) {
    free(program->path);
    auto_close_fd(&program->fd);
    *program = (struct worker_program){.fd = -1};
}
