/* Images that are optimised in the background: one job for an image, what it inherits, how it ends,
 * what is remembered of it, and what hostile or damaged files in the folder change. A job that must
 * not end soon waits for its turn, whose file the test locks. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "background.h"
#include "error.h"
#include "harness.h"
#include "small_module.h"

#define WAIT_SECONDS 240

/* The small module, and a custom section that makes it large enough for a job. */
#define PADDING 6000
static uint8_t wasm[sizeof small_wasm + 3 + 2 + PADDING];

static void make_wasm(void) {
    const uint8_t head[] = {0, 0x80 | ((PADDING + 2) & 0x7f), (PADDING + 2) >> 7, 1, 'x'};
    memcpy(wasm, small_wasm, sizeof small_wasm);
    memcpy(wasm + sizeof small_wasm, head, sizeof head);
}

struct lab {
    char folder[64];
    int turn; /* locked, if not -1 */
    struct husk_compile_options options;
    struct husk_compiled compiled;
    struct husk_background_job job; /* the last one listed */
    size_t jobs;
};

static void lock_turn(struct lab *lab) {
    char path[128];
    snprintf(path, sizeof path, "%s/background.turn", lab->folder);
    lab->turn = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(lab->turn >= 0 && flock(lab->turn, LOCK_EX) == 0);
}

static void lab_init(struct lab *lab, bool is_held) {
    *lab = (struct lab){
        .folder = "/tmp/husk-background-XXXXXX", .turn = -1, .options = HUSK_COMPILE_OPTIONS_INIT};
    CHECK(mkdtemp(lab->folder) != NULL);
    make_wasm();
    lab->options.cache_dir = lab->folder;
    lab->options.optimise_in_background = true;
    lab->options.label = "the label";
    if (is_held)
        lock_turn(lab);
}

static enum husk_background compile(struct lab *lab) {
    struct husk_error err;
    lab->compiled = (struct husk_compiled)HUSK_COMPILED_INIT;
    CHECK_OK(husk_compile_cached(wasm, sizeof wasm, &lab->options, &lab->compiled, &err), err);
    close(lab->compiled.fd);
    return (enum husk_background)lab->compiled.background;
}

static void take_job(void *user, const struct husk_background_job *job) {
    struct lab *lab = user;
    lab->job = *job;
    lab->jobs++;
}

static size_t list(struct lab *lab) {
    struct husk_error err;
    lab->jobs = 0;
    CHECK_OK(husk_background_list(lab->folder, take_job, lab, &err), err);
    return lab->jobs;
}

static void pause_ms(long ms) {
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* A job has the lowest priority, and other tests take the whole CPU: it gets that of all. */
static void hurry(pid_t pid) {
    char path[64];
    int child;
    const struct sched_param param = {0};
    (void)sched_setscheduler(pid, SCHED_OTHER, &param);
    (void)setpriority(PRIO_PROCESS, (id_t)pid, 0);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fscanf(file, "%d", &child) == 1) {
        (void)sched_setscheduler(child, SCHED_OTHER, &param);
        (void)setpriority(PRIO_PROCESS, (id_t)child, 0);
    }
    if (file != NULL)
        fclose(file);
}

/* Until the job has said who it is. */
static pid_t job_pid(struct lab *lab) {
    for (int i = 0; i < WAIT_SECONDS * 100; i++) {
        CHECK_EQ_I64(list(lab), 1);
        if (lab->job.pid != 0)
            return (pid_t)lab->job.pid;
        pause_ms(10);
    }
    CHECK_MSG(false, "the job does not begin");
    return -1;
}

static void wait_for_jobs(struct lab *lab) {
    for (int i = 0; i < WAIT_SECONDS * 100; i++) {
        if (list(lab) == 0 ||
            (lab->job.state != HUSK_BACKGROUND_WAITS && lab->job.state != HUSK_BACKGROUND_WORKS))
            return;
        if (lab->job.pid != 0)
            hurry((pid_t)lab->job.pid);
        pause_ms(10);
    }
    CHECK_MSG(false, "the job does not end");
}

