/*
 * husk_call_bytes() in one entry, and with an entry for each call, must not differ: in each form of
 * result, for each way to free, with both widths of addresses. One of the guest's calls, the first,
 * the second, …, ends in some way, asks for more memory, lies, or becomes pending; or its host
 * function calls the guest. Afterwards outcome, error, output, backtrace and the whole memory must
 * be equal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "entries.h"
#include "last_backtrace.h"
#include "literals.h"
#include "wat.h"

/* The answer of env.step to one of its calls. */
enum answer {
    ANSWER_NOTHING,
    ANSWER_TRAP,
    ANSWER_THROW,
    ANSWER_SPIN,
    ANSWER_GROW,
    ANSWER_NULL, /* the address 0 */
    ANSWER_FAR,  /* an address outside, or too long an output */
    ANSWER_EMPTY,
    ANSWER_INPUT, /* a part of the input as output */
    ANSWER_FAIL,
    ANSWER_EXIT,
    ANSWER_BYTES, /* a call inside, with bytes */
    ANSWER_MANY,
    ANSWER_PENDING,
    ANSWERS
};

/* No call asks more. */
#define QUESTIONS_MAX 12

enum { FORM_PACKED, FORM_PAIR, FORM_TWO, FORMS };
enum { FREES_NOT, FREES_POST, FREES_FREE, FREES_REALLOC, FREES_BOTH, FREES };

/* P is i32 or i64. */
#define PART_HEAD                                                                                  \
    "(module (import \"env\" \"step\" (func $step (param i32) (result i32)))"                      \
    "(tag $t (export \"t\") (param i32))"                                                          \
    "(global $top (mut P) (P.const 1024)) (global $log (export \"log\") (mut i64) (i64.const 0))"  \
    "(memory (export \"memory\") WIDE 2 8)"                                                        \
    "(func $at (param $what i32) (param $value i64) (result i32) (local $how i32)"                 \
    "  (global.set $log (i64.add (i64.mul (global.get $log) (i64.const 31))"                       \
    "    (i64.add (local.get $value) (i64.extend_i32_u (local.get $what)))))"                      \
    "  (local.set $how (call $step (local.get $what)))"                                            \
    "  (if (i32.eq (local.get $how) (i32.const 1)) (then unreachable))"                            \
    "  (if (i32.eq (local.get $how) (i32.const 2)) (then (throw $t (local.get $what))))"           \
    "  (if (i32.eq (local.get $how) (i32.const 3)) (then (loop (br 0))))"                          \
    "  (if (i32.eq (local.get $how) (i32.const 4)) (then (drop (memory.grow (P.const 1)))"         \
    "    (global.set $top (P.const 0x20000))))"                                                    \
    "  (local.get $how))"                                                                          \
    "(func $bump (param $n P) (result P) (local $p P)"                                             \
    "  (local.set $p (global.get $top))"                                                           \
    "  (global.set $top (P.and (P.const -16)"                                                      \
    "    (P.add (local.get $p) (P.add (local.get $n) (P.const 15))))) (local.get $p))"             \
    "(func $new (param $n P) (result P) (local $how i32)"                                          \
    "  (local.set $how (call $at (i32.const 10) WIDER))"                                           \
    "  (if (i32.eq (local.get $how) (i32.const 5)) (then (return (P.const 0))))"                   \
    "  (if (i32.eq (local.get $how) (i32.const 6)) (then (return (P.const 0x1ffff))))"             \
    "  (call $bump (local.get $n)))"                                                               \
    "(func $gone (param $n P) (drop (call $at (i32.const 20) WIDER)))"                             \
    "(func (export \"one\") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))"
/* The output is the input, and three bytes more. */
#define PART_EXPORT                                                                                \
    "(func (export \"f\") (param $p P) (param $n P) (result RESULT)"                               \
    "  (local $how i32) (local $q P) (local $m P)"                                                 \
    "  (local.set $how (call $at (i32.const 30) WIDER))"                                           \
    "  (local.set $m (P.add (local.get $n) (P.const 3))) (local.set $q (call $bump (local.get "    \
    "$m)))"                                                                                        \
    "  (memory.copy (local.get $q) (local.get $p) (local.get $n))"                                 \
    "  (i32.store8 (P.add (local.get $q) (local.get $n)) (i32.const 33))"                          \
    "  (if (i32.eq (local.get $how) (i32.const 5)) (then (local.set $q (P.const 0))))"             \
    "  (if (i32.eq (local.get $how) (i32.const 6)) (then (local.set $m (P.const 0x20001))))"       \
    "  (if (i32.eq (local.get $how) (i32.const 7)) (then (local.set $m (P.const 0))))"             \
    "  (if (i32.eq (local.get $how) (i32.const 8)) (then (local.set $q (local.get $p))"            \
    "    (local.set $m (local.get $n))))"

