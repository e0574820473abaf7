/*
 * The guest runtime's part for exceptions (guest/throw.c), built natively, with tables and stacks
 * made here: which handler is found, and that references keep exceptions alive, whatever refers to
 * them, and nothing else does.
 */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

#define THROW_TABLES test_tables
#define THROW_TRAP(number)                                                                         \
    do {                                                                                           \
        trapped = (number);                                                                        \
        longjmp(trap_jump, 1);                                                                     \
    } while (0)

struct throw_tables;
static jmp_buf trap_jump;
static volatile int trapped;

#include "throw_tables.h"
static struct throw_tables test_tables;
#include "../../guest/throw.c"

/* ---- finding a handler ---- */

/* Code: three functions; between the second and the third there is none. */
static const struct throw_row rows[] = {
    {0x1000, 0},                      /* the dispatcher */
    {0x1100, 1 | THROW_HAS_HANDLERS}, /* frames relative to rsp */
    {0x1200, 2 | THROW_HAS_HANDLERS}, /* frames relative to rbp */
    {0x1300, 0},
    {0x1400, 3}, /* no frame but the return address */
};
static const struct throw_shape shapes[] = {
    {0},
    {.cfa = 32 << 1, .args_bytes = 8, .saved = {24, 0, 16, 0, 0, 0}}, /* rbx, r12 */
    {.cfa = 16 << 1 | 1, .saved = {0, 16, 0, 24, 32, 40}},            /* rbp, r13-r15 */
    {.cfa = 8 << 1},
};
static const uint32_t clauses[] = {3, 5, HUSK_TAG_ANY};
static const struct throw_handler handlers[] = {
    {0x1110, 0x1120, 0x1180, 0, 2},
    {0x1120, 0x1130, 0x1190, 2, 1},
    {0x1210, 0x1220, 0x1280, 1, 1},
};
static const uint32_t tag_values[] = {0, 1, 2, 0, 0, 0, 3};

static union {
    struct husk_exception head;
    struct {
        uint8_t head[sizeof(struct husk_exception)];
        struct husk_slot values[3];
    } all;
} pending;

static uint64_t stack[64];

static void find_init(void) {
    memset(&pending, 0, sizeof pending);
    for (size_t i = 0; i < 64; i++)
        stack[i] = 0xdead0000 + i;
    test_tables = (struct throw_tables){.pending = (uint64_t)&pending,
                                        .slot_bytes = sizeof pending,
                                        .stack_top = (uint64_t)(stack + 64),
                                        .rows = (uint64_t)rows,
                                        .rows_count = sizeof rows / sizeof rows[0],
                                        .shapes = (uint64_t)shapes,
                                        .handlers = (uint64_t)handlers,
                                        .handlers_count = sizeof handlers / sizeof handlers[0],
                                        .clauses = (uint64_t)clauses,
                                        .tag_values = (uint64_t)tag_values};
}

/* The frame of a call from this code, with the stack pointer at stack[8]. */
static struct throw_frame frame_of_call(uint64_t return_address, uint32_t tag) {
    find_init();
    pending.head.tag = tag + 1;
    return (struct throw_frame){
        .rsp = (uint64_t)(stack + 8), .saved = {1, 2, 3, 4, 5, 6}, .pc = return_address};
}

TEST(the_calling_function_catches) {
    struct throw_frame frame = frame_of_call(0x1111, 5);
    CHECK_EQ_U64(throw_find(&frame), 1);
    CHECK_EQ_U64(frame.pc, 0x1180);
    CHECK_EQ_U64(frame.rsp, (uint64_t)(stack + 9)); /* without the arguments */
    for (int i = 0; i < THROW_REGS; i++)
        CHECK_EQ_U64(frame.saved[i], i + 1);
    frame = frame_of_call(0x1120, 3); /* the last byte of the range */
    CHECK_EQ_U64(throw_find(&frame), 1);
    CHECK_EQ_U64(frame.pc, 0x1180);
    frame = frame_of_call(0x1121, 77);
    CHECK_EQ_U64(throw_find(&frame), 1);
    CHECK_EQ_U64(frame.pc, 0x1190);
}

