/*
 * compiler/client/cache_files.h: the files of a cache folder. Husk makes these, and touches no
 * others there:
 *   <64 hex digits>.husk               an image; the digits are the key (cache.c)
 *   <32 hex digits>.seen               a note about a module's file (seen.c)
 *   one of both, .<16 hex digits>.tmp  such a file that is being written (base/file.h)
 *   husk-cache.limit                   the limit that was set for the folder (cache_limit.c)
 *   husk-cache.count                   the bytes of all images and notes (cache_limit.c)
 * The time of the last use of an image or a note is its mtime: a use sets that if it is more than
 * an hour old. Deliberately not atime: many file systems are mounted without it, and a backup sets
 * it.
 */
#ifndef COMPILER_CACHE_FILES_H
#define COMPILER_CACHE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "husk.h"

#define CACHE_NAME_BYTES 96
#define CACHE_USE_SECONDS 3600 /* so exact is the time of the last use */

enum cache_kind { CACHE_FOREIGN, CACHE_IMAGE, CACHE_NOTE, CACHE_LEFTOVER };

struct cache_file {
    char name[CACHE_NAME_BYTES];
    enum cache_kind kind;
    struct timespec used; /* 0 if the file's time is in the future: nobody knows */
    struct timespec mtime;
    uint64_t bytes; /* on the disk */
};

struct cache_files {
    struct cache_file *list; /* last used first */
    size_t count;
    uint64_t bytes; /* of all, also of those beyond CACHE_FILES_MAX */
    time_t now_s;   /* when they were read */
};

/* By its name alone. */
enum cache_kind cache_kind_of(const char *name);

/* Make a folder and its parents, for this user only. */
int cache_folder_make(const char *path, struct husk_error *err);
/* *ret_fd is -1 if there is none. HUSK_E_INVAL: no name. HUSK_E_SYS. */
int cache_folder_open(const char *path, int *ret_fd, struct husk_error *err);

/* The regular files that are Husk's. `folder` stays open. Only the first CACHE_FILES_MAX get into
 * the list. HUSK_E_SYS, HUSK_E_NOMEM. */
#define CACHE_FILES_MAX (1u << 18)
int cache_files_read(int folder, struct cache_files *ret_files, struct husk_error *err);
void cache_files_done(struct cache_files *files);

/* The image or note is used now. Errors are ignored: another user's file, or one on a read-only
 * file system, gets no younger. */
void cache_mark_used(int fd);
uint64_t cache_bytes_of(const struct stat *st);

#endif
