/*
 * oci/guest_tree.c: the files of a container as its program will see them, before anything is
 * mounted: its root file system, and the volumes in it. Whoever made the container's image chose
 * all names and links in there, so paths are resolved by the kernel with the container's root as
 * "/" (RESOLVE_IN_ROOT), and nothing but regular files is opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "auto.h"
#include "oci.h"

static int open_in_root(int root_fd, const char *path, uint64_t flags) {
    const struct open_how how = {.flags = flags | O_CLOEXEC,
                                 .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    int fd;
    do /* EAGAIN: something was renamed meanwhile */
        fd = (int)syscall(SYS_openat2, root_fd, path[0] == '/' ? path + strspn(path, "/") : path,
                          &how, sizeof how);
    while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    return fd;
}

/* NULL: no memory, or no name. */
static char *path_of(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t count = readlink(link, path, sizeof path - 1);
    if (count <= 0 || path[0] != '/')
        return NULL;
    path[count] = '\0';
    return strdup(path);
}

static char *join(const char *a, const char *b) {
    char *joined = NULL;
    return asprintf(&joined, "%s%s", a, b) >= 0 ? joined : NULL;
}

char *path_clean(const char *path) {
    char *out = malloc(strlen(path) + 2);
    size_t count = 0;
    if (out == NULL)
        return NULL;
    while (*path != '\0') {
        const size_t bytes = strcspn(path, "/");
        if (bytes == 2 && path[0] == '.' && path[1] == '.') {
            while (count > 0 && out[--count] != '/')
                ;
        } else if (bytes > 0 && !(bytes == 1 && path[0] == '.')) {
            out[count++] = '/';
            memcpy(out + count, path, bytes);
            count += bytes;
        }
        path += bytes;
        path += *path == '/';
    }
    if (count == 0)
        out[count++] = '/';
    out[count] = '\0';
    return out;
}

/* Is it this folder, or in it? Both are cleaned. */
static bool is_within(const char *path, const char *folder) {
    const size_t bytes = strlen(folder);
    return strncmp(path, folder, bytes) == 0 && (path[bytes] == '\0' || path[bytes] == '/');
}

/* ---- Mounts ---- */

static bool has_option(struct json_object *options, const char *name) {
    for (size_t i = 0; options != NULL && i < json_object_array_length(options); i++) {
        struct json_object *option = json_object_array_get_idx(options, i);
        if (json_object_is_type(option, json_type_string) &&
            strcmp(json_object_get_string(option), name) == 0)
            return true;
    }
    return false;
}

