/*
 * host/engine/engine.c: the engine: the VM backend, the watchdog, the kick signal's handler,
 * counters, the log. It is reference-counted: images, imports and sandboxes hold it.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine_internal.h"
#include "clock_cond.h"
#include "error.h"
#include "kick.h"
#include "options.h"

#define VERSION_TEXT_2(major, minor, patch) #major "." #minor "." #patch
#define VERSION_TEXT(major, minor, patch) VERSION_TEXT_2(major, minor, patch)

const char *husk_version(void) {
    return VERSION_TEXT(HUSK_VERSION_MAJOR, HUSK_VERSION_MINOR, HUSK_VERSION_PATCH);
}

static int options_take(const struct husk_engine_options *options,
                        struct husk_engine_options *ret_copy, struct husk_error *err) {
    struct husk_engine_options copy;
    int status = engine_options_read(options, &copy, err);
    if (status != 0)
        return status;
    if (copy.kick_signal == 0)
        copy.kick_signal = SIGRTMIN + 6;
    if (copy.kick_signal < 1 || copy.kick_signal > SIGRTMAX || copy.kick_signal == SIGKILL ||
        copy.kick_signal == SIGSTOP)
        return error_set(err, HUSK_E_INVAL, "signal %d cannot be the kick signal",
                         copy.kick_signal);
    *ret_copy = copy;
    return 0;
}

static int spares_init(struct spares *spares, struct husk_error *err) {
    int rc = clock_cond_init(&spares->wake);
    if (rc != 0)
        return error_sys(err, rc, "cannot prepare spare VMs");
    pthread_mutex_init(&spares->lock, NULL);
    return 0;
}

static void spares_done(struct spares *spares) {
    pthread_cond_destroy(&spares->wake);
    pthread_mutex_destroy(&spares->lock);
}

static int engine_open_parts(husk_engine *engine, struct husk_error *err) {
    if (getrandom(&engine->entry_ticket, sizeof engine->entry_ticket, 0) !=
        (ssize_t)sizeof engine->entry_ticket)
        return error_sys(err, errno, "no entropy for an engine");
    engine->pagemap.fd = -1;
    int status = pagemap_open(&engine->pagemap, err);
    if (status != 0)
        return status;
    status = spares_init(&engine->spares, err);
    if (status == 0) {
        status = watchdog_init(&engine->watchdog, err);
        if (status != 0)
            spares_done(&engine->spares);
    }
    if (status != 0)
        pagemap_close(&engine->pagemap);
    return status;
}

int engine_new_on(const struct engine_backend *backend, const struct husk_engine_options *options,
                  husk_engine **ret_engine, struct husk_error *err) {
    struct husk_engine_options copy = {0};
    int status = options_take(options, &copy, err);
    if (status != 0)
        return status;
    status = kick_signal_install(copy.kick_signal, err);
    if (status != 0)
        return status;
    husk_engine *engine = aligned_alloc(_Alignof(husk_engine), sizeof *engine);
    if (engine == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for an engine");
    memset(engine, 0, sizeof *engine);
    status = engine_open_parts(engine, err);
    if (status != 0) {
        free(engine);
        return status;
    }
    pthread_mutex_init(&engine->pool.lock, NULL);
    stats_init(&engine->stats);
    labels_init(&engine->labels);
    engine->pool.max = copy.pool_max == 0  ? POOL_DEFAULT_MAX
                       : copy.pool_max < 0 ? 0
                                           : (uint32_t)copy.pool_max;
    engine->measures_times = copy.measure_times;
    stopwatch_init(&engine->stopwatch);
    atomic_init(&engine->refs, 1);
    atomic_init(&engine->shares, 1);
    engine->vm_ops = backend->vm_ops;
    engine->vcpu_ops = backend->vcpu_ops;
    engine->backend = backend->backend;
    engine->backend_free = backend->backend_free;
    engine->host_info = backend->host_info;
    engine->entry = backend->entry;
    engine->kick_signal = copy.kick_signal;
    engine->process = process_number();
    engine->log = copy.log;
    engine->log_user = copy.log_user;
    *ret_engine = engine;
    return 0;
}

int husk_engine_new(const struct husk_engine_options *options, husk_engine **ret_engine,
                    struct husk_error *err) {
    if (ret_engine == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_engine_new: ret_engine is NULL");
    struct husk_engine_options copy = {0};
    int status = options_take(options, &copy, err);
    if (status != 0)
        return status;
    struct engine_backend backend = {
        .vm_ops = &vm_kvm_ops, .vcpu_ops = &vcpu_kvm_ops, .backend_free = vm_kvm_backend_free};
    status = vm_kvm_backend_new(copy.hypervisor_path != NULL ? copy.hypervisor_path : "/dev/kvm",
                                &backend.backend, err);
    if (status != 0)
        return status;
    vm_kvm_host_info(backend.backend, &backend.host_info);
    backend.entry = vm_kvm_entry(backend.backend);
    status = engine_new_on(&backend, options, ret_engine, err);
    if (status != 0)
        vm_kvm_backend_free(backend.backend);
    return status;
}

int engine_refuse_process(struct husk_error *err) {
    return error_set(
        err, HUSK_E_STATE,
        "the engine was made before this process was forked; its VMs are the parent's. Make an "
        "engine here");
}

husk_engine *husk_engine_ref(husk_engine *engine) {
    if (engine != NULL)
        atomic_fetch_add(&engine->shares, 1);
    return engine != NULL ? engine_ref(engine) : NULL;
}

husk_engine *engine_ref(husk_engine *engine) {
    atomic_fetch_add_explicit(&engine->refs, 1, memory_order_relaxed);
    return engine;
}

void engine_unref(husk_engine *engine) {
    if (engine == NULL || atomic_fetch_sub_explicit(&engine->refs, 1, memory_order_acq_rel) != 1)
        return;
    watchdog_done(&engine->watchdog);
    pagemap_close(&engine->pagemap);
    spares_done(&engine->spares);
    pthread_mutex_destroy(&engine->pool.lock);
    stats_done(&engine->stats);
    labels_done(&engine->labels);
    if (engine->backend_free != NULL)
        engine->backend_free(engine->backend);
    free(engine);
}

int husk_engine_host_info(const husk_engine *engine, struct husk_host_info *ret_info) {
    int status = engine == NULL ? HUSK_E_INVAL : output_check("husk_host_info", ret_info, NULL);
    if (status == 0)
        output_fill(ret_info, &engine->host_info, sizeof engine->host_info);
    return status;
}

void engine_log(const husk_engine *engine, enum husk_log_level level, const char *format, ...) {
    if (engine->log == NULL)
        return;
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    engine->log(engine->log_user, level, message);
}
