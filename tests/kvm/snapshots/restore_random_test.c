/*
 * tests/kvm/snapshots/restore_random_test.c: random requests from changing threads: calls, host
 * functions, nested and pending calls, exceptions, growth, private files, memory images, clones,
 * loads, forks, parking. After each restore the whole memory of the sandbox, with all globals,
 * tables, stack and mailbox, is compared with the image.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "caller.h"
#include "engine_internal.h"
#include "harness.h"
#include "helper_thread.h"
#include "image_internal.h"
#include "imports.h"
#include "layout.h"
#include "literals.h"
#include "privfs.h"
#include "random_guest.h"
#include "sandbox_internal.h"
#include "vm.h"
#include "wat.h"

#define THREADS 2u
#define IMAGES 4u
#define FILE_PAGES 64u
#define MEMORIES 2u
#define WIDE_BYTES (48u << 12) /* more pages than are noted one by one */

static const char module[] = RANDOM_GUEST("40 80", "640", "3", "0");
/* Some MiB that are zeros in the image, and more by growth: there may be large pages. */
static const char large_module[] = RANDOM_GUEST("104 200", "1664", "40", "2");

static const char other_module[] =
    "(module (memory (export \"memory\") 40 80) (data (i32.const 64) \"of another module\")"
    " (func (export \"write\") (param $x i32) (result i32)"
    "  (i32.store (i32.shl (i32.rem_u (local.get $x) (i32.const 640)) (i32.const 12)) (local.get "
    "$x))"
    "  (local.get $x)))";

/* ---- the world ---- */

static struct wat_lab lab;
static husk_image *images[IMAGES]; /* the first one is the compiled module */
static husk_image *other;
static struct husk_sandbox_options sandbox_options;
static struct helper_thread helpers[THREADS], writer;
static uint64_t random_state, park_state;
static uint32_t depth;
static bool must_pend, is_quiet, has_batches;
static const char *doing = "";

static uint32_t draw_from(uint64_t *state, uint32_t below) {
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 33) % below;
}

static uint32_t draw(uint32_t below) {
    return draw_from(&random_state, below);
}

static void run_on(uint32_t which, helper_job job, void *argument) {
    if (which == THREADS)
        job(argument);
    else
        helper_run(&helpers[which], job, argument);
}

/* On any of the threads. */
static void anywhere(helper_job job, void *argument) {
    run_on(draw(THREADS + 1), job, argument);
}

/* ---- what the host writes ---- */

static uint64_t memory_bytes(uint32_t mem_idx) {
    return husk_memory_bytes(lab.sandbox, mem_idx);
}

static struct husk_range any_range(bool is_wide) {
    const uint32_t mem_idx = draw(MEMORIES);
    const uint64_t count = is_wide ? WIDE_BYTES + draw(100000) : 1 + draw(9000);
    const uint64_t room = memory_bytes(mem_idx) - count;
    return (struct husk_range){.mem_idx = mem_idx, .addr = draw((uint32_t)room), .count = count};
}

static void write_memory(bool is_wide) {
    static uint8_t bytes[WIDE_BYTES + 100000];
    const struct husk_range range = any_range(is_wide);
    memset(bytes, 0x5a, sizeof bytes);
    CHECK_OK(husk_memory_write(lab.sandbox, &range, bytes, &lab.err), lab.err);
}

static void set_global(void) {
    const struct husk_value value = value_i64((int64_t)draw(1000));
    CHECK_OK(husk_global_set(lab.sandbox, "g", 0, &value, &lab.err), lab.err);
}

static void set_table(void) {
    const struct husk_value null = {.type = HUSK_FUNCREF};
    const uint64_t size = husk_table_size(lab.sandbox, 0);
    CHECK_OK(husk_table_set(lab.sandbox, 0, draw((uint32_t)size), &null, &lab.err), lab.err);
}

/* May be refused: the limits are near. */
static void grow(void) {
    (void)husk_memory_grow(lab.sandbox, draw(MEMORIES), draw(4), NULL, &lab.err);
    (void)husk_table_grow(lab.sandbox, 0, draw(700), NULL, &lab.err);
}

