/*
 * WASI without a VM: descriptors: reading, writing, positions, attributes, rights, and the
 * functions that are refused.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "wasi_abi.h"
#include "wasi_guest.h"

static int temp_file(void) {
    char path[] = "/tmp/husk-wasi-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    CHECK(fd >= 0);
    unlink(path);
    return fd;
}

static void guest_given(struct wasi_guest *guest, int stdin_fd, int stdout_fd, int stderr_fd,
                        uint32_t rights) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    options.stdin_rights = HUSK_WASI_READ | rights;
    options.stdout_rights = options.stderr_rights = HUSK_WASI_WRITE | rights;
    options.stdin_fd = stdin_fd;
    options.stdout_fd = stdout_fd;
    options.stderr_fd = stderr_fd;
    wasi_guest_init(guest, &options);
}

static void guest_with(struct wasi_guest *guest, int stdin_fd, int stdout_fd, int stderr_fd) {
    guest_given(guest, stdin_fd, stdout_fd, stderr_fd, 0);
}

/* Write bytes [buf, buf + count) with one iovec at 8; the count comes to 0. */
static uint16_t put(struct wasi_guest *guest, uint32_t fd, uint32_t buf, uint32_t count) {
    wasi_guest_iovec(guest, 8, buf, count);
    return WASI_CALL(guest, fd_write, fd, 8, 1, 0);
}

static uint16_t get(struct wasi_guest *guest, uint32_t fd, uint32_t buf, uint32_t count) {
    wasi_guest_iovec(guest, 8, buf, count);
    return WASI_CALL(guest, fd_read, fd, 8, 1, 0);
}

TEST(pipes_carry_bytes) {
    int fds[2];
    char text[16] = "";
    CHECK(pipe(fds) == 0);
    struct wasi_guest guest;
    guest_with(&guest, fds[0], fds[1], -1);
    memcpy(guest.memory + 1000, "hello, world", 12);
    wasi_guest_iovec(&guest, 8, 1000, 5);
    wasi_guest_iovec(&guest, 16, 0x12345678,
                     0); /* empty and outside: the range [addr, addr) must still lie inside */
    wasi_guest_iovec(&guest, 24, 1005, 7);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 1, 8, 3, 0), WASI_EFAULT);
    wasi_guest_iovec(&guest, 16, 0, 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 1, 8, 3, 0), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), 12);
    CHECK(read(fds[0], text, sizeof text) == 12);
    CHECK_STR(text, "hello, world");
    CHECK(write(fds[1], "abcdef", 6) == 6);
    wasi_guest_iovec(&guest, 8, 2000, 2);
    wasi_guest_iovec(&guest, 16, 3000, 10);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_read, 0, 8, 2, 0), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), 6);
    CHECK_MEM(guest.memory + 2000, "ab\0", 3);
    CHECK_MEM(guest.memory + 3000, "cdef\0", 5);
    close(fds[1]);
    CHECK_EQ_U64(get(&guest, 0, 2000, 10), 0); /* end of file */
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), 0);
    close(fds[0]);
    wasi_guest_done(&guest);
}

TEST(checks_every_address_first) {
    int fds[2];
    CHECK(pipe(fds) == 0);
    struct wasi_guest guest;
    guest_with(&guest, fds[0], fds[1], -1);
    CHECK_EQ_U64(put(&guest, 1, GUEST_BYTES - 4, 5), WASI_EFAULT);
    CHECK_EQ_U64(put(&guest, 1, 0xffffffff, 0xffffffff), WASI_EFAULT);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 1, GUEST_BYTES - 4, 1, 0), WASI_EFAULT);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 1, 8, 0xffffffff, 0), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 1, 8, WASI_IOVECS_MAX + 1, 0), WASI_EINVAL);
    wasi_guest_iovec(&guest, 8, 100, 5);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 1, 8, 1, GUEST_BYTES - 3), WASI_EFAULT);
    CHECK(write(fds[1], "abc", 3) == 3);
    /* loses nothing: */
    CHECK_EQ_U64(WASI_CALL(&guest, fd_read, 0, 8, 1, GUEST_BYTES - 3), WASI_EFAULT);
    CHECK_EQ_U64(get(&guest, 0, 100, 5), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), 3);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 1, 8, 0, 0), 0); /* nothing to write */
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), 0);
    close(fds[0]);
    close(fds[1]);
    wasi_guest_done(&guest);
}

