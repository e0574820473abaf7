/*
 * libhusk_compile: it makes images, and each failure of the worker has a distinct error: missing,
 * crashing, killed, silent, out of time, out of memory. Nothing is leaked.
 */
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "files_in.h"
#include "harness.h"
#include "husk_compile.h"
#include "small_module.h"

TEST(an_image_comes_out) {
    need_worker();
    struct husk_error err;
    int fd = -1;
    CHECK_OK(husk_compile(small_wasm, sizeof small_wasm, NULL, &fd, &err), err);
    Elf64_Ehdr header;
    CHECK(read(fd, &header, sizeof header) == sizeof header);
    CHECK(memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_type == ET_EXEC);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(write(fd, "x", 1) < 0); /* sealed */
    close(fd);
}

static void count_progress(void *user, uint32_t done, uint32_t total) {
    uint32_t *last = user;
    CHECK(done <= total);
    *last = done;
}

TEST(every_level_and_progress) {
    need_worker();
    struct husk_error err;
    for (int level = 0; level <= 3; level++) {
        struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
        uint32_t last = 0;
        int fd = -1;
        options.opt_level = level == 0 ? HUSK_OPT_NONE : level;
        options.cpu = level == 0 ? "x86-64-v2" : NULL;
        options.progress = count_progress;
        options.progress_user = &last;
        CHECK_OK(husk_compile(small_wasm, sizeof small_wasm, &options, &fd, &err), err);
        CHECK_EQ_U64(last, 1);
        close(fd);
    }
}

