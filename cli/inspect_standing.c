/* cli/inspect_standing.c: shows where the call stands that a snapshot holds: the host function that
 * is called next, the function that was called, a backtrace, and what husk snapshot --until noted
 * of the program's surroundings. */
#include <inttypes.h>
#include <string.h>

#include "run.h"

/* The export that was called. There may be several of one function: the first. */
static bool find_called(const husk_image *image, const struct husk_standing *standing,
                        struct husk_extern *ret_item) {
    husk_func func;
    for (size_t i = 0; i < husk_image_exports_count(image); i++)
        if (husk_image_export(image, i, ret_item) == 0 && ret_item->kind == HUSK_EXTERN_FUNC &&
            husk_image_func(image, ret_item->name, ret_item->name_bytes, &func, NULL) == 0 &&
            memcmp(&func, &standing->func, sizeof func) == 0)
            return true;
    return false;
}

static const char *mode_of(const struct husk_wasi_dir *dir) {
    return dir->kind == HUSK_WASI_DIR_MEM         ? "mem"
           : dir->kind == HUSK_WASI_DIR_COW       ? "cow"
           : (dir->rights & HUSK_WASI_WRITE) != 0 ? "rw"
                                                  : "ro";
}

/* ---- Text ---- */

static void rows_text(const char *key, const char *const *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        printf("%-15s ", key);
        put_name(stdout, rows[i], strlen(rows[i]));
        fputc('\n', stdout);
    }
}

static void surroundings_text(const struct surroundings *saved) {
    rows_text("argument", saved->args, saved->args_count);
    rows_text("variable", saved->env, saved->env_count);
    for (size_t i = 0; i < saved->dirs_count; i++) {
        printf("%-15s %s ", "directory", mode_of(&saved->dirs[i]));
        put_name(stdout, saved->dirs[i].guest_path, strlen(saved->dirs[i].guest_path));
        fputc('\n', stdout);
    }
}

static void standing_text(const struct husk_standing *standing, const struct husk_extern *called,
                          const struct husk_backtrace *backtrace) {
    printf("%-15s ", "stands_at");
    put_part(stdout, standing->module, standing->module_bytes, " .:");
    fputc('.', stdout);
    put_part(stdout, standing->name, standing->name_bytes, " :");
    printf("\n%-15s ", "in_call_of");
    if (called != NULL)
        put_part(stdout, called->name, called->name_bytes, " :");
    else
        fputs("?", stdout);
    printf("\n%-15s %" PRIu64 "\n", "stack_bytes", standing->stack_bytes);
    backtrace_text(stdout, backtrace);
}

/* ---- JSON ---- */

static void rows_json(const char *key, const char *const *rows, size_t count) {
    printf(",\"%s\":[", key);
    for (size_t i = 0; i < count; i++) {
        fputs(i != 0 ? "," : "", stdout);
        json_text(stdout, rows[i]);
    }
    fputc(']', stdout);
}

static void surroundings_json(const struct surroundings *saved) {
    rows_json("arguments", saved->args, saved->args_count);
    rows_json("environment", saved->env, saved->env_count);
    fputs(",\"directories\":[", stdout);
    for (size_t i = 0; i < saved->dirs_count; i++) {
        printf("%s{\"mode\":\"%s\",\"guest\":", i != 0 ? "," : "", mode_of(&saved->dirs[i]));
        json_text(stdout, saved->dirs[i].guest_path);
        fputc('}', stdout);
    }
    fputc(']', stdout);
}

static void standing_json(const struct husk_standing *standing, const struct husk_extern *called,
                          const struct husk_backtrace *backtrace) {
    fputs(",\"standing\":{\"module\":", stdout);
    json_string(stdout, standing->module, standing->module_bytes);
    fputs(",\"name\":", stdout);
    json_string(stdout, standing->name, standing->name_bytes);
    fputs(",\"called\":", stdout);
    if (called != NULL)
        json_string(stdout, called->name, called->name_bytes);
    else
        fputs("null", stdout);
    printf(",\"stack_bytes\":%" PRIu64, standing->stack_bytes);
    frames_json(backtrace);
}

/* ---- Both ---- */

int inspect_standing(bool is_json, const husk_image *image, struct husk_error *err) {
    struct husk_standing standing = HUSK_STANDING_INIT;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    struct husk_extern item = HUSK_EXTERN_INIT;
    struct surroundings saved = {0};
    if (husk_image_standing(image, &standing, NULL) != 0)
        return 0;
    int status = husk_image_backtrace(image, &backtrace, err);
    const struct husk_extern *called = find_called(image, &standing, &item) ? &item : NULL;
    if (status == 0)
        status = surroundings_read(&saved, image, err);
    if (is_json) {
        standing_json(&standing, called, &backtrace);
        surroundings_json(&saved);
        fputc('}', stdout);
    } else {
        standing_text(&standing, called, &backtrace);
        surroundings_text(&saved);
    }
    surroundings_done(&saved);
    return status;
}