TEST(takes_1024_vectors) {
    int fd = temp_file();
    struct wasi_guest guest;
    guest_with(&guest, -1, fd, -1);
    for (uint32_t i = 0; i < WASI_IOVECS_MAX; i++) {
        guest.memory[0x10000 + i] = (uint8_t)i;
        wasi_guest_iovec(&guest, 0x1000 + 8 * i, 0x10000 + i, 1);
    }
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 1, 0x1000, WASI_IOVECS_MAX, 0), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), WASI_IOVECS_MAX);
    CHECK_EQ_U64(lseek(fd, 0, SEEK_END), WASI_IOVECS_MAX);
    close(fd);
    wasi_guest_done(&guest);
}

TEST(a_closed_pipe_is_an_errno_and_no_signal) {
    int fds[2], sockets[2];
    sigset_t pending;
    CHECK(pipe(fds) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    close(fds[0]);
    close(sockets[0]);
    struct wasi_guest guest;
    guest_with(&guest, -1, fds[1], sockets[1]);
    CHECK_EQ_U64(put(&guest, 1, 100, 5), WASI_EPIPE); /* a signal would end the test program */
    CHECK_EQ_U64(put(&guest, 2, 100, 5), WASI_EPIPE);
    sigpending(&pending);
    CHECK(!sigismember(&pending, SIGPIPE));
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    CHECK(!sigismember(&mask, SIGPIPE));
    close(fds[1]);
    close(sockets[1]);
    wasi_guest_done(&guest);
}

TEST(a_pending_sigpipe_of_the_embedder_stays) {
    int fds[2];
    sigset_t blocked, before, pending;
    struct timespec now = {0};
    CHECK(pipe(fds) == 0);
    close(fds[0]);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    raise(SIGPIPE);
    struct wasi_guest guest;
    guest_with(&guest, -1, fds[1], -1);
    CHECK_EQ_U64(put(&guest, 1, 100, 5), WASI_EPIPE);
    sigpending(&pending);
    bool is_pending = sigismember(&pending, SIGPIPE);
    (void)sigtimedwait(&blocked, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    CHECK(is_pending);
    close(fds[1]);
    wasi_guest_done(&guest);
}

TEST(the_file_size_limit_is_an_errno_and_no_signal) {
    int fd = temp_file();
    struct rlimit before, small;
    struct wasi_guest guest;
    guest_given(&guest, -1, fd, -1, HUSK_WASI_RESIZE);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = (struct rlimit){.rlim_cur = 10, .rlim_max = before.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    uint16_t first = put(&guest, 1, 100, 20), second = put(&guest, 1, 100, 20);
    uint16_t third = WASI_CALL(&guest, fd_filestat_set_size, 1, 1000);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_EQ_U64(third, WASI_EFBIG);
    CHECK_EQ_U64(first, 0);
    CHECK_EQ_U64(second, WASI_EFBIG);
    close(fd);
    wasi_guest_done(&guest);
}

TEST(a_blocked_read_or_write_is_cut_off) {
    int fds[2], empty[2];
    CHECK(pipe(fds) == 0);
    CHECK(pipe(empty) == 0);
    struct wasi_guest guest;
    guest_with(&guest, empty[0], fds[1], -1);
    guest.cut_after_ms = 10;
    CHECK_EQ_U64(get(&guest, 0, 100, 10), WASI_EINTR);
    CHECK(guest.is_cut);
    guest.is_cut = false;
    CHECK_EQ_U64(put(&guest, 1, 0, GUEST_BYTES), 0); /* more than the pipe holds: short */
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), 65536);
    CHECK(guest.is_cut);
    CHECK_EQ_U64(put(&guest, 1, 0, 1), WASI_EINTR);
    for (int i = 0; i < 2; i++) {
        close(fds[i]);
        close(empty[i]);
    }
    wasi_guest_done(&guest);
}

TEST(nonblocking_is_the_guests_own) {
    int fds[2];
    CHECK(pipe(fds) == 0);
    struct wasi_guest guest;
    guest_with(&guest, fds[0], fds[1], -1);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_flags, 0, WASI_FDFLAG_NONBLOCK), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_flags, 1, WASI_FDFLAG_NONBLOCK), 0);
    CHECK_EQ_U64(get(&guest, 0, 100, 10), WASI_EAGAIN);
    CHECK_EQ_U64(put(&guest, 1, 0, GUEST_BYTES), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), 65536);
    CHECK_EQ_U64(put(&guest, 1, 0, 1), WASI_EAGAIN);
    CHECK((fcntl(fds[0], F_GETFL) & O_NONBLOCK) == 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_get, 0, 100), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 100) >> 16, WASI_FDFLAG_NONBLOCK);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_flags, 0, WASI_FDFLAG_APPEND), WASI_ENOTSUP);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_flags, 0, 32), WASI_EINVAL);
    close(fds[0]);
    close(fds[1]);
    wasi_guest_done(&guest);
}