static void map_memory_image(void) {
    husk_memory_image *image = NULL;
    struct husk_range range = {.addr = (uint64_t)draw(300) << 12, .count = (1 + draw(60)) << 12};
    CHECK_OK(husk_memory_image_new(lab.sandbox, &range, &image, &lab.err), lab.err);
    range.addr = (uint64_t)draw(300) << 12;
    CHECK_OK(husk_memory_image_map(lab.sandbox, &range, image, 0, &lab.err), lab.err);
    husk_memory_image_unref(image);
}

/* The child has the memory, too; what it writes is its own. */
static void fork_a_child(void) {
    const pid_t child = fork();
    if (child == 0) {
        const uint8_t byte = 3;
        _exit(husk_memory_write(lab.sandbox, RANGE(.addr = 12345, .count = 1), &byte, NULL) != 0);
    }
    int end = 0;
    CHECK(waitpid(child, &end, 0) == child && end == 0);
}

static void write_something(void) {
    switch (draw(16)) {
    case 0:
        doing = "set_table";
        set_table();
        break;
    case 1:
        doing = "grow";
        grow();
        break;
    case 2:
        doing = "map_memory_image";
        map_memory_image();
        break;
    case 3:
        doing = "write much";
        write_memory(true);
        break;
    case 4:
        doing = "set_global";
        set_global();
        break;
    case 5:
        doing = "fork";
        if (draw(8) == 0)
            fork_a_child();
        break;
    default:
        doing = "write memory";
        write_memory(false);
        break;
    }
}

static void call(const char *name, uint32_t x);
static void call_many(const char *name);

static void park(void *argument) {
    (void)argument;
    CHECK_OK(husk_sandbox_park(lab.sandbox, &lab.err), lab.err);
}

/* Between two calls, or while one is pending. It has random numbers of its own, so that a seed
 * means the same requests as without it. In quiet times it is rare: it makes a restore search. */
static void park_sometimes(void) {
    if (draw_from(&park_state, is_quiet ? 40 : 6) == 0)
        run_on(draw_from(&park_state, THREADS + 1), park, NULL);
}

/* A random call. Nested ones go no deeper than three. */
static void call_something(void) {
    static const char *const names[] = {"write", "write", "write", "grow", "fill",
                                        "file",  "host",  "host",  "deep", "trap"};
    if (has_batches && draw(6) == 0) {
        call_many(draw(2) == 0 ? "write" : "host");
        return;
    }
    /* in quiet times the guest writes few places, and takes no faults: no restore searches then
     * for what the host writes */
    call(names[is_quiet ? draw(2) * 6 : draw(depth == 0 ? 10 : 9)],
         is_quiet ? draw(2) : draw(1u << 20));
}

struct span {
    uint8_t *bytes;
    uint64_t count;
};

static void fill_span(void *argument) {
    const struct span *span = argument;
    for (uint64_t at = 0; at < span->count; at += 1 + draw(9000))
        span->bytes[at] = 0xa5;
}

/* The span is written on any thread, while the host function waits for it, before or after it
 * called the guest. */
static void write_span(husk_caller *caller) {
    const struct husk_range range = any_range(draw(2) == 0);
    struct span span = {husk_caller_span(caller, &range), range.count};
    CHECK(span.bytes != NULL);
    if (draw(4) == 0 && depth < 3)
        call_something();
    if (draw(3) == 0)
        helper_run(&writer, fill_span, &span);
    else
        fill_span(&span);
}

static int throw_something(husk_caller *caller) {
    const struct husk_value value = value_i64(draw(100));
    struct husk_throw thrown = HUSK_THROW_INIT;
    thrown.values = &value;
    thrown.values_count = 1;
    CHECK_OK(husk_image_tag(lab.image, "t", 0, &thrown.tag, &lab.err), lab.err);
    return husk_caller_throw(caller, &thrown);
}

static int host(husk_caller *caller, void *user, const struct husk_value *args,
                struct husk_value *results) {
    (void)user, (void)args;
    for (uint32_t i = draw(3); i > 0; i--)
        switch (draw(4)) {
        case 0: write_something(); break;
        case 1:
            if (depth < 3)
                call_something();
            break;
        default:
            doing = "span";
            write_span(caller);
            break;
        }
    results[0].of.i32 = 1;
    if (draw(4) == 0)
        return throw_something(caller);
    return depth == 1 && must_pend ? husk_caller_pending(caller) : 0;
}

