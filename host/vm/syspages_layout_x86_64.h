/*
 * host/vm/syspages_layout_x86_64.h: the addresses of the system pages, and the descriptors in them.
 * syspages_x86_64.c makes the pages, and vcpu_kvm_x86_64.c loads the vCPU's registers from them.
 *
 *   gva 0x100000  gpa S           GDT, TSS with I/O bitmap, IDT   supervisor, read-only, no-execute
 *   gva 0x101000  gpa S + 0x1000  exception stubs                 supervisor, read-only, executable
 *   gva 0x102000  gpa S + 0x2000  exception stack                 supervisor, writable, no-execute
 *   gva 0x103000  gpa S + 0x3000  entry page                      ring 3: read-only, executable
 *   (no gva)      gpa S + 0x4000  page tables: PML4 first; only the host writes them
 *   (no gva)      0xc0000000 …    further page tables as mappings are added, to 0xf0000000
 *
 * They end one page below the guest-physical address of memory 0. Nearly all have the same length,
 * so S is the same, too, and with it the page root (SYS_STD_BYTES).
 *
 * The selectors are those of 64-bit Linux on purpose. kvm-pvm runs ring 3 natively only with
 * __USER_CS and __USER_DS of its host kernel, and with that kernel's GDT. Our GDT has no descriptor
 * for ring 3 (syspages_x86_64.c).
 */
#ifndef HOST_SYSPAGES_LAYOUT_X86_64_H
#define HOST_SYSPAGES_LAYOUT_X86_64_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"
#include "ports.h"
#include "syspages.h"

#define SYS_GPA_END (HUSK_MEM0_GPA - HUSK_PAGE_SIZE)
#define SYS_FURTHER_GPA 0xc0000000ull
/* the hole for KVM's real-mode pages and the APICs is above this */
#define SYS_FURTHER_GPA_END 0xf0000000ull
/* Of the VM that tries out the CPU (vm_kvm_selftest_x86_64.c): its system pages end here, and its
 * other pages follow. No page table of a sandbox leads there. */
#define SYS_TRIAL_GPA 0xb0000000ull
#define SYS_TRIAL_SYS_GPA_END 0xb0100000ull
#define SYS_TRIAL_GPA_END 0xb0200000ull

#define SYS_TABLES_GVA HUSK_SYS_GVA
#define SYS_STUBS_GVA (HUSK_SYS_GVA + 0x1000ull)
#define SYS_STACK_GVA (HUSK_SYS_GVA + 0x2000ull)
#define SYS_STACK_TOP_GVA (SYS_STACK_GVA + HUSK_PAGE_SIZE)
/* host/vm/entry_page_x86_64.S; every call starts here */
#define SYS_ENTRY_GVA (HUSK_SYS_GVA + 0x3000ull)
#define SYS_TOUCH_OFFSET 0xf00u /* in the entry page: entry_touch */
#define SYS_FIXED_PAGES 4u
#define SYS_STD_PAGES ((uint32_t)(SYS_STD_BYTES / HUSK_PAGE_SIZE))

/* Within the tables page. */
#define SYS_GDT_OFFSET 0x0u
#define SYS_GDT_BYTES 0x50u
#define SYS_TSS_OFFSET 0x100u
#define SYS_TSS_HEAD_BYTES 0x68u /* SDM vol. 3A, figure 7-11 */
/* One bit per port 0..255, then the byte of ones that must follow (SDM vol. 1, section 18.5.2).
 * Ports above 255 are beyond the TSS limit, so they are forbidden. */
#define SYS_TSS_BYTES (SYS_TSS_HEAD_BYTES + 32u + 1u)
#define SYS_IDT_OFFSET 0x400u
#define SYS_IDT_BYTES (16u * HUSK_EXCEPTION_VECTORS)

#define SYS_KERNEL_CS 0x10u
#define SYS_KERNEL_DS 0x18u
#define SYS_USER_DS 0x2bu
#define SYS_USER_CS 0x33u
#define SYS_TSS_SELECTOR 0x40u

#define SYS_STUB_BYTES 32u /* distance between two stubs */

/* The frame that the CPU pushes on the exception stack, at SYS_STACK_TOP_GVA - sizeof (SDM vol. 3A,
 * section 6.14.2). An error code lies just below it; for #PF, the stub pushes CR2 below that. While
 * a stub runs, the frame holds ring 3's registers. */
struct sys_exception_frame {
    uint64_t rip, cs, rflags, rsp, ss;
};

/* Vectors that push an error code: SDM vol. 3A, table 6-1, and AMD's #HV, #VC, #SX. */
static inline bool vector_has_error_code(unsigned vector) {
    const uint32_t mask = 1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 |
                          1u << 17 | 1u << 21 | 1u << 29 | 1u << 30;
    return (mask >> vector & 1) != 0;
}

#endif
