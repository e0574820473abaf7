/*
 * Fuzz target: a byte string as a sequence of API calls. It drives a handful of sandboxes,
 * snapshots and memory images on a scripted VM, and a model beside them: words in five pages of
 * memory, its size, a global, and whether it is loaded, poisoned or in the middle of a call.
 * After each call the status must be the one that husk.h promises, and the sandbox must equal its
 * model. At the end all that was made is freed, and no VM may be left.
 *
 * An operation has 3 bytes: what, and two arguments. Inputs: tests/fuzz/corpus/api.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest_image.h"
#include "husk.h"
#include "layout.h"
#include "literals.h"
#include "mailbox.h"
#include "ports.h"
#include "syspages_layout_x86_64.h"
#include "vm_fake.h"
#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SANDBOXES 3
#define IMAGES 4 /* 0: the module's own */
#define SHARED 2 /* memory images of a page */
#define PAGES 5
#define WORDS 2 /* of a page */
#define PAGES_MAX 3
#define OPERATIONS_MAX 200

/* Of 4 KiB: three of the first wasm page, one of each page that the memory may grow by. */
static const uint32_t pages[PAGES] = {0, 1, 15, 16, 32};
static const uint32_t words[WORDS] = {64, 4088};

struct state {
    uint64_t wasm_pages;
    int64_t memory[PAGES][WORDS], global;
    bool is_pending;
};

struct box {
    husk_sandbox *sandbox;
    bool is_loaded, is_poisoned;
    struct state state;
};

static struct {
    struct vm_backend backend;
    husk_engine *engine;
    husk_imports *imports;
    struct box boxes[SANDBOXES];
    struct {
        husk_image *image;
        struct state state;
    } images[IMAGES];
    struct {
        husk_memory_image *image;
        int64_t words[WORDS];
    } shared[SHARED];
} world;

/* ---- The guest ---- */

static uint64_t slot_of(const struct husk_mailbox *mailbox) {
    uint64_t value;
    memcpy(&value, mailbox->call_slots[0].bytes, sizeof value);
    return value;
}

static void set_slot(struct husk_mailbox *mailbox, uint64_t value) {
    memcpy(mailbox->call_slots[0].bytes, &value, sizeof value);
}

static uint64_t address_of(unsigned page, unsigned word) {
    return (uint64_t)pages[page] * HUSK_PAGE_SIZE + words[word];
}

/* "read" writes here: the argument is a page, a word, and the new value. */
static void guest_writes(struct vcpu *vcpu, struct husk_mailbox *mailbox, struct vm_exit *exit) {
    const uint64_t arg = slot_of(mailbox), place = arg & 0xff;
    const uint64_t address =
        HUSK_MEM0_GVA + address_of((unsigned)(place % PAGES), (unsigned)(place / PAGES % WORDS));
    int64_t *word = fake_virtual(vcpu->vm, address, sizeof *word);
    const int64_t value = (int64_t)(arg >> 8);
    if (word == NULL) {
        exit->kind = VM_EXIT_EXCEPTION;
        exit->fault.kind = VM_FAULT_PAGE;
        exit->fault.address = address;
        vcpu->regs.rip = guest_gva(guest_read);
        return;
    }
    *word = value;
    set_slot(mailbox, (uint64_t)value);
}

