/*
 * compiler/worker_path.c: finds husk-compile-worker: where the caller says; else relative to the program or
 * shared library that this code is in (installed: ../libexec/husk; in a build folder: beside it or above);
 * else where `make install` puts it.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auto.h"
#include "client.h"
#include "error.h"
#include "worker_proto.h"

#define PATH_BYTES 4096 /* Linux's PATH_MAX */

/* The folder of the file that holds this function. The main program has no name in the link map: /proc
 * knows it. */
static bool own_folder(char folder[PATH_BYTES]) {
    Dl_info info;
    struct link_map *map = NULL;
    ssize_t bytes = 0;
    if (dladdr1((const void *)(uintptr_t)&worker_locate, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 &&
        map != NULL && map->l_name[0] == '/') {
        bytes = (ssize_t)strlen(map->l_name);
        if (bytes < PATH_BYTES)
            memcpy(folder, map->l_name, (size_t)bytes);
    } else {
        bytes = readlink("/proc/self/exe", folder, PATH_BYTES - 1);
    }
    if (bytes <= 0 || bytes >= PATH_BYTES)
        return false;
    folder[bytes] = 0;
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return false;
    *slash = 0;
    return true;
}

static bool is_program(const char *path) {
    return access(path, X_OK) == 0;
}

/* In a build folder the libraries and tests lie below the worker. CMakeCache.txt marks such a folder:
 * nothing is ever started from just any folder above an installed program. */
static bool find_in_build(const char *folder, char path[PATH_BYTES]) {
    static const char *const ups[] = {"", "/..", "/../.."};
    for (size_t i = 0; i < sizeof ups / sizeof ups[0]; i++) {
        if (snprintf(path, PATH_BYTES, "%s%s/CMakeCache.txt", folder, ups[i]) >= PATH_BYTES ||
            access(path, F_OK) != 0)
            continue;
        if (snprintf(path, PATH_BYTES, "%s%s/" WORKER_PROGRAM, folder, ups[i]) < PATH_BYTES &&
            is_program(path))
            return true;
    }
    return false;
}

static bool find_installed(const char *folder, char path[PATH_BYTES]) {
    static const char *const places[] = {"", "/../libexec/husk",
                                         "/../../libexec/husk"}; /* bin, lib; lib/x86_64-linux-gnu */
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (snprintf(path, PATH_BYTES, "%s%s/" WORKER_PROGRAM, folder, places[i]) < PATH_BYTES &&
            is_program(path))
            return true;
    return false;
}

int worker_locate(const char *wanted, char **ret_path, struct husk_error *err) {
    char folder[PATH_BYTES] = "", path[PATH_BYTES];
    bool found = false;
    if (wanted != NULL) {
        if (!is_program(wanted))
            return error_set(err, HUSK_E_NOT_FOUND, "the compiler worker %s does not exist or may not be run",
                             wanted);
        found = snprintf(path, sizeof path, "%s", wanted) < PATH_BYTES;
    } else {
        found = own_folder(folder) && (find_installed(folder, path) || find_in_build(folder, path));
        if (!found)
            found = snprintf(path, sizeof path, "%s", HUSK_LIBEXECDIR "/" WORKER_PROGRAM) < PATH_BYTES &&
                    is_program(path);
    }
    if (!found)
        return error_set(err, HUSK_E_NOT_FOUND,
                         "the compiler (" WORKER_PROGRAM ") is neither near %s nor in " HUSK_LIBEXECDIR
                         ": install Husk with its compiler, or set worker_path",
                         folder[0] != 0 ? folder : "this program");
    char *copy = strdup(path);
    if (copy == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a path");
    *ret_path = copy;
    return 0;
}
