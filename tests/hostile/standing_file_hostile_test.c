/*
 * tests/hostile/standing_file_hostile_test.c: files whose standing call was changed byte by byte:
 * its row, its arguments (numbers and references of every kind), the table of records, and the
 * segment of its stack; or whose stack is of another level. Each is refused with a reason, or the
 * guest harms itself alone.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "image_builder.h"
#include "layout.h"
#include "levels.h"
#include "literals.h"
#include "ready_image.h"
#include "wat.h"

/* "f" gives what it gets to env.take, and uses the references that come back. "two" has other
 * results, $hidden is no export. The module is in bytes, because not every text assembler knows
 * exnref.
 * (module
 *  (import "env" "take" (func $take (param i64 externref funcref exnref)
 *   (result i64 funcref exnref)))
 *  (import "env" "other" (func $other (param i32)))
 *  (memory (export "memory") 1) (table (export "t") 4 funcref)
 *  (tag $tag (param i64)) (global $e (mut externref) (ref.null extern))
 *  (type $two (func (param i64) (result i64 i64))) (elem declare func $hidden)
 *  (func $hidden (param i64) (result i64 i64) (local.get 0) (local.get 0))
 *  (func (export "two") (type $two) (local.get 0) (local.get 0))
 *  (func (export "none") (call $other (i32.const 1)))
 *  (func $exn (result exnref) (local exnref)
 *   (block $caught (result i64 exnref)
 *    (try_table (catch_ref $tag $caught) (throw $tag (i64.const 5))) (unreachable))
 *   (local.set 0) (drop) (local.get 0))
 *  (func (export "f") (param i64) (result i64) (local $a i64) (local $x exnref)
 *   (local.set $a (i64.load (i32.const 8)))
 *   (call $take (local.get 0) (global.get $e) (ref.func $hidden) (call $exn))
 *   (local.set $x) (call $set) (local.set 0)
 *   (call_indirect (type $two) (local.get 0) (i32.const 1))
 *   (drop) (local.get $a) (i64.add) (local.set $a)
 *   (block $caught (result i64)
 *    (try_table (catch $tag $caught) (throw_ref (local.get $x))) (unreachable))
 *   (local.set 0) (i64.add (local.get $a) (local.get 0)))
 *  (func $set (param funcref) (table.set (i32.const 1) (local.get 0))))
 */