static void guest(struct vcpu *vcpu, void *user, struct vm_exit *exit) {
    struct husk_mailbox *mailbox = fake_virtual(vcpu->vm, HUSK_MAILBOX_GVA, HUSK_MBOX_BYTES);
    const uint64_t function = vcpu->regs.rdi;
    /* entries go through the system's own code, to r11 */
    const uint64_t pc = vcpu->regs.rip == SYS_ENTRY_GVA ? vcpu->regs.r11 : vcpu->regs.rip;
    (void)user;
    exit->port = HUSK_PORT_CALL_DONE;
    if (pc == guest_gva(guest_resume)) { /* "host" has its answer */
        memcpy(mailbox->call_slots[0].bytes, mailbox->host_slots[0].bytes, 8);
    } else if (pc == guest_gva(guest_grow)) { /* and "grow" */
        memcpy(mailbox->call_slots[0].bytes, &mailbox->service_ret, 8);
    } else if (function == guest_gva(guest_host)) {
        mailbox->import_idx = 0;
        memcpy(mailbox->host_slots[0].bytes, mailbox->call_slots[0].bytes, 8);
        exit->port = HUSK_PORT_HOST_CALL;
        vcpu->regs.rip = guest_gva(guest_resume);
        vcpu->regs.rsp = HUSK_STACK_TOP_GVA - 40;
    } else if (function == guest_gva(guest_grow)) {
        mailbox->service_op = HUSK_SERVICE_MEMORY_GROW;
        mailbox->service_arg[0] = 0;
        mailbox->service_arg[1] = slot_of(mailbox);
        exit->port = HUSK_PORT_SERVICE;
        vcpu->regs.rip = guest_gva(guest_grow);
    } else if (function == guest_gva(guest_read)) {
        guest_writes(vcpu, mailbox, exit);
    } else if (function == guest_gva(guest_bad_port)) {
        exit->port = 0x55;
    }
}

static int host_waits(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    (void)user, (void)args, (void)results;
    return husk_caller_pending(caller);
}

/* ---- The model ---- */

static void check_box(const struct box *box) {
    struct husk_value value;
    if (!box->is_loaded) {
        REQUIRE(husk_global_get(box->sandbox, "g", 0, &value, &err) == HUSK_E_STATE);
        return;
    }
    REQUIRE(husk_memory_bytes(box->sandbox, 0) == box->state.wasm_pages * HUSK_WASM_PAGE_SIZE);
    REQUIRE(husk_global_get(box->sandbox, "g", 0, &value, &err) == 0);
    REQUIRE(value.of.i64 == box->state.global);
    for (unsigned page = 0; page < PAGES; page++)
        for (unsigned word = 0; word < WORDS; word++) {
            int64_t got = 0;
            const uint64_t address = address_of(page, word);
            const int status = husk_memory_read(
                box->sandbox, RANGE(.addr = address, .count = sizeof got), &got, &err);
            if (address >= box->state.wasm_pages * HUSK_WASM_PAGE_SIZE)
                REQUIRE(status == HUSK_E_LIMIT);
            else
                REQUIRE(status == 0 && got == box->state.memory[page][word]);
        }
}

/* What functions say that need an instance in good order; 0: it is. */
static int refusal(const struct box *box) {
    return !box->is_loaded ? HUSK_E_STATE : box->is_poisoned ? HUSK_E_POISONED : 0;
}

static void take_state(struct box *box, const struct state *state) {
    box->state = *state;
    box->is_loaded = true;
    box->is_poisoned = false;
}

/* ---- Operations ---- */

struct operation {
    struct box *box;
    unsigned a, b;
};

static unsigned image_of(const struct operation *op) { /* one that exists */
    return world.images[op->a % IMAGES].image != NULL ? op->a % IMAGES : 0;
}

static void op_new(const struct operation *op) {
    const unsigned image = image_of(op);
    husk_sandbox_free(op->box->sandbox);
    op->box->sandbox = NULL;
    REQUIRE(husk_sandbox_new(world.images[image].image, world.imports, NULL, &op->box->sandbox,
                             &err) == 0);
    take_state(op->box, &world.images[image].state);
}

static void op_free(const struct operation *op) {
    husk_sandbox_free(op->box->sandbox);
    *op->box = (struct box){0};
}

static void op_write(const struct operation *op) {
    const unsigned page = op->a % PAGES, word = op->a / PAGES % WORDS;
    const int64_t value = op->b;
    const uint64_t address = address_of(page, word);
    const bool is_inside = address < op->box->state.wasm_pages * HUSK_WASM_PAGE_SIZE;
    const int status = husk_memory_write(
        op->box->sandbox, RANGE(.addr = address, .count = sizeof value), &value, &err);
    if (!op->box->is_loaded)
        REQUIRE(status == HUSK_E_STATE);
    else
        REQUIRE(status == (is_inside ? 0 : HUSK_E_LIMIT));
    if (status == 0)
        op->box->state.memory[page][word] = value;
}

