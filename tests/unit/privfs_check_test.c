/*
 * privfs_check(): a layer with something of everything passes. Then one thing in it is made wrong,
 * in each way that the check knows; it must be found, and named.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "privfs_lab.h"

static struct privfs_lab lab;
static struct privfs_id file, dir, below, removed, link_id, second_root;

static struct inode *of(struct privfs_id id) {
    return inode_at(&lab.fs, id.ino);
}

static struct super *super(void) {
    return space_super(&lab.fs);
}

static struct node *node(void) {
    return space_page(&lab.fs, of(lab.root)->dir_root);
}

static struct leaf *leaf(void) {
    return space_page(&lab.fs, node()->children[0]);
}

static struct record *record(void) {
    return (void *)leaf()->records;
}

/* The record of this name. */
static struct record *record_of(struct privfs_id in, const char *name) {
    struct tree_path path;
    const uint64_t key = privfs_key_of(&lab.fs, name, strlen(name));
    tree_seek(&lab.fs, of(in), key, &path);
    struct record *found = tree_record(&lab.fs, &path);
    CHECK(found != NULL && found->key == key);
    return found;
}

static void fill_root(void) {
    char name[16];
    for (uint32_t i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "n%u", i);
        privfs_lab_make(&lab, lab.root, name, PRIVFS_FILE);
    }
    privfs_lab_remove(&lab, lab.root, "n7");
    privfs_lab_remove(&lab, lab.root, "n8");
}

static void make_layer(void) {
    static uint8_t bytes[5000];
    char path[1000];
    const struct privfs_removal open = {.is_open = true};
    privfs_lab_open(&lab, 4 << 20);
    memset(bytes, 1, sizeof bytes);
    memset(path, 'p', sizeof path);
    CHECK_EQ_I64(privfs_root(&lab.fs, 1, &second_root), 0);
    file = privfs_lab_make(&lab, lab.root, "file", PRIVFS_FILE);
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 0, bytes, sizeof bytes), sizeof bytes);
    CHECK_EQ_I64(privfs_write(&lab.fs, file, 1ull << 28, bytes, sizeof bytes), sizeof bytes);
    dir = privfs_lab_make(&lab, lab.root, "dir", PRIVFS_DIR);
    below = privfs_lab_make(&lab, dir, "below", PRIVFS_DIR);
    link_id = privfs_lab_make(&lab, dir, "link", PRIVFS_SYMLINK);
    CHECK_EQ_I64(privfs_set_target(&lab.fs, link_id, path, sizeof path), 0);
    CHECK_EQ_I64(privfs_set_lower(&lab.fs, below, "lower/path", 10), 0);
    CHECK_EQ_I64(privfs_hide(&lab.fs, dir, "hidden", 6), 0);
    removed = privfs_lab_make(&lab, dir, "removed", PRIVFS_DIR);
    CHECK_EQ_I64(privfs_remove(&lab.fs, dir, "removed", 7, open), 0);
    fill_root();
    CHECK(of(lab.root)->dir_height == 2 && of(file)->blocks.height == 2);
    CHECK(privfs_lab_fault(&lab) == NULL);
}

