/*
 * tests/kvm/snapshots/restore_threads_test.c: a restore does not depend on the thread. Calls and
 * restores move between threads that take page faults of their own, and memory is not searched for
 * written pages. Whatever the library writes itself, on any thread, comes back all the same.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "harness.h"
#include "layout.h"
#include "literals.h"
#include "wat.h"

#define MEMORY_PAGES 4096 /* of wasm: 256 MiB */
#define MEMORY_BYTES ((int32_t)MEMORY_PAGES * HUSK_WASM_PAGE_SIZE)
#define REQUEST_PAGES 16
#define ROUNDS 1000u

static const char module[] =
    "(module (import \"env\" \"host\" (func $host (result i32)))"
    " (func (export \"call_host\") (result i32) (call $host))"
    " (memory (export \"memory\") 4096) (global (export \"global\") (mut i32) (i32.const 7))"
    " (table (export \"table\") 8 funcref)"
    " (func (export \"read\") (param $bytes i32) (result i32) (local $at i32) (local $sum i32)"
    "  (loop $next (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))"
    "   (local.set $at (i32.add (local.get $at) (i32.const 4096)))"
    "   (br_if $next (i32.lt_u (local.get $at) (local.get $bytes)))) (local.get $sum))"
    " (func (export \"write\") (param $pages i32) (result i32) (local $i i32)"
    "  (loop $next (i32.store (i32.mul (local.get $i) (i32.const 1048576)) (i32.const 4711))"
    "   (local.set $i (i32.add (local.get $i) (i32.const 1)))"
    "   (br_if $next (i32.lt_u (local.get $i) (local.get $pages)))) (local.get $pages))"
    " (func (export \"many\") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (local.get 7))"
    " (func (export \"load\") (param i32) (result i32) (i32.load (local.get 0))))";

/* Page faults of the calling thread that have nothing to do with the guest. */
static void take_faults(void) {
    const size_t bytes = 64 * HUSK_PAGE_SIZE;
    uint8_t *fresh = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(fresh != MAP_FAILED);
    memset(fresh, 1, bytes);
    munmap(fresh, bytes);
}

static uint64_t searches(const struct wat_lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    CHECK_EQ_I64(husk_engine_stats(lab->engine, &stats), 0);
    return stats.memory_searches;
}

static void *on_thread(void *step) {
    take_faults();
    (*(void (**)(void))step)();
    return NULL;
}

static struct wat_lab lab;
static husk_image *snapshot;

/* Each step has a thread of its own. */
static void elsewhere(void (*step)(void)) {
    pthread_t thread;
    CHECK_EQ_I64(pthread_create(&thread, NULL, on_thread, &step), 0);
    pthread_join(thread, NULL);
}

static void request(void) {
    CHECK_EQ_I64(wat_call_i32(&lab, "write", REQUEST_PAGES), REQUEST_PAGES);
}

static void restore(void) {
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
}

static bool is_host_writing;

/* Keeps a span of many pages over a call of the guest, and writes to it then. */
static int host(husk_caller *caller, void *user, const struct husk_value *args,
                struct husk_value *results) {
    (void)user, (void)args, (void)results;
    uint8_t *span = husk_caller_span(caller, RANGE(.addr = 60 << 20, .count = 1 << 20));
    CHECK(span != NULL);
    struct husk_value arg = {.type = HUSK_I32}, result;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    CHECK_EQ_I64(husk_call(husk_caller_sandbox(caller),
                           CALL(.name = "load", .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1),
                           &outcome, NULL),
                 0);
    if (is_host_writing)
        span[500000] = 1;
    return 0;
}

static void open_and_snapshot(void) {
    static const husk_type i32 = HUSK_I32;
    static const struct husk_functype type = {.results = &i32, .results_count = 1};
    const struct husk_host_func row = {.module = "env", .name = "host", .type = &type, .fn = host};
    wat_lab_init(&lab);
    CHECK_OK(husk_imports_funcs(lab.imports, &row, 1, &lab.err), lab.err);
    wat_lab_open(&lab, module, NULL);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
}

