/*
 * tests/hostile/xcr0_test.c: a tenant writes all ones, and random bits, to PKRU and to each state
 * component that XGETBV shows, granted or not. Its call returns, faults, or makes a host call. The
 * next call finds each component as in a new VM: in the same sandbox, after a restore, after a load
 * of another image, and in a new sandbox with the same VM. The guest itself reads the components,
 * because KVM shows only those that it granted. vcpu_state_test.c reads the state from outside.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "husk.h"
#include "image_builder.h"
#include "layout.h"
#include "literals.h"

/* In memory 0. */
#define MASK_OFFSET 0x0u     /* for EDX:EAX of XRSTOR; PKRU */
#define XCR0_OFFSET 0x10u    /* what XGETBV says */
#define PKRU_OFFSET 0x20u    /* what RDPKRU says */
#define NOISE_OFFSET 0x1000u /* an XSAVE area */
#define FOUND_OFFSET 0x5000u /* another */
#define AREA_BYTES 0x3000u   /* AMX's tiles included */
#define COMPONENT_PKRU 9u
#define COMPONENT_TILE_CONFIG 17u
#define COMPONENT_TILE_DATA 18u

/* PKRU may forbid all reading afterwards: so no RET. */
#define RETURNS " out %eax, $0x10\n"
#define FAULTS " ud2\n"
#define CALLS_HOST " out %eax, $0x11\n out %eax, $0x10\n"
#define LOADS " mov 0x40000000, %eax\n mov 0x40000004, %edx\n xrstor 0x40001000\n"
#define LOADS_PKRU " mov 0x40000000, %eax\n xor %ecx, %ecx\n xor %edx, %edx\n wrpkru\n"

__asm__(".pushsection .rodata\n .balign 64\n"
        "xcr0_text: nop\n cld\n call *%rsi\n out %eax, $0x10\n ud2\n"
        " .balign 8\n xcr0_tag: .quad 0\n"
        "xcr0_thunk: call *%rdi\n ret\n"
        "xcr0_resume: ret\n"
        "xcr0_look: mov $-1, %eax\n mov $-1, %edx\n xsave 0x40005000\n"
        " xor %ecx, %ecx\n xgetbv\n mov %eax, 0x40000010\n mov %edx, 0x40000014\n ret\n"
        "xcr0_look_pkru: xor %ecx, %ecx\n rdpkru\n mov %eax, 0x40000020\n ret\n"
        "xcr0_return: " LOADS RETURNS "xcr0_fault: " LOADS FAULTS "xcr0_host: " LOADS CALLS_HOST
        "xcr0_pkru_return: " LOADS_PKRU RETURNS "xcr0_pkru_fault: " LOADS_PKRU FAULTS
        "xcr0_pkru_host: " LOADS_PKRU CALLS_HOST "xcr0_text_end:\n.popsection\n");

#define FUNCTIONS(ROW)                                                                             \
    ROW(look)                                                                                      \
    ROW(look_pkru) ROW(return ) ROW(fault) ROW(host) ROW(pkru_return) ROW(pkru_fault) ROW(pkru_host)
#define DECLARE(name) extern const uint8_t xcr0_##name[];
FUNCTIONS(DECLARE)
extern const uint8_t xcr0_text[], xcr0_text_end[], xcr0_tag[], xcr0_thunk[], xcr0_resume[];

static struct {
    husk_engine *engine;
    husk_imports *imports;
    husk_image *images[2]; /* the same code, but different modules */
    unsigned image_idx;
    husk_sandbox *sandbox;
    uint8_t clean[AREA_BYTES];
    uint64_t xcr0;
    bool has_pkru;
} lab;
static struct husk_error err;
static uint64_t random_state;

