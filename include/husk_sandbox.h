/*
 * husk_sandbox.h: sandboxes, snapshots and restore, memory images. Part of husk.h.
 */
#ifndef HUSK_SANDBOX_H
#define HUSK_SANDBOX_H

#include "husk_base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Large pages (2 MiB) for memory that is written for the first time. They save many page faults,
 * which cost much in a VM. But one byte written takes 2 MiB of the host's memory; and as long as a
 * sandbox has a large page, its restores compare all of it. */
enum husk_large_pages {
    /* For memory that grows much in a call. And for zeros of the image, if they paid in the image's
     * other sandboxes. Until that is known, the first few sandboxes try it out. */
    HUSK_LARGE_PAGES_AUTO = 0,
    /* Wherever memory is zeros at first. For programs that write most of their memory, and for
     * sandboxes that are not restored. */
    HUSK_LARGE_PAGES_ALWAYS = 1,
    HUSK_LARGE_PAGES_NEVER = 2,
    /* As ALWAYS, and for what the image has, too: code and contents of memories are copied into
     * large pages when the sandbox is made (0.2 ms per MiB, each up to 64 MiB, and the sandbox has
     * this memory to itself). For programs of which much is used, which run once, and where a page
     * fault is slow (HUSK_HYPERVISOR_KVM_PVM: 30 us). The first restore takes the copies of the
     * memories away, and is slow; so a sandbox from the pool has none. */
    HUSK_LARGE_PAGES_CONTENTS = 3
};

struct husk_sandbox_options {
    size_t size;
    /* Of all linear memories together. 0: as the module declares, at most 4 GiB each, or 8 GiB with
     * 64-bit addresses. An image's data region counts, too, as far as it has more zeros than its
     * tables and globals need, its file has bytes, and 128 KiB. Hardly any module has so many. */
    uint64_t memory_max_bytes;
    /* Of all tables together. 0: 1,000,000, or the entries with which the module (not a snapshot of
     * it) starts, if these are more. */
    uint64_t table_max_entries;
    uint64_t stack_bytes; /* native stack, 16 KiB to 64 MiB; 0: 1 MiB */
    void *user;           /* the embedder's pointer: husk_sandbox_user() */
    /* For husk_engine_prometheus(); see husk_sandbox_set_label(). Copied. NULL or "": none. */
    const char *label;
    uint32_t host_call_depth_max; /* of guest → host function → guest → …; 0: 16 */
    /* enum husk_large_pages. They come only if the kernel gives them: transparent_hugepage/enabled
     * is madvise or always. */
    uint32_t large_pages;
};
#define HUSK_SANDBOX_OPTIONS_INIT HUSK_INIT_OF(husk_sandbox_options)

/* Make an instance of an image, or of a snapshot, in its own VM. No guest code runs yet. `imports`
 * and `options` may be NULL. Imports are resolved now, and the set may be freed afterwards.
 * HUSK_E_LINK: the message names the imports that are missing, or one of another type.
 * HUSK_E_INVAL: also for an image that was opened without an engine. HUSK_E_LIMIT, HUSK_E_STATE (in
 * a forked child), HUSK_E_NOMEM, HUSK_E_SYS. */
HUSK_API int husk_sandbox_new(husk_image *image, const husk_imports *imports,
                              const struct husk_sandbox_options *options,
                              husk_sandbox **ret_sandbox, struct husk_error *err);
/* Keep `count` VMs ready for new sandboxes of this image with equal limits: a thread of the library
 * makes them ahead. It makes those that were taken anew when a sandbox is freed, or when fewer than
 * half are left: not beside a first call, which that would slow down. husk_sandbox_new() takes one
 * if no idle VM held this image last. Such a sandbox costs little more than its first call: the VM
 * is there, and has taken the page faults that a first call causes (on Linux 6.13 and later; before
 * it, KVM makes a VM wait that changes its thread). `imports` and `options` are those of the
 * sandboxes; they are looked at now.
 *
 * A later call for the same image and limits changes the count; 0 ends it and frees the VMs. Else
 * they are freed when the engine's last share is dropped. That ends the thread, too, and waits for
 * it, for as long as a VM takes to be made. Until then the image stays open. husk_engine_trim()
 * leaves these VMs alone. A VM that cannot be made is logged (HUSK_LOG_WARNING), counted
 * (husk_stats.spare_failures), and tried again later.
 *
 * Errors are those of husk_sandbox_new(). HUSK_E_LIMIT: more than 1024 VMs, or more than 64 images.
 * HUSK_E_STATE: also if the engine's last share was dropped. Any thread. */
HUSK_API int husk_sandbox_prepare(husk_image *image, const husk_imports *imports,
                                  const struct husk_sandbox_options *options, uint32_t count,
                                  struct husk_error *err);
