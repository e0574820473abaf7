/* compiler/link/lsda.c: exception tables of functions → handlers; see lsda.h. */
#include "lsda.h"

#include <stdlib.h>
#include <string.h>

#include "dwarf_cursor.h"
#include "error.h"
#include "exception.h"

#define ENCODING_ULEB128 0x01
#define ENCODING_UDATA4 0x03

/* A landing pad with more clauses is entered by every exception: it throws again those that are not
 * for it. */
#define CLAUSES_MAX 256

/* One function's tables. In the file: header, call sites, actions, types. */
struct lsda {
    const struct unwind_func *func;
    const struct lsda_section *section;
    uint32_t tags_count;
    uint64_t pads_start;  /* landing pads count from here */
    struct cursor sites;  /* the call sites */
    const uint8_t *types; /* end of the types; NULL: there are none */
    uint8_t types_encoding, sites_encoding;
    struct lsda_tables *tables;
    struct husk_error *err;
};

static int malformed(const struct lsda *lsda, const char *what) {
    return error_set(lsda->err, HUSK_E_COMPILER, "malformed .gcc_except_table: %s", what);
}

static const uint8_t *section_end(const struct lsda *lsda) {
    return lsda->section->bytes + lsda->section->count;
}

static uint64_t address_of(const struct lsda *lsda, const uint8_t *place) {
    return lsda->section->address + (uint64_t)(place - lsda->section->bytes);
}

static int read_header(struct lsda *lsda) {
    const uint64_t offset = lsda->func->lsda_address - lsda->section->address;
    if (offset >= lsda->section->count)
        return malformed(lsda, "a function's table lies outside the section");
    struct cursor cursor = {.pos = lsda->section->bytes + offset, .end = section_end(lsda)};
    uint8_t encoding = (uint8_t)cursor_uint(&cursor, 1);
    lsda->pads_start = lsda->func->start;
    if (encoding != DWARF_POINTER_OMIT &&
        !cursor_pointer(&cursor, encoding, address_of(lsda, cursor.pos), &lsda->pads_start))
        return malformed(lsda, "unknown encoding of the landing pads");
    lsda->types_encoding = (uint8_t)cursor_uint(&cursor, 1);
    if (lsda->types_encoding != DWARF_POINTER_OMIT) {
        uint64_t distance = cursor_uleb(&cursor);
        if (cursor.failed || distance > cursor_left(&cursor))
            return malformed(lsda, "its types lie outside the section");
        lsda->types = cursor.pos + distance;
    }
    lsda->sites_encoding = (uint8_t)cursor_uint(&cursor, 1);
    uint64_t sites_bytes = cursor_uleb(&cursor);
    const uint8_t *sites = cursor_skip(&cursor, sites_bytes);
    if (cursor.failed || sites == NULL)
        return malformed(lsda, "truncated header");
    lsda->sites = (struct cursor){.pos = sites, .end = sites + sites_bytes};
    return 0;
}

/* ---- clauses ---- */

static size_t type_bytes(uint8_t encoding) {
    switch (encoding & 0x0f) {
    case 0x03:
    case 0x0b: return 4;
    case 0x00:
    case 0x04:
    case 0x0c: return 8;
    default: return 0;
    }
}

/* Type number `filter` counts back from the end of the types. */
static bool read_type(const struct lsda *lsda, int64_t filter, uint32_t *ret_tag) {
    const size_t bytes = type_bytes(lsda->types_encoding);
    uint64_t value;
    if (lsda->types == NULL || bytes == 0 ||
        (uint64_t)filter > (uint64_t)(lsda->types - lsda->section->bytes) / bytes)
        return false;
    struct cursor cursor = {.pos = lsda->types - (uint64_t)filter * bytes, .end = lsda->types};
    if (!cursor_pointer(&cursor, lsda->types_encoding, address_of(lsda, cursor.pos), &value) ||
        value > lsda->tags_count)
        return false;
    *ret_tag = value == 0 ? HUSK_TAG_ANY : (uint32_t)value - 1;
    return true;
}

static uint32_t clauses_count(const struct lsda *lsda) {
    return (uint32_t)(lsda->tables->clauses.count / sizeof(uint32_t));
}

static bool has_clause(const struct lsda *lsda, uint32_t first, uint32_t tag) {
    const uint32_t *clauses = (const uint32_t *)(const void *)lsda->tables->clauses.data;
    for (uint32_t i = first; i < clauses_count(lsda); i++)
        if (clauses[i] == tag)
            return true;
    return false;
}

/* The list that catches all is there once. */
static void set_catches_all(struct lsda *lsda, struct throw_handler *handler) {
    const uint32_t tag = HUSK_TAG_ANY;
    if (lsda->tables->any_idx == 0) {
        buf_append(&lsda->tables->clauses, &tag, sizeof tag);
        lsda->tables->any_idx = clauses_count(lsda);
    }
    handler->clauses_first = lsda->tables->any_idx - 1;
    handler->clauses_count = 1;
}

/* Actions lie between the call sites and the types. */
static size_t actions_bytes(const struct lsda *lsda) {
    return lsda->types != NULL && lsda->types >= lsda->sites.end
               ? (size_t)(lsda->types - lsda->sites.end)
               : 0;
}

/* Follows a chain of actions, which may not go in a circle. A cleanup (filter 0) sees every
 * exception. */
