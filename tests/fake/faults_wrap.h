/* tests/fake/faults_wrap.h: the wrapped functions themselves; included by the one suite that is linked with --wrap. */
#ifndef TESTS_FAKE_FAULTS_WRAP_H
#define TESTS_FAKE_FAULTS_WRAP_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

static atomic_uint faults_count, faults_nth;
static atomic_bool faults_has_fired;
static const char *_Atomic faults_name = "";
static atomic_long live_blocks, live_mapped;

static bool faults_next(const char *what) {
    unsigned nth = atomic_load(&faults_nth);
    if (nth == 0 || atomic_fetch_add(&faults_count, 1) + 1 != nth)
        return false;
    atomic_store(&faults_name, what);
    atomic_store(&faults_has_fired, true);
    return true;
}

static void faults_arm(unsigned nth) {
    atomic_store(&faults_nth, nth);
    atomic_store(&faults_count, 0);
    atomic_store(&faults_has_fired, false);
    atomic_store(&faults_name, "");
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
void __real_free(void *block);
void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t bytes);
int __real_mprotect(void *at, size_t bytes, int prot);
int __real_memfd_create(const char *name, unsigned flags);
int __real_ftruncate(int fd, off_t bytes);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *),
                          void *argument);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
void __wrap_free(void *block);
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *at, size_t bytes);
int __wrap_mprotect(void *at, size_t bytes, int prot);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_ftruncate(int fd, off_t bytes);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *),
                          void *argument);

int __real_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);

static void *count_block(void *block) {
    atomic_fetch_add(&live_blocks, block != NULL);
    return block;
}

static void *fail_memory(void) {
    errno = ENOMEM;
    return NULL;
}

void *__wrap_malloc(size_t bytes) {
    return faults_next("malloc") ? fail_memory() : count_block(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes) {
    return faults_next("calloc") ? fail_memory() : count_block(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *old, size_t bytes) {
    if (faults_next("realloc"))
        return fail_memory();
    void *block = __real_realloc(old, bytes);
    return old == NULL ? count_block(block) : block;
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
    return faults_next("aligned_alloc") ? fail_memory() : count_block(__real_aligned_alloc(alignment, bytes));
}

char *__wrap_strdup(const char *text) {
    return faults_next("strdup") ? fail_memory() : count_block(__real_strdup(text));
}

void __wrap_free(void *block) {
    atomic_fetch_sub(&live_blocks, block != NULL);
    __real_free(block);
}

#define MAP_FIXED_FLAG 0x10

/* A fixed mapping lies over one that is counted already. */
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset) {
    if (faults_next("mmap")) {
        errno = ENOMEM;
        return (void *)-1;
    }
    void *place = __real_mmap(at, bytes, prot, flags, fd, offset);
    if (place != (void *)-1 && (flags & MAP_FIXED_FLAG) == 0)
        atomic_fetch_add(&live_mapped, (long)bytes);
    return place;
}

int __wrap_munmap(void *at, size_t bytes) {
    atomic_fetch_sub(&live_mapped, (long)bytes);
    return __real_munmap(at, bytes);
}

#define WRAP_INT(name, failure, error, ...)                                                                  \
    if (faults_next(#name)) {                                                                                \
        errno = error;                                                                                       \
        return failure;                                                                                      \
    }                                                                                                        \
    return __real_##name(__VA_ARGS__)

int __wrap_mprotect(void *at, size_t bytes, int prot) {
    WRAP_INT(mprotect, -1, ENOMEM, at, bytes, prot);
}

int __wrap_memfd_create(const char *name, unsigned flags) {
    WRAP_INT(memfd_create, -1, EMFILE, name, flags);
}

int __wrap_ftruncate(int fd, off_t bytes) {
    WRAP_INT(ftruncate, -1, ENOSPC, fd, bytes);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *),
                          void *argument) {
    WRAP_INT(pthread_create, EAGAIN, EAGAIN, thread, attr, main, argument);
}

/* Never fails; counted, because each may be a system call. */
static atomic_uint wakes_count;

int __wrap_pthread_cond_signal(pthread_cond_t *cond) {
    atomic_fetch_add(&wakes_count, 1);
    return __real_pthread_cond_signal(cond);
}

#endif