static const uint8_t wasm[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x2e, 0x09, 0x60, 0x01, 0x7e, 0x02, 0x7e,
    0x7e, 0x60, 0x04, 0x7e, 0x6f, 0x70, 0x69, 0x03, 0x7e, 0x70, 0x69, 0x60, 0x01, 0x7f, 0x00, 0x60,
    0x01, 0x7e, 0x00, 0x60, 0x00, 0x00, 0x60, 0x00, 0x01, 0x69, 0x60, 0x00, 0x02, 0x7e, 0x69, 0x60,
    0x01, 0x7e, 0x01, 0x7e, 0x60, 0x01, 0x70, 0x00, 0x02, 0x18, 0x02, 0x03, 0x65, 0x6e, 0x76, 0x04,
    0x74, 0x61, 0x6b, 0x65, 0x00, 0x01, 0x03, 0x65, 0x6e, 0x76, 0x05, 0x6f, 0x74, 0x68, 0x65, 0x72,
    0x00, 0x02, 0x03, 0x07, 0x06, 0x00, 0x00, 0x04, 0x05, 0x07, 0x08, 0x04, 0x04, 0x01, 0x70, 0x00,
    0x04, 0x05, 0x03, 0x01, 0x00, 0x01, 0x0d, 0x03, 0x01, 0x00, 0x03, 0x06, 0x06, 0x01, 0x6f, 0x01,
    0xd0, 0x6f, 0x0b, 0x07, 0x1f, 0x05, 0x06, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 0x02, 0x00, 0x01,
    0x74, 0x01, 0x00, 0x03, 0x74, 0x77, 0x6f, 0x00, 0x03, 0x04, 0x6e, 0x6f, 0x6e, 0x65, 0x00, 0x04,
    0x01, 0x66, 0x00, 0x06, 0x09, 0x05, 0x01, 0x03, 0x00, 0x01, 0x02, 0x0a, 0x78, 0x06, 0x06, 0x00,
    0x20, 0x00, 0x20, 0x00, 0x0b, 0x06, 0x00, 0x20, 0x00, 0x20, 0x00, 0x0b, 0x06, 0x00, 0x41, 0x01,
    0x10, 0x01, 0x0b, 0x18, 0x01, 0x01, 0x69, 0x02, 0x06, 0x1f, 0x40, 0x01, 0x01, 0x00, 0x00, 0x42,
    0x05, 0x08, 0x00, 0x0b, 0x00, 0x0b, 0x21, 0x00, 0x1a, 0x20, 0x00, 0x0b, 0x3f, 0x02, 0x01, 0x7e,
    0x01, 0x69, 0x41, 0x08, 0x29, 0x03, 0x00, 0x21, 0x01, 0x20, 0x00, 0x23, 0x00, 0xd2, 0x02, 0x10,
    0x05, 0x10, 0x00, 0x21, 0x02, 0x10, 0x07, 0x21, 0x00, 0x20, 0x00, 0x41, 0x01, 0x11, 0x00, 0x00,
    0x1a, 0x20, 0x01, 0x7c, 0x21, 0x01, 0x02, 0x7e, 0x1f, 0x40, 0x01, 0x00, 0x00, 0x00, 0x20, 0x02,
    0x0a, 0x0b, 0x00, 0x0b, 0x21, 0x00, 0x20, 0x01, 0x20, 0x00, 0x7c, 0x0b, 0x08, 0x00, 0x41, 0x01,
    0x20, 0x00, 0x26, 0x00, 0x0b, 0x00, 0x5f, 0x04, 0x6e, 0x61, 0x6d, 0x65, 0x01, 0x20, 0x05, 0x00,
    0x04, 0x74, 0x61, 0x6b, 0x65, 0x01, 0x05, 0x6f, 0x74, 0x68, 0x65, 0x72, 0x02, 0x06, 0x68, 0x69,
    0x64, 0x64, 0x65, 0x6e, 0x05, 0x03, 0x65, 0x78, 0x6e, 0x07, 0x03, 0x73, 0x65, 0x74, 0x02, 0x09,
    0x01, 0x06, 0x02, 0x01, 0x01, 0x61, 0x02, 0x01, 0x78, 0x03, 0x15, 0x02, 0x05, 0x01, 0x00, 0x06,
    0x63, 0x61, 0x75, 0x67, 0x68, 0x74, 0x06, 0x01, 0x00, 0x06, 0x63, 0x61, 0x75, 0x67, 0x68, 0x74,
    0x04, 0x06, 0x01, 0x00, 0x03, 0x74, 0x77, 0x6f, 0x07, 0x04, 0x01, 0x00, 0x01, 0x65, 0x0b, 0x06,
    0x01, 0x00, 0x03, 0x74, 0x61, 0x67};

#define EXPECTED (40 + 5) /* memory is zeros */
#define LEVELED (40 * 41 / 2 + 2)

static int host_other(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    (void)caller, (void)user, (void)args, (void)results;
    return 0;
}

/* Uses the references as an embedder may. */
static int host_take(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    const bool *has_answer = user;
    husk_sandbox *sandbox = husk_caller_sandbox(caller);
    struct husk_error err;
    husk_func func;
    struct husk_functype type;
    if (!*has_answer)
        return husk_caller_pending(caller);
    if (husk_func_from_ref(sandbox, &args[2], &func, &type, &err) == 0)
        (void)husk_table_set(sandbox, 0, 2, &args[2], &err);
    results[0] = args[0];
    results[1] = args[2];
    results[2] = args[3];
    return 0;
}

struct room {
    uint8_t *bytes;
    size_t count;
};

struct rig {
    struct wat_lab wat;
    bool has_answer;
    struct room good;
    bool is_leveled;                             /* by level_rig_open() */
    unsigned refused, returned, trapped, others; /* how the changed files ended */
};

static int put(void *user, const void *bytes, size_t count) {
    struct room *room = user;
    room->bytes = realloc(room->bytes, room->count + count);
    CHECK(room->bytes != NULL);
    memcpy(room->bytes + room->count, bytes, count);
    room->count += count;
    return 0;
}

