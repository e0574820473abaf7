/*
 * tests/unit/wasi_state_test.c: the part of a sandbox's WASI state that a snapshot keeps. Hostile
 * bytes in a file are refused and do no harm.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "harness.h"
#include "wasi_abi.h"
#include "wasi_guest.h"

static void open_guest(struct wasi_guest *guest, int fds[3], uint64_t seed) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    fds[1] = open("/dev/null", O_WRONLY | O_CLOEXEC);
    fds[2] = open("/dev/zero", O_RDWR | O_CLOEXEC);
    options.stdin_fd = fds[0];
    options.stdout_fd = fds[1];
    options.stderr_fd = fds[2];
    options.stdin_rights = HUSK_WASI_READ;
    options.stdout_rights = options.stderr_rights = HUSK_WASI_WRITE;
    options.random_seed = seed;
    wasi_guest_init(guest, &options);
}

static void close_guest(struct wasi_guest *guest, int fds[3]) {
    wasi_guest_done(guest);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

/* -1: closed. */
static int host_fd(const struct wasi_guest *guest, uint32_t number) {
    const struct wasi_fd *fd = wasi_fds_at(&guest->ctx.fds, number);
    return fd != NULL ? fd->host_fd : -1;
}

static uint64_t rights_of(const struct wasi_guest *guest, uint32_t number) {
    const struct wasi_fd *fd = wasi_fds_at(&guest->ctx.fds, number);
    return fd != NULL ? fd->rights : 0;
}

static void save(const struct wasi_ctx *ctx, struct buf *buf) {
    struct husk_error err;
    CHECK_OK(wasi_state_save(ctx, buf, &err), err);
}

static int load_checked(struct wasi_ctx *ctx, const uint8_t *bytes, size_t count,
                        struct husk_error *err) {
    int status = wasi_state_check(ctx, bytes, count, err);
    if (status == 0)
        wasi_state_load(ctx, bytes, count);
    return status;
}

TEST(descriptors_random_numbers_and_clocks_come_back) {
    struct wasi_guest first, second;
    struct husk_error err;
    int fds[3], other_fds[3];
    struct buf saved = {0};
    uint8_t expected[32];
    open_guest(&first, fds, 7);
    open_guest(&second, other_fds, 7);
    CHECK_EQ_U64(WASI_CALL(&first, fd_close, 0), 0);
    CHECK_EQ_U64(WASI_CALL(&first, fd_renumber, 2, 1), 0); /* 1 is now /dev/zero, 2 is closed */
    CHECK_EQ_U64(WASI_CALL(&first, fd_fdstat_set_flags, 1, WASI_FDFLAG_NONBLOCK), 0);
    CHECK_EQ_U64(WASI_CALL(&first, fd_fdstat_set_rights, 1, WASI_RIGHT_FD_WRITE, 0), 0);
    CHECK_EQ_U64(WASI_CALL(&first, random_get, 0, 64), 0);
    usleep(20000);
    save(&first.ctx, &saved);
    CHECK_EQ_U64(WASI_CALL(&first, random_get, 0, 32), 0);
    memcpy(expected, first.memory, 32);
    struct wasi_guest *both[2] = {&first, &second};
    for (int i = 0; i < 2; i++) {
        struct wasi_guest *guest = both[i];
        CHECK_OK(load_checked(&guest->ctx, saved.data, saved.count, &err), err);
        CHECK_EQ_U64(host_fd(guest, 0), -1);
        CHECK_EQ_U64(host_fd(guest, 1), i == 0 ? fds[2] : other_fds[2]);
        CHECK_EQ_U64(wasi_fds_at(&guest->ctx.fds, 1)->flags, WASI_FDFLAG_NONBLOCK);
        CHECK_EQ_U64(rights_of(guest, 1), WASI_RIGHT_FD_WRITE);
        CHECK_EQ_U64(host_fd(guest, 2), -1);
        CHECK_EQ_U64(WASI_CALL(guest, random_get, 0, 32), 0);
        CHECK_MEM(guest->memory, expected, 32);
        CHECK_EQ_U64(WASI_CALL(guest, clock_time_get, WASI_CLOCK_MONOTONIC, 0, 64), 0);
        CHECK(wasi_guest_u64(guest, 64) >= 20000000 && wasi_guest_u64(guest, 64) < 20000000000ull);
        CHECK_OK(load_checked(&guest->ctx, NULL, 0, &err), err); /* as new */
        CHECK_EQ_U64(host_fd(guest, 0), i == 0 ? fds[0] : other_fds[0]);
        CHECK_EQ_U64(wasi_fds_at(&guest->ctx.fds, 1)->flags, 0);
        CHECK(rights_of(guest, 2) != 0);
    }
    buf_done(&saved);
    close_guest(&first, fds);
    close_guest(&second, other_fds);
}

