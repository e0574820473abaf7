/*
 * tests/hostile/exchange_hostile_test.c: images whose routines lie in the exchange: about steps,
 * counts, addresses, lengths and numbers of calls, or end in a way of their own. The library
 * believes a number only as far as it can do no harm, and every call ends.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "exchange.h"
#include "harness.h"
#include "husk.h"
#include "image_builder.h"
#include "layout.h"
#include "literals.h"
#include "mailbox.h"

/* Both routines: fill the exchange with ones if the byte behind the lie says so, put the lie there
 * (memory 0, from 0x8000 on: the head, how to end), and end. The functions: their results are in
 * memory behind it. */
__asm__(".pushsection .rodata\n .balign 64\n"
        "xh_text: cld\n call *%rsi\n out %eax, $0x10\n ud2\n"
        "xh_hostcall: out %eax, $0x11\n"
        "xh_resume: ret\n"
        "xh_thunk: call *%rdi\n ret\n"
        "xh_routine: mov 0x40008104, %eax\n test %eax, %eax\n jz 1f\n"
        " mov $0x30009000, %edi\n mov $0x10000, %ecx\n mov $-1, %eax\n rep stosb\n"
        "1: mov $0x40008000, %esi\n mov $0x30009000, %edi\n mov $256, %ecx\n rep movsb\n"
        " mov 0x40008100, %eax\n"
        " cmp $1, %eax\n je xh_trap\n cmp $2, %eax\n je xh_port\n"
        " cmp $3, %eax\n je xh_host\n ret\n"
        "xh_trap: .byte 0x67, 0x0f, 0xb9, 0x40, 1\n"
        "xh_port: out %eax, $0x55\n ret\n"
        "xh_host: movl $0, 0x30000028\n call xh_hostcall\n"
        /* the lie again: the host function may have called the guest */
        " mov $0x40008000, %esi\n mov $0x30009000, %edi\n mov $256, %ecx\n rep movsb\n ret\n"
        "xh_func: mov $0x40008110, %esi\n mov $0x30001000, %edi\n mov $32, %ecx\n rep movsb\n ret\n"
        "xh_text_end:\n.popsection");
extern const uint8_t xh_text[], xh_text_end[], xh_resume[], xh_thunk[], xh_routine[], xh_func[];

#define LIE_ADDR 0x8000u
#define RESULTS_ADDR (LIE_ADDR + 0x110)

enum ending { END_RETURNS, END_TRAPS, END_PORT, END_HOST, ENDINGS };

static struct husk_error err;
static struct husk_outcome outcome = HUSK_OUTCOME_INIT;
static husk_engine *engine;
static husk_imports *imports;
static husk_image *image;
static husk_sandbox *sandbox;
static bool is_pending, is_nested;
static uint64_t limit_ns;

static uint32_t gva_of(const uint8_t *label) {
    return (uint32_t)(HUSK_TEXT_GVA + (uint32_t)(label - xh_text));
}

static void add_funcs(struct image_builder *builder, bool is_by_realloc) {
    const struct {
        const char *name, *type;
    } funcs[] = {{"f", "ii>I"},
                 {"mix", "ii>ii"},
                 {is_by_realloc ? "cabi_realloc" : "malloc", is_by_realloc ? "iiii>i" : "i>i"},
                 {"free", "i>"}};
    builder_func(builder, builder_type(builder, ">", 0), 0, 0, "");
    builder_import(builder, "env", "host", HUSK_ABI_FUNC, 0);
    for (size_t i = 0; i < (is_by_realloc ? 3 : 4); i++) {
        const uint32_t type = builder_type(builder, funcs[i].type, gva_of(xh_thunk));
        builder_export(builder, funcs[i].name, HUSK_ABI_FUNC,
                       builder_func(builder, type, gva_of(xh_func), 1, funcs[i].name));
    }
}