TEST(callers_catch) {
    /* A leaf calls; its caller has rbx and r12 on the stack, and no handler there; the next has its
     * frame at rbp. */
    struct throw_frame frame = frame_of_call(0x1405, 5);
    stack[8] = 0x1140;                       /* the leaf's return address: CFA = stack + 9 */
    stack[9] = 100;                          /* CFA = stack + 13 */
    stack[10] = 111;                         /* rbx */
    stack[11] = 112;                         /* r12 */
    stack[12] = 0x1250;                      /* no handler for this call */
    frame.saved[1] = (uint64_t)(stack + 30); /* rbp: CFA = stack + 32 */
    stack[30] = (uint64_t)(stack + 40);      /* the caller's rbp */
    stack[29] = 113, stack[28] = 114, stack[27] = 115;
    stack[31] = 0x1215;
    CHECK_EQ_U64(throw_find(&frame), 1);
    CHECK_EQ_U64(frame.pc, 0x1280);
    CHECK_EQ_U64(frame.rsp, (uint64_t)(stack + 32));
    const uint64_t expected[THROW_REGS] = {111, (uint64_t)(stack + 40), 112, 113, 114, 115};
    CHECK_MEM(frame.saved, expected, sizeof expected);
}

TEST(nobody_catches) {
    struct throw_frame frame = frame_of_call(0x1405, 6);
    const uint64_t dispatcher = 0x1010;
    stack[8] = 0x1111; /* catches 3 and 5 */
    stack[12] = dispatcher;
    CHECK_EQ_U64(throw_find(&frame), 0);
    frame = frame_of_call(0x0fff, 3); /* before all code */
    CHECK_EQ_U64(throw_find(&frame), 0);
    frame = frame_of_call(0x1310, 3); /* between functions */
    CHECK_EQ_U64(throw_find(&frame), 0);
    frame = frame_of_call(0, 3);
    CHECK_EQ_U64(throw_find(&frame), 0);
    test_tables.handlers_count = 0;
    test_tables.rows_count = 1;
    frame = frame_of_call(0x1405, 3);
    stack[8] = dispatcher;
    CHECK_EQ_U64(throw_find(&frame), 0);
}

/* Ring 3 may have written anything to its stack: frames must ascend, and end at its top. */
TEST(broken_stacks) {
    struct throw_frame frame = frame_of_call(0x1205, 3);
    frame.saved[1] = (uint64_t)(stack + 6); /* its CFA is the stack pointer */
    CHECK_EQ_U64(throw_find(&frame), 0);
    frame = frame_of_call(0x1205, 3);
    frame.saved[1] = (uint64_t)(stack + 2);
    CHECK_EQ_U64(throw_find(&frame), 0);
    frame = frame_of_call(0x1205, 3);
    frame.saved[1] = (uint64_t)(stack + 63); /* CFA beyond the top */
    CHECK_EQ_U64(throw_find(&frame), 0);
    frame = frame_of_call(0x1205, 3);
    frame.saved[1] = (uint64_t)(stack + 20) + 1; /* not aligned */
    CHECK_EQ_U64(throw_find(&frame), 0);
    frame = frame_of_call(0x1405, 3); /* a stack of leaves: ends at the top */
    for (size_t i = 8; i < 64; i++)
        stack[i] = 0x1405;
    CHECK_EQ_U64(throw_find(&frame), 0);
    CHECK_EQ_U64(frame.rsp, (uint64_t)(stack + 64));
}

/* Both searches, for every number of rows and every address. */
TEST(searches) {
    static struct throw_row many_rows[70];
    static struct throw_handler many_handlers[70];
    find_init();
    for (uint32_t i = 0; i < 70; i++) {
        many_rows[i].code_gva = 10 + 3 * i;
        many_handlers[i] = (struct throw_handler){.start = 10 + 3 * i, .end = 12 + 3 * i};
    }
    test_tables.rows = (uint64_t)many_rows;
    test_tables.handlers = (uint64_t)many_handlers;
    for (uint32_t count = 1; count <= 70; count++) {
        test_tables.rows_count = test_tables.handlers_count = count;
        for (uint32_t code = 0; code < 230; code++) {
            uint32_t expected = code < 10 ? 0 : (code - 10) / 3;
            expected = expected < count ? expected : count - 1;
            CHECK(row_of(code) == &many_rows[expected]);
            CHECK(handler_of(code) == &many_handlers[expected]);
        }
    }
}

