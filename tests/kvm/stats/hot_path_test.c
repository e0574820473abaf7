/*
 * tests/kvm/stats/hot_path_test.c: what a call and a restore do between an exit and the next entry,
 * in numbers that do not depend on time: entries of the guest, system calls, page faults, and pages
 * of the host that are touched. The limits hold on every kind of KVM.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "layout.h"
#include "traced.h"
#include "wat.h"

/* Requests that are counted; before them, as many as pages need to leave the hot set, and as a
 * thread needs after a fault until its own count of faults is tried again. */
#define COUNTED 16u
#define WARMING 48u

#define PAGES_MAX 256

#define LOOP(name, word)                                                                           \
    " (func (export \"" name "\") (param $pages i32) (local $at i32)"                              \
    "  (loop $next (i32.store (local.get $at) (i32.const " word "))"                               \
    "   (local.set $at (i32.add (local.get $at) (i32.const 4096)))"                                \
    "   (br_if $next (i32.lt_u (local.get $at) (i32.mul (local.get $pages) (i32.const 4096))))))"
static const char module[] =
    "(module (memory 16) (func (export \"empty\"))" LOOP("fill", "1") LOOP("write", "2") ")";

/* A kind of request: a call, and perhaps a restore after it. */
struct request {
    int32_t pages; /* that the call writes; 0: an empty function */
    bool is_restored;
    struct wat_lab lab;
    husk_image *snapshot;
    husk_func func;
};

/* ---- in the child ---- */

static void require(bool is_true, const struct request *request) {
    if (is_true)
        return;
    printf("the child: %s %s\n", request->lab.err.message, request->lab.outcome.message);
    fflush(stdout);
    _exit(1);
}

static void call_make(struct request *request, husk_func func, int32_t pages) {
    struct wat_lab *lab = &request->lab;
    const struct husk_value arg = value_i32(pages);
    const struct husk_call call = {
        .size = sizeof call, .func = func, .args = &arg, .args_count = pages == 0 ? 0 : 1};
    require(husk_call(lab->sandbox, &call, &lab->outcome, &lab->err) == 0 &&
                lab->outcome.kind == HUSK_RETURNED,
            request);
}

static void request_make(struct request *request) {
    struct wat_lab *lab = &request->lab;
    call_make(request, request->func, request->pages);
    if (request->is_restored)
        require(husk_sandbox_restore(lab->sandbox, request->snapshot, &lab->err) == 0, request);
}

/* A snapshot of memory without a page of zeros, which has no original to read. */
static void request_open(struct request *request) {
    struct wat_lab *lab = &request->lab;
    husk_func fill;
    wat_lab_init(lab);
    wat_lab_open(lab, module, NULL);
    lab->outcome = (struct husk_outcome)HUSK_OUTCOME_INIT;
    require(husk_image_func(lab->image, "fill", 0, &fill, &lab->err) == 0, request);
    call_make(request, fill, PAGES_MAX);
    require(husk_sandbox_snapshot(lab->sandbox, &request->snapshot, &lab->err) == 0 &&
                husk_image_func(request->snapshot, request->pages == 0 ? "empty" : "write", 0,
                                &request->func, &lab->err) == 0,
            request);
}

static void requests_make(void *user) {
    struct request *request = user;
    request_open(request);
    traced_begin(); /* their first use may take a page fault, which sends the restore another way */
    traced_end();
    for (uint32_t i = 0; i < WARMING; i++)
        request_make(request);
    traced_begin();
    for (uint32_t i = 0; i < COUNTED; i++)
        request_make(request);
    traced_end();
}

/* ---- what is counted ---- */

/* What is known of a pretended request: one system call, and so many pages. */
#define KNOWN_PAGES 50

static void known_make(void *user) {
    static uint8_t known[KNOWN_PAGES * HUSK_PAGE_SIZE];
    (void)user;
    memset(known, 1, sizeof known);
    traced_begin();
    for (uint32_t i = 0; i < COUNTED; i++) {
        traced_run_pretend();
        for (size_t at = 0; at < sizeof known; at += HUSK_PAGE_SIZE)
            *(volatile uint8_t *)&known[at];
        getpid();
    }
    traced_end();
}

static void skip_unless_counted(void) {
    if (HARNESS_SANITIZED)
        SKIP("a sanitizer has system calls and pages of its own");
}

TEST(the_counts_are_true) {
    struct traced_counts counts;
    skip_unless_counted();
    const char *missing = traced_run(known_make, NULL, &counts);
    if (missing != NULL)
        SKIP("%s", missing);
    CHECK_EQ_U64(counts.runs, COUNTED);
    CHECK_EQ_U64(counts.calls, 1);
    CHECK_STR(counts.call_names, " 39"); /* getpid() */
    CHECK_MSG(counts.pages >= KNOWN_PAGES && counts.pages <= KNOWN_PAGES + 20,
              "%u pages were touched, not %u and a few", counts.pages, KNOWN_PAGES);
}

struct limits {
    uint32_t calls, clocks;
    uint32_t pages; /* as measured, and a few, as the linker puts things elsewhere */
};

/* The kernel may move a page at any time, which is a fault for this process and the guest. Then
 * another try counts. */
#define TRIES 3u

static void count(const struct request *request, struct traced_counts *ret_counts) {
    const char *missing = NULL;
    for (uint32_t i = 0; i < TRIES && missing == NULL && (i == 0 || ret_counts->faults != 0); i++) {
        struct request fresh = *request;
        missing = traced_run(requests_make, &fresh, ret_counts);
    }
    if (missing != NULL)
        SKIP("%s", missing);
}

static void check(struct request request, struct limits limits) {
    struct traced_counts counts;
    SKIP_WITHOUT_COMPILER();
    skip_unless_counted();
    count(&request, &counts);
    printf("%s%d pages written: %u runs in %u requests; in each %u system calls (numbers:%s), %u "
           "clocks, %u pages\n",
           request.is_restored ? "restore, " : "", request.pages, counts.runs, COUNTED,
           counts.calls, counts.call_names, counts.clocks, counts.pages);
    CHECK_EQ_U64(counts.runs, COUNTED);
    CHECK_EQ_U64(counts.faults, 0);
    CHECK_MSG(counts.calls <= limits.calls, "%u system calls, at most %u may be:%s", counts.calls,
              limits.calls, counts.call_names);
    CHECK_MSG(counts.clocks <= limits.clocks, "%u clocks are read, at most %u may be",
              counts.clocks, limits.clocks);
    CHECK_MSG(counts.pages <= limits.pages, "%u pages, at most %u may be", counts.pages,
              limits.pages);
}

TEST(an_empty_call) {
    check((struct request){.pages = 0}, (struct limits){.pages = 28});
}

/* The one system call asks how many faults the guest took. */
TEST(a_restore_of_no_page) {
    check((struct request){.is_restored = true}, (struct limits){1, 0, 34});
}

TEST(a_restore_of_16_pages) {
    check((struct request){.pages = 16, .is_restored = true}, (struct limits){1, 0, 68});
}

TEST(a_restore_of_256_pages) {
    check((struct request){.pages = 256, .is_restored = true}, (struct limits){1, 0, 550});
}

TEST_MAIN()
