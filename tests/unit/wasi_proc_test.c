/*
 * WASI without a VM: arguments, environment, clocks, random bytes, exit, polling, and hostile
 * pointers and numbers.
 */
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "harness.h"
#include "wasi_abi.h"
#include "wasi_guest.h"

TEST(has_all_46_functions) {
    CHECK_EQ_U64(WASI_FUNCS_COUNT, 46);
    unsigned unstable = 0;
    for (unsigned i = 0; i < WASI_FUNCS_COUNT; i++) {
        CHECK(wasi_funcs[i].handler != NULL);
        unstable += wasi_funcs[i].in_unstable;
    }
    CHECK_EQ_U64(unstable, 45);
}

TEST(gives_arguments_and_environment) {
    const char *args[] = {"prog", "", "x y"};
    const char *env[] = {"A=1", "LANG=C"};
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    options.args = args;
    options.args_count = 3;
    options.env = env;
    options.env_count = 2;
    struct wasi_guest guest;
    wasi_guest_init(&guest, &options);
    CHECK_EQ_U64(WASI_CALL(&guest, args_sizes_get, 0, 4), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), 3);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 4), 10);
    CHECK_EQ_U64(WASI_CALL(&guest, args_get, 16, 100), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 16), 100);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 20), 105);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 24), 106);
    CHECK_MEM(guest.memory + 100, "prog\0\0x y\0", 10);
    CHECK_EQ_U64(WASI_CALL(&guest, environ_sizes_get, 0, 4), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 0), 2);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 4), 11);
    CHECK_EQ_U64(WASI_CALL(&guest, environ_get, 16, GUEST_BYTES - 11), 0);
    CHECK_MEM(guest.memory + GUEST_BYTES - 11, "A=1\0LANG=C\0", 11);
    CHECK_EQ_U64(WASI_CALL(&guest, environ_get, 16, GUEST_BYTES - 10), WASI_EFAULT);
    CHECK_EQ_U64(WASI_CALL(&guest, environ_get, GUEST_BYTES - 4, 0), WASI_EFAULT);
    CHECK_EQ_U64(WASI_CALL(&guest, args_sizes_get, GUEST_BYTES - 3, 0), WASI_EFAULT);
    wasi_guest_done(&guest);
}

TEST(refuses_bad_options) {
    struct wasi_config *config = NULL;
    struct husk_error err;
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    const char *args[] = {"a", NULL};
    options.args_count = 2;
    CHECK_STATUS(wasi_config_new(&options, &config, &err), HUSK_E_INVAL);
    options.args = args;
    CHECK_STATUS(wasi_config_new(&options, &config, &err), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "NULL");
    options.size = 1;
    CHECK_STATUS(wasi_config_new(&options, &config, &err), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "INIT");
    CHECK(config == NULL);
}

TEST(clocks_go_forward) {
    struct wasi_guest guest;
    wasi_guest_init(&guest, NULL);
    for (uint32_t clock = 0; clock < 4; clock++) {
        CHECK_EQ_U64(WASI_CALL(&guest, clock_res_get, clock, 0), 0);
        CHECK(wasi_guest_u64(&guest, 0) > 0 && wasi_guest_u64(&guest, 0) <= 100000000);
        CHECK_EQ_U64(WASI_CALL(&guest, clock_time_get, clock, 0, 0), 0);
        uint64_t before = wasi_guest_u64(&guest, 0);
        for (volatile int spin = 0; spin < 1000000; spin++) {
        }
        CHECK_EQ_U64(WASI_CALL(&guest, clock_time_get, clock, 0, 0), 0);
        CHECK(wasi_guest_u64(&guest, 0) > before);
    }
    CHECK_EQ_U64(WASI_CALL(&guest, clock_time_get, 1, 0, 0), 0);
    CHECK_MSG(wasi_guest_u64(&guest, 0) < 60000000000u,
              "the monotonic clock shows the host's uptime");
    CHECK_EQ_U64(WASI_CALL(&guest, clock_time_get, 0, 0, 0), 0);
    CHECK(wasi_guest_u64(&guest, 0) / 1000000000u - (uint64_t)time(NULL) + 2 < 4);
    CHECK_EQ_U64(WASI_CALL(&guest, clock_time_get, 4, 0, 0), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&guest, clock_res_get, 0xffffffff, 0), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&guest, clock_time_get, 0, 0, GUEST_BYTES - 7), WASI_EFAULT);
    wasi_guest_done(&guest);
}

