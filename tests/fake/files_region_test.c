/*
 * tests/fake/files_region_test.c: the private layer's region belongs to the host alone. On a
 * scripted VM, which shows its slots: after loads, growth and restores, no slot has a byte of the
 * region, and no page-table entry leads to its addresses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files_guest.h"
#include "guest_image.h"
#include "harness.h"
#include "layout.h"
#include "privfs.h"
#include "sandbox_internal.h"
#include "syspages.h"
#include "vm_fake.h"
#include "literals.h"

#define LAYER_BYTES (1ull << 20)

static void guest_nothing(struct vcpu *vcpu, void *user, struct vm_exit *ret_exit) {
    (void)vcpu, (void)user, (void)ret_exit;
}

struct lab {
    struct vm_backend backend;
    husk_engine *engine;
    husk_imports *imports;
    husk_image *image;
    husk_sandbox *sandbox;
    struct husk_error err;
};

static void lab_open(struct lab *lab) {
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    *lab = (struct lab){.backend = {.guest = guest_nothing}};
    CHECK_OK(fake_engine_new(&lab->backend, &lab->engine, &lab->err), lab->err);
    CHECK_OK(husk_image_open_buffer(lab->engine, (struct husk_buffer){bytes, count}, NULL,
                                    &lab->image, &lab->err),
             lab->err);
    free(bytes);
    CHECK_OK(husk_imports_new(lab->engine, &lab->imports, &lab->err), lab->err);
    files_guest_define(lab->imports, LAYER_BYTES);
    CHECK_OK(husk_sandbox_new(lab->image, lab->imports, NULL, &lab->sandbox, &lab->err), lab->err);
}

static void lab_close(struct lab *lab) {
    husk_sandbox_free(lab->sandbox);
    husk_imports_free(lab->imports);
    husk_image_unref(lab->image);
    husk_engine_trim(lab->engine, 0);
    husk_engine_unref(lab->engine);
}

/* SDM vol. 3A, section 4.5: four levels of tables; a large page ends the walk. */
static bool is_mapped(const struct vm *vm, uint64_t table_gpa, uint64_t address) {
    for (unsigned shift = 39; shift >= 12; shift -= 9) {
        const uint64_t *table = fake_memory(vm, table_gpa, HUSK_PAGE_SIZE);
        CHECK(table != NULL);
        const uint64_t entry = table[address >> shift & 511];
        if ((entry & 1) == 0 || shift == 12 || (entry & 0x80) != 0)
            return (entry & 1) != 0;
        table_gpa = entry & 0xffffffffff000;
    }
    return false;
}

static void check_hidden(const husk_sandbox *sandbox) {
    const struct machine *machine = sandbox->machine;
    const struct arena_memory *files = &machine->arena.files;
    const uint64_t root = sys_space_page_root(machine->tables).v;
    CHECK_EQ_U64(files->reserve_bytes, LAYER_BYTES);
    for (unsigned i = 0; i < FAKE_SLOTS; i++) {
        const struct fake_slot *slot = &machine->vm->slots[i];
        CHECK(slot->bytes == 0 || slot->hva + slot->bytes <= files->hva ||
              slot->hva >= files->hva + files->reserve_bytes);
    }
    CHECK(is_mapped(machine->vm, root, HUSK_MEM0_GVA)); /* else nothing below means anything */
    for (uint64_t at = 0; at < HUSK_FILES_MAX_BYTES; at += at < LAYER_BYTES ? 4096 : 1 << 21)
        CHECK(!is_mapped(machine->vm, root, HUSK_FILES_GVA + at));
    CHECK(arena_span(&machine->arena, HUSK_FILES_GVA, 1) == NULL);
}

TEST(no_slot_and_no_page_table_has_it) {
    struct lab lab;
    struct privfs files;
    husk_image *snapshot = NULL;
    lab_open(&lab);
    check_hidden(lab.sandbox);
    CHECK_EQ_I64(sandbox_files(lab.sandbox, &files), 0);
    CHECK_EQ_I64(files.cover(&files, 5), 0);
    memset(files.base + HUSK_PAGE_SIZE, 0x77, HUSK_PAGE_SIZE);
    check_hidden(lab.sandbox);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_memory_grow(lab.sandbox, 0, 1, NULL, &lab.err), lab.err);
    CHECK_EQ_I64(files.cover(&files, LAYER_BYTES), 0);
    check_hidden(lab.sandbox);
    CHECK_OK(machine_renew(lab.sandbox->machine, &lab.err), lab.err);
    check_hidden(lab.sandbox);
    husk_image *const images[] = {lab.image, snapshot, lab.image};
    for (int i = 0; i < 3; i++) {
        CHECK_OK(husk_sandbox_restore(lab.sandbox, images[i], &lab.err), lab.err);
        check_hidden(lab.sandbox);
    }
    husk_sandbox_free(lab.sandbox);
    husk_engine_trim(lab.engine, 0);
    CHECK_OK(husk_sandbox_new(snapshot, lab.imports, NULL, &lab.sandbox, &lab.err), lab.err);
    check_hidden(lab.sandbox);
    CHECK_EQ_I64(sandbox_files(lab.sandbox, &files), 0);
    CHECK_EQ_U64(files.base[2 * HUSK_PAGE_SIZE - 1], 0x77);
    husk_image_unref(snapshot);
    lab_close(&lab);
}

/* Regions ascend by host address and by guest address: the hot set and what is learned rely on
 * it. */
TEST(regions_ascend) {
    struct lab lab;
    struct privfs files;
    struct arena_region regions[ARENA_REGIONS_MAX];
    lab_open(&lab);
    CHECK_EQ_I64(sandbox_files(lab.sandbox, &files), 0);
    CHECK_EQ_U64(arena_regions(&lab.sandbox->machine->arena, regions), 4);
    CHECK_EQ_I64(files.cover(&files, 1), 0);
    const uint32_t count = arena_regions(&lab.sandbox->machine->arena, regions);
    CHECK_EQ_U64(count, 5);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(i == 0 || (regions[i].hva >= regions[i - 1].hva + regions[i - 1].bytes &&
                         regions[i].gva >= regions[i - 1].gva + regions[i - 1].bytes));
        CHECK(regions[i].is_hidden == (regions[i].hva == files.base));
        CHECK_EQ_U64(arena_gva_of(&lab.sandbox->machine->arena, regions[i].hva), regions[i].gva);
        CHECK(arena_hva_of(&lab.sandbox->machine->arena, regions[i].gva) == regions[i].hva);
    }
    CHECK_EQ_U64(regions[4].gva, HUSK_FILES_GVA);
    lab_close(&lab);
}

TEST_MAIN()
