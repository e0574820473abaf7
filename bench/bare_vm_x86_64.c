/* bench/bare_vm_x86_64.c: see bare_vm.h. This file uses nothing of libhusk. */
#include "bare_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bare_guest.h"

static const struct bare_vm bare_vm_closed = {.kvm_fd = -1,
                                              .vm_fd = -1,
                                              .vcpu_fd = -1,
                                              .memory = MAP_FAILED,
                                              .originals = MAP_FAILED,
                                              .run = MAP_FAILED};

int bare_vm_open(struct bare_vm *vm, size_t memory_bytes, uint32_t pages, bool logs_dirty) {
    *vm = bare_vm_closed;
    vm->memory_bytes = memory_bytes;
    vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (vm->kvm_fd < 0)
        return -1;
    int run_bytes = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
    vm->memory =
        mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (run_bytes < (int)sizeof(struct kvm_run) || vm->vm_fd < 0 || vm->memory == MAP_FAILED)
        return -1;
    vm->run_bytes = (size_t)run_bytes;
    bare_guest_fill(vm->memory, (uint32_t)(memory_bytes / BARE_GUEST_LARGE_PAGE), pages);
    struct kvm_userspace_memory_region region = {.flags = logs_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0,
                                                 .memory_size = memory_bytes,
                                                 .userspace_addr = (uintptr_t)vm->memory};
    if (ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) != 0)
        return -1;
    vm->vcpu_fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, 0);
    if (vm->vcpu_fd < 0)
        return -1;
    vm->run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu_fd, 0);
    return vm->run == MAP_FAILED ? -1 : bare_guest_set_registers(vm->vcpu_fd, pages);
}

void bare_vm_close(struct bare_vm *vm) {
    if (vm->run != MAP_FAILED)
        munmap(vm->run, vm->run_bytes);
    if (vm->memory != MAP_FAILED)
        munmap(vm->memory, vm->memory_bytes);
    if (vm->originals != MAP_FAILED)
        munmap((void *)(uintptr_t)vm->originals, vm->memory_bytes);
    const int fds[] = {vm->vcpu_fd, vm->vm_fd, vm->kvm_fd};
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    *vm = bare_vm_closed;
}

static int file_map(struct bare_vm *vm, int fd) {
    if (write(fd, vm->memory, vm->memory_bytes) != (ssize_t)vm->memory_bytes ||
        mmap(vm->memory, vm->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd,
             0) == MAP_FAILED)
        return -1;
    madvise(vm->memory, vm->memory_bytes, MADV_NOHUGEPAGE); /* fails where there are none */
    vm->originals = mmap(NULL, vm->memory_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    return vm->originals == MAP_FAILED ? -1 : 0;
}

int bare_vm_put_in_file(struct bare_vm *vm) {
    for (size_t at = BARE_VM_FIRST; at < vm->memory_bytes; at += sizeof(uint64_t))
        bare_guest_put(vm->memory, (uint32_t)at, 0x9e3779b97f4a7c15u * (at + 1));
    int fd = memfd_create("bare_vm", MFD_CLOEXEC);
    if (fd < 0)
        return -1;
    int result = file_map(vm, fd), sys_errno = errno;
    close(fd);
    errno = sys_errno;
    return result;
}

int bare_vm_run(struct bare_vm *vm) {
    int result;
    do {
        result = ioctl(vm->vcpu_fd, KVM_RUN, 0);
    } while (result != 0 && errno == EINTR);
    return result == 0 && vm->run->exit_reason == KVM_EXIT_IO && vm->run->io.port == 0x10 ? 0 : -1;
}

int bare_vm_dirty_log(struct bare_vm *vm, uint64_t *bitmap) {
    struct kvm_dirty_log log = {.dirty_bitmap = bitmap};
    return ioctl(vm->vm_fd, KVM_GET_DIRTY_LOG, &log);
}
