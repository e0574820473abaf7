/*
 * tests/hostile/vcpu_state_test.c: whatever native code in ring 3 does to the vCPU, and however its
 * call ends, the next call finds every register as in a new VM: general, segment, control and debug
 * registers, XCR0, MSRs, x87 and vector state, pending events. The test reads all of it by ioctl at
 * the first instruction of the next call. Only then is the state reset: the entry page and the
 * host's preparation of the run do that. A call that a snapshot brought is no exception. The table
 * in tests/support/vcpu_state.c lists the state that ring 3 can change, and the state that is not
 * compared. HUSK_TEST_ROUNDS sets the rounds of the property test (default 3000);
 * HUSK_TEST_VERBOSE shows how each attempt ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "harness.h"
#include "husk.h"
#include "sandbox_internal.h"
#include "syspages.h"
#include "vcpu_attempts.h"
#include "vcpu_state.h"
#include "literals.h"

static struct {
    husk_engine *engine;
    husk_imports *imports;
    husk_image *image, *other, *snapshot;
    husk_sandbox *sandbox;
    struct vcpu_state *wanted; /* at_entry() fills it */
    uint32_t pends_at;         /* so many calls of at_entry(), and one is pending; 0: none is */
    uint64_t random;
    uint64_t xcr0;
} lab;
static struct husk_error err;
static struct vcpu_state clean, found;

static uint64_t next_random(void) {
    lab.random ^= lab.random << 13, lab.random ^= lab.random >> 7,
        lab.random ^= lab.random << 17; /* xorshift64 */
    return lab.random;
}

/* The image's first instruction. */
static int at_entry(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    (void)user, (void)args, (void)results;
    if (lab.pends_at != 0 && --lab.pends_at == 0)
        return husk_caller_pending(caller);
    if (lab.wanted != NULL)
        vcpu_state_take(husk_caller_sandbox(caller)->machine->vcpu, lab.wanted);
    return 0;
}

static husk_image *image_of(uint8_t tag) {
    size_t count;
    husk_image *image = NULL;
    uint8_t *bytes = attempts_image_make(tag, &count);
    CHECK_OK(
        husk_image_open_buffer(lab.engine, (struct husk_buffer){bytes, count}, NULL, &image, &err),
        err);
    free(bytes);
    return image;
}

static husk_sandbox *sandbox_of(husk_image *image) {
    husk_sandbox *sandbox = NULL;
    CHECK_OK(husk_sandbox_new(image, lab.imports, NULL, &sandbox, &err), err);
    return sandbox;
}

/* Noise for the attempts, all new each time. */
static void prepare(enum attempt_ending ending, uint64_t components) {
    void *span;
    CHECK_OK(husk_memory_span(lab.sandbox, RANGE(.count = HUSK_WASM_PAGE_SIZE), &span, &err), err);
    uint8_t *memory = span;
    for (size_t i = 0; i < ATTEMPT_XSAVE_GVA + ATTEMPT_XSAVE_BYTES - HUSK_MEM0_GVA; i += 8) {
        uint64_t word = next_random();
        memcpy(memory + i, &word, sizeof word);
    }
    memset(memory + (ATTEMPT_SCRATCH_GVA - HUSK_MEM0_GVA), 0, 256);
    memory[ATTEMPT_ENDING_GVA - HUSK_MEM0_GVA] = (uint8_t)ending;
    uint8_t *area = memory + (ATTEMPT_XSAVE_GVA - HUSK_MEM0_GVA);
    components &= lab.xcr0;
    memset(area + 26, 0, 2); /* MXCSR's reserved half */
    memset(area + 512, 0, 64);
    memcpy(area + 512, &components, sizeof components);
}

enum limit { LIMIT_NONE, LIMIT_SOON, LIMIT_LATE };

static struct husk_outcome call(husk_sandbox *sandbox, const char *name, enum limit limit) {
    static const uint64_t limits_ns[] = {[LIMIT_SOON] = 5000000, [LIMIT_LATE] = 2000000000};
    struct husk_limits options = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    options.wall_ns = limits_ns[limit];
    CHECK_OK(husk_call(sandbox, CALL(.name = name, .limits = &options), &outcome, &err), err);
    return outcome;
}

/* Bochs lets no interrupt end a guest that has cleared IF, so nothing would end this one. (VMX
 * does: SDM vol. 3C, section 26.2.) */
static bool would_hang(const char *name, enum attempt_ending ending) {
    const char *emulated = getenv("HUSK_TEST_EMULATED"); /* tools/run-hwkvm */
    return ending == ENDING_SPIN && emulated != NULL && strcmp(emulated, "intel") == 0 &&
           (strcmp(name, "cli") == 0 || strcmp(name, "flags_none") == 0);
}