/* One terminal or log for output and errors: with two files behind them later, each goes to its
 * own. */
TEST(streams_that_share_a_descriptor_are_told_apart) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct wasi_guest first, second;
    struct husk_error err;
    int fds[3];
    struct buf saved = {0};
    open_guest(&second, fds, 0);
    options.stdin_fd = options.stdout_fd = options.stderr_fd = fds[2];
    options.stdin_rights = HUSK_WASI_READ;
    options.stdout_rights = options.stderr_rights = HUSK_WASI_WRITE;
    wasi_guest_init(&first, &options);
    save(&first.ctx, &saved);
    CHECK_OK(load_checked(&second.ctx, saved.data, saved.count, &err), err);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_EQ_U64(host_fd(&second, i), fds[i]);
    CHECK_EQ_U64(WASI_CALL(&first, fd_renumber, 2, 0),
                 0); /* 0 is now the stream for errors, whatever is behind it */
    buf_done(&saved);
    save(&first.ctx, &saved);
    CHECK_OK(load_checked(&second.ctx, saved.data, saved.count, &err), err);
    CHECK_EQ_U64(host_fd(&second, 0), fds[2]);
    CHECK_EQ_U64(host_fd(&second, 2), -1);
    buf_done(&saved);
    wasi_guest_done(&first);
    close_guest(&second, fds);
}

/* Taken with a pipe for standard input, and used with a file: it can be sought in. What the guest
 * gave up stays away. */
TEST(only_what_was_given_up_is_lost) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct wasi_guest first, second;
    struct husk_error err;
    int pipes[2], null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    FILE *file = tmpfile();
    CHECK(file != NULL && null_fd >= 0 && pipe(pipes) == 0);
    options.stdout_fd = options.stderr_fd = null_fd;
    options.stdin_fd = pipes[0];
    options.stdin_rights = HUSK_WASI_READ;
    options.stdout_rights = options.stderr_rights = HUSK_WASI_WRITE;
    wasi_guest_init(&first, &options);
    options.stdin_fd = fileno(file);
    options.stdin_rights = HUSK_WASI_READ | HUSK_WASI_SEEK;
    wasi_guest_init(&second, &options);
    const uint64_t rights = rights_of(&second, 0);
    CHECK((rights & WASI_RIGHT_FD_SEEK) != 0 && (rights_of(&first, 0) & WASI_RIGHT_FD_SEEK) == 0);
    for (int i = 0; i < 2; i++) {
        struct buf saved = {0};
        save(&first.ctx, &saved);
        CHECK_OK(load_checked(&second.ctx, saved.data, saved.count, &err), err);
        CHECK_EQ_U64(rights_of(&second, 0), i == 0 ? rights : WASI_RIGHT_FD_READ);
        CHECK_EQ_U64(WASI_CALL(&first, fd_fdstat_set_rights, 0, WASI_RIGHT_FD_READ, 0), 0);
        buf_done(&saved);
    }
    wasi_guest_done(&first);
    wasi_guest_done(&second);
    close(pipes[0]);
    close(pipes[1]);
    close(null_fd);
    fclose(file);
}

/* Gives up seeking where it may seek, goes through a set in which it may not, and comes back to one
 * in which it might. */
