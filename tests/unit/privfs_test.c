/* A private layer: empty ones, names, large directories, keys that meet, inodes that are gone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "privfs_lab.h"

static struct privfs_lab lab;

TEST(the_hash_is_siphash_2_4) {
    /* The vectors of its authors: key 00 … 0f; input 00 01 02 …, of 0, 8 and 15 bytes. */
    const uint64_t secret[2] = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
    uint8_t input[15];
    for (uint8_t i = 0; i < sizeof input; i++)
        input[i] = i;
    CHECK_EQ_U64(key_siphash(secret, input, 0), 0x726fdb47dd0e0e31ull);
    CHECK_EQ_U64(key_siphash(secret, input, 8), 0x93f5f5799a932462ull);
    CHECK_EQ_U64(key_siphash(secret, input, 15), 0xa129ca6149be45e5ull);
}

TEST(zeros_are_an_empty_layer) {
    static _Alignas(8) const uint8_t zeros[8192];
    const char *what;
    uint64_t offset;
    struct privfs fs = {.base = (uint8_t *)(uintptr_t)zeros, .covered_bytes = sizeof zeros};
    struct privfs_stat stat;
    struct privfs_usage usage;
    CHECK_EQ_I64(privfs_check(zeros, sizeof zeros, &what, &offset), 0);
    CHECK_EQ_I64(privfs_check(zeros, 0, &what, &offset), 0);
    CHECK_EQ_I64(privfs_stat(&fs, (struct privfs_id){1, 0}, &stat), -EBADF);
    privfs_usage(&fs, &usage);
    CHECK_EQ_U64(usage.bytes + usage.entries + usage.end_bytes, 0);
}

TEST(without_a_region_nothing_can_be_made) {
    struct privfs fs = {.limit_bytes = 1 << 20};
    const uint64_t secret[2] = {1, 2};
    struct privfs_id id;
    privfs_set_secret(&fs, secret);
    CHECK_EQ_I64(privfs_root(&fs, 0, &id), -ENOSPC);
    CHECK_EQ_I64(privfs_root(&fs, PRIVFS_ROOTS_MAX, &id), -EINVAL);
    CHECK(privfs_key_of(&fs, "a", 1) >= 16);
}

TEST(roots_stay_and_differ) {
    struct privfs_id id, again, parent;
    char lower[PRIVFS_TARGET_MAX_BYTES + 1] = "?";
    privfs_lab_open(&lab, 1 << 20);
    CHECK_EQ_I64(privfs_find_root(&lab.fs, PRIVFS_ROOTS_MAX - 1, &id), -ENOENT);
    CHECK_EQ_I64(privfs_find_root(&lab.fs, PRIVFS_ROOTS_MAX, &id), -EINVAL);
    CHECK_EQ_I64(privfs_root(&lab.fs, PRIVFS_ROOTS_MAX - 1, &id), 0);
    CHECK_EQ_I64(privfs_find_root(&lab.fs, PRIVFS_ROOTS_MAX - 1, &again), 0);
    CHECK_EQ_U64(again.ino, id.ino);
    CHECK_EQ_I64(privfs_root(&lab.fs, PRIVFS_ROOTS_MAX - 1, &again), 0);
    CHECK(id.ino == again.ino && id.ino != lab.root.ino);
    CHECK_EQ_I64(privfs_parent(&lab.fs, id, &parent), 0);
    CHECK_EQ_U64(parent.ino, id.ino);
    CHECK_EQ_I64(privfs_lower(&lab.fs, id, lower), 0);
    CHECK_STR(lower, "");
    CHECK(privfs_lab_fault(&lab) == NULL);
    privfs_lab_close(&lab);
}

TEST(a_secret_is_set_once_and_orders_names) {
    const uint64_t secret[2] = {1, 2}, other[2] = {3, 4};
    privfs_lab_open(&lab, 1 << 20);
    const uint64_t without = privfs_key_of(&lab.fs, "name", 4);
    privfs_set_secret(&lab.fs, secret); /* too late */
    CHECK_EQ_U64(privfs_key_of(&lab.fs, "name", 4), without);
    memset(lab.fs.base, 0, SPACE_PAGE_BYTES);
    privfs_set_secret(&lab.fs, secret);
    const uint64_t with = privfs_key_of(&lab.fs, "name", 4);
    privfs_set_secret(&lab.fs, other);
    CHECK(with != without && with == privfs_key_of(&lab.fs, "name", 4));
    privfs_lab_close(&lab);
}

