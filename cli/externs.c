/*
 * cli/externs.c: prints imports and exports, loads those of one file, and finds them by name. It
 * needs no compilation.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* ---- Writing ---- */

static const char *kind_name(enum husk_extern_kind kind) {
    switch (kind) {
    case HUSK_EXTERN_FUNC: return "func";
    case HUSK_EXTERN_TABLE: return "table";
    case HUSK_EXTERN_MEMORY: return "memory";
    case HUSK_EXTERN_GLOBAL: return "global";
    case HUSK_EXTERN_TAG: return "tag";
    }
    return "?";
}

void put_part(FILE *out, const char *name, size_t count, const char *separators) {
    bool is_quoted = count == 0;
    for (size_t i = 0; i < count; i++)
        is_quoted |= name[i] != '\0' && strchr(separators, name[i]) != NULL;
    fputs(is_quoted ? "\"" : "", out);
    put_name(out, name, count);
    fputs(is_quoted ? "\"" : "", out);
}

void put_extern_name(FILE *out, const struct husk_extern *item) {
    if (item->module != NULL) {
        put_part(out, item->module, item->module_bytes, " .:");
        fputc('.', out);
    }
    put_part(out, item->name, item->name_bytes, " :");
}

void extern_text(FILE *out, const struct husk_extern *item) {
    fprintf(out, "  %-6s ", kind_name(item->kind));
    put_extern_name(out, item);
    fputs(": ", out);
    switch (item->kind) {
    case HUSK_EXTERN_FUNC: print_functype(out, &item->func); break;
    case HUSK_EXTERN_TAG: print_params(out, &item->func); break;
    case HUSK_EXTERN_GLOBAL:
        fprintf(out, "%s%s", item->is_mutable ? "mut " : "", husk_type_name(item->type));
        break;
    case HUSK_EXTERN_TABLE: fprintf(out, "%s, ", husk_type_name(item->type)); /* fall through */
    case HUSK_EXTERN_MEMORY:
        fprintf(out, "%s%" PRIu64, item->is_64 ? "i64, " : "", item->min);
        if (item->has_max)
            fprintf(out, " to %" PRIu64, item->max);
        fputs(item->kind == HUSK_EXTERN_MEMORY ? " pages of 64 KiB" : " entries", out);
        fputs(item->is_shared ? ", shared" : "", out);
        break;
    }
    fputc('\n', out);
}

static bool has_functype(const struct husk_extern *item) {
    return item->kind == HUSK_EXTERN_FUNC || item->kind == HUSK_EXTERN_TAG;
}

static void types_json(FILE *out, const char *key, const husk_type *types, size_t count) {
    fprintf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s\"%s\"", i != 0 ? "," : "", husk_type_name(types[i]));
    fputc(']', out);
}

void extern_json(FILE *out, const struct husk_extern *item) {
    fprintf(out, "{\"kind\":\"%s\"", kind_name(item->kind));
    if (item->module != NULL) {
        fputs(",\"module\":", out);
        json_string(out, item->module, item->module_bytes);
    }
    fputs(",\"name\":", out);
    json_string(out, item->name, item->name_bytes);
    if (has_functype(item)) {
        types_json(out, "params", item->func.params, item->func.params_count);
        types_json(out, "results", item->func.results, item->func.results_count);
    } else if (item->kind == HUSK_EXTERN_GLOBAL) {
        fprintf(out, ",\"type\":\"%s\",\"mutable\":%s", husk_type_name(item->type),
                item->is_mutable ? "true" : "false");
    } else {
        if (item->kind == HUSK_EXTERN_TABLE)
            fprintf(out, ",\"type\":\"%s\"", husk_type_name(item->type));
        fprintf(out, ",\"min\":%" PRIu64, item->min);
        if (item->has_max)
            fprintf(out, ",\"max\":%" PRIu64, item->max);
        if (item->is_64)
            fputs(",\"address\":\"i64\"", out);
        if (item->kind == HUSK_EXTERN_MEMORY)
            fprintf(out, ",\"shared\":%s", item->is_shared ? "true" : "false");
    }
    fputc('}', out);
}

/* ---- Those of one file ---- */

struct collector {
    struct externs *externs;
    size_t capacity;
    bool is_out_of_memory;
};

