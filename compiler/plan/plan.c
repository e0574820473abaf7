/*
 * compiler/plan/plan.c: program → struct plan: gives everything in the data region an address, and
 * finds the initial values that are known now. Lowering and image writing read the plan.
 *
 * The data region, from HUSK_DATA_GVA:
 *   globals, 16 bytes each
 *   size words, 8 bytes each: memories, tables, element segments, data segments
 *   elements of segments that are needed at run time
 *   the pending exception
 *   tables that cannot grow
 *   (page) tables that can, each on its own pages
 *   (page) exception slots
 *
 * Each growable table reserves space. A table with a small declared maximum (PLAN_SMALL_ENTRIES)
 * reserves that maximum. The other tables share the rest of PLAN_GROW_BYTES equally; each gets at
 * least its minimum and at most its maximum. table.grow beyond the reserve fails, as the standard
 * allows.
 */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "exception.h"
#include "layout.h"
#include "limits.h"
#include "name_text.h"

#define PLAN_SMALL_ENTRIES 65536u
#define PLAN_GROW_BYTES (128u << 20)
/* operands of a constant expression; deeper ones are left to the init function */
#define PLAN_CONST_DEPTH 256
#define PLAN_FEW_DATAS 1024 /* each may have a segment of its own in the image */
#define PLAN_SPREAD_BYTES (64u << 20)
#define PAGE_ENTRIES (HUSK_PAGE_SIZE / 8)

/* What plan.h shows, and the values of static globals, which later initialisers may refer to. */
struct plan_full {
    struct plan plan;
    struct plan_const *global_values;
};

static const struct plan_const *global_value(const struct plan *plan, uint32_t global_idx) {
    const struct plan_full *full = (const struct plan_full *)(const void *)plan;
    return plan->global_is_static[global_idx] ? &full->global_values[global_idx] : NULL;
}

/* ---- constant expressions ---- */

struct const_stack {
    struct plan_const values[PLAN_CONST_DEPTH];
    uint32_t count;
};

static bool const_push(struct const_stack *stack, const struct plan_const *value) {
    if (stack->count == PLAN_CONST_DEPTH)
        return false;
    stack->values[stack->count++] = *value;
    return true;
}

/* add, sub, mul of i32 and i64 (extended constant expressions). */
static bool const_binary(struct const_stack *stack, enum wasm_op op) {
    if (stack->count < 2)
        return false;
    stack->count--;
    const struct plan_const *right = &stack->values[stack->count];
    struct plan_const *left = &stack->values[stack->count - 1];
    switch (op) {
    case WASM_OP_I32_ADD:
    case WASM_OP_I64_ADD: left->bits += right->bits; break;
    case WASM_OP_I32_SUB:
    case WASM_OP_I64_SUB: left->bits -= right->bits; break;
    default: left->bits *= right->bits; break;
    }
    if (left->type == WASM_I32)
        left->bits &= UINT32_MAX;
    return true;
}

static bool const_step(const struct plan *plan, const struct wasm_instr *instr,
                       struct const_stack *stack) {
    struct plan_const value = {0};
    const struct plan_const *known;
    switch (instr->op) {
    case WASM_OP_I32_CONST:
        value = (struct plan_const){.type = WASM_I32, .bits = (uint32_t)instr->i32};
        break;
    case WASM_OP_I64_CONST:
        value = (struct plan_const){.type = WASM_I64, .bits = (uint64_t)instr->i64};
        break;
    case WASM_OP_F32_CONST:
        value = (struct plan_const){.type = WASM_F32, .bits = instr->u32};
        break;
    case WASM_OP_F64_CONST:
        value = (struct plan_const){.type = WASM_F64, .bits = instr->u64};
        break;
    case WASM_OP_V128_CONST:
        value.type = WASM_V128;
        memcpy(value.v128, instr->v128, sizeof value.v128);
        break;
    case WASM_OP_REF_NULL: value.type = instr->type; break;
    case WASM_OP_REF_FUNC:
        value = (struct plan_const){.type = WASM_FUNCREF, .is_func = true, .func_idx = instr->idx};
        break;
    case WASM_OP_GLOBAL_GET:
        known = global_value(plan, instr->idx);
        if (known == NULL)
            return false;
        value = *known;
        break;
    case WASM_OP_I32_ADD:
    case WASM_OP_I32_SUB:
    case WASM_OP_I32_MUL:
    case WASM_OP_I64_ADD:
    case WASM_OP_I64_SUB:
    case WASM_OP_I64_MUL: return const_binary(stack, instr->op);
    default: return false;
    }
    return const_push(stack, &value);
}