TEST(names_that_cannot_be) {
    static const char *const bad[] = {"", ".", "..", "a/b", "/"};
    char name[257];
    struct privfs_id id;
    struct privfs_entry entry;
    privfs_lab_open(&lab, 1 << 20);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const size_t bytes = strlen(bad[i]);
        CHECK_EQ_I64(privfs_create(&lab.fs, lab.root, bad[i], bytes, PRIVFS_FILE, &id), -EINVAL);
        CHECK_EQ_I64(privfs_lookup(&lab.fs, lab.root, bad[i], bytes, &entry), -EINVAL);
        CHECK_EQ_I64(privfs_hide(&lab.fs, lab.root, bad[i], bytes), -EINVAL);
    }
    memset(name, 'x', sizeof name);
    CHECK_EQ_I64(privfs_create(&lab.fs, lab.root, "a\0b", 3, PRIVFS_FILE, &id), -EINVAL);
    CHECK_EQ_I64(privfs_create(&lab.fs, lab.root, name, 256, PRIVFS_FILE, &id), -ENAMETOOLONG);
    CHECK_EQ_I64(privfs_create(&lab.fs, lab.root, name, 255, PRIVFS_WHITEOUT, &id), -EINVAL);
    CHECK_EQ_I64(privfs_create(&lab.fs, lab.root, name, 255, PRIVFS_FILE, &id), 0);
    CHECK_EQ_I64(privfs_create(&lab.fs, lab.root, "...", 3, PRIVFS_FILE, &id), 0);
    CHECK_EQ_I64(privfs_create(&lab.fs, id, "x", 1, PRIVFS_FILE, &id), -ENOTDIR);
    CHECK(privfs_lab_fault(&lab) == NULL);
    privfs_lab_close(&lab);
}

#define MANY 100000u

static size_t many_name(char *name, uint32_t i) {
    return (size_t)snprintf(name, 32, "entry-%u.txt", i);
}

static uint32_t count_after(struct privfs_id dir, uint64_t key) {
    char name[PRIVFS_NAME_MAX_BYTES + 1];
    struct privfs_entry entry;
    size_t bytes;
    uint32_t count = 0;
    for (; privfs_next(&lab.fs, dir, key, &entry, name, &bytes) == 0; count++)
        key = entry.key;
    return count;
}

/* Every third entry goes, then all others, in another order than they came. */
static void remove_many(struct privfs_id dir, uint64_t middle_key, uint32_t behind_middle) {
    char name[32];
    uint32_t gone_behind = 0;
    for (uint32_t i = 0; i < MANY; i += 3) {
        const size_t bytes = many_name(name, i);
        struct privfs_entry entry;
        CHECK_EQ_I64(privfs_lookup(&lab.fs, dir, name, bytes, &entry), 0);
        gone_behind += entry.key > middle_key;
        CHECK_EQ_I64(privfs_lab_remove(&lab, dir, name), 0);
    }
    CHECK_EQ_U64(count_after(dir, middle_key), behind_middle - gone_behind);
    CHECK(privfs_lab_fault(&lab) == NULL);
    for (uint32_t i = MANY; i-- > 0;) {
        many_name(name, i);
        CHECK_EQ_I64(privfs_lab_remove(&lab, dir, name), i % 3 == 0 ? -ENOENT : 0);
    }
}

TEST(a_directory_with_many_entries) {
    char name[PRIVFS_NAME_MAX_BYTES + 1];
    struct privfs_entry entry = {0};
    size_t bytes;
    privfs_lab_open(&lab, 64 << 20);
    const struct privfs_id dir = privfs_lab_make(&lab, lab.root, "many", PRIVFS_DIR);
    for (uint32_t i = 0; i < MANY; i++) {
        many_name(name, i);
        privfs_lab_make(&lab, dir, name, PRIVFS_FILE);
    }
    CHECK_EQ_U64(privfs_lab_stat(&lab, dir).entries, MANY);
    CHECK_EQ_U64(privfs_lab_usage(&lab).entries, MANY + 1);
    CHECK(inode_at(&lab.fs, dir.ino)->dir_height >= 3);
    CHECK(privfs_lab_fault(&lab) == NULL);
    CHECK_EQ_U64(count_after(dir, 0), MANY);
    const uint64_t middle_key = 1ull << 62;
    const uint32_t behind_middle = count_after(dir, middle_key);
    CHECK(behind_middle > MANY / 3 && behind_middle < 2 * MANY / 3);
    remove_many(dir, middle_key, behind_middle);
    CHECK_EQ_I64(privfs_next(&lab.fs, dir, 0, &entry, name, &bytes), -ENOENT);
    CHECK_EQ_I64(privfs_next(&lab.fs, dir, UINT64_MAX, &entry, name, &bytes), -ENOENT);
    CHECK_EQ_U64(inode_at(&lab.fs, dir.ino)->dir_height, 0);
    /* Pages with inodes stay. */
    CHECK(privfs_lab_usage(&lab).bytes < (MANY / INODES_PER_PAGE + 20) * SPACE_PAGE_BYTES);
    CHECK(privfs_lab_fault(&lab) == NULL);
    privfs_lab_close(&lab);
}

