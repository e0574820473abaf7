/*
 * tests/kvm/snapshots/standing_random_test.c: random programs that call the host at random depths
 * of their own stack: they recurse, throw and catch, call by tables and in tail position, grow and
 * write memories and a private file, exit and trap (support/standing_guest.h). The host answers,
 * throws, fails or ends the program, and calls back. Each program is stopped at a random host call.
 * Whoever gets the snapshot that is taken there (the sandbox itself, a clone, a restore, a new
 * sandbox, from memory or from a file, over other such snapshots) must end as the unbroken run:
 * with the same host calls and arguments, outcome, result, exception, memories and file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "literals.h"
#include "standing_guest.h"
#include "thrown.h"

enum { ASK_PARAMS = 4, LAYERS = 4 };

struct ended {
    enum husk_outcome_kind kind;
    enum husk_trap trap;
    int32_t exit_code;
    int64_t result; /* or the exception's value */
    uint64_t calls, heard, memory, file;
};

/* Where a call stands: how many host calls were answered before, a hash of all that they said, and
 * the arguments of the one that is next. */
struct place {
    uint64_t calls, heard;
    struct husk_value args[ASK_PARAMS];
};

struct play {
    struct wat_lab wat;
    husk_tag tag;
    uint64_t calls, heard;
    uint64_t stop_at; /* the number of the host call that stops; UINT64_MAX: none */
    bool is_pending;  /* it stops by being pending; else a snapshot is taken inside it */
    bool has_poked;   /* the call that is repeated has made its call already */
    bool has_stopped;
    bool is_answered; /* the next that goes on gets an answer; else the function is called again */
    husk_image *snapshot;
    struct place there;
};

/* ---- the host ---- */

static void hear(struct play *play, const void *bytes, size_t count) {
    const uint8_t *each = bytes;
    for (size_t i = 0; i < count; i++)
        play->heard = (play->heard ^ each[i]) * 0x100000001b3ull;
}

/* Ends as the function it calls: it returns, or throws. */
static enum husk_outcome_kind poke(husk_sandbox *sandbox, int32_t number, int32_t *ret_result) {
    struct husk_value arg = value_i32(number), result = value_i32(0);
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = "poke", .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &outcome, &err),
             err);
    CHECK_MSG(outcome.kind == HUSK_RETURNED || outcome.kind == HUSK_THREW, "%s", outcome.message);
    *ret_result = result.of.i32;
    return outcome.kind;
}

enum answer { ANSWER_RESULTS, ANSWER_THROWS, ANSWER_FAILS, ANSWER_EXITS };

/* What env.ask does follows from all that was said. */
static enum answer answer_of(struct play *play, const struct husk_value *args) {
    hear(play, &args[0].of.i32, 4);
    hear(play, &args[1].of.i64, 8);
    hear(play, &args[2].of.f64, 8);
    hear(play, &args[3].of, 16);
    play->calls++;
    const uint64_t dice = (play->heard ^ play->heard >> 32) % 256;
    return dice < 10    ? ANSWER_THROWS
           : dice == 10 ? ANSWER_FAILS
           : dice == 11 ? ANSWER_EXITS
                        : ANSWER_RESULTS;
}

static void results_of(const struct play *play, struct husk_value results[2]) {
    results[0] = value_i64((int64_t)(play->heard + play->calls));
    results[1] = value_i32((int32_t)play->heard);
}

static struct husk_throw throw_of(const struct play *play, struct husk_value *value) {
    struct husk_throw exception = HUSK_THROW_INIT;
    *value = value_i64((int64_t)play->heard);
    exception.tag = play->tag;
    exception.values = value;
    exception.values_count = 1;
    return exception;
}

static int host_ask(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    struct play *play = user;
    struct husk_error err;
    struct husk_value value;
    int32_t ignored;
    if (play->calls % 3 == 1 && !play->has_poked) /* it has ended when the call stands */
        poke(husk_caller_sandbox(caller), (int32_t)play->calls, &ignored);
    play->has_poked = false;
    if (play->calls == play->stop_at) {
        play->has_stopped = true;
        play->there = (struct place){.calls = play->calls, .heard = play->heard};
        memcpy(play->there.args, args, sizeof play->there.args);
        if (play->is_pending)
            return husk_caller_pending(caller);
        CHECK_OK(husk_caller_snapshot(caller, &play->snapshot, &err), err);
    }
    const enum answer answer = answer_of(play, args);
    const struct husk_throw exception = throw_of(play, &value);
    results_of(play, results);
    return answer == ANSWER_THROWS  ? husk_caller_throw(caller, &exception)
           : answer == ANSWER_FAILS ? husk_caller_fail(caller, "no")
           : answer == ANSWER_EXITS ? husk_caller_exit(caller, 3)
                                    : 0;
}

