/*
 * host/image/image_stream.c: writes an image's file to a descriptor or a callback. The bytes are
 * written once and in order, from a file that is complete before the first byte is written. Opened
 * images have such a file. The file of a snapshot is made in memory first, because its hash
 * precedes the bytes that it covers.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "file.h"
#include "image_internal.h"

/* A callback gets at most so much at once. */
#define PIECE_BYTES_MAX (1ull << 20)

struct sink {
    husk_write_fn write;
    void *user;
    int sparse_fd; /* holes stay holes there; -1: they are written as zeros */
};

static int put(const struct sink *sink, const uint8_t *bytes, uint64_t count) {
    int rc = 0;
    for (uint64_t part; count > 0 && rc == 0; bytes += part, count -= part) {
        part = count < PIECE_BYTES_MAX ? count : PIECE_BYTES_MAX;
        rc = sink->write(sink->user, bytes, part);
    }
    return rc;
}

static int put_hole(const struct sink *sink, uint64_t count) {
    static const uint8_t zeros[65536];
    int rc = 0;
    if (count != 0 && sink->sparse_fd >= 0)
        return lseek(sink->sparse_fd, (off_t)count, SEEK_CUR) < 0 ? -errno : 0;
    for (uint64_t part; count > 0 && rc == 0; count -= part) {
        part = count < sizeof zeros ? count : sizeof zeros;
        rc = sink->write(sink->user, zeros, part);
    }
    return rc;
}

/* Write the file's contents. Deliberately not by reading its holes, because that would give them
 * memory. */
static int put_file(const struct sink *sink, const struct image_file *file) {
    uint64_t at = 0, data, end;
    int rc = 0;
    for (; rc == 0 && image_file_next_data(file, at, file->count, &data, &end); at = end) {
        rc = put_hole(sink, data - at);
        if (rc == 0)
            rc = put(sink, file->bytes + data, end - data);
    }
    return rc != 0 ? rc : put_hole(sink, file->count - at);
}

int image_file_of(const husk_image *image, struct image_file **ret_file, struct husk_error *err) {
    int status = image_check_keeps(image, err);
    if (status != 0)
        return status;
    if (!image->is_file)
        return image_save_memory(image, ret_file, err);
    *ret_file = image_file_ref(image->code->file);
    return 0;
}

int husk_image_save_to(const husk_image *image, husk_write_fn write, void *user,
                       struct husk_error *err) {
    struct image_file *file;
    if (image == NULL || write == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_save_to: a NULL argument");
    int status = image_file_of(image, &file, err);
    if (status != 0)
        return error_while(err, status, "saving an image");
    const struct sink sink = {.write = write, .user = user, .sparse_fd = -1};
    int rc = put_file(&sink, file);
    image_file_unref(file);
    return rc != 0 ? error_set(err, rc, "saving an image: the callback ended it with %d", rc) : 0;
}

static int write_fd(void *user, const void *bytes, size_t count) {
    return file_write_all(*(int *)user, bytes, count) == 0 ? 0 : -errno;
}

/* True: skipped bytes read as zeros. This holds at the end of a regular file. */
static bool can_be_sparse(int fd) {
    struct stat st;
    const int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_APPEND) == 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           lseek(fd, 0, SEEK_CUR) >= st.st_size;
}

/* Returns 0 or a negative errno. */
static int put_fd(const struct image_file *file, int fd) {
    const struct sink sink = {
        .write = write_fd, .user = &fd, .sparse_fd = can_be_sparse(fd) ? fd : -1};
    int rc = put_file(&sink, file);
    if (rc == 0 && sink.sparse_fd >= 0) { /* the last hole */
        const off_t end = lseek(fd, 0, SEEK_CUR);
        rc = end < 0 || file_set_size(fd, (uint64_t)end) != 0 ? -errno : 0;
    }
    return rc;
}

int husk_image_save_fd(const husk_image *image, int fd, struct husk_error *err) {
    struct image_file *file;
    if (image == NULL || fd < 0)
        return error_set(err, HUSK_E_INVAL, "husk_image_save_fd: no image, or no descriptor");
    int status = image_file_of(image, &file, err);
    if (status != 0)
        return error_while(err, status, "saving an image to a descriptor");
    int rc = put_fd(file, fd);
    image_file_unref(file);
    return rc != 0 ? error_sys(err, -rc, "cannot write an image to descriptor %d", fd) : 0;
}