/* Call "f", which stands at env.take, and save the state. */
static void rig_stand(struct rig *rig) {
    husk_image *snapshot = NULL;
    const struct husk_value arg = value_i64(40);
    struct husk_value result;
    CHECK_OK(wat_call(&rig->wat, "f", &arg, 1, &result, 1), rig->wat.err);
    CHECK_MSG(rig->wat.outcome.kind == HUSK_PENDING, "%s", rig->wat.outcome.message);
    CHECK_OK(husk_sandbox_snapshot(rig->wat.sandbox, &snapshot, &rig->wat.err), rig->wat.err);
    CHECK_OK(husk_image_save_to(snapshot, put, &rig->good, &rig->wat.err), rig->wat.err);
    husk_image_unref(snapshot);
    rig->has_answer = true;
}

static void rig_open(struct rig *rig) {
    memset(rig, 0, sizeof *rig);
    wat_lab_init(&rig->wat);
    wat_lab_func(&rig->wat, "take", "Iecx>Icx", host_take, &rig->has_answer);
    wat_lab_func(&rig->wat, "other", "i>", host_other, NULL);
    int fd = ready_image_open(wasm, sizeof wasm);
    if (fd < 0)
        fd = ready_image_compile(wasm, sizeof wasm, wasm, sizeof wasm, WAT_WORKER);
    CHECK_OK(husk_image_open_fd(rig->wat.engine, fd, NULL, &rig->wat.image, &rig->wat.err),
             rig->wat.err);
    close(fd);
    CHECK_OK(
        husk_sandbox_new(rig->wat.image, rig->wat.imports, NULL, &rig->wat.sandbox, &rig->wat.err),
        rig->wat.err);
    rig_stand(rig);
}

static uint8_t *copy_of(const struct rig *rig) {
    uint8_t *bytes = malloc(rig->good.count);
    CHECK(bytes != NULL);
    memcpy(bytes, rig->good.bytes, rig->good.count);
    return bytes;
}

/* With 50 ms, and as many results as the file says. */
static void resume(struct rig *rig, husk_sandbox *sandbox, const struct husk_standing *standing,
                   int64_t *ret_result) {
    struct husk_value results[4] = {0};
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    limits.wall_ns = 50000000;
    answer.is_again = true;
    answer.results = results;
    answer.results_count = standing->type.results_count;
    answer.limits = &limits;
    CHECK(answer.results_count <= 4);
    CHECK_OK(husk_call_resume(sandbox, &answer, &rig->wat.outcome, &rig->wat.err), rig->wat.err);
    *ret_result = results[0].of.i64;
}

static void runs(struct rig *rig, husk_image *image, int64_t *ret_result) {
    husk_sandbox *sandbox = NULL;
    struct husk_standing standing = HUSK_STANDING_INIT;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    struct husk_error *err = &rig->wat.err;
    if (husk_image_standing(image, &standing, err) != 0) {
        CHECK_CONTAINS(err->message, "no call stands"); /* the record has another name */
        rig->others++;
        return;
    }
    CHECK_OK(husk_image_backtrace(image, &backtrace, err), *err);
    int status = husk_sandbox_new(image, rig->wat.imports, NULL, &sandbox, err);
    if (status != 0) {
        CHECK(status == HUSK_E_LIMIT || status == HUSK_E_LINK || status == HUSK_E_BAD_IMAGE);
        rig->refused++;
        return;
    }
    resume(rig, sandbox, &standing, ret_result);
    rig->returned += rig->wat.outcome.kind == HUSK_RETURNED;
    rig->trapped += rig->wat.outcome.kind == HUSK_TRAPPED;
    husk_sandbox_free(sandbox);
}

/* Takes over the bytes of a file. */
static void plays(struct rig *rig, uint8_t *take_bytes, int64_t *ret_result) {
    husk_image *image = NULL;
    struct husk_error *err = &rig->wat.err;
    image_hash_again(take_bytes, rig->good.count);
    err->message[0] = 0;
    int status = husk_image_open_buffer(
        rig->wat.engine, (struct husk_buffer){take_bytes, rig->good.count}, NULL, &image, err);
    free(take_bytes);
    if (status == 0) {
        runs(rig, image, ret_result);
        husk_image_unref(image);
        return;
    }
    CHECK_MSG(status == HUSK_E_BAD_IMAGE || status == HUSK_E_IMAGE_VERSION, "%d: %s", status,
              err->message);
    CHECK(err->message[0] != 0);
    rig->refused++;
}