static void close_all(void) {
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* Does the hypervisor count the guest's faults? All kernels from Linux 5.19 on do. The first
 * requests take faults of their own: the snapshot's pages, and small pages in place of large
 * ones. */
static bool is_counted(void) {
    for (int i = 0; i < 4; i++) {
        request();
        restore();
    }
    const uint64_t before = searches(&lab);
    elsewhere(request);
    restore();
    return searches(&lab) == before;
}

TEST(no_search_from_changing_threads_that_allocate) {
    SKIP_WITHOUT_COMPILER();
    open_and_snapshot();
    CHECK_EQ_I64(wat_call_i32(&lab, "read", MEMORY_BYTES), 0);
    if (!is_counted())
        SKIP("this hypervisor does not count the guest's page faults");
    const char *text = getenv("HUSK_TEST_ROUNDS"); /* 10 on Bochs */
    const unsigned long wanted = text != NULL ? strtoul(text, NULL, 10) : ROUNDS;
    const uint32_t rounds = wanted < ROUNDS ? (uint32_t)wanted : ROUNDS;
    const uint64_t before = searches(&lab);
    for (uint32_t i = 0; i < rounds; i++) {
        elsewhere(request);
        CHECK_EQ_I64(wat_call_i32(&lab, "load", 15 << 20), 4711);
        elsewhere(restore);
        CHECK_EQ_I64(wat_call_i32(&lab, "load", 15 << 20), 0);
    }
    CHECK_EQ_U64(searches(&lab), before);
    /* a page that is new is found, by a search */
    CHECK_EQ_I64(wat_call_i32(&lab, "write", REQUEST_PAGES + 1), REQUEST_PAGES + 1);
    elsewhere(restore);
    CHECK_EQ_U64(searches(&lab), before + 1);
    CHECK_EQ_I64(wat_call_i32(&lab, "load", REQUEST_PAGES << 20), 0);
    close_all();
}

/* ---- what the library writes ---- */

static void write_memory(void) {
    const uint8_t byte = 99;
    CHECK_OK(husk_memory_write(lab.sandbox, RANGE(.addr = 40 << 20, .count = 1), &byte, &lab.err),
             lab.err);
}

static void write_much_memory(void) {
    const size_t bytes = 1 << 20;
    uint8_t *ones = malloc(bytes);
    CHECK(ones != NULL);
    memset(ones, 1, bytes);
    CHECK_OK(
        husk_memory_write(lab.sandbox, RANGE(.addr = 50 << 20, .count = bytes), ones, &lab.err),
        lab.err);
    free(ones);
}

static void set_global(void) {
    const struct husk_value value = {.type = HUSK_I32, .of.i32 = 8};
    CHECK_OK(husk_global_set(lab.sandbox, "global", 0, &value, &lab.err), lab.err);
}

static void call_with_arguments(void) {
    struct husk_value args[8], result;
    for (int i = 0; i < 8; i++)
        args[i] = (struct husk_value){.type = HUSK_I32, .of.i32 = i};
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.name = "many", .args = args, .args_count = 8, .results = &result,
                            .results_count = 1),
                       &lab.outcome, &lab.err),
             lab.err);
}

static void call_the_host(void) {
    struct husk_value result;
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.name = "call_host", .results = &result, .results_count = 1),
                       &lab.outcome, &lab.err),
             lab.err);
}

/* Read by the host: a guest that reads a page takes a fault, and the next restore would search. */
static void check_zeros(uint64_t addr, size_t count) {
    static uint8_t bytes[1 << 20];
    CHECK_OK(husk_memory_read(lab.sandbox, RANGE(.addr = addr, .count = count), bytes, &lab.err),
             lab.err);
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            CHECK_MSG(false, "byte %zu from %llu on is %u", i, (unsigned long long)addr, bytes[i]);
}

static void check_fresh(void) {
    struct husk_value value;
    check_zeros(40 << 20, 1);
    check_zeros(50 << 20, 1 << 20);
    check_zeros(60 << 20, 1 << 20);
    CHECK_OK(husk_global_get(lab.sandbox, "global", 0, &value, &lab.err), lab.err);
    CHECK_EQ_I64(value.of.i32, 7);
}

/* Long enough between two writes of one place for its pages to leave the hot set. */
TEST(what_the_library_writes_comes_back) {
    SKIP_WITHOUT_COMPILER();
    static void (*const writes[])(void) = {write_memory, write_much_memory, set_global,
                                           call_with_arguments, call_the_host};
    open_and_snapshot();
    for (int round = 0; round < 78; round++) {
        /* keeps what a call needs in the hot set: the one that writes takes no fault for it */
        is_host_writing = false;
        call_the_host();
        is_host_writing = true;
        if (round % 13 < 5)
            elsewhere(writes[(round + round / 13) % 5]);
        if (round % 13 == 3)
            write_memory();
        if (round % 26 == 6)
            call_the_host(); /* on this thread, which takes no faults in between */
        if (round % 2 == 0)
            elsewhere(restore);
        else
            restore();
        check_fresh();
    }
    close_all();
}

TEST_MAIN()