/* Whatever is left ends, and the folder goes. */
static void lab_done(struct lab *lab) {
    char path[400];
    while (list(lab) > 0 &&
           (lab->job.state == HUSK_BACKGROUND_WAITS || lab->job.state == HUSK_BACKGROUND_WORKS)) {
        (void)husk_background_stop(lab->folder, lab->job.key, NULL);
        pause_ms(10);
    }
    if (lab->turn >= 0)
        close(lab->turn);
    DIR *dir = opendir(lab->folder);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        snprintf(path, sizeof path, "%s/%.255s", lab->folder, entry->d_name);
        if (entry->d_name[0] != '.' && unlink(path) != 0)
            CHECK(rmdir(path) == 0);
    }
    closedir(dir);
    CHECK(rmdir(lab->folder) == 0);
}

static char *job_path(struct lab *lab) {
    char *path = NULL;
    CHECK(asprintf(&path, "%s/%s.job", lab->folder, lab->job.key) > 0);
    return path;
}

TEST(the_optimised_image_is_there_later) {
    need_worker();
    struct lab lab;
    struct husk_compile_options plain = HUSK_COMPILE_OPTIONS_INIT;
    lab_init(&lab, false);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    CHECK(!lab.compiled.was_cached);
    wait_for_jobs(&lab);
    CHECK_EQ_I64(list(&lab), 0);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_NONE);
    CHECK(lab.compiled.was_cached);
    plain.cache_dir = lab.folder; /* the one that is waited for is the same */
    lab.options = plain;
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_NONE);
    CHECK(lab.compiled.was_cached);
    lab.options.opt_level = HUSK_OPT_NONE;
    compile(&lab);
    CHECK(lab.compiled.was_cached); /* the first one */
    lab_done(&lab);
}

TEST(a_job_is_described) {
    need_worker();
    struct lab lab;
    lab_init(&lab, true);
    lab.options.cpu_limit_ns = 77000000000;
    lab.options.memory_limit_bytes = 1ull << 30;
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    CHECK(job_pid(&lab) > 0);
    CHECK_EQ_I64(lab.job.size, sizeof lab.job);
    CHECK_EQ_I64(lab.job.state, HUSK_BACKGROUND_WAITS);
    CHECK_EQ_I64(lab.job.opt_level, 2);
    CHECK_EQ_I64(lab.job.attempts, 1);
    CHECK_EQ_I64(lab.job.wasm_bytes, sizeof wasm);
    CHECK_EQ_I64(lab.job.cpu_limit_ns, 77000000000);
    CHECK_EQ_I64(lab.job.memory_limit_bytes, 1ll << 30);
    CHECK(strcmp(lab.job.label, "the label") == 0);
    CHECK_EQ_I64(lab.job.error.status, 0);
    lab_done(&lab);
}

/* Two calls, and several processes at once. */
TEST(an_image_has_one_job) {
    need_worker();
    struct lab lab;
    int begun = 0;
    lab_init(&lab, true);
    for (int i = 0; i < 4; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            _exit((int)compile(&lab));
    }
    for (int i = 0; i < 4; i++) {
        int wait_status = 0;
        CHECK(wait(&wait_status) > 0 && WIFEXITED(wait_status));
        begun += WEXITSTATUS(wait_status) == HUSK_BACKGROUND_BEGUN;
        CHECK(WEXITSTATUS(wait_status) == HUSK_BACKGROUND_BEGUN ||
              WEXITSTATUS(wait_status) == HUSK_BACKGROUND_WAITS);
    }
    CHECK_EQ_I64(begun, 1);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_WAITS);
    CHECK(lab.compiled.was_cached);
    CHECK_EQ_I64(list(&lab), 1);
    lab_done(&lab);
}

TEST(a_job_has_nothing_of_the_callers) {
    need_worker();
    struct lab lab;
    int ends[2];
    char byte, cwd[64] = "", path[64];
    lab_init(&lab, true);
    CHECK(pipe(ends) == 0); /* inherited by what is executed */
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    pid_t pid = job_pid(&lab);
    close(ends[1]);
    CHECK_EQ_I64(read(ends[0], &byte, 1), 0); /* would wait for the job */
    close(ends[0]);
    CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
    CHECK(getsid(pid) != getsid(0) && getsid(pid) != pid);
    CHECK(getpgid(pid) != getpgid(0));
    CHECK_EQ_I64(getpriority(PRIO_PROCESS, (id_t)pid), 19);
    snprintf(path, sizeof path, "/proc/%d/cwd", pid);
    CHECK(readlink(path, cwd, sizeof cwd - 1) == 1 && cwd[0] == '/');
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
    FILE *file = fopen(path, "re");
    int score = 0;
    CHECK(file != NULL && fscanf(file, "%d", &score) == 1 && score == 1000);
    fclose(file);
    lab_done(&lab);
}