static const char *const form_results[FORMS] = {"i64", "P", "P P"};
static const char *const form_ends[FORMS] = {
    "(i64.or (WIDEN (local.get $q)) (i64.shl (WIDEN (local.get $m)) (i64.const 32))))",
    ("(P.store (P.const 64) (local.get $q)) (P.store offset=SIZE (P.const 64) (local.get $m))"
     "  (P.const 64))"),
    "(local.get $q) (local.get $m))"};
static const char *const form_posts[FORMS] = {
    "(func (export \"cabi_post_f\") (param i64) (drop (call $at (i32.const 40) (local.get 0))))",
    "(func (export \"cabi_post_f\") (param $n P) (drop (call $at (i32.const 40) WIDER)))",
    ("(func (export \"cabi_post_f\") (param $q P) (param $n P)"
     "  (drop (call $at (i32.const 40) WIDER)))")};

#define MALLOC "(func (export \"malloc\") (param P) (result P) (call $new (local.get 0)))"
#define FREE "(func (export \"free\") (param P) (call $gone (local.get 0)))"
#define REALLOC                                                                                    \
    "(func (export \"cabi_realloc\") (param $p P) (param $old P) (param $align P) (param $n P)"    \
    "  (result P) (local $q P)"                                                                    \
    "  (if (P.eqz (local.get $n)) (then (call $gone (local.get $p)) (return (P.const 8))))"        \
    "  (local.set $q (call $new (local.get $n)))"                                                  \
    "  (if (P.ne (local.get $old) (P.const 0)) (then"                                              \
    "    (memory.copy (local.get $q) (local.get $p) (P.const 1))))"                                \
    "  (local.get $q))"

/* Replace each `word` in a malloc()ed text. */
static char *replaced(char *text, const char *word, const char *by) {
    char *result = calloc(1, 4 * strlen(text) + 1), *end = result;
    const char *at = text, *found;
    CHECK(result != NULL);
    while ((found = strstr(at, word)) != NULL) {
        end = stpcpy(stpncpy(end, at, (size_t)(found - at)), by);
        at = found + strlen(word);
    }
    strcpy(end, at);
    free(text);
    return result;
}

static char *module_text(int form, int frees, bool is_64) {
    char *text = calloc(1, 16384);
    CHECK(text != NULL);
    snprintf(text, 16384, "%s%s%s%s%s%s%s)", PART_HEAD, frees == FREES_REALLOC ? "" : MALLOC,
             frees == FREES_REALLOC || frees == FREES_BOTH ? REALLOC : "",
             frees == FREES_FREE || frees == FREES_BOTH ? FREE : "",
             frees == FREES_POST ? form_posts[form] : "", PART_EXPORT, form_ends[form]);
    text = replaced(text, "RESULT", form_results[form]);
    text = replaced(text, "WIDER", is_64 ? "(local.get $n)" : "(i64.extend_i32_u (local.get $n))");
    text = replaced(text, "WIDEN", is_64 ? "i64.add (i64.const 0)" : "i64.extend_i32_u");
    text = replaced(text, "WIDE", is_64 ? "i64" : "");
    text = replaced(text, "SIZE", is_64 ? "8" : "4");
    text = replaced(text, "(P.", is_64 ? "(i64." : "(i32.");
    text = replaced(text, " P)", is_64 ? " i64)" : " i32)");
    return replaced(text, " P ", is_64 ? " i64 " : " i32 ");
}

/* ---- one sandbox in each way ---- */

struct side {
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
    enum answer answer;
    int at, asked; /* the call of env.step that gets the answer; calls so far */
};

/* How a call ended. */
struct end {
    int status;
    struct husk_error err;
    struct husk_outcome outcome;
    struct husk_bytes bytes;
    struct husk_backtrace trace;
};

static void call_inside(struct side *side, husk_sandbox *sandbox) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    struct husk_error err;
    struct husk_value args[5], results[5];
    struct husk_many five = {.size = sizeof five, .count = 5};
    bytes.input = "inner";
    bytes.input_count = 5;
    if (side->answer == ANSWER_BYTES) {
        CHECK_OK(husk_call_bytes(sandbox, CALL(.name = "f"), &bytes, &outcome, &err), err);
        CHECK_EQ_U64(bytes.output_count, 8);
        CHECK_MEM(bytes.output, "inner!", 6);
        free(bytes.output);
        return;
    }
    for (int i = 0; i < 5; i++)
        args[i] = value_i32(i);
    CHECK_OK(husk_call_many(sandbox,
                            CALL(.name = "one", .args = args, .args_count = 5, .results = results,
                                 .results_count = 5),
                            &five, &outcome, &err),
             err);
    for (int i = 0; i < 5; i++)
        CHECK_EQ_I64(results[i].of.i32, i + 1);
}

