/*
 * host/call/backtrace.c: backtraces. The guest's stack stays as the call left it until the guest
 * runs again. So the stack is walked when the embedder asks, by the image's unwind rows. A hostile
 * stack costs less than a millisecond and does no other harm: the stack is read through checked
 * spans, every frame must lie above the one before (guest_code.h), and the numbers of frames and
 * look-ups are limited. Rows and names of the image are checked here, as far as they are used.
 */
#include "backtrace.h"

#include <string.h>

#include "error.h"
#include "guest_code.h"
#include "host_limits.h"
#include "image_internal.h"
#include "layout.h"
#include "options.h"
#include "rows.h"
#include "sandbox_internal.h"

bool backtrace_may_trap(const husk_image *image, uint64_t code_gva) {
    struct husk_image_code_row row;
    return image_in_text(image->code, code_gva, 1) &&
           image_code_row(image->code, code_gva, &row, NULL) == 0 && row.func_idx != HUSK_FUNC_NONE;
}

static int find_line(const struct image_code *code, struct husk_frame *frame,
                     struct husk_error *err) {
    struct husk_image_line_row row;
    int status = image_line_row(code, frame->wasm_offset, &row, err);
    if (status != 0 || row.file_idx == UINT32_MAX)
        return status;
    frame->file = code->file_names[row.file_idx].text;
    frame->line = row.line;
    frame->column = row.column;
    return 0;
}

/* From the offset in the input to the one in the module. */
static void place_in_module(const struct image_code *code, struct husk_frame *frame) {
    const uint32_t instance = code->funcs[frame->func_idx].instance;
    if (frame->wasm_offset == HUSK_NO_OFFSET || instance >= code->instances_count ||
        frame->wasm_offset < code->instances[instance].wasm_offset)
        return;
    frame->wasm_offset -= code->instances[instance].wasm_offset;
}

/* The init function of the instance that the offset is in. */
static void name_init(const struct image_code *code, struct husk_frame *frame) {
    struct image_name name = {IMAGE_INIT_NAME, strlen(IMAGE_INIT_NAME)};
    for (uint32_t i = 0; i < code->instances_count; i++)
        if (code->instances[i].wasm_offset <= frame->wasm_offset)
            name = code->init_names[i];
    frame->func_name = name.text;
    frame->func_name_bytes = name.bytes;
    frame->wasm_offset = HUSK_NO_OFFSET;
}

/* True: the frame repeats the frame before it, and that one is listed. Repeats are counted and not
 * listed, so that deep recursion does not hide its caller. */
static bool repeats_last(const struct husk_image_code_row *row,
                         const struct husk_backtrace *backtrace, uint32_t listed_count) {
    if (listed_count == 0 || listed_count != backtrace->frames_total)
        return false;
    const struct husk_frame *last = &backtrace->frames[backtrace->frames_count - 1];
    return row->func_idx != HUSK_FUNC_INIT && last->func_idx == row->func_idx &&
           last->wasm_offset == row->wasm_offset;
}

/* Of a function of the module. */
static int describe(struct image_code *code, struct husk_frame *frame, struct husk_error *err) {
    struct image_name name;
    int status = image_func_name(code, frame->func_idx, &name, err);
    if (status != 0)
        return status;
    frame->func_name = name.text;
    frame->func_name_bytes = name.bytes;
    if (frame->func_idx < code->imported_count[HUSK_ABI_FUNC])
        frame->wasm_offset = HUSK_NO_OFFSET; /* the stub of a host function */
    else
        status = find_line(code, frame, err);
    place_in_module(code, frame);
    return status;
}

/* A backtrace while it is made. */
struct walk {
    const husk_image *image;
    struct husk_backtrace *backtrace;
    uint32_t listed_count; /* frames for which backtrace->frames stands, repeats included */
    uint32_t work;
};

