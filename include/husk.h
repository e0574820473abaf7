/*
 * husk.h: run untrusted WebAssembly, every instance in a virtual machine of its own.
 *
 *   engine (process-wide: /dev/kvm, watchdog)
 *      └── image (compiled module, immutable, shared)
 *             └── sandbox (one instance, one VM)
 *
 * Status. Functions return 0 or a negative HUSK_E… number, and fill the caller's struct husk_error
 * if it is not NULL. On failure outputs are untouched and nothing is leaked. A wasm trap, an exit,
 * a deadline are not errors: they are outcomes of a call (struct husk_outcome).
 *
 * Threads. An engine, an image and a set of imports (once it is no longer changed) may be used by
 * any number of threads. A sandbox is used by one thread at a time, and may move between threads
 * between calls; husk_interrupt() and husk_sandbox_stats() alone may be called on it from any
 * thread at any time.
 *
 * Ownership. What husk_…_new/open returned is released by the matching …_free/_unref, which accept
 * NULL. Input buffers are borrowed for the duration of the call unless the function says otherwise.
 *
 * Versioning. Option structs start with `size`: set it to sizeof (the HUSK_…_INIT macros do that);
 * zero in every other field means the default, and `reserved` must be zero. So a program runs with
 * a library that is newer than the header it was built with, or older: new fields are added at the
 * end, and an option that is set and that the library does not know is refused, as is a size of 0
 * or one that ends inside a field (HUSK_E_INVAL; the message names the struct and the place).
 * Structs that the library fills start with `size`, too, which the caller sets: by the macro, or
 * alone, as nothing else in them is read. The library fills no more than that, and leaves `size` as
 * it is; fields that it does not know become zero. A size that is not set is refused
 * (HUSK_E_INVAL). Structs without a size (husk_error, husk_value, husk_functype, husk_frame) are
 * final.
 *
 * Signals. While a call runs, the library may send its kick signal (SIGRTMIN + 6 unless
 * husk_engine_options.kick_signal says otherwise) to the calling thread, to end a call at its
 * deadline. The handler that it installs ends what the guest waits for, and nothing else: a system
 * call of a host function goes on, as far as the kernel restarts any. A host function that waits
 * blocks its call at its own risk: deadlines and interrupts end the call when it returns. A
 * thread's first call unblocks this signal in that thread; a thread that blocks it again has calls
 * that nothing can cut off. No other signal is touched, but that every write (a WASI write, a
 * snapshot, a file) blocks SIGPIPE and SIGXFSZ in its own thread for its duration, and takes back
 * the one that it raised: it is an error, or an errno for the guest.
 *
 * Processes. All descriptors are close-on-exec. A VM belongs to the process that made it: a child
 * made by fork() has none of its parent's, so calls there are refused (HUSK_E_STATE). It leaves
 * alone what its parent made, and makes an engine of its own. The parent notices nothing.
 *
 * Memory. A restore looks for written pages only if its thread has taken a page fault since the
 * last one. So no other thread, and no other process, may make pages of a live sandbox its own
 * without the guest's writing them: by mlockall(MCL_CURRENT), or MADV_POPULATE_WRITE over all
 * mappings. Do that before sandboxes are made (MCL_FUTURE, too), or in the thread that restores
 * them.
 */
#ifndef HUSK_H
#define HUSK_H

#include "husk_base.h"    /* versions, errors, values, handles */
#include "husk_engine.h"  /* the engine, the host */
#include "husk_image.h"   /* images: open, look into, save */
#include "husk_imports.h" /* what the host gives a module; WASI */
#include "husk_sandbox.h" /* sandboxes, snapshots, restore */
#include "husk_call.h"    /* calls, and how they end */
#include "husk_memory.h"  /* a guest's memories, globals, tables, references */
#include "husk_stats.h"   /* counters */

#endif
