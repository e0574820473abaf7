/*
 * host/image/image_file.c: the bytes of an image file. They are made immutable before anything
 * reads them.
 *
 * A file on disk can change or shrink under a mapping. A changed byte would defeat every check.
 * Access to a page beyond the new end kills the process (SIGBUS), in the vCPU's thread or in a host
 * function that reads guest memory. So the image is a memfd that is sealed against writing and
 * shrinking. A file that is such a memfd already (husk_compile() makes them) is used as it is, and
 * so is one for which the embedder vouches (husk_open_options.uses_file). Any other file is copied
 * once per open image, and hashed in the same pass (about 0.35 ms per MiB); what a sandbox may take
 * over, to memory (image_stage.c). Deliberately not a
 * lease or a SIGBUS handler: neither belongs in a library.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "auto.h"
#include "error.h"
#include "file.h"
#include "host_limits.h"
#include "image_internal.h"
#include "pages.h"

#define SEALS_NEEDED (F_SEAL_WRITE | F_SEAL_SHRINK)

int image_file_memfd(int *ret_fd, struct husk_error *err) {
    int fd = memfd_create("husk-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return error_sys(err, errno,
                         "cannot make an anonymous file for an image (images and snapshots keep "
                         "one or more descriptors open; `ulimit -n` is the limit)");
    *ret_fd = fd;
    return 0;
}

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* Nobody has mapped it or holds its pages. So the seal against future writes, of Linux 5.1, does as
 * well as the one that looks at every page for that. */
static int memfd_seal(int fd, struct husk_error *err) {
    const int others = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | others) != 0 &&
        (errno != EINVAL || fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | others) != 0))
        return error_sys(err, errno, "cannot seal the copy of the image");
    return 0;
}

/* And of ordinary pages: one of huge pages (hugetlbfs) can be sealed, too, and a write to a private
 * mapping of it be a SIGBUS where there are no more of them. */
static bool is_sealed(int fd) {
    struct statfs fs;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & SEALS_NEEDED) == SEALS_NEEDED && fstatfs(fd, &fs) == 0 &&
           fs.f_type == TMPFS_MAGIC;
}

/* Another open file description where that is possible: the caller's offset is not ours to move. */
static int reopen(int fd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_RDONLY | O_CLOEXEC);
    return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

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
    auto_fd source = reopen(src_fd);
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
    status = memfd_seal(own, err);
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
    *ret_file = file;
    return 0;
}

int image_file_seal(int fd, struct image_file **ret_file, struct husk_error *err) {
    int status = memfd_seal(fd, err);
    return status != 0 ? status : map_sealed(fd, ret_file, err);
}

static int too_large(uint64_t bytes, struct husk_error *err) {
    return error_set(err, HUSK_E_BAD_IMAGE, "the image has %llu bytes, more than the limit of %llu",
                     (unsigned long long)bytes, LIMIT_IMAGE_BYTES);
}

/* A descriptor of bytes that do not change. */
static int open_or_copy(int fd, const struct opening *opening, struct opened *opened,
                        struct husk_error *err) {
    if (!opening->options->uses_file && !is_sealed(fd))
        return copy_sealed(fd, opening, opened, err);
    opened->fd = reopen(fd);
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
 * it so. */
static int hash_mapped(struct image_file *file, struct husk_error *err) {
    void *bytes = (void *)(uintptr_t)file->bytes;
    const int rc = madvise(bytes, file->count, MADV_POPULATE_READ) == 0
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
    if (options->uses_file && !options->skips_hash)
        status = hash_mapped(file, err);
    if (status != 0) {
        image_file_unref(file);
        return status;
    }
    file->has_no_holes = file->hash.pieces != NULL && !file->hash.has_holes;
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

bool image_file_next_data(const struct image_file *file, uint64_t from, uint64_t to,
                          uint64_t *ret_from, uint64_t *ret_to) {
    if (from >= to)
        return false;
    if (file->has_no_holes) { /* the search for one would look at every page */
        *ret_from = from;
        *ret_to = to;
        return true;
    }
    off_t data = lseek(file->fd, (off_t)from, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        return false;
    *ret_from = data < 0 ? from : (uint64_t)data; /* a file system without SEEK_DATA: all is data */
    off_t hole = data < 0 ? -1 : lseek(file->fd, data, SEEK_HOLE);
    *ret_to = hole < 0 || (uint64_t)hole > to ? to : (uint64_t)hole;
    return *ret_from < to;
}
