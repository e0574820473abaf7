/*
 * oci/settings.c: what the node's administrator decides: /etc/husk/oci.conf, lines of
 * `name = value`, and the variables of the engine that starts husk-oci, which count more.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auto.h"
#include "cli.h"
#include "oci.h"

#define SETTINGS_FILE "/etc/husk/oci.conf"
/* Measured: husk and its virtual machine take 3 MiB. Large pages, which hold code and data,
 * are up to 2 MiB larger than these, each. The rest is for files that the program reads. */
#define RESERVE_BYTES (12u << 20)
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static bool take_path(const char *value, char *out, size_t out_bytes) {
    return value[0] != '\0' && (size_t)snprintf(out, out_bytes, "%s", value) < out_bytes;
}

static bool take_level(const char *value, int *ret_level) {
    uint64_t level = 0;
    if (!parse_number(value, 3, &level))
        return false;
    *ret_level = level == 0 ? HUSK_OPT_NONE : (int)level;
    return true;
}

/* false: the value is not possible. */
static bool take_setting(struct settings *settings, const char *name, const char *value,
                         bool *ret_is_known) {
    *ret_is_known = true;
    if (strcmp(name, "runtime") == 0)
        return take_path(value, settings->runtime, sizeof settings->runtime);
    if (strcmp(name, "husk") == 0)
        return value[0] == '/' && take_path(value, settings->husk, sizeof settings->husk);
    if (strcmp(name, "cache") == 0)
        return value[0] == '/' && take_path(value, settings->cache, sizeof settings->cache);
    if (strcmp(name, "compile-cpu") == 0)
        return parse_duration(value, &settings->compile_cpu_ns) && settings->compile_cpu_ns > 0;
    if (strcmp(name, "compile-memory") == 0)
        return parse_size(value, &settings->compile_memory_bytes) &&
               settings->compile_memory_bytes > 0;
    if (strcmp(name, "memory-reserve") == 0)
        return parse_size(value, &settings->reserve_bytes);
    if (strcmp(name, "level") == 0)
        return take_level(value, &settings->opt_level);
    *ret_is_known = false;
    return false;
}

static char *trim(char *text) {
    text += strspn(text, " \t");
    size_t count = strlen(text);
    while (count > 0 && strchr(" \t\r\n", text[count - 1]) != NULL)
        count--;
    text[count] = '\0';
    return text;
}

static int take_line(struct settings *settings, const char *path, unsigned number, char *line,
                     struct husk_error *err) {
    char *text = trim(line), *equals = strchr(text, '=');
    bool is_known = false;
    if (text[0] == '\0' || text[0] == '#')
        return 0;
    if (equals == NULL)
        return error_set(err, HUSK_E_INVAL, "%s, line %u: a line is name = value", path, number);
    *equals = '\0';
    const char *name = trim(text), *value = trim(equals + 1);
    if (take_setting(settings, name, value, &is_known))
        return 0;
    if (!is_known)
        return error_set(err, HUSK_E_INVAL, "%s, line %u: there is no setting '%.100s'", path,
                         number, name);
    return error_set(err, HUSK_E_INVAL, "%s, line %u: '%.200s' is not possible for %s", path,
                     number, value, name);
}

static int read_file(struct settings *settings, const char *path, bool must_exist,
                     struct husk_error *err) {
    char line[4200];
    int status = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return errno == ENOENT && !must_exist ? 0 : error_sys(err, errno, "cannot read %s", path);
    for (unsigned number = 1; status == 0 && fgets(line, sizeof line, file) != NULL; number++)
        status = take_line(settings, path, number, line, err);
    if (status == 0 && ferror(file) != 0)
        status = error_sys(err, errno, "cannot read %s", path);
    fclose(file);
    return status;
}

