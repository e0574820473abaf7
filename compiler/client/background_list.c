/*
 * compiler/client/background_list.c: the jobs of a cache folder (background.h), by their files:
 * lists them, ends them, and forgets those that failed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "auto.h"
#include "background.h"
#include "cache_files.h"
#include "clock.h"
#include "error.h"

#define KEY_BYTES (2 * SHA256_BYTES)
#define NAME_BYTES (KEY_BYTES + sizeof ".job")
#define STOP_WAIT_NS (30 * CLOCK_NS_PER_SECOND)

static char *note_path(const char *cache_dir, const char *key) {
    char *path = NULL;
    return asprintf(&path, "%s/%s.job", cache_dir, key) >= 0 ? path : NULL;
}

static int check_arguments(const char *cache_dir, const char *key, struct husk_error *err) {
    if (cache_dir == NULL || cache_dir[0] == '\0')
        return error_set(err, HUSK_E_INVAL, "no cache folder is given");
    char name[NAME_BYTES] = "";
    if (key != NULL)
        snprintf(name, sizeof name, "%s.job", key);
    if (key == NULL || strlen(key) != KEY_BYTES || cache_kind_of(name) != CACHE_JOB)
        return error_set(err, HUSK_E_INVAL, "the key of a job has %d digits", KEY_BYTES);
    return 0;
}

static int no_job(const char *key, struct husk_error *err) {
    return error_set(err, HUSK_E_NOT_FOUND, "there is no job %s", key);
}

/* ---- list ---- */

static enum husk_background state_of(const struct background_note *note, bool is_alive) {
    if (is_alive)
        return note->state == BACKGROUND_NOTE_WORKS ? HUSK_BACKGROUND_WORKS : HUSK_BACKGROUND_WAITS;
    return note->state == BACKGROUND_NOTE_STOPPED ? HUSK_BACKGROUND_STOPPED
                                                  : HUSK_BACKGROUND_FAILED;
}

static void visit_note(int fd, const char *name,
                       void (*visit)(void *user, const struct husk_background_job *job),
                       void *user) {
    struct background_note note;
    const bool is_alive = background_note_is_locked(fd);
    if (!background_note_read(fd, &note))
        return;
    struct husk_background_job job = {.size = sizeof job,
                                      .state = state_of(&note, is_alive),
                                      .opt_level = note.opt_level,
                                      .pid =
                                          is_alive && background_note_is_here(&note) ? note.pid : 0,
                                      .attempts = note.attempts,
                                      .done = note.done,
                                      .total = note.total,
                                      .begin_s = note.begin_s,
                                      .end_s = note.end_s,
                                      .wasm_bytes = note.wasm_bytes,
                                      .cpu_limit_ns = note.cpu_limit_ns,
                                      .memory_limit_bytes = note.memory_limit_bytes,
                                      .error = {.offset = HUSK_NO_OFFSET}};
    memcpy(job.key, name, KEY_BYTES);
    memcpy(job.label, note.label, sizeof job.label);
    if (job.state == HUSK_BACKGROUND_FAILED && note.state == BACKGROUND_NOTE_FAILED)
        job.error = note.error;
    else if (job.state == HUSK_BACKGROUND_FAILED)
        error_set(&job.error, HUSK_E_COMPILER, "its process was ended from outside");
    visit(user, &job);
}

int husk_background_list(const char *cache_dir,
                         void (*visit)(void *user, const struct husk_background_job *job),
                         void *user, struct husk_error *err) {
    struct dirent **names = NULL;
    if (cache_dir == NULL || cache_dir[0] == '\0' || visit == NULL)
        return error_set(err, HUSK_E_INVAL, "no cache folder or no function is given");
    const int count = scandir(cache_dir, &names, NULL, alphasort);
    if (count < 0)
        return errno == ENOENT
                   ? 0
                   : error_sys(err, errno, "cannot read the cache folder %s", cache_dir);
    for (int i = 0; i < count; i++) {
        auto_free struct dirent *name = names[i];
        auto_free char *path = NULL;
        if (cache_kind_of(name->d_name) != CACHE_JOB ||
            asprintf(&path, "%s/%s", cache_dir, name->d_name) < 0)
            continue;
        auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd >= 0)
            visit_note(fd, name->d_name, visit, user);
    }
    free(names);
    return 0;
}

