/*
 * tests/hostile/restore_hostile_test.c: hostile native code fills every register it can reach, its
 * stack and its memory, and ends in each way in which a call can end. The next image in the same VM
 * records what it finds. It must find the same as in a new VM.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "built_image.h"
#include "harness.h"
#include "husk.h"
#include "image_builder.h"
#include "layout.h"
#include "literals.h"

#define OFFSET_ENTRY 0u
#define OFFSET_THUNK 16u
#define OFFSET_RESUME 34u
#define OFFSET_CODE 48u
#define TEXT_OF(name, code)                                                                        \
    __asm__(".pushsection .rodata\n .balign 64\n" #name ":\n"                                      \
            "cld\n call *%rsi\n out %eax, $0x10\n ud2\n .balign 16\n"                              \
            "call *%rdi\n ret\n .balign 16\n"                                                      \
            "out %eax, $0x11\n ret\n .balign 16\n" code "\n" #name "_end: .popsection\n");         \
    extern const uint8_t name[], name##_end[]

/* What is found goes to memory 0: general registers, flags, selectors, x87, MXCSR, vector
 * registers; then 256 bytes of the stack. */
#define RECORD_BYTES 0x1000u
#define SAVE_GENERAL                                                                               \
    "mov %rax, 0x40000000\n mov %rbx, 0x40000008\n mov %rcx, 0x40000010\n mov %rdx, 0x40000018\n"  \
    "mov %rbp, 0x40000030\n mov %rsp, 0x40000038\n mov %r8, 0x40000040\n mov %r9, 0x40000048\n"    \
    "mov %r10, 0x40000050\n mov %r11, 0x40000058\n mov %r12, 0x40000060\n mov %r13, 0x40000068\n"  \
    "mov %r14, 0x40000070\n mov %r15, 0x40000078\n pushfq\n pop %rax\n mov %rax, 0x40000080\n"     \
    "mov %ds, %eax\n mov %eax, 0x40000088\n mov %es, %eax\n mov %eax, 0x4000008c\n"                \
    "mov %fs, %eax\n mov %eax, 0x40000090\n mov %gs, %eax\n mov %eax, 0x40000094\n"                \
    "mov %ss, %eax\n mov %eax, 0x40000098\n mov %cs, %eax\n mov %eax, 0x4000009c\n"                \
    "stmxcsr 0x400000a0\n fnsave 0x40000100\n"
#define SAVE_STACK                                                                                 \
    "lea -4096(%rsp), %rsi\n mov $0x40001000, %edi\n mov $512, %ecx\n rep movsq\n ret"
#define EACH_8(text) ".irp n, 0,1,2,3,4,5,6,7\n" text "\n .endr\n"
#define EACH_16(text) ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" text "\n .endr\n"
#define EACH_32(text)                                                                              \
    EACH_16(text) ".irp n, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n" text "\n .endr\n"

TEXT_OF(text_record, SAVE_GENERAL EACH_16("movups %xmm\\n, 0x40000200 + 16 * \\n") SAVE_STACK);
TEXT_OF(text_record_avx, SAVE_GENERAL EACH_16("vmovups %ymm\\n, 0x40000200 + 32 * \\n") SAVE_STACK);
TEXT_OF(text_record_avx512, SAVE_GENERAL EACH_32("vmovups %zmm\\n, 0x40000200 + 64 * \\n")
                                EACH_8("kmovq %k\\n, 0x40000a00 + 8 * \\n") SAVE_STACK);

#define SMASH_STACK "mov $512, %ecx\n 1: push %rax\n loop 1b\n add $4096, %rsp\n"
#define SMASH_MEMORY "mov $0x40000000, %edi\n mov $0x2000, %ecx\n rep stosq\n"
/* IF is left set: Bochs lets nothing interrupt a guest that clears it and spins (vcpu_state_test.c
 * clears it). */