static void other_version(void) {
    super()->version++;
}
static void too_many_pages(void) {
    super()->end = UINT32_MAX;
}
static void too_many_inodes(void) {
    super()->inodes_end = UINT32_MAX;
}
static void no_inodes(void) {
    super()->inodes_end = 0;
}
static void inode_page_missing(void) {
    super()->inodes.slots[1] = 0;
}
static void inode_page_elsewhere(void) {
    super()->inodes.slots[1] = super()->end;
}
static void inode_page_is_a_map(void) {
    super()->inodes.slots[1] = 1;
}
static void inode_pages_too_high(void) {
    super()->inodes.height = BLOCKS_HEIGHT_MAX + 1;
}
static void inode_page_beyond(void) {
    super()->inodes.slots[BLOCKS_SLOTS - 1] = 1;
}
static void inode_beyond(void) {
    (of(file) + (super()->inodes_end - file.ino) % INODES_PER_PAGE)->kind = PRIVFS_NONE;
    struct inode *last = inode_at(&lab.fs, super()->inodes_end - 1);
    CHECK(super()->inodes_end % INODES_PER_PAGE != 0);
    last[1].bytes = 1;
}
static void free_list_leads_out(void) {
    super()->free_ino = super()->inodes_end;
}
static void free_list_has_file(void) {
    super()->free_ino = file.ino;
}
static void free_list_is_a_circle(void) {
    inode_at(&lab.fs, super()->free_ino)->parent = super()->free_ino;
}
static void free_list_is_short(void) {
    super()->free_ino = 0;
}
static void free_inode_not_empty(void) {
    inode_at(&lab.fs, super()->free_ino)->links = 1;
}
static void unknown_kind(void) {
    of(file)->kind = PRIVFS_WHITEOUT;
}
static void unknown_flag(void) {
    of(file)->flags |= 4;
}
static void file_with_tree(void) {
    of(file)->dir_root = of(lab.root)->dir_root;
}
static void file_with_entries(void) {
    of(file)->entries = 1;
}
static void dir_with_contents(void) {
    of(dir)->bytes = 1;
}
static void removed_dir_with_parent(void) {
    of(removed)->parent = dir.ino;
}
static void size_inside(void) {
    of(below)->bytes = INODE_INSIDE_BYTES + 1;
}
static void size_of_file(void) {
    of(file)->bytes = PRIVFS_FILE_MAX_BYTES + 1;
}
static void size_too_short(void) {
    of(file)->bytes = 1 << 28;
}
static void blocks_too_high(void) {
    of(file)->blocks.height = UINT32_MAX;
}
static void tail_in_block(void) {
    of(file)->bytes -= 100;
}
static void tail_inside(void) {
    of(below)->inside[20] = 1;
}
static void block_twice(void) {
    uint32_t *index = space_page(&lab.fs, of(file)->blocks.slots[0]);
    index[1] = index[0];
}
static void root_page_twice(void) {
    of(dir)->dir_root = of(lab.root)->dir_root;
}
static void path_too_long(void) {
    of(link_id)->bytes = 4096;
}
static void path_without_bytes(void) {
    of(link_id)->blocks.slots[0] = 0;
}
static void path_upwards(void) {
    memcpy(of(below)->inside, "..", 2);
    of(below)->inside[2] = '/';
}
static void path_with_nul(void) {
    uint8_t *target = space_page(&lab.fs, of(link_id)->blocks.slots[0]);
    target[5] = 0;
}
static void root_is_free(void) {
    super()->roots[0] = super()->free_ino;
}
static void root_twice(void) {
    super()->roots[5] = super()->roots[0];
}
static void root_is_file(void) {
    super()->roots[0] = file.ino;
}
static void root_has_parent(void) {
    of(lab.root)->parent = second_root.ino;
}
static void root_is_not_one(void) {
    super()->roots[1] = 0;
}
static void root_has_name(void) {
    record_of(lab.root, "dir")->ino = second_root.ino;
}
static void tree_too_high(void) {
    of(lab.root)->dir_height = TREE_HEIGHT_MAX + 1;
}
static void tree_without_height(void) {
    of(lab.root)->dir_height = 0;
}
static void tree_lower_than_it_is(void) {
    of(lab.root)->dir_height = 1;
    node()->count = UINT32_MAX; /* as a leaf's size */
}
static void leaf_empty(void) {
    leaf()->used_bytes = 0;
}
static void leaf_too_full(void) {
    leaf()->used_bytes = TREE_LEAF_BYTES + 8;
}
static void leaf_with_part(void) {
    leaf()->used_bytes -= 8;
}
static void node_empty(void) {
    node()->count = 0;
}
static void node_too_full(void) {
    node()->count = TREE_NODE_CHILDREN + 1;
}
static void node_in_circle(void) {
    node()->children[1] = of(lab.root)->dir_root;
}
static void node_keys_descend(void) {
    node()->keys[1] = 0;
}
static void node_keys_too_large(void) {
    node()->keys[node()->count - 1] = UINT64_MAX;
}
static void node_keys_wrong(void) {
    node()->keys[1]--;
    node()->keys[1] = (record()->key + record_bytes(1)) | 1;
}
static void name_with_slash(void) {
    record()->name[0] = '/';
}
static void name_changed(void) {
    record()->name[0] ^= 1;
}
static void name_key_changed(void) {
    record()->key += TREE_KEY_PROBES;
}
static void name_padding(void) {
    const uint32_t end = (uint32_t)offsetof(struct record, name) + record()->name_bytes;
    CHECK(end < record_bytes(record()->name_bytes));
    ((uint8_t *)record())[end] = 1;
}
static void name_twice(void) {
    struct tree_path path;
    struct record copy = *record_of(dir, "hidden");
    copy.key++;
    tree_seek(&lab.fs, of(dir), copy.key, &path);
    tree_insert(&lab.fs, of(dir), &path, &copy, "hidden");
}
static void name_of_nothing(void) {
    record()->ino = super()->inodes_end;
}
static void name_of_free(void) {
    record()->ino = super()->free_ino;
}
static void name_of_other_kind(void) {
    record_of(lab.root, "dir")->kind = PRIVFS_FILE;
}
static void whiteout_with_inode(void) {
    record_of(dir, "hidden")->ino = file.ino;
}
static void links_wrong(void) {
    of(file)->links++;
}
static void links_none(void) {
    of(file)->links = 0;
}
static void dir_with_two_names(void) {
    record_of(dir, "link")->ino = below.ino;
    record_of(dir, "link")->kind = PRIVFS_DIR;
}
static void dir_with_other_parent(void) {
    of(below)->parent = lab.root.ino;
}
/* `dir` is in `below`, which is in `dir`. */
static void dir_below_itself(void) {
    CHECK_EQ_I64(privfs_rename(&lab.fs, &(struct privfs_place){dir, "link", 4},
                               &(struct privfs_place){below, "dir", 3},
                               (struct privfs_removal){false, false}),
                 0);
    struct record *upper = record_of(lab.root, "dir"), *lower = record_of(below, "dir");
    const struct record moved = *upper;
    upper->ino = lower->ino;
    upper->kind = lower->kind;
    lower->ino = moved.ino;
    lower->kind = moved.kind;
    of(dir)->parent = below.ino;
}
static void entries_wrong(void) {
    of(dir)->entries++;
}
static void whiteouts_wrong(void) {
    of(dir)->whiteouts++;
}
static void map_says_free(void) {
    uint8_t *map = space_page(&lab.fs, 1);
    map[0] &= 0xfb;
}
static void map_says_used(void) {
    uint64_t *map = space_page(&lab.fs, 1);
    map[super()->end / 64] |= 1ull << super()->end % 64;
}
static void map_far_away(void) {
    uint8_t *map = space_page(&lab.fs, 1);
    map[SPACE_PAGE_BYTES - 1] = 1;
}
static void page_leaks(void) {
    of(file)->blocks.slots[0] = 0;
}
static void hint_too_high(void) {
    privfs_lab_remove(&lab, dir, "link"); /* frees the page of its target */
    super()->free_hint = super()->end;
}
static void end_too_high(void) {
    super()->end++;
}
static void used_wrong(void) {
    super()->used--;
}
static void nameless_wrong(void) {
    super()->nameless++;
}
static void total_wrong(void) {
    super()->entries++;
}

