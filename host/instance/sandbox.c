/*
 * host/instance/sandbox.c: makes, loads, unloads, restores and frees sandboxes. Every load goes
 * through sandbox_load(). It checks and links everything first. Then it makes the machine's memory
 * equal to the image: in place (restore.c) if the memory is of the same module, else by building it
 * again (machine.c). Then it exchanges the linkage and the instance. No guest code runs here.
 *
 *   unload: the instance goes, its memory stays in the machine, dirty
 *   load:   the one place where dirty memory is restored, exactly once
 *   free:   unload; the machine goes to the pool
 */
#include "sandbox_internal.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "host_limits.h"
#include "image_internal.h"
#include "options.h"
#include "pages.h"
#include "sizing_make.h"
#include "spare.h"
#include "standing.h"
#include "values.h"
#include "zeroed.h"
#include "hot.h"

static int options_take(const struct husk_sandbox_options *options,
                        struct husk_sandbox_options *ret_copy, struct husk_error *err) {
    struct husk_sandbox_options copy;
    int status = sandbox_options_read(options, &copy, err);
    if (status != 0)
        return status;
    if (copy.stack_bytes == 0)
        copy.stack_bytes = HUSK_STACK_DEFAULT_BYTES;
    if (copy.stack_bytes < HUSK_STACK_MIN_BYTES || copy.stack_bytes > HUSK_STACK_MAX_BYTES)
        return error_set(err, HUSK_E_INVAL, "stack_bytes is %llu; it must be %u to %u",
                         (unsigned long long)copy.stack_bytes, HUSK_STACK_MIN_BYTES,
                         HUSK_STACK_MAX_BYTES);
    copy.stack_bytes = page_up(copy.stack_bytes);
    if (copy.host_call_depth_max == 0)
        copy.host_call_depth_max = LIMIT_HOST_CALL_DEPTH_DEFAULT;
    if (copy.host_call_depth_max > LIMIT_HOST_CALL_DEPTH_MAX)
        return error_set(err, HUSK_E_INVAL, "host_call_depth_max is %u; it must be at most %u",
                         copy.host_call_depth_max, LIMIT_HOST_CALL_DEPTH_MAX);
    if (copy.large_pages > HUSK_LARGE_PAGES_CONTENTS)
        return error_set(err, HUSK_E_INVAL, "large_pages is %u, which is none of its values",
                         copy.large_pages);
    if (copy.label != NULL && copy.label[0] == '\0')
        copy.label = NULL;
    status = copy.label != NULL ? label_check(copy.label, err) : 0;
    if (status != 0)
        return status;
    *ret_copy = copy;
    return 0;
}

/* Write a word, but only if it changes: an untouched page stays shared with the image. */
static void write_word(struct machine *machine, uint32_t gva_value, uint64_t word) {
    void *place = arena_span(&machine->arena, gva_value, sizeof word);
    if (memcmp(place, &word, sizeof word) == 0)
        return;
    hotset_host_writes(&machine->hotset, place, sizeof word);
    memcpy(place, &word, sizeof word);
}

/* Write imported sizes and globals into memory. A snapshot has them there already. */
RARE static void apply_imports(husk_sandbox *sandbox) {
    const husk_image *image = sandbox->image;
    const struct image_code *code = image->code;
    struct machine *machine = sandbox->machine;
    for (uint32_t i = 0; i < code->memories_count; i++)
        write_word(machine, code->memories[i].size_gva,
                   machine->arena.memories[i].bytes / HUSK_WASM_PAGE_SIZE);
    for (uint32_t i = 0; i < code->tables_count; i++)
        write_word(machine, code->tables[i].size_gva, machine->sizes.table_entries[i]);
    for (uint32_t i = 0; i < code->imports_count; i++) {
        const struct husk_image_import *import = &code->imports[i];
        if (import->kind != HUSK_ABI_GLOBAL)
            continue;
        void *place =
            arena_span(&machine->arena, code->globals[import->idx].gva, sizeof(struct husk_slot));
        hotset_host_writes(&machine->hotset, place, sizeof(struct husk_slot));
        value_to_slot(&sandbox->link.defs[i]->value, place);
    }
}