TEST(random_bytes_differ_or_repeat_as_asked) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct wasi_guest a, b;
    static const uint8_t zero[64];
    wasi_guest_init(&a, &options);
    CHECK_EQ_U64(WASI_CALL(&a, random_get, 0, 64), 0);
    CHECK_EQ_U64(WASI_CALL(&a, random_get, 64, 64), 0);
    CHECK(memcmp(a.memory, a.memory + 64, 64) != 0);
    CHECK(memcmp(a.memory, zero, 64) != 0);
    CHECK_EQ_U64(WASI_CALL(&a, random_get, GUEST_BYTES, 0), 0);
    CHECK_EQ_U64(WASI_CALL(&a, random_get, GUEST_BYTES - 5, 6), WASI_EFAULT);
    CHECK_EQ_U64(WASI_CALL(&a, random_get, 1, 0xffffffff), WASI_EFAULT);
    a.is_cut = true;
    CHECK_EQ_U64(WASI_CALL(&a, random_get, 0, GUEST_BYTES), WASI_EINTR);
    wasi_guest_done(&a);

    options.random_seed = 42;
    wasi_guest_init(&a, &options);
    wasi_guest_init(&b, &options);
    CHECK_EQ_U64(WASI_CALL(&a, random_get, 0, 10001), 0);
    CHECK_EQ_U64(WASI_CALL(&b, random_get, 0, 10001), 0);
    CHECK_MEM(a.memory, b.memory, 10001);
    CHECK(a.memory[10000] != 0 || a.memory[9999] != 0 || a.memory[9998] != 0);
    CHECK_EQ_U64(a.memory[10001], 0);
    CHECK_EQ_U64(WASI_CALL(&b, random_get, 0, 64), 0);
    CHECK(memcmp(a.memory, b.memory, 64) != 0);
    wasi_guest_done(&a);
    wasi_guest_done(&b);
}

TEST(exits_with_a_code) {
    struct wasi_guest guest;
    wasi_guest_init(&guest, NULL);
    (void)WASI_CALL(&guest, proc_exit, 0xfffffffe);
    CHECK(guest.has_exited);
    CHECK_EQ_U64(guest.exit_code, 0xfffffffe);
    CHECK_EQ_U64(WASI_CALL(&guest, proc_raise, 6), WASI_ENOSYS);
    CHECK_EQ_U64(WASI_CALL(&guest, sched_yield), 0);
    wasi_guest_done(&guest);
}

/* ---- poll_oneoff ---- */

static void subscribe_clock(struct wasi_guest *guest, uint32_t addr, uint32_t clock,
                            uint64_t timeout, uint16_t flags) {
    uint32_t at = addr + (guest->is_unstable ? 24 : 16);
    memset(guest->memory + addr, 0, WASI_SUBSCRIPTION0_BYTES);
    wasi_guest_set_u64(guest, addr, 0x1122334455667788);
    wasi_guest_set_u32(guest, at, clock);
    wasi_guest_set_u64(guest, at + 8, timeout);
    memcpy(guest->memory + at + 24, &flags, 2);
}

static void subscribe_fd(struct wasi_guest *guest, uint32_t addr, uint8_t tag, uint32_t fd) {
    memset(guest->memory + addr, 0, 48);
    wasi_guest_set_u64(guest, addr, 100 + fd);
    guest->memory[addr + 8] = tag;
    wasi_guest_set_u32(guest, addr + 16, fd);
}

static uint16_t event_errno(const struct wasi_guest *guest, uint32_t addr) {
    return (uint16_t)wasi_guest_u32(guest, addr + 8);
}

TEST(sleeps) {
    struct wasi_guest guest;
    for (int is_unstable = 0; is_unstable < 2; is_unstable++) {
        wasi_guest_init(&guest, NULL);
        guest.is_unstable = is_unstable;
        for (uint32_t clock = 0; clock < 2; clock++) {
            uint64_t start = clock_ns(CLOCK_MONOTONIC);
            subscribe_clock(&guest, 0, clock, 20000000, 0);
            CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 1000, 1, 2000), 0);
            CHECK(clock_ns(CLOCK_MONOTONIC) - start >= 19900000);
            CHECK_EQ_U64(wasi_guest_u32(&guest, 2000), 1);
            CHECK_EQ_U64(wasi_guest_u64(&guest, 1000), 0x1122334455667788);
            CHECK_EQ_U64(event_errno(&guest, 1000), 0);
            CHECK_EQ_U64(guest.memory[1010], WASI_EVENT_CLOCK);
        }
        wasi_guest_done(&guest);
    }
}

TEST(sleeps_until_an_absolute_time) {
    struct wasi_guest guest;
    wasi_guest_init(&guest, NULL);
    CHECK_EQ_U64(WASI_CALL(&guest, clock_time_get, 1, 0, 0), 0);
    uint64_t now = wasi_guest_u64(&guest, 0), start = clock_ns(CLOCK_MONOTONIC);
    subscribe_clock(&guest, 0, 1, now + 20000000, 1);
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 0, 1, 2000), 0); /* events over subscriptions */
    CHECK(clock_ns(CLOCK_MONOTONIC) - start >= 15000000);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 0), 0x1122334455667788);
    subscribe_clock(&guest, 0, 1, 0, 1); /* long past */
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 0, 1, 2000), 0);
    wasi_guest_done(&guest);
}

