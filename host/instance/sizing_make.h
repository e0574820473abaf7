/*
 * host/instance/sizing_make.h: makes the sizes of an instance from the image's sizes, the
 * definitions of imported memories and tables, and the sandbox's limits. They are checked before
 * anything is made.
 */
#ifndef HOST_SIZING_MAKE_H
#define HOST_SIZING_MAKE_H

#include "linkage.h"
#include "sizing.h"

/* HUSK_E_LIMIT: the image starts with more than the limits allow. */
int sizing_make(struct sizing *sizing, const husk_image *image, const struct linkage *linkage,
                const struct husk_sandbox_options *limits, struct husk_error *err);

#endif
