/*
 * tests/unit/wasi_poll_test.c: poll_oneoff on every kind of descriptor, on closed ones, on many at
 * once, together with clocks, and as wasi_unstable has it.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "harness.h"
#include "wasi_abi.h"
#include "wasi_guest.h"

#define SUBS 0u
#define EVENTS 0x10000u
#define COUNT 0x1fff8u
#define HOUR_NS 3600000000000ull
#define CLOCK 0xfeedu /* userdata; that of a descriptor is its number */

/* ---- Subscriptions and events ---- */

static uint32_t sub_at(const struct wasi_guest *guest, uint32_t idx) {
    const uint32_t bytes = guest->is_unstable ? WASI_SUBSCRIPTION0_BYTES : WASI_SUBSCRIPTION_BYTES;
    memset(guest->memory + SUBS + idx * bytes, 0, bytes);
    return SUBS + idx * bytes;
}

static void on_fd(struct wasi_guest *guest, uint32_t idx, uint8_t tag, uint32_t fd) {
    const uint32_t at = sub_at(guest, idx);
    wasi_guest_set_u64(guest, at, fd);
    guest->memory[at + 8] = tag;
    wasi_guest_set_u32(guest, at + 16, fd);
}

static void on_clock(struct wasi_guest *guest, uint32_t idx, uint64_t timeout_ns) {
    const uint32_t at = sub_at(guest, idx), clock = at + (guest->is_unstable ? 24 : 16);
    wasi_guest_set_u64(guest, at, CLOCK);
    wasi_guest_set_u32(guest, clock, WASI_CLOCK_MONOTONIC);
    wasi_guest_set_u64(guest, clock + 8, timeout_ns);
}

static uint32_t poll_count(struct wasi_guest *guest, uint32_t subs) {
    CHECK_EQ_U64(WASI_CALL(guest, poll_oneoff, SUBS, EVENTS, subs, COUNT), 0);
    return wasi_guest_u32(guest, COUNT);
}

static void check_event(const struct wasi_guest *guest, uint32_t idx, uint64_t userdata,
                        uint16_t wasi_err) {
    const uint32_t at = EVENTS + idx * WASI_EVENT_BYTES;
    CHECK_EQ_U64(wasi_guest_u64(guest, at), userdata);
    CHECK_EQ_U64(wasi_guest_u32(guest, at + 8) & 0xffff, wasi_err);
}

static uint64_t event_bytes(const struct wasi_guest *guest, uint32_t idx) {
    return wasi_guest_u64(guest, EVENTS + idx * WASI_EVENT_BYTES + 16);
}

static uint32_t event_flags(const struct wasi_guest *guest, uint32_t idx) {
    return wasi_guest_u32(guest, EVENTS + idx * WASI_EVENT_BYTES + 24) & 0xffff;
}

/* ---- Sockets ---- */

#define LISTENER 3u

struct world {
    struct wasi_guest guest;
    int listener, peer;
    uint32_t fd; /* the guest's connection with the peer */
};

static int dial(const struct world *world) {
    struct sockaddr_in address;
    socklen_t bytes = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(getsockname(world->listener, (struct sockaddr *)&address, &bytes) == 0);
    CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&address, bytes) == 0);
    return fd;
}

static void world_open(struct world *world) {
    const struct sockaddr_in any = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct husk_wasi_listener row = {.rights = HUSK_WASI_READ | HUSK_WASI_WRITE};
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    world->listener = row.host_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(row.host_fd, (const struct sockaddr *)&any, sizeof any) == 0 &&
          listen(row.host_fd, 16) == 0);
    options.listeners = &row;
    options.listeners_count = 1;
    wasi_guest_init(&world->guest, &options);
    world->peer = dial(world);
    CHECK_EQ_U64(WASI_CALL(&world->guest, sock_accept, LISTENER, 0, COUNT), 0);
    world->fd = wasi_guest_u32(&world->guest, COUNT);
}

static void world_close(struct world *world) {
    wasi_guest_done(&world->guest);
    close(world->listener);
    close(world->peer);
}

