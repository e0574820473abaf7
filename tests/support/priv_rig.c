#include "priv_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

/* ---- The host ---- */

static long host_syscall(void *host, long number, const long args[6]) {
    (void)host;
    const long result = syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
    return result < 0 ? -errno : result;
}

static bool host_is_cut(void *host) {
    struct priv_rig *rig = host;
    return rig->cut_after >= 0 && rig->cut_after-- == 0;
}

static void host_files(void *host, struct privfs *ret_files) {
    struct priv_rig *rig = host;
    *ret_files = (struct privfs){
        .base = rig->region, .covered_bytes = RIG_REGION_BYTES, .region_bytes = RIG_REGION_BYTES};
}

static const struct wasi_host_ops host_ops = {
    .syscall = host_syscall, .is_cut = host_is_cut, .files = host_files};

void rig_init(struct priv_rig *rig, const char *below) {
    *rig = (struct priv_rig){.cut_after = -1};
    rig->dir.host_fd = below != NULL ? open(below, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    CHECK(below == NULL || rig->dir.host_fd >= 0);
    rig->dir.kind = below != NULL ? HUSK_WASI_DIR_COW : HUSK_WASI_DIR_MEM;
    rig->dir.is_writable = true;
    rig->dir.preopen = (struct wasi_fd){.ops = &wasi_privdir_ops,
                                        .host_fd = -1,
                                        .filetype = WASI_FILETYPE_DIRECTORY,
                                        .is_preopen = true};
    rig->config = (struct wasi_config){.refs = 1,
                                       .dirs = &rig->dir,
                                       .dirs_count = 1,
                                       .open_max = 1024,
                                       .private_max_bytes = RIG_REGION_BYTES,
                                       .private_max_entries = 100000,
                                       .start.random_seed = 7};
    rig->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (uint8_t i = 0; i < WASI_STREAMS; i++) {
        struct wasi_fd *fd = &rig->config.start.streams[i].fd;
        wasi_host_fd_init(fd, i, i == 0 ? rig->null_fd : -1, HUSK_WASI_READ);
        if (fd->ops == NULL)
            fd->ops = &wasi_vacant_ops;
        fd->stream = i;
    }
    rig->region =
        mmap(NULL, RIG_REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(rig->region != MAP_FAILED);
    CHECK(wasi_ctx_init(&rig->ctx, &rig->config, NULL) == 0);
    rig->call = (struct wasi_call){.ctx = &rig->ctx, .ops = &host_ops, .host = rig};
    CHECK(wasi_fds_at(&rig->ctx.fds, RIG_ROOT) != NULL);
}

void rig_done(struct priv_rig *rig) {
    wasi_ctx_done(&rig->ctx);
    munmap(rig->region, RIG_REGION_BYTES);
    close(rig->null_fd);
    if (rig->dir.host_fd >= 0)
        close(rig->dir.host_fd);
}

struct privfs rig_layer(struct priv_rig *rig) {
    struct privfs fs;
    host_files(rig, &fs);
    fs.limit_bytes = rig->config.private_max_bytes;
    fs.limit_entries = rig->config.private_max_entries;
    return fs;
}

void rig_check(struct priv_rig *rig) {
    const struct privfs fs = rig_layer(rig);
    struct privfs_usage usage;
    const char *what = "";
    uint64_t offset = 0;
    privfs_usage(&fs, &usage);
    if (usage.end_bytes > 0 && privfs_check(rig->region, usage.end_bytes, &what, &offset) != 0)
        FAIL("the layer is damaged: %s at %#lx", what, (unsigned long)offset);
}

/* ---- Snapshots ---- */

void rig_save(struct priv_rig *rig, struct rig_snapshot *ret_snapshot) {
    const struct privfs fs = rig_layer(rig);
    struct privfs_usage usage;
    struct husk_error err;
    privfs_usage(&fs, &usage);
    *ret_snapshot =
        (struct rig_snapshot){.bytes = usage.end_bytes, .region = malloc(usage.end_bytes + 1)};
    CHECK(ret_snapshot->region != NULL);
    memcpy(ret_snapshot->region, rig->region, usage.end_bytes);
    CHECK_OK(wasi_state_save(&rig->ctx, &ret_snapshot->state, &err), err);
}

void rig_load(struct priv_rig *rig, const struct rig_snapshot *snapshot) {
    struct husk_error err;
    CHECK_OK(wasi_state_check(&rig->ctx, snapshot->state.data, snapshot->state.count, &err), err);
    CHECK(madvise(rig->region, RIG_REGION_BYTES, MADV_DONTNEED) == 0);
    memcpy(rig->region, snapshot->region, snapshot->bytes);
    wasi_state_load(&rig->ctx, snapshot->state.data, snapshot->state.count);
}

void rig_drop(struct rig_snapshot *snapshot) {
    free(snapshot->region);
    buf_done(&snapshot->state);
    *snapshot = (struct rig_snapshot){0};
}

/* ---- Descriptors ---- */

static struct wasi_fd *fd_at(struct priv_rig *rig, uint32_t number) {
    return wasi_fds_at(&rig->ctx.fds, number);
}

static struct wasi_path path_of(const char *path, bool is_followed) {
    return (struct wasi_path){path, (uint32_t)strlen(path), is_followed};
}

static const struct wasi_dir_ops *dir_at(struct priv_rig *rig, uint32_t number) {
    const struct wasi_fd *fd = fd_at(rig, number);
    CHECK(fd != NULL && fd->ops->dir != NULL);
    return fd->ops->dir;
}

int rig_open_at(void *self, uint32_t dir, const char *path, uint32_t oflags, uint32_t how) {
    struct priv_rig *rig = self;
    struct wasi_fd fd = {0};
    const struct wasi_open open = {.path = path_of(path, (how & RIG_FOLLOW) != 0),
                                   .oflags = oflags,
                                   .fdflags = (how & RIG_APPEND) != 0 ? WASI_FDFLAG_APPEND : 0,
                                   .wants_read = true,
                                   .wants_write = (how & RIG_WRITE) != 0};
    const int status = dir_at(rig, dir)->open(&rig->call, fd_at(rig, dir), &open, &fd);
    if (status != 0)
        return status;
    wasi_ctx_serial(&rig->ctx, &fd);
    return wasi_fds_add(&rig->ctx.fds, &fd);
}

int rig_close(void *self, uint32_t number) {
    struct priv_rig *rig = self;
    struct wasi_fd *fd = fd_at(rig, number);
    if (fd == NULL)
        return -EBADF;
    fd->ops->release(&rig->call, fd);
    wasi_fds_close(&rig->ctx.fds, number);
    return 0;
}

/* In two vectors. */
long rig_io(void *self, uint32_t number, void *bytes, size_t count, bool is_write,
            uint64_t offset) {
    struct priv_rig *rig = self;
    struct wasi_transfer transfer = {.call = &rig->call,
                                     .fd = fd_at(rig, number),
                                     .is_write = is_write,
                                     .offset = offset,
                                     .total = count};
    const size_t half = count / 2;
    if (half > 0)
        transfer.vecs[transfer.count++] = (struct iovec){bytes, half};
    if (count > half)
        transfer.vecs[transfer.count++] = (struct iovec){(char *)bytes + half, count - half};
    return transfer.fd->ops->transfer(&transfer);
}

int64_t rig_seek(void *self, uint32_t fd, int64_t offset, int whence) {
    struct priv_rig *rig = self;
    return fd_at(rig, fd)->ops->seek(&rig->call, fd_at(rig, fd), offset, whence);
}

int rig_fd_stat(void *self, uint32_t fd, struct stat *ret_stat) {
    struct priv_rig *rig = self;
    return fd_at(rig, fd)->ops->stat(&rig->call, fd_at(rig, fd), ret_stat);
}

int rig_resize(void *self, uint32_t fd, int64_t bytes) {
    struct priv_rig *rig = self;
    return fd_at(rig, fd)->ops->resize(&rig->call, fd_at(rig, fd), bytes);
}

int rig_allocate(void *self, uint32_t fd, int64_t offset, int64_t bytes) {
    struct priv_rig *rig = self;
    return fd_at(rig, fd)->ops->allocate(&rig->call, fd_at(rig, fd), offset, bytes);
}

/* ---- Paths ---- */

int rig_stat_at(void *self, uint32_t dir, const char *path, bool is_followed,
                struct stat *ret_stat) {
    struct priv_rig *rig = self;
    const struct wasi_path at = path_of(path, is_followed);
    return dir_at(rig, dir)->stat(&rig->call, fd_at(rig, dir), &at, ret_stat);
}

int rig_make_dir_at(void *self, uint32_t dir, const char *path) {
    struct priv_rig *rig = self;
    const struct wasi_path at = path_of(path, false);
    return dir_at(rig, dir)->make_dir(&rig->call, fd_at(rig, dir), &at);
}

int rig_remove_dir_at(void *self, uint32_t dir, const char *path) {
    struct priv_rig *rig = self;
    const struct wasi_path at = path_of(path, false);
    return dir_at(rig, dir)->remove_dir(&rig->call, fd_at(rig, dir), &at);
}

int rig_unlink_at(void *self, uint32_t dir, const char *path) {
    struct priv_rig *rig = self;
    const struct wasi_path at = path_of(path, false);
    return dir_at(rig, dir)->unlink(&rig->call, fd_at(rig, dir), &at);
}

int rig_symlink_at(void *self, const char *target, uint32_t dir, const char *path) {
    struct priv_rig *rig = self;
    const struct wasi_path at = path_of(path, false);
    return dir_at(rig, dir)->symlink(&rig->call, fd_at(rig, dir), target, &at);
}

long rig_read_link_at(void *self, uint32_t dir, const char *path, char *out, size_t count) {
    struct priv_rig *rig = self;
    const struct wasi_path at = path_of(path, false);
    return dir_at(rig, dir)->read_link(&rig->call, fd_at(rig, dir), &at, out, count);
}

int rig_link_at(void *self, uint32_t dir, const char *path, bool is_followed, uint32_t new_dir,
                const char *new_path) {
    struct priv_rig *rig = self;
    const struct wasi_place from = {fd_at(rig, dir), path_of(path, is_followed)};
    const struct wasi_place to = {fd_at(rig, new_dir), path_of(new_path, false)};
    return dir_at(rig, dir)->link(&rig->call, &from, &to);
}

int rig_rename_at(void *self, uint32_t dir, const char *path, uint32_t new_dir,
                  const char *new_path) {
    struct priv_rig *rig = self;
    const struct wasi_place from = {fd_at(rig, dir), path_of(path, false)};
    const struct wasi_place to = {fd_at(rig, new_dir), path_of(new_path, false)};
    return dir_at(rig, dir)->rename(&rig->call, &from, &to);
}

int rig_set_times_at(struct priv_rig *rig, uint32_t dir, const char *path, bool is_followed,
                     const struct timespec times[2]) {
    const struct wasi_path at = path_of(path, is_followed);
    return dir_at(rig, dir)->set_times(&rig->call, fd_at(rig, dir), &at, times);
}

/* ---- Listing ---- */

int rig_list_from(struct priv_rig *rig, uint32_t fd, uint64_t cookie,
                  bool (*emit)(void *user, const struct wasi_dirent *entry), void *user) {
    return dir_at(rig, fd)->list(&rig->call, fd_at(rig, fd), cookie, emit, user);
}

struct page {
    struct buf *names;
    uint32_t left;
    uint64_t cookie;
    bool is_more;
};

static bool page_emit(void *user, const struct wasi_dirent *entry) {
    struct page *page = user;
    page->is_more = page->left == 0;
    if (page->is_more)
        return false;
    page->left--;
    page->cookie = entry->next;
    files_put_name(page->names, entry->name, entry->name_bytes,
                   entry->filetype == WASI_FILETYPE_DIRECTORY);
    return true;
}

int rig_list(void *self, uint32_t fd, uint32_t page_entries, struct buf *names) {
    struct page page = {.names = names};
    int status;
    do {
        page.left = page_entries;
        page.is_more = false;
        status = rig_list_from(self, fd, page.cookie, page_emit, &page);
    } while (status == 0 && page.is_more);
    return status;
}