/* The good file in whatever VM the others left. */
static void rig_close(struct rig *rig) {
    int64_t result = 0;
    plays(rig, copy_of(rig), &result);
    CHECK_MSG(rig->wat.outcome.kind == HUSK_RETURNED, "%s", rig->wat.outcome.message);
    CHECK_EQ_I64(result, rig->is_leveled ? LEVELED : EXPECTED);
    free(rig->good.bytes);
    wat_lab_close(&rig->wat);
}

/* Each byte of a part of the file in turn, to several values. */
static void change_each(struct rig *rig, size_t at, size_t count) {
    static const uint8_t masks[] = {0x01, 0x08, 0x80, 0xff};
    int64_t result;
    for (size_t i = 0; i < count; i++)
        for (size_t mask = 0; mask < sizeof masks; mask++) {
            uint8_t *bytes = copy_of(rig);
            bytes[at + i] ^= masks[mask];
            plays(rig, bytes, &result);
        }
}

static void change_rows(struct rig *rig, enum husk_image_record_id id, size_t row_bytes) {
    uint64_t count = 0;
    uint8_t *rows = image_note_rows(image_note_find(rig->good.bytes, rig->good.count), id, &count);
    CHECK(rows != NULL && count > 0);
    change_each(rig, (size_t)(rows - rig->good.bytes), row_bytes * count);
}

TEST(each_byte_of_the_row) {
    SKIP_WITHOUT_COMPILER();
    struct rig rig;
    rig_open(&rig);
    change_rows(&rig, HUSK_REC_STANDING, sizeof(struct husk_image_standing));
    CHECK(rig.refused > 0 && rig.returned + rig.trapped > 0);
    rig_close(&rig);
}

TEST(each_byte_of_the_arguments) {
    SKIP_WITHOUT_COMPILER();
    struct rig rig;
    rig_open(&rig);
    change_rows(&rig, HUSK_REC_STANDING_ARGS, sizeof(struct husk_image_slot));
    CHECK_EQ_U64(rig.refused, 0); /* any argument is possible */
    CHECK(rig.returned > 0 && rig.trapped > 0);
    rig_close(&rig);
}

/* The names, offsets, counts and sizes of both records. */
TEST(each_byte_of_the_table_of_records) {
    SKIP_WITHOUT_COMPILER();
    struct rig rig;
    rig_open(&rig);
    uint8_t *note = image_note_find(rig.good.bytes, rig.good.count);
    const struct husk_image_header *header = (const void *)note;
    for (uint32_t i = 0; i < header->records_count; i++) {
        const uint8_t *record = note + header->header_bytes + (size_t)i * header->record_bytes;
        if (strncmp(((const struct husk_image_record *)(const void *)record)->name, "standing",
                    8) == 0)
            change_each(&rig, (size_t)(record - rig.good.bytes), header->record_bytes);
    }
    CHECK(rig.refused > 0);
    rig_close(&rig);
}

TEST(each_byte_of_the_stacks_segment) {
    SKIP_WITHOUT_COMPILER();
    struct rig rig;
    rig_open(&rig);
    const Elf64_Ehdr *header = (const void *)rig.good.bytes;
    const Elf64_Phdr *rows = (const void *)(rig.good.bytes + header->e_phoff);
    for (uint32_t i = 0; i < header->e_phnum; i++)
        if (rows[i].p_type == PT_LOAD && rows[i].p_vaddr == HUSK_STACK_TOP_GVA - HUSK_PAGE_SIZE)
            change_each(&rig, header->e_phoff + i * sizeof *rows, sizeof *rows);
    CHECK(rig.refused > 0);
    rig_close(&rig);
}

/* ---- a host function that was never called ---- */

static int host_deep(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    const bool *has_answer = user;
    results[0] = args[0];
    return *has_answer ? 0 : husk_caller_pending(caller);
}

static void *row_in(uint8_t *bytes, size_t count) {
    void *row = image_note_rows(image_note_find(bytes, count), HUSK_REC_STANDING, NULL);
    CHECK(row != NULL);
    return row;
}

static const char two[] =
    "(module (import \"env\" \"take\" (func $take (param i64) (result i64)))"
    " (import \"env\" \"never\" (func $never (param i64) (result i64)))"
    " (func (export \"f\") (param i64) (result i64)"
    "  (i64.add (call $take (local.get 0)) (i64.const 1)))"
    " (func (export \"g\") (param i64) (result i64) (call $never (local.get 0))))";

