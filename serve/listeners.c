/*
 * serve/listeners.c: the sockets at which clients connect: those of --listen, and those that
 * systemd hands over (sd_listen_fds(3)), from descriptor 3 on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "serve.h"

#define FIRST_HANDED_FD 3
#define HANDED_MAX 16
#define UNIX_PREFIX "unix:"

static const char HANDED_TEXT[] = "a socket of systemd's";

/* A path that a server left which was killed: a socket at which nobody listens. Any other file
 * refuses a connection, too, and stays. */
static void remove_stale(const char *text) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = text + sizeof UNIX_PREFIX - 1;
    struct stat st;
    if (strncmp(text, UNIX_PREFIX, sizeof UNIX_PREFIX - 1) != 0 ||
        strlen(path) >= sizeof address.sun_path || lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    strcpy(address.sun_path, path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 && errno == ECONNREFUSED)
        (void)unlink(path);
    close(fd);
}

/* With port 0, listeners_open() has said which one it is. */
static void say_where(const char *text) {
    const size_t bytes = strlen(text);
    if (bytes < 2 || strcmp(text + bytes - 2, ":0") != 0)
        log_say("listening on %s", text);
}

static bool is_stream_socket(int fd) {
    int type = 0, is_listening = 0;
    socklen_t bytes = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) != 0 || type != SOCK_STREAM)
        return false;
    bytes = sizeof is_listening;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &bytes) == 0 &&
           is_listening != 0;
}

bool listener_is_handed(const struct listeners *listeners, size_t place) {
    return listeners->texts[place] == HANDED_TEXT;
}

static int take_handed(struct run *run, struct husk_error *err) {
    struct listeners *listeners = &run->listeners;
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t number = 0, count = 0;
    if (fds == NULL || pid == NULL || !parse_number(pid, INT32_MAX, &number) ||
        (pid_t)number != getpid())
        return 0;
    if (!parse_number(fds, HANDED_MAX, &count))
        return cli_error(err, HUSK_E_INVAL, "LISTEN_FDS is not a number up to %d", HANDED_MAX);
    const size_t all = listeners->count + (size_t)count;
    const char **texts = realloc(listeners->texts, (all + 1) * sizeof *texts);
    if (texts != NULL)
        listeners->texts = texts;
    struct husk_wasi_listener *rows = realloc(listeners->rows, (all + 1) * sizeof *rows);
    if (rows != NULL)
        listeners->rows = rows;
    if (texts == NULL || rows == NULL)
        return cli_error(err, HUSK_E_NOMEM, "out of memory");
    for (int fd = FIRST_HANDED_FD; fd < FIRST_HANDED_FD + (int)count; fd++) {
        if (!is_stream_socket(fd))
            return cli_error(err, HUSK_E_INVAL,
                             "descriptor %d, which systemd handed over, is no stream socket that "
                             "listens",
                             fd);
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        texts[listeners->count] = HANDED_TEXT;
        rows[listeners->count++] = (struct husk_wasi_listener){.host_fd = fd};
    }
    return 0;
}

int sockets_open(struct run *run, bool has_activation, struct husk_error *err) {
    for (size_t i = 0; i < run->listeners.count; i++)
        remove_stale(run->listeners.texts[i]);
    int status = listeners_open(run, err);
    if (status == 0 && has_activation)
        status = take_handed(run, err);
    for (size_t i = 0; i < run->listeners.count && status == 0; i++)
        say_where(run->listeners.texts[i]);
    if (status == 0 && run->listeners.count == 0 && has_activation)
        status = cli_error(err, HUSK_E_INVAL,
                           "there is nothing to listen on: LISTEN_FDS is set, but not for this "
                           "process");
    return status;
}
