/* A private layer: contents, pages, limits, and how many pages an operation writes. */
#include <errno.h>
#include <stdlib.h>

#include "privfs_lab.h"

static struct privfs_lab lab;

static struct privfs_id open_with_file(uint64_t region_bytes) {
    privfs_lab_open(&lab, region_bytes);
    return privfs_lab_make(&lab, lab.root, "file", PRIVFS_FILE);
}

static void close_checked(void) {
    const char *fault = privfs_lab_fault(&lab);
    CHECK_MSG(fault == NULL, "%s", fault);
    privfs_lab_close(&lab);
}

TEST(what_a_file_grows_over_reads_as_zeros) {
    static const uint64_t ends[] = {10, 184, 185, 4096, 5000, 45 * 4096, 45 * 4096 + 1, 1ull << 30};
    uint8_t bytes[300], zeros[300] = {0}, got[300];
    memset(bytes, 0xff, sizeof bytes);
    const struct privfs_id file = open_with_file(4 << 20);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        const uint64_t from = ends[i] > 250 ? ends[i] - 250 : 0;
        CHECK_EQ_I64(privfs_write(&lab.fs, file, from, bytes, ends[i] - from),
                     (int64_t)(ends[i] - from));
        CHECK_EQ_I64(privfs_resize(&lab.fs, file, from + 5), 0);
        CHECK(privfs_lab_fault(&lab) == NULL);
        CHECK_EQ_I64(privfs_resize(&lab.fs, file, from + 305), 0);
        CHECK_EQ_I64(privfs_read(&lab.fs, file, from + 5, got, 400), 300);
        CHECK_MEM(got, zeros, sizeof zeros);
        CHECK_EQ_I64(privfs_resize(&lab.fs, file, 0), 0);
    }
    CHECK_EQ_I64(privfs_read(&lab.fs, file, 0, got, 10), 0);
    close_checked();
}

TEST(a_page_that_is_used_again_shows_nothing_old) {
    static uint8_t bytes[8192], got[8192];
    memset(bytes, 0xff, sizeof bytes);
    const struct privfs_id file = open_with_file(1 << 20);
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 0, bytes, sizeof bytes), sizeof bytes);
    CHECK_EQ_I64(privfs_lab_remove(&lab, lab.root, "file"), 0);
    const struct privfs_id other = privfs_lab_make(&lab, lab.root, "other", PRIVFS_FILE);
    CHECK_EQ_I64(privfs_write(&lab.fs, other, 4196, "x", 1), 1);
    CHECK_EQ_I64(privfs_allocate(&lab.fs, other, 0, sizeof bytes), 0);
    memset(bytes, 0, sizeof bytes);
    bytes[4196] = 'x';
    CHECK_EQ_I64(privfs_read(&lab.fs, other, 0, got, sizeof got), sizeof got);
    CHECK_MEM(got, bytes, sizeof bytes);
    close_checked();
}

TEST(holes_have_no_pages) {
    const struct privfs_id file = open_with_file(1 << 20);
    const uint64_t before = privfs_lab_usage(&lab).bytes;
    CHECK_EQ_I64(privfs_resize(&lab.fs, file, PRIVFS_FILE_MAX_BYTES), 0);
    CHECK_EQ_U64(privfs_lab_usage(&lab).bytes, before);
    /* One block, and the index pages above it. */
    CHECK_EQ_I64(privfs_write(&lab.fs, file, PRIVFS_FILE_MAX_BYTES - 1, "xy", 2), 1);
    CHECK_EQ_U64(privfs_lab_usage(&lab).bytes, before + 4 * SPACE_PAGE_BYTES);
    CHECK_EQ_I64(privfs_resize(&lab.fs, file, PRIVFS_FILE_MAX_BYTES - 1), 0);
    CHECK_EQ_I64(privfs_resize(&lab.fs, file, 1ull << 39), 0);
    CHECK_EQ_U64(privfs_lab_usage(&lab).bytes, before);
    close_checked();
}

TEST(files_have_an_end) {
    const struct privfs_id file = open_with_file(1 << 20);
    CHECK_EQ_I64(privfs_write(&lab.fs, file, PRIVFS_FILE_MAX_BYTES, "x", 1), -EFBIG);
    CHECK_EQ_I64(privfs_write(&lab.fs, file, UINT64_MAX, "xy", 2), -EFBIG);
    CHECK_EQ_I64(privfs_write(&lab.fs, file, UINT64_MAX, "", 0), 0);
    CHECK_EQ_I64(privfs_resize(&lab.fs, file, PRIVFS_FILE_MAX_BYTES + 1), -EFBIG);
    CHECK_EQ_I64(privfs_allocate(&lab.fs, file, UINT64_MAX, 2), -EFBIG);
    CHECK_EQ_I64(privfs_allocate(&lab.fs, file, 2, UINT64_MAX), -EFBIG);
    CHECK_EQ_I64(privfs_allocate(&lab.fs, file, 0, 0), -EINVAL);
    CHECK_EQ_I64(privfs_allocate(&lab.fs, file, 0, PRIVFS_FILE_MAX_BYTES), -ENOSPC);
    CHECK_EQ_U64(privfs_lab_stat(&lab, file).bytes, 0);
    close_checked();
}

