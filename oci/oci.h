/*
 * oci/oci.h: internal header of husk-oci, an OCI runtime with runc's command line.
 *
 * main.c reads the command line (command_line.c) and the settings (settings.c). For create and run,
 * create.c opens the bundle (bundle.c), parses its config.json (json.c), and looks what the
 * container starts (program.c, in guest_tree.c's files). A native program: nothing changes.
 * Otherwise module.c finds the compiled image, and rewrite.c makes a config in which `husk run`
 * (arguments.c) runs it. For exec, exec.c finds out whether the container is one of wasm. Then the
 * real runtime is executed with the same words. Whatever goes wrong is reported as runc does
 * (oci_log.c).
 *
 * The engine that starts husk-oci is trusted, and so are the host's folders. The config.json, and
 * all that lies in the container's root file system and volumes, is not.
 */
#ifndef OCI_OCI_H
#define OCI_OCI_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "husk.h"

/* ---- limits of what others control ---- */
#define CONFIG_MAX_BYTES (16u << 20) /* of config.json: as much as containerd's own messages hold */
#define CONFIG_MAX_DEPTH 64          /* engines write 8 levels */
#define DESTINATION_MAX_BYTES 4096   /* of a mount: PATH_MAX */
#define STATE_MAX_BYTES (4u << 20)   /* of what the runtime prints about a container */

/* ---- names inside a wasm container ---- */
#define OWN_ROOT "husk-root" /* in the bundle: the root of the container, which holds husk */
#define GUEST_ROOT "/rootfs" /* there: the file system that the guest sees */
#define OWN_HUSK "/husk"
#define OWN_IMAGE "/program.husk"
#define MARK "husk.oci" /* the annotation of a config that was rewritten */

/* ---- command_line.c ---- */
struct command_line {
    const char *log_path; /* NULL: standard error */
    const char *root;     /* of the runtime's state; NULL: its default */
    const char *command;  /* "create", …; NULL: none */
    const char *bundle;   /* NULL: the current folder */
    const char *id;       /* the container's; NULL: none */
    bool is_log_json, wants_help;
};
/* Unknown options are passed over: the runtime will see them. */
void command_line_read(int argc, char **argv, struct command_line *ret_line);

/* ---- oci_log.c ---- */
/* As runc: one line in the log file, and the message on standard error. */
void oci_report(const struct command_line *line, const char *message);

/* ---- settings.c ---- */
struct settings {
    char runtime[4096]; /* "" : runc, or crun, from PATH */
    char husk[4096];    /* the static husk that goes into containers */
    char cache[4096];
    uint64_t compile_cpu_ns, compile_memory_bytes; /* 0: the compiler's defaults */
    uint64_t reserve_bytes; /* of a container's memory limit, for husk itself */
    int opt_level;
};
/* From the file and the environment. On failure what was read so far is there. */
int settings_load(struct settings *ret_settings, struct husk_error *err);
/* The runtime's path. HUSK_E_NOT_FOUND. */
int runtime_find(const struct settings *settings, char *out, size_t out_bytes,
                 struct husk_error *err);

/* ---- json.c ---- */
/* Strict JSON with an object on top. Two members of one name are an error. */
int json_parse(const char *text, size_t count, struct json_object **ret_object,
               struct husk_error *err);
/* A member of an object, which may be missing or null: *ret_member is NULL then. `where` names the
 * object in messages. Borrowed. HUSK_E_INVAL: it has another type, or a name that differs only in
 * upper and lower case, which the runtimes in Go would read as this one. */
int json_member(struct json_object *object, const char *where, const char *name,
                enum json_type type, struct json_object **ret_member, struct husk_error *err);
int json_string_member(struct json_object *object, const char *where, const char *name,
                       const char **ret_text, struct husk_error *err);
/* The object or array of this name, which is made if it is missing. */
int json_need_member(struct json_object *object, const char *where, const char *name,
                     enum json_type type, struct json_object **ret_member, struct husk_error *err);
/* All at once: to delete rows one by one takes hours in an array of millions. */
void json_drop_nulls(struct json_object *array);
/* The text of an annotation, or NULL. */
const char *annotation(struct json_object *config, const char *name);

/* ---- bundle.c ---- */
struct bundle {
    int fd;
    char *path; /* absolute, without symbolic links */
};
int bundle_open(const char *path, struct bundle *ret_bundle, struct husk_error *err);
void bundle_done(struct bundle *bundle);
int bundle_read_config(const struct bundle *bundle, struct json_object **ret_config,
                       struct husk_error *err);
