/*
 * oci/arguments.c: the words of `husk run` for a container: limits from its memory limit and its
 * annotations, its environment, its files, its own words.
 *
 * Variables are named, not written (--env NAME): husk has them itself, and their values, which may
 * be secrets, do not stand in a command line that every user of the host can read.
 */
#include <inttypes.h>
#include <string.h>

#include "auto.h"
#include "cli.h"
#include "oci.h"

/* Beyond it, a memory limit means none: cgroup v1 writes 2^63 less a page. */
#define MEMORY_LIMIT_MAX (INT64_C(1) << 60)

static bool is_duration(const char *text) {
    uint64_t ns;
    return parse_duration(text, &ns) && ns > 0;
}

static bool is_size(const char *text) {
    uint64_t bytes;
    return parse_size(text, &bytes) && bytes > 0;
}

static bool is_count(const char *text) {
    uint64_t count;
    return parse_number(text, 65536, &count) && count > 0;
}

static bool is_address(const char *text) {
    return text[0] != '\0' && text[0] != '-';
}

static bool is_import_rule(const char *text) {
    return strcmp(text, "trap") == 0 || strcmp(text, "refuse") == 0;
}

static bool is_bool(const char *text) {
    return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
}

static bool is_handler(const char *text) {
    return strcmp(text, "wasm") == 0;
}

/* Annotations of ours. option NULL: it is not passed on as it is. */
static const struct row {
    const char *name, *option, *wants;
    bool (*is_possible)(const char *text);
} rows[] = {
    {"husk.timeout", "--timeout", "a time such as 30s", is_duration},
    {"husk.cpu-timeout", "--cpu-timeout", "a time such as 30s", is_duration},
    {"husk.stack", "--stack", "a size such as 1M", is_size},
    {"husk.listen", "--listen", "an address such as 0.0.0.0:8080", is_address},
    {"husk.max-open", "--max-open", "a number from 1 to 65536", is_count},
    {"husk.unknown-imports", "--unknown-imports", "trap or refuse", is_import_rule},
    {"husk.max-memory", NULL, "a size such as 64M", is_size},
    {"husk.strict", NULL, "true or false", is_bool},
    {"husk.handler", NULL, "wasm", is_handler},
};

static const struct row *row_of(const char *name) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

/* A misspelt limit must not be none. */
static int check_annotations(struct json_object *config, struct husk_error *err) {
    struct json_object *annotations;
    int status = json_member(config, "", "annotations", json_type_object, &annotations, err);
    if (status != 0 || annotations == NULL)
        return status;
    json_object_object_foreach(annotations, name, value) {
        const struct row *row = row_of(name);
        if (strncmp(name, "husk.", 5) != 0)
            continue;
        if (row == NULL)
            return error_set(err, HUSK_E_INVAL, "there is no annotation %.100s", name);
        if (!json_object_is_type(value, json_type_string) ||
            !row->is_possible(json_object_get_string(value)))
            return error_set(err, HUSK_E_INVAL, "the annotation %s wants %s", name, row->wants);
    }
    return 0;
}

int strict_wanted(struct json_object *config, bool *ret_is_strict, struct husk_error *err) {
    int status = check_annotations(config, err);
    const char *text = annotation(config, "husk.strict");
    *ret_is_strict = text != NULL && strcmp(text, "true") == 0;
    return status;
}

static int add(struct json_object *array, const char *text, struct husk_error *err) {
    struct json_object *word = json_object_new_string(text);
    if (word != NULL && json_object_array_add(array, word) == 0)
        return 0;
    json_object_put(word);
    return error_set(err, HUSK_E_NOMEM, "out of memory");
}

static int add_option(struct json_object *args, const char *option, const char *value,
                      struct husk_error *err) {
    int status = add(args, option, err);
    return status == 0 ? add(args, value, err) : status;
}

/* ---- Memory ---- */

/* 0: there is none. */
static int read_memory_limit(struct json_object *config, uint64_t *ret_bytes,
                             struct husk_error *err) {
    struct json_object *linux_part, *resources = NULL, *memory = NULL, *limit = NULL;
    int status = json_member(config, "", "linux", json_type_object, &linux_part, err);
    if (status == 0 && linux_part != NULL)
        status = json_member(linux_part, "linux.", "resources", json_type_object, &resources, err);
    if (status == 0 && resources != NULL)
        status =
            json_member(resources, "linux.resources.", "memory", json_type_object, &memory, err);
    if (status == 0 && memory != NULL)
        status =
            json_member(memory, "linux.resources.memory.", "limit", json_type_int, &limit, err);
    const int64_t bytes = limit != NULL && status == 0 ? json_object_get_int64(limit) : 0;
    *ret_bytes = bytes > 0 && bytes < MEMORY_LIMIT_MAX ? (uint64_t)bytes : 0;
    return status;
}

/* Page tables of the process and of the virtual machine: measured, up to 1/100 of the memory. */
#define TABLES_SHARE 64

/* The cgroup's limit, less what husk and the image need: so the guest's own limit is reached first,
 * and memory.grow fails, instead of a SIGKILL by the kernel. */
