/*
 * compiler/client/cache_limit.h: keeps a cache folder below its limit. A count of the bytes that
 * the files take is kept in a file, so that storing an image does not read the folder: that happens
 * only if the count is above the limit, damaged, or a day old. The count may be too large or too
 * small, after crashes for example. Reading the folder corrects it.
 */
#ifndef COMPILER_CACHE_LIMIT_H
#define COMPILER_CACHE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "husk_compile.h"

#define CACHE_LIMIT_NAME "husk-cache.limit"
#define CACHE_COUNT_NAME "husk-cache.count"

/* ---- cache_limit.c ---- */

/* `wanted` (husk_compile_options.cache_limit_bytes) if it is not 0, else what was set for the
 * folder, else the default. */
uint64_t cache_limit(int folder, uint64_t wanted);

/* Two locks in the count's file; both end with this process. */
struct cache_count {
    int fd;            /* of the file; -1: it cannot be opened, and nothing is counted */
    bool is_cleaning;  /* has the lock for cleaning */
    bool was_valid;    /* at the last cache_count_begin() */
    uint64_t at_begin; /* the count then */
};
/* `makes`: make the file, if it does not exist. Only who stores something does that: a folder that
 * is cleaned by mistake gets no file. */
void cache_count_open(int folder, bool makes, struct cache_count *ret_count);
void cache_count_close(struct cache_count *count);
/* Add bytes. True: the folder must be read, to find the real count or to clean. */
bool cache_count_add(struct cache_count *count, uint64_t bytes, uint64_t limit_bytes);
/* Before the folder is read. Waits for at most so long for another process that cleans. False: that
 * has not ended. */
bool cache_count_begin(struct cache_count *count, unsigned wait_ms);
/* After it was read and cleaned. What others added meanwhile is added: at worst twice. */
void cache_count_end(struct cache_count *count, uint64_t bytes, uint64_t limit_bytes);

/* ---- cache_store.c ---- */

/* Put a compiled image of so many bytes into the folder. `full` has the folder and its limit, as
 * client_options() returns them. HUSK_E_LIMIT: it is larger than the limit. HUSK_E_SYS,
 * HUSK_E_NOMEM. */
int cache_store(const struct husk_compile_options *full, const char *path, int fd, uint64_t bytes,
                struct husk_error *err);

/* ---- cache_trim.c ---- */

struct cache_trim {
    bool is_to_limit;       /* if there is more than the limit, remove to nine tenths of it */
    uint64_t to_bytes;      /* else: remove until no more than this is left */
    int64_t unused_since_s; /* remove what was last used before; INT64_MIN: nothing for it */
    const char *kept;       /* this file stays; NULL: none */
    bool wants_all;
    bool wants_unusable; /* images that this library cannot read */
    unsigned wait_ms;    /* for another process that cleans */
};
/* Removes files, those first that were not used for the longest time, and those that killed
 * processes left. `ret_result` is filled also if some could not be removed. HUSK_E_SYS,
 * HUSK_E_NOMEM: the folder cannot be read. */
int cache_trim(int folder, const struct cache_trim *trim, uint64_t limit_bytes,
               struct husk_cache_cleaned *ret_result, struct husk_error *err);
/* A file was stored there: count it, and clean if that is too much. Errors are ignored. `name`
 * stays. */
void cache_stored(const char *folder_path, const char *name, uint64_t limit_bytes);
/* The disk is full: make room for so many bytes. False: there is not enough to be removed. */
bool cache_make_room(const char *folder_path, uint64_t bytes, uint64_t limit_bytes);

#endif
