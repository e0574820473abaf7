/*
 * tests/unit/wasi_sock_test.c: sockets: listeners that the embedder gives, connections that the
 * guest accepts, peers that misbehave, and what snapshots hold of them.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "harness.h"
#include "wasi_abi.h"
#include "wasi_guest.h"
#include "wasi_state.h"

/* ---- The guest, and both ends ---- */

#define VEC 8u       /* one vector */
#define RESULT 0u    /* a count, or a number */
#define FLAGS 4u     /* of sock_recv */
#define TEXT 0x1000u /* what is sent and received */

static int listen_anywhere(int flags) {
    const struct sockaddr_in any = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof any) == 0 &&
          listen(fd, 16) == 0);
    return fd;
}

static int dial(int listener) {
    struct sockaddr_in address;
    socklen_t bytes = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &bytes) == 0);
    CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&address, bytes) == 0);
    return fd;
}

static void guest_listening(struct wasi_guest *guest, int listener, uint32_t rights) {
    const struct husk_wasi_listener rows[] = {{.host_fd = listener, .rights = rights}};
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    options.listeners = rows;
    options.listeners_count = 1;
    wasi_guest_init(guest, &options);
}

static uint32_t accept_one(struct wasi_guest *guest, uint32_t flags) {
    CHECK_EQ_U64(WASI_CALL(guest, sock_accept, 3, flags, RESULT), 0);
    return wasi_guest_u32(guest, RESULT);
}

static uint16_t receive(struct wasi_guest *guest, uint32_t fd, uint32_t bytes, uint32_t flags) {
    wasi_guest_iovec(guest, VEC, TEXT, bytes);
    return WASI_CALL(guest, sock_recv, fd, VEC, 1, flags, RESULT, FLAGS);
}

static uint16_t transmit(struct wasi_guest *guest, uint32_t fd, uint32_t bytes) {
    wasi_guest_iovec(guest, VEC, TEXT, bytes);
    return WASI_CALL(guest, sock_send, fd, VEC, 1, 0, RESULT);
}

/* A guest with one connection; a peer that is not the guest's. */
struct pair {
    struct wasi_guest guest;
    int listener, peer;
    uint32_t fd;
};

static void pair_open(struct pair *pair, uint32_t flags) {
    pair->listener = listen_anywhere(0);
    guest_listening(&pair->guest, pair->listener, HUSK_WASI_READ | HUSK_WASI_WRITE);
    pair->peer = dial(pair->listener);
    pair->fd = accept_one(&pair->guest, flags);
}

static void pair_close(struct pair *pair) {
    wasi_guest_done(&pair->guest);
    close(pair->listener);
    if (pair->peer >= 0)
        close(pair->peer);
}

/* Closed with a reset, not with an end. */
static void reset_peer(struct pair *pair) {
    const struct linger at_once = {.l_onoff = 1};
    CHECK(setsockopt(pair->peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    close(pair->peer);
    pair->peer = -1;
}

static void wait_for(int fd, short events) {
    struct pollfd pollfd = {.fd = fd, .events = events};
    CHECK_EQ_I64(poll(&pollfd, 1, 10000), 1);
}

static int host_fd_of(const struct pair *pair) {
    return wasi_fds_at(&pair->guest.ctx.fds, pair->fd)->host_fd;
}

/* ---- What sockets do ---- */

TEST(a_connection_is_accepted_read_and_written) {
    struct pair pair;
    char text[32];
    pair_open(&pair, 0);
    CHECK_EQ_U64(pair.fd, 0); /* the lowest free number */
    CHECK(send(pair.peer, "hello world", 11, 0) == 11);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 5, WASI_RIFLAG_PEEK), 0);
    CHECK_EQ_U64(wasi_guest_u32(&pair.guest, RESULT), 5);
    memset(pair.guest.memory + FLAGS, 0xff, 2);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 6, 0), 0);
    CHECK_MEM(pair.guest.memory + TEXT, "hello ", 6);
    CHECK_EQ_U64(wasi_guest_u32(&pair.guest, FLAGS) & 0xffff, 0);
    wasi_guest_iovec(&pair.guest, VEC, TEXT, 100);
    CHECK_EQ_U64(WASI_CALL(&pair.guest, fd_read, pair.fd, VEC, 1, RESULT), 0);
    CHECK_MEM(pair.guest.memory + TEXT, "world", 5);
    CHECK_EQ_U64(transmit(&pair.guest, pair.fd, 3), 0);
    CHECK_EQ_U64(wasi_guest_u32(&pair.guest, RESULT), 3);
    wasi_guest_iovec(&pair.guest, VEC, TEXT + 3, 2);
    CHECK_EQ_U64(WASI_CALL(&pair.guest, fd_write, pair.fd, VEC, 1, RESULT), 0);
    CHECK(recv(pair.peer, text, 5, MSG_WAITALL) == 5);
    CHECK_MEM(text, "world", 5);
    CHECK_EQ_U64(WASI_CALL(&pair.guest, fd_close, pair.fd), 0);
    CHECK(recv(pair.peer, text, 1, 0) == 0);
    CHECK_EQ_U64(WASI_CALL(&pair.guest, fd_close, pair.fd), WASI_EBADF);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 5, 0), WASI_EBADF);
    pair_close(&pair);
}

