/* compiler/worker/link_input.c: see link_input.h. */
#include "link_input.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "limits.h"
#include "name_text.h"
#include "needs.h"
#include "worker_proto.h"

struct link_reader {
    struct wasm_bytes input;
    struct worker_link_module *modules;
    uint32_t modules_count;
    struct program_source *sources;
    wasm_features_t features;
    struct husk_error *err;
};

static int damaged(const struct link_reader *reader) {
    return error_set(reader->err, HUSK_E_COMPILER, "the worker got a damaged list of modules");
}

/* The rows are copied: nothing in the input is aligned. NULL: they do not lie in it, or no
 * memory. */
static void *copy_rows(const struct link_reader *reader, uint64_t offset, uint64_t count,
                       size_t row_bytes) {
    const uint64_t room = reader->input.count;
    if (offset > room || count > (room - offset) / row_bytes)
        return NULL;
    void *rows = malloc(count * row_bytes + 1);
    if (rows != NULL && count > 0)
        memcpy(rows, reader->input.data + offset, count * row_bytes);
    return rows;
}

static bool take_bytes(const struct link_reader *reader, uint64_t offset, uint64_t count,
                       struct wasm_bytes *ret_bytes) {
    if (count > reader->input.count || offset > reader->input.count - count)
        return false;
    *ret_bytes = (struct wasm_bytes){.data = reader->input.data + offset, .count = (uint32_t)count};
    return true;
}

static bool take_string(const struct link_reader *reader, struct worker_link_str str,
                        struct wasm_bytes *ret_bytes) {
    return take_bytes(reader, str.offset, str.bytes, ret_bytes);
}

static int read_aliases(struct link_reader *reader, const struct worker_link_module *module,
                        struct program_source *source) {
    struct worker_link_alias *rows =
        copy_rows(reader, module->aliases_offset, module->aliases_count, sizeof *rows);
    /* Not before the rows are known to exist: a damaged count may mean gigabytes. */
    struct program_alias *aliases =
        rows == NULL ? NULL : calloc((size_t)module->aliases_count + 1, sizeof *aliases);
    if (aliases == NULL) {
        free(rows);
        return damaged(reader);
    }
    bool is_read = true;
    for (uint32_t i = 0; i < module->aliases_count; i++)
        is_read = is_read && take_string(reader, rows[i].module, &aliases[i].module) &&
                  take_string(reader, rows[i].name, &aliases[i].name) &&
                  take_string(reader, rows[i].instance, &aliases[i].instance) &&
                  take_string(reader, rows[i].export_name, &aliases[i].export_name);
    free(rows);
    source->aliases = aliases;
    source->aliases_count = module->aliases_count;
    return is_read ? 0 : damaged(reader);
}

static int read_module(struct link_reader *reader, uint32_t idx) {
    const struct worker_link_module *row = &reader->modules[idx];
    struct program_source *source = &reader->sources[idx];
    struct wasm_module *module = NULL;
    struct wasm_bytes wasm;
    struct name_text shown;
    if (!take_bytes(reader, row->wasm_offset, row->wasm_bytes, &wasm) ||
        !take_string(reader, row->name, &source->name))
        return damaged(reader);
    int status = wasm_read_supported(wasm.data, wasm.count, reader->features, &module, reader->err);
    if (status != 0)
        return error_while(reader->err, status, "reading the module \"%s\"",
                           name_show(&shown, (const char *)source->name.data, source->name.count));
    source->module = module;
    source->input_offset = (uint32_t)row->wasm_offset;
    return read_aliases(reader, row, source);
}

int link_input_read(const struct link_input *input, struct program **ret_program,
                    struct husk_error *err) {
    const uint32_t modules_count = input->modules_count;
    struct link_reader reader = {.input = input->bytes,
                                 .modules_count = modules_count,
                                 .features = input->features,
                                 .err = err};
    reader.modules = copy_rows(&reader, 0, modules_count, sizeof *reader.modules);
    if (reader.modules == NULL)
        return damaged(&reader);
    reader.sources = calloc(modules_count, sizeof *reader.sources);
    int status = reader.sources == NULL
                     ? error_set(err, HUSK_E_NOMEM, "no memory for the list of modules")
                     : 0;
    for (uint32_t i = 0; i < modules_count && status == 0; i++)
        status = read_module(&reader, i);
    free(reader.modules);
    const struct program_sources sources = {.list = reader.sources,
                                            .count = modules_count,
                                            .input = input->bytes,
                                            .is_staged = input->is_staged};
    return status == 0 ? program_link(&sources, ret_program, err) : status;
}
