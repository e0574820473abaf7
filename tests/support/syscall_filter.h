/*
 * tests/support/syscall_filter.h: loads a seccomp filter for this process and its children. It
 * cannot be removed, so use it in a child process. Ends the process with code 92 if the kernel
 * refuses filters.
 */
#ifndef TESTS_SUPPORT_SYSCALL_FILTER_H
#define TESTS_SUPPORT_SYSCALL_FILTER_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <unistd.h>

static inline void syscall_filter_install(struct sock_filter *code, unsigned short count) {
    const struct sock_fprog program = {.len = count, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(92);
}

#endif
