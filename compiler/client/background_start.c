/*
 * compiler/client/background_start.c: begins a job (background.h), unless there is one, or one has
 * failed in a way that another try would not change. Nothing here fails the caller, who has an
 * image of level 0 already.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auto.h"
#include "background.h"
#include "cache_entry.h"
#include "error.h"
#include "file.h"

/* A limit beyond what the machine has would be none: the machine would swap. */
static uint64_t memory_limit(const struct husk_compile_options *options) {
    const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    const uint64_t most = pages > 0 && page_bytes > 0
                              ? (uint64_t)pages * (uint64_t)page_bytes / 4 * 3
                              : options->memory_limit_bytes;
    return options->memory_limit_bytes < most ? options->memory_limit_bytes : most;
}

/* ---- whether ---- */

/* Other attempts would end in the same way, and each takes minutes. */
static bool is_final(const struct background_note *note,
                     const struct husk_compile_options *options) {
    if (note->state == BACKGROUND_NOTE_STOPPED)
        return true;
    if (note->state != BACKGROUND_NOTE_FAILED)
        return note->attempts >= BACKGROUND_ATTEMPTS_MAX;
    if (note->error.status == HUSK_E_TIMEOUT || note->error.status == HUSK_E_LIMIT)
        return options->cpu_limit_ns <= note->cpu_limit_ns &&
               memory_limit(options) <= note->memory_limit_bytes;
    return background_now_s() < note->end_s + BACKGROUND_RETRY_SECONDS;
}

/* A note that nobody works on any more, although it says so: its job was killed. */
static void note_interruption(int fd, struct background_note *note) {
    note->state = BACKGROUND_NOTE_FAILED;
    note->end_s = background_now_s();
    error_set(&note->error, HUSK_E_COMPILER,
              "its process was ended from outside, %u times (by the kernel for lack of memory?)",
              note->attempts);
    background_note_write(fd, note);
}

static void tell(const struct background_note *note, enum husk_background state,
                 struct husk_compiled *compiled) {
    compiled->background = state;
    compiled->background_done = note->done;
    compiled->background_total = note->total;
    compiled->background_end_s = note->end_s;
    compiled->background_error = note->error;
}

/* Somebody else has the lock. */
static void tell_running(const char *path, struct husk_compiled *compiled) {
    struct background_note note = {.error = {.offset = HUSK_NO_OFFSET}};
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const bool is_known = fd >= 0 && background_note_read(fd, &note);
    note.error = (struct husk_error){.offset = HUSK_NO_OFFSET};
    tell(&note,
         is_known && note.state == BACKGROUND_NOTE_WORKS ? HUSK_BACKGROUND_WORKS
                                                         : HUSK_BACKGROUND_WAITS,
         compiled);
}

/* True: it was said why there is no job. ret_attempts: those that were ended from outside. */
static bool is_settled(int fd, const struct husk_compile_options *options,
                       struct husk_compiled *compiled, uint32_t *ret_attempts) {
    struct background_note note;
    *ret_attempts = 0;
    if (!background_note_read(fd, &note))
        return false;
    const bool was_killed =
        note.state == BACKGROUND_NOTE_WAITS || note.state == BACKGROUND_NOTE_WORKS;
    if (!is_final(&note, options)) {
        *ret_attempts = was_killed ? note.attempts : 0;
        return false;
    }
    if (was_killed)
        note_interruption(fd, &note);
    tell(&note,
         note.state == BACKGROUND_NOTE_STOPPED ? HUSK_BACKGROUND_STOPPED : HUSK_BACKGROUND_FAILED,
         compiled);
    return true;
}

/* Jobs of this folder that live; those that failed do not count. */
static uint32_t count_jobs(const char *folder) {
    uint32_t count = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        const size_t bytes = strlen(entry->d_name);
        if (bytes < 4 || strcmp(entry->d_name + bytes - 4, ".job") != 0)
            continue;
        auto_fd fd =
            openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        count += fd >= 0 && background_note_is_locked(fd);
    }
    closedir(dir);
    return count;
}

/* ---- how ---- */

static int fits(char *out, size_t out_bytes, const char *text, struct husk_error *err) {
    if (snprintf(out, out_bytes, "%s", text) < (int)out_bytes)
        return 0;
    return error_set(err, HUSK_E_INVAL, "\"%.80s…\" is too long to optimise it in the background",
                     text);
}

