/*
 * tests/hostile/standing_hostile_test.c: files and guests that lie about a call that stands at a
 * host function. Whatever the registers, the stack and the place to go on are: the guest harms
 * itself alone, the host gets an outcome, and the same VM serves others afterwards.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "built_image.h"
#include "guest_image.h"
#include "guest_lab.h"
#include "harness.h"
#include "layout.h"
#include "literals.h"
#include "vm.h"

static uint64_t next_random(void) {
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static int host_waits(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    bool *has_answer = user;
    results[0].of.i64 = 2 * args[0].of.i64;
    return *has_answer ? 0 : husk_caller_pending(caller);
}

struct room {
    uint8_t *bytes;
    size_t count;
};

static int put(void *user, const void *bytes, size_t count) {
    struct room *room = user;
    room->bytes = realloc(room->bytes, room->count + count);
    memcpy(room->bytes + room->count, bytes, count);
    room->count += count;
    return 0;
}

struct rig {
    struct guest_lab lab;
    bool has_answer;
    struct room good; /* the file of a call of "host" that stands at env.host */
};

static void rig_open(struct rig *rig) {
    husk_image *snapshot = NULL;
    memset(rig, 0, sizeof *rig);
    guest_lab_open(&rig->lab, host_waits, &rig->has_answer, NULL);
    guest_call(rig->lab.sandbox, "host", 20, &rig->lab.outcome);
    CHECK_EQ_U64(rig->lab.outcome.kind, HUSK_PENDING);
    CHECK_OK(husk_sandbox_snapshot(rig->lab.sandbox, &snapshot, &rig->lab.err), rig->lab.err);
    CHECK_OK(husk_image_save_to(snapshot, put, &rig->good, &rig->lab.err), rig->lab.err);
    husk_image_unref(snapshot);
}

static void rig_close(struct rig *rig) {
    free(rig->good.bytes);
    guest_lab_close(&rig->lab);
}

static uint8_t *copy_of(const struct rig *rig) {
    uint8_t *bytes = malloc(rig->good.count);
    CHECK(bytes != NULL);
    memcpy(bytes, rig->good.bytes, rig->good.count);
    return bytes;
}

static struct husk_image_standing *row_of(const struct rig *rig, uint8_t *bytes) {
    void *row = image_note_rows(image_note_find(bytes, rig->good.count), HUSK_REC_STANDING, NULL);
    CHECK(row != NULL);
    return row;
}

/* The page of the stack in the file. */
static uint8_t *stack_of(uint8_t *bytes) {
    const Elf64_Ehdr *header = (const void *)bytes;
    const Elf64_Phdr *rows = (const void *)(bytes + header->e_phoff);
    for (uint32_t i = 0; i < header->e_phnum; i++)
        if (rows[i].p_type == PT_LOAD && rows[i].p_vaddr == HUSK_STACK_TOP_GVA - HUSK_PAGE_SIZE)
            return bytes + rows[i].p_offset;
    CHECK_MSG(false, "the file has no stack");
    return NULL;
}

/* Resume it, with 50 ms, by calling the host function again or by an answer. The called function
 * has at most one result. */
static void resume(struct rig *rig, husk_sandbox *sandbox, size_t results_count,
                   struct husk_outcome *outcome, int64_t *ret_result) {
    const bool is_again = next_random() % 2 == 0;
    struct husk_value value = {.type = HUSK_I64, .of.i64 = 40}, result = {.type = HUSK_I64};
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    limits.wall_ns = 50000000;
    answer.is_again = is_again;
    answer.values = is_again ? NULL : &value;
    answer.values_count = is_again ? 0 : 1;
    answer.results = &result;
    answer.results_count = results_count;
    answer.limits = &limits;
    *outcome = (struct husk_outcome)HUSK_OUTCOME_INIT;
    CHECK_OK(husk_call_resume(sandbox, &answer, outcome, &rig->lab.err), rig->lab.err);
    *ret_result = result.of.i64;
}

