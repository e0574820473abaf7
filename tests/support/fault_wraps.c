/*
 * tests/support/fault_wraps.c: see fault_wraps.h. The linker turns calls of f() into __wrap_f(),
 * and calls of __real_f() into f().
 */
#include "fault_wraps.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

const char *const fault_mode_names[FAULT_MODES] = {
    [FAULT_ONCE] = "fails",
    [FAULT_EVER] = "and all later ones fail",
    [FAULT_INTERRUPT] = "is interrupted",
    [FAULT_SHORT] = "is short",
};

static atomic_uint calls_count, calls_nth; /* nth 0: not armed */
static atomic_int armed_mode;
static const char *_Atomic armed_name;
static const char *_Atomic fired_name = "";
static atomic_long live_blocks, live_mapped;
static atomic_uint wakes_count;
static char durable[16]; /* only one thread saves */
static size_t durable_count;

void fault_arm(enum fault_mode mode, unsigned nth, const char *name) {
    atomic_store(&calls_count, 0);
    atomic_store(&armed_mode, (int)mode);
    atomic_store(&armed_name, name);
    atomic_store(&fired_name, "");
    memset(durable, 0, sizeof durable);
    durable_count = 0;
    atomic_store(&calls_nth, nth);
}

void fault_disarm(void) {
    atomic_store(&calls_nth, 0);
}

bool fault_has_fired(void) {
    return *atomic_load(&fired_name) != '\0';
}

const char *fault_name(void) {
    return atomic_load(&fired_name);
}

long fault_live_blocks(void) {
    return atomic_load(&live_blocks);
}

long fault_live_mapped(void) {
    return atomic_load(&live_mapped);
}

const char *fault_durable(void) {
    return durable;
}

static int noted(char letter, int rc) {
    if (rc == 0 && durable_count < sizeof durable - 1)
        durable[durable_count++] = letter;
    return rc;
}

unsigned fault_wakes(void) {
    return atomic_load(&wakes_count);
}

/* What can happen to a call besides failing. */
#define CAN_BE_INTERRUPTED 1u
#define CAN_BE_SHORT 2u

enum fate { FATE_NONE, FATE_FAILS, FATE_INTERRUPTED, FATE_SHORT };

static enum fate fate_of(const char *name, unsigned can) {
    const unsigned nth = atomic_load(&calls_nth);
    const int mode = atomic_load(&armed_mode);
    const char *only = atomic_load(&armed_name);
    if (nth == 0 || (only != NULL && strcmp(only, name) != 0) ||
        (mode == FAULT_INTERRUPT && (can & CAN_BE_INTERRUPTED) == 0) ||
        (mode == FAULT_SHORT && (can & CAN_BE_SHORT) == 0))
        return FATE_NONE;
    const unsigned number = atomic_fetch_add(&calls_count, 1) + 1;
    if (mode == FAULT_EVER ? number < nth : number != nth)
        return FATE_NONE;
    if (number == nth)
        atomic_store(&fired_name, name);
    return mode == FAULT_INTERRUPT ? FATE_INTERRUPTED
           : mode == FAULT_SHORT   ? FATE_SHORT
                                   : FATE_FAILS;
}

bool fault_next(const char *name) {
    return fate_of(name, 0) == FATE_FAILS;
}

/* True: the call is over, with errno set. */
static bool is_over(const char *name, unsigned can, int error) {
    const enum fate fate = fate_of(name, can);
    if (fate == FATE_INTERRUPTED)
        errno = EINTR;
    else if (fate == FATE_FAILS)
        errno = error;
    return fate == FATE_INTERRUPTED || fate == FATE_FAILS;
}

/* ---- Memory ---- */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *block);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t count);
void __wrap_free(void *block);

static void *counted(void *block) {
    atomic_fetch_add(&live_blocks, block != NULL);
    return block;
}

