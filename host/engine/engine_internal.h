/*
 * host/engine/engine_internal.h: the engine as the rest of libhusk sees it: the VM backend, the
 * watchdog, counters, the log.
 */
#ifndef HOST_ENGINE_INTERNAL_H
#define HOST_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "husk.h"
#include "labels.h"
#include "pagemap.h"
#include "stats.h"
#include "vm.h"
#include "watchdog.h"

#define POOL_DEFAULT_MAX 8u

/* Idle machines. The engine only keeps the list; host/memory/pool.c puts in and takes out. */
struct pool {
    pthread_mutex_t lock;
    struct machine *newest; /* under the lock */
    uint32_t max;           /* under the lock; 0 once the embedder has no share left */
    atomic_uint count;      /* statistics read it without the lock */
};

struct husk_engine {
    atomic_uint refs;   /* the embedder's, and those of images, imports and sandboxes */
    atomic_uint shares; /* the embedder's alone */
    struct pagemap pagemap;
    struct pool pool;
    bool measures_times;
    const struct vm_ops *vm_ops;
    const struct vcpu_ops *vcpu_ops;
    struct vm_backend *backend;
    void (*backend_free)(struct vm_backend *backend);
    struct husk_host_info host_info;
    enum vm_entry entry;
    uint64_t entry_ticket; /* no guest knows it: run.c, entry_page_x86_64.S */
    int kick_signal;
    /* that made the engine: its VMs, its threads and its view of memory are those of this process
     * alone */
    uint64_t process;
    husk_log_fn log;
    void *log_user;
    struct watchdog watchdog;
    struct stats stats;
    struct labels labels;
};

/* Where an engine's VMs come from; tests put in a fake. */
struct engine_backend {
    const struct vm_ops *vm_ops;
    const struct vcpu_ops *vcpu_ops;
    struct vm_backend *backend;
    void (*backend_free)(struct vm_backend *backend); /* may be NULL */
    struct husk_host_info host_info;
    enum vm_entry entry;
};

/* Takes over the backend on success only. */
int engine_new_on(const struct engine_backend *backend, const struct husk_engine_options *options,
                  husk_engine **ret_engine, struct husk_error *err);
/* HUSK_E_STATE in a child made by fork(). KVM would refuse to run its parent's VMs, but not before
 * the child had changed the registers in the page that both share. */
int engine_check_process(const husk_engine *engine, struct husk_error *err);
husk_engine *engine_ref(husk_engine *engine);
void engine_unref(husk_engine *engine);

void engine_log(const husk_engine *engine, enum husk_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
