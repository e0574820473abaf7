/*
 * oci/create.c: prepares a bundle before the runtime sees it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "auto.h"
#include "oci.h"

static int find_kvm(struct facts *facts, struct husk_error *err) {
    struct stat st;
    if (stat("/dev/kvm", &st) != 0 || !S_ISCHR(st.st_mode))
        return error_set(err, HUSK_E_NOT_FOUND,
                         "this node has no /dev/kvm, which wasm containers need "
                         "(husk doctor says why)");
    facts->kvm_major = major(st.st_rdev);
    facts->kvm_minor = minor(st.st_rdev);
    facts->is_rootless = geteuid() != 0;
    return 0;
}

static int check_husk(const struct settings *settings, struct husk_error *err) {
    if (access(settings->husk, X_OK) == 0)
        return 0;
    return error_sys(err, errno, "cannot use %s, the husk that goes into containers",
                     settings->husk);
}

/* Without a file in a cache, the image is copied into the bundle. */
static int copy_image(int root_fd, int image_fd, uint64_t bytes, struct husk_error *err) {
    auto_fd fd =
        openat(root_fd, &OWN_IMAGE[1], O_WRONLY | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    off_t at = 0;
    ssize_t done = fd < 0 ? -1 : 1;
    while (done > 0 && (uint64_t)at < bytes)
        done = sendfile(fd, image_fd, &at, bytes - (uint64_t)at);
    if (done >= 0 && (uint64_t)at == bytes && fchmod(fd, 0644) == 0)
        return 0;
    return error_sys(err, done < 0 ? errno : EIO, "cannot copy the compiled image to the bundle");
}

/* What husk will run, on the host: facts->image_path and so on. */
static int find_image(struct json_object *config, int root_fd, struct facts *facts, char **ret_path,
                      struct husk_error *err) {
    struct stat st;
    bool is_strict = false;
    auto_fd fd = -1;
    int status = strict_wanted(config, &is_strict, err);
    if (status != 0)
        return status;
    if (facts->program->kind == PROGRAM_IMAGE)
        fd = fcntl(facts->program->fd, F_DUPFD_CLOEXEC, 0);
    else
        status = module_compile(facts->settings, facts->program, is_strict, &fd, ret_path, err);
    if (status != 0)
        return status;
    if (fd < 0 || fstat(fd, &st) != 0)
        return error_sys(err, errno, "cannot examine the image");
    facts->image_bytes = (uint64_t)st.st_size;
    facts->image_path = *ret_path;
    if (facts->program->kind == PROGRAM_IMAGE || *ret_path != NULL)
        return 0;
    facts->is_image_in_root = true;
    return copy_image(root_fd, fd, facts->image_bytes, err);
}

static int rewrite(const struct settings *settings, const struct bundle *bundle,
                   const struct guest_tree *tree, struct json_object *config,
                   const struct program *program, struct husk_error *err) {
    auto_free char *image_path = NULL;
    auto_fd root_fd = -1;
    struct facts facts = {.tree = tree, .program = program, .settings = settings};
    int status = find_kvm(&facts, err);
    if (status == 0)
        status = check_husk(settings, err);
    if (status == 0)
        status = bundle_make_root(bundle, &root_fd, err);
    if (status == 0)
        status = find_image(config, root_fd, &facts, &image_path, err);
    if (status == 0)
        status = config_rewrite(config, &facts, err);
    return status == 0 ? bundle_write_config(bundle, config, err) : status;
}

static int prepare_config(const struct settings *settings, const struct bundle *bundle,
                          struct json_object *config, struct husk_error *err) {
    struct guest_tree tree = {.root_fd = -1};
    struct program program = {.fd = -1};
    bool is_rewritten = false;
    int status = config_check_mark(config, &is_rewritten, err);
    if (status != 0 || is_rewritten)
        return status;
    status = guest_tree_open(bundle, config, &tree, err);
    if (status == 0)
        status = program_find(&tree, config, &program, err);
    if (status == 0 && program.kind != PROGRAM_NATIVE)
        status = rewrite(settings, bundle, &tree, config, &program, err);
    program_done(&program);
    guest_tree_done(&tree);
    return status;
}

int bundle_prepare(const struct settings *settings, const char *path, struct husk_error *err) {
    struct bundle bundle = {.fd = -1};
    struct json_object *config = NULL;
    const mode_t mask = umask(022);
    int status = bundle_open(path, &bundle, err);
    if (status == 0)
        status = bundle_read_config(&bundle, &config, err);
    if (status == 0)
        status = prepare_config(settings, &bundle, config, err);
    json_object_put(config);
    bundle_done(&bundle);
    (void)umask(mask);
    return status;
}
