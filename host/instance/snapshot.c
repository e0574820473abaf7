/*
 * host/instance/snapshot.c: takes snapshots: an image of a sandbox as it is between two calls, or
 * while a call stands at a host function (standing.h).
 * Pages that differ from the image it was loaded from are written to a new file. For all other
 * pages, the snapshot has the same runs as that image. So its cost follows the number of written
 * pages, and snapshots of snapshots share layers.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "auto.h"
#include "buf.h"
#include "caller.h"
#include "clock.h"
#include "error.h"
#include "file.h"
#include "image_internal.h"
#include "pages.h"
#include "sandbox_internal.h"
#include "standing.h"

/*
 * Every field of an instance and its machine is one of these. If you add a field, decide which.
 * Bring it back in restore.c and sandbox.c, and add it to the table of docs/snapshots.md and to the
 * comparisons of tests/kvm/snapshots/restore_test.c. Then change the number here.
 *
 *   in a snapshot, and brought back   link.groups' states (linkage_save_states()),
 *                                     sizes.table_entries, arena: memories' contents and sizes,
 *                                     data, files (the private layer)
 *                                     With a standing call: the used stack, of calls and of the
 *                                     vCPU's registers what standing.c saves
 *   nothing between two calls         mailbox and stack of the arena (zero), calls, regs of the
 *                                     vCPU
 *   set again by load and restore     mapped, image, hotset, start, spare, owes_restored_call,
 *                                     was_restored,
 *                                     is_poisoned, poisoned_by, changes_begun, is_resized,
 *                                     calls.ended_at, calls.thrown (of which link.thrown has
 *                                     the values),
 *                                     calls.is_interrupted
 *   not the instance's, unchanged     engine, machine, vcpu_ops, tally, limits, vm, vcpu,
 *                                     kicker, tables, next_slot, mem0_slot_bytes,
 *                                     has_failed_vm, sandbox_room, next_idle, calls.asked_at_ns,
 *                                     user, labelled, bytes_exports (forgotten if the module
 *                                     changes); link's definitions; the limits in sizes;
 *                                     overlays are contents, and their mappings go; code
 *
 * The state of WASI has its own tripwire in wasi_state.c.
 */
_Static_assert(sizeof(struct husk_sandbox) - sizeof(struct linkage) - sizeof(struct labelled) -
                           sizeof(struct call_state) - sizeof(struct bytes_exports) ==
                       72 &&
                   sizeof(struct call_state) - sizeof(struct call_frame) -
                           sizeof(struct call_pending) ==
                       72,
               "a new field of struct husk_sandbox");
_Static_assert(offsetof(struct machine, next_idle) + sizeof(void *) -
                       sizeof(struct husk_sandbox_options) - sizeof(struct sizing) -
                       sizeof(struct arena) - sizeof(struct kicker) - sizeof(struct hotset) -
                       sizeof(struct tally) ==
                   88,
               "a new field of struct machine");
_Static_assert(sizeof(struct linkage) == 80 && sizeof(struct group_state) == 16,
               "a new field of linkage.h");
_Static_assert(sizeof(struct bytes_exports) == 136, "a new field of guest_bytes.h");
_Static_assert(sizeof(struct sizing) == 72, "a new field of struct sizing");
_Static_assert(sizeof(struct arena) == 248 && sizeof(struct arena_memory) == 32,
               "a new field of arena.h");

/* ---- which pages ---- */

/* The pages that differ from the image below. */
struct page_list {
    const uint8_t **pages; /* host addresses, ascending */
    uint32_t count, capacity;
    uint64_t stack_gva; /* what is kept of the stack: from here on */
};

static int list_add(struct page_list *list, const uint8_t *page, struct husk_error *err) {
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
        const uint8_t **pages = realloc(list->pages, capacity * sizeof *pages);
        if (pages == NULL)
            return error_set(err, HUSK_E_NOMEM, "no memory for the list of a snapshot's pages");
        list->pages = pages;
        list->capacity = capacity;
    }
    list->pages[list->count++] = page;
    return 0;
}

/* Zeros are kept of a free page of the private layer: so a file that was deleted is in no snapshot,
 * and takes no room there. */
static bool is_zero(const struct machine *machine, uint64_t gva_value, const uint8_t *page) {
    return sandbox_files_is_free(machine, gva_value) || page_is_zero(page);
}

static bool differs(const struct machine *machine, uint64_t gva_value, const uint8_t *page) {
    uint64_t bytes;
    const uint8_t *source = image_source(machine->mapped, gva_value, &bytes);
    if (sandbox_files_is_free(machine, gva_value))
        return source != NULL;
    return source != NULL ? memcmp(page, source, HUSK_PAGE_SIZE) != 0 : !page_is_zero(page);
}