static void image_make(bool is_by_realloc) {
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    const struct husk_image_routines routines = {gva_of(xh_routine), gva_of(xh_routine)};
    const struct husk_image_memory memory = {
        .min_pages = 1, .max_pages = 3, .size_gva = HUSK_DATA_GVA};
    const size_t text_bytes = (size_t)(xh_text_end - xh_text);
    struct image_builder builder;
    builder_init(&builder);
    builder.module.entry_gva = HUSK_TEXT_GVA;
    builder.module.resume_gva = gva_of(xh_resume);
    builder_segment(&builder, HUSK_TEXT_GVA, PF_R | PF_X, xh_text, text_bytes, text_bytes);
    builder_segment(&builder, HUSK_DATA_GVA, PF_R | PF_W, zeros, sizeof zeros, sizeof zeros);
    builder_segment(&builder, HUSK_MEM0_GVA, PF_R | PF_W, zeros, sizeof zeros, HUSK_WASM_PAGE_SIZE);
    builder_row(&builder, HUSK_REC_MEMORIES, &memory, sizeof memory);
    builder_word(&builder, HUSK_DATA_GVA, 1);
    builder_row(&builder, HUSK_REC_ROUTINES, &routines, sizeof routines);
    add_funcs(&builder, is_by_realloc);
    size_t count;
    uint8_t *bytes = builder_finish(&builder, &count);
    builder_done(&builder);
    CHECK_OK(husk_image_open_buffer(engine, (struct husk_buffer){bytes, count}, NULL, &image, &err),
             err);
    free(bytes);
}

/* ---- calls ---- */

#define CALLS 40u
#define MARK 0x5eadbeef
#define RESULTS (2 * CALLS + 8)
static struct husk_value args[2 * CALLS];

static int many(husk_sandbox *of, size_t count, struct husk_value results[RESULTS],
                size_t *returned) {
    struct husk_many some = {.size = sizeof some, .count = count, .returned = 0};
    struct husk_limits limits = HUSK_LIMITS_INIT;
    limits.wall_ns = limit_ns;
    for (size_t i = 0; i < RESULTS; i++)
        results[i] = husk_i64(MARK);
    int status =
        husk_call_many(of,
                       CALL(.name = "mix", .args = args, .args_count = 2 * count,
                            .results = results, .results_count = 2 * count, .limits = &limits),
                       &some, &outcome, &err);
    *returned = some.returned;
    return status;
}

static void check_many(husk_sandbox *of, size_t count) {
    struct husk_value results[RESULTS]; /* a call inside has others */
    size_t returned;
    int status = many(of, count, results, &returned);
    CHECK(status == 0 || status == HUSK_E_GUEST);
    CHECK(returned <= count);
    CHECK(status != 0 || outcome.kind != HUSK_RETURNED || returned == count);
    for (size_t i = 0; i < RESULTS; i++)
        CHECK(i < 2 * returned ? results[i].type == HUSK_I32
                               : results[i].type == HUSK_I64 && results[i].of.i64 == MARK);
}

static int bytes_call(husk_sandbox *of, size_t count, struct husk_bytes *bytes) {
    static const uint8_t input[70000];
    struct husk_limits limits = HUSK_LIMITS_INIT;
    limits.wall_ns = limit_ns;
    *bytes = (struct husk_bytes){.size = sizeof *bytes, .input = input, .input_count = count};
    return husk_call_bytes(of, CALL(.name = "f", .limits = &limits), bytes, &outcome, &err);
}

/* All of the output can be read. */
static void check_output(struct husk_bytes *bytes, bool has_returned) {
    uint8_t all = 0;
    const uint8_t *output = bytes->output;
    CHECK((output != NULL) == has_returned);
    for (size_t i = 0; output != NULL && i < bytes->output_count; i++)
        all |= output[i];
    CHECK(output == NULL || output[bytes->output_count] == 0);
    CHECK(bytes->output_count <= 3 * HUSK_WASM_PAGE_SIZE && all != 1);
    free(bytes->output);
}

static void check_bytes(husk_sandbox *of, size_t count) {
    struct husk_bytes bytes;
    int status = bytes_call(of, count, &bytes);
    CHECK_MSG(status == 0 || status == HUSK_E_GUEST, "%s", err.message);
    check_output(&bytes, status == 0 && outcome.kind == HUSK_RETURNED);
}

