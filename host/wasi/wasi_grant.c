/* host/wasi/wasi_grant.c: the rights of what is opened in a directory that the embedder gave. */
#include "wasi_abi.h"
#include "wasi_dir.h"

/* A directory that may only be read still has the inheriting rights to write. wasi-libc's open()
 * asks for no right that the directory does not pass on: without them it would succeed, and write()
 * would fail. With them path_open sees that the file is to be written, and refuses. */
void wasi_dir_grant(const struct wasi_dir *dir, struct wasi_fd *fd, bool can_read, bool can_write) {
    uint64_t rights = WASI_RIGHTS_FILE, inheriting = 0;
    if (fd->filetype == WASI_FILETYPE_DIRECTORY) {
        rights = WASI_RIGHTS_DIR;
        if (!dir->is_writable)
            rights &= ~(WASI_RIGHTS_PATH_CHANGE | WASI_RIGHTS_FD_CHANGE);
        inheriting = rights | WASI_RIGHTS_FILE;
    } else {
        if (!can_read)
            rights &= ~WASI_RIGHT_FD_READ;
        if (!can_write)
            rights &=
                ~(WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_ALLOCATE | WASI_RIGHT_FD_FILESTAT_SET_SIZE);
        if (!dir->is_writable)
            rights &= ~WASI_RIGHTS_FD_CHANGE;
    }
    wasi_fd_grant(fd, rights, inheriting);
}
