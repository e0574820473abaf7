/*
 * cli/known_faults.c: kernels and LLVMs that are known to be bad, for husk doctor.
 *
 * Only what is published is here, with the releases that have the fix. A kernel series that is not
 * in a row is not judged: it may have the fault, or may never have had it. A fault that Husk works
 * around is no warning, and stands in SECURITY.md.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "known_faults.h"

#define FIXES_MAX 8
#define LLVM_TESTED_MIN 19 /* the versions that the tests run with: tools/find-llvm-tool */
#define LLVM_TESTED_MAX 22

static const struct kernel_fault {
    const char *name; /* in the CVE list of the kernel, which is the source */
    const char *text;
    struct version fixes[FIXES_MAX]; /* the first release of a series with the fix; ends with 0 */
} kernel_faults[] = {
    /* Documentation/admin-guide/hw-vuln/vmscape.rst; the stable releases of 2025-09-11. */
    {"CVE-2025-40300",
     "on many CPUs a guest can steer the branch prediction of the process that runs it",
     {{6, 16, 7}, {6, 12, 47}, {6, 6, 106}, {6, 1, 152}, {5, 15, 193}, {5, 10, 244}}},
    /* Upstream commit 81ccda30b4e8; the stable releases of 2026-07-04. */
    {"CVE-2026-53359",
     "with nested virtualization, virtual machines and users of /dev/kvm can take over the host",
     {{7, 1, 3}, {6, 18, 38}, {6, 12, 95}, {6, 6, 144}, {6, 1, 177}, {5, 15, 211}, {5, 10, 260}}},
    /* Of other series the fixed release is not known here. */
    {"CVE-2026-64561",
     "virtual machines and users of /dev/kvm can take over the host",
     {{7, 1, 6}}},
};

/* A number of the text, after which it goes on. False: there is none. */
static bool read_number(const char **text, unsigned *ret_number) {
    char *end = NULL;
    errno = 0;
    const unsigned long number = strtoul(*text, &end, 10);
    if (**text < '0' || **text > '9' || errno != 0 || number > UINT_MAX)
        return false;
    *text = end;
    *ret_number = (unsigned)number;
    return true;
}

/* "6.12.47-…": all three numbers must be there. */
static bool read_version(const char *text, struct version *ret_version) {
    struct version read;
    if (!read_number(&text, &read.major) || *text++ != '.' || !read_number(&text, &read.minor) ||
        *text++ != '.' || !read_number(&text, &read.patch))
        return false;
    *ret_version = read;
    return true;
}

/* Distributions number their kernels x.y.0-N, whatever they have taken from later ones. Debian's
 * second text has the release: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.159-1 (2025-12-30)". */
bool kernel_version(const char *release, const char *build, struct version *ret_version) {
    const char *debian = strstr(build, " Debian ");
    if (debian != NULL)
        return read_version(debian + strlen(" Debian "), ret_version);
    struct version read;
    if (!read_version(release, &read) || (read.patch == 0 && strchr(release, '-') != NULL))
        return false;
    *ret_version = read;
    return true;
}

static const struct version *missing_fix(const struct kernel_fault *fault, struct version kernel) {
    for (int i = 0; i < FIXES_MAX && fault->fixes[i].major != 0; i++) {
        const struct version *fix = &fault->fixes[i];
        if (fix->major == kernel.major && fix->minor == kernel.minor)
            return kernel.patch < fix->patch ? fix : NULL;
    }
    return NULL;
}

unsigned kernel_faults_of(struct version kernel, char *text, size_t text_bytes) {
    unsigned count = 0;
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof kernel_faults / sizeof kernel_faults[0]; i++) {
        const struct kernel_fault *fault = &kernel_faults[i];
        const struct version *fix = missing_fix(fault, kernel);
        if (fix == NULL)
            continue;
        count++;
        if (at >= text_bytes)
            continue; /* no room: counted only */
        int written = snprintf(text + at, text_bytes - at, "%s%s (fixed in %u.%u.%u): %s",
                               at != 0 ? "; " : "", fault->name, fix->major, fix->minor, fix->patch,
                               fault->text);
        at += written > 0 ? (size_t)written : 0;
    }
    return count;
}

bool llvm_is_tested(const char *compiler) {
    static const char name[] = "LLVM ";
    unsigned major;
    const char *llvm = strstr(compiler, name);
    if (llvm == NULL)
        return false;
    llvm += sizeof name - 1;
    return read_number(&llvm, &major) && major >= LLVM_TESTED_MIN && major <= LLVM_TESTED_MAX;
}
