/*
 * abi/mailbox.h: the shared pages through which calls, host calls and services pass their
 * arguments. The guest can write them, so they are hostile: the host copies a field once, checks
 * the copy and uses the copy.
 *
 * A slot is 16 bytes and holds one wasm value in its low bytes (little-endian): i32/f32 4,
 * i64/f64/funcref/externref 8, v128 16. The bytes above the value are undefined. References: 0 is
 * null; a funcref is (canonical type id << 32) | code address (abi/image.h); an externref is the
 * embedder's 64-bit handle.
 *
 * Call (host -> guest): the host writes the arguments to call_slots, sets the registers that
 * guest/entry.S names, and runs the guest. The guest overwrites call_slots with the results and
 * does OUT HUSK_PORT_CALL_DONE. Host call (guest -> host): the import stub writes import_idx and
 * the arguments to host_slots, and does OUT HUSK_PORT_HOST_CALL. The host overwrites host_slots
 * with the results and resumes the guest. A host function may call back into the guest. At that
 * time the host has copied host_slots. call_slots are free, too: the outer call has read its
 * arguments and has not written its results.
 */
#ifndef HUSK_ABI_MAILBOX_H
#define HUSK_ABI_MAILBOX_H

#include "exchange.h"

#define HUSK_SLOT_BYTES 16
#define HUSK_MAX_SLOTS 1024 /* >= the 1,000 parameters or results that wasm limits allow */

/* offsets within the mailbox, for the compiler and for assembler */
#define HUSK_MBOX_SERVICE_OP 0
#define HUSK_MBOX_SERVICE_ARG 8 /* uint64_t[3] */
#define HUSK_MBOX_SERVICE_RET 32
#define HUSK_MBOX_IMPORT_IDX 40
#define HUSK_MBOX_KNOWN_IMPORT 48
#define HUSK_MBOX_KNOWN_END 52
#define HUSK_MBOX_KNOWN_WORDS 56 /* uint32_t[2] */
#define HUSK_MBOX_CALL_SLOTS 0x1000
#define HUSK_MBOX_HOST_SLOTS 0x5000
#define HUSK_MBOX_EXCHANGE 0x9000 /* abi/exchange.h */
#define HUSK_MBOX_BYTES (HUSK_MBOX_EXCHANGE + HUSK_EXCHANGE_BYTES)

/* services: op, arguments -> ret */
/* arg[0] memory index, arg[1] delta in wasm pages -> old size in pages, or ~0 */
#define HUSK_SERVICE_MEMORY_GROW 1
/* arg[0] table index, arg[1] delta in entries -> old size, or ~0. New entries are zero (null). The
 * host updates the size word (abi/image.h); the guest fills in the initial value. */
#define HUSK_SERVICE_TABLE_GROW 2
/* memory.atomic.wait, if the value in memory is the expected one. arg[0] 0, arg[1] the time-out in
 * ns; negative: none -> 2, the instruction's result, at the time-out. A sandbox has one agent, so
 * nobody wakes it. */
#define HUSK_SERVICE_ATOMIC_WAIT 3
#define HUSK_ATOMIC_WAIT_TIMED_OUT 2

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct husk_slot {
    uint8_t bytes[HUSK_SLOT_BYTES];
};

struct husk_mailbox {
    uint32_t service_op;
    uint32_t pad0;
    uint64_t service_arg[3];
    uint64_t service_ret;
    uint32_t import_idx;
    uint32_t pad1;
    /* A host function (its import index + 1; 0: none) whose next answer is known: it takes two
     * addresses (i32) of memory 0, writes known_words[0] and [1] there, and returns 0. If both are
     * at most known_end, guest/entry.S does that itself. The host sets it, and zero takes it back:
     * so a restore does. An image without that code never looks at it. */
    uint32_t known_import;
    uint32_t known_end;
    uint32_t known_words[2];
    uint8_t pad2[HUSK_MBOX_CALL_SLOTS - 64];
    struct husk_slot call_slots[HUSK_MAX_SLOTS];
    struct husk_slot host_slots[HUSK_MAX_SLOTS];
    uint8_t exchange[HUSK_EXCHANGE_BYTES];
};

_Static_assert(offsetof(struct husk_mailbox, service_arg) == HUSK_MBOX_SERVICE_ARG,
               "mailbox layout");
_Static_assert(offsetof(struct husk_mailbox, service_ret) == HUSK_MBOX_SERVICE_RET,
               "mailbox layout");
_Static_assert(offsetof(struct husk_mailbox, import_idx) == HUSK_MBOX_IMPORT_IDX, "mailbox layout");
_Static_assert(offsetof(struct husk_mailbox, known_import) == HUSK_MBOX_KNOWN_IMPORT,
               "mailbox layout");
_Static_assert(offsetof(struct husk_mailbox, known_end) == HUSK_MBOX_KNOWN_END, "mailbox layout");
_Static_assert(offsetof(struct husk_mailbox, known_words) == HUSK_MBOX_KNOWN_WORDS,
               "mailbox layout");
_Static_assert(offsetof(struct husk_mailbox, call_slots) == HUSK_MBOX_CALL_SLOTS, "mailbox layout");
_Static_assert(offsetof(struct husk_mailbox, host_slots) == HUSK_MBOX_HOST_SLOTS, "mailbox layout");
_Static_assert(offsetof(struct husk_mailbox, exchange) == HUSK_MBOX_EXCHANGE, "mailbox layout");
_Static_assert(sizeof(struct husk_mailbox) == HUSK_MBOX_BYTES, "mailbox layout");
#endif
#endif