/* Make a sandbox without an instance, to be loaded later (husk_sandbox_load()). */
HUSK_API int husk_sandbox_new_empty(husk_engine *engine, const struct husk_sandbox_options *options,
                                    husk_sandbox **ret_sandbox, struct husk_error *err);
/* Free a sandbox. No call may be running in it, so a host function cannot free the sandbox that
 * called it; a pending one is abandoned. NULL is fine. */
HUSK_API void husk_sandbox_free(husk_sandbox *sandbox);

/* The embedder's pointer for this sandbox: husk_sandbox_options.user, or the one set since. Loads
 * and restores do not change it. Threads: one at a time, as for all functions of a sandbox; during
 * a call, its host functions. */
HUSK_API void *husk_sandbox_user(const husk_sandbox *sandbox);
HUSK_API void husk_sandbox_set_user(husk_sandbox *sandbox, void *user);

/* Change the label of husk_sandbox_options.label; NULL or "": none. husk_engine_prometheus() shows
 * the counters of a sandbox with the label L (husk_sandbox_stats()) as husk_sandbox_…{sandbox="L"}.
 * It adds up sandboxes of one label. Counters never fall: a label keeps the counts of sandboxes
 * that were freed or got another label. Counts made without a label go to the sandbox's next label.
 * The engine keeps the 1024 labels that were given up last, and forgets older ones.
 *
 * The label is copied. It has at most 128 bytes (HUSK_E_LIMIT) of UTF-8, and no character that
 * husk_name_escape() shows as \hh (HUSK_E_INVAL). So a short enough result of husk_name_escape() is
 * a label. HUSK_E_NOMEM. On failure the label does not change. Threads: as for
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
 * A function that fails changes nothing: the sandbox is still EMPTY, DIRTY, LOADED (with every byte
 * as it was) or POISONED. There is one exception. Memory is made equal to an image in several
 * steps, and the system may fail in the middle (HUSK_E_SYS, HUSK_E_NOMEM; the message says so).
 * Then the state is neither the old nor the new one:
 *
 *     husk_sandbox_restore   POISONED: only another restore, a load or an unload is possible
 *     husk_sandbox_load      DIRTY: the instance is gone (husk_call(): HUSK_E_STATE); load again
 *
 * Both may be tried again, with any image. Neither failure costs the VM.
 *
 * A snapshot is an image that was taken from a sandbox between two calls. Every function that takes
 * an image takes a snapshot. No function here runs guest code, or creates a VM if one can be
 * reused.
 */

/* Take a snapshot of the instance as it is now. It does not change later, whatever the sandbox
 * does. The cost depends on the pages written since the last image and on mapped memory images, not
 * on the size. Stack, mailbox and vCPU registers hold nothing between calls; they are zero in a
 * snapshot. The sandbox does not change.
 *
 * A pending call of husk_call() is in the snapshot, with its stack and the arguments of the host
 * function. husk_caller_snapshot() takes one inside a host function. A sandbox that gets such a
 * snapshot (husk_sandbox_new(), _load(), _restore(), _clone()) has that call as a pending one, as
 * often as it gets it: see husk_call_resume(). It has no limits until then. A sandbox whose stack
 * is smaller than that of the call refuses it (HUSK_E_LIMIT). In a file, arguments and stack are
 * those of whoever made the file: believe no argument, and no externref in particular.
 * Release the snapshot with husk_image_unref().
 * HUSK_E_STATE: a call is running, nothing is loaded, the module is not initialised
 * (husk_sandbox_start() or a first call does that), or what is pending is its initialisation,
 * husk_restored(), husk_call_bytes() or husk_call_many(). HUSK_E_GUEST: the stack pointer of the
 * pending call is outside of its stack. HUSK_E_POISONED, HUSK_E_NOMEM, HUSK_E_SYS. */
HUSK_API int husk_sandbox_snapshot(husk_sandbox *sandbox, husk_image **ret_snapshot,
                                   struct husk_error *err);

/* Make the sandbox equal to an image of its module: the image it was loaded from, a snapshot of
 * that, or a snapshot of another sandbox of the same module. The image may have been saved and
 * opened again; the first restore to it then remaps memory and ends spans, as a load does. A
 * restore heals a poisoned sandbox, and abandons a pending call. Imports stay as they were linked.
 *
 * HUSK_E_INVAL: an image of another module. HUSK_E_LIMIT: larger than the sandbox's limits.
 * HUSK_E_STATE: a call is running, or nothing is loaded. HUSK_E_BAD_IMAGE, HUSK_E_IMAGE_VERSION: a
 * file's WASI state is wrong. HUSK_E_SYS, HUSK_E_NOMEM. A restore that fails changes nothing,
 * unless it fails half-way; then the sandbox is poisoned, and the restore may be tried again. */
