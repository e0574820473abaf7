/*
 * husk_call_bytes(): the blocks that are freed in the guest, the function that frees them, and the
 * answers that a guest may give.
 */
#include <stdlib.h>
#include <string.h>

#include "c_guest.h"
#include "entries.h"
#include "wat.h"

/* Most suites run in both ways. */
static enum calls_way this_way;

#define TEST_BOTH_WAYS(name)                                                                       \
    static void name##_this_way(void);                                                             \
    TEST(name) {                                                                                   \
        for (this_way = 0; this_way < WAYS; this_way++)                                            \
            name##_this_way();                                                                     \
    }                                                                                              \
    static void name##_this_way(void)

static void open_lab(struct wat_lab *lab, const char *wat,
                     const struct husk_sandbox_options *options) {
    wat_lab_open(lab, wat, options);
    image_set_way(lab->image, this_way);
}

/* An allocator that counts its live blocks. It traps if a freed address is no block, or is freed
 * twice. Two words precede a block: a mark, and its size. */
#define HEAP "(module " HEAP_BODY
#define HEAP_BODY                                                                                  \
    "(memory (export \"memory\") 1) (global $top (mut i32) (i32.const 1024))"                      \
    "(global $live (export \"live\") (mut i32) (i32.const 0))"                                     \
    "(global $bytes (export \"bytes\") (mut i32) (i32.const 0))"                                   \
    "(global $calls (export \"calls\") (mut i32) (i32.const 0))"                                   \
    "(func $new (param $n i32) (result i32) (local $p i32)"                                        \
    "  (global.set $calls (i32.add (global.get $calls) (i32.const 1)))"                            \
    "  (global.set $live (i32.add (global.get $live) (i32.const 1)))"                              \
    "  (global.set $bytes (i32.add (global.get $bytes) (local.get $n)))"                           \
    "  (local.set $p (i32.add (global.get $top) (i32.const 16)))"                                  \
    "  (global.set $top (i32.and (i32.const -16) (i32.add (local.get $p) (i32.add (local.get $n) " \
    "    (i32.const 15)))))"                                                                       \
    "  (i32.store (i32.sub (local.get $p) (i32.const 16)) (i32.const 0x600d))"                     \
    "  (i32.store (i32.sub (local.get $p) (i32.const 8)) (local.get $n)) local.get $p)"            \
    "(func $gone (param $p i32)"                                                                   \
    "  (if (i32.ne (i32.load (i32.sub (local.get $p) (i32.const 16))) (i32.const 0x600d))"         \
    "    (then unreachable))"                                                                      \
    "  (global.set $calls (i32.add (global.get $calls) (i32.const 1)))"                            \
    "  (global.set $live (i32.sub (global.get $live) (i32.const 1)))"                              \
    "  (global.set $bytes (i32.sub (global.get $bytes)"                                            \
    "    (i32.load (i32.sub (local.get $p) (i32.const 8)))))"                                      \
    "  (i32.store (i32.sub (local.get $p) (i32.const 16)) (i32.const 0)))"                         \
    "(func $resized (param $p i32) (param $old i32) (param $n i32) (result i32) (local $q i32)"    \
    "  (if (i32.eqz (local.get $old)) (then (return (call $new (local.get $n)))))"                 \
    "  (if (i32.ne (local.get $old) (i32.load (i32.sub (local.get $p) (i32.const 8))))"            \
    "    (then unreachable))"                                                                      \
    "  (local.set $q (call $new (local.get $n))) (call $gone (local.get $p)) local.get $q)"        \
    "(func $packed (param i32 i32) (result i64) (i64.or (i64.extend_i32_u (local.get 0))"          \
    "  (i64.shl (i64.extend_i32_u (local.get 1)) (i64.const 32))))"                                \
    "(func $copy (param $p i32) (param $n i32) (result i32) (local $q i32)"                        \
    "  (local.set $q (call $new (local.get $n)))"                                                  \
    "  (memory.copy (local.get $q) (local.get $p) (local.get $n)) local.get $q)"

