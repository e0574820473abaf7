/*
 * host/memory/spare.h: spare machines: made ahead by a thread of the engine, each equal to an image
 * and with the pages that a first call touches known to the VM. A new sandbox of the image takes
 * one, and the thread makes the next. The list is a part of the engine, as the pool is.
 *
 * Any thread may call these functions.
 */
#ifndef HOST_SPARE_H
#define HOST_SPARE_H

#include "machine.h"

/* Keep `count` machines for sandboxes of this image with these limits and sizes; 0: none any more.
 * Takes over the sizes, also on failure. HUSK_E_LIMIT, HUSK_E_NOMEM, HUSK_E_SYS (no thread). */
int spares_want(husk_image *image, const struct husk_sandbox_options *limits,
                struct sizing *take_sizes, uint32_t count, struct husk_error *err);
/* NULL: there is none. The thread makes the next one when fewer than half are left, or after
 * spares_refill(). */
struct machine *spares_take(husk_engine *engine, const husk_image *image,
                            const struct husk_sandbox_options *limits);
/* A sandbox is about to be freed: what it has read is what the next first calls will read. */
void spares_learn(struct machine *machine);
/* A sandbox was freed, so no first call is waited for: have the thread make those that are missing.
 */
void spares_refill(husk_engine *engine);
/* End the thread and free all machines. From now on nothing is wanted. */
void spares_close(husk_engine *engine);

#endif
