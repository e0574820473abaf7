/* tests/soak/steps_files.c: images that are saved, opened, shared, and what is in them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "soak.h"

static int some_fd(struct actor *actor) {
    const int fd = memfd_create("soak", MFD_CLOEXEC);
    NEED(actor, fd >= 0);
    return fd;
}

/* What was opened is as what was saved. */
static void keep_opened(struct actor *actor, husk_image *image, const struct saved *saved) {
    NEED(actor, image != NULL);
    NEED(actor, husk_image_is_snapshot(image) == husk_image_is_snapshot(saved->image));
    keep_image(actor, image, &saved->state);
}

void step_save_path(struct actor *actor) {
    const struct saved saved = some_image(actor);
    struct husk_open_options options = HUSK_OPEN_OPTIONS_INIT;
    husk_image *image = NULL;
    char path[96];
    options.skips_hash = soak_below(actor, 2) == 0;
    options.uses_file = soak_below(actor, 2) == 0;
    snprintf(path, sizeof path, "%s/%u.husk", world.folder, actor->idx);
    NEED(actor, husk_image_save(saved.image, path, &actor->err) == 0);
    NEED(actor, husk_image_open(world.engine, path, &options, &image, &actor->err) == 0);
    NEED(actor, unlink(path) == 0);
    keep_opened(actor, image, &saved);
}

void step_save_fd(struct actor *actor) {
    const struct saved saved = some_image(actor);
    husk_image *image = NULL;
    const int fd = some_fd(actor);
    NEED(actor, husk_image_save_fd(saved.image, fd, &actor->err) == 0);
    NEED(actor, husk_image_open_fd(world.engine, fd, NULL, &image, &actor->err) == 0);
    close(fd);
    keep_opened(actor, image, &saved);
}

void step_save_buffer(struct actor *actor) {
    const struct saved saved = some_image(actor);
    husk_image *image = NULL;
    const struct bytes bytes = image_bytes(actor, saved.image);
    NEED(actor, husk_image_open_buffer(world.engine, (struct husk_buffer){bytes.at, bytes.count},
                                       NULL, &image, &actor->err) == 0);
    free(bytes.at);
    keep_opened(actor, image, &saved);
}

void step_share(struct actor *actor) {
    const struct saved saved = some_image(actor);
    husk_image *image = NULL;
    int fd = -1;
    NEED(actor, husk_image_share(saved.image, &fd, &actor->err) == 0);
    NEED(actor, husk_image_open_fd(world.engine, fd, SKIP_HASH, &image, &actor->err) == 0);
    close(fd);
    keep_opened(actor, image, &saved);
}

/* ---- what is in an image ---- */

struct listing {
    unsigned files;
    uint64_t bytes;
};

static int list(void *user, const struct husk_image_file *file) {
    struct listing *listing = user;
    if (file->kind != HUSK_FILE_REGULAR)
        return 0;
    listing->files++;
    listing->bytes += file->bytes;
    return strcmp(file->path, "file") == 0 ? 0 : -1;
}

void step_files(struct actor *actor) {
    const struct saved saved = some_image(actor);
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    struct husk_standing standing = HUSK_STANDING_INIT;
    struct listing listing = {0};
    const bool is_snapshot = husk_image_is_snapshot(saved.image);
    NEED(actor, husk_image_info(saved.image, &info) == 0);
    NEED(actor, info.memory_pages == saved.state.pages + LIB_PAGES && info.instances_count == 2);
    NEED(actor, husk_image_check(saved.image, &actor->err) == 0);
    NEED(actor, husk_image_files(saved.image, list, &listing, &actor->err) == 0);
    NEED(actor, listing.files == is_snapshot && listing.bytes <= WORDS * 8);
    const int status = husk_image_standing(saved.image, &standing, &actor->err);
    NEED(actor, status == (saved.state.is_pending ? 0 : HUSK_E_NOT_FOUND));
    NEED(actor, status != 0 || strcmp(standing.name, "ask") == 0);
}

/* ---- disks without room ---- */

void step_disk_full(struct actor *actor) {
    const struct saved saved = some_image(actor);
    char path[112];
    const int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    NEED(actor, fd >= 0);
    NEED(actor, husk_image_save_fd(saved.image, fd, &actor->err) == HUSK_E_SYS);
    NEED(actor, actor->err.sys_errno == ENOSPC);
    close(fd);
    if (world.full[0] == '\0')
        return;
    for (unsigned i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%u-%u.husk", world.full, actor->idx, i);
        const int status = husk_image_save(saved.image, path, &actor->err);
        NEED(actor, status == 0 || (status == HUSK_E_SYS && actor->err.sys_errno == ENOSPC));
        NEED(actor, (access(path, F_OK) == 0) == (status == 0));
        actor->findings[actor->step] += status != 0;
    }
    for (unsigned i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%u-%u.husk", world.full, actor->idx, i);
        unlink(path);
    }
}