/* A record whose key is not that of its name. */
static void force_record(const char *name, uint64_t key) {
    struct inode *dir = inode_at(&lab.fs, lab.root.ino);
    const struct record record = {key, 0, PRIVFS_WHITEOUT, (uint8_t)strlen(name)};
    struct tree_path path;
    tree_seek(&lab.fs, dir, key, &path);
    CHECK_EQ_I64(space_reserve(&lab.fs, tree_need(&lab.fs, &path, record.name_bytes)), 0);
    tree_insert(&lab.fs, dir, &path, &record, name);
    dir->entries++;
    dir->whiteouts++;
    space_super(&lab.fs)->entries++;
}

TEST(keys_that_meet) {
    struct privfs_entry entry;
    struct privfs_id id;
    char other[] = "other0";
    privfs_lab_open(&lab, 1 << 20);
    const uint64_t key = privfs_key_of(&lab.fs, "name", 4);
    CHECK_EQ_U64(key % TREE_KEY_PROBES, 0);
    for (uint32_t i = 0; i < TREE_KEY_PROBES - 1; i++) {
        other[5] = (char)('0' + i);
        force_record(other, key + i + (i >= 3)); /* one is free */
    }
    privfs_lab_make(&lab, lab.root, "name", PRIVFS_FILE);
    CHECK_EQ_I64(privfs_lookup(&lab.fs, lab.root, "name", 4, &entry), 0);
    CHECK_EQ_U64(entry.key, key + 3);
    CHECK_EQ_I64(privfs_lab_remove(&lab, lab.root, "name"), 0);
    CHECK_EQ_I64(privfs_lookup(&lab.fs, lab.root, "name", 4, &entry), -ENOENT);
    force_record("last", key + 3);
    CHECK_EQ_I64(privfs_create(&lab.fs, lab.root, "name", 4, PRIVFS_FILE, &id), -ENOSPC);
    CHECK_STR(privfs_lab_fault(&lab), "a name at a wrong place");
    privfs_lab_close(&lab);
}

TEST(an_id_names_one_file_for_ever) {
    privfs_lab_open(&lab, 1 << 20);
    const struct privfs_id old = privfs_lab_make(&lab, lab.root, "a", PRIVFS_FILE);
    CHECK_EQ_I64(privfs_lab_remove(&lab, lab.root, "a"), 0);
    struct privfs_id new = privfs_lab_make(&lab, lab.root, "a", PRIVFS_FILE);
    struct privfs_stat stat;
    CHECK(new.ino == old.ino &&new.generation == old.generation + 1);
    CHECK_EQ_I64(privfs_stat(&lab.fs, old, &stat), -EBADF);
    /* At the end of its generations, an inode is not given again. */
    inode_at(&lab.fs, new.ino)->generation = UINT32_MAX - 1;
    CHECK_EQ_I64(privfs_lab_remove(&lab, lab.root, "a"), 0);
    CHECK(privfs_lab_fault(&lab) == NULL);
    new = privfs_lab_make(&lab, lab.root, "a", PRIVFS_FILE);
    CHECK(new.ino != old.ino);
    CHECK(privfs_lab_fault(&lab) == NULL);
    privfs_lab_close(&lab);
}