static int read_actions(struct lsda *lsda, uint64_t action, struct throw_handler *handler) {
    const uint8_t *start = lsda->sites.end;
    const size_t room = actions_bytes(lsda), old_bytes = lsda->tables->clauses.count;
    handler->clauses_first = clauses_count(lsda);
    for (size_t steps = 0; steps <= room; steps++) {
        if (action >= room)
            return malformed(lsda, "an action lies outside its table");
        struct cursor cursor = {.pos = start + action, .end = start + room};
        const int64_t filter = cursor_sleb(&cursor);
        const uint64_t here = (uint64_t)(cursor.pos - start);
        const int64_t next = cursor_sleb(&cursor);
        uint32_t tag = HUSK_TAG_ANY;
        if (cursor.failed || filter < 0 || (filter > 0 && !read_type(lsda, filter, &tag)))
            return malformed(lsda, "an action without a type");
        if (tag == HUSK_TAG_ANY || handler->clauses_count == CLAUSES_MAX) {
            lsda->tables->clauses.count = old_bytes;
            set_catches_all(lsda, handler);
            return 0;
        }
        if (!has_clause(lsda, handler->clauses_first, tag))
            buf_append(&lsda->tables->clauses, &tag, sizeof tag);
        handler->clauses_count = clauses_count(lsda) - handler->clauses_first;
        if (next == 0)
            return 0;
        action = here + (uint64_t)next;
    }
    return malformed(lsda, "actions in a circle");
}

/* ---- call sites ---- */

/* The clause list of an action that has been read. */
struct clause_list {
    uint32_t first, count;
};

/* All call sites of a landing pad have the same action: 1 + its offset; 0: a cleanup. */
static int find_clauses(struct lsda *lsda, uint64_t action, struct throw_handler *handler) {
    struct buf *lists = &lsda->tables->clauses_at;
    if (action == 0) {
        set_catches_all(lsda, handler);
        return 0;
    }
    if (action > actions_bytes(lsda))
        return malformed(lsda, "an action lies outside its table");
    if (lists->count == 0)
        buf_append_zeros(lists, actions_bytes(lsda) * sizeof(struct clause_list));
    if (lists->failed)
        return error_set(lsda->err, HUSK_E_NOMEM, "no memory for exception handlers");
    struct clause_list *known = (struct clause_list *)(void *)lists->data + (action - 1);
    if (known->count == 0) {
        int status = read_actions(lsda, action - 1, handler);
        *known = (struct clause_list){handler->clauses_first, handler->clauses_count};
        return status;
    }
    handler->clauses_first = known->first;
    handler->clauses_count = known->count;
    return 0;
}

static bool read_offset(struct lsda *lsda, uint64_t *ret_offset) {
    struct cursor *cursor = &lsda->sites;
    if (lsda->sites_encoding == ENCODING_ULEB128)
        *ret_offset = cursor_uleb(cursor);
    else if (lsda->sites_encoding == ENCODING_UDATA4)
        *ret_offset = cursor_uint(cursor, 4);
    else
        return false;
    return !cursor->failed;
}

static int read_site(struct lsda *lsda) {
    const struct unwind_func *func = lsda->func;
    const uint64_t func_bytes = func->end - func->start;
    uint64_t start, bytes, pad;
    if (!read_offset(lsda, &start) || !read_offset(lsda, &bytes) || !read_offset(lsda, &pad))
        return malformed(lsda, "unknown or truncated call sites");
    const uint64_t action = cursor_uleb(&lsda->sites);
    if (lsda->sites.failed || bytes > func_bytes || start > func_bytes - bytes)
        return malformed(lsda, "a call site lies outside its function");
    if (pad == 0 || bytes == 0)
        return 0; /* calls without a handler */
    const uint64_t pad_gva = lsda->pads_start + pad;
    if (pad_gva < func->start || pad_gva >= func->end)
        return malformed(lsda, "a landing pad lies outside its function");
    struct throw_handler handler = {.start = func->start + (uint32_t)start,
                                    .end = func->start + (uint32_t)(start + bytes),
                                    .landing_pad = (uint32_t)pad_gva};
    int status = find_clauses(lsda, action, &handler);
    if (status == 0)
        buf_append(&lsda->tables->handlers, &handler, sizeof handler);
    return status;
}

int lsda_read(const struct unwind_func *func, const struct lsda_section *section,
              uint32_t tags_count, struct lsda_tables *tables, struct husk_error *err) {
    struct lsda lsda = {
        .func = func, .section = section, .tags_count = tags_count, .tables = tables, .err = err};
    tables->clauses_at.count = 0;
    int status = read_header(&lsda);
    while (status == 0 && cursor_left(&lsda.sites) > 0)
        status = read_site(&lsda);
    return status;
}

static int handler_order(const void *left, const void *right) {
    const struct throw_handler *a = left, *b = right;
    return a->start < b->start ? -1 : a->start > b->start;
}

int lsda_finish(struct lsda_tables *tables, struct husk_error *err) {
    struct throw_handler *handlers = (struct throw_handler *)(void *)tables->handlers.data;
    const size_t count = tables->handlers.count / sizeof handlers[0];
    if (tables->handlers.failed || tables->clauses.failed || tables->clauses_at.failed)
        return error_set(err, HUSK_E_NOMEM, "no memory for exception handlers");
    if (count > 0)
        qsort(handlers, count, sizeof handlers[0], handler_order);
    for (size_t i = 1; i < count; i++)
        if (handlers[i].start < handlers[i - 1].end)
            return error_set(err, HUSK_E_COMPILER,
                             "malformed .gcc_except_table: call sites overlap");
    return 0;
}

void lsda_done(struct lsda_tables *tables) {
    buf_done(&tables->handlers);
    buf_done(&tables->clauses);
    buf_done(&tables->clauses_at);
    *tables = (struct lsda_tables){0};
}