/* Interrupts and pending calls of the previous instance do not reach the next one. */
static void calls_begin(husk_sandbox *sandbox) {
    calls_abandon(&sandbox->calls, sandbox->engine);
    if (UNLIKELY(atomic_load(
            &sandbox->calls.is_interrupted))) /* a store that orders is slower than a look */
        atomic_store(&sandbox->calls.is_interrupted, false);
}

/* Begin an instance as the image says: no call has run. */
HOT static void instance_begin(husk_sandbox *sandbox, husk_image *image) {
    calls_begin(sandbox);
    if (UNLIKELY(sandbox->image != image)) {
        if (sandbox->image == NULL || sandbox->image->code != image->code)
            sandbox->bytes_exports.is_known = false;
        husk_image_ref(image);
        husk_image_unref(sandbox->image);
        sandbox->image = image;
    }
    sandbox->start = image->is_snapshot ? SANDBOX_STARTED : SANDBOX_NOT_STARTED;
    sandbox->is_poisoned = false;
    calls_forget_end(&sandbox->calls);
    sandbox->spare = image->spare;
    sandbox->owes_restored_call = image->is_snapshot && image->code->restored_idx != UINT32_MAX;
    if (UNLIKELY(!image->is_snapshot))
        apply_imports(sandbox);
    if (UNLIKELY(image->standing != NULL))
        standing_begin(sandbox);
    sandbox_count_memory(sandbox);
}

static void sandbox_unload(husk_sandbox *sandbox) {
    if (sandbox->image == NULL)
        return;
    struct machine *machine = sandbox->machine;
    calls_begin(sandbox);
    if (machine->mapped != NULL && machine_is_whole(machine))
        hotset_learn(&machine->hotset, &machine->arena, machine->mapped, true);
    hotset_unpin(&machine->hotset);
    linkage_done(&sandbox->link);
    husk_image_unref(sandbox->image);
    sandbox->image = NULL;
    sandbox->is_poisoned = false;
    calls_forget_end(&sandbox->calls);
    sandbox_count_memory(sandbox);
    stat_count(sandbox->tally, STAT_unloads);
}

/* Load an image. Takes over the linkage, also on failure. If the load fails before any change, the
 * old instance stays loaded. If it fails later, the old instance is unloaded. */
static int sandbox_load(husk_sandbox *sandbox, husk_image *image, struct linkage *take_link,
                        struct husk_error *err) {
    struct machine *machine = sandbox->machine;
    struct sizing sizes;
    const uint32_t changes = machine->changes_begun;
    int status = sizing_make(&sizes, image, take_link, &machine->limits, err);
    if (status == 0) {
        status = linkage_check_states(take_link, image, err);
        if (status == 0)
            status = machine_make_equal(machine, image, &sizes, true, err);
        if (status != 0)
            sizing_done(&sizes);
    }
    if (status != 0) {
        linkage_done(take_link);
        if (machine->changes_begun != changes)
            sandbox_unload(sandbox);
        return status;
    }
    linkage_load_states(take_link, image);
    stat_add(sandbox->tally, STAT_unloads, sandbox->image != NULL);
    hotset_unpin(&machine->hotset);
    linkage_done(&sandbox->link);
    sandbox->link = *take_link;
    instance_begin(sandbox, image);
    sandbox->was_restored = false;
    return 0;
}

void sandbox_poison(husk_sandbox *sandbox, enum poison_cause cause) {
    static const enum engine_stat stats[] = {
        [POISON_DEADLINE] = STAT_poisonings_deadline,
        [POISON_INTERRUPT] = STAT_poisonings_interrupt,
        [POISON_GUEST_VIOLATION] = STAT_poisonings_guest_violation,
        [POISON_VM_FAILURE] = STAT_poisonings_vm_failure,
        [POISON_RESTORE_FAILURE] = STAT_poisonings_restore_failure};
    if (!sandbox->is_poisoned)
        stat_count(sandbox->tally, stats[cause]);
    sandbox->is_poisoned = true;
    sandbox->poisoned_by = cause;
}

