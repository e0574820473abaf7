/* trace_stubs.c: see trace_stubs.h. Every import is named "i" and its number (wasm_module.py
 * renames them). */
#include "trace_stubs.h"

#include <stdlib.h>
#include <string.h>

#include "trace_values.h"
#include "literals.h"

#define IMPORT_MODULE "i"

static int stub_called(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    const struct stub *stub = user;
    struct stub_state *state = stub->state;
    uint32_t n = state->calls++;
    if (n >= HOST_CALLS_MAX)
        return husk_caller_fail(caller, "too many host calls");
    fprintf(state->out, " host %u", stub->idx);
    for (size_t i = 0; i < stub->type.params_count; i++)
        value_print(state->out, &args[i]);
    fprintf(state->out, " ->");
    for (size_t i = 0; i < stub->type.results_count; i++) {
        results[i] = value_of_stub(stub->results[i], state->seed, n * 8 + (uint32_t)i);
        value_print(state->out, &results[i]);
        results[i].of.i32 ^= state->is_wrong ? 1 : 0;
    }
    fputc('\n', state->out);
    return 0;
}

static size_t read_types(const char *text, husk_type *types) {
    int numbers[STUB_VALUES_MAX];
    size_t count = plan_types(text, numbers, STUB_VALUES_MAX);
    for (size_t i = 0; i < count; i++)
        types[i] = (husk_type)numbers[i];
    return count;
}

static int define_func(husk_imports *imports, const struct plan_line *line,
                       struct stub_state *state, struct husk_error *err) {
    struct stub *stub = calloc(1, sizeof *stub);
    if (stub == NULL)
        return HUSK_E_NOMEM;
    stub->state = state;
    stub->idx = (uint32_t)strtoul(line->words[1], NULL, 10);
    stub->type.params = stub->params;
    stub->type.results = stub->results;
    stub->type.params_count = read_types(line->words[3], stub->params);
    stub->type.results_count = read_types(line->words[4], stub->results);
    int status = husk_imports_funcs(imports,
                                    &(struct husk_host_func){.module = IMPORT_MODULE,
                                                             .name = line->words[1],
                                                             .type = &stub->type,
                                                             .fn = stub_called,
                                                             .user = stub,
                                                             .user_free = free},
                                    1, err);
    if (status != 0)
        free(stub);
    return status;
}

static int define_global(husk_imports *imports, const struct plan_line *line,
                         struct husk_error *err) {
    struct husk_value value = value_parse(line->words[4], HUSK_FUNCREF);
    return husk_imports_define(imports,
                               EXTERN(GLOBAL, IMPORT_MODULE, line->words[1], .type = value.type,
                                      .is_mutable = strcmp(line->words[3], "mut") == 0),
                               &value, err);
}

int stubs_define(husk_imports *imports, const struct plan *plan, struct stub_state *state,
                 struct husk_error *err) {
    for (size_t i = 0; i < plan->imports_count; i++) {
        const struct plan_line *line = &plan->imports[i];
        const char *kind = line->words[2], *name = line->words[1];
        int status;
        if (strcmp(kind, "func") == 0)
            status = define_func(imports, line, state, err);
        else if (strcmp(kind, "global") == 0)
            status = define_global(imports, line, err);
        else if (strcmp(kind, "memory") == 0)
            status = husk_imports_define(
                imports,
                EXTERN(MEMORY, IMPORT_MODULE, name, .min = strtoull(line->words[3], NULL, 10),
                       .has_max = strtoull(line->words[4], NULL, 10) != UINT64_MAX,
                       .max = strtoull(line->words[4], NULL, 10),
                       .is_shared = line->count > 5 && strcmp(line->words[5], "shared") == 0),
                NULL, err);
        else
            status = husk_imports_define(
                imports,
                EXTERN(TABLE, IMPORT_MODULE, name,
                       .type = value_type(line->words[3], strlen(line->words[3])),
                       .min = strtoull(line->words[4], NULL, 10),
                       .has_max = strtoull(line->words[5], NULL, 10) != UINT64_MAX,
                       .max = strtoull(line->words[5], NULL, 10)),
                NULL, err);
        if (status != 0)
            return status;
    }
    return 0;
}