static int host_step(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct side *side = user;
    (void)args;
    if (side->asked++ != side->at)
        return 0;
    switch (side->answer) {
    case ANSWER_FAIL: return husk_caller_fail(caller, "no");
    case ANSWER_EXIT: return husk_caller_exit(caller, 3);
    case ANSWER_PENDING: return husk_caller_pending(caller);
    case ANSWER_BYTES:
    case ANSWER_MANY: call_inside(side, husk_caller_sandbox(caller)); break;
    case ANSWER_SPIN:
        husk_interrupt(husk_caller_sandbox(caller)); /* and then spins */ /* fall through */
    default: results[0].of.i32 = (int32_t)side->answer;
    }
    return 0;
}

static void side_open(struct side *side, int image_fd, enum calls_way way) {
    const husk_type i32 = HUSK_I32;
    const struct husk_functype type = {&i32, 1, &i32, 1};
    struct husk_error err;
    memset(side, 0, sizeof *side);
    CHECK_OK(husk_engine_new(NULL, &side->engine, &err), err);
    CHECK_OK(husk_imports_new(side->engine, &side->imports, &err), err);
    CHECK_OK(husk_imports_funcs(
                 side->imports,
                 &(struct husk_host_func){
                     .module = "env", .name = "step", .type = &type, .fn = host_step, .user = side},
                 1, &err),
             err);
    CHECK_OK(husk_image_open_fd(side->engine, image_fd, NULL, &side->image, &err), err);
    image_set_way(side->image, way);
    CHECK_OK(husk_sandbox_new(side->image, side->imports, NULL, &side->sandbox, &err), err);
}

static void side_close(struct side *side) {
    husk_sandbox_free(side->sandbox);
    husk_image_unref(side->image);
    husk_imports_free(side->imports);
    husk_engine_unref(side->engine);
}

static void end_done(struct end *end) {
    free(end->bytes.output);
}

/* A pending call is resumed, with the answer 0, and between it another call is made. */
static void resume(struct side *side, struct end *end) {
    struct husk_value value = value_i32(0);
    struct husk_answer answer = HUSK_ANSWER_INIT;
    side->answer = ANSWER_MANY;
    call_inside(side, side->sandbox);
    answer.values = &value;
    answer.values_count = 1;
    answer.bytes = &end->bytes;
    end->status = husk_call_resume(side->sandbox, &answer, &end->outcome, &end->err);
}

static void side_call(struct side *side, const void *input, size_t count, bool keeps,
                      struct end *end) {
    *end = (struct end){.outcome = HUSK_OUTCOME_INIT, .bytes = HUSK_BYTES_INIT};
    end->bytes.input = input;
    end->bytes.input_count = count;
    end->bytes.keeps = keeps;
    side->asked = 0;
    end->status =
        husk_call_bytes(side->sandbox, CALL(.name = "f"), &end->bytes, &end->outcome, &end->err);
    if (end->status == 0 && end->outcome.kind == HUSK_PENDING)
        resume(side, end);
    end->trace = last_backtrace(side->sandbox);
}

static void check_traces(const struct husk_backtrace *a, const struct husk_backtrace *b) {
    CHECK_EQ_U64(a->frames_total, b->frames_total);
    CHECK_EQ_U64(a->frames_count, b->frames_count);
    for (uint32_t i = 0; i < a->frames_count; i++)
        CHECK(a->frames[i].func_idx == b->frames[i].func_idx &&
              a->frames[i].wasm_offset == b->frames[i].wasm_offset);
}

static void check_memories(struct side sides[WAYS]) {
    const struct arena_memory *a = &sides[0].sandbox->machine->arena.memories[0];
    const struct arena_memory *b = &sides[1].sandbox->machine->arena.memories[0];
    struct husk_value logs[WAYS];
    struct husk_error err;
    CHECK_EQ_U64(a->bytes, b->bytes);
    CHECK(memcmp(a->hva, b->hva, a->bytes) == 0);
    for (int i = 0; i < WAYS; i++)
        CHECK_OK(husk_global_get(sides[i].sandbox, "log", 0, &logs[i], &err), err);
    CHECK_EQ_I64(logs[0].of.i64, logs[1].of.i64);
    CHECK_EQ_U64(sides[0].sandbox->spare.addr, sides[1].sandbox->spare.addr);
    CHECK_EQ_U64(sides[0].sandbox->spare.bytes, sides[1].sandbox->spare.bytes);
}

