/* tests/soak/steps_states.c: snapshots, restores, loads, clones, boxes and images that change
 * hands, memory images, the pool. */
#include <string.h>

#include "soak.h"

void step_snapshot(struct actor *actor) {
    struct box *box = some_box(actor);
    husk_image *image = NULL;
    NEED(actor, husk_sandbox_snapshot(box->sandbox, &image, &actor->err) == 0);
    keep_image(actor, image, &box->state);
    if (soak_below(actor, 2) == 0)
        box_check(actor, box);
}

/* A refused restore or load leaves the box as it was. */
static void need_restored(struct actor *actor, struct box *box, const struct saved *from,
                          int status) {
    const bool fits = from->state.pages <= box_pages_max(box);
    NEED(actor, status == 0 ? fits : true);
    if (status == 0)
        box_becomes(actor, box, from);
    box_check(actor, box);
}

void step_restore(struct actor *actor) {
    struct box *box = some_box(actor);
    const struct saved from = some_image(actor);
    const bool is_other = from.state.family != box->state.family;
    const bool fits = from.state.pages <= box_pages_max(box);
    const int status = husk_sandbox_restore(box->sandbox, from.image, &actor->err);
    NEED(actor, status == (is_other ? HUSK_E_INVAL : fits ? 0 : HUSK_E_LIMIT));
    need_restored(actor, box, &from, status);
}

void step_load(struct actor *actor) {
    struct box *box = some_box(actor);
    const struct saved from = some_image(actor);
    const bool fits = from.state.pages <= box_pages_max(box);
    const int status = husk_sandbox_load(box->sandbox, from.image, world.imports, &actor->err);
    NEED(actor, status == (fits ? 0 : HUSK_E_LIMIT));
    need_restored(actor, box, &from, status);
}

void step_clone(struct actor *actor) {
    struct box *box = some_box(actor);
    struct box **slot = &actor->boxes[soak_below(actor, BOXES)];
    husk_sandbox *sandbox = NULL;
    NEED(actor, husk_sandbox_clone(box->sandbox, &sandbox, &actor->err) == 0);
    struct box *clone = *slot == box ? NULL : *slot;
    if (clone == NULL) { /* in place of the box itself, or of none */
        husk_sandbox *old = box->sandbox;
        box->sandbox = sandbox;
        husk_sandbox_free(old);
        clone = box;
    } else {
        husk_sandbox_free(clone->sandbox);
        clone->sandbox = sandbox;
        clone->is_tight = box->is_tight;
        clone->state = box->state;
        box_check(actor, box);
    }
    clone->owes_restored = true;
    husk_sandbox_set_user(sandbox, clone);
    box_check_all(actor, clone);
}

void step_renew(struct actor *actor) {
    struct box **slot = &actor->boxes[soak_below(actor, BOXES)];
    const struct saved from = some_image(actor);
    box_free(*slot);
    *slot = box_new(actor, &from);
    box_check_all(actor, *slot);
}

void step_park(struct actor *actor) {
    struct box *box = some_box(actor);
    NEED(actor, husk_sandbox_park(box->sandbox, &actor->err) == 0);
    NEED(actor, husk_sandbox_is_parked(box->sandbox));
    if (soak_below(actor, 2) == 0)
        box_check(actor, box);
}

/* Boxes go to other threads, whatever they are in the middle of. */
void step_exchange(struct actor *actor) {
    struct box **mine = &actor->boxes[soak_below(actor, BOXES)];
    struct box **lot = &world.lot[soak_below(actor, BOXES)];
    pthread_mutex_lock(&world.lock);
    struct box *box = *lot;
    *lot = *mine;
    pthread_mutex_unlock(&world.lock);
    *mine = box;
    if (box != NULL)
        box_check_all(actor, box);
}

void step_shelve(struct actor *actor) {
    const struct saved image = some_image(actor);
    shelf_put(actor, &image);
}

void step_take_shelved(struct actor *actor) {
    const struct saved image = shelf_take(actor);
    if (image.image != NULL)
        keep_image(actor, image.image, &image.state);
}

/* ---- memory images ---- */

static void write_cell(struct actor *actor, struct box *box, unsigned cell) {
    box->state.cells[cell] = (int64_t)soak_random(actor);
    NEED(actor, husk_memory_write(box->sandbox, RANGE(.addr = cell_address(cell), .count = 8),
                                  &box->state.cells[cell], &actor->err) == 0);
}

/* A page of one box, and the cell in it, is mapped into another one. Each page below CELLS_SMALL
 * has one cell, each at another place in its page: one that moves is written anew. */
void step_memory_image(struct actor *actor) {
    struct box *from = some_box(actor), *to = some_box(actor);
    husk_memory_image *image = NULL;
    const unsigned page = 1 + soak_below(actor, CELLS_SMALL - 1);
    const unsigned other = soak_below(actor, 2) == 0 ? page : 1 + soak_below(actor, 31);
    const int64_t value = from->state.cells[page];
    NEED(actor, husk_memory_image_new(from->sandbox, RANGE(.addr = page * 4096, .count = 4096),
                                      &image, &actor->err) == 0);
    if (soak_below(actor, 2) == 0)
        write_cell(actor, from, page);
    NEED(actor, husk_memory_image_map(to->sandbox, RANGE(.addr = other * 4096, .count = 4096),
                                      image, 0, &actor->err) == 0);
    NEED(actor, husk_memory_image_map(to->sandbox, RANGE(.addr = other * 4096, .count = 8192),
                                      image, 0, &actor->err) == HUSK_E_LIMIT);
    husk_memory_image_unref(image);
    if (other == page)
        to->state.cells[page] = value;
    else
        write_cell(actor, to, other);
    box_check(actor, from);
    box_check_all(actor, to);
}

/* ---- the pool ---- */

void step_trim(struct actor *actor) {
    husk_engine_trim(world.engine, soak_below(actor, 4));
}

void step_prepare(struct actor *actor) {
    NEED(actor, husk_sandbox_prepare(world.bases[soak_below(actor, FAMILIES)], world.imports, NULL,
                                     soak_below(actor, 3), &actor->err) == 0);
}