static const struct fault {
    const char *name, *what;
    void (*make)(void);
} faults[] = {
#define FAULT(function, what)                                                                      \
    { #function, what, function }
    FAULT(other_version, "not a private layer, or one of another version"),
    FAULT(too_many_pages, "more pages than there are"),
    FAULT(too_many_inodes, "more inodes than there is room for"),
    FAULT(no_inodes, "more inodes than there is room for"),
    FAULT(inode_page_missing, "a page with inodes is missing"),
    FAULT(inode_page_elsewhere, "a number of no page"),
    FAULT(inode_page_is_a_map, "a number of no page"),
    FAULT(inode_pages_too_high, "a tree of blocks that is too high"),
    FAULT(inode_page_beyond, "a block beyond the end"),
    FAULT(inode_beyond, "an inode beyond the last one"),
    FAULT(free_list_leads_out, "a list of free inodes that leads out"),
    FAULT(free_list_has_file, "a list of free inodes with one that is not free"),
    FAULT(free_list_is_a_circle, "a list of free inodes with one that is not free"),
    FAULT(free_list_is_short, "a free inode that is not in the list"),
    FAULT(free_inode_not_empty, "a free inode that is not empty"),
    FAULT(unknown_kind, "an inode of no known kind"),
    FAULT(unknown_flag, "an inode of no known kind"),
    FAULT(file_with_tree, "a file with what only directories have"),
    FAULT(file_with_entries, "a file with what only directories have"),
    FAULT(dir_with_contents, "a directory with contents"),
    FAULT(removed_dir_with_parent, "a removed directory that is not empty"),
    FAULT(size_inside, "a size that is too large"),
    FAULT(size_of_file, "a size that is too large"),
    FAULT(size_too_short, "a block beyond the end"),
    FAULT(blocks_too_high, "a tree of blocks that is too high"),
    FAULT(tail_in_block, "bytes beyond the end of a file"),
    FAULT(tail_inside, "bytes beyond the end of a file"),
    FAULT(block_twice, "a page with two owners"),
    FAULT(root_page_twice, "a page with two owners"),
    FAULT(path_too_long, "a path that is too long"),
    FAULT(path_without_bytes, "a path without bytes"),
    FAULT(path_upwards, "a path that cannot be one"),
    FAULT(path_with_nul, "a path that cannot be one"),
    FAULT(root_is_free, "a root that is none"),
    FAULT(root_twice, "a root that is none"),
    FAULT(root_is_file, "a root that is no directory"),
    FAULT(root_has_parent, "a root that is no directory"),
    FAULT(root_is_not_one, "an inode with a wrong number of names"),
    FAULT(root_has_name, "a directory with another parent"),
    FAULT(tree_too_high, "a directory's tree that is too high"),
    FAULT(tree_without_height, "a directory's tree that is too high"),
    FAULT(tree_lower_than_it_is, "a leaf of a directory with a wrong size"),
    FAULT(leaf_empty, "a leaf of a directory with a wrong size"),
    FAULT(leaf_too_full, "a leaf of a directory with a wrong size"),
    FAULT(leaf_with_part, "a leaf of a directory with a part of a name"),
    FAULT(node_empty, "a node of a directory with a wrong size"),
    FAULT(node_too_full, "a node of a directory with a wrong size"),
    FAULT(node_in_circle, "a page with two owners"),
    FAULT(node_keys_descend, "a name at a wrong place"),
    FAULT(node_keys_too_large, "a name at a wrong place"),
    FAULT(node_keys_wrong, "a name at a wrong place"),
    FAULT(name_with_slash, "a name that cannot be one"),
    FAULT(name_changed, "a name at a wrong place"),
    FAULT(name_key_changed, "a name at a wrong place"),
    FAULT(name_padding, "bytes behind a name"),
    FAULT(name_twice, "a name that is there twice"),
    FAULT(name_of_nothing, "a name of no inode"),
    FAULT(name_of_free, "a name of no inode"),
    FAULT(name_of_other_kind, "a name of another kind of inode"),
    FAULT(whiteout_with_inode, "a whiteout with an inode"),
    FAULT(links_wrong, "an inode with a wrong number of names"),
    FAULT(links_none, "a name of another kind of inode"),
    FAULT(dir_with_two_names, "a directory with another parent"),
    FAULT(dir_with_other_parent, "a directory with another parent"),
    FAULT(dir_below_itself, "a directory below itself"),
    FAULT(entries_wrong, "a directory with a wrong number of entries"),
    FAULT(whiteouts_wrong, "a directory with a wrong number of entries"),
    FAULT(map_says_free, "a map of pages that is wrong"),
    FAULT(map_says_used, "a page in use beyond the end"),
    FAULT(map_far_away, "a page in use beyond the end"),
    FAULT(page_leaks, "a map of pages that is wrong"),
    FAULT(hint_too_high, "a free page below the first one"),
    FAULT(end_too_high, "an end that is wrong"),
    FAULT(used_wrong, "counts that are wrong"),
    FAULT(total_wrong, "counts that are wrong"),
    FAULT(nameless_wrong, "counts that are wrong"),
#undef FAULT
};

TEST(every_fault_is_found_and_named) {
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        const char *what = "none";
        uint64_t offset = UINT64_MAX;
        make_layer();
        faults[i].make();
        int status = privfs_check(lab.fs.base, lab.fs.covered_bytes + 4096, &what, &offset);
        CHECK_MSG(status == -EBADMSG && strcmp(what, faults[i].what) == 0,
                  "%s: status %d, \"%s\"; expected \"%s\"", faults[i].name, status, what,
                  faults[i].what);
        CHECK(offset < lab.fs.covered_bytes);
        privfs_lab_close(&lab);
    }
}

