/*
 * serve/log.c: writes what the server says, on a thread of its own. A reader that stands still, or
 * a full disk, costs lines, which are counted, and holds up no request.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "serve.h"

#define WAITING_MAX_BYTES (UINT32_C(4) << 20) /* of each stream */
#define FINISH_NS UINT64_C(1000000000)

struct log_stream {
    int fd;
    struct bytes waiting;
    size_t written_count; /* that the thread writes now */
    uint64_t lost_count;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed, idle;
    struct log_stream streams[2]; /* standard error, the access log */
    bool has_thread;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER,
         .changed = PTHREAD_COND_INITIALIZER,
         .idle = PTHREAD_COND_INITIALIZER,
         .streams = {{.fd = STDERR_FILENO}, {.fd = STDOUT_FILENO}}};

/* False: nobody takes it. */
static bool write_all(int fd, const char *at, size_t count) {
    while (count > 0) {
        const ssize_t done = write(fd, at, count);
        if (done < 0 && errno == EAGAIN) { /* somebody else's descriptor, who wants it so */
            struct pollfd state = {.fd = fd, .events = POLLOUT};
            (void)poll(&state, 1, -1);
        } else if (done < 0 && errno != EINTR) {
            return false;
        } else if (done > 0) {
            at += done;
            count -= (size_t)done;
        }
    }
    return true;
}

static uint64_t lines_of(const struct bytes *bytes) {
    uint64_t lines = 0;
    for (size_t i = 0; i < bytes->count; i++)
        lines += bytes->at[bytes->begin + i] == '\n';
    return lines;
}

static void write_stream(struct log_stream *stream) {
    struct bytes taken = stream->waiting;
    const uint64_t lost_count = stream->lost_count;
    char text[96];
    stream->waiting = (struct bytes){0};
    stream->written_count = taken.count;
    stream->lost_count = 0;
    pthread_mutex_unlock(&all.lock);
    bool is_written = write_all(stream->fd, bytes_front(&taken), taken.count);
    if (lost_count != 0 && is_written) {
        snprintf(text, sizeof text, "husk serve: %llu lines of this log were lost\n",
                 (unsigned long long)lost_count);
        (void)write_all(stream->fd, text, strlen(text));
    }
    pthread_mutex_lock(&all.lock);
    stream->written_count = 0;
    if (!is_written)
        stream->lost_count += lost_count + lines_of(&taken);
    bytes_done(&taken);
}

static void *write_logs(void *unused) {
    pthread_mutex_lock(&all.lock);
    for (;;) {
        for (int i = 0; i < 2; i++)
            if (all.streams[i].waiting.count != 0)
                write_stream(&all.streams[i]);
        if (all.streams[0].waiting.count != 0 || all.streams[1].waiting.count != 0)
            continue;
        pthread_cond_broadcast(&all.idle);
        pthread_cond_wait(&all.changed, &all.lock);
    }
    return unused;
}

void log_start(void) {
    pthread_t thread;
    pthread_mutex_lock(&all.lock);
    all.has_thread = pthread_create(&thread, NULL, write_logs, NULL) == 0;
    if (all.has_thread)
        pthread_detach(thread);
    pthread_mutex_unlock(&all.lock);
}

static bool is_idle(void) {
    bool is_so = true;
    for (int i = 0; i < 2; i++)
        is_so &= all.streams[i].waiting.count == 0 && all.streams[i].written_count == 0;
    return is_so;
}

void log_finish(void) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(FINISH_NS / 1000000000u);
    pthread_mutex_lock(&all.lock);
    while (all.has_thread && !is_idle())
        if (pthread_cond_timedwait(&all.idle, &all.lock, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&all.lock);
}

void log_put(bool is_access, const char *bytes, size_t count) {
    struct log_stream *stream = &all.streams[is_access];
    pthread_mutex_lock(&all.lock);
    if (!all.has_thread)
        (void)write_all(stream->fd, bytes, count);
    else if (stream->waiting.count + count > WAITING_MAX_BYTES ||
             !bytes_put(&stream->waiting, bytes, count))
        stream->lost_count++;
    else
        pthread_cond_signal(&all.changed);
    pthread_mutex_unlock(&all.lock);
}

void log_say(const char *format, ...) {
    char text[2048], *line = NULL;
    size_t count = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    FILE *out = open_memstream(&line, &count);
    if (out == NULL)
        return;
    fputs("husk serve: ", out);
    put_text(out, text);
    fputc('\n', out);
    if (fclose(out) == 0)
        log_put(false, line, count);
    free(line);
}