TEST(listeners_and_connections) {
    struct world world;
    for (int is_unstable = 0; is_unstable < 2; is_unstable++) {
        world_open(&world);
        struct wasi_guest *guest = &world.guest;
        guest->is_unstable = is_unstable;
        on_fd(guest, 0, WASI_EVENT_FD_READ, LISTENER);
        on_fd(guest, 1, WASI_EVENT_FD_READ, world.fd);
        on_clock(guest, 2, 1000000);
        CHECK_EQ_U64(poll_count(guest, 3), 1);
        check_event(guest, 0, CLOCK, 0);
        CHECK(send(world.peer, "hello", 5, 0) == 5);
        on_clock(guest, 2, HOUR_NS);
        CHECK_EQ_U64(poll_count(guest, 3), 1);
        check_event(guest, 0, world.fd, 0);
        CHECK_EQ_U64(event_bytes(guest, 0), 5);
        const int second = dial(&world);
        on_fd(guest, 2, WASI_EVENT_FD_WRITE, world.fd);
        CHECK_EQ_U64(poll_count(guest, 3), 3);
        check_event(guest, 0, LISTENER, 0);
        CHECK_EQ_U64(event_bytes(guest, 0), 1);
        CHECK_EQ_U64(guest->memory[EVENTS + 2 * WASI_EVENT_BYTES + 10], WASI_EVENT_FD_WRITE);
        CHECK(event_bytes(guest, 2) > 0);
        on_fd(guest, 0, WASI_EVENT_FD_WRITE, LISTENER);
        CHECK_EQ_U64(poll_count(guest, 1), 1);
        check_event(guest, 0, LISTENER, WASI_ENOTCAPABLE);
        close(second);
        world_close(&world);
    }
}

