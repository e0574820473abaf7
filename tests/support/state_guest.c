/* tests/support/state_guest.c: see state_guest.h. */
#include "state_guest.h"

#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "sandbox_internal.h"
#include "wat.h"
#include "literals.h"

static const char module_text[] =
    "(module (import \"env\" \"host\" (func $host (param i32) (result i32)))"
    " (memory (export \"memory\") 2 32)"
    " (data (i32.const 100) \"hello from the module\")"
    " (data (i32.const 70000) \"on the second page\")"
    " (data $passive \"passive bytes\")"
    " (table $t (export \"table\") 8 5000 funcref)"
    " (elem (table $t) (i32.const 0) func $f0 $f1 $f2)"
    " (elem $e func $f2 $f1 $f0)"
    " (global $g (export \"g\") (mut i64) (i64.const 7))"
    " (global $h (export \"h\") (mut f64) (f64.const 1.5))"
    " (global $r (export \"r\") (mut funcref) (ref.null func))"
    " (type $v (func (result i32)))"
    " (func $f0 (result i32) i32.const 1000) (func $f1 (result i32) i32.const 1001) (func $f2 "
    "(result i32) "
    "i32.const 1002)"
    " (func (export \"load\") (param i32) (result i32) local.get 0 i32.load)"
    " (func (export \"store\") (param i32 i32) local.get 0 local.get 1 i32.store)"
    " (func (export \"fill\") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.fill)"
    " (func (export \"grow\") (param i32) (result i32) local.get 0 memory.grow)"
    " (func (export \"size\") (result i32) memory.size)"
    " (func (export \"tgrow\") (param i32) (result i32) ref.func $f1 local.get 0 table.grow $t)"
    " (func (export \"tsize\") (result i32) table.size $t)"
    " (func (export \"tset\") (param i32) local.get 0 ref.func $f2 table.set $t)"
    " (func (export \"tnull\") (param i32) local.get 0 ref.null func table.set $t)"
    " (func (export \"tcall\") (param i32) (result i32) local.get 0 call_indirect $t (type $v))"
    " (func (export \"tinit\") (param i32) local.get 0 i32.const 0 i32.const 3 table.init $t $e)"
    " (func (export \"edrop\") elem.drop $e)"
    " (func (export \"minit\") (param i32) local.get 0 i32.const 0 i32.const 13 memory.init "
    "$passive)"
    " (func (export \"mdrop\") data.drop $passive)"
    " (func (export \"gset\") (param i32) local.get 0 i64.extend_i32_s global.set $g"
    "   local.get 0 f64.convert_i32_s global.set $h ref.func $f0 global.set $r)"
    " (func (export \"gget\") (result i32) global.get $g i32.wrap_i64)"
    " (func $deep (export \"deep\") (param i32) (result i32) local.get 0 i32.eqz if (result i32) "
    "i32.const 0"
    "   else local.get 0 i32.const 1 i32.sub call $deep local.get 0 i32.add end)"
    " (func (export \"spin\") (loop br 0))"
    " (func (export \"trap\") unreachable)"
    " (func (export \"host\") (param i32) (result i32) local.get 0 call $host)"
    " (elem declare func $f0 $f1 $f2))";

int state_image_fd(void) {
    static int fd = -1;
    if (fd < 0)
        fd = wat_compile(module_text, WAT_WORKER);
    return fd;
}

husk_image *state_image(husk_engine *engine) {
    struct husk_error err;
    husk_image *image = NULL;
    CHECK_OK(husk_image_open_fd(engine, state_image_fd(), NULL, &image, &err), err);
    return image;
}

static int host_plus_one(husk_caller *caller, void *user, const struct husk_value *args,
                         struct husk_value *results) {
    (void)caller, (void)user;
    results[0].of.i32 = args[0].of.i32 + 1;
    return 0;
}

husk_imports *state_imports(husk_engine *engine, husk_host_fn fn, void *user) {
    static const husk_type i32_type = HUSK_I32;
    const struct husk_functype type = {&i32_type, 1, &i32_type, 1};
    struct husk_error err;
    husk_imports *imports = NULL;
    CHECK_OK(husk_imports_new(engine, &imports, &err), err);
    CHECK_OK(husk_imports_funcs(imports,
                                &(struct husk_host_func){.module = "env",
                                                         .name = "host",
                                                         .type = &type,
                                                         .fn = fn != NULL ? fn : host_plus_one,
                                                         .user = user},
                                1, &err),
             err);
    return imports;
}