TEST(what_was_given_up_is_not_had_again) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct wasi_guest files, by_role;
    struct husk_error err;
    struct buf saved = {0};
    FILE *file = tmpfile();
    CHECK(file != NULL);
    options.stdin_fd = fileno(file);
    options.stdin_rights = HUSK_WASI_READ;
    wasi_guest_init(&by_role, &options);
    options.stdin_rights = HUSK_WASI_READ | HUSK_WASI_SEEK;
    wasi_guest_init(&files, &options);
    const uint64_t rights = rights_of(&files, 0) & ~WASI_RIGHT_FD_SEEK;
    CHECK_EQ_U64(WASI_CALL(&files, fd_fdstat_set_rights, 0, rights, 0), 0);
    save(&files.ctx, &saved);
    CHECK_OK(load_checked(&by_role.ctx, saved.data, saved.count, &err), err);
    buf_done(&saved);
    CHECK_EQ_U64(rights_of(&by_role, 0) & WASI_RIGHT_FD_SEEK, 0);
    CHECK((rights_of(&by_role, 0) & WASI_RIGHT_FD_READ) != 0);
    save(&by_role.ctx, &saved);
    CHECK_OK(load_checked(&files.ctx, NULL, 0, &err), err);
    CHECK((rights_of(&files, 0) & WASI_RIGHT_FD_SEEK) != 0);
    CHECK_OK(load_checked(&files.ctx, saved.data, saved.count, &err), err);
    CHECK_EQ_U64(rights_of(&files, 0), rights);
    buf_done(&saved);
    wasi_guest_done(&files);
    wasi_guest_done(&by_role);
    fclose(file);
}

/* A stream that the new set does not give stays closed. */
TEST(only_what_is_given_is_opened) {
    struct wasi_guest first, second;
    struct husk_error err;
    int fds[3];
    struct buf saved = {0};
    open_guest(&first, fds, 0);
    wasi_guest_init(&second, NULL);
    save(&first.ctx, &saved);
    CHECK_OK(load_checked(&second.ctx, saved.data, saved.count, &err), err);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_EQ_U64(host_fd(&second, i), -1);
    buf_done(&saved);
    wasi_guest_done(&second);
    close_guest(&first, fds);
}

/* ---- Bytes as they are in files ---- */

/* Of version 2: 1 is stream 2, not blocking, and may only be written; 900 is stream 0. */
static const uint8_t version_2[] =
    "\x02\0\0\0\x01\0\0\0"
    "\x02\0\0\0\0\0\0\0"
    "\x78\x56\x34\x12\0\0\0\0\xfa\x2f\x0d\0\0\0\0\0\x10\0\0\0\0\0\0\0"
    "\x01\0\0\0\x01\0\x04\0\x02\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0"
    "\x84\x03\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff";

#define ONES "\xff\xff\xff\xff\xff\xff\xff\xff"
#define ZEROS "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
/* Of version 3: the same, and 901 is directory 7, which no set here has. */
static const uint8_t version_3[] =
    "\x03\0\0\0\x01\0\0\0"
    "\x03\0\0\0\x08\0\0\0"
    "\x78\x56\x34\x12\0\0\0\0\xfa\x2f\x0d\0\0\0\0\0\x10\0\0\0\0\0\0\0"
    "\x01\0\0\0\x01\0\x04\0\x02\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0" ONES ZEROS
    "\x84\x03\0\0\x01\0\0\0\0\0\0\0\0\0\0\0" ONES ONES ZEROS
    "\x85\x03\0\0\x05\0\0\0\x07\0\0\0\0\0\0\0" ONES ONES ZEROS;

/* Whoever changes the layout makes another version. */
static void check_version(const uint8_t *bytes, size_t count) {
    struct wasi_guest guest;
    struct husk_error err;
    struct buf saved = {0};
    int fds[3];
    open_guest(&guest, fds, 7);
    CHECK_OK(load_checked(&guest.ctx, bytes, count, &err), err);
    CHECK_EQ_U64(host_fd(&guest, 0), -1);
    CHECK_EQ_U64(host_fd(&guest, 1), fds[2]);
    CHECK_EQ_U64(wasi_fds_at(&guest.ctx.fds, 1)->flags, WASI_FDFLAG_NONBLOCK);
    CHECK_EQ_U64(rights_of(&guest, 1), WASI_RIGHT_FD_WRITE);
    CHECK_EQ_U64(host_fd(&guest, 900), fds[0]);
    CHECK_EQ_U64(guest.ctx.random_state, 0x12345678);
    CHECK_EQ_U64(guest.ctx.cpu_total_ns, 16);
    save(&guest.ctx, &saved);
    CHECK_EQ_U64(saved.count, 40 + 2 * 56);
    CHECK_MEM(saved.data, "\x03\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x78\x56\x34\x12\0\0\0\0", 24);
    CHECK_MEM(saved.data + 40, version_3 + 40, 2 * 56); /* between them: the clocks */
    CHECK_OK(load_checked(&guest.ctx, NULL, 0, &err), err);
    CHECK_EQ_U64(host_fd(&guest, 900), -1);
    CHECK_EQ_U64(host_fd(&guest, 0), fds[0]);
    buf_done(&saved);
    close_guest(&guest, fds);
}

