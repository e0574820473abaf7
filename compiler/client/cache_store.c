/*
 * compiler/client/cache_store.c: puts an image into a cache folder: within the folder's limit, and
 * once more if the disk was full.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auto.h"
#include "cache_files.h"
#include "cache_limit.h"
#include "error.h"
#include "file.h"

static int put_entry(const char *folder, const char *path, int fd, uint64_t bytes,
                     struct husk_error *err) {
    struct stat st;
    int status = cache_folder_make(folder, err);
    if (status == 0 && lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
        (void)unlink(path); /* nobody's entry, and file_replace() refuses to replace it */
    return status == 0 ? file_replace(path, fd, bytes, err) : status;
}

/* Does the image fit into the folder at all? */
static int check_limit(const struct husk_compile_options *full, uint64_t disk_bytes,
                       struct husk_error *err) {
    auto_fd folder = -1;
    if (cache_folder_open(full->cache_dir, &folder, NULL) != 0)
        return 0; /* storing tells why */
    const uint64_t limit_bytes = cache_limit(folder, full->cache_limit_bytes);
    if (disk_bytes <= limit_bytes)
        return 0;
    return error_set(err, HUSK_E_LIMIT,
                     "the image takes %llu bytes, which is more than the limit of the cache, %llu",
                     (unsigned long long)disk_bytes, (unsigned long long)limit_bytes);
}

int cache_store(const struct husk_compile_options *full, const char *path, int fd, uint64_t bytes,
                struct husk_error *err) {
    const char *folder = full->cache_dir;
    struct husk_error cause = {.sys_errno = 0};
    struct stat st;
    const uint64_t disk_bytes = fstat(fd, &st) == 0 ? cache_bytes_of(&st) : bytes;
    int status = check_limit(full, disk_bytes, &cause);
    if (status == 0)
        status = put_entry(folder, path, fd, bytes, &cause);
    if (status == HUSK_E_SYS && (cause.sys_errno == ENOSPC || cause.sys_errno == EDQUOT) &&
        cache_make_room(folder, disk_bytes, full->cache_limit_bytes))
        status = put_entry(folder, path, fd, bytes, &cause);
    if (status == 0)
        cache_stored(folder, strrchr(path, '/') + 1, full->cache_limit_bytes);
    else if (err != NULL)
        *err = cause;
    return status;
}