TEST(bad_options) {
    struct husk_error err;
    int fd = -1;
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    options.opt_level = 4;
    CHECK_STATUS(husk_compile(small_wasm, sizeof small_wasm, &options, &fd, &err), HUSK_E_INVAL);
    options = (struct husk_compile_options){.size = 1};
    CHECK_STATUS(husk_compile(small_wasm, sizeof small_wasm, &options, &fd, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_compile(NULL, 0, NULL, &fd, &err), HUSK_E_INVAL);
    CHECK(fd == -1);
    CHECK(husk_is_wasm(small_wasm, sizeof small_wasm) && !husk_is_wasm("\0as", 3) &&
          !husk_is_wasm("\x7f"
                        "ELF",
                        4));
}

TEST(unknown_cpu) {
    need_worker();
    struct husk_error err;
    int fd = -1;
    char long_name[200];
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    options.cpu = "pentium-of-the-future";
    CHECK(husk_compile(small_wasm, sizeof small_wasm, &options, &fd, &err) != 0);
    CHECK_CONTAINS(err.message, "pentium-of-the-future");
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    options.cpu = long_name;
    CHECK_STATUS(husk_compile(small_wasm, sizeof small_wasm, &options, &fd, &err), HUSK_E_INVAL);
}

TEST(bad_wasm_keeps_its_offset) {
    need_worker();
    struct husk_error err;
    int fd = -1;
    uint8_t bad[sizeof small_wasm];
    memcpy(bad, small_wasm, sizeof bad);
    bad[sizeof bad - 3] = 0x42; /* i64.const where an i32 is due */
    CHECK_STATUS(husk_compile(bad, sizeof bad, NULL, &fd, &err), HUSK_E_INVALID_WASM);
    CHECK(err.offset >= 31 && err.offset < sizeof bad);
    CHECK_EQ_I64(err.status, HUSK_E_INVALID_WASM);
    CHECK_STATUS(husk_validate(bad, sizeof bad, &err), HUSK_E_INVALID_WASM);
    CHECK_STATUS(husk_compile(bad, 9, NULL, &fd, &err), HUSK_E_BAD_WASM);
    CHECK_STATUS(husk_compile("", 0, NULL, &fd, &err), HUSK_E_BAD_WASM);
    CHECK_STATUS(husk_validate("", 0, &err), HUSK_E_BAD_WASM);
    CHECK_OK(husk_validate(small_wasm, sizeof small_wasm, &err), err);
    CHECK(fd == -1);
}

/* A shell script in the worker's place, in a folder of its own: others may write /tmp. */
static int run_fake(const char *script, const struct husk_compile_options *base,
                    struct husk_error *err) {
    char folder[] = "/tmp/husk-fake-XXXXXX", path[64];
    struct husk_compile_options options = *base;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/worker", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0700), image = -1;
    CHECK(fd >= 0);
    CHECK(dprintf(fd, "#!/bin/sh\n%s\n", script) > 0);
    close(fd); /* or it could not be executed (ETXTBSY) */
    options.worker_path = path;
    int status = husk_compile(small_wasm, sizeof small_wasm, &options, &image, err);
    unlink(path);
    rmdir(folder);
    CHECK(status != 0 && image == -1);
    return status;
}

TEST(the_worker_fails) {
    struct husk_error err;
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    const unsigned before = files_in("/proc/self/fd");
    int fd = -1;
    CHECK_STATUS(run_fake("kill -KILL $$", &options, &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "killed");
    CHECK_STATUS(
        run_fake("echo noise >&2; echo 'LLVM ERROR: cannot select: f19' >&2; kill -ABRT $$",
                 &options, &err),
        HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "LLVM ERROR: cannot select: f19");
    CHECK_CONTAINS(err.message, "ABRT");
    CHECK_STATUS(run_fake("echo 'LLVM ERROR: out of memory' >&2; kill -ABRT $$", &options, &err),
                 HUSK_E_LIMIT);
    CHECK_CONTAINS(err.message, "8192 MiB");
    CHECK_STATUS(run_fake("kill -XCPU $$", &options, &err), HUSK_E_TIMEOUT);
    CHECK_CONTAINS(err.message, "600 seconds");
    CHECK_STATUS(run_fake("exit 0", &options, &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "exit code 0 and no result");
    CHECK_STATUS(run_fake("head -c 100000 /dev/zero >&5; exit 3", &options, &err), HUSK_E_COMPILER);
    CHECK_STATUS(run_fake("head -c 1000000 /dev/zero >&2; exit 3", &options, &err),
                 HUSK_E_COMPILER);
    options.worker_path = "/proc/absent/worker";
    CHECK_STATUS(husk_compile(small_wasm, sizeof small_wasm, &options, &fd, &err),
                 HUSK_E_NOT_FOUND);
    CHECK_CONTAINS(err.message, "/proc/absent/worker");
    options.worker_path = "/proc/self/environ";
    CHECK_STATUS(husk_compile(small_wasm, sizeof small_wasm, &options, &fd, &err),
                 HUSK_E_NOT_FOUND);
    CHECK_EQ_I64(files_in("/proc/self/fd"), before);
}

/* The worker gets its descriptors (6: its own program) and no others, no environment, and an
 * empty stdin. */
TEST(the_worker_inherits_nothing) {
    struct husk_error err;
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    int leak = open("/dev/null", O_RDONLY); /* deliberately without O_CLOEXEC */
    CHECK(leak >= 0);
    setenv("HUSK_TEST_SECRET", "1", 1);
    CHECK_STATUS(run_fake("for f in /proc/$$/fd/*; do case ${f##*/} in [0-6]|10|255) ;; *) test -e "
                          "$f && echo leaked $f "
                          ">&2;; esac; done;"
                          "test -n \"$HUSK_TEST_SECRET\" && echo leaked environment >&2; read x && "
                          "echo leaked stdin >&2;"
                          "echo looked >&2; exit 1",
                          &options, &err),
                 HUSK_E_COMPILER);
    close(leak);
    unsetenv("HUSK_TEST_SECRET");
    CHECK_CONTAINS(err.message, "exit code 1 and no result: looked");
}

/* Low descriptors that are free in the client must not confuse the hand-over to 3, 4 and 5. */
TEST(standard_descriptors_closed) {
    need_worker();
    struct husk_error err = {0};
    int saved[3], fd = -1;
    for (int i = 0; i < 3; i++)
        saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 100);
    for (int i = 0; i < 3; i++)
        close(i);
    int status = husk_compile(small_wasm, sizeof small_wasm, NULL, &fd, &err);
    if (status == 0)
        close(fd);
    for (int i = 0; i < 3; i++) {
        dup2(saved[i], i);
        close(saved[i]);
    }
    CHECK_OK(status, err);
}

TEST(children_of_the_embedder_ignored) {
    need_worker();
    struct husk_error err;
    int fd = -1;
    signal(SIGCHLD, SIG_IGN); /* then waitpid() has nothing to tell */
    int status = husk_compile(small_wasm, sizeof small_wasm, NULL, &fd, &err);
    signal(SIGCHLD, SIG_DFL);
    CHECK_OK(status, err);
    close(fd);
}

/* One function of `count` times i32.const, drop … in a shape that LLVM takes a while for: many
 * loads and stores in one block. */
static uint8_t *big_wasm(uint32_t accesses, size_t *ret_count) {
    static const uint8_t head[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 1, 4, 1, 0x60,
                                   0, 0,   3,   2,   1, 0, 5, 3, 1, 0, 1};
    /* i32.const 4; i32.const 8; i32.load; i32.const 12; i32.load; i32.add; i32.store */
    static const uint8_t body[] = {0x41, 4,    0x41, 8, 0x28, 2,    0, 0x41,
                                   12,   0x28, 2,    0, 0x6a, 0x36, 2, 0};
    uint32_t body_bytes = accesses * (uint32_t)sizeof body + 2, section_bytes = body_bytes + 6;
    uint8_t *wasm = malloc(sizeof head + 32 + body_bytes), *pos = wasm;
    CHECK(wasm != NULL);
    memcpy(pos, head, sizeof head);
    pos += sizeof head;
    *pos++ = 10;
    for (int i = 0; i < 5; i++)
        *pos++ = (uint8_t)((section_bytes >> 7 * i & 0x7f) | (i < 4 ? 0x80 : 0));
    *pos++ = 1;
    for (int i = 0; i < 5; i++)
        *pos++ = (uint8_t)((body_bytes >> 7 * i & 0x7f) | (i < 4 ? 0x80 : 0));
    *pos++ = 0;
    for (uint32_t i = 0; i < accesses; i++) {
        memcpy(pos, body, sizeof body);
        pos[1] = (uint8_t)(i % 60);
        pos += sizeof body;
    }
    *pos++ = 0x0b;
    *ret_count = (size_t)(pos - wasm);
    return wasm;
}

TEST(out_of_time) {
    need_worker();
    struct husk_error err;
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    size_t count;
    int fd = -1;
    uint8_t *wasm = big_wasm(470000, &count);
    options.cpu_limit_ns = 1000000000;
    CHECK_STATUS(husk_compile(wasm, count, &options, &fd, &err), HUSK_E_TIMEOUT);
    CHECK_CONTAINS(err.message, "1 seconds of CPU time");
    free(wasm);
}

struct asked {
    int count, end_at;
};

static int ask(void *user) {
    struct asked *asked = user;
    return ++asked->count == asked->end_at ? 1 : 0;
}

static void nothing(int signal) {
    (void)signal;
}

/* In a period, or after a signal; the first time before the worker is waited for. */
TEST(the_embedder_ends_it) {
    struct husk_error err;
    struct asked asked = {0, 4};
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    const unsigned before = files_in("/proc/self/fd");
    options.interrupted = ask;
    options.interrupted_user = &asked;
    options.interrupted_ns = 5000000;
    CHECK_STATUS(run_fake("exec sleep 60", &options, &err), HUSK_E_TIMEOUT);
    CHECK_CONTAINS(err.message, "interrupted");
    CHECK_EQ_I64(asked.count, 4);
    asked = (struct asked){0, 4}; /* also of a worker that has much to say */
    CHECK_STATUS(run_fake("exec cat /dev/zero >&2", &options, &err), HUSK_E_TIMEOUT);
    options.interrupted_ns = UINT64_MAX;
    const struct sigaction action = {.sa_handler = nothing};
    const struct itimerval period = {{0, 20000}, {0, 20000}}, none = {{0, 0}, {0, 0}};
    struct sigaction old;
    CHECK(sigaction(SIGALRM, &action, &old) == 0);
    for (int end_at = 1; end_at <= 4; end_at += 3) {
        asked = (struct asked){0, end_at};
        CHECK(setitimer(ITIMER_REAL, &period, NULL) == 0);
        CHECK_STATUS(run_fake("exec sleep 60", &options, &err), HUSK_E_TIMEOUT);
        CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
        CHECK_EQ_I64(asked.count, end_at);
    }
    CHECK(sigaction(SIGALRM, &old, NULL) == 0);
    asked = (struct asked){0, -1}; /* who never says so changes nothing */
    CHECK_STATUS(run_fake("exit 0", &options, &err), HUSK_E_COMPILER);
    CHECK(asked.count > 0);
    CHECK_EQ_I64(files_in("/proc/self/fd"), before);
}

TEST(out_of_memory) {
    need_worker();
    if (HARNESS_SANITIZED)
        SKIP("sanitizers need more address space than the limits that are tested");
    struct husk_error err;
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    size_t count;
    int fd = -1;
    uint8_t *wasm = big_wasm(400000, &count);
    options.threads = 1;
    options.memory_limit_bytes = 400u << 20;
    int status = husk_compile(wasm, count, &options, &fd, &err);
    CHECK_MSG(status == HUSK_E_LIMIT, "status %d: %s", status, err.message);
    CHECK_CONTAINS(err.message, "400 MiB");
    options.memory_limit_bytes = 1 << 20; /* not even room to start */
    status = husk_compile(small_wasm, sizeof small_wasm, &options, &fd, &err);
    CHECK(status != 0 && err.message[0] != '\0');
    free(wasm);
}

TEST(to_a_file) {
    need_worker();
    struct husk_error err;
    char folder[] = "/tmp/husk-compile-XXXXXX", path[64];
    struct stat st;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/out.husk", folder);
    CHECK_OK(husk_compile_to_file(small_wasm, sizeof small_wasm, NULL, path, &err), err);
    CHECK(stat(path, &st) == 0 && st.st_size > 4096);
    CHECK_STATUS(husk_compile_to_file(small_wasm, 9, NULL, path, &err), HUSK_E_BAD_WASM);
    CHECK(stat(path, &st) == 0 && st.st_size > 4096); /* the old file is still there */
    CHECK(unlink(path) == 0);
    CHECK_STATUS(
        husk_compile_to_file(small_wasm, sizeof small_wasm, NULL, "/proc/absent/out.husk", &err),
        HUSK_E_SYS);
    CHECK_CONTAINS(err.message, "/proc/absent/out.husk");
    CHECK(rmdir(folder) == 0);
}

TEST(nothing_is_leaked) {
    need_worker();
    struct husk_error err;
    unsigned before = files_in("/proc/self/fd");
    for (int i = 0; i < 10; i++) {
        int fd = -1;
        CHECK_OK(husk_compile(small_wasm, sizeof small_wasm, NULL, &fd, &err), err);
        close(fd);
        CHECK(husk_compile(small_wasm, 20, NULL, &fd, &err) != 0);
    }
    CHECK_EQ_I64(files_in("/proc/self/fd"), before);
}

TEST_MAIN()