/* Writes pages of the private layer, some of them after a call of the guest. */
static int file(husk_caller *caller, void *user, const struct husk_value *args,
                struct husk_value *results) {
    struct privfs files;
    (void)user, (void)args;
    CHECK_EQ_I64(sandbox_files(caller->sandbox, &files), 0);
    for (uint32_t i = draw(6); i > 0; i--) {
        const uint64_t offset = (uint64_t)(1 + draw(FILE_PAGES - 1)) << 12;
        if (offset + HUSK_PAGE_SIZE > files.covered_bytes)
            CHECK_EQ_I64(files.cover(&files, offset + HUSK_PAGE_SIZE), 0);
        files.base[offset + draw(4096)] = 0xf1;
        if (draw(8) == 0 && depth < 3)
            call_something();
    }
    results[0].of.i32 = 2;
    return 0;
}

/* ---- calls ---- */

static void resume(void *argument) {
    struct husk_value value = value_i32(4), result;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    (void)argument;
    depth++;
    answer.values = &value;
    answer.values_count = 1;
    answer.results = &result;
    answer.results_count = 1;
    CHECK_OK(husk_call_resume(lab.sandbox, &answer, &lab.outcome, &lab.err), lab.err);
    depth--;
}

static void call(const char *name, uint32_t x) {
    struct husk_value arg = value_i32((int32_t)x), result;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    if (strcmp(name, "deep") == 0)
        arg.of.i32 = (int32_t)(x % 2000);
    depth++;
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &outcome, &lab.err),
             lab.err);
    depth--;
    if (depth == 0)
        lab.outcome = outcome;
}

/* Some in one entry; those that call the host stay few. */
static void call_many(const char *name) {
    static struct husk_value args[4][1000], results[4][1000]; /* by depth */
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_many many = {.size = sizeof many, .count = draw(name[0] == 'h' ? 4 : 1000)};
    for (size_t i = 0; i < many.count; i++)
        args[depth][i] = value_i32((int32_t)(is_quiet ? draw(2) : draw(1u << 20)));
    CHECK(depth < 4);
    depth++;
    CHECK_OK(husk_call_many(lab.sandbox,
                            CALL(.name = name, .args = args[depth - 1], .args_count = many.count,
                                 .results = results[depth - 1], .results_count = many.count),
                            &many, &outcome, &lab.err),
             lab.err);
    depth--;
    if (depth == 0)
        lab.outcome = outcome;
}

static void step_bytes(void) {
    static uint8_t input[WIDE_BYTES];
    struct husk_bytes bytes;
    memset(input, 0x77, sizeof input);
    CHECK_OK(wat_call_bytes(&lab, has_batches ? "back" : "echo", input, draw(sizeof input), &bytes),
             lab.err);
    free(bytes.output);
}

static void step(void *argument) {
    (void)argument;
    if (lab.outcome.kind == HUSK_PENDING || lab.sandbox->is_poisoned) {
        write_something(); /* beside the pending call */
        return;
    }
    const uint32_t kind = draw(8);
    if (kind == 0)
        step_bytes();
    else if (kind < 4)
        write_something();
    else
        call_something();
}

static void request(void) {
    for (uint32_t i = 1 + draw(4); i > 0 && !lab.sandbox->is_poisoned; i--) {
        must_pend = draw(6) == 0;
        anywhere(step, NULL);
        park_sometimes();
        if (lab.outcome.kind != HUSK_PENDING)
            continue;
        anywhere(step, NULL);
        park_sometimes();
        if (draw(4) == 0)
            return; /* the restore abandons it */
        anywhere(resume, NULL);
        must_pend = false;
    }
}

/* ---- the comparison ---- */

static void compare_region(const struct arena_region *region, const husk_image *image,
                           uint32_t round) {
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    for (uint64_t at = 0, part; at < region->bytes; at += part) {
        const uint8_t *source = image_source(image, region->gva + at, &part);
        part = part < region->bytes - at ? part : region->bytes - at;
        for (uint64_t page = at; page < at + part; page += HUSK_PAGE_SIZE)
            CHECK_MSG(memcmp(region->hva + page, source == NULL ? zeros : source + (page - at),
                             HUSK_PAGE_SIZE) == 0,
                      "round %u: the page at 0x%llx is not restored (last: %s)", round,
                      (unsigned long long)(region->gva + page), doing);
    }
}

