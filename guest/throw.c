/*
 * guest/throw.c: exceptions in ring 3 of the guest: finds the handler of what is thrown, and keeps
 * the exceptions that references refer to. The file is freestanding, and linked only into images
 * with exceptions. guest/throw.S calls it; compiled code calls husk.exn_take.
 *
 * A reference is the address of a slot. Slots are never freed by the code that uses them: when the
 * free ones run out, all words that may be references are looked at, and the slots that none refers
 * to are free again. The stack, the preserved registers and the values of exceptions are looked at
 * conservatively: a word that looks like a reference is one. Slots in use are few at first, so that
 * a program that takes many references one after the other stays in one or two pages.
 *
 * The guest's own code can write all this data. Whatever it writes there, the walks below end.
 */
#include "exception.h"
#include "throw_tables.h"

#ifndef THROW_TABLES /* tests have their own */
#define THROW_TABLES husk_throw_tables
#define THROW_TRAP(number) /* abi/trap.def */                                                      \
    do {                                                                                           \
        __asm__ volatile(".byte 0x67, 0x0f, 0xb9, 0x40, %c0" : : "i"(number));                     \
        __builtin_unreachable();                                                                   \
    } while (0)
extern const struct throw_tables husk_throw_tables __asm__("husk.throw_tables")
    __attribute__((visibility("hidden")));
#endif

enum {
#define HUSK_TRAP(name, number, text) TRAP_##name = (number),
#include "trap.def"
#undef HUSK_TRAP
};

/* Slots overlay bytes of any type. */
typedef uint64_t word __attribute__((may_alias));

/* The registers in a frame: as throw.S pushes them, then as those of its callers. */
struct throw_frame {
    uint64_t rsp;
    uint64_t saved[THROW_REGS];
    uint64_t pc;
};

int throw_find(struct throw_frame *frame) __asm__("husk.throw_find");
void throw_load(uint64_t ref) __asm__("husk.throw_load");
uint64_t exn_take(void) __asm__("husk.exn_take");

#define TABLE(type, name) ((const type *)THROW_TABLES.name)

static inline struct husk_exception *pending_exception(void) {
    return (struct husk_exception *)THROW_TABLES.pending;
}

/* ---- finding the handler ---- */

/* The last row that does not lie behind the code, or the first one. */
static inline const struct throw_row *row_of(uint64_t code) {
    const struct throw_row *row = TABLE(struct throw_row, rows);
    for (uint64_t count = THROW_TABLES.rows_count; count > 1;) {
        uint64_t half = count / 2;
        row += row[half].code_gva <= code ? half : 0;
        count -= half;
    }
    return row;
}

static inline const struct throw_handler *handler_of(uint64_t code) {
    const struct throw_handler *handler = TABLE(struct throw_handler, handlers);
    for (uint64_t count = THROW_TABLES.handlers_count; count > 1;) {
        uint64_t half = count / 2;
        handler += handler[half].start <= code ? half : 0;
        count -= half;
    }
    return handler;
}

static inline int catches(const struct throw_handler *handler, uint64_t code, uint32_t tag) {
    const uint32_t *clauses = TABLE(uint32_t, clauses) + handler->clauses_first;
    if (code < handler->start || code >= handler->end)
        return 0;
    for (uint32_t i = 0; i < handler->clauses_count; i++)
        if (clauses[i] == tag || clauses[i] == HUSK_TAG_ANY)
            return 1;
    return 0;
}

/* Goes to the caller's frame. 0: there is none, or it does not lie above. */
static inline int leave(struct throw_frame *frame, const struct throw_shape *shape) {
    uint64_t base = (shape->cfa & 1) != 0 ? frame->saved[THROW_REG_RBP] : frame->rsp;
    uint64_t cfa = base + (shape->cfa >> 1);
    if (shape->cfa == 0 || cfa <= frame->rsp || cfa > THROW_TABLES.stack_top || cfa % 8 != 0)
        return 0;
    for (int i = 0; i < THROW_REGS; i++)
        if (shape->saved[i] != 0)
            frame->saved[i] = *(const word *)(cfa - shape->saved[i]);
    frame->pc = *(const word *)(cfa - 8);
    frame->rsp = cfa;
    return 1;
}

/* Makes *frame, which is that of a call, the frame of the handler of the pending exception. 0: it
 * has none; *frame is useless then. A return address may be the first byte behind the calling
 * function, so all look-ups are for the byte before it. */
int throw_find(struct throw_frame *frame) {
    const uint32_t tag = pending_exception()->tag - 1;
    for (;;) {
        const uint64_t code = frame->pc - 1;
        const struct throw_row *row = row_of(code);
        if (row->code_gva > code)
            return 0;
        const struct throw_shape *shape =
            TABLE(struct throw_shape, shapes) + (row->shape & ~THROW_HAS_HANDLERS);
        if ((row->shape & THROW_HAS_HANDLERS) != 0) {
            const struct throw_handler *handler = handler_of(code);
            if (catches(handler, code, tag) != 0) {
                frame->pc = handler->landing_pad;
                frame->rsp += shape->args_bytes;
                return 1;
            }
        }
        if (leave(frame, shape) == 0)
            return 0;
    }
}