static int add_frame(struct walk *walk, const struct husk_image_code_row *row,
                     struct husk_error *err) {
    struct husk_backtrace *backtrace = walk->backtrace;
    const bool is_repeat = repeats_last(row, backtrace, walk->listed_count);
    backtrace->frames_total++;
    if (!is_repeat && backtrace->frames_count == HUSK_FRAMES_MAX)
        return 0;
    walk->listed_count++;
    if (is_repeat) {
        backtrace->frames[backtrace->frames_count - 1].repeats++;
        return 0;
    }
    struct husk_frame *frame = &backtrace->frames[backtrace->frames_count++];
    *frame = (struct husk_frame){
        .func_idx = row->func_idx, .func_name = "", .wasm_offset = row->wasm_offset};
    if (row->func_idx != HUSK_FUNC_INIT)
        return describe(walk->image->code, frame, err);
    name_init(walk->image->code, frame);
    return 0;
}

/* What the image's rows say of an address. */
struct place {
    struct husk_image_code_row code; /* HUSK_FUNC_NONE: it is in no function */
    struct husk_image_unwind_x86_64 row;
    uint32_t inlined_call; /* the inlined call by which the code came in, as index + 1; 0: none */
};

static int place_look_up(const struct image_code *code, uint64_t address, struct place *ret_place,
                         struct husk_error *err) {
    struct husk_image_inlined_row inlined;
    int status = image_code_row(code, address, &ret_place->code, err);
    if (status == 0)
        status = image_unwind_row(code, address, &ret_place->row, err);
    if (status == 0)
        status = image_inlined_row(code, address, &inlined, err);
    if (status == 0)
        ret_place->inlined_call = inlined.call;
    return status;
}

/* The places looked up so far, by address. A recursion has few places. Address 0 marks a free slot:
 * 0 is not in the text. */
#define PLACE_SLOTS (2u * LIMIT_BACKTRACE_PLACES)
struct places {
    uint32_t count;
    uint64_t addresses[PLACE_SLOTS];
    struct place found[PLACE_SLOTS];
};

/* Find the place of an address. NULL: there are too many places. */
static int place_at(struct places *places, const struct image_code *code, uint64_t address,
                    const struct place **ret_place, struct husk_error *err) {
    static const struct place nowhere = {.code.func_idx = HUSK_FUNC_NONE};
    *ret_place = &nowhere;
    if (!image_in_text(code, address, 1))
        return 0;
    /* Fibonacci hashing */
    uint32_t slot = (uint32_t)(address * 0x9e3779b97f4a7c15 >> 32) % PLACE_SLOTS;
    while (places->addresses[slot] != 0 && places->addresses[slot] != address)
        slot = (slot + 1) % PLACE_SLOTS;
    *ret_place = &places->found[slot];
    if (places->addresses[slot] != 0)
        return 0;
    if (places->count++ == LIMIT_BACKTRACE_PLACES) {
        *ret_place = NULL;
        return 0;
    }
    places->addresses[slot] = address;
    return place_look_up(code, address, &places->found[slot], err);
}

/* The frames of the calls by which code was inlined. Hostile images may have long chains of them:
 * each step counts as work. */
static int add_inlined(struct walk *walk, uint32_t call_number, struct husk_error *err) {
    struct husk_image_inlined_call call;
    int status = 0;
    for (; call_number != 0 && walk->work < LIMIT_BACKTRACE_FRAMES && status == 0; walk->work++) {
        status = image_inlined_call(walk->image->code, call_number - 1, &call, err);
        if (status != 0)
            break;
        const struct husk_image_code_row row = {.func_idx = call.func_idx,
                                                .wasm_offset = call.wasm_offset};
        status = add_frame(walk, &row, err);
        call_number = call.outer;
    }
    return status;
}

/* Code of the runtime (memcpy …) is not listed, only its caller. */
static int add_place(struct walk *walk, const struct place *place, struct husk_error *err) {
    if (place->code.func_idx == HUSK_FUNC_NONE || place->code.func_idx == HUSK_FUNC_RUNTIME)
        return 0;
    int status = add_frame(walk, &place->code, err);
    return status != 0 ? status : add_inlined(walk, place->inlined_call, err);
}