/* An attempt: it ends by itself, unless it shall not. */
static struct husk_outcome attempt(const char *name, enum attempt_ending ending,
                                   uint64_t components) {
    if (would_hang(name, ending))
        ending = ENDING_RETURN;
    prepare(ending, components);
    return call(lab.sandbox, name, ending == ENDING_SPIN ? LIMIT_SOON : LIMIT_LATE);
}

/* What the next guest in this VM finds. */
static void record(husk_sandbox *sandbox, struct vcpu_state *ret_state) {
    lab.wanted = ret_state;
    struct husk_outcome outcome = call(sandbox, "clean", LIMIT_NONE);
    lab.wanted = NULL;
    CHECK_MSG(outcome.kind == HUSK_RETURNED, "a clean call ended with %d: %s", outcome.kind,
              outcome.message);
}

static void begin(uint64_t seed) {
    SKIP_WITHOUT_KVM();
    static const struct husk_functype type = {NULL, 0, NULL, 0};
    memset(&lab, 0, sizeof lab);
    lab.random = seed;
    CHECK_OK(husk_engine_new(NULL, &lab.engine, &err), err);
    CHECK_OK(husk_imports_new(lab.engine, &lab.imports, &err), err);
    CHECK_OK(
        husk_imports_funcs(lab.imports,
                           &(struct husk_host_func){
                               .module = "env", .name = "at_entry", .type = &type, .fn = at_entry},
                           1, &err),
        err);
    lab.image = image_of(1);
    lab.other = image_of(2);
    lab.sandbox = sandbox_of(lab.image);
    record(lab.sandbox, &clean);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &lab.snapshot, &err), err);
    lab.xcr0 = clean.xcrs.nr_xcrs != 0 ? clean.xcrs.xcrs[0].value : 1;
    record(lab.sandbox, &found);
    vcpu_state_check(&found, &clean, "the second call in a VM");
}

static void end(void) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab.engine, &stats);
    CHECK_EQ_U64(stats.vms_made, 1); /* nothing above was a matter of a new VM */
    /* not through the pool: lab.sandbox still has its VM */
    husk_sandbox *fresh = sandbox_of(lab.image);
    record(fresh, &found);
    vcpu_state_check(&found, &clean, "a VM that nobody used");
    husk_sandbox_free(fresh);
    husk_sandbox_free(lab.sandbox);
    husk_image_unref(lab.snapshot);
    husk_image_unref(lab.other);
    husk_image_unref(lab.image);
    husk_imports_free(lab.imports);
    husk_engine_unref(lab.engine);
}

/* The ways to a clean state. */
enum way {
    WAY_NONE, /* after a call that did not poison: just the next call */
    WAY_RESTORE,
    WAY_RESTORE_SNAPSHOT,
    WAY_UNLOAD_LOAD,
    WAY_LOAD_SNAPSHOT,
    WAY_LOAD_OTHER,
    WAY_POOL,
    WAY_POOL_SNAPSHOT,
    WAY_PARK, /* the VM goes to the pool alone, and comes back from there */
    WAY_COUNT
};
static const char *const way_names[] = {"the next call",
                                        "restore",
                                        "restore to the snapshot",
                                        "unload and load",
                                        "load of the snapshot",
                                        "load of another module",
                                        "free and new",
                                        "free and new from the snapshot",
                                        "parking"};

static void go(enum way way) {
    /* Only the same module can be restored. */
    bool is_other = lab.sandbox->image == lab.other;
    if (way == WAY_NONE && lab.sandbox->is_poisoned)
        way = WAY_RESTORE;
    switch (way) {
    case WAY_NONE: break;
    case WAY_RESTORE:
        CHECK_OK(husk_sandbox_restore(lab.sandbox, is_other ? lab.other : lab.image, &err), err);
        break;
    case WAY_RESTORE_SNAPSHOT:
        CHECK_OK(husk_sandbox_restore(lab.sandbox, is_other ? lab.other : lab.snapshot, &err), err);
        break;
    case WAY_UNLOAD_LOAD:
        CHECK_OK(husk_sandbox_unload(lab.sandbox, &err), err);
        CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, lab.imports, &err), err);
        break;
    case WAY_LOAD_SNAPSHOT:
        CHECK_OK(husk_sandbox_load(lab.sandbox, lab.snapshot, lab.imports, &err), err);
        break;
    case WAY_LOAD_OTHER:
        CHECK_OK(
            husk_sandbox_load(lab.sandbox, is_other ? lab.image : lab.other, lab.imports, &err),
            err);
        break;
    case WAY_PARK:
        CHECK_OK(husk_sandbox_park(lab.sandbox, &err), err);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, is_other ? lab.other : lab.image, &err), err);
        CHECK(husk_sandbox_is_parked(lab.sandbox));
        break;
    default:
        husk_sandbox_free(lab.sandbox);
        lab.sandbox = sandbox_of(way == WAY_POOL ? lab.image : lab.snapshot);
        break;
    }
}

