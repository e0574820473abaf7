/*
 * oci/module.c: from a module to its image, by the compiler of the host and a cache on the host.
 *
 * Deliberately not in the container: LLVM and its 8 GiB of address space are not bound into it, no
 * container writes to a cache that others read, and a small memory limit is the program's alone.
 * The compiler has limits of its own (oci.conf), and closes itself in (docs/trust.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "auto.h"
#include "husk_compile.h"
#include "oci.h"

/* The file in the cache that the descriptor is, if every user may read it. NULL: it has none, as
 * after a failure to write the cache. */
static char *file_of(int fd) {
    char link[64], path[4096];
    struct stat own, st;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t count = readlink(link, path, sizeof path - 1);
    if (count <= 0)
        return NULL;
    path[count] = '\0';
    if (fstat(fd, &own) != 0 || stat(path, &st) != 0 || own.st_dev != st.st_dev ||
        own.st_ino != st.st_ino)
        return NULL;
    /* The container's user opens it; on the host, the folder keeps others out. */
    if ((own.st_mode & S_IROTH) == 0 && fchmod(fd, 0644) != 0)
        return NULL;
    return strdup(path);
}

/* What was just compiled is in an anonymous file; asked for again, it is the one in the cache. */
static int compile(int fd, const struct husk_compile_options *options,
                   struct husk_compiled *compiled, struct husk_error *err) {
    int status = husk_compile_cached_fd(fd, options, compiled, err);
    if (status != 0 || compiled->was_cached || compiled->warning.status != 0)
        return status;
    struct husk_compiled again = HUSK_COMPILED_INIT;
    if (husk_compile_cached_fd(fd, options, &again, NULL) != 0)
        return 0;
    close(compiled->fd);
    *compiled = again;
    return 0;
}

int module_compile(const struct settings *settings, const struct program *program, bool is_strict,
                   int *ret_fd, char **ret_path, struct husk_error *err) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    options.cache_dir = settings->cache;
    options.cpu_limit_ns = settings->compile_cpu_ns;
    options.memory_limit_bytes = settings->compile_memory_bytes;
    options.opt_level = settings->opt_level;
    options.strict = is_strict;
    /* a hit needs no look at the module's bytes; the image is checked when husk opens it */
    int status = husk_cache_find(program->fd, &options, &compiled, err);
    if (status != 0)
        status = compile(program->fd, &options, &compiled, err);
    if (status != 0)
        return error_while(err, status, "compiling %s", program->path);
    *ret_fd = compiled.fd;
    *ret_path = file_of(compiled.fd);
    return 0;
}