TEST(both_directions_are_shut_down) {
    struct pair pair;
    char text[8];
    pair_open(&pair, 0);
    CHECK_EQ_U64(WASI_CALL(&pair.guest, sock_shutdown, pair.fd, 0), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&pair.guest, sock_shutdown, pair.fd, 4), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(&pair.guest, sock_shutdown, pair.fd, WASI_SDFLAG_WR), 0);
    CHECK(recv(pair.peer, text, 1, 0) == 0);
    CHECK_EQ_U64(transmit(&pair.guest, pair.fd, 3), WASI_EPIPE); /* and no signal */
    CHECK(send(pair.peer, "abc", 3, 0) == 3);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 3, WASI_RIFLAG_WAITALL), 0);
    CHECK_EQ_U64(WASI_CALL(&pair.guest, sock_shutdown, pair.fd, WASI_SDFLAG_RD), 0);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 3, 0), 0);
    CHECK_EQ_U64(wasi_guest_u32(&pair.guest, RESULT), 0);
    pair_close(&pair);
}

TEST(arguments_are_checked) {
    struct pair pair;
    pair_open(&pair, 0);
    struct wasi_guest *guest = &pair.guest;
    CHECK_EQ_U64(WASI_CALL(guest, sock_accept, 9, 0, RESULT), WASI_EBADF);
    CHECK_EQ_U64(WASI_CALL(guest, sock_accept, 3, WASI_FDFLAG_APPEND, RESULT), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(guest, sock_accept, pair.fd, 0, RESULT), WASI_EINVAL);
    CHECK_EQ_U64(receive(guest, 3, 5, 0), WASI_ENOTCONN);
    CHECK_EQ_U64(transmit(guest, 3, 5), WASI_ENOTCONN);
    CHECK_EQ_U64(WASI_CALL(guest, sock_shutdown, 3, WASI_SDFLAG_RD), WASI_ENOTCONN);
    wasi_guest_iovec(guest, VEC, TEXT, 5);
    CHECK_EQ_U64(WASI_CALL(guest, fd_read, 3, VEC, 1, RESULT), WASI_ENOTCONN);
    CHECK_EQ_U64(WASI_CALL(guest, fd_write, 3, VEC, 1, RESULT), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_seek, 3, 0, 0, RESULT), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_seek, pair.fd, 0, 0, RESULT), WASI_ESPIPE);
    CHECK_EQ_U64(WASI_CALL(guest, fd_prestat_get, 3, 64), WASI_EBADF);
    CHECK_EQ_U64(receive(guest, pair.fd, 5, 4), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(guest, sock_send, pair.fd, VEC, 1, 1, RESULT), WASI_EINVAL);
    CHECK_EQ_U64(WASI_CALL(guest, sock_send, pair.fd, GUEST_BYTES - 4, 1, 0, RESULT), WASI_EFAULT);
    CHECK_EQ_U64(WASI_CALL(guest, sock_send, pair.fd, VEC, 1, 0, GUEST_BYTES - 3), WASI_EFAULT);
    CHECK_EQ_U64(WASI_CALL(guest, sock_recv, pair.fd, VEC, 1, 0, RESULT, GUEST_BYTES - 1),
                 WASI_EFAULT);
    /* A wrong address takes no connection. */
    const int second = dial(pair.listener);
    CHECK_EQ_U64(WASI_CALL(guest, sock_accept, 3, 0, GUEST_BYTES - 3), WASI_EFAULT);
    CHECK_EQ_U64(accept_one(guest, WASI_FDFLAG_NONBLOCK), 1);
    close(second);
    pair_close(&pair);
}

