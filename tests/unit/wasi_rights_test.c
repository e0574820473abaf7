/*
 * tests/unit/wasi_rights_test.c: what a guest may do with streams that it may read or write,
 * whatever file the embedder gave, and what each other right adds. Without any right, it may do
 * nothing.
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

#define ALWAYS                                                                                     \
    (WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_FD_FILESTAT_GET | WASI_RIGHT_POLL_FD_READWRITE)
#define SEEKS (WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_TELL | WASI_RIGHT_FD_ADVISE)
#define RESIZES                                                                                    \
    (WASI_RIGHT_FD_ALLOCATE | WASI_RIGHT_FD_FILESTAT_SET_SIZE | WASI_RIGHT_FD_FILESTAT_SET_TIMES)
#define SYNCS (WASI_RIGHT_FD_SYNC | WASI_RIGHT_FD_DATASYNC)

static int log_open(int flags) {
    char path[] = "/tmp/husk-wasi-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, "secret of another", 17) == 17);
    close(fd);
    fd = open(path, flags | O_CLOEXEC);
    CHECK(fd >= 0);
    unlink(path);
    return fd;
}

/* The same descriptor behind all three streams, and these rights besides those of their roles. */
static void guest_on(struct wasi_guest *guest, int fd, uint32_t rights) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    options.stdin_fd = options.stdout_fd = options.stderr_fd = fd;
    options.stdin_rights = HUSK_WASI_READ | rights;
    options.stdout_rights = options.stderr_rights = HUSK_WASI_WRITE | rights;
    wasi_guest_init(guest, &options);
}

static uint64_t rights_shown(struct wasi_guest *guest, uint32_t fd) {
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_get, fd, 0), 0);
    CHECK_EQ_U64(wasi_guest_u64(guest, 16), 0); /* inheriting */
    return wasi_guest_u64(guest, 8);
}

static uint16_t put(struct wasi_guest *guest, uint32_t fd) {
    memcpy(guest->memory + 100, "mine", 4);
    wasi_guest_iovec(guest, 8, 100, 4);
    return WASI_CALL(guest, fd_write, fd, 8, 1, 0);
}

static uint16_t get(struct wasi_guest *guest, uint32_t fd) {
    wasi_guest_iovec(guest, 8, 200, 100);
    return WASI_CALL(guest, fd_read, fd, 8, 1, 0);
}

/* A log that was opened for reading and writing: standard output and error append to it, and that
 * is all. */
static void check_output_only_writes(struct wasi_guest *guest, uint32_t fd) {
    wasi_guest_iovec(guest, 8, 200, 100);
    CHECK_EQ_U64(rights_shown(guest, fd), ALWAYS | WASI_RIGHT_FD_WRITE);
    CHECK_EQ_U64(get(guest, fd), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_pread, fd, 8, 1, 0, 0), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_pwrite, fd, 8, 1, 0, 0), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_seek, fd, 0, 0, 0), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_tell, fd, 0), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_advise, fd, 0, 0, 0), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_allocate, fd, 0, 1u << 20), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_filestat_set_size, fd, 0), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_filestat_set_times, fd, 0, 1, WASI_FSTFLAG_MTIM),
                 WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_sync, fd), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_datasync, fd), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_set_rights, fd, ALWAYS | WASI_RIGHT_FD_READ, 0),
                 WASI_ENOTCAPABLE);
    CHECK_MEM(guest->memory + 200, "\0\0\0\0", 4);
}

TEST(standard_output_and_error_write_and_no_more) {
    struct wasi_guest guest;
    struct stat before, after;
    int fd = log_open(O_RDWR | O_APPEND);
    guest_on(&guest, fd, 0);
    CHECK(fstat(fd, &before) == 0);
    check_output_only_writes(&guest, 1);
    check_output_only_writes(&guest, 2);
    CHECK(fstat(fd, &after) == 0);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    CHECK_EQ_U64(put(&guest, 1), 0);
    CHECK_EQ_U64(put(&guest, 2), 0);
    CHECK(fstat(fd, &after) == 0);
    CHECK_EQ_U64(after.st_size, 17 + 8);
    wasi_guest_done(&guest);
    close(fd);
}

TEST(standard_input_reads_and_no_more) {
    struct wasi_guest guest;
    int fd = log_open(O_RDWR);
    guest_on(&guest, fd, 0);
    CHECK_EQ_U64(rights_shown(&guest, 0), ALWAYS | WASI_RIGHT_FD_READ);
    CHECK_EQ_U64(put(&guest, 0), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 0, 5, 0, 0), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_pread, 0, 8, 1, 0, 0), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_filestat_set_size, 0, 0), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_allocate, 0, 0, 100), WASI_ESPIPE);
    CHECK_EQ_U64(get(&guest, 0), 0);
    CHECK_MEM(guest.memory + 200, "secret of another", 17);
    wasi_guest_done(&guest);
    close(fd);
}

