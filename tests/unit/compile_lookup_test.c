/*
 * Which worker libhusk_compile starts, and what a misbehaving worker can do to its client. A worker
 * that another user could have put there is refused. A worker that hangs, leaves processes behind
 * or lies causes an error, and nothing is left of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "file.h"
#include "harness.h"
#include "husk_compile.h"
#include "worker_proto.h"
#include "small_module.h"
#include "syscall_filter.h"

#define STRANGER 12345

/* A script in the worker's place, in a folder of its own. */
struct fake {
    char folder[40], path[64], file[64];
};

static void fake_make(struct fake *fake, const char *script) {
    strcpy(fake->folder, "/tmp/husk-fake-XXXXXX");
    CHECK(mkdtemp(fake->folder) != NULL);
    snprintf(fake->path, sizeof fake->path, "%s/worker", fake->folder);
    snprintf(fake->file, sizeof fake->file, "%s/file", fake->folder);
    int fd = open(fake->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    CHECK(fd >= 0 && dprintf(fd, "#!/bin/sh\nfile='%s'\n%s\n", fake->file, script) > 0);
    CHECK(fchmod(fd, 0700) == 0); /* whatever the umask is */
    close(fd);
}

static void fake_remove(struct fake *fake) {
    unlink(fake->file);
    unlink(fake->path);
    rmdir(fake->folder);
}

static int compile_with(const char *worker_path, struct husk_error *err) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    int fd = -1;
    options.worker_path = worker_path;
    int status = husk_compile(small_wasm, sizeof small_wasm, &options, &fd, err);
    if (fd >= 0)
        close(fd);
    return status;
}

/* Not started, and told why. */
static void check_refused(const struct fake *fake, const char *path, const char *why) {
    struct husk_error err;
    CHECK_STATUS(compile_with(path, &err), HUSK_E_NOT_FOUND);
    CHECK_CONTAINS(err.message, why);
    CHECK_CONTAINS(err.message, path);
    CHECK_MSG(access(fake->file, F_OK) != 0, "%s: it was started", why);
}

static void check_started(const struct fake *fake, const char *path) {
    struct husk_error err;
    CHECK_STATUS(compile_with(path, &err), HUSK_E_COMPILER);
    CHECK_MSG(access(fake->file, F_OK) == 0, "not started: %s", err.message);
    CHECK(unlink(fake->file) == 0);
}

TEST(others_may_not_write_the_worker) {
    struct fake fake;
    fake_make(&fake, "echo started >\"$file\"; exit 3");
    check_started(&fake, fake.path);
    CHECK(chmod(fake.path, 0702) == 0 || errno == EPERM);
    check_refused(&fake, fake.path, "its file: everybody may write it");
    CHECK(chmod(fake.path, 0700) == 0 && chmod(fake.folder, 0777) == 0);
    check_refused(&fake, fake.path, "its folder: everybody may write it");
    /* as /tmp: others may put files there, if not replace this one */
    CHECK(chmod(fake.folder, 01777) == 0);
    check_refused(&fake, fake.path, "its folder: everybody may write it");
    CHECK(chmod(fake.folder, 0700) == 0);
    check_started(&fake, fake.path);
    fake_remove(&fake);
}

TEST(a_link_is_as_good_as_its_folder) {
    struct fake fake, other;
    char link[64];
    fake_make(&fake, "echo started >\"$file\"; exit 3");
    fake_make(&other, "exit 4");
    snprintf(link, sizeof link, "%s/link", other.folder);
    CHECK(symlink(fake.path, link) == 0);
    check_started(&fake, link);
    CHECK(chmod(other.folder, 0777) == 0);
    check_refused(&fake, link, "its folder: everybody may write it");
    CHECK(unlink(link) == 0);
    fake_remove(&other);
    fake_remove(&fake);
}

/* A group that has its owner's number is the owner's own, as pam_umask(8) has it; others are
 * others. */
TEST(groups) {
    if (geteuid() != 0)
        SKIP("only root can give files to groups at will");
    struct fake fake;
    fake_make(&fake, "echo started >\"$file\"; exit 3");
    CHECK(chown(fake.path, 0, STRANGER) == 0 && chmod(fake.path, 0770) == 0);
    check_refused(&fake, fake.path, "its file: its group may write it");
    CHECK(chown(fake.path, 0, 0) == 0 && chmod(fake.path, 0770) == 0);
    check_started(&fake, fake.path);
    CHECK(chown(fake.folder, 0, STRANGER) == 0 && chmod(fake.folder, 0770) == 0);
    check_refused(&fake, fake.path, "its folder: its group may write it");
    fake_remove(&fake);
}

