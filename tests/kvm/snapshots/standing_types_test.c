/*
 * tests/kvm/snapshots/standing_types_test.c: standing calls of host functions with values of all
 * types, with hundreds of them, and those that the guest comes to by a tail call or by its table,
 * or that are themselves what the embedder calls.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "literals.h"
#include "wat.h"

#define MANY 300

struct rig {
    struct wat_lab wat;
    bool has_answer;
    uint64_t func;
};

static int all_types(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct rig *rig = user;
    static const uint8_t vector[16] = {9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255};
    CHECK_EQ_I64(args[0].of.i32, -7);
    CHECK_EQ_I64(args[1].of.i64, INT64_MIN + 1);
    CHECK(args[2].of.f32 == -0.5f && args[3].of.f64 == 1e300);
    CHECK_MEM(args[4].of.v128, vector, sizeof vector);
    CHECK(args[5].of.ref != 0 && (rig->func == 0 || args[5].of.ref == rig->func));
    CHECK_EQ_U64(args[6].of.ref, 0xfeedfacecafef00d);
    rig->func = args[5].of.ref;
    if (!rig->has_answer)
        return husk_caller_pending(caller);
    results[0].of.f64 = 2.25;
    memcpy(results[1].of.v128, vector, sizeof vector);
    results[2].of.i64 = INT64_C(0x123456789abcdef0);
    results[3].of.ref = args[5].of.ref;
    results[4].of.ref = 77;
    results[5].of.i32 = -1;
    return 0;
}

static int ask(husk_caller *caller, void *user, const struct husk_value *args,
               struct husk_value *results) {
    const struct rig *rig = user;
    results[0].of.i32 = args[0].of.i32 + 1;
    return rig->has_answer ? 0 : husk_caller_pending(caller);
}

static int many(husk_caller *caller, void *user, const struct husk_value *args,
                struct husk_value *results) {
    const struct rig *rig = user;
    int64_t sum = 0;
    for (int i = 0; i < MANY; i++)
        sum = (int64_t)((uint64_t)sum * 31 + (uint64_t)args[i].of.i64);
    results[0].of.i32 = (int32_t)(sum ^ (sum >> 32));
    return rig->has_answer ? 0 : husk_caller_pending(caller);
}

static const char guest[] =
    "(module"
    " (import \"env\" \"all\" (func $all (param i32 i64 f32 f64 v128 funcref externref)"
    "  (result f64 v128 i64 funcref externref i32)))"
    " (import \"env\" \"ask\" (func $ask (param i32) (result i32)))"
    " (memory (export \"memory\") 1) (type $one (func (param i32) (result i32)))"
    " (table $t 4 funcref) (elem (i32.const 1) $ask $own)"
    " (func $own (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))"
    " (export \"itself\" (func $ask))"
    " (func (export \"all\") (param externref) (result i32)"
    "  (local $i i32) (local $e externref) (local $f funcref) (local $l i64) (local $v v128)"
    "  (call $all (i32.const -7) (i64.const 0x8000000000000001) (f32.const -0.5) (f64.const 1e300)"
    "   (v128.const i8x16 9 1 2 3 4 5 6 7 8 9 10 11 12 13 14 255) (ref.func $own) (local.get 0))"
    "  (local.set $i) (local.set $e) (local.set $f) (local.set $l) (local.set $v)"
    "  (if (f64.ne (f64.const 2.25)) (then (unreachable)))"
    "  (if (i64.ne (local.get $l) (i64.const 0x123456789abcdef0)) (then (unreachable)))"
    "  (if (ref.is_null (local.get $e)) (then (unreachable)))"
    "  (table.set $t (i32.const 3) (local.get $f))"
    "  (i32.add (i8x16.extract_lane_u 15 (local.get $v))"
    "   (call_indirect (type $one) (local.get $i) (i32.const 3))))"
    " (func $tail (param i32) (result i32) (return_call $ask (i32.add (local.get 0) "
    "(i32.const 1))))"
    " (func (export \"tail\") (param i32) (result i32)"
    "  (i32.mul (call $tail (local.get 0)) (i32.const 10)))"
    " (func (export \"tail_of_all\") (param i32) (result i32) (return_call $ask (local.get 0)))"
    " (func (export \"indirect\") (param i32) (result i32)"
    "  (i32.sub (call_indirect (type $one) (local.get 0) (i32.const 1)) (local.get 0)))"
    " (func (export \"tail_indirect\") (param i32) (result i32)"
    "  (return_call_indirect (type $one) (local.get 0) (i32.const 1))))";

static void open_rig(struct rig *rig, const char *text) {
    static char types[MANY + 3];
    memset(rig, 0, sizeof *rig);
    memset(types, 'I', MANY);
    memcpy(types + MANY, ">i", 3);
    wat_lab_init(&rig->wat);
    wat_lab_func(&rig->wat, "all", "iIfFvce>FvIcei", all_types, rig);
    wat_lab_func(&rig->wat, "ask", "i>i", ask, rig);
    wat_lab_func(&rig->wat, "many", types, many, rig);
    wat_lab_open(&rig->wat, text, NULL);
}

/* In a clone, a restored one, and one from a file, twice: the same result. */
static void stands(struct rig *rig, const char *name, const struct husk_value *arg,
                   const char *called, int32_t expected) {
    struct husk_value result;
    husk_sandbox *clone = NULL, *opened = NULL;
    husk_image *snapshot = NULL;
    struct husk_standing standing = HUSK_STANDING_INIT;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    struct wat_lab *lab = &rig->wat;
    rig->has_answer = false;
    CHECK_OK(wat_call(lab, name, arg, arg != NULL, &result, 1), lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_PENDING, "%s: %s", name, lab->outcome.message);
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &snapshot, &lab->err), lab->err);
    husk_image *file = wat_saved(lab, snapshot);
    CHECK_OK(husk_image_standing(file, &standing, &lab->err), lab->err);
    CHECK_STR(standing.name, called);
    CHECK_OK(husk_image_backtrace(file, &backtrace, &lab->err), lab->err);
    CHECK_OK(husk_sandbox_clone(lab->sandbox, &clone, &lab->err), lab->err);
    CHECK_OK(husk_sandbox_new(file, lab->imports, NULL, &opened, &lab->err), lab->err);
    rig->has_answer = true;
    for (int i = 0; i < 2; i++) {
        CHECK_EQ_I64(wat_again(lab, clone, HUSK_RETURNED), expected);
        CHECK_EQ_I64(wat_again(lab, opened, HUSK_RETURNED), expected);
        CHECK_OK(husk_sandbox_restore(clone, file, &lab->err), lab->err);
        CHECK_OK(husk_sandbox_restore(opened, snapshot, &lab->err), lab->err);
    }
    CHECK_EQ_I64(wat_again(lab, lab->sandbox, HUSK_RETURNED), expected);
    husk_sandbox_free(opened);
    husk_sandbox_free(clone);
    husk_image_unref(file);
    husk_image_unref(snapshot);
}