static int host(husk_caller *caller, void *user, const struct husk_value *host_args,
                struct husk_value *host_results) {
    (void)user, (void)host_args, (void)host_results;
    if (is_nested) {
        is_nested = false;
        outcome.is_poisoned = false;
        check_many(husk_caller_sandbox(caller), 3);
        if (!outcome.is_poisoned)
            check_bytes(husk_caller_sandbox(caller), 9);
    }
    return is_pending ? husk_caller_pending(caller) : 0;
}

/* An answer for the pending call, in two kinds: of a batch, or with bytes. */
static void resume(bool is_bytes) {
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    struct husk_value two[2];
    struct husk_answer answer = HUSK_ANSWER_INIT;
    is_pending = false;
    if (is_bytes) {
        answer.bytes = &bytes;
    } else {
        answer.results = two;
        answer.results_count = 2;
    }
    int status = husk_call_resume(sandbox, &answer, &outcome, &err);
    CHECK(status == 0 || status == HUSK_E_GUEST);
    if (is_bytes)
        check_output(&bytes, status == 0 && outcome.kind == HUSK_RETURNED);
}

static void begin(bool is_by_realloc) {
    const struct husk_functype type = {NULL, 0, NULL, 0};
    SKIP_WITHOUT_KVM();
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    CHECK_OK(husk_imports_new(engine, &imports, &err), err);
    CHECK_OK(husk_imports_funcs(imports,
                                &(struct husk_host_func){
                                    .module = "env", .name = "host", .type = &type, .fn = host},
                                1, &err),
             err);
    limit_ns = 2000000000; /* emulated machines take long */
    image_make(is_by_realloc);
    CHECK_OK(husk_sandbox_new(image, imports, NULL, &sandbox, &err), err);
    for (uint32_t i = 0; i < 2 * CALLS; i++)
        args[i] = husk_i32((int32_t)i);
}

static void end(void) {
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    husk_imports_free(imports);
    husk_engine_unref(engine);
}

/* ---- lies ---- */

struct lie {
    union {
        struct husk_exchange_many many;
        struct husk_exchange_bytes bytes;
        uint64_t words[HUSK_EXCHANGE_HEAD_BYTES / 8];
    } head;
    uint32_t ending, fills;
    uint64_t pad, results[4];
};
_Static_assert(offsetof(struct lie, results) == RESULTS_ADDR - LIE_ADDR, "as in the code above");

static void tell(const struct lie *lie) {
    CHECK_OK(husk_sandbox_restore(sandbox, image, &err), err);
    CHECK_OK(husk_memory_write(sandbox, RANGE(.addr = LIE_ADDR, .count = sizeof *lie), lie, &err),
             err);
}

TEST(another_number_of_calls) {
    static const uint64_t numbers[] = {0,          1,          CALLS - 1,      CALLS + 1,
                                       1ull << 32, 1ull << 63, UINT64_MAX - 1, UINT64_MAX};
    begin(false);
    struct lie lie = {0};
    struct husk_value results[RESULTS];
    size_t returned;
    lie.head.many.returned = CALLS;
    tell(&lie);
    CHECK_OK(many(sandbox, CALLS, results, &returned), err);
    CHECK_EQ_U64(returned, CALLS);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        lie.head.many.returned = numbers[i];
        tell(&lie);
        CHECK_STATUS(many(sandbox, CALLS, results, &returned), HUSK_E_GUEST);
        CHECK_CONTAINS(err.message, "the guest was to make 40 calls, and made ");
        CHECK_EQ_U64(returned, numbers[i] < CALLS ? numbers[i] : CALLS);
        lie.ending = END_TRAPS;
        tell(&lie);
        CHECK_OK(many(sandbox, CALLS, results, &returned), err);
        CHECK_EQ_U64(outcome.trap, HUSK_TRAP_UNREACHABLE);
        CHECK_EQ_U64(returned, numbers[i] < CALLS - 1 ? numbers[i] : CALLS - 1);
        lie.ending = END_RETURNS;
    }
    end();
}

