/*
 * tests/unit/compile_cache_clean_test.c: husk_cache_info(), husk_cache_clean() and
 * husk_cache_set_limit(), on folders with made-up files: the oldest go first, and foreign files
 * stay, whatever they look like.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache_files.h"
#include "cache_lab.h"
#include "harness.h"
#include "husk_compile.h"

#define DAY 86400

static struct husk_cache_info info_of(const struct cache_lab *lab) {
    struct husk_error err;
    struct husk_cache_info info = HUSK_CACHE_INFO_INIT;
    CHECK_OK(husk_cache_info(lab->folder, &info, &err), err);
    return info;
}

static struct husk_cache_cleaned clean(const struct cache_lab *lab,
                                       struct husk_cache_clean_options options) {
    struct husk_error err;
    struct husk_cache_cleaned cleaned = HUSK_CACHE_CLEANED_INIT;
    options.size = sizeof options;
    CHECK_OK(husk_cache_clean(lab->folder, &options, &cleaned, &err), err);
    return cleaned;
}

TEST(only_names_that_husk_makes_are_its_own) {
    char text[300];
    CHECK_EQ_I64(cache_kind_of(image_name('a')), CACHE_IMAGE);
    CHECK_EQ_I64(cache_kind_of(note_name('0')), CACHE_NOTE);
    snprintf(text, sizeof text, "%s.0123456789abcdef.tmp", image_name('a'));
    CHECK_EQ_I64(cache_kind_of(text), CACHE_LEFTOVER);
    CHECK(strlen(text) < CACHE_NAME_BYTES);
    snprintf(text, sizeof text, "%s.0123456789abcdef.tmp", note_name('a'));
    CHECK_EQ_I64(cache_kind_of(text), CACHE_LEFTOVER);
    static const char *const foreign[] = {
        "",       ".",           "..",
        "a.husk", "README",      "husk-cache.limit",
        ".husk",  "app.husk",    "husk-cache.count",
        ".seen",  "/etc/passwd", "husk-cache.count.0123456789abcdef.tmp"};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        CHECK_EQ_I64(cache_kind_of(foreign[i]), CACHE_FOREIGN);
    CHECK_EQ_I64(cache_kind_of(image_name('A')), CACHE_FOREIGN);
    CHECK_EQ_I64(cache_kind_of(image_name('g')), CACHE_FOREIGN);
    CHECK_EQ_I64(cache_kind_of(image_name('a') + 1), CACHE_FOREIGN);
    static const char *const suffixes[] = {"x",
                                           ".tmp",
                                           ".0123456789abcde.tmp",
                                           ".0123456789abcdef0.tmp",
                                           ".0123456789abcdef.tmp.tmp",
                                           ".0123456789abcdeF.tmp"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        snprintf(text, sizeof text, "%s%s", image_name('a'), suffixes[i]);
        CHECK_EQ_I64(cache_kind_of(text), CACHE_FOREIGN);
    }
    snprintf(text, sizeof text, "a%s", image_name('a'));
    CHECK_EQ_I64(cache_kind_of(text), CACHE_FOREIGN);
    snprintf(text, sizeof text, "%.32s.husk", image_name('a'));
    CHECK_EQ_I64(cache_kind_of(text), CACHE_FOREIGN);
}

TEST(a_folder_that_does_not_exist_is_empty) {
    struct husk_error err;
    struct husk_cache_info info = HUSK_CACHE_INFO_INIT;
    struct husk_cache_cleaned cleaned = HUSK_CACHE_CLEANED_INIT;
    CHECK_OK(husk_cache_info("/tmp/husk/no/such/folder", &info, &err), err);
    CHECK_EQ_U64(info.bytes, 0);
    CHECK_EQ_U64(info.limit_bytes, HUSK_CACHE_DEFAULT_LIMIT_BYTES);
    CHECK_OK(husk_cache_clean("/tmp/husk/no/such/folder", NULL, &cleaned, &err), err);
    CHECK_EQ_U64(cleaned.removed_count, 0);
    CHECK(access("/tmp/husk/no", F_OK) != 0);
    CHECK_STATUS(husk_cache_info("/dev/null", &info, &err), HUSK_E_SYS);
    CHECK_CONTAINS(err.message, "/dev/null");
    CHECK_STATUS(husk_cache_clean("/dev/null", NULL, NULL, &err), HUSK_E_SYS);
    CHECK_STATUS(husk_cache_set_limit("/dev/null/x", 1, &err), HUSK_E_SYS);
}

TEST(arguments_are_checked) {
    struct husk_error err;
    struct husk_cache_info info = {0};
    struct husk_cache_cleaned cleaned = {0};
    struct husk_cache_clean_options options = {.size = 3};
    CHECK_STATUS(husk_cache_info("/tmp", &info, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_cache_info("/tmp", NULL, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_cache_clean("/tmp", NULL, &cleaned, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_cache_clean("/tmp", &options, NULL, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_cache_list("/tmp", NULL, NULL, &err), HUSK_E_INVAL);
    info.size = sizeof info;
    static const char *const names[] = {NULL, ""};
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(husk_cache_info(names[i], &info, &err), HUSK_E_INVAL);
        CHECK_STATUS(husk_cache_clean(names[i], NULL, NULL, &err), HUSK_E_INVAL);
        CHECK_STATUS(husk_cache_set_limit(names[i], 1, &err), HUSK_E_INVAL);
    }
}

TEST(the_oldest_go_first) {
    struct cache_lab lab;
    cache_lab_open(&lab);
    for (char digit = '0'; digit <= '9'; digit++)
        cache_lab_file(&lab, digit % 2 == 0 ? image_name(digit) : note_name(digit), 16,
                       DAY * (digit - '0'));
    struct husk_cache_info info = info_of(&lab);
    CHECK_EQ_U64(info.bytes, 10 * 16384);
    CHECK_EQ_U64(info.images_count, 5);
    CHECK_EQ_U64(info.images_bytes, 5 * 16384);
    CHECK_EQ_U64(info.notes_count, 5);
    struct husk_cache_cleaned cleaned =
        clean(&lab, (struct husk_cache_clean_options){.to_bytes = 3 * 16384 + 100});
    CHECK_EQ_U64(cleaned.removed_count, 7);
    CHECK_EQ_U64(cleaned.removed_bytes, 7 * 16384);
    CHECK_EQ_U64(cleaned.left_count, 3);
    CHECK_EQ_U64(cleaned.left_bytes, 3 * 16384);
    CHECK_EQ_U64(cleaned.failed_count, 0);
    CHECK(cache_lab_has(&lab, image_name('0')));
    CHECK(cache_lab_has(&lab, note_name('1')));
    CHECK(cache_lab_has(&lab, image_name('2')));
    cleaned = clean(&lab, (struct husk_cache_clean_options){.to_bytes = HUSK_CACHE_UNLIMITED});
    CHECK_EQ_U64(cleaned.removed_count, 0);
    CHECK(!cache_lab_has(&lab, "husk-cache.count")); /* nothing was stored */
    cache_lab_close(&lab);
}

