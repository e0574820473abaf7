"""Functions with several results, of the guest and of the host. Run it: python multi_value.py"""

from typing import Annotated

import husk
from wat import wasm

GUEST = """
(module
  (import "host" "swap" (func $swap (param i32 i64) (result i64 i32)))
  (func (export "twice") (param i32 i64) (result i64 i32)
    (call $swap (local.get 0) (local.get 1)))
  (func (export "many")
    (param i64 i64 i64 i64 i64 i64 i64 i64) (result i64 i64 i64 i64 i64 i64 i64 i64)
    (local.get 7) (local.get 6) (local.get 5) (local.get 4)
    (local.get 3) (local.get 2) (local.get 1) (local.get 0)))
"""

imports = husk.Imports()


@imports.function("host")
def swap(
    a: Annotated[int, husk.I32], b: Annotated[int, husk.I64]
) -> tuple[Annotated[int, husk.I64], Annotated[int, husk.I32]]:
    return b + 1, a + 1


image = husk.compile(wasm(GUEST))
with husk.Sandbox(image, imports) as sandbox:
    print("twice:", sandbox.call("twice", 1, 3))
    first, *others = sandbox.call("many", *range(8))
    print("many:", first, others)
