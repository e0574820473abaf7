/* base/file.h: reading whole files with a limit, and replacing files atomically. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "husk.h"

/* Read all of a file, at most limit bytes (HUSK_E_LIMIT). *ret_bytes is malloc()ed, never NULL on
 * success, and followed by a NUL that is not counted. `name` is for messages. Works for pipes too.
 * HUSK_E_SYS, HUSK_E_NOMEM. */
int file_read_fd(int fd, const char *name, size_t limit, uint8_t **ret_bytes, size_t *ret_count,
                 struct husk_error *err);
int file_read(const char *path, size_t limit, uint8_t **ret_bytes, size_t *ret_count,
              struct husk_error *err);

/* All bytes, over short writes and EINTR. 0 or -1 with errno. Nothing here that writes raises a
 * signal (signal_guard.h). */
int file_write_all(int fd, const void *bytes, size_t count);
/* The same of any number of pieces, with few system calls. `vecs` is used up. */
struct iovec;
int file_write_vecs(int fd, struct iovec *vecs, size_t count);
/* file_write_all() from this offset on; the file's own is moved. */
int file_write_at(int fd, uint64_t offset, const void *bytes, size_t count);
/* ftruncate() over EINTR. 0 or -1 with errno. */
int file_set_size(int fd, uint64_t bytes);
/* The first `bytes` bytes of src_fd to the same place of fd, an empty file; holes stay holes. Moves
 * both offsets. 0, or -1 with errno (EIO: src_fd got shorter meanwhile). */
int file_copy_data(int src_fd, int fd, uint64_t bytes);

/* A new file for a path, durable and all at once: begin, write to fd, commit. It is in the same
 * folder, and has no name where the file system can do that (O_TMPFILE), else a temporary one,
 * PATH.<16 hex digits>.tmp, which only a killed process leaves behind (with O_TMPFILE only one that
 * is killed between naming it so and renaming it over a file that is there). Mode 0666 minus umask,
 * or that of the regular file that is there. */
struct file_replacement {
    const char *path; /* borrowed */
    char *temp;       /* NULL: it has no name */
    int fd;           /* for reading and writing */
};

/* HUSK_E_INVAL: the path names no file, or something that is not to be replaced (device, pipe,
 * symbolic link); HUSK_E_SYS, HUSK_E_NOMEM. */
int file_replacement_begin(struct file_replacement *ret_new, const char *path,
                           struct husk_error *err);
/* fsync, rename, fsync of the folder. Ends it, also on failure: then the old file is as it was and
 * nothing is left, unless it is the very last step that fails: then the new one is in its place,
 * complete, and the message says so. */
int file_replacement_commit(struct file_replacement *new, struct husk_error *err);
void file_replacement_abort(struct file_replacement *new);

/* The same with the first `bytes` bytes of the file src_fd (its offset is not moved; holes stay
 * holes). */
int file_replace(const char *path, int src_fd, uint64_t bytes, struct husk_error *err);

#endif
