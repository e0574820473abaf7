/*
 * wasm/limits.h: the limits on modules, one row per limit with its reason. A module that exceeds
 * one is refused with HUSK_E_LIMIT and the byte offset. "JS API" means the implementation limits
 * that browsers share (WebAssembly JavaScript Interface, section "Implementation-defined Limits").
 * A module that runs in a browser is within them.
 */
#ifndef WASM_LIMITS_H
#define WASM_LIMITS_H

#include "layout.h" /* HUSK_MAX_MEMORIES, HUSK_MAX_MEM64_PAGES */

/* Sizes, in bytes. */
/* JS API; also keeps every offset in the module within 32 bits */
#define WASM_LIMIT_MODULE_BYTES 1073741824u
/* JS API: one body; the compiler's time grows faster than this size */
#define WASM_LIMIT_FUNC_BYTES 7654321u
#define WASM_LIMIT_NAME_BYTES 100000u /* V8: import and export names; images hold these */

/* Counts in a module. Functions, tables, memories, globals: imported ones included. */
#define WASM_LIMIT_TYPES 1000000u   /* JS API; in recursion groups, too */
#define WASM_LIMIT_FUNCS 1000000u   /* JS API */
#define WASM_LIMIT_IMPORTS 1000000u /* JS API (100,000 in older editions) */
#define WASM_LIMIT_EXPORTS 1000000u /* JS API (100,000 in older editions) */
#define WASM_LIMIT_GLOBALS 1000000u /* JS API */
#define WASM_LIMIT_DATAS 100000u    /* JS API */
#define WASM_LIMIT_TABLES 100000u   /* JS API */
#define WASM_LIMIT_TAGS 1000000u    /* JS API */
/* JS API: segments. Also the limit for all elements together, 24 bytes each */
#define WASM_LIMIT_ELEMS 10000000u
/* each memory has its own address range (abi/layout.h) */
#define WASM_LIMIT_MEMORIES HUSK_MAX_MEMORIES
/* each takes a row in struct wasm_module; real modules have about ten */
#define WASM_LIMIT_CUSTOMS 100000u

/* Sizes that the module declares. */
#define WASM_LIMIT_TABLE_ENTRIES 10000000u /* JS API: initial size; 8 bytes each in the instance */
/* initial size of a memory with 64-bit addresses: what its address range has room for. Those with
 * 32-bit addresses reach no more than their range */
#define WASM_LIMIT_MEM64_PAGES HUSK_MAX_MEM64_PAGES

/* In types and functions. */
#define WASM_LIMIT_PARAMS 1000u       /* JS API; the mailbox has a slot for each (abi/mailbox.h) */
#define WASM_LIMIT_RESULTS 1000u      /* JS API; likewise */
#define WASM_LIMIT_FIELDS 10000u      /* JS API: of a struct */
#define WASM_LIMIT_SUBTYPE_DEPTH 63u  /* JS API: supertypes above a type */
#define WASM_LIMIT_ARRAY_FIXED 10000u /* JS API: elements of array.new_fixed */
#define WASM_LIMIT_LOCALS 50000u      /* JS API: parameters included */
#define WASM_LIMIT_BR_TABLE 65520u    /* V8: targets, not counting the default */
/* blocks within blocks; more levels than the largest br_table can have targets */
#define WASM_LIMIT_NESTING 100000u
/* operands on a function's stack: a two-byte call can push 1,000 */
#define WASM_LIMIT_STACK_HEIGHT 1000000u

#endif