TEST(a_time_in_the_future_is_none) {
    struct cache_lab lab;
    cache_lab_open(&lab);
    cache_lab_file(&lab, image_name('1'), 16, 5 * DAY);
    cache_lab_file(&lab, image_name('2'), 16, -5 * DAY);
    cache_lab_file(&lab, image_name('3'), 16, 6 * DAY);
    (void)clean(&lab, (struct husk_cache_clean_options){.to_bytes = 2 * 16384});
    CHECK(!cache_lab_has(&lab, image_name('2')));
    CHECK_EQ_I64(cache_lab_count(&lab), 2);
    cache_lab_close(&lab);
}

TEST(by_age) {
    struct cache_lab lab;
    cache_lab_open(&lab);
    for (char digit = '1'; digit <= '5'; digit++)
        cache_lab_file(&lab, image_name(digit), 4, DAY * (digit - '0') - 100);
    struct husk_cache_clean_options options = {.to_bytes = HUSK_CACHE_UNLIMITED,
                                               .unused_seconds = 3 * DAY};
    CHECK_EQ_U64(clean(&lab, options).removed_count, 2);
    CHECK(cache_lab_has(&lab, image_name('3')));
    CHECK(!cache_lab_has(&lab, image_name('4')));
    options.unused_seconds = UINT64_MAX;
    CHECK_EQ_U64(clean(&lab, options).removed_count, 0);
    cache_lab_close(&lab);
}