void *__wrap_malloc(size_t bytes) {
    return is_over("malloc", 0, ENOMEM) ? NULL : counted(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes) {
    return is_over("calloc", 0, ENOMEM) ? NULL : counted(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *old, size_t bytes) {
    if (is_over("realloc", 0, ENOMEM))
        return NULL;
    void *block = __real_realloc(old, bytes);
    return old == NULL ? counted(block) : block;
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
    return is_over("aligned_alloc", 0, ENOMEM) ? NULL
                                               : counted(__real_aligned_alloc(alignment, bytes));
}

/* Not with the real one: in a static program that calls the wrapped malloc(), in another it does
 * not. */
static char *copied(const char *name, const char *text, size_t count) {
    char *copy = is_over(name, 0, ENOMEM) ? NULL : counted(__real_malloc(count + 1));
    if (copy != NULL) {
        memcpy(copy, text, count);
        copy[count] = 0;
    }
    return copy;
}

char *__wrap_strdup(const char *text) {
    return copied("strdup", text, strlen(text));
}

char *__wrap_strndup(const char *text, size_t count) {
    return copied("strndup", text, strnlen(text, count));
}

void __wrap_free(void *block) {
    atomic_fetch_sub(&live_blocks, block != NULL);
    __real_free(block);
}

/* ---- Mappings ---- */

void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t bytes);
int __real_mprotect(void *at, size_t bytes, int prot);
int __real_madvise(void *at, size_t bytes, int advice);
void *__real_mremap(void *at, size_t bytes, size_t new_bytes, int flags, ...);
void *__wrap_mremap(void *at, size_t bytes, size_t new_bytes, int flags, ...);
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *at, size_t bytes);
int __wrap_mprotect(void *at, size_t bytes, int prot);
int __wrap_madvise(void *at, size_t bytes, int advice);

/* Where the vCPUs' shared pages are: among the shared mappings of files. */
#define SHARED_MAX 64
static struct {
    int fd;
    void *at;
} shared[SHARED_MAX];
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;

static void shared_put(int fd, void *at) {
    pthread_mutex_lock(&shared_lock);
    for (int i = 0; i < SHARED_MAX; i++) {
        if (shared[i].at != NULL)
            continue;
        shared[i].fd = fd;
        shared[i].at = at;
        break;
    }
    pthread_mutex_unlock(&shared_lock);
}

static void shared_drop(const void *at) {
    pthread_mutex_lock(&shared_lock);
    for (int i = 0; i < SHARED_MAX; i++)
        shared[i].at = shared[i].at == at ? NULL : shared[i].at;
    pthread_mutex_unlock(&shared_lock);
}

static void *shared_of(int fd) {
    void *at = NULL;
    pthread_mutex_lock(&shared_lock);
    for (int i = 0; i < SHARED_MAX; i++)
        at = shared[i].at != NULL && shared[i].fd == fd ? shared[i].at : at;
    pthread_mutex_unlock(&shared_lock);
    return at;
}

/* A fixed mapping lies over one that is counted already. */
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset) {
    if (is_over("mmap", 0, ENOMEM))
        return MAP_FAILED;
    void *place = __real_mmap(at, bytes, prot, flags, fd, offset);
    if (place == MAP_FAILED || (flags & MAP_FIXED) != 0)
        return place;
    atomic_fetch_add(&live_mapped, (long)bytes);
    if ((flags & MAP_SHARED) != 0 && fd >= 0)
        shared_put(fd, place);
    return place;
}

int __wrap_munmap(void *at, size_t bytes) {
    atomic_fetch_sub(&live_mapped, (long)bytes);
    shared_drop(at);
    return __real_munmap(at, bytes);
}

int __wrap_mprotect(void *at, size_t bytes, int prot) {
    return is_over("mprotect", 0, ENOMEM) ? -1 : __real_mprotect(at, bytes, prot);
}

/* To a fixed place that is counted already; where it comes from stays mapped. If all fail, that is
 * a kernel which does not know how. */
void *__wrap_mremap(void *at, size_t bytes, size_t new_bytes, int flags, ...) {
    va_list args;
    va_start(args, flags);
    void *to = va_arg(args, void *);
    va_end(args);
    return is_over("mremap", 0, atomic_load(&armed_mode) == FAULT_EVER ? EINVAL : ENOMEM)
               ? MAP_FAILED
               : __real_mremap(at, bytes, new_bytes, flags, to);
}