TEST(waits_on_a_descriptor_that_the_embedder_made_nonblocking) {
    int fds[2];
    CHECK(pipe2(fds, O_NONBLOCK) == 0);
    struct wasi_guest guest;
    guest_with(&guest, fds[0], -1, -1);
    guest.cut_after_ms = 10;
    CHECK_EQ_U64(get(&guest, 0, 100, 10), WASI_EINTR); /* and not EAGAIN */
    close(fds[0]);
    close(fds[1]);
    wasi_guest_done(&guest);
}

TEST(a_datagram_is_one_message) {
    int sockets[2];
    char text[32];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets) == 0);
    struct wasi_guest guest;
    guest_with(&guest, sockets[0], sockets[0], -1);
    memcpy(guest.memory + 100, "onetwo", 6);
    wasi_guest_iovec(&guest, 8, 100, 3);
    wasi_guest_iovec(&guest, 16, 103, 3);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 1, 8, 2, 0), 0);
    CHECK(recv(sockets[1], text, sizeof text, 0) == 6);
    CHECK(send(sockets[1], "reply", 5, 0) == 5);
    CHECK_EQ_U64(get(&guest, 0, 100, 100), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), 5);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_get, 0, 100), 0);
    CHECK_EQ_U64(guest.memory[100], WASI_FILETYPE_SOCKET_DGRAM);
    CHECK_EQ_U64(WASI_CALL(&guest, sock_recv, 0, 8, 1, 0, 0, 0), WASI_ENOTSUP);
    close(sockets[0]);
    close(sockets[1]);
    wasi_guest_done(&guest);
}

TEST(files_have_a_position) {
    int fd = temp_file();
    CHECK(write(fd, "0123456789", 10) == 10);
    struct wasi_guest guest;
    guest_given(&guest, fd, fd, -1, HUSK_WASI_SEEK);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 0, 2, 0, 0), 0);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 0), 2);
    CHECK_EQ_U64(get(&guest, 0, 100, 3), 0);
    CHECK_MEM(guest.memory + 100, "234", 3);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_tell, 0, 0), 0);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 0), 5);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 0, (uint64_t)-1, 1, 0), 0);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 0), 4);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 0, (uint64_t)-1, 2, 0), 0);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 0), 9);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 0, (uint64_t)-100, 0, 0), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 0, 0, 3, 0), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 0, 0, 0, GUEST_BYTES - 7), WASI_EFAULT);
    guest.is_unstable = true; /* cur, end, set */
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 0, 3, 2, 0), 0);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 0), 3);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 0, 0, 1, 0), 0);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 0), 10);
    guest.is_unstable = false;
    wasi_guest_iovec(&guest, 8, 100, 4);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_pread, 0, 8, 1, 6, 0), 0);
    CHECK_MEM(guest.memory + 100, "6789", 4);
    memcpy(guest.memory + 100, "ABCD", 4);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_pwrite, 1, 8, 1, 1, 0), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_pwrite, 1, 8, 1, UINT64_MAX, 0), WASI_EINVAL);
    char text[11] = "";
    CHECK(pread(fd, text, 10, 0) == 10);
    CHECK_STR(text, "0ABCD56789");
    close(fd);
    wasi_guest_done(&guest);
}

TEST(pipes_have_none) {
    int fds[2];
    CHECK(pipe(fds) == 0);
    struct wasi_guest guest;
    guest_with(&guest, fds[0], fds[1], -1);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 0, 0, 0, 0), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_tell, 0, 0), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_pread, 0, 8, 0, 0, 0), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_pwrite, 1, 8, 0, 0, 0), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_advise, 0, 0, 0, 0), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_allocate, 1, 0, 10), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_sync, 1), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_datasync, 0), WASI_ENOTCAPABLE);
    close(fds[0]);
    close(fds[1]);
    wasi_guest_done(&guest);
}