/* Stack and mailbox hold nothing between calls; of a standing call, the used part of the stack
 * counts. Memory beyond its size belongs to nobody. All of the private layer is kept. */
static bool is_kept(const struct machine *machine, const struct page_list *list,
                    uint64_t gva_value) {
    if (husk_is_files_gva(gva_value))
        return true;
    if (image_is_stack_gva(gva_value))
        return gva_value >= list->stack_gva;
    if (gva_value >= HUSK_MAILBOX_GVA && gva_value < HUSK_MEM0_GVA)
        return false;
    return arena_span(&machine->arena, gva_value, HUSK_PAGE_SIZE) != NULL;
}

static int list_page(struct machine *machine, struct page_list *list, const uint8_t *page,
                     struct husk_error *err) {
    uint64_t gva_value = arena_gva_of(&machine->arena, page);
    if (!is_kept(machine, list, gva_value) || !differs(machine, gva_value, page))
        return 0;
    return list_add(list, page, err);
}

static int compare_pages(const void *a, const void *b) {
    const uint8_t *first = *(const uint8_t *const *)a, *second = *(const uint8_t *const *)b;
    return first < second ? -1 : first > second;
}

/* Pages that are free now, and have contents in the image. Nobody wrote them when they became free.
 * If no page of the layer was written, none became free. */
static int list_free(struct machine *machine, struct page_list *list, struct husk_error *err) {
    const husk_image *base = machine->mapped;
    bool is_layer_written = false;
    int status = 0;
    for (uint32_t i = 0; i < list->count && !is_layer_written; i++)
        is_layer_written = husk_is_files_gva(arena_gva_of(&machine->arena, list->pages[i]));
    for (uint32_t i = 0; i < base->runs_count && is_layer_written; i++) {
        const struct image_run *run = &base->runs[i];
        if (!husk_is_files_gva(run->gva))
            continue;
        const uint8_t *hva = arena_hva_of(&machine->arena, run->gva);
        for (uint64_t at = 0; status == 0 && at < run->bytes; at += HUSK_PAGE_SIZE)
            if (sandbox_files_is_free(machine, run->gva + at))
                status = list_add(list, hva + at, err);
    }
    return status;
}

/* A page may be in the list twice: one of an overlay (memory_image.c), because it is hot, and
 * because it is not the image's; a free one, because it is hot, too. */
static void list_sort(struct page_list *list) {
    if (list->count > 1)
        qsort(list->pages, list->count, sizeof *list->pages, compare_pages);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->count; i++)
        if (kept == 0 || list->pages[kept - 1] != list->pages[i])
            list->pages[kept++] = list->pages[i];
    list->count = kept;
}

static int list_changed(struct machine *machine, struct page_list *list, struct husk_error *err) {
    int status = machine_find_written(machine, err);
    for (uint32_t i = 0; status == 0 && i < machine->hotset.count; i++)
        status = list_page(machine, list, machine->hotset.pages[i].hva, err);
    for (uint32_t i = 0; status == 0 && i < machine->arena.overlays_count; i++) {
        const struct arena_overlay *overlay = &machine->arena.overlays[i];
        const uint8_t *hva = arena_hva_of(&machine->arena, overlay->gva);
        for (uint64_t at = 0; status == 0 && at < overlay->bytes; at += HUSK_PAGE_SIZE)
            status = list_page(machine, list, hva + at, err);
    }
    const uint32_t count = list->count;
    if (status == 0)
        status = list_free(machine, list, err);
    if (status == 0 && (machine->arena.overlays_count > 0 || list->count > count))
        list_sort(list);
    return status;
}

/* ---- the new layer ---- */

/* Make runs of neighbouring pages. A run of zeros has no file, and hides the base's contents
 * there. */
static uint32_t plan_layer(const struct machine *machine, const struct page_list *list,
                           struct image_run *runs, bool *is_zero_run) {
    uint32_t count = 0;
    uint64_t offset = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        uint64_t gva_value = arena_gva_of(&machine->arena, list->pages[i]);
        const bool has_zeros = is_zero(machine, gva_value, list->pages[i]);
        struct image_run *last = count > 0 ? &runs[count - 1] : NULL;
        if (last != NULL && last->gva + last->bytes == gva_value &&
            is_zero_run[count - 1] == has_zeros) {
            last->bytes += HUSK_PAGE_SIZE;
        } else {
            is_zero_run[count] = has_zeros;
            runs[count++] =
                (struct image_run){.gva = gva_value, .bytes = HUSK_PAGE_SIZE, .offset = offset};
        }
        offset += has_zeros ? 0 : HUSK_PAGE_SIZE;
    }
    return count;
}

