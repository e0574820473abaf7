/* base/file.h: reads whole files with a limit, and replaces files atomically. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "husk.h"

/* Read a whole file or pipe. A file of more than `limit` bytes is HUSK_E_LIMIT. *ret_bytes is
 * malloc()ed and never NULL on success. A NUL, which is not counted, follows the bytes. `name` is
 * for messages. HUSK_E_SYS, HUSK_E_NOMEM. */
int file_read_fd(int fd, const char *name, size_t limit, uint8_t **ret_bytes, size_t *ret_count,
                 struct husk_error *err);
int file_read(const char *path, size_t limit, uint8_t **ret_bytes, size_t *ret_count,
              struct husk_error *err);

/* Write all bytes, and continue after short writes and EINTR. Returns 0, or -1 with errno. No
 * function in this header raises a signal by writing (signal_guard.h). */
int file_write_all(int fd, const void *bytes, size_t count);
/* Write any number of pieces, with few system calls. The call changes `vecs`. */
struct iovec;
int file_write_vecs(int fd, struct iovec *vecs, size_t count);
/* Write all bytes from this offset on. The call moves the file's own offset. */
int file_write_at(int fd, uint64_t offset, const void *bytes, size_t count);
/* ftruncate() that continues after EINTR. Returns 0, or -1 with errno. */
int file_set_size(int fd, uint64_t bytes);
/* Copy the first `bytes` bytes of src_fd to the same offsets of fd, an empty file. Holes stay
 * holes. Moves both offsets. Returns 0, or -1 with errno (EIO: src_fd got shorter during the
 * copy). */
int file_copy_data(int src_fd, int fd, uint64_t bytes);

/* Replaces the file at a path durably and atomically: begin, write to fd, commit. The new file is
 * in the same folder. It has no name if the file system supports O_TMPFILE. Otherwise its name is
 * PATH.<16 hex digits>.tmp. Only a killed process leaves such a temporary file behind. With
 * O_TMPFILE, that happens only if commit replaces an existing file and the process is killed just
 * before the rename. The new file has the mode of the regular file that it replaces, or 0666 minus
 * umask. */
struct file_replacement {
    const char *path; /* borrowed */
    char *temp;       /* NULL: it has no name */
    int fd;           /* for reading and writing */
};

/* HUSK_E_INVAL: the path does not name a file, or names something that is never replaced (device,
 * pipe, symbolic link). HUSK_E_SYS, HUSK_E_NOMEM. */
int file_replacement_begin(struct file_replacement *ret_new, const char *path,
                           struct husk_error *err);
/* fsync, rename, fsync of the folder. Ends the replacement, also on failure. On failure the old
 * file is as it was and the new file is gone, with one exception: if the fsync of the folder fails,
 * the new file is complete and in place, and the message says so. */
int file_replacement_commit(struct file_replacement *new, struct husk_error *err);
void file_replacement_abort(struct file_replacement *new);

/* Replace the file at a path by the first `bytes` bytes of the file src_fd. The offset of src_fd
 * does not move. Holes stay holes. Errors as above. */
int file_replace(const char *path, int src_fd, uint64_t bytes, struct husk_error *err);

#endif