static int walk_all(struct walk *walk, const struct code_stack *stack, struct code_frame frame,
                    struct husk_error *err) {
    const struct place *place = NULL;
    struct places places;
    places.count = 0;
    memset(places.addresses, 0, sizeof places.addresses);
    uint64_t last_look = 0;
    int status = 0;
    for (uint32_t steps = 0; walk->work < LIMIT_BACKTRACE_FRAMES; steps++) {
        /* A return address may be the first byte behind the calling function, so look one byte
         * before it. */
        const uint64_t look = steps == 0 ? frame.pc : frame.pc - 1;
        const bool is_same = place != NULL && look == last_look;
        walk->work += is_same ? 1 : LIMIT_BACKTRACE_FRAMES_PER_MOVE;
        if (!is_same) /* deep recursion comes from one place */
            status = place_at(&places, walk->image->code, look, &place, err);
        if (status != 0 || place == NULL)
            break;
        last_look = look;
        status = add_place(walk, place, err);
        if (status != 0 || !code_frame_leave(stack, &place->row, &frame))
            break;
    }
    return status;
}

void backtrace_keep(husk_sandbox *sandbox) {
    const struct call_frame *frame = sandbox->calls.frame;
    struct vm_regs regs;
    machine_get_regs(sandbox->machine, &regs);
    /* After a nested call, the machine's registers are that call's. */
    sandbox->calls.ended_at = code_frame_of(frame->was_nested ? &frame->regs : &regs);
    sandbox->calls.thrown = 0; /* by a nested call */
}

/* The number of frames for which `ret`, of any size, has room. */
static uint32_t frames_room(const struct husk_backtrace *ret) {
    const size_t head = offsetof(struct husk_backtrace, frames);
    const size_t room = ret->size < head ? 0 : (ret->size - head) / sizeof ret->frames[0];
    return room < HUSK_FRAMES_MAX ? (uint32_t)room : HUSK_FRAMES_MAX;
}

/* Nothing of a backtrace that failed. */
static int give(struct husk_backtrace *whole, int status, struct husk_backtrace *ret_backtrace) {
    if (status != 0)
        return status;
    if (whole->frames_count > frames_room(ret_backtrace))
        whole->frames_count = frames_room(ret_backtrace);
    output_fill(ret_backtrace, whole, sizeof *whole);
    return 0;
}

int husk_sandbox_backtrace(husk_sandbox *sandbox, struct husk_backtrace *ret_backtrace,
                           struct husk_error *err) {
    if (sandbox == NULL || ret_backtrace == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_backtrace: a NULL argument");
    int status = sandbox_check_question(sandbox, "husk_backtrace", ret_backtrace, err);
    if (status != 0)
        return status;
    const struct code_stack stack = {.arena = &sandbox->machine->arena};
    struct husk_backtrace whole = {0};
    struct walk walk = {.image = sandbox->image, .backtrace = &whole};
    if (sandbox->calls.ended_at.pc != 0)
        status = walk_all(&walk, &stack, sandbox->calls.ended_at, err);
    return give(&whole, status, ret_backtrace);
}

int husk_image_backtrace(const husk_image *image, struct husk_backtrace *ret_backtrace,
                         struct husk_error *err) {
    if (image == NULL || ret_backtrace == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_backtrace: a NULL argument");
    int status = output_check("husk_backtrace", ret_backtrace, err);
    if (status != 0)
        return status;
    const struct code_stack stack = {.image = image};
    struct husk_backtrace whole = {0};
    struct walk walk = {.image = image, .backtrace = &whole};
    if (image->standing != NULL)
        status = walk_all(&walk, &stack,
                          (struct code_frame){.pc = image->code->module.resume_gva,
                                              .stack_gva = image->standing->stack_gva,
                                              .base_gva = image->standing->kept[VM_KEPT_BASE]},
                          err);
    return give(&whole, status, ret_backtrace);
}
