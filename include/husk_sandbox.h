/*
 * husk_sandbox.h: sandboxes, snapshots and restore, memory images. Part of husk.h.
 */
#ifndef HUSK_SANDBOX_H
#define HUSK_SANDBOX_H

#include "husk_base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct husk_sandbox_options {
    size_t size;
    /* All linear memories together; default: what the module declares (at most 4 GiB each). Zeros
     * of an image's data region count, too, beyond what its tables and globals need, as many bytes
     * as its file has, and 128 KiB: hardly any module has such. */
    uint64_t memory_max_bytes;
    /* all tables together; default 1,000,000, or what the module (not a snapshot of it) starts with
     * if that is more */
    uint64_t table_max_entries;
    uint64_t stack_bytes; /* native stack; default 1 MiB, 16 KiB … 64 MiB */
    void *user;           /* the embedder's own: husk_sandbox_user() */
    /* For husk_engine_prometheus(); see husk_sandbox_set_label(). Copied. NULL, "": none */
    const char *label;
    uint32_t host_call_depth_max; /* nested host call → guest call → …; default 16 */
    uint32_t reserved;
};
#define HUSK_SANDBOX_OPTIONS_INIT HUSK_INIT_OF(husk_sandbox_options)

/* A fresh instance of an image, or of a snapshot, in a VM of its own. No guest code runs yet.
 * `imports` may be NULL; what it defines is resolved now, and the set may be freed afterwards.
 * `options` may be NULL. HUSK_E_LINK names the imports that are missing, or one of another type.
 * HUSK_E_INVAL: also an image that was opened without an engine. HUSK_E_LIMIT, HUSK_E_STATE (in a
 * forked child), HUSK_E_NOMEM, HUSK_E_SYS. */
HUSK_API int husk_sandbox_new(husk_image *image, const husk_imports *imports,
                              const struct husk_sandbox_options *options,
                              husk_sandbox **ret_sandbox, struct husk_error *err);
/* A sandbox that is loaded later: husk_sandbox_load(). */
HUSK_API int husk_sandbox_new_empty(husk_engine *engine, const struct husk_sandbox_options *options,
                                    husk_sandbox **ret_sandbox, struct husk_error *err);
/* Not while a call runs, so not from a host function that it called. NULL is fine. */
HUSK_API void husk_sandbox_free(husk_sandbox *sandbox);

/* The embedder's pointer for this sandbox: husk_sandbox_options.user, or what was set since; NULL
 * otherwise. Loads and restores leave it alone. Threads: as all of a sandbox, by one at a time;
 * while a call runs, by its host functions. */
HUSK_API void *husk_sandbox_user(const husk_sandbox *sandbox);
HUSK_API void husk_sandbox_set_user(husk_sandbox *sandbox, void *user);

/* Another label, as by husk_sandbox_options.label; NULL or "": none. A sandbox with the label L has
 * its counters (husk_sandbox_stats()) in husk_engine_prometheus(), as
 * husk_sandbox_…{sandbox="L"}. Sandboxes of one label are summed up. The label keeps what sandboxes
 * counted that are freed, or have another label now, so that counters do not fall. The counts of a
 * sandbox without a label go to its next label. The engine keeps the 1024 labels that sandboxes
 * gave up last, and forgets older ones.
 *
 * A label is copied. It has at most 128 bytes (HUSK_E_LIMIT) of UTF-8, and no character that
 * husk_name_escape() shows as \hh (HUSK_E_INVAL). So the result of husk_name_escape() is a label,
 * if it is short enough. HUSK_E_NOMEM. On failure the label is as it was. Threads: as of
 * husk_sandbox_set_user(). */
HUSK_API int husk_sandbox_set_label(husk_sandbox *sandbox, const char *label,
                                    struct husk_error *err);

/* ---- Snapshots and restore ---- */

/*
 * The life of a sandbox:
 *
 *                     husk_sandbox_load
 *        ┌──────────────────────────────────────────────┐
 *        │                                              ▼
 *     EMPTY ◄── (nothing was ever loaded)            LOADED ──── call ends ────► LOADED
 *                                                    │  │  ▲
 *                             husk_sandbox_unload    │  │  │ husk_sandbox_restore, _load
 *        DIRTY ◄─────────────────────────────────────┘  │  │
 *        │                                              │  │
 *        └── husk_sandbox_load: the one restore that ───┼──┘
 *            the unload put off is done here            │
 *                                                       └── call is cut off ──► POISONED
 *                                                           (restore, unload or load heals)
 *
 * When something fails, it has changed nothing: the sandbox is still EMPTY, DIRTY, LOADED (and
 * every byte of it as it was) or POISONED. But memory is made equal to an image in several steps,
 * and what the system refuses in the middle of that (HUSK_E_SYS, HUSK_E_NOMEM; the message says so)
 * leaves neither the old state nor the new one:
 *
 *     husk_sandbox_restore   POISONED: nothing but another restore, a load or an unload is of use
 *     husk_sandbox_load      DIRTY: what was loaded is gone (husk_call(): HUSK_E_STATE); load again
 *
 * Either may be tried again, with any image, and no failure of either costs the VM.
 *
 * An image and a snapshot are one thing: a snapshot is an image taken from a sandbox between two
 * calls. Anything that takes an image takes a snapshot. Nothing here runs guest code or creates a
 * VM where one can be reused.
 */

