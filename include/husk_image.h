/*
 * husk_image.h: images: opened, examined, saved. Part of husk.h.
 */
#ifndef HUSK_IMAGE_H
#define HUSK_IMAGE_H

#include "husk_base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct husk_open_options {
    size_t size;
    /* Do not compare the content hash, which takes about 1 ms per MiB and finds any damage. For
     * bytes that your program made itself a moment ago. The host is as safe without it, but a
     * damaged image may compute something else than the module. The hash is no signature: whoever
     * changes a file on purpose makes a new one. */
    bool skips_hash;
    uint8_t reserved[7];
};
#define HUSK_OPEN_OPTIONS_INIT HUSK_INIT_OF(husk_open_options)

/* Open an image that husk_compile() or husk_image_save() wrote. Everything in it is checked; it may
 * come from anyone. `options` may be NULL. `fd` is duplicated. A sparse file with more holes than
 * any image has is refused, unless the hash is skipped (HUSK_E_BAD_IMAGE).
 * engine NULL: to look at it only (husk_image_info and the like; no sandbox can be made), where
 * there is no KVM, too. HUSK_E_BAD_IMAGE, HUSK_E_IMAGE_VERSION, HUSK_E_CPU, HUSK_E_SYS,
 * HUSK_E_NOMEM. */
HUSK_API int husk_image_open(husk_engine *engine, const char *path,
                             const struct husk_open_options *options, husk_image **ret_image,
                             struct husk_error *err);
HUSK_API int husk_image_open_fd(husk_engine *engine, int fd,
                                const struct husk_open_options *options, husk_image **ret_image,
                                struct husk_error *err);
/* The bytes are copied. */
struct husk_buffer {
    const void *bytes;
    size_t count;
};
HUSK_API int husk_image_open_buffer(husk_engine *engine, struct husk_buffer buffer,
                                    const struct husk_open_options *options, husk_image **ret_image,
                                    struct husk_error *err);
/* One more share of the image, and one less; NULL is fine. Any thread. */
HUSK_API husk_image *husk_image_ref(husk_image *image);
HUSK_API void husk_image_unref(husk_image *image);

enum husk_extern_kind {
    HUSK_EXTERN_FUNC,
    HUSK_EXTERN_TABLE,
    HUSK_EXTERN_MEMORY,
    HUSK_EXTERN_GLOBAL
};

/* One import or export. Strings and arrays live as long as the image; names are NUL-terminated, and
 * may hold more NULs. */
struct husk_extern {
    size_t size;
    enum husk_extern_kind kind;
    uint32_t idx;       /* in the index space of its kind */
    const char *module; /* imports only */
    size_t module_bytes;
    const char *name;
    size_t name_bytes;
    struct husk_functype func; /* FUNC */
    uint64_t min, max;         /* TABLE: entries; MEMORY: wasm pages of 64 KiB */
    husk_type type;            /* TABLE: element type; GLOBAL: value type */
    bool has_max;
    bool is_mutable; /* GLOBAL */
    uint8_t reserved[2];
};
#define HUSK_EXTERN_INIT HUSK_INIT_OF(husk_extern)

HUSK_API size_t husk_image_imports_count(const husk_image *image);
HUSK_API size_t husk_image_exports_count(const husk_image *image);
/* HUSK_E_INVAL: idx is out of range, or ret_extern->size is not set. */
HUSK_API int husk_image_import(const husk_image *image, size_t idx, struct husk_extern *ret_extern);
HUSK_API int husk_image_export(const husk_image *image, size_t idx, struct husk_extern *ret_extern);