bool plan_const_eval(const struct plan *plan, const struct program_instance *instance,
                     struct wasm_bytes expr, struct plan_const *ret_value) {
    struct const_stack stack;
    struct wasm_reader reader;
    stack.count = 0;
    wasm_reader_init(&reader, expr, NULL);
    for (;;) {
        struct wasm_instr instr;
        if (program_read_instr(instance, &reader, &instr) != 0)
            return false;
        if (instr.op == WASM_OP_END)
            break;
        if (!const_step(plan, &instr, &stack))
            return false;
    }
    if (stack.count != 1)
        return false;
    *ret_value = stack.values[0];
    return true;
}

static void plan_globals(struct plan_full *full) {
    struct plan *plan = &full->plan;
    const struct program *program = plan->program;
    for (uint32_t i = 0; i < program->globals_count; i++) {
        const struct wasm_global *global = program_global(program, i);
        if (global->is_import)
            continue;
        plan->global_is_static[i] =
            plan_const_eval(plan, program_instance(program, program->globals[i]), global->init,
                            &full->global_values[i]);
        plan->instance_needs_init[program->globals[i].instance] |= !plan->global_is_static[i];
    }
}

/* ---- what the image writer can apply ---- */

/* Does an active segment with this constant offset and length lie within `limit`? */
static bool segment_fits(const struct plan *plan, const struct program_instance *instance,
                         struct wasm_bytes offset, uint64_t count, uint64_t limit) {
    struct plan_const value;
    if (!plan_const_eval(plan, instance, offset, &value))
        return false;
    return count <= limit && value.bits <= limit - count;
}

static bool elem_is_known(const struct plan *plan, const struct program_instance *instance,
                          const struct wasm_elem *elem) {
    struct plan_const value;
    if (elem->func_idxs != NULL)
        return true;
    for (uint32_t i = 0; i < elem->count; i++)
        if (!plan_const_eval(plan, instance, elem->exprs[i], &value))
            return false;
    return true;
}

/* Are there so many data segments, spread so widely, that their place in the image would be mostly
 * zeros? (An image has a limited number of segments; what lies between must be in the file.) Then
 * the init function copies them. */
static bool datas_are_scattered(const struct plan *plan) {
    const struct program *program = plan->program;
    uint64_t total = 0, low[HUSK_MAX_MEMORIES], high[HUSK_MAX_MEMORIES] = {0}, spread = 0;
    if (program->datas_count <= PLAN_FEW_DATAS)
        return false;
    memset(low, 0xff, sizeof low);
    for (uint32_t i = 0; i < program->datas_count; i++) {
        const struct program_instance *instance = program_instance(program, program->datas[i]);
        const struct wasm_data *data = program_data(program, i);
        struct plan_const offset;
        if (data->mode != WASM_SEGMENT_ACTIVE ||
            !plan_const_eval(plan, instance, data->offset, &offset))
            continue;
        uint32_t memory = instance->memories[data->memory_idx];
        total += data->bytes.count;
        if (offset.bits > HUSK_MEM64_INDEX_MAX)
            continue; /* in no memory */
        low[memory] = offset.bits < low[memory] ? offset.bits : low[memory];
        high[memory] = offset.bits > high[memory] ? offset.bits : high[memory];
    }
    for (uint32_t i = 0; i < program->memories_count; i++)
        spread += high[i] > low[i] ? high[i] - low[i] : 0;
    return spread > PLAN_SPREAD_BYTES + 64 * total;
}

