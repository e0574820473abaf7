/*
 * host/image/image_func_names.c: names of functions, which backtraces show and saved files have as
 * symbols. A module may have 100,000, so none is looked at before it is asked for.
 *
 * A name that a NUL follows in the image is used in place. Another one is copied once, and kept as
 * long as the code. Ranges of names may overlap, so the copies have a limit together, and so has
 * the sum of all names.
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "host_limits.h"
#include "image_check.h"
#include "image_internal.h"

/* All copies of a code, in a list that only grows. */
struct image_name_copy {
    struct image_name_copy *next;
    char text[];
};

int image_func_names_make(struct image_code *code, struct husk_error *err) {
    const uint32_t imported = code->imported_count[HUSK_ABI_FUNC];
    uint32_t count = 0;
    code->func_texts = calloc(code->funcs_count + 1u, sizeof *code->func_texts);
    code->func_imports = calloc(imported + 1u, sizeof *code->func_imports);
    if (code->func_texts == NULL || code->func_imports == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the image's names");
    for (uint32_t i = 0; i < code->imports_count; i++) /* in the order of the functions */
        if (code->imports[i].kind == HUSK_ABI_FUNC)
            code->func_imports[count++] = i;
    return 0;
}

void image_func_names_done(struct image_code *code) {
    struct image_name_copy *copy = atomic_load(&code->name_copies), *next;
    for (; copy != NULL; copy = next) {
        next = copy->next;
        free(copy);
    }
    free(code->func_texts);
    free(code->func_imports);
}

static int too_long(const struct image_code *code, uint64_t bytes, struct husk_error *err) {
    return error_set(err, HUSK_E_BAD_IMAGE, "names of %llu bytes in a file of %llu bytes",
                     (unsigned long long)bytes, (unsigned long long)code->file->count);
}

/* Checked; of an import without a name of its own, the name that it is imported by. */
static int find_name(const struct image_code *code, uint32_t func_idx,
                     struct husk_image_str *ret_str, struct husk_error *err) {
    *ret_str = code->funcs[func_idx].name;
    if (ret_str->bytes == 0 && func_idx < code->imported_count[HUSK_ABI_FUNC])
        *ret_str = code->imports[code->func_imports[func_idx]].name;
    return image_in_strings(code, *ret_str)
               ? 0
               : image_bad_row(err, "function", func_idx, "its name is outside the strings");
}

/* Another thread may copy the same name meanwhile: the first copy counts, and both stay. */
static int copy_name(struct image_code *code, uint32_t func_idx, struct husk_image_str str,
                     const char **ret_text, struct husk_error *err) {
    const char *none = NULL;
    const uint64_t used =
        atomic_fetch_add_explicit(&code->names_copied, str.bytes + 1ull, memory_order_relaxed);
    if (used + str.bytes > code->file->count + LIMIT_NAME_COPY_SLACK_BYTES)
        return too_long(code, used + str.bytes, err);
    struct image_name_copy *copy = malloc(sizeof *copy + str.bytes + 1);
    if (copy == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the name of a function");
    memcpy(copy->text, code->strings + str.offset, str.bytes);
    copy->text[str.bytes] = 0;
    copy->next = atomic_load(&code->name_copies);
    while (!atomic_compare_exchange_weak(&code->name_copies, &copy->next, copy))
        ;
    *ret_text = copy->text;
    if (!atomic_compare_exchange_strong(&code->func_texts[func_idx], &none, copy->text))
        *ret_text = none;
    return 0;
}

int image_func_name(struct image_code *code, uint32_t func_idx, struct image_name *ret_name,
                    struct husk_error *err) {
    struct husk_image_str str;
    *ret_name = (struct image_name){"", 0};
    int status = find_name(code, func_idx, &str, err);
    if (status != 0 || str.bytes == 0)
        return status;
    const uint64_t end = (uint64_t)str.offset + str.bytes;
    const char *text = atomic_load_explicit(&code->func_texts[func_idx], memory_order_acquire);
    if (end < code->strings_count && code->strings[end] == 0)
        text = (const char *)code->strings + str.offset;
    if (text == NULL)
        status = copy_name(code, func_idx, str, &text, err);
    if (status == 0)
        *ret_name = (struct image_name){text, str.bytes};
    return status;
}

int image_func_symbol(const struct image_code *code, uint32_t func_idx, struct image_name *ret_name,
                      struct husk_error *err) {
    struct husk_image_str str;
    int status = find_name(code, func_idx, &str, err);
    if (status != 0)
        return status;
    const char *text = str.bytes == 0 ? "" : (const char *)code->strings + str.offset;
    *ret_name = (struct image_name){text, strnlen(text, str.bytes)};
    return 0;
}

int image_check_func_names(const struct image_code *code, struct husk_error *err) {
    const uint64_t most = code->file->count + LIMIT_NAMES_SLACK_BYTES;
    struct husk_image_str str;
    uint64_t bytes = 0;
    int status = 0;
    for (uint32_t i = 0; i < code->funcs_count && status == 0 && bytes <= most; i++) {
        status = find_name(code, i, &str, err);
        bytes += status == 0 ? str.bytes : 0;
    }
    return status == 0 && bytes > most ? too_long(code, bytes, err) : status;
}