TEST(a_stopped_job_is_not_begun_again) {
    need_worker();
    struct lab lab;
    struct husk_error err;
    lab_init(&lab, true);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    pid_t pid = job_pid(&lab);
    CHECK_STATUS(husk_background_forget(lab.folder, lab.job.key, &err), HUSK_E_INVAL);
    CHECK_OK(husk_background_stop(lab.folder, lab.job.key, &err), err);
    CHECK(kill(pid, 0) != 0 || compile(&lab) == HUSK_BACKGROUND_STOPPED); /* or a zombie of init */
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_STOPPED);
    CHECK_EQ_I64(list(&lab), 1);
    CHECK_EQ_I64(lab.job.state, HUSK_BACKGROUND_STOPPED);
    CHECK_EQ_I64(lab.job.pid, 0);
    CHECK_STATUS(husk_background_stop(lab.folder, lab.job.key, &err), HUSK_E_NOT_FOUND);
    CHECK_OK(husk_background_forget(lab.folder, lab.job.key, &err), err);
    CHECK_STATUS(husk_background_forget(lab.folder, lab.job.key, &err), HUSK_E_NOT_FOUND);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    lab_done(&lab);
}

/* At once, for the turn is held: a job may be begun, but has not said who it is. */
TEST(a_job_is_stopped_as_it_begins) {
    need_worker();
    struct lab lab;
    struct husk_error err;
    lab_init(&lab, true);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
        CHECK_EQ_I64(list(&lab), 1);
        CHECK_OK(husk_background_stop(lab.folder, lab.job.key, &err), err);
        CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_STOPPED);
        CHECK_OK(husk_background_forget(lab.folder, lab.job.key, &err), err);
    }
    lab_done(&lab);
}

TEST(a_killed_job_is_begun_again_twice) {
    need_worker();
    struct lab lab;
    lab_init(&lab, true);
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
        pid_t pid = job_pid(&lab);
        CHECK_EQ_I64(lab.job.attempts, attempt);
        CHECK(kill(pid, SIGKILL) == 0);
        for (int i = 0; i < 6000 && lab.job.state == HUSK_BACKGROUND_WAITS; i++) {
            pause_ms(10);
            CHECK_EQ_I64(list(&lab), 1);
        }
        CHECK_EQ_I64(lab.job.state, HUSK_BACKGROUND_FAILED);
    }
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_FAILED);
    CHECK_CONTAINS(lab.compiled.background_error.message, "ended from outside, 3 times");
    lab_done(&lab);
}

/* As a job leaves it. */
static void leave_note(struct lab *lab, int status, const char *message, uint64_t end_s) {
    struct background_note note = {.state = BACKGROUND_NOTE_FAILED,
                                   .end_s = end_s,
                                   .cpu_limit_ns = 10000000000,
                                   .memory_limit_bytes = 1u << 30,
                                   .opt_level = 2,
                                   .attempts = 1};
    bool is_locked;
    char *path = job_path(lab);
    int fd = background_note_lock(path, &is_locked);
    CHECK(fd >= 0);
    error_set(&note.error, status, "%s", message);
    background_note_write(fd, &note);
    close(fd);
    free(path);
}

/* A job that was stopped left its key, and is forgotten. */
static void learn_key(struct lab *lab) {
    struct husk_error err;
    CHECK_EQ_I64(compile(lab), HUSK_BACKGROUND_BEGUN);
    CHECK(job_pid(lab) > 0);
    CHECK_OK(husk_background_stop(lab->folder, lab->job.key, &err), err);
    CHECK_OK(husk_background_forget(lab->folder, lab->job.key, &err), err);
}