/* An exception of the guest goes across this function to the guest that called it. */
static int host_back(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct play *play = user;
    struct husk_throw exception = HUSK_THROW_INIT;
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    struct husk_error err;
    husk_sandbox *sandbox = husk_caller_sandbox(caller);
    hear(play, &args[0].of.i32, 4);
    if (poke(sandbox, args[0].of.i32, &results[0].of.i32) == HUSK_RETURNED)
        return 0;
    CHECK_OK(husk_sandbox_exception(sandbox, &info, &err), err);
    exception.tag = info.tag;
    exception.values = info.values;
    exception.values_count = info.values_count;
    return husk_caller_throw(caller, &exception);
}

/* ---- a program, and how it ends ---- */

static void play_open(struct play *play) {
    static const struct wat_module modules[] = {{"lib", standing_lib, NULL, 0},
                                                {"main", standing_main, NULL, 0}};
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    const struct husk_wasi_dir dir = {
        .guest_path = "/m", .kind = HUSK_WASI_DIR_MEM, .rights = HUSK_WASI_READ | HUSK_WASI_WRITE};
    options.dirs = &dir;
    options.dirs_count = 1;
    options.private_max_bytes = 1 << 20;
    memset(play, 0, sizeof *play);
    wat_lab_init(&play->wat);
    CHECK_OK(husk_imports_wasi(play->wat.imports, &options, &play->wat.err), play->wat.err);
    wat_lab_func(&play->wat, "ask", "iIFv>Ii", host_ask, play);
    wat_lab_func(&play->wat, "back", "i>i", host_back, play);
    wat_lab_open_linked(&play->wat, modules, 2, NULL);
    play->tag = tag_of(&play->wat, "t");
}

static uint64_t memory_hash(struct play *play, husk_sandbox *sandbox, uint32_t mem_idx) {
    static uint8_t bytes[65536];
    struct play other = {.heard = 1};
    const uint64_t count = husk_memory_bytes(sandbox, mem_idx);
    CHECK(count >= sizeof bytes);
    for (uint64_t addr = 0; addr < count; addr += sizeof bytes) {
        const struct husk_range page = {.mem_idx = mem_idx, .addr = addr, .count = sizeof bytes};
        CHECK_OK(husk_memory_read(sandbox, &page, bytes, &play->wat.err), play->wat.err);
        hear(&other, bytes, sizeof bytes);
    }
    return other.heard + count;
}

/* What the guest reads from its file when all is over. */
static uint64_t file_hash(struct play *play, husk_sandbox *sandbox) {
    struct husk_value result = value_i64(0);
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    CHECK_OK(husk_call(sandbox, CALL(.name = "sum", .results = &result, .results_count = 1),
                       &outcome, &play->wat.err),
             play->wat.err);
    CHECK_MSG(outcome.kind == HUSK_RETURNED, "%s", outcome.message);
    return (uint64_t)result.of.i64;
}

static int64_t thrown_value(struct play *play, husk_sandbox *sandbox) {
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    CHECK_OK(husk_sandbox_exception(sandbox, &info, &play->wat.err), play->wat.err);
    CHECK_STR(info.name, "t");
    return info.values[0].of.i64;
}

static struct ended end_of(struct play *play, husk_sandbox *sandbox,
                           const struct husk_outcome *outcome, int64_t result) {
    struct ended ended = {.kind = outcome->kind, .calls = play->calls, .heard = play->heard};
    if (outcome->kind == HUSK_RETURNED)
        ended.result = result;
    else if (outcome->kind == HUSK_THREW)
        ended.result = thrown_value(play, sandbox);
    else if (outcome->kind == HUSK_EXITED)
        ended.exit_code = outcome->exit_code;
    else
        ended.trap = outcome->trap;
    ended.memory = memory_hash(play, sandbox, 0) * UINT64_C(31) + memory_hash(play, sandbox, 1);
    ended.file = file_hash(play, sandbox);
    return ended;
}

static bool is_same(const struct ended *a, const struct ended *b) {
    return a->kind == b->kind && a->trap == b->trap && a->exit_code == b->exit_code &&
           a->result == b->result && a->calls == b->calls && a->heard == b->heard &&
           a->memory == b->memory && a->file == b->file;
}

