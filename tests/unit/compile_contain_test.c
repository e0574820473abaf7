/*
 * The compiler's process after hostile code has taken it over. Child processes contain themselves
 * with the code of husk-compile-worker, then try the attacks. Each attack is first tried without
 * containment. An attack that fails there, too (no rights, no such feature), proves nothing and
 * does not count. The second half tests that the system calls of compiling still work.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "contain.h"
#include "crew.h"
#include "harness.h"
#include "husk_compile.h"
#include "small_module.h"
#include "syscall_filter.h"

#define ADDRESS(pointer) ((long)(pointer))

/* Stand for what is known only when the test runs. */
#define PARENT (-424242L)
#define PARENT_MEM (-424243L)    /* a path in /proc */
#define PARENT_STATUS (-424244L) /* the same, with less at stake */
#define FILE_FD (-424245L)       /* an open file of the process's */

static char secret[64] = "the parent's";
static char stolen[64];
static struct iovec here = {stolen, sizeof stolen}, there = {secret, sizeof secret};
static char path_arg[] = "/tmp/husk-contain-planted", program_arg[] = "/bin/true";
static char *exec_args[] = {program_arg, NULL};
static struct rlimit raised = {RLIM_INFINITY, RLIM_INFINITY};
static struct itimerspec soon;
static struct clone_args fork_args = {.exit_signal = SIGCHLD};
static uint8_t zeros[256];
static cpu_set_t cpus;
static timer_t timer_id;
static siginfo_t queued = {.si_code = SI_QUEUE};
static int pair[2];
static long page[1024] __attribute__((aligned(4096)));