#define SMASH_REST                                                                                 \
    "movabs $0xc0ffeec0ffeec0ff, %rax\n" SMASH_STACK SMASH_MEMORY                                  \
    "mov %rax, %rbx\n mov %rax, %rdx\n mov %rax, %rsi\n mov %rax, %rdi\n mov %rax, %rbp\n mov "    \
    "%rax, %r8\n"                                                                                  \
    "mov %rax, %r9\n mov %rax, %r10\n mov %rax, %r11\n mov %rax, %r12\n mov %rax, %r13\n mov "     \
    "%rax, %r14\n"                                                                                 \
    "mov %rax, %r15\n fninit\n fldpi\n fldpi\n fldl2e\n pushq $0x0c7f\n fldcw (%rsp)\n pop %rcx\n" \
    "pushq $0x7f80 + 0x3f\n ldmxcsr (%rsp)\n pop %rcx\n movq %rax, %mm3\n movq %rax, %mm7\n"       \
    "xor %ecx, %ecx\n mov %ecx, %ds\n mov %ecx, %es\n mov %ecx, %fs\n mov %ecx, %gs\n"             \
    "pushq $0x40ed5\n popfq\n mov %rax, %rcx\n"
#define SMASH                                                                                      \
    "movabs $0xc0ffeec0ffeec0ff, %rax\n" EACH_16(                                                  \
        "movq %rax, %xmm\\n\n punpcklqdq %xmm\\n, %xmm\\n") SMASH_REST
#define SMASH_AVX SMASH EACH_16("vinsertf128 $1, %xmm\\n, %ymm\\n, %ymm\\n")
#define SMASH_AVX512 SMASH EACH_32("vpbroadcastq %rax, %zmm\\n") EACH_8("kmovq %rax, %k\\n")

TEXT_OF(text_return, SMASH "ret");
TEXT_OF(text_violate, SMASH "ud2");
TEXT_OF(text_trap, SMASH ".byte 0x67, 0x0f, 0xb9, 0x40, 8");
TEXT_OF(text_spin, SMASH "jmp .");
TEXT_OF(text_return_avx, SMASH_AVX "ret");
TEXT_OF(text_violate_avx, SMASH_AVX "ud2");
TEXT_OF(text_trap_avx, SMASH_AVX ".byte 0x67, 0x0f, 0xb9, 0x40, 8");
TEXT_OF(text_spin_avx, SMASH_AVX "jmp .");
TEXT_OF(text_return_avx512, SMASH_AVX512 "ret");
TEXT_OF(text_violate_avx512, SMASH_AVX512 "ud2");
TEXT_OF(text_trap_avx512, SMASH_AVX512 ".byte 0x67, 0x0f, 0xb9, 0x40, 8");
TEXT_OF(text_spin_avx512, SMASH_AVX512 "jmp .");

struct text {
    const char *name;
    const uint8_t *start, *end;
    enum husk_outcome_kind kind;
};
#define TEXT_ROW(what, level, kind)                                                                \
    { #what, text_##what##level, text_##what##level##_end, HUSK_##kind }
#define TEXT_ROWS(level)                                                                           \
    TEXT_ROW(record, level, RETURNED), TEXT_ROW(return, level, RETURNED),                          \
        TEXT_ROW(violate, level, GUEST_VIOLATION), TEXT_ROW(trap, level, TRAPPED),                 \
        TEXT_ROW(spin, level, DEADLINE)

/* Up to which vector registers, and how many bytes of the record they are. */
static const struct level {
    const char *feature; /* abi/cpu_features.def */
    size_t vector_bytes;
    struct text texts[5];
} levels[] = {
    {"sse3", 16 * 16, {TEXT_ROWS()}},
    {"avx", 16 * 32, {TEXT_ROWS(_avx)}},
    {"avx512bw", 32 * 64 + 8 * 8, {TEXT_ROWS(_avx512)}},
};

static husk_engine *engine;
static struct husk_error err;

/* False: this host does not grant the feature. */
static bool begin(const struct level *level) {
    SKIP_WITHOUT_KVM();
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    struct husk_host_info info = HUSK_HOST_INFO_INIT;
    CHECK_OK(husk_engine_new(&options, &engine, &err), err);
    husk_engine_host_info(engine, &info);
    bool has_it = false;
    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = husk_cpu_feature_name(bit);
        has_it |= name != NULL && strcmp(name, level->feature) == 0 &&
                  (info.cpu_features >> bit & 1) != 0;
    }
    if (!has_it)
        husk_engine_unref(engine);
    return has_it;
}