/* Advice that is no more than that may fail, and nobody looks. */
int __wrap_madvise(void *at, size_t bytes, int advice) {
    return is_over(advice == MADV_DONTNEED ? "MADV_DONTNEED" : "madvise", 0, ENOMEM)
               ? -1
               : __real_madvise(at, bytes, advice);
}

/* ---- Files ---- */

int __real_open(const char *path, int flags, ...);
int __real_fcntl(int fd, int command, ...);
int __real_fstat(int fd, struct stat *ret_stat);
int __real_memfd_create(const char *name, unsigned flags);
int __real_ftruncate(int fd, off_t bytes);
int __real_fsync(int fd);
int __real_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
int __real_fchmod(int fd, mode_t mode);
int __real_rename(const char *from, const char *to);
off_t __real_lseek(int fd, off_t offset, int whence);
ssize_t __real_writev(int fd, const struct iovec *vecs, int count);
ssize_t __real_pread(int fd, void *bytes, size_t count, off_t offset);
ssize_t __real_sendfile(int to, int from, off_t *offset, size_t count);
ssize_t __real_getrandom(void *bytes, size_t count, unsigned flags);
int __wrap_open(const char *path, int flags, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fstat(int fd, struct stat *ret_stat);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_ftruncate(int fd, off_t bytes);
int __wrap_fsync(int fd);
int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_rename(const char *from, const char *to);
off_t __wrap_lseek(int fd, off_t offset, int whence);
ssize_t __wrap_writev(int fd, const struct iovec *vecs, int count);
ssize_t __wrap_pread(int fd, void *bytes, size_t count, off_t offset);
ssize_t __wrap_sendfile(int to, int from, off_t *offset, size_t count);
ssize_t __wrap_getrandom(void *bytes, size_t count, unsigned flags);

int __wrap_open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    return is_over("open", CAN_BE_INTERRUPTED, EMFILE) ? -1 : __real_open(path, flags, mode);
}

int __wrap_fcntl(int fd, int command, ...) {
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    return is_over("fcntl", 0, EBUSY) ? -1 : __real_fcntl(fd, command, argument);
}

int __wrap_fstat(int fd, struct stat *ret_stat) {
    return is_over("fstat", 0, EIO) ? -1 : __real_fstat(fd, ret_stat);
}

int __wrap_memfd_create(const char *name, unsigned flags) {
    return is_over("memfd_create", 0, EMFILE) ? -1 : __real_memfd_create(name, flags);
}

int __wrap_ftruncate(int fd, off_t bytes) {
    return is_over("ftruncate", CAN_BE_INTERRUPTED, ENOSPC) ? -1 : __real_ftruncate(fd, bytes);
}

int __wrap_fsync(int fd) {
    struct stat st;
    if (is_over("fsync", CAN_BE_INTERRUPTED, EIO))
        return -1;
    return noted(__real_fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? 'd' : 'f', __real_fsync(fd));
}

int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    return is_over("linkat", 0, EACCES)
               ? -1
               : noted('p', __real_linkat(from_fd, from, to_fd, to, flags));
}

int __wrap_fchmod(int fd, mode_t mode) {
    return is_over("fchmod", 0, EPERM) ? -1 : __real_fchmod(fd, mode);
}

int __wrap_rename(const char *from, const char *to) {
    return is_over("rename", 0, EACCES) ? -1 : noted('p', __real_rename(from, to));
}

off_t __wrap_lseek(int fd, off_t offset, int whence) {
    return is_over("lseek", 0, EIO) ? -1 : __real_lseek(fd, offset, whence);
}

ssize_t __wrap_getrandom(void *bytes, size_t count, unsigned flags) {
    return is_over("getrandom", 0, ENOSYS) ? -1 : __real_getrandom(bytes, count, flags);
}

/* How much a transfer transfers. 0: nothing, with errno. */
static size_t share_of(const char *name, size_t count, int error) {
    switch (fate_of(name, CAN_BE_INTERRUPTED | CAN_BE_SHORT)) {
    case FATE_SHORT: return count - count / 2;
    case FATE_INTERRUPTED: errno = EINTR; return 0;
    case FATE_FAILS: errno = error; return 0;
    case FATE_NONE: break;
    }
    return count;
}

