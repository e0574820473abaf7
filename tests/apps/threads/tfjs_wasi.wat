;; Output of TensorFlow.js; its fd_seek has a type of emscripten's own.
(module
  (func (export "fd_close") (param i32) (result i32) i32.const 8)
  (func (export "fd_write") (param i32 i32 i32 i32) (result i32) i32.const 8)
  (func (export "fd_seek") (param i32 i32 i32 i32 i32) (result i32) i32.const 8))