/* Each is one system call; it has reached something if it returns 0 or more. */
static const struct attack {
    const char *what;
    long number;
    long args[6];
} attacks[] = {
    {"opens a file", SYS_openat, {AT_FDCWD, ADDRESS("/etc/passwd"), O_RDONLY}},
    {"opens a file, the old way", SYS_open, {ADDRESS("/etc/passwd"), O_RDONLY}},
    {"makes a file", SYS_openat, {AT_FDCWD, ADDRESS(path_arg), O_CREAT | O_RDWR, 0600}},
    {"looks at a file", SYS_stat, {ADDRESS("/etc/passwd"), ADDRESS(zeros)}},
    {"looks at a file by statx", SYS_statx, {AT_FDCWD, ADDRESS("/"), 0, 0x7ff, ADDRESS(zeros)}},
    {"looks at a file by newfstatat", SYS_newfstatat, {AT_FDCWD, ADDRESS("/"), ADDRESS(zeros), 0}},
    {"asks for a file", SYS_access, {ADDRESS("/etc/passwd"), R_OK}},
    {"asks for a file by faccessat", SYS_faccessat, {AT_FDCWD, ADDRESS("/"), R_OK}},
    {"reads a link", SYS_readlink, {ADDRESS("/proc/self/exe"), ADDRESS(zeros), 100}},
    {"makes a folder", SYS_mkdir, {ADDRESS(path_arg), 0700}},
    {"removes a folder", SYS_rmdir, {ADDRESS(path_arg)}},
    {"makes a link", SYS_symlink, {ADDRESS("/"), ADDRESS(path_arg)}},
    {"removes a file", SYS_unlink, {ADDRESS(path_arg)}},
    {"changes folder", SYS_chdir, {ADDRESS("/")}},
    {"asks for its folder", SYS_getcwd, {ADDRESS(zeros), sizeof zeros}},
    {"changes root", SYS_chroot, {ADDRESS("/")}},
    {"opens the parent's memory", SYS_openat, {AT_FDCWD, PARENT_MEM, O_RDWR}},
    {"looks at the parent in /proc", SYS_openat, {AT_FDCWD, PARENT_STATUS, O_RDONLY}},
    {"reads the parent's memory",
     SYS_process_vm_readv,
     {PARENT, ADDRESS(&here), 1, ADDRESS(&there), 1}},
    {"writes the parent's memory",
     SYS_process_vm_writev,
     {PARENT, ADDRESS(&there), 1, ADDRESS(&there), 1}},
    {"traces the parent", SYS_ptrace, {PTRACE_SEIZE, PARENT}},
    {"asks to be traced", SYS_ptrace, {PTRACE_TRACEME}},
    {"compares itself with the parent", SYS_kcmp, {PARENT, PARENT, 1}},
    {"signals the parent", SYS_kill, {PARENT, 0}},
    {"signals a thread of the parent", SYS_tgkill, {PARENT, PARENT, 0}},
    {"signals a thread", SYS_tkill, {PARENT, 0}},
    {"queues a signal", SYS_rt_sigqueueinfo, {PARENT, 0, ADDRESS(&queued)}},
    {"gets hold of the parent", SYS_pidfd_open, {PARENT}},
    {"knows its parent", SYS_getppid, {0}},
    {"limits the parent", SYS_prlimit64, {PARENT, RLIMIT_CORE, 0, ADDRESS(zeros)}},
    {"raises a limit", SYS_prlimit64, {0, RLIMIT_CORE, ADDRESS(&raised)}},
    {"raises a limit, the old way", SYS_setrlimit, {RLIMIT_CORE, ADDRESS(&raised)}},
    {"changes the parent's priority", SYS_setpriority, {PRIO_PROCESS, PARENT, 1}},
    {"asks where the parent may run", SYS_sched_getaffinity, {PARENT, sizeof cpus, ADDRESS(&cpus)}},
    {"opens an internet socket", SYS_socket, {AF_INET, SOCK_STREAM}},
    {"opens a local socket", SYS_socket, {AF_UNIX, SOCK_STREAM}},
    {"makes a pair of sockets", SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, ADDRESS(pair)}},
    {"makes a pipe", SYS_pipe2, {ADDRESS(pair)}},
    {"makes a memory file", SYS_memfd_create, {ADDRESS("x")}},
    {"makes an event descriptor", SYS_eventfd2, {0}},
    {"makes a set to poll", SYS_epoll_create1, {0}},
    {"watches files", SYS_inotify_init1, {0}},
    {"makes a timer descriptor", SYS_timerfd_create, {CLOCK_MONOTONIC}},
    {"makes a signal descriptor", SYS_signalfd4, {-1, ADDRESS(zeros), 8}},
    {"handles page faults", SYS_userfaultfd, {1}},
    {"makes a ring", SYS_io_uring_setup, {1, ADDRESS(zeros)}},
    {"reads the kernel's log", SYS_syslog, {10}},
    {"loads a filter of its own", SYS_bpf, {0, ADDRESS(zeros), sizeof zeros}},
    {"counts events", SYS_perf_event_open, {ADDRESS(zeros), 0, -1, -1}},
    {"copies a descriptor", SYS_dup, {FILE_FD}},
    {"copies a descriptor by fcntl", SYS_fcntl, {FILE_FD, F_DUPFD}},
    {"has signals sent", SYS_fcntl, {FILE_FD, F_SETOWN, PARENT}},
    {"seals or locks a file", SYS_flock, {FILE_FD, 2}},
    {"asks a device", SYS_ioctl, {FILE_FD, FIONREAD, ADDRESS(zeros)}},
    {"allocates in a file", SYS_fallocate, {FILE_FD, 0, 0, 4096}},
    {"resizes a file", SYS_ftruncate, {FILE_FD, 8192}},
    {"forks", SYS_fork, {0}},
    {"forks by vfork's call", SYS_clone, {CLONE_VFORK | SIGCHLD}},
    {"forks by clone", SYS_clone, {SIGCHLD}},
    {"forks by clone3", SYS_clone3, {ADDRESS(&fork_args), sizeof fork_args}},
    {"starts a program",
     SYS_execve,
     {ADDRESS(program_arg), ADDRESS(exec_args), ADDRESS(&exec_args[1])}},
    {"starts a program by execveat",
     SYS_execveat,
     {AT_FDCWD, ADDRESS(program_arg), ADDRESS(exec_args), 0, 0}},
    {"makes executable memory",
     SYS_mmap,
     {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1}},
    {"makes memory executable",
     SYS_mprotect,
     {ADDRESS(page), 4096, PROT_READ | PROT_WRITE | PROT_EXEC}},
    {"the same with a key", SYS_pkey_mprotect, {ADDRESS(page), 4096, PROT_READ | PROT_EXEC, -1}},
    {"shares pages with strangers", SYS_madvise, {ADDRESS(page), 4096, MADV_MERGEABLE}},
    {"shares memory", SYS_shmget, {0, 4096, 0600}},
    {"makes a semaphore", SYS_semget, {0, 1, 0600}},
    {"makes a message queue", SYS_msgget, {0, 0600}},
    {"uses the kernel's keys", SYS_keyctl, {0, -3, 0}},
    {"leaves its session", SYS_setsid, {0}},
    {"leaves its namespaces", SYS_unshare, {CLONE_FS}},
    {"mounts", SYS_mount, {ADDRESS("none"), ADDRESS("/"), 0, 1 << 18, 0}},
    {"changes user", SYS_setuid, {0}},
    {"changes group", SYS_setgid, {0}},
    {"changes how it runs", SYS_personality, {0xffffffff}},
    {"outlives its parent", SYS_prctl, {PR_SET_PDEATHSIG, 0}},
    {"makes a timer", SYS_timer_create, {CLOCK_MONOTONIC, 0, ADDRESS(&timer_id)}},
    {"sets an alarm", SYS_setitimer, {0, ADDRESS(&soon), 0}},
    {"asks which machine this is", SYS_uname, {ADDRESS(page)}},
    {"allows ports", SYS_ioperm, {0x80, 1, 0}},
};
#define ATTACKS_COUNT (sizeof attacks / sizeof attacks[0])

