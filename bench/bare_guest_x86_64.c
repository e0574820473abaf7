/*
 * bench/bare_guest_x86_64.c: see bare_guest.h. All guest code runs in ring 3 of long mode.
 *
 * Layout of its memory, mapped 1:1 by large pages: 0x1000 PML4, 0x2000 PDPT, 0x3000 PD, 0x4000 TSS
 * and its I/O bitmap (all zero: every port allowed), 0x8000 code, 0x20000 the pages that the guest
 * writes. Intel SDM vol. 3A 4.5 (paging), vol. 1 19.5.2 (I/O bitmap).
 */
#include "bare_guest.h"

#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

enum { PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, TSS = 0x4000, CODE = 0x8000 };
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

void bare_guest_put(uint8_t *memory, uint32_t at, uint64_t entry) {
    memcpy(memory + at, &entry, sizeof entry);
}

void bare_guest_fill(uint8_t *memory, uint32_t large_pages, uint32_t pages) {
    const uint16_t io_base = TSS_BYTES;
    bare_guest_put(memory, PML4, PDPT | 7);
    bare_guest_put(memory, PDPT, PD | 7);
    for (uint32_t i = 0; i < large_pages; i++) {
        /* present, writable, user, accessed, dirty, large */
        bare_guest_put(memory, PD + 8 * i, (uint64_t)i * BARE_GUEST_LARGE_PAGE | 0xe7);
    }
    memcpy(memory + TSS + TSS_IO_BASE, &io_base, sizeof io_base);
    if (pages == 0)
        memcpy(memory + CODE, code_idle, sizeof code_idle);
    else
        memcpy(memory + CODE, code_touch, sizeof code_touch);
}

int bare_guest_set_registers(int vcpu_fd, uint32_t pages) {
    struct kvm_sregs sregs;
    /* IOPL 3 */
    struct kvm_regs regs = {.rip = CODE, .rsi = BARE_GUEST_FIRST, .rdx = pages, .rflags = 0x3002};
    if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) != 0)
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
    return ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) != 0 || ioctl(vcpu_fd, KVM_SET_REGS, &regs) != 0
               ? -1
               : 0;
}
