/*
 * compiler/link/throw_link.h: makes the tables by which the guest's runtime unwinds its stack
 * (guest/throw_tables.h). Used by linker.c, for programs with exceptions only.
 */
#ifndef COMPILER_THROW_LINK_H
#define COMPILER_THROW_LINK_H

#include "lsda.h"
#include "plan.h"
#include "unwind_x86_64.h"

/* The tables without addresses of one another, which depend on where they will lie. */
struct throw_image {
    struct buf rows;   /* struct throw_row */
    struct buf shapes; /* struct throw_shape */
    struct buf roots;  /* struct throw_root */
    struct buf tag_values;
    struct lsda_tables lsda;
};

/* Make the tables from finished frames and handlers (image->lsda). HUSK_E_NOMEM,
 * HUSK_E_COMPILER. */
int throw_image_make(const struct plan *plan, const struct unwind_tables *unwind,
                     struct throw_image *image, struct husk_error *err);
uint64_t throw_image_bytes(const struct throw_image *image);
/* Write them to `ret_bytes`, which will lie at this address. struct throw_tables comes first. */
void throw_image_write(const struct plan *plan, const struct throw_image *image, uint64_t gva,
                       uint8_t *ret_bytes);
void throw_image_done(struct throw_image *image);

#endif
