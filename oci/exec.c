/*
 * oci/exec.c: is a running container one of wasm? The runtime knows: `state` prints its
 * annotations, and the mark of a rewritten config is among them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "auto.h"
#include "oci.h"

/* The child: runtime [--root FOLDER] state ID. */
static void run_state(const char *runtime, const struct command_line *line, int out) {
    const char *words[6];
    size_t count = 0;
    words[count++] = runtime;
    if (line->root != NULL) {
        words[count++] = "--root";
        words[count++] = line->root;
    }
    words[count++] = "state";
    words[count++] = line->id;
    words[count] = NULL;
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDERR_FILENO) >= 0 &&
        dup2(out, STDOUT_FILENO) >= 0)
        (void)execv(runtime, (char **)(uintptr_t)words);
    _exit(127);
}

/* Up to the end, or STATE_MAX_BYTES. */
static char *read_state(int fd, size_t *ret_count) {
    char *text = malloc(STATE_MAX_BYTES + 1);
    ssize_t got = 1;
    *ret_count = 0;
    while (text != NULL && *ret_count < STATE_MAX_BYTES && got != 0) {
        got = read(fd, text + *ret_count, STATE_MAX_BYTES - *ret_count);
        if (got < 0 && errno != EINTR)
            break;
        *ret_count += got > 0 ? (size_t)got : 0;
    }
    if (text != NULL)
        text[*ret_count] = '\0';
    return text;
}

bool container_is_wasm(const char *runtime, const struct command_line *line) {
    int pipe_fds[2], state;
    if (line->id == NULL || pipe2(pipe_fds, O_CLOEXEC) != 0)
        return false;
    const pid_t child = fork();
    if (child == 0)
        run_state(runtime, line, pipe_fds[1]);
    close(pipe_fds[1]);
    size_t count = 0;
    auto_free char *text = child > 0 ? read_state(pipe_fds[0], &count) : NULL;
    close(pipe_fds[0]);
    while (child > 0 && waitpid(child, &state, 0) < 0 && errno == EINTR)
        ;
    struct json_object *object = NULL;
    const bool is_wasm = text != NULL && json_parse(text, count, &object, NULL) == 0 &&
                         annotation(object, MARK) != NULL;
    json_object_put(object);
    return is_wasm;
}