/* Take a snapshot: the instance as it is now, immutable, independent of this sandbox's later life.
 * Cost follows the pages written since the image it was loaded from and what memory images are
 * mapped, not its size. Stack, mailbox and vCPU registers hold nothing between calls, and are zero
 * in every snapshot. Released with husk_image_unref(). The sandbox is not changed. HUSK_E_STATE (a
 * call is running; nothing is loaded; the module is not initialised: husk_sandbox_start(), or a
 * first call, does that), HUSK_E_POISONED, HUSK_E_NOMEM, HUSK_E_SYS. */
HUSK_API int husk_sandbox_snapshot(husk_sandbox *sandbox, husk_image **ret_snapshot,
                                   struct husk_error *err);

/* Make the sandbox equal to an image of the module that it holds: the one it was loaded from, any
 * snapshot of it, or a snapshot taken from another sandbox of the same module, also after it was
 * saved and opened again (the first restore to what was opened anew maps memory anew, and ends
 * spans, as a load does). Heals a poisoned sandbox. Imports stay as linked. A restore that is
 * rejected (HUSK_E_INVAL: another module; HUSK_E_LIMIT: larger than this sandbox's limits;
 * HUSK_E_STATE: a call is running, or nothing is loaded; HUSK_E_BAD_IMAGE, HUSK_E_IMAGE_VERSION:
 * state of WASI's that a file has wrong), or that fails (HUSK_E_SYS, HUSK_E_NOMEM) before anything
 * is changed, changes nothing; one that fails half-way leaves the sandbox poisoned, and may be
 * tried again. */
HUSK_API int husk_sandbox_restore(husk_sandbox *sandbox, husk_image *image, struct husk_error *err);

/* Drop the instance, keep the VM. Restoring is put off until the next load, which does it once;
 * freeing does it never. HUSK_E_STATE if a call is running. Unloading what is not loaded does
 * nothing. */
HUSK_API int husk_sandbox_unload(husk_sandbox *sandbox, struct husk_error *err);

/* Load an image or a snapshot into a sandbox, whatever it held before (a loaded instance is
 * unloaded first). Errors as husk_sandbox_new(): all that can be refused is refused before anything
 * is changed; a load that fails half-way leaves the sandbox unloaded, and may be tried again.
 * `imports` may be NULL. The sandbox keeps its limits. */
HUSK_API int husk_sandbox_load(husk_sandbox *sandbox, husk_image *image,
                               const husk_imports *imports, struct husk_error *err);

/* Another sandbox in the same state, with the same imports and limits: a snapshot, and a new
 * sandbox from it. It has neither the user pointer nor the label. Errors as of both. The sandbox is
 * not changed. */
HUSK_API int husk_sandbox_clone(husk_sandbox *sandbox, husk_sandbox **ret_clone,
                                struct husk_error *err);

/*
 * Uniqueness: sandboxes from one snapshot share everything, the state of the guest's random number
 * generator too. If a module exports `husk_restored` of type (i64, i64) -> (), it is called with
 * 128 bits of fresh entropy before the first call after a restore to a snapshot, a load of one, or
 * a new sandbox from one. If it does not return, its outcome is that call's, and it is called again
 * before the next: nothing else runs before it has returned once.
 */

/* Memory images: a page-aligned range of a sandbox's linear memory, as an object that can be mapped
 * copy-on-write into any sandbox of the same engine, at any page-aligned place. Range and offset
 * are multiples of 4096 bytes, and no range is empty. Any number of sandboxes can map one; it may
 * be released while it is mapped. Any number of threads may use one at once. */
/* The range as it is now, also of a poisoned sandbox, whose memory is in the middle of something.
 * It becomes copy-on-write over the image itself: later writes there never change the image.
 * HUSK_E_INVAL (alignment, NULL), HUSK_E_LIMIT (out of bounds of the memory; more than 1024 images
 * are mapped in this sandbox, those that others cover not counted), HUSK_E_STATE (nothing is
 * loaded), HUSK_E_SYS, HUSK_E_NOMEM; nothing has changed then. Threads: as all of a sandbox, by one
 * at a time; while a call runs, by its host functions. */
HUSK_API int husk_memory_image_new(husk_sandbox *sandbox, const struct husk_range *range,
                                   husk_memory_image **ret_image, struct husk_error *err);
/* The range then reads as [offset, offset + range->count) of the image.
 * Errors and threads as above; HUSK_E_LIMIT also out of bounds of the image, HUSK_E_INVAL also for
 * one of another engine. A restore takes the mapping away again. */
HUSK_API int husk_memory_image_map(husk_sandbox *sandbox, const struct husk_range *range,
                                   const husk_memory_image *image, uint64_t offset,
                                   struct husk_error *err);
/* 0 for NULL. */
HUSK_API uint64_t husk_memory_image_bytes(const husk_memory_image *image);
/* One more share, and one less; NULL is fine. Any thread. */
HUSK_API husk_memory_image *husk_memory_image_ref(husk_memory_image *image);
HUSK_API void husk_memory_image_unref(husk_memory_image *image);

#ifdef __cplusplus
}
#endif
#endif
