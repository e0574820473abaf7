/*
 * compiler/client/seen.h: notes in the cache folder about files whose hash is known, so that a
 * module is not read again. A note says: the file with this device and inode, size and times has
 * this SHA-256. Any change through the file system changes ctime, which nobody can set. So a note
 * is believed like make's or git's, with their precautions: see seen.c.
 */
#ifndef COMPILER_SEEN_H
#define COMPILER_SEEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "sha256.h"

/* Is there a note about the file in its present state? */
bool seen_find(const char *folder, int fd, uint8_t ret_sha256[SHA256_BYTES]);
/* Before a file is read: what must not change until seen_note(). False: no note may be made. */
bool seen_begin(int fd, struct stat *ret_before);
/* Are the file's times old enough, and of a kind that tells its states apart? */
bool seen_is_settled(const struct stat *st, time_t now);
/* The file was read as a whole, and has this hash. Does nothing if it changed meanwhile. Errors are
 * ignored: the file is then read again next time. Returns the path of a note that was written, to
 * be freed, or NULL. */
char *seen_note(const char *folder, int fd, const struct stat *before,
                const uint8_t sha256[SHA256_BYTES]);

/* What a note in an open folder says: the hash, and a path that the file had when it was noted.
 * *ret_path is malloc()ed. False: it is no note, or has no path. */
bool seen_read_path(int folder, const char *name, uint8_t ret_sha256[SHA256_BYTES],
                    char **ret_path);

#endif
