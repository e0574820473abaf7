/*
 * compiler/client/worker_spawn.c: starts the worker program, which was found and checked
 * (worker_path.c), with the descriptors that it needs and nothing else: no environment, no other
 * descriptor, no blocked or handled signal. It gets a separate process group, so ^C reaches only
 * the client; or a separate session, if it is to outlive the client.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <unistd.h>

#include "client.h"
#include "error.h"

#define FIRST_FD STDERR_FILENO
#define FDS_MAX 8

/* The program's own descriptor comes behind those that are given. */
static int program_fd_of(const struct worker_spawn *spawn) {
    return FIRST_FD + (int)spawn->fds_count;
}

/* dup2() onto the low numbers must not hit a descriptor that is still to be duplicated: all of ours
 * move above them first. */
static int move_up(int *fd, struct husk_error *err) {
    if (*fd >= FIRST_FD + FDS_MAX)
        return 0;
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_FD + FDS_MAX);
    if (moved < 0)
        return error_sys(err, errno, "cannot start the compiler");
    close(*fd);
    *fd = moved;
    return 0;
}

static int file_actions(const struct worker_spawn *spawn, posix_spawn_file_actions_t *actions) {
    int rc = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    for (size_t i = 0; rc == 0 && i < spawn->fds_count; i++)
        rc = posix_spawn_file_actions_adddup2(actions, *spawn->fds[i], FIRST_FD + (int)i);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(actions, spawn->program->fd, program_fd_of(spawn));
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(actions, program_fd_of(spawn) + 1);
    return rc;
}

static int spawn_attributes(const struct worker_spawn *spawn, posix_spawnattr_t *attributes) {
    const int group = spawn->is_session ? POSIX_SPAWN_SETSID : POSIX_SPAWN_SETPGROUP;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = posix_spawnattr_setpgroup(attributes, 0);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(attributes, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(attributes, &all);
    if (rc == 0)
        rc = posix_spawnattr_setflags(
            attributes, (short)(group | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
    return rc;
}

/* The program that was checked is the one that runs, by its descriptor. It is not O_CLOEXEC: a
 * script's interpreter opens it once more. By its path where there is no /proc. */
static int spawn_program(const struct worker_spawn *spawn,
                         const posix_spawn_file_actions_t *actions,
                         const posix_spawnattr_t *attributes, pid_t *ret_pid) {
    char by_fd[32], *argv[] = {spawn->program->path, (char *)(uintptr_t)spawn->argument, NULL},
                    *envp[] = {NULL};
    snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", program_fd_of(spawn));
    int rc = posix_spawn(ret_pid, by_fd, actions, attributes, argv, envp);
    if (rc == ENOENT)
        rc = posix_spawn(ret_pid, spawn->program->path, actions, attributes, argv, envp);
    return rc;
}

static int spawn_with(const struct worker_spawn *spawn, pid_t *ret_pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc == 0) {
        rc = file_actions(spawn, &actions);
        if (rc == 0)
            rc = spawn_attributes(spawn, &attributes);
        if (rc == 0)
            rc = spawn_program(spawn, &actions, &attributes, ret_pid);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

int worker_spawn(const struct worker_spawn *spawn, pid_t *ret_pid, struct husk_error *err) {
    pid_t pid = -1;
    int status = move_up(&spawn->program->fd, err);
    for (size_t i = 0; status == 0 && i < spawn->fds_count; i++)
        status = move_up(spawn->fds[i], err);
    if (status != 0)
        return status;
    int rc = spawn_with(spawn, &pid);
    if (rc != 0)
        return error_sys(err, rc, "cannot start the compiler %s", spawn->program->path);
    *ret_pid = pid;
    return 0;
}
