/*
 * tests/kvm/snapshots/standing_entries_test.c: how often the guest is entered by a call that a
 * snapshot brought. It costs no entry to bring it, and the host call that is made again costs none:
 * a request takes one entry less than a call of the same function that makes the host call.
 */
#include <stdio.h>

#include "entries.h"
#include "harness.h"
#include "pending_lab.h"

/* "twice" calls env.ask two times: an entry begins it, and each answer is one more. */
enum { WHOLE = 3, REQUESTS = 20 };

static uint64_t entries_of_call(struct pending_lab *lab) {
    int32_t result;
    CHECK_OK(husk_sandbox_restore(lab->wat.sandbox, lab->wat.image, &lab->wat.err), lab->wat.err);
    entries_count(lab->wat.sandbox);
    CHECK_OK(pending_call(lab, "twice", 4, NULL, &result), lab->wat.err);
    CHECK_EQ_I64(result, 40 + 50);
    return entries_made;
}

TEST(a_host_call_that_is_made_again_is_no_entry) {
    SKIP_WITHOUT_COMPILER();
    struct pending_lab lab;
    husk_image *snapshot = NULL;
    int32_t result;
    pending_lab_open(&lab, NULL);
    husk_sandbox *sandbox = lab.wat.sandbox;
    CHECK_OK(pending_call(&lab, "twice", 4, NULL, &result), lab.wat.err);
    pending_check(&lab, 4);
    CHECK_OK(husk_sandbox_snapshot(sandbox, &snapshot, &lab.wat.err), lab.wat.err);
    lab.has_answer = true;
    CHECK_EQ_U64(entries_of_call(&lab), WHOLE);
    for (int i = 0; i < REQUESTS; i++) {
        entries_count(sandbox);
        CHECK_OK(husk_sandbox_restore(sandbox, snapshot, &lab.wat.err), lab.wat.err);
        CHECK_EQ_U64(entries_made, 0);
        CHECK_EQ_I64(wat_again(&lab.wat, sandbox, HUSK_RETURNED), 40 + 50);
        CHECK_EQ_U64(entries_made, WHOLE - 1);
    }
    husk_image_unref(snapshot);
    pending_lab_close(&lab);
}

TEST_MAIN()
