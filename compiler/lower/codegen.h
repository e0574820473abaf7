/*
 * compiler/lower/codegen.h: compiles a plan of valid modules to x86-64 ELF relocatable objects in
 * memory, with LLVM. Runs only in the worker process.
 *
 * Symbols, all hidden; indices are flat (program.h). Defined by the objects:
 *   i0.f<idx>   function, with an internal calling convention; for an import, a stub that makes the
 *               host call
 *   i0.t<canonical type idx>   call thunk, void(i64 code_address), C convention: reads
 *                              mailbox.call_slots, calls the function, writes the results
 *   i0.init     deferred initialisation and the start call, type () -> (); only if plan->needs_init
 *   i0.n<instance>   the same of one instance; only if there are several
 * Defined by the linker: i0.d<idx> (bytes of a data segment), and the guest runtime
 *   (guest/): husk.hostcall, husk.service, memcpy memmove memset memcmp bcmp.
 * Defined as absolute symbols: i0.mem (HUSK_MEM0_GVA), i0.g<idx> (global slots), i0.tab<idx>,
 *   i0.tabsize<idx>, i0.memsize<idx>, i0.dsize<idx>, i0.e<idx>, i0.esize<idx> (plan.h),
 *   husk.mailbox (HUSK_MAILBOX_GVA); in programs with exceptions husk.personality (only named in
 *   .eh_frame) and i0.tag<idx> (only named in landing pads), and husk.throw, husk.throw_ref,
 *   husk.exn_take, husk.hostcall_refs of the guest runtime (guest/throw.S, throw.c).
 * Debug line tables: file "wasm", line = byte offset of the instruction in its module, column =
 * number of the inlined call (DWARF 5, line tables only; lines are 32 bits). Every function has
 * .eh_frame data (uwtable). Frame pointers are not kept.
 */
#ifndef COMPILER_CODEGEN_H
#define COMPILER_CODEGEN_H

#include "crew.h"
#include "plan.h"

struct codegen_options {
    int opt_level;        /* 0 … 3 */
    const char *cpu;      /* LLVM name, resolved: never "native" */
    const char *features; /* LLVM feature string, e.g. "+avx2,-fma" */
    bool strict;
    /* crew.h: the threads that compile; NULL: codegen_run() starts a crew for this run */
    struct crew *crew;
    uint32_t threads; /* the number of threads, if crew is NULL */
    void (*progress)(void *user, uint32_t done, uint32_t total); /* under a lock, from any thread */
    void *progress_user;
};

/* A call that was inlined. Code that came in by it has the call's number, its place in the array of
 * its object from 1 on, as the column in the line table. */
struct codegen_inlined {
    uint32_t callee_idx, caller_idx; /* functions */
    uint32_t wasm_offset;            /* of the call, in the caller's module */
    uint32_t outer;                  /* the call by which the caller came in; 0: none */
};

struct codegen_object {
    uint8_t *elf; /* malloc()ed, like the array */
    size_t bytes;
    struct codegen_inlined *inlined; /* may be NULL */
    uint32_t inlined_count;
};

struct codegen_result {
    struct codegen_object *objects;
    uint32_t objects_count;
};

/* Set LLVM up, once per process. codegen_run() does it if necessary. A process that gives up rights
 * must call this before it does so. */
void codegen_llvm_init(void);

/* HUSK_E_UNSUPPORTED (the message has the instruction and its offset), HUSK_E_LIMIT,
 * HUSK_E_NOMEM, HUSK_E_COMPILER. LLVM's fatal errors abort the process. */
int codegen_run(const struct plan *plan, const struct codegen_options *options,
                struct codegen_result *ret_result, struct husk_error *err);
void codegen_result_free(struct codegen_result *result);

/* Find the LLVM name and feature string of a CPU, restricted to abi/cpu_features.def, and its
 * feature bits. "native" is the host's CPU. */
int codegen_target(const char *cpu, char **ret_cpu, char **ret_features, uint64_t *ret_feature_bits,
                   struct husk_error *err);
const char *codegen_llvm_version(void);

#endif
