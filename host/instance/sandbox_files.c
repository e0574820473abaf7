/*
 * host/instance/sandbox_files.c: gives the private layer (host/files/privfs.h) its place: the
 * hidden region of the sandbox's arena. Host functions write to it like to any memory. They are
 * watched (hotset.h), so restores, snapshots and clones have the pages.
 */
#include <errno.h>

#include "error.h"
#include "pages.h"
#include "privfs.h"
#include "sandbox_internal.h"

/* privfs.h. On failure the layer is as it was. */
static int cover(struct privfs *fs, uint64_t bytes) {
    const husk_sandbox *sandbox = fs->user;
    struct arena *arena = &sandbox->machine->arena;
    struct husk_error err;
    const int status = arena_cover_files(arena, bytes, &err);
    if (status == HUSK_E_LIMIT)
        return -ENOSPC;
    if (status != 0) {
        engine_log(sandbox->engine, HUSK_LOG_WARNING, "a private directory: %s", err.message);
        return -ENOMEM;
    }
    fs->covered_bytes = arena->files.covered_bytes;
    return 0;
}

static struct privfs layer_of(const struct machine *machine) {
    const struct arena_memory *files = &machine->arena.files;
    return (struct privfs){.base = files->reserve_bytes != 0 ? files->hva : NULL,
                           .covered_bytes = files->covered_bytes,
                           .region_bytes = files->reserve_bytes,
                           .cover = cover};
}

int sandbox_files(husk_sandbox *sandbox, struct privfs *ret_files) {
    if (sandbox->image == NULL)
        return HUSK_E_STATE;
    hotset_watch(&sandbox->machine->hotset);
    *ret_files = layer_of(sandbox->machine);
    ret_files->user = sandbox;
    return 0;
}

uint64_t sandbox_files_end(const husk_sandbox *sandbox) {
    const struct privfs fs = layer_of(sandbox->machine);
    struct privfs_usage usage;
    privfs_usage(&fs, &usage);
    return usage.end_bytes;
}

bool sandbox_files_is_free(const struct machine *machine, uint64_t gva_value) {
    const struct privfs fs = layer_of(machine);
    return husk_is_files_gva(gva_value) &&
           privfs_is_free(&fs, (gva_value - HUSK_FILES_GVA) / HUSK_PAGE_SIZE);
}
