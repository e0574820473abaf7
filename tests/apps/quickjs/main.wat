;; tests/apps/quickjs/main.wat: a command around QuickJS's reactor: gives it the program's arguments, in the reactor's own memory.
(module
  (import "qjs" "memory" (memory 1))
  (import "qjs" "_initialize" (func $initialize))
  (import "qjs" "malloc" (func $malloc (param i32) (result i32)))
  (import "qjs" "qjs_init_argv" (func $init_argv (param i32 i32) (result i32)))
  (import "qjs" "qjs_destroy" (func $destroy))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (func (export "_start") (local $sizes i32) (local $argv i32) (local $status i32)
    (call $initialize)
    (local.set $sizes (call $malloc (i32.const 8)))
    (drop (call $args_sizes_get (local.get $sizes) (i32.add (local.get $sizes) (i32.const 4))))
    (local.set $argv (call $malloc (i32.add
      (i32.shl (i32.add (i32.load (local.get $sizes)) (i32.const 1)) (i32.const 2)) ;; with a null pointer at the end
      (i32.load offset=4 (local.get $sizes)))))
    (drop (call $args_get (local.get $argv) (i32.add (local.get $argv)
      (i32.shl (i32.add (i32.load (local.get $sizes)) (i32.const 1)) (i32.const 2)))))
    (i32.store (i32.add (local.get $argv) (i32.shl (i32.load (local.get $sizes)) (i32.const 2))) (i32.const 0))
    (local.set $status (call $init_argv (i32.load (local.get $sizes)) (local.get $argv)))
    (call $destroy)
    (if (local.get $status) (then (call $proc_exit (i32.const 1))))))