int sandbox_unusable(const husk_sandbox *sandbox, struct husk_error *err) {
    if (sandbox->image == NULL)
        return error_set(err, HUSK_E_STATE,
                         "nothing is loaded in the sandbox; husk_sandbox_load() loads");
    return error_set(err, HUSK_E_POISONED,
                     "the sandbox was cut off in mid-call, or a restore failed half-way; "
                     "restore it, load into it, or free it");
}

int sandbox_check_question(const husk_sandbox *sandbox, const char *name, const void *ret,
                           struct husk_error *err) {
    int status = output_check(name, ret, err);
    if (status == 0)
        status = engine_check_process(sandbox->engine, err);
    if (status == 0 && sandbox->image == NULL)
        status = sandbox_unusable(sandbox, err);
    return status;
}

int sandbox_check_idle(const husk_sandbox *sandbox, const char *what, struct husk_error *err) {
    if (calls_stand_still(&sandbox->calls))
        return error_set(err, HUSK_E_STATE,
                         "%s is not possible while a call is pending; husk_call_resume() goes on "
                         "with it, a restore, a load or an unload abandons it",
                         what);
    return sandbox_check_still(sandbox, what, err);
}

HOT int sandbox_check_still(const husk_sandbox *sandbox, const char *what, struct husk_error *err) {
    if (UNLIKELY(sandbox->calls.frame != NULL) && !calls_stand_still(&sandbox->calls))
        return error_set(err, HUSK_E_STATE,
                         "%s is not possible from inside a host function: a call is running", what);
    return engine_check_process(sandbox->engine, err);
}

void *sandbox_group_state(const husk_sandbox *sandbox, const struct import_group_ops *ops) {
    for (uint32_t i = 0; i < sandbox->link.groups_count; i++)
        if (sandbox->link.groups[i].group->ops == ops)
            return sandbox->link.groups[i].state;
    return NULL;
}

HOT static int check_engine(const husk_engine *engine, const husk_image *image,
                            struct husk_error *err) {
    if (image->engine != engine)
        return error_set(err, HUSK_E_INVAL,
                         image->engine == NULL
                             ? "the image was opened without an engine, only to be looked at"
                             : "the image was opened by another engine");
    return 0;
}

/* Nothing is loaded. */
static void sandbox_destroy(husk_sandbox *sandbox) {
    labelled_end(&sandbox->engine->labels, &sandbox->labelled); /* the next sandbox counts from 0 */
    struct machine *machine = sandbox->machine;
    husk_engine *engine = sandbox->engine;
    machine->sandbox_room = sandbox;
    machine_put(machine);
    engine_unref(engine);
}

/* The machine's last sandbox has left its block. */
static husk_sandbox *block_take(struct machine *machine) {
    husk_sandbox *block = machine->sandbox_room;
    machine->sandbox_room = NULL;
    return block != NULL ? memset(block, 0, sizeof *block) : zeroed_new(sizeof *block);
}

static husk_sandbox *sandbox_alloc(husk_engine *engine, const husk_image *image,
                                   const struct husk_sandbox_options *limits) {
    struct machine *machine = machine_take(engine, image, limits);
    husk_sandbox *sandbox = machine != NULL ? block_take(machine) : NULL;
    if (sandbox == NULL) {
        if (machine != NULL)
            machine_put(machine);
        return NULL;
    }
    sandbox->machine = machine;
    sandbox->engine = engine_ref(engine);
    sandbox->tally = &sandbox->machine->tally;
    atomic_init(&sandbox->calls.is_interrupted, false);
    return sandbox;
}

int sandbox_new(husk_engine *engine, husk_image *image, struct linkage *take_link,
                const struct husk_sandbox_options *limits, husk_sandbox **ret_sandbox,
                struct husk_error *err) {
    husk_sandbox *sandbox = sandbox_alloc(engine, image, limits);
    if (sandbox == NULL) {
        linkage_done(take_link);
        return error_set(err, HUSK_E_NOMEM, "no memory for a sandbox");
    }
    int status = image == NULL ? 0 : sandbox_load(sandbox, image, take_link, err);
    if (status != 0) {
        sandbox_destroy(sandbox);
        return error_while(err, status, "making a sandbox");
    }
    stat_count(sandbox->tally, STAT_sandboxes_made);
    *ret_sandbox = sandbox;
    return 0;
}

