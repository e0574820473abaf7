/* host/files/privfs_check_owner.c: faults, and who has which page, for both parts of the check. */
#include "privfs_check.h"

bool check_fails(struct check *check, const void *place, const char *what) {
    check->what = what;
    check->offset = (uint64_t)((const uint8_t *)place - check->fs.base);
    return false;
}

bool check_own(struct check *check, uint32_t page, const void *place) {
    if (page == 0 || page >= space_super(&check->fs)->end || check_is_map(page))
        return check_fails(check, place, "a number of no page");
    uint8_t *owned = &check->owned[page / 8];
    if ((*owned >> page % 8 & 1) != 0)
        return check_fails(check, place, "a page with two owners");
    *owned |= (uint8_t)(1u << page % 8);
    check->used++;
    return true;
}

bool check_is_inode(const struct check *check, uint32_t ino) {
    return ino != 0 && ino < space_super(&check->fs)->inodes_end &&
           inode_at(&check->fs, ino)->kind != PRIVFS_NONE;
}