enum verdict { REACHED, REFUSED };

static pid_t parent;
static char mem_path[64], status_path[64];
static int file_fd = -1;

static long argument(long value) {
    switch (value) {
    case PARENT: return parent;
    case PARENT_MEM: return (long)mem_path;
    case PARENT_STATUS: return (long)status_path;
    case FILE_FD: return file_fd;
    default: return value;
    }
}

static bool attack_reaches(const void *arg) {
    const struct attack *attack = arg;
    long args[6];
    for (int i = 0; i < 6; i++)
        args[i] = argument(attack->args[i]);
    long result = syscall(attack->number, args[0], args[1], args[2], args[3], args[4], args[5]);
    return result >= 0;
}

/* The numbers of other tables: 20 is getpid of 32-bit programs, 39 that of 64-bit ones. */
static bool int80_reaches(const void *arg) {
    long result = 20;
    (void)arg;
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    return result > 0;
}

static bool x32_reaches(const void *arg) {
    (void)arg;
    return syscall(0x40000000L + 39) > 0;
}

static bool unknown_reaches(const void *arg) {
    (void)arg;
    return syscall(5000) >= 0;
}

static void thread_attack(void *arg) {
    *(bool *)arg = attack_reaches(&attacks[0]) || attack_reaches(&attacks[2]);
}

/* The threads that were there before are closed in, too. */
static struct crew *crew;
static bool thread_reaches(const void *arg) {
    bool reached = false;
    (void)arg;
    crew_run(crew, thread_attack, &reached);
    return reached;
}

static void *nothing(void *arg) {
    return arg;
}

static bool new_thread_reaches(const void *arg) {
    pthread_t thread;
    (void)arg;
    return pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0;
}

static void close_in(void) {
    contain_begin();
    if (crew_new(2, &crew, NULL) != 0 || contain_close(NULL) != 0)
        _exit(90);
}

static int in_child(bool is_contained, bool (*reaches)(const void *), const void *arg) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGABRT, SIG_DFL); /* not the harness's handlers */
        signal(SIGSEGV, SIG_DFL);
        if (is_contained)
            close_in();
        else if (crew_new(2, &crew, NULL) != 0)
            _exit(91);
        _exit(reaches(arg) ? 0 : 1);
    }
    int status = -1;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    return status;
}

