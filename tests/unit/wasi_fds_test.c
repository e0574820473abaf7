/*
 * tests/unit/wasi_fds_test.c: the table of a guest's descriptors: growing, holes, limit, no memory.
 * WASI's functions also use a kind of descriptor that has no host descriptor. The test replaces
 * realloc() (--wrap).
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "wasi_abi.h"
#include "wasi_guest.h"

void *__real_realloc(void *memory, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);

static bool no_memory;

void *__wrap_realloc(void *memory, size_t bytes) {
    return no_memory ? NULL : __real_realloc(memory, bytes);
}

static unsigned closed_count;

static void count_close(struct wasi_fd *fd) {
    (void)fd;
    closed_count++;
}

static const struct wasi_fd_ops counting_ops = {.close = count_close};

/* Descriptors of this kind are told apart by their rights. */
static int add(struct wasi_fds *fds, uint64_t mark) {
    return wasi_fds_add(fds, &(struct wasi_fd){.ops = &counting_ops, .rights = mark});
}

static uint64_t mark_at(const struct wasi_fds *fds, uint32_t number) {
    const struct wasi_fd *fd = wasi_fds_at(fds, number);
    return fd != NULL ? fd->rights : 0;
}

TEST(it_grows_up_to_its_limit) {
    struct wasi_fds fds = {0};
    CHECK(wasi_fds_at(&fds, 0) == NULL && wasi_fds_at(&fds, UINT32_MAX) == NULL);
    for (uint32_t i = 0; i < WASI_FDS_MAX; i++) {
        CHECK_EQ_I64(add(&fds, 100 + i), i);
        CHECK(wasi_fds_at(&fds, i + 1) == NULL);
    }
    CHECK_EQ_I64(add(&fds, 1), -EMFILE);
    CHECK_EQ_U64(wasi_errno_of(EMFILE), WASI_EMFILE);
    CHECK_EQ_I64(wasi_fds_reserve(&fds, WASI_FDS_MAX), 0);
    CHECK_EQ_I64(wasi_fds_reserve(&fds, WASI_FDS_MAX + 1), -EMFILE);
    CHECK_EQ_I64(wasi_fds_reserve(&fds, UINT32_MAX), -EMFILE);
    for (uint32_t i = 0; i < WASI_FDS_MAX; i++)
        CHECK_EQ_U64(mark_at(&fds, i), 100 + i);
    closed_count = 0;
    wasi_fds_done(&fds);
    CHECK_EQ_U64(closed_count, WASI_FDS_MAX);
    CHECK(fds.rows == NULL && fds.count == 0 && fds.capacity == 0);
    wasi_fds_done(&fds);
}

TEST(the_lowest_free_number_is_the_next) {
    struct wasi_fds fds = {0};
    closed_count = 0;
    for (uint32_t i = 0; i < 20; i++)
        CHECK_EQ_I64(add(&fds, 100 + i), i);
    wasi_fds_close(&fds, 7);
    wasi_fds_close(&fds, 19);
    wasi_fds_close(&fds, 3);
    CHECK(wasi_fds_at(&fds, 3) == NULL && wasi_fds_at(&fds, 7) == NULL &&
          wasi_fds_at(&fds, 19) == NULL);
    CHECK_EQ_U64(mark_at(&fds, 4), 104);
    CHECK_EQ_I64(add(&fds, 1), 3);
    CHECK_EQ_I64(add(&fds, 2), 7);
    CHECK_EQ_I64(add(&fds, 3), 19);
    CHECK_EQ_I64(add(&fds, 4), 20);
    wasi_fds_move(&fds, 20, 5); /* closes what was 5 */
    CHECK_EQ_U64(mark_at(&fds, 5), 4);
    CHECK(wasi_fds_at(&fds, 20) == NULL);
    wasi_fds_move(&fds, 5, 5);
    CHECK_EQ_U64(mark_at(&fds, 5), 4);
    CHECK_EQ_U64(closed_count, 4);
    wasi_fds_clear(&fds);
    CHECK_EQ_U64(closed_count, 4 + 20);
    CHECK(fds.count == 0 && fds.capacity >= 21 && wasi_fds_at(&fds, 5) == NULL);
    wasi_fds_put(&fds, 17, &(struct wasi_fd){.ops = &counting_ops, .rights = 9});
    for (uint32_t i = 0; i < 21; i++)
        CHECK_EQ_U64(mark_at(&fds, i), i == 17 ? 9 : 0);
    wasi_fds_done(&fds);
}

TEST(without_memory_nothing_changes) {
    struct wasi_fds fds = {0};
    no_memory = true;
    CHECK_EQ_I64(add(&fds, 100), -ENOMEM);
    no_memory = false;
    CHECK(fds.rows == NULL && fds.count == 0 && fds.capacity == 0);
    uint32_t count = 0;
    do {
        CHECK_EQ_I64(add(&fds, 100 + count), count);
        count++;
    } while (count < fds.capacity);
    no_memory = true;
    CHECK_EQ_I64(add(&fds, 1), -ENOMEM);
    wasi_fds_close(&fds, 1);
    CHECK_EQ_I64(add(&fds, 101), 1); /* a hole needs none */
    no_memory = false;
    CHECK_EQ_U64(wasi_errno_of(ENOMEM), WASI_ENOMEM);
    CHECK_EQ_U64(fds.count, count);
    for (uint32_t i = 0; i < count; i++)
        CHECK_EQ_U64(mark_at(&fds, i), 100 + i);
    CHECK_EQ_I64(add(&fds, 1), count);
    wasi_fds_done(&fds);
}

