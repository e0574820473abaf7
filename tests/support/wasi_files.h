/*
 * tests/support/wasi_files.h: a folder of the host that is a guest's directory, and WASI's
 * functions with paths as C strings.
 */
#ifndef TESTS_WASI_FILES_H
#define TESTS_WASI_FILES_H

#include "wasi_guest.h"

#define FILES_RIGHTS_ALL UINT64_MAX /* path_open cuts off what is too much */

struct wasi_files {
    struct wasi_guest guest;
    char outer[64]; /* a new folder: outer/in is the guest's descriptor 3, outer/secret is not */
    char inner[72];
};

/* rights: HUSK_WASI_…. Aborts on failure. */
void wasi_files_init(struct wasi_files *files, uint32_t rights);
/* Another guest with the same folder. */
void wasi_files_share(const struct wasi_files *files, struct wasi_guest *guest, uint32_t rights);
/* Removes the folder and all that is in it. */
void wasi_files_done(struct wasi_files *files);
/* Run a command of the shell in outer/in; aborts if it fails. */
void wasi_files_shell(const struct wasi_files *files, const char *command);

/* path_open. Returns the descriptor, or the negative errno of WASI. */
int files_open_at(struct wasi_guest *guest, uint32_t dir, const char *path, uint32_t oflags,
                  uint64_t rights);
int files_open(struct wasi_guest *guest, const char *path, uint32_t oflags, uint64_t rights);
/* path_create_directory and its like: `func` is WASI_ID_…, of the parameters (fd, path, bytes). */
uint16_t files_at(struct wasi_guest *guest, uint32_t func, const char *path);
uint16_t files_two(struct wasi_guest *guest, uint32_t func, const char *from, const char *to);
uint16_t files_symlink(struct wasi_guest *guest, const char *target, const char *path);
/* path_filestat_get; the attributes are at FILES_STAT_ADDR. */
uint16_t files_stat(struct wasi_guest *guest, const char *path, bool is_followed);
#define FILES_STAT_ADDR 512u
/* fd_write, fd_read of up to 64 bytes. Returns the count or the negative errno of WASI. */
int files_write(struct wasi_guest *guest, uint32_t fd, const char *text);
int files_read(struct wasi_guest *guest, uint32_t fd, char *out, uint32_t count);

#endif
