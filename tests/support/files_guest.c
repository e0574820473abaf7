/* tests/support/files_guest.c: see files_guest.h. */
#include "files_guest.h"

#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "guest_image.h"
#include "harness.h"
#include "imports.h"
#include "layout.h"
#include "privfs.h"
#include "sandbox_internal.h"

/* The argument: from the highest bit on, whether to write, the page, and the word. */
#define WRITES (1ull << 62)

static int serve(husk_caller *caller, void *user, const struct husk_value *args,
                 struct husk_value *results) {
    const uint64_t argument = (uint64_t)args[0].of.i64;
    const uint64_t offset = (argument >> 32 & 0xffffff) * HUSK_PAGE_SIZE;
    const uint32_t word = (uint32_t)argument;
    uint32_t found = 0;
    struct privfs files;
    (void)user;
    CHECK_EQ_I64(sandbox_files(caller->sandbox, &files), 0);
    if ((argument & WRITES) != 0) {
        if (offset + HUSK_PAGE_SIZE > files.covered_bytes)
            CHECK_EQ_I64(files.cover(&files, offset + HUSK_PAGE_SIZE), 0);
        memcpy(files.base + offset, &word, sizeof word);
    } else if (offset < files.covered_bytes) {
        memcpy(&found, files.base + offset, sizeof found);
    }
    results[0].of.i64 = found;
    return 0;
}

static int state_new(void *shared, void **ret_state, struct husk_error *err) {
    (void)err;
    *ret_state = shared;
    return 0;
}

static void state_free(void *state) {
    (void)state;
}

static uint64_t files_bytes(const void *shared) {
    return *(const uint64_t *)shared;
}

static const struct import_group_ops ops = {.name = "test files",
                                            .state_new = state_new,
                                            .state_free = state_free,
                                            .files_bytes = files_bytes,
                                            .shared_free = free};

void files_guest_define(husk_imports *imports, uint64_t bytes) {
    struct husk_error err;
    static const husk_type i64_type = HUSK_I64;
    static const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    struct import_grouped_func func = {.type = &type, .fn = serve};
    uint64_t *shared = malloc(sizeof *shared);
    CHECK(shared != NULL);
    *shared = bytes;
    CHECK_OK(import_group_new(&ops, shared, &func.group, &err), err);
    CHECK_OK(imports_func_grouped(imports, "env", "host", &func, &err), err);
    import_group_unref(func.group);
}

void files_lab_open(struct guest_lab *lab, uint64_t bytes) {
    guest_lab_open(lab, NULL, NULL, NULL);
    husk_sandbox_free(lab->sandbox);
    husk_engine_trim(lab->engine, 0); /* that machine has no room for a layer */
    files_guest_define(lab->imports, bytes);
    lab->sandbox = guest_lab_sandbox(lab);
}

static uint32_t ask(husk_sandbox *sandbox, uint64_t argument) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    const int64_t result = guest_call(sandbox, "host", (int64_t)argument, &outcome);
    CHECK_EQ_U64(outcome.kind, HUSK_RETURNED);
    return (uint32_t)(result - 1); /* the guest adds 1 */
}

void files_put(husk_sandbox *sandbox, uint32_t page_idx, uint32_t word) {
    ask(sandbox, WRITES | (uint64_t)page_idx << 32 | word);
}

uint32_t files_get(husk_sandbox *sandbox, uint32_t page_idx) {
    return ask(sandbox, (uint64_t)page_idx << 32);
}

static void guest_nothing(struct vcpu *vcpu, void *user, struct vm_exit *ret_exit) {
    (void)vcpu, (void)user, (void)ret_exit;
}

void files_world_open(struct files_world *world, uint64_t bytes) {
    size_t count;
    uint8_t *file = guest_image_make(&count);
    *world = (struct files_world){.backend = {.guest = guest_nothing}};
    CHECK_OK(fake_engine_new(&world->backend, &world->engine, &world->err), world->err);
    CHECK_OK(husk_image_open_buffer(world->engine, (struct husk_buffer){file, count}, NULL,
                                    &world->image, &world->err),
             world->err);
    free(file);
    CHECK_OK(husk_imports_new(world->engine, &world->imports, &world->err), world->err);
    files_guest_define(world->imports, bytes);
    CHECK_OK(husk_sandbox_new(world->image, world->imports, NULL, &world->sandbox, &world->err),
             world->err);
}

void files_world_close(struct files_world *world) {
    husk_sandbox_free(world->sandbox);
    husk_imports_free(world->imports);
    husk_image_unref(world->image);
    husk_engine_trim(world->engine, 0);
    husk_engine_unref(world->engine);
}