#define MALLOC "(func (export \"malloc\") (param i32) (result i32) (call $new (local.get 0)))"
#define FREE                                                                                       \
    "(func (export \"free\") (param i32) (if (local.get 0) (then (call $gone (local.get 0)))))"
/* A cabi_realloc written for husk: it frees the block if zero bytes are asked for. */
#define REALLOC                                                                                    \
    "(func (export \"cabi_realloc\") (param $p i32) (param $old i32) (param i32) (param $n i32)"   \
    "  (result i32) (if (i32.eqz (local.get $n)) (then"                                            \
    "    (if (local.get $old) (then (call $gone (local.get $p)))) (return (i32.const 1))))"        \
    "  (call $resized (local.get $p) (local.get $old) (local.get $n)))"
/* A cabi_realloc as wit-bindgen makes it for C: it does nothing if zero bytes are asked for. */
#define REALLOC_OF_C                                                                               \
    "(func (export \"cabi_realloc\") (param $p i32) (param $old i32) (param i32) (param $n i32)"   \
    "  (result i32) (if (i32.eqz (local.get $n)) (then (return (i32.const 1))))"                   \
    "  (call $resized (local.get $p) (local.get $old) (local.get $n)))"

/* "copy" returns a copy of the input in a new block. OTHERS return other answers. */
#define COPY                                                                                       \
    "(func (export \"copy\") (param i32 i32) (result i64)"                                         \
    "  (call $packed (call $copy (local.get 0) (local.get 1)) (local.get 1)))"
#define OTHERS                                                                                     \
    "(func (export \"same\") (param i32 i32) (result i64)"                                         \
    "  (call $packed (local.get 0) (local.get 1)))"                                                \
    "(func (export \"tail\") (param i32 i32) (result i64)"                                         \
    "  (call $packed (i32.add (local.get 0) (i32.const 2)) (i32.sub (local.get 1) (i32.const "     \
    "2))))"                                                                                        \
    "(func (export \"nothing\") (param i32 i32) (result i64) (call $packed (i32.const 1) "         \
    "(i32.const 0)))"                                                                              \
    "(func (export \"empty\") (param i32 i32) (result i64) (call $packed (call $new (i32.const "   \
    "1)) (i32.const 0)))"

/* The canonical ABI: the function frees its input unless that is empty, and cabi_post_ frees the
 * result. */
#define CANONICAL                                                                                  \
    "(func $canonical (export \"copy\") (export \"again\") (param i32 i32) (result i32)"           \
    "  (i32.store (i32.const 64) (call $copy (local.get 0) (local.get 1)))"                        \
    "  (i32.store (i32.const 68) (local.get 1))"                                                   \
    "  (if (local.get 1) (then (call $gone (local.get 0)))) i32.const 64)"                         \
    "(func (export \"cabi_post_copy\") (param i32) (call $gone (i32.load (local.get 0))))"

static int64_t count_of(struct wat_lab *lab, const char *global) {
    struct husk_value value;
    CHECK_OK(husk_global_get(lab->sandbox, global, 0, &value, &lab->err), lab->err);
    return value.of.i32;
}

