/*
 * tests/unit/stopwatch_test.c: durations by the CPU's counter agree with the clock, before and
 * after the counter's rate is known.
 */
#include "clock.h"
#include "harness.h"
#include "stopwatch.h"

static void sleep_ms(long count) {
    const struct timespec time = {.tv_nsec = count * 1000000};
    nanosleep(&time, NULL);
}

/* Measure a sleep with both; on a busy machine it may take long, but for both alike. */
static void expect_agreement(struct stopwatch *stopwatch) {
    const uint64_t before_ns = clock_ns(CLOCK_MONOTONIC);
    const struct stopwatch_start start = stopwatch_begin(stopwatch);
    const uint64_t begun_ns = clock_ns(CLOCK_MONOTONIC);
    sleep_ms(20);
    const uint64_t ending_ns = clock_ns(CLOCK_MONOTONIC);
    const uint64_t ns = stopwatch_end(start);
    const uint64_t after_ns = clock_ns(CLOCK_MONOTONIC);
    const uint64_t least = ending_ns - begun_ns, most = after_ns - before_ns;
    CHECK_MSG(ns >= least - least / 500 && ns <= most + most / 500,
              "%llu ns measured; the clock says %llu to %llu", (unsigned long long)ns,
              (unsigned long long)least, (unsigned long long)most);
}

TEST(it_agrees_with_the_clock_before_the_rate_is_known) {
    struct stopwatch stopwatch;
    stopwatch_init(&stopwatch);
    CHECK_EQ_U64(stopwatch_begin(&stopwatch).scale, 0);
    expect_agreement(&stopwatch);
}

TEST(it_agrees_with_the_clock_afterwards) {
    struct stopwatch stopwatch;
    stopwatch_init(&stopwatch);
    sleep_ms(20);
    CHECK_EQ_U64(stopwatch_begin(&stopwatch).scale, 0); /* learns it */
    if (!stopwatch.has_counter)
        SKIP("the CPU's counter has no constant rate");
    CHECK(stopwatch_begin(&stopwatch).scale != 0);
    expect_agreement(&stopwatch);
}

TEST(it_never_goes_back) {
    const struct stopwatch_start later = {.at = UINT64_MAX, .scale = 1ull << 31};
    CHECK_EQ_U64(stopwatch_end(later), 0);
}

TEST_MAIN()
