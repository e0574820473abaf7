/*
 * oci/rewrite.c: makes a config.json in which husk runs the container's program:
 *
 *   root        OWN_ROOT in the bundle, read-only: husk and the image are bound into it
 *   mounts      the kernel's own (/proc, /dev, …) stay, for husk; the container's root file system
 *               is bound to GUEST_ROOT, and its volumes into that. So the guest sees what the
 *               container was to see, without /proc, /sys and /dev, and cannot leave it
 *   devices     /dev/kvm, for every user, and the rule of the cgroup for it; for an engine that is
 *               not root, a bind mount of the host's
 *   paths       that are masked or read-only: so in GUEST_ROOT, too
 *   process     the words of husk run; user, terminal, capabilities, rlimits stay
 *
 * Namespaces, cgroups, seccomp and all else stay as they are. They confine husk as they would have
 * confined the program: they are the second wall, the virtual machine is the first.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "auto.h"
#include "oci.h"

#define MARK_VALUE "1"
#define KVM "/dev/kvm"

static int out_of_memory(struct husk_error *err) {
    return error_set(err, HUSK_E_NOMEM, "out of memory");
}

/* Takes the value over, also on failure. */
static int put(struct json_object *object, const char *name, struct json_object *value,
               struct husk_error *err) {
    if (value != NULL && json_object_object_add(object, name, value) == 0)
        return 0;
    json_object_put(value);
    return out_of_memory(err);
}

static int put_text(struct json_object *object, const char *name, const char *text,
                    struct husk_error *err) {
    return put(object, name, json_object_new_string(text), err);
}

static int append(struct json_object *array, struct json_object *value, struct husk_error *err) {
    if (value != NULL && json_object_array_add(array, value) == 0)
        return 0;
    json_object_put(value);
    return out_of_memory(err);
}

int config_check_mark(struct json_object *config, bool *ret_is_rewritten, struct husk_error *err) {
    const char *mark = annotation(config, MARK);
    struct json_object *root;
    const char *path = NULL;
    *ret_is_rewritten = false;
    int status = mark != NULL ? json_member(config, "", "root", json_type_object, &root, err) : 0;
    if (status != 0 || mark == NULL)
        return status;
    if (root != NULL)
        status = json_string_member(root, "root.", "path", &path, err);
    if (status == 0 && (path == NULL || strcmp(path, OWN_ROOT) != 0))
        return error_set(err, HUSK_E_INVAL, "the annotation " MARK " is husk-oci's own");
    *ret_is_rewritten = status == 0;
    return status;
}

/* ---- Mounts ---- */

/* A bind mount; `more` are options behind "bind" or "rbind", up to a NULL. */
static int add_bind(struct json_object *mounts, const char *source, const char *destination,
                    const char *const *options, struct husk_error *err) {
    struct json_object *mount = json_object_new_object();
    struct json_object *list = json_object_new_array();
    int status = mount != NULL && list != NULL ? 0 : out_of_memory(err);
    for (; status == 0 && *options != NULL; options++)
        status = append(list, json_object_new_string(*options), err);
    if (status == 0)
        status = put_text(mount, "destination", destination, err);
    if (status == 0)
        status = put_text(mount, "type", "bind", err);
    if (status == 0)
        status = put_text(mount, "source", source, err);
    if (status == 0)
        status = put(mount, "options", json_object_get(list), err);
    json_object_put(list);
    if (status == 0)
        return append(mounts, mount, err);
    json_object_put(mount);
    return status;
}

/* A volume's place moves below GUEST_ROOT, where it is now without symbolic links on the way. */
static int move_mount(struct json_object *mount, const struct guest_tree *tree,
                      const struct guest_mount *seen, struct husk_error *err) {
    struct stat st;
    const bool is_folder = stat(seen->source, &st) != 0 || S_ISDIR(st.st_mode);
    auto_free char *place = guest_tree_mount_point(tree, seen->destination, is_folder);
    auto_free char *moved = NULL;
    if (place == NULL || asprintf(&moved, GUEST_ROOT "%s", place) < 0) {
        moved = NULL;
        return out_of_memory(err);
    }
    return put_text(mount, "destination", moved, err);
}

static int add_root(struct json_object *mounts, const struct facts *facts, bool is_readonly,
                    struct husk_error *err) {
    static const char *const writable[] = {"rbind", "rw", "nosuid", "nodev", NULL},
                             *const readonly[] = {"rbind", "ro", "nosuid", "nodev", NULL};
    return add_bind(mounts, facts->tree->root_path, GUEST_ROOT, is_readonly ? readonly : writable,
                    err);
}

