/*
 * host/vm/syscall_x86_64.h: a system call without the C library, whose code is not in the CPU's
 * caches right after an exit. Only for calls that every restore makes.
 */
#ifndef HOST_SYSCALL_X86_64_H
#define HOST_SYSCALL_X86_64_H

/* Returns the kernel's result: below 0, it is -errno. */
static inline long syscall_now(long number, long a, long b, long c, long d) {
    register long fourth __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}

#endif
