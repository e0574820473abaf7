/*
 * husk_image.h: open, examine and save images. Part of husk.h.
 */
#ifndef HUSK_IMAGE_H
#define HUSK_IMAGE_H

#include "husk_base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct husk_open_options {
    size_t size;
    /* Do not compare the content hash. The comparison takes about 0.1 ms per MiB (1 ms for a file
     * of a version that wrote a SHA-256) and finds damage. Skip it for bytes that your program made
     * a moment ago. The host is as safe without it, but a damaged image may compute something other
     * than its module. The hash is not a signature: anybody can change a file and make a new hash,
     * and make two files of one hash. */
    bool skips_hash;
    /* Map the file itself instead of a copy, which takes 0.3 ms per MiB. Only for a file that
     * nobody changes as long as the image, its snapshots and their sandboxes live: one that your
     * program wrote and keeps to itself, and that is replaced by rename() only. It may be deleted.
     * Whoever changes it in place meanwhile can take over your process, because everything in it
     * was checked before; and if it gets shorter, an access to what is gone ends the process
     * (SIGBUS). For regular files that can be mapped. husk_image_open_buffer() ignores it. */
    bool uses_file;
    /* For a process that runs the image once. The first sandbox takes contents of memory over, for
     * which they are read into the process's own memory, in large pages if there are some, not into
     * a file: half the time and fewer page faults. In return HUSK_E_STATE is all that one gets
     * where the contents are needed a second time: another sandbox of the image, or a second try
     * after husk_sandbox_new() failed; husk_sandbox_prepare(); restoring, loading into, cloning, or
     * taking a snapshot of the sandbox; saving the image. */
    bool serves_once;
    uint8_t reserved[5];
};
#define HUSK_OPEN_OPTIONS_INIT HUSK_INIT_OF(husk_open_options)

/* Open an image that husk_compile() or husk_image_save() wrote. The library checks everything in
 * it, some of it when it is used (husk_image_check()), so it may come from anyone. A file that
 * cannot change is mapped: a memfd that is sealed against writing and shrinking
 * (husk_image_share()), or a file with fs-verity on ext4, f2fs or btrfs. Of all others a copy is
 * made, unless `options` say otherwise. `options` may be NULL. `fd` is duplicated, and read
 * from the file's start, whatever its position. A sparse file of an older version, with more holes
 * than any image has, is refused, unless the hash is skipped (HUSK_E_BAD_IMAGE).
 *
 * With an engine of NULL the image can be examined, also on a host without a hypervisor, but no
 * sandbox can be made from it. HUSK_E_BAD_IMAGE, HUSK_E_IMAGE_VERSION, HUSK_E_CPU, HUSK_E_INVAL,
 * HUSK_E_SYS, HUSK_E_NOMEM. */
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
/* Check what opening leaves for later, because few need it and it is half of a large file: the rows
 * from which backtraces are made, and names of functions. Unchecked, a row or name is checked when
 * it is used. An impossible one then makes the backtrace, or the saving of a snapshot, fail with
 * HUSK_E_BAD_IMAGE, and nothing else. Takes some 10 ns for each row. Threads: any.
 * HUSK_E_BAD_IMAGE, HUSK_E_INVAL. */
HUSK_API int husk_image_check(const husk_image *image, struct husk_error *err);
/* A descriptor of the image for other processes: a sealed file in memory, with close-on-exec. Pass
 * it on, by inheritance or a socket; husk_image_open_fd() maps it there and copies nothing. So all
 * processes have one copy of code, constants and what they do not write, that of this process's
 * image too, unless it is a snapshot that was taken here or was opened with uses_file: of those a
 * file is made now, which takes as much memory as they contain. The caller closes it. Who gets it
 * can read all that the guest had in its memory, and change nothing. If you trust the process that
 * it came from, skip the hash: no disk was between. HUSK_E_SYS, HUSK_E_NOMEM, HUSK_E_INVAL,
 * HUSK_E_STATE (serves_once), HUSK_E_LIMIT. Threads: any. */
