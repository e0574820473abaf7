"""Two modules that call each other's functions and share a memory, in one image and one VM. Run
it: python linking.py

The main module writes a text into the library's memory, at the place that the library keeps free,
and has the host print it.
"""

import husk
from wat import wasm

LIBRARY = """
(module
  (import "host" "print" (func $print (param i32 i32)))
  (memory (export "memory") 1)
  (global (export "free") i32 (i32.const 1024))
  (func (export "double") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
  (func (export "log") (param i32 i32) (call $print (local.get 0) (local.get 1))))
"""

MAIN = """
(module
  (import "library" "double" (func $double (param i32) (result i32)))
  (import "library" "log" (func $log (param i32 i32)))
  (import "library" "memory" (memory 1))
  (import "library" "free" (global $free i32))
  (data (global.get $free) "hello, library")
  (func (export "run") (result i32)
    (call $log (global.get $free) (i32.const 14))
    (call $double (i32.const 21))))
"""

imports = husk.Imports()


def show(caller: husk.Caller, address: int, count: int) -> None:
    print("guest says:", caller.memory.read_str(address, count))


imports.func("host", "print", show, params=["i32", "i32"], results=[], caller=True)
image = husk.compile_linked(
    [husk.Module("library", wasm(LIBRARY)), husk.Module("main", wasm(MAIN))]
)
with husk.Sandbox(image, imports) as sandbox:
    print("run:", sandbox.call("run"))
print("exports:", *image.exports)