TEST(values_of_all_types) {
    SKIP_WITHOUT_COMPILER();
    struct rig rig;
    const struct husk_value handle = {.type = HUSK_EXTERNREF, .of.ref = 0xfeedfacecafef00d};
    open_rig(&rig, guest);
    stands(&rig, "all", &handle, "all", 255 - 3);
    wat_lab_close(&rig.wat);
}

TEST(hundreds_of_values) {
    SKIP_WITHOUT_COMPILER();
    struct rig rig;
    char *text = malloc(MANY * 40 + 1000), *end = text;
    int64_t sum = 0;
    end += sprintf(end, "(module (import \"env\" \"many\" (func $many (param");
    for (int i = 0; i < MANY; i++)
        end += sprintf(end, " i64");
    end += sprintf(end, ") (result i32))) (memory (export \"memory\") 1)"
                        " (func (export \"run\") (result i32) (call $many");
    for (int i = 0; i < MANY; i++) {
        const int64_t value = INT64_C(987654321987) * (i + 1) % 1000000007 - 500000000;
        sum = (int64_t)((uint64_t)sum * 31 + (uint64_t)value);
        end += sprintf(end, " (i64.const %lld)", (long long)value);
    }
    strcpy(end, ")))");
    open_rig(&rig, text);
    stands(&rig, "run", NULL, "many", (int32_t)(sum ^ (sum >> 32)));
    free(text);
    wat_lab_close(&rig.wat);
}

TEST(ways_to_a_host_function) {
    SKIP_WITHOUT_COMPILER();
    struct rig rig;
    const struct husk_value six = value_i32(6);
    open_rig(&rig, guest);
    stands(&rig, "tail", &six, "ask", 80);
    stands(&rig, "tail_of_all", &six, "ask", 7);
    stands(&rig, "indirect", &six, "ask", 1);
    stands(&rig, "tail_indirect", &six, "ask", 7);
    stands(&rig, "itself", &six, "ask", 7);
    wat_lab_close(&rig.wat);
}

TEST_MAIN()
