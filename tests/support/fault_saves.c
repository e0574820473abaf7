/*
 * tests/support/fault_saves.c: husk_image_save() and husk_image_save_fd() with the n-th operation
 * failing; see fault_steps.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fault_steps.h"
#include "files_in.h"
#include "harness.h"

static const char old_text[] = "what was there before";

/* What is saved, and what is there before. */
struct save {
    enum fault_holds holds;
    bool was_there;
    bool is_to_fd;
};

/* Of the saves to a descriptor: a new file at the path. */
static int save_fd = -1;

static void begin(struct fault_world *world, const struct save *save) {
    unlink(world->path);
    if (save->is_to_fd) {
        save_fd = open(world->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        CHECK(save_fd >= 0);
    }
    if (!save->was_there)
        return;
    FILE *file = fopen(world->path, "we");
    CHECK(file != NULL && fwrite(old_text, 1, sizeof old_text, file) == sizeof old_text);
    CHECK(fclose(file) == 0);
}

static int run(struct fault_world *world, const struct save *save) {
    const husk_image *image = save->holds == HOLDS_SNAPSHOT ? world->snapshot : world->image;
    return save->is_to_fd ? husk_image_save_fd(image, save_fd, &world->err)
                          : husk_image_save(image, world->path, &world->err);
}

static bool file_is_old(const struct fault_world *world, bool was_there) {
    char text[sizeof old_text] = "";
    FILE *file = fopen(world->path, "re");
    if (file == NULL)
        return !was_there;
    const size_t count = fread(text, 1, sizeof text, file);
    const bool is_longer = getc(file) != EOF;
    fclose(file);
    return was_there && !is_longer && count == sizeof old_text &&
           memcmp(text, old_text, count) == 0;
}

static void check_saved(struct fault_world *world, enum fault_holds holds, const char *when) {
    husk_image *opened = NULL;
    CHECK_MSG(husk_image_open(world->engine, world->path, NULL, &opened, &world->err) == 0,
              "%s: %s", when, world->err.message);
    CHECK_MSG(husk_sandbox_load(world->sandbox, opened, world->imports, &world->err) == 0, "%s: %s",
              when, world->err.message);
    fault_check_holds(world, world->sandbox, holds, when);
    husk_image_unref(opened);
    CHECK_EQ_U64(files_in(world->folder), 1);
}

/* Nothing has changed; but if the last step of all is what failed, the new file is there. */
static void check_failed(struct fault_world *world, const struct save *save,
                         struct fault_counts *counts, const char *when) {
    const struct husk_error *err = &world->err;
    const bool is_last = strstr(err->message, "is complete and in its place") != NULL;
    CHECK_MSG(err->status == HUSK_E_SYS || err->status == HUSK_E_NOMEM, "%s: status %d: %s", when,
              err->status, err->message);
    CHECK_MSG(strcmp(fault_name(), "writev") != 0 || err->sys_errno == ENOSPC, "%s: errno %d", when,
              err->sys_errno);
    CHECK_MSG(!is_last || strcmp(fault_name(), "fsync") == 0, "%s: %s", when, err->message);
    CHECK_MSG(is_last || file_is_old(world, save->was_there), "%s: the old file is gone: %s", when,
              err->message);
    CHECK_MSG(files_in(world->folder) == (is_last || save->was_there),
              "%s: a temporary file is left", when);
    counts->unchanged += !is_last;
    counts->replaced += is_last;
    if (is_last)
        check_saved(world, save->holds, when);
    CHECK_MSG(run(world, save) == 0, "%s, again: %s", when, err->message);
}

/* Some of it may be in the file. */
static void check_failed_to_fd(struct fault_world *world, const struct save *save,
                               struct fault_counts *counts, const char *when) {
    CHECK_MSG(world->err.status == HUSK_E_SYS || world->err.status == HUSK_E_NOMEM,
              "%s: status %d: %s", when, world->err.status, world->err.message);
    CHECK(ftruncate(save_fd, 0) == 0 && lseek(save_fd, 0, SEEK_SET) == 0);
    CHECK_MSG(run(world, save) == 0, "%s, again: %s", when, world->err.message);
    counts->unchanged++;
}

/* First the contents, then the name or names, then the folder that they are in. */
static bool is_durable(void) {
    const char *done = fault_durable();
    return strcmp(done, "fpd") == 0 || strcmp(done, "fppd") == 0;
}

static bool run_save(struct fault_world *world, const struct save *save, enum fault_mode mode,
                     unsigned nth, struct fault_counts *counts) {
    char when[256];
    begin(world, save);
    fault_arm(mode, nth, NULL);
    const int status = run(world, save);
    fault_disarm();
    const bool has_fired = fault_has_fired();
    snprintf(when, sizeof when, "saving, operation %u (%s) %s", nth, fault_name(),
             fault_mode_names[mode]);
    if (has_fired)
        fault_count(counts);
    CHECK_MSG(status != 0 || save->is_to_fd || is_durable(),
              "%s: the file is not certain to survive a crash: \"%s\"", when, fault_durable());
    CHECK_MSG(status == 0 || (has_fired && mode <= FAULT_EVER), "%s: %s", when, world->err.message);
    if (status != 0 && save->is_to_fd)
        check_failed_to_fd(world, save, counts, when);
    else if (status != 0)
        check_failed(world, save, counts, when);
    else
        counts->succeeded += has_fired;
    if (save->is_to_fd)
        close(save_fd);
    check_saved(world, save->holds, when);
    return has_fired;
}

static void run_all(const struct fault_lane *lane, const struct save *save, enum fault_mode mode,
                    unsigned first, struct fault_counts *counts) {
    struct fault_world world;
    fault_world_open(&world, lane);
    for (unsigned nth = first; run_save(&world, save, mode, nth, counts); nth++) {
    }
    unlink(world.path);
    fault_world_close(&world);
}

void fault_saves_run(const struct fault_lane *lane, enum fault_mode mode,
                     struct fault_counts *counts) {
    static const struct save saves[] = {
        {HOLDS_SNAPSHOT, false, false}, {HOLDS_SNAPSHOT, true, false}, {HOLDS_IMAGE, false, false},
        {HOLDS_IMAGE, true, false},     {HOLDS_SNAPSHOT, false, true}, {HOLDS_IMAGE, false, true}};
    for (size_t i = 0; i < sizeof saves / sizeof saves[0]; i++) {
        run_all(lane, &saves[i], mode, FAULT_NEVER,
                counts); /* what the process keeps for good is there then */
        const struct fault_usage before = fault_usage_now();
        run_all(lane, &saves[i], mode, 1, counts);
        fault_check_usage(&before, "saving", mode);
    }
}