static uint64_t next_random(void) { /* xorshift64 */
    random_state ^= random_state << 13, random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static uint32_t gva_of(const uint8_t *label) {
    return (uint32_t)(HUSK_TEXT_GVA + (uint32_t)(label - xcr0_text));
}

static husk_image *image_make(uint64_t tag) {
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    struct image_builder builder;
    builder_init(&builder);
    builder.module.entry_gva = HUSK_TEXT_GVA;
    builder.module.resume_gva = gva_of(xcr0_resume);
    const size_t text_bytes = (size_t)(xcr0_text_end - xcr0_text);
    builder_segment(&builder, HUSK_TEXT_GVA, PF_R | PF_X, xcr0_text, text_bytes, text_bytes);
    builder_word(&builder, gva_of(xcr0_tag), tag);
    builder_segment(&builder, HUSK_DATA_GVA, PF_R | PF_W, zeros, sizeof zeros, sizeof zeros);
    builder_word(&builder, HUSK_DATA_GVA, 1);
    builder_segment(&builder, HUSK_MEM0_GVA, PF_R | PF_W, zeros, sizeof zeros, HUSK_WASM_PAGE_SIZE);
    struct husk_image_memory memory = {
        .min_pages = 1, .max_pages = 1, .flags = HUSK_LIMIT_HAS_MAX, .size_gva = HUSK_DATA_GVA};
    builder_row(&builder, HUSK_REC_MEMORIES, &memory, sizeof memory);
    const uint32_t type = builder_type(&builder, ">", gva_of(xcr0_thunk));
    builder_func(&builder, type, 0, 0, "");
    builder_import(&builder, "env", "host", HUSK_ABI_FUNC, 0);
#define EXPORT(name)                                                                               \
    builder_export(&builder, #name, HUSK_ABI_FUNC,                                                 \
                   builder_func(&builder, type, gva_of(xcr0_##name), 1, #name));
    FUNCTIONS(EXPORT)
    size_t count;
    uint8_t *bytes = builder_finish(&builder, &count);
    builder_done(&builder);
    husk_image *image = NULL;
    CHECK_OK(
        husk_image_open_buffer(lab.engine, (struct husk_buffer){bytes, count}, NULL, &image, &err),
        err);
    free(bytes);
    return image;
}

static int host_does_nothing(husk_caller *caller, void *user, const struct husk_value *args,
                             struct husk_value *results) {
    (void)caller, (void)user, (void)args, (void)results;
    return 0;
}

static uint8_t *memory(void) {
    void *span;
    CHECK_OK(husk_memory_span(lab.sandbox, RANGE(.count = HUSK_WASM_PAGE_SIZE), &span, &err), err);
    return span;
}

static enum husk_outcome_kind call(const char *name) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_limits options = HUSK_LIMITS_INIT;
    options.wall_ns = 10000000000;
    CHECK_OK(husk_call(lab.sandbox, CALL(.name = name, .limits = &options), &outcome, &err), err);
    return outcome.kind;
}

/* What a guest finds at its start; false: it has no XSAVE. */
static bool look(uint8_t *ret_area) {
    memset(memory() + FOUND_OFFSET, 0, AREA_BYTES);
    if (call("look") != HUSK_RETURNED)
        return false;
    memcpy(ret_area, memory() + FOUND_OFFSET, AREA_BYTES);
    /* opcode and pointers of x87: some CPUs show those of the host's kernel */
    memset(ret_area + 6, 0, 18);
    memset(ret_area + 512, 0, 8); /* which components the CPU takes to be in use */
    return true;
}

static void make_sandbox(void) {
    CHECK_OK(husk_sandbox_new(lab.images[lab.image_idx], lab.imports, NULL, &lab.sandbox, &err),
             err);
}

static void restore(void) {
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.images[lab.image_idx], &err), err);
}

static void end(void) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab.engine, &stats);
    CHECK_EQ_U64(stats.vms_made, 1); /* no VM failed and was replaced */
    husk_sandbox_free(lab.sandbox);
    husk_image_unref(lab.images[0]);
    husk_image_unref(lab.images[1]);
    husk_imports_free(lab.imports);
    husk_engine_unref(lab.engine);
}

static void begin(void) {
    static const struct husk_functype type = {NULL, 0, NULL, 0};
    SKIP_WITHOUT_KVM();
    memset(&lab, 0, sizeof lab);
    random_state = 0x9e3779b97f4a7c15;
    CHECK_OK(husk_engine_new(NULL, &lab.engine, &err), err);
    CHECK_OK(husk_imports_new(lab.engine, &lab.imports, &err), err);
    CHECK_OK(husk_imports_funcs(
                 lab.imports,
                 &(struct husk_host_func){
                     .module = "env", .name = "host", .type = &type, .fn = host_does_nothing},
                 1, &err),
             err);
    lab.images[0] = image_make(1);
    lab.images[1] = image_make(2);
    make_sandbox();
    if (look(lab.clean))
        memcpy(&lab.xcr0, memory() + XCR0_OFFSET, sizeof lab.xcr0);
    else
        restore();
    lab.has_pkru = call("look_pkru") == HUSK_RETURNED;
    restore();
    printf("  XCR0 of ring 3: 0x%llx, PKRU: %s\n", (unsigned long long)lab.xcr0,
           lab.has_pkru ? "yes" : "no");
}

enum way { WAY_NEXT_CALL, WAY_RESTORE, WAY_LOAD_OTHER, WAY_POOL, WAY_COUNT };
static const char *const way_names[] = {"the next call", "restore", "load of another image",
                                        "a new sandbox"};