static husk_image *image_of(const struct text *text) {
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    struct image_builder builder;
    builder_init(&builder);
    builder.module.entry_gva = HUSK_TEXT_GVA + OFFSET_ENTRY;
    builder.module.resume_gva = HUSK_TEXT_GVA + OFFSET_RESUME;
    size_t text_bytes = (size_t)(text->end - text->start);
    builder_segment(&builder, HUSK_TEXT_GVA, PF_R | PF_X, text->start, text_bytes, text_bytes);
    builder_segment(&builder, HUSK_DATA_GVA, PF_R | PF_W, zeros, sizeof zeros, sizeof zeros);
    builder_segment(&builder, HUSK_MEM0_GVA, PF_R | PF_W, zeros, sizeof zeros, HUSK_WASM_PAGE_SIZE);
    uint32_t type = builder_type(&builder, ">", HUSK_TEXT_GVA + OFFSET_THUNK);
    uint32_t func = builder_func(&builder, type, HUSK_TEXT_GVA + OFFSET_CODE, 1, "code");
    builder_export(&builder, "code", HUSK_ABI_FUNC, func);
    struct husk_image_code_row code = {
        .code_gva = HUSK_TEXT_GVA + OFFSET_CODE, .func_idx = func, .wasm_offset = 1};
    builder_row(&builder, HUSK_REC_CODE_MAP, &code, sizeof code);
    struct husk_image_code_row last = {.code_gva = HUSK_TEXT_GVA + (uint32_t)text_bytes,
                                       .func_idx = HUSK_FUNC_NONE};
    builder_row(&builder, HUSK_REC_CODE_MAP, &last, sizeof last);
    struct husk_image_memory memory = {
        .min_pages = 1, .max_pages = 3, .flags = HUSK_LIMIT_HAS_MAX, .size_gva = HUSK_DATA_GVA};
    builder_row(&builder, HUSK_REC_MEMORIES, &memory, sizeof memory);
    builder_word(&builder, HUSK_DATA_GVA, 1);
    return built_image_open(&builder, engine);
}

static void call(husk_sandbox *sandbox, enum husk_outcome_kind kind, const char *name) {
    struct husk_limits options = HUSK_LIMITS_INIT;
    options.wall_ns = kind == HUSK_DEADLINE ? 10000000 : 10000000000;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    CHECK_OK(husk_call(sandbox, CALL(.name = "code", .limits = &options), &outcome, &err), err);
    CHECK_MSG(outcome.kind == kind, "%s: kind %d: %s", name, outcome.kind, outcome.message);
}

/* The kernel says so of CPUs whose FXSAVE and FXRSTOR leave the x87 pointers alone
 * (X86_BUG_FXSAVE_LEAK); QEMU's is one. */
static bool has_fxsave_leak(void) {
    char line[4096];
    FILE *file = fopen("/proc/cpuinfo", "re");
    CHECK(file != NULL);
    bool has_it = false;
    while (!has_it && fgets(line, sizeof line, file) != NULL)
        has_it = strncmp(line, "bugs", 4) == 0 && strstr(line, "fxsave_leak") != NULL;
    fclose(file);
    return has_it;
}

/* FNSAVE's pointers to the last instruction and operand (SDM vol. 1, figure 8-9). On such a CPU the
 * kernel sets them to addresses of its own when it loads the state of whoever runs next, this guest
 * in mid-call included. A guest's would be an address in its text. */