/* A copy that stands for itself, in one block: types, module, name. NULL: out of memory. */
static struct husk_extern *extern_copy(const struct husk_extern *item) {
    size_t types_count =
        has_functype(item) ? item->func.params_count + item->func.results_count : 0;
    size_t module_bytes = item->module != NULL ? item->module_bytes + 1 : 0;
    struct husk_extern *copy = malloc(sizeof *copy + types_count * sizeof(husk_type) +
                                      module_bytes + item->name_bytes + 1);
    if (copy == NULL)
        return NULL;
    *copy = *item;
    husk_type *types = (husk_type *)(copy + 1);
    char *text = (char *)(types + types_count);
    if (types_count != 0) {
        copy->func.params = types;
        copy->func.results = types + item->func.params_count;
        if (item->func.params_count != 0)
            memcpy(types, item->func.params, item->func.params_count * sizeof *types);
        if (item->func.results_count != 0)
            memcpy(types + item->func.params_count, item->func.results,
                   item->func.results_count * sizeof *types);
    }
    if (item->module != NULL)
        copy->module = memcpy(text, item->module, module_bytes);
    copy->name = memcpy(text + module_bytes, item->name, item->name_bytes + 1);
    return copy;
}

static void collect(void *user, bool is_import, const struct husk_extern *item) {
    struct collector *collector = user;
    struct externs *externs = collector->externs;
    (void)is_import; /* imports have a module */
    if (collector->is_out_of_memory)
        return;
    if (externs->count == collector->capacity) {
        size_t capacity = collector->capacity != 0 ? collector->capacity * 2 : 64;
        struct husk_extern **grown = realloc(externs->items, capacity * sizeof *grown);
        collector->is_out_of_memory = grown == NULL;
        if (grown == NULL)
            return;
        externs->items = grown;
        collector->capacity = capacity;
    }
    struct husk_extern *copy = extern_copy(item);
    if (copy != NULL)
        externs->items[externs->count++] = copy;
    collector->is_out_of_memory = copy == NULL;
}

static void collect_image(struct collector *collector, const husk_image *image) {
    struct husk_extern item = HUSK_EXTERN_INIT;
    for (size_t i = 0; i < husk_image_imports_count(image); i++)
        if (husk_image_import(image, i, &item) == 0)
            collect(collector, true, &item);
    for (size_t i = 0; i < husk_image_exports_count(image); i++)
        if (husk_image_export(image, i, &item) == 0)
            collect(collector, false, &item);
}

int externs_load(struct externs *ret_externs, const struct input *input, const husk_image *image,
                 struct husk_error *err) {
    struct externs externs = {0};
    struct collector collector = {.externs = &externs};
    int status = 0;
    if (image != NULL)
        collect_image(&collector, image);
    else
        status = husk_wasm_interface(input->bytes, input->count, collect, &collector, err);
    if (status == 0 && collector.is_out_of_memory)
        status = cli_error(err, HUSK_E_NOMEM, "out of memory for the names of imports and exports");
    if (status != 0)
        externs_done(&externs);
    else
        *ret_externs = externs;
    return status;
}

void externs_done(struct externs *externs) {
    for (size_t i = 0; i < externs->count; i++)
        free(externs->items[i]);
    free(externs->items);
    *externs = (struct externs){0};
}

const struct husk_extern *externs_func(const struct externs *externs, const char *name,
                                       size_t count) {
    for (size_t i = 0; i < externs->count; i++) {
        const struct husk_extern *item = externs->items[i];
        if (item->module == NULL && item->kind == HUSK_EXTERN_FUNC && item->name_bytes == count &&
            memcmp(item->name, name, count) == 0)
            return item;
    }
    return NULL;
}

void externs_list_funcs(const struct externs *externs, char *out, size_t out_bytes) {
    size_t at = 0, listed = 0, funcs = 0;
    out[0] = 0;
    for (size_t i = 0; i < externs->count; i++) {
        const struct husk_extern *item = externs->items[i];
        if (item->module != NULL || item->kind != HUSK_EXTERN_FUNC)
            continue;
        funcs++;
        size_t needed = husk_name_escape(item->name, item->name_bytes, NULL, 0) + 2;
        if (listed + 1 != funcs || at + needed + LIST_MORE_BYTES > out_bytes)
            continue;
        at += (size_t)snprintf(out + at, out_bytes - at, "%s", listed++ != 0 ? ", " : "");
        at += husk_name_escape(item->name, item->name_bytes, out + at, out_bytes - at);
    }
    if (listed < funcs)
        snprintf(out + at, out_bytes - at, "%s%zu more", listed != 0 ? " and " : "",
                 funcs - listed);
}

/* ---- Names as people type them ---- */

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool parse_name(const char *text, char *out, size_t *ret_count) {
    size_t count = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at != '\\') {
            out[count++] = *at;
        } else if (at[1] == '\\' || at[1] == '"') {
            out[count++] = *++at;
        } else {
            int high = hex_digit(at[1]), low = high < 0 ? -1 : hex_digit(at[2]);
            if (low < 0)
                return false;
            out[count++] = (char)(high * 16 + low);
            at += 2;
        }
    }
    out[count] = 0;
    *ret_count = count;
    return true;
}