/* Then the image in its own sandbox works, in whatever VM. */
static void check_others(struct rig *rig) {
    CHECK_OK(husk_sandbox_restore(rig->lab.sandbox, rig->lab.image, &rig->lab.err), rig->lab.err);
    rig->has_answer = true;
    CHECK_EQ_I64(guest_call(rig->lab.sandbox, "host", 20, &rig->lab.outcome), 41);
    CHECK_EQ_U64(rig->lab.outcome.kind, HUSK_RETURNED);
}

/* Takes over the bytes. Whatever it does, it does to itself. */
static enum husk_outcome_kind plays(struct rig *rig, uint8_t *take_bytes, int64_t *ret_result) {
    husk_image *image = NULL;
    husk_sandbox *sandbox = NULL;
    struct husk_outcome outcome;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    struct husk_standing standing = HUSK_STANDING_INIT;
    struct husk_error *err = &rig->lab.err;
    image_hash_again(take_bytes, rig->good.count);
    int status = husk_image_open_buffer(
        rig->lab.engine, (struct husk_buffer){take_bytes, rig->good.count}, NULL, &image, err);
    free(take_bytes);
    if (status != 0) {
        CHECK_EQ_I64(status, HUSK_E_BAD_IMAGE);
        return HUSK_PENDING;
    }
    CHECK_OK(husk_image_backtrace(image, &backtrace, err), *err);
    CHECK_OK(husk_image_standing(image, &standing, err), *err);
    CHECK_OK(husk_sandbox_new(image, rig->lab.imports, NULL, &sandbox, err), *err);
    CHECK_OK(husk_sandbox_backtrace(sandbox, &backtrace, err), *err);
    rig->has_answer = true;
    resume(rig, sandbox, standing.type.results_count, &outcome, ret_result);
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    return outcome.kind;
}

TEST(the_good_file_goes_on) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    int64_t result = 0;
    rig_open(&rig);
    CHECK_EQ_U64(plays(&rig, copy_of(&rig), &result), HUSK_RETURNED);
    CHECK_EQ_I64(result, 41);
    check_others(&rig);
    rig_close(&rig);
}

/* Made by hand: what a file needs, and nothing else. */
TEST(a_file_that_nobody_saved_goes_on) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    int64_t result = 0;
    rig_open(&rig);
    free(rig.good.bytes);
    rig.good.bytes = guest_standing_make(&rig.good.count);
    CHECK_EQ_U64(plays(&rig, copy_of(&rig), &result), HUSK_RETURNED);
    CHECK_EQ_I64(result, 41);
    rig_close(&rig);
}

TEST(any_register_is_the_guests_own) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    int64_t result = 0;
    rig_open(&rig);
    for (uint32_t i = 0; i < 60; i++) {
        uint8_t *bytes = copy_of(&rig);
        row_of(&rig, bytes)->kept[i % 6] = next_random();
        const enum husk_outcome_kind kind = plays(&rig, bytes, &result);
        CHECK(kind == HUSK_RETURNED || (kind == HUSK_TRAPPED && i % 6 == 0)); /* RBX is compared */
    }
    check_others(&rig);
    rig_close(&rig);
}

/* On the page that the file has, or refused. */
TEST(any_stack_pointer_is_the_guests_own) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    int64_t result = 0;
    rig_open(&rig);
    for (uint32_t i = 0; i < 150; i++) {
        uint8_t *bytes = copy_of(&rig);
        row_of(&rig, bytes)->stack_gva = i < 20 ? HUSK_STACK_TOP_GVA - 8 - 8 * i
                                         : i < 100
                                             ? HUSK_STACK_TOP_GVA - 8 - 16 * (next_random() % 255)
                                             : next_random() >> next_random() % 64;
        plays(&rig, bytes, &result);
    }
    check_others(&rig);
    rig_close(&rig);
}