static enum verdict verdict_of(const char *what, int status) {
    if (WIFSIGNALED(status)) {
        int number = WTERMSIG(status);
        CHECK_MSG(number == SIGSYS || number == SIGSEGV || number == SIGTRAP, "%s: signal %d", what,
                  number);
        return REFUSED;
    }
    CHECK_MSG(WEXITSTATUS(status) < 2, "%s: exit status %d", what, WEXITSTATUS(status));
    return WEXITSTATUS(status) == 0 ? REACHED : REFUSED;
}

static void need_seccomp(void) {
    pid_t pid = fork();
    if (pid == 0) {
        contain_begin();
        _exit(contain_close(NULL) == 0 ? 0 : 1);
    }
    int status = -1;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        SKIP("no seccomp filters here");
}

static void prepare(void) {
    parent = getpid();
    snprintf(mem_path, sizeof mem_path, "/proc/%d/mem", parent);
    snprintf(status_path, sizeof status_path, "/proc/%d/status", parent);
    file_fd = memfd_create("husk-test", MFD_CLOEXEC);
    CHECK(file_fd >= 0);
}

static void clean_up(void) {
    if (file_fd >= 0)
        close(file_fd);
    file_fd = -1;
    unlink(path_arg);
    rmdir(path_arg);
}

static enum verdict attempt(bool is_contained, const struct attack *attack) {
    clean_up();
    prepare();
    if (attack->number == SYS_rmdir) /* something to remove */
        CHECK(mkdir(path_arg, 0700) == 0);
    if (attack->number == SYS_unlink)
        CHECK(close(open(path_arg, O_CREAT | O_RDWR | O_CLOEXEC, 0600)) == 0);
    return verdict_of(attack->what, in_child(is_contained, attack_reaches, attack));
}

TEST(what_a_taken_over_compiler_tries) {
    need_seccomp();
    unsigned reached_without = 0;
    for (size_t i = 0; i < ATTACKS_COUNT; i++) {
        reached_without += attempt(false, &attacks[i]) == REACHED;
        CHECK_MSG(attempt(true, &attacks[i]) == REFUSED, "contained, it %s", attacks[i].what);
    }
    clean_up();
    CHECK_STR(secret, "the parent's");
    /* Some fail anyway: as an ordinary user, in a container. */
    CHECK_MSG(reached_without >= 40, "only %u of %zu attacks work even without containment",
              reached_without, ATTACKS_COUNT);
}

TEST(other_doors) {
    need_seccomp();
    prepare();
    CHECK(verdict_of("int 0x80", in_child(true, int80_reaches, NULL)) == REFUSED);
    CHECK(verdict_of("x32", in_child(true, x32_reaches, NULL)) == REFUSED);
    CHECK(verdict_of("an unknown call", in_child(true, unknown_reaches, NULL)) == REFUSED);
    CHECK(verdict_of("a new thread", in_child(false, new_thread_reaches, NULL)) == REACHED);
    if (!HARNESS_SANITIZED) /* their pthread_create() waits for a thread that never comes */
        CHECK(verdict_of("a new thread", in_child(true, new_thread_reaches, NULL)) == REFUSED);
    CHECK(verdict_of("a thread", in_child(false, thread_reaches, NULL)) == REACHED);
    CHECK(verdict_of("a thread", in_child(true, thread_reaches, NULL)) == REFUSED);
    clean_up();
}

/* Landlock is a door of its own, where the kernel has it: the first step alone already closes
 * the file system. */
static bool first_step_reaches(const void *arg) {
    contain_begin();
    return attack_reaches(arg);
}

TEST(the_file_system_closes_first) {
    prepare();
    if (syscall(444, NULL, 0, 1u) < 1)
        SKIP("no Landlock here");
    CHECK(verdict_of("a file", in_child(false, first_step_reaches, &attacks[0])) == REFUSED);
    CHECK(verdict_of("a new file", in_child(false, first_step_reaches, &attacks[2])) == REFUSED);
    clean_up();
}

/* ---- what compiling needs ---- */