static void check_same(const struct ended *got, const struct ended *expected, const char *how) {
    CHECK_MSG(is_same(got, expected),
              "%s: outcome %d, %d, %d, expected %d, %d, %d; result %llx, %llx; calls %llu, %llu; "
              "heard %d, memory %d, file %d",
              how, (int)got->kind, (int)got->trap, got->exit_code, (int)expected->kind,
              (int)expected->trap, expected->exit_code, (unsigned long long)got->result,
              (unsigned long long)expected->result, (unsigned long long)got->calls,
              (unsigned long long)expected->calls, got->heard == expected->heard,
              got->memory == expected->memory, got->file == expected->file);
}

/* A run that stops gives a place, and no end unless the snapshot was taken inside. */
static void run(struct play *play, int64_t seed, uint64_t stop_at, struct ended *ret_ended) {
    struct husk_value args[] = {value_i64(seed), value_i32(0)}, result = value_i64(0);
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error *err = &play->wat.err;
    husk_sandbox *sandbox = play->wat.sandbox;
    play->calls = play->heard = 0;
    play->stop_at = stop_at;
    play->has_stopped = play->has_poked = false;
    CHECK_OK(husk_sandbox_restore(sandbox, play->wat.image, err), *err);
    CHECK_OK(
        husk_call(sandbox, CALL(.name = "begin", .args = &args[0], .args_count = 1), &outcome, err),
        *err);
    CHECK_MSG(outcome.kind == HUSK_RETURNED, "%s", outcome.message);
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = "step", .args = &args[1], .args_count = 1, .results = &result,
                            .results_count = 1),
                       &outcome, err),
             *err);
    ret_ended->kind = outcome.kind;
    if (outcome.kind != HUSK_PENDING)
        *ret_ended = end_of(play, sandbox, &outcome, result.of.i64);
}

/* ---- going on ---- */

/* The answer that env.ask would give here. False: it would end the program, which only the function
 * itself can do. */
static bool answer_give(struct play *play, struct husk_answer *answer, struct husk_value values[2],
                        struct husk_throw *exception) {
    const struct place there = play->there;
    const enum answer kind = answer_of(play, there.args);
    if (kind == ANSWER_EXITS) {
        play->calls = there.calls;
        play->heard = there.heard;
        return false;
    }
    results_of(play, values);
    if (kind == ANSWER_RESULTS) {
        answer->values = values;
        answer->values_count = 2;
    } else if (kind == ANSWER_THROWS) {
        *exception = throw_of(play, values);
        answer->exception = exception;
    } else {
        answer->status = HUSK_E_STATE;
        answer->message = "no";
    }
    return true;
}

/* Up to the end, or to another host call. */
static void resume(struct play *play, husk_sandbox *sandbox, uint64_t stop_at,
                   struct ended *ret_ended) {
    struct husk_value result = value_i64(0), values[2];
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    struct husk_throw exception;
    play->calls = play->there.calls;
    play->heard = play->there.heard;
    play->stop_at = stop_at;
    play->has_stopped = false;
    play->is_answered = !play->is_answered;
    answer.is_again = !play->is_answered || !answer_give(play, &answer, values, &exception);
    play->has_poked = answer.is_again;
    answer.results = &result;
    answer.results_count = 1;
    CHECK_OK(husk_call_resume(sandbox, &answer, &outcome, &play->wat.err), play->wat.err);
    ret_ended->kind = outcome.kind;
    if (outcome.kind != HUSK_PENDING)
        *ret_ended = end_of(play, sandbox, &outcome, result.of.i64);
}

static void goes_on(struct play *play, husk_sandbox *sandbox, const struct ended *expected,
                    const char *how) {
    struct ended got;
    resume(play, sandbox, UINT64_MAX, &got);
    check_same(&got, expected, how);
}

static void from_image(struct play *play, husk_image *image, const struct ended *expected,
                       int restores, const char *how) {
    struct husk_error *err = &play->wat.err;
    husk_sandbox *sandbox = NULL, *clone = NULL;
    CHECK_OK(husk_sandbox_new(image, play->wat.imports, NULL, &sandbox, err), *err);
    CHECK_OK(husk_sandbox_clone(sandbox, &clone, err), *err);
    goes_on(play, sandbox, expected, how);
    for (int i = 0; i < restores; i++) {
        CHECK_OK(husk_sandbox_restore(sandbox, image, err), *err);
        if (i % 7 == 3)
            CHECK_OK(husk_sandbox_park(sandbox, err), *err);
        goes_on(play, sandbox, expected, "restored");
    }
    goes_on(play, clone, expected, "a clone");
    CHECK_OK(husk_sandbox_load(clone, image, play->wat.imports, err), *err);
    goes_on(play, clone, expected, "loaded");
    husk_sandbox_free(clone);
    husk_sandbox_free(sandbox);
}