TEST(any_stack_is_the_guests_own) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    int64_t result = 0;
    rig_open(&rig);
    for (uint32_t i = 0; i < 200; i++) {
        uint8_t *bytes = copy_of(&rig);
        uint64_t *top = (void *)(stack_of(bytes) + HUSK_PAGE_SIZE - 5 * sizeof *top);
        const uint64_t number = next_random();
        if (i < 100) /* into the text, at any byte */
            top[i % 5] = HUSK_TEXT_GVA + number % (uint64_t)(guest_code_end - guest_code_start);
        else
            top[i % 5] = i % 2 == 0 ? number : HUSK_DATA_GVA + number % 0x20000000;
        plays(&rig, bytes, &result);
    }
    check_others(&rig);
    rig_close(&rig);
}

/* The note says where host calls go on: anywhere in the text. */
TEST(it_may_go_on_anywhere_in_the_text) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    int64_t result = 0;
    rig_open(&rig);
    for (uint32_t i = 0; i < (uint32_t)(guest_code_end - guest_code_start); i += 3) {
        uint8_t *bytes = copy_of(&rig);
        struct husk_image_module *module =
            image_note_rows(image_note_find(bytes, rig.good.count), HUSK_REC_MODULE, NULL);
        module->resume_gva = HUSK_TEXT_GVA + i;
        plays(&rig, bytes, &result);
    }
    check_others(&rig);
    rig_close(&rig);
}

/* Another function than the one on the stack: what lies in the mailbox is taken for its results. A
 * function that is imported, or that is not there, is refused. */
TEST(any_function_may_be_the_one_that_was_called) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    unsigned counts[HUSK_PENDING + 1] = {0};
    rig_open(&rig);
    for (uint32_t i = 0; i < 12; i++) {
        int64_t result;
        uint8_t *bytes = copy_of(&rig);
        row_of(&rig, bytes)->func_idx = i;
        counts[plays(&rig, bytes, &result)]++;
    }
    CHECK_EQ_U64(counts[HUSK_RETURNED], 8); /* as many as the image has */
    CHECK_EQ_U64(counts[HUSK_PENDING], 4);  /* refused */
    check_others(&rig);
    rig_close(&rig);
}

/* The frame of "host" is found by RBP, and a return address into "recurse" lies behind it. */
static uint8_t *with_base(const struct rig *rig, uint64_t base) {
    uint64_t count = 0;
    uint8_t *bytes = copy_of(rig);
    struct husk_image_unwind_x86_64 *rows =
        image_note_rows(image_note_find(bytes, rig->good.count), HUSK_REC_UNWIND, &count);
    uint64_t *top = (void *)(stack_of(bytes) + HUSK_PAGE_SIZE);
    for (uint64_t i = 0; i < count; i++)
        rows[i].cfa_base = rows[i].code_gva == guest_gva(guest_host) + 1;
    top[-2] = guest_gva(guest_recurse) + 5;
    row_of(rig, bytes)->kept[VM_KEPT_BASE] = base;
    image_hash_again(bytes, rig->good.count);
    return bytes;
}

static void check_frames(const struct husk_backtrace *backtrace, bool is_found) {
    CHECK_EQ_U64(backtrace->frames_count, is_found ? 2 : 1);
    CHECK_STR(backtrace->frames[0].func_name, "host");
    if (is_found)
        CHECK_STR(backtrace->frames[1].func_name, "recurse");
}

TEST(a_walk_follows_the_saved_base_register) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    rig_open(&rig);
    struct husk_error *err = &rig.lab.err;
    for (int is_found = 0; is_found < 2; is_found++) {
        husk_image *image = NULL;
        husk_sandbox *sandbox = NULL;
        struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
        uint8_t *bytes = with_base(&rig, is_found ? HUSK_STACK_TOP_GVA - 24 : 0);
        CHECK_OK(husk_image_open_buffer(rig.lab.engine, (struct husk_buffer){bytes, rig.good.count},
                                        NULL, &image, err),
                 *err);
        free(bytes);
        CHECK_OK(husk_image_backtrace(image, &backtrace, err), *err);
        check_frames(&backtrace, is_found);
        CHECK_OK(husk_sandbox_new(image, rig.lab.imports, NULL, &sandbox, err), *err);
        CHECK_OK(husk_sandbox_backtrace(sandbox, &backtrace, err), *err);
        check_frames(&backtrace, is_found);
        husk_sandbox_free(sandbox);
        husk_image_unref(image);
    }
    rig_close(&rig);
}