HUSK_API int husk_image_share(const husk_image *image, int *ret_fd, struct husk_error *err);
/* Give an image that was opened without an engine to one, so that sandboxes can be made from it.
 * So one thread may open the image while another one makes the engine. No other thread may use the
 * image meanwhile. HUSK_E_CPU as for husk_image_open(); HUSK_E_INVAL: the image has an engine. */
HUSK_API int husk_image_set_engine(husk_image *image, husk_engine *engine, struct husk_error *err);
/* Add a share of the image, and drop one. NULL is fine. Any thread. */
HUSK_API husk_image *husk_image_ref(husk_image *image);
HUSK_API void husk_image_unref(husk_image *image);

enum husk_extern_kind {
    HUSK_EXTERN_FUNC,
    HUSK_EXTERN_TABLE,
    HUSK_EXTERN_MEMORY,
    HUSK_EXTERN_GLOBAL,
    HUSK_EXTERN_TAG
};

/* One import or export. Strings and arrays live as long as the image. A NUL follows each name, and
 * names may contain more NULs. */
struct husk_extern {
    size_t size;
    enum husk_extern_kind kind;
    uint32_t idx;       /* in the index space of its kind */
    const char *module; /* imports only */
    size_t module_bytes;
    const char *name;
    size_t name_bytes;
    struct husk_functype func; /* FUNC; TAG: without results */
    uint64_t min, max;         /* TABLE: entries; MEMORY: wasm pages of 64 KiB */
    husk_type type;            /* TABLE: element type; GLOBAL: value type */
    bool has_max;
    bool is_mutable; /* GLOBAL */
    bool is_shared;  /* MEMORY: declared as shared (threads) */
    bool is_64;      /* MEMORY: addresses are i64; TABLE: indices are */
};
#define HUSK_EXTERN_INIT HUSK_INIT_OF(husk_extern)

HUSK_API size_t husk_image_imports_count(const husk_image *image);
HUSK_API size_t husk_image_exports_count(const husk_image *image);
/* HUSK_E_INVAL: idx is out of range, or ret_extern->size is not set. */
HUSK_API int husk_image_import(const husk_image *image, size_t idx, struct husk_extern *ret_extern);
HUSK_API int husk_image_export(const husk_image *image, size_t idx, struct husk_extern *ret_extern);

struct husk_image_info {
    size_t size;
    const char *target_cpu, *compiler, *module_name; /* live as long as the image */
    uint64_t cpu_features;
    uint8_t wasm_sha256[32];
    int opt_level;
    /* Bytes in the file; memory_bytes: of initialised linear memory. */
    uint64_t text_bytes, rodata_bytes, data_bytes, memory_bytes;
    uint64_t functions_count, types_count, memories_count, tables_count, globals_count;
    bool needs_init; /* husk_sandbox_start() will run guest code */
    bool has_lines;  /* backtraces name source lines */
    /* The image says that every trap is exact: it was compiled with husk_compile_options.strict or
     * at level 0. */
    bool is_strict;
    /* Of all memories and all tables together, when an instance starts. Of a snapshot: when it was
     * taken. */
    uint64_t memory_pages, table_entries;
    uint64_t instances_count; /* linked modules (husk_compile_linked()); else 1 */
    /* Of a snapshot's private directories, contents and metadata: a sandbox needs room for them. */
    uint64_t files_bytes;
    uint64_t tags_count;
};
#define HUSK_IMAGE_INFO_INIT HUSK_INIT_OF(husk_image_info)
/* HUSK_E_INVAL: `size` is not set. */
HUSK_API int husk_image_info(const husk_image *image, struct husk_image_info *ret_info);

/* What the guest wrote into private directories (`mem` and `cow` of husk_wasi_dir), in a snapshot.
 * Of a directory that is given anew over the same one below (`cow`), a listing has only what the
 * guest changed. */
