/*
 * Fuzz target: any bytes as the call frames (.eh_frame) and exception tables (.gcc_except_table) of
 * an object. LLVM makes them, in the same process that reads them; so a wrong one is an error of
 * the compiler, and must not be more. The first two bytes are the number of bytes of the frames.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "exception.h"
#include "lsda.h"

#define FRAMES_ADDRESS 0x20000000u
#define LSDA_ADDRESS 0x20100000u
#define TAGS_COUNT 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int is_true) {
    if (!is_true)
        abort();
}

static void check_handler(const struct lsda_tables *tables, const struct throw_handler *handler) {
    const uint32_t *clauses = (const uint32_t *)(const void *)tables->clauses.data;
    require(handler->start < handler->end && handler->clauses_count > 0);
    require((handler->clauses_first + (uint64_t)handler->clauses_count) * sizeof clauses[0] <=
            tables->clauses.count);
    for (uint32_t i = 0; i < handler->clauses_count; i++) {
        const uint32_t tag = clauses[handler->clauses_first + i];
        require(tag < TAGS_COUNT || tag == HUSK_TAG_ANY);
    }
}

/* Each function of the frames has its tables in the rest of the input. */
static void read_handlers(const struct unwind_tables *unwind, const struct lsda_section *section) {
    const struct unwind_func *funcs = (const struct unwind_func *)(const void *)unwind->funcs.data;
    const size_t count = unwind->funcs.count / sizeof funcs[0];
    struct lsda_tables tables = {0};
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        status = lsda_read(&funcs[i], section, TAGS_COUNT, &tables, NULL);
    if (status == 0)
        status = lsda_finish(&tables, NULL);
    const struct throw_handler *handlers =
        (const struct throw_handler *)(const void *)tables.handlers.data;
    for (size_t i = 0; status == 0 && i < tables.handlers.count / sizeof handlers[0]; i++)
        check_handler(&tables, &handlers[i]);
    lsda_done(&tables);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    const size_t frames_bytes = (size_t)data[0] | (size_t)data[1] << 8, rest = size - 2;
    if (frames_bytes > rest)
        return 0;
    struct unwind_tables unwind = {.wants_frames = true};
    const struct lsda_section section = {
        .bytes = data + 2 + frames_bytes, .count = rest - frames_bytes, .address = LSDA_ADDRESS};
    if (unwind_read(data + 2, frames_bytes, FRAMES_ADDRESS, 0, &unwind, NULL) == 0) {
        unwind_finish(&unwind);
        read_handlers(&unwind, &section);
    }
    unwind_done(&unwind);
    return 0;
}
