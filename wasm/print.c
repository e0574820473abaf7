/*
 * wasm/print.c: a decoded module as text: types, imports, …, segments, functions (wasm/print.h).
 * Beside the flow: tools use it.
 */
#include "print.h"

#include "print_text.h"
#include "types.h"

static const char *const kind_names[] = {"func", "table", "memory", "global", "tag"};

/* ---- pieces ---- */

static void print_types(struct printer *printer, const char *word, const valtype_t *types,
                        uint32_t count) {
    if (count != 0) {
        print_format(printer, " (%s", word);
        for (uint32_t i = 0; i < count; i++)
            print_format(printer, " %s", TYPE_TEXT(types[i]));
        print_format(printer, ")");
    }
}

static void print_functype(struct printer *printer, const struct wasm_module *module,
                           uint32_t type_idx) {
    print_format(printer, " (type %u)", type_idx);
    if (type_idx < module->types_count && module->types[type_idx].form == WASM_FORM_FUNC) {
        print_types(printer, "param", module->types[type_idx].params,
                    module->types[type_idx].params_count);
        print_types(printer, "result", module->types[type_idx].results,
                    module->types[type_idx].results_count);
    }
}

static void print_limits(struct printer *printer, const struct wasm_limits *limits) {
    print_format(printer, "%s %llu", limits->is_64 ? " i64" : "", (unsigned long long)limits->min);
    if (limits->has_max)
        print_format(printer, " %llu", (unsigned long long)limits->max);
    if (limits->is_shared)
        print_format(printer, " shared");
}

/* A constant expression in one line, without its end. */
static int print_expr(struct printer *printer, struct wasm_bytes expr, struct husk_error *err) {
    struct wasm_reader reader;
    wasm_reader_init(&reader, expr, err);
    int status = 0;
    while (status == 0 && reader.pos != reader.end) {
        struct wasm_instr instr;
        status = wasm_read_instr(&reader, &instr);
        if (status == 0 && reader.pos != reader.end) {
            print_format(printer, " (");
            print_instr(printer, &instr);
            print_format(printer, ")");
        }
    }
    return status;
}

/* The type of one entity, as imports and definitions show it. */
static void print_entity(struct printer *printer, const struct wasm_module *module,
                         enum wasm_kind kind, uint32_t idx) {
    switch (kind) {
    case WASM_KIND_FUNC: print_functype(printer, module, module->funcs[idx].type_idx); break;
    case WASM_KIND_TABLE:
        print_limits(printer, &module->tables[idx].limits);
        print_format(printer, " %s", TYPE_TEXT(module->tables[idx].elem_type));
        break;
    case WASM_KIND_MEMORY:
        print_limits(printer, &module->memories[idx].limits);
        if (module->memories[idx].page_log2 != 16)
            print_format(printer, " (pagesize %llu)", 1ull << module->memories[idx].page_log2);
        break;
    case WASM_KIND_GLOBAL:
        print_format(printer, module->globals[idx].is_mutable ? " (mut %s)" : " %s",
                     TYPE_TEXT(module->globals[idx].type));
        break;
    case WASM_KIND_TAG: print_functype(printer, module, module->tags[idx].type_idx); break;
    }
}

/* ---- sections ---- */

static void print_fields(struct printer *printer, const struct wasm_functype *type) {
    for (uint32_t i = 0; i < type->params_count; i++) {
        bool is_mutable = (type->params[i] & WASM_FIELD_MUTABLE) != 0;
        print_format(printer, type->form == WASM_FORM_STRUCT ? " (field" : "");
        print_format(printer, is_mutable ? " (mut %s)" : " %s",
                     TYPE_TEXT(type->params[i] & ~WASM_FIELD_MUTABLE));
        print_format(printer, type->form == WASM_FORM_STRUCT ? ")" : "");
    }
}

