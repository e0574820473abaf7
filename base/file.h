/* base/file.h: reading whole files with a limit, and replacing files atomically. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "husk.h"

/* Read all of a file, at most limit bytes (HUSK_E_LIMIT). *ret_bytes is malloc()ed, never NULL on success,
 * and followed by a NUL that is not counted. `name` is for messages. Works for pipes too. HUSK_E_SYS,
 * HUSK_E_NOMEM. */
int file_read_fd(int fd, const char *name, size_t limit, uint8_t **ret_bytes, size_t *ret_count,
                 struct husk_error *err);
int file_read(const char *path, size_t limit, uint8_t **ret_bytes, size_t *ret_count, struct husk_error *err);

/* All bytes, over short writes and EINTR. 0 or -1 with errno. */
int file_write_all(int fd, const void *bytes, size_t count);
/* ftruncate() over EINTR. 0 or -1 with errno. */
int file_set_size(int fd, uint64_t bytes);

/* Replace `path` by the first `bytes` bytes of the file src_fd (its offset is not moved; holes stay
 * holes), durably: temporary file beside it, fsync, rename, fsync of the folder. On failure no temporary is
 * left, and the old file is as it was, unless it is the very last step that fails: then the new one is in
 * its place, complete, and the message says so. Mode 0666 minus umask. */
int file_replace(const char *path, int src_fd, uint64_t bytes, struct husk_error *err);

#endif