/* Where nothing is imported a restored sandbox is the image, byte for byte. */
static void compare(const husk_image *image, uint32_t round) {
    const struct machine *machine = lab.sandbox->machine;
    struct arena_region regions[ARENA_REGIONS_MAX];
    const uint32_t count = arena_regions(&machine->arena, regions);
    for (uint32_t i = 0; i < count; i++)
        compare_region(&regions[i], image, round);
    for (uint32_t i = 0; i < image->code->memories_count; i++)
        CHECK_EQ_U64(machine->arena.memories[i].bytes / HUSK_WASM_PAGE_SIZE,
                     image->memory_sizes[i]);
    for (uint32_t i = 0; i < image->code->tables_count; i++)
        CHECK_EQ_U64(machine->sizes.table_entries[i], image->table_sizes[i]);
    CHECK_EQ_U64(machine->arena.overlays_count, 0);
}

/* ---- restores and what else brings a sandbox to an image ---- */

static husk_image *wanted;

static void restore(void *argument) {
    (void)argument;
    CHECK_OK(husk_sandbox_restore(lab.sandbox, wanted, &lab.err), lab.err);
}

static void reload(void *argument) {
    (void)argument;
    CHECK_OK(husk_sandbox_load(lab.sandbox, wanted, lab.imports, &lab.err), lab.err);
}

/* The machine goes to the pool as it is, and may come back. */
static void renew(void *argument) {
    (void)argument;
    husk_sandbox_free(lab.sandbox);
    CHECK_OK(husk_sandbox_new(wanted, lab.imports, &sandbox_options, &lab.sandbox, &lab.err),
             lab.err);
}

static void visit_other_module(void *argument) {
    (void)argument;
    CHECK_OK(husk_sandbox_load(lab.sandbox, other, lab.imports, &lab.err), lab.err);
    call("write", draw(1000));
    CHECK_OK(husk_sandbox_load(lab.sandbox, wanted, lab.imports, &lab.err), lab.err);
}

static void snapshot(void *argument) {
    husk_image **place = argument;
    husk_image *image = NULL;
    if (lab.outcome.kind == HUSK_PENDING || lab.sandbox->is_poisoned ||
        lab.sandbox->start != SANDBOX_STARTED)
        return;
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &image, &lab.err), lab.err);
    husk_image_unref(*place);
    *place = image;
}

static void clone_and_swap(void *argument) {
    husk_sandbox *clone = NULL;
    (void)argument;
    if (lab.outcome.kind == HUSK_PENDING || lab.sandbox->is_poisoned ||
        lab.sandbox->start != SANDBOX_STARTED)
        return;
    CHECK_OK(husk_sandbox_clone(lab.sandbox, &clone, &lab.err), lab.err);
    husk_sandbox_free(lab.sandbox);
    lab.sandbox = clone;
}

static void bring_back(uint32_t round) {
    if (!is_quiet && draw(40) == 0)
        anywhere(snapshot, &images[1 + draw(IMAGES - 1)]);
    if (!is_quiet && draw(40) == 0)
        anywhere(clone_and_swap, NULL);
    if (!is_quiet && draw(10) == 0) {
        husk_image_unref(wanted);
        wanted = husk_image_ref(images[draw(IMAGES)]);
    }
    const uint32_t kind = is_quiet ? 3 : draw(60);
    anywhere(kind == 0   ? reload
             : kind == 1 ? renew
             : kind == 2 ? visit_other_module
                         : restore,
             NULL);
    lab.outcome = (struct husk_outcome)HUSK_OUTCOME_INIT;
    if (draw(3) == 0 || round < 20)
        compare(wanted, round);
}

/* ---- the tests ---- */

static uint64_t files_bytes(const void *shared) {
    (void)shared;
    return FILE_PAGES << 12;
}

static int state_new(void *shared, void **ret_state, struct husk_error *err) {
    (void)err;
    *ret_state = shared;
    return 0;
}