TEST(contents_are_of_their_kind) {
    char text[PRIVFS_TARGET_MAX_BYTES + 2] = {0};
    const struct privfs_id file = open_with_file(1 << 20);
    const struct privfs_id link = privfs_lab_make(&lab, lab.root, "link", PRIVFS_SYMLINK);
    CHECK_EQ_I64(privfs_read(&lab.fs, lab.root, 0, text, 1), -EISDIR);
    CHECK_EQ_I64(privfs_write(&lab.fs, link, 0, text, 1), -EINVAL);
    CHECK_EQ_I64(privfs_target(&lab.fs, file, text, 1), -EINVAL);
    CHECK_EQ_I64(privfs_lower(&lab.fs, file, text), -ENOTDIR);
    CHECK_EQ_I64(privfs_set_target(&lab.fs, file, "x", 1), -EINVAL);
    CHECK_EQ_I64(privfs_set_target(&lab.fs, link, "a\0b", 3), -EINVAL);
    memset(text, 'x', sizeof text);
    CHECK_EQ_I64(privfs_set_target(&lab.fs, link, text, sizeof text), -ENAMETOOLONG);
    CHECK_EQ_I64(privfs_set_target(&lab.fs, link, text, PRIVFS_TARGET_MAX_BYTES), 0);
    CHECK_EQ_U64(privfs_lab_stat(&lab, link).bytes, PRIVFS_TARGET_MAX_BYTES);
    CHECK_EQ_I64(privfs_target(&lab.fs, link, text, 3), 3);
    CHECK_EQ_I64(privfs_set_lower(&lab.fs, lab.root, "a//b", 4), -EINVAL);
    CHECK_EQ_I64(privfs_set_lower(&lab.fs, lab.root, "/a", 2), -EINVAL);
    CHECK_EQ_I64(privfs_set_lower(&lab.fs, lab.root, "a/", 2), -EINVAL);
    CHECK_EQ_I64(privfs_set_lower(&lab.fs, lab.root, "a/../b", 6), -EINVAL);
    CHECK_EQ_I64(privfs_set_lower(&lab.fs, lab.root, "a/b", 3), 0);
    CHECK_EQ_I64(privfs_lower(&lab.fs, lab.root, text), 3);
    CHECK_STR(text, "a/b");
    close_checked();
}

TEST(low_pages_are_taken_first) {
    static uint8_t bytes[40 << 12];
    const struct privfs_id low = open_with_file(4 << 20);
    CHECK_EQ_I64(privfs_write(&lab.fs, low, 0, bytes, sizeof bytes), sizeof bytes);
    const struct privfs_id high = privfs_lab_make(&lab, lab.root, "high", PRIVFS_FILE);
    CHECK_EQ_I64(privfs_allocate(&lab.fs, high, 0, 1 << 20), 0);
    const uint64_t end_bytes = privfs_lab_usage(&lab).end_bytes;
    CHECK_EQ_I64(privfs_resize(&lab.fs, low, 0), 0);
    CHECK_EQ_I64(privfs_write(&lab.fs, low, 0, bytes, sizeof bytes), sizeof bytes);
    CHECK_EQ_U64(privfs_lab_usage(&lab).end_bytes, end_bytes);
    CHECK_EQ_I64(privfs_resize(&lab.fs, low, sizeof bytes - 1), 0);
    CHECK_EQ_I64(privfs_allocate(&lab.fs, low, sizeof bytes, 1), 0); /* behind all others */
    CHECK_EQ_U64(privfs_lab_usage(&lab).end_bytes, end_bytes + SPACE_PAGE_BYTES);
    close_checked();
}

/* A layer from a file may have blocks of nothing. */
TEST(blocks_without_a_page) {
    char path[1000];
    memset(path, 'x', sizeof path);
    privfs_lab_open(&lab, 1 << 20);
    const struct privfs_id link = privfs_lab_make(&lab, lab.root, "link", PRIVFS_SYMLINK);
    inode_at(&lab.fs, link.ino)->flags |= INODE_IN_BLOCKS;
    CHECK(privfs_lab_fault(&lab) == NULL);
    lab.fs.limit_bytes = privfs_lab_usage(&lab).bytes;
    CHECK_EQ_I64(privfs_set_target(&lab.fs, link, path, sizeof path), -ENOSPC);
    lab.fs.limit_bytes += SPACE_PAGE_BYTES;
    CHECK_EQ_I64(privfs_set_target(&lab.fs, link, path, sizeof path), 0);
    CHECK_EQ_I64(privfs_set_target(&lab.fs, link, path, sizeof path), 0);
    CHECK_EQ_U64(privfs_lab_usage(&lab).bytes, lab.fs.limit_bytes);
    close_checked();
}

