/*
 * oci/bundle.c: the bundle's folder: reads and replaces config.json, and makes the folder that is
 * the root of a wasm container. No symbolic link in the bundle is followed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "auto.h"
#include "oci.h"

#define CONFIG "config.json"

int bundle_open(const char *path, struct bundle *ret_bundle, struct husk_error *err) {
    auto_free char *resolved = realpath(path, NULL);
    auto_fd fd = resolved != NULL ? open(resolved, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0)
        return error_sys(err, errno, "cannot open the bundle %s", path);
    *ret_bundle = (struct bundle){.fd = take_fd(&fd), .path = take_pointer(&resolved)};
    return 0;
}

void bundle_done(struct bundle *bundle) {
    if (bundle->fd >= 0)
        close(bundle->fd);
    free(bundle->path);
}

/* A regular file, which is not opened for anything but that. */
static int open_config(const struct bundle *bundle, struct stat *ret_st, struct husk_error *err) {
    auto_fd fd =
        openat(bundle->fd, CONFIG, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ELOOP)
        return error_set(err, HUSK_E_INVAL, "%s/" CONFIG " is a symbolic link", bundle->path);
    if (fd < 0 || fstat(fd, ret_st) != 0)
        return error_sys(err, errno, "cannot open %s/" CONFIG, bundle->path);
    if (!S_ISREG(ret_st->st_mode))
        return error_set(err, HUSK_E_INVAL, "%s/" CONFIG " is not a file", bundle->path);
    return take_fd(&fd);
}

/* Up to CONFIG_MAX_BYTES, whatever the file's size was a moment ago. */
static int read_all(int fd, char **ret_text, size_t *ret_count, struct husk_error *err) {
    auto_free char *text = malloc(CONFIG_MAX_BYTES + 2);
    size_t count = 0;
    ssize_t got = 1;
    if (text == NULL)
        return error_set(err, HUSK_E_NOMEM, "out of memory");
    while (got > 0 && count <= CONFIG_MAX_BYTES) {
        got = read(fd, text + count, CONFIG_MAX_BYTES + 1 - count);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            count += (size_t)got;
    }
    if (got < 0)
        return error_sys(err, errno, "cannot read it");
    if (count > CONFIG_MAX_BYTES)
        return error_set(err, HUSK_E_LIMIT, "it is larger than 16 MiB");
    text[count] = '\0';
    *ret_text = take_pointer(&text);
    *ret_count = count;
    return 0;
}

int bundle_read_config(const struct bundle *bundle, struct json_object **ret_config,
                       struct husk_error *err) {
    auto_free char *text = NULL;
    size_t count = 0;
    struct stat st;
    auto_fd fd = open_config(bundle, &st, err);
    if (fd < 0)
        return fd;
    int status = read_all(fd, &text, &count, err);
    if (status == 0)
        status = json_parse(text, count, ret_config, err);
    return status != 0 ? error_while(err, status, "reading %s/" CONFIG, bundle->path) : 0;
}

static int write_all(int fd, const char *text, size_t count) {
    while (count > 0) {
        const ssize_t done = write(fd, text, count);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        text += done;
        count -= (size_t)done;
    }
    return 0;
}

/* 0, or an errno: a folder that cannot give files away keeps the owner it gives. */
static int fill(int fd, const char *text, size_t count, const struct stat *like) {
    if (write_all(fd, text, count) != 0 || fchmod(fd, like->st_mode & 0777) != 0)
        return errno;
    if (fchown(fd, like->st_uid, like->st_gid) != 0 && errno != EPERM)
        return errno;
    return fsync(fd) != 0 ? errno : 0;
}

int bundle_write_config(const struct bundle *bundle, struct json_object *config,
                        struct husk_error *err) {
    char temp[64];
    size_t count = 0;
    struct stat like;
    auto_fd old = open_config(bundle, &like, err);
    if (old < 0)
        return old;
    const char *text = json_object_to_json_string_length(
        config, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &count);
    if (text == NULL)
        return error_set(err, HUSK_E_NOMEM, "out of memory");
    snprintf(temp, sizeof temp, "." CONFIG ".husk-%d", (int)getpid());
    (void)unlinkat(bundle->fd, temp, 0); /* of a process that was killed */
    auto_fd fd = openat(bundle->fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int number = fd < 0 ? errno : fill(fd, text, count, &like);
    if (number == 0 && renameat(bundle->fd, temp, bundle->fd, CONFIG) != 0)
        number = errno;
    if (number == 0)
        return 0;
    (void)unlinkat(bundle->fd, temp, 0);
    return error_sys(err, number, "cannot write %s/" CONFIG, bundle->path);
}

static int make_folder(int parent, const char *name) {
    return mkdirat(parent, name, 0755) == 0 || errno == EEXIST ? 0 : -1;
}

static int make_file(int parent, const char *name) {
    auto_fd fd =
        openat(parent, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
    return fd >= 0 || errno == ETXTBSY ? 0 : -1;
}

/* In a user namespace the runtime cannot make mount points in a folder of the host's root, so all
 * are here before. */
int bundle_make_root(const struct bundle *bundle, int *ret_fd, struct husk_error *err) {
    static const char *const folders[] = {"proc", "dev", "sys", &GUEST_ROOT[1]};
    static const char *const files[] = {&OWN_HUSK[1], &OWN_IMAGE[1]};
    bool has_all = make_folder(bundle->fd, OWN_ROOT) == 0;
    auto_fd fd = openat(bundle->fd, OWN_ROOT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    has_all = has_all && fd >= 0;
    for (size_t i = 0; has_all && i < sizeof folders / sizeof folders[0]; i++)
        has_all = make_folder(fd, folders[i]) == 0;
    for (size_t i = 0; has_all && i < sizeof files / sizeof files[0]; i++)
        has_all = make_file(fd, files[i]) == 0;
    if (!has_all)
        return error_sys(err, errno, "cannot make the folder %s/" OWN_ROOT, bundle->path);
    *ret_fd = take_fd(&fd);
    return 0;
}
