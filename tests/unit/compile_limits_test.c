/*
 * tests/unit/compile_limits_test.c: if a compilation fails because of a limit of the embedding
 * process, the error names that limit, not the compiler's.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "husk_compile.h"
#include "sanitized.h"
#include "small_module.h"
#include "syscall_filter.h"

static void need_worker_and_filters(void) {
    need_worker();
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0)
        SKIP("this kernel has no seccomp filters");
}

/* What a small module's compilation says in a child with this limit. */
static void compile_under(void (*limit)(void), struct husk_error *ret_err) {
    int ends[2], status = -1;
    CHECK(pipe(ends) == 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct husk_error err = {0};
        int fd = -1;
        limit();
        err.status = husk_compile(small_wasm, sizeof small_wasm, NULL, &fd, &err);
        _exit(write(ends[1], &err, sizeof err) == sizeof err ? 0 : 1);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK_MSG(status == 0, "wait status 0x%x", (unsigned)status);
    CHECK(read(ends[0], ret_err, sizeof *ret_err) == sizeof *ret_err);
    close(ends[0]);
    close(ends[1]);
}

/* No thread more, as RLIMIT_NPROC and the pids controller say it; processes go on, and clone3 is
 * tried first. */
static void no_threads(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 2, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
    };
    syscall_filter_install(code, sizeof code / sizeof code[0]);
}

TEST(too_many_processes_are_not_too_little_memory) {
    struct husk_error err;
    need_worker_and_filters();
    compile_under(no_threads, &err);
    CHECK_STATUS(err.status, HUSK_E_LIMIT);
    CHECK_CONTAINS(err.message, "ulimit -u");
    CHECK(strstr(err.message, "memory") == NULL);
}

/* Enough to start the program, too little for a thread's stack. */
static void little_address_space(void) {
    const struct rlimit limit = {400u << 20, 400u << 20};
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        _exit(92);
}

TEST(address_space_is_the_limit_that_counts) {
    struct husk_error err;
    need_worker_and_filters();
    if (IS_SANITIZED)
        SKIP("sanitizers reserve terabytes of address space");
    compile_under(little_address_space, &err);
    CHECK_STATUS(err.status, HUSK_E_LIMIT);
    CHECK_CONTAINS(err.message, "400 MiB");
    CHECK_CONTAINS(err.message, "ulimit -v");
}

TEST_MAIN()
