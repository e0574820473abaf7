/*
 * tests/kvm/snapshots/memory_image_test.c: memory images: copy-on-write for all users, shared by
 * many sandboxes, freed at any time, gone after a restore, kept by a snapshot. Every misuse is an
 * error that changes nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "state_guest.h"
#include "wat.h"
#include "literals.h"

static husk_memory_image *image_of(struct state_lab *lab, husk_sandbox *sandbox, uint64_t addr,
                                   uint64_t bytes) {
    husk_memory_image *image = NULL;
    CHECK_OK(husk_memory_image_new(sandbox, RANGE(.addr = addr, .count = bytes), &image, &lab->err),
             lab->err);
    CHECK_EQ_U64(husk_memory_image_bytes(image), bytes);
    return image;
}

static void map(struct state_lab *lab, husk_sandbox *sandbox, uint64_t addr,
                const husk_memory_image *image, uint64_t offset, uint64_t bytes) {
    CHECK_OK(husk_memory_image_map(sandbox, RANGE(.addr = addr, .count = bytes), image, offset,
                                   &lab->err),
             lab->err);
}

TEST(is_copied_on_write_on_all_sides) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    husk_sandbox *second = state_sandbox(&lab, lab.image);
    STATE_CALL(&lab, "fill", 8192, 0x11, 8192);
    husk_memory_image *image = image_of(&lab, lab.sandbox, 8192, 8192);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 8192), 0x11111111);
    STATE_CALL(&lab, "store", 8192, 1); /* the original goes its own way */
    STATE_CALL_ON(&lab, second, "store", 65536, 5);
    map(&lab, second, 65536, image, 0, 8192);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, second, "load", 65536), 0x11111111);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, second, "load", 65536 + 8188), 0x11111111);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, second, "load", 65536 + 8192), 0);
    STATE_CALL_ON(&lab, second, "store", 65536, 2);
    /* twice in one sandbox, at another place and offset */
    map(&lab, lab.sandbox, 40960, image, 4096, 4096);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 40960), 0x11111111);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 8192), 1);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, second, "load", 65536), 2);
    /* mapping it again brings the image's contents back */
    map(&lab, second, 65536, image, 0, 8192);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, second, "load", 65536), 0x11111111);
    husk_memory_image_unref(image);
    /* freed while mapped */
    CHECK_EQ_I64(STATE_CALL_ON(&lab, second, "load", 65536 + 4), 0x11111111);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 40960), 0x11111111);
    husk_sandbox_free(second);
    state_close(&lab);
}

/* Memory that is the process's own: no page of a file, or a copy that was made when it was
 * written. */
static uint64_t own_kib(void) {
    char line[128];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "re"); /* proc(5) */
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "Anonymous:", 10) == 0)
            kib = strtoull(line + 10, NULL, 10);
    fclose(file);
    return kib;
}

/* The original's range becomes copy-on-write, too: what the sandbox had written there is then the
 * image's, once. */
TEST(the_original_shares_it) {
    SKIP_WITHOUT_COMPILER();
    enum { KIB = 1024, SOME_KIB = 64 /* of the heap, say */ };
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "grow", KIB / 64);
    STATE_CALL(&lab, "fill", 0, 0x77, KIB * 1024);
    const uint64_t before = own_kib();
    husk_memory_image *image = image_of(&lab, lab.sandbox, 0, KIB * 1024);
    const uint64_t shared = own_kib();
    CHECK_MSG(shared + KIB <= before + SOME_KIB, "%" PRIu64 " KiB of its own, %" PRIu64 " before",
              shared, before);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 65536), 0x77777777);
    STATE_CALL(&lab, "store", 65536, 1);
    CHECK_MSG(own_kib() <= shared + SOME_KIB, "%" PRIu64 " KiB of its own, %" PRIu64 " before",
              own_kib(), shared);
    husk_memory_image_unref(image);
    state_close(&lab);
}

TEST(a_restore_takes_it_away) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "size");
    state_copy_take(lab.sandbox, &copy);
    for (int round = 0; round < 20; round++) {
        STATE_CALL(&lab, "fill", 16384, 0x22 + round, 12288);
        husk_memory_image *image = image_of(&lab, lab.sandbox, 16384, 12288);
        map(&lab, lab.sandbox, 0, image, 0, 12288);
        map(&lab, lab.sandbox, 4096, image, 8192, 4096); /* over a part of the first */
        STATE_CALL(&lab, "store", 4096, 3);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        state_copy_check(lab.sandbox, &copy, "restored");
        CHECK_EQ_I64(STATE_CALL(&lab, "load", 100), 0x6c6c6568);
        CHECK_EQ_I64(STATE_CALL(&lab, "load", 4096), 0);
        husk_memory_image_unref(image);
    }
    state_copy_done(&copy);
    state_close(&lab);
}

