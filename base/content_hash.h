/*
 * base/content_hash.h: the hash by which a damaged image file is found. It finds damage, not
 * attacks: anyone can make two files with one hash. So nothing may be named by it.
 *
 * The file is cut into pieces of CONTENT_PIECE_BYTES; the last one may be shorter. The hash is
 * XXH3-128 of the pieces' own XXH3-128 hashes, one after the other, each in its canonical form
 * (big-endian). So a hole costs nothing but the hash of one piece of zeros, and a file can be
 * hashed while it is copied, before it is known where in the file the hash itself is.
 */
#ifndef BASE_CONTENT_HASH_H
#define BASE_CONTENT_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTENT_HASH_BYTES 16
#define CONTENT_PIECE_BYTES 65536u

/* The hashes of a file's pieces. All zeros: none. */
struct content_hash {
    uint64_t bytes;                        /* of the file */
    uint8_t (*pieces)[CONTENT_HASH_BYTES]; /* owned */
    bool has_holes;
};

/* Hash the first `bytes` bytes of a file. Holes are not read. The offset of the file moves. Returns
 * 0, or -1 with errno (EIO: the file is shorter; ENOMEM). Free the hashes with
 * content_hash_done(). */
int content_hash_read(int fd, uint64_t bytes, struct content_hash *ret_hash);
/* The same for a file that is mapped as a whole: what is no hole is read there. */
int content_hash_mapped(int fd, const uint8_t *map, uint64_t bytes, struct content_hash *ret_hash);
/* Copy the first `bytes` bytes of src_fd to the same offsets of fd, an empty file, and hash what
 * was written, whatever becomes of src_fd meanwhile. Holes stay holes. Both offsets move. No signal
 * is raised by writing (signal_guard.h). Errors as above, and those of writing. */
int content_hash_copy(int src_fd, int fd, uint64_t bytes, struct content_hash *ret_hash);
/* A part of a file that goes to memory instead. It is zero before, and has room for to - from. */
struct content_part {
    uint8_t *place;
    uint64_t from, to;
};
/* The same, but what lies in the part goes to its place. In fd a hole is left there, of whole
 * pieces. ret_hash NULL: nothing is hashed. */
int content_hash_copy_apart(int src_fd, int fd, uint64_t bytes, const struct content_part *part,
                            struct content_hash *ret_hash);
/* The hash of the file, as if the CONTENT_HASH_BYTES from field_offset on were zero. They are read
 * from fd, in which the file must be unchanged. Returns 0, or -1 with errno. */
int content_hash_total(const struct content_hash *hash, int fd, uint64_t field_offset,
                       uint8_t ret_total[CONTENT_HASH_BYTES]);
/* All of it for a file of so many bytes: read, and without the field. The offset of the file moves.
 * Returns 0, or -1 with errno. */
int content_hash_file(int fd, uint64_t bytes, uint64_t field_offset,
                      uint8_t ret_total[CONTENT_HASH_BYTES]);
void content_hash_done(struct content_hash *hash);

#endif
