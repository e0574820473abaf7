/*
 * host/image/image_file.c: the bytes of an image file. They are made immutable before anything
 * reads them.
 *
 * A file on disk can change or shrink under a mapping. A changed byte would defeat every check.
 * Access to a page beyond the new end kills the process (SIGBUS), in the vCPU's thread or in a host
 * function that reads guest memory. So the image is a memfd that is sealed against writing and
 * shrinking. A file that cannot change (image_fd.c) is used as it is, and so is one for which the
 * embedder vouches (husk_open_options.uses_file). Any other file is copied once per open image, and
 * hashed in the same pass (about 0.35 ms per MiB); what a sandbox may take over, to memory
 * (image_stage.c). Deliberately not a lease or a SIGBUS handler: neither belongs in a library.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auto.h"
#include "error.h"
#include "file.h"
#include "host_limits.h"
#include "image_internal.h"
#include "pages.h"

/* A file that is to be opened, and what became of it. */
struct opening {
    uint64_t bytes;
    const struct husk_open_options *options;
};
struct opened {
    int fd;
    struct content_hash hash;
    struct image_file *stage;
};

/* ret_hash stays empty if the file is not to be hashed. */
static int copy_contents(int src_fd, int fd, uint64_t bytes, const struct image_file *stage,
                         struct content_hash *ret_hash) {
    if (stage != NULL) {
        const struct content_part part = {(uint8_t *)(uintptr_t)stage->bytes, stage->stage_offset,
                                          stage->stage_offset + stage->count};
        return content_hash_copy_apart(src_fd, fd, bytes, &part, ret_hash);
    }
    return ret_hash != NULL ? content_hash_copy(src_fd, fd, bytes, ret_hash)
                            : file_copy_data(src_fd, fd, bytes);
}

/* On failure too, the hash and the stage are the caller's. */
static int copy_sealed(int src_fd, const struct opening *opening, struct opened *opened,
                       struct husk_error *err) {
    auto_fd own = -1;
    auto_fd source = image_fd_reopen(src_fd);
    if (source < 0)
        return error_sys(err, errno, "cannot duplicate the image's file descriptor");
    int status = image_file_memfd(&own, err);
    if (status != 0)
        return status;
    if (opening->options->serves_once)
        opened->stage = image_stage_begin(source, opening->bytes);
    if (copy_contents(source, own, opening->bytes, opened->stage,
                      opening->options->skips_hash ? NULL : &opened->hash) != 0)
        return error_sys(err, errno, "cannot copy the image");
    status = image_fd_seal(own, err);
    if (status == 0)
        opened->fd = take_fd(&own);
    return status;
}

/* Takes over fd on success. Of any size: what comes from outside has been asked for its own, and
 * flat files of snapshots are mostly holes. */
static int map_sealed(int fd, struct image_file **ret_file, struct husk_error *err) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return error_sys(err, errno, "cannot examine the image");
    if (st.st_size == 0)
        return error_set(err, HUSK_E_BAD_IMAGE,
                         "the image is empty; expected an ELF file made by husk compile");
    struct image_file *file = calloc(1, sizeof *file);
    if (file == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for an image");
    /* Private: kernels before 6.7 refuse to share-map a write-sealed file, even for reading. */
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        int sys_errno = errno;
        free(file);
        return error_sys(err, sys_errno, "cannot map the image (" MAPPINGS_HINT ")");
    }
    atomic_init(&file->refs, 1);
    file->fd = fd;
    file->bytes = bytes;
    file->count = (uint64_t)st.st_size;
    file->is_in_memory = image_fd_is_in_memory(fd);
    const uint64_t has_bytes = (uint64_t)st.st_blocks * 512;
    file->hole_bytes = has_bytes < file->count ? file->count - has_bytes : 0;
    *ret_file = file;
    return 0;
}

int image_file_seal(int fd, struct image_file **ret_file, struct husk_error *err) {
    int status = image_fd_seal(fd, err);
    return status != 0 ? status : map_sealed(fd, ret_file, err);
}

static int too_large(uint64_t bytes, struct husk_error *err) {
    return error_set(err, HUSK_E_BAD_IMAGE, "the image has %llu bytes, more than the limit of %llu",
                     (unsigned long long)bytes, LIMIT_IMAGE_BYTES);
}