/* One that covers others takes their place; of those that remain there may be so many. Each here
 * leaves something of all before it. */
TEST(as_many_as_there_may_be) {
    SKIP_WITHOUT_COMPILER();
    enum { MOST = 1024 /* husk.h */, PAGES = 512 };
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "grow", PAGES / 16 - 2);
    STATE_CALL(&lab, "fill", 0, 0x44, 4 * 4096);
    husk_memory_image *image = image_of(&lab, lab.sandbox, 0, 4 * 4096);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    STATE_CALL(&lab, "grow", PAGES / 16 - 2);
    for (int i = 0; i < 2 * MOST; i++)
        map(&lab, lab.sandbox, 0, image, 0, 4096);
    int count = 0, status = 0;
    for (uint64_t bytes = 4 * 4096; status == 0; bytes -= 4096)
        for (uint64_t at = 0; status == 0 && at + bytes <= PAGES * 4096;
             at += 4096, count += status == 0)
            status = husk_memory_image_map(lab.sandbox, RANGE(.addr = at, .count = bytes), image, 0,
                                           &lab.err);
    CHECK_STATUS(status, HUSK_E_LIMIT);
    CHECK_EQ_I64(count, MOST);
    map(&lab, lab.sandbox, 0, image, 0, 4 * 4096); /* in the place of one of them */
    CHECK_EQ_I64(STATE_CALL(&lab, "load", PAGES * 4096 - 4), 0x44444444);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 4096), 0);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 100), 0x6c6c6568);
    map(&lab, lab.sandbox, 4096, image, 0, 4096);
    CHECK_EQ_U64(husk_memory_image_bytes(NULL), 0);
    husk_memory_image_unref(image);
    state_close(&lab);
}

TEST(a_snapshot_keeps_what_is_mapped) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    husk_image *snapshot = NULL;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "fill", 16384, 0x33, 8192);
    husk_memory_image *image = image_of(&lab, lab.sandbox, 16384, 8192);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    map(&lab, lab.sandbox, 0, image, 0, 8192);
    STATE_CALL(&lab, "store", 4096, 77);
    state_copy_take(lab.sandbox, &copy);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK(state_copy_equal(lab.sandbox, &copy));
    husk_memory_image_unref(image);
    husk_sandbox *fresh = state_sandbox(&lab, snapshot);
    state_copy_check(fresh, &copy, "from a snapshot");
    STATE_CALL(&lab, "fill", 0, 1, 65536);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    state_copy_check(lab.sandbox, &copy, "restored");
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 0), 0x33333333);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 4096), 77);
    state_copy_done(&copy);
    husk_sandbox_free(fresh);
    husk_image_unref(snapshot);
    state_close(&lab);
}

enum { SIDES = 3, IMAGES = 4, SNAPSHOTS = 4, SIDE_PAGES = 32 };

/* Sandboxes, memory images and snapshots, and beside each what must be in it. */
struct copies {
    struct state_lab lab;
    husk_sandbox *sides[SIDES];
    husk_memory_image *images[IMAGES];
    husk_image *snapshots[SNAPSHOTS];
    uint8_t model[SIDES][SIDE_PAGES * 4096], contents[IMAGES][SIDE_PAGES * 4096],
        states[SNAPSHOTS][SIDE_PAGES * 4096];
    uint64_t random;
};

static uint64_t below(struct copies *copies, uint64_t limit) {
    return state_random(&copies->random) % limit;
}

static void side_clear(struct copies *copies, uint64_t side) {
    state_value(&copies->lab, copies->sides[side], "fill", STATE_ARGS(0, 0, SIDE_PAGES * 4096));
    memset(copies->model[side], 0, sizeof copies->model[side]);
}

static void side_fill(struct copies *copies, uint64_t side, uint64_t page, uint64_t pages) {
    int32_t byte = (int32_t)below(copies, 256);
    state_value(&copies->lab, copies->sides[side], "fill",
                STATE_ARGS((int32_t)page * 4096 + 5, byte, (int32_t)pages * 4096 - 9));
    memset(copies->model[side] + page * 4096 + 5, byte, pages * 4096 - 9);
}

static void side_take(struct copies *copies, uint64_t side, uint64_t which, uint64_t page,
                      uint64_t pages) {
    husk_memory_image_unref(copies->images[which]);
    copies->images[which] = image_of(&copies->lab, copies->sides[side], page * 4096, pages * 4096);
    memcpy(copies->contents[which], copies->model[side] + page * 4096, pages * 4096);
}

