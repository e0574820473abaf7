/*
 * host/call/backtrace.c: backtraces. The guest's stack stays as the call left it until the guest
 * runs again. So the stack is walked when the embedder asks, by the image's unwind rows. A hostile
 * stack costs less than a millisecond and does no other harm: the stack is read through checked
 * spans, every frame must lie above the one before (guest_code.h), and the numbers of frames and
 * look-ups are limited.
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

const struct husk_image_code_row *code_row_find(const husk_image *image, uint64_t code_gva) {
    if (!image_in_text(image->code, code_gva, 1))
        return NULL;
    const struct husk_image_code_row *row = rows_last_up_to(
        ROWS(image->code->code_rows, image->code->code_rows_count, code_gva), code_gva);
    return row != NULL && row->func_idx != HUSK_FUNC_NONE ? row : NULL;
}

/* Find the unwind row of an address in the text. */
static const struct husk_image_unwind_x86_64 *unwind_row_find(const husk_image *image,
                                                              uint64_t code_gva) {
    return rows_last_up_to(ROWS(image->code->unwind_rows, image->code->unwind_rows_count, code_gva),
                           code_gva);
}

/* The inlined call by which the code at an address came in, as index + 1; 0: none. */
static uint32_t inlined_call_find(const husk_image *image, uint64_t code_gva) {
    const struct husk_image_inlined_row *row = rows_last_up_to(
        ROWS(image->code->inlined_rows, image->code->inlined_rows_count, code_gva), code_gva);
    return row != NULL ? row->call : 0;
}

static void find_line(const husk_image *image, struct husk_frame *frame) {
    const struct image_code *code = image->code;
    const struct husk_image_line_row *row =
        rows_last_up_to(ROWS(code->lines, code->lines_count, wasm_offset), frame->wasm_offset);
    if (row == NULL || row->file_idx == UINT32_MAX)
        return;
    frame->file = code->file_names[row->file_idx].text;
    frame->line = row->line;
    frame->column = row->column;
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

/* listed_count: the number of frames for which backtrace->frames stands, repeats included. */
static void add_frame(const husk_image *image, const struct husk_image_code_row *row,
                      uint32_t *listed_count, struct husk_backtrace *backtrace) {
    const struct image_code *code = image->code;
    const bool is_repeat = repeats_last(row, backtrace, *listed_count);
    backtrace->frames_total++;
    if (!is_repeat && backtrace->frames_count == HUSK_FRAMES_MAX)
        return;
    ++*listed_count;
    if (is_repeat) {
        backtrace->frames[backtrace->frames_count - 1].repeats++;
        return;
    }
    struct husk_frame *frame = &backtrace->frames[backtrace->frames_count++];
    *frame = (struct husk_frame){
        .func_idx = row->func_idx, .func_name = "", .wasm_offset = row->wasm_offset};
    if (row->func_idx == HUSK_FUNC_INIT) {
        name_init(code, frame);
        return;
    }
    frame->func_name = code->func_names[row->func_idx].text;
    frame->func_name_bytes = code->func_names[row->func_idx].bytes;
    if (row->func_idx < code->imported_count[HUSK_ABI_FUNC])
        frame->wasm_offset = HUSK_NO_OFFSET; /* the stub of a host function */
    else
        find_line(image, frame);
    place_in_module(code, frame);
}

/* The image's rows for an address. */
struct place {
    const struct husk_image_code_row *code; /* NULL: in no function */
    const struct husk_image_unwind_x86_64 *row;
    uint32_t inlined_call; /* index + 1 */
};

/* The places looked up so far, by address. A recursion has few places. Address 0 marks a free slot:
 * 0 is not in the text. */
#define PLACE_SLOTS (2u * LIMIT_BACKTRACE_PLACES)
struct places {
    uint32_t count;
    uint64_t addresses[PLACE_SLOTS];
    struct place found[PLACE_SLOTS];
};

/* Find the place of an address. NULL: there are too many places. */
static const struct place *place_at(struct places *places, const husk_image *image,
                                    uint64_t address) {
    static const struct place nowhere = {NULL, NULL, 0};
    if (!image_in_text(image->code, address, 1))
        return &nowhere;
    /* Fibonacci hashing */
    uint32_t slot = (uint32_t)(address * 0x9e3779b97f4a7c15 >> 32) % PLACE_SLOTS;
    while (places->addresses[slot] != 0 && places->addresses[slot] != address)
        slot = (slot + 1) % PLACE_SLOTS;
    if (places->addresses[slot] == 0) {
        if (places->count++ == LIMIT_BACKTRACE_PLACES)
            return NULL;
        places->addresses[slot] = address;
        places->found[slot] =
            (struct place){code_row_find(image, address), unwind_row_find(image, address),
                           inlined_call_find(image, address)};
    }
    return &places->found[slot];
}

/* The frames of the calls by which code was inlined. Hostile images may have long chains of them:
 * each step counts as work. */
static void add_inlined(const husk_image *image, uint32_t call_number, uint32_t *listed_count,
                        uint32_t *work, struct husk_backtrace *backtrace) {
    for (; call_number != 0 && *work < LIMIT_BACKTRACE_FRAMES; ++*work) {
        const struct husk_image_inlined_call *call = &image->code->inlined_calls[call_number - 1];
        const struct husk_image_code_row row = {.func_idx = call->func_idx,
                                                .wasm_offset = call->wasm_offset};
        add_frame(image, &row, listed_count, backtrace);
        call_number = call->outer;
    }
}

static void walk(const husk_image *image, const struct code_stack *stack, struct code_frame frame,
                 struct husk_backtrace *backtrace) {
    const struct place *place = NULL;
    struct places places;
    uint32_t listed_count = 0, work = 0;
    places.count = 0;
    memset(places.addresses, 0, sizeof places.addresses);
    uint64_t last_look = 0;
    for (uint32_t steps = 0; work < LIMIT_BACKTRACE_FRAMES; steps++) {
        /* A return address may be the first byte behind the calling function, so look one byte
         * before it. */
        const uint64_t look = steps == 0 ? frame.pc : frame.pc - 1;
        work += place != NULL && look == last_look ? 1 : LIMIT_BACKTRACE_FRAMES_PER_MOVE;
        if (place == NULL || look != last_look) /* deep recursion comes from one place */
            place = place_at(&places, image, look);
        if (place == NULL)
            break;
        last_look = look;
        if (place->code != NULL &&
            place->code->func_idx != HUSK_FUNC_RUNTIME) { /* memcpy …: only its caller is listed */
            add_frame(image, place->code, &listed_count, backtrace);
            add_inlined(image, place->inlined_call, &listed_count, &work, backtrace);
        }
        if (!code_frame_leave(stack, place->row, &frame))
            break;
    }
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

static void give(struct husk_backtrace *whole, struct husk_backtrace *ret_backtrace) {
    if (whole->frames_count > frames_room(ret_backtrace))
        whole->frames_count = frames_room(ret_backtrace);
    output_fill(ret_backtrace, whole, sizeof *whole);
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
    if (sandbox->calls.ended_at.pc != 0)
        walk(sandbox->image, &stack, sandbox->calls.ended_at, &whole);
    give(&whole, ret_backtrace);
    return 0;
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
    if (image->standing != NULL)
        walk(image, &stack,
             (struct code_frame){.pc = image->code->module.resume_gva,
                                 .stack_gva = image->standing->stack_gva,
                                 .base_gva = image->standing->kept[VM_KEPT_BASE]},
             &whole);
    give(&whole, ret_backtrace);
    return 0;
}
