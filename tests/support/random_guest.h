/*
 * tests/support/random_guest.h: a module whose functions write everything that a restore brings
 * back: memories, globals, a table, the stack. restore_random_test.c plays with it.
 */
#ifndef TESTS_SUPPORT_RANDOM_GUEST_H
#define TESTS_SUPPORT_RANDOM_GUEST_H

/* far: pages that are written; grown: wasm pages, fewer of which are added by a call; shift: of how
 * much is filled. */
#define RANDOM_GUEST(sizes, far, grown, shift)                                                     \
    "(module (import \"env\" \"host\" (func $host (param i32) (result i32)))"                      \
    " (import \"env\" \"file\" (func $file (param i32) (result i32)))"                             \
    " (memory $m (export \"memory\") " sizes ") (memory $n i64 8 20)"                              \
    " (data (memory $m) (i32.const 8000) \"in the image\") (data (memory $m) (i32.const 2000000) " \
    "\"far\") (data (memory $n) (i64.const 70000) \"in the other\")"                               \
    " (tag $t (export \"t\") (param i64))"                                                         \
    " (global $g (export \"g\") (mut i64) (i64.const 7)) (global $h (mut f64) (f64.const 1))"      \
    " (table $f (export \"f\") 8 6000 funcref) (elem (table $f) (i32.const 0) func $write)"        \
    " (func $init (i32.store (i32.const 300000) (i32.const 77)) (global.set $h (f64.const 2)))"    \
    " (start $init)"                                                                               \
    " (func $write (export \"write\") (param $x i32) (result i32)"                                 \
    "  (i32.store (i32.shl (i32.rem_u (local.get $x) (i32.const 640)) (i32.const 12)) (local.get " \
    "$x))"                                                                                         \
    "  (i32.atomic.store offset=8 (i32.shl (i32.rem_u (i32.mul (local.get $x) (i32.const 77))"     \
    "    (i32.const " far ")) (i32.const 12)) (local.get $x))"                                     \
    "  (i64.store $n (i64.shl (i64.rem_u (i64.extend_i32_u (local.get $x)) (i64.const 128)) "      \
    "(i64.const 12)) (i64.const -1))"                                                              \
    "  (global.set $g (i64.extend_i32_u (local.get $x)))"                                          \
    "  (table.set $f (i32.rem_u (local.get $x) (i32.const 8)) (ref.func $write)) (local.get $x))"  \
    " (func (export \"deep\") (param $x i32) (result i32) (local i64 i64 i64 i64)"                 \
    "  (if (result i32) (i32.eqz (local.get $x)) (then (call $write (i32.const 5)))"               \
    "  (else (i32.add (i32.const 1) (call 4 (i32.sub (local.get $x) (i32.const 1)))))))"           \
    " (func (export \"grow\") (param $x i32) (result i32)"                                         \
    "  (drop (memory.grow $m (i32.rem_u (local.get $x) (i32.const " grown "))))"                   \
    "  (drop (memory.grow $n (i64.extend_i32_u (i32.rem_u (local.get $x) (i32.const 2)))))"        \
    "  (drop (table.grow $f (ref.func $write) (i32.rem_u (local.get $x) (i32.const 400))))"        \
    "  (i32.store (i32.sub (i32.shl (memory.size $m) (i32.const 16)) (i32.const 4)) (local.get "   \
    "$x))"                                                                                         \
    "  (i32.const 0))"                                                                             \
    " (func (export \"fill\") (param $x i32) (result i32)"                                         \
    "  (memory.fill $m (i32.shl (i32.and (local.get $x) (i32.const 0xfffff)) (i32.const " shift    \
    ")) (i32.const 9) (i32.shl (i32.and (local.get $x) (i32.const 0x7ffff)) (i32.const " shift     \
    "))) (i32.const 0))"                                                                           \
    " (func (export \"host\") (param $x i32) (result i32)"                                         \
    "  (try (result i32) (do (call $host (local.get $x)))"                                         \
    "   (catch $t (i32.wrap_i64)) (catch_all (i32.const 3))))"                                     \
    " (func (export \"file\") (param $x i32) (result i32) (call $file (local.get $x)))"            \
    " (func (export \"trap\") (param $x i32) (result i32) (drop (call $write (local.get $x)))"     \
    "  (unreachable))"                                                                             \
    " (func (export \"malloc\") (param $x i32) (result i32) (i32.const 1000000))"                  \
    " (func (export \"echo\") (param i32 i32) (result i64) (i64.const 0))"                         \
    " (func (export \"back\") (param i32 i32) (result i64) (i64.or (i64.extend_i32_u (local.get "  \
    "0)) (i64.shl (i64.extend_i32_u (local.get 1)) (i64.const 32)))))"

#endif
