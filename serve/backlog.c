/*
 * serve/backlog.c: those who have connected and were not accepted yet when the server is told to
 * end. They have been told that they are served.
 */
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>

#include <microhttpd.h>

#include "serve.h"

#define QUIESCED_NS 10000000
/* One that is not counted by then was given up, for want of memory. */
#define TAKEN_MAX_NS 1000000000
#define TAKEN_POLL_NS 50000

/* The filter sees what begins with TCP's header (RFC 9293, 3.1): byte 13 has the flags. */
void backlog_close(int fd) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    struct sockaddr_storage own;
    socklen_t bytes = sizeof own;
    if (getsockname(fd, (struct sockaddr *)&own, &bytes) == 0 &&
        (own.ss_family == AF_INET || own.ss_family == AF_INET6))
        (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static bool has_room(struct MHD_Daemon *daemon, unsigned most) {
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info != NULL && info->num_connections < most;
}

static void pause_shortly(long ns) {
    const struct timespec pause = {.tv_nsec = ns};
    nanosleep(&pause, NULL);
}

void backlog_settle(void) {
    pause_shortly(QUIESCED_NS);
}

static bool is_counted(const struct server *server, unsigned long long before) {
    const uint64_t until_ns = now_ns() + TAKEN_MAX_NS;
    while (atomic_load(&server->connections_total) == before) {
        if (now_ns() > until_ns)
            return false;
        pause_shortly(TAKEN_POLL_NS);
    }
    return true;
}

/* libmicrohttpd 0.9.75, Debian 12's, must not be given one connection too many: it would keep a
 * lock for ever, and never end. It counts one only when its own thread takes it, so they go one by
 * one. */
void backlog_accept(const struct server *server, struct MHD_Daemon *daemon, int fd, unsigned most) {
    struct sockaddr_storage address;
    while (has_room(daemon, most)) {
        const unsigned long long before = atomic_load(&server->connections_total);
        socklen_t bytes = sizeof address;
        const int client =
            accept4(fd, (struct sockaddr *)&address, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0 ||
            MHD_add_connection(daemon, client, (struct sockaddr *)&address, bytes) != MHD_YES ||
            !is_counted(server, before))
            return;
    }
}