static uint8_t *memory_now(void) {
    void *span;
    CHECK_OK(husk_memory_span(lab.sandbox, RANGE(.count = HUSK_WASM_PAGE_SIZE), &span, &err), err);
    return span;
}

/* Memory, too: an instruction that a violation interrupted must not be finished in what the next
 * guest has there. Not zeros, which is what an IN reads. */
static void go_and_check(enum way way, const char *after) {
    static uint8_t memory[HUSK_WASM_PAGE_SIZE];
    char when[160];
    go(way);
    memset(memory_now() + (ATTEMPT_OUT_GVA - HUSK_MEM0_GVA) - 1024, 0x5a, 4096);
    memcpy(memory, memory_now(), sizeof memory);
    record(lab.sandbox, &found);
    snprintf(when, sizeof when, "%s after %s", way_names[way], after);
    vcpu_state_check(&found, &clean, when);
    CHECK_MSG(memcmp(memory, memory_now(), sizeof memory) == 0, "%s: memory was written", when);
}

/* What was seen changed by ring 3, per part. */
static bool was_changed[4096];

/* Right after a hostile call: what ring 3 cannot change is unchanged even here. */
static void look_at_exit(const char *name) {
    const struct vcpu_part *parts;
    size_t count = vcpu_parts(&parts);
    vcpu_state_take(lab.sandbox->machine->vcpu, &found);
    for (size_t i = 0; i < count; i++) {
        bool is_equal = vcpu_part_equal(&parts[i], &found, &clean);
        was_changed[i] |= !is_equal;
        CHECK_MSG(is_equal || parts[i].kind != VCPU_FIXED,
                  "%s: %s changed in ring 3, which was not expected", name, parts[i].name);
    }
}

static size_t attempts_count(void) {
    return (size_t)(attempts_table_end - attempts_table);
}

TEST(each_attempt_leaves_nothing) {
    begin(1);
    unsigned kinds[8] = {0};
    bool is_verbose = getenv("HUSK_TEST_VERBOSE") != NULL;
    for (size_t i = 0; i < 2 * attempts_count(); i++) {
        const char *name = attempts_table[i / 2].name;
        struct husk_outcome outcome = attempt(name, ENDING_RETURN, ~0ull);
        kinds[outcome.kind] += i % 2;
        if (is_verbose && i % 2 == 0)
            printf("  %s: %d %s\n", name, outcome.kind, outcome.message);
        look_at_exit(name);
        /* The first time nothing is done that might happen to reset the vCPU. */
        go_and_check(i % 2 == 0 ? WAY_NONE : (enum way)(i / 2 % WAY_COUNT), name);
    }
    printf("  returned %u, trapped %u, violations %u\n", kinds[HUSK_RETURNED], kinds[HUSK_TRAPPED],
           kinds[HUSK_GUEST_VIOLATION]);
    end();
}

/* Those that change most, ending in every way, followed by every way to a clean state. */
TEST(each_ending_leaves_nothing) {
    static const char *const names[] = {"general",       "xrstor",         "avx512",
                                        "segments_0x00", "null_then_base", "x87_pending",
                                        "flags_all",     "fxrstor"};
    begin(2);
    for (unsigned ending = 0; ending < ENDING_COUNT; ending++) {
        for (unsigned way = 0; way < WAY_COUNT; way++) {
            for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
                if (ending == ENDING_SPIN && i > 1)
                    continue; /* each takes its time */
                char after[80];
                attempt(names[i], ending, ~0ull);
                look_at_exit(names[i]);
                snprintf(after, sizeof after, "%s with ending %u", names[i], ending);
                go_and_check((enum way)way, after);
            }
        }
    }
    const struct vcpu_part *parts;
    size_t count = vcpu_parts(&parts);
    for (size_t i = 0; i < count; i++) /* by this test or the one before */
        CHECK_MSG(parts[i].kind != VCPU_CHANGES || was_changed[i],
                  "nothing here changed %s: the suite does not test it", parts[i].name);
    end();
}

/* Where an exception cannot be delivered because its stack is not there: KVM_RUN may fail with it
 * pending. */
