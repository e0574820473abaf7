/*
 * tests/serve/few_vms.c: preloaded into husk-serve: after FEW_VMS virtual machines, the kernel has
 * no more.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

/* The C library's, for the process. */
int ioctl(int fd, unsigned long request, ...) __attribute__((visibility("default")));

int ioctl(int fd, unsigned long request, ...) {
    static atomic_int made;
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    const char *most = getenv("FEW_VMS");
    if (request == KVM_CREATE_VM && most != NULL && atomic_fetch_add(&made, 1) >= atoi(most)) {
        errno = ENOSPC;
        return -1;
    }
    int (*next)(int, unsigned long, ...) =
        (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    return next(fd, request, argument);
}
