/*
 * Private directories against the kernel (files_model.h): in memory only, and above a directory of
 * the host. Some operations are cut off or meet a full layer: then nothing may have changed.
 */
#include "files_model.h"
#include "harness.h"
#include "priv_rig.h"

#define OPERATIONS (HARNESS_SANITIZED ? 3000 : 10000)

struct player {
    struct priv_rig rig; /* first: the functions of priv_rig.h take it */
    struct rig_snapshot snapshot;
};

static void player_save(void *self) {
    struct player *player = self;
    rig_drop(&player->snapshot);
    rig_save(&player->rig, &player->snapshot);
}

static void player_load(void *self) {
    struct player *player = self;
    rig_load(&player->rig, &player->snapshot);
}

static void player_check(void *self) {
    struct player *player = self;
    rig_check(&player->rig);
}

static void player_trouble(void *self, enum files_trouble trouble, uint32_t amount) {
    struct player *player = self;
    const struct privfs fs = rig_layer(&player->rig);
    struct privfs_usage usage;
    privfs_usage(&fs, &usage);
    player->rig.cut_after = trouble == FILES_CUT ? (long)amount : -1;
    player->rig.config.private_max_bytes =
        trouble == FILES_FULL ? usage.bytes + 4096u * amount : RIG_REGION_BYTES;
}

static const struct files_api api = {.open = rig_open_at,
                                     .close = rig_close,
                                     .io = rig_io,
                                     .seek = rig_seek,
                                     .fd_stat = rig_fd_stat,
                                     .resize = rig_resize,
                                     .allocate = rig_allocate,
                                     .stat = rig_stat_at,
                                     .make_dir = rig_make_dir_at,
                                     .remove_dir = rig_remove_dir_at,
                                     .unlink = rig_unlink_at,
                                     .symlink = rig_symlink_at,
                                     .read_link = rig_read_link_at,
                                     .link = rig_link_at,
                                     .can_follow_link = true,
                                     .rename = rig_rename_at,
                                     .list = rig_list,
                                     .save = player_save,
                                     .load = player_load,
                                     .check = player_check,
                                     .trouble = player_trouble};

static void play(bool is_cow, uint64_t seed) {
    struct player player = {0};
    struct files_home home;
    files_home_make(&home, is_cow);
    rig_init(&player.rig, is_cow ? home.below : NULL);
    const struct files_game game = {
        .api = &api, .self = &player, .home = &home, .seed = seed, .operations = OPERATIONS};
    files_play(&game);
    rig_drop(&player.snapshot);
    rig_done(&player.rig);
    files_home_remove(&home);
}

TEST(private_memory_is_like_the_kernel) {
    play(false, 1);
}

TEST(copy_on_write_is_like_the_kernel) {
    play(true, 2);
}

TEST(copy_on_write_is_like_the_kernel_again) {
    play(true, 3);
}

TEST_MAIN()
