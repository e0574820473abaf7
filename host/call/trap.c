/*
 * host/call/trap.c: CPU exceptions in ring 3 → wasm traps (core specification 2.0, section 4.4), by where the code is (code map),
 * where it reached (CR2) and, for trap sites, what the instruction says.
 */
#include "trap.h"

#include <stdio.h>
#include <string.h>

#include "backtrace.h"
#include "image_internal.h"
#include "layout.h"
#include "outcome.h"
#include "sandbox_internal.h"
#include "cpu_x86_64.h"

#define FOUR_GIB (1ull << 32)
#define GUEST_STACK_NEAR_BYTES (64ull << 20) /* frames of that size are rare */
#define GUEST_STACK_OFFSET_BYTES 65536ull    /* from the stack pointer to a local variable */

static const char *trap_message(enum husk_trap trap) {
    switch ((int)trap) {
#define HUSK_TRAP(name, number, text)                                                                        \
    case number:                                                                                             \
        return text;
#include "trap.def"
#undef HUSK_TRAP
    default: return NULL;
    }
}

/* A page fault. LLVM knows nothing of those: it may have dropped or delayed stores before one. */
static void outcome_fault(husk_sandbox *sandbox, enum husk_trap trap, struct husk_outcome *outcome) {
    const bool is_strict = (sandbox->image->note.flags & HUSK_IMAGE_STRICT) != 0;
    outcome_trap(sandbox, trap, is_strict, trap_message(trap), outcome);
}

static void outcome_exception(husk_sandbox *sandbox, const struct vm_exit *exit, uint64_t rip,
                              struct husk_outcome *outcome) {
    if (exit->vector == X86_VECTOR_PF)
        outcome_violation(sandbox, outcome,
                          "guest violation: code at 0x%llx touched 0x%llx (error code 0x%x)",
                          (unsigned long long)rip, (unsigned long long)exit->cr2, exit->error_code);
    else
        outcome_violation(sandbox, outcome, "guest violation: CPU exception %u at 0x%llx (error code 0x%x)",
                          exit->vector, (unsigned long long)rip, exit->error_code);
}

/* The memory whose window an address is in, or UINT32_MAX. */
static uint32_t memory_of(const husk_sandbox *sandbox, uint64_t address) {
    uint64_t idx = 0;
    if (address >= HUSK_MEM1_BASE_GVA)
        idx = (address - HUSK_MEM1_BASE_GVA) / HUSK_MEM_STRIDE;
    if (idx >= sandbox->image->memories_count)
        return UINT32_MAX;
    uint64_t base = husk_mem_gva((uint32_t)idx);
    return address >= base && address - base < HUSK_MEM_WINDOW_BYTES ? (uint32_t)idx : UINT32_MAX;
}

/* Compilers of C and the like keep a stack in the memory, which grows down from a global of the module. Where that
 * global has passed 0, addresses wrap around, to just below 4 GiB, or just above with the offset of an instruction.
 * Other causes (an index below 0 from a null pointer) are less common. */
static bool is_below_guest_stack(const husk_sandbox *sandbox, uint64_t address) {
    const husk_image *image = sandbox->image;
    bool has_stack_pointer = false;
    for (uint32_t i = 0; i < image->globals_count && !has_stack_pointer; i++)
        has_stack_pointer =
            image->globals[i].type == HUSK_I32 && (image->globals[i].flags & HUSK_GLOBAL_MUTABLE) != 0;
    return has_stack_pointer && address >= FOUR_GIB - GUEST_STACK_NEAR_BYTES &&
           address < FOUR_GIB + GUEST_STACK_OFFSET_BYTES;
}

static void describe_access(const husk_sandbox *sandbox, uint32_t mem_idx, uint64_t address, char *text,
                            size_t text_bytes) {
    snprintf(text, text_bytes, ": address 0x%llx; the memory has %llu bytes%s", (unsigned long long)address,
             (unsigned long long)sandbox->machine->arena.memories[mem_idx].bytes,
             is_below_guest_stack(sandbox, address)
                 ? "; so near to 4 GiB, the guest's own stack may have overflowed (larger: "
                   "-Wl,-z,stack-size=BYTES at link time)"
                 : "");
}

static void classify_page_fault(husk_sandbox *sandbox, const struct vm_exit *exit, uint64_t rip,
                                struct husk_outcome *outcome) {
    uint64_t stack_limit = HUSK_STACK_TOP_GVA - sandbox->machine->arena.stack_bytes;
    bool is_code = image_in_text(sandbox->image, rip, 1) && (exit->error_code & X86_PF_FETCH) == 0;
    if (is_code && exit->cr2 >= HUSK_STACK_LOW_GVA && exit->cr2 < stack_limit) {
        outcome_fault(sandbox, HUSK_TRAP_CALL_STACK_EXHAUSTED, outcome);
        return;
    }
    uint32_t mem_idx = memory_of(sandbox, exit->cr2);
    bool is_beyond = mem_idx != UINT32_MAX &&
                     exit->cr2 - husk_mem_gva(mem_idx) >= sandbox->machine->arena.memories[mem_idx].bytes;
    if (!is_code || !is_beyond || code_row_find(sandbox->image, rip) == NULL) {
        outcome_exception(sandbox, exit, rip, outcome);
        return;
    }
    outcome_fault(sandbox, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, outcome);
    size_t used = strlen(outcome->message);
    describe_access(sandbox, mem_idx, exit->cr2 - husk_mem_gva(mem_idx), outcome->message + used,
                    sizeof outcome->message - used);
}

/* `ud1l imm(%eax), %eax`: 67 0f b9 40 imm8 (abi/trap.def). Read from the image, which the guest cannot change. */
static bool trap_site_kind(const husk_sandbox *sandbox, uint64_t rip, enum husk_trap *ret_trap) {
    static const uint8_t opcode[] = {0x67, 0x0f, 0xb9, 0x40};
    const husk_image *image = sandbox->image;
    if (!image_in_text(image, rip, sizeof opcode + 1))
        return false;
    const uint8_t *bytes = image->ro_hva + (rip - HUSK_TEXT_GVA);
    if (memcmp(bytes, opcode, sizeof opcode) != 0 ||
        trap_message((enum husk_trap)bytes[sizeof opcode]) == NULL)
        return false;
    *ret_trap = (enum husk_trap)bytes[sizeof opcode];
    return *ret_trap != HUSK_TRAP_HOST_FUNCTION;
}

void trap_classify(husk_sandbox *sandbox, const struct vm_exit *exit, struct husk_outcome *outcome) {
    struct vm_regs regs;
    machine_get_regs(sandbox->machine, &regs);
    enum husk_trap trap;
    if (exit->vector == X86_VECTOR_PF)
        classify_page_fault(sandbox, exit, regs.rip, outcome);
    else if (exit->vector == X86_VECTOR_UD && trap_site_kind(sandbox, regs.rip, &trap))
        outcome_trap(sandbox, trap, true, trap_message(trap), outcome);
    else
        outcome_exception(sandbox, exit, regs.rip, outcome);
}