static int call(const struct operation *op, const char *name, int64_t arg,
                struct husk_outcome *ret_outcome, int64_t *ret_result) {
    const bool has_arg = strcmp(name, "bad_port") != 0;
    const struct husk_value value = {.type = HUSK_I64, .of.i64 = arg};
    struct husk_value result = {0};
    *ret_outcome = (struct husk_outcome)HUSK_OUTCOME_INIT;
    const int status =
        husk_call(op->box->sandbox,
                  CALL(.name = name, .args = has_arg ? &value : NULL, .args_count = has_arg,
                       .results = has_arg ? &result : NULL, .results_count = has_arg),
                  ret_outcome, &err);
    *ret_result = result.of.i64;
    REQUIRE(status == refusal(op->box));
    return status;
}

static void op_call_write(const struct operation *op) {
    struct husk_outcome outcome;
    const unsigned page = op->a % PAGES, word = op->a / PAGES % WORDS;
    const int64_t value = 1000 + op->b;
    int64_t result;
    if (call(op, "read", value << 8 | (int64_t)(op->a % (PAGES * WORDS)), &outcome, &result) != 0)
        return;
    if (address_of(page, word) >= op->box->state.wasm_pages * HUSK_WASM_PAGE_SIZE) {
        REQUIRE(outcome.kind == HUSK_TRAPPED && outcome.trap == HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
        return;
    }
    REQUIRE(outcome.kind == HUSK_RETURNED && result == value);
    op->box->state.memory[page][word] = value;
}

static void op_call_grow(const struct operation *op) {
    struct husk_outcome outcome;
    const uint64_t delta = op->a % 4, old = op->box->state.wasm_pages;
    int64_t result;
    if (call(op, "grow", (int64_t)delta, &outcome, &result) != 0)
        return;
    REQUIRE(outcome.kind == HUSK_RETURNED);
    REQUIRE(result == (old + delta <= PAGES_MAX ? (int64_t)old : -1));
    if (result >= 0)
        op->box->state.wasm_pages += delta;
}

static void op_grow(const struct operation *op) {
    uint64_t old = UINT64_MAX;
    const uint64_t delta = op->a % 4;
    const int status = husk_memory_grow(op->box->sandbox, 0, delta, &old, &err);
    if (refusal(op->box) != 0) {
        REQUIRE(status == refusal(op->box));
    } else if (op->box->state.wasm_pages + delta > PAGES_MAX) {
        REQUIRE(status == HUSK_E_LIMIT);
    } else {
        REQUIRE(status == 0 && old == op->box->state.wasm_pages);
        op->box->state.wasm_pages += delta;
    }
}

static void op_global(const struct operation *op) {
    const struct husk_value value = {.type = HUSK_I64, .of.i64 = op->b};
    const int status = husk_global_set(op->box->sandbox, "g", 0, &value, &err);
    REQUIRE(status == (op->box->is_loaded ? 0 : HUSK_E_STATE));
    if (status == 0)
        op->box->state.global = op->b;
}

/* The guest breaks the protocol. */
static void op_violate(const struct operation *op) {
    struct husk_outcome outcome;
    int64_t result;
    if (call(op, "bad_port", 0, &outcome, &result) != 0)
        return;
    REQUIRE(outcome.kind == HUSK_GUEST_VIOLATION && outcome.is_poisoned);
    op->box->is_poisoned = true;
}

static void op_pend(const struct operation *op) {
    struct husk_outcome outcome;
    int64_t result;
    if (call(op, "host", op->b, &outcome, &result) != 0)
        return;
    if (op->box->state.is_pending) { /* a call inside that one must have its answer at once */
        REQUIRE(outcome.kind == HUSK_TRAPPED && outcome.trap == HUSK_TRAP_HOST_FUNCTION);
        return;
    }
    REQUIRE(outcome.kind == HUSK_PENDING);
    op->box->state.is_pending = true;
}

static void op_resume(const struct operation *op) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    const struct husk_value value = {.type = HUSK_I64, .of.i64 = op->b};
    struct husk_value result = {0};
    answer.values = &value;
    answer.results = &result;
    answer.values_count = answer.results_count = 1;
    answer.is_again = op->a % 4 == 0;
    if (answer.is_again)
        answer.values = NULL, answer.values_count = 0;
    const bool is_there = op->box->is_loaded && op->box->state.is_pending;
    const int status = husk_call_resume(op->box->sandbox, &answer, &outcome, &err);
    REQUIRE(status == (is_there ? 0 : HUSK_E_STATE));
    if (!is_there)
        return;
    if (op->box->is_poisoned) {
        REQUIRE(outcome.kind == HUSK_GUEST_VIOLATION);
    } else if (answer.is_again) {
        REQUIRE(outcome.kind == HUSK_PENDING);
        return;
    } else {
        REQUIRE(outcome.kind == HUSK_RETURNED && result.of.i64 == op->b);
    }
    op->box->state.is_pending = false;
}