static int add_own(struct json_object *mounts, const struct facts *facts, struct husk_error *err) {
    static const char *const options[] = {"bind", "ro", "nosuid", "nodev", NULL},
                             *const device[] = {"bind", "rw", "nosuid", "noexec", NULL};
    int status = add_bind(mounts, facts->settings->husk, OWN_HUSK, options, err);
    if (status == 0 && facts->image_path != NULL)
        status = add_bind(mounts, facts->image_path, OWN_IMAGE, options, err);
    if (status == 0 && facts->is_rootless)
        status = add_bind(mounts, KVM, KVM, device, err);
    return status;
}

/* Rows of `old` that the guest sees, or those that it does not, in their order. */
static int copy_mounts(struct json_object *old, struct json_object *mounts,
                       const struct guest_tree *tree, bool are_seen, struct husk_error *err) {
    size_t seen = 0;
    int status = 0;
    for (size_t i = 0; i < json_object_array_length(old) && status == 0; i++) {
        struct json_object *mount = json_object_array_get_idx(old, i);
        const bool is_seen = seen < tree->mounts_count && tree->mounts[seen].row == i;
        if (is_seen && are_seen)
            status = move_mount(mount, tree, &tree->mounts[seen], err);
        if (status == 0 && is_seen == are_seen)
            status = append(mounts, json_object_get(mount), err);
        seen += is_seen;
    }
    return status;
}

static int rewrite_mounts(struct json_object *config, const struct facts *facts, bool is_readonly,
                          struct husk_error *err) {
    struct json_object *old, *mounts = json_object_new_array();
    int status = mounts != NULL ? 0 : out_of_memory(err);
    if (status == 0)
        status = json_need_member(config, "", "mounts", json_type_array, &old, err);
    if (status == 0)
        status = copy_mounts(old, mounts, facts->tree, false, err);
    if (status == 0)
        status = add_root(mounts, facts, is_readonly, err);
    if (status == 0)
        status = copy_mounts(old, mounts, facts->tree, true, err);
    if (status == 0)
        status = add_own(mounts, facts, err);
    if (status == 0)
        return put(config, "mounts", mounts, err);
    json_object_put(mounts);
    return status;
}

static int rewrite_root(struct json_object *config, bool *ret_was_readonly,
                        struct husk_error *err) {
    struct json_object *root, *readonly;
    int status = json_need_member(config, "", "root", json_type_object, &root, err);
    if (status == 0)
        status = json_member(root, "root.", "readonly", json_type_boolean, &readonly, err);
    if (status != 0)
        return status;
    *ret_was_readonly = readonly != NULL && json_object_get_boolean(readonly);
    status = put_text(root, "path", OWN_ROOT, err);
    return status == 0 ? put(root, "readonly", json_object_new_boolean(true), err) : status;
}

/* ---- /dev/kvm ---- */

static bool is_kvm_row(struct json_object *row) {
    struct json_object *path;
    return json_object_is_type(row, json_type_object) &&
           json_object_object_get_ex(row, "path", &path) &&
           json_object_is_type(path, json_type_string) &&
           strcmp(json_object_get_string(path), KVM) == 0;
}

/* What a device and its rule say alike. */
static int put_kvm_numbers(struct json_object *row, const struct facts *facts,
                           struct husk_error *err) {
    int status = put_text(row, "type", "c", err);
    if (status == 0)
        status = put(row, "major", json_object_new_int64(facts->kvm_major), err);
    if (status == 0)
        status = put(row, "minor", json_object_new_int64(facts->kvm_minor), err);
    return status;
}

/* Every user of the container may use it: the node in the container is no one else's. Who is not
 * root makes none: crun fails then, and does not mount the host's instead, as runc does. */
static int add_device(struct json_object *devices, const struct facts *facts,
                      struct husk_error *err) {
    for (size_t i = 0; i < json_object_array_length(devices); i++)
        if (is_kvm_row(json_object_array_get_idx(devices, i)))
            (void)json_object_array_put_idx(devices, i, NULL);
    json_drop_nulls(devices);
    if (facts->is_rootless)
        return 0;
    struct json_object *row = json_object_new_object();
    int status = row != NULL ? put_text(row, "path", KVM, err) : out_of_memory(err);
    if (status == 0)
        status = put_kvm_numbers(row, facts, err);
    if (status == 0)
        status = put(row, "fileMode", json_object_new_int64(0666), err);
    if (status == 0)
        status = put(row, "uid", json_object_new_int64(0), err);
    if (status == 0)
        status = put(row, "gid", json_object_new_int64(0), err);
    if (status == 0)
        return append(devices, row, err);
    json_object_put(row);
    return status;
}

