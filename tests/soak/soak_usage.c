/* tests/soak/soak_usage.c: what the process has: see soak.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files_in.h"
#include "soak.h"

/* Measured between rounds, when no sandbox is left. The allocator keeps arenas of threads and the
 * sanitizers freed memory, mappings and threads of their own. */
enum {
    ALLOWED_DESCRIPTORS = 0,
    ALLOWED_THREADS = 0,
    ALLOWED_CHILDREN = 0,
    ALLOWED_MAPPINGS = HARNESS_SANITIZED ? 2000 : 24,
    ALLOWED_RSS_KIB = 24 * 1024, /* plain builds only */
    ALLOWED_KERNEL_KIB = 64 * 1024
};

static long number_in(const char *path, const char *name) {
    char line[512];
    long number = -1;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            number = strtol(line + strlen(name), NULL, 10);
    fclose(file);
    return number;
}

static long lines_in(const char *path) {
    long lines = 0;
    FILE *file = fopen(path, "re");
    for (int c; file != NULL && (c = getc(file)) != EOF;)
        lines += c == '\n';
    if (file != NULL)
        fclose(file);
    return lines;
}

/* The kernel's memory of this process's control group. Version 1 counts bytes in one file; version
 * 2 has a line in memory.stat. */
static long kernel_kib(void) {
    char line[512], path[640];
    long bytes = -1;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file != NULL && bytes < 0 && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *memory = strstr(line, ":memory:");
        if (memory != NULL) {
            snprintf(path, sizeof path, "/sys/fs/cgroup/memory%s/memory.kmem.usage_in_bytes",
                     memory + strlen(":memory:"));
            bytes = number_in(path, "");
        } else if (strncmp(line, "0::", 3) == 0) {
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.stat", line + 3);
            bytes = number_in(path, "kernel ");
        }
    }
    if (file != NULL)
        fclose(file);
    return bytes < 0 ? -1 : bytes / 1024;
}

/* Processes whose parent is this one, dead or not. */
static long children(void) {
    char command[96];
    snprintf(command, sizeof command,
             "grep -hs '^PPid:.%ld$' /proc/[0-9]*/status 2>/dev/null | wc -l",
             number_in("/proc/self/status", "Pid:"));
    FILE *list = popen(command, "re");
    long count = -1;
    if (list != NULL && fscanf(list, "%ld", &count) != 1)
        count = -1;
    if (list != NULL)
        pclose(list);
    return count - 1; /* the shell */
}

struct usage usage_now(void) {
    return (struct usage){.descriptors = files_in("/proc/self/fd"),
                          .mappings = lines_in("/proc/self/maps"),
                          .threads = files_in("/proc/self/task"),
                          .children = children(),
                          .rss_kib = number_in("/proc/self/status", "VmRSS:"),
                          .kernel_kib = kernel_kib()};
}

static unsigned compare(const char *what, long before, long after, long allowed) {
    if (before < 0 || after < 0 || after <= before + allowed)
        return 0;
    printf("soak: %s grew from %ld to %ld; allowed: %ld\n", what, before, after, allowed);
    return 1;
}

/* All processes of the control group count. So a short run beside others does not judge it; a long
 * one does, with an allowance that SOAK_KERNEL_KIB can set. */
static unsigned compare_kernel(const struct usage *before, const struct usage *after,
                               uint64_t seconds) {
    const char *allowed = getenv("SOAK_KERNEL_KIB");
    if (seconds < 60 && allowed == NULL)
        return 0;
    return compare("the kernel's memory (KiB)", before->kernel_kib, after->kernel_kib,
                   allowed != NULL ? strtol(allowed, NULL, 10) : ALLOWED_KERNEL_KIB);
}

unsigned usage_compare(const struct usage *before, const struct usage *after, uint64_t seconds) {
    return compare("descriptors", before->descriptors, after->descriptors, ALLOWED_DESCRIPTORS) +
           compare("mappings", before->mappings, after->mappings, ALLOWED_MAPPINGS) +
           compare("threads", before->threads, after->threads, ALLOWED_THREADS) +
           compare("child processes", before->children, after->children, ALLOWED_CHILDREN) +
           (HARNESS_SANITIZED ? 0
                              : compare("resident memory (KiB)", before->rss_kib, after->rss_kib,
                                        ALLOWED_RSS_KIB)) +
           compare_kernel(before, after, seconds);
}