/* The segments of one instance, while they are planned. */
struct segments {
    struct plan *plan;
    const struct program_instance *instance;
    uint32_t instance_idx;
    bool may_be_foreign; /* static although they are for another instance */
    bool are_static;     /* all active ones so far */
};

static bool is_own(const struct segments *segments, struct program_def def) {
    return segments->may_be_foreign || def.instance == segments->instance_idx;
}

static void plan_elems(struct segments *segments) {
    struct plan *plan = segments->plan;
    const struct program *program = plan->program;
    const struct program_instance *instance = segments->instance;
    for (uint32_t i = 0; i < instance->module->elems_count; i++) {
        const struct wasm_elem *elem = &instance->module->elems[i];
        bool is_static =
            elem->mode == WASM_SEGMENT_DECLARATIVE || elem_is_known(plan, instance, elem);
        if (elem->mode == WASM_SEGMENT_ACTIVE) {
            uint32_t table_idx = instance->tables[elem->table_idx];
            const struct wasm_table *table = program_table(program, table_idx);
            segments->are_static =
                segments->are_static && is_static && table->init.count == 0 &&
                is_own(segments, program->tables[table_idx]) &&
                segment_fits(plan, instance, elem->offset, elem->count, table->limits.min);
            is_static = segments->are_static;
        }
        plan->elems[instance->elems_first + i].is_static = is_static;
        plan->instance_needs_init[segments->instance_idx] |= !is_static;
    }
}

static void plan_datas(struct segments *segments) {
    struct plan *plan = segments->plan;
    const struct program *program = plan->program;
    const struct program_instance *instance = segments->instance;
    for (uint32_t i = 0; i < instance->module->datas_count; i++) {
        const struct wasm_data *data = &instance->module->datas[i];
        struct plan_data *row = &plan->datas[instance->datas_first + i];
        if (data->mode == WASM_SEGMENT_ACTIVE) {
            uint32_t memory_idx = instance->memories[data->memory_idx];
            const struct wasm_memory *memory = program_memory(program, memory_idx);
            segments->are_static = segments->are_static &&
                                   is_own(segments, program->memories[memory_idx]) &&
                                   segment_fits(plan, instance, data->offset, data->bytes.count,
                                                wasm_memory_bytes(memory, memory->limits.min));
            row->is_static = segments->are_static;
            plan->instance_needs_init[segments->instance_idx] |= !row->is_static;
        }
        row->has_symbol = !row->is_static;
    }
}

/* Must its init function look whether a memory or table has grown? */
static bool needs_look(const struct program *program, const struct program_instance *instance) {
    const struct wasm_module *module = instance->module;
    for (uint32_t i = 0; i < module->imported_memories_count; i++)
        if (program_memory_may_be_small(program, instance, i))
            return true;
    for (uint32_t i = 0; i < module->imported_tables_count; i++)
        if (program_table_may_be_small(program, instance, i))
            return true;
    return false;
}

/* Tables with an initialiser are filled by the init function, and only then elements go there. */
static bool has_table_init(const struct wasm_module *module) {
    for (uint32_t i = 0; i < module->tables_count; i++)
        if (module->tables[i].init.count != 0)
            return true;
    return false;
}

/* In order: an instance's segments depend on what the ones before it run. */
static void plan_instances(struct plan *plan) {
    const struct program *program = plan->program;
    bool are_scattered = datas_are_scattered(plan);
    for (uint32_t i = 0; i < program->instances_count; i++) {
        const struct program_instance *instance = &program->instances[i];
        struct segments segments = {.plan = plan,
                                    .instance = instance,
                                    .instance_idx = i,
                                    .may_be_foreign = !plan->needs_init && !program->is_staged,
                                    .are_static = true};
        plan_elems(&segments);
        segments.are_static = segments.are_static && !are_scattered;
        plan_datas(&segments);
        plan->instance_needs_init[i] |= instance->module->has_start ||
                                        has_table_init(instance->module) ||
                                        needs_look(program, instance);
        plan->needs_init |= plan->instance_needs_init[i];
    }
}