TEST(what_is_open_without_a_name_stays_until_released) {
    const struct privfs_removal open = {.is_open = true};
    struct privfs_id parent;
    struct privfs_stat stat;
    char byte = 0;
    privfs_lab_open(&lab, 1 << 20);
    const struct privfs_id file = privfs_lab_make(&lab, lab.root, "file", PRIVFS_FILE);
    const struct privfs_id dir = privfs_lab_make(&lab, lab.root, "dir", PRIVFS_DIR);
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 0, "x", 1), 1);
    privfs_release(&lab.fs, file); /* it has a name */
    CHECK_EQ_I64(privfs_remove(&lab.fs, lab.root, "file", 4, open), 0);
    CHECK_EQ_I64(privfs_remove(&lab.fs, lab.root, "dir", 3, open), 0);
    CHECK_EQ_U64(privfs_lab_usage(&lab).entries, 2);
    CHECK_EQ_I64(privfs_read(&lab.fs, file, 0, &byte, 1), 1);
    CHECK_EQ_U64(privfs_lab_stat(&lab, file).links, 0);
    CHECK_EQ_I64(privfs_link(&lab.fs, file, lab.root, "again", 5), -ENOENT);
    CHECK_EQ_I64(privfs_create(&lab.fs, dir, "x", 1, PRIVFS_FILE, &parent), -ENOENT);
    CHECK_EQ_I64(privfs_parent(&lab.fs, dir, &parent), -ENOENT);
    CHECK(privfs_lab_fault(&lab) == NULL);
    privfs_release(&lab.fs, file);
    privfs_release(&lab.fs, dir);
    privfs_release(&lab.fs, dir);
    CHECK_EQ_I64(privfs_stat(&lab.fs, file, &stat), -EBADF);
    CHECK_EQ_U64(privfs_lab_usage(&lab).entries, 0);
    CHECK(privfs_lab_fault(&lab) == NULL);
    privfs_lab_close(&lab);
}

TEST(a_directory_cannot_come_below_itself) {
    struct privfs_place from = {lab.root, "top", 3}, to = {.name = "x", .name_bytes = 1};
    const struct privfs_removal how = {false, false};
    char name[16];
    privfs_lab_open(&lab, 8 << 20);
    const struct privfs_id top = privfs_lab_make(&lab, lab.root, "top", PRIVFS_DIR);
    struct privfs_id deep = top;
    for (uint32_t i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%u", i);
        deep = privfs_lab_make(&lab, deep, name, PRIVFS_DIR);
    }
    from.dir = lab.root;
    to.dir = deep;
    CHECK_EQ_I64(privfs_rename(&lab.fs, &from, &to, how), -EINVAL);
    to.dir = top;
    CHECK_EQ_I64(privfs_rename(&lab.fs, &from, &to, how), -EINVAL);
    /* Over a directory above. */
    from = (struct privfs_place){top, "0", 1};
    to = (struct privfs_place){lab.root, "top", 3};
    CHECK_EQ_I64(privfs_rename(&lab.fs, &from, &to, how), -ENOTEMPTY);
    CHECK(privfs_lab_fault(&lab) == NULL);
    privfs_lab_close(&lab);
}

TEST(a_directory_of_whiteouts_is_removed_with_them) {
    char name[PRIVFS_NAME_MAX_BYTES];
    memset(name, 'x', sizeof name);
    privfs_lab_open(&lab, 4 << 20);
    const struct privfs_id dir = privfs_lab_make(&lab, lab.root, "dir", PRIVFS_DIR);
    const uint64_t before = privfs_lab_usage(&lab).bytes;
    for (uint32_t i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "%04u", i);
        name[4] = 'x';
        CHECK_EQ_I64(privfs_hide(&lab.fs, dir, name, sizeof name), 0);
    }
    CHECK(inode_at(&lab.fs, dir.ino)->dir_height == 2);
    CHECK_EQ_I64(privfs_lab_remove(&lab, lab.root, "dir"), 0);
    CHECK(privfs_lab_usage(&lab).bytes < before && privfs_lab_usage(&lab).entries == 0);
    CHECK(privfs_lab_fault(&lab) == NULL);
    privfs_lab_close(&lab);
}

TEST(links_have_a_limit) {
    char name[16];
    privfs_lab_open(&lab, 32 << 20);
    const struct privfs_id file = privfs_lab_make(&lab, lab.root, "file", PRIVFS_FILE);
    int status = 0;
    for (uint32_t i = 0; i < 70000 && status == 0; i++) {
        const int bytes = snprintf(name, sizeof name, "%u", i);
        status = privfs_link(&lab.fs, file, lab.root, name, (size_t)bytes);
    }
    CHECK_EQ_I64(status, -EMLINK);
    CHECK_EQ_I64(privfs_link(&lab.fs, lab.root, lab.root, "dir", 3), -EPERM);
    CHECK(privfs_lab_fault(&lab) == NULL);
    privfs_lab_close(&lab);
}

TEST_MAIN()
