/* tests/support/traced.c: see traced.h. Architecture: x86-64 (registers of a system call). */
#include "traced.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

/* System calls of no effect, with arguments that tell them apart from others. */
enum { MARK = 0x4855534b, MARK_BEGIN = 1, MARK_END = 2, NO_FD = -1 };
/* More than the kernel flushes one by one (tlb_single_page_flush_ceiling, 33). */
enum { SCRATCH_BYTES = 256 * 4096 };
enum { SYSCALL_BYTES = 2 };

struct tracing {
    pid_t pid;
    uint8_t *scratch; /* in the child; every page of it is there */
    bool is_inside;   /* the child is in a system call */
    bool is_counting;
    bool was_run;           /* the last system call was KVM_RUN, and it was counted */
    bool has_run;           /* since traced_begin() */
    uint32_t calls, clocks; /* since the last run, as are the names */
    char call_names[sizeof((struct traced_counts *)NULL)->call_names];
    uint64_t faults_before;
    struct traced_counts counts;
};

void traced_begin(void) {
    syscall(SYS_getppid, MARK, MARK_BEGIN);
}

void traced_end(void) {
    syscall(SYS_getppid, MARK, MARK_END);
}

void traced_run_pretend(void) {
    ioctl(NO_FD, KVM_RUN, 0);
}

/* ---- what the kernel says of the child ---- */

static FILE *proc_open(pid_t pid, const char *name, const char *mode) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    FILE *file = fopen(path, mode);
    CHECK_MSG(file != NULL, "%s: %s", path, strerror(errno));
    return file;
}

static void accessed_clear(pid_t pid) {
    FILE *file = proc_open(pid, "clear_refs", "we");
    CHECK(fputs("1\n", file) >= 0 && fclose(file) == 0);
}

static uint32_t accessed_pages(pid_t pid) {
    FILE *file = proc_open(pid, "smaps", "re");
    char line[512];
    unsigned long kib, sum = 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Referenced: %lu kB", &kib) == 1)
            sum += kib;
    fclose(file);
    return (uint32_t)(sum / 4);
}

static uint64_t faults(pid_t pid) {
    unsigned long minor = 0, major = 0;
    char line[1024] = "";
    FILE *file = proc_open(pid, "stat", "re");
    CHECK(fgets(line, sizeof line, file) != NULL);
    fclose(file);
    const char *rest = strrchr(line, ')'); /* the name may have anything in it */
    CHECK(rest != NULL &&
          sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %lu %*u %lu", &minor, &major) == 2);
    return minor + major;
}

/* ---- the child's steps ---- */

static void registers_get(pid_t pid, struct user_regs_struct *ret_regs) {
    CHECK(ptrace(PTRACE_GETREGS, pid, NULL, ret_regs) == 0);
}

/* Go on to the next stop. False: the child has ended. */
static bool step(pid_t pid, int signal, int *ret_wait_status) {
    CHECK(ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)signal) == 0);
    CHECK(waitpid(pid, ret_wait_status, 0) == pid);
    return WIFSTOPPED(*ret_wait_status);
}

/* Let the child, which has just made a system call, make this one. */
static void make_call(pid_t pid, uint64_t number, uint64_t a, uint64_t b, uint64_t c) {
    struct user_regs_struct saved, regs;
    int wait_status;
    registers_get(pid, &saved);
    regs = saved;
    regs.rip -= SYSCALL_BYTES;
    regs.rax = number;
    regs.rdi = a;
    regs.rsi = b;
    regs.rdx = c;
    CHECK(ptrace(PTRACE_SETREGS, pid, NULL, &regs) == 0);
    CHECK(step(pid, 0, &wait_status) && step(pid, 0, &wait_status));
    registers_get(pid, &regs);
    CHECK_MSG(regs.rax == 0, "the child's system call %llu: %lld", (unsigned long long)number,
              (long long)regs.rax);
    CHECK(ptrace(PTRACE_SETREGS, pid, NULL, &saved) == 0);
}

/* An accessed bit is set again only by a look into the page tables. To take rights away from more
 * pages than are flushed one by one flushes all; mprotect(2) is the child's to call. */
static void flush(const struct tracing *tracing) {
    const uint64_t at = (uintptr_t)tracing->scratch;
    make_call(tracing->pid, SYS_mprotect, at, SCRATCH_BYTES, PROT_READ);
    make_call(tracing->pid, SYS_mprotect, at, SCRATCH_BYTES, PROT_READ | PROT_WRITE);
}

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

