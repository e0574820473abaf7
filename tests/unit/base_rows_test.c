/* Searching in sorted rows: none, one, ends, between, equal keys, keys of both widths. */
#include "rows.h"

#include "harness.h"

struct wide_row {
    uint32_t other;
    uint64_t key;
};

struct narrow_row {
    uint8_t other[8];
    uint32_t key;
};

static void check_wide(const struct wide_row *rows, uint32_t count, uint64_t key, uint32_t below,
                       uint32_t up_to) {
    const struct wide_row *last = rows_last_up_to(ROWS(rows, count, key), key);
    CHECK_EQ_U64(rows_below(ROWS(rows, count, key), key), below);
    CHECK_EQ_U64(rows_up_to(ROWS(rows, count, key), key), up_to);
    CHECK(last == (up_to == 0 ? NULL : &rows[up_to - 1]));
}

TEST(no_rows) {
    check_wide(NULL, 0, 0, 0, 0);
    check_wide(NULL, 0, UINT64_MAX, 0, 0);
}

TEST(one_row) {
    static const struct wide_row row = {.key = 5};
    check_wide(&row, 1, 4, 0, 0);
    check_wide(&row, 1, 5, 0, 1);
    check_wide(&row, 1, 6, 1, 1);
}

TEST(ends_and_between) {
    static const struct wide_row rows[] = {
        {.key = 0}, {.key = 10}, {.key = 20}, {.key = 1ull << 32}, {.key = UINT64_MAX}};
    check_wide(rows, 5, 0, 0, 1);
    check_wide(rows, 5, 9, 1, 1);
    check_wide(rows, 5, 10, 1, 2);
    check_wide(rows, 5, 11, 2, 2);
    check_wide(rows, 5, 20, 2, 3);
    check_wide(rows, 5, 1ull << 32, 3, 4);
    check_wide(rows, 5, UINT64_MAX - 1, 4, 4);
    check_wide(rows, 5, UINT64_MAX, 4, 5);
    check_wide(rows, 4, UINT64_MAX, 4, 4); /* the last row is not one of these */
    check_wide(rows + 1, 4, 9, 0, 0);
}

TEST(equal_keys) {
    static const struct wide_row rows[] = {
        {.key = 1}, {.key = 7}, {.key = 7}, {.key = 7}, {.key = 9}};
    check_wide(rows, 5, 7, 1, 4);
    check_wide(rows + 1, 3, 7, 0, 3);
    check_wide(rows + 1, 3, 6, 0, 0);
    check_wide(rows + 1, 3, 8, 3, 3);
}

/* All counts and keys, against counting. Keys: 2, 4, 4, 6, 8, 8, … */
TEST(narrow_keys_against_counting) {
    struct narrow_row rows[20];
    for (uint32_t i = 0; i < 20; i++)
        rows[i] = (struct narrow_row){.other = {0xff, 0xff}, .key = 2 * (i + 1 - (i + 1) / 3)};
    for (uint32_t count = 0; count <= 20; count++) {
        for (uint64_t key = 0; key < 40; key++) {
            uint32_t below = 0, up_to = 0;
            for (uint32_t i = 0; i < count; i++) {
                below += rows[i].key < key;
                up_to += rows[i].key <= key;
            }
            CHECK_EQ_U64(rows_below(ROWS(rows, count, key), key), below);
            CHECK_EQ_U64(rows_up_to(ROWS(rows, count, key), key), up_to);
        }
        CHECK_EQ_U64(rows_below(ROWS(rows, count, key), 1ull << 32), count); /* wider than a key */
    }
}

TEST_MAIN()