TEST(files_have_attributes) {
    int fd = temp_file();
    struct stat st;
    CHECK(write(fd, "0123456789", 10) == 10);
    struct wasi_guest guest;
    guest_given(&guest, -1, fd, -1, HUSK_WASI_SEEK | HUSK_WASI_RESIZE);
    memset(guest.memory, 0xff, 200);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_filestat_get, 1, 0), 0);
    CHECK(fstat(fd, &st) == 0);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 8), st.st_ino);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 16), WASI_FILETYPE_REGULAR_FILE);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 32), 10);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 48) / 1000000000u, st.st_mtime);
    CHECK_EQ_U64(guest.memory[64], 0xff);
    guest.is_unstable = true;
    CHECK_EQ_U64(WASI_CALL(&guest, fd_filestat_get, 1, GUEST_BYTES - 56), 0);
    CHECK_EQ_U64(wasi_guest_u64(&guest, GUEST_BYTES - 32), 10);
    guest.is_unstable = false;
    CHECK_EQ_U64(WASI_CALL(&guest, fd_filestat_get, 1, GUEST_BYTES - 56), WASI_EFAULT);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_filestat_set_size, 1, 4), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_filestat_set_size, 1, UINT64_MAX), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_filestat_set_times, 1, 0, 5000000001, WASI_FSTFLAG_MTIM), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_filestat_set_times, 1, 0, 0, 12), WASI_EINVAL);
    CHECK(fstat(fd, &st) == 0);
    CHECK_EQ_U64(st.st_size, 4);
    CHECK_EQ_U64(st.st_mtim.tv_sec, 5);
    CHECK_EQ_U64(st.st_mtim.tv_nsec, 1);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_allocate, 1, 0, 100), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_allocate, 1, 0, 0), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_advise, 1, 0, 100, 3), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_advise, 1, 0, 100, 6), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_sync, 1), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_datasync, 1), 0);
    CHECK(fstat(fd, &st) == 0);
    CHECK_EQ_U64(st.st_size, 100);
    close(fd);
    wasi_guest_done(&guest);
}

TEST(rights_follow_the_open_mode) {
    int fds[2], null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK(pipe(fds) == 0);
    struct wasi_guest guest;
    guest_given(&guest, fds[0], fds[1], null_fd,
                HUSK_WASI_SEEK | HUSK_WASI_RESIZE | HUSK_WASI_READ | HUSK_WASI_WRITE);
    CHECK_EQ_U64(put(&guest, 0, 100, 1), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(get(&guest, 1, 100, 1), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_get, 2, 0), 0);
    CHECK_EQ_U64(guest.memory[0], WASI_FILETYPE_CHARACTER_DEVICE);
    CHECK_MSG((wasi_guest_u64(&guest, 8) & WASI_RIGHT_FD_SEEK) != 0,
              "/dev/null would pass for a terminal");
    uint64_t rights = wasi_guest_u64(&guest, 8);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_rights, 2, rights & ~WASI_RIGHT_FD_WRITE, 0), 0);
    CHECK_EQ_U64(put(&guest, 2, 100, 1), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_rights, 2, rights, 0), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_rights, 2, 0, 1), WASI_ENOTCAPABLE);
    close(fds[0]);
    close(fds[1]);
    close(null_fd);
    wasi_guest_done(&guest);
}

TEST(closes_and_renumbers_without_the_host) {
    int fds[2];
    CHECK(pipe(fds) == 0);
    struct wasi_guest guest;
    guest_with(&guest, fds[0], fds[1], fds[1]);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_close, 1), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_close, 1), WASI_EBADF);
    CHECK_EQ_U64(put(&guest, 1, 100, 1), WASI_EBADF);
    CHECK(fcntl(fds[1], F_GETFD) >= 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_renumber, 2, 1), WASI_EBADF);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_renumber, 2, 2), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_renumber, 2, 0), 0);
    CHECK_EQ_U64(put(&guest, 0, 100, 1), 0);
    CHECK_EQ_U64(put(&guest, 2, 100, 1), WASI_EBADF);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_renumber, 0, 3), WASI_EBADF);
    close(fds[0]);
    close(fds[1]);
    wasi_guest_done(&guest);
}

TEST(paths_and_sockets_are_refused) {
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct wasi_guest guest;
    guest_with(&guest, null_fd, -1, -1);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_prestat_get, 3, 0), WASI_EBADF);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_prestat_dir_name, 3, 0, 10), WASI_EBADF);
    CHECK_EQ_U64(WASI_CALL(&guest, path_open, 3, 0, 100, 5, 0, 2, 0, 0, 0), WASI_EBADF);
    CHECK_EQ_U64(WASI_CALL(&guest, path_open, 0, 0, 100, 5, 0, 2, 0, 0, 0), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, path_rename, 0, 100, 5, 3, 100, 5), WASI_EBADF);
    CHECK_EQ_U64(WASI_CALL(&guest, path_symlink, 100, 5, 0, 100, 5), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, path_link, 0, 0, 100, 5, 0, 100, 5), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_readdir, 0, 0, 10, 0, 0), WASI_ENOTDIR);
    CHECK_EQ_U64(WASI_CALL(&guest, sock_send, 0, 0, 0, 0, 0), WASI_ENOTSOCK);
    CHECK_EQ_U64(WASI_CALL(&guest, sock_shutdown, 1, 0), WASI_EBADF);
    close(null_fd);
    wasi_guest_done(&guest);
}

TEST_MAIN()