/* Both ends of a socket can be read and written, and a terminal, too. */
TEST(a_socket_has_one_direction) {
    struct wasi_guest guest;
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    CHECK(write(fds[1], "for the host", 12) == 12);
    guest_on(&guest, fds[0], 0);
    CHECK_EQ_U64(get(&guest, 1), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(get(&guest, 2), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(put(&guest, 0), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(put(&guest, 1), 0);
    CHECK_EQ_U64(get(&guest, 0), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_get, 0, 0), 0);
    CHECK_EQ_U64(guest.memory[0], WASI_FILETYPE_SOCKET_STREAM);
    wasi_guest_done(&guest);
    close(fds[0]);
    close(fds[1]);
}

/* The role is the stream's: another number does not change it. */
TEST(renumbering_changes_no_right) {
    struct wasi_guest guest;
    int fd = log_open(O_RDWR);
    guest_on(&guest, fd, 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_renumber, 1, 0), 0);
    CHECK_EQ_U64(get(&guest, 0), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(put(&guest, 0), 0);
    CHECK_EQ_U64(get(&guest, 1), WASI_EBADF);
    wasi_guest_done(&guest);
    close(fd);
}

/* wasi-libc takes a character device that cannot seek for a terminal, and a program that it is
 * talked to. */
TEST(devices_and_files_look_like_pipes) {
    struct wasi_guest guest;
    uint8_t zero[WASI_FILESTAT_BYTES] = {0};
    int fds[2] = {open("/dev/null", O_RDWR | O_CLOEXEC), log_open(O_RDWR | O_APPEND)};
    zero[24] = 1; /* links */
    for (int i = 0; i < 2; i++) {
        guest_on(&guest, fds[i], 0);
        for (uint32_t fd = 0; fd < 3; fd++) {
            CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_get, fd, 0), 0);
            CHECK_EQ_U64(guest.memory[0], WASI_FILETYPE_UNKNOWN);
            CHECK_EQ_U64(guest.memory[2], 0); /* flags */
            memset(guest.memory, 0xff, sizeof zero);
            CHECK_EQ_U64(WASI_CALL(&guest, fd_filestat_get, fd, 0), 0);
            CHECK_MEM(guest.memory, zero, sizeof zero); /* neither size nor times nor numbers */
        }
        wasi_guest_done(&guest);
        close(fds[i]);
    }
}

TEST(each_option_adds_its_rights) {
    static const struct {
        uint32_t given;
        uint64_t input, output;
    } rows[] = {
        {HUSK_WASI_SEEK, SEEKS, SEEKS},
        {HUSK_WASI_RESIZE, 0, RESIZES | SYNCS},
        {HUSK_WASI_READ | HUSK_WASI_WRITE, WASI_RIGHT_FD_WRITE, WASI_RIGHT_FD_READ},
        {HUSK_WASI_READ | HUSK_WASI_WRITE | HUSK_WASI_RESIZE, WASI_RIGHT_FD_WRITE | RESIZES | SYNCS,
         WASI_RIGHT_FD_READ | RESIZES | SYNCS},
    };
    int fd = log_open(O_RDWR);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct wasi_guest guest;
        guest_on(&guest, fd, rows[i].given);
        CHECK_EQ_U64(rights_shown(&guest, 0), ALWAYS | WASI_RIGHT_FD_READ | rows[i].input);
        CHECK_EQ_U64(rights_shown(&guest, 1), ALWAYS | WASI_RIGHT_FD_WRITE | rows[i].output);
        CHECK_EQ_U64(rights_shown(&guest, 2), ALWAYS | WASI_RIGHT_FD_WRITE | rows[i].output);
        wasi_guest_done(&guest);
    }
    close(fd);
}

/* Given for one stream, had by one stream. */
TEST(each_stream_has_options_of_its_own) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct wasi_guest guest;
    int fd = log_open(O_RDWR);
    options.stdin_fd = options.stdout_fd = options.stderr_fd = fd;
    options.stdin_rights = HUSK_WASI_READ;
    options.stdout_rights = HUSK_WASI_WRITE | HUSK_WASI_SEEK;
    options.stderr_rights = HUSK_WASI_WRITE | HUSK_WASI_RESIZE;
    wasi_guest_init(&guest, &options);
    CHECK_EQ_U64(rights_shown(&guest, 0), ALWAYS | WASI_RIGHT_FD_READ);
    CHECK_EQ_U64(rights_shown(&guest, 1), ALWAYS | WASI_RIGHT_FD_WRITE | SEEKS);
    CHECK_EQ_U64(rights_shown(&guest, 2), ALWAYS | WASI_RIGHT_FD_WRITE | RESIZES | SYNCS);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_allocate, 2, 0, 100), 0); /* needs no right to seek */
    CHECK_EQ_U64(WASI_CALL(&guest, fd_allocate, 1, 0, 100), WASI_ENOTCAPABLE);
    wasi_guest_done(&guest);
    close(fd);
}