/* At once: whoever reads it finds the old text or the new one. */
int bundle_write_config(const struct bundle *bundle, struct json_object *config,
                        struct husk_error *err);
/* The folder OWN_ROOT with the mount points in it, if it is not there. */
int bundle_make_root(const struct bundle *bundle, int *ret_fd, struct husk_error *err);

/* ---- guest_tree.c ---- */
/* The files that the guest will see: its root file system, and the mounts in it. */
struct guest_mount {
    char *destination; /* cleaned: "/data" */
    char *source;      /* on the host */
    size_t row;        /* in the config's mounts */
};
struct guest_tree {
    int root_fd;
    char *root_path; /* on the host, absolute */
    struct guest_mount *mounts;
    size_t mounts_count;
};
int guest_tree_open(const struct bundle *bundle, struct json_object *config,
                    struct guest_tree *ret_tree, struct husk_error *err);
void guest_tree_done(struct guest_tree *tree);
/* Opens a file by its path in the container, without leaving it. *ret_path: its name there, without
 * symbolic links, which the caller frees. -1: errno. */
int guest_tree_file(const struct guest_tree *tree, const char *path, char **ret_path);
/* Makes the place of a mount in the root file system, as far as it is missing. Returns its name
 * without symbolic links, or as it is where that fails: the runtime then says why. NULL: no
 * memory. */
char *guest_tree_mount_point(const struct guest_tree *tree, const char *destination,
                             bool is_folder);
/* The name of a path in the container without symbolic links, or as it is where that fails, or it
 * lies in a mount. NULL: no memory. */
char *guest_tree_name(const struct guest_tree *tree, const char *path);
/* "/a/./b/../c" and "a/c" become "/a/c". NULL: no memory. */
char *path_clean(const char *path);
/* Does the guest see this mount? Deliberately not /proc, /sys, /dev and devices: a guest that could
 * open /proc/self/mem would write to husk's own memory. */
bool guest_sees_mount(const char *destination, const char *type, const char *source,
                      struct json_object *options);

/* ---- program.c ---- */
enum program_kind { PROGRAM_NATIVE, PROGRAM_MODULE, PROGRAM_IMAGE };
struct program {
    enum program_kind kind;
    int fd;
    char *path;       /* in the container */
    bool is_standing; /* an image in the middle of a call */
};
/* What the container starts. HUSK_E_INVAL, HUSK_E_NOT_FOUND: it claims to be wasm, and is not. */
int program_find(const struct guest_tree *tree, struct json_object *config,
                 struct program *ret_program, struct husk_error *err);
void program_done(struct program *program);

/* ---- module.c ---- */
/* The image of a module, compiled if the cache does not have it. *ret_path is its file, or NULL:
 * it has none, because the cache cannot be written. The caller frees and closes. */
int module_compile(const struct settings *settings, const struct program *program, bool is_strict,
                   int *ret_fd, char **ret_path, struct husk_error *err);

/* ---- rewrite.c ---- */
struct facts {
    const struct guest_tree *tree;
    const struct program *program;
    const struct settings *settings;
    const char *image_path; /* a file on the host; NULL: it is where the program is */
    uint64_t image_bytes;
    bool is_image_in_root; /* OWN_IMAGE is in the folder OWN_ROOT already */
    uint32_t kvm_major, kvm_minor;
    bool is_rootless; /* no device can be made, here or in the container */
};
/* HUSK_E_INVAL: the mark is there, and this program did not set it. */
int config_check_mark(struct json_object *config, bool *ret_is_rewritten, struct husk_error *err);
int config_rewrite(struct json_object *config, const struct facts *facts, struct husk_error *err);

/* ---- create.c ---- */
/* Rewrites the config of a bundle, if its container is one of wasm. */
int bundle_prepare(const struct settings *settings, const char *path, struct husk_error *err);

/* ---- exec.c ---- */
bool container_is_wasm(const char *runtime, const struct command_line *line);

/* ---- arguments.c ---- */
/* The words of `husk run`: an array, which the caller owns. */
int husk_arguments(struct json_object *config, const struct facts *facts,
                   struct json_object **ret_args, struct husk_error *err);
/* The annotation husk.strict. */
int strict_wanted(struct json_object *config, bool *ret_is_strict, struct husk_error *err);

#endif
