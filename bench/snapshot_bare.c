/*
 * bench/snapshot_bare.c: the rows to compare Husk with: a KVM_RUN that does nothing, making a VM
 * for one, and a restore by KVM's dirty log. All use VMs made without libhusk. The dirty log gets
 * the best case: the guest is a loop of a few instructions, nothing else is restored, and its pages
 * are copied from a buffer as large as the memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bare_vm.h"
#include "snapshot.h"

enum {
    PAGE = 4096,
    LOGGED_BYTES = 16 << 20,
    IDLE_BYTES = 2 << 20,
    LOG_WORDS = LOGGED_BYTES / PAGE / 64
};

static int bare_fail(const struct snapshot_op *op) {
    fprintf(stderr, "husk_bench: %s: the bare VM did not run: %s\n", op->name, strerror(errno));
    return -1;
}

/* Its memory has something in every page that it writes, as the sandboxes' has. */
static int saved_make(struct snapshot_op *op) {
    op->saved_bytes = LOGGED_BYTES;
    op->saved = malloc(op->saved_bytes);
    if (op->saved == NULL)
        return bare_fail(op);
    for (size_t at = BARE_VM_FIRST; at < LOGGED_BYTES; at += 8) {
        uint64_t word = 0x9e3779b97f4a7c15u * (at + 1);
        memcpy(op->bare->memory + at, &word, sizeof word);
    }
    memcpy(op->saved, op->bare->memory, op->saved_bytes);
    return 0;
}

int op_open_bare(struct snapshot_op *op) {
    const bool logs_dirty = op->pages != 0;
    op->bare = malloc(sizeof *op->bare);
    if (op->bare == NULL ||
        bare_vm_open(op->bare, logs_dirty ? LOGGED_BYTES : IDLE_BYTES, op->pages, logs_dirty) != 0)
        return bare_fail(op);
    return logs_dirty ? saved_make(op) : 0;
}

int op_bare(struct snapshot_op *op) {
    return bare_vm_run(op->bare) == 0 ? 0 : bare_fail(op);
}

int op_bare_drop(struct snapshot_op *op) {
    bare_vm_close(op->bare);
    return 0;
}

int op_bare_new(struct snapshot_op *op) {
    return bare_vm_open(op->bare, IDLE_BYTES, 0, false) == 0 ? op_bare(op) : bare_fail(op);
}

int op_dirty_log(struct snapshot_op *op) {
    uint64_t log[LOG_WORDS];
    if (bare_vm_dirty_log(op->bare, log) != 0)
        return bare_fail(op);
    for (size_t i = 0; i < LOG_WORDS; i++) {
        for (uint64_t left = log[i]; left != 0; left &= left - 1) {
            size_t at = (64 * i + (size_t)__builtin_ctzll(left)) * PAGE;
            memcpy(op->bare->memory + at, op->saved + at, PAGE);
        }
    }
    return op_bare(op);
}