/* ---- a live guest ---- */

/* "quiet" has the code of "host", and no result: a thunk of its own tells them apart. */
static husk_image *image_with_quiet(husk_engine *engine) {
    struct image_builder builder;
    guest_image_build(&builder);
    const uint32_t type = builder_type(&builder, "I>", guest_gva(guest_other_thunk));
    builder_export(&builder, "quiet", HUSK_ABI_FUNC,
                   builder_func(&builder, type, guest_gva(guest_host), 1, "quiet"));
    return built_image_open(&builder, engine);
}

TEST(functions_that_share_their_code_are_not_mistaken) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    husk_image *snapshot = NULL;
    bool has_answer = false;
    const struct husk_value arg = {.type = HUSK_I64, .of.i64 = 5};
    struct husk_standing standing = HUSK_STANDING_INIT;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    guest_lab_open(&lab, host_waits, &has_answer, NULL);
    husk_image *image = image_with_quiet(lab.engine);
    CHECK_OK(husk_sandbox_load(lab.sandbox, image, lab.imports, &lab.err), lab.err);
    CHECK_OK(husk_call(lab.sandbox, CALL(.name = "quiet", .args = &arg, .args_count = 1),
                       &lab.outcome, &lab.err),
             lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_PENDING);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_image_standing(snapshot, &standing, &lab.err), lab.err);
    CHECK_EQ_U64(standing.type.results_count, 0);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    has_answer = answer.is_again = true;
    CHECK_OK(husk_call_resume(lab.sandbox, &answer, &lab.outcome, &lab.err), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    husk_image_unref(snapshot);
    husk_image_unref(image);
    guest_lab_close(&lab);
}

static int host_takes(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    husk_image *snapshot = NULL;
    struct husk_error *err = user;
    (void)args, (void)results;
    int status = husk_caller_snapshot(caller, &snapshot, err);
    husk_image_unref(snapshot);
    return status;
}

/* `mov $imm, %esp; out %eax, $0x11` in place of "bad_port". */
static void jump_stack(struct image_builder *builder, uint32_t stack_gva) {
    uint8_t code[] = {0xbc, 0, 0, 0, 0, 0xe7, 0x11};
    memcpy(code + 1, &stack_gva, sizeof stack_gva);
    memcpy(builder->segments[0].bytes.data + (guest_bad_port - guest_code_start), code,
           sizeof code);
}

TEST(a_guest_whose_stack_pointer_is_elsewhere_is_in_no_snapshot) {
    static const uint32_t all[] = {0,
                                   HUSK_MEM0_GVA,
                                   HUSK_TEXT_GVA + 8,
                                   HUSK_STACK_TOP_GVA,
                                   HUSK_STACK_TOP_GVA + 8,
                                   HUSK_STACK_TOP_GVA - 16,
                                   HUSK_STACK_TOP_GVA - HUSK_STACK_DEFAULT_BYTES - 8,
                                   0xfffffff8u};
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    struct husk_error said;
    guest_lab_open(&lab, host_takes, &said, NULL);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct image_builder builder;
        size_t count;
        husk_image *image = NULL;
        guest_image_build(&builder);
        jump_stack(&builder, all[i]);
        uint8_t *bytes = builder_finish(&builder, &count);
        builder_done(&builder);
        CHECK_OK(husk_image_open_buffer(lab.engine, (struct husk_buffer){bytes, count}, NULL,
                                        &image, &lab.err),
                 lab.err);
        free(bytes);
        CHECK_OK(husk_sandbox_load(lab.sandbox, image, lab.imports, &lab.err), lab.err);
        guest_run(lab.sandbox, "bad_port", NULL, &lab.outcome);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_TRAPPED);
        CHECK_EQ_I64(said.status, HUSK_E_GUEST);
        CHECK_CONTAINS(said.message, "is not in its stack");
        husk_image_unref(image);
    }
    guest_lab_close(&lab);
}

TEST_MAIN()
