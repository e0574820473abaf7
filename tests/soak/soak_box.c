/* tests/soak/soak_box.c: a sandbox and its model: see soak.h. */
#include <stdlib.h>
#include <string.h>

#include "soak.h"

/* ---- the model ---- */

struct state state_initial(unsigned family) {
    return (struct state){.family = family, .pages = PAGES_MIN, .global = 7};
}

bool cell_is_inside(const struct state *state, unsigned cell) {
    return cell < CELLS_SMALL || cell - CELLS_SMALL + PAGES_MIN < state->pages;
}

uint64_t cell_address(unsigned cell) {
    return cell < CELLS_SMALL ? cell * 4104ull : (cell - 30) * 65536ull;
}

int64_t state_sum(const struct state *state) {
    uint64_t sum = 0;
    for (unsigned cell = 0; cell_is_inside(state, cell) && cell < CELLS; cell++)
        sum = sum * 31 + (uint64_t)state->cells[cell];
    return (int64_t)(sum + (uint64_t)state->global + (uint64_t)state->restored * 7);
}

int64_t answer_to(int32_t asked) {
    return asked * 1000ll + 17;
}

int64_t state_asked(const struct state *state) {
    return (int64_t)((uint64_t)answer_to(state->asked) + (uint64_t)state->kept * 2 +
                     (uint64_t)state->cells[1]);
}

uint64_t box_pages_max(const struct box *box) {
    return box->is_tight ? PAGES_TIGHT : PAGES_MAX;
}

/* ---- images of an actor ---- */

static struct saved base_of(unsigned family) {
    return (struct saved){.image = world.bases[family], .state = state_initial(family)};
}

struct saved some_image(struct actor *actor) {
    const unsigned i = soak_below(actor, IMAGES + 1);
    if (i < IMAGES && actor->images[i].image != NULL)
        return actor->images[i];
    return base_of(soak_below(actor, FAMILIES));
}

static int append(void *user, const void *bytes, size_t count) {
    struct bytes *all = user;
    uint8_t *grown = realloc(all->at, all->count + count);
    if (grown == NULL)
        return -1;
    memcpy(grown + all->count, bytes, count);
    all->at = grown;
    all->count += count;
    return 0;
}

struct bytes image_bytes(struct actor *actor, const husk_image *image) {
    struct bytes bytes = {0};
    NEED(actor, husk_image_save_to(image, append, &bytes, &actor->err) == 0);
    return bytes;
}

void keep_image(struct actor *actor, husk_image *image, const struct state *state) {
    struct saved *slot = &actor->images[soak_below(actor, IMAGES)];
    husk_image_unref(slot->image);
    *slot = (struct saved){.image = image, .state = *state};
}

void actor_empty(struct actor *actor) {
    for (unsigned i = 0; i < BOXES; i++) {
        box_free(actor->boxes[i]);
        actor->boxes[i] = NULL;
    }
    for (unsigned i = 0; i < IMAGES; i++) {
        husk_image_unref(actor->images[i].image);
        actor->images[i].image = NULL;
    }
}

/* ---- boxes ---- */

void box_free(struct box *box) {
    if (box == NULL)
        return;
    husk_image_unref(box->taken);
    husk_sandbox_free(box->sandbox);
    free(box);
}

void box_becomes(struct actor *actor, struct box *box, const struct saved *from) {
    box->state = from->state;
    box->mode = ASK_ANSWERS;
    box->owes_restored = husk_image_is_snapshot(from->image);
    husk_sandbox_set_user(box->sandbox, box);
    if (box->owes_restored)
        return;
    NEED(actor, husk_sandbox_start(box->sandbox, NULL, &actor->outcome, &actor->err) == 0);
    NEED(actor, actor->outcome.kind == HUSK_RETURNED);
}

struct box *box_new(struct actor *actor, const struct saved *from) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    struct box *box = calloc(1, sizeof *box);
    NEED(actor, box != NULL);
    box->is_tight = from->state.pages <= PAGES_TIGHT && soak_below(actor, 4) == 0;
    if (box->is_tight)
        options.memory_max_bytes = (PAGES_TIGHT + LIB_PAGES) * 65536;
    if (soak_below(actor, 8) == 0)
        options.large_pages = soak_below(actor, 4);
    if (soak_below(actor, 8) == 0)
        options.label = actor->idx % 2 == 0 ? "even" : "odd";
    NEED(actor,
         husk_sandbox_new(from->image, world.imports, &options, &box->sandbox, &actor->err) == 0);
    box_becomes(actor, box, from);
    return box;
}

