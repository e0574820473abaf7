/*
 * host/call/trap.c: turns CPU exceptions of the guest into wasm traps (core specification 2.0,
 * section 4.4). It looks at the code's place (code map), the address that it accessed and, for trap
 * sites, the number in the instruction (guest_code.h).
 */
#include "trap.h"

#include <stdio.h>
#include <string.h>

#include "backtrace.h"
#include "guest_code.h"
#include "image_internal.h"
#include "layout.h"
#include "outcome.h"
#include "sandbox_internal.h"

#define FOUR_GIB (1ull << 32)
#define GUEST_STACK_NEAR_BYTES (64ull << 20) /* larger frames are rare */
#define GUEST_STACK_OFFSET_BYTES 65536ull    /* from the stack pointer to a local variable */

static const char *trap_message(enum husk_trap trap) {
    switch ((int)trap) {
#define HUSK_TRAP(name, number, text)                                                              \
    case number:                                                                                   \
        return text;
#include "trap.def"
#undef HUSK_TRAP
    default: return NULL;
    }
}

/* A page fault. LLVM does not know that memory accesses can fault: it may have dropped or delayed
 * stores before one. */
static void outcome_fault(husk_sandbox *sandbox, enum husk_trap trap,
                          struct husk_outcome *outcome) {
    const bool is_strict = (sandbox->image->flags & HUSK_IMAGE_STRICT) != 0;
    outcome_trap(sandbox, trap, is_strict, trap_message(trap), outcome);
}

static void outcome_exception(husk_sandbox *sandbox, const struct vm_fault *fault, uint64_t pc,
                              struct husk_outcome *outcome) {
    if (fault->kind == VM_FAULT_PAGE)
        outcome_violation(sandbox, outcome,
                          "guest violation: code at 0x%llx touched 0x%llx (error code 0x%x)",
                          (unsigned long long)pc, (unsigned long long)fault->address, fault->code);
    else
        outcome_violation(sandbox, outcome,
                          "guest violation: CPU exception %u at 0x%llx (error code 0x%x)",
                          fault->number, (unsigned long long)pc, fault->code);
}

static bool is_64_bit(const husk_sandbox *sandbox, uint32_t mem_idx) {
    return (sandbox->image->code->memories[mem_idx].flags & HUSK_LIMIT_IS_64) != 0;
}

/* Code goes to just below memory 0 for a wasm address just below 4 GiB (HUSK_MEM_BELOW_BYTES). */
static uint64_t unwrapped(uint64_t address) {
    const bool is_below =
        address < HUSK_MEM0_GVA && address >= HUSK_MEM0_GVA - HUSK_MEM_BELOW_BYTES;
    return is_below ? address + FOUR_GIB : address;
}

/* The memory whose window an address is in, or UINT32_MAX. */
static uint32_t memory_of(const husk_sandbox *sandbox, uint64_t address) {
    uint64_t idx = 0;
    if (address >= HUSK_MEM1_BASE_GVA)
        idx = (address - HUSK_MEM1_BASE_GVA) / HUSK_MEM_STRIDE;
    if (idx >= sandbox->image->code->memories_count)
        return UINT32_MAX;
    const uint64_t base = husk_mem_gva((uint32_t)idx);
    const uint64_t window =
        is_64_bit(sandbox, (uint32_t)idx) ? HUSK_MEM64_WINDOW_BYTES : HUSK_MEM_WINDOW_BYTES;
    return address >= base && address - base < window ? (uint32_t)idx : UINT32_MAX;
}

/* Compilers of C and similar languages keep a stack in the memory. It grows down from a global of
 * the module. If the global passes 0, addresses wrap around to just below 4 GiB, or just above with
 * the offset of an instruction. Other causes (an index below 0 from a null pointer) are less
 * common. With 64-bit addresses they wrap around to just below 2^64. Code compares those and traps,
 * so no address is known. */
static bool is_below_guest_stack(const husk_sandbox *sandbox, uint32_t mem_idx, uint64_t address) {
    const struct image_code *code = sandbox->image->code;
    bool has_stack_pointer = false;
    for (uint32_t i = 0; i < code->globals_count && !has_stack_pointer; i++)
        has_stack_pointer = code->globals[i].type == HUSK_ABI_I32 &&
                            (code->globals[i].flags & HUSK_GLOBAL_MUTABLE) != 0;
    return has_stack_pointer && !is_64_bit(sandbox, mem_idx) &&
           address >= FOUR_GIB - GUEST_STACK_NEAR_BYTES &&
           address < FOUR_GIB + GUEST_STACK_OFFSET_BYTES;
}

static void describe_access(const husk_sandbox *sandbox, uint32_t mem_idx, uint64_t address,
                            char *text, size_t text_bytes) {
    snprintf(text, text_bytes, ": address 0x%llx; the memory has %llu bytes%s",
             (unsigned long long)address,
             (unsigned long long)sandbox->machine->arena.memories[mem_idx].bytes,
             is_below_guest_stack(sandbox, mem_idx, address)
                 ? "; so near to 4 GiB, the guest's own stack may have overflowed (larger: "
                   "-Wl,-z,stack-size=BYTES at link time)"
                 : "");
}

static void classify_page_fault(husk_sandbox *sandbox, const struct vm_fault *fault, uint64_t pc,
                                struct husk_outcome *outcome) {
    uint64_t stack_limit = HUSK_STACK_TOP_GVA - sandbox->machine->arena.stack_bytes;
    bool is_code = image_in_text(sandbox->image->code, pc, 1) && !fault->is_fetch;
    if (is_code && fault->address >= HUSK_STACK_LOW_GVA && fault->address < stack_limit) {
        outcome_fault(sandbox, HUSK_TRAP_CALL_STACK_EXHAUSTED, outcome);
        return;
    }
    const uint64_t address = unwrapped(fault->address);
    uint32_t mem_idx = memory_of(sandbox, address);
    bool is_beyond = mem_idx != UINT32_MAX && address - husk_mem_gva(mem_idx) >=
                                                  sandbox->machine->arena.memories[mem_idx].bytes;
    if (!is_code || !is_beyond || !backtrace_may_trap(sandbox->image, pc)) {
        outcome_exception(sandbox, fault, pc, outcome);
        return;
    }
    outcome_fault(sandbox, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, outcome);
    size_t used = strlen(outcome->message);
    describe_access(sandbox, mem_idx, address - husk_mem_gva(mem_idx), outcome->message + used,
                    sizeof outcome->message - used);
}

static bool trap_site_kind(const husk_sandbox *sandbox, uint64_t pc, enum husk_trap *ret_trap) {
    uint8_t number;
    if (!code_trap_site(sandbox->image, pc, &number) ||
        trap_message((enum husk_trap)number) == NULL)
        return false;
    *ret_trap = (enum husk_trap)number;
    return *ret_trap != HUSK_TRAP_HOST_FUNCTION;
}

void trap_classify(husk_sandbox *sandbox, const struct vm_fault *fault,
                   struct husk_outcome *outcome) {
    struct vm_regs regs;
    machine_get_regs(sandbox->machine, &regs);
    const uint64_t pc = vm_regs_pc(&regs);
    enum husk_trap trap;
    if (fault->kind == VM_FAULT_PAGE)
        classify_page_fault(sandbox, fault, pc, outcome);
    else if (fault->kind == VM_FAULT_INSTRUCTION && trap_site_kind(sandbox, pc, &trap))
        outcome_trap(sandbox, trap, true, trap_message(trap), outcome);
    else
        outcome_exception(sandbox, fault, pc, outcome);
}