/* As without /proc. */
static void forbid_getxattr(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getxattr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOENT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    syscall_filter_install(code, sizeof code / sizeof code[0]);
}

/* A list that cannot be looked for may be there. */
TEST(a_group_that_may_have_an_access_control_list) {
    struct fake fake;
    struct stat st;
    int status = -1;
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0)
        SKIP("this kernel has no seccomp filters");
    fake_make(&fake, "echo started >\"$file\"; exit 3");
    CHECK(chmod(fake.path, 0770) == 0 && stat(fake.path, &st) == 0);
    if (st.st_uid != st.st_gid) {
        fake_remove(&fake);
        SKIP("this user's group has another number");
    }
    check_started(&fake, fake.path);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct husk_error err;
        forbid_getxattr();
        _exit(compile_with(fake.path, &err) == HUSK_E_NOT_FOUND &&
                      strstr(err.message, "its group may write it") != NULL
                  ? 0
                  : 1);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK_EQ_I64(status, 0);
    CHECK(access(fake.file, F_OK) != 0);
    fake_remove(&fake);
}

TEST(owners) {
    if (geteuid() != 0)
        SKIP("only root can give files away");
    struct fake fake;
    fake_make(&fake, "echo started >\"$file\"; exit 3");
    CHECK(chown(fake.path, STRANGER, 0) == 0);
    check_refused(&fake, fake.path, "its file: it belongs to another user");
    CHECK(chown(fake.path, 0, 0) == 0 && chown(fake.folder, STRANGER, 0) == 0);
    check_refused(&fake, fake.path, "its folder: it belongs to another user");
    fake_remove(&fake);
}

/* ---- the client of a worker that misbehaves ---- */

/* Pids that the script wrote: all of them must be gone soon, or be nobody's but init's to
 * collect. */
static bool is_running(pid_t pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t bytes = read(fd, text, sizeof text - 1);
    close(fd);
    text[bytes > 0 ? bytes : 0] = 0;
    const char *state = strrchr(text, ')');
    return state != NULL && state[2] != 'Z' && state[2] != 'X';
}

static void check_gone(const struct fake *fake, unsigned wanted) {
    FILE *file = fopen(fake->file, "r");
    unsigned count = 0;
    int pid;
    CHECK(file != NULL);
    for (; fscanf(file, "%d", &pid) == 1; count++) {
        struct timespec moment = {.tv_nsec = 10000000};
        /* it has been killed: dying takes a moment */
        for (int i = 0; i < 1000 && is_running(pid); i++)
            nanosleep(&moment, NULL);
        CHECK_MSG(!is_running(pid), "process %d is left", pid);
    }
    fclose(file);
    CHECK_EQ_U64(count, wanted);
}

/* Without its pipes nothing can come any more: it is not waited for. */
TEST(a_worker_that_hangs_up_is_killed) {
    struct fake fake;
    struct husk_error err;
    fake_make(&fake, "echo $$ >\"$file\"; exec sleep 1000 2>&- 5>&-");
    CHECK_STATUS(compile_with(fake.path, &err), HUSK_E_COMPILER);
    check_gone(&fake, 1);
    fake_remove(&fake);
}

