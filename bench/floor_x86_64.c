/*
 * bench/floor_x86_64.c: the floor under every call: the same KVM_RUN without Husk. A bare VM whose only code is `out; jmp` in ring 3 of
 * long mode; one sample is one KVM_RUN. Nothing of libhusk is used here.
 *
 * Layout of its 2 MiB of memory, mapped 1:1 by one large page: 0x1000 PML4, 0x2000 PDPT, 0x3000 PD, 0x4000 TSS and its I/O bitmap
 * (all zero: every port allowed), 0x8000 code. Intel SDM vol. 3A 4.5 (paging), vol. 1 19.5.2 (I/O bitmap).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

enum {
    MEMORY_BYTES = 0x200000,
    PML4 = 0x1000,
    PDPT = 0x2000,
    PD = 0x3000,
    TSS = 0x4000,
    CODE = 0x8000,
    SAMPLES = 4000
};
enum { TSS_IO_BASE = 102, TSS_BYTES = 104, IO_BITMAP_BYTES = 8193 };

struct floor {
    int kvm_fd, vm_fd, vcpu_fd;
    uint8_t *memory;
    struct kvm_run *run;
    size_t run_bytes;
};

static void entry_put(uint8_t *memory, uint32_t at, uint64_t entry) {
    memcpy(memory + at, &entry, sizeof(entry));
}

static void memory_fill(uint8_t *memory) {
    static const uint8_t code[] = {0xe7, 0x10, 0xeb, 0xfc}; /* out %eax, $0x10; jmp to it */
    const uint16_t io_base = TSS_BYTES;
    entry_put(memory, PML4, PDPT | 7);
    entry_put(memory, PDPT, PD | 7);
    entry_put(memory, PD, 0xe7); /* present, writable, user, accessed, dirty, large */
    memcpy(memory + TSS + TSS_IO_BASE, &io_base, sizeof(io_base));
    memcpy(memory + CODE, code, sizeof(code));
}

static int registers_set(const struct floor *floor) {
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = CODE, .rsp = 0x10000, .rflags = 0x3002}; /* IOPL 3 */
    if (ioctl(floor->vcpu_fd, KVM_GET_SREGS, &sregs) != 0) {
        return -1;
    }
    sregs.cr3 = PML4;
    sregs.cr4 |= 0x20;       /* PAE */
    sregs.cr0 |= 0x80000001; /* PG, PE */
    sregs.efer |= 0x500;     /* LME, LMA */
    sregs.cs = (struct kvm_segment){
        .limit = ~0u, .selector = 0x33, .type = 11, .present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1};
    sregs.ss = (struct kvm_segment){
        .limit = ~0u, .selector = 0x2b, .type = 3, .present = 1, .dpl = 3, .db = 1, .s = 1, .g = 1};
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss;
    sregs.tr = (struct kvm_segment){
        .base = TSS, .limit = TSS_BYTES + IO_BITMAP_BYTES - 1, .selector = 0x40, .type = 11, .present = 1};
    return ioctl(floor->vcpu_fd, KVM_SET_SREGS, &sregs) != 0 ||
                   ioctl(floor->vcpu_fd, KVM_SET_REGS, &regs) != 0
               ? -1
               : 0;
}

static int floor_open(struct floor *floor) {
    *floor =
        (struct floor){.kvm_fd = -1, .vm_fd = -1, .vcpu_fd = -1, .memory = MAP_FAILED, .run = MAP_FAILED};
    floor->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (floor->kvm_fd < 0) {
        return -1;
    }
    int run_bytes = ioctl(floor->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    floor->vm_fd = ioctl(floor->kvm_fd, KVM_CREATE_VM, 0);
    floor->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (run_bytes < (int)sizeof(struct kvm_run) || floor->vm_fd < 0 || floor->memory == MAP_FAILED) {
        return -1;
    }
    floor->run_bytes = (size_t)run_bytes;
    memory_fill(floor->memory);
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY_BYTES,
                                                 .userspace_addr = (uintptr_t)floor->memory};
    if (ioctl(floor->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) != 0) {
        return -1;
    }
    floor->vcpu_fd = ioctl(floor->vm_fd, KVM_CREATE_VCPU, 0);
    if (floor->vcpu_fd < 0) {
        return -1;
    }
    floor->run = mmap(NULL, floor->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, floor->vcpu_fd, 0);
    return floor->run == MAP_FAILED ? -1 : registers_set(floor);
}

static void floor_close(struct floor *floor) {
    if (floor->run != MAP_FAILED) {
        munmap(floor->run, floor->run_bytes);
    }
    if (floor->memory != MAP_FAILED) {
        munmap(floor->memory, MEMORY_BYTES);
    }
    const int fds[] = {floor->vcpu_fd, floor->vm_fd, floor->kvm_fd};
    for (int i = 0; i < 3; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

/* µs of one KVM_RUN, or negative. */
static double floor_sample(const struct floor *floor) {
    uint64_t start = bench_now_ns();
    int result;
    do {
        result = ioctl(floor->vcpu_fd, KVM_RUN, 0);
    } while (result != 0 && errno == EINTR);
    uint64_t end = bench_now_ns();
    if (result != 0 || floor->run->exit_reason != KVM_EXIT_IO || floor->run->io.port != 0x10) {
        return -1;
    }
    return (double)(end - start) / 1e3;
}

int bench_floor(const struct bench *bench) {
    static double samples[SAMPLES];
    struct floor floor;
    int result = floor_open(&floor);
    for (int i = 0; i < 100 + SAMPLES && result == 0; i++) {
        double us = floor_sample(&floor);
        samples[i < 100 ? 0 : i - 100] = us;
        result = us < 0 ? -1 : 0;
    }
    if (result != 0) {
        fprintf(stderr, "husk_bench: floor: the bare VM did not run: %s\n", strerror(errno));
    } else {
        struct spread us = spread_of(samples, SAMPLES);
        printf("\nfloor: a bare KVM_RUN to an `out` in ring 3 and back: %.2f / %.2f / %.2f µs (p10 / median "
               "/ p90)\n",
               us.p10, us.p50, us.p90);
        fprintf(bench->json, "{\"bench\":\"floor\",\"name\":\"kvm_run\",\"samples\":%d,", SAMPLES);
        json_spread(bench->json, "us", us);
        fputs("}\n", bench->json);
    }
    floor_close(&floor);
    return result;
}
