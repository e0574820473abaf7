/*
 * bench/bare_slots_x86_64.c: see bare_slots.h. This file uses nothing of libhusk.
 *
 * The first slot is at guest-physical 0, with the guest of bare_guest_x86_64.c. The other slots are
 * 16 GiB apart.
 */
#include "bare_slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bare_guest.h"

enum { CPUID_ENTRIES = 256 };
#define SLOT_STRIDE (1ull << 34)

int bare_slots_init(struct bare_slots *slots, const uint64_t *bytes, uint32_t count) {
    *slots = (struct bare_slots){.vm_fd = -1, .vcpu_fd = -1, .run = MAP_FAILED, .count = count};
    for (uint32_t i = 0; i < count; i++) {
        slots->bytes[i] = bytes[i];
        slots->memory[i] = MAP_FAILED;
    }
    slots->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    slots->cpuid =
        calloc(1, sizeof *slots->cpuid + CPUID_ENTRIES * sizeof slots->cpuid->entries[0]);
    if (slots->kvm_fd < 0 || slots->cpuid == NULL)
        return -1;
    const int run_bytes = ioctl(slots->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    slots->run_bytes = run_bytes > 0 ? (size_t)run_bytes : 0;
    slots->cpuid->nent = CPUID_ENTRIES;
    return run_bytes < (int)sizeof(struct kvm_run)
               ? -1
               : ioctl(slots->kvm_fd, KVM_GET_SUPPORTED_CPUID, slots->cpuid);
}

static int memory_make(struct bare_slots *slots) {
    for (uint32_t i = 0; i < slots->count; i++) {
        slots->memory[i] = mmap(NULL, slots->bytes[i], PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (slots->memory[i] == MAP_FAILED)
            return -1;
        struct kvm_userspace_memory_region region = {.slot = i,
                                                     .guest_phys_addr = i * SLOT_STRIDE,
                                                     .memory_size = slots->bytes[i],
                                                     .userspace_addr = (uintptr_t)slots->memory[i]};
        if (ioctl(slots->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) != 0)
            return -1;
    }
    bare_guest_fill(slots->memory[0], 1, 0);
    return 0;
}

/* As a sandbox's VM (host/vm/vm_kvm_x86_64.c). */
static int msrs_deny(int vm_fd) {
    uint8_t nothing_allowed = 0;
    struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
                                 .args = {KVM_MSR_EXIT_REASON_FILTER}};
    struct kvm_msr_filter filter = {
        .flags = KVM_MSR_FILTER_DEFAULT_DENY,
        .ranges[0] = {.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
                      .nmsrs = 8,
                      .base = 0xc0000081, /* STAR */
                      .bitmap = &nothing_allowed}};
    return ioctl(vm_fd, KVM_ENABLE_CAP, &cap) != 0 ? -1
                                                   : ioctl(vm_fd, KVM_X86_SET_MSR_FILTER, &filter);
}

static int run_once(const struct bare_slots *slots) {
    int result;
    do {
        result = ioctl(slots->vcpu_fd, KVM_RUN, 0);
    } while (result != 0 && errno == EINTR);
    return result == 0 && slots->run->exit_reason == KVM_EXIT_IO ? 0 : -1;
}

int bare_slots_make(struct bare_slots *slots) {
    slots->vm_fd = ioctl(slots->kvm_fd, KVM_CREATE_VM, 0);
    if (slots->vm_fd < 0 || (slots->denies_msrs && msrs_deny(slots->vm_fd) != 0) ||
        memory_make(slots) != 0)
        return -1;
    slots->vcpu_fd = ioctl(slots->vm_fd, KVM_CREATE_VCPU, 0);
    if (slots->vcpu_fd < 0)
        return -1;
    slots->run =
        mmap(NULL, slots->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, slots->vcpu_fd, 0);
    if (slots->run == MAP_FAILED || ioctl(slots->vcpu_fd, KVM_SET_CPUID2, slots->cpuid) != 0 ||
        bare_guest_set_registers(slots->vcpu_fd, 0) != 0)
        return -1;
    return run_once(slots);
}

void bare_slots_drop(struct bare_slots *slots) {
    if (slots->run != MAP_FAILED)
        munmap(slots->run, slots->run_bytes);
    if (slots->vcpu_fd >= 0)
        close(slots->vcpu_fd);
    if (slots->vm_fd >= 0)
        close(slots->vm_fd);
    for (uint32_t i = 0; i < slots->count; i++) {
        if (slots->memory[i] != MAP_FAILED)
            munmap(slots->memory[i], slots->bytes[i]);
        slots->memory[i] = MAP_FAILED;
    }
    slots->run = MAP_FAILED;
    slots->vm_fd = slots->vcpu_fd = -1;
}

void bare_slots_done(struct bare_slots *slots) {
    bare_slots_drop(slots);
    if (slots->kvm_fd >= 0)
        close(slots->kvm_fd);
    free(slots->cpuid);
}