TEST(output_that_is_not_there) {
    static const uint64_t counts[] = {HUSK_EXCHANGE_ROOM + 1, 1ull << 32, UINT64_MAX};
    begin(false);
    struct lie lie = {0};
    struct husk_bytes bytes;
    lie.head.bytes.step = HUSK_STEP_DONE;
    lie.head.bytes.copied_bytes = HUSK_EXCHANGE_ROOM;
    tell(&lie);
    CHECK_OK(bytes_call(sandbox, 5, &bytes), err);
    CHECK_EQ_U64(bytes.output_count, HUSK_EXCHANGE_ROOM);
    free(bytes.output);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        for (uint32_t step = HUSK_STEP_FREE_OUTPUT; step <= HUSK_STEP_DONE; step++) {
            lie.head.bytes.step = step;
            lie.head.bytes.copied_bytes = counts[i];
            tell(&lie);
            CHECK_STATUS(bytes_call(sandbox, 5, &bytes), HUSK_E_GUEST);
            CHECK_CONTAINS(err.message, "the guest says that it copied ");
            CHECK(bytes.output == NULL);
        }
    end();
}

/* The library would shrink the block again and again. The deadline ends that. */
TEST(a_block_that_is_never_free) {
    begin(true);
    struct lie lie = {.results = {8, 0, 8, 0}};
    struct husk_bytes bytes;
    lie.head.bytes.step = HUSK_STEP_FREE_OUTPUT;
    lie.head.bytes.output_addr = 100;
    lie.head.bytes.output_bytes = 100;
    lie.head.bytes.results[0] = 8;
    tell(&lie);
    limit_ns = 20000000;
    CHECK_OK(bytes_call(sandbox, 5, &bytes), err);
    CHECK_EQ_U64(outcome.kind, HUSK_DEADLINE);
    CHECK(bytes.output == NULL);
    end();
}

/* ---- at random ---- */

static uint64_t random_state = 1;

static uint32_t draw(uint32_t below) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(random_state >> 33) % below;
}

static uint64_t any_number(void) {
    static const uint64_t numbers[] = {0,
                                       1,
                                       2,
                                       3,
                                       4,
                                       5,
                                       40,
                                       0x1000,
                                       HUSK_EXCHANGE_ROOM,
                                       0xffff,
                                       0x10000,
                                       HUSK_EXCHANGE_ROOM + 1,
                                       UINT32_MAX,
                                       1ull << 32,
                                       1ull << 63,
                                       UINT64_MAX,
                                       HUSK_MEM0_GVA};
    const uint64_t number = numbers[draw(sizeof numbers / sizeof numbers[0])];
    return draw(3) == 0 ? number << 32 | draw(70000) : number;
}

static struct lie any_lie(void) {
    struct lie lie = {.fills = draw(4) == 0, .ending = draw(ENDINGS)};
    for (uint32_t i = draw(40); i > 0; i--)
        lie.head.words[draw(sizeof(struct husk_exchange_bytes) / 8)] = any_number();
    if (draw(2) == 0)
        lie.head.bytes.step = draw(6);
    if (draw(2) == 0)
        lie.head.bytes.copied_bytes = draw(HUSK_EXCHANGE_ROOM + 2);
    for (int i = 0; i < 4; i++)
        lie.results[i] = any_number();
    return lie;
}

static void any_call(void) {
    const bool is_bytes = draw(2) == 0;
    is_pending = draw(4) == 0;
    is_nested = draw(3) == 0;
    if (is_bytes)
        check_bytes(sandbox, draw(8) == 0 ? draw(70000) : draw(100));
    else
        check_many(sandbox, 1 + draw(CALLS));
    if (outcome.kind == HUSK_PENDING && draw(4) > 0)
        resume(is_bytes);
    is_pending = false;
}

TEST(any_lie_at_all) {
    const char *text = getenv("HUSK_TEST_ROUNDS");
    const uint32_t rounds = text != NULL ? (uint32_t)strtoul(text, NULL, 10) : 1000;
    for (int is_by_realloc = 0; is_by_realloc < 2; is_by_realloc++) {
        begin(is_by_realloc != 0);
        limit_ns = 20000000;
        for (uint32_t round = 0; round < rounds; round++) {
            const struct lie lie = any_lie();
            outcome.kind = HUSK_RETURNED;
            tell(&lie);
            any_call();
        }
        end();
    }
}

TEST_MAIN()
