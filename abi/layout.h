/*
 * abi/layout.h: the guest address space, drawn once.
 *
 * Every address here is guest-virtual (gva) and a constant. Compiled code holds the addresses as
 * displacements, the host builds page tables for them, and image files name them in their program
 * headers. The header is freestanding. Assembler may include it: outside the __ASSEMBLER__ guard
 * there are only #defines.
 *
 *   0x0000_0000     unmapped
 *   0x0010_0000     system pages, supervisor only (made by the host, never in a file)
 *   0x0040_0000     image text RX, then rodata R
 *   0x2000_0000     image data RW NX: globals, sizes, segment state, tables
 *   0x3000_0000     mailbox RW NX (abi/mailbox.h)
 *   0x3800_0000     stack RW NX, grows down from HUSK_STACK_TOP_GVA; everything below its limit is
 *                   unmapped
 *   0x4000_0000     linear memory 0, then unmapped up to 12 GiB + 64 KiB above its base
 *   0x10_0000_0000  the private layer of the sandbox's files, for the host alone. Image files name
 *                   these addresses; no page-table entry and no memory slot has them
 *   0x10_0000_0000  + i * 16 GiB: linear memory i, for i >= 1
 *
 * Code must lie within 2 GiB of memory 0 (R_X86_64_PC32 to constant addresses), hence this order.
 */
#ifndef HUSK_ABI_LAYOUT_H
#define HUSK_ABI_LAYOUT_H

#define HUSK_ABI_VERSION 1

#define HUSK_PAGE_SIZE 0x1000
#define HUSK_PAGE_SHIFT 12
#define HUSK_WASM_PAGE_SIZE 0x10000

#define HUSK_SYS_GVA 0x00100000
#define HUSK_SYS_END_GVA 0x00400000

#define HUSK_TEXT_GVA 0x00400000 /* text first, rodata after it on a fresh page */
#define HUSK_TEXT_END_GVA 0x20000000

#define HUSK_DATA_GVA 0x20000000
#define HUSK_DATA_END_GVA 0x30000000

#define HUSK_MAILBOX_GVA 0x30000000

/* The stack occupies [HUSK_STACK_TOP_GVA - size, HUSK_STACK_TOP_GVA). The rest of the region is its
 * guard. */
#define HUSK_STACK_LOW_GVA 0x38000000
#define HUSK_STACK_TOP_GVA 0x3f000000
#define HUSK_STACK_DEFAULT_BYTES 0x100000
#define HUSK_STACK_MIN_BYTES 0x4000
#define HUSK_STACK_MAX_BYTES 0x4000000

#define HUSK_MEM0_GVA 0x40000000
#define HUSK_MEM1_BASE_GVA 0x1000000000 /* memory i >= 1 is at this + i * HUSK_MEM_STRIDE */
#define HUSK_MEM_STRIDE 0x400000000
/* The address range that one memory reserves: 32-bit index + 32-bit static offset + the widest
 * access, rounded up. */
#define HUSK_MEM_WINDOW_BYTES 0x200010000
/* Code may go this far below a memory with 32-bit addresses, where nothing is mapped: the wasm
 * address has wrapped around to just below 4 GiB. Such a memory never has that end of its range
 * (compiler/plan/program.h, program_memory_ends_early()). */
#define HUSK_MEM_BELOW_BYTES 0x10000
/* The window of a memory with 64-bit addresses: code traps unless the index is below
 * HUSK_MEM64_INDEX_MAX, and folds only offsets of 32 bits. */
#define HUSK_MEM64_INDEX_MAX 0x200000000
#define HUSK_MEM64_WINDOW_BYTES 0x300010000
/* With 64 memories, the guest-physical layout of host/vm/syspages.h fits in 40 physical bits
 * (QEMU's TCG). In 39 bits, as some CPUs have, the last one has no room for more than 3 GiB. */
#define HUSK_MAX_MEMORIES 64
#define HUSK_MAX_MEM_PAGES 65536    /* wasm pages: 4 GiB */
#define HUSK_MAX_MEM64_PAGES 131072 /* with 64-bit addresses: 8 GiB, up to HUSK_MEM64_INDEX_MAX */

/* The private layer (host/files/privfs.h). It has the place that memory 0 would have among the
 * others. A region of this size is a reservation of host addresses; 8 GiB is as much as a memory's
 * window. */
#define HUSK_FILES_GVA 0x1000000000
#define HUSK_FILES_MAX_BYTES 0x200000000

#ifndef __ASSEMBLER__
#include <stdint.h>

static inline uint64_t husk_mem_gva(uint32_t mem_idx) {
    return mem_idx == 0
               ? (uint64_t)HUSK_MEM0_GVA
               : (uint64_t)HUSK_MEM1_BASE_GVA + (uint64_t)mem_idx * (uint64_t)HUSK_MEM_STRIDE;
}

static inline int husk_is_files_gva(uint64_t gva) {
    return gva >= HUSK_FILES_GVA && gva - HUSK_FILES_GVA < HUSK_FILES_MAX_BYTES;
}
#endif
#endif
