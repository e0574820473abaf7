/*
 * compiler/client/background_job.c: the process of a job (background.h), which is the program
 * husk-compile-worker with an argument. It does not look at the module itself: for that it starts
 * the same program once more, as any client does, and that one contains itself. So this process
 * stays what it was, and may write to the cache.
 *
 * It must not disturb: its priority, and its worker's, is the lowest, for the disk as well, and the
 * kernel ends it first if memory runs out. In a cache folder one job works at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "auto.h"
#include "background.h"
#include "cache_entry.h"
#include "cache_limit.h"
#include "clock.h"
#include "error.h"

#define TURN_FILE "background.turn"
#define NOTE_EVERY_NS 200000000u
/* linux/ioprio.h */
#define IO_PRIORITY_IDLE (3 << 13)
#define IO_PRIORITY_WHO_PROCESS 1

struct job {
    const struct background_request *request;
    struct background_note note;
    char *note_path;
    char folder[BACKGROUND_PATH_BYTES];
    uint64_t noted_ns; /* when the note was last written */
};

/* ---- not in the way ---- */

static void write_text(const char *path, const char *text) {
    auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        (void)!write(fd, text, strlen(text));
}

/* What is refused is left as it is. A session has a share of the CPU where the kernel groups tasks
 * by sessions (sched(7), autogroup): its nice value counts then, and those of the tasks only among
 * themselves. The worker inherits all this, and runs only when nothing else does (SCHED_IDLE).
 * Deliberately not this process: it needs hardly any time, but a busy machine must let it end. */
static void step_back(void) {
    (void)sched_setscheduler(0, SCHED_OTHER, &(const struct sched_param){0}); /* a caller's own */
    (void)setpriority(PRIO_PROCESS, 0, 19);
    (void)syscall(SYS_ioprio_set, IO_PRIORITY_WHO_PROCESS, 0, IO_PRIORITY_IDLE);
    write_text("/proc/self/autogroup", "19");
    write_text("/proc/self/oom_score_adj", "1000");
}

/* The caller waits for the process that it started. This one is nobody's child, and no leader of a
 * session: it cannot get a terminal. */
static bool detach(void) {
    const pid_t pid = fork();
    if (pid > 0)
        _exit(0);
    (void)signal(SIGHUP, SIG_IGN);
    prctl(PR_SET_NAME, "husk-background");
    (void)close_range(BACKGROUND_FD_NOTE + 1, ~0u, 0);
    (void)fcntl(BACKGROUND_FD_REQUEST, F_SETFD, FD_CLOEXEC);
    (void)fcntl(BACKGROUND_FD_NOTE, F_SETFD, FD_CLOEXEC);
    return pid == 0 && chdir("/") == 0;
}

/* ---- the request ---- */

static bool is_text(const char *field, size_t bytes) {
    return memchr(field, '\0', bytes) != NULL;
}

/* From another version, if the program was just replaced; then nothing is done. */
static const struct background_request *map_request(void) {
    static const char magic[16] = BACKGROUND_MAGIC;
    struct stat st;
    if (fstat(BACKGROUND_FD_REQUEST, &st) != 0 ||
        (uint64_t)st.st_size < sizeof(struct background_request))
        return NULL;
    const struct background_request *request =
        mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, BACKGROUND_FD_REQUEST, 0);
    if (request == MAP_FAILED)
        return NULL;
    return memcmp(request->magic, magic, sizeof magic) == 0 &&
                   request->request_bytes == sizeof *request &&
                   request->input_bytes == (uint64_t)st.st_size - sizeof *request &&
                   is_text(request->cpu, sizeof request->cpu) &&
                   is_text(request->disable, sizeof request->disable) &&
                   is_text(request->entry_path, sizeof request->entry_path) &&
                   is_text(request->worker_path, sizeof request->worker_path)
               ? request
               : NULL;
}

/* ---- the job ---- */

static void show_progress(void *user, uint32_t done, uint32_t total) {
    struct job *job = user;
    const uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    if (now_ns < job->noted_ns + NOTE_EVERY_NS && done != total)
        return;
    job->noted_ns = now_ns;
    job->note.done = done;
    job->note.total = total;
    background_note_write(BACKGROUND_FD_NOTE, &job->note);
}

/* The lock ends with this process. Without such a file there is no order. */
static void wait_for_turn(const struct job *job) {
    char path[BACKGROUND_PATH_BYTES + 32];
    snprintf(path, sizeof path, "%s/" TURN_FILE, job->folder);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    while (fd >= 0 && flock(fd, LOCK_EX) != 0 && errno == EINTR)
        continue;
}

/* The compiler may have been replaced since the request was made: its images have another name. */
static int check_entry(const struct worker_job *input, const struct background_request *request,
                       const struct husk_compile_options *options, struct husk_error *err) {
    auto_free char *path = NULL;
    int status = cache_entry_path(input, request->wasm_sha256, options, &path, err);
    if (status == 0 && strcmp(path, request->entry_path) != 0)
        status = error_set(err, HUSK_E_COMPILER, "the compiler was replaced meanwhile");
    return status;
}

static int make_entry(struct job *job, struct husk_error *err) {
    const struct background_request *request = job->request;
    const struct worker_job input = {.bytes = request + 1,
                                     .count = request->input_bytes,
                                     .modules_count = request->modules_count,
                                     .is_idle = true,
                                     .wall_limit_ns = BACKGROUND_WALL_LIMIT_NS};
    const struct husk_compile_options options = {
        .size = sizeof options,
        .cpu = request->cpu,
        .worker_path = request->worker_path,
        .cache_dir = job->folder,
        .disable = request->disable[0] != '\0' ? request->disable : NULL,
        .progress = show_progress,
        .progress_user = job,
        .cache_limit_bytes = request->cache_limit_bytes,
        .cpu_limit_ns = job->note.cpu_limit_ns,
        .memory_limit_bytes = job->note.memory_limit_bytes,
        .threads = request->threads,
        .opt_level = job->note.opt_level,
        .strict = request->strict != 0,
        .allow_uncontained = request->allow_uncontained != 0};
    uint64_t bytes = 0;
    auto_fd image = -1;
    int status = worker_run(&input, &options, &image, &bytes, err);
    if (status == 0)
        status = check_entry(&input, request, &options, err);
    return status == 0 ? cache_store(&options, request->entry_path, image, bytes, err) : status;
}

static int work(struct job *job) {
    step_back(); /* before anybody can see the process's number */
    background_note_sign(&job->note);
    background_note_write(BACKGROUND_FD_NOTE, &job->note);
    wait_for_turn(job);
    job->note.state = BACKGROUND_NOTE_WORKS;
    background_note_write(BACKGROUND_FD_NOTE, &job->note);
    if (make_entry(job, &job->note.error) == 0) {
        background_note_remove(job->note_path, BACKGROUND_FD_NOTE);
        return 0;
    }
    job->note.state = BACKGROUND_NOTE_FAILED;
    job->note.end_s = background_now_s();
    background_note_write(BACKGROUND_FD_NOTE, &job->note);
    return 1;
}

int background_main(void) {
    static struct job job;
    if (!detach())
        return 1;
    job.request = map_request();
    if (job.request == NULL || strrchr(job.request->entry_path, '/') == NULL)
        return 1;
    const char *entry_path = job.request->entry_path;
    job.note = job.request->note;
    job.note_path = background_note_path(entry_path);
    snprintf(job.folder, sizeof job.folder, "%.*s", (int)(strrchr(entry_path, '/') - entry_path),
             entry_path);
    return job.note_path != NULL ? work(&job) : 1;
}