TEST(a_limit_that_was_met_must_be_higher) {
    need_worker();
    struct lab lab;
    lab_init(&lab, true);
    learn_key(&lab);
    lab.options.cpu_limit_ns = 10000000000;
    lab.options.memory_limit_bytes = 1u << 30;
    leave_note(&lab, HUSK_E_TIMEOUT, "ten seconds", 1);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_FAILED);
    CHECK_EQ_I64(lab.compiled.background_end_s, 1);
    CHECK_EQ_I64(lab.compiled.background_error.status, HUSK_E_TIMEOUT);
    CHECK_CONTAINS(lab.compiled.background_error.message, "ten seconds");
    CHECK_EQ_I64(list(&lab), 1);
    CHECK_EQ_I64(lab.job.state, HUSK_BACKGROUND_FAILED);
    lab.options.cpu_limit_ns = 11000000000;
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    CHECK_EQ_I64(job_pid(&lab) > 0, true);
    CHECK_OK(husk_background_stop(lab.folder, lab.job.key, NULL), lab.job.error);
    lab.options.cpu_limit_ns = 10000000000;
    leave_note(&lab, HUSK_E_LIMIT, "one GiB", 1);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_FAILED);
    lab.options.memory_limit_bytes = (1u << 30) + 1;
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    lab_done(&lab);
}

TEST(other_failures_pass_after_a_day) {
    need_worker();
    struct lab lab;
    lab_init(&lab, true);
    learn_key(&lab);
    const uint64_t now = background_now_s();
    leave_note(&lab, HUSK_E_SYS, "no room", now);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_FAILED);
    leave_note(&lab, HUSK_E_SYS, "no room", now - BACKGROUND_RETRY_SECONDS + 600);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_FAILED);
    leave_note(&lab, HUSK_E_SYS, "no room", now - BACKGROUND_RETRY_SECONDS);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    lab_done(&lab);
}

TEST(a_limit_is_met) {
    need_worker();
    if (HARNESS_SANITIZED)
        SKIP("a sanitizer's worker has no limit of memory");
    struct lab lab;
    lab_init(&lab, true);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    CHECK(job_pid(&lab) > 0);
    char *path = job_path(&lab);
    CHECK_OK(husk_background_stop(lab.folder, lab.job.key, NULL), lab.job.error);
    CHECK_OK(husk_background_forget(lab.folder, lab.job.key, NULL), lab.job.error);
    lab.options.memory_limit_bytes = 1u << 20; /* level 0 is in the cache */
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    close(lab.turn);
    lab.turn = -1;
    wait_for_jobs(&lab);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_FAILED);
    CHECK_EQ_I64(lab.compiled.background_error.status, HUSK_E_LIMIT);
    CHECK_CONTAINS(lab.compiled.background_error.message, "1 MiB of memory");
    CHECK(lab.compiled.background_end_s + 600 > background_now_s());
    lab.options.memory_limit_bytes = 0;
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    wait_for_jobs(&lab);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_NONE);
    free(path);
    lab_done(&lab);
}

TEST(what_needs_no_job) {
    need_worker();
    struct lab lab;
    struct husk_error err;
    int fd;
    lab_init(&lab, true);
    lab.options.opt_level = HUSK_OPT_NONE;
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_NONE);
    lab.options.opt_level = 2;
    CHECK_OK(husk_compile_cached(small_wasm, sizeof small_wasm, &lab.options, &lab.compiled, &err),
             err);
    close(lab.compiled.fd);
    CHECK_EQ_I64(lab.compiled.background, HUSK_BACKGROUND_NONE);
    CHECK_EQ_I64(list(&lab), 0);
    lab.options.cache_dir = NULL;
    CHECK_STATUS(husk_compile(wasm, sizeof wasm, &lab.options, &fd, &err), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "optimise_in_background");
    lab_done(&lab);
}

TEST(a_folder_that_cannot_be_written) {
    need_worker();
    struct lab lab;
    lab_init(&lab, false);
    lab.options.cache_dir = "/proc/husk";
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_REFUSED);
    CHECK(lab.compiled.warning.status != 0);
    lab_done(&lab);
}

