/*
 * tests/kvm/snapshots/takeover_test.c: machines that go from one module to another. Modules of many
 * sizes, and snapshots of them, come in random order: by a load, and by a new sandbox from a pool
 * of one VM. After each the guest must find exactly what its image has, and a trap behind its
 * memory, whatever the module before had and did.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image_internal.h"
#include "literals.h"
#include "sandbox_internal.h"
#include "wat.h"

enum {
    MODULES = 9,
    APART = 4,
    SNAPSHOTS = 2,
    STATES = MODULES * (1 + SNAPSHOTS),
    POKES = 12,
    DATA_AT = 100
};
enum { PAGE = HUSK_WASM_PAGE_SIZE };

struct form {
    unsigned pages, max_pages, table, fillers;
};

/* No memory; less and more than a large page; more than a main slot has room for; tables that need
 * a longer lane; text of several pages and of several large ones' distance. */
static const struct form forms[MODULES] = {
    {1, 40, 4, 0},     {0, 0, 4, 0},       {17, 70, 4, 0},      {33, 200, 10, 60}, {64, 64, 4, 0},
    {150, 400, 4, 10}, {2, 50, 70000, 10}, {31, 40, 600, 2000}, {1, 1, 4, 0}};

struct state {
    husk_image *image;
    unsigned module, pages, table;
    uint32_t pokes_count;
    uint32_t poked[POKES]; /* addresses: the value is the address and the seed */
    uint64_t seed;
};

struct lab {
    husk_engine *engine;
    husk_sandbox *sandbox;
    struct state states[STATES];
    struct husk_error err;
    uint64_t random;
    uint32_t left[POKES]; /* where the module before wrote last */
    uint32_t left_count;
};

static uint32_t draw(struct lab *lab, uint32_t count) {
    lab->random = lab->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(lab->random >> 33) % count;
}

static char *module_text(unsigned idx) {
    const struct form *form = &forms[idx];
    char *text;
    size_t bytes;
    FILE *file = open_memstream(&text, &bytes);
    CHECK(file != NULL);
    fprintf(file, "(module (table $t %u 100000 funcref) (elem (table $t) (i32.const 0) func $id)",
            form->table);
    if (form->pages > 0)
        fprintf(
            file,
            "(memory %u %u) (data (i32.const %d) \"data%04u\")"
            "(func (export \"peek\") (param i64) (result i64)"
            " local.get 0 i32.wrap_i64 i64.load)"
            "(func (export \"poke\") (param i64) (result i64)"
            " local.get 0 i32.wrap_i64 local.get 0 i64.const 32 i64.shr_u i64.store i64.const 0)"
            "(func (export \"grow\") (param i64) (result i64)"
            " local.get 0 i32.wrap_i64 memory.grow i64.extend_i32_s)"
            "(func (export \"size\") (param i64) (result i64) memory.size i64.extend_i32_u)",
            form->pages, form->max_pages, DATA_AT, idx);
    fprintf(file,
            "(func $id (export \"id\") (param i64) (result i64) i64.const %u)"
            "(func (export \"tsize\") (param i64) (result i64) table.size $t i64.extend_i32_u)"
            "(func (export \"tgrow\") (param i64) (result i64)"
            " ref.null func local.get 0 i32.wrap_i64 table.grow $t i64.extend_i32_s)"
            "(func $deep (export \"deep\") (param i64) (result i64)"
            " (if (result i64) (i64.eqz (local.get 0)) (then (i64.const 0))"
            "  (else (i64.add (i64.const 1) (call $deep (i64.sub (local.get 0) (i64.const 1)))))))"
            "(func (export \"indirect\") (param i64) (result i64)"
            " local.get 0 i32.const 0 call_indirect (param i64) (result i64))",
            1000 + idx);
    for (unsigned i = 0; i < form->fillers; i++)
        fprintf(file,
                "(func (export \"f%u\") (param i64) (result i64)"
                " local.get 0 i64.const %u i64.mul i64.const %u i64.xor)",
                i, 77777777 + i * 31, 99999 + idx * 7 + i);
    fputs(")", file);
    fclose(file);
    return text;
}

static enum husk_outcome_kind run(struct lab *lab, const char *name, int64_t argument,
                                  int64_t *ret_result) {
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = argument}, result = {.of.i64 = 0};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    CHECK_OK(husk_call(lab->sandbox,
                       CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &outcome, &lab->err),
             lab->err);
    *ret_result = result.of.i64;
    return outcome.kind;
}