static void exchange(struct wat_lab *lab, const char *name, const char *input, const char *output) {
    struct husk_bytes bytes;
    CHECK_OK(wat_call_bytes(lab, name, input, strlen(input), &bytes), lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    CHECK_EQ_U64(bytes.output_count, strlen(output));
    CHECK_STR((char *)bytes.output, output);
    free(bytes.output);
}

/* Calls of `name` leave no blocks behind. */
static void check_balance(struct wat_lab *lab, const char *name) {
    exchange(lab, name, "hello", "hello");
    CHECK_EQ_I64(count_of(lab, "live"), 0);
    exchange(lab, name, "", "");
    CHECK_EQ_I64(count_of(lab, "live"), 0);
    CHECK_EQ_I64(count_of(lab, "bytes"), 0);
}

static void check_others(struct wat_lab *lab) {
    exchange(lab, "same", "hello", "hello");
    exchange(lab, "same", "", "");
    exchange(lab, "tail", "hello", "llo");
    exchange(lab, "nothing", "hello", "");
    exchange(lab, "empty", "hello", "");
    CHECK_EQ_I64(count_of(lab, "live"), 0);
}

TEST_BOTH_WAYS(malloc_and_free) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    open_lab(&lab, HEAP MALLOC FREE COPY OTHERS ")", NULL);
    check_balance(&lab, "copy");
    check_others(&lab);
    wat_lab_close(&lab);
}

TEST_BOTH_WAYS(malloc_alone_keeps_both) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    open_lab(&lab, HEAP MALLOC COPY ")", NULL);
    exchange(&lab, "copy", "hello", "hello");
    CHECK_EQ_I64(count_of(&lab, "live"), 2);
    wat_lab_close(&lab);
}

/* malloc belongs to free, with any cabi_realloc. */
TEST_BOTH_WAYS(all_three) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    open_lab(&lab,
             HEAP MALLOC FREE COPY
             "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) "
             "unreachable))",
             NULL);
    check_balance(&lab, "copy");
    wat_lab_close(&lab);
}

TEST_BOTH_WAYS(realloc_and_free) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    open_lab(&lab, HEAP REALLOC_OF_C FREE COPY OTHERS ")", NULL);
    check_balance(&lab, "copy");
    check_others(&lab);
    wat_lab_close(&lab);
}

/* The input's block stays, for the next call's input; it grows when it must. */
TEST_BOTH_WAYS(realloc_alone) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    open_lab(&lab, HEAP REALLOC COPY OTHERS ")", NULL);
    exchange(&lab, "copy", "hello", "hello");
    CHECK_EQ_I64(count_of(&lab, "live"), 1);
    CHECK_EQ_I64(count_of(&lab, "bytes"), 5);
    exchange(&lab, "same", "all", "all");
    exchange(&lab, "tail", "hello", "llo");
    exchange(&lab, "nothing", "", "");
    CHECK_EQ_I64(count_of(&lab, "bytes"), 5);
    exchange(&lab, "copy", "hello there", "hello there");
    CHECK_EQ_I64(count_of(&lab, "live"), 1);
    CHECK_EQ_I64(count_of(&lab, "bytes"), 11);
    exchange(&lab, "empty", "hello", ""); /* nobody knows the size of an empty block */
    CHECK_EQ_I64(count_of(&lab, "live"), 2);
    wat_lab_close(&lab);
}

/* The kept block belongs to the instance: a restore and a load forget it. */
TEST_BOTH_WAYS(realloc_alone_and_restores) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    open_lab(&lab, HEAP REALLOC COPY ")", NULL);
    for (int i = 0; i < 3; i++) {
        exchange(&lab, "copy", "hello", "hello");
        CHECK_EQ_I64(count_of(&lab, "live"), 1);
        CHECK_OK(i == 1 ? husk_sandbox_load(lab.sandbox, lab.image, NULL, &lab.err)
                        : husk_sandbox_restore(lab.sandbox, lab.image, &lab.err),
                 lab.err);
        CHECK_EQ_I64(count_of(&lab, "live"), 0);
    }
    wat_lab_close(&lab);
}

/* Of each result, a block of one byte stays: the smallest block. */
TEST_BOTH_WAYS(realloc_alone_shrinks_what_it_does_not_free) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    open_lab(&lab, HEAP REALLOC_OF_C COPY ")", NULL);
    exchange(&lab, "copy", "hello", "hello");
    exchange(&lab, "copy", "hello", "hello");
    CHECK_EQ_I64(count_of(&lab, "live"), 3);
    CHECK_EQ_I64(count_of(&lab, "bytes"), 7);
    wat_lab_close(&lab);
}