ssize_t __wrap_writev(int fd, const struct iovec *vecs, int count) {
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += vecs[i].iov_len;
    const size_t share = share_of("writev", total, ENOSPC);
    if (share == 0 && total != 0)
        return -1;
    if (share == total)
        return __real_writev(fd, vecs, count);
    const struct iovec part = {vecs[0].iov_base, share < vecs[0].iov_len ? share : vecs[0].iov_len};
    return __real_writev(fd, &part, 1);
}

ssize_t __wrap_pread(int fd, void *bytes, size_t count, off_t offset) {
    const size_t share = share_of("pread", count, EIO);
    /* Of /proc/self/pagemap, which the code under test reads so, there are only whole entries. */
    return share == 0 && count != 0 ? -1
                                    : __real_pread(fd, bytes, (share + 7) & ~(size_t)7, offset);
}

ssize_t __wrap_sendfile(int to, int from, off_t *offset, size_t count) {
    const size_t share = share_of("sendfile", count, ENOSPC);
    return share == 0 && count != 0 ? -1 : __real_sendfile(to, from, offset, share);
}

/* ---- ioctl ---- */

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

/* of type 'f'; include/uapi/linux/fs.h, newer than the oldest headers that we build with */
#define PAGEMAP_SCAN_NR 16

static const char *request_name(unsigned long request, unsigned *ret_can) {
    static const struct {
        unsigned long request;
        const char *name;
        unsigned can;
    } rows[] = {
        {KVM_RUN, "KVM_RUN", CAN_BE_INTERRUPTED},
        {KVM_CREATE_VM, "KVM_CREATE_VM", CAN_BE_INTERRUPTED},
        {KVM_CREATE_VCPU, "KVM_CREATE_VCPU", 0},
        {KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION", 0},
        {KVM_SET_CPUID2, "KVM_SET_CPUID2", 0},
        {KVM_GET_SREGS, "KVM_GET_SREGS", 0},
        {KVM_SET_SREGS, "KVM_SET_SREGS", 0},
        {KVM_SET_XCRS, "KVM_SET_XCRS", 0},
        {KVM_SET_DEBUGREGS, "KVM_SET_DEBUGREGS", 0},
    };
    *ret_can = 0;
    if (_IOC_TYPE(request) == 'f' && _IOC_NR(request) == PAGEMAP_SCAN_NR) {
        *ret_can = CAN_BE_INTERRUPTED;
        return "PAGEMAP_SCAN";
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].request == request) {
            *ret_can = rows[i].can;
            return rows[i].name;
        }
    }
    return "ioctl";
}

/* An interrupted KVM_RUN takes the registers over and finishes what it has to before it says so:
 * let it (api.rst, 5, immediate_exit). */
static void interrupt_run(int fd) {
    struct kvm_run *run = shared_of(fd);
    if (run == NULL)
        return;
    __atomic_store_n(&run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    __real_ioctl(fd, KVM_RUN, NULL);
    __atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

int __wrap_ioctl(int fd, unsigned long request, ...) {
    unsigned can;
    const char *name = request_name(request, &can);
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    switch (fate_of(name, can)) {
    case FATE_FAILS: errno = request == KVM_RUN ? EIO : ENOMEM; return -1;
    case FATE_INTERRUPTED:
        if (request == KVM_RUN)
            interrupt_run(fd);
        errno = EINTR;
        return -1;
    default: return __real_ioctl(fd, request, argument);
    }
}

/* ---- Threads ---- */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*main)(void *), void *argument);
int __real_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*main)(void *), void *argument);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*main)(void *), void *argument) {
    return fate_of("pthread_create", 0) == FATE_FAILS
               ? EAGAIN
               : __real_pthread_create(thread, attributes, main, argument);
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond) {
    atomic_fetch_add(&wakes_count, 1);
    return __real_pthread_cond_signal(cond);
}
