/*
 * compiler/worker/contain_filter_x86_64.c: the system calls that compiling needs, as a seccomp
 * filter (kernel: Documentation/userspace-api/seccomp_filter.rst). Deliberately not libseccomp,
 * because every user would have to install one more library. It would replace only the few lines of
 * this file that append instructions.
 *
 * The list was measured: strace of compilations at all levels, of crashes, and of running out of
 * memory and time. Calls that glibc and LLVM 19 to 22 may make were added. Every other call ends
 * the process (SIGSYS): only code that has taken the process over makes it. Some calls are refused
 * with an errno instead, because C libraries try them and work without them. So are all new calls
 * (clone3 among them), for later C libraries.
 *
 * Deliberately not allowed: executable mappings (LLVM only writes objects), new threads and
 * processes (clone; the threads exist already), signals to other processes (abort() signals its
 * own), new descriptors, ioctl and fcntl.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "contain.h"
#include "sanitized.h"

#define REFUSE(number) (SECCOMP_RET_ERRNO | (number))
/* Sanitizers look at the process before they report: what they ask for fails, so that the report
 * still comes. */
#define OTHERWISE (IS_SANITIZED ? REFUSE(EPERM) : SECCOMP_RET_KILL_PROCESS)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The first number of the common table of system calls (Linux 5.1), and the bit of those of x32. */
#define FIRST_NEW_CALL 424u
#define X32_BIT 0x40000000u

/* Later than the kernel headers of Debian 12. */
#define ADVICE_GUARD_INSTALL 102
#define ADVICE_GUARD_REMOVE 103

/* The frequent ones first: a filter is read from the top. */
static const unsigned allowed[] = {
    SYS_munmap, SYS_brk, SYS_mremap,
    /* its descriptors */
    SYS_read, SYS_readv, SYS_pread64, SYS_write, SYS_writev, SYS_pwrite64, SYS_lseek, SYS_fstat,
    SYS_close,
    /* threads that exist; signals within the process */
    SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rt_sigpending, SYS_rt_sigtimedwait, SYS_rt_sigreturn,
    SYS_sigaltstack, SYS_restart_syscall, SYS_sched_yield, SYS_set_robust_list, SYS_rseq,
    SYS_getpid, SYS_gettid, SYS_exit, SYS_exit_group,
    /* clocks where the vDSO has none, sleep; random numbers; qsort() of glibc asks how much
     * memory there is */
    SYS_clock_gettime, SYS_gettimeofday, SYS_clock_nanosleep, SYS_nanosleep, SYS_time,
    SYS_getrandom, SYS_sysinfo};

static const struct refusal {
    unsigned call;
    unsigned answer; /* errno */
} refused[] = {
    /* glibc's malloc looks for /proc/sys/vm/overcommit_memory, its fstat() is newfstatat(),
     * isatty() an ioctl(); F_SETOWN would send signals; prctl() names threads and mappings */
    {SYS_openat, EACCES}, {SYS_open, EACCES},   {SYS_newfstatat, EACCES}, {SYS_stat, EACCES},
    {SYS_statx, EACCES},  {SYS_access, EACCES}, {SYS_readlink, EACCES},   {SYS_ioctl, ENOTTY},
    {SYS_fcntl, EPERM},   {SYS_prctl, EINVAL},
};

static const unsigned futex_ops[] = {FUTEX_WAIT_BITSET, FUTEX_WAKE,        FUTEX_WAIT,
                                     FUTEX_REQUEUE,     FUTEX_CMP_REQUEUE, FUTEX_WAKE_BITSET,
                                     FUTEX_WAKE_OP};
static const unsigned advices[] = {MADV_DONTNEED,        MADV_FREE,          MADV_NORMAL,
                                   MADV_HUGEPAGE,        MADV_NOHUGEPAGE,    MADV_DONTDUMP,
                                   ADVICE_GUARD_INSTALL, ADVICE_GUARD_REMOVE};

/* What `arg & mask` may be. */
static const struct choice {
    unsigned call, arg, mask;
    const unsigned *values;
    size_t values_count;
} choices[] = {{SYS_futex, 1, (unsigned)FUTEX_CMD_MASK, futex_ops, COUNT(futex_ops)},
               {SYS_madvise, 2, ~0u, advices, COUNT(advices)}};

#define PROGRAM_MAX 256

struct program {
    struct sock_filter code[PROGRAM_MAX];
    unsigned short count;
};

static void add(struct program *program, unsigned code, unsigned value, unsigned if_true,
                unsigned if_false) {
    if (program->count <
        PROGRAM_MAX) /* a filter that is cut off does not end in RET: the kernel refuses it */
        program->code[program->count++] = (struct sock_filter)BPF_JUMP(
            (unsigned short)code, value, (unsigned char)if_true, (unsigned char)if_false);
}

