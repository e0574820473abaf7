/*
 * tests/support/traced.h: counts what a child process does between two runs of a VM: system calls,
 * page faults, and pages that it touches. The parent stops it at each system call (ptrace(2)).
 *
 * Pages: at the exit of a KVM_RUN the parent clears the accessed bits of the child's page-table
 * entries (clear_refs in proc(5)), makes the child flush its TLB, and at the entry of the next one
 * counts the bits that are set (Referenced in smaps). So these are pages of code and of data, the
 * child's own and its libraries', but not the kernel's.
 */
#ifndef TESTS_SUPPORT_TRACED_H
#define TESTS_SUPPORT_TRACED_H

#include <stdint.h>

struct traced_counts {
    uint32_t runs; /* KVM_RUN */
    /* The most between two runs. Clocks: clock_gettime(), which is a system call only where the
     * kernel's clock cannot be read without one. */
    uint32_t calls, clocks;
    /* The fewest between two runs: a process that ends elsewhere marks the pages of libraries that
     * it shares with this one. */
    uint32_t pages;
    uint32_t faults;     /* page faults in all */
    char call_names[96]; /* the numbers of the most system calls */
};

/* Run `work` in a child, which must call traced_begin(), do what is to be counted, and call
 * traced_end(). NULL, or the reason why the child could not be traced. If `work` fails it ends the
 * process with another code than 0, which ends the test. */
const char *traced_run(void (*work)(void *user), void *user, struct traced_counts *ret_counts);
void traced_begin(void);
void traced_end(void);
/* A run that is none, for tests of the counts themselves. */
void traced_run_pretend(void);

#endif