static int number_order(const void *left, const void *right) {
    return *(const int *)left < *(const int *)right ? -1 : *(const int *)left > *(const int *)right;
}

static void thread_work(void *arg) {
    for (size_t bytes = 16; bytes < 64u << 20; bytes *= 2) {
        uint8_t *memory = malloc(bytes);
        if (memory == NULL)
            _exit(3);
        memset(memory, 1, bytes);
        memory = realloc(memory, bytes * 2);
        free(memory);
    }
    (void)arg;
}

static bool ordinary_work(const void *arg) {
    struct timespec now;
    size_t count = 1u << 20;
    int *numbers = calloc(count, sizeof *numbers);
    for (size_t i = 0; numbers != NULL && i < count; i++)
        numbers[i] = (int)((i * 2654435761u) & 0xffff);
    if (numbers == NULL)
        return false;
    qsort(numbers, count, sizeof *numbers, number_order);
    crew_run(crew, thread_work, NULL);
    crew_run(crew, thread_work, NULL);
    char byte = 'x';
    (void)arg;
    return pwrite(file_fd, &byte, 1, 100000) == 1 && pread(file_fd, &byte, 1, 100000) == 1 &&
           clock_gettime(CLOCK_MONOTONIC, &now) == 0 && numbers[0] <= numbers[count - 1];
}

static bool aborts(const void *arg) {
    (void)arg;
    abort();
}

static bool spins(const void *arg) {
    (void)arg;
    for (volatile bool on = true; on;)
        ;
    return true;
}

static bool spins_within_a_limit(const void *arg) {
    struct rlimit one = {1, 2};
    if (setrlimit(RLIMIT_CPU, &one) != 0)
        return false;
    close_in();
    return spins(arg);
}

TEST(what_compiling_needs) {
    need_seccomp();
    prepare();
    int status = in_child(true, ordinary_work, NULL);
    CHECK_MSG(status == 0, "wait status %x", (unsigned)status);
    status = in_child(true, aborts, NULL);
    CHECK_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "abort: wait status %x",
              (unsigned)status);
    status = in_child(false, spins_within_a_limit, NULL);
    CHECK_MSG(WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL),
              "CPU limit: wait status %x", (unsigned)status);
    clean_up();
}

/* ---- the real one ---- */

static bool status_has(pid_t pid, pid_t thread, const char *row) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, thread);
    int fd = open(path, O_RDONLY);
    ssize_t bytes = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[bytes > 0 ? bytes : 0] = 0;
    return strstr(text, row) != NULL;
}

struct looker {
    unsigned threads, good;
};

/* Runs in this process while the worker compiles: every thread of the child has the filter, and
 * no privileges. */
static void look_at_the_worker(void *user, uint32_t done, uint32_t total) {
    struct looker *looker = user;
    char path[64];
    int pid = 0;
    (void)done;
    (void)total;
    snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)syscall(SYS_gettid));
    FILE *children = fopen(path, "r");
    bool found = children != NULL && fscanf(children, "%d", &pid) == 1;
    if (children != NULL)
        fclose(children);
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = found ? opendir(path) : NULL;
    struct dirent *entry;
    while (tasks != NULL && (entry = readdir(tasks)) != NULL) {
        int thread = atoi(entry->d_name);
        if (thread == 0 || !status_has(pid, thread, "State:") ||
            status_has(pid, thread, "State:\tZ"))
            continue;
        looker->threads++;
        looker->good += status_has(pid, thread, "\nSeccomp:\t2\n") &&
                        status_has(pid, thread, "\nNoNewPrivs:\t1\n") &&
                        status_has(pid, thread, "\nCapPrm:\t0000000000000000\n");
    }
    if (tasks != NULL)
        closedir(tasks);
}