static void load(struct program *program, size_t offset) {
    add(program, BPF_LD | BPF_W | BPF_ABS, (unsigned)offset, 0, 0);
}

/* The low or the high half of an argument: a filter sees 32 bits at a time. */
static void load_arg(struct program *program, unsigned arg, unsigned half) {
    load(program, offsetof(struct seccomp_data, args) + 8u * arg + 4u * half);
}

static void give(struct program *program, unsigned verdict) {
    add(program, BPF_RET | BPF_K, verdict, 0, 0);
}

/* If the loaded value is `value`: this verdict; else go on below. */
static void give_if(struct program *program, unsigned value, unsigned verdict) {
    add(program, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    give(program, verdict);
}

/* If the loaded value is at least `value`. */
static void give_from(struct program *program, unsigned value, unsigned verdict) {
    add(program, BPF_JMP | BPF_JGE | BPF_K, value, 0, 1);
    give(program, verdict);
}

/* Begin what is for one system call only; its end is the next one's place. Returns what
 * end_call() wants. */
static unsigned begin_call(struct program *program, unsigned call) {
    add(program, BPF_JMP | BPF_JEQ | BPF_K, call, 0, 0);
    return program->count - 1u;
}

/* Every path of a call's own part must give a verdict: the loaded value is no longer the call's
 * number. */
static void end_call(struct program *program, unsigned begin, unsigned verdict) {
    give(program, verdict);
    if (begin < PROGRAM_MAX)
        program->code[begin].jf = (unsigned char)(program->count - begin - 1);
}

static void one_of(struct program *program, const struct choice *choice) {
    unsigned begin = begin_call(program, choice->call);
    load_arg(program, choice->arg, 0);
    add(program, BPF_ALU | BPF_AND | BPF_K, choice->mask, 0, 0);
    for (size_t i = 0; i < choice->values_count; i++)
        give_if(program, choice->values[i], SECCOMP_RET_ALLOW);
    end_call(program, begin, REFUSE(EINVAL));
}

static void without_exec(struct program *program, unsigned call) {
    unsigned begin = begin_call(program, call);
    load_arg(program, 2, 0);
    add(program, BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0);
    give(program, SECCOMP_RET_ALLOW);
    end_call(program, begin, OTHERWISE);
}

/* All 64 bits of the argument are `value`. */
static void only_value(struct program *program, unsigned call, unsigned arg, unsigned value,
                       unsigned verdict) {
    unsigned begin = begin_call(program, call);
    load_arg(program, arg, 1);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
    give(program, verdict);
    load_arg(program, arg, 0);
    give_if(program, value, SECCOMP_RET_ALLOW);
    end_call(program, begin, verdict);
}

/* Reading a limit, as glibc does to find a stack. (A pid is 32 bits; a pointer is not.) */
static void own_limits(struct program *program) {
    unsigned begin = begin_call(program, SYS_prlimit64);
    static const struct { unsigned arg, half; } zeros[] = {{0, 0}, {2, 0}, {2, 1}};
    for (size_t i = 0; i < COUNT(zeros); i++) {
        load_arg(program, zeros[i].arg, zeros[i].half);
        add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
        give(program, REFUSE(EPERM));
    }
    end_call(program, begin, SECCOMP_RET_ALLOW);
}

static void write_program(struct program *program) {
    /* 32-bit calls (int 0x80) have other numbers. */
    load(program, offsetof(struct seccomp_data, arch));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
    give(program, SECCOMP_RET_KILL_PROCESS);
    load(program, offsetof(struct seccomp_data, nr));
    give_from(program, X32_BIT, OTHERWISE);
    give_from(program, FIRST_NEW_CALL, REFUSE(ENOSYS));
    without_exec(program, SYS_mprotect);
    for (size_t i = 0; i < COUNT(choices); i++)
        one_of(program, &choices[i]);
    without_exec(program, SYS_mmap);
    for (size_t i = 0; i < COUNT(allowed); i++)
        give_if(program, allowed[i], SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < COUNT(refused); i++)
        give_if(program, refused[i].call, REFUSE(refused[i].answer));
    only_value(program, SYS_tgkill, 0, (unsigned)getpid(), OTHERWISE);
    only_value(program, SYS_sched_getaffinity, 0, 0, REFUSE(EPERM));
    own_limits(program);
    give(program, OTHERWISE);
}

int contain_load_filter(void) {
    struct program program = {.count = 0};
    write_program(&program);
    struct sock_fprog filter = {.len = program.count, .filter = program.code};
    /* SPEC_ALLOW: the slow defences against speculation guard secrets within a process, and this
     * one has none. */
    long thread = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                          SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter);
    if (thread > 0)
        errno = ESRCH; /* that thread has a filter of its own, and cannot take this one */
    return thread == 0 ? 0 : -1;
}