/* The parts of a new sandbox; image and imports may be NULL. */
struct parts {
    husk_engine *engine;
    husk_image *image;
    const husk_imports *imports;
};

/* With checked options. */
static int sandbox_make(const struct parts *parts, const struct husk_sandbox_options *options,
                        husk_sandbox **ret_sandbox, struct husk_error *err) {
    struct husk_sandbox_options limits = *options;
    struct linkage link = {0};
    limits.user = NULL; /* the machine outlives this sandbox */
    limits.label = NULL;
    int status = 0;
    if (parts->image != NULL)
        status = linkage_init(&link, parts->image, parts->imports, limits.host_call_depth_max, err);
    if (status != 0)
        return error_while(err, status, "making a sandbox");
    status = sandbox_new(parts->engine, parts->image, &link, &limits, ret_sandbox, err);
    if (status == 0)
        (*ret_sandbox)->user = options->user;
    return status;
}

static int sandbox_make_labelled(const struct parts *parts,
                                 const struct husk_sandbox_options *options,
                                 husk_sandbox **ret_sandbox, struct husk_error *err) {
    struct husk_sandbox_options copy;
    struct label *label = NULL;
    struct labels *labels = &parts->engine->labels;
    int status = engine_check_process(parts->engine, err);
    if (status == 0)
        status = options_take(options, &copy, err);
    if (status == 0 && copy.label != NULL)
        status = label_hold(labels, copy.label, &label, err);
    if (status != 0)
        return error_while(err, status, "making a sandbox");
    status = sandbox_make(parts, &copy, ret_sandbox, err);
    if (status == 0 && label != NULL)
        labelled_begin(labels, &(*ret_sandbox)->labelled, label, (*ret_sandbox)->tally);
    else
        label_release(labels, label);
    return status;
}