static int add_memory(struct json_object *config, const struct facts *facts,
                      struct json_object *args, struct husk_error *err) {
    const char *own = annotation(config, "husk.max-memory");
    uint64_t limit = 0, bytes = 0, wanted = 0;
    char text[32], need[32];
    int status = read_memory_limit(config, &limit, err);
    if (status != 0 || (limit == 0 && own == NULL))
        return status;
    const uint64_t reserve =
        facts->settings->reserve_bytes + facts->image_bytes + limit / TABLES_SHARE;
    if (limit != 0 && limit <= reserve) {
        format_bytes(reserve, need, sizeof need);
        return error_set(err, HUSK_E_LIMIT,
                         "the container's memory limit of %" PRIu64
                         " bytes is too low: Husk itself takes up to %s with this program, whose "
                         "memory comes on top",
                         limit, need);
    }
    bytes = limit != 0 ? limit - reserve : UINT64_MAX;
    if (own != NULL && parse_size(own, &wanted) && wanted < bytes)
        bytes = wanted;
    snprintf(text, sizeof text, "%" PRIu64, bytes);
    return add_option(args, "--max-memory", text, err);
}

/* ---- Environment and words ---- */

static int note_name(struct json_object *seen, const char *name, bool *ret_is_new,
                     struct husk_error *err) {
    *ret_is_new = !json_object_object_get_ex(seen, name, NULL);
    if (*ret_is_new && json_object_object_add(seen, name, NULL) != 0)
        return error_set(err, HUSK_E_NOMEM, "out of memory");
    return 0;
}

/* Takes rows that husk could not pass on out of process.env, and all but the last of one name. */
static int clean_env(struct json_object *env, struct json_object *args, struct husk_error *err) {
    struct json_object *seen = json_object_new_object();
    int status = seen != NULL ? 0 : error_set(err, HUSK_E_NOMEM, "out of memory");
    for (size_t i = json_object_array_length(env); i-- > 0 && status == 0;) {
        const char *row = json_object_get_string(json_object_array_get_idx(env, i));
        const size_t bytes = strcspn(row, "=");
        auto_free char *name = strndup(row, bytes);
        bool is_new = false;
        if (name == NULL)
            status = error_set(err, HUSK_E_NOMEM, "out of memory");
        else if (bytes > 0 && row[bytes] == '=')
            status = note_name(seen, name, &is_new, err);
        if (status == 0 && is_new)
            status = add_option(args, "--env", name, err);
        else
            (void)json_object_array_put_idx(env, i, NULL);
    }
    json_object_put(seen);
    json_drop_nulls(env);
    return status;
}

/* wasm programs have no working directory but what they make of PWD. */
static int add_env(struct json_object *process, struct json_object *args, struct husk_error *err) {
    struct json_object *env;
    const char *cwd = NULL;
    int status = json_need_member(process, "process.", "env", json_type_array, &env, err);
    if (status == 0)
        status = json_string_member(process, "process.", "cwd", &cwd, err);
    if (status == 0 && cwd != NULL && strcmp(cwd, "/") != 0) {
        auto_free char *pwd = NULL;
        if (asprintf(&pwd, "PWD=%s", cwd) < 0) {
            pwd = NULL;
            return error_set(err, HUSK_E_NOMEM, "out of memory");
        }
        status = add_option(args, "--env", pwd, err);
    }
    return status == 0 ? clean_env(env, args, err) : status;
}

static int add_limits(struct json_object *config, const struct facts *facts,
                      struct json_object *args, struct husk_error *err) {
    int status = add_memory(config, facts, args, err);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && status == 0; i++) {
        const char *value = annotation(config, rows[i].name);
        if (rows[i].option != NULL && value != NULL)
            status = add_option(args, rows[i].option, value, err);
    }
    if (status == 0 && facts->program->is_standing)
        status = add(args, "--new-surroundings", err);
    return status;
}

static int add_words(const struct facts *facts, struct json_object *words, struct json_object *args,
                     struct husk_error *err) {
    auto_free char *in_root = NULL;
    if (asprintf(&in_root, GUEST_ROOT "%s", facts->program->path) < 0) {
        in_root = NULL;
        return error_set(err, HUSK_E_NOMEM, "out of memory");
    }
    const bool is_own = facts->image_path != NULL || facts->is_image_in_root;
    int status = add_option(args, "--argv0",
                            json_object_get_string(json_object_array_get_idx(words, 0)), err);
    if (status == 0)
        status = add_option(args, "--", is_own ? OWN_IMAGE : in_root, err);
    for (size_t i = 1; i < json_object_array_length(words) && status == 0; i++)
        status = add(args, json_object_get_string(json_object_array_get_idx(words, i)), err);
    return status;
}

int husk_arguments(struct json_object *config, const struct facts *facts,
                   struct json_object **ret_args, struct husk_error *err) {
    struct json_object *process, *words, *args = json_object_new_array();
    int status = args != NULL ? 0 : error_set(err, HUSK_E_NOMEM, "out of memory");
    if (status == 0)
        status = json_need_member(config, "", "process", json_type_object, &process, err);
    if (status == 0)
        status = json_need_member(process, "process.", "args", json_type_array, &words, err);
    if (status == 0)
        status = add_option(args, OWN_HUSK, "run", err);
    if (status == 0)
        status = add_limits(config, facts, args, err);
    if (status == 0)
        /* volumes in it may be written: the kernel refuses what a mount does not allow */
        status = add_option(args, "--dir", GUEST_ROOT "::/", err);
    if (status == 0)
        status = add_env(process, args, err);
    if (status == 0)
        status = add_words(facts, words, args, err);
    if (status == 0)
        *ret_args = args;
    else
        json_object_put(args);
    return status;
}