/* ---- addresses ---- */

static bool table_is_growable(const struct wasm_table *table) {
    return table->is_import || !table->limits.has_max || table->limits.max > table->limits.min;
}

static uint64_t table_max(const struct wasm_table *table) {
    return table->limits.has_max && table->limits.max < UINT32_MAX ? table->limits.max : UINT32_MAX;
}

static uint64_t pages_up(uint64_t entries) {
    return entries == 0 ? PAGE_ENTRIES : (entries + PAGE_ENTRIES - 1) / PAGE_ENTRIES * PAGE_ENTRIES;
}

/* Entries that each big growable table may reserve. */
static uint64_t table_share(const struct program *program) {
    uint64_t room = PLAN_GROW_BYTES / 8, big_count = 0;
    for (uint32_t i = 0; i < program->tables_count; i++) {
        const struct wasm_table *table = program_table(program, i);
        if (!table_is_growable(table))
            continue;
        uint64_t small = table_max(table) <= PLAN_SMALL_ENTRIES ? pages_up(table_max(table)) : 0;
        big_count += small == 0;
        room -= small < room ? small : room;
    }
    return big_count == 0 ? 0 : room / big_count / PAGE_ENTRIES * PAGE_ENTRIES;
}

static uint64_t table_reserve(const struct wasm_table *table, uint64_t share) {
    uint64_t max = table_max(table), min = table->limits.min;
    if (!table_is_growable(table) || max <= PLAN_SMALL_ENTRIES)
        return max > min ? max : min;
    uint64_t reserve = share > PAGE_ENTRIES ? share : PAGE_ENTRIES;
    reserve = reserve > min ? reserve : min;
    return reserve < max ? reserve : max;
}

/* Elements that must be there at run time: passive segments, and active ones that the init function
 * copies. */
static bool elem_needs_room(const struct plan *plan, uint32_t elem_idx) {
    enum wasm_segment_mode mode = program_elem(plan->program, elem_idx)->mode;
    return mode == WASM_SEGMENT_PASSIVE ||
           (mode == WASM_SEGMENT_ACTIVE && !plan->elems[elem_idx].is_static);
}

/* Hands out addresses; `end` may run over the region, which is looked at once, at the end (64 bits
 * do not overflow). */
struct placer {
    uint64_t end;
};

static uint32_t place(struct placer *placer, uint64_t bytes, uint64_t alignment) {
    uint64_t start = (placer->end + alignment - 1) & ~(alignment - 1);
    placer->end = start + bytes;
    return (uint32_t)start;
}

static void place_words(struct plan *plan, struct placer *placer) {
    const struct program *program = plan->program;
    for (uint32_t i = 0; i < program->globals_count; i++)
        plan->global_gva[i] = place(placer, 16, 16);
    for (uint32_t i = 0; i < program->memories_count; i++)
        plan->mem_size_gva[i] = place(placer, 8, 8);
    for (uint32_t i = 0; i < program->memories_count; i++)
        if (program_memory(program, i)->has_byte_pages)
            plan->mem_bytes_gva[i] = place(placer, 8, 8);
    for (uint32_t i = 0; i < program->tables_count; i++)
        plan->tables[i].size_gva = place(placer, 8, 8);
    for (uint32_t i = 0; i < program->elems_count; i++)
        plan->elems[i].size_gva = place(placer, 8, 8);
    for (uint32_t i = 0; i < program->datas_count; i++)
        plan->datas[i].size_gva = place(placer, 8, 8);
}

static uint64_t exception_bytes(const struct plan *plan) {
    return sizeof(struct husk_exception) + (uint64_t)plan->exception_values * HUSK_SLOT_BYTES;
}