static int64_t call(struct lab *lab, const char *name, int64_t argument) {
    int64_t result;
    CHECK_EQ_U64(run(lab, name, argument, &result), HUSK_RETURNED);
    return result;
}

static uint32_t value_at(const struct state *state, uint32_t address) {
    return address * 2654435761u ^ (uint32_t)state->seed;
}

/* 8-byte places that do not overlap. */
static void poke(struct lab *lab, const struct state *state, uint32_t address) {
    call(lab, "poke", (int64_t)((uint64_t)value_at(state, address) << 32 | address));
}

static uint32_t draw_place(struct lab *lab, unsigned pages) {
    return draw(lab, pages * (PAGE / 8)) * 8;
}

static int64_t expected_at(const struct state *state, uint32_t address) {
    int64_t data;
    char text[9];
    for (uint32_t i = 0; i < state->pokes_count; i++)
        if (state->poked[i] == address)
            return value_at(state, address);
    snprintf(text, sizeof text, "data%04u", state->module);
    memcpy(&data, text, sizeof data);
    return address == DATA_AT ? data : 0;
}

static void check_memory(struct lab *lab, const struct state *state) {
    int64_t result;
    const int64_t bytes = (int64_t)state->pages * PAGE;
    CHECK_EQ_I64(call(lab, "size", 0), state->pages);
    for (int i = 0; i < 6; i++) {
        const uint32_t address = draw_place(lab, state->pages);
        if (address + 8 <= DATA_AT || address >= DATA_AT + 8)
            CHECK_EQ_I64(call(lab, "peek", address), expected_at(state, address));
    }
    for (uint32_t i = 0; i < state->pokes_count; i++)
        CHECK_EQ_I64(call(lab, "peek", state->poked[i]), expected_at(state, state->poked[i]));
    CHECK_EQ_I64(call(lab, "peek", DATA_AT), expected_at(state, DATA_AT));
    for (uint32_t i = 0; i < lab->left_count; i++)
        if (lab->left[i] < bytes)
            CHECK_EQ_I64(call(lab, "peek", lab->left[i]), expected_at(state, lab->left[i]));
    call(lab, "peek", bytes - 8);
    CHECK_EQ_U64(run(lab, "peek", bytes, &result), HUSK_TRAPPED);
    CHECK_EQ_U64(run(lab, "peek", bytes + draw(lab, 5000) * 4096u, &result), HUSK_TRAPPED);
}

/* What the guest can reach is what the image has. */
static void check(struct lab *lab, const struct state *state) {
    int64_t result;
    char name[16];
    const struct form *form = &forms[state->module];
    CHECK_EQ_I64(call(lab, "id", 0), 1000 + state->module);
    CHECK_EQ_I64(call(lab, "indirect", 0), 1000 + state->module);
    CHECK_EQ_I64(call(lab, "tsize", 0), state->table);
    CHECK_EQ_I64(call(lab, "deep", 2000), 2000);
    if (form->fillers > 0) {
        const unsigned i = draw(lab, form->fillers);
        snprintf(name, sizeof name, "f%u", i);
        CHECK_EQ_I64(call(lab, name, 3),
                     (3ll * (77777777 + i * 31)) ^ (99999 + state->module * 7 + i));
    }
    if (state->pages > 0)
        check_memory(lab, state);
    if (draw(lab, 4) == 0) /* all of the stack */
        CHECK_EQ_U64(run(lab, "deep", 10000000, &result), HUSK_TRAPPED);
    CHECK_OK(husk_sandbox_restore(lab->sandbox, state->image, &lab->err), lab->err);
}

/* Grow, and write where the next module may look. `made` remembers it, for a snapshot. */
static void scramble(struct lab *lab, struct state *made) {
    const struct form *form = &forms[made->module];
    const unsigned more = draw(lab, 40), entries = draw(lab, 900);
    if (form->pages > 0 && call(lab, "grow", more) >= 0)
        made->pages += more;
    CHECK_EQ_I64(call(lab, "tgrow", entries), made->table);
    made->table += entries;
    made->seed = lab->random;
    for (made->pokes_count = 0; form->pages > 0 && made->pokes_count < POKES;) {
        const uint32_t address = draw_place(lab, made->pages) & ~7u;
        if (address < DATA_AT + 8 || expected_at(made, address) != 0)
            continue;
        made->poked[made->pokes_count++] = address;
        poke(lab, made, address);
    }
    lab->left_count = made->pokes_count;
    memcpy(lab->left, made->poked, sizeof lab->left);
}