/* Write the runs that have contents, one after another. */
static int write_runs(const struct machine *machine, const struct image_run *runs,
                      const bool *is_zero_run, uint32_t count, int fd, bool *ret_is_empty,
                      struct husk_error *err) {
    auto_free struct iovec *vecs = calloc(count + 1u, sizeof *vecs);
    size_t vecs_count = 0;
    if (vecs == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a snapshot");
    for (uint32_t i = 0; i < count; i++)
        if (!is_zero_run[i])
            vecs[vecs_count++] = (struct iovec){
                .iov_base = arena_hva_of(&machine->arena, runs[i].gva), .iov_len = runs[i].bytes};
    *ret_is_empty = vecs_count == 0;
    if (file_write_vecs(fd, vecs, vecs_count) != 0)
        return error_sys(err, errno, "cannot write the pages of a snapshot");
    return 0;
}

static int write_layer(const struct machine *machine, struct image_run *runs,
                       const bool *is_zero_run, uint32_t count, struct husk_error *err) {
    auto_fd fd = -1;
    bool is_empty = true;
    int status = image_file_memfd(&fd, err);
    if (status == 0)
        status = write_runs(machine, runs, is_zero_run, count, fd, &is_empty, err);
    struct image_file *file = NULL;
    if (status == 0 && !is_empty) {
        status = image_file_seal(fd, &file, err);
        if (status == 0)
            take_fd(&fd);
    }
    for (uint32_t i = 0; i < count && status == 0; i++)
        runs[i].file = is_zero_run[i] ? NULL : image_file_ref(file);
    image_file_unref(file);
    return status;
}

static void append_run(struct image_run *runs, uint32_t *count, const struct image_run *run,
                       uint64_t from, uint64_t to) {
    if (from >= to || run->file == NULL)
        return;
    runs[(*count)++] = (struct image_run){.gva = from,
                                          .bytes = to - from,
                                          .file = image_file_ref(run->file),
                                          .offset = run->offset + (from - run->gva)};
}

/* Of a run of the image below: the stack that is not kept does not count. */
static uint64_t base_from(const struct image_run *run, uint64_t stack_gva) {
    return image_is_stack_gva(run->gva) && run->gva < stack_gva ? stack_gva : run->gva;
}

/* Merge the runs: the layer's, and the base's where the layer has none. `merged` has room for
 * 2 * layer + base. */
static uint32_t merge_runs(const husk_image *base, const struct image_run *layer,
                           uint32_t layer_count, uint64_t stack_gva, struct image_run *merged) {
    uint32_t count = 0, at = 0;
    /* end of the layer's runs so far; one of them may cover several of the base's runs */
    uint64_t layer_end = 0;
    for (uint32_t i = 0; i < base->runs_count; i++) {
        const struct image_run *run = &base->runs[i];
        const uint64_t end = run->gva + run->bytes;
        uint64_t from = base_from(run, stack_gva);
        from = from > layer_end ? from : layer_end;
        for (; at < layer_count && layer[at].gva < end; at++) {
            append_run(merged, &count, run, from, layer[at].gva);
            append_run(merged, &count, &layer[at], layer[at].gva, layer[at].gva + layer[at].bytes);
            layer_end = layer[at].gva + layer[at].bytes;
            /* a layer's run may lie before the base's */
            from = layer_end > from ? layer_end : from;
        }
        append_run(merged, &count, run, from, end);
    }
    for (; at < layer_count; at++)
        append_run(merged, &count, &layer[at], layer[at].gva, layer[at].gva + layer[at].bytes);
    return count;
}

static int make_runs(struct machine *machine, const struct page_list *list, husk_image *snapshot,
                     struct husk_error *err) {
    auto_free struct image_run *layer = calloc(list->count + 1u, sizeof *layer);
    auto_free bool *is_zero_run = calloc(list->count + 1u, sizeof *is_zero_run);
    struct image_run *merged =
        calloc(2u * list->count + machine->mapped->runs_count + 1u, sizeof *merged);
    if (layer == NULL || is_zero_run == NULL || merged == NULL) {
        free(merged);
        return error_set(err, HUSK_E_NOMEM, "no memory for a snapshot");
    }
    uint32_t count = plan_layer(machine, list, layer, is_zero_run);
    int status = write_layer(machine, layer, is_zero_run, count, err);
    if (status != 0) {
        free(merged);
        return status;
    }
    snapshot->runs_count = merge_runs(machine->mapped, layer, count, list->stack_gva, merged);
    snapshot->runs = merged;
    for (uint32_t i = 0; i < count; i++)
        image_file_unref(layer[i].file);
    return image_runs_merge_layers(merged, &snapshot->runs_count, snapshot->code->file, err);
}

/* ---- everything else ---- */

/* Make the segments of data that the guest can reach: those of the compiled image, and one for each
 * table that has grown. The length of the chain does not matter. */
static int make_segments(const struct machine *machine, husk_image *snapshot,
                         struct husk_error *err) {
    const struct image_code *image = machine->mapped->code;
    struct image_segment *segments =
        calloc((size_t)image->data_segments_count + image->tables_count + 1, sizeof *segments);
    if (segments == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a snapshot");
    uint32_t count = image->data_segments_count;
    memcpy(segments, image->segments, count * sizeof *segments);
    for (uint32_t i = 0; i < image->tables_count; i++) {
        uint64_t from = page_up(image->tables[i].base_gva + 8 * image->table_sizes[i]);
        uint64_t to = page_up(image->tables[i].base_gva + 8 * machine->sizes.table_entries[i]);
        if (from >= to)
            continue;
        uint32_t place = count++;
        for (; place > 0 && segments[place - 1].gva > from; place--)
            segments[place] = segments[place - 1];
        segments[place] = (struct image_segment){.gva = from, .mem_bytes = to - from};
    }
    snapshot->own_segments = segments;
    snapshot->segments = segments;
    snapshot->segments_count = snapshot->data_segments_count = count;
    return 0;
}

static int make_sizes(const struct machine *machine, husk_image *snapshot, struct husk_error *err) {
    const struct image_code *image = machine->mapped->code;
    uint64_t *sizes =
        calloc((size_t)image->memories_count + image->tables_count + 1, sizeof *sizes);
    if (sizes == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a snapshot");
    for (uint32_t i = 0; i < image->memories_count; i++)
        sizes[i] = machine->arena.memories[i].bytes / HUSK_WASM_PAGE_SIZE;
    for (uint32_t i = 0; i < image->tables_count; i++)
        sizes[image->memories_count + i] = machine->sizes.table_entries[i];
    snapshot->own_sizes = sizes;
    snapshot->memory_sizes = sizes;
    snapshot->table_sizes = sizes + image->memories_count;
    return 0;
}

/* The layer's size when a new sandbox gets it, and whether the image has one at all. What the image
 * below has must lie in it, too: pages that are no longer used may still have contents. */
static void make_files(const husk_sandbox *sandbox, husk_image *snapshot) {
    uint64_t end_bytes = sandbox_files_end(sandbox);
    const uint64_t runs_end_bytes = image_files_end(snapshot);
    end_bytes = runs_end_bytes > end_bytes ? runs_end_bytes : end_bytes;
    snapshot->files_bytes = end_bytes;
    snapshot->flags &= ~HUSK_IMAGE_FILES;
    snapshot->flags |= end_bytes != 0 ? HUSK_IMAGE_FILES : 0;
}

static int make_host_state(const husk_sandbox *sandbox, husk_image *snapshot,
                           struct husk_error *err) {
    struct buf buf = {0};
    int status = linkage_save_states(&sandbox->link, &buf, err);
    if (status != 0) {
        buf_done(&buf);
        return status;
    }
    snapshot->own_host_state = buf.data;
    snapshot->host_state = buf.data;
    snapshot->host_state_count = (uint32_t)buf.count;
    return 0;
}

static int snapshot_fill(husk_sandbox *sandbox, const struct standing_call *call,
                         husk_image *snapshot, struct husk_error *err) {
    struct page_list list = {0};
    snapshot->is_snapshot = true;
    snapshot->spare = sandbox->spare;
    snapshot->flags = (sandbox->image->flags & ~HUSK_IMAGE_NEEDS_INIT) | HUSK_IMAGE_SNAPSHOT;
    int status = call != NULL ? standing_save(sandbox, call, snapshot, err) : 0;
    list.stack_gva = image_stack_gva(snapshot);
    if (status == 0)
        status = make_segments(sandbox->machine, snapshot, err);
    if (status == 0)
        status = make_sizes(sandbox->machine, snapshot, err);
    if (status == 0)
        status = make_host_state(sandbox, snapshot, err);
    if (status == 0)
        status = list_changed(sandbox->machine, &list, err);
    if (status == 0)
        status = make_runs(sandbox->machine, &list, snapshot, err);
    if (status == 0) {
        make_files(sandbox, snapshot);
        stat_add(sandbox->tally, STAT_snapshot_pages, list.count);
    }
    free(list.pages);
    return status;
}

/* `call` is NULL between two calls. */
static int check_can_snapshot(const husk_sandbox *sandbox, const struct standing_call *call,
                              struct husk_error *err) {
    int status = call == NULL ? sandbox_check_idle(sandbox, "a snapshot", err)
                              : engine_check_process(sandbox->engine, err);
    if (status != 0)
        return status;
    if (sandbox->image == NULL)
        return error_set(err, HUSK_E_STATE,
                         "nothing is loaded, so there is nothing to take a snapshot of");
    if (sandbox->is_poisoned)
        return error_set(
            err, HUSK_E_POISONED,
            "the sandbox was cut off in mid-call, or a restore failed half-way; restore it first");
    if (call != NULL)
        return standing_check(sandbox, call, err);
    bool needs_init = (sandbox->image->flags & HUSK_IMAGE_NEEDS_INIT) != 0;
    if (sandbox->start == SANDBOX_START_FAILED ||
        (sandbox->start == SANDBOX_NOT_STARTED && needs_init))
        return error_set(err, HUSK_E_STATE,
                         "the module is not initialised; husk_sandbox_start() does it");
    return 0;
}

/* With the call, which stands; NULL: between two calls. */
static int take_snapshot(husk_sandbox *sandbox, const struct standing_call *call,
                         husk_image **ret_snapshot, struct husk_error *err) {
    int status = check_can_snapshot(sandbox, call, err);
    if (status == 0)
        status = image_check_keeps(sandbox->image, err);
    if (status != 0)
        return status;
    const uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);
    husk_image *snapshot = image_new(sandbox->engine, sandbox->image->code);
    if (snapshot == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a snapshot");
    status = snapshot_fill(sandbox, call, snapshot, err);
    if (status != 0) {
        husk_image_unref(snapshot);
        return error_while(err, status, "taking a snapshot");
    }
    /* The load's own restore does not count: what came after it made the state, once. */
    hotset_learn(&sandbox->machine->hotset, &sandbox->machine->arena, snapshot,
                 sandbox->was_restored);
    const uint64_t ns = clock_ns(CLOCK_MONOTONIC) - start_ns;
    stat_count(sandbox->tally, STAT_snapshots);
    stat_measure(sandbox->tally, HUSK_HISTOGRAM_SNAPSHOT, ns);
    *ret_snapshot = snapshot;
    return 0;
}

/* The call that stands: `func` is the host function that it called. */
static int snapshot_standing(husk_sandbox *sandbox, const struct linked_func *func,
                             husk_image **ret_snapshot, struct husk_error *err) {
    const struct call_frame *frame = sandbox->calls.frame;
    struct vm_regs regs = frame->regs;
    if (!frame->was_nested)
        machine_get_regs(sandbox->machine, &regs);
    const struct standing_call call = {.func = func, .regs = &regs};
    return take_snapshot(sandbox, &call, ret_snapshot, err);
}

int husk_sandbox_snapshot(husk_sandbox *sandbox, husk_image **ret_snapshot,
                          struct husk_error *err) {
    if (sandbox == NULL || ret_snapshot == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_snapshot: a NULL argument");
    if (calls_stand_still(&sandbox->calls))
        return snapshot_standing(sandbox, sandbox->calls.pending.func, ret_snapshot, err);
    return take_snapshot(sandbox, NULL, ret_snapshot, err);
}

int husk_caller_snapshot(husk_caller *caller, husk_image **ret_snapshot, struct husk_error *err) {
    if (caller == NULL || ret_snapshot == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_caller_snapshot: a NULL argument");
    if (caller->end != CALLER_GOES_ON)
        return error_set(err, HUSK_E_STATE,
                         "the host function has said how it ends, so it cannot be called again");
    return snapshot_standing(caller->sandbox, caller->func, ret_snapshot, err);
}

int husk_sandbox_clone(husk_sandbox *sandbox, husk_sandbox **ret_clone, struct husk_error *err) {
    husk_image *snapshot = NULL;
    struct linkage link;
    if (sandbox == NULL || ret_clone == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_clone: a NULL argument");
    int status = husk_sandbox_snapshot(sandbox, &snapshot, err);
    if (status == 0)
        status = linkage_copy(&link, &sandbox->link, snapshot,
                              sandbox->machine->limits.host_call_depth_max, err);
    if (status == 0)
        status = sandbox_new(sandbox->engine, snapshot, &link, &sandbox->machine->limits, ret_clone,
                             err);
    husk_image_unref(snapshot);
    return status != 0 ? error_while(err, status, "cloning a sandbox") : 0;
}

bool husk_image_is_snapshot(const husk_image *image) {
    return image->is_snapshot;
}