/* A call that does not return costs no block, even without a restore. */
TEST_BOTH_WAYS(realloc_alone_and_a_trap) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_bytes bytes;
    wat_lab_init(&lab);
    open_lab(&lab,
             HEAP REALLOC COPY
             "(func (export \"traps\") (param i32 i32) (result i64) unreachable))",
             NULL);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(wat_call_bytes(&lab, "traps", "hello", 5, &bytes), lab.err);
        CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_UNREACHABLE);
        exchange(&lab, "copy", "hello", "hello");
        CHECK_EQ_I64(count_of(&lab, "live"), 1);
    }
    wat_lab_close(&lab);
}

static int call_again(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    struct wat_lab inner = *(struct wat_lab *)user;
    (void)args;
    (void)results;
    inner.sandbox = husk_caller_sandbox(caller);
    exchange(&inner, "copy", "inner", "inner");
    return 0;
}

/* A host function makes such a call, too, while the outer call uses its input. */
TEST_BOTH_WAYS(realloc_alone_and_a_call_inside) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "again", ">", call_again, &lab);
    open_lab(&lab,
             "(module (import \"env\" \"again\" (func $again))" HEAP_BODY REALLOC COPY
             "(func (export \"outer\") (param i32 i32) (result i64) call $again"
             "  (call $packed (call $copy (local.get 0) (local.get 1)) (local.get 1))))",
             NULL);
    for (int i = 0; i < 3; i++) {
        exchange(&lab, "outer", "the outer one", "the outer one");
        CHECK_EQ_I64(count_of(&lab, "live"), 1);
    }
    wat_lab_close(&lab);
}

TEST_BOTH_WAYS(the_canonical_abi) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    open_lab(&lab, HEAP REALLOC CANONICAL ")", NULL);
    check_balance(&lab, "copy");
    wat_lab_close(&lab);
    wat_lab_init(&lab); /* free is not used */
    open_lab(&lab, HEAP REALLOC FREE CANONICAL ")", NULL);
    check_balance(&lab, "copy");
    wat_lab_close(&lab);
}

/* A cabi_post_ of another name does not count, and one of another type does not either. */
TEST_BOTH_WAYS(a_post_of_this_name_and_type) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    open_lab(&lab,
             HEAP MALLOC FREE COPY "(func (export \"cabi_post_\") (param i64) unreachable)"
                                   "(func (export \"cabi_post_copie\") (param i64) unreachable)"
                                   "(func (export \"cabi_post_copy\") (param i32) unreachable)"
                                   "(func (export \"cabi_post_copy2\") (param i64) unreachable)"
                                   "(func (export \"cabi_pos\") (param i64) unreachable))",
             NULL);
    check_balance(&lab, "copy");
    wat_lab_close(&lab);
}

TEST_BOTH_WAYS(a_post_of_every_form) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    open_lab(&lab,
             HEAP REALLOC
             "(func (export \"packed\") (param i32 i32) (result i64)"
             "  (call $packed (local.get 0) (local.get 1)))"
             "(func (export \"cabi_post_packed\") (param i64)"
             "  (call $gone (i32.wrap_i64 (local.get 0))))"
             "(func (export \"two\") (param i32 i32) (result i32 i32) local.get 0 local.get 1)"
             "(func (export \"cabi_post_two\") (param i32 i32)"
             "  (if (i32.ne (local.get 1) (i32.const 5)) (then unreachable))"
             "  (call $gone (local.get 0))))",
             NULL);
    exchange(&lab, "packed", "hello", "hello");
    exchange(&lab, "two", "hello", "hello");
    CHECK_EQ_I64(count_of(&lab, "live"), 0);
    wat_lab_close(&lab);
}