/* husk-static lies beside this program in a build folder, else where it was installed. */
static void find_husk(char *out, size_t out_bytes) {
    char own[4096];
    const ssize_t count = readlink("/proc/self/exe", own, sizeof own - 1);
    if (count <= 0)
        return;
    own[count] = '\0';
    char *slash = strrchr(own, '/');
    if (slash == NULL)
        return;
    *slash = '\0';
    if ((size_t)snprintf(out, out_bytes, "%s/husk-static", own) < out_bytes &&
        access(out, X_OK) == 0)
        return;
    slash = strrchr(own, '/');
    if (slash != NULL)
        *slash = '\0';
    if ((size_t)snprintf(out, out_bytes, "%s/libexec/husk/husk-static", own) >= out_bytes)
        out[0] = '\0';
}

static void find_cache(char *out, size_t out_bytes) {
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (geteuid() == 0)
        snprintf(out, out_bytes, "/var/cache/husk-oci");
    else if (xdg != NULL && xdg[0] == '/')
        snprintf(out, out_bytes, "%s/husk-oci", xdg);
    else if (home != NULL && home[0] == '/')
        snprintf(out, out_bytes, "%s/.cache/husk-oci", home);
}

static int take_variable(struct settings *settings, const char *variable, const char *name,
                         struct husk_error *err) {
    const char *value = getenv(variable);
    bool is_known;
    if (value == NULL || value[0] == '\0' || take_setting(settings, name, value, &is_known))
        return 0;
    return error_set(err, HUSK_E_INVAL, "%s: '%.200s' is not possible", variable, value);
}

int settings_load(struct settings *ret_settings, struct husk_error *err) {
    const char *path = getenv("HUSK_OCI_CONF");
    const bool is_named = path != NULL && path[0] != '\0';
    *ret_settings = (struct settings){.reserve_bytes = RESERVE_BYTES};
    find_husk(ret_settings->husk, sizeof ret_settings->husk);
    find_cache(ret_settings->cache, sizeof ret_settings->cache);
    int status = read_file(ret_settings, is_named ? path : SETTINGS_FILE, is_named, err);
    if (status == 0)
        status = take_variable(ret_settings, "HUSK_OCI_HUSK", "husk", err);
    if (status == 0)
        status = take_variable(ret_settings, "HUSK_OCI_CACHE", "cache", err);
    const int runtime_status = take_variable(ret_settings, "HUSK_OCI_RUNTIME", "runtime", err);
    return status != 0 ? status : runtime_status;
}

/* ---- The real runtime ---- */

/* A program other than this one: an engine may know husk-oci by the name runc. */
static bool is_runtime(const char *path) {
    struct stat st, own;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0 &&
           (stat("/proc/self/exe", &own) != 0 || st.st_dev != own.st_dev ||
            st.st_ino != own.st_ino);
}

static bool find_in_path(const char *name, char *out, size_t out_bytes) {
    const char *path = getenv("PATH");
    if (path == NULL || path[0] == '\0')
        path = DEFAULT_PATH;
    while (*path != '\0') {
        const int bytes = (int)strcspn(path, ":");
        if (path[0] == '/' &&
            (size_t)snprintf(out, out_bytes, "%.*s/%s", bytes, path, name) < out_bytes &&
            is_runtime(out))
            return true;
        path += bytes;
        path += *path == ':';
    }
    return false;
}

int runtime_find(const struct settings *settings, char *out, size_t out_bytes,
                 struct husk_error *err) {
    const char *name = settings->runtime;
    if (strchr(name, '/') != NULL) {
        if (is_runtime(name) && (size_t)snprintf(out, out_bytes, "%s", name) < out_bytes)
            return 0;
        return error_set(err, HUSK_E_NOT_FOUND, "the runtime %s is no program, or this one", name);
    }
    if (name[0] != '\0'
            ? find_in_path(name, out, out_bytes)
            : find_in_path("runc", out, out_bytes) || find_in_path("crun", out, out_bytes))
        return 0;
    return error_set(err, HUSK_E_NOT_FOUND,
                     "%s is not in PATH; install it, or name a runtime in " SETTINGS_FILE
                     " (runtime = /path/of/runc)",
                     name[0] != '\0' ? name : "runc or crun");
}
