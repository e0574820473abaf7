/*
 * host/memory/read_pages.h: the pages that sandboxes of an image have read and not written: code,
 * constants, contents of memory. A spare VM takes the page faults for them ahead (spare.c).
 */
#ifndef HOST_READ_PAGES_H
#define HOST_READ_PAGES_H

#include "machine.h"

/* Of one image: the faults for so many take a thread some 40 ms where one takes 10 us. */
#define READ_PAGES_MAX 4096u

/* Add those of a sandbox that is about to be freed to the image's. The first few sandboxes tell;
 * after that, this does nothing. What fails is not learned. */
void read_pages_learn(struct machine *machine);

#endif
