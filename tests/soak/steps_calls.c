/* tests/soak/steps_calls.c: calls that return, and what the host does between calls. */
#include <stdlib.h>
#include <string.h>

#include "soak.h"

static unsigned some_cell(struct actor *actor, const struct box *box) {
    unsigned cell = soak_below(actor, CELLS);
    return cell_is_inside(&box->state, cell) ? cell : cell % CELLS_SMALL;
}

/* Also beyond the end of memory. */
void step_swap(struct actor *actor) {
    struct box *box = some_box(actor);
    const unsigned cell = soak_below(actor, CELLS);
    const int64_t value = (int64_t)soak_random(actor);
    const struct husk_value args[] = {value_i32((int32_t)cell), value_i64(value)};
    struct husk_value result = {0};
    box_call(actor, box,
             CALL(.name = "swap", .args = args, .args_count = 2, .results = &result,
                  .results_count = 1));
    if (!cell_is_inside(&box->state, cell)) {
        NEED(actor, actor->outcome.kind == HUSK_TRAPPED);
        NEED(actor, actor->outcome.trap == HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    } else {
        NEED(actor, actor->outcome.kind == HUSK_RETURNED);
        NEED(actor, result.of.i64 == box->state.cells[cell]);
        box->state.cells[cell] = value;
    }
    box_check(actor, box);
}

/* All types of numbers, by a name or by a function found before. */
void step_values(struct actor *actor) {
    struct box *box = some_box(actor);
    const int64_t number = (int64_t)soak_random(actor);
    const int32_t small = (int32_t)soak_below(actor, 1u << 20);
    struct husk_value args[] = {value_i32(small),
                                value_i64(number),
                                husk_f32((float)small),
                                husk_f64((double)small),
                                {.type = HUSK_V128, .of = {.v128 = {0}}}};
    struct husk_value results[5] = {{0}};
    struct husk_call *call = CALL(.name = "values", .args = args, .args_count = 5,
                                  .results = results, .results_count = 5);
    uint32_t lanes[4], doubled[4];
    for (unsigned i = 0; i < 4; i++)
        lanes[i] = (uint32_t)soak_random(actor), doubled[i] = lanes[i] * 2;
    memcpy(args[4].of.v128, lanes, sizeof lanes);
    if (soak_below(actor, 2) == 0) {
        call->name = NULL;
        NEED(actor, husk_image_func(world.bases[box->state.family], "values", 0, &call->func,
                                    &actor->err) == 0);
    }
    box_call(actor, box, call);
    NEED(actor, actor->outcome.kind == HUSK_RETURNED);
    NEED(actor, results[0].of.i32 == small + 1);
    NEED(actor, results[1].of.i64 == (int64_t)((uint64_t)number * 3));
    NEED(actor, results[2].of.f32 == (float)small * 2);
    NEED(actor, results[3].of.f64 == small + 0.5);
    NEED(actor, memcmp(results[4].of.v128, doubled, sizeof doubled) == 0);
}

void step_refs(struct actor *actor) {
    struct box *box = some_box(actor);
    struct husk_value args[2] = {{.type = HUSK_EXTERNREF}}, results[2] = {{0}};
    husk_func func;
    args[0].of.ref = soak_random(actor);
    NEED(actor,
         husk_func_to_ref(box->sandbox, world.sum[box->state.family], &args[1], &actor->err) == 0);
    box_call(actor, box,
             CALL(.name = "refs", .args = args, .args_count = 2, .results = results,
                  .results_count = 2));
    NEED(actor, actor->outcome.kind == HUSK_RETURNED);
    NEED(actor, results[1].of.ref == args[0].of.ref);
    NEED(actor, husk_func_from_ref(box->sandbox, &results[0], &func, NULL, &actor->err) == 0);
    struct husk_value sum = {0};
    box_call(actor, box, CALL(.func = func, .results = &sum, .results_count = 1));
    NEED(actor, actor->outcome.kind == HUSK_RETURNED);
    NEED(actor, sum.of.i64 == state_sum(&box->state));
}

void step_many(struct actor *actor) {
    enum { COUNT = 20 };
    struct box *box = some_box(actor);
    struct husk_value args[2 * COUNT], results[COUNT];
    struct husk_many many = HUSK_MANY_INIT;
    many.count = COUNT;
    for (unsigned i = 0; i < COUNT; i++) {
        args[2 * i] = value_i32((int32_t)some_cell(actor, box));
        args[2 * i + 1] = value_i64((int64_t)soak_random(actor));
    }
    NEED(actor, husk_call_many(box->sandbox,
                               CALL(.name = "swap", .args = args, .args_count = 2 * COUNT,
                                    .results = results, .results_count = COUNT),
                               &many, &actor->outcome, &actor->err) == 0);
    box_called(box);
    NEED(actor, actor->outcome.kind == HUSK_RETURNED && many.returned == COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        int64_t *cell = &box->state.cells[args[2 * i].of.i32];
        NEED(actor, results[i].of.i64 == *cell);
        *cell = args[2 * i + 1].of.i64;
    }
    box_check(actor, box);
}

void step_bytes(struct actor *actor) {
    struct box *box = some_box(actor);
    uint8_t input[2048];
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    bytes.input = input;
    bytes.input_count = soak_below(actor, sizeof input + 1);
    bytes.keeps = soak_below(actor, 2) == 0;
    for (size_t i = 0; i < bytes.input_count; i++)
        input[i] = (uint8_t)soak_random(actor);
    NEED(actor, husk_call_bytes(box->sandbox, CALL(.name = "flip"), &bytes, &actor->outcome,
                                &actor->err) == 0);
    box_called(box);
    NEED(actor, actor->outcome.kind == HUSK_RETURNED);
    NEED(actor, bytes.output_count == bytes.input_count);
    const uint8_t *output = bytes.output;
    for (size_t i = 0; i < bytes.input_count; i++)
        NEED(actor, output[i] == (input[i] ^ 0x5a));
    free(bytes.output);
    box_check(actor, box);
}

/* guest, host, guest */
void step_nest(struct actor *actor) {
    struct box *box = some_box(actor);
    const unsigned cell = some_cell(actor, box);
    const int64_t value = (int64_t)soak_random(actor);
    const struct husk_value args[] = {value_i32((int32_t)cell), value_i64(value)};
    const int64_t got = box_get(actor, box, "nest", args, 2);
    NEED(actor, (uint64_t)got == (uint64_t)box->state.cells[cell] + 1);
    box->state.cells[cell] = value;
    box_check(actor, box);
}

/* An exception of the host's, which the guest catches. */
void step_through(struct actor *actor) {
    struct box *box = some_box(actor);
    const int64_t value = soak_below(actor, 1u << 30);
    const struct husk_value arg = value_i64(value);
    NEED(actor, box_get(actor, box, "through", &arg, 1) == ((value + 1) ^ 0x55));
    box_check(actor, box);
}

void step_indirect(struct actor *actor) {
    struct box *box = some_box(actor);
    struct husk_value ref, null = {.type = HUSK_FUNCREF};
    const struct husk_value entry = value_i32(5);
    NEED(actor,
         husk_func_to_ref(box->sandbox, world.sum[box->state.family], &ref, &actor->err) == 0);
    NEED(actor, husk_table_set(box->sandbox, 0, 5, &ref, &actor->err) == 0);
    const int64_t got = box_get(actor, box, "indirect", &entry, 1);
    NEED(actor, got == state_sum(&box->state));
    NEED(actor, husk_table_set(box->sandbox, 0, 5, &null, &actor->err) == 0);
    NEED(actor, husk_table_set(box->sandbox, 0, 8, &null, &actor->err) == HUSK_E_LIMIT);
}

/* By the guest or the host, also beyond a limit. */
void step_grow(struct actor *actor) {
    struct box *box = some_box(actor);
    const uint64_t delta = soak_below(actor, 4), old = box->state.pages;
    const bool fits = old + delta <= box_pages_max(box);
    if (soak_below(actor, 2) == 0) {
        const struct husk_value arg = value_i32((int32_t)delta);
        NEED(actor, box_get(actor, box, "grow", &arg, 1) == (fits ? (int64_t)old : -1));
    } else {
        NEED(actor, husk_memory_grow(box->sandbox, 0, delta, NULL, &actor->err) ==
                        (fits ? 0 : HUSK_E_LIMIT));
    }
    if (fits)
        box->state.pages += delta;
    box_check(actor, box);
}

void step_host_access(struct actor *actor) {
    struct box *box = some_box(actor);
    const unsigned cell = soak_below(actor, CELLS);
    const int64_t number = (int64_t)soak_random(actor);
    const struct husk_value value = value_i64(number);
    const struct husk_range range = {.addr = cell_address(cell), .count = sizeof number};
    const int expected = cell_is_inside(&box->state, cell) ? 0 : HUSK_E_LIMIT;
    void *span;
    if (soak_below(actor, 4) == 0) {
        NEED(actor, husk_memory_span(box->sandbox, &range, &span, &actor->err) == expected);
        if (expected == 0)
            memcpy(span, &number, sizeof number);
    } else {
        NEED(actor, husk_memory_write(box->sandbox, &range, &number, &actor->err) == expected);
    }
    if (expected == 0)
        box->state.cells[cell] = number;
    NEED(actor, husk_global_set(box->sandbox, "g", 0, &value, &actor->err) == 0);
    box->state.global = number;
    box_check(actor, box);
}

void step_put(struct actor *actor) {
    struct box *box = some_box(actor);
    const unsigned slot = soak_below(actor, WORDS);
    const int64_t word = (int64_t)soak_random(actor);
    const struct husk_value args[] = {value_i32((int32_t)slot), value_i64(word)};
    box_call(actor, box, CALL(.name = "put", .args = args, .args_count = 2));
    NEED(actor, actor->outcome.kind == HUSK_RETURNED);
    box->state.words[slot] = word;
    box_check(actor, box);
}

/* The private layer's limit is reached. The file has all its words afterwards. */
void step_fill(struct actor *actor) {
    struct box *box = some_box(actor);
    const struct husk_value bytes = value_i64(WORDS * 8);
    NEED(actor, box_get(actor, box, "fill", &bytes, 1) == 51); /* ENOSPC */
    box_check_all(actor, box);
}

void step_check_all(struct actor *actor) {
    box_check_all(actor, some_box(actor));
}