static void check_ends(const struct end *a, const struct end *b) {
    CHECK_EQ_I64(a->status, b->status);
    if (a->status != 0) {
        CHECK_STR(a->err.message, b->err.message);
        return;
    }
    CHECK_EQ_U64(a->outcome.kind, b->outcome.kind);
    CHECK_EQ_U64(a->outcome.trap, b->outcome.trap);
    CHECK_EQ_U64(a->outcome.limit, b->outcome.limit);
    CHECK_EQ_I64(a->outcome.exit_code, b->outcome.exit_code);
    CHECK(a->outcome.is_poisoned == b->outcome.is_poisoned);
    CHECK(a->outcome.state_is_exact == b->outcome.state_is_exact);
    CHECK_STR(a->outcome.message, b->outcome.message);
    CHECK((a->bytes.output != NULL) == (a->outcome.kind == HUSK_RETURNED));
    CHECK((b->bytes.output != NULL) == (b->outcome.kind == HUSK_RETURNED));
    CHECK_EQ_U64(a->bytes.output_count, b->bytes.output_count);
    if (a->bytes.output != NULL)
        CHECK_MEM(a->bytes.output, b->bytes.output, a->bytes.output_count + 1);
    check_traces(&a->trace, &b->trace);
}

/* The same call on both sides. False: it asked too few questions to get the answer. */
static bool compare(struct side sides[WAYS], enum answer answer, int at, size_t count, bool keeps) {
    static char input[80000];
    struct end ends[WAYS];
    memset(input, 'a' + at % 20, sizeof input);
    for (int i = 0; i < WAYS; i++) {
        sides[i].answer = answer;
        sides[i].at = at;
        side_call(&sides[i], input, count, keeps, &ends[i]);
    }
    check_ends(&ends[0], &ends[1]);
    check_memories(sides);
    for (int i = 0; i < WAYS; i++)
        end_done(&ends[i]);
    CHECK_EQ_I64(sides[0].asked, sides[1].asked);
    return sides[0].asked > at;
}

/* In emulated machines only each n-th. */
static bool is_left_out(void) {
    static uint32_t count;
    const char *rounds = getenv("HUSK_TEST_ROUNDS");
    return rounds != NULL && strtoul(rounds, NULL, 10) < 1000 && count++ % 19 != 0;
}

/* Each question gets each answer, in a first call and in one that finds a block from before. */
static void compare_all(struct side sides[WAYS], bool keeps) {
    static const size_t counts[] = {5, 0, 65277, 65280, 65281, 70000};
    struct husk_error err;
    for (enum answer answer = 0; answer < ANSWERS; answer++) {
        bool was_asked = true;
        for (int at = 0; was_asked && at < QUESTIONS_MAX; at++) {
            if (is_left_out())
                continue;
            for (int i = 0; i < WAYS; i++)
                CHECK_OK(husk_sandbox_restore(sides[i].sandbox, sides[i].image, &err), err);
            was_asked = compare(sides, answer, at, counts[at % 2], keeps);
            if (!sides[0].sandbox->is_poisoned) {
                compare(sides, ANSWER_NOTHING, -1, 3, keeps);
                compare(sides, answer, at, 100, keeps);
            }
        }
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        for (int k = 0; k < WAYS; k++)
            CHECK_OK(husk_sandbox_restore(sides[k].sandbox, sides[k].image, &err), err);
        compare(sides, ANSWER_NOTHING, -1, counts[i], keeps);
    }
}

static void compare_module(int form, int frees, bool is_64) {
    struct side sides[WAYS];
    char *text = module_text(form, frees, is_64);
    int image_fd = wat_compile(text, WAT_WORKER);
    free(text);
    for (enum calls_way way = 0; way < WAYS; way++)
        side_open(&sides[way], image_fd, way);
    close(image_fd);
    compare_all(sides, false);
    if (frees == FREES_FREE || frees == FREES_REALLOC) /* elsewhere it changes nothing */
        compare_all(sides, true);
    for (enum calls_way way = 0; way < WAYS; way++)
        side_close(&sides[way]);
}

#define COMPARES(name, form, is_64)                                                                \
    TEST(name) {                                                                                   \
        SKIP_WITHOUT_COMPILER();                                                                   \
        for (int frees = 0; frees < FREES; frees++)                                                \
            compare_module(form, frees, is_64);                                                    \
    }

COMPARES(a_packed_result, FORM_PACKED, false)
COMPARES(a_pair_in_memory, FORM_PAIR, false)
COMPARES(two_results, FORM_TWO, false)
COMPARES(a_pair_in_a_wide_memory, FORM_PAIR, true)
COMPARES(two_results_of_64_bits, FORM_TWO, true)

TEST_MAIN()