enum husk_file_kind {
    HUSK_FILE_REGULAR,
    HUSK_FILE_DIRECTORY,
    HUSK_FILE_SYMLINK,
    HUSK_FILE_HIDDEN /* removed by the guest: the directory below has a file of this name */
};
struct husk_image_file {
    size_t size;
    uint32_t dir_idx; /* of the private directory, in the table of directories */
    enum husk_file_kind kind;
    /* From that directory, without a leading '/'; "." is the directory itself. A NUL follows. The
     * guest chose the bytes; they may be no UTF-8. */
    const char *path;
    size_t path_bytes;
    const char *target; /* SYMLINK; else empty. A NUL follows */
    size_t target_bytes;
    uint64_t bytes;       /* REGULAR: the size; SYMLINK: of the target */
    uint64_t mtime_ns;    /* since 1970 */
    uint64_t links_count; /* names of this file */
};
typedef int (*husk_image_file_fn)(void *user, const struct husk_image_file *file);
/* Call `visit` for each file and directory: each directory before its entries, and these in any
 * order. Files without a name that the guest has open are not listed. `file`, and all that it
 * points to, is valid during that call only. An image without a private layer has none. If
 * the callback returns another value than 0, the listing ends, and err->status is its number.
 * Threads: any. HUSK_E_SYS, HUSK_E_NOMEM. */
HUSK_API int husk_image_files(const husk_image *image, husk_image_file_fn visit, void *user,
                              struct husk_error *err);

/* A function of a module: find it once, call it often.
 *
 * A husk_func is a value. Copy it and keep it; there is nothing to free. It belongs to a module, by
 * the SHA-256 of the wasm (husk_image_info.wasm_sha256). It works on every sandbox of that module:
 * of the image in which it was found, of that image's snapshots, and of either after it was saved,
 * or compiled again, and opened. A sandbox of another module refuses it (HUSK_E_INVAL), and every
 * sandbox refuses one that is all zeros. If an image lies about its SHA-256, its own functions are
 * called, and nothing else. Do not store one in a file: another version of the library may encode
 * it differently. */
typedef struct husk_func {
    uint64_t opaque[2];
} husk_func;
/* Find an exported function. Here and below, a name_bytes of 0 means that the name ends at its NUL;
 * only a name that contains NULs needs a length. HUSK_E_NOT_FOUND: the image exports no such
 * function. */
HUSK_API int husk_image_func(const husk_image *image, const char *name, size_t name_bytes,
                             husk_func *ret_func, struct husk_error *err);
/* The type of a function. The arrays live as long as the image. HUSK_E_INVAL: the function belongs
 * to another module. */
HUSK_API int husk_image_func_type(const husk_image *image, husk_func func,
                                  struct husk_functype *ret_type, struct husk_error *err);
/* The index of an exported table, for the functions of husk_memory.h. HUSK_E_NOT_FOUND. */
HUSK_API int husk_image_table(const husk_image *image, const char *name, size_t name_bytes,
                              uint32_t *ret_table_idx, struct husk_error *err);

/* A tag: the kind of an exception, with the types of the values that it carries. Like a husk_func,
 * it is a value that belongs to a module, and is refused elsewhere (HUSK_E_INVAL). It works on
 * every sandbox of the module. Do not store one in a file. */
typedef struct husk_tag {
    uint64_t opaque[2];
} husk_tag;
/* Find an exported tag. HUSK_E_NOT_FOUND: the image exports no such tag. */
HUSK_API int husk_image_tag(const husk_image *image, const char *name, size_t name_bytes,
                            husk_tag *ret_tag, struct husk_error *err);
/* Find an imported tag by the names of `item`: its module and name. Its other fields do not count,
 * so the result of husk_image_import() can be passed on. HUSK_E_NOT_FOUND: the image imports no
 * such tag. */
HUSK_API int husk_image_import_tag(const husk_image *image, const struct husk_extern *item,
                                   husk_tag *ret_tag, struct husk_error *err);
