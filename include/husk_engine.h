/*
 * husk_engine.h: the engine, which a process makes once, and the host that it runs on. Part of
 * husk.h.
 */
#ifndef HUSK_ENGINE_H
#define HUSK_ENGINE_H

#include "husk_base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum husk_log_level { HUSK_LOG_ERROR, HUSK_LOG_WARNING, HUSK_LOG_INFO, HUSK_LOG_DEBUG };
typedef void (*husk_log_fn)(void *user, enum husk_log_level level, const char *message);

struct husk_engine_options {
    size_t size;
    const char *hypervisor_path; /* NULL: "/dev/kvm" */
    husk_log_fn log;             /* called from any thread of the library; NULL: no log */
    void *log_user;
    int kick_signal; /* 0: SIGRTMIN + 6 */
    /* How many idle VMs to keep for new sandboxes with the same limits. 0: 8; -1: none. */
    int32_t pool_max;
    bool measure_times; /* histograms of calls and host calls (two clock reads each) */
    uint8_t reserved[7];
};
#define HUSK_ENGINE_OPTIONS_INIT HUSK_INIT_OF(husk_engine_options)

/* Open the hypervisor, and check that it has all that the library needs. `options` may be NULL.
 * HUSK_E_NO_HYPERVISOR: no device or no permission; the message says which, and what to do.
 * HUSK_E_HYPERVISOR_CAP, HUSK_E_INVAL, HUSK_E_NOMEM, HUSK_E_SYS. */
HUSK_API int husk_engine_new(const struct husk_engine_options *options, husk_engine **ret_engine,
                             struct husk_error *err);

/* Add a share of the engine, and drop one. Images, imports and sandboxes keep the engine alive,
 * too. When the last share is dropped, the pool is emptied and closed. NULL is fine. Any thread. */
HUSK_API husk_engine *husk_engine_ref(husk_engine *engine);
HUSK_API void husk_engine_unref(husk_engine *engine);

enum husk_hypervisor {
    HUSK_HYPERVISOR_UNKNOWN,
    HUSK_HYPERVISOR_KVM_VMX,
    HUSK_HYPERVISOR_KVM_SVM,
    HUSK_HYPERVISOR_KVM_PVM
};

/* The host, as husk doctor prints it. */
struct husk_host_info {
    size_t size;
    enum husk_hypervisor hypervisor;
    int hypervisor_api;    /* the version of its interface; KVM: KVM_GET_API_VERSION */
    uint32_t memslots_max; /* pieces of memory that a VM can have; KVM: KVM_CAP_NR_MEMSLOTS */
    uint64_t cpu_features; /* bits of abi/cpu_features.def that images may use here */
    /* KVM_CAP_SYNC_REGS, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_READONLY_MEM,
     * KVM_CAP_X86_MSR_FILTER; false for any other hypervisor */
    bool has_sync_regs, has_immediate_exit, has_readonly_mem, has_msr_filter;
    char cpu_name[64];
};
#define HUSK_HOST_INFO_INIT HUSK_INIT_OF(husk_host_info)
/* HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_engine_host_info(const husk_engine *engine, struct husk_host_info *ret_info);
/* The name of one bit of cpu_features: "avx2", …. NULL if the bit means nothing. Static storage. */
HUSK_API const char *husk_cpu_feature_name(unsigned bit);

/* Drop idle VMs until at most `keep` are left. The pool keeps the VMs of freed sandboxes
 * (husk_engine_options.pool_max). A new sandbox with equal limits takes one, preferably one that
 * held the same image. Any thread. */
HUSK_API void husk_engine_trim(husk_engine *engine, uint32_t keep);

#ifdef __cplusplus
}
#endif
#endif