TEST(descriptors_tell_what_they_are) {
    struct pair pair;
    pair_open(&pair, WASI_FDFLAG_NONBLOCK);
    struct wasi_guest *guest = &pair.guest;
    for (unsigned i = 0; i < 2; i++) {
        const uint32_t fd = i == 0 ? 3 : pair.fd;
        CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_get, fd, 64), 0);
        CHECK_EQ_U64(guest->memory[64], WASI_FILETYPE_SOCKET_STREAM);
        CHECK_EQ_U64(wasi_guest_u32(guest, 64) >> 16, i == 0 ? 0 : WASI_FDFLAG_NONBLOCK);
        CHECK_EQ_U64(wasi_guest_u64(guest, 72) >> 28, i == 0 ? 2 : 1); /* accept or shut down */
        CHECK_EQ_U64(WASI_CALL(guest, fd_filestat_get, fd, 64), 0);
        CHECK_EQ_U64(guest->memory[80], WASI_FILETYPE_SOCKET_STREAM);
        CHECK_EQ_U64(wasi_guest_u64(guest, 72), 0); /* no number of the host's */
    }
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_set_flags, pair.fd, 0), 0);
    CHECK_EQ_U64(WASI_CALL(guest, fd_fdstat_set_flags, pair.fd, WASI_FDFLAG_APPEND), WASI_ENOTSUP);
    CHECK_EQ_U64(WASI_CALL(guest, fd_renumber, pair.fd, 3), 0);
    CHECK_EQ_U64(transmit(guest, 3, 3), 0);
    pair_close(&pair);
}

/* The embedder's limits hold for all connections, and the guest's own for later ones. */
TEST(rights_are_those_of_the_listener) {
    const uint64_t accept = WASI_RIGHT_SOCK_ACCEPT, read = WASI_RIGHT_FD_READ;
    struct wasi_guest guest;
    const int listener = listen_anywhere(0);
    guest_listening(&guest, listener, HUSK_WASI_READ);
    const int peers[] = {dial(listener), dial(listener)};
    uint32_t fd = accept_one(&guest, 0);
    CHECK_EQ_U64(transmit(&guest, fd, 3), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_rights, 3, accept, read), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_rights, 3, accept, read | WASI_RIGHT_FD_WRITE),
                 WASI_ENOTCAPABLE);
    fd = accept_one(&guest, 0);
    CHECK_EQ_U64(WASI_CALL(&guest, sock_shutdown, fd, WASI_SDFLAG_RD), WASI_ENOTCAPABLE);
    CHECK(send(peers[1], "abc", 3, 0) == 3);
    CHECK_EQ_U64(receive(&guest, fd, 3, 0), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_rights, 3, 0, 0), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, sock_accept, 3, 0, RESULT), WASI_ENOTCAPABLE);
    wasi_guest_done(&guest);
    close(peers[0]);
    close(peers[1]);
    close(listener);
}

/* The connection stays in the listener's queue. */
TEST(too_many_connections) {
    const int listener = listen_anywhere(0);
    const struct husk_wasi_listener row = {.host_fd = listener, .rights = HUSK_WASI_READ};
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    options.listeners = &row;
    options.listeners_count = 1;
    options.open_max = 5;
    struct wasi_guest guest;
    wasi_guest_init(&guest, &options);
    int peers[5];
    for (unsigned i = 0; i < 5; i++)
        peers[i] = dial(listener);
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQ_U64(accept_one(&guest, 0), i < 3 ? i : 4);
    CHECK_EQ_U64(WASI_CALL(&guest, sock_accept, 3, 0, RESULT), WASI_EMFILE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_close, 2), 0);
    CHECK_EQ_U64(accept_one(&guest, WASI_FDFLAG_NONBLOCK), 2);
    wasi_guest_done(&guest);
    for (unsigned i = 0; i < 5; i++)
        close(peers[i]);
    close(listener);
}

/* ---- Waiting ---- */