struct husk_image_info {
    size_t size;
    const char *target_cpu, *compiler, *module_name; /* as long as the image */
    uint64_t cpu_features;
    uint8_t wasm_sha256[32];
    int opt_level;
    /* memory: initialised bytes in the file */
    uint64_t text_bytes, rodata_bytes, data_bytes, memory_bytes;
    uint64_t functions_count, types_count, memories_count, tables_count, globals_count;
    bool needs_init; /* husk_sandbox_start() will run guest code */
    bool has_lines;  /* backtraces name source lines */
    /* every trap is exact: husk_compile_options.strict or level 0; what the image says */
    bool is_strict;
    /* of all together, as an instance starts: of a snapshot, as it was then */
    uint64_t memory_pages, table_entries;
};
#define HUSK_IMAGE_INFO_INIT HUSK_INIT_OF(husk_image_info)
/* HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_image_info(const husk_image *image, struct husk_image_info *ret_info);

/* An exported function, found once to be called often.
 *
 * A husk_func is a value: copy it, keep it, free nothing. It belongs to a module, which is known by
 * its SHA-256 (husk_image_info.wasm_sha256). It works on every sandbox of that module: of the image
 * it was found in, of that image's snapshots, and of both when they are saved or compiled and
 * opened again. A sandbox of another module refuses it (HUSK_E_INVAL), as it refuses one that is
 * all zeros. An image that lies about its SHA-256 gets calls of its own functions, and nothing
 * else. Do not store one: another version of the library may encode it differently. */
typedef struct husk_func {
    uint64_t opaque[2];
} husk_func;
/* Names, here and below: name_bytes 0 means that the name ends at its NUL. Only a name that holds
 * NULs needs its length. HUSK_E_NOT_FOUND: the image exports no such function. */
HUSK_API int husk_image_func(const husk_image *image, const char *name, size_t name_bytes,
                             husk_func *ret_func, struct husk_error *err);
/* Its type; the arrays live as long as the image. HUSK_E_INVAL: a function of another module. */
HUSK_API int husk_image_func_type(const husk_image *image, husk_func func,
                                  struct husk_functype *ret_type, struct husk_error *err);
/* The index of an exported table, for the functions of husk_memory.h. HUSK_E_NOT_FOUND. */
HUSK_API int husk_image_table(const husk_image *image, const char *name, size_t name_bytes,
                              uint32_t *ret_table_idx, struct husk_error *err);

/* Write an image or a snapshot to a file that stands for itself: it can be opened in another
 * process (husk_image_open()), run, inspected. Durably and all at once: a new file beside it
 * (without a name where the file system can do that), synced, renamed, and the folder synced. On
 * failure nothing else is left and a file that was there is as it was; but if the sync of the
 * folder is what fails, the new file is in place and complete, though not sure to outlast a crash
 * of the machine (HUSK_E_SYS; the message says so). Its permissions are kept; those of a new one
 * are 0666 minus umask, and whoever may read it reads the guest's memory. HUSK_E_SYS (sys_errno
 * ENOSPC, EACCES, …), HUSK_E_NOMEM; HUSK_E_INVAL: the path is a device, pipe or symbolic link, or
 * names no file; HUSK_E_LIMIT: more than could be opened (12 GiB of contents). Threads: any number
 * may save one image at once. */
HUSK_API int husk_image_save(const husk_image *image, const char *path, struct husk_error *err);
/* The same bytes to a descriptor, from its position on: a file, a pipe, a socket. Waits as long as
 * it must, so the descriptor should be a blocking one (else HUSK_E_SYS, EAGAIN). Not synced. At the
 * end of a regular file holes are kept, elsewhere they are written as zeros. On failure (sys_errno
 * ENOSPC, EPIPE, …) what was written until then is there. A snapshot that was taken in this process
 * is put together in memory first, as large as what it holds. */
HUSK_API int husk_image_save_fd(const husk_image *image, int fd, struct husk_error *err);
/* The same to a callback, which gets at most 1 MiB at once. When it ends the writing, err->status
 * is its number. */
HUSK_API int husk_image_save_to(const husk_image *image, husk_write_fn write, void *user,
                                struct husk_error *err);
HUSK_API bool husk_image_is_snapshot(const husk_image *image);

#ifdef __cplusplus
}
#endif
#endif