struct box *some_box(struct actor *actor) {
    struct box **slot = &actor->boxes[soak_below(actor, BOXES)];
    if (*slot == NULL) {
        const struct saved from = some_image(actor);
        *slot = box_new(actor, &from);
    }
    return *slot;
}

struct box *free_box(struct actor *actor) {
    struct box *box = some_box(actor);
    if (box->state.is_pending) {
        const struct saved base = base_of(soak_below(actor, FAMILIES));
        NEED(actor, husk_sandbox_load(box->sandbox, base.image, world.imports, &actor->err) == 0);
        box_becomes(actor, box, &base);
    }
    return box;
}

void box_heal(struct actor *actor, struct box *box) {
    struct saved from = some_image(actor);
    if (from.state.pages > box_pages_max(box))
        from = base_of(from.state.family);
    const unsigned way = soak_below(actor, 4);
    if (way == 0 && soak_below(actor, 2) == 0)
        NEED(actor, husk_sandbox_park(box->sandbox, &actor->err) == 0);
    if (way < 2 && from.state.family == box->state.family) {
        NEED(actor, husk_sandbox_restore(box->sandbox, from.image, &actor->err) == 0);
    } else {
        if (way == 2)
            NEED(actor, husk_sandbox_unload(box->sandbox, &actor->err) == 0);
        NEED(actor, husk_sandbox_load(box->sandbox, from.image, world.imports, &actor->err) == 0);
    }
    box_becomes(actor, box, &from);
    box_check(actor, box);
}

/* ---- calls ---- */

void box_called(struct box *box) {
    box->state.restored += box->owes_restored;
    box->owes_restored = false;
}

void box_call(struct actor *actor, struct box *box, struct husk_call *call) {
    actor->outcome = (struct husk_outcome)HUSK_OUTCOME_INIT;
    actor->err.message[0] = '\0';
    NEED(actor, husk_call(box->sandbox, call, &actor->outcome, &actor->err) == 0);
    box_called(box);
}

int64_t box_get(struct actor *actor, struct box *box, const char *name,
                const struct husk_value *args, size_t args_count) {
    struct husk_value result = {0};
    box_call(actor, box,
             CALL(.name = name, .args = args, .args_count = args_count, .results = &result,
                  .results_count = 1));
    NEED(actor, actor->outcome.kind == HUSK_RETURNED);
    return result.type == HUSK_I32 ? result.of.i32 : result.of.i64;
}

/* ---- checks ---- */

static void check_word(struct actor *actor, struct box *box, unsigned slot) {
    const struct husk_value arg = value_i32((int32_t)slot);
    NEED(actor, box_get(actor, box, "get", &arg, 1) == box->state.words[slot]);
}

static void check_cell(struct actor *actor, struct box *box, unsigned cell) {
    int64_t got = 0;
    const int status = husk_memory_read(
        box->sandbox, RANGE(.addr = cell_address(cell), .count = sizeof got), &got, &actor->err);
    NEED(actor, status == (cell_is_inside(&box->state, cell) ? 0 : HUSK_E_LIMIT));
    NEED(actor, status != 0 || got == box->state.cells[cell]);
}

void box_check(struct actor *actor, struct box *box) {
    struct husk_value value;
    NEED(actor, husk_memory_bytes(box->sandbox, 0) == box->state.pages * 65536);
    check_cell(actor, box, soak_below(actor, CELLS));
    NEED(actor, husk_global_get(box->sandbox, "g", 0, &value, &actor->err) == 0);
    NEED(actor, value.of.i64 == box->state.global);
    const int64_t sum = box_get(actor, box, "sum", NULL, 0);
    NEED(actor, sum == state_sum(&box->state));
    check_word(actor, box, soak_below(actor, WORDS));
}

void box_check_all(struct actor *actor, struct box *box) {
    box_check(actor, box);
    NEED(actor, box_get(actor, box, "family", NULL, 0) == box->state.family);
    for (unsigned cell = 0; cell < CELLS; cell++)
        check_cell(actor, box, cell);
    for (unsigned slot = 0; slot < WORDS; slot++)
        check_word(actor, box, slot);
}
