/*
 * host/memory/large_copy.h: a sandbox's own copy of what the image has, in large pages (2 MiB), for
 * HUSK_LARGE_PAGES_CONTENTS: code and constants, and the contents of memories. A guest then takes
 * one fault for 512 pages, and none a second time for its first write.
 */
#ifndef HOST_LARGE_COPY_H
#define HOST_LARGE_COPY_H

#include "arena.h"

/* Less than this is not worth a large page, which must be cleared first: few pages of it are
 * used. */
#define LARGE_COPY_MIN_BYTES (1ull << 20)
/* More large pages take too long before the first call (0.2 ms per MiB), however few of their bytes
 * the image has. */
#define LARGE_COPY_MAX_BYTES (64ull << 20)

struct image_code;
/* Is code of this size copied? */
bool large_copy_takes_code(const struct image_code *code);

/* The arena is mapped, and in no VM yet. Memories that are copied are overlays, so a restore brings
 * the image's own mapping back; the copy of the code stays. HUSK_E_NOMEM, HUSK_E_SYS, HUSK_E_LIMIT;
 * the caller must not use the arena then. */
int large_copy(struct arena *arena, husk_image *image, struct husk_error *err);

#endif