/* Nothing here is Husk's. A folder with an image's name, and a link with one, are not either. */
TEST(foreign_files_stay) {
    struct cache_lab lab;
    char text[300];
    cache_lab_open(&lab);
    cache_lab_file(&lab, "app.husk", 16, 9 * DAY);
    cache_lab_file(&lab, "README", 16, 9 * DAY);
    cache_lab_file(&lab, image_name('A'), 16, 9 * DAY);
    snprintf(text, sizeof text, "%s.old", image_name('a'));
    cache_lab_file(&lab, text, 16, 9 * DAY);
    CHECK(mkdir(cache_lab_path(&lab, image_name('1')), 0700) == 0);
    CHECK(symlink("README", cache_lab_path(&lab, image_name('2'))) == 0);
    CHECK(symlink("/", cache_lab_path(&lab, image_name('3'))) == 0);
    CHECK(mkfifo(cache_lab_path(&lab, note_name('4')), 0600) == 0);
    CHECK(mkdir(cache_lab_path(&lab, "sub"), 0700) == 0);
    snprintf(text, sizeof text, "sub/%s", image_name('5'));
    cache_lab_file(&lab, text, 16, 9 * DAY);
    cache_lab_set_age(&lab, image_name('2'), 9 * DAY);
    CHECK_EQ_U64(info_of(&lab).bytes, 0);
    struct husk_cache_clean_options options = {.removes_all = true, .removes_unusable = true};
    CHECK_EQ_U64(clean(&lab, options).removed_count, 0);
    CHECK_EQ_I64(cache_lab_count(&lab), 9);
    CHECK(cache_lab_has(&lab, text));
    cache_lab_close(&lab);
}

TEST(unfinished_files_go_when_nobody_writes_them) {
    struct cache_lab lab;
    char old[300], young[300];
    cache_lab_open(&lab);
    snprintf(old, sizeof old, "%s.0123456789abcdef.tmp", image_name('a'));
    snprintf(young, sizeof young, "%s.0123456789abcdef.tmp", note_name('a'));
    cache_lab_file(&lab, old, 16, 2 * 3600);
    cache_lab_file(&lab, young, 16, 60);
    CHECK_EQ_U64(info_of(&lab).leftovers_count, 2);
    CHECK_EQ_U64(clean(&lab, (struct husk_cache_clean_options){.to_bytes = 1}).removed_count, 1);
    CHECK(cache_lab_has(&lab, young));
    CHECK_EQ_U64(clean(&lab, (struct husk_cache_clean_options){.removes_all = true}).removed_count,
                 1);
    cache_lab_close(&lab);
}

TEST(unusable_images_go_if_asked_for) {
    struct cache_lab lab;
    cache_lab_open(&lab);
    cache_lab_file(&lab, image_name('1'), 4, 0);
    cache_lab_file(&lab, image_name('2'), 0, 0);
    cache_lab_file(&lab, note_name('3'), 4, 0);
    struct husk_cache_clean_options options = {.to_bytes = HUSK_CACHE_UNLIMITED};
    CHECK_EQ_U64(clean(&lab, options).removed_count, 0);
    options.removes_unusable = true;
    CHECK_EQ_U64(clean(&lab, options).removed_count, 2);
    CHECK(cache_lab_has(&lab, note_name('3')));
    cache_lab_close(&lab);
}