TEST(files_that_are_no_jobs) {
    need_worker();
    struct lab lab;
    lab_init(&lab, true);
    learn_key(&lab);
    char *path = job_path(&lab), turn[128];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600); /* garbage is no note */
    CHECK(fd >= 0 && write(fd, wasm, sizeof wasm) == (ssize_t)sizeof wasm);
    close(fd);
    CHECK_EQ_I64(list(&lab), 0);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    CHECK(job_pid(&lab) > 0);
    CHECK_OK(husk_background_stop(lab.folder, lab.job.key, NULL), lab.job.error);
    CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
    CHECK_EQ_I64(list(&lab), 0);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_REFUSED);
    CHECK(lab.compiled.background_error.status != 0);
    snprintf(turn, sizeof turn, "%s/background.turn", lab.folder);
    CHECK(rmdir(path) == 0 && symlink(turn, path) == 0); /* would be written to */
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_REFUSED);
    CHECK(unlink(path) == 0 && mkfifo(path, 0600) == 0); /* would wait */
    CHECK_EQ_I64(list(&lab), 0);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_REFUSED);
    free(path);
    lab_done(&lab);
}

/* Its process number may be anybody's here. */
TEST(a_job_of_another_machine_is_not_killed) {
    need_worker();
    struct lab lab;
    struct husk_error err;
    bool is_locked;
    lab_init(&lab, true);
    learn_key(&lab);
    pid_t bystander = fork(); /* before there is a lock that it would inherit */
    if (bystander == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    char *path = job_path(&lab);
    int fd = background_note_lock(path, &is_locked);
    struct background_note note = {.state = BACKGROUND_NOTE_WORKS, .attempts = 1};
    background_note_sign(&note);
    note.pid = (uint32_t)bystander;
    note.boot[0] ^= 1;
    background_note_write(fd, &note);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_WORKS);
    CHECK_EQ_I64(list(&lab), 1);
    CHECK_EQ_I64(lab.job.pid, 0);
    CHECK_STATUS(husk_background_stop(lab.folder, lab.job.key, &err), HUSK_E_UNSUPPORTED);
    close(fd); /* nobody works any more: nothing is killed for an old note either */
    CHECK_STATUS(husk_background_stop(lab.folder, lab.job.key, &err), HUSK_E_NOT_FOUND);
    CHECK_EQ_I64(waitpid(bystander, NULL, WNOHANG), 0);
    CHECK(kill(bystander, SIGKILL) == 0 && waitpid(bystander, NULL, 0) == bystander);
    free(path);
    lab_done(&lab);
}

TEST(a_folder_has_so_many_jobs) {
    need_worker();
    struct lab lab;
    bool is_locked;
    int fds[BACKGROUND_JOBS_MAX];
    char path[200];
    lab_init(&lab, true);
    for (int i = 0; i < BACKGROUND_JOBS_MAX; i++) {
        snprintf(path, sizeof path, "%s/%064d.job", lab.folder, i);
        fds[i] = background_note_lock(path, &is_locked);
        CHECK(fds[i] >= 0);
    }
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_REFUSED);
    CHECK_EQ_I64(lab.compiled.background_error.status, HUSK_E_LIMIT);
    CHECK_EQ_I64(list(&lab), 0);
    close(fds[0]);
    CHECK_EQ_I64(compile(&lab), HUSK_BACKGROUND_BEGUN);
    for (int i = 1; i < BACKGROUND_JOBS_MAX; i++)
        close(fds[i]);
    lab_done(&lab);
}

TEST(wrong_arguments) {
    struct lab lab;
    struct husk_error err;
    char key[66];
    lab_init(&lab, false);
    memset(key, 'a', sizeof key);
    key[65] = 0;
    CHECK_STATUS(husk_background_stop(lab.folder, key, &err), HUSK_E_INVAL);
    key[64] = 0;
    CHECK_STATUS(husk_background_stop(lab.folder, key, &err), HUSK_E_NOT_FOUND);
    CHECK_STATUS(husk_background_stop(lab.folder, "../../x", &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_background_stop(lab.folder, NULL, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_background_stop(NULL, key, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_background_forget("", key, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_background_list("", take_job, &lab, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_background_list(lab.folder, NULL, &lab, &err), HUSK_E_INVAL);
    CHECK_OK(husk_background_list("/tmp/husk-no-such-folder", take_job, &lab, &err), err);
    CHECK_STATUS(husk_background_list("/dev/null", take_job, &lab, &err), HUSK_E_SYS);
    lab_done(&lab);
}

TEST_MAIN()
