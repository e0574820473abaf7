/*
 * compiler/client/link_job.c: several modules, with their names and aliases, become the input of
 * one job (worker_proto.h), and so does one module.
 */
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "client.h"
#include "error.h"
#include "worker_proto.h"

#define MODULES_MAX 1000u          /* the worker's limit, too */
#define INPUT_BYTES_MAX (1u << 30) /* of one module, and of all: offsets have 32 bits */
#define ALIASES_MAX 1000000u

/* Counts before anything is allocated. */
struct link_counts {
    uint64_t wasm_bytes, aliases;
};

static int check_aliases(const struct husk_module *module, struct husk_error *err) {
    if (module->aliases == NULL && module->aliases_count > 0)
        return error_set(err, HUSK_E_INVAL, "a module has no aliases, but a number of them");
    for (size_t i = 0; i < module->aliases_count; i++) {
        const struct husk_alias *alias = &module->aliases[i];
        if (alias->module == NULL || alias->name == NULL || alias->instance == NULL ||
            alias->export_name == NULL)
            return error_set(err, HUSK_E_INVAL, "alias %zu lacks a name", i);
    }
    return 0;
}

static int check_modules(const struct husk_module *modules, size_t count,
                         struct link_counts *ret_counts, struct husk_error *err) {
    struct link_counts counts = {0};
    if (modules == NULL || count == 0 || count > MODULES_MAX)
        return error_set(err, HUSK_E_INVAL, "%zu modules to link; there must be 1 to %u", count,
                         MODULES_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct husk_module *module = &modules[i];
        if (module->name == NULL || module->name[0] == '\0')
            return error_set(err, HUSK_E_INVAL, "module %zu has no name", i);
        if (module->wasm == NULL && module->count > 0)
            return error_set(err, HUSK_E_INVAL, "module %zu has no bytes", i);
        if (module->count > INPUT_BYTES_MAX || module->aliases_count > ALIASES_MAX)
            return error_set(err, HUSK_E_LIMIT, "module %zu is too large, or has too many aliases",
                             i);
        int status = check_aliases(module, err);
        if (status != 0)
            return status;
        counts.wasm_bytes += module->count;
        counts.aliases += module->aliases_count;
    }
    *ret_counts = counts;
    return 0;
}

static struct worker_link_str add_name(struct buf *names, uint64_t names_offset, const char *name) {
    struct worker_link_str str = {.offset = (uint32_t)(names_offset + names->count),
                                  .bytes = (uint32_t)strlen(name)};
    buf_append(names, name, str.bytes);
    return str;
}

/* The tables, in front of the modules. Where those begin is not known yet: their offsets count from
 * the end of the tables. */
static void write_tables(const struct husk_module *modules, size_t count,
                         const struct link_counts *counts, struct buf *tables) {
    uint64_t aliases_offset = count * sizeof(struct worker_link_module), wasm_offset = 0;
    const uint64_t names_offset =
        aliases_offset + counts->aliases * sizeof(struct worker_link_alias);
    struct buf aliases = {0}, names = {0};
    for (size_t i = 0; i < count; i++) {
        const struct husk_module *module = &modules[i];
        struct worker_link_module row = {.wasm_offset = wasm_offset,
                                         .wasm_bytes = module->count,
                                         .name = add_name(&names, names_offset, module->name),
                                         .aliases_offset =
                                             (uint32_t)(aliases_offset + aliases.count),
                                         .aliases_count = (uint32_t)module->aliases_count};
        wasm_offset += module->count;
        for (size_t k = 0; k < module->aliases_count; k++) {
            const struct husk_alias *alias = &module->aliases[k];
            const struct worker_link_alias entry = {
                .module = add_name(&names, names_offset, alias->module),
                .name = add_name(&names, names_offset, alias->name),
                .instance = add_name(&names, names_offset, alias->instance),
                .export_name = add_name(&names, names_offset, alias->export_name)};
            buf_append(&aliases, &entry, sizeof entry);
        }
        buf_append(tables, &row, sizeof row);
    }
    buf_append(tables, aliases.data, aliases.count);
    buf_append(tables, names.data, names.count);
    tables->failed |= aliases.failed || names.failed;
    buf_done(&aliases);
    buf_done(&names);
}

static int assemble(const struct husk_module *modules, size_t count, struct buf *input,
                    struct husk_error *err) {
    struct link_counts counts = {0};
    int status = check_modules(modules, count, &counts, err);
    if (status != 0)
        return status;
    write_tables(modules, count, &counts, input);
    if (!input->failed && input->count + counts.wasm_bytes > INPUT_BYTES_MAX)
        return error_set(err, HUSK_E_LIMIT, "the modules to link are larger than 1 GiB together");
    struct worker_link_module *rows = (struct worker_link_module *)(void *)input->data;
    for (size_t i = 0; i < count && !input->failed; i++)
        rows[i].wasm_offset += input->count;
    for (size_t i = 0; i < count; i++)
        buf_append(input, modules[i].wasm, modules[i].count);
    return input->failed ? error_set(err, HUSK_E_NOMEM, "no memory for the modules to link") : 0;
}

int link_job_make(const struct husk_module *modules, size_t count, struct worker_job *ret_job,
                  struct husk_error *err) {
    struct buf input = {0};
    int status = assemble(modules, count, &input, err);
    if (status != 0) {
        buf_done(&input);
        return status;
    }
    *ret_job = (struct worker_job){.bytes = input.data,
                                   .count = input.count,
                                   .modules_count = (uint32_t)count,
                                   .owned = input.data};
    if (count > 1 || modules[0].aliases_count > 0)
        return 0;
    ret_job->bytes = input.data + (input.count - modules[0].count);
    ret_job->count = modules[0].count;
    ret_job->modules_count = 0;
    return 0;
}

void worker_job_done(struct worker_job *job) {
    free(job->owned);
    *job = (struct worker_job){0};
}
