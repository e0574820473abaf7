/*
 * tests/unit/wasi_given_test.c: what the embedder gives a guest for a request besides streams
 * (wasi_given.h): arguments, environment, a fixed clock, a seed.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "harness.h"
#include "wasi_abi.h"
#include "wasi_guest.h"

#define COUNT 0x80u    /* the result of poll_oneoff */
#define DATA 0x1000u   /* strings; subscriptions */
#define EVENTS 0x8000u /* of poll_oneoff */

static uint64_t time_of(struct wasi_guest *guest, uint32_t clock) {
    CHECK_EQ_U64(WASI_CALL(guest, clock_time_get, clock, 0, 64), 0);
    return wasi_guest_u64(guest, 64);
}

static int give(struct wasi_guest *guest, const struct husk_wasi_request *request,
                struct husk_error *err) {
    struct wasi_given given;
    int status = wasi_given_init(&given, request, err);
    if (status == 0)
        wasi_ctx_give(&guest->ctx, &given);
    return status;
}

static void restore(struct wasi_guest *guest, const struct buf *saved) {
    struct husk_error err;
    const uint8_t *bytes = saved != NULL ? saved->data : NULL;
    const size_t count = saved != NULL ? saved->count : 0;
    CHECK_OK(wasi_state_check(&guest->ctx, bytes, count, &err), err);
    wasi_state_load(&guest->ctx, bytes, count);
}

/* ---- Arguments, environment, seed ---- */

static void check_strings(struct wasi_guest *guest, bool is_env, const char *first) {
    CHECK_EQ_U64(is_env ? WASI_CALL(guest, environ_sizes_get, 0, 4)
                        : WASI_CALL(guest, args_sizes_get, 0, 4),
                 0);
    CHECK_EQ_U64(wasi_guest_u32(guest, 0), first != NULL);
    CHECK_EQ_U64(
        is_env ? WASI_CALL(guest, environ_get, 16, DATA) : WASI_CALL(guest, args_get, 16, DATA), 0);
    if (first != NULL)
        CHECK_STR((const char *)guest->memory + DATA, first);
}

TEST(arguments_and_environment_are_replaced_apart) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct wasi_guest guest;
    struct husk_error err;
    const char *const strings[] = {"first", "second=2", NULL};
    options.args = options.env = strings;
    options.args_count = options.env_count = 1;
    wasi_guest_init(&guest, &options);
    check_strings(&guest, false, "first");
    request.args = strings + 1;
    request.args_count = 1;
    CHECK_OK(give(&guest, &request, &err), err);
    check_strings(&guest, false, "second=2");
    check_strings(&guest, true, "first");
    request = (struct husk_wasi_request)HUSK_WASI_REQUEST_INIT;
    request.env = strings;
    CHECK_OK(give(&guest, &request, &err), err);
    restore(&guest, NULL);
    check_strings(&guest, false, "second=2");
    check_strings(&guest, true, NULL);
    wasi_guest_done(&guest);
}

static uint64_t random_of(struct wasi_guest *guest) {
    CHECK_EQ_U64(WASI_CALL(guest, random_get, 64, 8), 0);
    return wasi_guest_u64(guest, 64);
}

TEST(a_seed_begins_its_sequence_at_each_restore) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct wasi_guest guest;
    struct husk_error err;
    struct buf saved = {0};
    uint64_t seed = 42;
    options.random_seed = 7;
    request.random_seed = &seed;
    wasi_guest_init(&guest, &options);
    (void)random_of(&guest);
    CHECK_OK(wasi_state_save(&guest.ctx, &saved, &err), err);
    const uint64_t second_of_7 = random_of(&guest);
    CHECK_OK(give(&guest, &request, &err), err);
    const uint64_t first_of_42 = random_of(&guest);
    CHECK(first_of_42 != random_of(&guest));
    restore(&guest, &saved);
    CHECK_EQ_U64(random_of(&guest), first_of_42);
    restore(&guest, NULL);
    CHECK_EQ_U64(random_of(&guest), first_of_42);
    seed = 0;
    CHECK_OK(give(&guest, &request, &err), err);
    restore(&guest, &saved);
    const uint64_t one = random_of(&guest);
    CHECK(one != second_of_7 && one != random_of(&guest));
    buf_done(&saved);
    wasi_guest_done(&guest);
}

/* ---- The clock ---- */

static void give_clock(struct wasi_guest *guest, uint64_t realtime_ns, uint64_t step_ns) {
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct husk_wasi_clock clock = HUSK_WASI_CLOCK_INIT;
    struct husk_error err;
    clock.kind = HUSK_WASI_CLOCK_FIXED;
    clock.realtime_ns = realtime_ns;
    clock.step_ns = step_ns;
    request.clock = &clock;
    CHECK_OK(give(guest, &request, &err), err);
    restore(guest, NULL);
}