static void side_map(struct copies *copies, uint64_t side, uint64_t which, uint64_t page) {
    struct husk_error *err = &copies->lab.err;
    uint64_t most = husk_memory_image_bytes(copies->images[which]) / 4096,
             offset = below(copies, most);
    most = most - offset < SIDE_PAGES - page ? most - offset : SIDE_PAGES - page;
    int status =
        husk_memory_image_map(copies->sides[side], RANGE(.addr = page * 4096, .count = most * 4096),
                              copies->images[which], offset * 4096, err);
    if (status == HUSK_E_LIMIT) { /* as many mappings as there may be: start anew */
        CHECK_OK(husk_sandbox_restore(copies->sides[side], copies->lab.image, err), *err);
        side_clear(copies, side);
        return;
    }
    CHECK_OK(status, *err);
    memcpy(copies->model[side] + page * 4096, copies->contents[which] + offset * 4096, most * 4096);
}

static void side_snapshot(struct copies *copies, uint64_t side, uint64_t which) {
    struct husk_error *err = &copies->lab.err;
    husk_image_unref(copies->snapshots[which]);
    copies->snapshots[which] = NULL;
    CHECK_OK(husk_sandbox_snapshot(copies->sides[side], &copies->snapshots[which], err), *err);
    memcpy(copies->states[which], copies->model[side], sizeof copies->model[side]);
}

/* To another image than the one it is over, and whatever is mapped in it. */
static void side_restore(struct copies *copies, uint64_t side, uint64_t which) {
    struct husk_error *err = &copies->lab.err;
    CHECK_OK(husk_sandbox_restore(copies->sides[side], copies->snapshots[which], err), *err);
    memcpy(copies->model[side], copies->states[which], sizeof copies->model[side]);
}

/* The next tenant gets a machine from the pool, with what this one left mapped in it. */
static void side_renew(struct copies *copies, uint64_t side, uint64_t which) {
    husk_sandbox_free(copies->sides[side]);
    copies->sides[side] = state_sandbox(&copies->lab, copies->snapshots[which]);
    memcpy(copies->model[side], copies->states[which], sizeof copies->model[side]);
}

static void copies_close(struct copies *copies) {
    for (int i = 0; i < IMAGES; i++)
        husk_memory_image_unref(copies->images[i]);
    for (int i = 0; i < SNAPSHOTS; i++)
        husk_image_unref(copies->snapshots[i]);
    for (int i = 0; i < SIDES; i++)
        husk_sandbox_free(copies->sides[i]);
    state_close(&copies->lab);
}

/* At random: sandboxes, images, snapshots, places; against a model that is plain memory. */
TEST(behaves_like_copies) {
    SKIP_WITHOUT_COMPILER();
    static struct copies copies = {.random = 6};
    state_open(&copies.lab, NULL, NULL);
    for (uint64_t i = 0; i < SIDES; i++) {
        copies.sides[i] = state_sandbox(&copies.lab, copies.lab.image);
        side_clear(&copies, i);
    }
    for (int round = 0; round < 1500; round++) {
        uint64_t side = below(&copies, SIDES), which = below(&copies, IMAGES);
        uint64_t page = below(&copies, SIDE_PAGES), pages = 1 + below(&copies, SIDE_PAGES - page);
        uint64_t action = below(&copies, 7);
        if (action == 0)
            side_fill(&copies, side, page, pages);
        else if (action == 1)
            side_take(&copies, side, which, page, pages);
        else if (action == 2)
            side_snapshot(&copies, side, which);
        else if (action == 3 && copies.snapshots[which] != NULL)
            side_restore(&copies, side, which);
        else if (action == 4 && copies.snapshots[which] != NULL)
            side_renew(&copies, side, which);
        else if (action > 4 && copies.images[which] != NULL)
            side_map(&copies, side, which, page);
        struct state_copy copy;
        state_copy_take(copies.sides[side], &copy);
        CHECK_MSG(memcmp(copy.memory, copies.model[side], sizeof copies.model[side]) == 0,
                  "round %d, action %d", round, (int)action);
        state_copy_done(&copy);
    }
    copies_close(&copies);
}

