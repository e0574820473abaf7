"""Functions of Python that a guest calls: types by annotations or in full, the guest's memory,
exceptions that go through the guest and back. Run it: python host_functions.py"""

from typing import Annotated

import husk
from wat import wasm

GUEST = """
(module
  (import "shop" "price" (func $price (param i32 i32) (result f64)))
  (import "shop" "log" (func $log (param i64)))
  (memory (export "memory") 1)
  (data (i32.const 64) "applepearplum")
  (func (export "total") (param $count i64) (result f64)
    (call $log (local.get $count))
    (f64.mul (f64.convert_i64_s (local.get $count)) (call $price (i32.const 64) (i32.const 5))))
  (func (export "plum") (result f64) (call $price (i32.const 73) (i32.const 4))))
"""

PRICES = {"apple": 0.5, "pear": 0.75}
imports = husk.Imports()


# A husk.Caller leads to the guest that calls. Its memory is read with checked copies, so a lying
# guest gets an exception.
@imports.function("shop")
def price(
    caller: husk.Caller, address: Annotated[int, husk.I32], count: Annotated[int, husk.I32]
) -> float:
    return PRICES[caller.memory.read_str(address, count)]


imports.func("shop", "log", lambda count: print("asked for", count), params=["i64"], results=[])

image = husk.compile(wasm(GUEST))
with husk.Sandbox(image, imports) as sandbox:
    print("total:", sandbox.call("total", 3))
    # The exception of the host function ends the guest's call, and comes out of call(): the
    # same object, with its traceback.
    try:
        sandbox.call("plum")
    except KeyError as error:
        print("no price for", error)
    sandbox.restore(image)
    print("total:", sandbox.call("total", 4))