/* RLIMIT_FSIZE is what keeps a guest with HUSK_WASI_RESIZE from filling the disk: it must not end
 * the process. The default action would. */
TEST(the_file_size_limit_is_an_errno) {
    struct wasi_guest guest;
    struct rlimit before, small;
    sigset_t pending;
    int fd = log_open(O_RDWR);
    guest_on(&guest, fd, HUSK_WASI_SEEK | HUSK_WASI_RESIZE);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = (struct rlimit){.rlim_cur = 4096, .rlim_max = before.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    const uint16_t allocated = WASI_CALL(&guest, fd_allocate, 1, 0, 1u << 20);
    const uint16_t resized = WASI_CALL(&guest, fd_filestat_set_size, 1, 1u << 20);
    memcpy(guest.memory + 100, "mine", 4);
    wasi_guest_iovec(&guest, 8, 100, 4);
    const uint16_t written = WASI_CALL(&guest, fd_pwrite, 1, 8, 1, 1u << 20, 0);
    sigpending(&pending);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_MSG(allocated == WASI_EFBIG || allocated == WASI_ENOTSUP, "fd_allocate: %u", allocated);
    CHECK_EQ_U64(resized, WASI_EFBIG);
    CHECK_EQ_U64(written, WASI_EFBIG);
    CHECK(sigismember(&pending, SIGXFSZ) == 0);
    wasi_guest_done(&guest);
    close(fd);
}

TEST(unknown_rights_are_refused) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct wasi_config *config = NULL;
    struct husk_error err;
    options.stderr_rights = HUSK_WASI_WRITE | 16;
    CHECK_STATUS(wasi_config_new(&options, &config, &err), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "HUSK_WASI_");
    CHECK_CONTAINS(err.message, "husk_wasi_options.stderr_rights");
    CHECK(config == NULL);
}

/* Descriptors 0 to 2 of this process are open here, and none of them is the guest's. */
TEST(an_all_zero_struct_gives_nothing) {
    struct husk_wasi_options options;
    struct wasi_guest guest;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    CHECK(fcntl(0, F_GETFD) >= 0);
    for (int i = 0; i < 2; i++) {
        wasi_guest_init(&guest, &options);
        for (uint32_t fd = 0; fd < 3; fd++) {
            CHECK_EQ_U64(get(&guest, fd), WASI_EBADF);
            CHECK_EQ_U64(put(&guest, fd), WASI_EBADF);
            CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_get, fd, 0), WASI_EBADF);
        }
        wasi_guest_done(&guest);
        options.stdin_fd = options.stdout_fd = options.stderr_fd = -1;
    }
}

TEST(descriptor_0_can_be_given) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct wasi_guest guest;
    options.stdin_rights = HUSK_WASI_READ;
    CHECK(fcntl(0, F_GETFD) >= 0);
    wasi_guest_init(&guest, &options);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_get, 0, 0), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_get, 1, 0), WASI_EBADF);
    wasi_guest_done(&guest);
}

TEST(a_descriptor_without_a_way_is_refused) {
    static const struct {
        int fd;
        uint32_t rights;
        bool is_refused;
    } rows[] = {
        {1, 0, true},
        {0, HUSK_WASI_SEEK, true},
        {1, HUSK_WASI_SEEK | HUSK_WASI_RESIZE, true},
        {-1, HUSK_WASI_RESIZE, true},
        {0, 0, false},
        {-1, 0, false},
        {-1, HUSK_WASI_WRITE, false},
        {12345, HUSK_WASI_WRITE, false}, /* not open: closed */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
        struct wasi_config *config = NULL;
        struct husk_error err = {0};
        options.stdout_fd = rows[i].fd;
        options.stdout_rights = rows[i].rights;
        int status = wasi_config_new(&options, &config, &err);
        CHECK_EQ_I64(status, rows[i].is_refused ? HUSK_E_INVAL : 0);
        if (status != 0)
            CHECK_CONTAINS(err.message, "husk_wasi_options.stdout_fd");
        wasi_config_unref(config);
    }
}

TEST_MAIN()