/* A recursion group is shown in a comment of each of its types. */
static void print_type(struct printer *printer, const struct wasm_module *module, uint32_t idx) {
    static const char *const form_names[] = {"func", "struct", "array"};
    const struct wasm_functype *type = &module->types[idx];
    const struct wasm_subtype *subtype = &module->subtypes[idx];
    bool is_sub = type->is_open || subtype->has_super;
    print_format(printer, "  (type %u ", idx);
    if (is_sub)
        print_format(printer, "(sub%s ", type->is_open ? "" : " final");
    if (subtype->has_super)
        print_format(printer, "%u ", subtype->super_idx);
    print_format(printer, "(%s", form_names[type->form]);
    if (type->form == WASM_FORM_FUNC) {
        print_types(printer, "param", type->params, type->params_count);
        print_types(printer, "result", type->results, type->results_count);
    } else {
        print_fields(printer, type);
    }
    print_format(printer, is_sub ? ")))" : "))");
    if (subtype->group_count > 1)
        print_format(printer, " ;; rec %u to %u", subtype->group_first,
                     subtype->group_first + subtype->group_count - 1);
    print_format(printer, "\n");
}

static int print_declarations(struct printer *printer, const struct wasm_module *module,
                              struct husk_error *err) {
    for (uint32_t i = 0; i < module->types_count; i++)
        print_type(printer, module, i);
    for (uint32_t i = 0; i < module->imports_count; i++) {
        const struct wasm_import *import = &module->imports[i];
        print_format(printer, "  (import ");
        print_name(printer, import->module);
        print_format(printer, " ");
        print_name(printer, import->name);
        print_format(printer, " (%s %u", kind_names[import->kind], import->idx);
        print_entity(printer, module, import->kind, import->idx);
        print_format(printer, "))\n");
    }
    for (uint32_t i = module->imported_tables_count; i < module->tables_count; i++) {
        print_format(printer, "  (table %u", i);
        print_entity(printer, module, WASM_KIND_TABLE, i);
        int status = print_expr(printer, module->tables[i].init, err);
        print_format(printer, ")\n");
        if (status != 0)
            return status;
    }
    for (uint32_t i = module->imported_memories_count; i < module->memories_count; i++) {
        print_format(printer, "  (memory %u", i);
        print_entity(printer, module, WASM_KIND_MEMORY, i);
        print_format(printer, ")\n");
    }
    for (uint32_t i = module->imported_tags_count; i < module->tags_count; i++) {
        print_format(printer, "  (tag %u", i);
        print_entity(printer, module, WASM_KIND_TAG, i);
        print_format(printer, ")\n");
    }
    int status = 0;
    for (uint32_t i = module->imported_globals_count; status == 0 && i < module->globals_count;
         i++) {
        print_format(printer, "  (global %u", i);
        print_entity(printer, module, WASM_KIND_GLOBAL, i);
        status = print_expr(printer, module->globals[i].init, err);
        print_format(printer, ")\n");
    }
    return status;
}

static void print_exports(struct printer *printer, const struct wasm_module *module) {
    for (uint32_t i = 0; i < module->exports_count; i++) {
        const struct wasm_export *export = &module->exports[i];
        print_format(printer, "  (export ");
        print_name(printer, export->name);
        print_format(printer, " (%s %u))\n", kind_names[export->kind], export->idx);
    }
    if (module->has_start)
        print_format(printer, "  (start %u)\n", module->start_func_idx);
}

static int print_elem(struct printer *printer, const struct wasm_elem *elem,
                      struct husk_error *err) {
    int status = 0;
    if (elem->mode == WASM_SEGMENT_ACTIVE) {
        print_format(printer, " (table %u)", elem->table_idx);
        status = print_expr(printer, elem->offset, err);
    } else if (elem->mode == WASM_SEGMENT_DECLARATIVE) {
        print_format(printer, " declare");
    }
    print_format(printer, " %s", elem->exprs != NULL ? TYPE_TEXT(elem->elem_type) : "func");
    for (uint32_t i = 0; status == 0 && i < elem->count; i++)
        if (elem->exprs != NULL)
            status = print_expr(printer, elem->exprs[i], err);
        else
            print_format(printer, " %u", elem->func_idxs[i]);
    return status;
}

