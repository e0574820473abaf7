;; oxipng (Rust, wasm-bindgen; package @jsquash/oxipng) packs a picture that is made here: job(size, level) is the PNG's length and a
;; hash of it. The test fills in the type of its memory, and what starts it.
(module
  (import "oxipng" "memory" (memory @MEMORY@))
  (import "oxipng" "__wbindgen_malloc" (func $malloc (param i32 i32) (result i32)))
  (import "oxipng" "__wbindgen_add_to_stack_pointer" (func $move_stack (param i32) (result i32)))
  (import "oxipng" "optimise_raw" (func $optimise (param i32 i32 i32 i32 i32 i32 i32 i32)))
  @START@
  (func $paint (param $at i32) (param $bytes i32) (local $i i32)
    (loop $next
      (i32.store (i32.add (local.get $at) (local.get $i))
        (i32.or (i32.const 0xff000000)
          (i32.and (i32.mul (i32.shr_u (local.get $i) (i32.const 5)) (i32.const 0x10307)) (i32.const 0x3f3f7f))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $bytes)))))
  (func $hash (param $at i32) (param $bytes i32) (result i64) (local $i i32) (local $hash i64)
    (local.set $hash (i64.const 0xcbf29ce4))
    (loop $next
      (local.set $hash (i64.and (i64.const 0xffffffff) (i64.mul (i64.const 0x1000193)
        (i64.xor (local.get $hash) (i64.load8_u (i32.add (local.get $at) (local.get $i)))))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $bytes))))
    (local.get $hash))
  (func (export "job") (param $size i32) (param $level i32) (result i64) (local $result i32) (local $pixels i32) (local $bytes i32)
    (call $start)
    (local.set $result (call $move_stack (i32.const -16)))
    (local.set $bytes (i32.mul (i32.mul (local.get $size) (local.get $size)) (i32.const 4)))
    (local.set $pixels (call $malloc (local.get $bytes) (i32.const 1)))
    (call $paint (local.get $pixels) (local.get $bytes))
    (call $optimise (local.get $result) (local.get $pixels) (local.get $bytes) (local.get $size) (local.get $size) (local.get $level)
      (i32.const 0) (i32.const 0))
    (i64.or (i64.shl (i64.load32_u offset=4 (local.get $result)) (i64.const 32))
      (call $hash (i32.load (local.get $result)) (i32.load offset=4 (local.get $result))))))