static uint32_t most(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

/* The child is about to enter the guest. */
static void run_begins(struct tracing *tracing) {
    struct traced_counts *counts = &tracing->counts;
    counts->runs++;
    if (tracing->has_run) {
        counts->pages = least(counts->pages, accessed_pages(tracing->pid));
        if (tracing->calls > counts->calls)
            memcpy(counts->call_names, tracing->call_names, sizeof counts->call_names);
        counts->calls = most(counts->calls, tracing->calls);
        counts->clocks = most(counts->clocks, tracing->clocks);
    }
    tracing->has_run = tracing->was_run = true;
}

static void run_ended(struct tracing *tracing) {
    tracing->was_run = false;
    tracing->calls = tracing->clocks = 0;
    tracing->call_names[0] = '\0';
    accessed_clear(tracing->pid);
    flush(tracing);
}

static void call_note(struct tracing *tracing, uint64_t number) {
    char *names = tracing->call_names;
    const size_t used = strlen(names);
    if (number == SYS_clock_gettime) {
        tracing->clocks++;
        return;
    }
    tracing->calls++;
    snprintf(names + used, sizeof tracing->call_names - used, " %llu", (unsigned long long)number);
}

static void mark_note(struct tracing *tracing, uint64_t mark) {
    tracing->is_counting = mark == MARK_BEGIN;
    const uint64_t now = faults(tracing->pid);
    if (tracing->is_counting)
        tracing->faults_before = now;
    else
        tracing->counts.faults = (uint32_t)(now - tracing->faults_before);
}

/* A system call begins, or has ended. */
static void call_seen(struct tracing *tracing) {
    struct user_regs_struct regs;
    tracing->is_inside = !tracing->is_inside;
    if (!tracing->is_inside && !tracing->was_run)
        return;
    registers_get(tracing->pid, &regs);
    if (!tracing->is_inside)
        run_ended(tracing);
    else if (regs.orig_rax == SYS_getppid && regs.rdi == MARK)
        mark_note(tracing, regs.rsi);
    else if (tracing->is_counting && regs.orig_rax == SYS_ioctl && regs.rsi == KVM_RUN)
        run_begins(tracing);
    else if (tracing->is_counting)
        call_note(tracing, regs.orig_rax);
}

/* ---- the child ---- */

static void child_run(void (*work)(void *user), void *user, uint8_t *scratch) {
    memset(scratch, 1, SCRATCH_BYTES);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(99);
    raise(SIGSTOP);
    work(user);
    _exit(0);
}

/* Trace the child to its end. Returns how it ended. */
static int trace(struct tracing *tracing) {
    int wait_status = 0, signal = 0;
    CHECK(ptrace(PTRACE_SETOPTIONS, tracing->pid, NULL,
                 (void *)(intptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) == 0);
    while (step(tracing->pid, signal, &wait_status)) {
        const bool is_call = WSTOPSIG(wait_status) == (SIGTRAP | 0x80);
        signal = is_call ? 0 : WSTOPSIG(wait_status);
        if (is_call)
            call_seen(tracing);
    }
    return wait_status;
}

const char *traced_run(void (*work)(void *user), void *user, struct traced_counts *ret_counts) {
    struct tracing tracing = {.counts.pages = UINT32_MAX};
    int wait_status = 0;
    tracing.scratch =
        mmap(NULL, SCRATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(tracing.scratch != MAP_FAILED);
    CHECK(madvise(tracing.scratch, SCRATCH_BYTES, MADV_NOHUGEPAGE) == 0 || errno == EINVAL);
    fflush(stdout);
    tracing.pid = fork();
    if (tracing.pid == 0)
        child_run(work, user, tracing.scratch);
    CHECK(tracing.pid > 0 && waitpid(tracing.pid, &wait_status, WUNTRACED) == tracing.pid);
    const bool is_traced = WIFSTOPPED(wait_status);
    if (is_traced)
        wait_status = trace(&tracing);
    munmap(tracing.scratch, SCRATCH_BYTES);
    if (!is_traced && WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 99)
        return "this host does not let a process trace its child (ptrace)";
    CHECK_MSG(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0, "the child ended with 0x%x",
              wait_status);
    *ret_counts = tracing.counts;
    return NULL;
}
