/*
 * tests/hostile/entry_page_test.c: runs the entry page (host/vm/entry_page_x86_64.S) in this
 * process, in ring 3 under its kernel's CR4 and XCR0. A guest of kvm-pvm runs it in the same way.
 * So the test can leave the state that a guest there can leave: random values in every state
 * component that XGETBV shows, and protection keys that forbid all reading and writing.
 */
#include <asm/prctl.h>
#include <cpuid.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define AREA_BYTES 16384u
#define COMPONENT_PKRU 9u
/* a random tile configuration is refused, and tiles are not to be had without asking */
#define COMPONENTS_AMX (3ull << 17)
#define MXCSR_RESET 0x1f80u
#define X87_CONTROL_RESET 0x37fu

extern const uint8_t entry_page_sse[], entry_page_sse_end[], entry_page_xsave[],
    entry_page_xsave_end[], entry_page_pkru[], entry_page_pkru_end[];

struct trial {
    uint8_t before[AREA_BYTES], after[AREA_BYTES]; /* XSAVE areas */
    uint64_t components, code, fs_base;
    uint32_t has_pkru, pkru_before, pkru_after, unused;
    uint64_t lost_registers; /* RAX, RCX, RDX and R10 at the end, or'ed */
};
_Static_assert(offsetof(struct trial, components) == 32768 &&
                   offsetof(struct trial, lost_registers) == 32808,
               "the assembler below");

/* Between WRPKRU and RDPKRU no memory can be used, and until ARCH_SET_FS there is no thread-local
 * storage. */
void run_trial(struct trial *trial);
/* arch_prctl(ARCH_SET_FS) */
__asm__(
    ".pushsection .text\n run_trial:\n"
    " push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n mov %rdi, %rbx\n"
    " mov 32768(%rbx), %eax\n mov 32772(%rbx), %edx\n xrstor (%rbx)\n"
    " mov 32776(%rbx), %r12\n mov 32792(%rbx), %r13d\n lea 2f(%rip), %r11\n mov $-1, %r10\n"
    " mov 32796(%rbx), %eax\n xor %ecx, %ecx\n xor %edx, %edx\n test %r13d, %r13d\n jz 1f\n "
    "wrpkru\n 1: jmp "
    "*%r12\n"
    " 2: or %rcx, %rax\n or %rdx, %rax\n or %r10, %rax\n mov %rax, %r14\n"
    " xor %r15d, %r15d\n test %r13d, %r13d\n jz 3f\n xor %ecx, %ecx\n rdpkru\n mov %eax, %r15d\n"
    " mov $0x55555554, %eax\n xor %edx, %edx\n wrpkru\n 3: mov %r14, 32808(%rbx)\n mov %r15d, "
    "32800(%rbx)\n"
    " mov 32768(%rbx), %eax\n mov 32772(%rbx), %edx\n xsave 16384(%rbx)\n"
    " xor %eax, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %gs\n"
    " mov $158, %eax\n mov $0x1002, %edi\n mov 32784(%rbx), %rsi\n syscall\n"
    " fninit\n cld\n pushq $0x1f80\n ldmxcsr (%rsp)\n pop %rax\n"
    " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n.popsection");

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t next_random(void) { /* xorshift64 */
    random_state ^= random_state << 13, random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static uint64_t host_xcr0(void) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __get_cpuid(1, &a, &b, &c, &d);
    if ((c >> 27 & 1) == 0)
        harness_skip("this kernel has no XSAVE on");
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (uint64_t)d << 32 | a;
}

static bool host_has_pkru(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c >> 4 & 1) != 0;
}

static void fill(struct trial *trial, uint64_t components) {
    for (size_t i = 0; i < AREA_BYTES; i += 8) {
        uint64_t word = next_random();
        memcpy(trial->before + i, &word, sizeof word);
    }
    memset(trial->before + 26, 0, 2); /* MXCSR's reserved half */
    memset(trial->before + 512, 0, 64);
    memcpy(trial->before + 512, &components, sizeof components);
    memset(trial->after, 0, AREA_BYTES);
    trial->components = components;
}

/* Every byte of every component is its initial one. Some CPUs leave the x87 pointers of the kernel
 * behind (bytes 8 to 23). */