TEST(a_peer_that_goes_away) {
    const struct linger at_once = {.l_onoff = 1};
    struct world world;
    world_open(&world);
    on_fd(&world.guest, 0, WASI_EVENT_FD_READ, world.fd);
    on_clock(&world.guest, 1, HOUR_NS);
    CHECK(shutdown(world.peer, SHUT_WR) == 0);
    CHECK_EQ_U64(poll_count(&world.guest, 2), 1); /* half of it: an end to read */
    check_event(&world.guest, 0, world.fd, 0);
    CHECK_EQ_U64(event_bytes(&world.guest, 0), 0);
    CHECK(setsockopt(world.peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    close(world.peer);
    on_fd(&world.guest, 1, WASI_EVENT_FD_WRITE, world.fd);
    CHECK_EQ_U64(poll_count(&world.guest, 2), 2);
    CHECK_EQ_U64(event_flags(&world.guest, 0), WASI_EVENT_HANGUP);
    CHECK_EQ_U64(event_flags(&world.guest, 1), WASI_EVENT_HANGUP);
    world.peer = dial(&world);
    world_close(&world);
}

static void *dial_later(void *user) {
    usleep(10000);
    const int fd = dial(user);
    usleep(10000);
    close(fd);
    return NULL;
}

TEST(a_wait_for_a_connection) {
    struct world world;
    pthread_t thread;
    world_open(&world);
    on_fd(&world.guest, 0, WASI_EVENT_FD_READ, LISTENER);
    on_clock(&world.guest, 1, HOUR_NS);
    CHECK(pthread_create(&thread, NULL, dial_later, &world) == 0);
    CHECK_EQ_U64(poll_count(&world.guest, 2), 1);
    check_event(&world.guest, 0, LISTENER, 0);
    CHECK(pthread_join(thread, NULL) == 0);
    world_close(&world);
}

/* ---- What is always ready ---- */

static uint64_t forty_two(const struct wasi_call *call, const struct wasi_fd *fd) {
    (void)call;
    (void)fd;
    return 42;
}

static const struct wasi_fd_ops memory_ops = {.readable_bytes = forty_two};

TEST(kinds_without_a_descriptor_of_the_host) {
    struct world world;
    struct wasi_fd fd = {.ops = &memory_ops};
    world_open(&world);
    struct wasi_guest *guest = &world.guest;
    wasi_fd_grant(&fd, WASI_RIGHT_FD_READ | WASI_RIGHT_FD_WRITE | WASI_RIGHT_POLL_FD_READWRITE, 0);
    const int number = wasi_fds_add(&guest->ctx.fds, &fd);
    CHECK(number > 0);
    on_fd(guest, 0, WASI_EVENT_FD_READ, world.fd);
    on_fd(guest, 1, WASI_EVENT_FD_READ, (uint32_t)number);
    on_fd(guest, 2, WASI_EVENT_FD_WRITE, (uint32_t)number);
    on_fd(guest, 3, WASI_EVENT_FD_WRITE, world.fd);
    on_clock(guest, 4, HOUR_NS);
    CHECK_EQ_U64(poll_count(guest, 5), 3); /* the others are looked at, too */
    check_event(guest, 0, (uint64_t)number, 0);
    CHECK_EQ_U64(event_bytes(guest, 0), 42);
    check_event(guest, 1, (uint64_t)number, 0);
    CHECK(event_bytes(guest, 1) > 0);
    check_event(guest, 2, world.fd, 0);
    world_close(&world);
}

TEST(files_are_always_ready) {
    char path[] = "/tmp/husk-poll-XXXXXX";
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct wasi_guest guest;
    options.stdin_fd = mkstemp(path);
    options.stdin_rights = HUSK_WASI_READ | HUSK_WASI_WRITE | HUSK_WASI_SEEK;
    CHECK(options.stdin_fd >= 0 && unlink(path) == 0);
    CHECK(write(options.stdin_fd, "0123456789", 10) == 10);
    wasi_guest_init(&guest, &options);
    on_fd(&guest, 0, WASI_EVENT_FD_READ, 0);
    on_fd(&guest, 1, WASI_EVENT_FD_WRITE, 0);
    on_clock(&guest, 2, HOUR_NS);
    CHECK_EQ_U64(poll_count(&guest, 3), 2); /* at its end, too */
    CHECK_EQ_U64(event_bytes(&guest, 0), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 0, 3, 0, COUNT), 0);
    CHECK_EQ_U64(poll_count(&guest, 3), 2);
    CHECK_EQ_U64(event_bytes(&guest, 0), 7);
    wasi_guest_done(&guest);
    close(options.stdin_fd);
}

/* ---- Closed ones, and many ---- */

TEST(closed_descriptors) {
    struct world world;
    world_open(&world);
    CHECK_EQ_U64(WASI_CALL(&world.guest, fd_close, world.fd), 0);
    CHECK_EQ_U64(WASI_CALL(&world.guest, fd_close, world.fd), WASI_EBADF);
    on_fd(&world.guest, 0, WASI_EVENT_FD_READ, world.fd);
    on_fd(&world.guest, 1, WASI_EVENT_FD_WRITE, world.fd);
    on_fd(&world.guest, 2, WASI_EVENT_FD_READ, UINT32_MAX);
    on_fd(&world.guest, 3, WASI_EVENT_FD_READ, LISTENER);
    on_clock(&world.guest, 4, HOUR_NS);
    CHECK_EQ_U64(poll_count(&world.guest, 5), 3);
    for (uint32_t i = 0; i < 3; i++)
        check_event(&world.guest, i, i < 2 ? world.fd : UINT32_MAX, WASI_EBADF);
    /* The embedder closed it. */
    const int listener = world.listener;
    world.listener = dup(listener);
    close(listener);
    CHECK_EQ_U64(poll_count(&world.guest, 4), 4);
    check_event(&world.guest, 3, LISTENER, WASI_EBADF);
    world_close(&world);
}

TEST(hundreds_of_subscriptions) {
    struct world world;
    for (int is_unstable = 0; is_unstable < 2; is_unstable++) {
        world_open(&world);
        struct wasi_guest *guest = &world.guest;
        guest->is_unstable = is_unstable;
        for (uint32_t i = 0; i < WASI_POLL_MAX; i++)
            on_fd(guest, i, WASI_EVENT_FD_READ, i % 2 == 0 ? LISTENER : world.fd);
        on_clock(guest, WASI_POLL_MAX - 1, 1000000);
        CHECK_EQ_U64(poll_count(guest, WASI_POLL_MAX), 1);
        CHECK(send(world.peer, "x", 1, 0) == 1);
        on_clock(guest, WASI_POLL_MAX - 1, HOUR_NS);
        CHECK_EQ_U64(poll_count(guest, WASI_POLL_MAX), WASI_POLL_MAX / 2 - 1);
        for (uint32_t i = 0; i < WASI_POLL_MAX / 2 - 1; i++)
            check_event(guest, i, world.fd, 0);
        world_close(&world);
    }
}

TEST(a_wait_is_cut_off) {
    struct world world;
    world_open(&world);
    on_fd(&world.guest, 0, WASI_EVENT_FD_READ, LISTENER);
    on_fd(&world.guest, 1, WASI_EVENT_FD_READ, world.fd);
    world.guest.cut_after_ms = 10;
    CHECK_EQ_U64(WASI_CALL(&world.guest, poll_oneoff, SUBS, EVENTS, 2, COUNT), WASI_EINTR);
    world_close(&world);
}

TEST_MAIN()