husk_sandbox *state_sandbox(struct state_lab *lab, husk_image *image) {
    husk_sandbox *sandbox = NULL;
    int status = image != NULL ? husk_sandbox_new(image, lab->imports, NULL, &sandbox, &lab->err)
                               : husk_sandbox_new_empty(lab->engine, NULL, &sandbox, &lab->err);
    CHECK_OK(status, lab->err);
    return sandbox;
}

void state_open_with(struct state_lab *lab, const struct husk_engine_options *options,
                     husk_host_fn fn, void *user) {
    memset(lab, 0, sizeof *lab);
    lab->outcome.size = sizeof lab->outcome;
    CHECK_OK(husk_engine_new(options, &lab->engine, &lab->err), lab->err);
    lab->image = state_image(lab->engine);
    lab->imports = state_imports(lab->engine, fn, user);
    lab->sandbox = state_sandbox(lab, lab->image);
}

void state_open(struct state_lab *lab, husk_host_fn fn, void *user) {
    state_open_with(lab, NULL, fn, user);
}

void state_close(struct state_lab *lab) {
    husk_sandbox_free(lab->sandbox);
    husk_imports_free(lab->imports);
    husk_image_unref(lab->image);
    husk_engine_unref(lab->engine);
}

int32_t state_run(struct state_lab *lab, husk_sandbox *sandbox, const char *name,
                  const int32_t *args, size_t count) {
    struct husk_value values[4], result = value_i32(0);
    struct husk_functype type;
    husk_func func;
    for (size_t i = 0; i < count; i++)
        values[i] = value_i32(args[i]);
    CHECK_OK(husk_image_func(lab->image, name, 0, &func, &lab->err), lab->err);
    CHECK_OK(husk_image_func_type(lab->image, func, &type, &lab->err), lab->err);
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = values, .args_count = count, .results = &result,
                            .results_count = type.results_count),
                       &lab->outcome, &lab->err),
             lab->err);
    return result.of.i32;
}

int32_t state_value(struct state_lab *lab, husk_sandbox *sandbox, const char *name,
                    const int32_t *args, size_t count) {
    int32_t value = state_run(lab, sandbox, name, args, count);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    return value;
}

/* ---- Copies ---- */

static uint8_t *copy_bytes(const uint8_t *bytes, uint64_t count) {
    uint8_t *copy = malloc(count + 1);
    CHECK(copy != NULL);
    memcpy(copy, bytes, count);
    return copy;
}

/* The data region up to what the tables have now: beyond is nobody's. */
void state_copy_take(const husk_sandbox *sandbox, struct state_copy *ret_copy) {
    const struct arena *arena = &sandbox->machine->arena;
    ret_copy->data_bytes = arena->data_bytes;
    ret_copy->data = copy_bytes(arena->data, arena->data_bytes);
    ret_copy->memory_bytes = arena->memories[0].bytes;
    ret_copy->memory = copy_bytes(arena->memories[0].hva, arena->memories[0].bytes);
    ret_copy->files_bytes = arena->files.bytes;
    ret_copy->files = copy_bytes(arena->files.hva, arena->files.bytes);
}

void state_copy_done(struct state_copy *copy) {
    free(copy->data);
    free(copy->memory);
    free(copy->files);
}

static bool is_zero(const uint8_t *bytes, uint64_t count) {
    return count == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0);
}

/* What is accessible of a private layer is nobody's state; the rest of it is zeros. */
static bool are_files_equal(const struct arena_memory *files, const struct state_copy *copy) {
    const uint64_t both = files->bytes < copy->files_bytes ? files->bytes : copy->files_bytes;
    return memcmp(files->hva, copy->files, both) == 0 &&
           is_zero(files->hva + both, files->bytes - both) &&
           is_zero(copy->files + both, copy->files_bytes - both);
}

bool state_copy_equal(const husk_sandbox *sandbox, const struct state_copy *copy) {
    const struct arena *arena = &sandbox->machine->arena;
    return arena->data_bytes == copy->data_bytes &&
           arena->memories[0].bytes == copy->memory_bytes &&
           memcmp(arena->data, copy->data, copy->data_bytes) == 0 &&
           memcmp(arena->memories[0].hva, copy->memory, copy->memory_bytes) == 0 &&
           are_files_equal(&arena->files, copy);
}