static void check_reset(const struct trial *trial, const char *what) {
    uint8_t expected[AREA_BYTES] = {0};
    const uint32_t mxcsr = MXCSR_RESET;
    expected[0] = X87_CONTROL_RESET & 0xff;
    expected[1] = X87_CONTROL_RESET >> 8;
    memcpy(expected + 8, trial->after + 8, 16);
    memcpy(expected + 24, &mxcsr, sizeof mxcsr);
    memcpy(expected + 28, trial->after + 28, 4); /* MXCSR_MASK is the CPU's */
    memcpy(expected + 512, trial->after + 512, 8);
    for (size_t i = 0; i < AREA_BYTES; i++)
        CHECK_MSG(expected[i] == trial->after[i],
                  "%s: byte %zu of the XSAVE area is %02x, expected %02x", what, i, trial->after[i],
                  expected[i]);
    CHECK_MSG(trial->lost_registers == 0, "%s: RAX, RCX, RDX or R10 (the ticket) has a value",
              what);
}

static int child_main(void *arg) {
    run_trial(arg);
    return 0;
}

/* In a process of its own that shares memory: the C library has not registered it for restartable
 * sequences (rseq(2)), which the kernel would write to memory when it interrupts it, where there is
 * no right to write. */
static void run_apart(struct trial *trial) {
    const size_t stack_bytes = 65536;
    uint8_t *stack = malloc(stack_bytes);
    CHECK(stack != NULL);
    sigset_t all, old;
    sigfillset(&all);
    CHECK(sigprocmask(SIG_SETMASK, &all, &old) == 0);
    pid_t child = clone(child_main, stack + stack_bytes, CLONE_VM | SIGCHLD, trial);
    int status = 0;
    const bool has_ended = child > 0 && waitpid(child, &status, 0) == child;
    CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
    CHECK_MSG(has_ended && status == 0, "the entry page ended its process: wait status 0x%x",
              status);
    free(stack);
}

static void run(struct trial *trial, const uint8_t *code, const uint8_t *end) {
    uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED && end - code <= 4096);
    memcpy(page, code, (size_t)(end - code));
    CHECK(mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
    trial->code = (uintptr_t)page;
    CHECK(syscall(SYS_arch_prctl, ARCH_GET_FS, &trial->fs_base) == 0);
    run_apart(trial);
    munmap(page, 4096);
}

static struct trial *trial_new(void) {
    struct trial *trial = aligned_alloc(64, (sizeof *trial + 63) & ~(size_t)63);
    CHECK(trial != NULL);
    memset(trial, 0, sizeof *trial);
    return trial;
}

static void show(const char *variant, uint64_t components) {
    printf("  %s: components 0x%llx of XCR0\n", variant, (unsigned long long)components);
}

TEST(without_xsave) {
    host_xcr0();
    struct trial *trial = trial_new();
    for (int i = 0; i < 100; i++) {
        fill(trial, 3);
        run(trial, entry_page_sse, entry_page_sse_end);
        check_reset(trial, "x87 and SSE");
    }
    free(trial);
}

TEST(with_xsave) {
    const uint64_t components = host_xcr0() & ~(COMPONENTS_AMX | 1ull << COMPONENT_PKRU);
    struct trial *trial = trial_new();
    show("xsave", components);
    for (int i = 0; i < 100; i++) {
        fill(trial, components);
        run(trial, entry_page_xsave, entry_page_xsave_end);
        check_reset(trial, "all of XCR0");
    }
    free(trial);
}

TEST(with_protection_keys) {
    const uint64_t components = host_xcr0() & ~(COMPONENTS_AMX | 1ull << COMPONENT_PKRU);
    if (!host_has_pkru())
        harness_skip("this CPU, or this kernel, has no protection keys (PKRU)");
    struct trial *trial = trial_new();
    show("pkru", components);
    trial->has_pkru = 1;
    for (int i = 0; i < 100; i++) {
        fill(trial, components);
        trial->pkru_before = i % 2 == 0 ? UINT32_MAX : (uint32_t)next_random() | 1;
        run(trial, entry_page_pkru, entry_page_pkru_end);
        check_reset(trial, "all of XCR0, without the right to read");
        CHECK_EQ_U64(trial->pkru_after, 0);
    }
    free(trial);
}

TEST_MAIN()
