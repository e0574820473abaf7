/* tests/apps/wasi-stubs/app_stubs.c: see app_stubs.h. */
#include "app_stubs.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>

static int not_here(void) {
    errno = ENOSYS;
    return -1;
}

int system(const char *command) {
    return command == NULL ? 0 : not_here();
}

char *tmpnam(char *name) {
    (void)name;
    return NULL;
}

FILE *tmpfile(void) {
    (void)not_here();
    return NULL;
}

FILE *popen(const char *command, const char *mode) {
    (void)command;
    (void)mode;
    (void)not_here();
    return NULL;
}

int pclose(FILE *stream) {
    (void)stream;
    return not_here();
}

int chmod(const char *path, mode_t mode) {
    (void)path;
    (void)mode;
    return not_here();
}

int fchmod(int fd, mode_t mode) {
    (void)fd;
    (void)mode;
    return not_here();
}

int chown(const char *path, uid_t owner, gid_t group) {
    (void)path;
    (void)owner;
    (void)group;
    return not_here();
}

int fchown(int fd, uid_t owner, gid_t group) {
    (void)fd;
    (void)owner;
    (void)group;
    return not_here();
}

mode_t umask(mode_t mask) {
    (void)mask;
    return 022;
}

uid_t geteuid(void) {
    return 0;
}

uid_t getuid(void) {
    return 0;
}

char *realpath(const char *path, char *out) {
    (void)path;
    (void)out;
    (void)not_here();
    return NULL;
}

int mkstemp(char *name) {
    (void)name;
    return not_here();
}

/* ---- One thread ---- */

static const void *values[16];
static pthread_key_t keys_count;

int pthread_once(pthread_once_t *once, void (*function)(void)) {
    if (*once == PTHREAD_ONCE_INIT) {
        *once = 1;
        function();
    }
    return 0;
}

int pthread_key_create(pthread_key_t *key, void (*destructor)(void *)) {
    (void)destructor;
    if (keys_count == sizeof values / sizeof *values)
        return EAGAIN;
    *key = keys_count++;
    return 0;
}

int pthread_setspecific(pthread_key_t key, const void *value) {
    if (key >= keys_count)
        return EINVAL;
    values[key] = value;
    return 0;
}

void *pthread_getspecific(pthread_key_t key) {
    return key < keys_count ? (void *)values[key] : NULL;
}