/* ---- references ---- */

#define TAG_NONE 0
#define TAG_REF 1 /* one value: a reference */
#define TAG_TWO 2
static uint8_t *slots;
static uint64_t table[HUSK_EXCEPTION_SLOTS + 16];
static uint64_t table_count, global;
static const struct throw_root roots[] = {{(uint64_t)&global, 0, 1},
                                          {(uint64_t)table, (uint64_t)&table_count, 0}};

/* The slots lie between the guard bytes of one block. The stack ends here: nothing that the test
 * functions have on it counts. */
static __attribute__((noinline)) void refs_init(uint64_t stack_top) {
    find_init();
    free(slots);
    slots = aligned_alloc(4096, (HUSK_EXCEPTION_SLOTS + 64) * sizeof pending);
    CHECK(slots != NULL);
    memset(slots, 0, HUSK_EXCEPTION_SLOTS * sizeof pending);
    memset(slots + HUSK_EXCEPTION_SLOTS * sizeof pending, 0xa5, 64 * sizeof pending);
    memset(table, 0, sizeof table);
    global = table_count = 0;
    trapped = 0;
    test_tables.slots = (uint64_t)slots;
    test_tables.stack_top = stack_top;
    test_tables.roots = (uint64_t)roots;
    test_tables.roots_count = 2;
}

static struct husk_exception *at(uint64_t ref) {
    return (struct husk_exception *)ref;
}

static uint64_t value_of(uint64_t ref, int idx) {
    uint64_t value;
    memcpy(&value, at(ref)->values[idx].bytes, sizeof value);
    return value;
}

/* Throws and takes a reference. */
static __attribute__((noinline)) uint64_t take(uint32_t tag, uint64_t value) {
    pending.head.tag = tag + 1;
    memset(pending.all.values, 0xee, sizeof pending.all.values);
    memcpy(pending.all.values[0].bytes, &value, sizeof value);
    return exn_take();
}

/* Overwrites what calls have left below on the stack. */
static __attribute__((noinline)) void wipe(void) {
    volatile uint64_t words[512];
    for (size_t i = 0; i < 512; i++)
        words[i] = 0;
    (void)words[0];
}

static uint64_t slots_used(void) {
    return pending.head.mark;
}

#define HERE ((uint64_t)__builtin_frame_address(0) & ~(uint64_t)7)

TEST(values_are_copied) {
    refs_init(HERE);
    uint64_t ref = take(TAG_TWO, 42);
    CHECK(ref == (uint64_t)slots);
    CHECK_EQ_U64(at(ref)->tag, TAG_TWO + 1);
    CHECK_EQ_U64(value_of(ref, 0), 42);
    CHECK_EQ_U64(value_of(ref, 1), 0xeeeeeeeeeeeeeeee);
    CHECK_EQ_U64(value_of(ref, 2), 0); /* the tag has two */
    pending.head.tag = TAG_NONE + 1;
    memset(pending.all.values, 0, sizeof pending.all.values);
    throw_load(ref);
    CHECK_EQ_U64(pending.head.tag, TAG_TWO + 1);
    CHECK_EQ_U64(value_of((uint64_t)&pending, 0), 42);
    CHECK_EQ_U64(value_of((uint64_t)&pending, 1), 0xeeeeeeeeeeeeeeee);
}

static void check_refused(uint64_t ref) {
    trapped = 0;
    if (setjmp(trap_jump) == 0)
        throw_load(ref);
    CHECK_EQ_U64(trapped, TRAP_NULL_EXCEPTION_REFERENCE);
}