static int print_segments(struct printer *printer, const struct wasm_module *module,
                          struct husk_error *err) {
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < module->elems_count; i++) {
        print_format(printer, "  (elem %u", i);
        status = print_elem(printer, &module->elems[i], err);
        print_format(printer, ")\n");
    }
    for (uint32_t i = 0; status == 0 && i < module->datas_count; i++) {
        const struct wasm_data *data = &module->datas[i];
        print_format(printer, "  (data %u", i);
        if (data->mode == WASM_SEGMENT_ACTIVE) {
            print_format(printer, " (memory %u)", data->memory_idx);
            status = print_expr(printer, data->offset, err);
        }
        print_format(printer, " ;; %u bytes at 0x%llx\n  )\n", data->bytes.count,
                     (unsigned long long)data->bytes.offset);
    }
    for (uint32_t i = 0; i < module->customs_count; i++) {
        print_format(printer, "  ;; custom section ");
        print_name(printer, module->customs[i].name);
        print_format(printer, ", %u bytes at 0x%llx\n", module->customs[i].bytes.count,
                     (unsigned long long)module->customs[i].bytes.offset);
    }
    return status;
}

/* ---- functions ---- */

#define INDENT_MAX 32u /* levels; deeper code stays at this column */

static int print_body(struct printer *printer, const struct wasm_func *func,
                      struct husk_error *err) {
    struct wasm_reader reader;
    wasm_reader_init(&reader, func->code, err);
    uint32_t depth = 1;
    while (printer->status == 0 && reader.pos != reader.end) {
        struct wasm_instr instr;
        int status = wasm_read_instr(&reader, &instr);
        if (status != 0)
            return status;
        depth -= wasm_op_closes(instr.op) && depth > 0 ? 1 : 0;
        print_format(printer, "    %06llx  %*s", (unsigned long long)instr.offset,
                     (int)(2 * (depth < INDENT_MAX ? depth : INDENT_MAX)), "");
        print_instr(printer, &instr);
        print_format(printer, "\n");
        bool has_rest =
            wasm_op_closes(instr.op) && instr.op != WASM_OP_END && instr.op != WASM_OP_DELEGATE;
        depth += wasm_op_opens(instr.op) || has_rest ? 1 : 0;
    }
    return 0;
}

static int print_func(struct printer *printer, const struct wasm_module *module, uint32_t func_idx,
                      struct husk_error *err) {
    const struct wasm_func *func = &module->funcs[func_idx];
    print_format(printer, "  (func %u", func_idx);
    if (func->name.count != 0) {
        print_format(printer, " ");
        print_name(printer, func->name);
    }
    print_functype(printer, module, func->type_idx);
    for (uint32_t i = 0; i < func->local_runs_count; i++) {
        const struct wasm_local_run *run = &func->local_runs[i];
        print_format(printer, run->count == 1 ? " (local %s)" : " (local %s x %u)",
                     TYPE_TEXT(run->type), run->count);
    }
    print_format(printer, ") ;; %u bytes at 0x%llx\n", func->code.count,
                 (unsigned long long)func->code.offset);
    return printer->with_code ? print_body(printer, func, err) : 0;
}

int wasm_print(const struct wasm_module *module, const struct wasm_print_options *options,
               struct husk_error *err) {
    struct printer printer = {
        .with_code = options->with_code, .write = options->write, .user = options->user};
    print_format(&printer, "(module");
    if (module->name.count != 0) {
        print_format(&printer, " ");
        print_name(&printer, module->name);
    }
    print_format(&printer, " ;; %u bytes\n", module->wasm.count);
    int status = print_declarations(&printer, module, err);
    if (status == 0) {
        print_exports(&printer, module);
        status = print_segments(&printer, module, err);
    }
    for (uint32_t i = module->imported_funcs_count; status == 0 && i < module->funcs_count; i++)
        status = print_func(&printer, module, i, err);
    if (status == 0)
        print_format(&printer, ")\n");
    print_flush(&printer);
    return status != 0 ? status : printer.status;
}