TEST(a_sleep_is_cut_off) {
    struct wasi_guest guest;
    wasi_guest_init(&guest, NULL);
    guest.cut_after_ms = 10;
    uint64_t timeouts[] = {3600000000000u, UINT64_MAX, UINT64_MAX - 1};
    for (unsigned i = 0; i < 3; i++) {
        guest.is_cut = false;
        subscribe_clock(&guest, 0, 1, timeouts[i], 0);
        CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 1000, 1, 2000), WASI_EINTR);
        CHECK(guest.is_cut);
    }
    wasi_guest_done(&guest);
}

TEST(polls_descriptors) {
    int pipe_fds[2];
    CHECK(pipe(pipe_fds) == 0);
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    options.stdin_fd = pipe_fds[0];
    options.stdout_fd = pipe_fds[1];
    options.stdin_rights = HUSK_WASI_READ;
    options.stdout_rights = HUSK_WASI_WRITE;
    struct wasi_guest guest;
    wasi_guest_init(&guest, &options);
    subscribe_fd(&guest, 0, WASI_EVENT_FD_READ, 0); /* empty: only the write end is ready */
    subscribe_fd(&guest, 48, WASI_EVENT_FD_WRITE, 1);
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 1000, 2, 2000), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 2000), 1);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 1000), 101);
    CHECK(write(pipe_fds[1], "hello", 5) == 5);
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 1000, 2, 2000), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 2000), 2);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 1000), 100);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 1016), 5);
    CHECK_EQ_U64(guest.memory[1042], WASI_EVENT_FD_WRITE);
    subscribe_fd(&guest, 0, WASI_EVENT_FD_WRITE, 0); /* no right to write */
    subscribe_fd(&guest, 48, WASI_EVENT_FD_READ, 7); /* not open */
    subscribe_fd(&guest, 96, 9, 0);                  /* no such event */
    subscribe_clock(&guest, 144, 2, 5, 0);           /* a CPU clock */
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 1000, 4, 2000), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 2000), 4);
    CHECK_EQ_U64(event_errno(&guest, 1000), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(event_errno(&guest, 1032), WASI_EBADF);
    CHECK_EQ_U64(event_errno(&guest, 1064), WASI_EINVAL);
    CHECK_EQ_U64(event_errno(&guest, 1096), WASI_ENOTSUP);
    close(pipe_fds[1]);
    subscribe_fd(&guest, 0, WASI_EVENT_FD_READ, 0);
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 1000, 1, 2000), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, 1024) & 0xffff, WASI_EVENT_HANGUP);
    close(pipe_fds[0]);
    wasi_guest_done(&guest);
}

TEST(a_poll_refuses_bad_input) {
    struct wasi_guest guest;
    wasi_guest_init(&guest, NULL);
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 0, 0, 2000), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 0, 0xffffffff, 2000), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 0, WASI_POLL_MAX + 1, 2000), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, GUEST_BYTES - 47, 0, 1, 2000), WASI_EFAULT);
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, GUEST_BYTES - 31, 1, 2000), WASI_EFAULT);
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 0, 1, GUEST_BYTES - 3), WASI_EFAULT);
    subscribe_clock(&guest, 0, 1, 0, 2); /* unknown flag */
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, 0, 1000, 1, 2000), 0);
    CHECK_EQ_U64(event_errno(&guest, 1000), WASI_EINVAL);
    wasi_guest_done(&guest);
}

/* Every function with pointers and numbers from the edges of the address space: nothing but an
 * errno may come of it (the guest's memory ends at an unmapped page). */
TEST(survives_wild_arguments) {
    static const uint64_t wild[] = {0,           1,          2,          GUEST_BYTES - 1,
                                    GUEST_BYTES, 0x7fffffff, 0x80000000, 0xfffffffc,
                                    0xffffffff,  1024,       8};
    enum { WILD = sizeof wild / sizeof wild[0] };
    int pipe_fds[2];
    CHECK(pipe(pipe_fds) == 0);
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    options.stdin_fd = pipe_fds[0];
    options.stdout_fd = pipe_fds[1];
    options.stdin_rights = HUSK_WASI_READ;
    options.stdout_rights = HUSK_WASI_WRITE;
    struct wasi_guest guest;
    uint64_t state = 1;
    for (unsigned round = 0; round < 20000; round++) {
        if (round % 1000 == 0) {
            if (round > 0)
                wasi_guest_done(&guest);
            wasi_guest_init(&guest, &options);
            guest.cut_after_ms = 1;
            guest.is_unstable = round % 2000 == 0;
            memset(guest.memory, (int)(round / 1000 % 3 * 0x7f), GUEST_BYTES);
        }
        uint64_t args[10];
        for (unsigned i = 0; i < 10; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            args[i] = wild[(state >> 33) % WILD];
        }
        guest.is_cut = false;
        uint16_t wasi_err = wasi_guest_call(&guest, round % WASI_FUNCS_COUNT, args);
        CHECK(wasi_err <= WASI_ENOTCAPABLE);
        char drained[65536];
        struct pollfd readable = {.fd = pipe_fds[0], .events = POLLIN};
        if (poll(&readable, 1, 0) > 0)
            CHECK(read(pipe_fds[0], drained, sizeof drained) >= 0);
    }
    wasi_guest_done(&guest);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

TEST_MAIN()
