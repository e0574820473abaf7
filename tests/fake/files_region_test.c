/*
 * tests/fake/files_region_test.c: the private layer's region belongs to the host alone. On a
 * scripted VM, which shows its slots: after loads, growth and restores, no slot has a byte of the
 * region, and no page-table entry leads to its addresses.
 */
#include <errno.h>
#include <string.h>

#include "files_guest.h"
#include "harness.h"
#include "layout.h"
#include "privfs.h"
#include "sandbox_internal.h"
#include "syspages.h"
#include "vm_fake.h"
#include "literals.h"

#define LAYER_BYTES (1ull << 20)

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
    struct files_world world;
    struct privfs files;
    husk_image *snapshot = NULL;
    files_world_open(&world, LAYER_BYTES);
    check_hidden(world.sandbox);
    CHECK_EQ_I64(sandbox_files(world.sandbox, &files), 0);
    CHECK_EQ_I64(files.cover(&files, 5), 0);
    memset(files.base + HUSK_PAGE_SIZE, 0x77, HUSK_PAGE_SIZE);
    check_hidden(world.sandbox);
    CHECK_OK(husk_sandbox_snapshot(world.sandbox, &snapshot, &world.err), world.err);
    CHECK_OK(husk_memory_grow(world.sandbox, 0, 1, NULL, &world.err), world.err);
    CHECK_EQ_I64(files.cover(&files, LAYER_BYTES), 0);
    check_hidden(world.sandbox);
    CHECK_OK(machine_renew(world.sandbox->machine, &world.err), world.err);
    check_hidden(world.sandbox);
    husk_image *const images[] = {world.image, snapshot, world.image};
    for (int i = 0; i < 3; i++) {
        CHECK_OK(husk_sandbox_restore(world.sandbox, images[i], &world.err), world.err);
        check_hidden(world.sandbox);
    }
    husk_sandbox_free(world.sandbox);
    husk_engine_trim(world.engine, 0);
    CHECK_OK(husk_sandbox_new(snapshot, world.imports, NULL, &world.sandbox, &world.err),
             world.err);
    check_hidden(world.sandbox);
    CHECK_EQ_I64(sandbox_files(world.sandbox, &files), 0);
    CHECK_EQ_U64(files.base[2 * HUSK_PAGE_SIZE - 1], 0x77);
    husk_image_unref(snapshot);
    files_world_close(&world);
}

/* Regions ascend by host address and by guest address: the hot set and what is learned rely on
 * it. */
TEST(regions_ascend) {
    struct files_world world;
    struct privfs files;
    struct arena_region regions[ARENA_REGIONS_MAX];
    files_world_open(&world, LAYER_BYTES);
    CHECK_EQ_I64(sandbox_files(world.sandbox, &files), 0);
    CHECK_EQ_U64(arena_regions(&world.sandbox->machine->arena, regions), 4);
    CHECK_EQ_I64(files.cover(&files, 1), 0);
    const uint32_t count = arena_regions(&world.sandbox->machine->arena, regions);
    CHECK_EQ_U64(count, 5);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(i == 0 || (regions[i].hva >= regions[i - 1].hva + regions[i - 1].bytes &&
                         regions[i].gva >= regions[i - 1].gva + regions[i - 1].bytes));
        CHECK(regions[i].is_hidden == (regions[i].hva == files.base));
        CHECK_EQ_U64(arena_gva_of(&world.sandbox->machine->arena, regions[i].hva), regions[i].gva);
        CHECK(arena_hva_of(&world.sandbox->machine->arena, regions[i].gva) == regions[i].hva);
    }
    CHECK_EQ_U64(regions[4].gva, HUSK_FILES_GVA);
    files_world_close(&world);
}

TEST_MAIN()