TEST(a_failed_run_leaves_nothing) {
    begin(4);
    for (unsigned way = WAY_RESTORE; way < WAY_POOL; way++) {
        struct husk_limits options = HUSK_LIMITS_INIT;
        struct husk_outcome outcome = HUSK_OUTCOME_INIT;
        options.wall_ns = 2000000000;
        prepare(ENDING_UD2, ~0ull);
        uint8_t *stack =
            sys_space_exception_stack_top(lab.sandbox->machine->tables) - HUSK_PAGE_SIZE;
        CHECK(mprotect(stack, HUSK_PAGE_SIZE, PROT_NONE) == 0);
        int status =
            husk_call(lab.sandbox, CALL(.name = "general", .limits = &options), &outcome, &err);
        CHECK(mprotect(stack, HUSK_PAGE_SIZE, PROT_READ | PROT_WRITE) == 0);
        CHECK_MSG(status != 0 || outcome.kind != HUSK_RETURNED, "status %d", status);
        go_and_check((enum way)way, "a run that failed");
    }
    end();
}

/* ---- calls that a snapshot brought ---- */

/* A snapshot in which "stands" stands at the first of its host calls. */
static husk_image *standing_image(void) {
    husk_image *image = NULL;
    lab.pends_at = 2; /* the first is the image's first instruction */
    CHECK_EQ_I64(call(lab.sandbox, "stands", LIMIT_NONE).kind, HUSK_PENDING);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &image, &err), err);
    return image;
}

/* What the guest has at the next host call, after it went on. */
static void record_brought(struct vcpu_state *ret_state) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    const struct husk_answer answer = HUSK_ANSWER_INIT;
    lab.wanted = ret_state;
    CHECK_OK(husk_call_resume(lab.sandbox, &answer, &outcome, &err), err);
    lab.wanted = NULL;
    CHECK_MSG(outcome.kind == HUSK_RETURNED, "it ended with %d: %s", outcome.kind, outcome.message);
}

static void bring(enum way way, husk_image *standing) {
    if (way == WAY_PARK)
        CHECK_OK(husk_sandbox_park(lab.sandbox, &err), err);
    if (way == WAY_LOAD_SNAPSHOT) {
        CHECK_OK(husk_sandbox_load(lab.sandbox, standing, lab.imports, &err), err);
    } else if (way == WAY_POOL_SNAPSHOT) {
        husk_sandbox_free(lab.sandbox);
        lab.sandbox = sandbox_of(standing);
    } else {
        CHECK_OK(husk_sandbox_restore(lab.sandbox, standing, &err), err);
    }
}

/* It goes on by the entry page, as every call: else it would have what the last guest of its VM
 * left in the registers, and the rounding that it chose. */
TEST(a_call_that_a_snapshot_brought_finds_nothing) {
    static const enum way ways[] = {WAY_RESTORE_SNAPSHOT, WAY_LOAD_SNAPSHOT, WAY_POOL_SNAPSHOT,
                                    WAY_PARK};
    static struct vcpu_state clean_brought;
    char when[160];
    begin(5);
    husk_image *standing = standing_image();
    bring(WAY_RESTORE_SNAPSHOT, standing);
    record_brought(&clean_brought);
    for (size_t i = 0; i < attempts_count() * (sizeof ways / sizeof ways[0]); i++) {
        const char *name = attempts_table[i % attempts_count()].name;
        const enum way way = ways[i / attempts_count()];
        const struct husk_outcome outcome = attempt(name, ENDING_RETURN, ~0ull);
        if (outcome.kind == HUSK_RETURNED)
            look_at_exit(name);
        bring(way, standing);
        record_brought(&found);
        snprintf(when, sizeof when, "a brought call, by way %u, after %s", way, name);
        vcpu_state_check(&found, &clean_brought, when);
    }
    husk_image_unref(standing);
    end();
}

static unsigned rounds_wanted(void) {
    const char *text = getenv("HUSK_TEST_ROUNDS");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 3000;
}

TEST(any_sequence_leaves_nothing) {
    begin(3);
    unsigned rounds = rounds_wanted();
    for (unsigned round = 0; round < rounds; round++) {
        char after[200] = "";
        for (unsigned i = 0, count = 1 + (unsigned)(next_random() % 5); i < count; i++) {
            const char *name = attempts_table[next_random() % attempts_count()].name;
            enum attempt_ending ending = (enum attempt_ending)(next_random() % ENDING_COUNT);
            if (ending == ENDING_SPIN && next_random() % 8 != 0)
                ending = ENDING_RETURN;
            struct husk_outcome outcome = attempt(name, ending, next_random());
            size_t used = strlen(after);
            snprintf(after + used, sizeof after - used, "%s%s (%u)", i > 0 ? ", " : "", name,
                     ending);
            if (outcome.is_poisoned && i + 1 < count)
                CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.sandbox->image, &err), err);
        }
        go_and_check((enum way)(next_random() % WAY_COUNT), after);
    }
    end();
}

TEST_MAIN()