static void place_exception(struct plan *plan, struct placer *placer) {
    const struct program *program = plan->program;
    if (!program->has_exceptions)
        return;
    for (uint32_t i = 0; i < program->tags_count; i++) {
        uint32_t count = program_tag_type(program, i)->params_count;
        plan->exception_values = count > plan->exception_values ? count : plan->exception_values;
    }
    plan->exception_gva = place(placer, exception_bytes(plan), HUSK_SLOT_BYTES);
}

static void place_exception_slots(struct plan *plan, struct placer *placer) {
    if (program_takes_references(plan->program))
        plan->exception_slots_gva =
            place(placer, HUSK_EXCEPTION_SLOTS * exception_bytes(plan), HUSK_PAGE_SIZE);
}

static void place_tables(struct plan *plan, struct placer *placer) {
    const struct program *program = plan->program;
    uint64_t share = table_share(program);
    for (int growable = 0; growable < 2; growable++) {
        if (growable == 1)
            plan->fixed_end_gva = (uint32_t)placer->end;
        for (uint32_t i = 0; i < program->tables_count; i++) {
            const struct wasm_table *table = program_table(program, i);
            if (table_is_growable(table) != growable)
                continue;
            uint64_t reserve = table_reserve(table, share);
            plan->tables[i].reserve_entries = (uint32_t)reserve;
            plan->tables[i].base_gva = growable != 0
                                           ? place(placer, pages_up(reserve) * 8, HUSK_PAGE_SIZE)
                                           : place(placer, reserve * 8, 16);
        }
    }
}

/* An error's offset is one in this module. */
static int in_module(const struct program *program, struct program_def def, int status,
                     struct husk_error *err) {
    struct name_text shown;
    const struct wasm_bytes name = program_instance(program, def)->name;
    if (program->instances_count == 1)
        return status;
    return error_while(err, status, "planning the module \"%s\"",
                       name_show(&shown, (const char *)name.data, name.count));
}

/* A module with a larger one is valid, and cannot be instantiated. With 32-bit addresses there is
 * none. */
static int check_memories(const struct program *program, struct husk_error *err) {
    for (uint32_t i = 0; i < program->memories_count; i++) {
        const struct wasm_memory *memory = program_memory(program, i);
        const uint64_t pages = wasm_memory_chunks(memory, memory->limits.min);
        if (pages > WASM_LIMIT_MEM64_PAGES)
            return in_module(
                program, program->memories[i],
                error_at(err, HUSK_E_LIMIT, memory->offset,
                         "a memory starts with %llu pages of 64 KiB; with 64-bit addresses it can "
                         "have %u (8 GiB): declare a smaller minimum",
                         (unsigned long long)pages, WASM_LIMIT_MEM64_PAGES),
                err);
    }
    return 0;
}

/* A module with a larger one is valid, and cannot be instantiated. */
static int check_tables(const struct program *program, struct husk_error *err) {
    for (uint32_t i = 0; i < program->tables_count; i++) {
        const struct wasm_table *table = program_table(program, i);
        if (table->limits.min > WASM_LIMIT_TABLE_ENTRIES)
            return in_module(
                program, program->tables[i],
                error_at(err, HUSK_E_LIMIT, table->offset, "table of %llu entries, the limit is %u",
                         (unsigned long long)table->limits.min, WASM_LIMIT_TABLE_ENTRIES),
                err);
    }
    return 0;
}

