;; Addresses that emscripten's loader gives: the stack lies behind the main module, the heap behind the side modules.
(module
  (global (export "__stack_low") (mut i32) (i32.const 16704))
  (global (export "__stack_high") (mut i32) (i32.const 82240))
  (global (export "__heap_base") (mut i32) (i32.const 135232)))
