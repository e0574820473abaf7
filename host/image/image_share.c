/* host/image/image_share.c: sealed descriptors of images, for other processes. */
#include <errno.h>
#include <unistd.h>

#include "auto.h"
#include "error.h"
#include "file.h"
#include "image_internal.h"

/* Where it cannot be sealed: a file on disk, or the kernel holds some of its pages. */
static int copy_to_share(const struct image_file *file, int *ret_fd, struct husk_error *err) {
    auto_fd own = -1;
    auto_fd source = image_fd_reopen(file->fd);
    if (source < 0)
        return error_sys(err, errno, "cannot duplicate the image's file descriptor");
    int status = image_file_memfd(&own, err);
    if (status != 0)
        return status;
    if (file_copy_data(source, own, file->count) != 0)
        return error_sys(err, errno, "cannot copy the image");
    if (image_fd_seal_to_share(own) != 0)
        return error_sys(err, errno, "cannot seal the copy of the image");
    *ret_fd = take_fd(&own);
    return 0;
}

/* One that only reads. */
static int share_file(const struct image_file *file, int *ret_fd, struct husk_error *err) {
    auto_fd copy = -1;
    int status = 0;
    const bool is_shared = file->is_in_memory && image_fd_seal_to_share(file->fd) == 0;
    if (!is_shared)
        status = copy_to_share(file, &copy, err);
    if (status != 0)
        return status;
    const int fd = image_fd_reopen(is_shared ? file->fd : copy);
    if (fd < 0)
        return error_sys(err, errno, "cannot duplicate the image's file descriptor");
    *ret_fd = fd;
    return 0;
}

int husk_image_share(const husk_image *image, int *ret_fd, struct husk_error *err) {
    struct image_file *file;
    if (image == NULL || ret_fd == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_share: a NULL argument");
    int status = image_file_of(image, &file, err);
    if (status != 0)
        return error_while(err, status, "sharing an image");
    status = share_file(file, ret_fd, err);
    image_file_unref(file);
    return status != 0 ? error_while(err, status, "sharing an image") : 0;
}