/* free is the guest's code, too, and may end in any way. Then there is no result. */
TEST_BOTH_WAYS(a_free_that_traps) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_bytes bytes;
    wat_lab_init(&lab);
    open_lab(&lab, HEAP MALLOC COPY "(func (export \"free\") (param i32) unreachable))", NULL);
    CHECK_OK(wat_call_bytes(&lab, "copy", "x", 1, &bytes), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_UNREACHABLE);
    CHECK(bytes.output == NULL);
    wat_lab_close(&lab);
}

/* The guest says where a shrunk block is. The library only passes that address back to the
 * guest. */
TEST_BOTH_WAYS(a_realloc_that_lies) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    open_lab(&lab,
             HEAP COPY "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)"
                       "  (if (i32.eqz (local.get 1)) (then (return (call $new (local.get 3)))))"
                       "  i32.const -1))",
             NULL);
    exchange(&lab, "copy", "hello", "hello");
    wat_lab_close(&lab);
}

TEST_BOTH_WAYS(nothing_is_loaded) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_bytes bytes;
    wat_lab_init(&lab);
    open_lab(&lab, HEAP MALLOC COPY ")", NULL);
    CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
    CHECK_STATUS(wat_call_bytes(&lab, "copy", "x", 1, &bytes), HUSK_E_STATE);
    CHECK(bytes.output == NULL);
    wat_lab_close(&lab);
}

/* ---- Arguments of the caller ---- */

static int call_copy(struct wat_lab *lab, struct husk_call *call, struct husk_bytes *bytes) {
    bytes->input = "hello";
    bytes->input_count = 5;
    return husk_call_bytes(lab->sandbox, call, bytes, &lab->outcome, &lab->err);
}

TEST_BOTH_WAYS(by_a_husk_func) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    wat_lab_init(&lab);
    open_lab(&lab, HEAP REALLOC CANONICAL ")", NULL);
    CHECK_STATUS(call_copy(&lab, &call, &bytes), HUSK_E_INVAL);
    CHECK_OK(husk_image_func(lab.image, "again", 0, &call.func, &lab.err), lab.err);
    CHECK_OK(call_copy(&lab, &call, &bytes),
             lab.err); /* its first export name is the name in its cabi_post_ */
    CHECK_STR((char *)bytes.output, "hello");
    CHECK_EQ_I64(count_of(&lab, "live"), 0);
    free(bytes.output);
    call.name = "copy";
    CHECK_STATUS(call_copy(&lab, &call, &bytes), HUSK_E_INVAL);
    wat_lab_close(&lab);
}

TEST_BOTH_WAYS(by_a_name_with_a_length) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    wat_lab_init(&lab);
    open_lab(&lab, HEAP REALLOC CANONICAL ")", NULL);
    call.name = "copying";
    call.name_bytes = 4;
    CHECK_OK(call_copy(&lab, &call, &bytes), lab.err);
    CHECK_EQ_I64(count_of(&lab, "live"), 0);
    free(bytes.output);
    wat_lab_close(&lab);
}

static void keeps(const char *wat, int64_t live) {
    struct wat_lab lab;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    wat_lab_init(&lab);
    open_lab(&lab, wat, NULL);
    call.name = "copy";
    bytes.keeps = true;
    CHECK_OK(call_copy(&lab, &call, &bytes), lab.err);
    CHECK_STR((char *)bytes.output, "hello");
    CHECK_EQ_I64(count_of(&lab, "live"), live);
    free(bytes.output);
    wat_lab_close(&lab);
}

TEST_BOTH_WAYS(nothing_is_freed_if_it_is_not_wanted) {
    SKIP_WITHOUT_COMPILER();
    keeps(HEAP MALLOC FREE COPY ")", 2);
    keeps(HEAP REALLOC COPY ")", 2);
    keeps(HEAP REALLOC CANONICAL ")", 1); /* the function frees its input */
}