TEST(the_real_worker_is_closed_in) {
    need_seccomp();
    need_worker();
    if (access("/proc/thread-self/children", R_OK) != 0)
        SKIP("this kernel does not list children");
    struct looker looker = {0};
    struct husk_error err;
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    options.progress = look_at_the_worker;
    options.progress_user = &looker;
    /* a small module's worker may be gone already */
    for (int i = 0; i < 50 && looker.threads == 0; i++) {
        int fd = -1;
        CHECK_OK(husk_compile(small_wasm, sizeof small_wasm, &options, &fd, &err), err);
        close(fd);
    }
    CHECK_MSG(looker.threads > 0, "the worker was never seen");
    CHECK_EQ_U64(looker.good, looker.threads);
}

/* A sandbox around this process, in which these system calls fail: for what kernels lack. */
struct lack {
    unsigned calls[4]; /* 0: no more */
    int number;        /* errno; 0: the attempt is death */
    bool allow_uncontained;
};

static void forbid(const struct lack *lack) {
    struct sock_filter code[10] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    unsigned short count = 1;
    for (size_t i = 0; i < 4 && lack->calls[i] != 0; i++) {
        code[count++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, lack->calls[i], 0, 1);
        code[count++] = (struct sock_filter)BPF_STMT(
            BPF_RET | BPF_K, lack->number == 0 ? SECCOMP_RET_KILL_PROCESS
                                               : SECCOMP_RET_ERRNO | (unsigned)lack->number);
    }
    code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    syscall_filter_install(code, count);
}

/* Compiled, or refused for want of containment. */
static bool compiles_with(const void *arg) {
    const struct lack *lack = arg;
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_error err;
    int fd = -1;
    forbid(lack);
    options.allow_uncontained = lack->allow_uncontained;
    int status = husk_compile(small_wasm, sizeof small_wasm, &options, &fd, &err);
    if (status != 0 && (status != HUSK_E_SYS || strstr(err.message, "allow_uncontained") == NULL ||
                        strstr(err.message, "cannot be contained") == NULL)) {
        printf("status %d: %s\n", status, err.message);
        fflush(NULL);
        _exit(93);
    }
    return status == 0;
}

TEST(a_kernel_that_cannot_contain_it) {
    need_seccomp();
    need_worker();
    struct lack lack = {.calls = {SYS_seccomp}, .number = ENOSYS};
    CHECK(verdict_of("refused", in_child(false, compiles_with, &lack)) == REFUSED);
    lack.allow_uncontained = true;
    CHECK(verdict_of("allowed", in_child(false, compiles_with, &lack)) == REACHED);
}

/* Whose filter it was must not be mistaken: the module is not to blame. */
static bool is_blamed_on_the_sandbox(const void *arg) {
    struct husk_error err;
    int fd = -1;
    forbid(arg);
    return husk_compile(small_wasm, sizeof small_wasm, NULL, &fd, &err) == HUSK_E_SYS &&
           strstr(err.message, "filter around this program") != NULL &&
           strstr(err.message, "landlock_") != NULL;
}

TEST(a_sandbox_that_kills_for_the_attempt) {
    need_seccomp();
    need_worker();
    const struct lack lacks[] = {{.calls = {SYS_seccomp}}, {.calls = {444, 445, 446}}};
    for (size_t i = 0; i < sizeof lacks / sizeof lacks[0]; i++)
        CHECK(verdict_of("killed by another's filter",
                         in_child(false, is_blamed_on_the_sandbox, &lacks[i])) == REACHED);
}

/* Without Landlock, signals to groups through pidfds, or pidfds: seccomp is enough. */
TEST(kernels_with_less) {
    need_seccomp();
    need_worker();
    const struct lack lacks[] = {{{444, 445, 446}, ENOSYS, false},
                                 {{444, 445, 446}, EOPNOTSUPP, false},
                                 {{SYS_capset}, EPERM, false},
                                 {{SYS_pidfd_send_signal}, EINVAL, false},
                                 {{SYS_pidfd_send_signal, SYS_pidfd_open}, ENOSYS, false}};
    for (size_t i = 0; i < sizeof lacks / sizeof lacks[0]; i++)
        CHECK(verdict_of("a kernel with less", in_child(false, compiles_with, &lacks[i])) ==
              REACHED);
}

TEST_MAIN()