/* ---- references ---- */

/* In the pending exception, `mark` is the number of slots in use, and `link` the first free one.
 * All slots in use are either free or hold an exception. */
static inline struct husk_exception *slot_at(uint64_t idx) {
    return (struct husk_exception *)(THROW_TABLES.slots + idx * THROW_TABLES.slot_bytes);
}

/* The exception that a word refers to, or NULL. */
static inline struct husk_exception *slot_of(uint64_t ref) {
    const uint64_t distance = ref - THROW_TABLES.slots;
    struct husk_exception *slot = (struct husk_exception *)ref;
    if (distance >= pending_exception()->mark * THROW_TABLES.slot_bytes ||
        distance % THROW_TABLES.slot_bytes != 0 || slot->tag == 0)
        return (struct husk_exception *)0;
    return slot;
}

/* Words of an exception's values. */
static inline uint64_t value_words(const struct husk_exception *exception) {
    return (uint64_t)TABLE(uint32_t, tag_values)[exception->tag - 1] * (HUSK_SLOT_BYTES / 8);
}

static void copy_exception(struct husk_exception *to, const struct husk_exception *from) {
    const word *source = (const word *)from->values;
    word *target = (word *)to->values;
    to->tag = from->tag;
    for (uint64_t i = 0; i < value_words(from); i++)
        target[i] = source[i];
}

/* Marks the exceptions that words refer to. Those whose values are to be looked at are linked in a
 * list. (The stack has words between variables, which AddressSanitizer guards in the tests.) */
static __attribute__((noinline, no_sanitize("address"))) void
mark_words(const word *words, uint64_t count, uint64_t *list) {
    for (uint64_t i = 0; i < count; i++) {
        struct husk_exception *slot = slot_of(words[i]);
        if (slot == (struct husk_exception *)0 || slot->mark != 0)
            continue;
        slot->mark = 1;
        slot->link = *list;
        *list = words[i];
    }
}

/* A function of its own: all preserved registers are on the stack here. */
static __attribute__((noinline)) void mark_all(void) {
    uint64_t list = 0, stack;
    __builtin_unwind_init();
    __asm__ volatile("movq %%rsp, %0" : "=r"(stack));
    mark_words((const word *)stack, (THROW_TABLES.stack_top - stack) / 8, &list);
    const struct throw_root *roots = TABLE(struct throw_root, roots);
    for (uint64_t i = 0; i < THROW_TABLES.roots_count; i++) {
        uint64_t count = roots[i].count_at != 0 ? *(const word *)roots[i].count_at : roots[i].count;
        mark_words((const word *)roots[i].first, count, &list);
    }
    if (pending_exception()->tag != 0)
        mark_words((const word *)pending_exception()->values, value_words(pending_exception()),
                   &list);
    while (list != 0) {
        const struct husk_exception *slot = (const struct husk_exception *)list;
        list = slot->link;
        mark_words((const word *)slot->values, value_words(slot), &list);
    }
}

/* Two pages of slots at first, or 16. */
static uint64_t more_slots(uint64_t used) {
    uint64_t first = 8192 / THROW_TABLES.slot_bytes;
    uint64_t more = used == 0 ? (first < 16 ? 16 : first) : 2 * used;
    return more < HUSK_EXCEPTION_SLOTS ? more : HUSK_EXCEPTION_SLOTS;
}

/* Makes the list of free slots anew. If most slots hold exceptions, more slots come into use: so
 * marking is rare. */
static __attribute__((noinline)) void find_free_slots(void) {
    const uint64_t used = pending_exception()->mark;
    uint64_t free_count = 0, first_free = 0, wanted = used;
    if (used != 0)
        mark_all();
    for (uint64_t i = 0; i < used; i++)
        free_count += slot_at(i)->mark == 0;
    if (free_count * 2 <= used)
        wanted = more_slots(used);
    for (uint64_t i = wanted; i-- > 0;) {
        struct husk_exception *slot = slot_at(i);
        const int is_live = slot->mark != 0;
        slot->mark = 0;
        if (is_live)
            continue;
        slot->tag = 0;
        slot->link = first_free;
        first_free = (uint64_t)slot;
    }
    pending_exception()->mark = (uint32_t)wanted;
    pending_exception()->link = first_free;
}

/* Copies the pending exception into a slot, and returns the reference to it. */
uint64_t exn_take(void) {
    struct husk_exception *pending = pending_exception();
    if (pending->link == 0)
        find_free_slots();
    struct husk_exception *slot = (struct husk_exception *)pending->link;
    if (slot == (struct husk_exception *)0)
        THROW_TRAP(TRAP_EXCEPTION_REFERENCES);
    pending->link = slot->link;
    copy_exception(slot, pending);
    return (uint64_t)slot;
}

/* Makes the exception that a reference refers to the pending one. */
void throw_load(uint64_t ref) {
    const struct husk_exception *slot = slot_of(ref);
    if (slot == (const struct husk_exception *)0)
        THROW_TRAP(TRAP_NULL_EXCEPTION_REFERENCE);
    copy_exception(pending_exception(), slot);
}