/* ---- stop and forget ---- */

/* The job has the lock before and after its process is opened by its number, so it is that one. */
static int kill_job(int fd, const char *key, struct husk_error *err) {
    struct background_note note;
    if (!background_note_is_locked(fd) || !background_note_read(fd, &note))
        return no_job(key, err);
    if (!background_note_is_here(&note))
        return note.pid == 0 ? 0 /* it is just being started */
                             : error_set(err, HUSK_E_UNSUPPORTED,
                                         "the job was started on another machine or in another "
                                         "container, and can be stopped there");
    auto_fd pid_fd = (int)syscall(SYS_pidfd_open, (pid_t)note.pid, 0);
    if (pid_fd < 0)
        return errno == ESRCH ? 0 : error_sys(err, errno, "cannot find the job's process");
    if (!background_note_is_locked(fd))
        return 0;
    if (syscall(SYS_pidfd_send_signal, pid_fd, SIGKILL, NULL, 0) != 0 && errno != ESRCH)
        return error_sys(err, errno, "cannot end the job's process");
    return 0;
}

/* Its worker ends with it. The file is gone if the job was just done. */
static int stop(const char *path, const char *key, struct husk_error *err) {
    const struct timespec pause = {.tv_nsec = 5000000};
    const uint64_t deadline_ns = clock_ns(CLOCK_MONOTONIC) + STOP_WAIT_NS;
    struct background_note note;
    bool was_found = false;
    for (;;) {
        bool is_locked;
        auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        int status = fd >= 0 ? kill_job(fd, key, err) : no_job(key, err);
        if (status == HUSK_E_NOT_FOUND && !was_found)
            return status;
        if (status != 0 && status != HUSK_E_NOT_FOUND)
            return status;
        was_found = true;
        if (fd < 0)
            return 0;
        auto_fd own = background_note_lock(path, &is_locked);
        if (own >= 0 && background_note_read(own, &note)) {
            note.state = BACKGROUND_NOTE_STOPPED;
            note.end_s = background_now_s();
            background_note_write(own, &note);
            return 0;
        }
        if (own >= 0) /* made just now, as the job was done */
            background_note_remove(path, own);
        if (own >= 0 || !is_locked)
            return 0;
        if (clock_ns(CLOCK_MONOTONIC) > deadline_ns)
            return error_set(err, HUSK_E_TIMEOUT, "the job did not end in 30 seconds");
        nanosleep(&pause, NULL);
    }
}

int husk_background_stop(const char *cache_dir, const char *key, struct husk_error *err) {
    int status = check_arguments(cache_dir, key, err);
    if (status != 0)
        return status;
    auto_free char *path = note_path(cache_dir, key);
    return path != NULL ? stop(path, key, err) : error_set(err, HUSK_E_NOMEM, "no memory");
}

int husk_background_forget(const char *cache_dir, const char *key, struct husk_error *err) {
    int status = check_arguments(cache_dir, key, err);
    bool is_locked;
    if (status != 0)
        return status;
    auto_free char *path = note_path(cache_dir, key);
    if (path == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory");
    if (access(path, F_OK) != 0)
        return no_job(key, err);
    auto_fd fd = background_note_lock(path, &is_locked);
    if (is_locked)
        return error_set(err, HUSK_E_INVAL, "the job %s is not at its end: stop it first", key);
    if (fd < 0)
        return error_sys(err, errno, "cannot change %s", path);
    background_note_remove(path, fd);
    return 0;
}