TEST(versions_are_read_and_the_last_is_written) {
    CHECK_EQ_U64(sizeof version_2 - 1, 40 + 2 * 24);
    check_version(version_2, sizeof version_2 - 1);
    CHECK_EQ_U64(sizeof version_3 - 1, 40 + 3 * 56);
    check_version(version_3, sizeof version_3 - 1);
}

TEST(others_are_refused_by_name) {
    static const struct {
        size_t at;
        uint8_t value;
        int status;
        const char *text;
    } rows[] = {
        {0, 4, HUSK_E_IMAGE_VERSION, "has version 4; this husk reads versions 2 and 3; use the"},
        {0, 1, HUSK_E_IMAGE_VERSION, "version 1"},
        {0, 0, HUSK_E_IMAGE_VERSION, "version 0"},
        {44, 2, HUSK_E_IMAGE_VERSION, "descriptor 1 is of kind 2"},
        {12, 1, HUSK_E_BAD_IMAGE, "padding"},
        {8, 3, HUSK_E_BAD_IMAGE, "ends within its descriptors (2)"},
        {8, 1, HUSK_E_BAD_IMAGE, "goes on behind"},
        {46, 1, HUSK_E_BAD_IMAGE, "of a descriptor (1)"}, /* flags, */
        {48, 3, HUSK_E_BAD_IMAGE, "of a descriptor (1)"}, /* stream, */
        {52, 8, HUSK_E_BAD_IMAGE, "of a descriptor (1)"}, /* body */
        {66, 4, HUSK_E_BAD_IMAGE, "too many (263044)"},   /* 0x40384 */
        {65, 4, HUSK_E_LIMIT, "descriptor 1156"},         /* 0x484: open_max is 1024 */
        {31, 0x80, HUSK_E_BAD_IMAGE, "292 years"},
    };
    struct wasi_guest guest;
    struct husk_error err;
    uint8_t bytes[sizeof version_2 - 1];
    wasi_guest_init(&guest, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memcpy(bytes, version_2, sizeof bytes);
        bytes[rows[i].at] = rows[i].value;
        CHECK_STATUS(wasi_state_check(&guest.ctx, bytes, sizeof bytes, &err), rows[i].status);
        CHECK_CONTAINS(err.message, rows[i].text);
    }
    memcpy(bytes, version_2, sizeof bytes);
    memcpy(bytes + 64, bytes + 40, 24); /* a number twice */
    CHECK_STATUS(wasi_state_check(&guest.ctx, bytes, sizeof bytes, &err), HUSK_E_BAD_IMAGE);
    wasi_guest_done(&guest);
}

TEST(hostile_bytes_are_refused_or_harmless) {
    struct wasi_guest guest;
    struct husk_error err;
    int fds[3];
    struct buf saved = {0};
    uint64_t random = 1;
    open_guest(&guest, fds, 0);
    save(&guest.ctx, &saved);
    const uint64_t rights[3] = {rights_of(&guest, 0), rights_of(&guest, 1), rights_of(&guest, 2)};
    for (size_t count = 0; count < saved.count; count++)
        CHECK_STATUS(wasi_state_check(&guest.ctx, saved.data, count, &err), HUSK_E_BAD_IMAGE);
    unsigned refused = 0;
    for (int i = 0; i < 20000; i++) {
        uint8_t *bytes = malloc(saved.count);
        CHECK(bytes != NULL);
        memcpy(bytes, saved.data, saved.count);
        for (int k = 0; k < 1 + i % 4; k++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            bytes[(random >> 40) % saved.count] = (uint8_t)(random >> 32);
        }
        int status = load_checked(&guest.ctx, bytes, saved.count, &err);
        CHECK(status == 0 || status == HUSK_E_BAD_IMAGE || status == HUSK_E_IMAGE_VERSION ||
              status == HUSK_E_LIMIT);
        refused += status != 0;
        for (uint32_t fd = 0; fd < 3; fd++) {
            int behind = host_fd(&guest, fd), stream = 0;
            while (stream < 3 && fds[stream] != behind)
                stream++;
            CHECK(behind == -1 || stream < 3);
            CHECK(behind == -1 || (rights_of(&guest, fd) & ~rights[stream]) == 0);
        }
        free(bytes);
    }
    CHECK(refused > 1000 && refused < 20000);
    buf_done(&saved);
    close_guest(&guest, fds);
}

TEST_MAIN()