static void check_zero(const uint8_t *bytes, uint64_t count, const char *what, const char *when) {
    for (uint64_t i = 0; i < count; i++)
        CHECK_MSG(bytes[i] == 0, "%s: byte 0x%llx of the %s is 0x%02x", when, (unsigned long long)i,
                  what, bytes[i]);
}

static void check_same(const uint8_t *got, const uint8_t *expected, uint64_t count,
                       const char *what, const char *when) {
    if (memcmp(got, expected, count) == 0)
        return;
    for (uint64_t i = 0; i < count; i++)
        CHECK_MSG(got[i] == expected[i], "%s: byte 0x%llx of the %s is 0x%02x, not 0x%02x", when,
                  (unsigned long long)i, what, got[i], expected[i]);
}

void state_copy_check(const husk_sandbox *sandbox, const struct state_copy *copy,
                      const char *when) {
    const struct arena *arena = &sandbox->machine->arena;
    CHECK_EQ_U64(arena->memories[0].bytes, copy->memory_bytes);
    CHECK_EQ_U64(arena->data_bytes, copy->data_bytes);
    check_same(arena->data, copy->data, copy->data_bytes, "data", when);
    check_same(arena->memories[0].hva, copy->memory, copy->memory_bytes, "memory", when);
    /* what is beyond the memory's size but accessible must not keep anything either */
    check_zero(arena->memories[0].hva + arena->memories[0].bytes,
               arena->memories[0].covered_bytes - arena->memories[0].bytes,
               "memory beyond its size", when);
    CHECK_MSG(are_files_equal(&arena->files, copy), "%s: the private layer differs", when);
    check_zero(arena->stack, arena->stack_bytes, "stack", when);
    check_zero((const uint8_t *)arena->mailbox, sizeof *arena->mailbox, "mailbox", when);
}

/* ---- Scrambling ---- */

uint64_t state_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void scramble_once(struct state_lab *lab, husk_sandbox *sandbox, uint64_t *random) {
    const int32_t a = (int32_t)state_random(random),
                  address = (int32_t)(state_random(random) % (2 * 65536 - 300));
    switch (state_random(random) % 16) {
    case 0: state_run(lab, sandbox, "fill", STATE_ARGS(address, a, 300)); break;
    case 1: state_run(lab, sandbox, "fill", STATE_ARGS(0, a, 65536 * 2)); break;
    case 2: state_run(lab, sandbox, "grow", STATE_ARGS((int32_t)(state_random(random) % 3))); break;
    case 3: {
        int32_t pages = state_value(lab, sandbox, "size", STATE_ARGS());
        state_value(lab, sandbox, "store", STATE_ARGS(pages * 65536 - 4 - (a & 0x7fff), a));
        break;
    }
    case 4:
        state_run(lab, sandbox, "tgrow", STATE_ARGS((int32_t)(state_random(random) % 300)));
        break;
    case 5: state_run(lab, sandbox, "tset", STATE_ARGS(a % 1000)); break;
    case 6: state_run(lab, sandbox, "tnull", STATE_ARGS(a % 8)); break;
    case 7: state_run(lab, sandbox, "tinit", STATE_ARGS(a % 8)); break;
    case 8: state_run(lab, sandbox, "edrop", STATE_ARGS()); break;
    case 9: state_run(lab, sandbox, "minit", STATE_ARGS(address)); break;
    case 10: state_run(lab, sandbox, "mdrop", STATE_ARGS()); break;
    case 11: state_run(lab, sandbox, "gset", STATE_ARGS(a)); break;
    case 12: state_run(lab, sandbox, "deep", STATE_ARGS(a % 500)); break;
    case 13: state_run(lab, sandbox, "trap", STATE_ARGS()); break;
    case 14: state_run(lab, sandbox, "host", STATE_ARGS(a)); break;
    default: state_run(lab, sandbox, "store", STATE_ARGS(address, a)); break;
    }
}

void state_scramble(struct state_lab *lab, husk_sandbox *sandbox, uint64_t *random) {
    for (uint64_t rest = 1 + state_random(random) % 6; rest > 0; rest--)
        scramble_once(lab, sandbox, random);
}
