/*
 * cli/streams.c: what the program gets as standard input, output and error. husk run gives its own
 * streams as they are. husk snapshot gives pipes: what a program concluded from a terminal when the
 * snapshot was taken would be wrong where it goes on.
 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"

/* Of each stream, for JSON: it is text then, up to six times as long. */
#define COLLECTED_MAX_BYTES (64ull << 20)

/* Streams of husk's own that must not look like what they are. A signal that husk has a handler for
 * ends the program's call, so a read or write that one ended need not be made again. */
static int64_t read_own(void *user, void *bytes, size_t count) {
    const ssize_t got = read(*(const int *)user, bytes, count);
    return got >= 0 ? got : errno == EINTR ? 0 : HUSK_E_SYS;
}

static int64_t write_own(void *user, const void *bytes, size_t count) {
    const ssize_t done = write(*(const int *)user, bytes, count);
    return done >= 0 ? done : errno == EINTR || errno == EPIPE ? 0 : HUSK_E_SYS;
}

/* WASI shows a guest whether a stream is a terminal or a socket, and else a pipe. */
static bool is_shown(int fd) {
    struct stat st;
    return isatty(fd) == 1 || (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode));
}

static struct husk_wasi_stream own_stream(const struct run *run, int number) {
    static int fds[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    const int fd = standard_stream(number);
    if (fd >= 0 && run->is_snapshot && !run->has_terminals && is_shown(fd)) {
        stream.kind = HUSK_WASI_CALLBACK;
        stream.read = number == STDIN_FILENO ? read_own : NULL;
        stream.write = number == STDIN_FILENO ? NULL : write_own;
        stream.user = &fds[number];
    } else {
        stream.kind = HUSK_WASI_DESCRIPTOR;
        stream.fd = fd;
        stream.rights =
            (number == STDIN_FILENO ? HUSK_WASI_READ : HUSK_WASI_WRITE) | run->stream_rights;
    }
    return stream;
}

void streams_give(const struct run *run, struct husk_wasi_stream streams[3],
                  struct husk_wasi_request *request) {
    const bool is_collected = run->until != NULL && run->report.is_json;
    for (int i = 0; i < 3; i++)
        streams[i] = own_stream(run, i);
    if (until_is_stdin(run)) {
        streams[0] = (struct husk_wasi_stream)HUSK_WASI_STREAM_INIT;
        streams[0].kind = HUSK_WASI_AWAITED;
    }
    for (int i = 1; i < 3 && is_collected; i++) {
        streams[i] = (struct husk_wasi_stream)HUSK_WASI_STREAM_INIT;
        streams[i].kind = HUSK_WASI_BUFFER;
        streams[i].limit_bytes = COLLECTED_MAX_BYTES;
    }
    request->stdin_stream = &streams[0];
    request->stdout_stream = &streams[1];
    request->stderr_stream = &streams[2];
}

static const char *const stream_names[] = {"stdin", "stdout", "stderr"};

/* A program that could not write all has seen an error that it will not see elsewhere. */
int streams_check(const struct run *run, struct husk_error *err) {
    for (uint32_t i = 1; i < 3; i++) {
        struct husk_wasi_output output = HUSK_WASI_OUTPUT_INIT;
        if (husk_sandbox_wasi_output(run->sandbox, i, &output, NULL) == 0 && output.has_lost)
            return cli_error(err, HUSK_E_LIMIT,
                             "the program wrote more than %llu bytes to %s, which --json "
                             "collects; there is no such limit without --json",
                             COLLECTED_MAX_BYTES, stream_names[i]);
    }
    return 0;
}

void streams_json(const struct run *run) {
    for (uint32_t i = 1; i < 3; i++) {
        struct husk_wasi_output output = HUSK_WASI_OUTPUT_INIT;
        if (husk_sandbox_wasi_output(run->sandbox, i, &output, NULL) != 0)
            continue;
        printf(",\"%s\":", stream_names[i]);
        json_string(stdout, output.count != 0 ? output.bytes : "", output.count);
    }
}
