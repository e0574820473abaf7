/* compiler/client/cache_entry.h: the entries of a cache folder. */
#ifndef COMPILER_CACHE_ENTRY_H
#define COMPILER_CACHE_ENTRY_H

#include "client.h"
#include "sha256.h"

/* Where the image of a module is, or would be. *ret_path is malloc()ed. */
int cache_entry_path(const struct worker_job *job, const uint8_t wasm_sha256[SHA256_BYTES],
                     const struct husk_compile_options *full, char **ret_path,
                     struct husk_error *err);
/* The entry, checked; -1 if there is none or it is damaged. */
int cache_open_entry(const char *path, const uint8_t wasm_sha256[SHA256_BYTES]);

#endif