TEST(a_full_layer_can_be_emptied) {
    static uint8_t bytes[1 << 20];
    const struct privfs_id file = open_with_file(1 << 20);
    lab.fs.limit_bytes = 100 << 10; /* less than what needs an index page */
    const struct privfs_usage before = privfs_lab_usage(&lab);
    const int64_t done = privfs_write(&lab.fs, file, 0, bytes, sizeof bytes);
    CHECK_EQ_I64(done, (int64_t)(lab.fs.limit_bytes - before.bytes));
    CHECK_EQ_U64(privfs_lab_usage(&lab).bytes, lab.fs.limit_bytes);
    CHECK_EQ_I64(privfs_write(&lab.fs, file, (uint64_t)done, bytes, 1), -ENOSPC);
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 10, bytes, 5000), 5000); /* in place */
    lab.fs.limit_bytes = 0;                                           /* even then */
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 10, bytes, 5000), 5000);
    CHECK_EQ_I64(privfs_lab_remove(&lab, lab.root, "file"), 0);
    const struct privfs_usage after = privfs_lab_usage(&lab);
    CHECK(after.bytes < before.bytes && after.entries == 0 && after.end_bytes <= before.end_bytes);
    close_checked();
}

TEST(the_limit_of_entries) {
    const struct privfs_removal hidden_and_open = {true, true}, hidden = {true, false};
    struct privfs_id id;
    const struct privfs_id file = open_with_file(1 << 20);
    lab.fs.limit_entries = 2;
    CHECK_EQ_I64(privfs_link(&lab.fs, file, lab.root, "link", 4), 0);
    CHECK_EQ_I64(privfs_create(&lab.fs, lab.root, "x", 1, PRIVFS_FILE, &id), -ENOSPC);
    CHECK_EQ_I64(privfs_hide(&lab.fs, lab.root, "x", 1), -ENOSPC);
    CHECK_EQ_I64(privfs_remove(&lab.fs, lab.root, "link", 4, hidden_and_open), 0);
    /* A whiteout, and the file without a name. */
    CHECK_EQ_I64(privfs_remove(&lab.fs, lab.root, "file", 4, hidden_and_open), -ENOSPC);
    CHECK_EQ_I64(privfs_create(&lab.fs, lab.root, "link", 4, PRIVFS_FILE, &id), 0);
    CHECK_EQ_I64(privfs_remove(&lab.fs, lab.root, "file", 4, hidden), 0);
    CHECK_EQ_U64(privfs_lab_usage(&lab).entries, 2);
    close_checked();
}

TEST(a_region_that_cannot_be_covered) {
    static uint8_t bytes[64 << 10];
    struct privfs_id id;
    const struct privfs_id file = open_with_file(1 << 20);
    const struct privfs_usage before = privfs_lab_usage(&lab);
    lab.cover_status = -ENOMEM;
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 0, bytes, sizeof bytes), -ENOMEM);
    CHECK_EQ_I64(privfs_allocate(&lab.fs, file, 0, sizeof bytes), -ENOMEM);
    CHECK_EQ_I64(privfs_set_lower(&lab.fs, lab.root, "a", 1), 0); /* needs no page */
    CHECK_EQ_U64(privfs_lab_stat(&lab, file).bytes, 0);
    CHECK_EQ_U64(privfs_lab_usage(&lab).bytes, before.bytes);
    lab.cover_status = 0;
    lab.fs.region_bytes = lab.fs.covered_bytes;
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 0, bytes, sizeof bytes), -ENOSPC);
    CHECK_EQ_I64(privfs_create(&lab.fs, lab.root, "x", 1, PRIVFS_FILE, &id), 0); /* has room */
    lab.fs.region_bytes = 1 << 20;
    close_checked();
}