static int host_never(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    int64_t *asked = user;
    (void)caller;
    *asked = args[0].of.i64;
    results[0].type = HUSK_I64;
    results[0].of.i64 = 7;
    return 0;
}

/* It is called "again", with arguments that no guest gave. */
TEST(a_host_function_that_was_never_called) {
    SKIP_WITHOUT_COMPILER();
    struct rig rig = {.is_leveled = false};
    int64_t asked = 0, result = 0;
    wat_lab_init(&rig.wat);
    wat_lab_func(&rig.wat, "take", "I>I", host_deep, &rig.has_answer);
    wat_lab_func(&rig.wat, "never", "I>I", host_never, &asked);
    wat_lab_open(&rig.wat, two, NULL);
    rig_stand(&rig);
    uint8_t *bytes = copy_of(&rig);
    struct husk_image_standing *row = row_in(bytes, rig.good.count);
    struct husk_image_slot *arg =
        image_note_rows(image_note_find(bytes, rig.good.count), HUSK_REC_STANDING_ARGS, NULL);
    row->host_func_idx = 1;
    memset(arg, 0x5a, sizeof *arg);
    plays(&rig, bytes, &result);
    CHECK_EQ_U64(rig.returned, 1);
    CHECK_EQ_I64(asked, 0x5a5a5a5a5a5a5a5a);
    CHECK_EQ_I64(result, 8);
    plays(&rig, copy_of(&rig), &result);
    CHECK_EQ_I64(result, 41);
    free(rig.good.bytes);
    wat_lab_close(&rig.wat);
}

/* ---- the stack of another level ---- */

static const char deep[] =
    "(module (import \"env\" \"take\" (func $take (param i64) (result i64)))"
    " (func $f (export \"f\") (param i64) (result i64)"
    "  (if (i64.eqz (local.get 0)) (then (return (call $take (i64.const 2)))))"
    "  (i64.add (local.get 0) (call $f (i64.sub (local.get 0) (i64.const 1))))))";

static void level_rig_open(struct rig *rig, const struct level *level) {
    size_t count = 0;
    memset(rig, 0, sizeof *rig);
    rig->is_leveled = true;
    wat_lab_init(&rig->wat);
    wat_lab_func(&rig->wat, "take", "I>I", host_deep, &rig->has_answer);
    uint8_t *module = wat_to_wasm(deep, &count);
    level_open(&rig->wat, level, module, count);
    free(module);
    rig_stand(rig);
}

/* The topmost page of the stack in the file. */
static uint8_t *stack_in(uint8_t *bytes) {
    const Elf64_Ehdr *header = (const void *)bytes;
    const Elf64_Phdr *rows = (const void *)(bytes + header->e_phoff);
    for (uint32_t i = 0; i < header->e_phnum; i++)
        if (rows[i].p_type == PT_LOAD && rows[i].p_vaddr < HUSK_STACK_TOP_GVA &&
            rows[i].p_vaddr + rows[i].p_memsz == HUSK_STACK_TOP_GVA)
            return bytes + rows[i].p_offset + rows[i].p_filesz - HUSK_PAGE_SIZE;
    CHECK_MSG(false, "the file has no stack");
    return NULL;
}

/* Its return addresses mean other places here, and the frames have other sizes. */
TEST(the_stack_of_another_level) {
    SKIP_WITHOUT_LEVELS();
    struct rig from, to;
    int64_t result;
    for (uint32_t i = 0; i < LEVELS_COUNT; i++) {
        level_rig_open(&from, &levels[i]);
        level_rig_open(&to, &levels[(i + 3) % LEVELS_COUNT]);
        for (int has_registers = 0; has_registers < 2; has_registers++) {
            uint8_t *bytes = copy_of(&to);
            if (has_registers)
                memcpy(row_in(bytes, to.good.count), row_in(from.good.bytes, from.good.count),
                       sizeof(struct husk_image_standing));
            memcpy(stack_in(bytes), stack_in(from.good.bytes), HUSK_PAGE_SIZE);
            plays(&to, bytes, &result);
        }
        rig_close(&from);
        rig_close(&to);
    }
}

TEST_MAIN()