/* The type of a tag: the parameters are the values of an exception, and there are no results. The
 * arrays live as long as the image. HUSK_E_INVAL: the tag belongs to another module. */
HUSK_API int husk_image_tag_type(const husk_image *image, husk_tag tag,
                                 struct husk_functype *ret_type, struct husk_error *err);

/* Write an image or a snapshot to a file. The file is complete: another process can open it
 * (husk_image_open()), run it, examine it.
 *
 * The file appears durably and at once. The library writes a new file beside it (without a name, if
 * the file system can do that), syncs it, renames it, and syncs the folder. On failure an older
 * file stays as it was, and nothing else is left. There is one exception: if the sync of the folder
 * fails, the new file is in place and complete, but may not outlast a crash of the machine
 * (HUSK_E_SYS; the message says so). A replaced file's permissions are kept. Those of a new one are
 * 0666 minus umask. Whoever may read the file can read the guest's memory.
 *
 * HUSK_E_SYS (sys_errno ENOSPC, EACCES, …), HUSK_E_NOMEM. HUSK_E_INVAL: the path is a device, a
 * pipe or a symbolic link, or names no file. HUSK_E_LIMIT: more than could be opened (12 GiB of
 * contents). Any number of threads may save one image at once. */
HUSK_API int husk_image_save(const husk_image *image, const char *path, struct husk_error *err);
/* Write the same bytes to a descriptor, from its position on: a file, a pipe, a socket. The
 * descriptor should be a blocking one (else HUSK_E_SYS, EAGAIN), because the function waits until
 * all is written. It does not sync. Holes are kept at the end of a regular file; elsewhere they are
 * written as zeros. On failure (sys_errno ENOSPC, EPIPE, …) the bytes written so far stay. A
 * snapshot taken in this process is first put together in memory, which takes as much as it
 * contains. */
HUSK_API int husk_image_save_fd(const husk_image *image, int fd, struct husk_error *err);
/* Pass the same bytes to a callback, at most 1 MiB at once. If the callback ends the writing,
 * err->status is its number. */
HUSK_API int husk_image_save_to(const husk_image *image, husk_write_fn write, void *user,
                                struct husk_error *err);
HUSK_API bool husk_image_is_snapshot(const husk_image *image);

/* Attach a note of the embedder's to a snapshot: up to 1 MiB, copied, in place of an earlier one;
 * no bytes: none. It is saved with the snapshot. The library does not read it, and no snapshot of
 * a sandbox that came from this one has it. Set it before anybody else uses the snapshot.
 * HUSK_E_INVAL: also an image that is no snapshot, or was opened. HUSK_E_LIMIT, HUSK_E_NOMEM. */
HUSK_API int husk_image_set_note(husk_image *image, const void *bytes, size_t count,
                                 struct husk_error *err);
/* The note of an image, which lives as long as it; NULL, and 0 bytes: it has none. A file may come
 * from anyone: check what is in it. */
HUSK_API const void *husk_image_note(const husk_image *image, size_t *ret_count);
/* The call that stands at a host function in a snapshot. Names and types live as long as the
 * image. */
struct husk_standing {
    size_t size;
    husk_func func;            /* that was called */
    struct husk_functype type; /* its type: husk_answer.results has room for the results */
    /* The host function, by the names of its import. Names may contain more NULs. */
    const char *module;
    size_t module_bytes;
    const char *name;
    size_t name_bytes;
    struct husk_functype host_type;
    uint64_t stack_bytes; /* used of its stack, in whole pages */
};
#define HUSK_STANDING_INIT HUSK_INIT_OF(husk_standing)
/* HUSK_E_NOT_FOUND: no call stands in the image. HUSK_E_INVAL. Threads: any. */
HUSK_API int husk_image_standing(const husk_image *image, struct husk_standing *ret_standing,
                                 struct husk_error *err);

#ifdef __cplusplus
}
#endif
#endif