static void op_snapshot(const struct operation *op) {
    const unsigned slot = 1 + op->a % (IMAGES - 1);
    husk_image *image = NULL;
    const int status = husk_sandbox_snapshot(op->box->sandbox, &image, &err);
    REQUIRE(status == refusal(op->box));
    if (status != 0)
        return;
    husk_image_unref(world.images[slot].image);
    world.images[slot].image = image;
    world.images[slot].state = op->box->state;
}

static void op_restore(const struct operation *op) {
    const unsigned image = image_of(op);
    const int status = husk_sandbox_restore(op->box->sandbox, world.images[image].image, &err);
    REQUIRE(status == (op->box->is_loaded ? 0 : HUSK_E_STATE));
    if (status == 0)
        take_state(op->box, &world.images[image].state);
}

static void op_unload(const struct operation *op) {
    REQUIRE(husk_sandbox_unload(op->box->sandbox, &err) == 0);
    op->box->is_loaded = op->box->is_poisoned = false;
}

static void op_load(const struct operation *op) {
    const unsigned image = image_of(op);
    REQUIRE(husk_sandbox_load(op->box->sandbox, world.images[image].image, world.imports, &err) ==
            0);
    take_state(op->box, &world.images[image].state);
}

static void op_park(const struct operation *op) {
    REQUIRE(husk_sandbox_park(op->box->sandbox, &err) == 0);
    REQUIRE(husk_sandbox_is_parked(op->box->sandbox));
}

static void op_clone(const struct operation *op) {
    struct box *other = &world.boxes[op->a % SANDBOXES];
    husk_sandbox *clone = NULL;
    const int status = husk_sandbox_clone(op->box->sandbox, &clone, &err);
    REQUIRE(status == refusal(op->box));
    if (status != 0)
        return;
    const struct state state = op->box->state; /* the other one may be the same */
    husk_sandbox_free(other->sandbox);
    other->sandbox = clone;
    take_state(other, &state);
}

struct bytes {
    uint8_t *data;
    size_t count;
};

static int append(void *user, const void *bytes, size_t count) {
    struct bytes *all = user;
    uint8_t *grown = realloc(all->data, all->count + count + 1);
    if (grown == NULL)
        return -1;
    all->data = grown;
    memcpy(grown + all->count, bytes, count);
    all->count += count;
    return 0;
}

/* An image is saved, and what was saved takes its place. */
static void op_save(const struct operation *op) {
    const unsigned slot = image_of(op);
    struct bytes saved = {0};
    husk_image *opened = NULL;
    REQUIRE(husk_image_save_to(world.images[slot].image, append, &saved, &err) == 0);
    REQUIRE(husk_image_open_buffer(world.engine, (struct husk_buffer){saved.data, saved.count},
                                   NULL, &opened, &err) == 0);
    free(saved.data);
    husk_image_unref(world.images[slot].image);
    world.images[slot].image = opened;
}

static void op_drop(const struct operation *op) {
    const unsigned slot = 1 + op->a % (IMAGES - 1);
    husk_image_unref(world.images[slot].image);
    world.images[slot].image = NULL;
}

static void op_trim(const struct operation *op) {
    husk_engine_trim(world.engine, op->a % 2);
}

static bool has_page(const struct box *box, unsigned page) {
    return (uint64_t)pages[page] * HUSK_PAGE_SIZE < box->state.wasm_pages * HUSK_WASM_PAGE_SIZE;
}

