;; Stands for the JavaScript that emscripten makes: owns what the main module and its side modules share.
(module
  (memory (export "memory") 512 32768)
  (table (export "__indirect_function_table") 64 funcref)
  (global (export "__stack_pointer") (mut i32) (i32.const 82240))
  (global (export "__memory_base") i32 (i32.const 1024))
  (global (export "__table_base") i32 (i32.const 1))
  ;; the side modules, one behind the other
  (global (export "ini_memory_base") i32 (i32.const 82240))
  (global (export "ini_table_base") i32 (i32.const 31))
  (global (export "css_memory_base") i32 (i32.const 84832))
  (global (export "css_table_base") i32 (i32.const 32))
  ;; the text to be parsed, one byte a character
  (global $text (export "text") (mut i32) (i32.const 0))
  (global $length (export "length") (mut i32) (i32.const 0))
  (func (export "_abort_js") unreachable)
  (func (export "segfault") unreachable)
  (func (export "alignfault") unreachable)
  (func (export "emscripten_resize_heap") (param i32) (result i32) (i32.const 0))
  (func (export "tree_sitter_log_callback") (param i32 i32))
  (func (export "tree_sitter_progress_callback") (param i32 i32) (result i32) (i32.const 0))
  (func (export "tree_sitter_query_progress_callback") (param i32) (result i32) (i32.const 0))
  ;; UTF-16, at most 5,000 characters at a time
  (func (export "tree_sitter_parse_callback") (param $buffer i32) (param $index i32) (param i32 i32) (param $count i32)
    (local $n i32) (local $i i32)
    (local.set $n (i32.sub (global.get $length) (local.get $index)))
    (if (i32.gt_s (local.get $n) (i32.const 5000)) (then (local.set $n (i32.const 5000))))
    (if (i32.lt_s (local.get $n) (i32.const 0)) (then (local.set $n (i32.const 0))))
    (i32.store (local.get $count) (local.get $n))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (i32.store16 (i32.add (local.get $buffer) (i32.shl (local.get $i) (i32.const 1)))
          (i32.load8_u (i32.add (global.get $text) (i32.add (local.get $index) (local.get $i)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))))
