/*
 * host/image/image_standing.c: a snapshot's call that stands at a host function
 * (abi/image.h, struct husk_image_standing). A file may say anything here. What is checked: the
 * functions exist and have types, the arguments are as many as the host function has parameters,
 * the stack is one segment, and the stack pointer lies in it. Registers and what is on the stack
 * are the guest's own: whatever they are, ring 3 gets no more than by any code of the image.
 */
#include "error.h"
#include "image_internal.h"
#include "options.h"

#define PAGE_MASK_BYTES ((uint64_t)HUSK_PAGE_SIZE - 1)

/* The guest has called husk.hostcall (guest/entry.S): the return address lies there. */
bool image_stack_is_possible(uint64_t stack_gva, uint64_t from, uint64_t to) {
    return stack_gva >= from && stack_gva < to && stack_gva % 16 == 8;
}

uint64_t image_stack_gva(const struct husk_image *image) {
    return image->standing != NULL ? image->standing->stack_gva & ~PAGE_MASK_BYTES
                                   : (uint64_t)HUSK_STACK_TOP_GVA;
}

struct husk_functype image_standing_type(const struct husk_image *image) {
    const struct image_code *code = image->code;
    return image_functype(code, code->funcs[image->standing->host_func_idx].type_idx);
}

static int bad(struct husk_error *err, const char *what) {
    return error_set(err, HUSK_E_BAD_IMAGE, "the standing call: %s", what);
}

static int check_row(const struct husk_image *image, struct husk_error *err) {
    const struct image_code *code = image->code;
    const struct husk_image_standing *standing = image->standing;
    if (!image->is_snapshot)
        return bad(err, "only a snapshot can have one");
    if (standing->func_idx >= code->funcs_count)
        return bad(err, "the image has no such function");
    const struct husk_image_func *func = &code->funcs[standing->func_idx];
    if (func->code_gva == 0 || code->types[func->type_idx].thunk_gva == 0)
        return bad(err, "of a function that cannot be called");
    if (standing->host_func_idx >= code->imported_count[HUSK_ABI_FUNC])
        return bad(err, "the image has no such host function");
    const uint32_t type_idx = code->funcs[standing->host_func_idx].type_idx;
    if (code->standing_args_count != code->types[type_idx].params_count)
        return bad(err, "not as many arguments as the host function has parameters");
    if (!image_stack_is_possible(standing->stack_gva, HUSK_STACK_LOW_GVA, HUSK_STACK_TOP_GVA) ||
        HUSK_STACK_TOP_GVA - image_stack_gva(image) > HUSK_STACK_MAX_BYTES)
        return bad(err, "its stack pointer is impossible");
    return 0;
}

int image_check_standing(const struct husk_image *image, struct husk_error *err) {
    const struct image_code *code = image->code;
    const uint64_t stack_gva = image_stack_gva(image);
    bool has_stack = false;
    int status = image->standing != NULL ? check_row(image, err) : 0;
    if (status == 0 && image->standing == NULL && code->standing_args_count != 0)
        status = bad(err, "arguments, but no call");
    for (uint32_t i = image->data_segments_count; i < image->segments_count && status == 0; i++) {
        const struct image_segment *segment = &image->segments[i];
        if (!image_is_stack_gva(segment->gva))
            continue;
        if (segment->gva != stack_gva || segment->mem_bytes != HUSK_STACK_TOP_GVA - stack_gva)
            status = bad(err, image->standing == NULL
                                  ? "a segment in the stack, but no call"
                                  : "its stack is not one segment from the stack pointer on");
        has_stack = true;
    }
    if (status == 0 && image->standing != NULL && !has_stack)
        status = bad(err, "its stack is missing");
    return status;
}

static uint32_t import_of(const struct image_code *code, uint32_t func_idx) {
    uint32_t i = 0;
    while (code->imports[i].kind != HUSK_ABI_FUNC || code->imports[i].idx != func_idx)
        i++;
    return i;
}

int husk_image_standing(const husk_image *image, struct husk_standing *ret_standing,
                        struct husk_error *err) {
    if (image == NULL || ret_standing == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_standing: a NULL argument");
    int status = output_check("husk_standing", ret_standing, err);
    if (status != 0)
        return status;
    if (image->standing == NULL)
        return error_set(err, HUSK_E_NOT_FOUND, "no call stands in the image");
    const struct image_code *code = image->code;
    const uint32_t func_idx = image->standing->func_idx;
    const uint32_t import = import_of(code, image->standing->host_func_idx);
    const struct husk_standing standing = {
        .func = image_func_make(code, func_idx),
        .type = image_functype(code, code->funcs[func_idx].type_idx),
        .module = code->import_modules[import].text,
        .module_bytes = code->import_modules[import].bytes,
        .name = code->import_names[import].text,
        .name_bytes = code->import_names[import].bytes,
        .host_type = image_standing_type(image),
        .stack_bytes = HUSK_STACK_TOP_GVA - image_stack_gva(image)};
    output_fill(ret_standing, &standing, sizeof standing);
    return 0;
}