static void op_share(const struct operation *op) {
    const unsigned page = op->a % PAGES, slot = op->b % SHARED;
    husk_memory_image *image = NULL;
    const int status = husk_memory_image_new(
        op->box->sandbox,
        RANGE(.addr = (uint64_t)pages[page] * HUSK_PAGE_SIZE, .count = HUSK_PAGE_SIZE), &image,
        &err);
    if (!op->box->is_loaded)
        REQUIRE(status == HUSK_E_STATE);
    else
        REQUIRE(status == (has_page(op->box, page) ? 0 : HUSK_E_LIMIT));
    if (status != 0)
        return;
    husk_memory_image_unref(world.shared[slot].image);
    world.shared[slot].image = image;
    memcpy(world.shared[slot].words, op->box->state.memory[page], sizeof world.shared[slot].words);
}

static void op_map(const struct operation *op) {
    const unsigned page = op->a % PAGES, slot = op->b % SHARED;
    if (world.shared[slot].image == NULL)
        return;
    const int status = husk_memory_image_map(
        op->box->sandbox,
        RANGE(.addr = (uint64_t)pages[page] * HUSK_PAGE_SIZE, .count = HUSK_PAGE_SIZE),
        world.shared[slot].image, 0, &err);
    if (!op->box->is_loaded)
        REQUIRE(status == HUSK_E_STATE);
    else
        REQUIRE(status == (has_page(op->box, page) ? 0 : HUSK_E_LIMIT));
    if (status == 0)
        memcpy(op->box->state.memory[page], world.shared[slot].words,
               sizeof world.shared[slot].words);
}

/* ---- The run ---- */

static void (*const operations[])(const struct operation *op) = {
    op_new,     op_free,  op_write,  op_call_write, op_call_grow, op_grow,   op_global,
    op_violate, op_pend,  op_resume, op_snapshot,   op_restore,   op_unload, op_load,
    op_park,    op_clone, op_save,   op_drop,       op_trim,      op_share,  op_map};
#define OPERATIONS (sizeof operations / sizeof operations[0])

static void world_make(void) {
    static const husk_type i64_type = HUSK_I64;
    static const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    world.backend.guest = guest;
    REQUIRE(fake_engine_new(&world.backend, &world.engine, &err) == 0);
    REQUIRE(husk_image_open_buffer(world.engine, (struct husk_buffer){bytes, count}, NULL,
                                   &world.images[0].image, &err) == 0);
    REQUIRE(husk_imports_new(world.engine, &world.imports, &err) == 0);
    REQUIRE(
        husk_imports_funcs(world.imports,
                           &(struct husk_host_func){
                               .module = "env", .name = "host", .type = &type, .fn = host_waits},
                           1, &err) == 0);
    world.images[0].state = (struct state){.wasm_pages = 1, .global = 7};
    free(bytes);
}

static void world_clear(void) {
    for (unsigned i = 0; i < SANDBOXES; i++) {
        if (world.boxes[i].sandbox != NULL)
            check_box(&world.boxes[i]);
        husk_sandbox_free(world.boxes[i].sandbox);
        world.boxes[i] = (struct box){0};
    }
    for (unsigned i = 1; i < IMAGES; i++) {
        husk_image_unref(world.images[i].image);
        world.images[i].image = NULL;
    }
    for (unsigned i = 0; i < SHARED; i++) {
        husk_memory_image_unref(world.shared[i].image);
        world.shared[i].image = NULL;
    }
    husk_engine_trim(world.engine, 0);
    REQUIRE(world.backend.vms == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (world.engine == NULL)
        world_make();
    for (size_t at = 0; at + 3 <= size && at < (size_t)OPERATIONS_MAX * 3; at += 3) {
        const unsigned what = data[at] % OPERATIONS;
        const struct operation op = {&world.boxes[data[at] / OPERATIONS % SANDBOXES], data[at + 1],
                                     data[at + 2]};
        if (op.box->sandbox == NULL)
            op_new(&op);
        operations[what](&op);
        if (op.box->sandbox != NULL)
            check_box(op.box);
    }
    world_clear();
    return 0;
}