static void state_free(void *state) {
    (void)state;
}

static void open_lab(void) {
    static const husk_type i32 = HUSK_I32;
    static const struct husk_functype type = {&i32, 1, &i32, 1};
    static const struct import_group_ops ops = {.name = "files",
                                                .state_new = state_new,
                                                .state_free = state_free,
                                                .files_bytes = files_bytes,
                                                .shared_free = state_free};
    struct import_grouped_func func = {.type = &type, .fn = file};
    wat_lab_init(&lab);
    CHECK_OK(import_group_new(&ops, NULL, &func.group, &lab.err), lab.err);
    CHECK_OK(imports_func_grouped(lab.imports, "env", "file", &func, &lab.err), lab.err);
    import_group_unref(func.group);
    wat_lab_func(&lab, "host", "i>i", host, NULL);
    other = wat_image_with(lab.engine, other_module, WAT_WORKER);
}

static uint64_t faults_unknown(struct vcpu *vcpu) {
    (void)vcpu;
    return VCPU_FAULTS_UNKNOWN;
}

static void play(const char *text_of_module, bool is_counted, uint64_t seed) {
    static struct vcpu_ops ops;
    const char *text = getenv("HUSK_TEST_ROUNDS");
    uint32_t rounds = text != NULL ? (uint32_t)strtoul(text, NULL, 10) : 600;
    /* an emulated CPU compares 13 MiB slowly */
    if (text_of_module == large_module && getenv("HUSK_TEST_EMULATED") != NULL)
        rounds = rounds / 20 + 1;
    random_state = seed;
    park_state = ~seed;
    depth = 0;
    open_lab();
    ops = *lab.engine->vcpu_ops;
    if (!is_counted)
        ops.faults = faults_unknown;
    lab.engine->vcpu_ops = &ops;
    wat_lab_open(&lab, text_of_module, &sandbox_options);
    for (uint32_t i = 0; i < THREADS; i++)
        helper_start(&helpers[i]);
    helper_start(&writer);
    for (uint32_t i = 0; i < IMAGES; i++)
        images[i] = husk_image_ref(lab.image);
    wanted = husk_image_ref(lab.image);
    for (uint32_t round = 0; round < rounds; round++) {
        is_quiet = round / 100 % 2 == 1;
        request();
        bring_back(round);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        helper_stop(&helpers[i]);
    helper_stop(&writer);
    for (uint32_t i = 0; i < IMAGES; i++)
        husk_image_unref(images[i]);
    husk_image_unref(wanted);
    husk_image_unref(other);
    wat_lab_close(&lab);
}

static uint64_t seed_of(uint64_t seed) {
    const char *text = getenv("HUSK_TEST_SEED");
    return text != NULL ? strtoull(text, NULL, 10) : seed;
}

static void set_wish(uint32_t large_pages) {
    sandbox_options = (struct husk_sandbox_options)HUSK_SANDBOX_OPTIONS_INIT;
    sandbox_options.large_pages = large_pages;
}

TEST(everything_comes_back) {
    SKIP_WITHOUT_COMPILER();
    set_wish(HUSK_LARGE_PAGES_AUTO);
    play(module, true, seed_of(3));
}

TEST(everything_comes_back_where_faults_are_not_counted) {
    SKIP_WITHOUT_COMPILER();
    set_wish(HUSK_LARGE_PAGES_AUTO);
    play(module, false, seed_of(2));
}

TEST(everything_comes_back_to_large_pages) {
    SKIP_WITHOUT_COMPILER();
    set_wish(HUSK_LARGE_PAGES_AUTO);
    play(large_module, true, seed_of(4));
    set_wish(HUSK_LARGE_PAGES_ALWAYS);
    play(large_module, true, seed_of(5));
    play(large_module, false, seed_of(6));
    set_wish(HUSK_LARGE_PAGES_CONTENTS);
    play(large_module, true, seed_of(7));
}

/* Many calls in one entry, and bytes in and out, besides. */
TEST(batches_come_back_too) {
    SKIP_WITHOUT_COMPILER();
    set_wish(HUSK_LARGE_PAGES_AUTO);
    has_batches = true;
    play(module, true, seed_of(7));
}

TEST_MAIN()
