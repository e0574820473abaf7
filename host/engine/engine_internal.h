/*
 * host/engine/engine_internal.h: the engine, for the rest of libhusk: the VM backend, the watchdog,
 * counters, the log.
 */
#ifndef HOST_ENGINE_INTERNAL_H
#define HOST_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "husk.h"
#include "kick.h"
#include "labels.h"
#include "pagemap.h"
#include "stats.h"
#include "stopwatch.h"
#include "vm.h"
#include "watchdog.h"

#define POOL_DEFAULT_MAX 8u

/* Idle machines. The engine holds the list; host/memory/pool.c adds and removes machines. */
struct pool {
    pthread_mutex_t lock;
    struct machine *newest; /* under the lock */
    uint32_t max;           /* under the lock; 0 once the embedder has dropped its last share */
    atomic_uint count;      /* statistics read it without the lock */
};

/* Spare machines. The engine holds the list; host/memory/spare.c fills it. */
struct spares {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* of the thread; the rest is under the lock */
    pthread_t thread;
    bool is_started, is_stopping;
    struct spare_wish *wishes;
    atomic_uint wishes_count; /* also read without the lock */
    uint32_t turn;            /* whose turn it is in the list */
    atomic_bool owes_wake;    /* one was taken, and the thread was not woken */
};

struct husk_engine {
    atomic_uint refs;   /* references of the embedder, images, imports and sandboxes */
    atomic_uint shares; /* shares of the embedder */
    struct pagemap pagemap;
    struct pool pool;
    struct spares spares;
    bool measures_times;
    struct stopwatch stopwatch; /* of restores */
    const struct vm_ops *vm_ops;
    const struct vcpu_ops *vcpu_ops;
    struct vm_backend *backend;
    void (*backend_free)(struct vm_backend *backend);
    struct husk_host_info host_info;
    enum vm_entry entry;
    uint64_t entry_ticket; /* secret from guests: run.c, entry_page_x86_64.S */
    int kick_signal;
    /* the process that made the engine; the VMs, threads and the view of memory belong to it
     * alone */
    uint64_t process;
    husk_log_fn log;
    void *log_user;
    struct watchdog watchdog;
    struct stats stats;
    struct labels labels;
};

/* The source of an engine's VMs. Tests use a fake one. */
struct engine_backend {
    const struct vm_ops *vm_ops;
    const struct vcpu_ops *vcpu_ops;
    struct vm_backend *backend;
    void (*backend_free)(struct vm_backend *backend); /* may be NULL */
    struct husk_host_info host_info;
    enum vm_entry entry;
};

/* Make an engine. Takes over the backend on success only. */
int engine_new_on(const struct engine_backend *backend, const struct husk_engine_options *options,
                  husk_engine **ret_engine, struct husk_error *err);
/* HUSK_E_STATE in a child made by fork(). KVM refuses to run the parent's VMs there. But before
 * that the child would have changed the registers in the page that both share. */
int engine_refuse_process(struct husk_error *err);
static inline int engine_check_process(const husk_engine *engine, struct husk_error *err) {
    return LIKELY(engine->process == process_number_again()) ? 0 : engine_refuse_process(err);
}
husk_engine *engine_ref(husk_engine *engine);
void engine_unref(husk_engine *engine);

void engine_log(const husk_engine *engine, enum husk_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