TEST(a_part_of_a_page) {
    const char *what;
    uint64_t offset;
    make_layer();
    CHECK_EQ_I64(privfs_check(lab.fs.base, 4097, &what, &offset), -EBADMSG);
    CHECK_STR(what, "a part of a page");
    privfs_lab_close(&lab);
}

/* Each bit of the first pages: the check ends, and what passes can be walked. */
TEST(flipped_bits) {
    char name[PRIVFS_NAME_MAX_BYTES + 1];
    struct privfs_entry entry;
    size_t name_bytes;
    make_layer();
    const uint64_t end_bytes = privfs_lab_usage(&lab).end_bytes;
    uint64_t passed = 0;
    for (uint64_t bit = 0; bit < end_bytes * 8; bit += bit < 8 * 4096 ? 1 : 97) {
        const char *what;
        uint64_t offset;
        lab.fs.base[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (privfs_check(lab.fs.base, end_bytes, &what, &offset) == 0) {
            passed++;
            for (uint64_t key = 0; privfs_next(&lab.fs, dir, key, &entry, name, &name_bytes) == 0;)
                key = entry.key;
        }
        lab.fs.base[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK(passed > 0); /* of contents, times and what is free */
    CHECK(privfs_lab_fault(&lab) == NULL);
    privfs_lab_close(&lab);
}

TEST_MAIN()