TEST(what_is_no_reference) {
    refs_init(HERE);
    check_refused((uint64_t)slots); /* nothing was taken yet */
    uint64_t ref = take(TAG_NONE, 0);
    throw_load(ref);
    check_refused(0);
    check_refused(1);
    check_refused(ref + 8);
    check_refused(ref - sizeof pending);
    check_refused(ref + sizeof pending); /* a free slot */
    check_refused((uint64_t)slots + HUSK_EXCEPTION_SLOTS * sizeof pending);
    check_refused(~(uint64_t)0);
    test_tables.slots = 0; /* a program without slots */
    pending.head.mark = 0;
    check_refused(ref);
    check_refused(0);
}

TEST(a_million_in_constant_memory) {
    refs_init(HERE);
    for (int i = 0; i < 1000000; i++)
        global = take(TAG_REF, 0);
    const uint64_t first = 8192 / sizeof pending;
    CHECK_EQ_U64(slots_used(), first);
}

/* Each exception holds one that holds none, in place of its stale values. */
TEST(stale_values_keep_nothing) {
    refs_init(HERE);
    for (int i = 0; i < 200000; i++) {
        uint64_t inner = take(TAG_NONE, 0);
        global = take(TAG_REF, inner);
    }
    CHECK_EQ_U64(slots_used(), 8192 / sizeof pending);
}

static __attribute__((noinline)) void churn(int count) {
    for (int i = 0; i < count; i++)
        take(TAG_NONE, 0);
    wipe();
}

TEST(a_table_keeps_them) {
    refs_init(HERE);
    table_count = 1000;
    for (size_t i = 0; i < 1000; i++) {
        table[i] = take(TAG_REF, i << 32);
        churn(3);
    }
    churn(50000);
    for (size_t i = 0; i < 1000; i++) {
        CHECK_EQ_U64(at(table[i])->tag, TAG_REF + 1);
        CHECK_EQ_U64(value_of(table[i], 0), (uint64_t)i << 32);
    }
    const uint64_t used = slots_used();
    CHECK(used >= 1000 && used <= HUSK_EXCEPTION_SLOTS);
    table_count = 10; /* it shrank: the other entries do not count */
    churn(50000);
    CHECK_EQ_U64(slots_used(), used);
    uint64_t live = 0;
    churn(1);
    find_free_slots();
    for (uint64_t i = 0; i < used; i++)
        live += slot_at(i)->tag != 0;
    CHECK(live >= 10 && live < 20); /* the registers and the pending exception may refer to some */
}

/* A chain of exceptions in exceptions, held by one global: marked without recursion. */
TEST(exceptions_in_exceptions) {
    refs_init(HERE);
    for (uint64_t i = 0; i < 3000; i++)
        global = take(TAG_REF, global);
    churn(20000);
    uint64_t length = 0;
    for (uint64_t ref = global; ref != 0; ref = value_of(ref, 0)) {
        CHECK_EQ_U64(at(ref)->tag, TAG_REF + 1);
        length++;
    }
    CHECK_EQ_U64(length, 3000);
    /* a circle is no trouble */
    uint64_t last = global;
    while (value_of(last, 0) != 0)
        last = value_of(last, 0);
    memcpy(at(last)->values[0].bytes, &global, sizeof global);
    churn(20000);
    CHECK_EQ_U64(at(global)->tag, TAG_REF + 1);
    CHECK_EQ_U64(at(last)->tag, TAG_REF + 1);
}

static volatile uint64_t hidden, kept; /* the complement of a reference; a reference */

/* The frame of a function that the caller calls: nothing of the caller's lies below. */
static __attribute__((noinline)) uint64_t below_here(void) {
    return HERE;
}

static __attribute__((noinline)) void throw_hidden(void) {
    const uint64_t ref = ~hidden;
    pending.head.tag = TAG_REF + 1;
    memset(pending.all.values, 0, sizeof pending.all.values);
    memcpy(pending.all.values[0].bytes, &ref, sizeof ref);
}

TEST(the_pending_exception_keeps_its_values) {
    refs_init(HERE);
    hidden = ~take(TAG_REF, 7 << 1);
    throw_hidden();
    wipe();
    test_tables.stack_top = below_here();
    find_free_slots();
    CHECK_EQ_U64(at(~hidden)->tag, TAG_REF + 1);
    pending.head.tag = TAG_NONE + 1;
    wipe();
    find_free_slots();
    if (!HARNESS_SANITIZED) /* else a register still has it */
        CHECK_EQ_U64(at(~hidden)->tag, 0);
}

