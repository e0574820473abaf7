/*
 * husk.h: run untrusted WebAssembly, every instance in a virtual machine of its own.
 *
 *   engine (the hypervisor, a watchdog for deadlines, idle VMs)
 *      └── image (compiled module, immutable, shared)
 *             └── sandbox (one instance, one VM)
 *
 * Status. Functions return 0 or a negative HUSK_E… number. On failure they fill the caller's struct
 * husk_error, if it is not NULL. A function that fails leaves its outputs untouched and leaks
 * nothing. A wasm trap, an exit and a deadline are not errors. They are outcomes of a call (struct
 * husk_outcome).
 *
 * NULL. Functions that return a status refuse it where the header does not allow it (HUSK_E_INVAL).
 * Functions that return something else, or nothing, need their handle; those that free, or add or
 * drop a share, accept NULL.
 *
 * Threads. Any number of threads may use an engine, an image, or a set of imports that no longer
 * changes. One thread at a time uses a sandbox; the sandbox may move to another thread between
 * calls. Only husk_interrupt() and husk_sandbox_stats() may be called on it at any time.
 *
 * Ownership. The caller owns what husk_…_new() and husk_…_open() return, and releases it with the
 * matching husk_…_free() or husk_…_unref(), which accept NULL. _ref() adds a share, _unref() drops
 * one. Input buffers are borrowed for the duration of the call, unless the function says otherwise.
 *
 * Structs. A struct whose first member is `size` may grow in later versions. Set `size` to the
 * struct's sizeof; the HUSK_…_INIT macros do that. Then a program runs with a library that is older
 * or newer than its header.
 *   Inputs: zero in a field means the default, and `reserved` must be zero. The library refuses
 *     (HUSK_E_INVAL) a `size` of 0 or one that ends inside a field. It also refuses a field that it
 *     does not know, unless that field is zero. The message names the struct and the place.
 *   Outputs: the library reads only `size`. It fills that many bytes; a field that it does not know
 *     becomes zero.
 * Structs without `size` are final: husk_error, husk_value, husk_functype, husk_range, husk_buffer,
 * husk_func, husk_tag, husk_host_func, husk_frame.
 *
 * Signals. The library may send its kick signal to a thread that runs a call, to end that call at
 * its deadline. The signal is SIGRTMIN + 6, or husk_engine_options.kick_signal. Its handler only
 * ends waits that the guest asked for. System calls of host functions go on, as far as the kernel
 * restarts them. Deadlines and interrupts do not end a host function that waits; they end the call
 * when it returns. The first call on a thread unblocks the signal in that thread. If the thread
 * blocks it again, nothing can cut off its calls. The library also blocks SIGPIPE and SIGXFSZ in
 * its own thread while it writes (WASI, snapshots, files), and takes back a signal that it raised.
 * The guest or the caller gets an error instead. No other signal is touched.
 *
 * Processes. All descriptors are close-on-exec. A VM belongs to the process that made it. A child
 * made by fork() has no VMs: calls there fail (HUSK_E_STATE). The child must leave the parent's
 * objects alone, and may make its own engine.
 *
 * Memory. Do not touch a live sandbox's pages from elsewhere (mlockall(MCL_CURRENT),
 * MADV_POPULATE_WRITE over all mappings): restores would miss the pages. Do that before sandboxes
 * are made (MCL_FUTURE, too), or in the thread that restores them.
 */
#ifndef HUSK_H
#define HUSK_H

#include "husk_base.h"    /* versions, errors, values, handles */
#include "husk_engine.h"  /* the engine, the host */
#include "husk_image.h"   /* images: open, look into, save */
#include "husk_imports.h" /* what the host gives a module; WASI */
#include "husk_wasi.h"    /* streams, arguments, clock of a WASI guest, for each request */
#include "husk_sandbox.h" /* sandboxes, snapshots, restore */
#include "husk_call.h"    /* calls, and how they end */
#include "husk_memory.h"  /* a guest's memories, globals, tables, references */
#include "husk_stats.h"   /* counters */

#endif