TEST(waits_end) {
    for (int flags = 0; flags <= SOCK_NONBLOCK; flags += SOCK_NONBLOCK) {
        struct wasi_guest guest;
        const int listener = listen_anywhere(flags);
        guest_listening(&guest, listener, HUSK_WASI_READ | HUSK_WASI_WRITE);
        guest.cut_after_ms = 10;
        CHECK_EQ_U64(WASI_CALL(&guest, sock_accept, 3, 0, RESULT), WASI_EINTR);
        guest.is_cut = false;
        guest.cut_after_ms = -1;
        CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_flags, 3, WASI_FDFLAG_NONBLOCK), 0);
        CHECK_EQ_U64(WASI_CALL(&guest, sock_accept, 3, 0, RESULT), WASI_EAGAIN);
        const int peer = dial(listener);
        const uint32_t fd = accept_one(&guest, 0); /* patient, whatever its listener is */
        guest.cut_after_ms = 10;
        CHECK_EQ_U64(receive(&guest, fd, 3, WASI_RIFLAG_PEEK), WASI_EINTR);
        guest.is_cut = false;
        CHECK(send(peer, "ab", 2, 0) == 2);
        CHECK_EQ_U64(receive(&guest, fd, 3, WASI_RIFLAG_WAITALL), 0); /* cut with a part of it */
        CHECK(guest.is_cut);
        CHECK_EQ_U64(wasi_guest_u32(&guest, RESULT), 2);
        wasi_guest_done(&guest);
        close(peer);
        close(listener);
    }
}

static void *send_later(void *user) {
    const int fd = *(const int *)user;
    for (unsigned i = 0; i < 3; i++) {
        usleep(5000);
        CHECK(send(fd, "abc", 3, 0) == 3);
    }
    return NULL;
}

TEST(all_is_waited_for) {
    struct pair pair;
    pthread_t thread;
    pair_open(&pair, 0);
    CHECK(pthread_create(&thread, NULL, send_later, &pair.peer) == 0);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 8, WASI_RIFLAG_WAITALL), 0);
    CHECK_EQ_U64(wasi_guest_u32(&pair.guest, RESULT), 8);
    CHECK_MEM(pair.guest.memory + TEXT, "abcabcab", 8);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 100, WASI_RIFLAG_PEEK | WASI_RIFLAG_WAITALL), 0);
    CHECK_EQ_U64(wasi_guest_u32(&pair.guest, RESULT), 1); /* PEEK takes what there is */
    CHECK(shutdown(pair.peer, SHUT_WR) == 0);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 8, WASI_RIFLAG_WAITALL), 0); /* the end is the end */
    CHECK_EQ_U64(wasi_guest_u32(&pair.guest, RESULT), 1);
    pair_close(&pair);
}

TEST(an_impatient_connection) {
    struct pair pair;
    pair_open(&pair, WASI_FDFLAG_NONBLOCK);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 3, 0), WASI_EAGAIN);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 3, WASI_RIFLAG_PEEK), WASI_EAGAIN);
    CHECK(send(pair.peer, "ab", 2, 0) == 2);
    wait_for(host_fd_of(&pair), POLLIN);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 3, WASI_RIFLAG_WAITALL), 0);
    CHECK_EQ_U64(wasi_guest_u32(&pair.guest, RESULT), 2);
    pair_close(&pair);
}

/* ---- Hostile peers ---- */

TEST(a_peer_resets) {
    struct pair pair;
    pair_open(&pair, 0);
    reset_peer(&pair);
    wait_for(host_fd_of(&pair), POLLIN);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 3, WASI_RIFLAG_WAITALL), WASI_ECONNRESET);
    CHECK_EQ_U64(transmit(&pair.guest, pair.fd, 3), WASI_EPIPE);
    CHECK_EQ_U64(WASI_CALL(&pair.guest, sock_shutdown, pair.fd, WASI_SDFLAG_WR), WASI_ENOTCONN);
    CHECK_EQ_U64(WASI_CALL(&pair.guest, fd_close, pair.fd), 0);
    /* One that is gone before it is accepted. */
    pair.peer = dial(pair.listener);
    reset_peer(&pair);
    pair.fd = accept_one(&pair.guest, 0);
    CHECK_EQ_U64(receive(&pair.guest, pair.fd, 3, 0), WASI_ECONNRESET);
    pair_close(&pair);
}

TEST(a_peer_never_reads) {
    struct pair pair;
    uint16_t wasi_err = 0;
    unsigned writes = 0;
    pair_open(&pair, WASI_FDFLAG_NONBLOCK);
    while ((wasi_err = transmit(&pair.guest, pair.fd, 0x10000)) == 0 && writes < 100000)
        writes++;
    CHECK_EQ_U64(wasi_err, WASI_EAGAIN);
    CHECK_EQ_U64(WASI_CALL(&pair.guest, fd_fdstat_set_flags, pair.fd, 0), 0);
    pair.guest.cut_after_ms = 20;
    while ((wasi_err = transmit(&pair.guest, pair.fd, 0x10000)) == 0 && writes < 100000)
        writes++;
    CHECK_EQ_U64(wasi_err, WASI_EINTR);
    pair_close(&pair);
}