int husk_sandbox_new(husk_image *image, const husk_imports *imports,
                     const struct husk_sandbox_options *options, husk_sandbox **ret_sandbox,
                     struct husk_error *err) {
    if (image == NULL || ret_sandbox == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_new: a NULL argument");
    if (image->engine == NULL)
        return error_set(err, HUSK_E_INVAL,
                         "the image was opened without an engine, only to be looked at");
    const struct parts parts = {image->engine, image, imports};
    return sandbox_make_labelled(&parts, options, ret_sandbox, err);
}

/* With checked options. */
static int prepare(husk_image *image, const husk_imports *imports,
                   const struct husk_sandbox_options *options, uint32_t count,
                   struct husk_error *err) {
    struct husk_sandbox_options limits = *options;
    struct linkage link = {0};
    struct sizing sizes;
    limits.user = NULL;
    limits.label = NULL;
    int status = linkage_init(&link, image, imports, limits.host_call_depth_max, err);
    if (status == 0)
        status = linkage_check_states(&link, image, err);
    if (status == 0)
        status = sizing_make(&sizes, image, &link, &limits, err);
    linkage_done(&link);
    return status == 0 ? spares_want(image, &limits, &sizes, count, err) : status;
}

int husk_sandbox_prepare(husk_image *image, const husk_imports *imports,
                         const struct husk_sandbox_options *options, uint32_t count,
                         struct husk_error *err) {
    struct husk_sandbox_options copy;
    if (image == NULL || image->engine == NULL)
        return error_set(
            err, HUSK_E_INVAL,
            "husk_sandbox_prepare: no image, or one that was opened without an engine");
    if (count > LIMIT_SPARE_COUNT)
        return error_set(err, HUSK_E_LIMIT, "%u spare VMs are wanted; at most %u are kept", count,
                         LIMIT_SPARE_COUNT);
    int status = engine_check_process(image->engine, err);
    if (status == 0)
        status = image_check_keeps(image, err);
    if (status == 0)
        status = options_take(options, &copy, err);
    if (status == 0)
        status = prepare(image, imports, &copy, count, err);
    return status == 0 ? 0 : error_while(err, status, "preparing sandboxes");
}

int husk_sandbox_new_empty(husk_engine *engine, const struct husk_sandbox_options *options,
                           husk_sandbox **ret_sandbox, struct husk_error *err) {
    if (engine == NULL || ret_sandbox == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_new_empty: a NULL argument");
    const struct parts parts = {engine, NULL, NULL};
    return sandbox_make_labelled(&parts, options, ret_sandbox, err);
}

int husk_sandbox_load(husk_sandbox *sandbox, husk_image *image, const husk_imports *imports,
                      struct husk_error *err) {
    struct linkage link;
    if (sandbox == NULL || image == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_load: a NULL argument");
    int status = sandbox_check_still(sandbox, "loading", err);
    if (status == 0)
        status = check_engine(sandbox->engine, image, err);
    if (status == 0)
        status =
            linkage_init(&link, image, imports, sandbox->machine->limits.host_call_depth_max, err);
    if (status == 0)
        status = sandbox_load(sandbox, image, &link, err);
    if (status != 0)
        return error_while(err, status, "loading into a sandbox; %s",
                           sandbox->image != NULL ? "it still has what it had"
                                                  : "nothing is loaded in it");
    return 0;
}

int husk_sandbox_unload(husk_sandbox *sandbox, struct husk_error *err) {
    if (sandbox == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_unload: a NULL argument");
    int status = sandbox_check_still(sandbox, "unloading", err);
    if (status == 0)
        sandbox_unload(sandbox);
    return status;
}

RARE static int restore_failed(husk_sandbox *sandbox, bool has_changed, int status,
                               struct husk_error *err) {
    if (!has_changed)
        return error_while(err, status, "restoring a sandbox; it is as it was");
    calls_begin(sandbox);
    sandbox_poison(sandbox, POISON_RESTORE_FAILURE);
    calls_forget_end(&sandbox->calls);
    return error_while(
        err, status,
        "restoring a sandbox; it must be restored again, or loaded into, before it is called");
}

/* Memory gets other sizes, or is another image's. On failure everything is as it was, or
 * machine->changes_begun has changed. */
__attribute__((noinline)) static int restore_resized(husk_sandbox *sandbox, husk_image *image,
                                                     struct husk_error *err) {
    struct sizing sizes;
    int status = sizing_make(&sizes, image, &sandbox->link, &sandbox->machine->limits, err);
    if (status != 0)
        return status;
    status = machine_make_equal(sandbox->machine, image, &sizes, false, err);
    if (status != 0)
        sizing_done(&sizes);
    return status;
}

HOT FLAT int husk_sandbox_restore(husk_sandbox *sandbox, husk_image *image,
                                  struct husk_error *err) {
    if (sandbox == NULL || image == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_restore: a NULL argument");
    int status = sandbox_check_still(sandbox, "restoring", err);
    if (status != 0)
        return status;
    if (sandbox->image == NULL)
        return error_set(
            err, HUSK_E_STATE,
            "nothing is loaded, so nothing can be restored; husk_sandbox_load() loads");
    status = check_engine(sandbox->engine, image, err);
    if (status != 0)
        return status;
    if (UNLIKELY(sandbox->image != image) && !image_is_same_module(sandbox->image, image))
        return error_set(err, HUSK_E_INVAL,
                         "the image is not of the module that this sandbox holds, or was compiled "
                         "in another way; husk_sandbox_load() takes any");
    struct machine *machine = sandbox->machine;
    const uint32_t changes = machine->changes_begun;
    const bool is_sized = sandbox->image == image && machine_is_sized_for(machine, image);
    const bool has_states = sandbox->link.groups_count != 0;
    if (has_states)
        status = linkage_check_states(&sandbox->link, image, err);
    if (LIKELY(status == 0))
        status =
            LIKELY(is_sized) ? machine_restore(machine, err) : restore_resized(sandbox, image, err);
    if (UNLIKELY(status != 0))
        return restore_failed(sandbox, machine->changes_begun != changes, status, err);
    if (has_states)
        linkage_load_states(&sandbox->link, image);
    instance_begin(sandbox, image);
    sandbox->was_restored = true;
    return 0;
}

void husk_sandbox_free(husk_sandbox *sandbox) {
    if (sandbox == NULL)
        return;
    stat_count(sandbox->tally, STAT_sandboxes_freed);
    if (sandbox->machine != NULL)
        spares_learn(sandbox->machine);
    sandbox_unload(sandbox);
    spares_refill(sandbox->engine);
    sandbox_destroy(sandbox);
}
