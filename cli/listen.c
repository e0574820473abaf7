/*
 * cli/listen.c: --listen of husk run: sockets on which the program accepts connections. They listen
 * before the program starts, and end with husk.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "run.h"

#define BACKLOG 128 /* as Linux's default SOMAXCONN before 5.4; the kernel lowers it if it must */
#define UNIX_PREFIX "unix:"

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static bool parse_port(const char *text, in_port_t *ret_port) {
    uint64_t port = 0;
    if (!parse_number(text, UINT16_MAX, &port))
        return false;
    *ret_port = htons((uint16_t)port);
    return true;
}

/* 127.0.0.1:80, [::1]:80. Numbers only, so that a program listens where its user says. */
static bool parse_internet(const char *text, union address *ret_address, socklen_t *ret_bytes) {
    char host[INET6_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    const bool is_v6 = text[0] == '[';
    if (colon == NULL || (is_v6 && (colon == text || colon[-1] != ']')))
        return false;
    const size_t host_bytes = (size_t)(colon - text) - (is_v6 ? 2 : 0);
    if (host_bytes >= sizeof host)
        return false;
    memcpy(host, text + is_v6, host_bytes);
    host[host_bytes] = '\0';
    memset(ret_address, 0, sizeof *ret_address);
    ret_address->any.sa_family = is_v6 ? AF_INET6 : AF_INET;
    *ret_bytes = is_v6 ? sizeof ret_address->v6 : sizeof ret_address->v4;
    if (is_v6)
        return parse_port(colon + 1, &ret_address->v6.sin6_port) &&
               inet_pton(AF_INET6, host, &ret_address->v6.sin6_addr) == 1;
    return parse_port(colon + 1, &ret_address->v4.sin_port) &&
           inet_pton(AF_INET, host, &ret_address->v4.sin_addr) == 1;
}

static bool parse_address(const char *text, union address *ret_address, socklen_t *ret_bytes) {
    const size_t prefix_bytes = sizeof UNIX_PREFIX - 1;
    if (strncmp(text, UNIX_PREFIX, prefix_bytes) != 0)
        return parse_internet(text, ret_address, ret_bytes);
    const char *path = text + prefix_bytes;
    memset(ret_address, 0, sizeof *ret_address);
    if (path[0] == '\0' || strlen(path) >= sizeof ret_address->local.sun_path)
        return false;
    ret_address->local.sun_family = AF_UNIX;
    strcpy(ret_address->local.sun_path, path);
    *ret_bytes = sizeof ret_address->local;
    return true;
}

int take_listen_option(struct run *run, const char *option, const char *text) {
    struct listeners *listeners = &run->listeners;
    union address address;
    socklen_t bytes;
    if (!parse_address(text, &address, &bytes))
        return report_usage(&run->report,
                            "%s wants ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080, or "
                            "unix:PATH, not '%s'",
                            option, text);
    const size_t count = listeners->count + 1;
    const char **texts = realloc(listeners->texts, count * sizeof *texts);
    if (texts != NULL)
        listeners->texts = texts;
    struct husk_wasi_listener *rows = realloc(listeners->rows, count * sizeof *rows);
    if (rows != NULL)
        listeners->rows = rows;
    if (texts == NULL || rows == NULL)
        return report_usage(&run->report, "out of memory");
    texts[count - 1] = text;
    rows[count - 1] =
        (struct husk_wasi_listener){.host_fd = -1, .rights = HUSK_WASI_READ | HUSK_WASI_WRITE};
    listeners->count = count;
    return CLI_OK;
}

/* For port 0 the kernel chose one, which nobody knows yet. */
static void say_port(const struct report *report, int fd) {
    union address address;
    socklen_t bytes = sizeof address;
    char host[INET6_ADDRSTRLEN];
    if (getsockname(fd, &address.any, &bytes) != 0)
        return;
    if (address.any.sa_family == AF_INET6 &&
        inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof host) != NULL)
        fprintf(stderr, "husk %s: listening on [%s]:%u\n", report->command, host,
                ntohs(address.v6.sin6_port));
    else if (address.any.sa_family == AF_INET &&
             inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof host) != NULL)
        fprintf(stderr, "husk %s: listening on %s:%u\n", report->command, host,
                ntohs(address.v4.sin_port));
}

/* Not blocking: then a program that does not want to wait never does. Returns the descriptor, or -1
 * with errno. */
static int listen_at(const struct report *report, const union address *address, socklen_t bytes) {
    const int on = 1;
    const bool is_local = address->any.sa_family == AF_UNIX;
    const int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if ((!is_local && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) ||
        bind(fd, &address->any, bytes) != 0 || listen(fd, BACKLOG) != 0) {
        const int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    if ((address->any.sa_family == AF_INET && address->v4.sin_port == 0) ||
        (address->any.sa_family == AF_INET6 && address->v6.sin6_port == 0))
        say_port(report, fd);
    return fd;
}

int listeners_open(struct run *run, struct husk_error *err) {
    struct listeners *listeners = &run->listeners;
    for (size_t i = 0; i < listeners->count; i++) {
        union address address;
        socklen_t bytes;
        if (!parse_address(listeners->texts[i], &address, &bytes)) /* it was checked */
            continue;
        listeners->rows[i].host_fd = listen_at(&run->report, &address, bytes);
        if (listeners->rows[i].host_fd < 0)
            return cli_error(err, HUSK_E_SYS, "--listen %s: %s", listeners->texts[i],
                             strerror(errno));
    }
    return 0;
}

/* A socket's name in a folder would outlive it, and be in the way of the next one. */
void listeners_done(struct run *run) {
    struct listeners *listeners = &run->listeners;
    for (size_t i = 0; i < listeners->count; i++) {
        if (listeners->rows[i].host_fd < 0)
            continue;
        close(listeners->rows[i].host_fd);
        if (strncmp(listeners->texts[i], UNIX_PREFIX, sizeof UNIX_PREFIX - 1) == 0)
            (void)unlink(listeners->texts[i] + sizeof UNIX_PREFIX - 1);
    }
    free(listeners->texts);
    free(listeners->rows);
    *listeners = (struct listeners){0};
}