TEST(a_fixed_clock_moves_by_its_step) {
    struct wasi_guest guest;
    wasi_guest_init(&guest, NULL);
    give_clock(&guest, 1000000, 10);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_REALTIME), 1000000);
        CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_MONOTONIC), 10);
        CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_PROCESS_CPUTIME), 20);
        CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_REALTIME), 1000030);
        CHECK_EQ_U64(WASI_CALL(&guest, clock_time_get, 4, 0, 64), WASI_EINVAL);
        CHECK_EQ_U64(WASI_CALL(&guest, clock_res_get, WASI_CLOCK_MONOTONIC, 64), 0);
        CHECK_EQ_U64(wasi_guest_u64(&guest, 64), 10);
        restore(&guest, NULL);
    }
    give_clock(&guest, 5, 0); /* it stands still */
    CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_REALTIME), 5);
    CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_REALTIME), 5);
    CHECK_EQ_U64(WASI_CALL(&guest, clock_res_get, WASI_CLOCK_REALTIME, 64), 0);
    CHECK_EQ_U64(wasi_guest_u64(&guest, 64), 1);
    give_clock(&guest, INT64_MAX - 1, INT64_MAX); /* and ends */
    CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_REALTIME), INT64_MAX - 1);
    CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_REALTIME), INT64_MAX);
    CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_REALTIME), INT64_MAX);
    wasi_guest_done(&guest);
}

/* Between the host's clock and a fixed one, and through a snapshot. */
TEST(no_clock_of_an_instance_goes_back) {
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct husk_wasi_clock clock = HUSK_WASI_CLOCK_INIT;
    struct wasi_guest guest;
    struct husk_error err;
    struct buf saved = {0};
    wasi_guest_init(&guest, NULL);
    usleep(2000);
    const uint64_t before = time_of(&guest, WASI_CLOCK_MONOTONIC);
    clock.kind = HUSK_WASI_CLOCK_FIXED;
    clock.step_ns = 5;
    request.clock = &clock;
    CHECK_OK(give(&guest, &request, &err), err);
    const uint64_t fixed = time_of(&guest, WASI_CLOCK_MONOTONIC);
    CHECK(fixed >= before);
    CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_PROCESS_CPUTIME), fixed + 5);
    CHECK_OK(wasi_state_save(&guest.ctx, &saved, &err), err);
    clock = (struct husk_wasi_clock)HUSK_WASI_CLOCK_INIT;
    CHECK_OK(give(&guest, &request, &err), err);
    CHECK(time_of(&guest, WASI_CLOCK_MONOTONIC) >= fixed + 10);
    CHECK(time_of(&guest, WASI_CLOCK_PROCESS_CPUTIME) >= fixed + 10);
    CHECK(time_of(&guest, WASI_CLOCK_REALTIME) > 1000000000000000000u);
    restore(&guest, &saved);
    const uint64_t real = time_of(&guest, WASI_CLOCK_MONOTONIC);
    CHECK(real >= fixed + 10 && real < fixed + 60000000000u);
    buf_done(&saved);
    wasi_guest_done(&guest);
}

/* ---- poll_oneoff ---- */

static uint32_t poll_count(struct wasi_guest *guest, uint32_t subs) {
    CHECK_EQ_U64(WASI_CALL(guest, poll_oneoff, DATA, EVENTS, subs, COUNT), 0);
    return wasi_guest_u32(guest, COUNT);
}

TEST(a_sleep_takes_no_time_with_a_fixed_clock) {
    const uint64_t hour_ns = 3600u * CLOCK_NS_PER_SECOND;
    struct husk_wasi_stream in = HUSK_WASI_STREAM_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct wasi_guest guest;
    struct husk_error err;
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    wasi_guest_init(&guest, NULL);
    give_clock(&guest, 0, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        wasi_guest_clock_sub(&guest, DATA, 2 * hour_ns);
        wasi_guest_clock_sub(&guest, DATA + 48, hour_ns);
        CHECK_EQ_U64(poll_count(&guest, 2), 1);
        CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_MONOTONIC), i * hour_ns);
        CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_REALTIME), i * hour_ns);
    }
    /* a pipe knows nothing of that clock */
    in.kind = HUSK_WASI_DESCRIPTOR;
    in.fd = pipes[0];
    in.rights = HUSK_WASI_READ;
    request.stdin_stream = &in;
    CHECK_OK(give(&guest, &request, &err), err);
    wasi_guest_clock_sub(&guest, DATA, 20000000);
    wasi_guest_fd_sub(&guest, DATA + 48, WASI_EVENT_FD_READ, 0);
    const uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);
    CHECK_EQ_U64(poll_count(&guest, 2), 1);
    CHECK(clock_ns(CLOCK_MONOTONIC) - begin_ns >= 20000000);
    CHECK_EQ_U64(time_of(&guest, WASI_CLOCK_MONOTONIC), 3 * hour_ns + 20000000);
    /* beyond the clock's end it is a wait like another, which a deadline ends */
    guest.cut_after_ms = 20;
    wasi_guest_clock_sub(&guest, DATA, INT64_MAX);
    CHECK_EQ_U64(WASI_CALL(&guest, poll_oneoff, DATA, EVENTS, 1, COUNT), WASI_EINTR);
    close(pipes[0]);
    close(pipes[1]);
    wasi_guest_done(&guest);
}

TEST_MAIN()