HUSK_API int husk_sandbox_restore(husk_sandbox *sandbox, husk_image *image, struct husk_error *err);

/* Drop the instance and keep the VM. Memory is restored by the next load, or never if the sandbox
 * is freed. Without an instance this does nothing. HUSK_E_STATE: a call is running. */
HUSK_API int husk_sandbox_unload(husk_sandbox *sandbox, struct husk_error *err);

/* Load an image or a snapshot into a sandbox. An instance that is loaded is unloaded first.
 * `imports` may be NULL. The sandbox keeps its limits. Errors are those of husk_sandbox_new(). They
 * come before any change, except when a load fails half-way; then the sandbox is unloaded, and the
 * load may be tried again. */
HUSK_API int husk_sandbox_load(husk_sandbox *sandbox, husk_image *image,
                               const husk_imports *imports, struct husk_error *err);

/* Make another sandbox in the same state, with the same imports and limits, but without the user
 * pointer and the label. This takes a snapshot and makes a sandbox from it; errors are those of
 * both. The sandbox does not change. */
HUSK_API int husk_sandbox_clone(husk_sandbox *sandbox, husk_sandbox **ret_clone,
                                struct husk_error *err);

/* Give up the VM of a sandbox, and keep everything else: memory, files, handles, statistics, and a
 * pending call with its limits. A parked sandbox holds no descriptor of the hypervisor and hardly
 * any memory of the kernel, so thousands can wait. All functions work on it as before. A call, or
 * husk_call_resume(), gets a VM first, which costs less than a new sandbox; its limits count that
 * time. If there is no VM (HUSK_E_SYS, HUSK_E_NOMEM), the call fails, and the sandbox is parked as
 * before. A load that makes new memory gets a VM, too. Other functions, also a restore to the same
 * module, leave the sandbox parked. The VM goes to the engine's pool if that has room, for the next
 * parked sandbox that is called; otherwise it is destroyed.
 *
 * A sandbox in any state can be parked, also a poisoned one, and one that is parked already.
 * HUSK_E_STATE: a call is running, or this is a forked child. Nothing else can fail. Threads: one
 * at a time, as for all functions of a sandbox; the next call may come from any thread. */
HUSK_API int husk_sandbox_park(husk_sandbox *sandbox, struct husk_error *err);
/* True: the sandbox has no VM now: it is parked, or it was made empty and nothing was loaded. */
HUSK_API bool husk_sandbox_is_parked(const husk_sandbox *sandbox);

/*
 * Uniqueness. Sandboxes from one snapshot share everything, also the state of the guest's random
 * number generator. A module can export `husk_restored` of type (i64, i64) -> (). After a restore
 * to a snapshot, a load of one, or a new sandbox from one, the first call calls this function
 * before anything else, with 128 bits of fresh entropy. If it does not return, the call has its
 * outcome, and the next call calls it again.
 */

/* A memory image is a copy of a page-aligned range of linear memory. It can be mapped copy-on-write
 * into any sandbox of the same engine, at any page-aligned place. Range and offset are multiples of
 * 4096 bytes, and no range is empty. Any number of sandboxes can map one, and any number of threads
 * may use one at once. It may be released while it is mapped. */
/* Make a memory image of a range as it is now. The range itself becomes copy-on-write over the
 * image, so later writes there do not change the image. The sandbox may be poisoned; then its
 * memory may be in the middle of a change. HUSK_E_INVAL: alignment, NULL. HUSK_E_LIMIT: out of
 * bounds of the memory, or more than 1024 images mapped in this sandbox (images that others cover
 * do not count). HUSK_E_STATE: nothing is loaded. HUSK_E_SYS, HUSK_E_NOMEM. On failure nothing has
 * changed. Threads: one at a time, as for all functions of a sandbox; during a call, its host
 * functions. */
HUSK_API int husk_memory_image_new(husk_sandbox *sandbox, const struct husk_range *range,
                                   husk_memory_image **ret_image, struct husk_error *err);
/* Map [offset, offset + range->count) of an image at the range. A restore removes the mapping.
 * Errors and threads as above. HUSK_E_LIMIT: also out of bounds of the image. HUSK_E_INVAL: also an
 * image of another engine. */
HUSK_API int husk_memory_image_map(husk_sandbox *sandbox, const struct husk_range *range,
                                   const husk_memory_image *image, uint64_t offset,
                                   struct husk_error *err);
/* The size of an image in bytes; 0 for NULL. */
HUSK_API uint64_t husk_memory_image_bytes(const husk_memory_image *image);
/* Add a share of the image, and drop one. NULL is fine. Any thread. */
HUSK_API husk_memory_image *husk_memory_image_ref(husk_memory_image *image);
HUSK_API void husk_memory_image_unref(husk_memory_image *image);

#ifdef __cplusplus
}
#endif
#endif