TEST(a_context_without_memory) {
    struct wasi_config *config = NULL;
    struct wasi_ctx ctx;
    struct husk_error err;
    CHECK_OK(wasi_config_new(NULL, &config, &err), err);
    no_memory = true;
    const int status = wasi_ctx_init(&ctx, config, &err);
    no_memory = false;
    CHECK_STATUS(status, HUSK_E_NOMEM);
    CHECK_EQ_U64(config->refs, 1);
    wasi_config_unref(config);
}

/* A snapshot with the number 900, for which there is no room: refused, and nothing has changed. */
TEST(a_saved_state_without_memory) {
    static const uint8_t saved[] =
        "\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        "\x84\x03\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff";
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct wasi_guest guest;
    struct husk_error err;
    (void)mallopt(M_PERTURB, 0x55); /* new memory is not zero */
    options.stdin_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    options.stdin_rights = HUSK_WASI_READ;
    wasi_guest_init(&guest, &options);
    const uint32_t capacity = guest.ctx.fds.capacity;
    no_memory = true;
    const int status = wasi_state_check(&guest.ctx, saved, sizeof saved - 1, &err);
    no_memory = false;
    CHECK_STATUS(status, HUSK_E_NOMEM);
    CHECK(guest.ctx.fds.capacity == capacity && wasi_fds_at(&guest.ctx.fds, 0) != NULL);
    CHECK_OK(wasi_state_check(&guest.ctx, saved, sizeof saved - 1, &err), err);
    CHECK(wasi_fds_at(&guest.ctx.fds, 0) != NULL && wasi_fds_at(&guest.ctx.fds, 900) == NULL);
    no_memory = true; /* what was checked needs none */
    wasi_state_load(&guest.ctx, saved, sizeof saved - 1);
    no_memory = false;
    for (uint32_t i = 0; i < WASI_FDS_MAX; i++)
        CHECK((wasi_fds_at(&guest.ctx.fds, i) != NULL) == (i == 900));
    wasi_guest_done(&guest);
    close(options.stdin_fd);
}

/* ---- A kind without the host: 26 letters, with a position ---- */

static int64_t letters_position;

static long letters_transfer(struct wasi_transfer *transfer) {
    long moved = 0;
    for (int i = 0; i < transfer->count; i++)
        for (size_t at = 0; at < transfer->vecs[i].iov_len && letters_position < 26; at++, moved++)
            ((char *)transfer->vecs[i].iov_base)[at] = (char)('a' + letters_position++);
    return moved;
}

static int64_t letters_seek(const struct wasi_call *call, struct wasi_fd *fd, int64_t offset,
                            int whence) {
    (void)call;
    (void)fd;
    if (whence != SEEK_SET || offset < 0 || offset > 26)
        return -EINVAL;
    return letters_position = offset;
}

static int letters_stat(const struct wasi_call *call, const struct wasi_fd *fd,
                        struct stat *ret_stat) {
    (void)call;
    (void)fd;
    *ret_stat = (struct stat){.st_size = 26, .st_nlink = 1};
    return 0;
}

static const struct wasi_fd_ops letters_ops = {
    .transfer = letters_transfer, .seek = letters_seek, .stat = letters_stat, .close = count_close};

static int add_letters(struct wasi_guest *guest) {
    const struct wasi_fd letters = {.ops = &letters_ops,
                                    .host_fd = -1,
                                    .filetype = WASI_FILETYPE_REGULAR_FILE,
                                    .is_seekable = true,
                                    .rights = WASI_RIGHT_FD_READ | WASI_RIGHT_FD_SEEK |
                                              WASI_RIGHT_FD_FILESTAT_GET,
                                    .kept = UINT64_MAX};
    return wasi_fds_add(&guest->ctx.fds, &letters);
}

TEST(a_kind_of_its_own_behind_the_functions) {
    struct wasi_guest guest;
    wasi_guest_init(&guest, NULL);
    closed_count = 0;
    letters_position = 0;
    for (int i = 0; i < 10; i++)
        CHECK_EQ_I64(add_letters(&guest), i); /* no streams were given */
    wasi_guest_iovec(&guest, 8, 100, 3);
    wasi_guest_iovec(&guest, 16, 200, 2);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_read, 9, 8, 2, 0), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), 5);
    CHECK_MEM(guest.memory + 100, "abc\0", 4);
    CHECK_MEM(guest.memory + 200, "de\0", 3);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 9, 24, 0, 0), 0);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 0), 24);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 9, 27, 0, 0), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_read, 9, 8, 2, 0), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), 2);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 9, 8, 2, 0), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_sync, 9), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_filestat_get, 9, 0), 0);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 32), 26);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_renumber, 9, 4), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_read, 9, 8, 2, 0), WASI_EBADF);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_read, 4, 8, 2, 0), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_close, 4), 0);
    CHECK_EQ_U64(closed_count, 2);
    wasi_ctx_reset(&guest.ctx);
    CHECK_EQ_U64(closed_count, 10);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_read, 0, 8, 2, 0), WASI_EBADF);
    CHECK_EQ_I64(add_letters(&guest), 0);
    wasi_guest_done(&guest);
    CHECK_EQ_U64(closed_count, 11);
}

TEST_MAIN()