static bool is_kernels_own(const char *type) {
    static const char *const types[] = {"proc",    "sysfs",    "cgroup",     "cgroup2",
                                        "mqueue",  "devpts",   "bpf",        "debugfs",
                                        "tracefs", "devtmpfs", "securityfs", "configfs"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

bool guest_sees_mount(const char *destination, const char *type, const char *source,
                      struct json_object *options) {
    const bool is_bind =
        strcmp(type, "bind") == 0 || has_option(options, "bind") || has_option(options, "rbind");
    struct stat st;
    if (is_within(destination, "/proc") || is_within(destination, "/sys") ||
        strcmp(destination, "/dev") == 0 || (!is_bind && is_kernels_own(type)))
        return false;
    if (!is_bind || !is_within(destination, "/dev") || stat(source, &st) != 0)
        return true;
    return S_ISDIR(st.st_mode) || S_ISREG(st.st_mode);
}

static int take_mount(const struct bundle *bundle, struct json_object *mounts, size_t row,
                      struct guest_tree *tree, struct husk_error *err) {
    struct json_object *mount = json_object_array_get_idx(mounts, row);
    const char *destination = NULL, *source = NULL, *type = NULL;
    struct json_object *options = NULL;
    if (!json_object_is_type(mount, json_type_object))
        return error_set(err, HUSK_E_INVAL, "config.json: a row of mounts is not an object");
    int status = json_string_member(mount, "mounts.", "destination", &destination, err);
    if (status == 0)
        status = json_string_member(mount, "mounts.", "source", &source, err);
    if (status == 0)
        status = json_string_member(mount, "mounts.", "type", &type, err);
    if (status == 0)
        status = json_member(mount, "mounts.", "options", json_type_array, &options, err);
    if (status == 0 && (destination == NULL || destination[0] == '\0'))
        status = error_set(err, HUSK_E_INVAL, "config.json: a mount has no destination");
    if (status == 0 && strlen(destination) > DESTINATION_MAX_BYTES)
        status = error_set(err, HUSK_E_LIMIT,
                           "config.json: a mount's destination has more than "
                           "4096 bytes");
    if (status != 0)
        return status;
    auto_free char *cleaned = path_clean(destination);
    auto_free char *in_bundle = join(bundle->path, "/");
    auto_free char *relative = in_bundle != NULL ? join(in_bundle, source ? source : "") : NULL;
    if (cleaned == NULL || relative == NULL)
        return error_set(err, HUSK_E_NOMEM, "out of memory");
    auto_free char *from = source != NULL && source[0] == '/' ? strdup(source) : NULL;
    if (from == NULL)
        from = take_pointer(&relative);
    if (source == NULL || !guest_sees_mount(cleaned, type ? type : "", from, options))
        return 0;
    tree->mounts[tree->mounts_count++] = (struct guest_mount){
        .destination = take_pointer(&cleaned), .source = take_pointer(&from), .row = row};
    return 0;
}

static int take_mounts(const struct bundle *bundle, struct json_object *config,
                       struct guest_tree *tree, struct husk_error *err) {
    struct json_object *mounts;
    int status = json_member(config, "", "mounts", json_type_array, &mounts, err);
    const size_t count = mounts != NULL && status == 0 ? json_object_array_length(mounts) : 0;
    if (status != 0 || count == 0)
        return status;
    tree->mounts = calloc(count, sizeof *tree->mounts);
    if (tree->mounts == NULL)
        return error_set(err, HUSK_E_NOMEM, "out of memory");
    for (size_t i = 0; i < count && status == 0; i++)
        status = take_mount(bundle, mounts, i, tree, err);
    return status;
}

/* ---- The tree ---- */

static int open_root(const struct bundle *bundle, struct json_object *config, int *ret_fd,
                     struct husk_error *err) {
    struct json_object *root;
    const char *path = NULL;
    int status = json_member(config, "", "root", json_type_object, &root, err);
    if (status == 0 && root != NULL)
        status = json_string_member(root, "root.", "path", &path, err);
    if (status != 0)
        return status;
    if (path == NULL || path[0] == '\0')
        return error_set(err, HUSK_E_INVAL, "config.json has no root.path");
    const struct open_how beneath = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                                     .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    *ret_fd = path[0] == '/'
                  ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)
                  : (int)syscall(SYS_openat2, bundle->fd, path, &beneath, sizeof beneath);
    return *ret_fd < 0 ? error_sys(err, errno, "cannot open root.path, '%s'", path) : 0;
}

int guest_tree_open(const struct bundle *bundle, struct json_object *config,
                    struct guest_tree *ret_tree, struct husk_error *err) {
    struct guest_tree tree = {.root_fd = -1};
    int status = open_root(bundle, config, &tree.root_fd, err);
    if (status == 0)
        tree.root_path = path_of(tree.root_fd);
    if (status == 0 && tree.root_path == NULL)
        status = error_set(err, HUSK_E_SYS, "cannot name the root file system: is /proc mounted?");
    if (status == 0)
        status = take_mounts(bundle, config, &tree, err);
    if (status != 0)
        guest_tree_done(&tree);
    else
        *ret_tree = tree;
    return status;
}

void guest_tree_done(struct guest_tree *tree) {
    if (tree->root_fd >= 0)
        close(tree->root_fd);
    free(tree->root_path);
    for (size_t i = 0; i < tree->mounts_count; i++) {
        free(tree->mounts[i].destination);
        free(tree->mounts[i].source);
    }
    free(tree->mounts);
    *tree = (struct guest_tree){.root_fd = -1};
}

/* The mount that a path lies in; of several in one place the last. NULL: in the root. */
static const struct guest_mount *mount_of(const struct guest_tree *tree, const char *path) {
    const struct guest_mount *found = NULL;
    for (size_t i = 0; i < tree->mounts_count; i++) {
        const struct guest_mount *mount = &tree->mounts[i];
        if (is_within(path, mount->destination) &&
            (found == NULL || strlen(mount->destination) >= strlen(found->destination)))
            found = mount;
    }
    return found;
}

/* Opens what an O_PATH descriptor names, if it is a regular file. */
static int open_regular(int place) {
    char link[64];
    struct stat st;
    if (fstat(place, &st) != 0)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", place);
    return open(link, O_RDONLY | O_CLOEXEC);
}

/* The name in the container of what was opened in `folder`, which is at `destination` there. */
static char *name_within(int place, int folder, const char *destination) {
    auto_free char *path = path_of(place), *base = path_of(folder);
    if (path == NULL || base == NULL || (base[1] != '\0' && !is_within(path, base)))
        return NULL;
    return join(destination, path + (base[1] != '\0' ? strlen(base) : 0));
}

int guest_tree_file(const struct guest_tree *tree, const char *path, char **ret_path) {
    auto_free char *cleaned = path_clean(path);
    if (cleaned == NULL)
        return -1;
    const struct guest_mount *mount = mount_of(tree, cleaned);
    auto_fd folder = mount != NULL ? open(mount->source, O_PATH | O_CLOEXEC)
                                   : fcntl(tree->root_fd, F_DUPFD_CLOEXEC, 0);
    if (folder < 0)
        return -1;
    const char *rest = cleaned + (mount != NULL ? strlen(mount->destination) : 0);
    const bool is_mount_itself = rest[0] == '\0';
    auto_fd place =
        is_mount_itself ? fcntl(folder, F_DUPFD_CLOEXEC, 0) : open_in_root(folder, rest, O_PATH);
    auto_fd fd = place >= 0 ? open_regular(place) : -1;
    if (fd < 0)
        return -1;
    *ret_path = is_mount_itself ? take_pointer(&cleaned)
                                : name_within(place, folder, mount ? mount->destination : "");
    return *ret_path != NULL ? take_fd(&fd) : -1;
}

char *guest_tree_name(const struct guest_tree *tree, const char *path) {
    auto_free char *cleaned = path_clean(path);
    if (cleaned == NULL || mount_of(tree, cleaned) != NULL)
        return take_pointer(&cleaned);
    auto_fd place = open_in_root(tree->root_fd, cleaned[1] != '\0' ? cleaned : ".", O_PATH);
    char *name = place >= 0 ? name_within(place, tree->root_fd, "") : NULL;
    return name != NULL ? name : take_pointer(&cleaned);
}

/* ---- Mount points ---- */

/* Opens a folder or file, and makes it if it is missing. `path` is cleaned. */
static int place_make(int root_fd, const char *path, bool is_folder) {
    const int found = open_in_root(root_fd, path[1] != '\0' ? path : ".", O_PATH);
    if (found >= 0 || errno != ENOENT)
        return found;
    auto_free char *parent = strdup(path);
    if (parent == NULL)
        return -1;
    char *slash = strrchr(parent, '/');
    const char *name = path + (slash - parent) + 1;
    slash[slash == parent] = '\0';
    auto_fd folder = place_make(root_fd, parent, true);
    if (folder < 0)
        return -1;
    if (is_folder && mkdirat(folder, name, 0755) != 0 && errno != EEXIST)
        return -1;
    if (!is_folder && mknodat(folder, name, S_IFREG | 0644, 0) != 0 && errno != EEXIST)
        return -1;
    return open_in_root(root_fd, path, O_PATH);
}

char *guest_tree_mount_point(const struct guest_tree *tree, const char *destination,
                             bool is_folder) {
    auto_fd place = place_make(tree->root_fd, destination, is_folder);
    char *name = place >= 0 ? name_within(place, tree->root_fd, "") : NULL;
    return name != NULL ? name : strdup(destination);
}
