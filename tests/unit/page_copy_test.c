/*
 * tests/unit/page_copy_test.c: each way to make a page equal to its source finds and reports every
 * byte that differs.
 */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "layout.h"
#include "page_copy.h"

struct pages {
    _Alignas(HUSK_PAGE_SIZE) uint8_t before[HUSK_PAGE_SIZE], page[HUSK_PAGE_SIZE],
        after[HUSK_PAGE_SIZE], source[HUSK_PAGE_SIZE];
};
static struct pages pages;

static void fill(uint8_t *bytes, uint32_t seed) {
    for (size_t i = 0; i < HUSK_PAGE_SIZE; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(seed >> 24);
    }
}

/* source NULL: zeros. */
static void expect(page_copy_fn copy, const uint8_t *source, bool differs, size_t at) {
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    const struct page_pair pair = {pages.page, source}, next = {pages.after, NULL};
    CHECK_MSG(copy(pair, next) == differs, "byte %zu: it says %d", at, !differs);
    CHECK_MEM(pages.page, source != NULL ? source : zeros, HUSK_PAGE_SIZE);
    CHECK(!copy(pair, pair));
}

static void check_one(page_copy_fn copy, const uint8_t *source) {
    struct pages *p = &pages;
    expect(copy, source, memcmp(p->page, source != NULL ? source : p->before, HUSK_PAGE_SIZE) != 0,
           0);
    for (size_t at = 0; at < HUSK_PAGE_SIZE; at++) { /* one bit of one byte */
        p->page[at] ^= (uint8_t)(1u << at % 8);
        expect(copy, source, true, at);
    }
    fill(p->page, 7); /* everything */
    expect(copy, source, true, 0);
    for (size_t step = 2; step < HUSK_PAGE_SIZE; step *= 2) { /* some of it */
        for (size_t at = step - 1; at < HUSK_PAGE_SIZE; at += step)
            p->page[at] ^= 0x80;
        expect(copy, source, true, step);
    }
}

static void check_way(page_copy_fn copy) {
    struct pages *p = &pages;
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    uint8_t kept[HUSK_PAGE_SIZE];
    memset(p, 0, sizeof *p);
    fill(p->source, 3);
    memcpy(kept, p->source, sizeof kept);
    check_one(copy, p->source);
    check_one(copy, NULL);
    CHECK_MEM(p->before, zeros, sizeof zeros); /* and nothing beside it */
    CHECK_MEM(p->after, zeros, sizeof zeros);
    CHECK_MEM(p->source, kept, sizeof kept);
}

TEST(sse2_finds_every_byte) {
    check_way(page_copy_sse2);
}

TEST(avx2_finds_every_byte) {
    if (!__builtin_cpu_supports("avx2"))
        SKIP("the CPU has no AVX2");
    check_way(page_copy_avx2);
}

TEST(the_best_one_is_one_that_runs) {
    check_way(page_copy_best());
}

TEST_MAIN()