/* The peer's flood is taken in the guest's portions, and the end after it is seen. */
TEST(a_peer_floods_and_closes_its_half) {
    struct pair pair;
    static char flood[1 << 16];
    uint64_t total = 0;
    ssize_t sent, all = 0;
    pair_open(&pair, 0);
    while ((sent = send(pair.peer, flood, sizeof flood, MSG_DONTWAIT)) > 0)
        all += sent;
    CHECK(shutdown(pair.peer, SHUT_WR) == 0);
    do {
        CHECK_EQ_U64(receive(&pair.guest, pair.fd, 0xffff, 0), 0);
        total += wasi_guest_u32(&pair.guest, RESULT);
    } while (wasi_guest_u32(&pair.guest, RESULT) > 0);
    CHECK_EQ_U64(total, (uint64_t)all);
    CHECK_EQ_U64(transmit(&pair.guest, pair.fd, 100), 0); /* the other half is open */
    CHECK(recv(pair.peer, flood, 100, MSG_WAITALL) == 100);
    pair_close(&pair);
}

/* A connection that lingers would hold the thread that closes it. */
TEST(an_embedder_whose_sockets_linger) {
    const struct linger linger = {.l_onoff = 1, .l_linger = 60};
    struct linger got;
    socklen_t bytes = sizeof got;
    struct pair pair;
    pair.listener = listen_anywhere(0);
    CHECK(setsockopt(pair.listener, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
    guest_listening(&pair.guest, pair.listener, HUSK_WASI_READ);
    pair.peer = dial(pair.listener);
    pair.fd = accept_one(&pair.guest, 0);
    CHECK(getsockopt(host_fd_of(&pair), SOL_SOCKET, SO_LINGER, &got, &bytes) == 0);
    CHECK_EQ_I64(got.l_onoff, 0);
    CHECK((fcntl(host_fd_of(&pair), F_GETFD) & FD_CLOEXEC) != 0);
    pair_close(&pair);
}

/* ---- Snapshots ---- */

static int load_checked(struct wasi_guest *guest, const struct buf *saved, struct husk_error *err) {
    const int status = wasi_state_check(&guest->ctx, saved->data, saved->count, err);
    if (status == 0)
        wasi_state_load(&guest->ctx, saved->data, saved->count);
    return status;
}

TEST(a_connection_blocks_snapshots) {
    struct pair pair;
    struct buf saved = {0};
    struct husk_error err;
    char text[8];
    pair_open(&pair, 0);
    CHECK_STATUS(wasi_state_save(&pair.guest.ctx, &saved, &err), HUSK_E_STATE);
    CHECK_CONTAINS(err.message, "connection");
    CHECK_CONTAINS(err.message, "descriptor 0");
    CHECK_EQ_U64(WASI_CALL(&pair.guest, fd_close, pair.fd), 0);
    buf_done(&saved);
    CHECK_OK(wasi_state_save(&pair.guest.ctx, &saved, &err), err);
    close(pair.peer);
    pair.peer = dial(pair.listener);
    (void)accept_one(&pair.guest, 0);
    CHECK_OK(load_checked(&pair.guest, &saved, &err), err); /* closes it */
    CHECK(recv(pair.peer, text, 1, 0) == 0);
    buf_done(&saved);
    pair_close(&pair);
}

/* The bytes of a file can say anything. */
TEST(hostile_rows) {
    static const struct {
        uint32_t at;
        uint8_t value;
    } wrongs[] = {{6, WASI_FDFLAG_APPEND}, {12, 8}, {7, 0xff}}; /* in the last row */
    struct wasi_guest guest;
    struct buf saved = {0};
    struct husk_error err;
    const int listener = listen_anywhere(0);
    guest_listening(&guest, listener, HUSK_WASI_READ);
    CHECK_OK(wasi_state_save(&guest.ctx, &saved, &err), err);
    uint8_t *row = saved.data + saved.count - sizeof(struct wasi_saved_fd);
    for (unsigned i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        const uint8_t before = row[wrongs[i].at];
        row[wrongs[i].at] = wrongs[i].value;
        CHECK_STATUS(load_checked(&guest, &saved, &err), HUSK_E_BAD_IMAGE);
        row[wrongs[i].at] = before;
    }
    memset(row + offsetof(struct wasi_saved_fd, idx), 0xff,
           4); /* an index beyond the table: closed */
    CHECK_OK(load_checked(&guest, &saved, &err), err);
    CHECK(wasi_fds_at(&guest.ctx.fds, 3) == NULL);
    buf_done(&saved);
    wasi_guest_done(&guest);
    close(listener);
}

TEST(a_listener_comes_back) {
    struct wasi_guest first, second, without;
    struct buf saved = {0};
    struct husk_error err;
    const int listeners[] = {listen_anywhere(0), listen_anywhere(0)};
    guest_listening(&first, listeners[0], HUSK_WASI_READ | HUSK_WASI_WRITE);
    guest_listening(&second, listeners[1], HUSK_WASI_READ);
    wasi_guest_init(&without, NULL);
    CHECK_EQ_U64(WASI_CALL(&first, fd_fdstat_set_flags, 3, WASI_FDFLAG_NONBLOCK), 0);
    CHECK_EQ_U64(WASI_CALL(&first, fd_fdstat_set_rights, 3, WASI_RIGHT_SOCK_ACCEPT,
                           WASI_RIGHT_FD_READ | WASI_RIGHT_FD_WRITE),
                 0);
    CHECK_OK(wasi_state_save(&first.ctx, &saved, &err), err);
    CHECK_OK(load_checked(&second, &saved, &err), err);
    const struct wasi_fd *fd = wasi_fds_at(&second.ctx.fds, 3);
    CHECK(fd != NULL);
    CHECK_EQ_I64(fd->host_fd, listeners[1]);
    CHECK_EQ_U64(fd->flags, WASI_FDFLAG_NONBLOCK);
    CHECK_EQ_U64(fd->rights, WASI_RIGHT_SOCK_ACCEPT);
    CHECK_EQ_U64(fd->inheriting, WASI_RIGHT_FD_READ);
    CHECK_OK(load_checked(&without, &saved, &err), err);
    CHECK(wasi_fds_at(&without.ctx.fds, 3) == NULL);
    buf_done(&saved);
    /* A listener that only the later set has is given, as to a new sandbox. */
    wasi_ctx_reset(&without.ctx);
    CHECK_OK(wasi_state_save(&without.ctx, &saved, &err), err);
    CHECK_OK(load_checked(&first, &saved, &err), err);
    fd = wasi_fds_at(&first.ctx.fds, 3);
    CHECK(fd != NULL);
    CHECK_EQ_I64(fd->host_fd, listeners[0]);
    buf_done(&saved);
    wasi_guest_done(&first);
    wasi_guest_done(&second);
    wasi_guest_done(&without);
    close(listeners[0]);
    close(listeners[1]);
}

/* ---- Options ---- */

static void refused(const struct husk_wasi_listener *rows, size_t count, int status,
                    const char *text) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct wasi_config *config = NULL;
    struct husk_error err;
    options.listeners = rows;
    options.listeners_count = count;
    CHECK_STATUS(wasi_config_new(&options, &config, &err), status);
    CHECK_CONTAINS(err.message, text);
}

TEST(wrong_listeners_are_refused) {
    const int listener = listen_anywhere(0), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    const int not_yet = socket(AF_INET, SOCK_STREAM, 0), null = open("/dev/null", O_RDWR);
    struct husk_wasi_listener rows[WASI_LISTENERS_MAX + 1];
    for (unsigned i = 0; i <= WASI_LISTENERS_MAX; i++)
        rows[i] = (struct husk_wasi_listener){.host_fd = listener, .rights = HUSK_WASI_READ};
    refused(rows, WASI_LISTENERS_MAX + 1, HUSK_E_LIMIT, "65 listeners");
    refused(NULL, 1, HUSK_E_INVAL, "listeners is NULL");
    rows[1].rights = 0;
    refused(rows, 2, HUSK_E_INVAL, "listener 1: rights");
    rows[1].rights = HUSK_WASI_READ | HUSK_WASI_SEEK;
    refused(rows, 2, HUSK_E_INVAL, "listener 1: rights");
    rows[1].rights = HUSK_WASI_READ;
    const int wrong[] = {datagrams, not_yet, null, -1};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        rows[1].host_fd = wrong[i];
        refused(rows, 2, HUSK_E_INVAL, "listen()");
    }
    close(listener);
    close(datagrams);
    close(not_yet);
    close(null);
}

TEST_MAIN()
