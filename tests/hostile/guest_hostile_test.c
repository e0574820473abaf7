/*
 * tests/hostile/guest_hostile_test.c: hostile images through the public API. An image's native code
 * is hostile, too, not only its wasm. Each attack must end as its row says: as a trap, a violation
 * or a deadline. Afterwards a trapped instance accepts calls, a poisoned one refuses them, and a
 * new sandbox of a good image works.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "husk.h"
#include "image_builder.h"
#include "layout.h"
#include "literals.h"

/* A whole text segment: dispatcher, thunk, the host call, a good function, then the hostile one. */
#define OFFSET_ENTRY 0u
#define OFFSET_THUNK 16u
#define OFFSET_RESUME 34u
#define OFFSET_GOOD 48u
#define OFFSET_BAD 64u
#define TEXT_OF(name, code)                                                                        \
    __asm__(".pushsection .rodata\n .balign 64\n" #name ":\n"                                      \
            "cld\n call *%rsi\n out %eax, $0x10\n ud2\n .balign 16\n"                              \
            "call *%rdi\n ret\n .balign 16\n"                                                      \
            "out %eax, $0x11\n ret\n .balign 16\n"                                                 \
            "movl $0x600d, 0x30001000\n ret\n .balign 16\n" code "\n" #name                        \
            "_end: .popsection\n");                                                                \
    extern const uint8_t name[], name##_end[]

/* What the hostile code uses of the mailbox (abi/mailbox.h): op 0x30000000, arguments …008 …010,
 * result …020, import index …028, call slots …1000, host slots …5000. */
#define SERVICE(op, arg0, arg1)                                                                    \
    "movl $" #op ", 0x30000000\n mov $" #arg0 ", %rax\n mov %rax, 0x30000008\n mov $" #arg1        \
    ", %rax\n mov %rax, 0x30000010\n out %eax, $0x12\n"
#define HOST_CALL(idx) "movl $" #idx ", 0x30000028\n mov $0x400020, %eax\n call *%rax\n"