/* After a violation nothing but a restore leads to a next call. */
static void go(enum way way, bool is_poisoned) {
    if (way == WAY_RESTORE || (way == WAY_NEXT_CALL && is_poisoned)) {
        restore();
    } else if (way == WAY_LOAD_OTHER) {
        lab.image_idx ^= 1;
        CHECK_OK(husk_sandbox_load(lab.sandbox, lab.images[lab.image_idx], lab.imports, &err), err);
    } else if (way == WAY_POOL) {
        husk_sandbox_free(lab.sandbox);
        make_sandbox();
    }
}

static void check_clean(const char *when) {
    static uint8_t found[AREA_BYTES];
    if (lab.xcr0 != 0) {
        CHECK_MSG(look(found), "%s: the next call failed", when);
        for (size_t i = 0; i < AREA_BYTES; i++)
            CHECK_MSG(found[i] == lab.clean[i], "%s: byte %zu of the XSAVE area is %02x, was %02x",
                      when, i, found[i], lab.clean[i]);
    }
    if (!lab.has_pkru)
        return;
    CHECK_MSG(call("look_pkru") == HUSK_RETURNED, "%s: the next call failed", when);
    uint32_t pkru;
    memcpy(&pkru, memory() + PKRU_OFFSET, sizeof pkru);
    CHECK_MSG(pkru == 0, "%s: PKRU is 0x%x", when, pkru);
}

/* Noise, for one component; those that depend on another get that, too. */
static void fill(unsigned component, bool is_random) {
    uint8_t *area = memory() + NOISE_OFFSET;
    for (size_t i = 0; i < AREA_BYTES; i++)
        area[i] = is_random ? (uint8_t)next_random() : 0xff;
    uint64_t mask = 1ull << component;
    if (component == COMPONENT_TILE_DATA || component == COMPONENT_TILE_CONFIG) {
        /* Palette 1, eight tiles of 16 rows of 64 bytes (SDM vol. 1, section 18.2); anything else
         * is refused. */
        uint8_t config[64] = {1};
        for (unsigned tile = 0; tile < 8; tile++) {
            config[16 + 2 * tile] = 64;
            config[48 + tile] = 16;
        }
        /* its place on every CPU so far: CPUID leaf 0xd */
        memcpy(area + 2752, config, sizeof config);
        mask |= 1ull << COMPONENT_TILE_CONFIG;
    }
    area[25] = 0x1f; /* MXCSR: no bit that is reserved */
    memset(area + 26, 0, 2);
    memset(area + 512, 0, 64);
    memcpy(area + 512, &mask, sizeof mask);
    memcpy(memory() + MASK_OFFSET, &mask, sizeof mask);
}

/* In every ending and every way to a next call. False: ring 3 cannot write this. */
static bool spoil(const char *const names[3], unsigned component, bool is_random) {
    for (unsigned ending = 0; ending < 3; ending++) {
        for (unsigned way = 0; way < WAY_COUNT; way++) {
            char when[120];
            fill(component, is_random);
            if (component == COMPONENT_PKRU)
                memset(memory() + MASK_OFFSET, 0xff, 4);
            if (component == COMPONENT_PKRU && is_random) /* key 0 is every page's */
                memory()[MASK_OFFSET] = (uint8_t)next_random() | 1;
            const enum husk_outcome_kind kind = call(names[ending]);
            const bool is_poisoned = kind == HUSK_GUEST_VIOLATION;
            if (ending != 1 && is_poisoned) {
                restore();
                return false;
            }
            snprintf(when, sizeof when, "%s after %s of component %u (%s)", way_names[way],
                     names[ending], component, is_random ? "random" : "ones");
            go((enum way)way, is_poisoned);
            check_clean(when);
        }
    }
    return true;
}

TEST(each_component_is_gone_for_the_next_call) {
    static const char *const names[] = {"return", "fault", "host"};
    begin();
    for (unsigned component = 0; component < 63; component++) {
        if ((lab.xcr0 >> component & 1) == 0 || component == COMPONENT_PKRU)
            continue;
        const bool is_written = spoil(names, component, false) && spoil(names, component, true);
        printf("  component %u: %s\n", component,
               is_written ? "written" : "ring 3 cannot write it");
        CHECK(component > 1 || is_written); /* x87 and SSE are everybody's */
    }
    const bool has_xsave = lab.xcr0 != 0;
    end();
    if (!has_xsave)
        harness_skip("the guest has no XSAVE here");
}

TEST(protection_keys_are_gone_for_the_next_call) {
    static const char *const names[] = {"pkru_return", "pkru_fault", "pkru_host"};
    begin();
    const bool has_pkru = lab.has_pkru;
    if (has_pkru)
        CHECK(spoil(names, COMPONENT_PKRU, false) && spoil(names, COMPONENT_PKRU, true));
    end();
    if (!has_pkru)
        harness_skip("a guest has no protection keys (PKRU) here");
}

TEST_MAIN()