/* A descriptor of bytes that do not change. */
static int open_or_copy(int fd, const struct opening *opening, struct opened *opened,
                        struct husk_error *err) {
    if (!opening->options->uses_file && !image_fd_is_fixed(fd))
        return copy_sealed(fd, opening, opened, err);
    opened->fd = image_fd_reopen(fd);
    if (opened->fd < 0)
        return error_sys(err, errno, "cannot duplicate the image's file descriptor");
    return 0;
}

static void opened_done(struct opened *opened) {
    content_hash_done(&opened->hash);
    image_file_unref(opened->stage);
    if (opened->fd >= 0)
        close(opened->fd);
}

/* Newer (5.14) than the oldest kernel headers we build with. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

/* The pages of a file on disk are in the page cache, often in large pieces: mapped all at once,
 * they are hashed where they are. If that fails, the file is read: a disk that has lost a part of
 * it then is an error, where an access to the mapping would be a SIGBUS. Older kernels cannot map
 * it so. A file in memory has small pages: to read them costs less than to map them. */
static int hash_file(struct image_file *file, struct husk_error *err) {
    void *bytes = (void *)(uintptr_t)file->bytes;
    const int rc = !file->is_in_memory && madvise(bytes, file->count, MADV_POPULATE_READ) == 0
                       ? content_hash_mapped(file->fd, file->bytes, file->count, &file->hash)
                       : content_hash_read(file->fd, file->count, &file->hash);
    if (rc != 0)
        return error_sys(err, errno, "cannot read the image");
    return 0;
}

static int check_regular(const struct stat *st, struct husk_error *err) {
    if (!S_ISREG(st->st_mode))
        return error_set(err, HUSK_E_BAD_IMAGE,
                         "not a regular file; an image must be one (husk_image_open_buffer() "
                         "takes bytes from anywhere)");
    if ((uint64_t)st->st_size > LIMIT_IMAGE_BYTES)
        return too_large((uint64_t)st->st_size, err);
    return 0;
}

int image_file_open(int fd, const struct husk_open_options *options, struct image_file **ret_file,
                    struct husk_error *err) {
    struct stat st;
    struct opened opened = {.fd = -1};
    struct image_file *file = NULL;
    if (fstat(fd, &st) != 0)
        return error_sys(err, errno, "cannot examine the image");
    const struct opening opening = {(uint64_t)st.st_size, options};
    int status = check_regular(&st, err);
    if (status == 0)
        status = open_or_copy(fd, &opening, &opened, err);
    if (status == 0)
        status = map_sealed(opened.fd, &file, err);
    if (status != 0) {
        opened_done(&opened);
        return status;
    }
    file->hash = opened.hash;
    file->stage = opened.stage;
    if (!options->skips_hash && file->hash.pieces == NULL)
        status = hash_file(file, err);
    if (status != 0) {
        image_file_unref(file);
        return status;
    }
    file->has_no_holes =
        file->hole_bytes == 0 || (file->hash.pieces != NULL && !file->hash.has_holes);
    *ret_file = file;
    return 0;
}

int image_file_from_bytes(const void *bytes, size_t count, struct image_file **ret_file,
                          struct husk_error *err) {
    auto_fd own = -1;
    if (count > LIMIT_IMAGE_BYTES)
        return too_large(count, err);
    int status = image_file_memfd(&own, err);
    if (status != 0)
        return status;
    if (count > 0 && file_write_all(own, bytes, count) != 0)
        return error_sys(err, errno, "cannot copy the image");
    status = image_file_seal(own, ret_file, err);
    if (status == 0)
        take_fd(&own);
    return status;
}

struct image_file *image_file_ref(struct image_file *file) {
    atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
    return file;
}

void image_file_unref(struct image_file *file) {
    if (file == NULL || atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) != 1)
        return;
    content_hash_done(&file->hash);
    image_file_unref(file->stage);
    if (file->fd < 0) { /* a stage */
        munmap(file->stage_base, file->stage_bytes);
    } else {
        munmap((void *)(uintptr_t)file->bytes, (size_t)file->count);
        close(file->fd);
    }
    free(file);
}