TEST(more_pages_than_one_map_has) {
    static uint8_t bytes[1 << 20];
    const uint64_t file_bytes = 170ull << 20; /* a map stands for 128 MiB */
    const struct privfs_id file = open_with_file(256 << 20);
    const uint64_t before = privfs_lab_usage(&lab).end_bytes;
    for (uint64_t at = 0; at < file_bytes; at += sizeof bytes) {
        bytes[at >> 20] = 1;
        CHECK_EQ_I64(privfs_write(&lab.fs, file, at, bytes, sizeof bytes), sizeof bytes);
    }
    struct privfs_usage usage = privfs_lab_usage(&lab);
    CHECK_EQ_U64(usage.bytes, usage.end_bytes);
    CHECK(privfs_lab_fault(&lab) == NULL);
    /* The second map is not needed any more. */
    CHECK_EQ_I64(privfs_resize(&lab.fs, file, 100ull << 20), 0);
    CHECK(privfs_lab_usage(&lab).end_bytes <= 101ull << 20);
    CHECK(privfs_lab_fault(&lab) == NULL);
    CHECK_EQ_I64(privfs_allocate(&lab.fs, file, 0, file_bytes), 0);
    CHECK_EQ_U64(privfs_lab_usage(&lab).bytes, usage.bytes);
    CHECK(privfs_lab_fault(&lab) == NULL);
    CHECK_EQ_I64(privfs_resize(&lab.fs, file, 0), 0);
    CHECK(privfs_lab_usage(&lab).end_bytes <= before);
    close_checked();
}

TEST(a_map_page_needs_room_too) {
    const struct privfs_id file = open_with_file(256 << 20);
    const uint64_t group_bytes = (uint64_t)SPACE_GROUP_PAGES * SPACE_PAGE_BYTES;
    lab.fs.limit_bytes = group_bytes + SPACE_PAGE_BYTES; /* the map, and nothing for it to map */
    uint64_t bytes = group_bytes / 2;
    for (uint64_t step = bytes / 2; step >= SPACE_PAGE_BYTES; step /= 2)
        bytes += privfs_allocate(&lab.fs, file, 0, bytes + step) == 0 ? step : 0;
    while (privfs_allocate(&lab.fs, file, 0, bytes + SPACE_PAGE_BYTES) == 0)
        bytes += SPACE_PAGE_BYTES;
    CHECK_EQ_U64(privfs_lab_usage(&lab).end_bytes, group_bytes);
    CHECK(privfs_lab_fault(&lab) == NULL);
    lab.fs.limit_bytes += SPACE_PAGE_BYTES;
    CHECK_EQ_I64(privfs_allocate(&lab.fs, file, 0, bytes + SPACE_PAGE_BYTES), 0);
    CHECK_EQ_U64(privfs_lab_usage(&lab).bytes, lab.fs.limit_bytes);
    CHECK(privfs_lab_fault(&lab) == NULL);
    CHECK_EQ_I64(privfs_resize(&lab.fs, file, bytes), 0);
    CHECK_EQ_U64(privfs_lab_usage(&lab).end_bytes, group_bytes);
    close_checked();
}

static uint8_t *before_bytes;
static uint64_t before_count;

static void remember(void) {
    free(before_bytes);
    before_count = privfs_lab_usage(&lab).end_bytes;
    before_bytes = malloc(before_count);
    CHECK(before_bytes != NULL);
    memcpy(before_bytes, lab.fs.base, before_count);
    lab.fs.now_ns++;
}

static uint32_t written_pages(void) {
    uint32_t pages = 0;
    for (uint64_t at = 0; at < before_count; at += SPACE_PAGE_BYTES)
        pages += memcmp(before_bytes + at, lab.fs.base + at, SPACE_PAGE_BYTES) != 0;
    const uint64_t end_bytes = privfs_lab_usage(&lab).end_bytes;
    return pages + (end_bytes > before_count
                        ? (uint32_t)((end_bytes - before_count) / SPACE_PAGE_BYTES)
                        : 0);
}

/* A restore copies these pages back. */
TEST(few_pages_are_written) {
    static uint8_t bytes[1 << 20];
    memset(bytes, 7, sizeof bytes);
    privfs_lab_open(&lab, 32 << 20);
    for (char name[] = "a"; name[0] <= 'z'; name[0]++)
        privfs_lab_make(&lab, lab.root, name, PRIVFS_FILE);
    remember();
    struct privfs_id file = privfs_lab_make(&lab, lab.root, "file", PRIVFS_FILE);
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 0, bytes, 100), 100);
    CHECK(written_pages() <= 4);
    bytes[0]++;
    remember();
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 0, bytes, 100), 100);
    CHECK_EQ_U64(written_pages(), 1);
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 0, bytes, sizeof bytes), sizeof bytes);
    bytes[0]++;
    remember();
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 0, bytes, 4096), 4096);
    CHECK_EQ_U64(written_pages(), 2);
    remember();
    CHECK_EQ_I64(privfs_lab_remove(&lab, lab.root, "file"), 0);
    CHECK(written_pages() <= 5); /* however many pages it had */
    file = privfs_lab_make(&lab, lab.root, "file", PRIVFS_FILE);
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 0, bytes, 5000), 5000);
    remember();
    CHECK_EQ_I64(privfs_read(&lab.fs, file, 0, bytes, 5000), 5000);
    CHECK_EQ_U64(written_pages(), 0);
    free(before_bytes);
    before_bytes = NULL;
    close_checked();
}

TEST_MAIN()