TEXT_OF(text_good, "ret");
TEXT_OF(text_port, "out %eax, $0x14");
TEXT_OF(text_port_byte, "out %al, $0x10");
TEXT_OF(text_port_in, "in $0x11, %eax\n ret");
TEXT_OF(text_port_high, "mov $0x1234, %edx\n out %eax, %dx");
TEXT_OF(text_port_exception, "out %eax, $0x8e");
TEXT_OF(text_rep_ins, "mov $0x10, %edx\n mov $0x20000000, %edi\n mov $-1, %rcx\n rep insb");
TEXT_OF(text_rep_outs, "mov $0x14, %edx\n mov $0x20000000, %esi\n mov $-1, %rcx\n rep outsl");
TEXT_OF(text_hlt, "cli\n hlt");
TEXT_OF(text_rdmsr, "mov $0xc0000080, %ecx\n rdmsr");
TEXT_OF(text_mov_cr3, "mov %rax, %cr3");
TEXT_OF(text_lgdt, "lgdt (%rsp)");
TEXT_OF(text_int3, "int3");
TEXT_OF(text_int80, "int $0x80");
TEXT_OF(text_syscall, "syscall");
TEXT_OF(text_sysenter, "sysenter");
TEXT_OF(text_iret_ring0, "push $0x18\n push %rsp\n pushfq\n push $0x10\n push $0x400000\n iretq");
TEXT_OF(text_single_step, "pushfq\n orl $0x100, (%rsp)\n popfq\n nop");
TEXT_OF(text_divide, "xor %ecx, %ecx\n div %ecx");
TEXT_OF(text_ud2, "ud2");
TEXT_OF(text_site_unknown, ".byte 0x67, 0x0f, 0xb9, 0x40, 99");
/* a host function's failure is not the guest's to claim */
TEXT_OF(text_site_host, ".byte 0x67, 0x0f, 0xb9, 0x40, 11");
TEXT_OF(text_write_text, "movb $0x90, 0x400040");
TEXT_OF(text_jump_data, "mov $0x20000000, %eax\n jmp *%rax");
TEXT_OF(text_jump_mailbox, "movw $0x10e7, 0x30001000\n mov $0x30001000, %eax\n jmp *%rax");
TEXT_OF(text_jump_memory, "movw $0x10e7, 0x40000000\n mov $0x40000000, %eax\n jmp *%rax");
TEXT_OF(text_jump_stack, "movw $0x10e7, -16(%rsp)\n lea -16(%rsp), %rax\n jmp *%rax");
TEXT_OF(text_jump_null, "xor %eax, %eax\n jmp *%rax");
TEXT_OF(text_jump_beyond_memory, "mov $0x40010000, %eax\n jmp *%rax");
TEXT_OF(text_jump_beyond, "mov $0x1fff0000, %eax\n jmp *%rax");
TEXT_OF(text_jump_stub, "mov $0x101000, %eax\n jmp *%rax");
TEXT_OF(text_read_null, "mov 0, %al");
TEXT_OF(text_read_system, "mov 0x100000, %al");
TEXT_OF(text_write_system, "movb $0, 0x102f00");
TEXT_OF(text_read_noncanonical, "movabs $0x8000000000000000, %rax\n mov (%rax), %al");
TEXT_OF(text_read_kernel_half, "mov $-4096, %rax\n mov (%rax), %al");
TEXT_OF(text_read_past_mailbox, "mov 0x30009000, %al");
TEXT_OF(text_read_other_memory, "movabs $0x1400000000, %rax\n mov (%rax), %al");
TEXT_OF(text_read_files, "movabs $0x1000000000, %rax\n mov (%rax), %al");
TEXT_OF(text_write_files, "movabs $0x11fffffff8, %rax\n movq $0, (%rax)");
TEXT_OF(text_import_1, HOST_CALL(1));
TEXT_OF(text_import_max, HOST_CALL(-1));
TEXT_OF(text_service_0, SERVICE(0, 0, 0));
TEXT_OF(text_service_99, SERVICE(99, 0, 0));
TEXT_OF(text_service_max, SERVICE(-1, -1, -1));
TEXT_OF(text_wild_stack_nested, "mov $0x12345670, %esp\n movl $0, 0x30000028\n out %eax, $0x11");
TEXT_OF(text_recurse, "1: push %rax\n call 1b");
TEXT_OF(text_big_frame, "sub $0x2000000, %rsp\n push %rax");
TEXT_OF(text_beyond_memory, "mov 0x40010000, %al");
TEXT_OF(text_far_beyond_memory,
        "mov $0x40000000, %eax\n mov $0x1fffffff0, %rcx\n mov (%rax, %rcx), %al");
TEXT_OF(text_stack_in_memory, "mov $0x40000000 + 0x20000, %esp\n push %rax");
TEXT_OF(text_site, ".byte 0x67, 0x0f, 0xb9, 0x40, 8");
/* These return. */
#define EXPECT_NONE "cmpq $-1, 0x30000020\n je 1f\n ud2\n 1: ret"
TEXT_OF(text_grow_other_memory, SERVICE(1, 1, 1) EXPECT_NONE);
TEXT_OF(text_grow_wild_memory, SERVICE(1, 0x100000000, 0) EXPECT_NONE);
TEXT_OF(text_grow_too_much, SERVICE(1, 0, -1) EXPECT_NONE);
TEXT_OF(text_grow_wraps, SERVICE(1, 0, 0xffffffffffffffff) EXPECT_NONE);
TEXT_OF(text_grow_past_max, SERVICE(1, 0, 3) EXPECT_NONE);
TEXT_OF(text_grow_no_table, SERVICE(2, 0, 1) EXPECT_NONE);
TEXT_OF(text_wait_none, SERVICE(3, -1, 0) "cmpq $2, 0x30000020\n je 1f\n ud2\n 1: ret");
TEXT_OF(text_smash_mailbox,
        "mov $-1, %rax\n mov $0x30000000, %edi\n mov $0x9000 / 8, %ecx\n rep stosq\n ret");