TEST(the_whole_group_is_killed) {
    struct fake fake;
    struct husk_error err;
    fake_make(&fake, "sleep 1000 2>&- 5>&- & echo $! $$ >\"$file\"; exec sleep 1000 2>&- 5>&-");
    CHECK_STATUS(compile_with(fake.path, &err), HUSK_E_COMPILER);
    check_gone(&fake, 2);
    fake_remove(&fake);
    fake_make(&fake, "sleep 1000 & echo $! >\"$file\"; exit 3"); /* holds the pipes */
    CHECK_STATUS(compile_with(fake.path, &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "exit code 3");
    check_gone(&fake, 1);
    fake_remove(&fake);
}

/* A worker that says this, and then does that. */
static int compile_with_message(const struct worker_message *message, const char *end,
                                struct husk_error *err) {
    struct fake fake;
    char script[80];
    snprintf(script, sizeof script, "cat \"$file\" >&5; %s", end);
    fake_make(&fake, script);
    int fd = open(fake.file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && file_write_all(fd, message, sizeof *message) == 0);
    close(fd);
    int status = compile_with(fake.path, err);
    fake_remove(&fake);
    return status;
}

TEST(lies_are_put_in_order) {
    struct worker_message message = {.kind = WORKER_RESULT, .status = 7};
    struct husk_error err;
    CHECK_STATUS(compile_with_message(&message, "exit 0", &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "nonsense");
    message.status = -12345;
    CHECK_STATUS(compile_with_message(&message, "exit 0", &err), HUSK_E_COMPILER);
    message.status = HUSK_E_INVALID_WASM;
    memset(message.error.message, 'x', sizeof message.error.message); /* no NUL */
    memcpy(message.error.message, "bad \033[2J\302\233K", 11);
    CHECK_STATUS(compile_with_message(&message, "exit 0", &err), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "bad ?[2J?");
    CHECK(strchr(err.message, '\033') == NULL && strlen(err.message) == sizeof err.message - 1);
    message = (struct worker_message){.kind = WORKER_RESULT, .image_bytes = 4096};
    /* there is no image */
    CHECK_STATUS(compile_with_message(&message, "exit 0", &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "incomplete image");
}

/* The system call that ends a contained worker that was taken over. */
TEST(a_forbidden_call_is_named) {
    const struct worker_message contained = {.kind = WORKER_CONTAINED};
    struct fake fake;
    struct husk_error err;
    CHECK_STATUS(compile_with_message(&contained, "kill -SYS $$", &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "taken it over");
    fake_make(&fake, "kill -SYS $$"); /* not contained yet: somebody else's filter */
    CHECK_STATUS(compile_with(fake.path, &err), HUSK_E_SYS);
    CHECK_CONTAINS(err.message, "filter around this program");
    fake_remove(&fake);
}

/* ---- the size of the image ---- */

/* (module (memory 1) (data (i32.const 0) "…60 KiB…")): the image is larger than a page or two. */
static uint8_t *wasm_with_data(size_t *ret_count) {
    enum { DATA_BYTES = 60000 };
    static const uint8_t head[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 5, 3, 1, 0, 1, 11};
    uint8_t *wasm = malloc(sizeof head + DATA_BYTES + 32), *pos = wasm;
    CHECK(wasm != NULL);
    memcpy(pos, head, sizeof head);
    pos += sizeof head;
    uint32_t sizes[2] = {DATA_BYTES + 8, DATA_BYTES};
    for (int i = 0; i < 2; i++) {
        *pos++ = (uint8_t)((sizes[i] & 0x7f) | 0x80);
        *pos++ = (uint8_t)((sizes[i] >> 7 & 0x7f) | 0x80);
        *pos++ = (uint8_t)(sizes[i] >> 14);
        static const uint8_t segment[] = {1, 0, 0x41, 0, 0x0b};
        if (i == 0) {
            memcpy(pos, segment, sizeof segment);
            pos += sizeof segment;
        }
    }
    memset(pos, 0x55, DATA_BYTES);
    *ret_count = (size_t)(pos - wasm) + DATA_BYTES;
    return wasm;
}

/* The caller's own limit stays, and is named; it was put on the worker's output before the
 * module was read. */
TEST(the_image_has_a_limit) {
    need_worker();
    struct husk_error err;
    struct rlimit before, tight;
    size_t count;
    int fd = -1;
    uint8_t *wasm = wasm_with_data(&count);
    CHECK_OK(husk_compile(wasm, count, NULL, &fd, &err), err);
    close(fd);
    fd = -1;
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    tight = before;
    tight.rlim_cur = 62000; /* the module fits in, its image does not */
    CHECK(count < 61000 && setrlimit(RLIMIT_FSIZE, &tight) == 0);
    int status = husk_compile(wasm, count, NULL, &fd, &err);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_MSG(status == HUSK_E_LIMIT && fd == -1, "status %d: %s", status, err.message);
    CHECK_CONTAINS(err.message, "ulimit -f");
    free(wasm);
}

TEST_MAIN()
