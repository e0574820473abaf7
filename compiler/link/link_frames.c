/*
 * compiler/link/link_frames.c: reads the call frames (.eh_frame) and exception tables of the
 * objects; see linker_internal.h. It runs before rodata is placed, because the tables that it makes
 * for exceptions lie there. So it relocates these sections by itself; they refer to the text and to
 * absolute symbols only.
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "layout.h"
#include "linker_internal.h"

/* Neither section is in the image: the addresses only have to be within reach of the code. */
static int copy_section(const struct linker *linker, struct elfobj_section *section,
                        uint64_t *end) {
    section->address = (*end + 15) & ~(uint64_t)15;
    *end = section->address + section->header.sh_size;
    if (*end > HUSK_DATA_END_GVA)
        return error_set(linker->err, HUSK_E_LIMIT,
                         "the call frames and exception tables of an object are larger than %u MiB",
                         (HUSK_DATA_END_GVA - HUSK_DATA_GVA) >> 20);
    section->image = malloc(section->header.sh_size);
    if (section->image == NULL)
        return linker_no_memory(linker);
    memcpy(section->image, section->data, section->header.sh_size);
    section->is_kept = true;
    return 0;
}

static bool is_frames(const struct elfobj_section *section) {
    const enum place place = section_place(section);
    return place == PLACE_EH_FRAME || place == PLACE_LSDA;
}

static int read_object(struct linker *linker, uint32_t object_idx) {
    struct elfobj *obj = &linker->objs[object_idx];
    uint64_t end = HUSK_DATA_GVA;
    int status = 0;
    for (uint32_t k = 0; k < obj->sections_count && status == 0; k++)
        if (is_frames(&obj->sections[k]))
            status = copy_section(linker, &obj->sections[k], &end);
    for (uint32_t k = 0; k < obj->sections_count && status == 0; k++)
        if (is_frames(&obj->sections[k]))
            status = linker_relocate(linker, obj, &obj->sections[k]);
    for (uint32_t k = 0; k < obj->sections_count && status == 0; k++) {
        const struct elfobj_section *section = &obj->sections[k];
        if (section_place(section) == PLACE_EH_FRAME)
            status = unwind_read(section->image, section->header.sh_size, section->address,
                                 object_idx, &linker->unwind, linker->err);
    }
    return status;
}

static int read_handlers(struct linker *linker, const struct unwind_func *func) {
    const struct elfobj *obj = &linker->objs[func->object_idx];
    for (uint32_t k = 0; k < obj->sections_count; k++) {
        const struct elfobj_section *section = &obj->sections[k];
        if (section_place(section) != PLACE_LSDA || func->lsda_address < section->address ||
            func->lsda_address - section->address >= section->header.sh_size)
            continue;
        const struct lsda_section bytes = {section->image, section->header.sh_size,
                                           section->address};
        return lsda_read(func, &bytes, linker->plan->program->tags_count, &linker->throw_image.lsda,
                         linker->err);
    }
    return error_set(linker->err, HUSK_E_COMPILER,
                     "object %s: an exception table lies outside its section", obj->label);
}

static int make_throw_image(struct linker *linker) {
    const struct unwind_func *funcs =
        (const struct unwind_func *)(const void *)linker->unwind.funcs.data;
    const size_t count = linker->unwind.funcs.count / sizeof funcs[0];
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        status = read_handlers(linker, &funcs[i]);
    if (status == 0)
        status = lsda_finish(&linker->throw_image.lsda, linker->err);
    if (status == 0)
        status = throw_image_make(linker->plan, &linker->unwind, &linker->throw_image, linker->err);
    return status;
}

int link_frames(struct linker *linker) {
    linker->unwind.wants_frames = linker->plan->exception_gva != 0;
    for (uint32_t i = 0; i < linker->objs_count; i++) {
        int status = read_object(linker, i);
        if (status != 0)
            return status;
    }
    unwind_finish(&linker->unwind);
    return linker->unwind.wants_frames ? make_throw_image(linker) : 0;
}