TEXT_OF(text_smash_sizes,
        "movq $-1, 0x20000000\n" SERVICE(1, 0, 0) "cmpq $1, 0x30000020\n je 1f\n ud2\n 1: ret");
TEXT_OF(text_smash_state,
        "pushq $0x1f80 - 0x1f80\n fninit\n fldz\n fldz\n std\n pushq $0x40cd5\n popfq\n pop %rax\n"
        "xor %eax, %eax\n mov %eax, %ds\n mov %eax, %fs\n mov %eax, %gs\n cld\n ret");
TEXT_OF(text_lose_stack, "xor %esp, %esp\n out %eax, $0x10");
/* These never end. */
TEXT_OF(text_spin, "jmp .");
TEXT_OF(text_spin_services, "1:" SERVICE(1, 0, 0) "jmp 1b");
TEXT_OF(text_spin_waits, "1:" SERVICE(3, -1, 1) "jmp 1b");
TEXT_OF(text_wait, SERVICE(3, 0, -1) "ud2");
TEXT_OF(text_wait_long, SERVICE(3, -1, 0x7fffffffffffffff) "ud2");
TEXT_OF(text_spin_host_calls, "1:" HOST_CALL(0) "jmp 1b");
TEXT_OF(text_spin_string, "1: mov $0x20000000, %edi\n mov $0x1000, %ecx\n rep stosb\n jmp 1b");
TEXT_OF(text_spin_pause, "1: pause\n jmp 1b");
TEXT_OF(text_spin_flags, "1: std\n pushfq\n popfq\n cld\n jmp 1b");

