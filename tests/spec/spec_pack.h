/*
 * tests/spec/spec_pack.h: the format of packs, which spec_pack (compiles) writes and spec_run
 * (executes) reads. A pack has text lines. An image follows its line as raw bytes and a newline.
 * Names and texts are "x" and hex digits; "-" means no name. VALUES is a count and that many words
 * "type:hex bits", "type:null", "type:any", "f32:nan:canonical", "f64:nan:arithmetic"; externref's
 * bits are decimal.
 *
 *   husk-spec-pack-1 NAME
 *   judged LINE passed|failed TEXT           judged by spec_pack already
 *   skipped LINE text|links|simd             out of scope, and why
 *   module LINE NAME TEXT BYTES              TEXT: why; an image follows; also assert_unlinkable,
 *                                            assert_uninstantiable
 *   nomodule LINE NAME TEXT                  did not compile: a failure, like every use of it
 *   assert_return LINE invoke|get MODULE FIELD VALUES(args) VALUES(expected)    also action
 *   assert_trap LINE invoke|get MODULE FIELD VALUES(args) TEXT    also assert_exhaustion
 *   end
 */
#ifndef SPEC_PACK_H
#define SPEC_PACK_H

#include <stddef.h>

#define SPEC_PACK_MAGIC "husk-spec-pack-1"

/* The files of the suite in which modules import from other modules of the file. A virtual machine
 * holds one module, so the run-time commands of these files are out of scope. Their modules are
 * still validated and compiled, and their invalid modules refused. */
static const char *const spec_linking_files[] = {
    "elem",         "imports",    "linking",    "memory_grow", "ref_func",
    "simd_linking", "table_copy", "table_grow", "table_init",  NULL,
};

#endif