/* The state where a run or a call that went on has stopped, which the caller frees. */
static husk_image *taken(struct play *play, husk_sandbox *sandbox, const struct ended *got,
                         const struct ended *expected) {
    husk_image *snapshot = play->snapshot;
    CHECK(play->has_stopped);
    play->snapshot = NULL;
    if (!play->is_pending) {
        check_same(got, expected, "after the snapshot");
        return snapshot;
    }
    CHECK_EQ_U64(got->kind, HUSK_PENDING);
    CHECK_OK(husk_sandbox_snapshot(sandbox, &snapshot, &play->wat.err), play->wat.err);
    goes_on(play, sandbox, expected, "the call itself");
    return snapshot;
}

/* From a standing call on to the next one, and the next, each in a snapshot over the last, of which
 * nothing else is left. Takes the first. */
static void layers(struct play *play, husk_image *take_image, const struct ended *expected) {
    struct husk_error *err = &play->wat.err;
    husk_image *image = take_image;
    husk_sandbox *sandbox = NULL;
    struct ended got;
    CHECK_OK(husk_sandbox_new(image, play->wat.imports, NULL, &sandbox, err), *err);
    for (int i = 0; i < LAYERS && play->there.calls + 1 < expected->calls; i++) {
        const uint64_t first = play->there.calls + 1;
        play->is_pending = rand() % 2 == 0;
        resume(play, sandbox, first + (uint64_t)rand() % (expected->calls - first), &got);
        husk_image *next = taken(play, sandbox, &got, expected);
        husk_image_unref(image);
        image = i % 2 == 0 ? next : wat_saved(&play->wat, next);
        if (image != next)
            husk_image_unref(next);
        from_image(play, image, expected, 1, "a layer");
        CHECK_OK(husk_sandbox_restore(sandbox, image, err), *err);
    }
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
}

/* Stop at a random host call, and check all ways that lead on. */
static void stop_once(struct play *play, int64_t seed, const struct ended *expected, int restores) {
    struct husk_error *err = &play->wat.err;
    struct ended got;
    play->is_pending = rand() % 2 == 0;
    run(play, seed, (uint64_t)rand() % expected->calls, &got);
    husk_image *snapshot = taken(play, play->wat.sandbox, &got, expected);
    husk_image *file = wat_saved(&play->wat, snapshot);
    from_image(play, snapshot, expected, restores, "from memory");
    from_image(play, file, expected, 2, "from the file");
    CHECK_OK(husk_sandbox_restore(play->wat.sandbox, file, err), *err);
    goes_on(play, play->wat.sandbox, expected, "restored to the file");
    husk_image_unref(file);
    layers(play, snapshot, expected);
}

static bool has_all(const int *kinds) {
    return kinds[HUSK_RETURNED] > 0 && kinds[HUSK_TRAPPED] > 0 && kinds[HUSK_THREW] > 0 &&
           kinds[HUSK_EXITED] > 0;
}

/* As many programs, and more for the ways to end that none of these had: exits are rare. */
static void play_programs(int programs, int restores, int *kinds) {
    struct play play;
    struct ended expected;
    int stopped = 0;
    srand(20261130);
    play_open(&play);
    for (int i = 1; stopped < programs || !has_all(kinds); i++) {
        CHECK(i < 1000);
        const int64_t seed = (int64_t)((uint64_t)i * 0x9e3779b97f4a7c15u);
        run(&play, seed, UINT64_MAX, &expected);
        if (expected.calls == 0 || (stopped >= programs && kinds[expected.kind] > 0))
            continue;
        kinds[expected.kind]++;
        stop_once(&play, seed, &expected, restores);
        stopped++;
    }
    wat_lab_close(&play.wat);
}

/* An emulated CPU takes a second for each program. */
static int fewer_if_emulated(int programs) {
    return getenv("HUSK_TEST_EMULATED") != NULL ? programs / 5 : programs;
}

TEST(it_ends_as_the_unbroken_run) {
    SKIP_WITHOUT_COMPILER();
    int kinds[16] = {0};
    play_programs(fewer_if_emulated(100), 5, kinds);
    printf("%d returned, %d trapped, %d threw, %d exited\n", kinds[HUSK_RETURNED],
           kinds[HUSK_TRAPPED], kinds[HUSK_THREW], kinds[HUSK_EXITED]);
}

TEST(a_hundred_restores_end_alike) {
    SKIP_WITHOUT_COMPILER();
    int kinds[16] = {0};
    play_programs(fewer_if_emulated(20), 100, kinds);
}

TEST_MAIN()