static void forget_pointers_of_the_kernel(uint8_t *found) {
    uint8_t *pointers = found + 0x100 + 12;
    uint32_t fip;
    memcpy(&fip, pointers, sizeof fip);
    if (fip != 0 && fip - HUSK_TEXT_GVA >= 16 * HUSK_PAGE_SIZE && has_fxsave_leak())
        memset(pointers, 0, 16);
}

/* What the recording image finds: two pages. */
static void record(husk_sandbox *sandbox, uint8_t *found) {
    void *span;
    call(sandbox, HUSK_RETURNED, "record");
    CHECK_OK(husk_memory_span(sandbox, RANGE(.count = 2 * RECORD_BYTES), &span, &err), err);
    memcpy(found, span, 2 * RECORD_BYTES);
    forget_pointers_of_the_kernel(found);
}

static void compare(const uint8_t *found, const uint8_t *expected, const char *name) {
    for (size_t i = 0; i < 2 * RECORD_BYTES; i++)
        CHECK_MSG(found[i] == expected[i],
                  "after %s: byte 0x%zx of the record is 0x%02x, in a fresh VM 0x%02x", name, i,
                  found[i], expected[i]);
}

static const uint8_t *vector_part(const uint8_t *found) {
    return found + 0x200;
}

static void run_all(const struct level *level) {
    static uint8_t fresh[2 * RECORD_BYTES], found[2 * RECORD_BYTES], zeros[RECORD_BYTES];
    if (!begin(level))
        SKIP("%s is not granted here", level->feature);
    const struct text *rows = level->texts;
    husk_image *recorder = image_of(&rows[0]);
    husk_sandbox *sandbox = NULL;
    CHECK_OK(husk_sandbox_new(recorder, NULL, NULL, &sandbox, &err), err);
    record(sandbox, fresh);
    CHECK_MEM(vector_part(fresh), zeros, level->vector_bytes);
    uint32_t mxcsr;
    memcpy(&mxcsr, fresh + 0xa0, 4);
    CHECK_EQ_U64(mxcsr, 0x1f80);
    CHECK_MEM(fresh + 0x100 + 28, zeros, 80); /* FNSAVE: the x87 registers behind the environment */
    CHECK_OK(husk_sandbox_restore(sandbox, recorder, &err), err);
    record(sandbox, found);
    compare(found, fresh, "itself");
    for (int i = 1; i < 5; i++) {
        husk_image *smasher = image_of(&rows[i]);
        for (int way = 0; way < 2; way++) {
            if (way == 0) {
                CHECK_OK(husk_sandbox_load(sandbox, smasher, NULL, &err), err);
            } else { /* through the pool */
                husk_sandbox_free(sandbox);
                CHECK_OK(husk_sandbox_new(smasher, NULL, NULL, &sandbox, &err), err);
            }
            call(sandbox, rows[i].kind, rows[i].name);
            if (way == 0) {
                CHECK_OK(husk_sandbox_load(sandbox, recorder, NULL, &err), err);
            } else {
                husk_sandbox_free(sandbox);
                CHECK_OK(husk_sandbox_new(recorder, NULL, NULL, &sandbox, &err), err);
            }
            record(sandbox, found);
            compare(found, fresh, rows[i].name);
        }
        husk_image_unref(smasher);
    }
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(engine, &stats);
    CHECK_EQ_U64(stats.vms_made, 1);
    husk_sandbox_free(sandbox);
    husk_image_unref(recorder);
    husk_engine_unref(engine);
}

TEST(the_next_one_finds_nothing) {
    run_all(&levels[0]);
}

TEST(the_next_one_finds_nothing_with_avx) {
    run_all(&levels[1]);
}

TEST(the_next_one_finds_nothing_with_avx512) {
    run_all(&levels[2]);
}

TEST_MAIN()