static __attribute__((noinline)) void on_the_stack(void) {
    volatile uint64_t refs[100];
    for (uint64_t i = 0; i < 100; i++)
        refs[i] = take(TAG_REF, i << 40);
    churn(20000);
    for (uint64_t i = 0; i < 100; i++)
        CHECK_EQ_U64(value_of(refs[i], 0), i << 40);
}

TEST(the_stack_keeps_them) {
    refs_init(HERE);
    on_the_stack();
    churn(20000);
    CHECK(slots_used() <= 1024);
}

/* A reference that is in one preserved register only. */
#define CHECK_REGISTER(name)                                                                       \
    do {                                                                                           \
        hidden = ~take(TAG_REF, 99ull << 40);                                                      \
        wipe();                                                                                    \
        __asm__ volatile("movq %1, %%rax\n\t"                                                      \
                         "notq %%rax\n\t"                                                          \
                         "movq %%rax, %%" name "\n\t"                                              \
                         "xorl %%eax, %%eax\n\t"                                                   \
                         "movq %%rsp, %%rcx\n\t"                                                   \
                         "subq $256, %%rsp\n\t"                                                    \
                         "andq $-16, %%rsp\n\t"                                                    \
                         "pushq %%rcx\n\t"                                                         \
                         "pushq %%rcx\n\t"                                                         \
                         "call *%2\n\t"                                                            \
                         "popq %%rsp\n\t"                                                          \
                         "movq %%" name ", %0"                                                     \
                         : "=m"(kept)                                                              \
                         : "m"(hidden), "m"(collect)                                               \
                         : name, "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",      \
                           "memory", "cc");                                                        \
        CHECK_EQ_U64(kept, ~hidden);                                                               \
        CHECK_EQ_U64(at(kept)->tag, TAG_REF + 1);                                                  \
        CHECK_EQ_U64(value_of(kept, 0), 99ull << 40);                                              \
    } while (0)

/* Takes so many that all free slots are used, and many times more. */
static __attribute__((noinline)) void collect_all(void) {
    for (int i = 0; i < 20000; i++) {
        pending.head.tag = TAG_NONE + 1;
        exn_take();
    }
}

static void (*volatile collect)(void) = collect_all;
TEST(registers_keep_them) {
    refs_init(HERE);
    CHECK_REGISTER("rbx");
    CHECK_REGISTER("r12");
    CHECK_REGISTER("r13");
    CHECK_REGISTER("r14");
    CHECK_REGISTER("r15");
}

/* Is the slot that a take gets the one at this index? No reference to it stays. */
static __attribute__((noinline)) bool takes_slot(uint64_t idx) {
    return take(TAG_NONE, 0) == (uint64_t)slots + idx * sizeof pending;
}

static __attribute__((noinline)) bool forgets_slot(uint64_t idx) {
    const bool is_same = takes_slot(idx);
    wipe();
    return is_same;
}

TEST(all_slots_in_use) {
    refs_init(HERE);
    if (setjmp(trap_jump) == 0)
        for (;;) {
            uint64_t ref = take(TAG_NONE, 0);
            table[table_count++] = ref;
            CHECK(table_count <= HUSK_EXCEPTION_SLOTS);
        }
    CHECK_EQ_U64(trapped, TRAP_EXCEPTION_REFERENCES);
    CHECK_EQ_U64(table_count, HUSK_EXCEPTION_SLOTS);
    CHECK_EQ_U64(slots_used(), HUSK_EXCEPTION_SLOTS);
    for (size_t i = 0; i < 64 * sizeof pending; i++)
        CHECK(slots[HUSK_EXCEPTION_SLOTS * sizeof pending + i] == 0xa5);
    table[1234] = 0; /* one is free: it can be used again and again */
    trapped = 0;
    if (setjmp(trap_jump) == 0)
        for (int i = 0; i < 100; i++)
            CHECK(forgets_slot(1234));
    CHECK_EQ_U64(trapped, 0);
}

TEST_MAIN()