TEST(the_limit_of_a_folder) {
    struct husk_error err;
    struct cache_lab lab;
    cache_lab_open(&lab);
    CHECK_EQ_U64(info_of(&lab).limit_bytes, HUSK_CACHE_DEFAULT_LIMIT_BYTES);
    static const uint64_t limits[] = {1, 4096, 10ull << 30, UINT64_MAX - 1, HUSK_CACHE_UNLIMITED};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        CHECK_OK(husk_cache_set_limit(lab.folder, limits[i], &err), err);
        CHECK_EQ_U64(info_of(&lab).limit_bytes, limits[i]);
    }
    CHECK_OK(husk_cache_set_limit(lab.folder, 0, &err), err);
    CHECK_EQ_U64(info_of(&lab).limit_bytes, HUSK_CACHE_DEFAULT_LIMIT_BYTES);
    CHECK_OK(husk_cache_set_limit(lab.folder, 0, &err), err);
    static const char *const texts[] = {"",     "0\n",  "-1\n",   "10",  "1 2\n",
                                        "1G\n", "\n",   "none",   "nil", "99999999999999999999\n",
                                        "+1\n", " 1\n", "none\nx"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        (void)unlink(cache_lab_path(&lab, "husk-cache.limit"));
        cache_lab_write(&lab, "husk-cache.limit", texts[i], strlen(texts[i]));
        CHECK_MSG(info_of(&lab).limit_bytes == HUSK_CACHE_DEFAULT_LIMIT_BYTES, "\"%s\"", texts[i]);
    }
    CHECK(unlink(cache_lab_path(&lab, "husk-cache.limit")) == 0);
    CHECK(symlink("/dev/zero", cache_lab_path(&lab, "husk-cache.limit")) == 0);
    CHECK_EQ_U64(info_of(&lab).limit_bytes, HUSK_CACHE_DEFAULT_LIMIT_BYTES);
    CHECK_STATUS(husk_cache_set_limit(lab.folder, 1, &err), HUSK_E_INVAL); /* never replaced */
    cache_lab_close(&lab);
}

TEST(a_limit_makes_a_folder) {
    struct husk_error err;
    struct cache_lab lab;
    struct husk_cache_info info = HUSK_CACHE_INFO_INIT;
    char deep[128];
    cache_lab_open(&lab);
    snprintf(deep, sizeof deep, "%s/a/b", lab.folder);
    CHECK_OK(husk_cache_set_limit(deep, 0, &err), err);
    CHECK(access(deep, F_OK) != 0);
    CHECK_OK(husk_cache_set_limit(deep, 12345, &err), err);
    CHECK_OK(husk_cache_info(deep, &info, &err), err);
    CHECK_EQ_U64(info.limit_bytes, 12345);
    cache_lab_close(&lab);
}

/* Nothing happens up to the limit; above it, nine tenths are left. */
TEST(cleaning_to_the_limit) {
    struct husk_error err;
    struct cache_lab lab;
    cache_lab_open(&lab);
    for (char digit = '0'; digit <= '9'; digit++)
        cache_lab_file(&lab, image_name(digit), 16, DAY * (digit - '0'));
    CHECK_OK(husk_cache_set_limit(lab.folder, 10 * 16384, &err), err);
    CHECK_OK(husk_cache_clean(lab.folder, NULL, NULL, &err), err);
    CHECK_EQ_I64(cache_lab_count(&lab), 10);
    CHECK_OK(husk_cache_set_limit(lab.folder, 10 * 16384 - 1, &err), err);
    CHECK_OK(husk_cache_clean(lab.folder, NULL, NULL, &err), err);
    CHECK_EQ_I64(cache_lab_count(&lab), 9);
    CHECK(!cache_lab_has(&lab, image_name('9')));
    CHECK_EQ_U64(clean(&lab, (struct husk_cache_clean_options){.limit_bytes = 50000}).left_count,
                 2); /* 45,000 bytes */
    cache_lab_close(&lab);
}

TEST(what_cannot_be_removed_is_reported) {
    struct cache_lab lab;
    cache_lab_open(&lab);
    if (mount("none", lab.folder, "tmpfs", 0, "size=1m") != 0) {
        cache_lab_close(&lab);
        SKIP("needs the right to mount a tmpfs");
    }
    cache_lab_file(&lab, image_name('1'), 16, DAY);
    cache_lab_file(&lab, image_name('2'), 16, DAY);
    CHECK(mount(NULL, lab.folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    struct husk_cache_cleaned cleaned =
        clean(&lab, (struct husk_cache_clean_options){.removes_all = true});
    CHECK(umount(lab.folder) == 0);
    CHECK_EQ_U64(cleaned.failed_count, 2);
    CHECK_EQ_U64(cleaned.left_count, 2);
    CHECK_EQ_U64(cleaned.removed_count, 0);
    CHECK_EQ_I64(cleaned.failure.status, HUSK_E_SYS);
    CHECK_CONTAINS(cleaned.failure.message, "Read-only file system");
    cache_lab_close(&lab);
}

TEST_MAIN()