static uint64_t entries(struct wat_lab *lab, const char *name) {
    struct husk_sandbox_stats before = HUSK_SANDBOX_STATS_INIT, after = HUSK_SANDBOX_STATS_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    call.name = name;
    bytes.keeps = true;
    CHECK_OK(husk_sandbox_stats(lab->sandbox, &before), lab->err);
    CHECK_OK(call_copy(lab, &call, &bytes), lab->err);
    CHECK_STR((char *)bytes.output, "hello");
    CHECK_OK(husk_sandbox_stats(lab->sandbox, &after), lab->err);
    free(bytes.output);
    return after.calls - before.calls;
}

/* The snapshot has the block for inputs, so a call after a restore needs no other block. */
static void one_entry_a_call(const char *wat, uint64_t calls_later) {
    struct wat_lab lab;
    husk_image *ready = NULL;
    wat_lab_init(&lab);
    open_lab(&lab, wat, NULL);
    const uint64_t first = this_way == WAY_ROUTINE ? 1 : 2;
    const uint64_t later = this_way == WAY_ROUTINE ? 1 : calls_later;
    CHECK_EQ_U64(entries(&lab, "copy"), first);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &ready, &lab.err), lab.err);
    const int64_t live = count_of(&lab, "live");
    for (int i = 0; i < 3; i++) {
        CHECK_OK(husk_sandbox_restore(lab.sandbox, ready, &lab.err), lab.err);
        CHECK_EQ_I64(count_of(&lab, "live"), live);
        CHECK_EQ_U64(entries(&lab, "copy"), later);
        CHECK_EQ_I64(count_of(&lab, "live"), live + (int64_t)calls_later);
    }
    CHECK_OK(husk_sandbox_restore(lab.sandbox, ready, &lab.err), lab.err);
    exchange(&lab, "copy", "longer than that", "longer than that");
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_U64(entries(&lab, "copy"), first);
    husk_image_unref(ready);
    wat_lab_close(&lab);
}

TEST_BOTH_WAYS(one_entry_a_call_after_a_restore) {
    SKIP_WITHOUT_COMPILER();
    one_entry_a_call(HEAP MALLOC FREE COPY ")", 1);
    one_entry_a_call(HEAP REALLOC COPY ")", 1);
    one_entry_a_call(HEAP REALLOC FREE COPY ")", 1);
    one_entry_a_call(HEAP MALLOC COPY ")", 2); /* the function may own its input */
}

/* A kept block is freed later, and only once. */
TEST_BOTH_WAYS(kept_and_then_freed) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    open_lab(&lab, HEAP MALLOC FREE COPY OTHERS ")", NULL);
    CHECK_EQ_U64(entries(&lab, "same"), this_way == WAY_ROUTINE ? 1 : 2);
    CHECK_EQ_U64(entries(&lab, "same"), 1);
    exchange(&lab, "copy", "longer than that", "longer than that"); /* too long for the block */
    CHECK_EQ_I64(count_of(&lab, "live"), 1);
    exchange(&lab, "copy", "hi", "hi");
    CHECK_EQ_I64(count_of(&lab, "live"), 0);
    check_balance(&lab, "copy");
    wat_lab_close(&lab);
}

TEST(what_is_refused) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    struct husk_value value = husk_i32(0);
    wat_lab_init(&lab);
    open_lab(&lab, HEAP MALLOC FREE COPY ")", NULL);
    call.name = "copy";
    call.args = &value;
    call.args_count = 1;
    CHECK_STATUS(call_copy(&lab, &call, &bytes), HUSK_E_INVAL);
    call.args = NULL;
    call.args_count = 0;
    call.results = &value;
    CHECK_STATUS(call_copy(&lab, &call, &bytes), HUSK_E_INVAL);
    CHECK_CONTAINS(lab.err.message, "husk_bytes");
    call.results = NULL;
    bytes.size = offsetof(struct husk_bytes, output_count);
    CHECK_STATUS(call_copy(&lab, &call, &bytes), HUSK_E_INVAL);
    bytes.size = sizeof bytes;
    bytes.input_count = 1;
    bytes.input = NULL;
    CHECK_STATUS(husk_call_bytes(lab.sandbox, &call, &bytes, &lab.outcome, &lab.err), HUSK_E_INVAL);
    CHECK(bytes.output == NULL);
    CHECK_EQ_I64(count_of(&lab, "calls"), 0);
    wat_lab_close(&lab);
}