static void module_open(struct lab *lab, unsigned idx) {
    char *text = module_text(idx);
    struct state *state = &lab->states[idx * (1 + SNAPSHOTS)];
    const int fd = wat_compile(text, WAT_WORKER);
    free(text);
    *state = (struct state){.module = idx, .pages = forms[idx].pages, .table = forms[idx].table};
    CHECK_OK(husk_image_open_fd(lab->engine, fd, NULL, &state->image, &lab->err), lab->err);
    if (idx == APART) /* as if the file had holes there: the read-only part has its own slot */
        state->image->code->is_ro_one_mapping = false;
    close(fd);
    for (unsigned i = 1; i <= SNAPSHOTS; i++) {
        state[i] = *state;
        CHECK_OK(husk_sandbox_new(state->image, NULL, NULL, &lab->sandbox, &lab->err), lab->err);
        scramble(lab, &state[i]);
        CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &state[i].image, &lab->err), lab->err);
        husk_sandbox_free(lab->sandbox);
    }
}

static void lab_open(struct lab *lab, uint64_t seed) {
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    *lab = (struct lab){.random = seed};
    options.pool_max = 1;
    CHECK_OK(husk_engine_new(&options, &lab->engine, &lab->err), lab->err);
    for (unsigned i = 0; i < MODULES; i++)
        module_open(lab, i);
}

static void lab_close(struct lab *lab) {
    husk_sandbox_free(lab->sandbox);
    for (unsigned i = 0; i < STATES; i++)
        husk_image_unref(lab->states[i].image);
    husk_engine_unref(lab->engine);
}

/* By a load into what is there, or from the pool. */
static void go_to(struct lab *lab, const struct state *state) {
    if (draw(lab, 2) == 0) {
        CHECK_OK(husk_sandbox_load(lab->sandbox, state->image, NULL, &lab->err), lab->err);
        return;
    }
    husk_sandbox_free(lab->sandbox);
    CHECK_OK(husk_sandbox_new(state->image, NULL, NULL, &lab->sandbox, &lab->err), lab->err);
}

TEST(any_module_after_any_other) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    const char *text = getenv("HUSK_TEST_ROUNDS");
    const uint32_t rounds = text != NULL ? (uint32_t)strtoul(text, NULL, 10) : 300;
    lab_open(&lab, 20261129);
    CHECK_OK(husk_sandbox_new(lab.states[0].image, NULL, NULL, &lab.sandbox, &lab.err), lab.err);
    for (uint32_t round = 0; round < rounds; round++) {
        const struct state *state = &lab.states[draw(&lab, STATES)];
        struct state scrambled = *state;
        go_to(&lab, state);
        check(&lab, state);
        for (uint32_t i = draw(&lab, 3); i > 0; i--)
            scramble(&lab, &scrambled);
    }
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab.engine, &stats);
    CHECK_EQ_U64(stats.restore_failures, 0);
    lab_close(&lab);
}

/* Modules whose parts are no longer than a lane: no slot changes, so the memory stays where it
 * is. */
TEST(small_modules_keep_the_memory_slots) {
    SKIP_WITHOUT_COMPILER();
    static const unsigned small[] = {0, 1, 2, 3, 8};
    struct lab lab;
    lab_open(&lab, 7);
    CHECK_OK(husk_sandbox_new(lab.states[0].image, NULL, NULL, &lab.sandbox, &lab.err), lab.err);
    const uint8_t *base = lab.sandbox->machine->arena.base;
    for (unsigned round = 0; round < 30; round++) {
        const unsigned idx = small[draw(&lab, sizeof small / sizeof small[0])];
        const struct state *state = &lab.states[idx * (1 + SNAPSHOTS)];
        go_to(&lab, state);
        CHECK_EQ_I64(call(&lab, "id", 0), 1000 + idx);
        CHECK(lab.sandbox->machine->arena.base == base);
    }
    lab_close(&lab);
}

TEST_MAIN()