TEST(misuse_is_an_error) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    husk_memory_image *image = NULL, *none = NULL;
    state_open(&lab, NULL, NULL);
    husk_sandbox *s = lab.sandbox;
    struct husk_error *err = &lab.err;
    image = image_of(&lab, s, 0, 8192);
    static const struct {
        uint64_t addr, bytes;
        uint32_t mem;
        int status;
    } news[] = {{1, 4096, 0, HUSK_E_INVAL},        {0, 4095, 0, HUSK_E_INVAL},
                {0, 0, 0, HUSK_E_INVAL},           {131072, 4096, 0, HUSK_E_LIMIT},
                {126976, 8192, 0, HUSK_E_LIMIT},   {0, 4096, 1, HUSK_E_LIMIT},
                {0, 4096, ~0u, HUSK_E_LIMIT},      {0, -4096ull, 0, HUSK_E_LIMIT},
                {-4096ull, 4096, 0, HUSK_E_LIMIT}, {-4096ull, 8192, 0, HUSK_E_LIMIT}};
    for (size_t i = 0; i < sizeof news / sizeof news[0]; i++)
        CHECK_STATUS(husk_memory_image_new(s,
                                           RANGE(.addr = news[i].addr, .count = news[i].bytes,
                                                 .mem_idx = news[i].mem),
                                           &none, err),
                     news[i].status);
    static const struct {
        uint64_t addr, offset, bytes;
        int status;
    } maps[] = {{1, 0, 4096, HUSK_E_INVAL},        {0, 1, 4096, HUSK_E_INVAL},
                {0, 0, 1, HUSK_E_INVAL},           {0, 0, 0, HUSK_E_INVAL},
                {0, 8192, 4096, HUSK_E_LIMIT},     {0, 4096, 8192, HUSK_E_LIMIT},
                {131072, 0, 4096, HUSK_E_LIMIT},   {0, -4096ull, 8192, HUSK_E_LIMIT},
                {-4096ull, 0, 8192, HUSK_E_LIMIT}, {0, 0, -4096ull, HUSK_E_LIMIT},
                {126976, 0, 8192, HUSK_E_LIMIT}};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++)
        CHECK_STATUS(husk_memory_image_map(s, RANGE(.addr = maps[i].addr, .count = maps[i].bytes),
                                           image, maps[i].offset, err),
                     maps[i].status);
    CHECK_STATUS(husk_memory_image_new(NULL, RANGE(.count = 4096), &none, err), HUSK_E_INVAL);
    CHECK_STATUS(husk_memory_image_new(s, RANGE(.count = 4096), NULL, err), HUSK_E_INVAL);
    CHECK_STATUS(husk_memory_image_map(NULL, RANGE(.count = 4096), image, 0, err), HUSK_E_INVAL);
    CHECK_STATUS(husk_memory_image_map(s, RANGE(.count = 4096), NULL, 0, err), HUSK_E_INVAL);
    CHECK_OK(husk_sandbox_unload(s, err), lab.err);
    CHECK_STATUS(husk_memory_image_new(s, RANGE(.count = 4096), &none, err), HUSK_E_STATE);
    CHECK_STATUS(husk_memory_image_map(s, RANGE(.count = 4096), image, 0, err), HUSK_E_STATE);
    CHECK(none == NULL);
    husk_memory_image_unref(NULL);
    husk_memory_image_unref(image);
    state_close(&lab);
}

/* Of another engine: "any sandbox of the same engine". */
TEST(another_engines_image_is_refused) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab, other;
    state_open(&lab, NULL, NULL);
    state_open(&other, NULL, NULL);
    husk_memory_image *image = image_of(&lab, lab.sandbox, 0, 4096);
    CHECK_STATUS(husk_memory_image_map(other.sandbox, RANGE(.count = 4096), image, 0, &other.err),
                 HUSK_E_INVAL);
    husk_memory_image_unref(image);
    state_close(&other);
    state_close(&lab);
}

struct host_maps {
    husk_memory_image *image;
    int status;
};

static int host_maps_image(husk_caller *caller, void *user, const struct husk_value *args,
                           struct husk_value *results) {
    struct host_maps *maps = user;
    (void)args;
    maps->status = husk_memory_image_map(husk_caller_sandbox(caller),
                                         RANGE(.addr = 4096, .count = 4096), maps->image, 0, NULL);
    results[0].of.i32 = 1;
    return 0;
}

/* From inside a host function of the running call it is allowed, and the guest sees it at once. */
TEST(a_host_function_can_map) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct host_maps maps = {0};
    state_open(&lab, host_maps_image, &maps);
    STATE_CALL(&lab, "fill", 8192, 0x44, 4096);
    maps.image = image_of(&lab, lab.sandbox, 8192, 4096);
    for (int round = 0; round < 10; round++) {
        CHECK_EQ_I64(STATE_CALL(&lab, "load", 4096), 0);
        STATE_CALL(&lab, "host", 1);
        CHECK_EQ_I64(maps.status, 0);
        CHECK_EQ_I64(STATE_CALL(&lab, "load", 4096), 0x44444444);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    husk_memory_image_unref(maps.image);
    state_close(&lab);
}

TEST_MAIN()
