/*
 * tests/support/cache_lab.h: a cache folder with files that a test makes up: of a size and an age.
 */
#ifndef TESTS_SUPPORT_CACHE_LAB_H
#define TESTS_SUPPORT_CACHE_LAB_H

#include <stdbool.h>
#include <stdint.h>

struct cache_lab {
    char folder[64];
};

void cache_lab_open(struct cache_lab *lab);
/* With all that is in the folder. */
void cache_lab_close(struct cache_lab *lab);

/* 64 times this digit and ".husk", or 32 times and ".seen"; in a buffer that the next calls use
 * again, the eighth call the same one. */
const char *image_name(char digit);
const char *note_name(char digit);

/* Make a file of so many KiB, which take as much of the disk, last used so long ago. */
void cache_lab_file(const struct cache_lab *lab, const char *name, unsigned kib, int64_t age_s);
void cache_lab_set_age(const struct cache_lab *lab, const char *name, int64_t age_s);
int64_t cache_lab_age(const struct cache_lab *lab, const char *name);
bool cache_lab_has(const struct cache_lab *lab, const char *name);
/* Files of all kinds, without husk-cache.*. */
int cache_lab_count(const struct cache_lab *lab);
/* Write bytes over the start of a file, which is made if it does not exist. */
void cache_lab_write(const struct cache_lab *lab, const char *name, const void *bytes,
                     uint64_t count);
/* The path of a file, in a buffer as above. */
const char *cache_lab_path(const struct cache_lab *lab, const char *name);

#endif
