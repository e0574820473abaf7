/*
 * bench/bare_vm_x86_64.c: see bare_vm.h. This file uses nothing of libhusk. All guest code runs in
 * ring 3 of long mode.
 *
 * Layout of its memory, mapped 1:1 by large pages: 0x1000 PML4, 0x2000 PDPT, 0x3000 PD, 0x4000 TSS
 * and its I/O bitmap (all zero: every port allowed), 0x8000 code, 0x20000 the pages that the guest
 * writes. Intel SDM vol. 3A 4.5 (paging), vol. 1 19.5.2 (I/O bitmap).
 */
#include "bare_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PML4 = 0x1000,
    PDPT = 0x2000,
    PD = 0x3000,
    TSS = 0x4000,
    CODE = 0x8000,
    LARGE_PAGE = 0x200000
};
enum { TSS_IO_BASE = 102, TSS_BYTES = 104, IO_BITMAP_BYTES = 8193 };

static const uint8_t code_idle[] = {0xe7, 0x10, 0xeb, 0xfc}; /* out %eax, $0x10; jmp to it */
/* RSI: the first place, EDX: how many pages. The stride of 4096 + 16 moves through the page, so
 * that not all words fall into one set of the first-level cache; it stays in neighbouring pages for
 * 256 of them. */
static const uint8_t code_touch[] = {
    0x48, 0x89, 0xf7,                         /* 0: mov %rsi, %rdi */
    0x89, 0xd1,                               /*    mov %edx, %ecx */
    0x83, 0x07, 0x01,                         /* 5: addl $1, (%rdi) */
    0x48, 0x81, 0xc7, 0x10, 0x10, 0x00, 0x00, /*    add $4112, %rdi */
    0xff, 0xc9,                               /*    dec %ecx */
    0x75, 0xf2,                               /*    jnz 5 */
    0xe7, 0x10,                               /*    out %eax, $0x10 */
    0xeb, 0xe9,                               /*    jmp 0 */
};

static void entry_put(uint8_t *memory, uint32_t at, uint64_t entry) {
    memcpy(memory + at, &entry, sizeof entry);
}

static void memory_fill(struct bare_vm *vm, uint32_t pages) {
    const uint16_t io_base = TSS_BYTES;
    entry_put(vm->memory, PML4, PDPT | 7);
    entry_put(vm->memory, PDPT, PD | 7);
    for (uint32_t i = 0; i < vm->memory_bytes / LARGE_PAGE; i++) {
        /* present, writable, user, accessed, dirty, large */
        entry_put(vm->memory, PD + 8 * i, (uint64_t)i * LARGE_PAGE | 0xe7);
    }
    memcpy(vm->memory + TSS + TSS_IO_BASE, &io_base, sizeof io_base);
    if (pages == 0)
        memcpy(vm->memory + CODE, code_idle, sizeof code_idle);
    else
        memcpy(vm->memory + CODE, code_touch, sizeof code_touch);
}

static int registers_set(const struct bare_vm *vm, uint32_t pages) {
    struct kvm_sregs sregs;
    /* IOPL 3 */
    struct kvm_regs regs = {.rip = CODE, .rsi = BARE_VM_FIRST, .rdx = pages, .rflags = 0x3002};
    if (ioctl(vm->vcpu_fd, KVM_GET_SREGS, &sregs) != 0)
        return -1;
    sregs.cr3 = PML4;
    sregs.cr4 |= 0x20;       /* PAE */
    sregs.cr0 |= 0x80000001; /* PG, PE */
    sregs.efer |= 0x500;     /* LME, LMA */
    sregs.cs = (struct kvm_segment){
        .limit = ~0u, .selector = 0x33, .type = 11, .present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1};
    sregs.ss = (struct kvm_segment){
        .limit = ~0u, .selector = 0x2b, .type = 3, .present = 1, .dpl = 3, .db = 1, .s = 1, .g = 1};
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss;
    sregs.tr = (struct kvm_segment){.base = TSS,
                                    .limit = TSS_BYTES + IO_BITMAP_BYTES - 1,
                                    .selector = 0x40,
                                    .type = 11,
                                    .present = 1};
    return ioctl(vm->vcpu_fd, KVM_SET_SREGS, &sregs) != 0 ||
                   ioctl(vm->vcpu_fd, KVM_SET_REGS, &regs) != 0
               ? -1
               : 0;
}

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
    memory_fill(vm, pages);
    struct kvm_userspace_memory_region region = {.flags = logs_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0,
                                                 .memory_size = memory_bytes,
                                                 .userspace_addr = (uintptr_t)vm->memory};
    if (ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) != 0)
        return -1;
    vm->vcpu_fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, 0);
    if (vm->vcpu_fd < 0)
        return -1;
    vm->run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu_fd, 0);
    return vm->run == MAP_FAILED ? -1 : registers_set(vm, pages);
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
        entry_put(vm->memory, (uint32_t)at, 0x9e3779b97f4a7c15u * (at + 1));
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