struct row {
    const char *name;
    const uint8_t *text, *end;
    enum husk_outcome_kind kind;
    enum husk_trap trap;
};
#define VIOLATES(what)                                                                             \
    { #what, text_##what, text_##what##_end, HUSK_GUEST_VIOLATION, HUSK_TRAP_NONE }
#define TRAPS(what, trap)                                                                          \
    { #what, text_##what, text_##what##_end, HUSK_TRAPPED, HUSK_TRAP_##trap }
#define RETURNS(what)                                                                              \
    { #what, text_##what, text_##what##_end, HUSK_RETURNED, HUSK_TRAP_NONE }
#define SPINS(what)                                                                                \
    { #what, text_##what, text_##what##_end, HUSK_DEADLINE, HUSK_TRAP_NONE }

static const struct row violating[] = {
    VIOLATES(port),
    VIOLATES(port_byte),
    VIOLATES(port_in),
    VIOLATES(port_high),
    VIOLATES(port_exception),
    VIOLATES(rep_ins),
    VIOLATES(rep_outs),
    VIOLATES(hlt),
    VIOLATES(rdmsr),
    VIOLATES(mov_cr3),
    VIOLATES(lgdt),
    VIOLATES(int3),
    VIOLATES(int80),
    VIOLATES(syscall),
    VIOLATES(sysenter),
    VIOLATES(iret_ring0),
    VIOLATES(single_step),
    VIOLATES(divide),
    VIOLATES(ud2),
    VIOLATES(site_unknown),
    VIOLATES(site_host),
    VIOLATES(write_text),
    VIOLATES(jump_data),
    VIOLATES(jump_mailbox),
    VIOLATES(jump_memory),
    VIOLATES(jump_stack),
    VIOLATES(jump_null),
    VIOLATES(jump_beyond),
    VIOLATES(jump_beyond_memory),
    VIOLATES(jump_stub),
    VIOLATES(read_null),
    VIOLATES(read_system),
    VIOLATES(write_system),
    VIOLATES(read_noncanonical),
    VIOLATES(read_kernel_half),
    VIOLATES(read_past_mailbox),
    VIOLATES(read_other_memory),
    VIOLATES(read_files),
    VIOLATES(write_files),
    VIOLATES(import_1),
    VIOLATES(import_max),
    VIOLATES(service_0),
    VIOLATES(service_99),
    VIOLATES(service_max),
    VIOLATES(wild_stack_nested),
};
static const struct row trapping[] = {
    TRAPS(recurse, CALL_STACK_EXHAUSTED),         TRAPS(big_frame, CALL_STACK_EXHAUSTED),
    TRAPS(beyond_memory, MEMORY_OUT_OF_BOUNDS),   TRAPS(far_beyond_memory, MEMORY_OUT_OF_BOUNDS),
    TRAPS(stack_in_memory, MEMORY_OUT_OF_BOUNDS), TRAPS(site, INTEGER_OVERFLOW),
};
static const struct row returning[] = {
    RETURNS(good),          RETURNS(grow_other_memory), RETURNS(grow_wild_memory),
    RETURNS(grow_too_much), RETURNS(grow_wraps),        RETURNS(grow_past_max),
    RETURNS(grow_no_table), RETURNS(smash_mailbox),     RETURNS(smash_sizes),
    RETURNS(smash_state),   RETURNS(lose_stack),        RETURNS(wait_none),
};
static const struct row spinning[] = {
    SPINS(spin),        SPINS(spin_services), SPINS(spin_host_calls),
    SPINS(spin_string), SPINS(spin_pause),    SPINS(spin_flags),
    SPINS(spin_waits),  SPINS(wait),          SPINS(wait_long),
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- One image, one sandbox, one call ---- */

static husk_engine *engine;
static husk_imports *imports;
static struct husk_error err;

/* Calls back into the guest, which may have left its stack pointer anywhere. */
static int host_calls_back(husk_caller *caller, void *user, const struct husk_value *args,
                           struct husk_value *results) {
    (void)user, (void)args;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    results[0].of.i64 = 0;
    return husk_call(husk_caller_sandbox(caller), CALL(.name = "good"), &outcome, NULL);
}

static void begin(void) {
    SKIP_WITHOUT_KVM();
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    CHECK_OK(husk_imports_new(engine, &imports, &err), err);
    CHECK_OK(husk_imports_funcs(
                 imports,
                 &(struct husk_host_func){
                     .module = "env", .name = "host", .type = &type, .fn = host_calls_back},
                 1, &err),
             err);
}

static void end(void) {
    husk_imports_free(imports);
    husk_engine_unref(engine);
}

static void add_functions(struct image_builder *builder, uint32_t text_bytes) {
    builder_func(builder, builder_type(builder, "I>I", 0), 0, 0, "");
    builder_import(builder, "env", "host", HUSK_ABI_FUNC, 0);
    uint32_t type = builder_type(builder, ">", HUSK_TEXT_GVA + OFFSET_THUNK);
    const uint32_t offsets[] = {OFFSET_GOOD, OFFSET_BAD};
    static const char *const names[] = {"good", "bad"};
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t func = builder_func(builder, type, HUSK_TEXT_GVA + offsets[i], 1, names[i]);
        builder_export(builder, names[i], HUSK_ABI_FUNC, func);
        struct husk_image_code_row code = {
            .code_gva = HUSK_TEXT_GVA + offsets[i], .func_idx = func, .wasm_offset = 100 + i};
        builder_row(builder, HUSK_REC_CODE_MAP, &code, sizeof code);
    }
    struct husk_image_code_row last = {.code_gva = HUSK_TEXT_GVA + text_bytes,
                                       .func_idx = HUSK_FUNC_NONE};
    builder_row(builder, HUSK_REC_CODE_MAP, &last, sizeof last);
}

static husk_sandbox *sandbox_of(const struct row *row) {
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    struct image_builder builder;
    builder_init(&builder);
    builder.module.entry_gva = HUSK_TEXT_GVA + OFFSET_ENTRY;
    builder.module.resume_gva = HUSK_TEXT_GVA + OFFSET_RESUME;
    size_t text_bytes = (size_t)(row->end - row->text);
    builder_segment(&builder, HUSK_TEXT_GVA, PF_R | PF_X, row->text, text_bytes, text_bytes);
    builder_segment(&builder, HUSK_DATA_GVA, PF_R | PF_W, zeros, sizeof zeros, sizeof zeros);
    builder_segment(&builder, HUSK_MEM0_GVA, PF_R | PF_W, zeros, sizeof zeros, HUSK_WASM_PAGE_SIZE);
    add_functions(&builder, (uint32_t)text_bytes);
    struct husk_image_memory memory = {
        .min_pages = 1, .max_pages = 3, .flags = HUSK_LIMIT_HAS_MAX, .size_gva = HUSK_DATA_GVA};
    builder_row(&builder, HUSK_REC_MEMORIES, &memory, sizeof memory);
    builder_word(&builder, HUSK_DATA_GVA, 1);
    size_t count;
    uint8_t *bytes = builder_finish(&builder, &count);
    builder_done(&builder);
    husk_image *image;
    CHECK_OK(husk_image_open_buffer(engine, (struct husk_buffer){bytes, count}, NULL, &image, &err),
             err);
    free(bytes);
    husk_sandbox *sandbox;
    CHECK_OK(husk_sandbox_new(image, imports, NULL, &sandbox, &err), err);
    husk_image_unref(image);
    return sandbox;
}

static struct husk_outcome call(husk_sandbox *sandbox, const char *name, uint64_t wall_ms) {
    struct husk_limits options = HUSK_LIMITS_INIT;
    options.wall_ns = wall_ms * 1000000;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    CHECK_OK(husk_call(sandbox, CALL(.name = name, .limits = &options), &outcome, &err), err);
    return outcome;
}

static void check_good_sandbox(void) {
    husk_sandbox *sandbox = sandbox_of(&returning[0]);
    struct husk_outcome outcome = call(sandbox, "good", 0);
    CHECK_EQ_U64(outcome.kind, HUSK_RETURNED);
    husk_sandbox_free(sandbox);
}

static bool is_as_designed(const struct row *row, const struct husk_outcome *outcome) {
    bool is_poison = row->kind == HUSK_GUEST_VIOLATION || row->kind == HUSK_DEADLINE;
    if (outcome->kind == row->kind && outcome->trap == row->trap &&
        outcome->is_poisoned == is_poison)
        return true;
    printf("  %s: kind %d trap %d poisoned %d: %s\n", row->name, outcome->kind, outcome->trap,
           outcome->is_poisoned, outcome->message);
    return false;
}

/* Run each row on a sandbox of its own; what comes after depends on whether that one is
 * poisoned. */
static void run_rows(const struct row *rows, size_t count, uint64_t wall_ms) {
    begin();
    unsigned wrong = 0;
    for (size_t i = 0; i < count; i++) {
        husk_sandbox *sandbox = sandbox_of(&rows[i]);
        struct husk_outcome outcome = call(sandbox, "bad", wall_ms);
        wrong += !is_as_designed(&rows[i], &outcome);
        if (outcome.is_poisoned) {
            struct husk_outcome untouched = HUSK_OUTCOME_INIT;
            CHECK_STATUS(husk_call(sandbox, CALL(.name = "good"), &untouched, &err),
                         HUSK_E_POISONED);
        } else {
            outcome = call(sandbox, "good", 0);
            CHECK_MSG(outcome.kind == HUSK_RETURNED, "%s: then kind %d: %s", rows[i].name,
                      outcome.kind, outcome.message);
        }
        husk_sandbox_free(sandbox);
        check_good_sandbox();
    }
    CHECK_EQ_U64(wrong, 0);
    end();
}

TEST(violations_poison) {
    run_rows(violating, COUNT(violating), 10000);
}

TEST(traps_leave_the_instance_usable) {
    run_rows(trapping, COUNT(trapping), 10000);
}

TEST(smashed_state_harms_nobody) {
    run_rows(returning, COUNT(returning), 10000);
}

TEST(endless_code_ends_at_its_deadline) {
    run_rows(spinning, COUNT(spinning), 300);
}

TEST_MAIN()
