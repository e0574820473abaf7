/*
 * compiler/worker/contain.c: see contain.h. There are three barriers. The worker drops its
 * capabilities, so root's worker has no more rights than another user's. Landlock (kernel:
 * Documentation/userspace-api/landlock.rst) denies files and ports. The seccomp filter does not
 * depend on the other two. Landlock is called by system call number: the C library of Debian 12 has
 * no wrappers, and its headers lack the newer rights.
 */
#include "contain.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"

/* Kernel: include/uapi/linux/landlock.h. A ruleset that handles a right and allows it nowhere
 * denies it everywhere. */
struct ruleset {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};
#define SYS_LANDLOCK_CREATE_RULESET 444
#define SYS_LANDLOCK_RESTRICT_SELF 446
#define CREATE_RULESET_VERSION 1u

/* Of each version of the interface, what it can deny: [version - 1]. */
static const struct ruleset deniable[] = {
    {.handled_access_fs = (1u << 13) - 1},
    {.handled_access_fs = (1u << 14) - 1},                          /* REFER */
    {.handled_access_fs = (1u << 15) - 1},                          /* TRUNCATE */
    {.handled_access_fs = (1u << 15) - 1, .handled_access_net = 3}, /* TCP: bind, connect */
    {.handled_access_fs = (1u << 16) - 1, .handled_access_net = 3}, /* IOCTL_DEV */
    {(1u << 16) - 1, .handled_access_net = 3, .scoped = 3},         /* abstract sockets, signals */
};
#define VERSIONS_COUNT (sizeof deniable / sizeof deniable[0])

static void landlock_all(void) {
    long version = syscall(SYS_LANDLOCK_CREATE_RULESET, NULL, 0, CREATE_RULESET_VERSION);
    if (version <= 0)
        return; /* ENOSYS: older than Linux 5.13, or built without; EOPNOTSUPP: switched off */
    size_t known = (size_t)version < VERSIONS_COUNT ? (size_t)version : VERSIONS_COUNT;
    struct ruleset ruleset = deniable[known - 1];
    int fd = (int)syscall(SYS_LANDLOCK_CREATE_RULESET, &ruleset, sizeof ruleset, 0);
    if (fd < 0)
        return;
    (void)syscall(SYS_LANDLOCK_RESTRICT_SELF, fd, 0); /* E2BIG: inside 16 others already */
    close(fd);
}

static void drop_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {0};
    uint32_t any = 0;
    if (syscall(SYS_capget, &header, caps) != 0)
        return;
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        any |= caps[i].effective | caps[i].permitted | caps[i].inheritable;
        caps[i] = (struct __user_cap_data_struct){0};
    }
    if (any != 0) /* not asked for needlessly: sandboxes of services often forbid capset */
        (void)syscall(SYS_capset, &header, caps);
}

void contain_begin(void) {
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0,
                0); /* without it the filter is refused: contain_close() tells */
    drop_capabilities();
    landlock_all();
}

int contain_close(struct husk_error *err) {
    if (contain_load_filter() != 0)
        return error_sys(
            err, errno,
            "the compiler's process cannot be contained here: the kernel, or a sandbox around this "
            "program, refuses seccomp filters; to compile without containment, which is for "
            "modules that you trust, set allow_uncontained (husk: --allow-uncontained-compiler)");
    return 0;
}