static int plan_place(struct plan *plan, struct husk_error *err) {
    const struct program *program = plan->program;
    struct placer placer = {.end = HUSK_DATA_GVA};
    int status = check_tables(program, err);
    if (status != 0)
        return status;
    place_words(plan, &placer);
    for (uint32_t i = 0; i < program->elems_count; i++)
        plan->elems[i].base_gva =
            place(&placer,
                  elem_needs_room(plan, i) ? 8 * (uint64_t)program_elem(program, i)->count : 0, 8);
    place_exception(plan, &placer);
    place_tables(plan, &placer);
    place_exception_slots(plan, &placer);
    if (placer.end > HUSK_DATA_END_GVA)
        return error_set(err, HUSK_E_LIMIT,
                         "the module's %u globals, %u tables, %u element segments and %u tags need "
                         "%llu MiB; an instance has %u MiB for them",
                         program->globals_count, program->tables_count, program->elems_count,
                         program->tags_count,
                         (unsigned long long)((placer.end - HUSK_DATA_GVA) >> 20),
                         (HUSK_DATA_END_GVA - HUSK_DATA_GVA) >> 20);
    plan->data_end_gva = (uint32_t)placer.end;
    return 0;
}

/* ---- making and freeing ---- */

static bool plan_allocate(struct plan_full *full) {
    struct plan *plan = &full->plan;
    const struct program *program = plan->program;
    /* + 1: calloc(0) may return NULL */
    plan->global_gva = calloc((size_t)program->globals_count + 1, sizeof plan->global_gva[0]);
    plan->global_is_static =
        calloc((size_t)program->globals_count + 1, sizeof plan->global_is_static[0]);
    full->global_values = calloc((size_t)program->globals_count + 1, sizeof full->global_values[0]);
    plan->mem_size_gva = calloc((size_t)program->memories_count + 1, sizeof plan->mem_size_gva[0]);
    plan->mem_bytes_gva =
        calloc((size_t)program->memories_count + 1, sizeof plan->mem_bytes_gva[0]);
    plan->tables = calloc((size_t)program->tables_count + 1, sizeof plan->tables[0]);
    plan->elems = calloc((size_t)program->elems_count + 1, sizeof plan->elems[0]);
    plan->datas = calloc((size_t)program->datas_count + 1, sizeof plan->datas[0]);
    plan->instance_needs_init =
        calloc((size_t)program->instances_count + 1, sizeof plan->instance_needs_init[0]);
    return plan->global_gva != NULL && plan->global_is_static != NULL &&
           full->global_values != NULL && plan->mem_size_gva != NULL &&
           plan->mem_bytes_gva != NULL && plan->tables != NULL && plan->elems != NULL &&
           plan->datas != NULL && plan->instance_needs_init != NULL;
}

/* Memories of the embedder have no size in bytes. */
static int check_imports(const struct program *program, struct husk_error *err) {
    for (uint32_t i = 0; i < program->memories_count; i++) {
        const struct wasm_memory *memory = program_memory(program, i);
        if (memory->is_import && memory->has_byte_pages)
            return in_module(program, program->memories[i],
                             error_at(err, HUSK_E_UNSUPPORTED, memory->offset,
                                      "uses custom page sizes (an imported memory with pages of "
                                      "one byte), not supported yet"),
                             err);
    }
    return 0;
}

int plan_new(const struct program *program, struct plan **ret_plan, struct husk_error *err) {
    int status = check_imports(program, err);
    if (status == 0)
        status = check_memories(program, err);
    if (status != 0)
        return status;
    struct plan_full *full = calloc(1, sizeof *full);
    if (full == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to plan the instance");
    full->plan.program = program;
    if (!plan_allocate(full)) {
        plan_free(&full->plan);
        return error_set(err, HUSK_E_NOMEM, "no memory to plan the instance");
    }
    plan_globals(full);
    plan_instances(&full->plan);
    status = plan_place(&full->plan, err);
    if (status != 0) {
        plan_free(&full->plan);
        return status;
    }
    *ret_plan = &full->plan;
    return 0;
}

void plan_free(struct plan *plan) {
    if (plan == NULL)
        return;
    struct plan_full *full = (struct plan_full *)(void *)plan;
    free(plan->global_gva);
    free(plan->global_is_static);
    free(full->global_values);
    free(plan->mem_size_gva);
    free(plan->mem_bytes_gva);
    free(plan->tables);
    free(plan->elems);
    free(plan->datas);
    free(plan->instance_needs_init);
    free(full);
}