/* ---- Guests as compilers make them ---- */

#define C_GUEST                                                                                    \
    "#include <stdint.h>\n#include <stdlib.h>\n#include <string.h>\n"                              \
    "#define EXPORT(name) __attribute__((export_name(name)))\n"                                    \
    "static char *copy(const char *p, uint32_t n) { return memcpy(malloc(n), p, n); }\n"
#define C_PACKED                                                                                   \
    "EXPORT(\"handle\") uint64_t handle(char *p, uint32_t n) {\n"                                  \
    "  return (uint32_t)copy(p, n) | (uint64_t)n << 32; }\n"

/* Make calls that would need 24 MB if nothing were freed. */
static void many_calls_in_4_mib(const char *source, const char *flags) {
    static char bytes[4096 + 1];
    struct wat_lab lab;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    memset(bytes, 'x', sizeof bytes - 1);
    options.memory_max_bytes = 4 << 20;
    wat_lab_init(&lab);
    lab.image = c_guest_image(lab.engine, source, flags, WAT_WORKER);
    if (lab.image == NULL)
        SKIP("no clang with wasi-libc to compile guests");
    image_set_way(lab.image, this_way);
    CHECK_OK(husk_sandbox_new(lab.image, NULL, &options, &lab.sandbox, &lab.err), lab.err);
    CHECK_OK(wat_call(&lab, "_initialize", NULL, 0, NULL, 0), lab.err);
    for (int i = 0; i < 3000; i++)
        exchange(&lab, "handle", bytes, bytes);
    wat_lab_close(&lab);
}

TEST_BOTH_WAYS(a_c_guest_with_malloc_and_free) {
    SKIP_WITHOUT_COMPILER();
    many_calls_in_4_mib(C_GUEST C_PACKED, "-Wl,--export=malloc,--export=free");
}

TEST_BOTH_WAYS(a_c_guest_whose_cabi_realloc_is_realloc) {
    SKIP_WITHOUT_COMPILER();
    many_calls_in_4_mib(C_GUEST C_PACKED
                        "EXPORT(\"cabi_realloc\") void *resize(void *p, size_t old, size_t align, "
                        "size_t n) { (void)old; (void)align; return realloc(p, n); }\n",
                        "");
}

TEST_BOTH_WAYS(a_c_guest_with_wit_bindgens_cabi_realloc) {
    SKIP_WITHOUT_COMPILER();
    many_calls_in_4_mib(C_GUEST C_PACKED
                        "EXPORT(\"cabi_realloc\") void *resize(void *p, size_t old, size_t align, "
                        "size_t n) { (void)old; return n == 0 ? (void *)align : realloc(p, n); }\n",
                        "");
}

TEST_BOTH_WAYS(a_c_guest_of_the_canonical_abi) {
    SKIP_WITHOUT_COMPILER();
    many_calls_in_4_mib(
        C_GUEST
        "EXPORT(\"cabi_realloc\") void *resize(void *p, size_t old, size_t align, size_t n) {\n"
        "  (void)old; return n == 0 ? (void *)align : realloc(p, n); }\n"
        "static struct { char *p; uint32_t n; } area;\n"
        "EXPORT(\"handle\") void *handle(char *p, uint32_t n) {\n"
        "  area.p = copy(p, n); area.n = n; free(p); return &area; }\n"
        "EXPORT(\"cabi_post_handle\") void done(char **area) { free(*area); }\n",
        "");
}

TEST_MAIN()
