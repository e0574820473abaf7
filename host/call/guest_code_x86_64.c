/* host/call/guest_code_x86_64.c: see guest_code.h. */
#include "guest_code.h"

#include <string.h>

#include "image_internal.h"
#include "layout.h"

/* `ud1l imm(%eax), %eax`: 67 0f b9 40 imm8 (abi/trap.def). */
bool code_trap_site(const husk_image *image, uint64_t code_gva, uint8_t *ret_number) {
    static const uint8_t opcode[] = {0x67, 0x0f, 0xb9, 0x40};
    if (!image_in_text(image->code, code_gva, sizeof opcode + 1))
        return false;
    const uint8_t *bytes = image->code->ro_hva + (code_gva - HUSK_TEXT_GVA);
    if (memcmp(bytes, opcode, sizeof opcode) != 0)
        return false;
    *ret_number = bytes[sizeof opcode];
    return true;
}

/* In a snapshot; what lies on two pages is not read. */
static bool read_image(const husk_image *image, uint64_t gva_value, uint64_t *ret_word) {
    const uint64_t in_page = gva_value % HUSK_PAGE_SIZE;
    uint64_t bytes;
    if (gva_value < image_stack_gva(image) || in_page > HUSK_PAGE_SIZE - sizeof *ret_word)
        return false;
    const uint8_t *page = image_source(image, gva_value - in_page, &bytes);
    *ret_word = 0;
    if (page != NULL)
        memcpy(ret_word, page + in_page, sizeof *ret_word);
    return true;
}

static bool read_stack(const struct code_stack *stack, uint64_t gva_value, uint64_t *ret_word) {
    if (!image_is_stack_gva(gva_value))
        return false;
    if (stack->arena == NULL)
        return read_image(stack->image, gva_value, ret_word);
    const uint8_t *place = arena_span(stack->arena, gva_value, sizeof *ret_word);
    if (place == NULL)
        return false;
    memcpy(ret_word, place, sizeof *ret_word);
    return true;
}

struct code_frame code_frame_of(const struct vm_regs *regs) {
    return (struct code_frame){.pc = regs->rip, .stack_gva = regs->rsp, .base_gva = regs->rbp};
}

/* The return address lies just below the value that RSP has after the return (the CFA). */
bool code_frame_leave(const struct code_stack *stack, const struct husk_image_unwind_x86_64 *row,
                      struct code_frame *frame) {
    if (row == NULL || row->cfa_offset == 0)
        return false;
    const uint64_t cfa =
        (row->cfa_base != 0 ? frame->base_gva : frame->stack_gva) + row->cfa_offset;
    if (cfa <= frame->stack_gva || !read_stack(stack, cfa - 8, &frame->pc))
        return false;
    if (row->rbp_offset != 0 && !read_stack(stack, cfa - row->rbp_offset, &frame->base_gva))
        return false;
    frame->stack_gva = cfa;
    return true;
}
