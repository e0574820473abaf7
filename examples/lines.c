/*
 * examples/lines.c: see lines.h.
 */
#include "lines.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SEND_SECONDS_MAX 10

/* ---- The end ---- */

static atomic_bool stop_is_wanted;
static int stop_pipe[2]; /* has a byte in it from then on */

void stop_serving(void) {
    int saved = errno;
    atomic_store(&stop_is_wanted, true);
    ssize_t rc = write(stop_pipe[1], "", 1);
    (void)rc;
    errno = saved;
}

static void on_signal(int signal) {
    (void)signal;
    stop_serving();
}

bool stop_init(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    signal(SIGPIPE, SIG_IGN); /* whoever reads the answers may have gone: writing says so */
    return pipe(stop_pipe) == 0 && sigaction(SIGINT, &action, NULL) == 0 &&
           sigaction(SIGTERM, &action, NULL) == 0;
}

bool is_stopping(void) {
    return atomic_load(&stop_is_wanted);
}

int stop_fd(void) {
    return stop_pipe[0];
}

/* ---- Lines ---- */

bool lines_init(struct lines *lines, int fd) {
    *lines = (struct lines){.fd = fd, .timeout_ms = -1, .bytes = malloc(LINE_BYTES_MAX)};
    return lines->bytes != NULL;
}

void lines_done(struct lines *lines) {
    free(lines->bytes);
    lines->bytes = NULL;
}

/* Reads some more behind `end`; there is room. */
static void lines_fill(struct lines *lines) {
    struct pollfd polls[2] = {{.fd = stop_pipe[0], .events = POLLIN},
                              {.fd = lines->fd, .events = POLLIN}};
    int ready = poll(polls, 2, lines->timeout_ms);
    if (ready < 0 && errno == EINTR)
        return;
    ssize_t count = -1;
    if (ready > 0 && polls[0].revents == 0)
        count = read(lines->fd, lines->bytes + lines->end, LINE_BYTES_MAX - lines->end);
    if (count > 0)
        lines->end += (size_t)count;
    else
        lines->has_ended = count == 0 || errno != EINTR || polls[0].revents != 0 || ready == 0;
}

/* Takes [start, stop). */
static enum line_kind lines_take(struct lines *lines, size_t stop, char **ret_line,
                                 size_t *ret_count) {
    size_t count = stop - lines->start;
    char *line = malloc(count + 1);
    if (line == NULL)
        return LINE_NO_MEMORY;
    memcpy(line, lines->bytes + lines->start, count);
    line[count] = 0;
    *ret_line = line;
    *ret_count = count;
    return LINE_READ;
}

enum line_kind lines_next(struct lines *lines, char **ret_line, size_t *ret_count) {
    bool is_too_long = false;
    for (;;) {
        const char *newline = memchr(lines->bytes + lines->seen, '\n', lines->end - lines->seen);
        lines->seen = newline != NULL ? (size_t)(newline - lines->bytes) : lines->end;
        bool has_rest =
            lines->has_ended && !lines->needs_newline && (lines->end > lines->start || is_too_long);
        if (newline != NULL || has_rest) {
            enum line_kind kind =
                is_too_long ? LINE_TOO_LONG : lines_take(lines, lines->seen, ret_line, ret_count);
            lines->start = lines->seen = lines->seen + (newline != NULL);
            return kind;
        }
        if (lines->has_ended)
            return LINE_END;
        memmove(lines->bytes, lines->bytes + lines->start, lines->end - lines->start);
        lines->end -= lines->start;
        lines->start = 0;
        if (lines->end == LINE_BYTES_MAX) { /* the rest of it is read, and thrown away */
            is_too_long = true;
            lines->end = 0;
        }
        lines->seen = lines->end;
        lines_fill(lines);
    }
}

bool lines_send(int socket, const char *bytes, size_t count) {
    const struct timeval patience = {.tv_sec = SEND_SECONDS_MAX};
    (void)setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    while (count > 0) {
        ssize_t sent = send(socket, bytes, count, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        bytes += sent;
        count -= (size_t)sent;
    }
    return true;
}

/* ---- Listening ---- */

static int complain(const char *place, const char *why, int fd) {
    fprintf(stderr, "cannot listen at %s: %s\n", place, why);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* A socket that nobody listens at any more may be replaced, and nothing else. */
static bool is_left_over(const struct sockaddr_un *address) {
    struct stat st;
    if (lstat(address->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_refused = fd >= 0 &&
                      connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
                      errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return is_refused;
}

static int listen_at_path(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return complain(path, "the path is too long for a socket", -1);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return complain(path, strerror(errno), fd);
    if (is_left_over(&address))
        unlink(path);
    mode_t before = umask(077); /* for this user alone */
    int rc = bind(fd, (const struct sockaddr *)&address, sizeof address);
    umask(before);
    if (rc != 0)
        return complain(path, errno == EADDRINUSE ? "it is in use, or no socket" : strerror(errno),
                        fd);
    if (listen(fd, 64) != 0)
        return complain(path, strerror(errno), fd);
    fprintf(stderr, "listening at %s\n", path);
    return fd;
}

static bool is_loopback(const struct sockaddr *address) {
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(
                   &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr) != 0;
    return address->sa_family == AF_INET &&
           ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == 127;
}

static int bind_to(const struct addrinfo *info, const char *place) {
    const int on = 1;
    if (!is_loopback(info->ai_addr))
        return complain(
            place, "whoever connects may use the guest: only this machine may (127.0.0.1, ::1)",
            -1);
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return complain(place, strerror(errno), fd);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, 64) != 0)
        return complain(place, strerror(errno), fd);
    return fd;
}

static bool is_port(const char *text) {
    char *end = NULL;
    long port = strtol(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && port <= UINT16_MAX;
}

/* host:port, [host]:port */
static int listen_at_address(const char *place) {
    char host[128];
    /* large enough for both families; the port is at one place in both */
    struct sockaddr_in6 bound = {0};
    socklen_t bound_bytes = sizeof bound;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *info = NULL;
    const char *colon = strrchr(place, ':');
    const bool has_brackets = place[0] == '[' && colon[-1] == ']';
    if (!is_port(colon + 1)) /* getaddrinfo() takes larger numbers, and other ports */
        return complain(place, "the port must be a number from 0 to 65535", -1);
    snprintf(host, sizeof host, "%.*s", (int)(colon - place) - 2 * has_brackets,
             place + has_brackets);
    int rc = colon == place ? EAI_NONAME : getaddrinfo(host, colon + 1, &hints, &info);
    if (rc != 0)
        return complain(place, gai_strerror(rc), -1);
    int fd = bind_to(info, place);
    freeaddrinfo(info);
    if (fd < 0)
        return -1;
    (void)getsockname(fd, (struct sockaddr *)&bound, &bound_bytes);
    fprintf(stderr, "listening at %.*s:%u\n", (int)(colon - place), place, ntohs(bound.sin6_port));
    return fd;
}

bool listens_at_path(const char *place) {
    return strchr(place, '/') != NULL || strchr(place, ':') == NULL;
}

int listen_at(const char *place) {
    return listens_at_path(place) ? listen_at_path(place) : listen_at_address(place);
}
