/*
 * host/vm/cpu_x86_64.h: the numbers of the x86-64 architecture that this library uses. Intel SDM
 * vol. 3A, AMD APM vol. 2.
 */
#ifndef HOST_CPU_X86_64_H
#define HOST_CPU_X86_64_H

/* Control registers: SDM vol. 3A, section 2.5. */
#define X86_CR0_PE (1ull << 0)
#define X86_CR0_MP (1ull << 1)
#define X86_CR0_ET (1ull << 4)
#define X86_CR0_NE (1ull << 5)
#define X86_CR0_WP (1ull << 16)
#define X86_CR0_PG (1ull << 31)

#define X86_CR4_TSD (1ull << 2)
#define X86_CR4_PAE (1ull << 5)
#define X86_CR4_OSFXSR (1ull << 9)
#define X86_CR4_OSXMMEXCPT (1ull << 10)
#define X86_CR4_UMIP (1ull << 11)
#define X86_CR4_OSXSAVE (1ull << 18)
#define X86_CR4_SMEP (1ull << 20)
#define X86_CR4_SMAP (1ull << 21)

/* MSR IA32_EFER: section 2.2.1. */
#define X86_EFER_LME (1ull << 8)
#define X86_EFER_LMA (1ull << 10)
#define X86_EFER_NXE (1ull << 11)

/* Debug registers after a reset: table 10-1. */
#define X86_DR6_RESET 0xffff0ff0ull
#define X86_DR7_RESET 0x400ull

/* XCR0: SDM vol. 1, section 13.3. */
#define X86_XCR0_X87 (1ull << 0)
#define X86_XCR0_SSE (1ull << 1)
#define X86_XCR0_AVX (1ull << 2)
#define X86_XCR0_AVX512 (7ull << 5) /* opmask, ZMM_Hi256, Hi16_ZMM */

/* RFLAGS: section 2.3. */
#define X86_RFLAGS_FIXED (1ull << 1)
#define X86_RFLAGS_STATUS 0x8d5ull /* CF PF AF ZF SF OF */
#define X86_RFLAGS_IF (1ull << 9)
#define X86_RFLAGS_DF (1ull << 10)
#define X86_RFLAGS_IOPL3 (3ull << 12)

/* Paging-structure entries: section 4.5. */
#define X86_PTE_PRESENT (1ull << 0)
#define X86_PTE_WRITE (1ull << 1)
#define X86_PTE_USER (1ull << 2)
#define X86_PTE_ACCESSED (1ull << 5)
#define X86_PTE_DIRTY (1ull << 6)
#define X86_PTE_LARGE (1ull << 7)
#define X86_PTE_NX (1ull << 63)
#define X86_PTE_ADDRESS 0x000ffffffffff000ull
#define X86_PTE_COUNT 512u /* entries of one table */
#define X86_LARGE_PAGE_BYTES 0x200000ull

/* Exception vectors: section 6.3.1. */
enum x86_vector {
    X86_VECTOR_DE = 0,  /* divide error */
    X86_VECTOR_DB = 1,  /* debug */
    X86_VECTOR_BP = 3,  /* breakpoint */
    X86_VECTOR_UD = 6,  /* invalid opcode */
    X86_VECTOR_NM = 7,  /* device not available */
    X86_VECTOR_DF = 8,  /* double fault */
    X86_VECTOR_TS = 10, /* invalid TSS */
    X86_VECTOR_NP = 11, /* segment not present */
    X86_VECTOR_SS = 12, /* stack-segment fault */
    X86_VECTOR_GP = 13, /* general protection */
    X86_VECTOR_PF = 14, /* page fault */
    X86_VECTOR_MF = 16, /* x87 floating point */
    X86_VECTOR_AC = 17, /* alignment check */
    X86_VECTOR_XM = 19  /* SIMD floating point */
};

/* Page-fault error code: section 4.7. */
#define X86_PF_USER (1u << 2)
#define X86_PF_FETCH (1u << 4)

/* MSRs: SDM vol. 4. */
#define X86_MSR_STAR 0xc0000081u

#endif
