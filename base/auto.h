/*
 * base/auto.h: variables that clean up at the end of their block (the cleanup attribute of gcc and
 * clang). On success, a function takes the value out: `*ret_fd = take_fd(&fd);`.
 */
#ifndef BASE_AUTO_H
#define BASE_AUTO_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* The cleanup functions keep errno, so `return error_sys(err, errno, …)` works in their block. */
static inline void auto_close_fd(int *fd) {
    if (*fd >= 0) {
        int saved_errno = errno;
        close(*fd);
        errno = saved_errno;
    }
}

static inline void auto_free_pointer(void *pointer) {
    int saved_errno = errno;
    free(*(void **)pointer);
    errno = saved_errno;
}

#define auto_fd __attribute__((cleanup(auto_close_fd))) int
#define auto_free __attribute__((cleanup(auto_free_pointer)))

static inline int take_fd(int *fd) {
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* `pointer` is the address of a pointer variable. The assignment in the caller restores the
 * type. */
static inline void *take_pointer(void *pointer) {
    void *taken = *(void **)pointer;
    *(void **)pointer = NULL;
    return taken;
}

#endif