static int add_rule(struct json_object *rules, const struct facts *facts, struct husk_error *err) {
    struct json_object *row = json_object_new_object();
    int status =
        row != NULL ? put(row, "allow", json_object_new_boolean(true), err) : out_of_memory(err);
    if (status == 0)
        status = put_kvm_numbers(row, facts, err);
    if (status == 0)
        status = put_text(row, "access", "rw", err);
    if (status == 0)
        return append(rules, row, err);
    json_object_put(row);
    return status;
}

static int rewrite_devices(struct json_object *config, const struct facts *facts,
                           struct husk_error *err) {
    struct json_object *linux_part, *devices, *resources, *rules;
    int status = json_need_member(config, "", "linux", json_type_object, &linux_part, err);
    if (status == 0)
        status = json_need_member(linux_part, "linux.", "devices", json_type_array, &devices, err);
    if (status == 0)
        status = add_device(devices, facts, err);
    if (status == 0)
        status =
            json_need_member(linux_part, "linux.", "resources", json_type_object, &resources, err);
    if (status == 0)
        status = json_need_member(resources, "linux.resources.", "devices", json_type_array, &rules,
                                  err);
    return status == 0 ? add_rule(rules, facts, err) : status;
}

/* ---- Paths that are masked, or read-only ---- */

/* They are so for the guest, too, which sees them below GUEST_ROOT. Engines name files of /proc and
 * /sys, which it does not see; users may name others (podman run --security-opt mask=/etc/keys). */
static int repeat_paths(struct json_object *linux_part, const char *name,
                        const struct guest_tree *tree, struct husk_error *err) {
    struct json_object *paths;
    int status = json_member(linux_part, "linux.", name, json_type_array, &paths, err);
    const size_t count = paths != NULL && status == 0 ? json_object_array_length(paths) : 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        struct json_object *row = json_object_array_get_idx(paths, i);
        auto_free char *moved = NULL;
        if (!json_object_is_type(row, json_type_string))
            return error_set(err, HUSK_E_INVAL,
                             "config.json: linux.%s has a row that is not a string", name);
        auto_free char *path = guest_tree_name(tree, json_object_get_string(row));
        if (path == NULL)
            return out_of_memory(err);
        if (!guest_sees_mount(path, "", "", NULL))
            continue;
        if (asprintf(&moved, GUEST_ROOT "%s", path) < 0) {
            moved = NULL;
            return out_of_memory(err);
        }
        status = append(paths, json_object_new_string(moved), err);
    }
    return status;
}

static int rewrite_paths(struct json_object *config, const struct facts *facts,
                         struct husk_error *err) {
    struct json_object *linux_part;
    int status = json_need_member(config, "", "linux", json_type_object, &linux_part, err);
    if (status == 0)
        status = repeat_paths(linux_part, "maskedPaths", facts->tree, err);
    return status == 0 ? repeat_paths(linux_part, "readonlyPaths", facts->tree, err) : status;
}

/* ---- All of it ---- */

/* After this, json_object_put() is all that a half-changed config is good for. */
int config_rewrite(struct json_object *config, const struct facts *facts, struct husk_error *err) {
    struct json_object *args = NULL, *process, *annotations;
    bool was_readonly = false;
    int status = husk_arguments(config, facts, &args, err);
    if (status == 0)
        status = json_need_member(config, "", "process", json_type_object, &process, err);
    if (status == 0)
        status = put(process, "args", args, err);
    if (status == 0)
        status = put_text(process, "cwd", "/", err);
    if (status == 0)
        status = rewrite_root(config, &was_readonly, err);
    if (status == 0)
        status = rewrite_mounts(config, facts, was_readonly, err);
    if (status == 0)
        status = rewrite_devices(config, facts, err);
    if (status == 0)
        status = rewrite_paths(config, facts, err);
    if (status == 0)
        status = json_need_member(config, "", "annotations", json_type_object, &annotations, err);
    return status == 0 ? put_text(annotations, MARK, MARK_VALUE, err) : status;
}