/* The job has another working directory. */
static int absolute_entry(const char *entry_path, struct background_request *request,
                          struct husk_error *err) {
    const char *name = strrchr(entry_path, '/') + 1; /* the folder is in the path */
    auto_free char *folder = strndup(entry_path, (size_t)(name - entry_path));
    if (folder == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a path");
    auto_free char *real = realpath(folder, NULL);
    if (real == NULL)
        return error_sys(err, errno, "cannot look at %s", folder);
    if (snprintf(request->entry_path, sizeof request->entry_path, "%s/%s", real, name) >=
        (int)sizeof request->entry_path)
        return error_set(err, HUSK_E_INVAL, "the path of the cache is too long");
    return 0;
}

static int fill_request(const struct worker_job *job, const struct husk_compile_options *options,
                        const uint8_t wasm_sha256[SHA256_BYTES], const char *entry_path,
                        const struct worker_program *program, struct background_request *request,
                        struct husk_error *err) {
    memcpy(request->magic, BACKGROUND_MAGIC, sizeof BACKGROUND_MAGIC);
    request->request_bytes = sizeof *request;
    request->input_bytes = job->count;
    request->modules_count = job->modules_count;
    request->threads = options->threads;
    request->cache_limit_bytes = options->cache_limit_bytes;
    request->strict = options->strict;
    request->allow_uncontained = options->allow_uncontained;
    memcpy(request->wasm_sha256, wasm_sha256, SHA256_BYTES);
    snprintf(request->note.label, sizeof request->note.label, "%s",
             options->label != NULL ? options->label : "");
    int status = fits(request->cpu, sizeof request->cpu, options->cpu, err);
    if (status == 0)
        status = fits(request->disable, sizeof request->disable,
                      options->disable != NULL ? options->disable : "", err);
    if (status == 0)
        status = fits(request->worker_path, sizeof request->worker_path, program->path, err);
    if (status == 0)
        status = absolute_entry(entry_path, request, err);
    return status;
}

/* The process that is started makes another one, the job, and ends. So the job is no child of the
 * caller's, who needs not wait for it. */
static int launch(const struct worker_job *job, const struct background_request *request,
                  struct worker_program *program, int *note_fd, struct husk_error *err) {
    pid_t pid = -1;
    auto_fd null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    auto_fd input = memfd_create("husk-job", MFD_CLOEXEC);
    if (null < 0 || input < 0)
        return error_sys(err, errno, "cannot make an anonymous file");
    if (file_write_all(input, request, sizeof *request) != 0 ||
        file_write_all(input, job->bytes, job->count) != 0)
        return error_sys(err, errno, "cannot hand the module to the compiler");
    int *const fds[] = {&null, &input, note_fd};
    const struct worker_spawn spawn = {.program = program,
                                       .fds = fds,
                                       .fds_count = sizeof fds / sizeof fds[0],
                                       .argument = WORKER_ARGUMENT_BACKGROUND,
                                       .is_session = true};
    int status = worker_spawn(&spawn, &pid, err);
    while (status == 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

static int begin(const struct worker_job *job, const struct husk_compile_options *options,
                 const uint8_t wasm_sha256[SHA256_BYTES], const char *entry_path, int *note_fd,
                 struct background_note *note, struct husk_error *err) {
    struct worker_program program;
    if (count_jobs(options->cache_dir) > BACKGROUND_JOBS_MAX) /* this one's file is locked, too */
        return error_set(err, HUSK_E_LIMIT, "%u other modules are being optimised",
                         BACKGROUND_JOBS_MAX);
    int status = worker_locate(options->worker_path, &program, err);
    if (status != 0)
        return status;
    auto_free struct background_request *request = calloc(1, sizeof *request);
    if (request == NULL)
        status = error_set(err, HUSK_E_NOMEM, "no memory for a job");
    if (status == 0)
        status = fill_request(job, options, wasm_sha256, entry_path, &program, request, err);
    if (status == 0) {
        memcpy(note->label, request->note.label, sizeof note->label);
        background_note_write(*note_fd, note);
        request->note = *note;
        status = launch(job, request, &program, note_fd, err);
    }
    worker_program_done(&program);
    return status;
}

void background_start(const struct worker_job *job, const struct husk_compile_options *options,
                      const uint8_t wasm_sha256[SHA256_BYTES], const char *entry_path,
                      struct husk_compiled *compiled) {
    struct background_note note = {.state = BACKGROUND_NOTE_WAITS,
                                   .begin_s = background_now_s(),
                                   .wasm_bytes = job->count,
                                   .cpu_limit_ns = options->cpu_limit_ns,
                                   .memory_limit_bytes = memory_limit(options),
                                   .opt_level = options->opt_level,
                                   .error = {.offset = HUSK_NO_OFFSET}};
    bool is_locked = false;
    struct husk_error *err = &compiled->background_error;
    auto_free char *path = background_note_path(entry_path);
    auto_fd fd = path != NULL ? background_note_lock(path, &is_locked) : -1;
    compiled->background = HUSK_BACKGROUND_REFUSED;
    if (is_locked)
        tell_running(path, compiled);
    else if (fd < 0)
        error_set(err, HUSK_E_SYS, "there can be no job in the cache folder %s",
                  options->cache_dir);
    if (fd < 0 || is_settled(fd, options, compiled, &note.attempts))
        return;
    auto_fd entry = cache_open_entry(entry_path, wasm_sha256); /* a job may just have ended */
    note.attempts++;
    if (entry < 0 && begin(job, options, wasm_sha256, entry_path, &fd, &note, err) == 0) {
        compiled->background = HUSK_BACKGROUND_BEGUN;
        return;
    }
    background_note_remove(path, fd);
    if (entry >= 0)
        compiled->background = HUSK_BACKGROUND_BEGUN; /* and done */
}
